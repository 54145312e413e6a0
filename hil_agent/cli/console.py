"""``hil-agent console``, ``exec``, ``push``, ``pull``: the guest from its own side."""

from __future__ import annotations

import base64
import shlex
import sys
from pathlib import Path

import click

from hil_agent.cli.output import json_option, print_json
from hil_agent.console import Ending, interact
from hil_agent.errors import LinkError
from hil_agent.session.client import Session

_TIMEOUT = click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), default=300.0, metavar="S", show_default=True
)


@click.command
@click.argument("name")
@click.option("--log", is_flag=True, help="Print what has been said so far, and return.")
def console(*, name: str, log: bool) -> None:
    """Join the console of session NAME; Ctrl-] leaves it."""
    folder = Session.find(name).folder
    if log:
        try:
            sys.stdout.buffer.write(folder.console_log.read_bytes())
        except OSError as error:
            raise LinkError(f"{folder.console_log}: {error.strerror}") from error
        return
    if sys.stderr.isatty():
        click.echo(f"console of {name}; Ctrl-] leaves it", err=True)
    if interact(folder.console_socket) is Ending.CONSOLE_CLOSED:
        click.echo(f"the console of {name} has ended", err=True)


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_TIMEOUT
@json_option
@click.pass_context
def execute(
    context: click.Context, *, name: str, command: tuple[str, ...], timeout_s: float, as_json: bool
) -> None:
    """Run a shell command in the guest of session NAME.

    Prints its output and ends with its exit status. One COMMAND word is shell text, `exec NAME -- 'a | b'`;
    several are a program and its arguments.
    """
    text = command[0] if len(command) == 1 else shlex.join(command)
    result = Session.find(name).exec(text, timeout_s=timeout_s)
    if as_json:
        print_json(
            {
                "status": result.status,
                "output": result.output.decode(errors="replace"),
                "output_base64": base64.b64encode(result.output).decode(),
            }
        )
    else:
        sys.stdout.buffer.write(result.output)
        sys.stdout.buffer.flush()
    context.exit(result.status)


@click.command
@click.argument("name")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("destination")
@_TIMEOUT
@json_option
def push(*, name: str, source: Path, destination: str, timeout_s: float, as_json: bool) -> None:
    """Copy the file SOURCE into the guest of session NAME, permissions included."""
    Session.find(name).push(source, destination, timeout_s=timeout_s)
    if as_json:
        print_json({"pushed": str(source), "to": destination})


@click.command
@click.argument("name")
@click.argument("source")
@click.argument("destination", type=click.Path(path_type=Path))
@_TIMEOUT
@json_option
def pull(*, name: str, source: str, destination: Path, timeout_s: float, as_json: bool) -> None:
    """Copy the file SOURCE out of the guest of session NAME."""
    Session.find(name).pull(source, destination, timeout_s=timeout_s)
    if as_json:
        print_json({"pulled": source, "to": str(destination)})
