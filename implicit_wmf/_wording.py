"""How the command line words things."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from .interactions import Interactions


def count(number: int, noun: str) -> str:
    """Word a number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def option(name: str) -> str:
    """Name of a hyper-parameter's option."""
    return f"--{name.replace('_', '-')}"


def summary(data: Interactions) -> str:
    """Say how large interactions are."""
    users, items = data.shape
    share = data.nnz / (users * items)
    return f"{count(users, 'user')}, {count(items, 'item')}, {count(data.nnz, 'pair')} ({share:.2%} of the cells)"


def comparison_table(table: pd.DataFrame) -> str:
    """Lay out what `compare` returns: a line a model, a column a metric with its interval, and who was counted."""
    columns = (table["value"], table["low"], table["high"])
    shown = table.assign(text=[_with_interval(*numbers) for numbers in zip(*columns, strict=True)])
    wide = shown.pivot(index="model", columns="metric", values="text")
    wide = wide.loc[table["model"].unique(), table["metric"].unique()].rename_axis(None).rename_axis(None, axis=1)
    users, left_out = count(table.users.iloc[0], "user"), table.attrs
    return (
        f"{wide.to_string()}\n"
        f"mean (95 % interval) over {users}; left out: {left_out['without_targets']:,} without "
        f"new items in the test part, {left_out['without_history']:,} without interactions in the training part"
    )


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{value:.4f}" if np.isnan(low) else f"{value:.4f} ({low:.4f}-{high:.4f})"


def nearest(name: str, known: Sequence[str]) -> str:
    """Suggest the known name that is meant, or list them all."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
