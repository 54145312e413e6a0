"""What the kernel tells tools that read its memory: addresses and the layout of structures (``vmcoreinfo``).

See Documentation/admin-guide/kdump/vmcoreinfo.rst in Linux; it is there with ``CONFIG_CRASH_CORE``, which
is ``CONFIG_VMCORE_INFO`` since 6.9. The text is in an ELF note, to which the kernel's variable
``vmcoreinfo_note`` points. Where a kernel does not name its variables, the code of the function that gives
the note's address tells where that one is.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hil_agent.errors import GuestError
from hil_agent.symbols.table import SymbolTable

ReadVirtual = Callable[[int, int], bytes]
"""Given a virtual address of the kernel and a length in bytes, the bytes there."""

_VARIABLE, _FUNCTION = "vmcoreinfo_note", "paddr_vmcoreinfo_note"
_CODE_SIZE = 64

_NOTE = struct.Struct("<3I")
_NAME = b"VMCOREINFO\0"
_MAX_TEXT = 64 << 10

_ENTRY = re.compile(r"(SYMBOL|SIZE|OFFSET|LENGTH|NUMBER)\(([^)]+)\)=(?:0x)?([0-9a-f]+)", re.ASCII)
"""Of which symbols are hexadecimal, and the rest decimal."""


@dataclass(frozen=True, slots=True)
class VmcoreInfo:
    """Named numbers, such as ``("OFFSET", "printk_info.seq")``."""

    numbers: Mapping[tuple[str, str], int]

    def symbol(self, name: str) -> int:
        """The virtual address of a variable, as it is in the running kernel."""
        return self._number("SYMBOL", name)

    def size(self, name: str) -> int:
        """Bytes of a structure."""
        return self._number("SIZE", name)

    def offset(self, name: str) -> int:
        """Bytes from a structure's start to ``structure.member``."""
        return self._number("OFFSET", name)

    def _number(self, kind: str, name: str) -> int:
        try:
            return self.numbers[kind, name]
        except KeyError:
            raise GuestError(f"the kernel's vmcoreinfo lacks {kind}({name})") from None


def read_vmcoreinfo(table: SymbolTable, offset: int, read: ReadVirtual) -> VmcoreInfo:
    """Finds and reads it in a running kernel.

    Args:
        table: The kernel's symbols.
        offset: What KASLR added to their addresses.
        read: Reads the guest's memory; what it raises passes through.

    Raises:
        GuestError: it is not there, or not yet.
    """
    variable = _address_of_variable(table, offset, read)
    (note,) = struct.unpack("<Q", read(variable, 8))
    if not note:
        raise GuestError("the kernel has not set up its vmcoreinfo yet")
    name_size, size, _ = _NOTE.unpack(read(note, _NOTE.size))
    name = read(note + _NOTE.size, len(_NAME))
    if name != _NAME or name_size != len(_NAME) or size > _MAX_TEXT:
        raise GuestError(f"there is no vmcoreinfo at {note:#x}, where the kernel has it")
    text = read(note + _NOTE.size + -(-name_size // 4) * 4, size).decode("ascii", "replace")
    return parse_vmcoreinfo(text)


def parse_vmcoreinfo(text: str) -> VmcoreInfo:
    """Reads the text."""
    return VmcoreInfo(
        {
            (kind, name): int(number, 16 if kind == "SYMBOL" else 10)
            for kind, name, number in _ENTRY.findall(text)
            if kind == "SYMBOL" or number.isdigit()
        }
    )


def _address_of_variable(table: SymbolTable, offset: int, read: ReadVirtual) -> int:
    if (variable := table.address(_VARIABLE)) is not None:
        return variable + offset
    function = table.address(_FUNCTION)
    if function is None:
        raise GuestError("the kernel has no vmcoreinfo, or its symbols do not tell where that is")
    found = _loaded_from(read(function + offset, _CODE_SIZE), function + offset)
    if found is None:
        raise GuestError(f"the kernel's {_FUNCTION} does not tell where its vmcoreinfo is")
    return found


def _loaded_from(code: bytes, address: int) -> int | None:
    """The address that the first ``ldr`` behind an ``adrp`` of its base register loads from."""
    pages: dict[int, int] = {}
    word: int
    for number, (word,) in enumerate(struct.iter_unpack("<I", code)):
        if word & 0x9F000000 == 0x90000000:  # noqa: PLR2004 - adrp
            pages_away = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
            signed = pages_away - (pages_away >> 20 << 21)
            pages[word & 31] = (address + 4 * number & -4096) + (signed << 12)
        elif word & 0xFFC00000 == 0xF9400000 and (base := word >> 5 & 31) in pages:  # noqa: PLR2004 - ldr
            return pages[base] + 8 * (word >> 10 & 0xFFF)
    return None
