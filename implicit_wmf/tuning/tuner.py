"""The search for hyper-parameters."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from .._bars import Bar
from .._config_file import config_values
from ..config import WMFConfig
from ..errors import InputError
from ..interactions import as_interactions
from ..model import WMF
from ..parameters import number, or_none, whole
from .asked import as_config, count_users, described, metric_name, seeded
from .search import Trial, best_trial, keeps_trials, next_trial, others_of, plan_stages, promising
from .space import RELATIVE, Space, check_space, default_space, settings
from .study import PathLike, add_trial, open_study, plan_trials, read_trials, table_rows
from .trials import Judge, Outcome, run_default, run_trial


@dataclass(frozen=True, eq=False)
class Tuning:
    """What a search found.

    Attributes
    ----------
    config : WMFConfig
        The best settings; `iterations` is the epoch at which they were best. ``WMF.from_config(config).fit(train)`` is
        the very model that came to `value`.
    value : float
        The metric of these settings on the validation part.
    default_value : float
        The metric of the settings as given, all their epochs run: trial 0.
    best_trial : int
        The trial that it was, or whose settings it has (`refitted`).
    refitted : bool
        Whether the time was up before settings were tried at the full dimension, and `value` is of one more fit there,
        of the best settings so far. It is no trial, and stands in no study: the search goes on as if it had not been.
    users : int
        How many users `value` is the mean of: those of the validation part with something new to find.
    trials : pandas.DataFrame
        One row a trial: ``trial``; ``source``, where its settings are from (config, published, search, or the trial
        that they were carried over from); ``factors``; the hyper-parameters that were searched; ``iterations``, its
        best epoch; ``epochs``, how many were run; ``state`` (complete, pruned, failed); ``value`` at the best epoch;
        ``seconds``; ``error``, why it failed.
    study : optuna.study.Study
        The same for Optuna's plots and dashboard.
    planned : int
        Trials asked for; fewer were run if the time was up.
    """

    config: WMFConfig
    value: float
    default_value: float
    best_trial: int
    refitted: bool
    users: int
    trials: pd.DataFrame
    study: Any
    planned: int

    @property
    def complete(self) -> bool:
        """Whether all trials were run."""
        return len(self.trials) == self.planned


def tune(
    train: Any,
    validation: Any,
    *,
    trials: int = 40,
    metric: str = "ndcg@20",
    config: WMFConfig | WMF | None = None,
    space: Space | None = None,
    storage: PathLike | None = None,
    study_name: str = "implicit_wmf",
    timeout: float | None = None,
    patience: int = 3,
    random_state: int = 0,
    progress: bool | None = None,
) -> Tuning:
    """Search the hyper-parameters with the best metric on a validation part.

    Trial 0 is `config` as it is. Then settings are drawn by Optuna's tree-structured Parzen estimator, first at a
    quarter of the factors, then at half, then at all of them: the best of a stage come first in the next, at the values
    they have (the penalties of the best models hardly move with the dimension). Each fit is measured after every epoch
    and ends when the metric has not risen for `patience` epochs, or from the sixth epoch on lies below the median of
    those trials of the stage that were fitted to the end; `iterations` is thus found and not drawn. No decision depends
    on the clock: the same call gives the same trials.

    Keep a test part that this function never sees, such as the last weeks, for the figure that you report.

    Parameters
    ----------
    train : Interactions, scipy sparse matrix or array
        What is fitted.
    validation : Interactions, scipy sparse matrix or array
        What is predicted, of one shape with `train`: later interactions of the same users. Also a pair (fold_in,
        targets) as `WMF.fit` takes it.
    trials : int
        How many settings to try, `config` included.
    metric : str
        Of `implicit_wmf.evaluation`, per user and the higher the better.
    config : WMFConfig or WMF, optional
        What is not searched: `factors`, the final dimension; `iterations`, the most epochs of a fit; and all others
        that `space` does not name. `random_state` None is taken as the seed of the search.
    space : dict of str to Range or Choice, optional
        What is searched; by default `default_space`, which has the table.
    storage : path, optional
        File (SQLite) that keeps the trials, or an address that Optuna knows. The same call goes on where an
        interrupted one was, with the same result as if it had not been; with more `trials` too, if a plan for as many
        would have begun alike (with fewer than 32 factors always, else while the first stage lasts).
    study_name : str
        Name of the study in the file.
    timeout : float, optional
        Seconds after which no further trial is begun. If none of the search has been fitted at the full dimension by
        then, which begins in the last quarter of the trials, the best settings so far are fitted once there, so that
        the result is the best that was found. Where the same time is to reach the full dimension ask for fewer trials.
    patience : int
        Epochs without a better value until a fit ends.
    random_state : int
        Seed of the search.
    progress : bool, optional
        Show a bar over the trials on stderr; by default only on a terminal.

    Returns
    -------
    Tuning

    Raises
    ------
    InputError
        For data and settings that cannot be fitted or judged, names and values that the space may not have, and a
        storage that holds a study of other data or settings.
    MissingExtraError
        If Optuna is not installed.
    KeyboardInterrupt
        On Ctrl-C; the trials that have ended are in the storage.

    Examples
    --------
    >>> from implicit_wmf.tuning import Range, default_space, tune
    >>> space = default_space(train) | {"alpha": Range(1, 40, log=True)}  # doctest: +SKIP
    >>> found = tune(train, validation, trials=40, storage="study.db")  # doctest: +SKIP
    >>> model = WMF.from_config(found.config).fit(train)  # doctest: +SKIP
    """
    whole(1)("trials", trials)
    whole(1)("patience", patience)
    whole(0)("random_state", random_state)
    or_none(number(0, exclusive=True))("timeout", timeout)
    data = as_interactions(train, "train")
    config = seeded(as_config(config), random_state)
    space = default_space(data, config) if space is None else dict(space)
    check_space(space, config)
    judge = Judge(data, validation, metric_name(metric), int(patience))
    users = count_users(judge, config, space)
    about = described(judge, config, space, int(random_state))
    study = open_study(storage, study_name, about | {"trials": int(trials)})
    plan = plan_stages(config.factors, trials)
    plan_trials(study, int(trials), lambda before, run: keeps_trials(plan_stages(config.factors, before), plan, run))
    search = _Search(study, judge, config, space, random_state)
    return _result(search, search.run(plan, timeout, progress), len(plan), users)


@dataclass(frozen=True)
class _Search:
    """The trials of one call: what they vary, what they are judged by, and where they are written down."""

    study: Any
    judge: Judge
    config: WMFConfig
    space: Space
    seed: int

    def run(self, plan: Sequence[int], timeout: float | None, progress: bool | None) -> list[Trial]:
        """Run the trials that the study does not have yet, and return all."""
        done = read_trials(self.study, self.space)
        began = time.monotonic()
        disable = None if progress is None else not progress
        with Bar(total=len(plan), initial=len(done), disable=disable, desc="tune", unit="trial") as bar:
            while len(done) < len(plan):
                if done and timeout is not None and time.monotonic() - began >= timeout:
                    break
                done.append(self._run_next(next_trial(done, plan, self.space, self.seed), done))
                best = best_trial(done, self.config.factors).ended.value
                bar.set_postfix(factors=done[-1].factors, best=f"{best:.4f}", refresh=False)
                bar.update()
        return done

    def at_full_dimension(self, done: Sequence[Trial]) -> Trial | None:
        """Fit the best settings that were never fitted there, of those that can be; None where nothing is to be."""
        for trial in promising(done):
            tried = settings(self.config, trial.point, self.judge.train)
            outcome = run_trial(tried, self.judge, ())  # of no others: to the end
            if outcome.state == "complete":
                return replace(trial, outcome=outcome)
        return None

    def _run_next(self, trial: Trial, done: Sequence[Trial]) -> Trial:
        """Run one trial and write it down."""
        began = time.perf_counter()
        try:
            tried = settings(replace(self.config, factors=trial.factors), trial.point, self.judge.train)
        except InputError as error:  # numbers that are too large or too small together
            outcome, values = Outcome("failed", (), 0, str(error)), {}
        else:
            first = trial.number == 0
            outcome = run_default(tried, self.judge) if first else run_trial(tried, self.judge, others_of(done, trial))
            values = config_values(tried)
        ended = replace(trial, outcome=outcome)
        shown = {name: values.get(name) for name in (RELATIVE.get(name, name) for name in self.space)}
        add_trial(self.study, ended, self.space, shown, time.perf_counter() - began)
        return ended


def _result(search: _Search, done: Sequence[Trial], planned: int, users: int) -> Tuning:
    refit = search.at_full_dimension(done) if len(done) < planned else None
    best = best_trial([*done, *([] if refit is None else [refit])], search.config.factors)
    found = settings(search.config, best.point, search.judge.train)
    return Tuning(
        config=replace(found, iterations=best.ended.epoch),
        value=best.ended.value,
        default_value=done[0].ended.value,
        best_trial=best.number,
        refitted=best is refit,
        users=users,
        trials=pd.DataFrame(table_rows(search.study, done)),
        study=search.study,
        planned=planned,
    )
