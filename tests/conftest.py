"""What all tests share: sessions in a folder of their own, and what a failed one has said."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import hil_agent
from hil_agent.session import Session
from hil_agent.session.folder import SessionFolder

Boot = Callable[..., Session]

_TAIL = 6000
"""Bytes of each log that a failed test shows."""


@pytest.fixture(scope="session", autouse=True)
def runtime_base() -> Iterator[Path]:
    """The sessions of this test run live here. Short, as unix sockets are limited to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="hil-", dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:  # noqa: S108
        patch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def _boot_until(stack: ExitStack) -> Boot:
    def boot(board: str = "qemu-virt", **options: Any) -> Session:
        return stack.enter_context(hil_agent.boot(board, **options))

    return boot


@pytest.fixture
def boot() -> Iterator[Boot]:
    """Boots guests, as `hil_agent.boot` does, that are destroyed when the test is over."""
    with ExitStack() as stack:
        yield _boot_until(stack)


@pytest.fixture(scope="module")
def boot_shared() -> Iterator[Boot]:
    """Boots guests that the tests of a module share."""
    with ExitStack() as stack:
        yield _boot_until(stack)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the last lines of every live session's logs to the report of a test that failed."""
    report = yield
    base = Path(os.environ.get("XDG_RUNTIME_DIR", ""), "hil-agent")
    if report.failed and item.get_closest_marker("e2e") and base.is_dir():
        for folder in SessionFolder.all():
            for log in (folder.console_log, folder.journal, folder.session_log):
                if log.exists():
                    tail = log.read_bytes()[-_TAIL:].decode(errors="replace")
                    report.sections.append((f"{folder.name}: {log.name}", tail))
    return report
