"""Address translation, against tables made here and against QEMU's MMU."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.rsp import Client
from hil_agent.symbols.translation import TranslationRegime, translate
from hil_agent.trap.program import write_system_registers

TG0 = {12: 0, 14: 2, 16: 1}
TG1 = {12: 2, 14: 1, 16: 3}
BITS_48, BITS_52 = 5, 6
MMU_ON = 1 << 0
BIG_ENDIAN = 1 << 25
TBI0, TBI1 = 1 << 37, 1 << 38
DS = 1 << 59
TABLES = 0x41000000


class Memory:
    """Physical memory with translation tables in it, which are made as addresses are mapped."""

    def __init__(self, *, granule: int, bits: int, upper: bool, ips: int = BITS_48, ds: bool = False) -> None:
        self.granule, self.bits, self.upper, self.ds = granule, bits, upper, ds
        self.wide = ips == BITS_52 and (ds or granule == 16)
        self.words: dict[int, int] = {}
        self._free = TABLES
        half = (64 - bits) | (TG1 if upper else TG0)[granule] << 14
        other = 16 | (TG0 if upper else TG1)[granule] << 14 | 1 << 7  # not walked at all
        tcr = (other | half << 16 if upper else half | other << 16) | ips << 32 | (DS if ds else 0)
        root = self._table()
        self.regime = TranslationRegime(MMU_ON, tcr, 0 if upper else root, root if upper else 0)
        self.base = (1 << 64) - (1 << bits) if upper else 0

    @property
    def stride(self) -> int:
        return self.granule - 3

    def _table(self) -> int:
        address = self._free
        self._free += 1 << self.granule
        return address

    def map(self, address: int, physical: int, *, above: int = 0) -> None:
        """Maps a page, or with ``above`` a block that many levels above pages."""
        table = self.regime.ttbr1 if self.upper else self.regime.ttbr0
        levels = -(-(self.bits - self.granule) // self.stride)
        offset = address & (1 << self.bits) - 1
        for level in range(levels - 1, above, -1):
            entry = table + 8 * self._index(offset, level, top=level == levels - 1)
            if entry not in self.words:
                self.words[entry] = self._descriptor(self._table(), 3)
            table = self._address(self.words[entry])
        entry = table + 8 * self._index(offset, above, top=above == levels - 1)
        access_flag = 1 << 10
        self.words[entry] = self._descriptor(physical, 1 if above else 3) | access_flag

    def _index(self, offset: int, level: int, *, top: bool) -> int:
        index = offset >> self.granule + self.stride * level
        return index if top else index & (1 << self.stride) - 1

    def _descriptor(self, address: int, kind: int) -> int:
        if self.ds:
            return address & (1 << 50) - 1 | (address >> 50 & 3) << 8 | kind
        return address & (1 << 48) - 1 | (address >> 48) << 12 | kind

    def _address(self, descriptor: int) -> int:
        return descriptor & (1 << 48) - 1 & -(1 << self.granule)

    def read(self, address: int, length: int) -> bytes:
        assert length == 8
        return struct.pack("<Q", self.words.get(address, 0))

    def translate(self, address: int) -> int | None:
        return translate(address, self.regime, self.read)


@dataclass(frozen=True)
class Shape:
    granule: int
    bits: int
    above: tuple[int, ...]
    """Levels above pages where blocks may be."""
    ips: int = BITS_48
    ds: bool = False


SHAPES = [
    *(Shape(12, bits, (0, 1, 2)) for bits in (39, 48)),
    *(Shape(12, bits, (0, 1)) for bits in (25, 30)),
    *(Shape(14, bits, (0, 1)) for bits in (36, 47, 48)),
    *(Shape(16, bits, (0, 1)) for bits in (42, 48)),
    Shape(16, 52, (0, 1, 2), BITS_52),
    Shape(12, 52, (0, 1, 2, 3), BITS_52, ds=True),
    Shape(14, 52, (0, 1, 2), BITS_52, ds=True),
]


@st.composite
def mappings(draw: st.DrawFn) -> tuple[Memory, int, int]:
    """Tables that map a page or block, an address in it, and where it must lead."""
    shape = draw(st.sampled_from(SHAPES))
    memory = Memory(
        granule=shape.granule, bits=shape.bits, upper=draw(st.booleans()), ips=shape.ips, ds=shape.ds
    )
    above = draw(st.sampled_from(shape.above))
    size = 1 << memory.granule + memory.stride * above
    output_bits = 52 if memory.wide else 48
    address = memory.base + draw(st.integers(0, (1 << shape.bits) - 1))
    physical = draw(st.integers(0, (1 << output_bits) - 1)) & -size
    memory.map(address & -size, physical, above=above)
    return memory, address, physical + address % size


@given(mappings())
def test_a_mapped_address_leads_where_its_descriptor_says(mapping: tuple[Memory, int, int]) -> None:
    memory, address, physical = mapping
    assert memory.translate(address) == physical


@given(mappings(), st.integers(0, (1 << 64) - 1))
def test_no_address_makes_the_walk_fail(mapping: tuple[Memory, int, int], address: int) -> None:
    memory, _, _ = mapping
    memory.translate(address)


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1), st.binary(min_size=8, max_size=8))
def test_no_register_makes_the_walk_fail(tcr: int, address: int, entry: bytes) -> None:
    translate(address, TranslationRegime(MMU_ON, tcr, tcr, address), lambda _address, _length: entry)


def test_with_the_mmu_off_addresses_are_physical() -> None:
    off = TranslationRegime(sctlr=0, tcr=0, ttbr0=0, ttbr1=0)
    assert translate(0x40200123, off, _no_memory) == 0x40200123


def test_with_the_mmu_off_no_address_is_beyond_52_bits() -> None:
    off = TranslationRegime(sctlr=0, tcr=0, ttbr0=0, ttbr1=0)
    assert translate(0xFFFF800008000000, off, _no_memory) is None


@pytest.mark.parametrize("upper", [False, True])
def test_an_address_between_the_halves_leads_nowhere(upper: bool) -> None:
    memory = Memory(granule=12, bits=39, upper=upper)
    memory.map(memory.base, 0x40000000)
    outside = memory.base - 0x1000 if upper else 1 << 39
    assert memory.translate(memory.base) == 0x40000000
    assert memory.translate(outside) is None


@pytest.mark.parametrize(("upper", "ignored"), [(False, TBI0), (True, TBI1)])
def test_a_tag_is_ignored_only_where_tbi_says_so(upper: bool, ignored: int) -> None:
    memory = Memory(granule=12, bits=48, upper=upper)
    memory.map(memory.base, 0x40000000)
    tagged = memory.base ^ 0x5A << 56
    assert memory.translate(tagged) is None
    regime = memory.regime
    tagging = TranslationRegime(regime.sctlr, regime.tcr | ignored, regime.ttbr0, regime.ttbr1)
    assert translate(tagged, tagging, memory.read) == 0x40000000


def test_a_half_that_is_switched_off_is_not_walked() -> None:
    memory = Memory(granule=12, bits=48, upper=True)
    assert translate(0, memory.regime, _no_memory) is None


def test_a_block_is_none_where_there_may_be_none() -> None:
    memory = Memory(granule=12, bits=48, upper=False)
    memory.map(0, 0, above=3)
    assert memory.translate(0) is None


def test_an_address_beyond_ips_is_a_fault() -> None:
    memory = Memory(granule=12, bits=39, upper=False, ips=0)
    memory.map(0, 1 << 32)
    assert memory.translate(0) is None


def test_asid_and_cnp_are_no_part_of_the_table_address() -> None:
    memory = Memory(granule=12, bits=39, upper=False)
    memory.map(0, 0x40000000)
    regime = memory.regime
    busy = TranslationRegime(regime.sctlr, regime.tcr, 0xABCD << 48 | regime.ttbr0 | 1, 0)
    assert translate(0, busy, memory.read) == 0x40000000


def test_tables_of_a_big_endian_kernel_are_big_endian() -> None:
    memory = Memory(granule=12, bits=39, upper=False)
    memory.map(0, 0x40000000)
    regime = memory.regime
    big = TranslationRegime(MMU_ON | BIG_ENDIAN, regime.tcr, regime.ttbr0, regime.ttbr1)
    assert translate(0, big, lambda address, length: memory.read(address, length)[::-1]) == 0x40000000


def _no_memory(address: int, length: int) -> bytes:
    raise AssertionError(f"{length} bytes at {address:#x} were read, where no table is")


PROGRAM, OPERANDS = 0x40080000, 0x40090000


def set_regime(client: Client, regime: TranslationRegime) -> None:
    """Has the vCPU write its own registers, as QEMU's stub writes none."""
    values = {
        "TCR_EL1": regime.tcr,
        "TTBR0_EL1": regime.ttbr0,
        "TTBR1_EL1": regime.ttbr1,
        "SCTLR_EL1": regime.sctlr,
    }
    program = write_system_registers(values)
    client.write_memory(PROGRAM, program.code, physical=True)
    client.write_memory(OPERANDS, program.data, physical=True)
    client.write_registers({"pc": PROGRAM, "x2": OPERANDS})
    for _ in range(2 * len(values)):
        client.resume(step=True)
        client.wait_stop(timeout_s=10)
    assert client.read_register("SCTLR_EL1") == regime.sctlr


