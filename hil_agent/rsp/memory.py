"""Access to memory in pieces that fit a stub's packets. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hil_agent.errors import UsageError

_HEADER: Final = 40  # "M", 64-bit address, ",", length, ":"
_ADDRESS_SPACE: Final = 1 << 64


def pieces(address: int, length: int, packet_size: int) -> list[tuple[int, int]]:
    """Cuts a range into (address, length) that fit one packet each, in hexadecimal or escaped.

    Raises:
        UsageError: it is not within the 64-bit address space.
    """
    end = address + length
    if not 0 <= address <= end <= _ADDRESS_SPACE:
        raise UsageError(f"{length} bytes at {address:#x} are not within the 64-bit address space")
    size = (packet_size - _HEADER) // 2
    return [(start, min(size, end - start)) for start in range(address, end, size)]


def write_requests(address: int, data: bytes, cut: list[tuple[int, int]], *, binary: bool) -> Iterator[bytes]:
    """The request that writes each piece of `data`: ``X`` if the stub takes it, else ``M``."""
    for start, size in cut:
        part = data[start - address : start - address + size]
        if binary:
            yield b"X%x,%x:%b" % (start, size, part)
        else:
            yield b"M%x,%x:%b" % (start, size, part.hex().encode())
