import bz2
import gzip
import lzma
from pathlib import Path

import pytest

from hil_agent.errors import FileError
from hil_agent.guest import cpio
from hil_agent.guest.initramfs import check_initramfs

ARCHIVE = cpio.archive([cpio.directory("dev"), cpio.file("init", b"#!/bin/sh\n" * 50, 0o755)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "initramfs"


@pytest.mark.parametrize(
    "content",
    [
        ARCHIVE,
        ARCHIVE + bytes(512) + gzip.compress(ARCHIVE),
        gzip.compress(ARCHIVE),
        lzma.compress(ARCHIVE),
        lzma.compress(ARCHIVE) + bytes(8),
        bz2.compress(ARCHIVE),
        b"\x28\xb5\x2f\xfd zstd",
    ],
    ids=["cpio", "cpio+gzip", "gzip", "xz", "padded xz", "bzip2", "zstd"],
)
def test_what_linux_unpacks_is_taken(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    check_initramfs(file)


@pytest.mark.parametrize(
    "whole", [ARCHIVE, gzip.compress(ARCHIVE), lzma.compress(ARCHIVE)], ids=["cpio", "gzip", "xz"]
)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_what_is_cut_off_is_refused(file: Path, whole: bytes, part: float) -> None:
    file.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(FileError, match="cut off"):
        check_initramfs(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x1f\x8b\x08 no gzip", "damaged"),
        (b"070701" + b"z" * 200, "cut off"),
        (b"#!/bin/sh", "no initramfs"),
        (b"MZ" + bytes(100), "no initramfs"),
    ],
)
def test_what_is_none_is_refused(file: Path, content: bytes, words: str) -> None:
    file.write_bytes(content)
    with pytest.raises(FileError, match=words):
        check_initramfs(file)


def test_a_folder_and_an_absent_file_are_refused(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "no regular file"), (tmp_path / "none", "No such file")):
        with pytest.raises(FileError, match=words):
            check_initramfs(path)
