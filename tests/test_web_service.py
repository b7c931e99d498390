"""The web services of the documentation: answers, threads, forks and processes, and a model replaced meanwhile."""

import asyncio
import importlib.util
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED
from pages import DOCS, blocks

from implicit_wmf import WMF, Interactions

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")
from fastapi.testclient import TestClient  # noqa: E402

EXAMPLES = DOCS / "examples"
PAGE = DOCS / "how_to" / "web_service.md"
PATIENCE = 60
JSON = {"Content-Type": "application/json"}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def purchases(seed=0):
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {"who": 100 + generator.integers(0, 40, 600), "what": [f"p{k}" for k in generator.integers(0, 30, 600)]}
    )


def fitted(seed=0):
    model = WMF(factors=4, iterations=2, weighting="log", random_state=seed)
    return model.fit(Interactions.from_frame(purchases(seed), user="who", item="what"))


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The model that the service serves, saved where it looks for one."""
    model = fitted()
    model.save(tmp_path / "model")
    monkeypatch.setenv("MODEL", str(tmp_path / "model"))
    return model


def loaded(name, monkeypatch):
    """A fresh import of an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def service(model, monkeypatch):
    return loaded("web_service", monkeypatch)


@pytest.fixture
def reloading(service, monkeypatch):
    monkeypatch.setenv("PAUSE", "0.01")
    return loaded("reloading_service", monkeypatch)


def ask(service, path, method="GET", **options):
    """One request, without a server."""

    async def request():
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, **options)

    return asyncio.run(request())


@pytest.mark.parametrize("name", ["web_service", "reloading_service"])
def test_the_page_shows_the_file(name):
    assert (EXAMPLES / f"{name}.py").read_text(encoding="utf-8") in [block.text for block in blocks(PAGE)]


def test_a_user_gets_the_list_of_the_model(service, model):
    users, items = model.interactions.users, model.interactions.items
    ids, scores = model.recommend(int(np.flatnonzero(users == 117)[0]), N=4)
    expected = [(items[i], rank, float(score)) for i, rank, score in zip(ids, range(1, 5), scores, strict=True)]
    found = ask(service, "/users/117?n=4").json()
    assert [(row["item"], row["rank"], row["score"]) for row in found] == expected


def test_an_unknown_user_gets_404_or_what_is_popular(service, model):
    refused = ask(service, "/users/7")
    assert refused.status_code == 404
    assert "7" in refused.json()["detail"]
    popular = ask(service, "/users/7?unknown=popular&n=3").json()
    buyers = purchases().groupby("what")["who"].nunique()
    assert [row["score"] for row in popular] == sorted(buyers, reverse=True)[:3]


def test_a_basket_gets_what_its_user_would_get(service, model):
    basket = {"p3": 2, "p4": 1.5, "not yet": 1}
    row = np.zeros((1, 30))
    row[0, model.interactions.items.get_indexer(["p3", "p4"])] = 2, 1.5
    ids, scores = model.recommend(user_items=Interactions.from_matrix(row).matrix, N=5)
    found = ask(service, "/baskets?n=5", "POST", json=basket).json()
    assert [one["item"] for one in found] == model.interactions.items[ids[0]].tolist()
    assert [one["score"] for one in found] == scores[0].tolist()


def test_lists_end_where_nothing_is_left(service, model):
    items = model.interactions.items
    found = ask(service, "/baskets?n=50", "POST", json=dict.fromkeys(items[2:], 1)).json()
    assert {one["item"] for one in found} == set(items[:2])


def test_similar_items_leave_out_the_item_itself(service, model):
    found = ask(service, "/items/p3/similar?n=29").json()
    assert {one["similar"] for one in found} == set(model.interactions.items) - {"p3"}
    assert ask(service, "/items/p99/similar").status_code == 404


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("/users/117?n=0", {}, 422),
        ("/users/117?n=101", {}, 422),
        ("/users/anna", {}, 422),
        ("/users/117?unknown=guess", {}, 422),
        ("/baskets", {"method": "POST", "json": {}}, 404),
        ("/baskets", {"method": "POST", "json": {"p3": -1}}, 422),
        ("/baskets", {"method": "POST", "json": {"p3": 1e300}}, 422),
        ("/baskets", {"method": "POST", "json": {"not yet": 1}}, 404),
    ],
)
def test_what_cannot_be_answered_is_refused(service, path, options, status):
    assert ask(service, path, **options).status_code == status


@pytest.mark.parametrize("content", [b'{"p3": NaN}', b'{"p3": 1e999}'])
def test_numbers_that_json_does_not_have_get_no_list(service, content):
    client = TestClient(service.app, raise_server_exceptions=False)
    answer = client.post("/baskets", content=content, headers=JSON)
    assert answer.status_code in (422, 500)  # FastAPI refuses, and then cannot write the number into its message


def test_health_tells_how_much_is_served(service):
    assert ask(service, "/health").json() == {"users": 40, "items": 30}


def until(holds):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def put_in_place(newer, tmp_path, damaged=None):
    """As one who brings a model from elsewhere does: copy it beside its place, then rename."""
    newer.save(tmp_path / "next")
    if damaged:
        (tmp_path / "next" / damaged).write_bytes(b"no array")
    (tmp_path / "model").rename(tmp_path / f"former-{time.monotonic_ns()}")
    (tmp_path / "next").rename(tmp_path / "model")


