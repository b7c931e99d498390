"""What callers ask lists for: lengths, positions and cells, and what is said of others."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from implicit_wmf import InputError
from implicit_wmf._asked import check_cells, check_positions, check_users, choose, list_length, select_candidates


def test_lengths():
    assert [list_length(N) for N in (1, 7, np.int32(3), 2**31 - 1)] == [1, 7, 3, 2**31 - 1]
    for N in (0, -1, 2**31, True, 2.0, "3", None):
        with pytest.raises(InputError, match="^N must be a whole number of at least 1, below 2"):
            list_length(N)


def test_positions():
    assert check_positions("items", 3, 4).tolist() == [3]
    assert check_positions("items", [0, 2, 0], 3).tolist() == [0, 2, 0]
    assert check_positions("items", [], 3).dtype == np.int64
    refused = {
        "items holds 5 at position 1; indices run from 0 to 4": [0, 5, 9],
        "items holds -1 at position 2; indices run from 0 to 4": [0, 4, -1, 7],
        r"items must be one index or a 1-D array of them, got an array of shape \(1, 2\)": [[1, 2]],
        r"items must be one index or a 1-D array of them \(": [[1, 2], [3]],
        "items must be whole numbers .positions, not raw ids., got float64": [1.0],
    }
    for message, given in refused.items():
        with pytest.raises(InputError, match=f"^{message}"):
            check_positions("items", given, 5)


def test_candidates_are_the_allowed_less_the_denied():
    assert select_candidates(4, None, None).tolist() == [0, 1, 2, 3]
    assert select_candidates(4, [2, 0, 2], [0]).tolist() == [2]
    assert select_candidates(4, None, [1, 3]).tolist() == [0, 2]
    with pytest.raises(InputError, match="^these holds 4"):
        select_candidates(4, [4], None, ("these", "those"))
    with pytest.raises(InputError, match="^those holds 4"):
        select_candidates(4, None, [4], ("these", "those"))


def test_cells_of_other_shapes():
    cells = csr_array(np.eye(2, 3))
    assert check_cells("liked", cells, (2, 3)).shape == (2, 3)
    assert check_cells("liked", cells, (None, 3)).shape == (2, 3)
    assert check_cells("liked", csr_array((0, 3)), (None, 3)).shape == (0, 3)
    for shape, needed in (((3, 3), r"\(3, 3\)"), ((2, 4), r"\(2, 4\)"), ((None, 5), r"\(users, 5\)")):
        with pytest.raises(InputError, match=rf"^liked has shape \(2, 3\); {needed} is needed, a row for each user"):
            check_cells("liked", cells, shape)
    with pytest.raises(InputError, match="^liked: matrix: nan at row 0, column 0"):
        check_cells("liked", np.array([[np.nan]]), (1, 1))


def test_users_who_are_known_new_or_neither():
    cells = csr_array(np.eye(2, 3))
    rows, given = check_users([1, 0], None, (4, 3))
    assert (rows.tolist(), given) == ([1, 0], None)
    rows, given = check_users([1, 0], cells, (4, 3))
    assert (rows.tolist(), given.shape) == ([1, 0], (2, 3))
    rows, given = check_users(None, cells, (4, 3))
    assert (rows.tolist(), given.shape) == ([], (2, 3))
    with pytest.raises(InputError, match="^users: give positions, or user_items"):
        check_users(None, None, (4, 3))
    with pytest.raises(InputError, match=r"^user_items has shape \(2, 3\); \(3, 3\) is needed"):
        check_users([0, 1, 2], cells, (4, 3))


def test_a_choice_is_gathered_from_lists_and_matrices():
    seen, own = csr_array(np.eye(2, 3)), csr_array(np.array([[1.0, 1, 0], [0, 1, 1]]))
    assert choose((2, 3), seen, None, None) == (seen, None, None)
    assert choose((2, 3), None, [0, 2], [2]).candidates.tolist() == [0]
    denied = choose((2, 3), seen, None, csr_array(np.array([[0, 0, 1.0], [0, 0, 0]])))
    assert denied.seen.toarray().astype(bool).tolist() == [[True, False, True], [False, True, False]]
    assert denied.candidates is None
    mine = choose((2, 3), None, own, [1])
    assert mine.own.toarray().tolist() == [[1, 0, 0], [0, 0, 1]]
    assert (mine.seen, mine.candidates) == (None, None)
