"""A backtrace by frame records, as the kernel itself makes one (Linux, arch/arm64/kernel/stacktrace.c). Pure.

It needs neither debug information nor prologues that gdb understands, and sees through return addresses that
are signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from hil_agent.errors import TargetError

ReadMemory = Callable[[int, int], bytes]
"""Given a virtual address and a length in bytes, the bytes there."""

MOST_FRAMES: Final = 64

_RECORD: Final = 16
"""Bytes of a frame record: the caller's frame pointer, and the return address (AAPCS64, 6.4.6)."""


def walk(pc: int, frame: int, address_bits: int, read: ReadMemory) -> Iterator[int]:
    """The addresses of a call chain: where it is, then where each caller goes on.

    Args:
        pc: where the vCPU is.
        frame: its frame pointer, x29.
        address_bits: width of the kernel's virtual addresses; what is above may be a signature.
        read: what it raises as TargetError ends the chain.
    """
    yield pc
    for _ in range(MOST_FRAMES - 1):
        if frame == 0 or frame % 8:
            return
        try:
            record = read(frame, _RECORD)
        except TargetError:
            return
        above, address = (int.from_bytes(half, "little") for half in (record[:8], record[8:]))
        if address == 0:
            return
        yield without_signature(address, address_bits)
        if above <= frame:  # stacks grow down; another stack, above or below, ends the chain
            return
        frame = above


def without_signature(address: int, address_bits: int) -> int:
    """An address without its pointer authentication code; bit 55 tells its half (Arm ARM D8.10)."""
    mask = (1 << address_bits) - 1
    return address | (1 << 64) - 1 - mask if address >> 55 & 1 else address & mask
