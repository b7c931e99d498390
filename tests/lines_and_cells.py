"""Lines of interactions, what they add up to by dictionaries, and the stored cells of a result."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy import sparse

LINES = st.lists(
    st.tuples(
        st.sampled_from(["b", "a", "é", "", "aa"]),
        st.sampled_from([3, -1, 2**40, 0]),
        st.integers(-50, 50).map(lambda number: number / 4),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=30,
)
HOW = st.sampled_from(["sum", "max", "last", "count"])


def reference(lines, how, timed=True):
    """Value and last time of each pair, by dictionaries."""
    groups = {}
    for user, item, value, time in lines:
        groups.setdefault((user, item), []).append((value, time))
    result = {}
    for pair, entries in groups.items():
        values = [value for value, _ in entries]
        latest = max(time for _, time in entries)
        last = [value for value, time in entries if time == latest][-1] if timed else values[-1]
        result[pair] = ({"sum": sum(values), "max": max(values), "last": last, "count": len(values)}[how], latest)
    return result


def cells(data):
    """The stored cells by raw id, and a check of what kernels rely on."""
    matrix = data.matrix
    assert isinstance(matrix, sparse.csr_array)
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    assert matrix.data.dtype in (np.float32, np.float64)
    found = {}
    for row in range(matrix.shape[0]):
        start, stop = matrix.indptr[row : row + 2]
        assert (np.diff(matrix.indices[start:stop]) > 0).all()
        for place in range(start, stop):
            key = (data.users[row], data.items[matrix.indices[place]])
            time = None if data.timestamps is None else data.timestamps[place]
            found[key] = (matrix.data[place], time)
    assert len(found) == data.nnz
    return found
