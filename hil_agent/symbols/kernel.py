"""The symbols of a kernel, as a file that debuggers load and as a table, out of its vmlinux or out of itself.

What is recovered from an Image is kept in the user's cache, under the hash of the Image::

    symbols/HASH/  kernel.elf  manifest.json

Such a folder appears in one step, so that two may make it at once.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from hil_agent import resources
from hil_agent.errors import FileError, HostError
from hil_agent.guest.kernel import Kernel, KernelKind, recognise
from hil_agent.symbols import elf
from hil_agent.symbols.frames import Function, call_frames
from hil_agent.symbols.kallsyms import NoSymbolsError, Recovered, recover
from hil_agent.symbols.kaslr import Anchor
from hil_agent.symbols.table import SymbolTable
from hil_agent.symbols.vmlinux import read_vmlinux

_FORMAT = b"2"
"""Part of every hash: raise it when the same Image is to give another file."""

_ELF, _MANIFEST = "kernel.elf", "manifest.json"
_UNFINISHED = ".unfinished-"
_MAX_FUNCTION = 1 << 20
"""Bytes; beyond it, what is between two symbols is a gap in the names."""

_KIMAGE_VOFFSET = "kimage_voffset"


@dataclass(frozen=True)
class KernelSymbols:
    """Where to find the symbols of one kernel.

    Attributes:
        elf: A file with them, at the addresses that the kernel is linked for.
        linked: The address, as linked, of the kernel's first byte.
        anchor: What tells where it is when it runs; None if nothing does.
    """

    elf: Path
    linked: int
    anchor: Anchor | None

    @cached_property
    def table(self) -> SymbolTable:
        """The symbols, to look up.

        Raises:
            FileError: the file is not as it was any more.
        """
        return read_vmlinux(self.elf).table


class _Manifest(BaseModel):
    """What is to be known about a recovered kernel besides its symbols."""

    model_config = ConfigDict(frozen=True)

    linked: int
    anchor: Anchor | None


def symbols_for(
    kernel: Path, vmlinux: Path | None = None, *, load_address: int | None = None
) -> KernelSymbols | None:
    """Finds the symbols of a kernel. The first time for an Image, it takes some seconds.

    Args:
        kernel: What is booted; see :func:`hil_agent.guest.kernel.recognise`.
        vmlinux: An ELF file with its symbols. Without one, an ELF kernel's own are taken, and those that an
            Image carries for its own use.
        load_address: Physical address of a kernel that is a flat binary.

    Returns:
        The symbols; None if the kernel has none.

    Raises:
        FileError: a file is broken, or ``vmlinux`` has no symbols or is another kernel's.
        HostError: the cache cannot be written.
    """
    recognised = recognise(kernel, load_address=load_address)
    if vmlinux is not None:
        return _given(vmlinux, kernel, recognised)
    match recognised.kind:
        case KernelKind.IMAGE:
            return _of_image(_content(recognised), recognised.segments[0].memory_size)
        case KernelKind.ELF if read_vmlinux(kernel).table.symbols:
            return _given(kernel, kernel, recognised)
    return None


def _given(path: Path, kernel: Path, recognised: Kernel) -> KernelSymbols:
    """The symbols of an ELF file, once it is sure that they are this kernel's."""
    vmlinux = read_vmlinux(path)
    if not vmlinux.table.symbols or vmlinux.linked is None:
        raise FileError("has no symbols", path=path, hint="give the vmlinux of the build, not stripped")
    if vmlinux.identity not in _content(recognised):
        raise FileError(
            f"is not the vmlinux of {kernel}: that has another build ID or version",
            path=path,
            hint="give the vmlinux that was made together with the kernel",
        )
    offset = vmlinux.table.address(_KIMAGE_VOFFSET)
    anchor = None if offset is None else Anchor(offset - vmlinux.linked, None)
    return KernelSymbols(path.absolute(), vmlinux.linked, anchor)


def _content(kernel: Kernel) -> bytes:
    """What is loaded of a kernel."""
    contents = (segment.content for segment in kernel.segments)
    return b"".join(each if isinstance(each, bytes) else each.read_bytes() for each in contents)


def _of_image(image: bytes, memory_size: int) -> KernelSymbols | None:
    """An Image's own symbols, from the cache or else made now."""
    folder = resources.cache_folder() / "symbols" / hashlib.sha256(_FORMAT + image).hexdigest()[:16]
    try:
        if (known := _cached(folder)) is not None:
            return known
        recovered = recover(image)
        _store(folder, recovered, _debug_file(image, memory_size, recovered))
    except NoSymbolsError:
        return None
    except OSError as error:
        raise HostError(f"cannot keep a kernel's symbols: {error.filename}: {error.strerror}") from error
    return _cached(folder)


def _cached(folder: Path) -> KernelSymbols | None:
    try:
        manifest = _Manifest.model_validate_json((folder / _MANIFEST).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return KernelSymbols(folder / _ELF, manifest.linked, manifest.anchor)


def _store(folder: Path, recovered: Recovered, debug_file: bytes) -> None:
    folder.parent.mkdir(exist_ok=True)
    manifest = _Manifest(linked=recovered.base, anchor=recovered.anchor)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=folder.parent) as scratch:
        new = Path(scratch, "new")
        new.mkdir()
        (new / _ELF).write_bytes(debug_file)
        (new / _MANIFEST).write_text(manifest.model_dump_json())
        if folder.exists():  # and is broken
            folder.rename(Path(scratch, "old"))
        try:
            new.rename(folder)
        except OSError:
            if _cached(folder) is None:  # else another was faster, with the same
                raise


def _debug_file(image: bytes, memory_size: int, recovered: Recovered) -> bytes:
    frames = call_frames(_functions(image, recovered))
    end = recovered.base + memory_size
    return elf.write(recovered.symbols, start=recovered.base, end=end, frames=frames)


def _functions(image: bytes, recovered: Recovered) -> Iterator[Function]:
    """The kernel's code, cut at its symbols."""
    by_address = groupby(recovered.symbols, key=lambda symbol: symbol.address)
    places = [(address, list(symbols)) for address, symbols in by_address]
    for (address, symbols), (end, _) in pairwise(places):
        code = image[max(address - recovered.base, 0) : max(end - recovered.base, 0)]
        if code and end - address <= _MAX_FUNCTION and any(symbol.is_code for symbol in symbols):
            yield Function(tuple(symbol.name for symbol in symbols), address, code)
