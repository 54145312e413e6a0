"""Whose breakpoints there are: one in the target for all who want the same. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from hil_agent.rsp import BreakpointKind

_STOP_BEFORE = frozenset({BreakpointKind.SOFTWARE, BreakpointKind.HARDWARE})


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """A breakpoint or watchpoint.

    Attributes:
        kind: which.
        address: 64-bit virtual address.
        length: bytes of the instruction, or of the data that is watched.
    """

    kind: BreakpointKind
    address: int
    length: int

    @property
    def is_watchpoint(self) -> bool:
        """Whether it is about data."""
        return self.kind not in _STOP_BEFORE


class Breakpoints:
    """The breakpoints of every owner. To set or remove one that is so already changes nothing."""

    def __init__(self) -> None:
        self._owners: dict[Breakpoint, set[Hashable]] = {}

    def add(self, owner: Hashable, breakpoint_: Breakpoint) -> bool:
        """Notes that ``owner`` has set one; whether it is the first, and the target has to be told."""
        owners = self._owners.setdefault(breakpoint_, set())
        owners.add(owner)
        return len(owners) == 1

    def discard(self, owner: Hashable, breakpoint_: Breakpoint) -> bool:
        """Notes that ``owner`` has removed one; whether it was the last, and the target has to be told."""
        owners = self._owners.get(breakpoint_, set())
        if owner not in owners:
            return False
        owners.remove(owner)
        if owners:
            return False
        del self._owners[breakpoint_]
        return True

    def of(self, owner: Hashable) -> list[Breakpoint]:
        """Those that ``owner`` has set."""
        return [each for each, owners in self._owners.items() if owner in owners]

    def at(self, pc: int) -> list[Breakpoint]:
        """Those on the instruction at ``pc``."""
        return [each for each in self._owners if each.address == pc and not each.is_watchpoint]

    def watching(self, address: int) -> list[Breakpoint]:
        """The watchpoints, of whatever kind, on a data address."""
        return [
            each
            for each in self._owners
            if each.is_watchpoint and each.address <= address < each.address + each.length
        ]

    def __len__(self) -> int:
        return len(self._owners)

    def __contains__(self, breakpoint_: object) -> bool:
        return breakpoint_ in self._owners
