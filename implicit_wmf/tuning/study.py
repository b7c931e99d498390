"""The record of a search: an Optuna study, in memory or in a file, to which each trial is added when it has ended.

A trial is added as a whole, so a search that is interrupted, or killed, leaves nothing half done behind.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .._words import count
from ..errors import InputError
from .optional import optuna, quiet
from .search import Trial, distributions
from .space import Space
from .trials import Outcome

PathLike = str | os.PathLike[str]

_ABOUT = "implicit_wmf"
_ANOTHER = "use another storage (on the command line: another --output), or another study_name in it"


def open_study(storage: PathLike | None, name: str, about: dict[str, Any]) -> Any:
    """Make a study, or open the one of that name, which must be `about` the same data and settings."""
    with quiet():
        study = _created(storage, name)
    if not study.get_trials(deepcopy=False):  # perhaps begun with a mistake that trial 0 found
        study.set_user_attr(_ABOUT, about)
    known = study.user_attrs.get(_ABOUT)
    if known is None:
        raise InputError(
            f"storage: study {name!r} in {storage} holds other trials than tune's; give another study_name"
        )
    _check_same(known, about, f"study {name!r} in {storage}")
    return study


def plan_trials(study: Any, trials: int, keeps: Callable[[int, int], bool]) -> None:
    """Note how many trials a study is to have now; those it has must be the first of as many.

    `keeps` says of an earlier number of trials, and of how many were run, whether that is so.
    """
    about, run = study.user_attrs[_ABOUT], len(study.get_trials(deepcopy=False))
    before = about["trials"]
    if before == trials:
        return
    if not keeps(before, run):
        raise InputError(
            f"storage: study {study.study_name!r} has run {count(run, 'trial')} of a plan for {before}, and a plan for "
            f"{trials} would have begun otherwise; ask for {before}, or {_ANOTHER}"
        )
    study.set_user_attr(_ABOUT, about | {"trials": trials})


def _created(storage: PathLike | None, name: str) -> Any:
    package = optuna()
    place: Any = None if storage is None else _url(storage)
    try:
        if place is not None and place.startswith("sqlite:"):
            from sqlalchemy.pool import NullPool

            # without a pool no connection stays open when the search is over
            place = package.storages.RDBStorage(place, engine_kwargs={"poolclass": NullPool})
        return package.create_study(storage=place, study_name=name, direction="maximize", load_if_exists=True)
    except Exception as error:  # of the driver, which depends on the address
        raise InputError(f"storage: {storage} cannot be used ({_first_line(error)}); name another file") from error


def _url(storage: PathLike) -> str:
    """Return the address of a file's database; a text that is an address already stays."""
    if isinstance(storage, str) and "://" in storage:
        return storage
    path = Path(storage)
    if not path.parent.is_dir():
        raise InputError(f"storage: there is no folder {path.parent} for {path.name}; create it first")
    if path.is_dir():
        raise InputError(f"storage: {path} is a folder; name a file in it, such as {path / 'study.db'}")
    return f"sqlite:///{path}"


def _first_line(error: BaseException) -> str:
    cause = error
    while not isinstance(cause, sqlite3.Error) and cause.__cause__ is not None:
        cause = cause.__cause__
    return str(cause).strip().partition("\n")[0]


def _check_same(known: dict[str, Any], about: dict[str, Any], where: str) -> None:
    for name, value in about.items():
        before = known.get(name)
        if before == value or name == "trials":  # which may change, see plan_trials
            continue
        change = f"{name} was {before!r} and is now {value!r}"
        if isinstance(value, dict) and isinstance(before, dict):
            key = next(key for key in [*before, *value] if before.get(key) != value.get(key))
            change = f"{name} {key} was {before.get(key)!r} and is now {value.get(key)!r}"
        elif name in ("train", "validation"):
            change = f"the {name} data are not the same"
        raise InputError(f"storage: {where} was begun otherwise: {change}; {_ANOTHER}")


def add_trial(study: Any, trial: Trial, space: Space, settings: dict[str, Any], seconds: float) -> None:
    """Write down a trial that has ended."""
    outcome = trial.ended
    package = optuna()
    if len(study.get_trials(deepcopy=False)) != trial.number:
        raise InputError(f"storage: another process adds trials to study {study.study_name!r}; run one at a time")
    state = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}[outcome.state]
    dimension = package.distributions.IntDistribution(1, max(1 << 20, trial.factors), log=True)
    spread = {name: one for name, one in distributions(space).items() if name in trial.point}
    study.add_trial(
        package.trial.create_trial(
            state=package.trial.TrialState[state],
            value=outcome.value if outcome.epoch else None,
            params={"factors": trial.factors} | trial.point,
            distributions={"factors": dimension} | spread,
            intermediate_values=dict(enumerate(outcome.curve, start=1)),
            user_attrs={
                "source": trial.source,
                "settings": settings,
                "epoch": outcome.epoch,
                "seconds": seconds,
                "error": outcome.error,
            },
        )
    )


def read_trials(study: Any, space: Space) -> list[Trial]:
    """Return the trials of a study, in their order."""
    return [_read(one, space) for one in study.get_trials(deepcopy=False)]


def _read(one: Any, space: Space) -> Trial:
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    attrs = one.user_attrs
    if one.state.name not in states or "source" not in attrs:
        raise InputError(f"storage: trial {one.number} of the study is not one of tune's; give another study_name")
    curve = tuple(one.intermediate_values[epoch] for epoch in sorted(one.intermediate_values))
    outcome = Outcome(states[one.state.name], curve, attrs["epoch"], attrs["error"])
    point = {name: one.params[name] for name in space if name in one.params}
    return Trial(one.number, one.params["factors"], attrs["source"], point, outcome)


def table_rows(study: Any, done: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return a row of the table for each trial."""
    rows = []
    for one, trial in zip(study.get_trials(deepcopy=False), done, strict=True):
        rows.append(
            {"trial": trial.number, "source": trial.source, "factors": trial.factors}
            | one.user_attrs["settings"]
            | {
                "iterations": trial.ended.epoch,
                "epochs": len(trial.ended.curve),
                "state": trial.ended.state,
                "value": trial.ended.value,
                "seconds": one.user_attrs["seconds"],
                "error": trial.ended.error,
            }
        )
    return rows
