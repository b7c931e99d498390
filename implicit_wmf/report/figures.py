"""What all pictures share: axes without a display, colours and marks, text that is only text, and files.

The only module that imports matplotlib, and not before a picture is made.
"""

from __future__ import annotations

import functools
import threading
import unicodedata
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from ..errors import MissingExtraError

# Okabe and Ito 2008, "Color universal design": told apart with every kind of colour vision. In grey the markers and
# dashes tell curves apart.
BLUE, VERMILION, GREEN, ORANGE, PINK, SKY, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
FAINT, GREY, DARK = "#D9D9D9", "#767676", "#333333"
# (colour, marker, dash) of each curve in turn; dashes as matplotlib takes them, lengths in line widths
STYLES: tuple[tuple[str, str, Any], ...] = (
    (BLUE, "o", "-"),
    (VERMILION, "s", (0, (5, 1.5))),
    (GREEN, "^", (0, (1, 1))),
    (PINK, "D", (0, (5, 1.5, 1, 1.5))),
    (ORANGE, "v", (0, (3, 1))),
    (SKY, "P", (0, (2, 2))),
    (BLACK, "X", (0, (8, 2))),
)
# Inches, and points of all text. A browser takes 96 pixels to the inch, so that a picture is 374 wide and its letters
# 13 high; where a telephone of 320 pixels has room for 270 of them, 9.6 are left of the 13.
WIDTH, SIZE = 3.9, 10.0
LINE = 1.25 * SIZE  # from one line of text to the next
# Beside matplotlib's own font, those that come with systems and have what it has not: Chinese, Japanese, Korean, ...
_FAMILIES = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Hiragino Sans",
    "PingFang SC",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Noto Sans Devanagari",
    "Nirmala UI",
    "Noto Sans Thai",
    "Leelawadee UI",
)
_MISSING = "\u25a1"  # stands for a letter that no font has
_SALT = {"svg.hashsalt": "implicit_wmf", "svg.fonttype": "path"}
_SETTINGS = threading.Lock()  # matplotlib's are one dictionary for all threads


def matplotlib() -> Any:
    """Import matplotlib.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "A plot") from error
    return matplotlib


def new_axes(width: float = WIDTH, height: float = 3.0) -> Any:
    """Make axes of a new figure that needs no display and that nothing else knows of.

    Parameters
    ----------
    width, height : float
        Of the figure, in inches.

    Returns
    -------
    matplotlib.axes.Axes
        Empty; the figure is ``.figure``.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    matplotlib()
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    return Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white").add_subplot()


def prepare(ax: Any, *, height: float = 3.0, grid: str = "both") -> Any:
    """Dress axes, new ones if None are given: a faint grid along `grid` ("x", "y", "both", ""), no box around it."""
    ax = new_axes(height=height) if ax is None else ax
    ax.set_axisbelow(True)
    if grid:
        ax.grid(True, axis=grid, color="#E5E5E5", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(labelsize=SIZE, color=GREY)
    return ax


def name_axes(ax: Any, x: str, y: str) -> None:
    """Write what the axes are; names are text, not mathematics."""
    ax.set_xlabel(x, fontsize=SIZE, parse_math=False)
    ax.set_ylabel(y, fontsize=SIZE, parse_math=False)


def whole_ticks(axis: Any, most: int = 7) -> None:
    """Put few ticks, at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(most, integer=True, steps=[1, 2, 5, 10]))


def ticks_at(axis: Any, places: Sequence[float], labels: Sequence[str]) -> None:
    """Put ticks at these places alone."""
    from matplotlib.ticker import NullLocator

    axis.set_minor_locator(NullLocator())
    axis.set_ticks(places, labels=labels, fontsize=SIZE, parse_math=False)


def few_ticks(axis: Any, form: Any, most: int = 6) -> None:
    """Put few ticks, written by a function of the value; on a logarithmic axis at powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axis.set_major_locator(
        LogLocator(numticks=most) if axis.get_scale() == "log" else MaxNLocator(most, steps=[1, 2, 2.5, 5, 10])
    )
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: form(value)))


