"""Debugging a guest with stock gdb, by programs.

``gdb`` drives a gdb through its machine interface; ``gdb_process`` is that gdb as a process that is asked and
cannot hang, and ``mi`` reads what it says. The last is pure. What it attaches to is ``hil_agent.stub``.

``kernel`` knows the guest's kernel: its symbols, where KASLR has put it, its log. ``diagnose`` gathers all
that can be had about a session, and says what may be wrong.
"""

from hil_agent.debug.gdb import Gdb
from hil_agent.debug.mi import (
    Access,
    Breakpoint,
    Frame,
    GdbError,
    Stop,
    StopReason,
    Thread,
    Value,
    Watchpoint,
)

__all__ = [
    "Access",
    "Breakpoint",
    "Frame",
    "Gdb",
    "GdbError",
    "Stop",
    "StopReason",
    "Thread",
    "Value",
    "Watchpoint",
]
