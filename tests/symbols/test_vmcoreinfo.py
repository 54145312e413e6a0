from __future__ import annotations

import struct

import pytest

from hil_agent.errors import GuestError
from hil_agent.symbols.table import Symbol, SymbolTable
from hil_agent.symbols.vmcoreinfo import parse_vmcoreinfo, read_vmcoreinfo

NOTE = 0x9000
TEXT = b"OSRELEASE=6.1.0\nSYMBOL(prb)=ffff80000911d008\nSIZE(printk_info)=88\nOFFSET(printk_info.seq)=0\n"
NAMED = SymbolTable([Symbol("vmcoreinfo_note", "b", 0x8000)], end=0xA000)
NOP, PACIASP, MOV_X1_1 = 0xD503201F, 0xD503233F, 0xD2800021
ADRP_X3_PAGE_BEFORE, LDR_X0_X3_40 = 0xF0FFFFE3, 0xF9402060


class Memory:
    """A kernel's memory, in pieces."""

    def __init__(self, *, note: int = NOTE, name: bytes = b"VMCOREINFO\0", size: int = len(TEXT)) -> None:
        header = struct.pack("<3I", 11, size, 0) + name.ljust(12, b"\0")
        self.pieces = {0x8000: struct.pack("<Q", note), NOTE: header + TEXT}

    def read(self, address: int, length: int) -> bytes:
        start = max(each for each in self.pieces if each <= address)
        return self.pieces[start][address - start : address - start + length].ljust(length, b"\0")


def test_numbers_are_decimal_and_symbols_are_not() -> None:
    info = parse_vmcoreinfo(TEXT.decode())
    assert info.symbol("prb") == 0xFFFF80000911D008
    assert info.size("printk_info") == 88
    assert info.offset("printk_info.seq") == 0


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(GuestError, match=r"lacks OFFSET\(printk_info.level\)"):
        parse_vmcoreinfo(TEXT.decode()).offset("printk_info.level")


def test_it_is_found_by_the_name_of_its_variable() -> None:
    assert read_vmcoreinfo(NAMED, 0, Memory().read).size("printk_info") == 88


def test_kaslr_moves_the_variable() -> None:
    moved = SymbolTable([Symbol("vmcoreinfo_note", "b", 0x3000)], end=0xA000)
    assert read_vmcoreinfo(moved, 0x5000, Memory().read).size("printk_info") == 88


def test_without_its_name_the_variable_is_found_by_code_that_reads_it() -> None:
    memory = Memory()
    memory.pieces[0x4FF0] = struct.pack("<5I", NOP, ADRP_X3_PAGE_BEFORE, MOV_X1_1, PACIASP, LDR_X0_X3_40)
    memory.pieces[0x3040] = struct.pack("<Q", NOTE)
    table = SymbolTable([Symbol("paddr_vmcoreinfo_note", "T", 0x4FF0)], end=0xA000)
    assert read_vmcoreinfo(table, 0, memory.read).size("printk_info") == 88


def test_before_the_kernel_has_set_it_up_it_is_not_there() -> None:
    with pytest.raises(GuestError, match="not set up"):
        read_vmcoreinfo(NAMED, 0, Memory(note=0).read)


@pytest.mark.parametrize("memory", [Memory(name=b"SOMETHING"), Memory(size=1 << 20)], ids=["name", "size"])
def test_something_else_is_not_taken_for_it(memory: Memory) -> None:
    with pytest.raises(GuestError, match="no vmcoreinfo at 0x9000"):
        read_vmcoreinfo(NAMED, 0, memory.read)


def test_a_kernel_that_has_none_is_told_apart() -> None:
    with pytest.raises(GuestError, match="has no vmcoreinfo"):
        read_vmcoreinfo(SymbolTable([], end=0), 0, Memory().read)
