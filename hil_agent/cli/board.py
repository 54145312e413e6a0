"""``hil-agent board``: the boards that are known, one in full, a file checked, the JSON Schema."""

from __future__ import annotations

from pathlib import Path

import click

from hil_agent.board.kinds import boards_schema
from hil_agent.board.load import find_board, list_boards, load_board, read_board
from hil_agent.cli.output import json_option, print_json, print_table
from hil_agent.errors import HilAgentError


@click.group
def board() -> None:
    """Boards: what guests run on.

    A BOARD is the name of one, or the path of its file.
    """


@board.command("list")
@json_option
def list_command(*, as_json: bool) -> None:
    """List the boards that are known, your own and those that came along."""
    rows = [_summary(name, path) for name, path in list_boards().items()]
    if as_json:
        print_json(rows)
    else:
        cells = [(row["name"], row["kind"] or "?", row["description"] or row["error"]) for row in rows]
        print_table(["board", "kind", "description"], cells)


@board.command
@click.argument("board")
@json_option
def show(*, board: str, as_json: bool) -> None:
    """Show all that is set for BOARD, defaults and all."""
    fields = load_board(board).model_dump(mode="json")
    if as_json:
        print_json(fields)
    else:
        print_table(["field", "value"], [(name, _words(value)) for name, value in fields.items()])


@board.command
@click.argument("board")
@json_option
def check(*, board: str, as_json: bool) -> None:
    """Check that the file of BOARD describes a board.

    Ends with status 2 if not, and names line and field.
    """
    path = find_board(board)
    found = read_board(path)
    if as_json:
        print_json({"ok": True, "path": str(path), "name": found.name, "kind": found.kind})
    else:
        click.echo(f"{path}: ok, a board of kind {found.kind}")


@board.command
@click.option("--json", is_flag=True, expose_value=False, help="No difference: a schema is JSON.")
def schema() -> None:
    """Print the JSON Schema of board files, for editors and checkers."""
    print_json(boards_schema())


def _summary(name: str, path: Path) -> dict[str, str | None]:
    """What ``list`` tells about a file; a broken one is listed with its error."""
    summary = {"name": name, "path": str(path), "kind": None, "description": None, "error": None}
    try:
        known = read_board(path)
    except HilAgentError as error:
        return summary | {"error": error.message}
    return summary | {"kind": known.kind, "description": known.description}


def _words(value: object) -> object:
    return " ".join(map(str, value)) if isinstance(value, list) else value
