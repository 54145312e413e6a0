"""The guest's memory as an ELF core."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

from hil_agent.errors import FileError
from hil_agent.session import Session

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]

_MEMORY = 256 << 20


@pytest.fixture(scope="module")
def session(boot_shared: Boot) -> Session:
    return boot_shared("qemu-virt", memory="256M", cpus=2)


def test_a_core_has_all_memory_and_every_vcpu_and_the_guest_goes_on(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "memory.core"
    session.dump(path)
    with path.open("rb") as file:
        core = ELFFile(file)
        loaded = sum(each["p_memsz"] for each in core.iter_segments("PT_LOAD"))
        (notes,) = core.iter_segments("PT_NOTE")
        assert isinstance(notes, NoteSegment)
        states = [note for note in notes.iter_notes() if note["n_type"] == "NT_PRSTATUS"]
    assert (core["e_type"], core["e_machine"]) == ("ET_CORE", "EM_AARCH64")
    assert loaded >= _MEMORY
    assert len(states) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert session.exec("echo on").text == "on"


def test_a_suspended_guest_is_dumped_and_resumes(session: Session, tmp_path: Path) -> None:
    session.suspend()
    session.dump(tmp_path / "memory.core")
    session.resume()
    assert session.exec("echo on").text == "on"


def test_a_file_that_exists_is_not_overwritten(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "memory.core"
    path.write_text("mine")
    with pytest.raises(FileError, match="File exists"):
        session.dump(path)
    assert path.read_text() == "mine"
