"""MovieLens 1M in the split of He et al. 2017, which may not be redistributed: skipped where it is absent."""

import re
import subprocess
import sys
from pathlib import Path

import publishers
import pytest
from conftest import COMPILED

from implicit_wmf import WMF

DATA = publishers.DATA / "ml-1m-ncf"

# The command line, then the peak of its own memory; getrusage would count what the parent had before exec as well.
RUN = """
from implicit_wmf.cli import main
try:
    main()
finally:
    print(open("/proc/self/status").read())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to report a process's memory")
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no MovieLens 1M at {DATA}")
@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_sixteen_epochs_from_the_command_line_stay_under_600_mb(tmp_path):
    command = [sys.executable, "-c", RUN, "fit", DATA / "train.parquet", "--user", "user", "--item", "item"]
    options = ["--factors", "64", "--iterations", "16", "--solver", "exact", "--random-state", "0", "-o", "model"]
    result = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=True)
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", result.stdout)[1]) / 1024
    assert peak < 600
    model = WMF.load(tmp_path / "model")
    losses = [record.loss for record in model.history]
    assert len(losses) == 16
    assert losses == sorted(losses, reverse=True)
    assert model.interactions.nnz == 994_169
