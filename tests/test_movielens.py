"""MovieLens 1M in the split of He et al. 2017, which may not be redistributed: skipped where it is absent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMPILED

from implicit_wmf import WMF

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("IMPLICIT_WMF_DATA", ROOT.parent / "shared" / "data")) / "ml-1m-ncf"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no MovieLens 1M at {DATA}")
@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_sixteen_epochs_from_the_command_line_stay_under_600_mb(tmp_path):
    command = [sys.executable, "-m", "implicit_wmf", "fit", DATA / "train.parquet", "--user", "user", "--item", "item"]
    options = ["--factors", "64", "--iterations", "16", "--solver", "exact", "--random-state", "0", "-o", "model"]
    process = subprocess.Popen([*command, *options], cwd=tmp_path, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert usage.ru_maxrss / 1024 < 600  # Linux reports KiB
    model = WMF.load(tmp_path / "model")
    losses = [record.loss for record in model.history]
    assert len(losses) == 16
    assert losses == sorted(losses, reverse=True)
    assert model.interactions.nnz == 994_169
