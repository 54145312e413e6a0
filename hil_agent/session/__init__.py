"""A live guest on a board, in a process of its own.

``launch`` starts the process, ``client`` is how everybody else speaks to it. Within it, ``loop``
is the one thread that owns the target, ``executor`` carries out what the vPSCI decides,
``events`` tells the ``journal`` and the ``state`` what happened, ``live`` holds it together, and
``control`` serves the clients with what ``protocol`` defines.
"""

from hil_agent.session.client import Session
from hil_agent.session.launch import boot
from hil_agent.session.plan import BootPlan, GuestFiles
from hil_agent.session.state import State

__all__ = ["BootPlan", "GuestFiles", "Session", "State", "boot"]
