"""A64 instructions that the probe is asked to execute: pure code generation (Arm ARM, C6.2)."""

from __future__ import annotations

from hil_agent.psci import Conduit
from hil_agent.trap.system_registers import SYSTEM_REGISTERS, Encoding

LOAD32, LOAD64 = 0xB940_0020, 0xF940_0020
"""``ldr w0, [x1]`` and ``ldr x0, [x1]``."""

STORE32, STORE64 = 0xB900_0020, 0xF900_0020
"""``str w0, [x1]`` and ``str x0, [x1]``."""

_CONDUITS = {Conduit.HVC: 0xD400_0002, Conduit.SMC: 0xD400_0003}
_MSR, _MRS = 0xD500_0000, 0xD520_0000

_REGISTERS = SYSTEM_REGISTERS | {
    "MPIDR_EL1": Encoding(3, 0, 0, 0, 5),
    "ICC_PMR_EL1": Encoding(3, 0, 4, 6, 0),
    "ICC_SRE_EL1": Encoding(3, 0, 12, 12, 5),
    "ICC_IGRPEN1_EL1": Encoding(3, 0, 12, 12, 7),
    "CNTFRQ_EL0": Encoding(3, 3, 14, 0, 0),
    "CNTVCT_EL0": Encoding(3, 3, 14, 0, 2),
    "CNTV_TVAL_EL0": Encoding(3, 3, 14, 3, 0),
}


def conduit_call(conduit: Conduit, immediate: int) -> int:
    """``hvc`` or ``smc`` with a 16-bit immediate."""
    return _CONDUITS[conduit] | immediate << 5


def read_register(name: str) -> int:
    """``mrs x0, NAME``."""
    return _MRS | _operand(name)


def write_register(name: str) -> int:
    """``msr NAME, x0``."""
    return _MSR | _operand(name)


def _operand(name: str) -> int:
    op0, op1, crn, crm, op2 = _REGISTERS[name]
    return op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5
