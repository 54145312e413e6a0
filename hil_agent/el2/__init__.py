"""The EL2 monitor and the trap source that works through it.

``monitor.S`` is what runs at EL2, ``syndrome`` what an exception's ESR means. ``trap_source`` puts the
monitor to work over a debug stub.
"""

from hil_agent.el2.trap_source import El2TrapSource

__all__ = ["El2TrapSource"]
