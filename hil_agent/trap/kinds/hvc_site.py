"""``hvc-site``: calls are caught at the guest's own instructions; the machine needs no EL2."""

from hil_agent.hvc_site import HvcSiteTrapSource
from hil_agent.trap.kind import TrapSourceKind

KIND = TrapSourceKind(
    monitor="hil_agent.hvc_site", needs_el2=False, repeats_answers=False, make=HvcSiteTrapSource
)
