"""The kinds of trap source: one module each, found by its being here, and called like it.

A module defines ``KIND``. To add a trap source is to add a module; its name has a ``-`` for each ``_``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from hil_agent.errors import UsageError

if TYPE_CHECKING:
    from hil_agent.trap.kind import TrapSourceKind

DEFAULT_TRAP_SOURCE = "el2"


@cache
def trap_sources() -> tuple[str, ...]:
    """The names of all kinds."""
    return tuple(sorted(module.name.replace("_", "-") for module in iter_modules(__path__)))


def get_trap_source(name: str) -> TrapSourceKind:
    """The kind of trap source called ``name``.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in trap_sources():
        raise UsageError(f"there is no trap source {name!r}", hint=f"there are {', '.join(trap_sources())}")
    kind: TrapSourceKind = import_module(f"{__name__}.{name.replace('-', '_')}").KIND
    return kind
