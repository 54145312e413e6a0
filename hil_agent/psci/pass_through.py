"""Which calls the firmware below may answer in place of the vPSCI."""

from __future__ import annotations

from collections.abc import Iterable

from hil_agent.psci.functions import Function

OTHER = "OTHER"
"""Stands for every function ID that has no name here, such as a vendor's."""

_OURS = frozenset(
    {
        Function.CPU_SUSPEND,
        Function.CPU_OFF,
        Function.CPU_ON,
        Function.SYSTEM_OFF,
        Function.SYSTEM_RESET,
        Function.CPU_FREEZE,
        Function.CPU_DEFAULT_SUSPEND,
        Function.SYSTEM_SUSPEND,
        Function.SYSTEM_RESET2,
        Function.SYSTEM_OFF2,
    }
)
"""They do not simply return: behind the vPSCI's back its power states would be wrong."""

PASSABLE = (*(function.name for function in Function if function not in _OURS), OTHER)
"""What may be passed on, by name."""


def passed_on(names: Iterable[str]) -> frozenset[Function | None]:
    """The functions of those names; None stands for all that have none."""
    return frozenset(None if name == OTHER else Function[name] for name in names)
