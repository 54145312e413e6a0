"""CPU_ON: who can be started, where, with what, and how it arrives there."""

from __future__ import annotations

from collections.abc import Mapping

from hil_agent.conformance.case import Argument, Call, Case, Landing, Mpidr, Scenario, ask, scenario
from hil_agent.conformance.entry_state import entry_cases, mark, observe_entry
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.lab import Lab
from hil_agent.conformance.observation import Answer, Enters, Observation, expect
from hil_agent.psci import ReturnCode

_INVALID, _ADDRESS = ReturnCode.INVALID_PARAMETERS, ReturnCode.INVALID_ADDRESS
_ALREADY_ON, _NO = ReturnCode.ALREADY_ON, ReturnCode.NOT_SUPPORTED
_GARBAGE = 0xDEAD_BEEF << 32
_ABSENT, _ABSENT_GROUP = 0x63, 0x6300
_NO_MEMORY = 0x10_0000_0000
_CONTEXT = 0x1122_3344_5566_7788

_SOURCE = (
    "DEN0022, CPU_ON; Xen vpsci.c do_common_cpu_on; Linux kvm/psci.c kvm_psci_vcpu_on; "
    "QEMU target/arm/arm-powerctl.c arm_set_cpu_on; measured"
)
_ORDER = f"order of the checks: {_SOURCE}"
_NARROWING = "DEN0028: an SMC32 call has 32-bit arguments; Xen f4af571dd7; QEMU does not narrow; measured"
_LEGACY = "PSCI 0.1: function IDs are the platform's; Xen answers 1 and 2, QEMU those of KVM; measured"


def _starts(
    name: str,
    target: Mpidr,
    spec: Answer | tuple[Answer, ...],
    *,
    function_id: int = Id.CPU_ON64,
    landing: Landing | None = None,
    context_id: int = _CONTEXT,
    source: str = _SOURCE,
    by: int = 0,
    last: bool = False,
    **others: Answer,
) -> Scenario:
    """A call that should start its target, unless it is refused."""
    call = Call(function_id, (target, landing or Landing(), context_id), cpu=by)
    return scenario(
        f"cpu_on.{name}",
        call,
        expect(spec, **others),
        lambda lab: lab.start(call),
        source=source,
        on=[by] if by else [],
        last=last,
    )


def _refused(
    name: str,
    target: Argument,
    entry: Argument,
    *,
    on: tuple[int, ...] = (),
    by: int = 0,
    last: bool = False,
    **answers: Answer | tuple[Answer, ...],
) -> list[Scenario]:
    """The same call in both widths."""
    return [
        ask(
            f"cpu_on.{name}.{width}",
            Call(function_id, (target, entry, 0x1234), cpu=by),
            expect(**answers),
            source=_ORDER,
            on=on,
            last=last,
        )
        for width, function_id in (("32", Id.CPU_ON32), ("64", Id.CPU_ON64))
    ]


def _second_life(lab: Lab) -> Mapping[str, Observation]:
    """A vCPU is marked, switched off, and started again."""
    mark(lab, 1)
    lab.power_off(1)
    came = lab.start(Call(Id.CPU_ON64, (Mpidr(1), Landing(5), _CONTEXT)))
    seen = observe_entry(lab, 1, "cpu_on.entry") if isinstance(came, Enters) else {}
    return {"cpu_on.second_life": came, **seen}


def _ping_pong(lab: Lab) -> Observation:
    for context_id in range(8):
        came = lab.start(Call(Id.CPU_ON64, (Mpidr(1), Landing(context_id), context_id)))
        if came != Enters(context_id):
            break
        lab.power_off(1)
    return came


_ENTERS = Enters(_CONTEXT)

_BAD_ENTRIES: list[tuple[str, Argument, dict[str, Answer]]] = [
    ("odd", Landing(offset=1), {"spec": _ADDRESS, "kvm": 0, "qemu": _INVALID}),
    ("misaligned", Landing(offset=2), {"spec": _ADDRESS, "xen": 0, "kvm": 0, "qemu": _INVALID}),
    ("no_memory", _NO_MEMORY, {"spec": _ADDRESS, "xen": 0, "kvm": 0, "qemu": 0}),
]
"""For a vCPU that is off. Where they are accepted, that vCPU is lost."""

