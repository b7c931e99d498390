"""A script that workers of tests load at their start: it notes the calls of tasks, and obeys orders in a folder.

It stands in for accidents, which so happen at a call that a test names, and not after some seconds.
"""

import json
import os
import signal
import time
from collections import Counter
from functools import wraps
from pathlib import Path

from implicit_wmf.batch import list_parts, on_cluster
from implicit_wmf.sharded import held, tasks

PLACE = "WATCHED_WORKERS"  # environment variable: the folder of notes and orders
TASKS = (
    "below_items", "weigh_users", "weigh_items", "solve_users", "turn_users", "start_items", "multiply_items",
    "make_systems", "sum_loss", "read_users",
)  # fmt: skip
CALLS = ("open_shards", "verify_shards", "add_parts")


def dask_setup(worker):
    folder = Path(os.environ[PLACE])
    for module, names in ((tasks, TASKS), (held, CALLS), (on_cluster, ("recommend_part",))):
        for name in names:
            setattr(module, name, watched(getattr(module, name), folder, worker))


def watched(function, folder, worker):
    name, passed = function.__name__, Counter()

    @wraps(function)
    def call(*arguments):
        note = {"call": name, "shard": what_of(arguments[0]), "worker": worker.name, "pid": os.getpid()}
        with open(folder / "notes", "ab", buffering=0) as notes:
            notes.write(json.dumps(note).encode() + b"\n")
        obey(folder, name, note, passed)
        return function(*arguments)

    return call


def what_of(argument):
    """The shard that a task is for, or the first user of a part of a batch job."""
    if isinstance(argument, list_parts.Part):
        return str(argument.ids[0]) if len(argument.ids) else None
    return argument.shard.number if isinstance(argument, tasks.Work) else None


def obey(folder, name, note, passed):
    """Do what `clusters.Watch.order` asks for, and count in `passed` the calls that it is not yet for."""
    place = folder / f"{name}.order"
    try:
        order = json.loads(place.read_bytes())
    except FileNotFoundError:
        return
    if any(order[key] not in (None, note[key]) for key in ("shard", "worker")):
        return
    if passed[order["id"]] < order["after"]:
        passed[order["id"]] += 1
        return
    if not order["keep"]:
        try:
            os.rename(place, folder / f"{name}.taken")
        except FileNotFoundError:  # another worker was first
            return
    if order["what"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while order["what"] == "wait" and not (folder / "go on").exists():
        time.sleep(0.01)
