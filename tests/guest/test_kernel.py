import gzip
import os
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.errors import FileError, UsageError
from hil_agent.guest.kernel import KernelKind, Segment, recognise

ArmImage = Callable[..., bytes]

PROGRAM = """
    .global _start
    _start: b .
    .data
    .quad 1
    .bss
    .skip 0x1000
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kernel"


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    """A linked program: text at 0x40200000, data behind it, virtual addresses elsewhere."""
    source, script, output = tmp_path / "p.o", tmp_path / "p.ld", tmp_path / "p.elf"
    subprocess.run(["aarch64-linux-gnu-as", "-o", str(source), "-"], input=PROGRAM, text=True, check=True)
    script.write_text(
        "ENTRY(_start) PHDRS { text PT_LOAD; data PT_LOAD; } SECTIONS {"
        " .text 0xffff800008000000 : AT(0x40200000) { *(.text) } :text"
        " .data 0xffff800008001000 : AT(0x40201000) { *(.data) } :data"
        " .bss : { *(.bss) } :data }"
    )
    subprocess.run(["aarch64-linux-gnu-ld", "-T", str(script), "-o", str(output), str(source)], check=True)
    return output


def test_an_image_is_left_where_it_is(file: Path, arm64_image: ArmImage) -> None:
    file.write_bytes(arm64_image(text_offset=0x80000, image_size=0x9000, size=0x5000))
    kernel = recognise(file)
    assert kernel.kind is KernelKind.IMAGE
    assert kernel.segments == (Segment(0x80000, file, 0x5000, 0x9000),)
    assert kernel.entry == 0x80000


def test_an_image_from_before_image_size_is_known(file: Path, arm64_image: ArmImage) -> None:
    file.write_bytes(arm64_image(text_offset=0, image_size=0, size=0x5000))
    (segment,) = recognise(file).segments
    assert (segment.address, segment.memory_size) == (0x80000, 0x5000)


def test_a_compressed_image_is_unpacked(file: Path, arm64_image: ArmImage) -> None:
    image = arm64_image()
    file.write_bytes(gzip.compress(image))
    kernel = recognise(file)
    assert kernel.kind is KernelKind.IMAGE
    assert kernel.segments[0].content == image


def test_a_big_endian_image_is_refused(file: Path, arm64_image: ArmImage) -> None:
    file.write_bytes(arm64_image(flags=1))
    with pytest.raises(FileError, match="big-endian"):
        recognise(file)


def test_an_elf_file_goes_to_its_physical_addresses(elf: Path) -> None:
    kernel = recognise(elf)
    assert kernel.kind is KernelKind.ELF
    assert [segment.address for segment in kernel.segments] == [0x40200000, 0x40201000]
    assert [segment.memory_size >= 0x1000 for segment in kernel.segments] == [False, True]


def test_the_entry_of_an_elf_file_is_physical_too(elf: Path) -> None:
    assert recognise(elf).entry == 0x40200000


@pytest.mark.parametrize("size", [20, 70, 0x10010])
def test_an_elf_file_that_is_cut_off_is_refused(elf: Path, size: int) -> None:
    elf.write_bytes(elf.read_bytes()[:size])
    with pytest.raises(FileError, match="cut off"):
        recognise(elf)


def test_an_elf_file_for_another_machine_is_refused() -> None:
    with pytest.raises(FileError, match="not for little-endian AArch64"):
        recognise(Path("/proc/self/exe").resolve())


def test_an_object_file_is_refused(elf: Path) -> None:
    with pytest.raises(FileError, match="link it first"):
        recognise(elf.with_name("p.o"))


def test_a_flat_binary_needs_its_address(file: Path) -> None:
    file.write_bytes(b"\x00\x00\x00\x14")
    with pytest.raises(FileError, match="--load-address"):
        recognise(file)
    kernel = recognise(file, load_address=0x40400000)
    assert (kernel.kind, kernel.entry) == (KernelKind.FLAT, 0x40400000)
    assert kernel.segments == (Segment(0x40400000, file, 4, 4),)


def test_an_entry_can_be_given(file: Path, elf: Path) -> None:
    file.write_bytes(b"\x00\x00\x00\x14")
    assert recognise(file, load_address=0x40400000, entry=0x40400100).entry == 0x40400100
    assert recognise(elf, entry=0x40200004).entry == 0x40200004


@pytest.mark.parametrize("options", [{"load_address": 0}, {"entry": 0}])
def test_an_image_is_not_placed_by_hand(file: Path, arm64_image: ArmImage, options: dict[str, int]) -> None:
    file.write_bytes(arm64_image())
    with pytest.raises(UsageError, match="arm64 Image"):
        recognise(file, **options)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (bytes(0x202) + b"HdrS", "an x86 bzImage"),
        (bytes(0x24) + b"\x18\x28\x6f\x01", "zImage for 32-bit Arm"),
        (bytes(56) + b"RSC\x05", "RISC-V"),
        (b"MZ\0\0zimg", "zboot"),
        (b"\xfd7zXZ\0", "xz"),
        (b"070701", "initramfs"),
        (b"!<arch>\ndebian", "Debian package"),
        (gzip.compress(b"x" * 4096)[:20], "cut off"),
        (b"\x1f\x8b\x00 no gzip", "damaged"),
        (gzip.compress(b"nothing known"), "no arm64 Image"),
    ],
)
def test_what_is_no_kernel_is_called_what_it_is(file: Path, content: bytes, words: str) -> None:
    file.write_bytes(content)
    with pytest.raises(FileError, match=words):
        recognise(file)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, words in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "regular"),
        (tmp_path / "fifo", "regular"),
    ):
        with pytest.raises(FileError, match=words):
            recognise(path)


@given(st.dictionaries(st.integers(0, 63), st.integers(0, 255), min_size=1, max_size=6))
def test_a_damaged_header_gives_an_error_or_a_kernel(
    tmp_path_factory: pytest.TempPathFactory, damage: dict[int, int]
) -> None:
    header = struct.pack("<4s2B10x2HI3QI6H", b"\x7fELF", 2, 1, 2, 183, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    data = bytearray(header + struct.pack("<2I6Q", 1, 5, 0, 0x40200000, 0x40200000, 120, 4096, 1))
    for at, byte in damage.items():
        data[at] = byte
    file = tmp_path_factory.getbasetemp() / "damaged.elf"
    file.write_bytes(data)
    with suppress(FileError):
        recognise(file)
