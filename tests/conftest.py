"""What all tests share: sessions in a folder of their own, what a failed one has said, and a bare QEMU."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest

import hil_agent
from hil_agent.rsp import Client
from hil_agent.session import Session
from hil_agent.session.folder import SessionFolder

_TAIL = 6000
"""Bytes of each log that a failed test shows."""


@pytest.fixture(scope="session", autouse=True)
def runtime_base() -> Iterator[Path]:
    """The sessions of this test run live here. Short, as unix sockets are limited to 107 bytes."""
    with (
        tempfile.TemporaryDirectory(prefix="hil-", dir="/tmp") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


class Boot:
    """Boots guests, as `hil_agent.boot` does, that are destroyed at the end of the `with` block."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.sessions: list[Session] = []

    def __call__(self, board: str = "qemu-virt", **options: Any) -> Session:  # noqa: ANN401 - those of hil_agent.boot
        session = self._stack.enter_context(hil_agent.boot(board, **options))
        self.sessions.append(session)
        return session

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@pytest.fixture
def boot() -> Iterator[Boot]:
    """Boots guests for one test."""
    with Boot() as boot:
        yield boot


@pytest.fixture(scope="module")
def boot_shared() -> Iterator[Boot]:
    """Boots guests that the tests of a module share."""
    with Boot() as boot:
        yield boot


@pytest.fixture
def start_qemu() -> Iterator[Callable[..., Path]]:
    """Starts QEMU, stopped at reset, and gives the path of its stub's socket."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Path:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rsp-")))
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(folder / "gdb"))
            listener.listen()
            log = stack.enter_context((folder / "log").open("wb"))
            qemu = subprocess.Popen(
                [
                    "qemu-system-aarch64",
                    *("-machine", "virt", "-cpu", "cortex-a57", "-S", "-nodefaults", "-display", "none"),
                    *("-chardev", f"socket,id=stub,fd={listener.fileno()},server=on,wait=off"),
                    *("-gdb", "chardev:stub"),
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
            )
            stack.callback(qemu.wait)
            stack.callback(qemu.kill)
            return folder / "gdb"

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Connects a client, past its handshake, to a stub's unix socket."""
    with ExitStack() as stack:

        def open_client(path: Path, *, pipelining: bool = True) -> Client:
            connection = socket.socket(socket.AF_UNIX)
            client = stack.enter_context(Client(connection, timeout_s=10, pipelining=pipelining))
            connection.connect(str(path))
            client.handshake()
            return client

        yield open_client


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the last lines of a failed test's sessions' logs to its report."""
    report = yield
    if report.failed and item.get_closest_marker("e2e"):
        for folder in (
            _sessions(item) or SessionFolder.all()
        ):  # all, where a shared one has failed to be set up
            report.sections += _last_lines(folder)
    return report


def _sessions(item: pytest.Function) -> set[SessionFolder]:
    """The sessions that a test has among its fixtures."""
    fixtures = item.funcargs.values()
    sessions = [each for each in fixtures if isinstance(each, Session)]
    sessions += [session for each in fixtures if isinstance(each, Boot) for session in each.sessions]
    return {session.folder for session in sessions}


def _last_lines(folder: SessionFolder) -> Iterator[tuple[str, str]]:
    for log in (folder.console_log, folder.journal, folder.session_log):
        if log.exists():
            yield f"{folder.name}: {log.name}", log.read_bytes()[-_TAIL:].decode(errors="replace")
