from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.errors import HostError, NotFoundError, UsageError
from hil_agent.session.folder import SessionFolder


@pytest.fixture(autouse=True)
def own_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_a_folder_is_for_its_user_alone() -> None:
    assert SessionFolder.create("a").path.stat().st_mode & 0o777 == 0o700


def test_a_name_is_taken_once() -> None:
    SessionFolder.create("a")
    with pytest.raises(UsageError, match="exists"):
        SessionFolder.create("a")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", ".a", "a b", "a\n", "ä", "a" * 49, "a\0b"])
def test_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        SessionFolder.create(name)


@given(st.text())
def test_no_name_leads_out_of_the_runtime_folder(name: str) -> None:
    try:
        folder = SessionFolder.create(name)
    except UsageError:
        return
    assert folder.path.parent.name == "hil-agent"
    folder.remove()


def test_free_names_are_numbered() -> None:
    names = [SessionFolder.create_numbered("board").name for _ in range(3)]
    assert names == ["board", "board-2", "board-3"]


def test_a_number_that_is_free_again_is_taken_again() -> None:
    SessionFolder.create_numbered("board")
    SessionFolder.create_numbered("board").remove()
    assert SessionFolder.create_numbered("board").name == "board-2"


def test_folders_are_found_by_name() -> None:
    created = SessionFolder.create("a")
    assert SessionFolder.find("a") == created


def test_a_name_that_is_close_is_suggested() -> None:
    SessionFolder.create("qemu-virt")
    with pytest.raises(NotFoundError) as caught:
        SessionFolder.find("qemu-vitr")
    assert "qemu-virt" in (caught.value.hint or "")


def test_what_is_no_session_is_not_listed(tmp_path: Path) -> None:
    SessionFolder.create("b")
    SessionFolder.create("a")
    (tmp_path / "hil-agent" / "file").write_text("")
    (tmp_path / "hil-agent" / ".hidden").mkdir()
    assert [folder.name for folder in SessionFolder.all()] == ["a", "b"]


def test_removing_twice_does_no_harm() -> None:
    folder = SessionFolder.create("a")
    (folder.path / "x").write_text("")
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


def test_removing_does_not_follow_links(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    folder = SessionFolder.create("a")
    (folder.path / "link").symlink_to(treasure)
    folder.remove()
    assert treasure.exists()


def test_a_runtime_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hil-agent").write_text("in the way")
    with pytest.raises(HostError, match="hil-agent"):
        SessionFolder.create("a")


# --------------------------------------------------------------------------------- process


CLAIM = """
import sys, time
from pathlib import Path
from hil_agent.session.folder import SessionFolder
SessionFolder(Path(sys.argv[1])).claim()
print("claimed", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder() -> SessionFolder:
    return SessionFolder.create("a")


@pytest.fixture
def process(folder: SessionFolder) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has claimed the folder."""
    with subprocess.Popen([sys.executable, "-c", CLAIM, str(folder.path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_folder_that_nobody_has_claimed_has_no_process(folder: SessionFolder) -> None:
    assert folder.pid() is None


def test_the_process_of_a_session_is_found(folder: SessionFolder, process: subprocess.Popen[bytes]) -> None:
    assert folder.pid() == process.pid


def test_a_process_that_has_ended_is_not(folder: SessionFolder, process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert folder.pid() is None


def test_another_process_of_the_same_number_is_not_the_sessions(folder: SessionFolder) -> None:
    (folder.path / "pid").write_text(f"{os.getpid()} 1\n")
    assert folder.pid() is None


@pytest.mark.parametrize("content", ["", "x", "1", "-1 2", "1 2 3", "99999999999999999999 1", "\xff"])
def test_a_damaged_pid_file_names_no_process(folder: SessionFolder, content: str) -> None:
    (folder.path / "pid").write_bytes(content.encode("latin-1"))
    assert folder.pid() is None


def test_killing_ends_the_process(folder: SessionFolder, process: subprocess.Popen[bytes]) -> None:
    folder.kill()
    assert process.wait() == -signal.SIGKILL


def test_killing_never_hits_another_process(folder: SessionFolder) -> None:
    (folder.path / "pid").write_text(f"{os.getpid()} 1\n")
    folder.kill()
