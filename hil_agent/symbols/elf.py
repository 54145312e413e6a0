"""An ELF file of symbols alone, as debuggers load them: ELF-64 Object File Format, for AArch64.

Code is described and not contained: a debugger reads it out of the guest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby

from hil_agent.symbols.table import Symbol

_HEADER = struct.Struct("<4s5B7x2HI3QI6H")
_SECTION = struct.Struct("<2I4Q2I2Q")
_SYMBOL = struct.Struct("<I2BH2Q")

_ELFCLASS64, _ELFDATA2LSB, _EV_CURRENT, _ET_EXEC, _EM_AARCH64 = 2, 1, 1, 2, 183
_STT_OBJECT, _STT_FUNC = 1, 2
_SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR = 1, 2, 4
_WORD = 8


class _Type(IntEnum):
    """Types of section."""

    NULL = 0
    PROGBITS = 1
    SYMTAB = 2
    STRTAB = 3
    NOBITS = 8


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    type: _Type
    flags: int = 0
    address: int = 0
    size: int = 0
    """Bytes in memory; of a section with content, that counts."""
    content: bytes = b""
    link: int = 0
    info: int = 0
    entry_size: int = 0


@dataclass(frozen=True, slots=True)
class _Region:
    """A part of the kernel that holds only code, or none."""

    is_code: bool
    start: int
    end: int
    symbols: Sequence[Symbol]


def write(symbols: Sequence[Symbol], *, start: int, end: int, frames: bytes = b"") -> bytes:
    """Makes the file.

    Args:
        symbols: By address.
        start: Virtual address, as linked, where the kernel begins; symbols before it are left out.
        end: Where it ends; symbols behind it are left out.
        frames: The content of ``.debug_frame``.
    """
    regions = list(_regions([symbol for symbol in symbols if start <= symbol.address <= end], start, end))
    sections = [_Section("", _Type.NULL), *map(_described, regions)]
    table, names, local = _symbol_table(regions)
    if frames:
        sections.append(_Section(".debug_frame", _Type.PROGBITS, content=frames))
    names_index = len(sections) + 1
    sections += [
        _Section(
            ".symtab", _Type.SYMTAB, content=table, link=names_index, info=local, entry_size=_SYMBOL.size
        ),
        _Section(".strtab", _Type.STRTAB, content=names),
    ]
    return _file(sections, entry=start)


def _regions(symbols: Sequence[Symbol], start: int, end: int) -> Iterator[_Region]:
    runs = [(is_code, list(run)) for is_code, run in groupby(symbols, lambda symbol: symbol.is_code)]
    starts = [start, *(run[0].address for _, run in runs[1:]), end]
    for number, (is_code, run) in enumerate(runs):
        yield _Region(is_code, starts[number], starts[number + 1], run)


def _described(region: _Region) -> _Section:
    flags = _SHF_ALLOC | (_SHF_EXECINSTR if region.is_code else _SHF_WRITE)
    name = ".text" if region.is_code else ".data"
    return _Section(name, _Type.NOBITS, flags, region.start, region.end - region.start)


def _symbol_table(regions: Sequence[_Region]) -> tuple[bytes, bytes, int]:
    """The table, its names, and how many symbols are local: these come first."""
    names = bytearray(1)
    entries: dict[bool, list[bytes]] = {False: [bytes(_SYMBOL.size)], True: []}
    for index, region in enumerate(regions, 1):
        for symbol, size in zip(region.symbols, _sizes(region), strict=True):
            is_global = symbol.kind.isupper()
            info = is_global << 4 | (_STT_FUNC if region.is_code else _STT_OBJECT)
            entries[is_global].append(_SYMBOL.pack(len(names), info, 0, index, symbol.address, size))
            names += symbol.name.encode() + b"\0"
    return b"".join(entries[False] + entries[True]), bytes(names), len(entries[False])


def _sizes(region: _Region) -> Iterator[int]:
    """What lies between a symbol and the next one that is elsewhere."""
    sizes, behind, last = [], region.end, region.end
    for symbol in reversed(region.symbols):
        if symbol.address != last:
            behind, last = last, symbol.address
        sizes.append(behind - symbol.address)
    return reversed(sizes)


def _file(sections: list[_Section], entry: int) -> bytes:
    names = b"\0".join([*(section.name.encode() for section in sections), b".shstrtab", b""])
    sections = [*sections, _Section(".shstrtab", _Type.STRTAB, content=names)]
    content, headers, name_at = bytearray(_HEADER.size), bytearray(), 0
    for section in sections:
        content += bytes(-len(content) % _WORD)
        headers += _SECTION.pack(
            name_at,
            section.type,
            section.flags,
            section.address,
            len(content),
            len(section.content) or section.size,
            section.link,
            section.info,
            _WORD if section.type is not _Type.NULL else 0,
            section.entry_size,
        )
        content += section.content
        name_at += len(section.name) + 1
    content += bytes(-len(content) % _WORD)
    header = _HEADER.pack(
        b"\x7fELF",
        *(_ELFCLASS64, _ELFDATA2LSB, _EV_CURRENT, 0, 0),
        *(_ET_EXEC, _EM_AARCH64, _EV_CURRENT, entry, 0, len(content), 0),
        *(_HEADER.size, 0, 0, _SECTION.size, len(sections), len(sections) - 1),
    )
    content[: _HEADER.size] = header
    return bytes(content + headers)
