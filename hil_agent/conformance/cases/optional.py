"""Functions that few implementations have: migration, node states, suspend modes, memory protection."""

from __future__ import annotations

from collections.abc import Mapping

from hil_agent.conformance.case import Call, Case, Landing, Mpidr, Scenario, ask
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.lab import Lab
from hil_agent.conformance.observation import Answer, Observation, expect
from hil_agent.psci import ReturnCode

_INVALID, _DENIED, _NO = ReturnCode.INVALID_PARAMETERS, ReturnCode.DENIED, ReturnCode.NOT_SUPPORTED
_NO_MEMORY = 0x10_0000_0000
_ABSENT = 0x63
_NOT_NEEDED = 2
_ELSEWHERE: dict[str, Answer] = dict.fromkeys(("xen", "kvm", "qemu"), _NO)

_MIGRATE = "DEN0022, MIGRATE_INFO_TYPE: no Trusted OS; Linux asks all; measured"
_NODE = "DEN0022, NODE_HW_STATE; Xen, KVM and QEMU have none; measured"
_MODE = "DEN0022, PSCI_SET_SUSPEND_MODE; Xen, KVM and QEMU have none; measured"
_PROTECT = "DEN0022, MEM_PROTECT: answers what was before; Xen, KVM and QEMU have none; measured"


def _in_order(topic: str, calls: Mapping[str, tuple[Call, Answer]], source: str) -> Scenario:
    """Calls that depend on one another."""

    def run(lab: Lab) -> Mapping[str, Observation]:
        return {f"{topic}.{name}": lab.call(call) for name, (call, _) in calls.items()}

    cases = (
        Case(f"{topic}.{name}", str(call), expect(spec, **_ELSEWHERE), source)
        for name, (call, spec) in calls.items()
    )
    return Scenario(cases=tuple(cases), run=run)


SCENARIOS = [
    ask("migrate.info_type", Call(Id.MIGRATE_INFO_TYPE), expect(_NOT_NEEDED), source=_MIGRATE),
    *(
        ask(f"migrate.{function_id.name}", Call(function_id, (Mpidr(0),)), expect(_NO), source=_MIGRATE)
        for function_id in (Id.MIGRATE32, Id.MIGRATE64, Id.MIGRATE_INFO_UP_CPU32, Id.MIGRATE_INFO_UP_CPU64)
    ),
    *(
        ask(
            f"node.{name}.{width}",
            Call(function_id, (target, level)),
            expect(spec, **_ELSEWHERE),
            source=_NODE,
        )
        for width, function_id in (("32", Id.NODE_HW_STATE32), ("64", Id.NODE_HW_STATE64))
        for name, target, level, spec in (
            ("self", Mpidr(0), 0, 0),
            ("off", Mpidr(1), 0, 1),
            ("cluster", Mpidr(1), 1, 0),
            ("absent", _ABSENT, 0, _INVALID),
            ("level9", Mpidr(0), 9, _INVALID),
        )
    ),
    _in_order(
        "suspend_mode",
        {
            "os_initiated": (Call(Id.PSCI_SET_SUSPEND_MODE, (1,)), 0),
            "unknown": (Call(Id.PSCI_SET_SUSPEND_MODE, (2,)), _INVALID),
            "platform_coordinated": (Call(Id.PSCI_SET_SUSPEND_MODE, (0,)), 0),
        },
        _MODE,
    ),
    _in_order(
        "mem_protect",
        {
            "at_first": (Call(Id.MEM_PROTECT, (1,)), 0),
            "when_on": (Call(Id.MEM_PROTECT, (1,)), 1),
            "off": (Call(Id.MEM_PROTECT, (0,)), 1),
            "when_off": (Call(Id.MEM_PROTECT, (0,)), 0),
        },
        _PROTECT,
    ),
    *(
        ask(
            f"mem_protect.range.{name}.{width}",
            Call(function_id, (base, length)),
            expect(spec, **_ELSEWHERE),
            source=_PROTECT,
        )
        for width, function_id in (("32", Id.MEM_PROTECT_CHECK_RANGE32), ("64", Id.MEM_PROTECT_CHECK_RANGE64))
        for name, base, length, spec in (
            ("memory", Landing(), 0x1000, 0),
            ("devices", 0x0900_0000, 0x1000, _DENIED),
        )
    ),
    ask(
        "mem_protect.range.none.64",
        Call(Id.MEM_PROTECT_CHECK_RANGE64, (_NO_MEMORY, 0x1000)),
        expect(_DENIED, **_ELSEWHERE),
        source=_PROTECT,
    ),
]
