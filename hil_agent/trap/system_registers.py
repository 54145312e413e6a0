"""Encodings of the AArch64 system registers that we name (Arm ARM, D19; Linux's tools/sysreg)."""

from __future__ import annotations

from typing import NamedTuple


class Encoding(NamedTuple):
    """A system register's place in the encoding space of MRS and MSR."""

    op0: int
    op1: int
    crn: int
    crm: int
    op2: int


SYSTEM_REGISTERS: dict[str, Encoding] = {
    "MDSCR_EL1": Encoding(2, 0, 0, 2, 2),
    "SCTLR_EL1": Encoding(3, 0, 1, 0, 0),
    "ACTLR_EL1": Encoding(3, 0, 1, 0, 1),
    "CPACR_EL1": Encoding(3, 0, 1, 0, 2),
    "TTBR0_EL1": Encoding(3, 0, 2, 0, 0),
    "TTBR1_EL1": Encoding(3, 0, 2, 0, 1),
    "TCR_EL1": Encoding(3, 0, 2, 0, 2),
    "SPSR_EL1": Encoding(3, 0, 4, 0, 0),
    "ELR_EL1": Encoding(3, 0, 4, 0, 1),
    "SP_EL0": Encoding(3, 0, 4, 1, 0),
    "AFSR0_EL1": Encoding(3, 0, 5, 1, 0),
    "AFSR1_EL1": Encoding(3, 0, 5, 1, 1),
    "ESR_EL1": Encoding(3, 0, 5, 2, 0),
    "FAR_EL1": Encoding(3, 0, 6, 0, 0),
    "PAR_EL1": Encoding(3, 0, 7, 4, 0),
    "MAIR_EL1": Encoding(3, 0, 10, 2, 0),
    "AMAIR_EL1": Encoding(3, 0, 10, 3, 0),
    "VBAR_EL1": Encoding(3, 0, 12, 0, 0),
    "CONTEXTIDR_EL1": Encoding(3, 0, 13, 0, 1),
    "TPIDR_EL1": Encoding(3, 0, 13, 0, 4),
    "CNTKCTL_EL1": Encoding(3, 0, 14, 1, 0),
    "CSSELR_EL1": Encoding(3, 2, 0, 0, 0),
    "FPCR": Encoding(3, 3, 4, 4, 0),
    "FPSR": Encoding(3, 3, 4, 4, 1),
    "TPIDR_EL0": Encoding(3, 3, 13, 0, 2),
    "TPIDRRO_EL0": Encoding(3, 3, 13, 0, 3),
    "CNTV_CTL_EL0": Encoding(3, 3, 14, 3, 1),
    "CNTV_CVAL_EL0": Encoding(3, 3, 14, 3, 2),
    "SPSR_EL2": Encoding(3, 4, 4, 0, 0),
    "ELR_EL2": Encoding(3, 4, 4, 0, 1),
    "SP_EL1": Encoding(3, 4, 4, 1, 0),
    "ESR_EL2": Encoding(3, 4, 5, 2, 0),
}
