from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from hil_agent.errors import HostError
from hil_agent.install import install, parse_status

APT_GET = """#!/bin/sh
cd "$(dirname "$0")" || exit
echo "$DEBIAN_FRONTEND $*" >> calls
case "$*" in *Status-Fd=3*) echo "pmstatus:gdb:12.5000:Unpacking gdb" >&3 ;; esac
echo "W: said in passing"
test -e works && exit
case "$*" in
  *update*) test -e updates && touch works ;;
  *) echo "E: Unable to locate package" >&2; exit 100 ;;
esac
"""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an apt-get that fails, until ``works`` is there; with ``updates``, an update helps."""
    program = tmp_path / "apt-get"
    program.write_text(APT_GET)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def verbs(apt: Path) -> list[str]:
    """What apt-get was told to do, in order."""
    return [line.split(maxsplit=1)[1].rpartition("=")[2].split(maxsplit=1)[1] for line in calls(apt)]


def calls(apt: Path) -> list[str]:
    return (apt / "calls").read_text().splitlines()


def quietly(doing: str, percent: float) -> None:
    pass


def test_packages_are_installed_without_an_update_if_that_works(apt: Path) -> None:
    (apt / "works").touch()
    install(["gdb-multiarch", "make"], quietly)
    assert verbs(apt) == ["install gdb-multiarch make"]


def test_package_lists_are_fetched_when_they_are_lacking(apt: Path) -> None:
    (apt / "updates").touch()
    install(["make"], quietly)
    assert verbs(apt) == ["install make", "update", "install make"]


def test_apt_asks_no_questions(apt: Path) -> None:
    (apt / "works").touch()
    install(["make"], quietly)
    assert calls(apt)[0].startswith("noninteractive ")
    assert "--yes" in calls(apt)[0]


def test_progress_is_told(apt: Path) -> None:
    (apt / "works").touch()
    told: list[tuple[str, float]] = []
    install(["gdb"], lambda doing, percent: told.append((doing, percent)))
    assert told == [("Unpacking gdb", 12.5)]


def test_a_failure_tells_what_apt_said(apt: Path) -> None:
    with pytest.raises(HostError) as caught:
        install(["make"], quietly)
    assert "Unable to locate package" in str(caught.value.hint)


def test_sudo_is_used_where_it_asks_nothing(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (apt / "works").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    sudo = apt / "sudo"
    sudo.write_text('#!/bin/sh\ntouch "$(dirname "$0")/asked"\ntest "$1" = -n && shift\nexec "$@"\n')
    sudo.chmod(0o755)
    install(["make"], quietly)
    assert (apt / "asked").exists()
    assert verbs(apt) == ["install make"]


def test_without_rights_the_command_is_told(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    (apt / "sudo").write_text("#!/bin/sh\nexit 1\n")
    (apt / "sudo").chmod(0o755)
    with pytest.raises(HostError) as caught:
        install(["make"], quietly)
    assert "sudo apt-get install --no-install-recommends make" in str(caught.value.hint)
    assert not (apt / "calls").exists()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (
            "pmstatus:qemu-system-arm:45.5000:Unpacking qemu-system-arm (amd64)\n",
            ("Unpacking qemu-system-arm (amd64)", 45.5),
        ),
        ("dlstatus:1:20:Retrieving file 1 of 5", ("Retrieving file 1 of 5", 20.0)),
        ("Setting up make ...", None),
        ("pmerror:make:10:dpkg: error", None),
        ("pmstatus:make:lots:of it", None),
    ],
)
def test_status_lines_are_told_from_others(line: str, status: tuple[str, float] | None) -> None:
    assert parse_status(line) == status
