"""Finding calls in a kernel's file, against what the assembler makes."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.errors import FileError
from hil_agent.guest.kernel import Segment
from hil_agent.hvc_site.code import Site, find_code
from hil_agent.psci import Conduit

BASE = 0x4020_0000
CODE = 0x2000_0000  # PE: may be executed


def assembled(*lines: str) -> bytes:
    """What the assembler makes of some lines."""
    with TemporaryDirectory() as folder:
        output, binary = Path(folder, "o"), Path(folder, "b")
        source = "\n".join(lines) + "\n"
        subprocess.run(["aarch64-linux-gnu-as", "-o", output, "-"], input=source, text=True, check=True)
        subprocess.run(["aarch64-linux-gnu-objcopy", "-O", "binary", output, binary], check=True)
        return binary.read_bytes()


def segment(content: bytes | Path, address: int = BASE) -> Segment:
    return Segment(address, content, 0, 0)


def sites(*lines: str) -> list[Site]:
    return list(find_code([segment(assembled(*lines))]).sites)


def test_calls_are_found_with_conduit_and_immediate() -> None:
    found = sites("nop", "hvc #0", "smc #0", "hvc #0xea1", "smc #0xffff")
    assert found == [
        Site(BASE + 4, Conduit.HVC, 0),
        Site(BASE + 8, Conduit.SMC, 0),
        Site(BASE + 12, Conduit.HVC, 0xEA1),
        Site(BASE + 16, Conduit.SMC, 0xFFFF),
    ]


def test_instructions_that_only_look_similar_are_none() -> None:
    assert sites("svc #0", "brk #0", "hlt #0", "dcps1 #0", "msr sctlr_el1, x0") == []


def test_a_word_across_two_instructions_is_none() -> None:
    assert sites(".byte 0, 0, 2, 0, 0, 0xd4, 0, 0") == []


def test_an_instruction_cut_off_by_the_end_is_none() -> None:
    assert find_code([segment(assembled("hvc #0")[:3])]).sites == ()


def test_an_overlap_with_data_hides_no_call() -> None:
    assert sites(".byte 2, 0, 0, 0xd4, 2, 0, 0, 0xd4", "hvc #0") == [
        Site(BASE + offset, Conduit.HVC, 0) for offset in (0, 4, 8)
    ]


@pytest.mark.parametrize(
    ("lines", "owner"),
    [
        (["mov x0, #1", "movk x0, #0xc600, lsl #16"], 0xC600),
        (["movz w0, #0x8400, lsl #16"], 0x8400),
        (["movz w0, #0x8400, lsl #16", "movk x0, #0xc400, lsl #16", "nop"], 0xC400),
        (["movz w1, #0x8400, lsl #16", "mov w0, #0x8400"], None),
        (["movz w0, #0x8400, lsl #16", *["nop"] * 8], None),
    ],
)
def test_who_is_called_is_told_where_it_is_a_constant(lines: list[str], owner: int | None) -> None:
    (site,) = sites(*lines, "hvc #0")
    assert site.owner == owner


def test_every_segment_is_searched_at_its_address() -> None:
    call = assembled("hvc #0")
    found = find_code([segment(call), segment(b"\0" * 8 + call, 0x5000_0000)]).sites
    assert [site.address for site in found] == [BASE, 0x5000_0008]


def test_a_kernel_may_be_a_file(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(assembled("smc #1"))
    assert find_code([segment(kernel)]).sites == (Site(BASE, Conduit.SMC, 1),)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="gone"):
        find_code([segment(tmp_path / "gone")])


def test_changes_of_the_translation_are_found() -> None:
    lines = (
        "msr sctlr_el1, x0",
        "msr ttbr1_el1, x30",
        "msr ttbr0_el1, x1",
        "msr tcr_el1, x2",
        "mrs x0, sctlr_el1",
    )
    assert find_code([segment(assembled(*lines))]).translation == (BASE, BASE + 4)


@given(st.binary(max_size=400))
def test_whatever_bytes_are_searched_what_is_found_is_a_call(content: bytes) -> None:
    for site in find_code([segment(content)]).sites:
        at = site.address - BASE
        (word,) = struct.unpack_from("<I", content, at)
        last = 2 if site.conduit is Conduit.HVC else 3
        assert (at % 4, word) == (0, 0xD400_0000 | site.immediate << 5 | last)


# ------------------------------------------------------------------ an Image is a PE file, too


def image(sections: Iterable[tuple[int, int, int]], body: bytes) -> bytes:
    """A PE header with sections (start, size, flags), and behind its 512 bytes ``body``."""
    table = [
        struct.pack("<8s4I12xI", b".x", size, start, size, start, flags) for start, size, flags in sections
    ]
    header = struct.pack("<4s2xH12xH2x", b"PE\0\0", len(table), 16) + b"\0" * 16 + b"".join(table)
    return (b"MZ" + b"\0" * 58 + struct.pack("<I", 64) + header).ljust(512, b"\0") + body


def test_only_the_code_of_an_image_is_searched() -> None:
    content = image([(512, 8, CODE), (520, 8, 0)], assembled("hvc #0", "nop", "hvc #0", "nop"))
    assert [site.address for site in find_code([segment(content)]).sites] == [BASE + 512]


@pytest.mark.parametrize("length", [62, 66, 90, 120])
def test_a_damaged_pe_header_hides_nothing(length: int) -> None:
    damaged = image([(512, 8, CODE)], b"")[:length].ljust(128, b"\xff") + assembled("hvc #0")
    assert [site.address for site in find_code([segment(damaged)]).sites] == [BASE + 128]
