"""Recommendations for everyone, made by the workers of a cluster: the same bytes, whoever is lost meanwhile."""

import pickle
import subprocess
import sys

import dask
import numpy as np
import pytest
from batch_jobs import IDS, contents, fitted, interrupt_after, names
from clusters import Programs, until
from distributed import Client
from scipy import sparse

from implicit_wmf import WMF, InputError, MissingExtraError, MostPopular
from implicit_wmf.batch import list_parts, on_cluster, users_done
from implicit_wmf.errors import ClusterError
from implicit_wmf.factorizers import KLMF, ObservedMF, SymmetricMF

ASKED = {"N": 5, "part_users": 7}  # 8 parts of the 50 users, the last one of one user
PARTS = [f"u{first:03}" for first in range(0, 50, 7)]


@pytest.fixture(scope="module")
def model():
    return fitted([f"u{user:03}" for user in range(50)], [f"item {item}" for item in range(23)])


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    with Programs(tmp_path_factory.mktemp("cluster") / "programs") as programs:
        programs.start_scheduler()
        programs.workers = programs.start_workers(2, nanny=True)
        yield programs


@pytest.fixture
def client(programs):
    programs.watch.clear()
    with programs.client(2) as client:
        yield client


@pytest.fixture
def whole(model, tmp_path):
    model.recommend_all(tmp_path / "whole", **ASKED)
    return contents(tmp_path / "whole")


def asked_for(programs):
    """First users of the parts that workers were asked for."""
    return [note["shard"] for note in programs.watch.calls("recommend_part")]


def no_work_left(client):
    """Whether the scheduler knows of no call any more."""
    return not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))


