"""What was measured, against what, and how good that must be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Self


class Unit(Enum):
    """The unit of the figure that is judged."""

    RATIO = "x"
    SECONDS = "s"
    PERCENT = "%"


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure must be to be good enough."""

    limit: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"

    def met(self, figure: float) -> bool:
        """Whether a figure is good enough."""
        return figure >= self.limit if self.at_least else figure <= self.limit


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two medians, in seconds, each with what it is the median of.

    Attributes:
        samples: how many measurements ``measured_s`` comes from.
    """

    measured: str
    measured_s: float
    against: str
    against_s: float
    samples: int


@dataclass(frozen=True, slots=True)
class Result:
    """A comparison and the figure that is made of it; without a target it is for information."""

    comparison: Comparison
    figure: float
    unit: Unit
    target: Target | None

    @classmethod
    def slowdown(cls, comparison: Comparison, at_most: float | None = None) -> Self:
        """How many times as long it takes."""
        figure = comparison.measured_s / comparison.against_s
        return cls(comparison, figure, Unit.RATIO, Target(at_most) if at_most else None)

    @classmethod
    def speedup(cls, comparison: Comparison, at_least: float | None = None) -> Self:
        """How many times quicker it is."""
        figure = comparison.against_s / comparison.measured_s
        return cls(comparison, figure, Unit.RATIO, Target(at_least, at_least=True) if at_least else None)

    @classmethod
    def excess(cls, comparison: Comparison, at_most_s: float) -> Self:
        """How many seconds longer it takes."""
        figure = comparison.measured_s - comparison.against_s
        return cls(comparison, figure, Unit.SECONDS, Target(at_most_s))

    @classmethod
    def share(cls, comparison: Comparison, at_most_percent: float) -> Self:
        """How much of the whole it is."""
        figure = 100 * comparison.measured_s / comparison.against_s
        return cls(comparison, figure, Unit.PERCENT, Target(at_most_percent))

    @property
    def met(self) -> bool:
        """Whether the target, if there is one, is met."""
        return self.target is None or self.target.met(self.figure)
