"""What a session needs of the machine under its guest, whatever kind of board it is on."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Protocol


class Machine(Protocol):
    """A machine that stands stopped before its first instruction."""

    @property
    def pid(self) -> int | None:
        """The process that it is, where it is one on this host."""

    def connect_stub(self) -> socket.socket:
        """A connection to the debug stub."""

    def connect_console(self) -> socket.socket:
        """A connection to the guest's serial console."""

    def reset(self) -> None:
        """Everything as after power-on, stopped before the first instruction."""

    def dump(self, path: Path) -> None:
        """Writes RAM and vCPUs' registers into an ELF core; its empty file exists. It stands meanwhile."""

    def last_words(self) -> str:
        """How it ended and what it said last."""
