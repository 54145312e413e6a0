"""The commands by which gdb gets a kernel's symbols at all addresses where its code runs.

Before the MMU is on, at boot and at the resume entry point, the kernel runs at its physical addresses;
later at virtual ones. The same file is loaded for both, so that ``break cpu_resume`` has both places.
Symbols of kernel modules are out of scope.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_ADDRESSES = 1 << 64


def gdb_script(elf: Path, *, linked: int, load_address: int, virtual_start: int | None) -> list[str]:
    """Commands for gdb 11 or later, one a line, to be given before it connects.

    Args:
        elf: The file with the kernel's symbols.
        linked: The address in it of the kernel's first byte.
        load_address: The physical address of that.
        virtual_start: The virtual address of that, as KASLR chose it; None if it is not known yet.
    """
    return list(_commands(_quoted(elf), linked, load_address, virtual_start))


def _commands(elf: str, linked: int, load_address: int, virtual_start: int | None) -> Iterator[str]:
    yield f"exec-file {elf}"  # without one, gdb warns that the target does not tell its executable
    yield f"with confirm off -- symbol-file -o {_offset(load_address, linked)} {elf}"
    if virtual_start not in (None, load_address):
        yield f"with confirm off -- add-symbol-file {elf} -o {_offset(virtual_start, linked)}"


def _offset(address: int, linked: int) -> str:
    return f"{(address - linked) % _ADDRESSES:#x}"


def _quoted(path: Path) -> str:
    """As gdb splits arguments (libiberty's ``buildargv``)."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
