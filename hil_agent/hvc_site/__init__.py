"""The trap source ``hvc-site``: calls are caught at the guest's own ``hvc`` and ``smc``; no EL2 is needed.

``code`` finds these instructions in the kernel's file, ``translation`` where the guest has mapped them.
``monitor.S`` is where vCPUs wait that have no EL2 to wait in, ``injection`` how they are made to turn
their MMU off. ``trap_source`` puts these to work over a debug stub.
"""

from hil_agent.hvc_site.trap_source import HvcSiteTrapSource

__all__ = ["HvcSiteTrapSource"]
