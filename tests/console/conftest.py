"""Real shells on a pseudo-terminal, in place of a guest's serial console."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SHELLS = {
    "ash": ["busybox", "sh"],
    "dash": ["dash", "-i"],
    "bash": ["bash", "--norc", "-i"],
}


class PtyGuest:
    """A shell on a pseudo-terminal; ``console`` is the stream that a hub or a Shell would get.

    Args:
        argv: the shell.
        noise: makes a kernel's message from a random generator; None for none.
        distance: mean bytes of the shell's output from one message to the next.
        env: environment in addition to ours.
        folder: the shell's working folder.
    """

    def __init__(
        self,
        argv: list[str],
        *,
        noise: Callable[[random.Random], bytes] | None = None,
        distance: float = 300.0,
        env: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.console, self._far = socket.socketpair()
        self._noise = noise
        self._distance = distance
        self._random = random.Random(1)
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder or "/")
            os.execvpe(argv[0], argv, {**os.environ, "TERM": "vt100", **(env or {})})  # noqa: S606 - meant so
        self._threads = [threading.Thread(target=target) for target in (self._from_shell, self._to_shell)]
        for thread in self._threads:
            thread.start()

    def say(self, text: bytes) -> None:
        """Has the kernel write something."""
        self._far.sendall(text)

    def type(self, text: bytes) -> None:
        """Types at the terminal, past the console."""
        os.write(self._terminal, text)

    def hang_up(self) -> None:
        """Closes the console's far end."""
        self._far.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        foreground = os.tcgetpgrp(self._terminal)
        os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(foreground, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self.hang_up()
        for thread in self._threads:
            thread.join()
        os.close(self._terminal)
        os.waitpid(self.pid, 0)
        self._far.close()
        self.console.close()

    def _from_shell(self) -> None:
        until_noise = self._random.expovariate(1 / self._distance)
        with contextlib.suppress(OSError):
            while data := os.read(self._terminal, 65536):
                noisy = b""
                while self._noise and len(data) > until_noise:
                    noisy += data[: int(until_noise)] + self._noise(self._random)
                    data = data[int(until_noise) :]
                    until_noise = self._random.expovariate(1 / self._distance)
                until_noise -= len(data)
                self._far.sendall(noisy + data)

    def _to_shell(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._far.recv(65536):
                while data:
                    data = data[os.write(self._terminal, data) :]


GuestMaker = Callable[..., PtyGuest]


@pytest.fixture
def make_guest() -> Iterator[GuestMaker]:
    """Makes guests by the name of their shell, with PtyGuest's options, and ends them after the test."""
    with contextlib.ExitStack() as stack:

        def make(shell: str, **options: Any) -> PtyGuest:  # noqa: ANN401 - PtyGuest has their types
            if not shutil.which(SHELLS[shell][0]):
                pytest.skip(f"{SHELLS[shell][0]} is not installed")
            guest = PtyGuest(SHELLS[shell], **options)
            stack.callback(guest.close)
            return guest

        yield make
