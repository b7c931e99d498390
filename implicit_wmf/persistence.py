"""Saved models: a folder of plain ``.npy`` arrays and one JSON file; nothing in it is code.

``model.json`` names every file with its size and checksums, and has a checksum of its own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ._folders import check_can_write, current_folder, writing_folder
from ._manifests import check_target, is_manifest, read_manifest, write_manifest
from ._stored_arrays import read_array, write_array
from ._stored_ids import Arrays, pack_ids, unpack_ids
from .errors import InputError
from .interactions import Interactions
from .parameters import Config, as_path

FORMAT = "implicit_wmf model"
FORMAT_VERSION = 2
# Version 1 has models of one class only, without confidences, and fewer hyper-parameters, which had the defaults.
READABLE_VERSIONS = (1, 2)
MANIFEST = "model.json"
CALLED = "saved model"

_TRIES = 10  # of reading a model that is replaced meanwhile
_EXTRA = "extra_"
_PARTS = ("values", "indices", "indptr")  # of a matrix, in scipy's order
_FACTORS = ("user_factors.npy", "item_factors.npy")

PathLike = str | os.PathLike[str]


class ModelKind(NamedTuple):
    """An estimator: the name of its class, and those of its hyper-parameters and history records."""

    name: str
    config_type: type[Config]
    record_type: type[Any]


@dataclass(frozen=True)
class SavedModel:
    """All that a fitted model is."""

    config: Any
    user_factors: NDArray[Any]
    item_factors: NDArray[Any]
    interactions: Interactions
    history: list[Any]
    confidence: csr_array | None = None  # canonical, of the shape of the interactions
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # what else the estimator keeps, by name
    _derived: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def derive(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what was prepared from this state under a key, or make it; of several threads, the first one's."""
        if key not in self._derived:
            self._derived.setdefault(key, make())
        return self._derived[key]


def is_model(path: PathLike) -> bool:
    """Whether a saved model of this library, of any version, whole or damaged, is there."""
    return is_manifest(current_folder(as_path("path", path)) / MANIFEST, FORMAT)


def check_can_save(path: PathLike, interactions: Interactions) -> None:
    """Raise what `save_model` would raise for this place and these ids, before a long fit; make the parent folder."""
    target = check_target(path, MANIFEST, FORMAT, CALLED)
    for name in ("users", "items"):
        pack_ids(name, getattr(interactions, name))
    check_can_write(target)


def save_model(path: PathLike, kind: ModelKind, model: SavedModel) -> None:
    """Write a model's folder; a saved model that is there already is replaced once the new one is complete.

    Raises
    ------
    InputError
        If the place cannot be written, something else than a model is there, or an id cannot be stored.
    """
    target = check_target(path, MANIFEST, FORMAT, CALLED)
    arrays, ids = _arrays(model)
    config = _config_to_json(model.config, arrays)
    with writing_folder(target) as folder:
        files = {f"{name}.npy": write_array(folder / f"{name}.npy", array) for name, array in arrays.items()}
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "model": kind.name,
            "config": config,
            "ids": ids,
            "history": history_to_json(model.history),
            "files": files,
        }
        write_manifest(folder / MANIFEST, manifest)


def _arrays(model: SavedModel) -> tuple[Arrays, dict[str, Any]]:
    """All arrays by the name of their file, and the descriptions of the ids."""
    data = model.interactions
    arrays: Arrays = {"user_factors": model.user_factors, "item_factors": model.item_factors}
    for name, matrix in (("interactions", data.matrix), ("confidence", model.confidence)):
        if matrix is not None:
            parts = (matrix.data, matrix.indices, matrix.indptr)
            arrays |= {f"{name}_{part}": array for part, array in zip(_PARTS, parts, strict=True)}
    if data.timestamps is not None:
        arrays["interactions_timestamps"] = data.timestamps
    arrays |= {f"{_EXTRA}{name}": array for name, array in model.extra.items()}
    ids = {}
    for name, index in (("users", data.users), ("items", data.items)):
        ids[name], packed = pack_ids(name, index)
        arrays |= {f"{name}_{part}": array for part, array in packed.items()}
    return arrays, ids


def _config_to_json(config: Config, arrays: Arrays) -> dict[str, Any]:
    """Hyper-parameters as JSON; those that are arrays join the arrays, and their file stands for them."""
    values = config.plain()
    for name, value in values.items():
        if isinstance(value, np.random.Generator):
            values[name] = None  # a generator has moved on since; its state would not repeat the fit
        elif isinstance(value, np.ndarray):
            arrays[f"config_{name}"] = value
            values[name] = {"file": f"config_{name}.npy"}
    return values


def history_to_json(history: list[Any]) -> list[Any]:
    """Write records of epochs as JSON, every number exactly."""
    return [_to_json(asdict(record)) for record in history]


def history_from_json(records: list[Any], record_type: type[Any]) -> list[Any]:
    """Undo :func:`history_to_json`."""
    return [record_type(**{name: _from_json(name, value) for name, value in record.items()}) for record in records]


