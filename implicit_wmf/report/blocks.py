"""What all sections of the report spell alike: shares, and pictures with their words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import InputError
from .figures import percent, to_svg
from .page import Block, Picture, Text

_LEAST = 1e-5  # smaller shares are not worth their zeros


def share(part: float) -> str:
    """Spell a share as the pictures do."""
    return f"less than {percent(_LEAST)}" if 0 < part < _LEAST else percent(part)


def picture(draw: Callable[[], Any], alt: str, caption: str) -> Block:
    """Draw a picture; where there is nothing to draw, say why instead."""
    try:
        return Picture(to_svg(draw()), alt, caption)
    except InputError as error:
        return Text(f"No picture of this: {error}")
