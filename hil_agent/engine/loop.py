"""The loop of the one thread that owns a target.

It waits for the debug stub, whose stops go to the run control, for requests from other threads, most of
which need the machine stopped for a moment, and for whatever else is to be served in this thread.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from hil_agent.engine.run_control import RunControl
from hil_agent.errors import HilAgentError, LinkError, StateError
from hil_agent.rsp import Client

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Request(Generic[Result]):
    action: Callable[[], Result]
    future: Future[Result]
    stopped: bool


class TargetLoop:
    """Owns a target until it is told to end.

    Args:
        client: the target's debug stub.
        run_control: what deals with its stops.
        last_words: says how the target ended, when the stub is gone.
    """

    def __init__(self, client: Client, run_control: RunControl, last_words: Callable[[], str]) -> None:
        self._client = client
        self._run_control = run_control
        self._executor = run_control.executor
        self._last_words = last_words
        self._selector = selectors.DefaultSelector()
        self._requests: queue.SimpleQueue[_Request[Any]] = queue.SimpleQueue()
        self._wakeup, self._waker = socket.socketpair()
        self._wakeup.setblocking(False)
        self._waker.setblocking(False)
        self._lock = threading.RLock()  # guards the two below; a signal handler may want it too
        self._end = False
        self._over = False

    def submit(self, action: Callable[[], Result], *, stopped: bool = False) -> Future[Result]:
        """Has the owner of the target do something; from any thread.

        Args:
            action: runs in the owner's thread.
            stopped: the machine is stopped for it, and goes on after.
        """
        future: Future[Result] = Future()
        with self._lock:
            if self._over:
                future.set_exception(StateError("the session is ending"))
            else:
                self._requests.put(_Request(action, future, stopped))
                self._wake()
        return future

    def end(self) -> None:
        """Has :meth:`run` return; from any thread or signal handler."""
        with self._lock:
            self._end = True
            if not self._over:
                self._wake()

    def watch(self, stream: socket.socket, events: int, ready: Callable[[int], None]) -> None:
        """Has something else served in the thread that owns the target.

        Args:
            stream: what to wait for; watched already, it is from now on for these ``events``.
            events: ``selectors.EVENT_READ`` and the like; 0 to forget the stream.
            ready: is told which of them has come.
        """
        if not events:
            self._selector.unregister(stream)
        elif stream in self._selector.get_map():
            self._selector.modify(stream, events, ready)
        else:
            self._selector.register(stream, events, ready)

    def run(self) -> None:
        """Serves the target until :meth:`end`. The target's failures become events, and do not end it."""
        with self._selector as selector:
            selector.register(self._client, selectors.EVENT_READ, self._attend_stub)
            selector.register(self._wakeup, selectors.EVENT_READ, self._attend_requests)
            while not self._end:
                for key, events in selector.select(self._until_wake()):
                    if key.fileobj in selector.get_map():  # else forgotten just now
                        key.data(events)
                if self._until_wake() == 0:
                    self._wake_guest()
        self._refuse_requests()

    def _until_wake(self) -> float | None:
        """Seconds until a fault resumes the guest; None if none does."""
        at = self._executor.wake_at
        return None if at is None else max(0.0, at - time.monotonic())

    def _wake_guest(self) -> None:
        try:
            self.while_stopped(lambda: self._executor.resume("fault"))
        except StateError as error:
            _log.info("a wake comes to nothing: %s", error.message)  # it has gone on by itself meanwhile
        except Exception as error:
            self._give_up(error)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: then it wakes anyway
            self._waker.send(b"\0")

    def _attend_requests(self, _events: int) -> None:
        self._wakeup.recv(4096)
        self._serve_requests()

    def _attend_stub(self, _events: int) -> None:
        """Deals with what the stub said."""
        try:
            if not self._client.running:
                self._client.expect_silence()
            elif (stop := self._client.poll_stop()) is not None:
                self._run_control.handle(stop)
        except Exception as error:
            self._give_up(error)
            if isinstance(error, LinkError):
                self._selector.unregister(self._client)

    def _give_up(self, error: Exception) -> None:
        """The target is lost, by its own fault or by ours; the session stays, to tell of it."""
        if isinstance(error, LinkError):
            self._executor.crashed(f"{self._last_words()} ({error.message})")
        elif isinstance(error, HilAgentError):
            self._executor.crashed(str(error))
        else:
            _log.exception("the target's loop failed")
            self._executor.crashed(f"a bug in hil_agent: {type(error).__name__}: {error}; see session.log")

    def _serve_requests(self) -> None:
        while not self._requests.empty():
            request = self._requests.get()
            if not request.future.set_running_or_notify_cancel():
                continue
            try:
                result = self.while_stopped(request.action) if request.stopped else request.action()
            except Exception as error:  # it is for whoever asked to deal with
                request.future.set_exception(error)
            else:
                request.future.set_result(result)

    def while_stopped(self, action: Callable[[], Result]) -> Result:
        """Does something with the machine stopped, and lets it go on; in the thread that owns the target."""
        try:
            self._run_control.pause()
        except Exception as error:
            self._give_up(error)
            raise
        try:
            return action()
        finally:
            self._run_control.go_on()

    def _refuse_requests(self) -> None:
        with self._lock:
            self._over = True
            self._wakeup.close()
            self._waker.close()
        while not self._requests.empty():
            request = self._requests.get()
            if request.future.set_running_or_notify_cancel():
                request.future.set_exception(StateError("the session is ending"))
