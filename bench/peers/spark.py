"""Spark MLlib's ALS, on this machine alone: no cluster, as many local cores as the other contestants have threads."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from typing import Any

import numpy as np

from ..objective import Objective
from .contestant import CannotExpressError, Factors
from .peer import WholeFits, seed_of

DRIVER_MEMORY = "4g"
# Every so many epochs Spark writes its state to disk: without, the lineage of 50 epochs overflows the JVM's stack.
CHECKPOINT_EPOCHS = 10


class Spark(WholeFits):
    """ALS with implicitPrefs: a stored value x is the weight above a background of 1; row i's penalty is lambda n_i.

    n_i is the number of the row's cells, whatever they hold. So its objective is ours only where our penalties are
    proportional to that on both sides: for rows of equal length and columns of equal length, and there for any nu.
    Otherwise it cannot be expressed; the nearest has the same sum of penalties on each side. Every system is solved
    exactly, by Cholesky in double precision. nonnegative=False, Spark's default.
    """

    def _prepare(self, objective: Objective, solver: str, cg_steps: int) -> None:
        if solver != "exact":
            raise CannotExpressError(f"Spark has no solver {solver!r}, only 'exact'")
        sizes = np.diff(self._counts.indptr), np.bincount(self._counts.indices, minlength=self._counts.shape[1])
        plain, strength = self._plain(objective, *(side.astype(float) for side in sizes))
        threads = self._settings["num_threads"]
        session = _session(threads)
        import pyarrow
        from pyspark.ml.recommendation import ALS

        cells = plain.weights.tocoo()
        columns = {"user": cells.row.astype(np.int32), "item": cells.col.astype(np.int32), "rating": cells.data}
        self._data = session.createDataFrame(pyarrow.table(columns)).repartition(threads).cache()
        self._data.count()
        self._als = ALS(
            rank=self._settings["factors"], regParam=strength.value, alpha=1.0, implicitPrefs=True, nonnegative=False,
            userCol="user", itemCol="item", ratingCol="rating", numUserBlocks=threads, numItemBlocks=threads,
            seed=seed_of(self._settings), checkpointInterval=CHECKPOINT_EPOCHS,
        )  # fmt: skip

    def _fit(self, epochs: int) -> Factors:
        model = self._als.setMaxIter(epochs).fit(self._data)
        users, items = (
            _dense(factors, size)
            for factors, size in zip((model.userFactors, model.itemFactors), self._counts.shape, strict=True)
        )
        return users, items


def _dense(factors: Any, size: int) -> np.ndarray:
    """Bring factors home, (size, d) float32; rows that Spark never saw are zero."""
    table = factors.toArrow()
    vectors = table["features"].combine_chunks()
    dense = np.zeros((size, len(vectors.flatten()) // max(1, len(table))), dtype=np.float32)
    dense[table["id"].to_numpy()] = vectors.flatten().to_numpy().reshape(len(table), -1)
    return dense


@functools.cache
def _session(threads: int) -> Any:
    """Start Spark, once a process."""
    from pyspark.sql import SparkSession

    settings = {
        "spark.driver.memory": DRIVER_MEMORY,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.default.parallelism": str(threads),
        "spark.sql.shuffle.partitions": str(threads),
    }
    builder = SparkSession.builder.master(f"local[{threads}]").appName("implicit_wmf benchmark")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    folder = tempfile.mkdtemp(prefix="implicit_wmf_spark_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    session.sparkContext.setCheckpointDir(folder)
    return session