def _to_json(value: Any) -> Any:
    """Numbers as they are; JSON has no NaN, which becomes null, and no infinity, which becomes text."""
    if isinstance(value, dict):
        return {name: _to_json(number) for name, number in value.items() if number != {}}
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def _from_json(name: str, value: Any) -> Any:
    if name == "validation":
        return {metric: _number_from_json(number) for metric, number in value.items()}
    return _number_from_json(value)


def _number_from_json(value: Any) -> Any:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"its history has {value!r} in the place of a number")
    return float(value) if isinstance(value, str) else value


def load_model(path: PathLike, kind: ModelKind, *, mmap: bool = False) -> SavedModel:
    """Read a saved model; with `mmap` its arrays stay on disk and are read as they are used.

    Every file's size and checksum are verified. With `mmap` the two factor files, which are not to be read whole, are
    the exception: of them the header is verified. Where another model is put in its place meanwhile, by `save_model` or
    by turning a link, one of the two is read, whole.

    Raises
    ------
    InputError
        If the folder is not a model, is of another class or format version, or is damaged; says what is wrong.
    """
    given = as_path("path", path)
    for _ in range(_TRIES):
        folder, manifest = _find(given)
        try:
            return _read(folder, manifest, kind, mmap=mmap)
        except InputError:
            with suppress(InputError, OSError):
                if _find(given) != (folder, manifest):
                    continue  # another model is there by now
            raise
    raise InputError(f"the saved model {given} was replaced {_TRIES} times while it was read; read it again")


def _find(given: Path) -> tuple[Path, dict[str, Any]]:
    """Find the folder and read its manifest; links are followed here alone, lest they be turned between two files."""
    folder = current_folder(given)
    real = folder.resolve()
    if real != folder.absolute():
        folder = real  # other paths stay as they were given, for messages
    return folder, read_manifest(folder, MANIFEST, FORMAT, READABLE_VERSIONS, CALLED)


def _read(folder: Path, manifest: dict[str, Any], kind: ModelKind, *, mmap: bool) -> SavedModel:
    """Read the model that a manifest is of, if its files are in the folder."""
    name = manifest.get("model", "WMF")
    if name != kind.name:
        raise InputError(f"the saved model {folder} is a {name}, not a {kind.name}: load it with {name}.load")
    try:
        arrays = {
            name: read_array(folder / name, about, mmap=mmap, whole=not mmap or name not in _FACTORS)
            for name, about in manifest["files"].items()
        }
        config = _config_from_json(manifest["config"], kind.config_type, arrays, manifest["format_version"])
        interactions = _interactions(manifest["ids"], arrays)
        history = history_from_json(manifest["history"], kind.record_type)
        extra = {file[len(_EXTRA) : -4]: array for file, array in arrays.items() if file.startswith(_EXTRA)}
        model = SavedModel(
            config, *_factors(arrays, config, interactions), interactions, history, _confidence(arrays, interactions),
            extra,
        )  # fmt: skip
    except Exception as error:  # a damaged file can make NumPy and pandas raise anything
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"the saved model {folder} is damaged: {reason}") from error
    return model


def _config_from_json(values: dict[str, Any], config_type: type[Config], arrays: Arrays, version: int) -> Config:
    missing = set(config_type.names()) - set(values)
    if set(values) - set(config_type.names()) or (missing and version > 1):
        raise ValueError("its hyper-parameters are not those of this release")
    return config_type(
        **{name: arrays[value["file"]] if isinstance(value, dict) else value for name, value in values.items()}
    )


def _factors(arrays: Arrays, config: Config, interactions: Interactions) -> tuple[NDArray[Any], NDArray[Any]]:
    users, items = (arrays[name] for name in _FACTORS)
    width = users.shape[-1]
    for name, factors, count in zip(_FACTORS, (users, items), interactions.shape, strict=True):
        expected = (count, width)
        if factors.shape != expected or factors.dtype != config.factor_dtype or not factors.flags.c_contiguous:
            raise ValueError(f"{name} is {factors.dtype}{factors.shape}, expected {config.factor_dtype}{expected}")
    return users, items


def _confidence(arrays: Arrays, interactions: Interactions) -> csr_array | None:
    if f"confidence_{_PARTS[0]}.npy" not in arrays:
        return None
    matrix = _matrix("confidence", arrays, interactions.shape)
    return Interactions(matrix, interactions.users, interactions.items).matrix


def _matrix(name: str, arrays: Arrays, shape: tuple[int, int]) -> csr_array:
    return csr_array(tuple(arrays[f"{name}_{part}.npy"] for part in _PARTS), shape=shape, copy=False)


def _interactions(ids: dict[str, Any], arrays: Arrays) -> Interactions:
    def unpack(name: str) -> pd.Index:
        prefix = f"{name}_"
        parts = {file[len(prefix) : -4]: array for file, array in arrays.items() if file.startswith(prefix)}
        return unpack_ids(ids[name], parts)

    users, items = unpack("users"), unpack("items")
    matrix = _matrix("interactions", arrays, (len(users), len(items)))
    # The constructor checks the indices, which kernels follow without looking, even when the rest stays on disk.
    return Interactions(matrix, users, items, arrays.get("interactions_timestamps.npy"))
