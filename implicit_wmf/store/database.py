"""DuckDB, of the extra `store`: a database in a folder of its own that keeps to a limit of memory and to itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from .._arrow import arrow
from ..errors import InputError, MissingExtraError

_PURPOSE = "Preparing a store"
_POLL_SECONDS = 0.1
_MOST_MEMORY = 2**60  # that DuckDB can count
# Neither the network nor anything of the user's is touched: no extension is fetched, no stored secret read.
_SETTINGS = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,
    "preserve_insertion_order": True,
}
# The form that DuckDB reads as pandas does; it takes no notice of offsets from UTC, and pandas parses all other forms.
_PLAIN_TIME = r"[1-9]\d{3}-\d\d-\d\d([T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?)?"
_MACROS = f"""
CREATE MACRO as_whole(letters) AS CASE
    WHEN CAST(TRY_CAST(letters AS BIGINT) AS VARCHAR) = letters THEN TRY_CAST(letters AS BIGINT)
END;
CREATE MACRO as_number(letters) AS CASE
    WHEN letters IN ('true', 'True', 'TRUE') THEN 1.0::DOUBLE
    WHEN letters IN ('false', 'False', 'FALSE') THEN 0.0::DOUBLE
    WHEN NOT (contains(letters, '_') OR contains(letters, '+-')) THEN TRY_CAST(letters AS DOUBLE)
END;
CREATE MACRO as_moment(letters) AS CASE
    WHEN regexp_full_match(letters, '{_PLAIN_TIME}') THEN epoch_us(TRY_CAST(letters AS TIMESTAMP))
    ELSE parse_moments(letters)
END;
"""


class DataError(InputError):
    """DuckDB could not make sense of the data."""


def check_installed() -> None:
    """Raise MissingExtraError if a package of the extra is missing."""
    _duckdb()
    _pyarrow()


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError("duckdb", "store", _PURPOSE) from error
    return duckdb


def _pyarrow() -> Any:
    try:
        return arrow(_PURPOSE)
    except MissingExtraError as error:
        raise MissingExtraError("pyarrow", "store", _PURPOSE) from error


class Database:
    """A database in a folder, for as long as the ``with`` block runs; its queries end on Ctrl-C.

    Parameters
    ----------
    folder : Path
        An empty folder, for the database and for what does not fit in memory.
    memory_limit : int
        Bytes.
    threads : int
        Threads of a query.
    """

    def __init__(self, folder: Path, memory_limit: int, threads: int) -> None:
        self._duckdb = _duckdb()
        self._limit = memory_limit
        settings = _SETTINGS | {
            "memory_limit": f"{min(memory_limit, _MOST_MEMORY)}B",
            "threads": threads,
            "temp_directory": str(folder / "spilled"),
        }
        try:
            self._connection = self._duckdb.connect(str(folder / "lines.duckdb"), config=settings)
            # In this order: DuckDB would print a bar of its own between the two otherwise.
            for setting in ("enable_progress_bar_print = false", "enable_progress_bar = true", "progress_bar_time = 0"):
                self._connection.execute(f"SET {setting}")
            self._connection.create_function(
                "parse_moments", _parse_moments, ["VARCHAR"], "BIGINT", type="arrow", null_handling="special"
            )
            self._connection.execute(_MACROS)
        except (self._duckdb.Error, OSError, RuntimeError) as error:
            raise self._understood(error) from error

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def run(self, query: str, told: Callable[[float], object] | None = None) -> list[Any]:
        """Run a query and return its rows.

        Parameters
        ----------
        query : str
            SQL.
        told : callable, optional
            Called now and then with the share that is done, if DuckDB knows it.

        Returns
        -------
        list of tuple

        Raises
        ------
        DataError
            If DuckDB cannot make sense of the data.
        InputError
            If memory or disk do not suffice, or a file cannot be read.
        """
        rows: list[Any] = self._wait_for(lambda: self._connection.execute(query).fetchall(), told)
        return rows

    def _wait_for(self, work: Callable[[], Any], told: Callable[[float], object] | None = None) -> Any:
        """Let DuckDB work in a thread of its own; in the main one it would take every signal for Ctrl-C."""
        result: list[Any] = []
        done = threading.Event()
        worker = threading.Thread(target=_work, args=(work, result, done), name="implicit_wmf-duckdb")
        try:
            _start(worker, done)
            # Not join: interrupted by Ctrl-C, it takes the thread for ended (CPython issue 90882).
            while not done.wait(_POLL_SECONDS):
                if told is not None and (percent := self._connection.query_progress()) > 0:
                    told(percent / 100)
        except BaseException:
            while not done.wait(_POLL_SECONDS):
                self._connection.interrupt()
            raise
        if isinstance(result[0], BaseException):
            raise self._understood(result[0]) from result[0]
        return result[0]

    def one(self, query: str) -> Any:
        """Run a query and return its only row."""
        return self.run(query)[0]

    def stream(self, query: str, rows: int) -> Iterator[list[Any]]:
        """Run a query and yield its rows in batches, as Arrow arrays of its columns, without keeping them."""
        reader = self._wait_for(lambda: self._connection.sql(query).to_arrow_reader(rows))
        while (batch := self._wait_for(lambda: next(reader, None))) is not None:
            yield batch.columns

    def insert(self, query: str, columns: dict[str, list[Any]]) -> None:
        """Run a query that inserts from lists of text, which it finds as the columns of ``given``."""
        pyarrow = _pyarrow()
        kinds = pyarrow.schema([(name, pyarrow.string()) for name in columns])
        self._connection.register("given", pyarrow.table(columns, schema=kinds))
        try:
            self.run(query)
        finally:
            self._connection.unregister("given")

    def _understood(self, error: BaseException) -> BaseException:
        kinds = self._duckdb
        message = str(error).split("\n\n")[0].strip()
        if isinstance(error, kinds.InterruptException) or "INTERRUPT" in message or message == "Query interrupted":
            return KeyboardInterrupt()
        if not isinstance(error, (kinds.Error, OSError)):  # Arrow passes on DuckDB's errors as its own
            return error
        if "No space left" in message or "max_temp_directory_size" in message:
            return InputError(f"the disk is full ({message}); make room, or choose another place for the store")
        if isinstance(error, kinds.OutOfMemoryException) or "Out of Memory" in message:
            return InputError(f"memory_limit: {self._limit:,} bytes are too few ({message}); allow more")
        if isinstance(error, (kinds.IOException, kinds.TransactionException, OSError)):  # the last commit may fail too
            return InputError(f"reading or writing failed: {message}; mend that and prepare again")
        return DataError(message)


def _work(work: Callable[[], Any], result: list[Any], done: threading.Event) -> None:
    try:
        result.append(work())
    except BaseException as error:
        result.append(error)
    finally:
        done.set()


def _start(worker: threading.Thread, done: threading.Event) -> None:
    try:
        worker.start()
    except RuntimeError:  # no more threads
        done.set()
        raise


def _parse_moments(letters: Any) -> Any:
    """Parse ISO 8601 as tables do: microseconds since 1970 in UTC, null for what is no time."""
    pyarrow = _pyarrow()
    written = letters.to_pandas().astype(object)
    # Words that pandas takes for the time of day at which it reads them.
    written = written.mask(written.isin(["now", "today"]))
    moments = pd.to_datetime(written, format="ISO8601", errors="coerce", utc=True).astype("datetime64[us, UTC]")
    return pyarrow.array(moments.astype("int64").to_numpy(), mask=moments.isna().to_numpy())
