"""Ending a wait from another thread."""

from __future__ import annotations

import os

from hil_agent.errors import TargetError


class Cancelled(TargetError):  # noqa: N818 - a word of its own, like TargetTimeout
    """Somebody called off what was being waited for."""


class Cancellation:
    """A flag that a wait can be interrupted by: set once, never cleared.

    It is a file descriptor that becomes readable, so that a wait in ``select`` ends at once. ``set`` may be
    called from any thread and from a signal handler.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_set = False

    def set(self) -> None:
        """Calls the wait off. A second call does nothing."""
        if not self._is_set:
            self._is_set = True
            os.eventfd_write(self._fd, 1)

    def is_set(self) -> bool:
        """Whether ``set`` was called."""
        return self._is_set

    def fileno(self) -> int:
        """The descriptor that is readable once the flag is set."""
        return self._fd

    def close(self) -> None:
        """Releases the descriptor. No wait may use the flag any more."""
        os.close(self._fd)