CELLS = sparse.csr_array((np.arange(50 * 23).reshape(50, 23) % 3 == 0).astype(np.float32))
SETTINGS = {
    "everyone": {},
    "known items as well": {"filter_already_liked_items": False},
    "longer lists than there are items": {"N": 100},
    "a deny-list": {"filter_items": [0, 3, 5]},
    "an allow-list": {"items": [1, 2, 3, 8, 20]},
    "both": {"items": [1, 2, 3, 8, 20], "filter_items": [2]},
    "a list for each user": {"items": CELLS},
    "and a deny-list": {"items": CELLS, "filter_items": [0, 3, 5]},
    "denied to each user": {"filter_items": CELLS, "items": np.arange(15)},
    "some users": {"users": ["u007", "u001", "u030"], "part_users": 2},
    "nobody": {"users": []},
    "one part": {"part_users": 1000},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_same_bytes_as_without_a_client(model, client, tmp_path, settings):
    here = model.recommend_all(tmp_path / "here", **(ASKED | settings))
    there = model.recommend_all(tmp_path / "there", **(ASKED | settings), client=client)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    same = ("users", "short_users", "recommendations", "recommended_items", "items", "resumed_users")
    assert [getattr(there, name) for name in same] == [getattr(here, name) for name in same]
    assert names(tmp_path) == ["here", "there"]
    until(lambda: no_work_left(client), "nothing is left on the workers")


ESTIMATORS = {
    "float64, its own threads": WMF(16, iterations=1, random_state=0, dtype="float64", num_threads=2),
    "biases": ObservedMF(3, iterations=2, random_state=0),
    "popularity": MostPopular(),
    "divergence": KLMF(3, iterations=2, random_state=0),
}


@pytest.mark.parametrize("other", ESTIMATORS.values(), ids=ESTIMATORS)
def test_other_estimators_score_in_their_own_way(model, client, tmp_path, other):
    other.fit(model.interactions)
    other.recommend_all(tmp_path / "here", **ASKED)
    other.recommend_all(tmp_path / "there", **ASKED, client=client)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_things_are_not_recommended_to_themselves(client, tmp_path):
    close = np.abs(np.subtract.outer(np.arange(20), np.arange(20))) < 4
    model = SymmetricMF(2, iterations=5, random_state=0).fit(close.astype(float))
    model.recommend_all(tmp_path / "here", **ASKED)
    model.recommend_all(tmp_path / "there", **ASKED, client=client)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.parametrize("kind", ["positions", "int", "text", "zoned", "dates", "bytes", "tuples", "months", "arrow"])
def test_ids_of_every_kind(client, tmp_path, kind):
    ids = IDS[kind]
    model = fitted(ids, None if ids is None else ids[:23])
    model.recommend_all(tmp_path / "here", part_users=20)
    model.recommend_all(tmp_path / "there", part_users=20, client=client)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.parametrize("first", ["here", "there"])
def test_jobs_go_on_where_they_were_here_or_there(model, programs, client, tmp_path, monkeypatch, whole, first):
    clients = [None, client] if first == "here" else [client, None]
    for parts, one in enumerate(clients, 2):
        interrupt_after(monkeypatch, parts)
        with pytest.raises(KeyboardInterrupt):
            model.recommend_all(tmp_path / "again", **ASKED, client=one)
    until(lambda: no_work_left(client), "what was under way is cancelled")
    assert users_done(tmp_path / "again") == (35, 50)
    programs.watch.clear()
    assert model.recommend_all(tmp_path / "again", **ASKED, client=client).resumed_users == 35
    assert contents(tmp_path / "again") == whole
    assert sorted(asked_for(programs)) == PARTS[5:]


def test_parts_wait_for_an_earlier_one_but_not_without_end(model, programs, client, tmp_path, monkeypatch, whole):
    monkeypatch.setattr(on_cluster, "_AHEAD", 3)

    def look():
        try:
            until(lambda: len(asked_for(programs)) == 5, "the other worker makes what may be made before the first")
            seen.append(users_done(tmp_path / "lists"))
        finally:
            programs.watch.go_on()

    seen = []
    with programs.watch.when_waiting("recommend_part", look, shard=PARTS[0]):
        model.recommend_all(tmp_path / "lists", **ASKED, client=client)
    assert seen == [(0, 50)]
    assert contents(tmp_path / "lists") == whole
    assert sorted(asked_for(programs)) == PARTS


def test_a_worker_that_is_killed_costs_its_parts_only(model, programs, client, tmp_path, whole, caplog):
    programs.watch.order("die", "recommend_part", shard=PARTS[3])
    model.recommend_all(tmp_path / "lists", **ASKED, client=client)
    assert contents(tmp_path / "lists") == whole
    calls = asked_for(programs)
    assert sorted(set(calls)) == PARTS
    assert calls.count(PARTS[3]) == 2
    assert "the part of user 21 on is made again" in caplog.text
    dead = programs.watch.calls("recommend_part")[calls.index(PARTS[3])]["worker"]
    workers = [note["worker"] for note in programs.watch.calls("recommend_part")]
    again = [first for first in PARTS if calls.count(first) > 1]
    assert {workers[calls.index(first)] for first in again} == {dead}


def test_without_any_worker_it_waits_for_another(model, programs, client, tmp_path, whole):
    def kill_both():
        for name in programs.workers:
            programs.kill(name)
        programs.workers = programs.start_workers(2, nanny=True)

    with programs.watch.when_waiting("recommend_part", kill_both, shard=PARTS[2]):
        model.recommend_all(tmp_path / "lists", **ASKED, client=client)
    assert contents(tmp_path / "lists") == whole


def test_users_that_cost_worker_after_worker_are_named(model, client, programs, tmp_path, monkeypatch, whole):
    monkeypatch.setattr(on_cluster, "_LOSSES", 2)
    interrupt_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        model.recommend_all(tmp_path / "lists", **ASKED)
    programs.watch.order("die", "recommend_part", shard=PARTS[3], keep=True)
    message = r"2 workers in a row .* lists of users 'u021' to 'u027'; see their logs.*memory.*part_users= and restart"
    with pytest.raises(ClusterError, match=message):
        model.recommend_all(tmp_path / "lists", **ASKED, client=client)
    assert asked_for(programs).count(PARTS[3]) == 2
    programs.watch.clear()
    assert model.recommend_all(tmp_path / "lists", **ASKED, client=client).resumed_users == 21
    assert contents(tmp_path / "lists") == whole


def test_without_a_scheduler_it_says_so_and_what_is_done_stays(model, tmp_path, whole):
    with Programs(tmp_path / "programs") as programs:
        programs.start_scheduler()
        programs.start_worker()
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
            Client(programs.address, timeout=2, set_as_default=False) as client,
            programs.watch.when_waiting("recommend_part", lambda: programs.kill("scheduler"), shard=PARTS[4]),
            pytest.raises(ClusterError, match="the scheduler tcp.* is gone.*a batch job when it is asked again"),
        ):
            model.recommend_all(tmp_path / "lists", **ASKED, client=client)
    assert 0 < users_done(tmp_path / "lists")[0] <= 28
    assert model.recommend_all(tmp_path / "lists", **ASKED).resumed_users <= 28
    assert contents(tmp_path / "lists") == whole


