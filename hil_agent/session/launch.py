"""Starts a session: its folder, its process, and the wait until the guest is up.

Until the guest is up the session belongs to whoever boots it: if that process ends, for whatever
reason, the session ends too and leaves nothing behind. A socket pair that only the two hold tells.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hil_agent.errors import HostError, InternalError, LinkError, TargetTimeout
from hil_agent.session.client import Session
from hil_agent.session.folder import SessionFolder
from hil_agent.session.plan import BootPlan
from hil_agent.session.protocol import decode_error
from hil_agent.session.state import State

RELEASE = b"release\n"
"""Said to the session when it is on its own."""

_SHOWN = 1500
"""Bytes of a log that a failure shows."""


def boot(
    plan: BootPlan, *, wait: bool = True, created: Callable[[SessionFolder], None] = lambda _: None
) -> Session:
    """Boots a guest.

    Args:
        plan: what, and on what.
        wait: until the guest is up; else only until the machine runs.
        created: told the session's folder once it is there, for those who show progress.

    Raises:
        UsageError: the plan cannot be carried out as it is; nothing is left behind.
        HostError: this host lacks something.
        TargetError: the guest did not come up; nothing is left behind.
    """
    if plan.name is None:
        folder = SessionFolder.create_numbered(plan.board.name)
        plan = plan.model_copy(update={"name": folder.name})
    else:
        folder = SessionFolder.create(plan.name)
    created(folder)
    session = Session(folder)
    ours, theirs = socket.socketpair()
    with ours:
        try:
            with theirs:
                _start(folder, plan, theirs)
            _wait_started(folder, ours)
            if wait:
                _wait_up(session, plan)
            ours.sendall(RELEASE)
        except BaseException:
            ours.close()
            session.destroy()
            raise
    return session


def _start(folder: SessionFolder, plan: BootPlan, owner: socket.socket) -> None:
    try:
        folder.plan.write_text(plan.model_dump_json(indent=2))
    except OSError as error:
        raise HostError(f"cannot write {folder.plan}: {error.strerror}") from error
    try:
        with folder.session_log.open("wb") as log:
            subprocess.Popen(
                [sys.executable, "-m", "hil_agent.session", str(folder.path), str(owner.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[owner.fileno()],
                start_new_session=True,
            )
    except OSError as error:
        what = error.filename or sys.executable
        raise HostError(f"the session's process cannot be started: {what}: {error.strerror}") from error


def _wait_started(folder: SessionFolder, ours: socket.socket) -> None:
    """Waits until the session says that it runs, or why not."""
    with ours.makefile("rb") as lines:
        said = lines.readline()
    if not said:
        raise LinkError(f"the session's process ended at once: {_tail(folder.session_log)}")
    answer = json.loads(said)
    if "error" in answer:
        error = decode_error(answer["error"])
        if isinstance(error, InternalError):  # the log will be gone with the session
            error.message += f"\n{_tail(folder.session_log)}"
        raise error


def _wait_up(session: Session, plan: BootPlan) -> None:
    try:
        if plan.halt:
            session.wait(State.STOPPED, timeout_s=plan.board.timeout_s)
        else:
            session.wait_ready(timeout_s=plan.board.timeout_s)
    except TargetTimeout as error:
        calls, said = session.status().calls, _tail(session.folder.console_log)
        raise TargetTimeout(
            f"the guest did not come up within {plan.board.timeout_s:g} s ({calls} PSCI calls seen); "
            + (f"the last on its console:\n{said}" if said else "it has said nothing on its console"),
            hint="--timeout gives it longer, --until says what to wait for, --no-wait waits for nothing",
        ) from error


def _tail(log: Path) -> str:
    try:
        said = log.read_bytes()[-_SHOWN:]
    except OSError:
        return ""
    return said.decode(errors="replace").replace("\r", "").strip()
