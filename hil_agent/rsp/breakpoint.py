"""Kinds of breakpoint, as the protocol numbers them. Pure."""

from __future__ import annotations

from enum import IntEnum


class BreakpointKind(IntEnum):
    """Kinds of breakpoint by their number in ``Z`` and ``z`` packets."""

    SOFTWARE = 0
    HARDWARE = 1
    WRITE_WATCH = 2
    READ_WATCH = 3
    ACCESS_WATCH = 4
