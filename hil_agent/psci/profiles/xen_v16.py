"""Xen with the SYSTEM_SUSPEND patch as reviewed, v16 of March 2026.

The checks are those that were merged. Xen itself was older by two changes: f4af571dd7, which narrows the
arguments of SMC32 calls, and ad8663a75a, which masks debug exceptions at entry.
"""

from __future__ import annotations

from dataclasses import replace

from hil_agent.psci.functions import Function
from hil_agent.psci.profiles import xen

_PSTATE_D = 0x200

PROFILE = replace(
    xen.PROFILE,
    name="xen-v16",
    summary="Xen with its SYSTEM_SUSPEND patch v16, as reviewed",
    reads_whole_arguments=frozenset({Function.CPU_ON, Function.AFFINITY_INFO}),
    entry_pstate=xen.PROFILE.entry_pstate & ~_PSTATE_D,
)
