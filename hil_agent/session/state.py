"""The state of a session, derived from its events, and waiting for it from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum

from hil_agent.engine.events import (
    CallAnswered,
    Crashed,
    Event,
    Ready,
    Released,
    Resumed,
    Stopped,
    Suspended,
    SwitchedOff,
    WasReset,
)
from hil_agent.errors import GuestError, TargetTimeout
from hil_agent.psci.context import ResumeContext


class State(StrEnum):
    """What a session is doing."""

    BOOTING = "booting"
    RUNNING = "running"
    SUSPENDED = "suspended"
    STOPPED = "stopped"
    OFF = "off"
    CRASHED = "crashed"


FINAL = frozenset({State.OFF, State.CRASHED})
"""States that only a reset or the session's end can leave."""


class StateCell:
    """Follows the events of a session; safe to ask and to wait on from any thread.

    Attributes:
        calls, suspends, resumes: how many there have been since the session began.
        last_context: the context of the last suspend, which may be over.
        reason: why it is ``crashed`` or ``off``.
        held: a debugger holds the machine; a guest that is suspended as well counts as ``suspended``.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._ready = False
        self._suspended_at: float | None = None
        self.last_context: ResumeContext | None = None
        self._final: State | None = None
        self.reason: str | None = None
        self.held = False
        self.calls = 0
        self.suspends = 0
        self.resumes = 0

    @property
    def state(self) -> State:
        """The state now."""
        if self._final is not None:
            return self._final
        if self._suspended_at is not None:
            return State.SUSPENDED
        if self.held:
            return State.STOPPED
        return State.RUNNING if self._ready else State.BOOTING

    @property
    def ready(self) -> bool:
        """Whether the guest has come up since it was booted or reset, whatever became of it."""
        return self._ready

    @property
    def suspended_for(self) -> float | None:
        """Seconds since the guest was suspended; None if it is not."""
        since = self._suspended_at
        return None if since is None else time.monotonic() - since

    def apply(self, event: Event) -> None:
        """Takes note of an event."""
        if isinstance(event, CallAnswered):  # by far the most frequent, and nobody waits for it
            self.calls += 1
            return
        with self._condition:
            match event:
                case Ready():
                    self._ready = True
                case Suspended(context):
                    self.last_context = context
                    self._suspended_at = time.monotonic()
                    self.suspends += 1
                case Resumed():
                    self._suspended_at = None
                    self.resumes += 1
                case Stopped():
                    self.held = True
                case Released():
                    self.held = False
                case WasReset():
                    self._ready, self._suspended_at, self._final, self.reason = False, None, None, None
                case SwitchedOff(cause) if self._final is None:
                    self._final, self._suspended_at, self.reason = State.OFF, None, cause
                case Crashed(reason) if self._final is None:
                    self._final, self.reason = State.CRASHED, reason
                case _:
                    return
            self._condition.notify_all()

    def wake_waiters(self) -> None:
        """Has every waiter look again: something outside that it waits for has changed."""
        with self._condition:
            self._condition.notify_all()

    def wait_until(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Waits until ``done()``, which is asked again after every event.

        Args:
            done: what is waited for.
            timeout_s: seconds.
            what: the same in words, for messages.

        Raises:
            TargetTimeout: it did not come in time.
            GuestError: the session has ended without it.
        """
        with self._condition:
            self._condition.wait_for(lambda: done() or self._final is not None, timeout_s)
            if done():
                return
            if self._final is not None:
                raise GuestError(f"the guest is {self._final}, while waiting for {what}{self._because()}")
            raise TargetTimeout(f"waited {timeout_s:g} s for {what}; the guest is {self.state}")

    def _because(self) -> str:
        return f": {self.reason}" if self.reason else ""
