"""Saved models: a folder of plain ``.npy`` arrays and one JSON file, without pickle.

The folder is written under a temporary name and renamed, so it is there whole or not at all. ``model.json`` names every
file with its size and checksum.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ._stored_ids import Arrays, pack_ids, unpack_ids
from .config import WMFConfig
from .errors import InputError
from .interactions import Interactions
from .training import EpochRecord

FORMAT = "implicit_wmf model"
FORMAT_VERSION = 1
MANIFEST = "model.json"

_CHUNK = 1 << 22


@dataclass(frozen=True)
class SavedModel:
    """All that a fitted model is."""

    config: WMFConfig
    user_factors: NDArray[Any]
    item_factors: NDArray[Any]
    interactions: Interactions
    history: list[EpochRecord]


def is_model(path: str | os.PathLike[str]) -> bool:
    """Whether a folder with a model's manifest is there."""
    return (Path(path) / MANIFEST).is_file()


def save_model(path: str | os.PathLike[str], model: SavedModel) -> None:
    """Write a model's folder; one that is there already is replaced once the new one is complete.

    Raises
    ------
    InputError
        If something else than a model is at `path`, or an id cannot be stored.
    """
    target = Path(path)
    if target.exists() and not is_model(target):
        raise InputError(f"{target} exists and is not a saved model; it was left alone. Choose another path")
    matrix = model.interactions.matrix
    arrays: Arrays = {
        "user_factors": model.user_factors,
        "item_factors": model.item_factors,
        "interactions_indptr": matrix.indptr,
        "interactions_indices": matrix.indices,
        "interactions_values": matrix.data,
    }
    ids = {}
    for name, index in (("users", model.interactions.users), ("items", model.interactions.items)):
        ids[name], parts = pack_ids(name, index)
        arrays |= {f"{name}_{part}": array for part, array in parts.items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        files = {f"{name}.npy": _write_array(folder / f"{name}.npy", array) for name, array in arrays.items()}
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "config": _config_to_json(model.config),
            "ids": ids,
            "history": [_record_to_json(record) for record in model.history],
            "files": files,
        }
        _write_text(folder / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False))
        folder.chmod(0o777 & ~_umask())
        _publish(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _publish(folder: Path, target: Path) -> None:
    """Rename into place. A model that is replaced is moved aside first: folders cannot be exchanged in one step."""
    if not target.exists():
        folder.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    target.rename(old / target.name)
    try:
        folder.rename(target)
    except BaseException:
        (old / target.name).rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _write_array(path: Path, array: NDArray[Any]) -> dict[str, int]:
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
        _flush(file)
    return {"bytes": path.stat().st_size, "crc32": _checksum(path)}


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        _flush(file)


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def _config_to_json(config: WMFConfig) -> dict[str, Any]:
    values = {spec.name: getattr(config, spec.name) for spec in fields(config)}
    values["dtype"] = config.factor_dtype.name
    if isinstance(config.random_state, np.random.Generator):
        values["random_state"] = None  # a generator has moved on since; its state would not repeat the fit
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}


def _record_to_json(record: EpochRecord) -> dict[str, Any]:
    return {name: None if math.isnan(value) else value for name, value in asdict(record).items()}


def _record_from_json(values: dict[str, Any]) -> EpochRecord:
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in values.items()}
    return EpochRecord(**known)


def load_model(path: str | os.PathLike[str], *, mmap: bool = False) -> SavedModel:
    """Read a saved model; with `mmap` its arrays stay on disk and are read as they are used.

    Every file's size, type and shape are checked, and its checksum as well unless `mmap` is asked for (which would
    read the factors whole).

    Raises
    ------
    InputError
        If the folder is not a model, is of a newer format, or is damaged; says what is wrong.
    """
    folder = Path(path)
    manifest = _read_manifest(folder)
    try:
        arrays = {name: _read_array(folder / name, about, mmap) for name, about in manifest["files"].items()}
        config = WMFConfig(**manifest["config"])
        interactions = _interactions(manifest["ids"], arrays)
        users, items = interactions.shape
        factors = _factors(arrays, "user_factors", config, users), _factors(arrays, "item_factors", config, items)
        history = [_record_from_json(record) for record in manifest["history"]]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"the saved model {folder} is damaged: {reason}") from error
    return SavedModel(config, *factors, interactions, history)


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.exists():
        raise InputError(f"there is no saved model at {folder}")
    if not is_model(folder):
        raise InputError(f"{folder} is not a saved model: it has no {MANIFEST}")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"the saved model {folder} is damaged: {MANIFEST} is not JSON ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{folder} is not a saved model of implicit_wmf: {MANIFEST} does not say {FORMAT!r}")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise InputError(
            f"{folder} is a model of format version {version}; this release reads version {FORMAT_VERSION}. "
            f"Load it with the release that wrote it, or upgrade implicit_wmf"
        )
    return manifest


def _read_array(path: Path, about: dict[str, int], mmap: bool) -> NDArray[Any]:
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    if path.stat().st_size != about["bytes"]:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes where {about['bytes']} were written")
    if not mmap and _checksum(path) != about["crc32"]:
        raise ValueError(f"{path.name} has other contents than were written (checksum)")
    array: NDArray[Any] = np.load(path, mmap_mode="r" if mmap and path.stat().st_size else None, allow_pickle=False)
    return array


def _factors(arrays: Arrays, side: str, config: WMFConfig, count: int) -> NDArray[Any]:
    factors = arrays[f"{side}.npy"]
    expected = (count, config.factors)
    if factors.shape != expected or factors.dtype != config.factor_dtype or not factors.flags.c_contiguous:
        raise ValueError(f"{side}.npy is {factors.dtype}{factors.shape}, expected {config.factor_dtype}{expected}")
    return factors


def _interactions(ids: dict[str, Any], arrays: Arrays) -> Interactions:
    def unpack(name: str) -> pd.Index:
        prefix = f"{name}_"
        parts = {file[len(prefix) : -4]: array for file, array in arrays.items() if file.startswith(prefix)}
        return unpack_ids(ids[name], parts)

    users, items = unpack("users"), unpack("items")
    indptr, indices, values = (arrays[f"interactions_{part}.npy"] for part in ("indptr", "indices", "values"))
    matrix = csr_array((values, indices, indptr), shape=(len(users), len(items)), copy=False)
    # The constructor checks the indices, which kernels follow without looking, even when the rest stays on disk.
    return Interactions(matrix, users, items)
