"""Search for hyper-parameters on a validation part; needs the extra `tune`."""

from .plots import write_plots
from .space import Choice, Range, default_space
from .tuner import Tuning, tune

__all__ = ["Choice", "Range", "Tuning", "default_space", "tune", "write_plots"]
