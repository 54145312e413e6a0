"""The state in which a vCPU starts: after CPU_ON, after a power-down state, and after a resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self

PSTATE_DAIF = 0x3C0
"""PSTATE.D, A, I and F in their SPSR_ELx positions: debug, SError, IRQ and FIQ masked."""

PSTATE_EL1H = 0x5
"""SPSR_ELx.M for AArch64 EL1 with its own stack pointer."""

SCTLR_EL1_RESET = 0x00C5_0078
"""SCTLR_EL1 at entry: MMU and caches off, little-endian (Xen, SCTLR_GUEST_INIT; seen on Xen and KVM)."""

TRANSLATION_OFF: Mapping[str, int] = {
    "SCTLR_EL1": SCTLR_EL1_RESET,
    "TTBR0_EL1": 0,
    "TTBR1_EL1": 0,
    "TCR_EL1": 0,
}
"""System registers that leave nothing of the address translation before."""

GENERAL_ZERO: Mapping[str, int] = MappingProxyType({f"x{number}": 0 for number in range(1, 31)})
"""x1 to x30, all zero."""

VECTORS_ZERO: Mapping[str, int] = MappingProxyType({f"v{number}": 0 for number in range(32)})
"""v0 to v31, all zero."""


@dataclass(frozen=True, slots=True)
class EntryState:
    """Registers of a vCPU at its first instruction. One that is not named keeps its value.

    Attributes:
        pc: physical address of the first instruction, 64 bits.
        x0: the context ID, 64 bits.
        pstate: in the layout of SPSR_ELx.
        system_registers: 64-bit values by architectural name.
        general_registers: 64-bit values of x1 to x30 by name.
        vector_registers: 128-bit values of v0 to v31 by name.
        inherits_endianness: whether SCTLR_EL1.EE (bit 25) is to be what the vCPU that made the call
            has there, in place of the bit in ``system_registers``.
    """

    pc: int
    x0: int
    pstate: int
    system_registers: Mapping[str, int]
    general_registers: Mapping[str, int] = field(default_factory=lambda: GENERAL_ZERO)
    vector_registers: Mapping[str, int] = field(default_factory=dict)
    inherits_endianness: bool = False

    def keeping(self, kept: Mapping[str, int]) -> Self:
        """This state with the values that a vCPU has kept, for registers that are not set otherwise."""
        vectors = {name: value for name, value in kept.items() if name in VECTORS_ZERO}
        system = {name: value for name, value in kept.items() if name not in vectors}
        return replace(
            self,
            system_registers={**system, **self.system_registers},
            vector_registers={**vectors, **self.vector_registers},
        )
