"""Sizes of memory as people write them, ``512M`` or ``2G``, and as the rest computes with them: bytes."""

from __future__ import annotations

import re

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SIZE = re.compile(r"(\d{1,12})([KMG])(iB)?", re.ASCII)


def parse_size(text: str) -> int:
    """Bytes of a size with its unit: K, M or G, each a power of two.

    A unit is asked for because QEMU, and so many a habit, takes a bare ``512`` for mebibytes.

    Raises:
        ValueError: not a size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("must be a number and a unit, K, M or G, as in 512M")
    return int(match[1]) * _UNITS[match[2]]


def format_size(size: int) -> str:
    """The shortest exact form of a number of bytes that :func:`parse_size` reads."""
    for unit, factor in reversed(_UNITS.items()):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    raise ValueError(f"{size} bytes is not a multiple of 1K")
