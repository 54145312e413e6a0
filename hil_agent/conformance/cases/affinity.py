"""AFFINITY_INFO: every level; vCPUs that are on, off and absent; bits that are none of an affinity's."""

from __future__ import annotations

from hil_agent.conformance.case import Argument, Call, Mpidr, Scenario, ask
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.observation import Answer, expect
from hil_agent.psci import ReturnCode

_ON, _OFF = 0, 1
_INVALID = ReturnCode.INVALID_PARAMETERS
_GARBAGE = 0xDEAD_BEEF << 32
_AFF3 = 1 << 32
_ABSENT, _ABSENT_GROUP = 0x63, 0x6300
_OTHER_CLUSTER = 16
"""The first vCPU whose Aff1 is not 0, where a GICv3 decides that (QEMU hw/arm/virt.c)."""

_SOURCE = (
    "DEN0022, AFFINITY_INFO; Xen vpsci.c do_psci_0_2_affinity_info (absent is OFF, other bits are masked); "
    "Linux kvm/psci.c kvm_psci_vcpu_affinity_info; QEMU target/arm/psci.c (above level 0 always ON); measured"
)


def _narrow(
    name: str, target: Argument, level: int, spec: Answer, on: tuple[int, ...] = (), **others: Answer
) -> Scenario:
    call = Call(Id.AFFINITY_INFO32, (target, level))
    return ask(f"affinity.{name}.32", call, expect(spec, **others), on=on, source=_SOURCE)


def _wide(
    name: str, target: Argument, level: int, spec: Answer, on: tuple[int, ...] = (), **others: Answer
) -> Scenario:
    call = Call(Id.AFFINITY_INFO64, (target, level))
    return ask(f"affinity.{name}.64", call, expect(spec, **others), on=on, source=_SOURCE)


_BOTH: list[tuple[str, Argument, int, Answer, tuple[int, ...], dict[str, Answer]]] = [
    *((f"self.level{level}", Mpidr(0), level, _ON, (), {}) for level in range(4)),
    ("self.level4", Mpidr(0), 4, _INVALID, (), {"qemu": _ON}),
    ("self.level31", Mpidr(0), 31, _INVALID, (), {"qemu": _ON}),
    ("self.level_max", Mpidr(0), 0xFFFF_FFFF, _INVALID, (), {"qemu": _ON}),
    ("self.bit24", Mpidr(0, 1 << 24), 0, _INVALID, (), {"xen": _ON}),
    ("self.bit30", Mpidr(0, 1 << 30), 0, _INVALID, (), {"xen": _ON}),
    ("self.bit31", Mpidr(0, 1 << 31), 0, _INVALID, (), {"xen": _ON}),
    *((f"off.cpu{cpu}", Mpidr(cpu), 0, _OFF, (), {}) for cpu in (1, 2, 3, 7)),
    *((f"off.level{level}", Mpidr(1), level, _ON, (), {}) for level in (1, 2, 3)),
    *((f"on.cpu{cpu}", Mpidr(cpu), 0, _ON, (cpu,), {}) for cpu in (1, 2, 3)),
    ("absent", _ABSENT, 0, _INVALID, (), {"xen": _OFF}),
    ("absent.level1", _ABSENT, 1, _ON, (), {}),
    ("absent.level4", _ABSENT, 4, _INVALID, (), {"qemu": _ON}),
    ("absent_group", _ABSENT_GROUP, 0, _INVALID, (), {"xen": _OFF}),
    ("absent_group.level1", _ABSENT_GROUP, 1, _INVALID, (), {"xen": _OFF, "qemu": _ON}),
    ("absent_group.level2", _ABSENT_GROUP, 2, _ON, (), {}),
    ("cluster.off", Mpidr(_OTHER_CLUSTER), 0, _OFF, (), {}),
    ("cluster.off.level1", Mpidr(_OTHER_CLUSTER), 1, _OFF, (), {"qemu": _ON}),
    ("cluster.off.level2", Mpidr(_OTHER_CLUSTER), 2, _ON, (), {}),
    ("cluster.on.level1", Mpidr(_OTHER_CLUSTER), 1, _ON, (_OTHER_CLUSTER,), {}),
    ("cluster.on.level1.by_sibling", Mpidr(_OTHER_CLUSTER + 1), 1, _ON, (_OTHER_CLUSTER,), {}),
    ("cluster.on.sibling", Mpidr(_OTHER_CLUSTER + 1), 0, _OFF, (_OTHER_CLUSTER,), {}),
]
"""Name, target, level, answer, vCPUs that are on, answers that differ: the same in both widths."""

SCENARIOS = [
    *(
        width(name, target, level, spec, on, **others)
        for width in (_narrow, _wide)
        for name, target, level, spec, on, others in _BOTH
    ),
    _narrow("garbage", Mpidr(0, _GARBAGE), 0, _ON, xen_v16=_OFF, qemu=_INVALID),
    _wide("garbage", Mpidr(0, _GARBAGE), 0, _INVALID, xen=_OFF),
    _narrow("aff3", Mpidr(0, _AFF3), 0, _ON, xen_v16=_OFF, qemu=_INVALID),
    _wide("aff3", Mpidr(0, _AFF3), 0, _INVALID, xen=_OFF),
    _narrow("level_garbage", Mpidr(0), _GARBAGE, _ON),
    _wide("level_garbage", Mpidr(0), _GARBAGE, _ON, kvm=_INVALID),
    *(
        ask(
            f"affinity.by_cpu1.of_cpu{cpu}",
            Call(Id.AFFINITY_INFO64, (Mpidr(cpu), 0), cpu=1),
            expect(answer),
            on=[1],
            source=_SOURCE,
        )
        for cpu, answer in ((0, _ON), (1, _ON), (2, _OFF))
    ),
]
