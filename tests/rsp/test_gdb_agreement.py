"""What gdb sees of a machine is what the client sees of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pygdbmi.gdbcontroller import GdbController

from hil_agent.rsp import Client

VALUES = {f"x{index}": 0x0123_4567_89AB_CDEF + index for index in range(31)} | {"sp": 0x4100_0000}


def test_gdb_reads_what_the_client_wrote(
    start_qemu: Callable[..., Path], connect: Callable[..., Client]
) -> None:
    path = start_qemu()
    with connect(path) as client:
        client.write_registers(VALUES)
        names = [*client.read_registers(), "ESR_EL1", "TCR_EL1", "ID_AA64MMFR0_EL1"]
        expected = {name: client.read_register(name) for name in names}

    gdb = GdbController(["gdb-multiarch", "--nx", "--quiet", "--interpreter=mi3"])
    try:

        def ask(command: str) -> dict[str, Any]:
            replies = gdb.write(command, timeout_sec=20)
            return next(reply["payload"] or {} for reply in replies if reply["type"] == "result")

        ask(f"-target-select remote {path}")
        numbers = {
            name: number for number, name in enumerate(ask("-data-list-register-names")["register-names"])
        }
        wanted = " ".join(str(numbers[name]) for name in names)
        values = ask(f"-data-list-register-values x {wanted}")["register-values"]
    finally:
        gdb.exit()
    seen = {int(item["number"]): int(item["value"], 16) for item in values}
    assert {name: seen[numbers[name]] for name in names} == expected
