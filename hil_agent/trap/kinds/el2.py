"""``el2``: calls trap to our monitor at EL2, which has the only breakpoint."""

from hil_agent.el2 import El2TrapSource
from hil_agent.trap.kind import TrapSourceKind

KIND = TrapSourceKind(monitor="hil_agent.el2", needs_el2=True, repeats_answers=True, make=El2TrapSource)
