"""Poison: recognisable values in every register that PSCI leaves undefined at an entry point.

A guest may rely on PC, x0, PSTATE and what SCTLR_EL1 says of MMU, caches and endianness (DEN0022,
section 6.4). Zeros and old values in the other registers hide that it relies on more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from hil_agent.psci.entry import EntryState

_PATTERN = 0xBADC_0DE5_0000_0000

GENERAL: Mapping[str, int] = MappingProxyType({f"x{number}": _PATTERN | number for number in range(1, 31)})
"""x1 to x30: the pattern in the upper half, the register's number in the lower."""

VECTORS: Mapping[str, int] = MappingProxyType(
    {f"v{number}": (_PATTERN | number) << 64 | _PATTERN | number for number in range(32)}
)
"""v0 to v31: the same, twice."""

SYSTEM: Mapping[str, int] = MappingProxyType(
    {
        "SP_EL0": _PATTERN | 0x100,
        "SP_EL1": _PATTERN | 0x110,
        "VBAR_EL1": _PATTERN | 0x800,  # bits [10:0] are reserved
        "TTBR0_EL1": 0xBAD0_0DE5_0000_0200,  # an ASID and a table outside of any RAM
        "TTBR1_EL1": 0xBAD1_0DE5_0000_0210,
        "TCR_EL1": 0x0000_0005_B5A0_3FBF,  # no sizes and attributes that anybody would choose
        "MAIR_EL1": _PATTERN | 0x300,
        "TPIDR_EL0": _PATTERN | 0x400,
        "TPIDR_EL1": _PATTERN | 0x410,
        "TPIDRRO_EL0": _PATTERN | 0x420,
        "CPACR_EL1": 1 << 28,  # TTA; FPEN is 0, so that FP and SIMD trap until the guest allows them
        "CNTKCTL_EL1": 0x5C,  # an event stream, and no counter for EL0
        "FPCR": 0x07C0_0000,  # flush to zero, default NaN, alternative half precision, round towards zero
        "FPSR": 0x0800_009F,  # every exception seen, and saturation
    }
)
"""System registers by name. TCR_EL1 has effect only once the guest turns the MMU on."""


def poison(entry: EntryState) -> EntryState:
    """``entry``, with all poisoned that PSCI does not define."""
    return replace(
        entry,
        system_registers={**entry.system_registers, **SYSTEM},
        general_registers=GENERAL,
        vector_registers=VECTORS,
    )
