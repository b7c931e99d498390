"""The commands that use a saved model: recommend, similar, explain."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from batch_jobs import interrupt_after
from conftest import FIT

from implicit_wmf import WMF
from implicit_wmf._signals import Terminated


def test_similar_and_explain(run, purchases):
    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 4, "--random-state", 0)
    model = WMF.load("m")
    code, out, err = run("similar", "m", "--item", "003", "--item", "004", "--n", 3)
    assert (code, err) == (0, "")
    assert out.split()[4:7] == ["003", model.similar_items_frame(["003"], 2).similar[1], "1"]
    assert len(out.splitlines()) == 7
    code, out, _ = run("similar", "m", "--user", "u07", "--n", 2)
    assert (code, out.split()[4]) == (0, "u07")
    code, out, _ = run("explain", "m", "--user", "u07", "--item", "004", "--n", 40)
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 12)  # each of the ten past items
    total = sum(float(line.split()[1]) for line in lines[2:])
    assert total == pytest.approx(float(lines[0].split()[1].rstrip(",")), abs=1e-3)
    for arguments, message in (
        (("similar", "m"), "name one item or more with --item"),
        (("similar", "m", "--item", "999"), "items: no '999'; the data hold 30, such as '000', '001'"),
        (("explain", "m", "--user", "zoe", "--item", "004"), "users: no 'zoe'"),
    ):
        code, _, err = run(*arguments)
        assert code != 0
        assert message in err


def test_a_damaged_model_is_refused_by_every_command(run, purchases, tmp_path):
    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2)
    factors = tmp_path / "m" / "item_factors.npy"
    content = bytearray(factors.read_bytes())
    content[-1] ^= 1
    factors.write_bytes(content)
    for command in (("info",), ("recommend", "-o", "x.csv"), ("evaluate", "--test", "purchases.csv", *FIT)):
        code, _, err = run(command[0], "m", *command[1:])
        assert (code, "item_factors.npy" in err) == (1, True)


def test_recommend_to_some_users(run, purchases):
    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2)
    pd.DataFrame({"id": ["u07", "u01"]}).to_csv("some.csv", index=False)
    code, out, _ = run("recommend", "m", "-o", "lists.tsv", "--users", "some.csv", "--user", "id", "-n", 25)
    assert code == 0
    assert "wrote 40 recommendations for 2 users to lists.tsv" in out
    assert "2 users with fewer than 25 items left to recommend" in out
    assert pd.read_csv("lists.tsv", sep="\t").user.unique().tolist() == ["u07", "u01"]
    code, _, err = run("recommend", "m", "-o", "lists.csv", "--users", "some.csv")
    assert (code, err) == (1, "error: some.csv: no column 'user'; the columns are 'id'\n")
    Path("some.csv").write_text("user,x\nu07,1\n,2\n")
    code, _, err = run("recommend", "m", "-o", "lists.csv", "--users", "some.csv")
    assert code == 1
    assert "column 'user': the id at line 3 of some.csv is missing" in err
    pd.DataFrame({"user": ["u07", "zoe", "u07", "zoe", "amy"]}).to_csv("some.csv", index=False)
    code, _, err = run("recommend", "m", "-o", "lists.csv", "--users", "some.csv")
    assert code == 1
    assert "2 of 3 users in some.csv are not known to the model: 'zoe', 'amy'; " in err
    assert "--skip-unknown" in err
    assert not Path("lists.csv").exists()
    code, out, _ = run("recommend", "m", "-o", "lists.csv", "--users", "some.csv", "--skip-unknown", "-n", 1)
    assert code == 0
    assert "left out: 2 of 3 users in some.csv" in out
    assert "wrote 1 recommendation for 1 user to lists.csv" in out
    assert pd.read_csv("lists.csv").user.tolist() == ["u07"]
    pd.DataFrame({"user": ["zoe"]}).to_csv("some.csv", index=False)
    code, _, err = run("recommend", "m", "-o", "lists.csv", "--users", "some.csv", "--skip-unknown")
    assert (code, "none of the users in some.csv is known" in err) == (1, True)
    run("recommend", "m", "-o", "all.csv", "-n", 30, "--include-known")
    assert len(pd.read_csv("all.csv")) == 40 * 30


def test_recommend_in_parts(run, purchases, monkeypatch):
    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2)
    run("recommend", "m", "-o", "lists.csv", "-n", 25)
    code, out, err = run("recommend", "m", "-o", "lists", "-n", 25)
    assert (code, err) == (0, "")
    assert re.match(r"wrote 800 recommendations for 40 users to lists in \d+\.\d s \([\d,]+ users a second\)\n", out)
    assert out.endswith("\n100.0% of 30 items are in a list\n40 users with fewer than 25 items left to recommend\n")
    expected = pd.read_csv("lists.csv", dtype={"item": str})
    pd.testing.assert_frame_equal(pd.read_parquet("lists"), expected, check_dtype=False)
    pd.DataFrame({"user": ["u07", "zoe", "u01", "u07"]}).to_csv("some.csv", index=False)
    code, _, err = run("recommend", "m", "-o", "lists", "--users", "some.csv")
    assert (code, "not known to the model: 'zoe'" in err) == (1, True)
    assert len(pd.read_parquet("lists")) == 800
    choice = ("--users", "some.csv", "--skip-unknown", "--include-known", "-n", 30)
    code, out, _ = run("recommend", "m", "-o", "lists", *choice)
    assert (code, "left out: 1 of 3 users" in out, "wrote 60 recommendations for 2 users" in out) == (0, True, True)
    assert pd.read_parquet("lists").user.tolist() == ["u07"] * 30 + ["u01"] * 30
    code, _, err = run("recommend", "m", "-o", "lists.csv", "--restart")
    assert (code, "Invalid value for --restart: it has no effect on lists.csv" in err) == (2, True)
    Path("mine").mkdir()
    code, _, err = run("recommend", "none", "-o", "mine")
    assert (code, "mine exists and is not a folder of recommendations" in err) == (1, True)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = run("recommend", "m", "-o", "new")
    assert (code, "pip install 'implicit_wmf[parquet]'" in err) == (1, True)


@pytest.mark.parametrize("output", ["lists.2026-11-22", "lists.parquet/", "v1.2/", "old.CSV/"])
def test_recommend_in_parts_whatever_dots_the_name_of_the_folder_has(run, purchases, output):
    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2)
    code, out, err = run("recommend", "m", "-o", output, "-n", 3)
    assert (code, err, f" to {output.rstrip('/')} in " in out) == (0, "", True)
    assert Path(output).is_dir()
    assert len(pd.read_parquet(output)) == 120
    code, out, _ = run("recommend", "m", "-o", "Lists.CSV", "-n", 3)
    assert (code, Path("Lists.CSV").is_file()) == (0, True)


def test_recommend_in_parts_says_how_far_it_was_and_goes_on(run, purchases, monkeypatch):
    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2)
    run("recommend", "m", "-o", "lists.csv")
    monkeypatch.setattr("implicit_wmf.batch.jobs._PART_NUMBERS", 12 * 8)  # 8 users a part
    interrupt_after(monkeypatch, 2)
    code, out, err = run("recommend", "m", "-o", "lists")
    message = "interrupted; 16 of 40 users are done, and the same command goes on from there\n"
    assert (code, out, err) == (130, "", message)
    code, _, err = run("recommend", "m", "-o", "lists", "-n", 9)
    assert (code, "interrupted job of another question" in err, "--restart" in err) == (1, True, True)
    code, out, _ = run("recommend", "m", "-o", "lists")
    assert (code, "\n16 users of them had been done by an interrupted run\n" in out) == (0, True)
    expected = pd.read_csv("lists.csv", dtype={"item": str})
    pd.testing.assert_frame_equal(pd.read_parquet("lists"), expected, check_dtype=False)
    interrupt_after(monkeypatch, 2)
    assert run("recommend", "m", "-o", "lists")[0] == 130
    code, out, _ = run("recommend", "m", "-o", "lists", "-n", 9, "--restart")
    assert (code, "wrote 360 recommendations" in out, "interrupted" in out) == (0, True, False)


@pytest.mark.parametrize(
    ("error", "code", "word"), [(KeyboardInterrupt, 130, "interrupted"), (Terminated, 143, "terminated")]
)
def test_recommend_ended_before_the_first_part(run, purchases, monkeypatch, error, code, word):
    def interrupt(*_, **__):
        raise error

    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2)
    monkeypatch.setattr("implicit_wmf.batch.jobs.working_folder", interrupt)
    assert run("recommend", "m", "-o", "lists") == (code, "", f"{word}\n")
