from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from hil_agent.cli.doctor import doctor
from hil_agent.cli.output import run
from hil_agent.host import PROGRAMS


@pytest.fixture
def bare_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def whole_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with all programs, each of which says that it is QEMU 7.2."""
    for program in PROGRAMS:
        (tmp_path / program.name).write_text("#!/bin/sh\necho QEMU emulator version 7.2.0\n")
        (tmp_path / program.name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("whole_host")
def test_a_host_that_has_everything_is_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(doctor, []) == 0
    assert "mend" not in capsys.readouterr().out


@pytest.mark.usefixtures("whole_host")
def test_installing_does_nothing_where_nothing_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(doctor, ["--install", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"]
    assert report["install"] is None


@pytest.mark.usefixtures("bare_host")
def test_a_bare_host_is_status_5_and_told_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(doctor, []) == 5
    assert "sudo apt-get install --no-install-recommends qemu-system-arm" in capsys.readouterr().out


@pytest.mark.usefixtures("bare_host")
def test_the_document_has_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(doctor, ["--json"]) == 5
    report = json.loads(capsys.readouterr().out)
    missing = {check["name"] for check in report["checks"] if not check["ok"]}
    assert not report["ok"]
    assert "gdb-multiarch" in missing
    assert report["install"].count("binutils-aarch64-linux-gnu") == 1


@pytest.mark.usefixtures("bare_host")
def test_installing_without_rights_is_status_5(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run(doctor, ["--install"]) == 5
    assert "sudo apt-get install" in capsys.readouterr().err
