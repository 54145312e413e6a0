"""Hints for names that are not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST = 60
"""Names that people still look through."""


def suggest(wrong: str, known: Iterable[str]) -> str:
    """What was perhaps meant, and all that there is if it can be taken in: the hint about a wrong name."""
    names = sorted(known)
    close = difflib.get_close_matches(wrong, names, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    if len(names) > _MOST:
        return meant.rstrip()
    return f"{meant}there is: {', '.join(names) or 'none'}"
