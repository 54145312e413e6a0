"""Runs commands and moves files through the POSIX shell that listens on the guest's console."""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from hil_agent.console.cancel import Cancellation, Cancelled
from hil_agent.console.channel import Channel, GuestDied
from hil_agent.console.dialogue import Dialogue
from hil_agent.console.helper import NAME, Helper
from hil_agent.errors import GuestError, LinkError, StateError, TargetTimeout

#: Seconds in which the shell must take a command, besides the command's own time.
START_TIMEOUT_S = 30.0


# Seconds for the prompt to come back.
_LEAVE_S = 10.0

# Ctrl-K and Ctrl-U drop what is typed already, after and before the cursor, without running it.
_DROP_LINE = b"\x0b\x15"
# Ctrl-C, again since a process may just be starting, and Ctrl-\, with the seconds to wait for each.
_INTERRUPTS = ((b"\x03", 0.5), (b"\x03", 2.5), (b"\x1c", 3.0))

_SHOWN_BYTES = 2000


# See Shell.push; the helper's folder has the data. An existing file stays what it is: a link, a device.
_STORE = """\
to={destination}
[ -d "$to" ] && to=$to/{name}
data=${{0%/*}}/data
if [ -e "$to" ]; then cat "$data" >"$to"; else mv -- "$data" "$to"; fi {chmod}
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command did.

    Attributes:
        stdout: its standard output and standard error, in the order written.
        status: its exit status, 0 to 255; 128 + n when signal n killed it.
    """

    stdout: bytes
    status: int


