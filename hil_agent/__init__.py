"""hil_agent: boots an Arm64 guest and is its EL2 PSCI firmware.

The Python API is :func:`boot`, which returns a :class:`Session`::

    import hil_agent

    with hil_agent.boot("qemu-virt", guest="linux-minimal") as session:
        session.suspend()                 # echo mem > /sys/power/state
        session.resume()                  # like `xl resume`
        print(session.exec("dmesg | tail -n 3").text)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hil_agent.api import boot
    from hil_agent.session.client import Session
    from hil_agent.session.state import State

__version__ = "0.1.0"

__all__ = ["Session", "State", "__version__", "boot"]

_HOMES = {"boot": "api", "Session": "session.client", "State": "session.state"}


def __getattr__(name: str) -> object:
    """Imports the API when it is first used: a command that needs little of it starts quickly."""
    if name in _HOMES:
        return getattr(import_module(f"hil_agent.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
