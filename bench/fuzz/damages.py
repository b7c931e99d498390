"""Harm to the files of a saved folder, as hypothesis strategies; applied by :func:`harm`.

A case is JSON: which of several folders is harmed, what is done to its files, and whether the checksums are made to fit
again, as if another program had written the folder.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

Case = dict[str, Any]

HEAD = 256
NAMES = ("..", "../model.json", "/etc/hostname", "user_factors.npy", "users_bytes.npy", "", "none.npy", "model.json")
NUMBERS = (0, -1, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, 1e-320)
OTHERS = (None, True, False, "", "x", "0", "nan", [], {}, [0], [[]], [1, 2, 3], {"a": 1}, {"file": "user_factors.npy"})
JSON_VALUES = (*NUMBERS, *NAMES, *OTHERS)


def damages() -> st.SearchStrategy[Case]:
    """Draw a folder and what happens to it."""
    return st.fixed_dictionaries(
        {
            "folder": st.integers(0, 99),
            "harms": st.lists(st.one_of(_to_bytes(), _to_bytes(), _to_files(), _to_json()), min_size=1, max_size=3),
            "mend": st.booleans(),
        }
    )


def _to_bytes() -> st.SearchStrategy[list[Any]]:
    file, where = st.integers(0, 99), st.floats(0, 1, exclude_max=True)
    # Headers of arrays are small beside their contents, and say more.
    where = st.one_of(where, where, st.integers(0, HEAD))
    letters = st.binary(min_size=1, max_size=8).map(lambda put: put.decode("latin-1"))
    return st.one_of(
        st.tuples(st.just("flip"), file, where, st.integers(0, 7)),
        st.tuples(st.just("put"), file, where, letters),
        st.tuples(st.just("truncate"), file, where, st.none()),
        st.tuples(st.just("extend"), file, where, st.integers(1, 300)),
    ).map(list)


def _to_files() -> st.SearchStrategy[list[Any]]:
    file = st.integers(0, 99)
    return st.one_of(
        st.tuples(st.just("swap"), file, file, st.none()),
        st.tuples(st.just("copy"), file, file, st.none()),
        st.tuples(st.just("remove"), file, st.none(), st.none()),
        st.tuples(st.just("folder"), file, st.none(), st.none()),
    ).map(list)


def _to_json() -> st.SearchStrategy[list[Any]]:
    place = st.integers(0, 999)
    return st.one_of(
        st.tuples(st.just("set"), place, st.sampled_from(JSON_VALUES), st.none()),
        st.tuples(st.just("delete"), place, st.none(), st.none()),
        st.tuples(st.just("exchange"), place, place, st.none()),
    ).map(list)


def harm(folder: Path, manifest: str, case: Case) -> bool:
    """Do to a folder what a case says; return whether any byte of it has changed."""
    before = _contents(folder)
    for how, first, second, third in case["harms"]:
        if how in ("set", "delete", "exchange"):
            _edit(folder / manifest, how, first, second)
        else:
            _harm_file(folder, how, first, second, third)
    if case["mend"]:
        _mend(folder, manifest)
    return _contents(folder) != before


def _contents(folder: Path) -> dict[str, bytes | None]:
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _harm_file(folder: Path, how: str, number: int, where: Any, what: Any) -> None:
    files = _files(folder)
    if not files:
        return
    path = files[number % len(files)]
    if how in ("swap", "copy"):
        _exchange_files(path, files[where % len(files)], how)
    elif how in ("remove", "folder"):
        path.unlink()
        if how == "folder":
            path.mkdir()
    else:
        path.write_bytes(_harmed(path.read_bytes(), how, where, what))


def _exchange_files(one: Path, other: Path, how: str) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    other.write_bytes(first)
    if how == "swap":
        one.write_bytes(second)


def _harmed(content: bytes, how: str, where: Any, what: Any) -> bytes:
    place = min(where if isinstance(where, int) else int(where * len(content)), max(0, len(content) - 1))
    if how == "truncate":
        return content[:place]
    if how == "extend":
        return content + bytes(what)
    if how == "put":
        put = what.encode("latin-1")
        return content[:place] + put + content[place + len(put) :]
    return content[:place] + bytes(byte ^ (1 << what) for byte in content[place : place + 1]) + content[place + 1 :]


def _edit(path: Path, how: str, number: int, other: Any) -> None:
    """Change an entry anywhere in a manifest."""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        places = list(_places(manifest))
    except (OSError, ValueError):
        return
    if not places:
        return
    holder, key = places[number % len(places)]
    if how == "set":
        holder[key] = other
    elif how == "delete":
        del holder[key]
    else:
        second, name = places[other % len(places)]
        holder[key], second[name] = second[name], holder[key]
    path.write_text(_json(manifest), encoding="utf-8")


def _json(manifest: Any) -> str:
    try:
        return json.dumps(manifest)
    except ValueError:  # exchanged entries may hold one another
        return "{}"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield what holds each entry of a tree of JSON, and the entry's name or number."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in list(entries):
        yield value, key
        yield from _places(entry)


def _mend(folder: Path, manifest: str) -> None:
    """Give the files the sizes and checksums that they have now, and the manifest its own."""
    path = folder / manifest
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for name, about in content["files"].items():
            about.update(_about((folder / name).read_bytes()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        pass
    else:
        content.pop("crc32", None)
        content["crc32"] = zlib.crc32(json.dumps(content, sort_keys=True).encode())
        path.write_text(json.dumps(content), encoding="utf-8")


def _about(content: bytes) -> dict[str, int]:
    return {"bytes": len(content), "crc32": zlib.crc32(content), "head_crc32": zlib.crc32(content[:HEAD])}


def fresh_copy(folder: Path, name: str, source: Path) -> Path:
    """Put a copy of a folder where the one of the case before was."""
    target = folder / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target
