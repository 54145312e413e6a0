"""A kind of trap source: what a session must know to use one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hil_agent.guest.address import AddressRange
from hil_agent.guest.device_tree import Gic
from hil_agent.guest.kernel import Segment
from hil_agent.psci.call import Conduit
from hil_agent.rsp import Client
from hil_agent.trap.monitor import Monitor
from hil_agent.trap.source import TrapSource


@dataclass(frozen=True, slots=True)
class Setting:
    """The machine and the guest that calls are to be caught in.

    Attributes:
        client: the debug stub; its register writes are trusted only for general registers and PC.
        monitor: the code of ours that is placed in the machine.
        code: physical address to place it at.
        reserved: RAM that the guest leaves alone; it begins with the monitor's areas.
        gic: the machine's interrupt controller, which parked vCPUs wait on.
        wake_by_interrupt: any interrupt ends a suspend.
        wake_by_timer: the timers of EL1 do, whatever else does.
        kernel: what of the guest is in memory when it starts.
        conduit: what the guest is told to call with.
        conduit_below: what the firmware below us is called with from EL1.
    """

    client: Client
    monitor: Monitor
    code: int
    reserved: AddressRange
    gic: Gic
    wake_by_interrupt: bool
    wake_by_timer: bool
    kernel: tuple[Segment, ...] = ()
    conduit: Conduit = Conduit.HVC
    conduit_below: Conduit = Conduit.HVC


@dataclass(frozen=True, slots=True)
class TrapSourceKind:
    """One way to catch calls.

    Attributes:
        monitor: the package that has the source of its monitor, ``monitor.S``.
        needs_el2: the machine must have EL2, and vCPU 0 start there.
        repeats_answers: its monitor can answer calls by itself, as ``el2/idle.py`` tells it to.
        make: the trap source for a setting.
    """

    monitor: str
    needs_el2: bool
    repeats_answers: bool
    make: Callable[[Setting], TrapSource]
