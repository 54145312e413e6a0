"""``hil-agent conformance``: what a board answers to every PSCI call, against what it should."""

from __future__ import annotations

from pathlib import Path

import click

from hil_agent.board.load import load_board
from hil_agent.board.schema import MOST_CPUS
from hil_agent.cli.output import json_option, print_json, print_table
from hil_agent.cli.progress import building
from hil_agent.conformance import (
    BUILTIN,
    Lab,
    Report,
    Result,
    Verdict,
    builtin_target,
    ordered,
    run,
    scenarios,
    select,
    session_target,
)
from hil_agent.errors import FileError, UsageError
from hil_agent.psci import get_profile


@click.command
@click.argument("board")
@click.option("--profile", help="Whose PSCI is expected, and with it imitated unless --builtin is given.")
@click.option("--builtin", is_flag=True, help="Examine QEMU's own PSCI, on the same machine.")
@click.option("--cpus", type=int, default=4, show_default=True, help=f"Number of vCPUs, 1 to {MOST_CPUS}.")
@click.option("--cpu", metavar="MODEL", help="CPU model.")
@click.option("--gic-version", type=int, help="Interrupt controller: 2 or 3.")
@click.option("--conduit", help="What the guest calls with, where not told otherwise: hvc or smc.")
@click.option("--wake", metavar="SOURCES", help="What may end a suspend: command, irq, timer, with commas.")
@click.option("--only", default="*", metavar="PATTERN", help="Cases to do, such as 'cpu_on.*'.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML as well.")
@json_option
@click.pass_context
def conformance(
    context: click.Context,
    /,
    *,
    board: str,
    profile: str | None,
    builtin: bool,
    only: str,
    junit: Path | None,
    as_json: bool,
    **options: object,
) -> None:
    """Make every PSCI call on BOARD, and say which answers are not as they should be.

    A guest of ours calls, from every vCPU, and looks at all registers. What is right is what the
    specification says or, where it differs, what the imitated hypervisor does. Exit status 1 if a case
    fails.
    """
    resolved = load_board(board).with_overrides(**options, profile=profile)
    expected_of = get_profile(profile).name if profile else BUILTIN if builtin else resolved.profile
    chosen = select(scenarios(), expected_of, only)
    if not chosen:
        raise UsageError(f"--only: no case is called {only!r}", hint=f"topics: {', '.join(_topics())}")
    results: list[Result] = []
    total = sum(len(scenario.cases) for scenario in chosen)
    start = builtin_target if builtin else session_target
    with building() as progress, Lab(lambda: start(resolved, progress)) as lab:
        for result in run(lab, chosen, expected_of):
            results.append(result)
            progress(f"examining {resolved.name}, profile {expected_of}", len(results) / total)
        cpus = lab.cpus
    report = Report(resolved.name, expected_of, builtin, cpus, ordered(results))
    if junit:
        _write(junit, report.junit())
    if as_json:
        print_json(report.document())
    else:
        _print(report)
    context.exit(1 if report.counts[Verdict.FAILED] else 0)


def _print(report: Report) -> None:
    failed = [result for result in report.results if result.verdict is Verdict.FAILED]
    print_table(
        ["verdict", "case", "call", "expected", "got"],
        (
            (result.verdict, result.case.name, result.case.call, result.expected, result.got)
            for result in report.results
        ),
    )
    for result in failed:
        click.echo(f"{result.case.name}: {result.case.source}")
    if report.lacking:
        click.echo(f"not there: {', '.join(report.lacking)}")
    click.echo(", ".join(f"{count} {verdict}" for verdict, count in report.counts.items()))


def _topics() -> list[str]:
    return sorted({case.name.partition(".")[0] for scenario in scenarios() for case in scenario.cases})


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise FileError(f"cannot be written: {error.strerror}", path=path) from error
