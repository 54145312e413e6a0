from __future__ import annotations

import re
from pathlib import Path

import pytest

from hil_agent import host, resources
from hil_agent.errors import HostError
from hil_agent.host import PROGRAMS, Check, Program, check_host, check_program, require

QEMU = next(program for program in PROGRAMS if program.name == "qemu-system-aarch64")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in PATH, empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_a_program_is_found_where_path_has_it(programs: Path) -> None:
    path = put(programs, "gdb-multiarch", "exit 1")
    assert require("gdb-multiarch") == path


def test_a_missing_program_is_told_with_the_command_that_installs_it(programs: Path) -> None:
    with pytest.raises(HostError) as caught:
        require("aarch64-linux-gnu-as")
    assert caught.value.hint == (
        "install it: sudo apt-get install --no-install-recommends binutils-aarch64-linux-gnu"
    )


def test_a_program_of_the_users_own_is_only_said_to_be_missing(programs: Path) -> None:
    with pytest.raises(HostError, match=r"my-qemu$"):
        require("my-qemu")


def test_a_bare_host_lacks_every_program(programs: Path) -> None:
    lacking = {check.name for check in check_host() if not check.ok}
    assert lacking >= {program.name for program in PROGRAMS}


def test_the_version_is_read_from_the_program(programs: Path) -> None:
    put(programs, QEMU.name, "echo 'QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)'")
    check = check_program(QEMU)
    assert check.ok
    assert check.found.endswith("qemu-system-aarch64 10.0")


def test_a_program_too_old_is_told_with_the_packages_that_bring_a_newer_one(programs: Path) -> None:
    put(programs, QEMU.name, "echo 'QEMU emulator version 5.2.0'")
    check = check_program(QEMU)
    assert check.problem == "too old: 7.0 is the oldest that will do"
    assert "qemu-system-arm" in check.packages


@pytest.mark.parametrize("script", ["echo hello", "exit 1", "printf '\\377'"])
def test_a_program_that_tells_no_version_will_not_do(programs: Path, script: str) -> None:
    put(programs, QEMU.name, script)
    assert "does not say" in check_program(QEMU).problem


def test_a_program_that_cannot_run_will_not_do(programs: Path) -> None:
    path = put(programs, QEMU.name, "")
    path.write_bytes(b"\x7fELF")
    assert "cannot be run" in check_program(QEMU).problem


def test_a_wheel_needs_no_assembler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resources, "_WHEEL_DATA", tmp_path)
    assert not any("aarch64-linux-gnu" in check.name for check in check_host())


def test_a_program_that_no_package_brings_has_another_remedy(programs: Path) -> None:
    check = check_program(Program("apt-get", "fetches"))
    assert check.remedy
    assert not check.packages


def test_a_cache_folder_that_cannot_be_made_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert not named(check_host(), "cache folder").ok


def test_a_cache_folder_without_space_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_CACHE_SPACE", 1 << 80)
    assert "MiB free" in named(check_host(), "cache folder").problem


def test_make_looks_for_the_programs_that_packages_bring() -> None:
    makefile = Path(__file__).parent.parent.joinpath("Makefile").read_text()
    match = re.search(r"^PROGRAMS := (.*)$", makefile, re.MULTILINE)
    assert match is not None
    assert match[1].split() == [program.name for program in PROGRAMS if program.packages]
