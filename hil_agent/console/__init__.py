"""The guest's serial console: one byte stream, shared by all who need it.

``hub`` owns the stream, logs it and copies it to every client. ``shell`` and ``terminal`` are clients: one
runs commands and moves files through the shell that listens there, the other connects a person.

Below ``shell``: ``helper`` is its far end in the guest, ``dialogue`` makes requests until they are answered,
``channel`` waits for a line, ``framing`` is the pure part, data as lines and back. Beside them, ``death``
knows what a dying kernel says, and ``cancel`` ends a wait from another thread.
"""

from hil_agent.console.cancel import Cancellation, Cancelled
from hil_agent.console.channel import GuestDied
from hil_agent.console.hub import ConsoleHub, Found
from hil_agent.console.shell import Job, Result, Shell
from hil_agent.console.terminal import Ending, interact

__all__ = [
    "Cancellation",
    "Cancelled",
    "ConsoleHub",
    "Ending",
    "Found",
    "GuestDied",
    "Job",
    "Result",
    "Shell",
    "interact",
]
