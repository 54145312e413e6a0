"""The Python API of a live session; the command line uses nothing else.

Every call is a connection of its own, so that one thread can wait for a command in the guest while
another resumes it.
"""

from __future__ import annotations

import base64
import contextlib
import os
import select
import socket
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from hil_agent.errors import FileError, LinkError, ProtocolError
from hil_agent.session.documents import Context, Status, SuspendRegisters, TraceRecord
from hil_agent.session.folder import SessionFolder
from hil_agent.session.protocol import PROTOCOL, Json, decode, decode_error, encode
from hil_agent.session.state import State

DEFAULT_SUSPEND = "echo mem > /sys/power/state"
_GREETING_S = 5.0

_GRACE_S = 30.0
"""Seconds that a session has for an answer, besides those that the request itself may take."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command in the guest said and how it ended.

    Attributes:
        output: standard output and standard error together, as bytes.
        status: exit status, 128 + N after signal N.
    """

    output: bytes
    status: int

    @property
    def text(self) -> str:
        """The output as text, without white space at its end."""
        return self.output.decode(errors="replace").rstrip()


class Session:
    """A live session. As a context manager it destroys the session at the end.

    Raises, from every method:
        NotFoundError: the session is gone.
        LinkError: its process died.
    """

    def __init__(self, folder: SessionFolder) -> None:
        self.folder = folder

    @classmethod
    def find(cls, name: str) -> Self:
        """The session of that name.

        Raises:
            NotFoundError: there is none.
        """
        return cls(SessionFolder.find(name))

    @property
    def name(self) -> str:
        """The session's name."""
        return self.folder.name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def status(self) -> Status:
        """Everything about the session; of one that cannot be asked, what is known of it."""
        try:
            return Status.model_validate(self._ask("status"))
        except LinkError as error:
            starting = self.folder.pid() is not None and not self.folder.control_socket.exists()
            board, guest = self._plan()
            return Status(
                name=self.name,
                board=str(board.get("name")),
                guest=str(guest.get("name")),
                state=State.BOOTING if starting else State.CRASHED,
                reason=None if starting else error.message,
                profile=str(board.get("profile")),
                trap=str(board.get("trap")),
                console_log=self.folder.console_log,
                pid=self.folder.pid(),
            )

    def exec(self, command: str, *, timeout_s: float = 60.0) -> ExecResult:
        """Runs a shell command in the guest.

        Args:
            command: for the guest's POSIX shell; its standard input is empty.
            timeout_s: seconds that it has; then it is interrupted.

        Raises:
            TargetTimeout: it did not end in time.
            GuestError: the guest crashed meanwhile, or has no shell.
        """
        result = self._ask("exec", command=command, timeout_s=timeout_s)
        return ExecResult(base64.b64decode(result["output"]), result["status"])

    def push(self, source: Path | str, destination: str, *, timeout_s: float = 300.0) -> None:
        """Copies a file into the guest, permissions included.

        Args:
            source: file on this host.
            destination: file in the guest, or a folder there.
            timeout_s: seconds that it may take.

        Raises:
            FileError: the source cannot be read.
            GuestError: the guest cannot write it.
        """
        source = Path(source)
        try:
            data, mode = source.read_bytes(), source.stat().st_mode & 0o777
        except OSError as error:
            raise FileError(f"cannot be read: {error.strerror}", path=source) from error
        encoded = base64.b64encode(data).decode()
        self._ask(
            "push",
            data=encoded,
            destination=destination,
            name=source.name,
            mode=mode,
            timeout_s=timeout_s,
        )

    def pull(self, source: str, destination: Path | str, *, timeout_s: float = 300.0) -> None:
        """Copies a file out of the guest; the destination appears whole or not at all.

        Raises:
            GuestError: the guest cannot read it.
            FileError: the destination cannot be written.
        """
        data = base64.b64decode(self._ask("pull", source=source, timeout_s=timeout_s))
        destination = Path(destination)
        if destination.is_dir():
            destination /= Path(source).name
        partial = destination.with_name(f".{destination.name}.{os.getpid()}")
        try:
            partial.write_bytes(data)
            partial.replace(destination)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise FileError(f"cannot be written: {error.strerror}", path=destination) from error

    def suspend(self, command: str = DEFAULT_SUSPEND, *, timeout_s: float = 60.0) -> Context:
        """Has the guest suspend; returns when SYSTEM_SUSPEND was trapped and accepted.

        Args:
            command: what to run in the guest; it ends only after the resume.
            timeout_s: seconds until then.

        Raises:
            GuestError: the command ended without a suspend: the guest refused.
            StateError: the guest is suspended already.
            TargetTimeout: neither happened in time.
        """
        return Context.model_validate(self._ask("suspend", command=command, timeout_s=timeout_s))

    def suspend_by_host(self) -> None:
        """Holds the guest where it is, without a call of its own, as Xen's SCHEDOP_shutdown does.

        Raises:
            StateError: the guest does not run.
        """
        self._ask("suspend_by_host")

    def resume(self, *, answer: str | None = None) -> None:
        """Resumes the guest; returns when the vCPU has left EL2 for the entry point.

        Args:
            answer: name of a return code, such as ``DENIED``: the suspend is abandoned, and the
                guest's call returns with it.

        Raises:
            StateError: the guest is not suspended; nothing was changed.
            UsageError: there is no such code.
        """
        self._ask("resume", answer=answer)

    def set_context(self, *, entry_point: int | None = None, context_id: int | None = None) -> None:
        """Changes the resume context for the next resume; what is None stays.

        Args:
            entry_point: 64-bit physical address; it is not checked.
            context_id: 64 bits.

        Raises:
            StateError: there is none.
        """
        self._ask("set_context", entry_point=entry_point, context_id=context_id)

    def wait(self, state: State, *, timeout_s: float = 60.0) -> None:
        """Waits until the session is in a state.

        Raises:
            TargetTimeout: it was not in time.
            GuestError: the guest has ended in another one.
        """
        self._ask("wait", state=state.value, timeout_s=timeout_s)

    def wait_ready(self, *, timeout_s: float = 60.0) -> None:
        """Waits until the guest has come up, whatever it does then.

        Raises:
            TargetTimeout: it has not in time.
            GuestError: it has ended before.
        """
        self._ask("wait_ready", timeout_s=timeout_s)

    def settle(self, *, timeout_s: float = 60.0) -> ExecResult | None:
        """Waits for the command that :meth:`suspend` started, which ends after the resume.

        Returns:
            what it said and its exit status; None if there was none.
        """
        result = self._ask("settle", timeout_s=timeout_s)
        return ExecResult(base64.b64decode(result["output"]), result["status"]) if result else None

    def context(self) -> Context | None:
        """The resume context; None if the guest is not suspended."""
        return self.status().context

    def registers(self) -> SuspendRegisters:
        """Every register that the stub offers at the last suspend, and what had changed after its resume."""
        return SuspendRegisters.model_validate(self._ask("registers"))

    def read_memory(self, address: int, length: int) -> bytes:
        """Reads the guest's physical memory, with the machine stopped for a moment.

        Args:
            address: 64-bit physical address.
            length: bytes, 1 MiB at most.

        Raises:
            ProtocolError: there is no memory.
        """
        return base64.b64decode(self._ask("read_memory", address=address, length=length))

    def clear_context(self) -> None:
        """Drops the resume context: the next resume returns from the call instead.

        Raises:
            StateError: there is none.
        """
        self._ask("clear_context")

    def trace(self) -> list[TraceRecord]:
        """Every trapped call so far; of a very long session the newest twenty thousand."""
        return [TraceRecord.model_validate(item) for item in self._stream("trace", follow=False)]

    def follow(self) -> Iterator[TraceRecord]:
        """Every trapped call so far and from now on, until the session ends."""
        for item in self._stream("trace", follow=True):
            yield TraceRecord.model_validate(item)

    def dump(self, path: Path | str, *, timeout_s: float = 300.0) -> None:
        """Writes the guest's RAM and its vCPUs' registers into an ELF core (0600); it stands meanwhile.

        Args:
            path: file on the session's host, which must not exist.
            timeout_s: seconds that it may take.

        Raises:
            FileError: it cannot be created.
            TargetError: it cannot be written.
        """
        self._ask("dump", path=str(Path(path).absolute()), timeout_s=timeout_s)

    def reset(self, *, timeout_s: float = 60.0) -> None:
        """Resets the machine, and waits until the guest is up again."""
        self._ask("reset", timeout_s=timeout_s)

    def destroy(self) -> None:
        """Ends the session and removes all that it left, whatever state it is in. Twice does no harm."""
        pid = self.folder.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                process = os.pidfd_open(pid)
                try:
                    with contextlib.suppress(LinkError, ProtocolError):
                        self._ask("destroy")
                    if not select.select([process], [], [], _GREETING_S)[0]:
                        self.folder.kill()
                        select.select([process], [], [])
                finally:
                    os.close(process)
        self.folder.remove()

    # ------------------------------------------------------------------------- within

    def _ask(self, method: str, **params: Json) -> Json:
        """The result of a method that streams nothing."""
        stream = self._stream(method, **params)
        while True:
            try:
                next(stream)
            except StopIteration as end:
                return end.value

    def _stream(self, method: str, **params: Json) -> Generator[Json, None, Json]:
        """Yields the items of a method, and returns its result."""
        with self._connect() as connection, connection.makefile("rb") as lines:
            connection.settimeout(_GREETING_S)
            greeting = self._read(lines)
            if greeting.get("protocol") != PROTOCOL:
                raise ProtocolError(
                    f"session {self.name} speaks version {greeting.get('protocol')} of the control protocol, "
                    f"not {PROTOCOL}",
                    hint="it was booted by another version of hil-agent: use that one",
                )
            limit: float = params.get("timeout_s", 0.0) + _GRACE_S
            connection.settimeout(None if params.get("follow") else limit)
            connection.sendall(encode({"id": 1, "method": method, "params": params}))
            while True:
                message = self._read(lines)
                if "error" in message:
                    raise decode_error(message["error"])
                if "item" not in message:
                    return message.get("result")
                yield message["item"]

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self.folder.control_socket))
        except OSError as error:
            connection.close()
            SessionFolder.find(self.name)  # gone altogether?
            raise self._lost() from error
        return connection

    def _read(self, lines: BinaryIO) -> dict[str, Json]:
        try:
            line = lines.readline()
        except TimeoutError:
            raise LinkError(
                f"the process of session {self.name} does not answer",
                hint=f"hil-agent destroy {self.name} ends it",
            ) from None
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise self._lost()
        return decode(line)

    def _lost(self) -> LinkError:
        return LinkError(
            f"the process of session {self.name} is gone",
            hint=f"hil-agent destroy {self.name} removes what is left",
        )

    def _plan(self) -> tuple[dict[str, Json], dict[str, Json]]:
        """Board and guest as they were planned, as far as that was written down already."""
        try:
            plan = decode(self.folder.plan.read_bytes())
        except (OSError, ProtocolError):
            plan = {}
        return plan.get("board", {}), plan.get("guest", {})
