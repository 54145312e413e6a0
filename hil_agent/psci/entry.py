"""The state in which a vCPU starts, after CPU_ON and after a resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class EntryState:
    """Registers of a vCPU at its first instruction; x1 to x30 are zero.

    Attributes:
        pc: physical address of the first instruction, 64 bits.
        x0: the context ID, 64 bits.
        pstate: in the layout of SPSR_ELx.
        system_registers: 64-bit values by architectural name; a register that is not named keeps its value.
    """

    pc: int
    x0: int
    pstate: int
    system_registers: Mapping[str, int]