def qemus_translation(client: Client, address: int) -> int | None:
    answer = client.monitor(f"gva2gpa {address:#x}")
    return None if "Unmapped" in answer else int(answer.split()[1], 16)


@pytest.mark.parametrize("upper", [False, True], ids=["lower", "upper"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_qemus_mmu_agrees(
    shape: Shape, upper: bool, start_qemu: Callable[..., Path], connect: Callable[[Path], Client]
) -> None:
    chance = random.Random(repr((shape, upper)))
    memory = Memory(granule=shape.granule, bits=shape.bits, upper=upper, ips=shape.ips, ds=shape.ds)
    addresses = []
    for above in shape.above * 3:  # only where blocks may be: QEMU takes them at every level
        size = 1 << memory.granule + memory.stride * above
        address = memory.base + chance.randrange(1 << shape.bits)
        physical = chance.randrange(1 << (52 if memory.wide else 48)) & -size
        memory.map(address & -size, physical, above=above)
        addresses += [address, address ^ size, address ^ 1 << 63, address ^ 1 << 55, address ^ 1 << 47]
    client = connect(start_qemu("-cpu", "max"))
    for entry, word in memory.words.items():
        client.write_memory(entry, struct.pack("<Q", word), physical=True)
    set_regime(client, memory.regime)
    ours = {hex(address): memory.translate(address) for address in addresses}
    assert ours == {hex(address): qemus_translation(client, address) for address in addresses}
    assert sum(physical is not None for physical in ours.values()) >= len(shape.above)
