"""What the history of a fit tells: its best epoch, a table, and the line beside the progress bar."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd


def best_epoch(history: list[Any]) -> int:
    """Return the first epoch with the highest value of the first metric; without any the last epoch, or 0."""
    measured = [record for record in history if record.validation]
    if measured:
        return int(max(measured, key=lambda record: next(iter(record.validation.values()))).epoch)
    return int(history[-1].epoch) if history else 0


def history_frame(history: list[Any]) -> pd.DataFrame:
    """Make a table of history records: a row an epoch, their fields, and a column for each metric, else NaN."""
    return pd.DataFrame(
        [
            {spec.name: getattr(record, spec.name) for spec in fields(record) if spec.name != "validation"}
            | record.validation
            for record in history
        ]
    )


def progress(history: list[Any]) -> dict[str, str]:
    """Word the last record for the progress bar: its loss, the metric that decides, and the best epoch so far."""
    record = history[-1]
    shown = {} if np.isnan(record.loss) else {"loss": f"{record.loss:.6g}"}
    measured = [value for record in history for value in list(record.validation.items())[:1]]
    if measured:
        name, value = measured[-1]
        shown |= {name: f"{value:.4f}", "best epoch": str(best_epoch(history))}
    return shown
