"""Board files: found by name in the board folders, or by path, read and validated."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hil_agent.board.kinds import board_kinds, board_model
from hil_agent.board.schema import Board
from hil_agent.errors import NotFoundError
from hil_agent.resources import board_folders
from hil_agent.suggest import suggest
from hil_agent.yamlmodel import YamlDocument

_SUFFIX = ".yaml"


def list_boards() -> dict[str, Path]:
    """The files of all boards by name, sorted; not read, so that a broken one does not hide the rest."""
    files: dict[str, Path] = {}
    for folder in reversed(board_folders()):
        files |= {path.stem: path for path in folder.glob(f"*{_SUFFIX}")}
    return dict(sorted(files.items()))


def find_board(reference: str) -> Path:
    """The file of a board that the user named, or to which the user gave the path.

    Raises:
        NotFoundError: there is no such board; names those that come close.
    """
    if "/" in reference or reference.endswith(_SUFFIX):
        path = Path(reference)
        if not path.exists():
            raise NotFoundError(f"no board file {path}")
        return path
    boards = list_boards()
    if reference not in boards:
        raise NotFoundError(f"no board is called {reference!r}", hint=suggest(reference, boards))
    return boards[reference]


def load_board(reference: str) -> Board:
    """The board of a name or a path; see :func:`find_board`.

    Raises:
        NotFoundError: there is no such board.
        FileError: its file does not describe one: file, line and field are named.
        HostError: the package that offers its kind is broken.
    """
    return read_board(find_board(reference))


def read_board(path: Path) -> Board:
    """The board that a file describes.

    Raises:
        FileError: it does not describe one: file, line and field are named.
        HostError: the package that offers its kind is broken.
    """
    document = YamlDocument.read(path)
    model = _model_of(document)
    for field in document.data:
        if field not in model.model_fields:
            raise document.error(
                "there is no such field", field, hint=suggest(str(field), model.model_fields)
            )
    named = {"name": path.name.removesuffix(_SUFFIX)} | document.data
    return dataclasses.replace(document, data=named).validate(model)


def _model_of(document: YamlDocument) -> type[Board]:
    kind = document.data.get("kind")
    if kind is None:
        raise document.error("is missing", "kind", hint=suggest("", board_kinds()))
    if kind not in board_kinds():
        raise document.error(f"{kind!r} is not known", "kind", hint=suggest(str(kind), board_kinds()))
    return board_model(kind)
