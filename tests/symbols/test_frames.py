"""Call frames, made of code by the GNU assembler and read back by pyelftools."""

from __future__ import annotations

import io
import subprocess
import tempfile
from pathlib import Path

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile

from hil_agent.symbols.elf import write
from hil_agent.symbols.frames import Function, call_frames
from hil_agent.symbols.table import Symbol

START = 0xFFFF800080000000
FP, LR, SP, PC = 29, 30, 31, 32


def assembled(source: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        run = ["aarch64-linux-gnu-as", "-march=armv8.3-a", "-o", f"{folder}/o", "-"]
        subprocess.run(run, input=source + "\n", text=True, check=True)
        with Path(folder, "o").open("rb") as stream:
            section = ELFFile(stream).get_section_by_name(".text")
            assert section is not None
            return bytes(section.data())


def rules(code: bytes, *names: str) -> dict[int, dict[object, object]]:
    """By the number of the instruction from which on they hold."""
    frames = call_frames([Function(names or ("function",), START, code)])
    file = write([Symbol("function", "T", START)], start=START, end=START + len(code), frames=frames)
    entries = ELFFile(io.BytesIO(file)).get_dwarf_info(relocate_dwarf_sections=False).CFI_entries()
    (entry,) = (each for each in entries if isinstance(each, FDE))
    assert entry.header["initial_location"] == START
    assert entry.header["address_range"] == len(code)
    return {(row.pop("pc") - START) // 4: row for row in entry.get_decoded().table}


def caller(row: dict[object, object]) -> tuple[str, object, object]:
    """Where the caller's sp, x29 and x30 are, in words."""
    cfa = row["cfa"]
    saved = (row.get(register) for register in (FP, LR))
    base = {FP: "x29", SP: "sp"}[cfa.reg]  # type: ignore[attr-defined]
    offsets = [rule.arg if rule and rule.type == "OFFSET" else None for rule in saved]  # type: ignore[attr-defined]
    return f"{base}+{cfa.offset}", *offsets  # type: ignore[attr-defined,return-value]


def test_a_function_without_a_frame_has_its_caller_in_x30() -> None:
    assert {
        at: caller(row) for at, row in rules(assembled("paciasp; dsb sy; wfi; autiasp; ret")).items()
    } == {0: ("sp+0", None, None)}


def test_a_frame_is_made_and_dropped() -> None:
    code = assembled(
        "nop; nop; paciasp; stp x29, x30, [sp, #-48]!; mov x29, sp; nop; ldp x29, x30, [sp], #48; ret; nop"
    )
    assert {at: caller(row) for at, row in rules(code).items()} == {
        0: ("sp+0", None, None),
        4: ("sp+48", -48, -40),
        5: ("x29+48", -48, -40),
        7: ("sp+0", None, None),
        8: ("x29+48", -48, -40),
    }


def test_a_frame_may_be_inside_of_what_was_reserved() -> None:
    code = assembled(
        "sub sp, sp, #256; stp x29, x30, [sp, #160]; add x29, sp, #160; bl .;"
        "ldp x29, x30, [sp, #160]; add sp, sp, #256; ret; nop"
    )
    assert {at: caller(row) for at, row in rules(code).items()} == {
        0: ("sp+0", None, None),
        1: ("sp+256", None, None),
        2: ("sp+256", -96, -88),
        3: ("x29+96", -96, -88),
        5: ("sp+256", None, None),
        6: ("sp+0", None, None),
        7: ("x29+96", -96, -88),
    }


def test_a_change_of_stack_does_not_lose_the_frame() -> None:
    code = assembled(
        "stp x29, x30, [sp, #-16]!; mov x29, sp; mov sp, x16; blr x1;"
        "mov sp, x29; ldp x29, x30, [sp], #16; ret"
    )
    found = {at: caller(row) for at, row in rules(code).items()}
    assert found[2] == ("x29+16", -16, -8)
    assert found[6] == ("sp+0", None, None)
    assert 4 not in found


@pytest.mark.parametrize(
    "name", ["cpu_resume", "ret_from_fork", "el0t_64_sync", "primary_entry", "__secondary_switched"]
)
def test_what_nobody_has_called_has_no_caller(name: str) -> None:
    (row,) = rules(assembled("stp x29, x30, [sp, #-16]!; mov x29, sp; nop"), "another_name", name).values()
    assert row[LR].type == "UNDEFINED"  # type: ignore[attr-defined]


def test_an_exception_has_all_registers_of_what_it_interrupted() -> None:
    row = rules(assembled("stp x0, x1, [sp]; add x21, sp, #0x150; add x29, sp, #304; bl ."), "el1h_64_irq")[3]
    assert row["cfa"].reg == FP  # type: ignore[attr-defined]
    places = {register: rule.arg for register, rule in row.items() if isinstance(register, int)}  # type: ignore[attr-defined]
    assert places == {register: 8 * register - 304 for register in range(33)}


def test_until_an_exception_has_saved_them_they_are_not_known() -> None:
    row = rules(assembled("stp x0, x1, [sp]; add x29, sp, #304; bl ."), "el1h_64_irq")[0]
    assert row[PC].type == "UNDEFINED"  # type: ignore[attr-defined]
