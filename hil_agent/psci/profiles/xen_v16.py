"""Xen with the SYSTEM_SUSPEND patch as reviewed, v16 of March 2026.

The context is prepared when the guest is resumed, and not when it suspends. Xen itself was older by two
changes: f4af571dd7, which narrows the arguments of SMC32 calls, and ad8663a75a, which masks debug
exceptions at entry.
"""

from __future__ import annotations

from dataclasses import replace

from hil_agent.psci.actions import system_suspend
from hil_agent.psci.checks import entry_point_even, others_off
from hil_agent.psci.functions import Function
from hil_agent.psci.profile import Implementation
from hil_agent.psci.profiles import xen

_PSTATE_D = 0x200

PROFILE = replace(
    xen.PROFILE,
    name="xen-v16",
    summary="Xen with its SYSTEM_SUSPEND patch v16, as reviewed",
    functions={
        **xen.PROFILE.functions,
        Function.SYSTEM_SUSPEND: Implementation(system_suspend, (entry_point_even, others_off)),
    },
    prepares_at_resume=True,
    reads_whole_arguments=frozenset({Function.CPU_ON, Function.AFFINITY_INFO}),
    entry_pstate=xen.PROFILE.entry_pstate & ~_PSTATE_D,
)
