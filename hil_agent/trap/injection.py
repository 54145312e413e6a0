"""Writing a system register of a vCPU that is in its guest, through a stub that cannot.

An instruction that writes it is put in the place of the vCPU's next one, stepped, and taken away again.
"""

from __future__ import annotations

import re

from hil_agent.errors import ProtocolError, StateError, UsageError
from hil_agent.rsp import Client, ThreadId
from hil_agent.suggest import suggest
from hil_agent.trap.program import move_to
from hil_agent.trap.system_registers import SYSTEM_REGISTERS

_TIMEOUT_S = 5.0
_INSTRUCTION = 4
_EL_SHIFT, _EL_MASK = 2, 3
_LEVEL = re.compile(r"_EL([0-3])\d?$")


def check_writable(name: str, level: int) -> None:
    """Sees to it that code at an exception level can write a system register.

    Raises:
        UsageError: it cannot, or we do not know how.
    """
    if name not in SYSTEM_REGISTERS:
        raise UsageError(f"{name} cannot be written", hint=suggest(name, SYSTEM_REGISTERS))
    found = _LEVEL.search(name)
    if found and int(found[1]) > level:
        raise UsageError(f"{name} cannot be written from EL{level}, where the vCPU is")


def inject(client: Client, thread: ThreadId, name: str, value: int) -> None:
    """Gives one system register a 64-bit value; the vCPU stands where it stood.

    Raises:
        UsageError: it is none that can be written from where the vCPU is.
        StateError: the vCPU is at EL0, or where no code can be placed.
        ProtocolError: the instruction did something else.
    """
    before = client.read_registers(thread)
    level = before["cpsr"] >> _EL_SHIFT & _EL_MASK
    if level == 0:
        raise StateError(
            f"{name} cannot be written while the vCPU is at EL0", hint="stop it in the kernel: break there"
        )
    check_writable(name, level)
    pc = before["pc"]
    instruction = client.read_memory(pc, _INSTRUCTION)
    client.write_memory(pc, move_to(name, 0), verify=True)
    try:
        client.resume(thread, step=True, writes={"x0": value})
        while client.wait_stop(_TIMEOUT_S).thread not in {thread, None}:
            client.resume(thread, step=True)  # late news of another vCPU
        arrived = client.read_registers(thread)["pc"]
    finally:
        client.write_registers({"x0": before["x0"], "pc": pc}, thread)
        client.write_memory(pc, instruction, verify=True)
    if arrived != pc + _INSTRUCTION:
        raise ProtocolError(f"writing {name} led the vCPU from {pc:#x} to {arrived:#x}")
