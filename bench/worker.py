"""One task in a process of its own: a JSON job as the only argument, the JSON result as the last line printed.

A process each, because idle threads of one library's pool spin for a while and would steal time from the next.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def perform(job: dict[str, Any]) -> Any:
    """Call the function that `task` names, such as "speed.fits.fit", with the job.

    Nothing else of this folder is imported: `speed.fits.first_fit` times the import of the package.
    """
    module, _, function = job["task"].rpartition(".")
    return getattr(importlib.import_module(f"{__package__}.{module}"), function)(job)


if __name__ == "__main__":
    print(json.dumps(perform(json.loads(sys.argv[1]))))
