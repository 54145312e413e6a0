"""The GDB remote serial protocol: a client for any stub, on a codec that serves both sides.

From the wire up: `packet` turns bytes into packets; `reply`, `thread`, `stop` and `features` read what is
in them; `description` and `registers` know which bytes are which register. All these are pure. `link`
exchanges packets over a socket, and `client` is what the rest of hil_agent uses.
"""

from hil_agent.rsp.breakpoint import BreakpointKind
from hil_agent.rsp.client import EVERYONE, Client
from hil_agent.rsp.description import AARCH64_CORE, Register, TargetDescription
from hil_agent.rsp.features import Features
from hil_agent.rsp.registers import Registers
from hil_agent.rsp.reply import RefusedError, UnavailableError, UnsupportedError
from hil_agent.rsp.stop import StopKind, StopReason, StopReply
from hil_agent.rsp.thread import ThreadId

__all__ = [
    "AARCH64_CORE",
    "EVERYONE",
    "BreakpointKind",
    "Client",
    "Features",
    "RefusedError",
    "Register",
    "Registers",
    "StopKind",
    "StopReason",
    "StopReply",
    "TargetDescription",
    "ThreadId",
    "UnavailableError",
    "UnsupportedError",
]
