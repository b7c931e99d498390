"""The demo command."""

import re
import shlex
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED

from implicit_wmf import WMF, report


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_demo_beats_most_popular(run, monkeypatch, tmp_path):
    asked = []

    def write_report(*arguments, **options):
        asked.append(options)
        return report.write_report(*arguments, **options)

    monkeypatch.setattr("implicit_wmf.cli.demo.write_report", write_report)
    code, out, _ = run("demo")
    assert code == 0
    assert f"{(tmp_path / 'implicit-wmf-demo' / 'report.html').as_uri()}\n" in out
    assert (tmp_path / "implicit-wmf-demo" / "report.html").stat().st_size > 1e6
    (asked,) = asked
    assert asked["names"]["85123A"] == "WHITE HANGING HEART T-LIGHT HOLDER"
    assert asked["quality"]["model"].unique().tolist() == ["WMF", "item-kNN", "most popular"]
    found = asked["quality"].set_index(["model", "metric"])["value"]
    assert f" {found['WMF', 'recall@10']:.4f} (" in out
    assert "the first 90 % of the purchases" in asked["quality_note"]
    table = {
        name: (float(a), float(b)) for name, a, b in re.findall(r"^(\S.*?) +(0\.\d+) \(\S+\) +(0\.\d+)", out, re.M)
    }
    for metric in (0, 1):
        assert table["WMF"][metric] > 1.5 * table["most popular"][metric]
    assert out.count(" bought (") == 3
    lists = pd.read_csv("implicit-wmf-demo/recommendations.csv")
    assert lists.groupby("user").size().unique().tolist() == [10]
    assert WMF.load("implicit-wmf-demo/model").interactions.shape == (5849, 4612)
    for command in re.findall(r"^ +implicit-wmf (.*)$", out, re.M):  # what the demo says to try next works
        assert run(*shlex.split(command))[0] == 0
    shown, again = WMF.load("implicit-wmf-demo/model"), WMF.load("my-model")
    assert again.config == shown.config
    np.testing.assert_array_equal(again.item_factors, shown.item_factors)
    assert run("demo", "-o", "implicit-wmf-demo/model")[0] == 1
    monkeypatch.setattr("implicit_wmf.cli.demo.load_online_retail", lambda: sys.exit("began"))
    assert run("demo")[0] == "began"  # its own folder may be written again


def test_demo_refuses_a_folder_that_it_did_not_make(run, tmp_path, monkeypatch):
    monkeypatch.setattr("implicit_wmf.cli.demo.load_online_retail", lambda: pytest.fail("worked in vain"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "purchases.csv").write_text("kept")
    code, _, err = run("demo", "-o", "mine")
    assert (code, "mine is not empty and was not made by the demo" in err) == (1, True)
    assert (tmp_path / "mine" / "purchases.csv").read_text() == "kept"
    code, _, err = run("demo", "-o", "mine/purchases.csv/deeper")
    assert (code, "cannot write to mine/purchases.csv/deeper" in err) == (1, True)


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_demo_without_matplotlib_says_how_to_get_the_report(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, _ = run("demo")
    assert code == 0
    assert "report.html           not written: " in out
    assert "pip install 'implicit_wmf[plot]'" in out
