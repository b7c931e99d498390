"""What was measured, as JSON: written beside every report, so that any figure in it can be traced and drawn again."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from implicit_wmf import __version__
from implicit_wmf.errors import InputError

Record = dict[str, Any]

PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "pandas",
    "threadpoolctl",
    "duckdb",
    "pyarrow",
    "dask",
    "distributed",
    "implicit",
    "irspack",
    "cmfrec",
    "pyspark",
)
# those that a report names
SHOWN_PACKAGES = ("numpy", "scipy", "numba", "implicit", "irspack", "cmfrec", "pyspark")
ENVIRONMENT = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMBA_CPU_NAME",
)


def machine_record() -> Record:
    """Describe this machine and this process: processor, memory, versions, BLAS and the variables that steer it.

    A value that the system does not tell is None, as is the version of a package that is not installed. `blas` lists
    the libraries that NumPy and SciPy load, with the kernel each has chosen and its threads in this process; a worker
    with other environment variables has others.
    """
    return {
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "last_level_cache_bytes": last_level_cache(),
        "memory_bytes": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {"implicit_wmf": __version__, **{name: _version(name) for name in PACKAGES}},
        "java": _java_version(),
        "blas": blas_libraries(),
        "environment": {name: os.environ.get(name) for name in ENVIRONMENT},
    }


def machine(job: Record) -> Record:
    """Describe the machine as a task of a worker: with the environment that measurements are made in."""
    return machine_record()


def versions(machine: Record, shown: Iterable[str] = SHOWN_PACKAGES) -> str:
    """Name the packages that a report is about, each with the version that was measured."""
    return ", ".join(f"{name} {machine['packages'].get(name) or 'not installed'}" for name in shown)


def write_json(path: Path, record: Record) -> None:
    """Write a record, a line for each flat list of numbers or object; an interrupted write leaves the old file.

    Numbers that JSON does not know (NaN, infinity: a contestant that diverged) become null.
    """
    text = json.dumps(_plain(record), indent=1, allow_nan=False)
    # line breaks are structural only: those inside strings are escaped
    for flat in (r"\[\n([^\[\]{}\"]*)\]", r"\{\n([^\[\]{}]*)\}"):
        text = re.sub(flat, _on_one_line, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(f"{text}\n", encoding="utf-8")
    part.replace(path)


def read_json(path: Path) -> Record:
    """Read what `write_json` wrote; InputError for a file that is missing or holds no record."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a record of the benchmark: {error}") from error
    if not isinstance(record, dict) or "benchmark" not in record:
        raise InputError(f"{path} is no record of the benchmark: it names none; give the RESULTS.json of a run")
    return record


def last_level_cache() -> int | None:
    """Size in bytes, None where the system does not tell."""
    folders = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"))
    return int(folders[-1].read_text().strip().removesuffix("K")) * 1024 if folders else None


def blas_libraries() -> list[Record]:
    """List the BLAS libraries that NumPy and SciPy load in this process."""
    import numpy  # noqa: F401
    import scipy.linalg.blas  # noqa: F401
    from threadpoolctl import threadpool_info

    found = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    libraries = [
        {
            "library": pool.get("internal_api"),
            "version": pool.get("version"),
            "kernels": pool.get("architecture"),
            "threads": pool.get("num_threads"),
        }
        for pool in found
    ]
    return sorted(libraries, key=lambda library: [str(value) for value in library.values()])


def _on_one_line(found: re.Match[str]) -> str:
    return found[0][0] + re.sub(r"\n\s*", " ", found[1]).strip() + found[0][-1]


def _plain(value: Any) -> Any:
    """Turn paths, NumPy's numbers and arrays into what JSON knows."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _java_version() -> str | None:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if java is None:
        return None
    # it writes the version to stderr
    lines = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr.splitlines()
    return lines[0] if lines else None


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
