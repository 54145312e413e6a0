"""Thread IDs as the protocol writes them. To a stub for whole systems, a thread is a vCPU. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from hil_agent.errors import ProtocolError
from hil_agent.rsp.reply import excerpt

ALL: Final = -1
"""In place of a process or thread ID: every one."""
ANY: Final = 0
"""In place of a process or thread ID: whichever the stub likes."""

_THREAD_ID: Final = re.compile(rb"(?:p(-1|[0-9a-fA-F]{1,16})(?:\.|$))?(-1|[0-9a-fA-F]{1,16})?")


@dataclass(frozen=True, slots=True)
class ThreadId:
    """A thread, with its process where the multiprocess extension is in use."""

    tid: int
    pid: int | None = None

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Reads ``2``, ``-1``, ``p1.2``, ``p1.-1`` or ``p1`` (every thread of process 1).

        Raises:
            ProtocolError: it is none of these.
        """
        match = _THREAD_ID.fullmatch(text)
        if match is None or not text or text.endswith(b"."):
            raise ProtocolError(f"the other side named a thread {excerpt(text)!r}")
        pid, tid = match.groups()
        return cls(int(tid, 16) if tid else ALL, int(pid, 16) if pid else None)

    def __str__(self) -> str:
        tid = f"{self.tid:x}"
        return tid if self.pid is None else f"p{self.pid:x}.{tid}"

    def encode(self) -> bytes:
        """The ID as it stands in a packet."""
        return str(self).encode()
