"""The power_state argument of CPU_SUSPEND, in its two formats (DEN0022, section 5.4.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PowerStateFormat:
    """How the 32 bits of a power state are to be read.

    Attributes:
        feature: what PSCI_FEATURES of CPU_SUSPEND says of it, in bit 1.
        reserved: bits that must be zero.
        power_down: the bit that tells a power-down state from a standby one.
        level: the highest power level that a state, given as its 32 bits, is about.
    """

    feature: int
    reserved: int
    power_down: int
    level: Callable[[int], int]


def _recommended_level(power_state: int) -> int:
    """The level in a StateID of the recommended encoding: four bits a level, of which 0 means running."""
    return next((level for level in (2, 1) if power_state >> 4 * level & 0xF), 0)


ORIGINAL = PowerStateFormat(
    feature=0, reserved=0xFCFE_0000, power_down=1 << 16, level=lambda power_state: power_state >> 24 & 3
)
"""StateID in bits [15:0], StateType in bit 16, PowerLevel in [25:24]."""

EXTENDED = PowerStateFormat(
    feature=1 << 1, reserved=0xB000_0000, power_down=1 << 30, level=_recommended_level
)
"""StateID in bits [27:0], StateType in bit 30; the level is a matter of the StateID."""
