"""``hil-agent list``, ``status``, ``wait``, ``reset``, ``destroy``: sessions as a whole."""

from __future__ import annotations

import click

from hil_agent.cli.output import json_option, print_fields, print_json, print_table
from hil_agent.errors import NotFoundError
from hil_agent.session.client import Session
from hil_agent.session.documents import Status
from hil_agent.session.folder import SessionFolder
from hil_agent.session.state import State
from hil_agent.text import printable


@click.command("list")
@json_option
def list_sessions(*, as_json: bool) -> None:
    """List the sessions there are."""
    found = list(_all())
    if as_json:
        print_json([status.model_dump(mode="json") for status in found])
        return
    print_table(
        ["session", "state", "board", "guest", "vCPUs", "suspends", "up"],
        [
            (
                status.name,
                status.state,
                status.board,
                status.guest,
                len(status.cpus),
                status.suspends,
                f"{status.uptime_s:.0f} s",
            )
            for status in found
        ],
    )


@click.command
@click.argument("name")
@json_option
def status(*, name: str, as_json: bool) -> None:
    """Show everything about session NAME."""
    found = Session.find(name).status()
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_fields(_rows(found))


@click.command
@click.argument("name")
@click.argument("state", type=click.Choice([state.value for state in State]))
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), default=60.0, metavar="S", show_default=True
)
@json_option
def wait(*, name: str, state: str, timeout_s: float, as_json: bool) -> None:
    """Wait until session NAME is in STATE."""
    session = Session.find(name)
    session.wait(State(state), timeout_s=timeout_s)
    if as_json:
        print_json(session.status().model_dump(mode="json"))


@click.command
@click.argument("name")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), default=60.0, metavar="S", show_default=True
)
@json_option
def reset(*, name: str, timeout_s: float, as_json: bool) -> None:
    """Reset the machine of session NAME, and wait until its guest is up again."""
    session = Session.find(name)
    session.reset(timeout_s=timeout_s)
    if as_json:
        print_json(session.status().model_dump(mode="json"))
    else:
        click.echo(f"{name}: reset, and up again")


@click.command
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@json_option
def destroy(*, names: tuple[str, ...], as_json: bool) -> None:
    """End session NAME, whatever state it is in, and remove all that it left."""
    for session in [Session.find(name) for name in names]:
        session.destroy()
    if as_json:
        print_json({"destroyed": list(names)})


def _all() -> list[Status]:
    found = []
    for folder in SessionFolder.all():
        try:
            found.append(Session(folder).status())
        except NotFoundError:
            continue  # destroyed meanwhile
    return found


def _counters(found: Status) -> list[tuple[str, str]]:
    """Calls by function; of several vCPUs each one's."""
    return [
        (name, " ".join(map(str, counts)) + (f" = {sum(counts)}" if len(counts) > 1 else ""))
        for name, counts in sorted(found.counters.items())
    ]


def _rows(found: Status) -> list[tuple[str, str]]:
    rows = [
        ("session", found.name),
        ("state", found.state + (f": {printable(found.reason)}" if found.reason else "")),
        ("board", found.board),
        ("guest", found.guest),
        ("vPSCI", f"profile {found.profile}, trap source {found.trap}"),
        *((f"vCPU {cpu.cpu}", f"{cpu.power}, MPIDR {cpu.mpidr}") for cpu in found.cpus),
        ("suspends", f"{found.suspends}, resumes {found.resumes}, calls {found.calls}"),
        *_counters(found),
        ("up", f"{found.uptime_s:.1f} s"),
        ("console log", str(found.console_log)),
        ("processes", f"session {found.pid}, machine {found.target_pid}"),
    ]
    if found.context:
        context = found.context
        rows.insert(
            2,
            (
                "context",
                f"entry point {context.entry_point}, context ID {context.context_id},"
                f" vCPU {context.cpu}, held for {context.since_s:.1f} s",
            ),
        )
    return rows
