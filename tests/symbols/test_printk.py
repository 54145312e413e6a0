from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.errors import GuestError
from hil_agent.symbols.printk import LogRecord, read_log
from hil_agent.symbols.vmcoreinfo import VmcoreInfo

OFFSETS = {
    "printk_ringbuffer.desc_ring": 0,
    "printk_ringbuffer.text_data_ring": 64,
    "prb_desc_ring.count_bits": 0,
    "prb_desc_ring.descs": 8,
    "prb_desc_ring.infos": 16,
    "prb_desc_ring.head_id": 24,
    "prb_desc_ring.tail_id": 32,
    "prb_desc.state_var": 0,
    "prb_desc.text_blk_lpos": 8,
    "prb_data_blk_lpos.begin": 0,
    "prb_data_blk_lpos.next": 8,
    "printk_info.seq": 0,
    "printk_info.ts_nsec": 8,
    "printk_info.text_len": 16,
    "prb_data_ring.size_bits": 0,
    "prb_data_ring.data": 8,
    "atomic_long_t.counter": 0,
}
POINTER, RING, DESCRIPTORS, INFOS, TEXT = 0x1000, 0x2000, 0x10000, 0x20000, 0x30000
INFO = VmcoreInfo(
    {("OFFSET", name): offset for name, offset in OFFSETS.items()}
    | {("SYMBOL", "prb"): POINTER, ("SIZE", "prb_desc"): 24, ("SIZE", "printk_info"): 24}
)
COUNT_BITS, SIZE_BITS = 3, 8
FINALIZED, REUSABLE = 2, 3


class Log:
    """A ring buffer that is written as ``kernel/printk/printk_ringbuffer.c`` does."""

    def __init__(self) -> None:
        self.memory = bytearray(0x40000)
        self.expected: list[LogRecord] = []
        self.id = self.tail = (1 << 62) - 5  # soon goes round, as at boot
        self.position = 0
        self._starts: list[int] = []
        self.put(POINTER, RING)
        self.put(RING, COUNT_BITS)
        self.put(RING + 8, DESCRIPTORS)
        self.put(RING + 16, INFOS)
        self.put(RING + 64, SIZE_BITS)
        self.put(RING + 72, TEXT)

    def put(self, address: int, word: int) -> None:
        self.memory[address : address + 8] = struct.pack("<Q", word)

    def write(self, text: str, *, state: int = FINALIZED) -> None:
        data = text.encode()
        begin, end = 1, 1
        if data:
            size = 8 + -(-len(data) // 8) * 8
            begin, end = self.position, self.position + size
            if begin >> SIZE_BITS != end >> SIZE_BITS:  # it goes to the start, and all of it
                end = (end >> SIZE_BITS << SIZE_BITS) + size
            start = begin if begin >> SIZE_BITS == end >> SIZE_BITS else 0
            at = TEXT + start % (1 << SIZE_BITS)
            self.memory[at : at + 8 + len(data)] = struct.pack("<Q", self.id) + data
            self.position = end
        index = self.id % (1 << COUNT_BITS)
        state_var = state << 62 | self.id
        self.memory[DESCRIPTORS + 24 * index : DESCRIPTORS + 24 * index + 24] = struct.pack(
            "<3Q", state_var, begin, end
        )
        number = len(self.expected)
        level = number % 8
        info = struct.pack("<2QHBBI", number, 1000 * number, len(data), 3, level << 5 | 2, 0)
        self.memory[INFOS + 24 * index : INFOS + 24 * index + 24] = info
        self.expected.append(LogRecord(number, 1000 * number, level, text))
        self.put(RING + 24, self.id)
        self._starts.append(begin)
        while len(self.kept) > 1 << COUNT_BITS or self._overwritten():
            self.tail = self.tail + 1 & (1 << 62) - 1
            self._starts.pop(0)
        self.put(RING + 32, self.tail)
        self.id = self.id + 1 & (1 << 62) - 1

    def _overwritten(self) -> bool:
        starts = [start for start in self._starts if not start & 1]
        return bool(starts) and self.position - starts[0] > 1 << SIZE_BITS

    @property
    def kept(self) -> list[LogRecord]:
        return self.expected[-len(self._starts) :]

    def read(self, address: int, length: int) -> bytes:
        assert 0 <= address <= address + length <= len(self.memory)
        return bytes(self.memory[address : address + length])


@given(st.lists(st.text("abc ü\n", max_size=20), min_size=1, max_size=60))
def test_what_was_written_is_read_back(texts: Sequence[str]) -> None:
    log = Log()
    for text in texts:
        log.write(text)
    assert read_log(INFO, log.read) == log.kept


def test_a_record_whose_room_is_given_up_is_left_out() -> None:
    log = Log()
    log.write("one")
    log.write("two", state=REUSABLE)
    assert [record.text for record in read_log(INFO, log.read)] == ["one"]


def test_a_record_prints_as_dmesg_does() -> None:
    assert str(LogRecord(0, 12_345_678_901, 6, "a\nb")) == "[   12.345678] a\n[   12.345678] b"


@pytest.mark.parametrize(("address", "word"), [(RING, 60), (RING + 64, 60), (RING + 32, 5)])
def test_what_is_no_ring_is_refused(address: int, word: int) -> None:
    log = Log()
    log.write("one")
    log.put(address, word)
    with pytest.raises(GuestError, match=r"kernel log|kernel's log"):
        read_log(INFO, log.read)
