"""What the user gave as kernel: an arm64 ``Image``, gzip of one, an ELF file, or a flat binary.

``Image``: Documentation/arch/arm64/booting.rst in Linux. ELF: the generic ABI, "Program Header".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from hil_agent.errors import FileError, UsageError

MAX_SIZE = 512 << 20
"""Bytes of a kernel, unpacked: beyond it, it is none."""

_IMAGE = struct.Struct("<8x3Q24x4s4x")
_IMAGE_MAGIC = b"ARM\x64"
_IMAGE_BIG_ENDIAN = 1
_IMAGE_OLD_TEXT_OFFSET = 0x80000

_ELF = struct.Struct("<4s2B12xH4x2Q14x2H6x")
_PROGRAM_HEADER = struct.Struct("<I4x5Q8x")
_ELF64, _LITTLE_ENDIAN, _AARCH64, _PT_LOAD = 2, 1, 183, 1

_HEAD = 4096
"""Bytes to read of a file to tell what it is."""

_GZIP = b"\x1f\x8b"

_FOREIGN = (
    (0x202, b"HdrS", "an x86 bzImage"),
    (0x24, b"\x18\x28\x6f\x01", "a zImage for 32-bit Arm"),
    (0x38, b"RSC\x05", "a RISC-V Image"),
    (0x04, b"zimg", "an EFI zboot image: unpack the Image that it holds"),
    (0x00, b"\x27\x05\x19\x56", "a U-Boot uImage"),
    (0x00, b"\xd0\x0d\xfe\xed", "a device tree or a FIT image"),
    (0x00, b"\xfd7zXZ", "compressed with xz: unpack it first"),
    (0x00, b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"),
    (0x00, b"BZh", "compressed with bzip2: unpack it first"),
    (0x00, b"\x02\x21\x4c\x18", "compressed with lz4: unpack it first"),
    (0x00, b"0707", "a cpio archive, perhaps the initramfs"),
    (0x00, b"!<arch>", "an archive, perhaps a Debian package"),
    (0x00, b"QFI\xfb", "a qcow2 disk image"),
    (0x00, b"MZ", "an EFI program of some other kind"),
    (0x00, b"#!", "a script"),
)


class KernelKind(Enum):
    """The form in which a kernel comes."""

    IMAGE = "arm64 Image"
    ELF = "ELF"
    FLAT = "flat binary"


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a kernel that goes to one address.

    Attributes:
        address: Physical address; of an Image, the distance from a base that is a multiple of 2 MiB.
        content: The bytes, or the file that consists of them.
        size: Bytes of content.
        memory_size: Bytes that it takes in memory, with what the kernel adds behind it (BSS).
    """

    address: int
    content: Path | bytes
    size: int
    memory_size: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel, ready to be placed.

    Attributes:
        kind: Its form.
        segments: What to put into memory.
        entry: Address of the first instruction; of an Image, relative like its segment's.
    """

    kind: KernelKind
    segments: tuple[Segment, ...]
    entry: int


def recognise(path: Path, *, load_address: int | None = None, entry: int | None = None) -> Kernel:
    """Finds out what kind of kernel a file holds.

    Args:
        path: The file.
        load_address: Physical address of a flat binary; only then a file may be one.
        entry: Physical address of the first instruction, if not the one that the file says.

    Raises:
        FileError: it is unreadable, damaged, or for another machine.
        UsageError: ``load_address`` or ``entry`` does not go with what the file is.
    """
    head, size = _read_head(path)
    content: Path | bytes = path
    if head.startswith(_GZIP):
        content = _gunzip(path)
        head, size = content[:_HEAD], len(content)
    kernel = _image(path, head, content, size) or _elf(path, head, content, size)
    if kernel is None:
        if load_address is None:
            raise _foreign(path, head)
        kernel = Kernel(KernelKind.FLAT, (Segment(load_address, content, size, size),), load_address)
    elif load_address is not None:
        raise UsageError(f"--load-address is for flat binaries, and {path} is an {kernel.kind.value}")
    if entry is None:
        return kernel
    if kernel.kind is KernelKind.IMAGE:
        raise UsageError(f"--entry does not go with {path}: an arm64 Image is entered at its first byte")
    return replace(kernel, entry=entry)


def _read_head(path: Path) -> tuple[bytes, int]:
    """The first bytes of a file, and its size."""
    try:
        if path.exists() and not path.is_file():
            raise FileError("is no regular file", path=path)
        with path.open("rb") as stream:
            head, size = stream.read(_HEAD), path.stat().st_size
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", path=path) from error
    if not size:
        raise FileError("is empty", path=path)
    if size > MAX_SIZE:
        raise FileError(f"is too large for a kernel: {size >> 20} MiB", path=path)
    return head, size


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", path=path) from error


def _gunzip(path: Path) -> bytes:
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        data = stream.decompress(_read(path), MAX_SIZE)
    except zlib.error as error:
        raise FileError(f"is damaged: {error}", path=path) from error
    if not stream.eof:
        reason = (
            "is too large for a kernel"
            if stream.unconsumed_tail
            else "is cut off: its gzip data does not end"
        )
        raise FileError(reason, path=path)
    return data


def _image(path: Path, head: bytes, content: Path | bytes, size: int) -> Kernel | None:
    if len(head) < _IMAGE.size:
        return None
    text_offset, image_size, flags, magic = _IMAGE.unpack_from(head)
    if magic != _IMAGE_MAGIC:
        return None
    if flags & _IMAGE_BIG_ENDIAN:
        raise FileError("is an arm64 Image for big-endian, which is not supported", path=path)
    if image_size == 0:  # before Linux 3.17
        text_offset = _IMAGE_OLD_TEXT_OFFSET
    if image_size > MAX_SIZE or text_offset > MAX_SIZE:
        raise FileError(f"is damaged: its header asks for {image_size >> 20} MiB of memory", path=path)
    segment = Segment(text_offset, content, size, max(size, image_size))
    return Kernel(KernelKind.IMAGE, (segment,), text_offset)


def _elf(path: Path, head: bytes, content: Path | bytes, size: int) -> Kernel | None:
    if not head.startswith(b"\x7fELF"):
        return None
    if size < _ELF.size:
        raise FileError("is cut off: it ends in its ELF header", path=path)
    _, width, order, machine, entry, table, entry_size, count = _ELF.unpack_from(head)
    if (width, order, machine) != (_ELF64, _LITTLE_ENDIAN, _AARCH64):
        raise FileError("is an ELF file, but not for little-endian AArch64", path=path)
    if entry_size != _PROGRAM_HEADER.size:
        raise FileError("is an ELF file without program headers: link it first", path=path)
    data = content if isinstance(content, bytes) else _read(path)
    segments = list(_loadable(path, data, table, count))
    if not segments:
        raise FileError("is an ELF file with nothing to load: link it first", path=path)
    for virtual, segment in segments:
        if virtual <= entry < virtual + segment.memory_size:
            entry += segment.address - virtual
            break
    return Kernel(KernelKind.ELF, tuple(segment for _, segment in segments), entry)


def _loadable(path: Path, data: bytes, table: int, count: int) -> Iterator[tuple[int, Segment]]:
    """The segments to load, each with its virtual address."""
    total = 0
    for at in range(table, table + count * _PROGRAM_HEADER.size, _PROGRAM_HEADER.size):
        if at + _PROGRAM_HEADER.size > len(data):
            raise FileError("is cut off: it ends in its ELF program headers", path=path)
        kind, offset, virtual, physical, size, memory_size = _PROGRAM_HEADER.unpack_from(data, at)
        if kind != _PT_LOAD or not memory_size:
            continue
        total += size
        if offset + size > len(data) or size > memory_size or total > MAX_SIZE:
            raise FileError(
                f"is cut off or damaged: the ELF segment for {physical:#x} is not all there", path=path
            )
        yield virtual, Segment(physical, data[offset : offset + size], size, memory_size)


def _foreign(path: Path, head: bytes) -> FileError:
    what = next((what for at, magic, what in _FOREIGN if head.startswith(magic, at)), None)
    return FileError(
        f"is no arm64 kernel: it is {what}" if what else "is no arm64 Image and no ELF file",
        path=path,
        hint=None if what else "a flat binary needs --load-address",
    )
