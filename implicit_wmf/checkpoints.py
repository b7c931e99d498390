"""Checkpoints: what a fit needs to go on as if it had not been interrupted, written after an epoch.

A checkpoint is a folder. Its ``checkpoint.json`` says which epoch of which fit it is of, and has the history; plain
``.npy`` files hold what that epoch reached, a field each, and what the best epoch had reached if it was an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from ._folders import check_can_write, current_folder, remove_folder, writing_folder
from ._history import best_epoch
from ._manifests import Manifest, check_target, read_manifest, write_manifest
from ._questions import Question, differences
from ._signals import ending_on_sigterm
from ._stored_arrays import read_array, write_array
from .errors import InputError
from .parameters import truth, whole
from .persistence import PathLike, history_from_json, history_to_json
from .validation import copy_into

FORMAT = "implicit_wmf checkpoint"
FORMAT_VERSION = 1
MANIFEST = "checkpoint.json"
CALLED = "checkpoint"

_BEST = "best_"
_REQUIRED = {"epoch": int, "iterations": int, "question": dict, "history": list, "files": dict}


class Checkpoint:
    """The checkpoint of one fit: what an earlier one left there, and where this one writes.

    Without a path it does nothing.

    Parameters
    ----------
    path, every, resume
        As in :meth:`implicit_wmf.WMF.fit`.

    Attributes
    ----------
    history : list
        Records of the epochs that are done when the fit begins.
    best : NamedTuple of arrays, or None
        What the best of these reached, if it was not the last.

    Raises
    ------
    InputError
        If the path cannot be written, holds something else, a checkpoint that is damaged, or one that is not to be
        resumed.
    """

    def __init__(self, path: PathLike | None = None, *, every: int = 1, resume: bool = False) -> None:
        whole(1)("every", every)
        truth("resume", resume)
        self.history: list[Any] = []
        self.best: Any = None
        self._every, self._written = every, 0
        self._place: Path | None = None
        self._manifest: Manifest | None = None
        self._question: Question = {}
        self._total = 0
        if path is None:
            _refuse_without_path(every=every, resume=resume)
        else:
            self._place = _as_path(path)
            self._manifest = _look(self._place, resume)

    @property
    def epochs(self) -> tuple[int, int] | None:
        """Epochs that the checkpoint which is resumed has done, of how many; None without one."""
        return None if self._manifest is None else (self._manifest["epoch"], self._manifest["iterations"])

    def take_up(self, question: Callable[[], Question], total: int, outline: Any, record_type: type[Any]) -> Any:
        """Read what the earlier fit had reached; None if there was none, or nothing is to be written.

        Parameters
        ----------
        question : function without arguments
            Gives all that the result depends on, by name.
        total : int
            Epochs to be done in the end.
        outline : NamedTuple of arrays
            Shapes and dtypes of what an epoch reaches.
        record_type : class of the records of the history

        Returns
        -------
        NamedTuple of the outline's class with arrays of its own, or None

        Raises
        ------
        InputError
            If the checkpoint is damaged, or of another fit; names the file, or what differs.
        """
        if self._place is None:
            return None
        self._question, self._total = question(), total
        if self._manifest is None:
            return None
        differing = differences(self._manifest["question"], self._question)
        if differing:
            raise InputError(
                f"checkpoint: {self._place} is of another fit: {'; '.join(differing)}. Give what it was given to go "
                f"on, or remove it to start afresh"
            )
        if self._manifest["epoch"] > total:
            raise InputError(
                f"checkpoint: {self._place} holds {self._manifest['epoch']} epochs, more than the iterations asked "
                f"for, {total}; ask for at least as many, or remove it to start afresh"
            )
        try:
            reached = self._read(self._manifest, outline, record_type)
        except Exception as error:  # a damaged file can make NumPy raise anything
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            _refuse_damaged(f"the checkpoint {self._place} is damaged: {reason}", error)
        self._written = len(self.history)
        return reached

    def _read(self, manifest: Manifest, outline: Any, record_type: type[Any]) -> Any:
        assert self._place is not None
        folder, files = current_folder(self._place), manifest["files"]
        history = history_from_json(manifest["history"], record_type)
        if [record.epoch for record in history] != list(range(1, manifest["epoch"] + 1)):
            raise ValueError(f"{MANIFEST} has a history of other epochs than 1 to {manifest['epoch']}")
        reached = _read_fields(folder, files, "", outline)
        self.best = _read_fields(folder, files, _BEST, outline) if any(map(_is_best, files)) else None
        if (self.best is None) != (best_epoch(history) == manifest["epoch"]):
            raise ValueError(f"its history and its files differ in whether epoch {manifest['epoch']} is the best")
        self.history = history
        return reached

    def after_epoch(self, history: list[Any], reached: Any, best: Any, *, last: bool) -> None:
        """Write a checkpoint, if this epoch is one of those that get one."""
        if last or history[-1].epoch % self._every == 0:
            self.write(history, reached, best)

    def write(self, history: list[Any], reached: Any, best: Any) -> None:
        """Write a checkpoint of the last epoch, unless it is there; the one before stays until this one is complete.

        Parameters
        ----------
        history : list of records
        reached, best : NamedTuple of arrays
            What the last and the best epoch reached, the same object if they are the same epoch.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        if self._place is None or not history or history[-1].epoch == self._written:
            return
        epoch = history[-1].epoch
        self._refuse_another_writer()
        arrays = {f"{name}.npy": array for name, array in reached._asdict().items()}
        if best is not reached:
            arrays |= {f"{_BEST}{name}.npy": array for name, array in best._asdict().items()}
        try:
            with writing_folder(self._place) as folder:
                manifest = {
                    "format": FORMAT,
                    "format_version": FORMAT_VERSION,
                    "epoch": epoch,
                    "iterations": self._total,
                    "question": self._question,
                    "history": history_to_json(history),
                    "files": {name: write_array(folder / name, array) for name, array in arrays.items()},
                }
                write_manifest(folder / MANIFEST, manifest)
        except OSError as error:
            stays = f"the one of epoch {self._written} is still there" if self._written else "there is none yet"
            why = error.strerror or error
            raise InputError(
                f"checkpoint: cannot write {self._place} after epoch {epoch} ({why}); {stays}. Mend that and go on "
                f"with resume=True (--resume)"
            ) from error
        self._written = epoch

    def _refuse_another_writer(self) -> None:
        """Raise InputError if somebody else has written since: another fit at the same place."""
        assert self._place is not None
        there = checkpoint_epochs(self._place)
        if there is not None and there[0] != self._written:
            left = f"epoch {self._written}" if self._written else "nothing"
            raise InputError(
                f"checkpoint: {self._place} holds epoch {there[0]} where this fit left {left}: another fit writes "
                f"there. Give each its own"
            )

    @contextmanager
    def ending_on_sigterm(self) -> Iterator[None]:
        """Let SIGTERM raise `Terminated` meanwhile, where nobody else handles it and Python delivers it."""
        with nullcontext() if self._place is None else ending_on_sigterm():
            yield


