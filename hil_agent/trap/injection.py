"""Reading and writing system registers of a vCPU that is in its guest, through a stub that cannot.

An instruction that does it is put in the place of one of the guest's, stepped, and taken away again.
"""

from __future__ import annotations

import re

from hil_agent.errors import ProtocolError, StateError, UsageError
from hil_agent.psci.entry import PSTATE_DAIF
from hil_agent.rsp import Client, ThreadId
from hil_agent.suggest import suggest
from hil_agent.trap.program import move
from hil_agent.trap.system_registers import SYSTEM_REGISTERS

_TIMEOUT_S = 5.0
_TRIES = 8
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
    try:
        execute(client, thread, move(name, 0, read=False), at=before["pc"], x0=value)
    finally:
        if not client.running:
            client.write_registers({register: before[register] for register in ("x0", "pc", "cpsr")}, thread)


def execute(
    client: Client,
    thread: ThreadId,
    instruction: bytes,
    *,
    at: int,
    x0: int = 0,
    put_back_at: int | None = None,
) -> int:
    """Has a vCPU execute one instruction in place of one of the guest's, with interrupts masked.

    Args:
        client: the debug stub; there must be no breakpoint at ``at``.
        thread: the vCPU; its x0, PC and PSTATE are lost.
        instruction: what it executes.
        at: virtual address of what is there else, as the vCPU sees it.
        x0: its x0 for that.
        put_back_at: where it sees the same memory afterwards, if that is not ``at``.

    Returns:
        x0 after it.

    Raises:
        ProtocolError: the instruction did something else than go on to the next.
    """
    pstate = client.read_registers(thread)["cpsr"] | PSTATE_DAIF
    original = client.read_memory(at, _INSTRUCTION)
    client.write_memory(at, instruction, verify=True)
    writes: dict[str, int] | None = {"x0": x0, "cpsr": pstate, "pc": at}
    for _ in range(_TRIES):
        client.resume(thread, step=True, writes=writes)
        client.wait_stop(_TIMEOUT_S)
        after = client.read_registers(thread)
        if after["pc"] != at:
            break
        writes = None  # late news of another vCPU came before the step was done
    moved_to = after["pc"]
    client.write_memory(at if put_back_at is None or moved_to == at else put_back_at, original, verify=True)
    if moved_to != at + _INSTRUCTION:
        raise ProtocolError(
            f"the instruction {instruction[::-1].hex()} led the vCPU from {at:#x} to {moved_to:#x}"
        )
    return after["x0"]
