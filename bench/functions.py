"""What a trapped call costs by its function, for all that need no change of power.

The guest is the same for all of them, so that the least it needs for a trap is the same as well. The
vPSCI is that of profile ``spec``, which has every function, and of many vCPUs, among which some functions
have to search, though the machine has but the one that calls.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from bench.result import Comparison, Result
from bench.trap_loop import trap_loop
from bench.trapped_call import agent, least
from hil_agent.psci import VirtualPsci, get_profile

_AT_MOST = 1.25
_CPUS, _PER_CLUSTER = 32, 16
_LAST = 0x10F
_RAM = range(0x4000_0000, 0x6000_0000)
_POWER_DOWN = 0x1_0000

CALLS: dict[str, tuple[int, int, int, int]] = {
    "PSCI_VERSION": (0x8400_0000, 0, 0, 0),
    "CPU_ON, already on": (0xC400_0003, 0, _RAM.start, 0),
    "AFFINITY_INFO of the last vCPU": (0xC400_0004, _LAST, 0, 0),
    "AFFINITY_INFO of its cluster": (0xC400_0004, _LAST, 1, 0),
    "MIGRATE_INFO_TYPE": (0x8400_0006, 0, 0, 0),
    "PSCI_FEATURES": (0x8400_000A, 0xC400_0001, 0, 0),
    "NODE_HW_STATE of all": (0xC400_000D, 0, 2, 0),
    "SYSTEM_SUSPEND, bad address": (0xC400_000E, 0, 0, 0),
    "PSCI_SET_SUSPEND_MODE": (0x8400_000F, 0, 0, 0),
    "PSCI_STAT_RESIDENCY": (0xC400_0010, _LAST, _POWER_DOWN, 0),
    "PSCI_STAT_COUNT": (0xC400_0011, _LAST, _POWER_DOWN, 0),
    "MEM_PROTECT": (0x8400_0013, 0, 0, 0),
    "MEM_PROTECT_CHECK_RANGE": (0xC400_0014, _RAM.start, 0x1000, 0),
    "CLEAN_INV_MEMREGION": (0xC400_0016, _RAM.start, 0x1000, 0),
    "CLEAN_INV_MEMREGION_ATTRIBUTES": (0x8400_0017, 0, 0, 0),
    "SMCCC_VERSION": (0x8000_0000, 0, 0, 0),
    "SMCCC_ARCH_FEATURES": (0x8000_0001, 0x8000_8000, 0, 0),
    "SMCCC_ARCH_SOC_ID": (0x8000_0002, 0, 0, 0),
    "TRNG_VERSION": (0x8400_0050, 0, 0, 0),
    "TRNG_FEATURES": (0x8400_0051, 0x8400_0053, 0, 0),
    "TRNG_GET_UUID": (0x8400_0052, 0, 0, 0),
    "TRNG_RND of 192 bits": (0xC400_0053, 192, 0, 0),
    "a function that there is not": (0x8400_FFFF, 0, 0, 0),
}
"""x0 to x3 of a call of each."""


def measure(turns: int, calls: int) -> list[Result]:
    """All functions, one after another in each of so many turns, with so many calls each."""
    medians: dict[str, list[float]] = defaultdict(list)
    floors: dict[str, list[float]] = defaultdict(list)
    with trap_loop() as loop:
        for _ in range(turns):
            for name, request in CALLS.items():
                floors[name].append(median(least(loop, calls)))
                medians[name].append(median(agent(loop, calls, request, _vpsci()).cycles))
    return [
        Result.slowdown(
            Comparison(
                f"call: {name}",
                median(medians[name]),
                "the same guest, PC + 4 and continue",
                median(floors[name]),
                turns * calls,
            ),
            at_most=_AT_MOST,
        )
        for name in CALLS
    ]


def _vpsci() -> VirtualPsci:
    mpidrs = [cpu // _PER_CLUSTER << 8 | cpu % _PER_CLUSTER for cpu in range(_CPUS)]
    return VirtualPsci(get_profile("spec"), mpidrs, (_RAM,))