def every(count: int) -> int:
    """Tell which of so many points on a curve have a marker: each, or each second or so."""
    return -(-count // 25)


def write(ax: Any, text: str, at: tuple[float, float], offset: tuple[float, float] = (0, 0), **how: Any) -> Any:
    """Write at a place of the data, some points beside it; `text` is shown as it is."""
    options: dict[str, Any] = {"fontsize": SIZE, "color": DARK, "family": families(), "parse_math": False} | how
    return ax.annotate(text, at, offset, textcoords="offset points", annotation_clip=False, **options)


def ground() -> dict[str, Any]:
    """Make what keeps text readable on lines: white behind it, as a rim around the letters would double the SVG."""
    return {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}


def legend(ax: Any, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Name curves above the axes, in as many columns as fit the width; names are shown as they are."""
    shown, columns = _fitted(ax, names)
    made = ax.legend(
        handles, [f"{number}" for number in range(len(shown))], ncols=columns, loc="lower left",
        bbox_to_anchor=(0, 1), borderaxespad=0.2, frameon=False, fontsize=SIZE, handlelength=2.4, columnspacing=1.4,
    )  # fmt: skip
    for text, name in zip(made.get_texts(), shown, strict=True):
        text.set(text=name, parse_math=False, family=families())


def _fitted(ax: Any, names: Sequence[str]) -> tuple[list[str], int]:
    """Cut names until a legend leaves room for a picture below it; returns them, and its columns."""
    width, height = axes_size(ax)
    shown, columns = list(names), 1
    for most in (44, 30, 24, 18, 12, 6):
        shown = [printable(name, most) for name in names]
        widest = max(text_width(name) for name in shown) + 4.6 * SIZE  # the handle and what is between
        columns = max(1, min(len(names), int(1.1 * width / widest)))
        if widest <= 1.1 * width and -(-len(names) // columns) * 1.45 * SIZE <= 0.55 * height:
            break
    return shown, columns


def axes_size(ax: Any) -> tuple[float, float]:
    """Width and height of axes in points, as they are before the layout."""
    box, dpi = ax.get_window_extent(), ax.figure.figure.dpi
    return float(box.width * 72 / dpi), float(box.height * 72 / dpi)


def to_svg(ax: Any) -> bytes:
    """Write the figure of axes as SVG: the same bytes for the same picture.

    Letters are paths. As text they would be set in whatever font the reader's machine has, whose widths differ, and
    labels that were placed with care would run into each other; each letter is stored once, so that a picture stays
    small.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Any axes of the figure.

    Returns
    -------
    bytes
        A whole SVG document, UTF-8, that refers to nothing outside.
    """
    return _save(ax, format="svg", dpi=200, metadata={"Date": None, "Creator": None})


def to_png(ax: Any, dpi: int = 144) -> bytes:
    """Write the figure of axes as PNG.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Any axes of the figure.
    dpi : int
        Dots per inch.

    Returns
    -------
    bytes
        The file.
    """
    return _save(ax, format="png", dpi=dpi, metadata={"Software": None})


def _save(ax: Any, **how: Any) -> bytes:
    file = BytesIO()
    with _SETTINGS, matplotlib().rc_context(_SALT):
        ax.figure.figure.savefig(file, **how)
    return file.getvalue()


def short(value: float) -> str:
    """Write a number for an axis: 0.05, 512, 1.5M."""
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.4g}"


def percent(share: float) -> str:
    """Write a share: 12 %, 0.4 %."""
    return f"{100 * share:.3g} %" if share >= 0.995 or share == 0 else f"{100 * share:.2g} %"


@functools.cache
def families() -> list[str]:
    """List the fonts that text is set in, of those that are installed: for each letter the first that has it."""
    matplotlib()
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in _FAMILIES if name in installed]


@functools.cache
def _letters() -> frozenset[int]:
    """All letters that these fonts have."""
    from matplotlib import font_manager

    paths = [font_manager.findfont(font_manager.FontProperties(family=name)) for name in families()]
    return frozenset(letter for path in paths for letter in font_manager.get_font(path).get_charmap())


def can_show(text: str) -> bool:
    """Tell whether there is something in a text, and the fonts have at least half of it."""
    letters = [letter for letter in text if not letter.isspace()]
    return bool(letters) and sum(ord(letter) in _letters() for letter in letters) * 2 >= len(letters)


def printable(text: str, most: int) -> str:
    """Make one line of a text, of at most so many letters, that the fonts can show; an empty square is one they lack.

    Ends of lines become blanks; letters that control the setting (such as the direction of text) are left out.
    """
    line = " ".join(str(text)[: 50 * most].split())
    shown = "".join(
        letter if ord(letter) in _letters() else _MISSING
        for letter in line
        if unicodedata.category(letter) not in ("Cc", "Cf") and not 0xFE00 <= ord(letter) <= 0xFE0F
    )
    return shown if len(shown) <= most else shown[: most - 1].rstrip() + "\u2026"


def text_width(text: str, size: float = SIZE) -> float:
    """Width of a line of text in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=families(), size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, False)[0])
