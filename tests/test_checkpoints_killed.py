"""Programs that are killed, terminated or interrupted at any moment, and started again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from checkpoints import assert_same, names
from conftest import COMPILED, FIT
from scipy import sparse
from systems import SIGNALS

from implicit_wmf import WMF
from implicit_wmf._folders import writing_folder
from implicit_wmf.checkpoints import checkpoint_epochs, remove_checkpoint
from implicit_wmf.cli import fitting

KILLS = 4
NIGHTLY = """
from scipy import sparse
from implicit_wmf import WMF
from implicit_wmf.checkpoints import remove_checkpoint
data, held_out = (sparse.load_npz(f"{name}.npz") for name in ("train", "later"))
WMF(8, iterations=1).fit(data, validation=held_out)
print("warm", flush=True)
while True:
    model = WMF(8, iterations=12, random_state=0, num_threads=2)
    model.fit(data, validation=held_out, patience=None, checkpoint="c", resume=True).save("m")
    remove_checkpoint("c")
"""


def write_data(folder, shape=(600, 150)):
    generator = np.random.default_rng(0)
    bought = generator.random(shape) < 0.1
    later = bought & (generator.random(shape) < 0.2)
    for name, cells in (("train", bought & ~later), ("later", later)):
        sparse.save_npz(folder / f"{name}.npz", sparse.csr_array(cells.astype(np.float32)))


def expected(folder):
    data, held_out = (sparse.load_npz(folder / f"{name}.npz") for name in ("train", "later"))
    return WMF(8, iterations=12, random_state=0).fit(data, validation=held_out, patience=None)


@pytest.mark.skipif(not COMPILED, reason="needs fits of a second")
def test_killed_at_any_moment_the_old_or_the_new_can_be_read(tmp_path):
    write_data(tmp_path)
    new = expected(tmp_path)
    old = WMF(2, iterations=1, random_state=0).fit(new.interactions)
    old.save(tmp_path / "m")
    moments = random.Random(8)
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", NIGHTLY], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "warm\n"
        time.sleep(moments.uniform(0.02, 0.6))
        assert process.poll() is None
        process.kill()
        process.communicate()
        met = WMF.load(tmp_path / "m")
        assert_same(met, new if met.config.factors == 8 else old)
        data, held_out = new.interactions, sparse.load_npz(tmp_path / "later.npz")
        again = WMF(8, iterations=12, random_state=0)
        again.fit(data, validation=held_out, patience=None, checkpoint=tmp_path / "c", resume=True, every=100)
        assert_same(again, new)
        remove_checkpoint(tmp_path / "c")
        with writing_folder(tmp_path / "c"):
            pass
        (tmp_path / "c").rmdir()
        old.save(tmp_path / "m")
        assert names(tmp_path) == ["later.npz", "m", "train.npz"]  # what the killed one had left beside is gone


@SIGNALS
@pytest.mark.skipif(not COMPILED, reason="needs a fit of some seconds")
@pytest.mark.parametrize(
    ("number", "code", "how"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_command_that_is_told_to_end_goes_on_later(number, code, how, tmp_path):
    write_data(tmp_path, (3000, 800))
    command = [sys.executable, "-m", "implicit_wmf", "fit", "train.npz", "-o", "m", "--random-state", "0", "--quiet"]
    place = ["--checkpoint", "c", "--every", "1000000"]
    process = subprocess.Popen(
        [*command, *place, "--iterations", "100000"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline().startswith("read ")
    time.sleep(1)
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=20)
    done, total = checkpoint_epochs(tmp_path / "c")
    assert (process.returncode, total) == (code, 100_000)
    assert err == (
        f"{how}; the checkpoint after {done:,} of 100,000 epochs is in c: the same command with --resume goes on\n"
    )
    assert names(tmp_path) == ["c", "later.npz", "train.npz"]
    whole = ["--iterations", str(done + 2), "--resume"]
    result = subprocess.run([*command, *place, *whole], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"goes on after {done:,} of 100,000 epochs, from c\n" in result.stdout
    assert names(tmp_path) == ["later.npz", "m", "train.npz"]
    again = WMF(random_state=0, iterations=done + 2).fit(sparse.load_npz(tmp_path / "train.npz"))
    assert_same(WMF.load(tmp_path / "m"), again)


def interrupt(monkeypatch, epoch, error=KeyboardInterrupt):
    fit = WMF.fit

    def fit_some(model, data, **options):
        def end(record, view):
            if record.epoch == epoch:
                raise error

        return fit(model, data, callback=end, **options)

    monkeypatch.setattr(WMF, "fit", fit_some)


OPTIONS = ("purchases.csv", *FIT, "-o", "m", "--factors", 2, "--random-state", 0, "-q")


def test_the_command_goes_on_and_removes_the_checkpoint(run, purchases, monkeypatch, tmp_path):
    given = ("fit", *OPTIONS, "--checkpoint", "c", "--validation-fraction", 0.3)
    interrupt(monkeypatch, 4)
    code, _, err = run(*given)
    message = "interrupted; the checkpoint after 4 of 15 epochs is in c: the same command with --resume goes on\n"
    assert (code, err) == (130, message)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*given)
    assert (code, out) == (1, "")
    assert "c holds epoch 4 of 15 of an earlier fit: give resume=True (--resume) to go on" in err
    code, out, err = run(*given, "--resume")
    assert (code, err) == (0, "")
    assert "goes on after 4 of 15 epochs, from c\n" in out
    assert names(tmp_path) == ["m", "purchases.csv"]
    assert run(*given[:-4], "--validation-fraction", 0.3, "-o", "n")[0] == 0
    assert_same(WMF.load("m"), WMF.load("n"))


def test_an_interruption_before_the_first_epoch_says_so(run, purchases, monkeypatch, tmp_path):
    monkeypatch.setattr(WMF, "fit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    code, _, err = run("fit", *OPTIONS, "--checkpoint", "c")
    assert (code, err) == (130, "interrupted before the first epoch was done; nothing was saved\n")
    assert names(tmp_path) == ["purchases.csv"]


def test_the_checkpoint_stays_if_the_model_cannot_be_saved(run, purchases, monkeypatch):
    monkeypatch.setattr(WMF, "save", lambda *_: (_ for _ in ()).throw(OSError("No space left on device")))
    code, _, err = run("fit", *OPTIONS, "--checkpoint", "c", "--every", 4)
    assert (code, err) == (1, "error: No space left on device\n")
    assert checkpoint_epochs("c") == (15, 15)
    monkeypatch.undo()


@pytest.mark.parametrize("places", [("m", "m"), ("m", "m/c"), ("c/m", "c"), ("m", "./x/../m")])
def test_the_model_and_the_checkpoint_are_two_places(run, purchases, monkeypatch, places):
    monkeypatch.setattr(fitting, "read_interactions", lambda *_, **__: pytest.fail("read in vain"))
    output, place = places
    code, _, err = run("fit", "purchases.csv", *FIT, "-o", output, "--checkpoint", place)
    message = f"error: --checkpoint {Path(place)} and --output {output} are the same folder, or one in the other\n"
    assert (code, err) == (1, message)


@pytest.mark.parametrize("option", [("--every", 2), ("--resume",)])
def test_options_without_a_checkpoint_are_refused(run, purchases, option):
    code, _, err = run("fit", *OPTIONS, *option)
    assert (code, f"{option[0]}: it has no effect without --checkpoint" in err) == (2, True)
