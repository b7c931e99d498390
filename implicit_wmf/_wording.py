"""How the command line words things."""

from __future__ import annotations

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
    """Lay out what `compare` returns: a line a model, a column a metric, and who was counted."""
    errors = ["-" if np.isnan(error) else f"{error:.4f}" for error in table.standard_error]
    shown = table.assign(text=[f"{v:.4f} ± {e}" for v, e in zip(table["value"], errors, strict=True)])
    wide = shown.pivot(index="model", columns="metric", values="text")
    wide = wide.loc[table["model"].unique(), table["metric"].unique()].rename_axis(None).rename_axis(None, axis=1)
    users, left_out = count(table.users.iloc[0], "user"), table.attrs
    return (
        f"{wide.to_string()}\n"
        f"mean ± standard error over {users}; left out: {left_out['without_targets']:,} without "
        f"new items in the test part, {left_out['without_history']:,} without interactions in the training part"
    )