def test_a_new_model_is_served_soon_after_it_is_there(reloading, model, tmp_path):
    newer = fitted(seed=1)
    with TestClient(reloading.app) as client:
        assert client.get("/users/117").json() == model.recommend_frame([117]).to_dict("records")
        newer.save(tmp_path / "model")
        until(lambda: client.get("/users/117").json() == newer.recommend_frame([117]).to_dict("records"))


def test_a_model_that_cannot_be_read_is_told_of_and_the_former_serves(reloading, model, tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(reloading, "take_up", lambda take_up=reloading.take_up: tried.append(1) or take_up())
    with TestClient(reloading.app) as client:
        until(lambda: tried)
        put_in_place(fitted(seed=1), tmp_path, damaged="interactions_indices.npy")
        until(lambda: "interactions_indices.npy" in client.get("/newest").json()["problem"])
        for _ in range(5):
            assert client.get("/users/117").json() == model.recommend_frame([117]).to_dict("records")
            time.sleep(0.01)
        assert len(tried) == 2
        newer = fitted(seed=2)
        put_in_place(newer, tmp_path)
        until(lambda: client.get("/newest").json()["problem"] == "")
        assert client.get("/users/117").json() == newer.recommend_frame([117]).to_dict("records")


def test_a_folder_that_is_gone_takes_nothing_from_what_is_served(reloading, tmp_path):
    with TestClient(reloading.app) as client:
        until(lambda: reloading.app.state.seen)
        expected = client.get("/users/117").json()
        shutil.rmtree(tmp_path / "model")
        time.sleep(0.05)
        assert client.get("/users/117").json() == expected


def test_requests_start_no_threads_of_the_library(service, monkeypatch):
    begun, start = [], threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda thread: begun.append(thread.name) or start(thread))
    for path in ("/users/117", "/items/p3/similar", "/users/7?unknown=popular"):
        assert ask(service, path).status_code == 200
    assert ask(service, "/baskets", "POST", json={"p3": 1}).status_code == 200
    assert not [name for name in begun if name.startswith("implicit_wmf")]


def child_answers(service, path, expected):
    if ask(service, path).json() != expected:
        os._exit(1)


def child_takes_up(reloading, path, expected):
    with TestClient(reloading.app) as client:
        until(lambda: client.get(path).json() == expected)


def exit_codes(target, *arguments):
    """Of two processes forked from this one."""
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=target, args=arguments) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(PATIENCE)
    return [child.exitcode for child in children]


@needs_fork
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_processes_forked_after_loading_answer(service):
    assert exit_codes(child_answers, service, "/users/117", ask(service, "/users/117").json()) == [0, 0]


@needs_fork
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_processes_forked_when_the_model_was_old_take_up_the_new_one(reloading, tmp_path):
    newer = fitted(seed=1)
    newer.save(tmp_path / "model")
    expected = newer.recommend_frame([117]).to_dict("records")
    assert exit_codes(child_takes_up, reloading, "/users/117", expected) == [0, 0]


def fetch(url, basket=None):
    data = None if basket is None else json.dumps(basket).encode()
    request = urllib.request.Request(url, data, JSON)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


@pytest.fixture
def server(model):
    """The address of two worker processes that look for a new model all the time, and their parent."""
    pytest.importorskip("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "reloading_service:app", "--app-dir", str(EXAMPLES), "--workers", "2"]
    parent = subprocess.Popen(
        [*command, "--port", str(port)],
        env=os.environ | {"PAUSE": "0.01"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield f"http://127.0.0.1:{port}", parent
    finally:
        if parent.poll() is None:
            parent.terminate()
            parent.communicate(timeout=PATIENCE)


def wait_for(address):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return fetch(f"{address}/health")
        except urllib.error.URLError:
            assert time.monotonic() < deadline, "the service did not start"
            time.sleep(0.05)


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends no process in order there")
def test_two_workers_serve_while_models_are_replaced_and_end_in_order(server, model, tmp_path):
    address, parent = server
    assert wait_for(address) == {"users": 40, "items": 30}
    models = [model, fitted(seed=1), fitted(seed=2)]
    users = [int(user) for user in model.interactions.users[:8]]
    known = {user: [one.recommend_frame([user]).to_dict("records") for one in models] for user in users}
    replaced = threading.Event()

    def client(number):
        for user in itertools.islice(itertools.cycle(users), number, None):
            over = replaced.is_set()
            assert fetch(f"{address}/users/{user}") in known[user]
            assert len(fetch(f"{address}/baskets?n=3", {"p3": 1})) == 3
            if over:
                return

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client, number) for number in range(4)]
        try:
            for newer in models[1:] * 4:
                newer.save(tmp_path / "model")
                time.sleep(0.05)
        finally:
            replaced.set()
        for one in clients:
            one.result(PATIENCE)
    until(lambda: all(fetch(f"{address}/users/{user}") == known[user][2] for user in users * 3))
    assert fetch(f"{address}/newest") == {"problem": ""}
    parent.send_signal(signal.SIGTERM)
    _, messages = parent.communicate(timeout=PATIENCE)
    assert parent.returncode == 0, messages
    assert "Exception in ASGI application" not in messages
