"""The command line: fit, tune, recommend, evaluate and look at models of tables in files."""

from . import evaluating, fitting, lists, preparing, reporting, tuning
from .app import app, main

__all__ = ["app", "evaluating", "fitting", "lists", "main", "preparing", "reporting", "tuning"]
