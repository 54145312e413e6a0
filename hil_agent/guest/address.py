"""Ranges of guest physical addresses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class AddressRange:
    """``size`` bytes from ``start`` on."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.start + self.size

    def contains(self, other: AddressRange) -> bool:
        """Whether all of ``other`` lies inside."""
        return self.start <= other.start and other.end <= self.end

    def overlaps(self, other: AddressRange) -> bool:
        """Whether they share an address; an empty range shares none."""
        return max(self.start, other.start) < min(self.end, other.end)

    def __str__(self) -> str:
        return f"{self.start:#x}-{self.end:#x}"


def align_up(address: int, alignment: int) -> int:
    """The next multiple of ``alignment`` that is not below ``address``."""
    return -(-address // alignment) * alignment


def align_down(address: int, alignment: int) -> int:
    """The last multiple of ``alignment`` that is not above ``address``."""
    return address // alignment * alignment
