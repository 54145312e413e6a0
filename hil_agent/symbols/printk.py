"""The kernel's log out of the guest's memory: ``struct printk_ringbuffer``, in Linux since 5.10.

A ring of descriptors says which part of a ring of text belongs to each record. Read it while the guest is
stopped; else records that are overwritten meanwhile may be missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hil_agent.errors import GuestError
from hil_agent.symbols.vmcoreinfo import ReadVirtual, VmcoreInfo

_ID_BITS = 62
_ID_MASK = (1 << _ID_BITS) - 1
_COMMITTED, _FINALIZED = 1, 2  # enum desc_state
_NO_TEXT = 1  # lowest bit of a position
_ID_SIZE = 8
"""Bytes of a record's ID, which stands before its text."""

_MAX_COUNT_BITS, _MAX_SIZE_BITS = 20, 28
"""Beyond it, what was read is no ring."""

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One message of the kernel.

    Attributes:
        sequence: Its number since boot.
        time_ns: Nanoseconds since boot, on the kernel's clock.
        level: 0 (emergency) to 7 (debug).
        text: What it says; a record may have several lines.
    """

    sequence: int
    time_ns: int
    level: int
    text: str

    def __str__(self) -> str:
        """As ``dmesg`` prints it."""
        seconds, rest = divmod(self.time_ns, _NS_PER_S)
        stamp = f"[{seconds:5d}.{rest // 1000:06d}] "
        return "\n".join(stamp + line for line in self.text.split("\n"))


def read_log(info: VmcoreInfo, read: ReadVirtual) -> list[LogRecord]:
    """Reads the log.

    Args:
        info: Where it is, and how its structures are laid out.
        read: Reads the guest's memory; what it raises passes through.

    Returns:
        The records, the oldest first.

    Raises:
        GuestError: the guest's memory holds no such log.
    """
    return list(_Ring(info, read).records())


class _Ring:
    """A printk ring buffer in the guest's memory."""

    def __init__(self, info: VmcoreInfo, read: ReadVirtual) -> None:
        self._info, self._read = info, read
        ring = self._word(info.symbol("prb"))
        self._descriptors = ring + info.offset("printk_ringbuffer.desc_ring")
        self._text = ring + info.offset("printk_ringbuffer.text_data_ring")
        self._count_bits = self._integer(self._descriptors + info.offset("prb_desc_ring.count_bits"), 4)
        self._size_bits = self._integer(self._text + info.offset("prb_data_ring.size_bits"), 4)
        if self._count_bits > _MAX_COUNT_BITS or self._size_bits > _MAX_SIZE_BITS:
            raise GuestError(f"there is no kernel log at {ring:#x}, where the kernel has it")

    def records(self) -> Iterator[LogRecord]:
        info, count = self._info, 1 << self._count_bits
        tail, head = (
            self._word(self._descriptors + info.offset(f"prb_desc_ring.{name}"))
            for name in ("tail_id", "head_id")
        )
        number = (head - tail & _ID_MASK) + 1
        if number > count:
            raise GuestError("the kernel's log has more records than it has room for")
        descriptors = self._array("descs", info.size("prb_desc"), tail, number)
        infos = self._array("infos", info.size("printk_info"), tail, number)
        text = self._bulk_text()
        for place, (descriptor, about) in enumerate(zip(descriptors, infos, strict=True)):
            state = _member(
                descriptor, info.offset("prb_desc.state_var") + info.offset("atomic_long_t.counter")
            )
            if state & _ID_MASK == tail + place & _ID_MASK and state >> _ID_BITS in (_COMMITTED, _FINALIZED):
                yield self._record(descriptor, about, text)

    def _record(self, descriptor: bytes, about: bytes, text: bytes) -> LogRecord:
        block = self._info.offset("prb_desc.text_blk_lpos")
        begin, end = (
            _member(descriptor, block + self._info.offset(f"prb_data_blk_lpos.{name}"))
            for name in ("begin", "next")
        )
        length_at = self._info.offset("printk_info.text_len")
        content = self._block(text, begin, end)[: _member(about, length_at, 2)]
        return LogRecord(
            sequence=_member(about, self._info.offset("printk_info.seq")),
            time_ns=_member(about, self._info.offset("printk_info.ts_nsec")),
            level=_member(about, length_at + 3, 1) >> 5,  # behind u8 facility and u8 flags:5
            text=content.decode(errors="replace"),
        )

    def _block(self, text: bytes, begin: int, end: int) -> bytes:
        """The text between two positions, which count on round by round."""
        if begin & _NO_TEXT:
            return b""
        size = 1 << self._size_bits
        start, stop = begin % size, end % size or size
        if begin >> self._size_bits != end - 1 >> self._size_bits:  # it did not fit in before the ring's end
            start = 0
        return text[start + _ID_SIZE : stop]

    def _bulk_text(self) -> bytes:
        data = self._word(self._text + self._info.offset("prb_data_ring.data"))
        return self._read(data, 1 << self._size_bits)

    def _array(self, name: str, size: int, first: int, number: int) -> list[bytes]:
        """Elements of one of the descriptor ring's arrays, from that of the ID ``first`` on."""
        array = self._word(self._descriptors + self._info.offset(f"prb_desc_ring.{name}"))
        count = 1 << self._count_bits
        start = first % count
        until_end = min(number, count - start)
        data = self._read(array + start * size, until_end * size)
        if number > until_end:
            data += self._read(array, (number - until_end) * size)
        return [data[at : at + size] for at in range(0, number * size, size)]

    def _word(self, address: int) -> int:
        return self._integer(address, 8)

    def _integer(self, address: int, size: int) -> int:
        return int.from_bytes(self._read(address, size), "little")


def _member(structure: bytes, offset: int, size: int = 8) -> int:
    return int.from_bytes(structure[offset : offset + size], "little")
