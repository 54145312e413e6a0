"""What every command shares: one JSON document or text for people, and errors with their exit status.

Text for people goes through :func:`printable` before it reaches a terminal: much of it was said by a
guest, whose escape sequences must not act on the terminal of its user.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hil_agent.errors import HilAgentError
from hil_agent.text import printable

Command = TypeVar("Command", bound=Callable[..., Any])

INTERRUPTED = 130
"""Exit status after Ctrl-C, as a shell gives it: 128 + SIGINT."""

_UNLIMITED_WIDTH = 10_000
"""Columns of a table that goes into a file or a pipe, where nothing must be cut."""


def json_option(command: Command) -> Command:
    """Adds ``--json``; the command gets it as ``as_json``."""
    option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
    return option(command)


def print_json(document: object, *, compact: bool = False) -> None:
    """Prints a document; ``compact`` on one line of its own, as in a stream of them."""
    click.echo(json.dumps(document, indent=None if compact else 2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints rows for people, as wide as the terminal, or uncut where there is none."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    Console(width=None if sys.stdout.isatty() else _UNLIMITED_WIDTH).print(table)


def print_fields(rows: Iterable[tuple[str, object]]) -> None:
    """Prints names and what belongs to them, for people; nothing is cut."""
    fields = [(name, printable(str(value))) for name, value in rows]
    width = max((len(name) for name, _ in fields), default=0)
    for name, value in fields:
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {value}")


def run(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status; errors are said on standard error.

    A command ends with another status than 0 by raising a :class:`HilAgentError` or by
    ``context.exit(status)``.
    """
    try:
        status = command.main(arguments, standalone_mode=False)
    except HilAgentError as error:
        click.echo(f"hil-agent: {printable(str(error))}", err=True)
        return error.exit_status
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):  # click's word for it, and a second one meanwhile
        return INTERRUPTED
    return status if isinstance(status, int) else 0
