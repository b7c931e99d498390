"""The web service of the documentation: its answers, threads, forks and processes, and a model replaced meanwhile."""

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

FILE = DOCS / "examples" / "web_service.py"
PATIENCE = 60


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


@pytest.fixture
def service(model):
    spec = importlib.util.spec_from_file_location("web_service", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ask(service, path, method="GET", **options):
    """One request, without a server."""

    async def request():
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, **options)

    return asyncio.run(request())


def test_the_page_shows_the_file():
    page = DOCS / "how_to" / "web_service.md"
    assert FILE.read_text(encoding="utf-8") in [block.text for block in blocks(page)]


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
        ("/baskets", {"method": "POST", "json": {}}, 422),
        ("/baskets", {"method": "POST", "json": {"p3": -1}}, 422),
        ("/baskets", {"method": "POST", "content": b'{"p3": NaN}'}, 422),
        ("/baskets", {"method": "POST", "json": {"not yet": 1}}, 404),
    ],
)
def test_what_cannot_be_answered_is_refused(service, path, options, status):
    assert ask(service, path, **options).status_code == status


def test_a_new_model_is_served_once_it_is_there(service, tmp_path):
    newer = fitted(seed=1)
    newer.save(tmp_path / "model")
    assert ask(service, "/users/117").json() == newer.recommend_frame([117]).to_dict("records")


def test_a_model_that_cannot_be_read_is_told_of_and_the_former_serves(service, model, tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(service, "read", lambda read=service.read: tried.append(1) or read())
    fitted(seed=1).save(tmp_path / "model")
    (tmp_path / "model" / "interactions_indices.npy").write_bytes(b"no array")
    for _ in range(3):
        assert ask(service, "/users/117").json() == model.recommend_frame([117]).to_dict("records")
    assert len(tried) == 1
    assert "interactions_indices.npy" in ask(service, "/health").json()["problem"]
    newer = fitted(seed=2)
    newer.save(tmp_path / "model")
    assert ask(service, "/health").json()["problem"] == ""
    assert ask(service, "/users/117").json() == newer.recommend_frame([117]).to_dict("records")


def test_a_folder_that_is_gone_takes_nothing_from_what_is_served(service, model, tmp_path):
    expected = ask(service, "/users/117").json()
    shutil.rmtree(tmp_path / "model")
    assert ask(service, "/users/117").json() == expected


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_processes_forked_after_loading_answer(service):
    expected = ask(service, "/users/117").json()
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=child_answers, args=(service, "/users/117", expected)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(PATIENCE)
    assert [child.exitcode for child in children] == [0, 0]


def fetch(url, basket=None):
    data = None if basket is None else json.dumps(basket).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


@pytest.fixture
def server(model):
    """The address of two worker processes, and their parent."""
    pytest.importorskip("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "web_service:app", "--app-dir", str(FILE.parent), "--port", str(port)]
    parent = subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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
    assert wait_for(address) == {"users": 40, "items": 30, "problem": ""}
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
    assert [fetch(f"{address}/users/{user}") for user in users] == [known[user][2] for user in users]
    assert fetch(f"{address}/health")["problem"] == ""
    parent.send_signal(signal.SIGTERM)
    _, messages = parent.communicate(timeout=PATIENCE)
    assert parent.returncode == 0, messages
    assert "Exception in ASGI application" not in messages
