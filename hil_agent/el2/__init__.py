"""The EL2 monitor and the trap source that works through it.

``monitor.S`` is what runs at EL2; ``build`` assembles it and ``monitor`` reads its
symbols. ``system_registers``, ``program`` and ``syndrome`` are pure: encodings, the
short programs that the monitor runs for us, and what an exception's ESR means.
``trap_source`` puts them to work over a debug stub.
"""

from hil_agent.el2.monitor import Monitor
from hil_agent.el2.trap_source import El2TrapSource

__all__ = ["El2TrapSource", "Monitor"]
