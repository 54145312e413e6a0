"""Where a running kernel is: the virtual address that KASLR chose, told by the kernel's own memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hil_agent.symbols.translation import ReadPhysical

_PAGE = 4096
_KERNEL_START = 0xFFF0 << 48
"""The lowest kernel address that there is, with virtual addresses of 52 bits."""

_ADDRESSES = 1 << 64


@dataclass(frozen=True, slots=True)
class Anchor:
    """A word in the kernel that tells where the kernel is.

    Attributes:
        at: Where the word is, in bytes from the start of the Image.
        target: Where it points to, likewise: it is a pointer that the kernel relocates. None: it is the
            kernel's variable ``kimage_voffset``, the virtual less the physical address of the kernel.
    """

    at: int
    target: int | None


def virtual_start(anchor: Anchor, load_address: int, read_physical: ReadPhysical) -> int | None:
    """The virtual address of the first byte (``_text``) of the kernel that runs.

    KASLR is done before ``start_kernel``, in some versions in two steps: only from there on an answer
    lasts. A kernel whose pointers are in place from the start gives the address as linked until then.

    Args:
        anchor: Of this kernel.
        load_address: Physical address of its first byte.
        read_physical: Reads the guest's memory; what it raises passes through.

    Returns:
        The address; None as long as the word does not tell.
    """
    (word,) = struct.unpack("<Q", read_physical(load_address + anchor.at, 8))
    start: int = (word + load_address if anchor.target is None else word - anchor.target) % _ADDRESSES
    return start if word and start >= _KERNEL_START and start % _PAGE == 0 else None
