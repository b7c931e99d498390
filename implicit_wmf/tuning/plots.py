"""Optuna's usual plots of a search, as files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError
from .optional import optuna, quiet


def write_plots(study: Any, folder: Path) -> list[Path]:
    """Write history.png, slice.png and importances.png: values by trial, by parameter, and what matters most.

    Parameters
    ----------
    study : optuna.study.Study
        As :func:`tune` returns it.
    folder : pathlib.Path
        Where to write; files of these names are replaced.

    Returns
    -------
    list of pathlib.Path
        The files: none where no two trials of the search ran to the end.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "Plots of a search") from error
    from optuna.visualization import matplotlib as plots

    ended = [one for one in study.get_trials(deepcopy=False)[1:] if one.state.name == "COMPLETE"]  # 0 is of no range
    makers: dict[str, Callable[[Any], Any]] = {}
    if len(ended) > 1:
        varied = [name for name in ended[0].params if len({one.params[name] for one in ended}) > 1]
        makers = {"history": plots.plot_optimization_history, "slice": partial(plots.plot_slice, params=varied)}
    if len({one.value for one in ended}) > 1:
        makers["importances"] = lambda study: plots.plot_param_importances(_without_default(study))
    before = pyplot.get_backend()
    pyplot.switch_backend("agg")
    try:
        return [_write(make, study, folder / f"{name}.png") for name, make in makers.items()]
    finally:
        pyplot.close("all")
        pyplot.switch_backend(before)


def _without_default(study: Any) -> Any:
    """Leave out trial 0, which is of no range: importances are of values that were drawn."""
    shown = optuna().create_study(direction="maximize")
    shown.add_trials(study.get_trials(deepcopy=False)[1:])
    return shown


def _write(make: Callable[[Any], Any], study: Any, path: Path) -> Path:
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore", optuna().exceptions.ExperimentalWarning)  # all of Optuna's plots are that
        axes = make(study)
    panels = list(getattr(axes, "flat", [axes]))
    figure = panels[0].figure
    figure.set_size_inches(max(7.0, 3.5 * len(panels)), 4.5)
    figure.savefig(path, bbox_inches="tight", dpi=120)
    return path
