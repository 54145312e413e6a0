"""The kinds of board that are installed, found through the entry point group ``hil_agent.boards``.

An entry point is called like the kind and names its subclass of
:class:`~hil_agent.board.schema.Board`. Ours are registered in pyproject.toml, in the way that any other
package registers its own.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic.json_schema import models_json_schema

from hil_agent.board.schema import Board
from hil_agent.errors import HostError, NotFoundError
from hil_agent.suggest import suggest

ENTRY_POINT_GROUP = "hil_agent.boards"


@cache
def _registered() -> dict[str, EntryPoint]:
    found = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name)
    return {entry.name: entry for entry in found}


def board_kinds() -> tuple[str, ...]:
    """The names of all kinds."""
    return tuple(_registered())


def board_model(kind: str) -> type[Board]:
    """The model of the boards of a kind.

    Raises:
        NotFoundError: no such kind is installed.
        HostError: the package that offers the kind is broken.
    """
    entry = _registered().get(kind)
    if entry is None:
        raise NotFoundError(f"no kind of board is called {kind!r}", hint=suggest(kind, board_kinds()))
    try:
        model = entry.load()
    except (ImportError, AttributeError) as error:
        raise HostError(f"board kind {kind} ({entry.value}) cannot be loaded: {error}") from error
    if not (isinstance(model, type) and issubclass(model, Board)):
        raise HostError(f"board kind {kind}: {entry.value} is no Board")
    return model


def boards_schema() -> dict[str, Any]:
    """The JSON Schema of a board file, of whatever kind.

    Raises:
        HostError: a package that offers a kind is broken.
    """
    references, schema = models_json_schema([(board_model(kind), "validation") for kind in board_kinds()])
    return {"oneOf": list(references.values()), **schema}