SCENARIOS = [
    *(_starts(f"cpu{cpu}", Mpidr(cpu), _ENTERS) for cpu in (1, 2, 3, 7, 16)),
    _starts("by_cpu1", Mpidr(2), _ENTERS, by=1),
    *(_starts(f"landing{number}", Mpidr(1), _ENTERS, landing=Landing(number)) for number in (1, 2, 31)),
    *(
        _starts(f"context_{context_id:x}", Mpidr(1), Enters(context_id), context_id=context_id)
        for context_id in (0, 1, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1)
    ),
    *(
        _starts(
            f"32.context_{context_id:x}",
            Mpidr(1),
            Enters(context_id),
            function_id=Id.CPU_ON32,
            context_id=context_id,
        )
        for context_id in (0, 1 << 31, (1 << 32) - 1)
    ),
    _starts(
        "32.garbage_target",
        Mpidr(1, _GARBAGE),
        Enters(0x3232),
        function_id=Id.CPU_ON32,
        context_id=0x3232,
        source=_NARROWING,
        qemu=_INVALID,
    ),
    _starts(
        "32.garbage_context",
        Mpidr(1),
        Enters(0x3232),
        function_id=Id.CPU_ON32,
        context_id=_GARBAGE | 0x3232,
        source=_NARROWING,
        xen_v16=Enters(_GARBAGE | 0x3232),
        qemu=Enters(_GARBAGE | 0x3232),
    ),
    _starts(
        "32.garbage_entry",
        Mpidr(1),
        Enters(0x3232),
        function_id=Id.CPU_ON32,
        landing=Landing(offset=_GARBAGE),
        context_id=0x3232,
        source=_NARROWING,
        xen_v16=None,
        qemu=None,
    ),
    *_refused("self", Mpidr(0), Landing(), spec=_ALREADY_ON),
    *_refused("other", Mpidr(1), Landing(), on=(1,), spec=_ALREADY_ON),
    *_refused("caller_by_cpu1", Mpidr(1), Landing(), on=(1,), by=1, spec=_ALREADY_ON),
    *_refused("boot_cpu_by_cpu1", Mpidr(0), Landing(), on=(1,), by=1, spec=_ALREADY_ON),
    *_refused("absent", _ABSENT, Landing(), spec=_INVALID),
    *_refused("absent_group", _ABSENT_GROUP, Landing(), spec=_INVALID),
    *_refused(
        "absent.odd",
        _ABSENT,
        Landing(offset=1),
        spec=(_INVALID, _ADDRESS),
        xen=_INVALID,
        kvm=_INVALID,
        qemu=_INVALID,
    ),
    *_refused(
        "self.odd",
        Mpidr(0),
        Landing(offset=1),
        spec=(_ADDRESS, _ALREADY_ON),
        xen=_ADDRESS,
        kvm=_ALREADY_ON,
        qemu=_INVALID,
    ),
    *_refused(
        "other.odd",
        Mpidr(1),
        Landing(offset=1),
        on=(1,),
        spec=(_ADDRESS, _ALREADY_ON),
        xen=_ADDRESS,
        kvm=_ALREADY_ON,
        qemu=_INVALID,
    ),
    *_refused(
        "self.misaligned",
        Mpidr(0),
        Landing(offset=2),
        spec=(_ADDRESS, _ALREADY_ON),
        xen=_ALREADY_ON,
        kvm=_ALREADY_ON,
        qemu=_INVALID,
    ),
    _starts("bit24", Mpidr(1, 1 << 24), _INVALID, xen=_ENTERS),
    _starts("bit30", Mpidr(1, 1 << 30), _INVALID, xen=_ENTERS),
    _starts("bit31", Mpidr(1, 1 << 31), _INVALID, xen=_ENTERS),
    _starts("aff3", Mpidr(1, 1 << 32), _INVALID, xen=_ENTERS),
    *(
        ask(
            f"cpu_on.off.{name}",
            Call(Id.CPU_ON64, (Mpidr(1), entry, 0)),
            expect(**answers),
            source=_SOURCE,
            last=True,
        )
        for name, entry, answers in _BAD_ENTRIES
    ),
    scenario(
        "cpu_on.on_and_off",
        Call(Id.CPU_ON64, (Mpidr(1), Landing())),
        expect(Enters(7)),
        _ping_pong,
        source=f"{_SOURCE}; TF-A had ON_PENDING left over after CPU_OFF",
        what=", eight times",
    ),
    Scenario(
        cases=(
            *entry_cases("cpu_on.entry", "CPU_ON64(cpu1)"),
            Case("cpu_on.second_life", "CPU_ON64(cpu1, entry5)", expect(_ENTERS), _SOURCE),
        ),
        run=_second_life,
        on=frozenset({1}),
        cpus=2,
    ),
    _starts("legacy.kvm", Mpidr(1), _NO, function_id=Id.KVM_CPU_ON, source=_LEGACY, qemu=_ENTERS),
    _starts("legacy.xen", Mpidr(1), _NO, function_id=Id.XEN_CPU_ON, source=_LEGACY, xen=Enters(0)),
]
