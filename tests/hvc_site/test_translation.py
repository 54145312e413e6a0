"""The walk over a guest's translation tables, against tables made here by the architecture's rules."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.guest.address import AddressRange
from hil_agent.hvc_site.translation import Mapping, kernel_mappings

ROOT = 0x4100_0000
KERNEL = AddressRange(0x4020_0000, 0x20_0000)
TABLE, BLOCK, PAGE = 3, 1, 3
PXN = 1 << 53
ASID_AND_CNP = 0x1234 << 48 | 1
TG1 = {12: 2, 14: 1, 16: 3}


class Memory:
    """Physical memory that holds tables; what was not written reads as zero."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.reads = 0

    def put(self, table: int, index: int, descriptor: int) -> None:
        self.words[table + 8 * index] = descriptor

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        return struct.pack(f"<{size // 8}Q", *(self.words.get(address + at, 0) for at in range(0, size, 8)))


def tcr(bits: int, granule: int) -> int:
    """TCR_EL1 with T1SZ and TG1; what else there is does not matter here."""
    return TG1[granule] << 30 | (64 - bits) << 16 | 0x3F


def mappings(memory: Memory, bits: int = 48, granule: int = 12, ttbr1: int = ROOT) -> list[Mapping]:
    return kernel_mappings(memory.read, tcr=tcr(bits, granule), ttbr1=ttbr1, wanted=KERNEL)


def mapped_block(virtual: int, physical: int, flags: int = BLOCK) -> Memory:
    """48 bits of addresses in pages of 4 KiB: three tables, and in the last a block of 2 MiB."""
    memory, second, third = Memory(), ROOT + 0x1000, ROOT + 0x2000
    memory.put(ROOT, virtual >> 39 & 0x1FF, second | TABLE)
    memory.put(second, virtual >> 30 & 0x1FF, third | TABLE)
    memory.put(third, virtual >> 21 & 0x1FF, physical | flags)
    return memory


def test_a_block_is_found_at_its_virtual_address() -> None:
    memory = mapped_block(0xFFFF_8000_0820_0000, KERNEL.start)
    assert mappings(memory) == [Mapping(0xFFFF_8000_0820_0000, AddressRange(KERNEL.start, 2 << 20))]


def test_asid_and_other_bits_of_the_root_are_no_address() -> None:
    memory = mapped_block(0xFFFF_8000_0820_0000, KERNEL.start)
    assert mappings(memory, ttbr1=ROOT | ASID_AND_CNP) == mappings(memory)


def test_what_may_not_be_executed_is_left_out() -> None:
    assert mappings(mapped_block(0xFFFF_0000_0020_0000, KERNEL.start, BLOCK | PXN)) == []


def test_other_memory_is_left_out() -> None:
    assert mappings(mapped_block(0xFFFF_8000_0820_0000, KERNEL.end)) == []


@pytest.mark.parametrize(
    ("bits", "granule", "shifts"),
    [
        pytest.param(48, 12, (39, 30, 21, 12), id="4 KiB, 48 bits"),
        pytest.param(39, 12, (30, 21, 12), id="4 KiB, 39 bits"),
        pytest.param(52, 12, (48, 39, 30, 21, 12), id="4 KiB, 52 bits"),
        pytest.param(47, 14, (36, 25, 14), id="16 KiB, 47 bits"),
        pytest.param(48, 16, (42, 29, 16), id="64 KiB, 48 bits"),
        pytest.param(42, 16, (29, 16), id="64 KiB, 42 bits"),
    ],
)
def test_pages_are_found_whatever_the_granule(bits: int, granule: int, shifts: tuple[int, ...]) -> None:
    base = (1 << 64) - (1 << bits)
    virtual, memory, table = base + 0x2_0822_0000, Memory(), ROOT
    for shift in shifts:
        above = bits if shift == shifts[0] else min(shift + granule - 3, bits)
        index = (virtual - base >> shift) % (1 << above - shift)
        target = KERNEL.start | PAGE if shift == granule else (table + 0x10_0000) | TABLE
        memory.put(table, index, target)
        table += 0x10_0000
    page = AddressRange(KERNEL.start, 1 << granule)
    assert mappings(memory, bits, granule) == [Mapping(virtual, page)]


def test_a_descriptor_that_the_architecture_reserves_maps_nothing() -> None:
    memory, second, third, fourth = Memory(), ROOT + 0x1000, ROOT + 0x2000, ROOT + 0x3000
    for table, target in ((ROOT, second), (second, third), (third, fourth)):
        memory.put(table, 1, target | TABLE)
    memory.put(fourth, 1, KERNEL.start | BLOCK)  # no blocks in the last table
    assert mappings(memory) == []


@pytest.mark.parametrize("register", [0, 0x3F << 16 | 2 << 30, 0x3F << 16], ids=hex)
def test_a_machine_after_reset_maps_nothing(register: int) -> None:
    memory = Memory()
    assert kernel_mappings(memory.read, tcr=register, ttbr1=0, wanted=KERNEL) == []


def test_tables_that_go_in_circles_come_to_an_end() -> None:
    memory = Memory()
    for index in range(512):
        memory.put(ROOT, index, ROOT | TABLE)
    mappings(memory)
    assert memory.reads <= 1024


@given(tcr=st.integers(0, 2**64 - 1), ttbr1=st.integers(0, 2**64 - 1))
def test_whatever_the_registers_hold_nothing_is_found_in_empty_memory(tcr: int, ttbr1: int) -> None:
    def read(address: int, size: int) -> bytes:
        return bytes(size)

    assert kernel_mappings(read, tcr=tcr, ttbr1=ttbr1, wanted=KERNEL) == []
