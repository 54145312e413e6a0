"""What all tests share: sessions in a folder of their own, and what a failed one has said."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest

import hil_agent
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
