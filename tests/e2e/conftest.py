"""Real guests on real QEMU: how to look at them from inside, and that none outlives its test."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hil_agent.guest import catalogue, image
from hil_agent.guest.image import GuestImage
from hil_agent.session import Session
from hil_agent.session.client import ExecResult
from hil_agent.session.documents import Context, TraceRecord
from hil_agent.session.folder import SessionFolder

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Assemble = Callable[..., Path]

_END_S = 5.0


# ------------------------------------------------------------------- nothing outlives a test


def _processes(base: Path) -> set[int]:
    """Whatever this test run has started, directly or not: its environment names our runtime folder."""
    mark = f"XDG_RUNTIME_DIR={base}".encode()
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.add(int(process.name))
        except OSError:
            continue  # ended meanwhile, or another user's
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
    except OSError:
        return ""


def _wait_end(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([process], [], [], _END_S)
    os.close(process)


@pytest.fixture(scope="module", autouse=True)
def nothing_left_by_module(runtime_base: Path) -> Iterator[None]:
    """Fails a module that leaves a process or a session's folder."""
    yield from _nothing_left(runtime_base)


@pytest.fixture(autouse=True)
def nothing_left(nothing_left_by_module: None, runtime_base: Path) -> Iterator[None]:
    """Fails a test that leaves a process or a folder, but for what was there before it."""
    yield from _nothing_left(runtime_base)


def _nothing_left(base: Path) -> Iterator[None]:
    processes_before, folders_before = _processes(base), set(SessionFolder.all())
    yield
    for pid in _processes(base) - processes_before:
        _wait_end(pid)
    processes = [f"{pid}: {_command(pid)}" for pid in _processes(base) - processes_before]
    folders = set(SessionFolder.all()) - folders_before
    for folder in folders:
        Session(folder).destroy()  # so that only this test fails
    assert (processes, folders) == ([], set())


# ------------------------------------------------------------------------------- guests


@pytest.fixture(scope="session")
def linux() -> GuestImage:
    """The catalogue's Linux, from the user's cache."""
    return image.build(catalogue.find("linux-minimal"), lambda _step, _fraction: None)


@pytest.fixture(scope="session")
def assemble(tmp_path_factory: pytest.TempPathFactory) -> Assemble:
    """Assembles a bare-metal guest for ``address``, with ``symbols`` defined: a flat binary, or ELF."""
    folder = tmp_path_factory.mktemp("guests")

    def run(*command: str) -> None:
        subprocess.run([f"aarch64-linux-gnu-{command[0]}", *command[1:]], check=True)

    def assemble(name: str, address: int, *, elf: bool = False, **symbols: int) -> Path:
        source = Path(__file__).parent / "guests" / f"{name}.S"
        built = folder / name
        given = [word for symbol, value in symbols.items() for word in ("--defsym", f"{symbol}={value}")]
        run("as", "-I", str(source.parent), *given, "-o", f"{built}.o", str(source))
        run("ld", f"-Ttext={address:#x}", "-e", "_start", "-o", f"{built}.elf", f"{built}.o")
        run("objcopy", "-O", "binary", f"{built}.elf", f"{built}.bin")
        return built.with_suffix(".elf" if elf else ".bin")

    return assemble


# ------------------------------------------------------------------------- suspend, resume


@dataclass(frozen=True)
class Cycle:
    """One suspend and resume of a Linux guest, from all sides.

    Attributes:
        context: what SYSTEM_SUSPEND left behind.
        command: how the suspending command ended.
        successes: the guest's own count of good suspends, before and after.
        kernel_log: what its kernel said since.
        calls: what was trapped since.
    """

    context: Context
    command: ExecResult
    successes: tuple[int, int]
    kernel_log: str
    calls: list[TraceRecord]


def _successes(session: Session) -> int:
    return int(session.exec("cat /sys/power/suspend_stats/success").text)


def _cycle(session: Session) -> Cycle:
    """Suspends a guest and resumes it by command."""
    before, calls = _successes(session), len(session.trace())
    session.exec("dmesg -c")
    context = session.suspend()
    session.resume()
    command = session.settle()
    assert command is not None
    kernel_log = session.exec("dmesg").text
    return Cycle(context, command, (before, _successes(session)), kernel_log, session.trace()[calls:])


@pytest.fixture(scope="session")
def cycle() -> Callable[[Session], Cycle]:
    """Suspends a Linux guest and resumes it by command."""
    return _cycle


# ------------------------------------------------------------------------- command line


@pytest.fixture(scope="session")
def hil_agent() -> str:
    """The path of the program."""
    return str(Path(sys.executable).with_name("hil-agent"))


@pytest.fixture(scope="session")
def hil_agent_command(hil_agent: str) -> CommandLine:
    """Runs `hil-agent` in a process of its own; ``environment`` adds to ours."""

    def run(
        *arguments: str | Path, environment: dict[str, str] | None = None, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [hil_agent, *map(str, arguments)],
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    return run
