"""Everything that hil_agent raises on purpose, split by whose fault it is.

::

    HilAgentError
    ├── UsageError          the user's input            exit status 2
    │   └── FileError       ... in a file: path, line and field are named
    ├── StateError          right request, wrong moment exit status 3
    ├── NotFoundError       no such session, board, guest             4
    ├── HostError           this host lacks something                 5
    ├── TargetError         the world failed                          1
    │   ├── LinkError       the connection to the target broke
    │   ├── ProtocolError   the other side broke its protocol
    │   ├── GuestError      the guest crashed or refused
    │   └── TargetTimeout   it did not answer in time
    └── InternalError       a bug of ours                             1

A message says what happened and where; ``hint`` says what to do about it.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class HilAgentError(Exception):
    """Root of the tree. Never raised itself."""

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(HilAgentError):
    """What the user asked for is not possible as asked."""

    exit_status = 2


class FileError(UsageError):
    """A file that the user gave does not hold what it must hold."""

    def __init__(
        self,
        message: str,
        *,
        path: Path | str,
        line: int | None = None,
        field: str | None = None,
        hint: str | None = None,
    ) -> None:
        where = str(path) if line is None else f"{path}:{line}"
        what = f"{field}: {message}" if field else message
        super().__init__(f"{where}: {what}", hint=hint)
        self.path = Path(path)
        self.line = line
        self.field = field


class StateError(HilAgentError):
    """The session is not in the state that this needs; nothing was changed."""

    exit_status = 3


class NotFoundError(HilAgentError):
    """No session, board or guest of that name."""

    exit_status = 4


class HostError(HilAgentError):
    """This host lacks a program, a package, a permission or space."""

    exit_status = 5


class TargetError(HilAgentError):
    """The world failed: the guest, the machine below it, or the way there."""


class LinkError(TargetError):
    """The connection to the target is gone."""


class ProtocolError(TargetError):
    """The other side said something that its protocol does not allow."""


class GuestError(TargetError):
    """The guest crashed, or refused what it was asked to do."""


class TargetTimeout(TargetError):  # noqa: N818 - a timeout is its own kind of word
    """The target did not do in time what it was waited for."""


class InternalError(HilAgentError):
    """A bug in hil_agent: please report it with the journal of the session."""
