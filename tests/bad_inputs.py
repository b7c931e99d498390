"""Arguments that cannot be used, by what they are to be, and unusual ones that can."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse


class Refused:
    """Values of which each is to be refused."""

    @staticmethod
    def positions(count):
        """No positions below `count`."""
        return {
            "one too large": [0, count],
            "negative": [0, -1],
            "whole floats": [0.0, 1.0],
            "nan": [np.nan],
            "infinite": np.inf,
            "booleans": [True, False],
            "text": ["0", "1"],
            "bytes": b"01",
            "objects": np.array([0, None], dtype=object),
            "python integers as objects": np.array([0, 1], dtype=object),
            "two dimensions": [[[0, 1]]],
            "ragged": [[0, 1], [2]],
            "complex": [0j],
            "longdouble": np.zeros(2, np.longdouble),
            "float16": np.zeros(2, np.float16),
            "uint64 beyond int64": np.array([2**63 + 1], np.uint64),
            "beyond 64 bits": [2**70],
            "dates": np.array(["2020-01-01"], "datetime64[D]"),
            "a generator": (k for k in range(2)),
            "a dictionary": {0: 1},
            "a set": {0, 1},
            "an object": object(),
            "masked": np.ma.masked_array([0, 1], mask=[False, True]),
            "records": np.zeros(2, [("a", np.int64)]),
        }

    @staticmethod
    def lengths():
        """No lengths of lists."""
        return {
            "zero": 0,
            "negative": -3,
            "beyond 31 bits": 2**31,
            "beyond 64 bits": 2**70,
            "a boolean": True,
            "a NumPy boolean": np.bool_(True),
            "a whole float": 2.0,
            "nan": np.nan,
            "text": "3",
            "nothing": None,
            "a list": [3],
            "an array": np.array([3]),
            "a generator": (k for k in range(2)),
        }

    @staticmethod
    def wholes():
        """No whole numbers from 1 on."""
        return {name: value for name, value in Refused.lengths().items() if not name.startswith("beyond")}

    @staticmethod
    def matrices(rows, columns):
        """No matrices of this shape: neither data nor what is asked about them."""
        good = np.ones((rows, columns))
        ruined = good.copy()
        ruined[-1, -1] = np.nan
        infinite = good.copy()
        infinite[0, 0] = -np.inf
        return {
            "text": "abc",
            "nested text": [["a", "b"]],
            "a number": 3.0,
            "one dimension": np.ones(columns),
            "three dimensions": np.ones((rows, columns, 1)),
            "ragged": [[1.0, 2.0], [1.0]],
            "nan": ruined,
            "infinite": infinite,
            "sparse nan": sparse.csr_array(ruined),
            "sparse infinite": sparse.coo_array(infinite),
            "complex": good * 1j,
            "sparse complex": sparse.csr_array(good * 1j),
            "objects": np.full((rows, columns), None),
            "numbers as objects": good.astype(object),
            "text of numbers": good.astype(str),
            "dates": np.full((rows, columns), "2020-01-01", "datetime64[D]"),
            "masked": np.ma.masked_array(good, mask=good > 0),
            "a table": pd.DataFrame(good),
            "a generator": (row for row in good),
            "a dictionary": {"a": good},
            "an object": object(),
            "no rows and no columns": np.empty((0, 0)),
            "no columns": np.empty((rows, 0)),
            "huge": sparse.coo_array(([1.0], ([2**31], [0])), shape=(2**31 + 1, columns)),
        }

    @staticmethod
    def other_shapes(rows, columns):
        """Matrices of other shapes than this one."""
        return {
            "wider": np.ones((rows, columns + 1)),
            "narrower": np.ones((rows, columns - 1)),
            "sparse and wider": sparse.csr_array(np.ones((rows, columns + 1))),
            "taller": np.ones((rows + 1, columns)),
            "flatter": sparse.csr_array(np.ones((rows - 1, columns))),
            "no rows": np.empty((0, columns)),
        }

    @staticmethod
    def flags():
        """Neither True nor False."""
        return {"text": "no", "a number": 2, "nothing": None, "an array": np.array([True, False]), "a list": [3]}


class Accepted:
    """Other forms of a value, each of which is to be taken as that value."""

    @staticmethod
    def positions(given):
        """Forms of a list of positions."""
        array = np.array(given)
        locked = array.copy()
        locked.flags.writeable = False
        kinds = (np.int8, np.uint8, np.int16, np.int32, np.uint64, np.dtype(np.int64).newbyteorder())
        return {
            **{str(np.dtype(kind)): array.astype(kind) for kind in kinds},
            "a tuple": tuple(given),
            "read-only": locked,
            "every second of more": np.repeat(array, 2)[::2],
            "backwards": array[::-1].copy()[::-1],
            "NumPy integers": [np.int32(one) for one in given],
            "a Series": pd.Series(array, index=array[::-1] + 7),
            "an Index": pd.Index(array),
        }

    @staticmethod
    def matrices(dense):
        """Forms of a matrix of small whole numbers >= 0."""
        cells = sparse.csr_array(dense)
        locked = cells.copy()
        for part in (locked.data, locked.indices, locked.indptr):
            part.flags.writeable = False
        wide = cells.copy()
        wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
        turned = cells.copy()  # each row's columns in falling order
        for begin, end in zip(cells.indptr[:-1], cells.indptr[1:], strict=True):
            turned.indices[begin:end], turned.data[begin:end] = (
                cells.indices[begin:end][::-1],
                cells.data[begin:end][::-1],
            )
        turned.has_sorted_indices = False
        rows, columns = dense.nonzero()
        halves = np.repeat(dense[rows, columns] / 2, 2), (np.repeat(rows, 2), np.repeat(columns, 2))
        return {
            **{kind: getattr(sparse, kind)(dense) for kind in FORMATS},
            **{f"{kind} cells": cells.astype(kind) for kind in ("int8", "uint64", "float64", "longdouble")},
            **{f"{kind} array": dense.astype(kind) for kind in ("int16", "uint64", "float16", "longdouble", ">f8")},
            "nested lists": dense.tolist(),
            "read-only": locked,
            "indices of 64 bits": wide,
            "unsorted": turned,
            "duplicates": sparse.coo_array(halves, shape=dense.shape),
            "in Fortran's order": np.asfortranarray(dense),
            "every second of more": np.repeat(np.repeat(dense, 2, axis=0), 2, axis=1)[::2, ::2],
            "slack behind the cells": _with_slack(cells),
            "a column of views": np.broadcast_to(dense[:, :, None], (*dense.shape, 2))[:, :, 1],
        }


FORMATS = (
    "csr_array", "csc_array", "coo_array", "bsr_array", "lil_array", "dok_array", "dia_array", "csr_matrix",
    "csc_matrix", "coo_matrix", "lil_matrix", "dok_matrix",
)  # fmt: skip


def _with_slack(cells):
    """The same cells in arrays that are longer, as scipy itself leaves them at times."""
    longer = cells.copy()
    longer.data, longer.indices = np.append(cells.data, [9, 9]), np.append(cells.indices, [0, 0]).astype(np.int32)
    return longer


def corrupt_matrices(dense):
    """Sparse matrices of one shape whose arrays were changed after they were built, by what is wrong."""
    changes = {
        "indptr falls": ("indptr", lambda array: _put(array, 2, 10**6)),
        "indptr begins late": ("indptr", lambda array: _put(array, 0, 1)),
        "indptr begins below 0": ("indptr", lambda array: _put(array, 0, -5)),
        "indptr ends beyond the cells": ("indptr", lambda array: _put(array, -1, 10**8)),
        "indptr is too short": ("indptr", lambda array: array[:-2]),
        "indptr is too long": ("indptr", lambda array: np.append(array, array[-1])),
        "indptr of floats": ("indptr", lambda array: array.astype(float)),
        "indptr of two dimensions": ("indptr", lambda array: array.reshape(1, -1)),
        "indices beyond the other side": ("indices", lambda array: _put(array, 1, 10**9)),
        "indices one beyond": ("indices", lambda array: _put(array, -1, max(dense.shape))),
        "negative indices": ("indices", lambda array: _put(array, 0, -1)),
        "most negative indices": ("indices", lambda array: _put(array, 0, np.iinfo(array.dtype).min)),
        "indices are too short": ("indices", lambda array: array[:3]),
        "indices of floats": ("indices", lambda array: array + 0.5),
        "data are too short": ("data", lambda array: array[:3]),
        "data of two dimensions": ("data", lambda array: np.column_stack([array, array])),
        "data of objects": ("data", lambda array: array.astype(object)),
    }
    out = {}
    for kind in ("csr_array", "csc_array", "csr_matrix"):
        for name, (attribute, change) in changes.items():
            matrix = getattr(sparse, kind)(dense)
            setattr(matrix, attribute, change(getattr(matrix, attribute)))
            out[f"{kind}: {name}"] = matrix
    out |= _corrupt_others(dense)
    return out


def _corrupt_others(dense):
    far, below, uneven = (sparse.coo_array(dense) for _ in range(3))
    far.coords = (far.coords[0], _put(far.coords[1], 0, 10**9))
    below.coords = (_put(below.coords[0], 0, -7), below.coords[1])
    uneven.data = uneven.data[:2]
    blocks = sparse.bsr_array(dense, blocksize=(2, 1))
    blocks.indices = _put(blocks.indices, 0, 10**9)
    lists = sparse.lil_array(dense)
    lists.rows[0] = [10**9] * len(lists.rows[0])
    short = sparse.lil_array(dense)
    short.data[0] = short.data[0][:-1]
    return {
        "coo_array: beyond": far,
        "coo_array: negative": below,
        "coo_array: uneven": uneven,
        "bsr_array: beyond": blocks,
        "lil_array: beyond": lists,
        "lil_array: uneven": short,
    }


def _put(array, place, value):
    changed = array.copy()
    changed[place] = value
    return changed
