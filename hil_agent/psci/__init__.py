"""The vPSCI: firmware of a guest, as a pure state machine.

A `Call` goes in, an `Outcome` comes out: effects that someone else carries out. There is no I/O and no
thread in here; time and random numbers are asked of functions that are passed in.

::

    version       versions of PSCI                     affinity    fields of an MPIDR
    functions     function IDs, widths, return codes   call        a call as it was trapped
    power_state   the argument of CPU_SUSPEND
    effects       what must happen to the machine, and the outcome that lists it
    entry         the state in which a vCPU starts     poison      what PSCI leaves undefined in it
    context       what SYSTEM_SUSPEND leaves behind
    state         power of every vCPU and the context, with guarded transitions
    residency     the time spent in low-power states   idle        those that a guest is offered
    profile       whose vPSCI is imitated, as data: checks and an action for each function
    checks        reasons to refuse a request
    actions       what is done for one                 queries     what is answered to one
    arch, trng    SMCCC's and TRNG's functions         trusted_os  MIGRATE
    profiles/     the five profiles, one module each
    pass_through  what the firmware below may answer instead
    vpsci         VirtualPsci, which brings these together
    faults        wrong answers on purpose, in front of it

A new function is an action, its checks, and a line in the profiles that have it.
"""

from __future__ import annotations

from hil_agent.psci.call import Call, Conduit
from hil_agent.psci.context import ResumeContext
from hil_agent.psci.effects import Effect, Outcome
from hil_agent.psci.entry import EntryState
from hil_agent.psci.faults import FaultInjector, FaultPlan, FaultRule, parse_fault
from hil_agent.psci.functions import Function, ReturnCode, Width
from hil_agent.psci.profile import Profile
from hil_agent.psci.profiles import DEFAULT_PROFILE, get_profile, profiles
from hil_agent.psci.state import ContextOrder, PowerState
from hil_agent.psci.trusted_os import TrustedOs, with_trusted_os
from hil_agent.psci.version import PSCI_VERSIONS
from hil_agent.psci.vpsci import VirtualPsci

__all__ = [
    "DEFAULT_PROFILE",
    "PSCI_VERSIONS",
    "Call",
    "Conduit",
    "ContextOrder",
    "Effect",
    "EntryState",
    "FaultInjector",
    "FaultPlan",
    "FaultRule",
    "Function",
    "Outcome",
    "PowerState",
    "Profile",
    "ResumeContext",
    "ReturnCode",
    "TrustedOs",
    "VirtualPsci",
    "Width",
    "get_profile",
    "parse_fault",
    "profiles",
    "with_trusted_os",
]
