"""Child processes that survive case after case: one that dies or hangs is a finding, and another takes its place."""

from __future__ import annotations

import faulthandler
import importlib
import json
import multiprocessing
import resource
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Case = dict[str, Any]
Check = Callable[[Case], str]

SECONDS = 60.0
STARTING_SECONDS = 300.0
ENDING_SECONDS = 10.0
MOST_MEMORY = 12 << 30


class Finding(AssertionError):
    """A case that went wrong."""


class Child:
    """A process that checks cases by the function that `maker`, named with its module, makes in it.

    Parameters
    ----------
    maker : str
        Such as "bench.fuzz.tables.reading": a function of a folder, to work in, that returns the check of a case: it
        takes the case and returns in a word what became of it, or raises what is wrong.
    """

    def __init__(self, maker: str) -> None:
        self._maker = maker
        self._process: Any = None
        self._pipe: Any = None

    def check(self, case: Case) -> str:
        """Return what became of a case; raise Finding where that is wrong."""
        if self._process is None:
            self._start()
        answer = self._ask(case)
        if "wrong" in answer:
            raise Finding(answer["wrong"])
        return str(answer["verdict"])

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self._maker), daemon=True)
        self._process.start()
        other.close()
        self._receive(STARTING_SECONDS)

    def _ask(self, case: Case) -> dict[str, str]:
        self._pipe.send_bytes(json.dumps(case).encode())
        return self._receive(SECONDS)

    def _receive(self, seconds: float) -> dict[str, str]:
        try:
            if not self._pipe.poll(seconds):
                self._process.kill()
                self.close()
                raise Finding(f"no answer within {seconds:g} s: it hangs")
            answer: dict[str, str] = json.loads(self._pipe.recv_bytes())
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            self.close()
            raise Finding(f"the interpreter died with exit code {code}") from None
        return answer

    def close(self) -> None:
        """End the process: by itself, if it is waiting for a case."""
        if self._process is not None:
            self._pipe.close()
            self._process.join(ENDING_SECONDS)
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(pipe: Any, maker: str) -> None:
    faulthandler.enable()
    # Contents that promise much must not take the machine's memory along.
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    with tempfile.TemporaryDirectory(prefix="implicit_wmf_fuzz_") as folder:
        module, _, name = maker.rpartition(".")
        check: Check = getattr(importlib.import_module(module), name)(Path(folder))
        pipe.send_bytes(b"{}")
        while True:
            try:
                case = json.loads(pipe.recv_bytes())
            except EOFError:
                return
            pipe.send_bytes(json.dumps(_answer(check, case)).encode())


def _answer(check: Check, case: Case) -> dict[str, str]:
    try:
        return {"verdict": check(case)}
    except BaseException:
        return {"wrong": traceback.format_exc()}
