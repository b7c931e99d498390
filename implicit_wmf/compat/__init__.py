"""Interfaces of other libraries, so that moving here begins with one import line."""

from __future__ import annotations
