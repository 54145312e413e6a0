"""A kernel's ELF file: its symbols, the address that it is linked for, and which kernel it is."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from hil_agent.errors import FileError
from hil_agent.symbols.table import Symbol, SymbolTable

_BANNER = re.compile(rb"Linux version \d[^\0]*\n\0")
_BEGINNING = 4096

_SYMBOL = struct.Struct("<I2BH2Q")
_STT_SECTION = 3  # it, and those above, name no place in memory
_SHF_ALLOC, _SHF_EXECINSTR = 2, 4


@dataclass(frozen=True, slots=True)
class Vmlinux:
    """What an ELF file says about the kernel in it.

    Attributes:
        linked: The lowest address that something of it is loaded at; None if nothing is.
        table: Its symbols; empty if it was stripped.
        identity: Bytes that are in this kernel and in no other: its build ID, else its banner, else how it
            begins.
    """

    linked: int | None
    table: SymbolTable
    identity: bytes


def read_vmlinux(path: Path) -> Vmlinux:
    """Reads an ELF file.

    Raises:
        FileError: it is none for AArch64, or damaged.
    """
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            if elf.get_machine_arch() != "AArch64" or not elf.little_endian:
                raise FileError("is an ELF file, but not for little-endian AArch64", path=path)
            segments = sorted(
                (each["p_vaddr"], each["p_offset"], each["p_filesz"]) for each in elf.iter_segments("PT_LOAD")
            )
            identity = _build_id(elf) or _banner_or_beginning(path.read_bytes(), segments)
            return Vmlinux(segments[0][0] if segments else None, _table(elf), identity)
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", path=path) from error
    except (ELFError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise FileError(f"is no ELF file, or damaged: {error}", path=path) from error


def _build_id(elf: ELFFile) -> bytes | None:
    for section in elf.iter_sections():
        if isinstance(section, NoteSection):
            for note in section.iter_notes():
                if note["n_type"] == "NT_GNU_BUILD_ID":
                    return bytes.fromhex(note["n_desc"])
    return None


def _banner_or_beginning(content: bytes, segments: list[tuple[int, int, int]]) -> bytes:
    if banner := _BANNER.search(content):
        return banner.group()
    _, offset, size = segments[0] if segments else (0, 0, 0)
    return content[offset : offset + min(size, _BEGINNING)]


def _table(elf: ELFFile) -> SymbolTable:
    sections = list(elf.iter_sections())
    ends = (each["sh_addr"] + each["sh_size"] for each in sections if each["sh_flags"] & _SHF_ALLOC)
    is_code = [bool(each["sh_flags"] & _SHF_EXECINSTR) for each in sections]
    tables = [each for each in sections if each["sh_type"] == "SHT_SYMTAB"]
    if not tables:
        return SymbolTable((), 0)
    (table, *_), names = tables, sections[tables[0]["sh_link"]].data()
    return SymbolTable(_symbols(table.data(), names, is_code), max(ends, default=0))


def _symbols(table: bytes, names: bytes, is_code: list[bool]) -> Iterator[Symbol]:
    """Those that name a place in a section."""
    for name_at, info, _, section, address, _ in _SYMBOL.iter_unpack(table):
        if not 0 < section < len(is_code) or info & 0xF >= _STT_SECTION:
            continue
        name = names[name_at : names.index(b"\0", name_at)].decode(errors="replace")
        if name and not name.startswith("$"):  # mapping symbols, such as $x
            letter = "T" if is_code[section] else "D"
            yield Symbol(name, letter if info >> 4 else letter.lower(), address)
