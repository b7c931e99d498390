"""Pictures of the reports: lines with markers, one colour a contestant in all of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

INSTALL = "Without matplotlib, not installed: no plots. pip install 'implicit_wmf[bench]' adds it."

# Okabe and Ito 2008, "Color universal design": told apart with every kind of colour vision. Warm and dark ones for
# ours, so that a glance separates them from the peers; the marker and the dash tell the solvers apart in grey as well.
_BLUE, _SKY, _GREEN, _ORANGE, _RED, _PINK, _BLACK, _GREY = (
    "#0072B2",
    "#56B4E9",
    "#009E73",
    "#E69F00",
    "#D55E00",
    "#CC79A7",
    "#000000",
    "#7F7F7F",
)
_OWNERS = {"irspack": _BLUE, "implicit": _GREEN, "cmfrec": _PINK, "spark": _GREY}
_OURS = {"exact": _RED, "cg": _ORANGE, "auto": _BLACK}
_SOLVERS = {"exact": ("o", "-"), "cg": ("^", "--"), "cg 2": ("v", ":"), "auto": ("s", "-"), "ials++": ("D", ":")}
_OTHERS = (_SKY, _PINK, _GREEN, _BLUE, _GREY)
MOST_TICKS = 8  # up to here every size measured gets its own tick
COLOURS = 128  # a quarter of the bytes, and no difference to the eye
Points = tuple[Sequence[float], Sequence[float]]


def available() -> bool:
    """Tell whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def plot_curves(
    path: Path,
    curves: Mapping[str, Points],
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    logx: bool = False,
    logy: bool = False,
    slopes: bool = False,
) -> bool:
    """Draw one line a label and save it as the suffix of `path` says; False without matplotlib.

    Parameters
    ----------
    path : pathlib.Path
        The file to write, .png or .svg (another suffix that matplotlib knows works too); its folder is made.
    curves : mapping of str to (x, y)
        Contestants' names choose colours ("ours exact", "irspack cg 3"), the same ones in every picture. Points that
        are not finite, or not positive on a logarithmic axis, are left out.
    xlabel, ylabel, title : str
        With units.
    logx, logy : bool, default False
        Logarithmic axes.
    slopes : bool, default False
        Add to each label the exponent b of y = a x^b fitted by least squares of the logarithms, for two points or more.
    """
    if not available():
        return False
    from matplotlib.figure import Figure

    # without pyplot: no display, no global state
    figure = Figure(figsize=(7.6, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    kept = {label: _drawable(points, logx=logx, logy=logy) for label, points in curves.items()}
    _axes(axes, kept, logx=logx, logy=logy)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, fontsize=10, loc="left")
    for number, (label, (x, y)) in enumerate(kept.items()):
        text = f"{label}, slope {fitted_slope(x, y):.2f}" if slopes and len(set(x)) > 1 else label
        axes.plot(x, y, label=text, linewidth=1.6, markersize=4.5, **style(label, number))
    # beside the axes, where it hides no line
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(figure, path)
    return True


def fitted_slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the exponent b of y = a x^b, by least squares of the logarithms; NaN for less than two different x."""
    if len(set(x)) < 2:
        return float("nan")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def style(label: str, number: int = 0) -> dict[str, Any]:
    """Return colour, marker and dash of a contestant; `number` chooses those of a label that names none."""
    owner, solver, steps, *_ = [*label.lower().replace(",", "").split(), "", "", ""]
    marker, dash = _SOLVERS.get(f"{solver} {steps}") or _SOLVERS.get(solver, ("o", "-"))
    colour = _OURS.get(solver, _RED) if owner == "ours" else _OWNERS.get(owner, _OTHERS[number % len(_OTHERS)])
    return {"color": colour, "marker": marker, "linestyle": dash}


def _axes(axes: Any, curves: Mapping[str, tuple[list[float], list[float]]], *, logx: bool, logy: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.grid(True, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xscale="log" if logx else "linear", yscale="log" if logy else "linear")
    for side, (axis, logarithmic) in enumerate(((axes.xaxis, logx), (axes.yaxis, logy))):
        values = sorted({value for points in curves.values() for value in points[side]})
        if logarithmic:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if values and values[-1] < 1e3 * values[0] else (1,)))
            axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(short))
        if logarithmic and side == 0 and len(values) <= MOST_TICKS:
            axes.set_xticks(values)


def short(value: float, _position: int | None = None) -> str:
    """Write a number for an axis: 0.05, 512, 1.5M."""
    for least, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.4g}"


def _drawable(points: Points, *, logx: bool, logy: bool) -> tuple[list[float], list[float]]:
    """Convert None to NaN, and drop what the axes cannot show."""
    x, y = (np.array([np.nan if value is None else value for value in side], dtype=float) for side in points)
    kept = np.isfinite(x) & np.isfinite(y) & ((x > 0) | (not logx)) & ((y > 0) | (not logy))
    return x[kept].tolist(), y[kept].tolist()


def _save(figure: Any, path: Path) -> None:
    """Save without dates and versions: the same figures give the same file. A PNG keeps few colours, for its size."""
    import matplotlib

    if path.suffix != ".png":
        with matplotlib.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none"}):
            figure.savefig(path, metadata={"Date": None, "Creator": None})
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