class Shell:
    """A POSIX shell at the other end of a console: busybox ash, dash or bash, as interactive as it likes.

    Commands run one at a time, each in a shell process of its own, with the interactive shell's folder and
    exported variables, and with standard input from ``/dev/null``. Not for use by two threads at once.

    Args:
        stream: a client of the console, from ``ConsoleHub.attach``; the caller closes it.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._channel = Channel(stream)
        self._busy = False

    def sync(self, timeout_s: float, *, cancel: Cancellation | None = None) -> None:
        """Waits until a shell listens at its prompt. A line that is half typed there is dropped.

        Args:
            timeout_s: seconds to wait.
            cancel: ends the wait when set.

        Raises:
            TargetTimeout: no shell has answered.
            GuestDied: the guest panicked or booted anew meanwhile.
            LinkError: the console is closed.
            Cancelled: ``cancel`` was set.
        """
        with self._channel.cancelled_by(cancel):
            self._await_prompt(Dialogue(self._channel), time.monotonic() + timeout_s)

    def start(self, command: str) -> Job:
        """Starts a command.

        Args:
            command: a shell script, of any length and with any characters.

        Returns:
            The running command. Wait for it or close it before anything else is done with the shell.

        Raises:
            StateError: another command is running.
            GuestError: the guest lacks what is needed to run a command.
            TargetError: as ``sync`` does.
        """
        return self._start(command, {}, START_TIMEOUT_S)

    def exec(self, command: str, timeout_s: float = 60.0, *, cancel: Cancellation | None = None) -> Result:
        """Runs a command: ``start`` and ``Job.wait`` in one, both ended by ``cancel``."""
        return self._run(command, {}, START_TIMEOUT_S, timeout_s, cancel)

    def type_line(self, command: str, timeout_s: float, *, cancel: Cancellation | None = None) -> Result:
        """Types a command at the prompt, as a person would, and waits for its end.

        That takes the guest a fraction of what ``exec`` does. The output is what can be seen on the console,
        the kernel's messages without a time stamp among it.

        Args:
            command: one line of shell.
            timeout_s: seconds that it may take.
            cancel: interrupts it when set.

        Raises:
            TargetTimeout: it took longer, and was sent Ctrl-C.
            TargetError: as ``sync`` does.
        """
        deadline = time.monotonic() + timeout_s
        nonce = secrets.token_hex(4)
        mark = re.compile(rb"=%s\.(\d{1,3}):;" % nonce.encode())
        try:
            with self._channel.cancelled_by(cancel):
                line = f" ({command}\n) ; echo =''{nonce}.$?:';'\n"
                self._channel.send(_DROP_LINE + line.encode(), deadline)
                found = self._channel.expect(mark, until=deadline, settled=deadline)
        except Cancelled:
            self._channel.send(_INTERRUPTS[0][0], time.monotonic() + START_TIMEOUT_S)
            raise
        if found is None:
            self._channel.send(_INTERRUPTS[0][0], time.monotonic() + START_TIMEOUT_S)
            raise TargetTimeout(f"the guest's command did not end within {timeout_s:g} s")
        before, match = found
        output = before.rpartition(b"$?:';'")[2]  # behind the echo of what was typed
        return Result(output.replace(b"\r", b"").lstrip(b"\n"), int(match[1]))

    def push(
        self,
        data: bytes,
        destination: str,
        *,
        name: str = "",
        mode: int | None = None,
        timeout_s: float = 600.0,
        cancel: Cancellation | None = None,
    ) -> None:
        """Copies a file into the guest.

        Args:
            data: what is in it.
            destination: file in the guest, or with a ``name`` also a folder there.
            name: what it is called in a folder.
            mode: permission bits to set.
            timeout_s: seconds that it may take.
            cancel: ends it when set.

        Raises:
            GuestError: the guest cannot store it; with the guest's own message.
            TargetError: as ``sync`` does.
        """
        command = _STORE.format(
            destination=shlex.quote(destination),
            name=shlex.quote(name),
            chmod="" if mode is None else f'&& chmod {mode:o} -- "$to"',
        )
        result = self._run(command, {"data": data}, timeout_s, timeout_s, cancel)
        if result.status:
            raise GuestError(f"the guest cannot store {destination}: {_message(result)}")

    def pull(self, source: str, *, timeout_s: float = 600.0, cancel: Cancellation | None = None) -> bytes:
        """Copies a file out of the guest.

        Args:
            source: file in the guest.
            timeout_s: seconds that it may take.
            cancel: ends it when set.

        Returns:
            What is in the file.

        Raises:
            GuestError: the guest cannot read it; with the guest's own message.
            TargetError: as ``sync`` does.
        """
        result = self.exec(f"cat -- {shlex.quote(source)}", timeout_s, cancel=cancel)
        if result.status:
            raise GuestError(f"the guest cannot read {source}: {_message(result)}")
        return result.stdout

    def _run(
        self,
        command: str,
        files: dict[str, bytes],
        start_timeout_s: float,
        timeout_s: float,
        cancel: Cancellation | None,
    ) -> Result:
        with self._channel.cancelled_by(cancel):
            job = self._start(command, files, start_timeout_s)
        return job.wait(timeout_s, cancel=cancel)

    def _start(self, command: str, files: dict[str, bytes], timeout_s: float) -> Job:
        if self._busy:
            raise StateError("the guest's shell is busy with another command")
        deadline = time.monotonic() + timeout_s
        with contextlib.ExitStack() as stack:
            helper = stack.enter_context(self._helper(deadline))
            for name, data in {**files, "command": command.encode()}.items():
                helper.put(name, data, deadline)
            helper.start(deadline)
            return Job(self._channel, helper, stack.pop_all())

    @contextlib.contextmanager
    def _helper(self, deadline: float) -> Iterator[Helper]:
        """A helper in the guest; afterwards the prompt is there again."""
        dialogue = Dialogue(self._channel)
        self._await_prompt(dialogue, deadline)
        helper = Helper(dialogue)
        self._busy = True
        gone = False
        try:
            helper.enter(deadline)
            yield helper
        except (GuestDied, LinkError):
            gone = True
            raise
        finally:
            self._busy = False
            if not gone:
                # A shell that does not come back is what the next command will find and say.
                with contextlib.suppress(TargetTimeout), self._channel.cancelled_by(None):
                    deadline = time.monotonic() + _LEAVE_S
                    if not helper.leave(deadline):
                        self._await_prompt(dialogue, deadline)

    def _await_prompt(self, dialogue: Dialogue, deadline: float) -> None:
        def probe(number: int) -> bytes:
            return _DROP_LINE + f" : {NAME}; echo =''{dialogue.nonce}.{number}:';'\n".encode()

        dialogue.ask(probe, deadline=deadline)


class Job:
    """A command that runs in the guest. ``wait`` ends it in any case; so does ``close``, by force."""

    def __init__(self, channel: Channel, helper: Helper, stack: contextlib.ExitStack) -> None:
        self._channel = channel
        self._helper = helper
        self._stack = stack
        self._done = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self, timeout_s: float, *, cancel: Cancellation | None = None) -> Result:
        """Waits for the command to end.

        Args:
            timeout_s: seconds that it may take, the transfer of its output included.
            cancel: interrupts the command when set.

        Raises:
            TargetTimeout: it took longer, and was interrupted.
            Cancelled: ``cancel`` was set, and it was interrupted.
            GuestDied: the guest panicked or booted anew meanwhile.
            LinkError: the console was closed.
            StateError: the command was waited for already.
        """
        if self._done:
            raise StateError("this command was waited for already")
        self._done = True
        deadline = time.monotonic() + timeout_s
        with self._stack:
            try:
                with self._channel.cancelled_by(cancel):
                    outcome = self._helper.wait(deadline)
                    return Result(self._helper.fetch(outcome, deadline), outcome.status)
            except TargetTimeout as error:
                raise TargetTimeout(
                    f"the guest's command did not end within {timeout_s:g} s{self._interrupt()}"
                ) from error
            except Cancelled as error:
                raise Cancelled(f"the guest's command was cancelled{self._interrupt()}") from error
            except KeyboardInterrupt:
                self._interrupt()
                raise

    def close(self) -> None:
        """Interrupts the command if nobody has waited for it. A second call does nothing."""
        if not self._done:
            self._done = True
            with self._stack:
                self._interrupt()

    def _interrupt(self) -> str:
        """Makes the command end, by the terminal's signals; returns what is worth saying about it."""
        for key, patience_s in _INTERRUPTS:
            deadline = time.monotonic() + patience_s
            try:
                self._channel.send(key, deadline)
                outcome = self._helper.result(deadline)
                if outcome is None:
                    return " before it had begun"
                if outcome.size > _SHOWN_BYTES:
                    return f"; it has written {outcome.size} bytes"
                text = self._helper.fetch(outcome, deadline).decode("utf-8", "replace").strip()
            except TargetTimeout:
                continue
            return f"; its output:\n{text}" if text else "; it has written nothing"
        return "; it does not end on Ctrl-C either: it ignores it, or the shell has no controlling terminal"


def _message(result: Result) -> str:
    """What the guest said, without the name of the helper's script."""
    text = result.stdout[:_SHOWN_BYTES].decode("utf-8", "replace").strip()
    return re.sub(r"^\S*/command: (?:line )?\d+: ", "", text)
