"""Short programs for a monitor's ``run_program``: pure code generation.

A debug stub writes general registers and memory; system registers many stubs do not
write (QEMU's answers ``OK`` and ignores it). So the vCPU writes them itself: the program
loads each value from the operands at x2 into x3, and moves it where it belongs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hil_agent.errors import InternalError
from hil_agent.trap.system_registers import SYSTEM_REGISTERS

_LDR_X3_FROM_X2 = 0xF8408443  # ldr x3, [x2], #8
_STR_X3_TO_X2 = 0xF8008443  # str x3, [x2], #8
_ISB = 0xD5033FDF
_RET = 0xD65F03C0
_X3 = 3


@dataclass(frozen=True, slots=True)
class Program:
    """What to write into a vCPU's area before ``run_program``.

    Attributes:
        code: A64 instructions, ending in ``ret``.
        data: 64-bit operands; values read are left in their place.
    """

    code: bytes
    data: bytes


def _instructions(words: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(words)}I", *words)


def move(name: str, general: int, *, read: bool) -> bytes:
    """The instruction that moves a system register to general register number ``general``, or back."""
    return _instructions([_move(name, read=read, general=general)])


def _move(name: str, *, read: bool, general: int = _X3) -> int:
    """The instruction ``mrs xN, name`` or ``msr name, xN`` (Arm ARM C6.2: MRS, MSR (register))."""
    try:
        register = SYSTEM_REGISTERS[name]
    except KeyError:
        raise InternalError(f"no encoding is known for the system register {name}") from None
    return (
        0xD5000000
        | (read << 21)
        | (register.op0 << 19)
        | (register.op1 << 16)
        | (register.crn << 12)
        | (register.crm << 8)
        | (register.op2 << 5)
        | general
    )


def write_system_registers(values: Mapping[str, int]) -> Program:
    """A program that gives each named system register its 64-bit value, in the order given."""
    words = [word for name in values for word in (_LDR_X3_FROM_X2, _move(name, read=False))]
    return Program(
        code=_instructions([*words, _ISB, _RET]),
        data=struct.pack(f"<{len(values)}Q", *values.values()),
    )


def read_system_registers(names: Sequence[str]) -> Program:
    """A program that stores each named system register to the operands, in the order given."""
    words = [word for name in names for word in (_move(name, read=True), _STR_X3_TO_X2)]
    return Program(code=_instructions([*words, _RET]), data=bytes(8 * len(names)))