def test_clients_are_looked_at_before_any_work(model, programs, client, tmp_path, monkeypatch):
    with programs.client() as closed:
        pass
    for bad, message in [("tcp://a:1", "client must be a distributed.Client, got str"), (closed, "client is closed")]:
        with pytest.raises(InputError, match=message):
            model.recommend_all(tmp_path / "lists", client=bad)
    with pytest.raises(InputError, match="N must be"):
        model.recommend_all(tmp_path / "lists", 0, client=client)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'implicit_wmf\[dask\]'"):
        model.recommend_all(tmp_path / "lists", client=client)
    assert names(tmp_path) == []
    assert programs.watch.calls() == []


ALONE = """
import sys
import numpy as np
from implicit_wmf import MostPopular
MostPopular().fit(np.eye(3)).recommend_all("lists", 2)
assert not {"dask", "distributed"} & set(sys.modules)
"""


def test_without_a_client_dask_is_not_imported(tmp_path):
    subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, check=True)
    assert names(tmp_path) == ["lists"]


def at_odd_addresses(value):
    """Send a value as a network does: its arrays come read-only, and begin at any byte."""
    buffers = []
    content = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    memory = [
        b"." * (1 + number) + bytes(buffer) for number, buffer in enumerate(map(pickle.PickleBuffer.raw, buffers))
    ]
    return pickle.loads(content, buffers=[memoryview(one)[1 + number :] for number, one in enumerate(memory)])


@pytest.mark.parametrize("own", [None, CELLS])
def test_what_comes_over_the_network_is_put_where_kernels_want_it(model, monkeypatch, own):
    pyarrow = pytest.importorskip("pyarrow")
    ids = pyarrow.array(model.interactions.users), pyarrow.array(model.interactions.items)
    part = list_parts.Part.of(ids[0], model.user_factors, CELLS[::-1].tocsr(), own)
    lists = list_parts.ListParts(model.item_factors, np.arange(0, 23, 2, dtype=np.int32), ids[1], 4, None)
    expected = lists.make(part)
    sent, given = at_odd_addresses((part, lists))
    assert not sent.vectors.flags.aligned
    monkeypatch.setattr(on_cluster, "worker_threads", lambda: 1)
    ranked = []
    rank = list_parts.ranking.recommend

    def watch(vectors, catalogue, seen, **others):
        ranked.append((vectors, catalogue.factors, *seen, others["num_threads"]))
        return rank(vectors, catalogue, seen, **others)

    monkeypatch.setattr(list_parts.ranking, "recommend", watch)
    made = on_cluster.recommend_part(sent, given)
    assert bytes(made.content) == bytes(expected.content)
    assert made.items.tolist() == expected.items.tolist()
    assert made.record == expected.record
    for *arrays, threads in ranked:
        assert threads == 1
        assert all(array.ctypes.data % 64 == 0 for array in arrays if array.size)
    assert sent.nbytes > model.user_factors.nbytes


def test_parts_take_their_own_ids_along(model):
    from implicit_wmf.batch import id_columns

    column = id_columns.id_column("users", model.interactions.users)
    few = id_columns.copy_ids(column, 7, 9)
    assert few.to_pylist() == ["u007", "u008"]
    assert len(pickle.dumps(few)) < len(pickle.dumps(column)) / 2
