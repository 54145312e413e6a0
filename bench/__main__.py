"""``python -m bench``: measures everything in one run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from bench import boot, debugger, demo, functions, idle, suspend, trapped_call
from bench.machine import describe
from bench.report import COLUMNS, document, markdown, row
from bench.result import Result
from hil_agent.cli.output import print_table, run


@dataclass(frozen=True, slots=True)
class _Effort:
    """How often each thing is measured."""

    turns: int
    calls: int
    boots: int
    demos: int
    suspends: int
    idles: int
    debuggers: int


_FULL = _Effort(turns=20, calls=200, boots=7, demos=5, suspends=10, idles=5, debuggers=7)
_QUICK = _Effort(turns=2, calls=50, boots=1, demos=1, suspends=1, idles=1, debuggers=1)

_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command
@click.option("--quick", is_flag=True, help="Measure little: shows that it works, and no more.")
@click.option("--json", "json_file", type=_FILE, help="Also write the results to FILE, as JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown, for docs/benchmarks.md.")
def main(*, quick: bool, json_file: Path | None, as_markdown: bool) -> None:
    """Measure hil_agent against what it is built on; about six minutes."""
    machine = describe()
    results = _measure(_QUICK if quick else _FULL)
    if json_file is not None:
        json_file.write_text(json.dumps(document(results, machine), indent=2) + "\n")
    if as_markdown:
        click.echo(markdown(results, machine), nl=False)
    else:
        print_table(("", ""), machine.items())
        print_table(COLUMNS, map(row, results))


def _measure(effort: _Effort) -> list[Result]:
    parts: dict[str, Callable[[], list[Result]]] = {
        "a trapped call": lambda: trapped_call.measure(effort.turns, effort.calls),
        "each function": lambda: functions.measure(effort.turns, effort.calls // 2),
        "boot": lambda: boot.measure(effort.boots),
        "the demo": lambda: demo.measure(effort.demos),
        "suspend and resume": lambda: suspend.measure(effort.suspends),
        "idling": lambda: idle.measure(effort.idles),
        "debuggers": lambda: debugger.measure(effort.debuggers),
    }
    results = []
    for name, part in parts.items():
        click.echo(f"bench: {name}", err=True)
        results += part()
    return results


if __name__ == "__main__":
    raise SystemExit(run(main))
