"""The guest's serial console: one byte stream, shared by whoever needs it.

``hub`` owns the stream, logs it and copies it to every client. The other modules are clients: ``shell`` runs
Below ``shell``, ``helper`` is its far end, a few shell functions that live in the guest while a command runs;
``channel`` waits for what the guest answers; ``framing`` is the pure part, data as lines of text and back.
``death`` knows what a dying kernel says, ``cancel`` ends a wait from another thread.
"""

from hil_agent.console.cancel import Cancellation, Cancelled
from hil_agent.console.hub import ConsoleHub, Found
from hil_agent.console.shell import Job, Result, Shell

__all__ = [
    "Cancellation",
    "Cancelled",
    "ConsoleHub",
    "Found",
    "Job",
    "Result",
    "Shell",
]
