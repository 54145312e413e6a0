"""The folder of a session: where it is found, and what is left of it.

::

    NAME/   plan.json      what was booted, with which device-tree.dtb
            pid            the session's process, with its start time
            control.sock   see docs/control-protocol.md
            gdb.sock       for debuggers
            console.sock   console.log   journal.jsonl   session.log
            ...            sockets and logs of the board's kind
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hil_agent.errors import HostError, NotFoundError, UsageError
from hil_agent.resources import runtime_folder
from hil_agent.suggest import suggest

_LONGEST = 48
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{_LONGEST - 1}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SessionFolder:
    """One session's folder, whether or not the session lives."""

    path: Path

    @classmethod
    def create(cls, name: str) -> SessionFolder:
        """Takes a name.

        Raises:
            UsageError: the name is in use, or cannot be one.
            HostError: the folder cannot be made.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be the name of a session",
                hint=f"letters, digits, '.', '_', '-'; a letter or a digit first; {_LONGEST} at most",
            )
        folder = cls(runtime_folder() / name)
        if not folder._make():
            raise UsageError(
                f"a session called {name!r} exists", hint=f"hil-agent destroy {name}, or another --name"
            )
        return folder

    @classmethod
    def create_numbered(cls, base: str) -> SessionFolder:
        """Takes the name ``base``, or the first of ``base-2``, ``base-3`` ... that is free.

        Raises:
            HostError: the folder cannot be made.
        """
        base = base[: _LONGEST - 4]
        names = (base if number == 1 else f"{base}-{number}" for number in itertools.count(1))
        folders = (cls(runtime_folder() / name) for name in names)
        return next(folder for folder in folders if folder._make())

    @classmethod
    def find(cls, name: str) -> SessionFolder:
        """The folder of a session that exists.

        Raises:
            NotFoundError: there is none of that name.
        """
        known = {folder.name: folder for folder in cls.all()}
        if name not in known:
            raise NotFoundError(f"no session is called {name!r}", hint=suggest(name, known))
        return known[name]

    @classmethod
    def all(cls) -> Iterator[SessionFolder]:
        """Every session's folder, by name."""
        for path in sorted(runtime_folder().iterdir()):
            if path.is_dir() and _NAME.fullmatch(path.name):
                yield cls(path)

    @property
    def name(self) -> str:
        """The session's name."""
        return self.path.name

    @property
    def control_socket(self) -> Path:
        """Where the session listens."""
        return self.path / "control.sock"

    @property
    def gdb_socket(self) -> Path:
        """Where debuggers attach."""
        return self.path / "gdb.sock"

    @property
    def console_socket(self) -> Path:
        """Where the guest's console can be joined."""
        return self.path / "console.sock"

    @property
    def console_log(self) -> Path:
        """All that the guest has said, from the first byte."""
        return self.path / "console.log"

    @property
    def journal(self) -> Path:
        """Every event, a line of JSON each."""
        return self.path / "journal.jsonl"

    @property
    def session_log(self) -> Path:
        """What the session's process has to say about itself."""
        return self.path / "session.log"

    @property
    def plan(self) -> Path:
        """What was booted."""
        return self.path / "plan.json"

    @property
    def device_tree(self) -> Path:
        """The device tree that the guest was given."""
        return self.path / "device-tree.dtb"

    def _make(self) -> bool:
        """Makes the folder; False if it is there already."""
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            return False
        except OSError as error:
            raise HostError(f"cannot create {self.path}: {error.strerror}") from error
        return True

    def claim(self) -> None:
        """Notes that this process is the session's."""
        pid = os.getpid()
        (self.path / "pid").write_text(f"{pid} {_start_time(pid)}\n")

    def pid(self) -> int | None:
        """The session's process if it lives. A process that merely got the same number is not it."""
        try:
            pid, started = (int(word) for word in (self.path / "pid").read_text().split())
        except (OSError, ValueError):
            return None
        return pid if _start_time(pid) == started else None

    def kill(self) -> None:
        """Ends the session's process at once, and with it the machine that it holds."""
        pid = self.pid()
        if pid is None:
            return
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            signal.pidfd_send_signal(process, signal.SIGKILL)
        finally:
            os.close(process)

    def remove(self) -> None:
        """Removes what the session has left; nothing if it is gone already."""
        shutil.rmtree(self.path, ignore_errors=False, onerror=_unless_gone)


def _unless_gone(_function: object, path: str, info: tuple[object, BaseException, object]) -> None:
    if not isinstance(info[1], FileNotFoundError):
        raise HostError(f"cannot remove {path}: {info[1]}") from info[1]


def _start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since the host's boot (proc(5), stat, field 22)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])
