"""``hil-agent suspend``, ``resume`` and ``context``: the guest's system suspend."""

from __future__ import annotations

import click

from hil_agent.cli.output import json_option, print_json
from hil_agent.errors import StateError
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
@json_option
def suspend(*, name: str, command: str, timeout_s: float, as_json: bool) -> None:
    """Have the guest of session NAME suspend.

    Returns when its SYSTEM_SUSPEND was trapped and accepted.
    """
    context = Session.find(name).suspend(command, timeout_s=timeout_s)
    _print_context(name, context, as_json=as_json)


@click.command
@click.argument("name")
@json_option
def resume(*, name: str, as_json: bool) -> None:
    """Resume the guest of session NAME, as `xl resume` does.

    Returns when the vCPU has left EL2 for the entry point. A guest that is not suspended is left alone, with
    status 3.
    """
    session = Session.find(name)
    session.resume()
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
    found = Session.find(name).context()
    if found is None and not as_json:
        raise StateError(f"{name} has no resume context: it is not suspended")
    _print_context(name, found, as_json=as_json)


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
    elif found:
        click.echo(
            f"{name}: suspended, entry point {found.entry_point}, context ID {found.context_id},"
            f" vCPU {found.cpu}, SMC{found.width}"
        )
