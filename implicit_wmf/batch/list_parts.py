"""Lists of recommendations as Parquet, with raw ids."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._arrow import parquet_files
from ..errors import InputError

_IDS_AT_ONCE = 1 << 16


class ListParts:
    """Writes lists of positions as tables of raw ids; converts the ids to Arrow once, so that no loop looks them up.

    Parameters
    ----------
    users, items : pandas.Index
        Id of each user that is asked for and of each item, by position.

    Raises
    ------
    InputError
        For ids that Parquet cannot hold, such as text among numbers.
    MissingExtraError
        Without pyarrow.
    """

    def __init__(self, users: pd.Index, items: pd.Index) -> None:
        self._pyarrow, self._parquet = parquet_files("Writing Parquet files")
        self._users, self._items = self._column("users", users), self._column("items", items)

    def _column(self, name: str, ids: pd.Index) -> Any:
        try:
            table = self._pyarrow.Table.from_pandas(pd.DataFrame({name: ids}), preserve_index=False)
            self._parquet.write_table(table.slice(0, 0), self._pyarrow.BufferOutputStream())
        except (self._pyarrow.ArrowException, NotImplementedError, TypeError, ValueError, OverflowError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{name}: Parquet cannot hold these ids ({reason}); convert them to text before fitting"
            ) from error
        column = table.column(0)
        return column.chunk(0) if column.num_chunks == 1 else column

    def digest(self) -> tuple[str, str]:
        """Fingerprints of the users and of the items."""
        return self._digest(self._users), self._digest(self._items)

    def _digest(self, column: Any) -> str:
        fingerprint = hashlib.sha256(str(column.type).encode())
        for start in range(0, len(column), _IDS_AT_ONCE):
            table = self._pyarrow.table({"ids": column.slice(start, _IDS_AT_ONCE)}).combine_chunks()
            for batch in table.to_batches():
                fingerprint.update(batch.serialize())
        return fingerprint.hexdigest()

    def encode(self, start: int, ids: NDArray[np.int32], scores: NDArray[Any]) -> Any:
        """Return the bytes of a Parquet file with columns user, item, rank (from 1) and score.

        Parameters
        ----------
        start : int
            Position of the first user.
        ids : (users, N) int32 array
            Items' positions; -1 where a list has ended.
        scores : (users, N) array
        """
        found = ids >= 0
        places, ranks = np.nonzero(found)
        columns = {
            "user": self._users.take(self._pyarrow.array(start + places)),
            "item": self._items.take(self._pyarrow.array(ids[found])),
            "rank": self._pyarrow.array(ranks + 1),
            "score": self._pyarrow.array(scores[found]),
        }
        content = self._pyarrow.BufferOutputStream()
        self._parquet.write_table(self._pyarrow.table(columns), content)
        return content.getvalue()
