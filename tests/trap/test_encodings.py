"""What we encode by hand, against the assembler and its disassembler."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_agent.errors import InternalError
from hil_agent.trap.program import read_system_registers, write_system_registers
from hil_agent.trap.system_registers import SYSTEM_REGISTERS

NAMES = sorted(SYSTEM_REGISTERS)
U64 = st.integers(0, 2**64 - 1)


def assembled(lines: Iterable[str]) -> bytes:
    """What the assembler makes of some instructions."""
    with TemporaryDirectory() as folder:
        output, binary = Path(folder, "o"), Path(folder, "b")
        source = ".arch armv8.8-a+sve+sme\n" + "\n".join(lines) + "\n"
        subprocess.run(["aarch64-linux-gnu-as", "-o", output, "-"], input=source, text=True, check=True)
        subprocess.run(["aarch64-linux-gnu-objcopy", "-O", "binary", output, binary], check=True)
        return binary.read_bytes()


def test_a_program_that_writes_every_register_is_what_the_assembler_makes() -> None:
    expected = [line for name in NAMES for line in ("ldr x3, [x2], #8", f"msr {name.lower()}, x3")]
    program = write_system_registers(dict.fromkeys(NAMES, 0))
    assert program.code == assembled([*expected, "isb", "ret"])


def test_a_program_that_reads_every_register_is_what_the_assembler_makes() -> None:
    expected = [line for name in NAMES for line in (f"mrs x3, {name.lower()}", "str x3, [x2], #8")]
    assert read_system_registers(NAMES).code == assembled([*expected, "ret"])


def test_no_two_registers_share_an_encoding() -> None:
    assert len(set(SYSTEM_REGISTERS.values())) == len(SYSTEM_REGISTERS)


@given(st.dictionaries(st.sampled_from(NAMES), U64))
@settings(max_examples=50)
def test_operands_are_in_the_order_of_the_names(values: dict[str, int]) -> None:
    assert write_system_registers(values).data == struct.pack(f"<{len(values)}Q", *values.values())


def test_room_is_left_for_what_is_read() -> None:
    assert len(read_system_registers(["SCTLR_EL1", "TCR_EL1"]).data) == 16


def test_a_register_that_nobody_knows_is_a_bug() -> None:
    with pytest.raises(InternalError, match="NO_SUCH_EL1"):
        write_system_registers({"NO_SUCH_EL1": 0})


def test_the_disassembler_agrees() -> None:
    with TemporaryDirectory() as folder:
        binary = Path(folder, "b")
        binary.write_bytes(write_system_registers({"SCTLR_EL1": 0, "SP_EL1": 0}).code)
        command = ["aarch64-linux-gnu-objdump", "-D", "-b", "binary", "-m", "aarch64", str(binary)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"msr\t(\w+), x3", said) == ["sctlr_el1", "sp_el1"]