def checkpoint_epochs(path: PathLike) -> tuple[int, int] | None:
    """Return epochs that the checkpoint at a path has done, of how many; None without a whole one."""
    try:
        manifest = _read_manifest(current_folder(Path(path)))
    except InputError:
        return None
    return manifest["epoch"], manifest["iterations"]


def remove_checkpoint(path: PathLike) -> None:
    """Remove a checkpoint; nothing else is ever removed."""
    place = check_target(path, MANIFEST, FORMAT, CALLED)
    folder = current_folder(place)
    if folder.exists():
        remove_folder(folder, place)


def _as_path(path: Any) -> Path:
    try:
        return Path(path).resolve()
    except (TypeError, ValueError, OSError) as error:
        raise InputError(f"checkpoint must be the path of a folder, got {path!r} ({error})") from error


def _refuse_without_path(**given: Any) -> None:
    defaults = Checkpoint.__init__.__kwdefaults__ or {}
    for name, value in given.items():
        if value != defaults[name]:
            raise InputError(f"{name} is {value!r}, which has no effect without checkpoint; give both or neither")


def _look(place: Path, resume: bool) -> Manifest | None:
    """Return the manifest of the checkpoint to resume; refuse a place that is taken or cannot be written."""
    folder = current_folder(place)
    if not folder.exists() or _is_empty_folder(folder):
        _try_to_write(place)
        return None
    if not (folder / MANIFEST).is_file():
        raise InputError(f"checkpoint: {folder} exists and is not a checkpoint; it was left alone. Choose another path")
    try:
        manifest = _read_manifest(folder)
    except InputError as error:
        _refuse_damaged(str(error), error)
    if not resume:
        raise InputError(
            f"checkpoint: {folder} holds epoch {manifest['epoch']} of {manifest['iterations']} of an earlier fit: give "
            f"resume=True (--resume) to go on, or remove it to start afresh"
        )
    check_target(place, MANIFEST, FORMAT, CALLED)
    check_can_write(place)
    return manifest


def _read_manifest(folder: Path) -> Manifest:
    manifest = read_manifest(folder, MANIFEST, FORMAT, (FORMAT_VERSION,), CALLED)
    missing = [name for name, kind in _REQUIRED.items() if not isinstance(manifest.get(name), kind)]
    if missing:
        raise InputError(f"the checkpoint {folder} is damaged: {MANIFEST} lacks {missing[0]!r}")
    return manifest


def _is_empty_folder(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir()) and not folder.samefile(Path.cwd())


def _try_to_write(place: Path) -> None:
    """Check that folders can be put there; an empty one may be where a disk is mounted, which cannot be replaced."""
    try:
        check_can_write(place)
        if place.exists():
            with writing_folder(place):
                pass
    except OSError as error:
        raise InputError(
            f"checkpoint: {place} cannot be replaced ({error.strerror}); name a folder inside it, which is to be made"
        ) from error


def _refuse_damaged(reason: str, error: Exception) -> NoReturn:
    raise InputError(f"checkpoint: {reason}; remove it to start afresh, or choose another path") from error


def _is_best(name: str) -> bool:
    return name.startswith(_BEST)


def _read_fields(folder: Path, files: Mapping[str, Any], prefix: str, outline: Any) -> Any:
    """Read the arrays of a NamedTuple, which begin at cache lines as those of a fit do."""
    arrays = {}
    for name, expected in outline._asdict().items():
        file = f"{prefix}{name}.npy"
        array = read_array(folder / file, files[file], mmap=False, whole=True)
        if (array.shape, array.dtype) != (expected.shape, expected.dtype):
            met, wanted = (f"{one.dtype}{one.shape}" for one in (array, expected))
            raise ValueError(f"{file} is {met}, expected {wanted}")
        arrays[name] = copy_into(None, array)
    return type(outline)(**arrays)
