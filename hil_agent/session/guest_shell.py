"""The guest's shell, shared by all who want to run something in it: one at a time."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hil_agent.console import Cancellation, Cancelled, ConsoleHub, Result, Shell
from hil_agent.errors import GuestError, HilAgentError, LinkError, StateError, TargetTimeout
from hil_agent.session.state import FINAL, State, StateCell

_NO_LIMIT_S = 7 * 24 * 3600.0
_LAST_WORDS_S = 5.0
_STOPPED_S = 1.0
"""How long a guest may be stopped by a debugger before nothing is run in it."""


class Background:
    """A command that runs on while nobody waits: what has the guest suspend ends only after the resume."""

    def __init__(self) -> None:
        self.cancel = Cancellation()
        self._over = threading.Event()
        self._result: Result | None = None
        self._error: HilAgentError | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._over.is_set()

    def run(self, command: Callable[[], Result]) -> None:
        """Runs it; in a thread of its own."""
        try:
            self._result = command()
        except HilAgentError as error:
            self._error = error
        finally:
            self._over.set()

    def result(self) -> Result:
        """How it ended.

        Raises:
            HilAgentError: it did not end by itself.
        """
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise StateError("the command has not ended")
        return self._result


class GuestShell:
    """Runs commands one after another, on a client of the console for each.

    Args:
        hub: the guest's console.
        cell: the session's state, which is told when a background command ends.
    """

    def __init__(self, hub: ConsoleHub, cell: StateCell) -> None:
        self._hub = hub
        self._cell = cell
        self._turn = threading.Lock()
        self._stream: socket.socket | None = None

    @contextmanager
    def take(self, timeout_s: float, cancel: Cancellation) -> Iterator[Shell]:
        """The shell, for one command.

        Args:
            timeout_s: seconds to wait for others to be done with it.
            cancel: what will call the command off.

        Raises:
            StateError: the guest cannot run anything now.
            TargetTimeout: others were not done in time.
        """
        self._check(cancel)
        if not self._turn.acquire(timeout=timeout_s):
            raise TargetTimeout(f"the guest's shell was busy with another command for {timeout_s:g} s")
        try:
            self._check(cancel)
            with self._hub.attach() as self._stream:
                yield Shell(self._stream)
        except LinkError as error:
            # The console's end may be seen before the stub's, which will tell why.
            with contextlib.suppress(TargetTimeout):
                self._cell.wait_until(lambda: self._cell.state in FINAL, _LAST_WORDS_S, "the machine's end")
                raise GuestError(f"the guest is {self._cell.state}{self._because()}") from error
            raise
        finally:
            self._stream = None
            self._turn.release()

    def start(self, command: str) -> Background:
        """Starts a command that nobody waits for yet."""
        background = Background()

        def run() -> Result:
            with self.take(_NO_LIMIT_S, background.cancel) as shell:
                run = shell.exec if "\n" in command else shell.type_line
                return run(command, _NO_LIMIT_S, cancel=background.cancel)

        def thread() -> None:
            background.run(run)
            self._cell.wake_waiters()

        threading.Thread(target=thread, name="background command", daemon=True).start()
        return background

    def abort(self) -> None:
        """Cuts off what runs: the guest has ended, and will not answer any more."""
        stream = self._stream
        if stream is not None:
            with contextlib.suppress(OSError):  # it is over just now
                stream.shutdown(socket.SHUT_RDWR)

    def _check(self, cancel: Cancellation) -> None:
        with contextlib.suppress(TargetTimeout, GuestError):  # a debugger may just be letting it go
            self._cell.wait_until(lambda: self._cell.state is not State.STOPPED, _STOPPED_S, "it to go on")
        state = self._cell.state
        if state is State.CRASHED:
            raise GuestError(f"the guest is crashed{self._because()}")
        if state in _HINTS:
            raise StateError(f"the guest is {state}{self._because()}", hint=_HINTS[state])
        if cancel.is_set():
            raise Cancelled("nobody waits for this command any more")

    def _because(self) -> str:
        return f": {self._cell.reason}" if self._cell.reason else ""


_HINTS = {
    State.SUSPENDED: "hil-agent resume",
    State.STOPPED: "a debugger holds it: continue there",
    State.OFF: "hil-agent reset",
}
