"""The sections of ``python -m bench speed``."""

from __future__ import annotations

from .epochs import CG, EXACT, KL, PUBLIC
from .growth import GROWTH, THREADS
from .lists import LISTS
from .section import Section
from .share import SHARE
from .to_objective import OBJECTIVE
from .whole import BIG, COMPILE

# the longest last, so that a run that is cut short has the others
SECTIONS: dict[str, Section] = {
    "exact": EXACT,
    "share": SHARE,
    "threads": THREADS,
    "growth": GROWTH,
    "compile": COMPILE,
    "kl": KL,
    "lists": LISTS,
    "objective": OBJECTIVE,
    "cg": CG,
    "public": PUBLIC,
    "big": BIG,
}

# those that are about the data given by --data, not about a size of the plan's own
DATA_SECTIONS = ("exact", "objective", "cg")
