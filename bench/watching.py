"""A command in a process of its own: what it takes of time and memory, and how it ends when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLL = 0.01  # seconds


@dataclass(frozen=True)
class Ended:
    """A process that has ended.

    `exit_code` is negative for the number of a signal, `output` what it printed to stdout and stderr. `peak` is the
    most bytes that were resident, as the system counts them; it counts what the parent held at the start as well.
    `anonymous` and `mapped` are the most bytes of memory of its own and of files that were seen resident, looked up
    every 10 ms and not necessarily at the same moment; 0 where the system does not tell them.
    """

    exit_code: int
    seconds: float
    peak: int
    anonymous: int
    mapped: int
    output: str

    @property
    def figures(self) -> dict[str, Any]:
        """What a record keeps: not the output, which may name places of this machine."""
        return {name: getattr(self, name) for name in ("exit_code", "seconds", "peak", "anonymous", "mapped")}


def run_to_end(
    command: Sequence[str],
    *,
    cwd: Path,
    kill_when: Callable[[float], bool] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a command and wait for its end.

    Parameters
    ----------
    command : sequence of str
    cwd : pathlib.Path
    kill_when : callable, optional
        Is asked every 10 ms, with the seconds since the start, whether to kill the process (SIGKILL) now.
    environment : mapping of str to str, optional
        Variables besides those of this process.
    """
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            list(command), cwd=cwd, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
        most = {"RssAnon": 0, "RssFile": 0}
        try:
            ended = _end_of(process)
            while ended is None:
                time.sleep(POLL)
                _look_up(process.pid, most)
                if kill_when is not None and kill_when(time.perf_counter() - began):
                    os.kill(process.pid, signal.SIGKILL)
                    kill_when = None
                ended = _end_of(process)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - began
        output.seek(0)
        printed = output.read().decode("utf-8", "replace")
    exit_code, peak = ended
    return Ended(exit_code, seconds, peak, most["RssAnon"], most["RssFile"], printed)


def _end_of(process: subprocess.Popen[bytes]) -> tuple[int, int] | None:
    """Exit code and peak memory of a process that has ended; `Popen.wait` does not tell the memory."""
    pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    if not pid:
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024


def _look_up(pid: int, most: dict[str, int]) -> None:
    """Raise the figures in `most` to those of the moment."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # no such file on this system
        return
    for line in lines:
        name, _, value = line.partition(":")
        if name in most:
            most[name] = max(most[name], int(value.split()[0]) * 1024)
