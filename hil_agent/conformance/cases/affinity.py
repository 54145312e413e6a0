"""AFFINITY_INFO: every level, vCPUs that are on, off and absent, bits that are none of an affinity's."""

from __future__ import annotations

from hil_agent.conformance.case import Argument, Call, Mpidr, Scenario, ask
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.observation import Answer
from hil_agent.psci import ReturnCode

ON, OFF = 0, 1
_INVALID = ReturnCode.INVALID_PARAMETERS
_GARBAGE = 0xDEAD_BEEF << 32
_ABSENT, _ABSENT_GROUP = 0x63, 0x6300

_XEN = "Xen vpsci.c do_psci_0_2_affinity_info, domain.h vaffinity_to_vcpuid; measured"
_KVM = "Linux arch/arm64/kvm/psci.c kvm_psci_vcpu_affinity_info; measured"
_QEMU = "QEMU target/arm/psci.c: no check above level 0, 64-bit compares; measured"
_SPEC = "DEN0022, AFFINITY_INFO"
_ALL = f"{_SPEC}; {_XEN}; {_KVM}; {_QEMU}"


def _row(
    name: str, target: Argument, level: int, spec: Answer, *, cpus: int = 1, on: tuple[int, ...] = (), **others: Answer
) -> list[Scenario]:
    """The same question in both widths."""
    del cpus
    return [
        ask(
            f"affinity.{name}.{width}",
            Call(function_id, (target, level)),
            spec,
            source=_ALL,
            on=on,
            **others,
        )
        for width, function_id in (("32", Id.AFFINITY_INFO32), ("64", Id.AFFINITY_INFO64))
    ]
