"""The vPSCI: firmware of a guest, as a pure state machine.

A `Call` goes in, an `Outcome` comes out: effects that someone else carries out. There is no I/O, no
clock and no thread in here.

::

    functions   function IDs, widths, return codes
    call        a call as it was trapped
    effects     what must happen to the machine, and the outcome that lists it
    entry       the state in which a vCPU starts
    context     what SYSTEM_SUSPEND leaves behind
    state       power of every vCPU and the context, with guarded transitions
    profile     whose vPSCI is imitated, as data: checks and an action for each function
    checks      reasons to refuse a request          actions    what is done for one
    profiles/   the five profiles, one module each
    vpsci       VirtualPsci, which brings these together

A new function is an action, its checks, and a line in the profiles that have it.
"""

from __future__ import annotations

from hil_agent.psci.call import Call, Conduit
from hil_agent.psci.context import ResumeContext
from hil_agent.psci.effects import Effect, Outcome
from hil_agent.psci.entry import EntryState
from hil_agent.psci.functions import Function, ReturnCode, Width
from hil_agent.psci.profile import Profile
from hil_agent.psci.profiles import DEFAULT_PROFILE, get_profile, profiles
from hil_agent.psci.state import PowerState
from hil_agent.psci.vpsci import VirtualPsci

__all__ = [
    "DEFAULT_PROFILE",
    "Call",
    "Conduit",
    "Effect",
    "EntryState",
    "Function",
    "Outcome",
    "PowerState",
    "Profile",
    "ResumeContext",
    "ReturnCode",
    "VirtualPsci",
    "Width",
    "get_profile",
    "profiles",
]
