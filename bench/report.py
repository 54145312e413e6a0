"""Results as rows of a table for people, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.result import Result

_MILLISECOND = 1e-3

COLUMNS = ("measured", "median", "against", "median", "figure", "target", "met", "n")


def row(result: Result) -> tuple[str, ...]:
    """One cell for each of `COLUMNS`."""
    comparison, unit, target = result.comparison, result.unit.value, result.target
    return (
        comparison.measured,
        _time(comparison.measured_s),
        comparison.against,
        _time(comparison.against_s),
        f"{result.figure:.2f} {unit}",
        f"{target} {unit}" if target else "",
        ("yes" if result.met else "no") if target else "",
        str(comparison.samples),
    )


def markdown(results: Sequence[Result], machine: Mapping[str, str]) -> str:
    """A list of what the machine is, and the table."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(row, results)]
    return "\n".join(
        [
            *(f"- {name}: {value}" for name, value in machine.items()),
            "",
            *(f"| {' | '.join(cells)} |" for cells in rows),
            "",
        ]
    )


def document(results: Sequence[Result], machine: Mapping[str, str]) -> dict[str, Any]:
    """The same for JSON; times are in seconds."""
    return {
        "machine": dict(machine),
        "results": [
            {
                **asdict(result.comparison),
                "figure": result.figure,
                "unit": result.unit.value,
                "target": str(result.target) if result.target else None,
                "met": result.met,
            }
            for result in results
        ],
    }


def _time(seconds: float) -> str:
    """In the unit that suits its size."""
    if seconds < _MILLISECOND:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
