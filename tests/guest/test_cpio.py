import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.guest import cpio

PATHS = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join)


def listing(archive: bytes) -> list[str]:
    done = subprocess.run(["busybox", "cpio", "-tv"], input=archive, check=True, capture_output=True)
    return done.stdout.decode().splitlines()


def test_cpio_unpacks_files_and_directories(tmp_path: Path) -> None:
    entries = [
        cpio.directory("empty", 0o700),
        cpio.file("bin/tool", b"\0\1\2\3\4", 0o755),
    ]
    subprocess.run(["busybox", "cpio", "-idm"], input=cpio.archive(entries), cwd=tmp_path, check=True)
    assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "bin/tool").read_bytes() == b"\0\1\2\3\4"
    assert (tmp_path / "bin/tool").stat().st_mode & 0o777 == 0o755


def test_a_device_node_keeps_its_numbers() -> None:
    (line,) = listing(cpio.archive([cpio.character_device("console", 5, 1)]))
    assert line.startswith("crw-------")


def test_parents_that_are_missing_are_added_once() -> None:
    lines = listing(cpio.archive([cpio.file("a/b/c", b""), cpio.file("a/b/d", b"")]))
    assert [line.split()[-1] for line in lines] == ["a", "a/b", "a/b/c", "a/b/d"]


@pytest.mark.parametrize("path", ["/etc", "../etc", "a/../b", "."])
def test_a_path_that_leaves_the_archive_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="stays inside"):
        cpio.file(path, b"")


def test_a_path_cannot_come_twice() -> None:
    with pytest.raises(ValueError, match="comes twice: a"):
        cpio.archive([cpio.file("a", b""), cpio.file("a", b"")])


@given(st.dictionaries(PATHS, st.binary(max_size=9), max_size=4))
def test_the_same_entries_give_the_same_bytes(files: dict[str, bytes]) -> None:
    leaves = {
        path: data for path, data in files.items() if not any(other.startswith(f"{path}/") for other in files)
    }
    entries = [cpio.file(path, data) for path, data in leaves.items()]
    archive = cpio.archive(entries)
    assert archive == cpio.archive(iter(entries))
    assert len(archive) % 4 == 0
