"""From virtual to physical addresses, as the MMU of EL1 does it (Arm ARM, D8: VMSAv8-64, stage 1).

For when a stub would translate with another regime than the kernel's, as it does when the vCPU is at EL2.
Only where an address leads is worked out; what may be done there, the permissions, is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

ReadPhysical = Callable[[int, int], bytes]
"""Given a physical address and a length in bytes, the bytes there."""

_SCTLR_M = 1 << 0
_SCTLR_EE = 1 << 25
_TCR_DS = 1 << 59

_OUTPUT_BITS = (32, 36, 40, 42, 44, 48, 52, 56)
"""Width of physical addresses, by TCR_EL1.IPS."""

_MAX_OUTPUT_BITS = 52
_MIN_INPUT_BITS = 64 - 48  # with FEAT_TTST
_LAST_LEVEL = 3
_VALID, _TABLE = 1, 2


class _Granule(IntEnum):
    """Size of a page of tables, as a power of two."""

    KIB_4 = 12
    KIB_16 = 14
    KIB_64 = 16


_TG0 = {0: _Granule.KIB_4, 1: _Granule.KIB_64, 2: _Granule.KIB_16}
_TG1 = {1: _Granule.KIB_16, 2: _Granule.KIB_4, 3: _Granule.KIB_64}

_FIRST_BLOCK_LEVEL = {_Granule.KIB_4: 1, _Granule.KIB_16: 2, _Granule.KIB_64: 2}
"""Where blocks may be; with addresses of 52 bits also one level further up."""


@dataclass(frozen=True, slots=True)
class TranslationRegime:
    """The registers that EL1's stage 1 translation depends on, 64 bits each.

    Attributes:
        sctlr: SCTLR_EL1.
        tcr: TCR_EL1.
        ttbr0: TTBR0_EL1, of the lower half of the address space.
        ttbr1: TTBR1_EL1, of the upper half.
    """

    sctlr: int
    tcr: int
    ttbr0: int
    ttbr1: int


@dataclass(frozen=True, slots=True)
class _Half:
    """How one half of the address space is translated."""

    input_bits: int
    granule: _Granule
    ttbr: int
    wide: bool
    """Physical addresses have 52 bits."""
    ds: bool
    """Descriptors are in the format of FEAT_LPA2, for 52 bits with granules of 4 and 16 KiB."""

    @property
    def stride(self) -> int:
        """Bits of an address that one level resolves."""
        return self.granule - 3

    def shift(self, level: int) -> int:
        """Bits of an address that are left below one entry of this level's tables."""
        return self.granule + self.stride * (_LAST_LEVEL - level)

    @property
    def first_level(self) -> int:
        return _LAST_LEVEL + 1 - -(-(self.input_bits - self.granule) // self.stride)

    @property
    def first_block_level(self) -> int:
        """The first level whose entries may be blocks."""
        wide = self.wide if self.granule is _Granule.KIB_64 else self.ds
        return _FIRST_BLOCK_LEVEL[self.granule] - wide

    @property
    def root(self) -> int:
        """Physical address of the first table."""
        size = 8 << (self.input_bits - self.shift(self.first_level))
        address = self.ttbr & (1 << 48) - 1 & -max(size, 64 if self.wide else 0)
        return address | (self.ttbr >> 2 & 0xF) << 48 if self.wide else address

    def output(self, descriptor: int, shift: int) -> int:
        """The address in a descriptor, whose lowest ``shift`` bits are none of it."""
        address = descriptor & (1 << (50 if self.ds else 48)) - 1 & -(1 << shift)
        if not self.wide:
            return address
        return address | ((descriptor >> 8 & 3) << 50 if self.ds else (descriptor >> 12 & 0xF) << 48)


def translate(address: int, regime: TranslationRegime, read_physical: ReadPhysical) -> int | None:
    """Where a virtual address leads.

    Args:
        address: 64 bits, without a pointer authentication code.
        regime: The vCPU's registers.
        read_physical: Reads tables; what it raises passes through.

    Returns:
        The physical address (with stage 2: the intermediate one). None where the MMU would report a
        translation or address size fault.
    """
    upper = bool(address >> 55 & 1)
    plain = _without_tag(address, regime.tcr, upper=upper)
    output_bits = min(_OUTPUT_BITS[regime.tcr >> 32 & 7], _MAX_OUTPUT_BITS)
    if not regime.sctlr & _SCTLR_M:
        return plain if plain >> _MAX_OUTPUT_BITS == 0 else None
    half = _half(regime, output_bits, upper=upper)
    if half is None or plain >> half.input_bits != ((1 << 64 - half.input_bits) - 1 if upper else 0):
        return None
    big_endian = bool(regime.sctlr & _SCTLR_EE)
    physical = _walk(plain, half, output_bits, read_physical, "big" if big_endian else "little")
    return physical if physical is not None and physical >> output_bits == 0 else None


def _without_tag(address: int, tcr: int, *, upper: bool) -> int:
    """The address as it is translated: with TBI its top byte is ignored."""
    if not tcr >> (38 if upper else 37) & 1:
        return address
    return address | 0xFF << 56 if upper else address & (1 << 56) - 1


def _half(regime: TranslationRegime, output_bits: int, *, upper: bool) -> _Half | None:
    """How the half of the address space is translated; None if TCR_EL1 forbids it or has no sense."""
    control = regime.tcr >> 16 if upper else regime.tcr
    granule = (_TG1 if upper else _TG0).get(control >> 14 & 3)
    disabled = control >> 7 & 1
    if granule is None or disabled:
        return None
    large = granule is _Granule.KIB_64
    ds = bool(regime.tcr & _TCR_DS) and not large
    input_bits = 64 - (control & 0x3F)
    lowest = max(_MIN_INPUT_BITS, granule + 1)
    if not lowest <= input_bits <= (52 if large or ds else 48):
        return None
    wide = output_bits > 48 and (large or ds)  # noqa: PLR2004 - what fits without the further bits
    return _Half(input_bits, granule, regime.ttbr1 if upper else regime.ttbr0, wide, ds)


def _walk(
    address: int,
    half: _Half,
    output_bits: int,
    read_physical: ReadPhysical,
    order: Literal["big", "little"],
) -> int | None:
    table, top = half.root, half.input_bits
    for level in range(half.first_level, _LAST_LEVEL + 1):
        shift = half.shift(level)
        index = (address & (1 << top) - 1) >> shift
        if table >> output_bits:
            return None
        descriptor = int.from_bytes(read_physical(table + 8 * index, 8), order)
        if not descriptor & _VALID:
            return None
        if level == _LAST_LEVEL or not descriptor & _TABLE:
            final = level == _LAST_LEVEL and descriptor & _TABLE
            block = level < _LAST_LEVEL and level >= half.first_block_level
            return half.output(descriptor, shift) | address & (1 << shift) - 1 if final or block else None
        table, top = half.output(descriptor, half.granule), shift
    return None
