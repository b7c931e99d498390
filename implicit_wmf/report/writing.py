"""The report of a model as one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from .. import __version__
from .._folders import check_can_write_file, replacing_file, write_bytes
from .._words import count
from ..errors import InputError
from ..model import WMF
from ..parameters import as_path
from ..persistence import PathLike
from .explorer import collect
from .figures import matplotlib
from .page import render
from .quality import check_quality, quality_section
from .sections import data_section, fit_section, learned_section, lists_section, settings_section, short_section

SUFFIXES = (".html", ".htm")


def write_report(
    model: WMF,
    path: PathLike,
    *,
    names: Mapping[Any, str] | pd.Series | None = None,
    quality: pd.DataFrame | None = None,
    quality_note: str | None = None,
    users: Any = None,
    max_users: int = 5000,
) -> Path:
    """Write what a fitted model learned as one HTML file, which needs no network and nothing beside it.

    It has the data's size and skew, the course of the fit, the quality if it is given, what lists show of popular and
    rare items, a map of items, the settings, and an explorer: any item, and up to `max_users` users, with their
    history, recommendations, reasons and similar items. Ids and names are shown as text whatever is in them.

    Parameters
    ----------
    model : WMF
        A fitted or loaded model.
    path : path-like
        The file, .html or .htm; it appears whole or not at all, and replaces one of that name.
    names : mapping or pandas.Series, optional
        Names of items by raw id; an item without one is shown by its id.
    quality : pandas.DataFrame, optional
        What :func:`implicit_wmf.evaluation.compare` returned, of this model, or one with the same settings, and of
        baselines, with intervals of 95 %. With metrics at several lengths (``recall@5``, ``recall@10``, ...) curves are
        drawn. What `evaluate` returned will do.
    quality_note : str, optional
        What was measured, in a sentence, where it was not the model itself: say, that one with the same settings was
        fitted without the held-out part.
    users : array of raw ids, optional
        Users that must be in the explorer, before others are chosen.
    max_users : int, default 5000
        How many users are in the explorer if the model has more: some of every activity, the same ones each time. A
        user takes about one kilobyte.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InputError
        For what is no fitted WMF, a file that cannot be written, ids that the model does not know, and a table that is
        none of `compare`'s; before the work of making the report.
    MissingExtraError
        Without matplotlib.

    Examples
    --------
    >>> import tempfile
    >>> from scipy.sparse import csr_array
    >>> from implicit_wmf import WMF
    >>> from implicit_wmf.report import write_report
    >>> model = WMF(factors=2, random_state=0).fit(csr_array([[5, 3, 1, 0], [4, 2, 0, 0], [0, 0, 2, 1]]))
    >>> write_report(model, tempfile.mkdtemp() + "/report.html").name
    'report.html'
    """
    target = check_target(path)
    if not isinstance(model, WMF):
        raise InputError(f"model is of {type(model).__name__}; the report is of a fitted WMF")
    check_quality(quality)
    _check_note(quality, quality_note)
    explorer = collect(model, names=names, users=users, max_users=max_users)
    sections = [
        short_section(model, quality, quality_note),
        data_section(model),
        fit_section(model),
        quality_section(quality, quality_note),
        lists_section(model),
        learned_section(model, names),
        settings_section(model),
    ]
    users_of, items_of = model.interactions.shape
    subtitle = f"Fitted on {count(users_of, 'user')} and {count(items_of, 'item')}; implicit_wmf {__version__}"
    text = render("What the model learned", subtitle, sections, explorer)
    with replacing_file(target) as temporary:
        write_bytes(temporary, text.encode())
    return target


def check_target(path: PathLike) -> Path:
    """Check the place of a report, and that pictures can be drawn, before the work of making it.

    Parameters
    ----------
    path : as in `write_report`

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError, MissingExtraError
        As in `write_report`.
    """
    target = as_path("path", path)
    if target.suffix.lower() not in SUFFIXES and not target.is_dir():
        raise InputError(f"{target.name!r} has an unknown suffix; a report is written as {' or '.join(SUFFIXES)}")
    check_can_write_file(target)
    matplotlib()
    return target


def _check_note(quality: pd.DataFrame | None, note: Any) -> None:
    if note is not None and not isinstance(note, str):
        raise InputError(f"quality_note is of {type(note).__name__}; give a sentence, or leave it out")
    if note and quality is None:
        raise InputError("quality_note is given without quality, which it is about; give both")
