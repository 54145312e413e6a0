"""``hil-agent suspend``, ``resume`` and ``context``: the guest's system suspend."""

from __future__ import annotations

import click

from hil_agent.cli.number import Number
from hil_agent.cli.output import json_option, print_json, print_table
from hil_agent.errors import StateError, UsageError
from hil_agent.session.client import DEFAULT_SUSPEND, Session
from hil_agent.session.documents import Context


@click.command
@click.argument("name")
@click.option(
    "--command", default=DEFAULT_SUSPEND, show_default=True, metavar="CMD", help="What the guest runs."
)
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), default=60.0, metavar="S", show_default=True
)
@click.option("--by-host", is_flag=True, help="Hold it where it is, without a call of its own.")
@json_option
def suspend(*, name: str, command: str, timeout_s: float, by_host: bool, as_json: bool) -> None:
    """Have the guest of session NAME suspend.

    Returns when its SYSTEM_SUSPEND was trapped and accepted.
    """
    session = Session.find(name)
    if by_host:
        session.suspend_by_host()
        context = None
    else:
        context = session.suspend(command, timeout_s=timeout_s)
    _print_context(name, context, as_json=as_json)


@click.command
@click.argument("name")
@click.option("--as-is", is_flag=True, help="Abandon the suspend: its call returns SUCCESS.")
@click.option("--deny", metavar="CODE", help="Abandon the suspend: its call returns CODE, such as DENIED.")
@json_option
def resume(*, name: str, as_is: bool, deny: str | None, as_json: bool) -> None:
    """Resume the guest of session NAME, as `xl resume` does.

    Returns when the vCPU has left EL2 for the entry point. A guest that is not suspended is left alone, with
    status 3.
    """
    if as_is and deny:
        raise UsageError("--as-is and --deny exclude each other")
    session = Session.find(name)
    session.resume(answer="SUCCESS" if as_is else deny)
    if as_json:
        print_json(session.status().model_dump(mode="json"))
    else:
        click.echo(f"{name}: resumed")


@click.group
def context() -> None:
    """The resume context that SYSTEM_SUSPEND left behind."""


@context.command
@click.argument("name")
@json_option
def show(*, name: str, as_json: bool) -> None:
    """Show the resume context of session NAME; status 3 if there is none."""
    status = Session.find(name).status()
    if status.context is None and not as_json:
        raise StateError(f"{name} has no resume context: it is {status.state}")
    _print_context(name, status.context, as_json=as_json)


@context.command
@click.argument("name")
@click.option(
    "--changed", is_flag=True, help="Only those that were others after the resume, before and after."
)
@json_option
def registers(*, name: str, changed: bool, as_json: bool) -> None:
    """Show every register of session NAME as it was when its guest last suspended."""
    found = Session.find(name).registers()
    if as_json:
        print_json(found.model_dump(mode="json"))
    elif changed:
        rows = [(cpu, *item) for cpu, items in found.changed.items() for item in items.items()]
        print_table(["vCPU", "register", "at suspend", "at entry"], [(cpu, reg, *v) for cpu, reg, v in rows])
    else:
        rows_ = [(cpu, *item) for cpu, items in found.suspended.items() for item in items.items()]
        print_table(["vCPU", "register", "at suspend"], rows_)


@context.command("set")
@click.argument("name")
@click.option("--entry", type=Number(64), help="Entry point of the next resume; it is not checked.")
@click.option("--context-id", type=Number(64), help="Context ID of the next resume.")
@json_option
def set_(*, name: str, entry: int | None, context_id: int | None, as_json: bool) -> None:
    """Change the resume context of session NAME for the next resume."""
    session = Session.find(name)
    session.set_context(entry_point=entry, context_id=context_id)
    _print_context(name, session.context(), as_json=as_json)


@context.command
@click.argument("name")
@json_option
def clear(*, name: str, as_json: bool) -> None:
    """Drop the resume context of session NAME: the next resume returns from the guest's call instead."""
    Session.find(name).clear_context()
    if as_json:
        print_json(None)


def _print_context(name: str, found: Context | None, *, as_json: bool) -> None:
    if as_json:
        print_json(found.model_dump(mode="json") if found else None)
    elif found is None:
        click.echo(f"{name}: suspended, without a context")
    else:
        click.echo(
            f"{name}: suspended, entry point {found.entry_point}, context ID {found.context_id},"
            f" vCPU {found.cpu}, SMC{found.width}"
        )
