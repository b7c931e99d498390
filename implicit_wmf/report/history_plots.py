"""The pictures of a fit, epoch by epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import numbers
from .figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LINE,
    ORANGE,
    VERMILION,
    every,
    few_ticks,
    ground,
    legend,
    name_axes,
    prepare,
    short,
    whole_ticks,
    write,
)

_PART_STYLES = {
    "loss": (BLACK, "o", "-"),
    "stored": (BLUE, "s", "-"),
    "background": (ORANGE, "^", (0, (5, 1.5))),
    "regularization": (GREEN, "D", (0, (1, 1))),
}


def plot_objective(history: Any, *, ax: Any = None) -> Any:
    """Draw the objective and its three parts by epoch.

    Parameters
    ----------
    history : list of EpochRecord or IterationRecord, or pandas.DataFrame
        ``model.history``, or ``model.history_frame()``. Where the parts were not recorded (by the factorizers of other
        objectives), the objective alone is drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default new axes of a figure of their own.

    Returns
    -------
    matplotlib.axes.Axes
        With a line for each part, named with its last value. The axis of values begins at 0, or is logarithmic where
        the first epochs are so far above the last that these could not be told apart.

    Raises
    ------
    InputError
        If there are no epochs, or their loss was not computed.
    MissingExtraError
        If matplotlib is not installed.
    """
    table = numbers.objective_table(history)
    ax = prepare(ax, height=3.6)
    curves = {name: table[name].to_numpy(float) for name in table.columns.drop("epoch")}
    loss = curves["loss"]
    logarithmic = bool(loss.min() > 0 and loss.max() > 5 * loss[-1])
    epochs = table["epoch"].to_numpy()
    handles = []
    for name, values in curves.items():
        colour, marker, dash = _PART_STYLES[name]
        handles += ax.plot(
            epochs, np.where(values > 0, values, np.nan) if logarithmic else values,
            color=colour, marker=marker, linestyle=dash, linewidth=2.4 if name == "loss" else 1.8, markersize=4.5,
            markevery=every(len(epochs)), clip_on=False, zorder=3 if name == "loss" else 2,
        )  # fmt: skip
    if logarithmic:
        ax.set_yscale("log")
    elif loss.min() >= 0:
        ax.set_ylim(0, loss.max() * 1.05 or 1)
    few_ticks(ax.yaxis, short)
    whole_ticks(ax.xaxis)
    name_axes(ax, "epoch", "value")
    if len(loss) > 1 and loss[-2]:
        change = (loss[-1] - loss[-2]) / abs(loss[-2])
        text = f"last epoch: objective {100 * change:+.2g} %".replace("-", "\u2212")
        write(ax, text, (1, 1), (-2, -4), xycoords="axes fraction", ha="right", va="top", color=GREY, bbox=ground())
    names = ["objective" if name == "loss" else name for name in curves]
    legend(ax, handles, [f"{name} {short(values[-1])}" for name, values in zip(names, curves.values(), strict=True)])
    return ax


def plot_validation(history: Any, metric: str | None = None, *, ax: Any = None) -> Any:
    """Draw a metric on held-out interactions by epoch, and mark the epoch whose factors the model has.

    Parameters
    ----------
    history : list of EpochRecord or IterationRecord, or pandas.DataFrame
        ``model.history``, or ``model.history_frame()``, of a fit with ``validation=``.
    metric : str, optional
        A metric that was measured, such as "recall@10"; by default the first, which decides on the best epoch.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default new axes of a figure of their own.

    Returns
    -------
    matplotlib.axes.Axes
        With the curve. The axis of values does not begin at 0: what is looked for is where the curve ceases to rise.

    Raises
    ------
    InputError
        If the metric was not measured; names those that were.
    MissingExtraError
        If matplotlib is not installed.
    """
    name, table, best = numbers.validation_table(history, metric)
    ax = prepare(ax)
    epochs, values = table["epoch"].to_numpy(), table["value"].to_numpy(float)
    ax.plot(epochs, values, color=BLUE, marker="o", markersize=4.5, linewidth=2, markevery=every(len(epochs)))
    ax.margins(x=0.06, y=0.12)
    few_ticks(ax.yaxis, short)
    whole_ticks(ax.xaxis)
    name_axes(ax, "epoch", name)
    chosen = np.flatnonzero(epochs == best)
    if chosen.size and np.isfinite(values[chosen[0]]):
        value = values[chosen[0]]
        ax.plot([best], [value], color=VERMILION, marker="*", markersize=16, markeredgecolor=BLACK, linestyle="none")
        late = best > (epochs[0] + epochs[-1]) / 2 and len(epochs) > 1
        side = -1 if late else 1
        write(
            ax, f"best epoch {best}: {value:.4f}", (best, value), (6 * side, -2.2 * LINE),
            ha="right" if late else "left", va="top", color=VERMILION, bbox=ground(),
        )  # fmt: skip
        low, high = ax.get_ylim()
        ax.set_ylim(min(low, value - 0.3 * (high - low)), high)
    return ax
