"""At which virtual addresses a guest runs its kernel: a walk over the tables that TTBR1_EL1 names. Pure.

Arm ARM D8.2 (translation tables) and D8.3 (descriptors); D19.2, TCR_EL1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hil_agent.guest.address import AddressRange

ReadPhysical = Callable[[int, int], bytes]
"""Reads so many bytes at a physical address."""

_GRANULE_BITS = {1: 14, 2: 12, 3: 16}
"""Bits of an offset in a page, by TCR_EL1.TG1."""

_DESCRIPTOR = 8
_VALID, _TABLE_OR_PAGE = 1, 3
_PXN = 1 << 53
_ADDRESS_MASK = (1 << 48) - 1
_LAST_LEVEL = 3
_MOST_TABLES = 1024
"""The tables are the guest's, and may be nonsense: there is an end to what is read of them."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """A stretch of virtual addresses that EL1 may execute at.

    Attributes:
        virtual: its first virtual address.
        physical: what that is translated to, and what follows it.
    """

    virtual: int
    physical: AddressRange


def kernel_mappings(read: ReadPhysical, *, tcr: int, ttbr1: int, wanted: AddressRange) -> list[Mapping]:
    """Where in the upper half of the address space memory is mapped that EL1 may execute.

    Args:
        read: reads the tables.
        tcr: TCR_EL1.
        ttbr1: TTBR1_EL1.
        wanted: the physical memory that is asked for.

    Returns:
        What overlaps it, in ascending order. Nothing, if the registers make no sense yet.
    """
    granule = _GRANULE_BITS.get(tcr >> 30 & 3)
    bits = 64 - (tcr >> 16 & 0x3F)
    if granule is None or bits <= granule:
        return []
    stride = granule - 3
    levels = -(-(bits - granule) // stride)
    top_bits = bits - granule - stride * (levels - 1)
    walk = _Walk(read, granule, wanted)
    table = ttbr1 & _ADDRESS_MASK & -max(_DESCRIPTOR << top_bits, 64)
    return list(walk.table(table, 1 << top_bits, (1 << 64) - (1 << bits), _LAST_LEVEL + 1 - levels))


class _Walk:
    def __init__(self, read: ReadPhysical, granule: int, wanted: AddressRange) -> None:
        self._read = read
        self._granule = granule
        self._wanted = wanted
        self._left = _MOST_TABLES

    def table(self, address: int, entries: int, virtual: int, level: int) -> Iterator[Mapping]:
        """What a table, and those below it, map at ``virtual`` and behind."""
        self._left -= 1
        content = self._read(address, entries * _DESCRIPTOR)
        stride = self._granule - 3
        size = 1 << (self._granule + stride * (_LAST_LEVEL - level))
        for index, (descriptor,) in enumerate(struct.iter_unpack("<Q", content)):
            if not self._left:
                return
            if not descriptor & _VALID:
                continue
            kind = descriptor & _TABLE_OR_PAGE
            target = descriptor & _ADDRESS_MASK & -(1 << self._granule)
            at = virtual + index * size
            if kind == _TABLE_OR_PAGE and level < _LAST_LEVEL:
                yield from self.table(target, 1 << stride, at, level + 1)
            elif kind == (_TABLE_OR_PAGE if level == _LAST_LEVEL else _VALID) and not descriptor & _PXN:
                mapped = AddressRange(target & -size, size)
                if mapped.overlaps(self._wanted):
                    yield Mapping(at, mapped)
