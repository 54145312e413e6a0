"""PSCI conformance: a guest that makes calls and looks at every register, and what should come of each.

::

    function_ids    the specifications' numbers, on purpose not those of `hil_agent.psci`
    observation     what can come of a call, and what is right, by profile
    case            a case, and the scenario that settles it
    cases/          all that is known of PSCI, as data, a module per topic
    entry_state     the same for the state at an entry point

    instructions    A64 instructions for the probe
    probe           the dialogue with the probe, guest_images/psci-probe
    target          machines that run it: a session of ours, or a QEMU that answers calls itself
    lab             a machine, its vCPUs on and off as a scenario needs them, and calls on it
    devices         timer, interrupt controller and MMU, by way of the probe

    runner          scenarios in, verdicts out
    report          verdicts as documents

Nothing of the vPSCI is used but its names for profiles, conduits and return codes: it is what is examined.
"""

from __future__ import annotations

from hil_agent.conformance.cases import scenarios
from hil_agent.conformance.lab import Lab
from hil_agent.conformance.observation import BUILTIN
from hil_agent.conformance.report import Report, ordered
from hil_agent.conformance.runner import Result, Verdict, run, select
from hil_agent.conformance.target import Target, builtin_target, session_target

__all__ = [
    "BUILTIN",
    "Lab",
    "Report",
    "Result",
    "Target",
    "Verdict",
    "builtin_target",
    "ordered",
    "run",
    "scenarios",
    "select",
    "session_target",
]
