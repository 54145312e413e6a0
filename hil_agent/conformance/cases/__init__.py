"""What is known of PSCI, as data: a module per topic, found by its being here.

A module defines ``SCENARIOS``. To add a topic is to add a module.

Where a source says "measured", the answer was seen on the real thing: Xen (master of 2026-08), Linux KVM
6.1 and QEMU 7.2 and 10.0, each with a bare-metal guest. What Xen, KVM and QEMU do is not held against
them: it is what their profiles must do as well.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from hil_agent.conformance.case import Scenario


def scenarios() -> list[Scenario]:
    """All scenarios, topic by topic."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    return [scenario for module in modules for scenario in module.SCENARIOS]
