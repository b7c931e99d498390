"""What the job of the nightly page must do on other nights than those that the page shows."""

import os
import subprocess
import sys
from pathlib import Path

from implicit_wmf import WMF


def check_other_nights():
    """Tidy up, let a night through, and hold the one that is served; in the folder where the page was run."""
    whole = [f"nights/2011-10-{day:02}" for day in range(1, 9)]  # with the page's own, eleven that have lists
    broken = [f"nights/2011-09-{day:02}" for day in range(1, 10)]
    for night in whole:
        Path(night, "lists").mkdir(parents=True)
    for night in broken:
        Path(night).mkdir()
    assert "serving 2011-11-30" in _job("2011-11-30")
    kept = {str(night) for night in Path("nights").iterdir()}
    assert kept == {*whole[3:], *broken[3:], "nights/2011-11-29", "nights/2011-11-30", "nights/2011-12-01"}
    Path("settings.json").write_text('{"factors": 4, "dtype": "float64", "regularization": 0.5, "iterations": 1}')
    assert "SERVED ALL THE SAME" in _job("2011-12-01", GATE="skip")
    assert "dtype='float64'" in repr(WMF.load("current/model"))
    Path("hold").touch()
    Path("nights/2011-12-01").replace("nights/2011-12-02")
    assert "serving 2011-12-01 as before" in _job("2011-12-02")


def _job(day, **environment):
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = subprocess.run(
        ["./job.sh", day], env=os.environ | {"PATH": path} | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
