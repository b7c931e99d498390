"""Arguments of `prepare` that make no sense: refused with what is wrong, before anything is read or written."""

import numpy as np
import pytest
from prepared_files import prepared

from implicit_wmf.errors import InputError

NO_PATHS = [(3, "3"), (None, "None"), (b"in.csv", "b'in.csv'"), (1.5, "1.5")]
NO_COUNTS = [0, -1, 1.5, "2", b"2", True, np.array([1, 2]), float("nan")]
NO_NAMES = [3, b"u", ["u"], np.array(["u"])]

USUAL = {"inputs": "in.csv", "output": "s"}

CASES = [
    *(({"inputs": value}, f"inputs must be a path, .* got {said}") for value, said in NO_PATHS),
    ({"inputs": [1]}, "inputs must be a path, .* got 1"),
    ({"inputs": ["in.csv", None]}, "inputs must be a path, .* got None"),
    ({"inputs": np.array(1)}, "inputs must be a path or a sequence of them"),
    ({"inputs": np.array([1, 2])}, "inputs must be a path"),
    ({"inputs": {}}, "inputs: none given"),
    ({"inputs": "a\0.csv"}, "inputs is .* file names cannot hold a zero character"),
    ({"inputs": "\udcff.csv"}, r"inputs: the name '\\udcff.csv' is not UTF-8; rename it"),
    *(({"output": value}, f"output must be a path, .* got {said}") for value, said in NO_PATHS),
    ({"output": "s\0"}, "output is .* zero character"),
    ({"output": "o" * 5000}, "output: cannot write there .File name too long"),
    ({"output": "\udcff"}, r"output: the name '.*\\udcff' is not UTF-8; rename it"),
    *(({"user": value}, "user: .* given; name the column") for value in [None, *NO_NAMES]),
    *(({"item": value}, "item: .* given; name the column") for value in [None, *NO_NAMES]),
    *(({"value": value}, "value: .* given; name the column") for value in NO_NAMES),
    *(({"timestamp": value}, "timestamp: .* given; name the column") for value in NO_NAMES),
    ({"user": "i"}, "user and item both name column 'i'"),
    ({"user": "\udcff"}, "no column"),
    *(({"min_user_count": value}, "min_user_count must be a whole number of at least 1") for value in NO_COUNTS),
    *(({"min_item_count": value}, "min_item_count must be") for value in [None, *NO_COUNTS]),
    ({"min_user_count": 2**70}, f"min_user_count {2**70} and min_item_count 1 leave nothing"),
    *(({"shards": value}, "shards must be") for value in NO_COUNTS),
    *(({"num_threads": value}, "num_threads must be") for value in NO_COUNTS),
    *(({"on_error": value}, "on_error must be one of 'refuse', 'skip'") for value in (None, 1, "ignore", b"skip")),
    *(({"memory_limit": value}, "memory_limit must be a size such as '4GB'") for value in ("2 XB", -1, None, b"2GB")),
    *(({"memory_limit": value}, "memory_limit must be") for value in ([2], float("nan"), "9" * 400 + "GB", 10**400)),
    ({"memory_limit": "5MB"}, "memory_limit is '5MB', which is too little; give at least 100MB"),
    *(
        ({"rejects": value, "on_error": "skip"}, f"rejects must be a path, .* got {said}")
        for value, said in NO_PATHS
        if value is not None
    ),
    ({"rejects": "a\0", "on_error": "skip"}, "rejects is .* zero character"),
    ({"rejects": "r" * 300, "on_error": "skip"}, "rejects: cannot write there .File name too long"),
    ({"rejects": "\udcff", "on_error": "skip"}, "rejects: the name .* is not UTF-8"),
    ({"rejects": "r.csv"}, "rejects: no effect unless on_error is 'skip'"),
    ({"progress": 3}, "progress must be True or False"),
]


@pytest.mark.parametrize(("options", "message"), CASES, ids=[repr(one)[:40] for one, _ in CASES])
def test_arguments(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("u,i\na,b\n")
    places = {name: options.pop(name) if name in options else usual for name, usual in USUAL.items()}
    with pytest.raises(InputError, match=message):
        prepared(places["inputs"], places["output"], **options)
    assert [one.name for one in tmp_path.iterdir()] == ["in.csv"]
