"""SYSTEM_SUSPEND: when it is refused, how the system comes back, and what is still there then."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hil_agent.board.schema import WakeSource
from hil_agent.conformance.case import Argument, Call, Case, Landing, Mpidr, Scenario, ask, scenario
from hil_agent.conformance.devices import enable_mmu, no_timer, timer, timer_is_pending
from hil_agent.conformance.entry_state import entry_cases, mark, observe_entry
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.lab import Lab
from hil_agent.conformance.observation import KEPT, NO, YES, Answer, Enters, Event, Observation, expect
from hil_agent.psci import ReturnCode

_ADDRESS, _DENIED, _NO = ReturnCode.INVALID_ADDRESS, ReturnCode.DENIED, ReturnCode.NOT_SUPPORTED
_NO_MEMORY = 0x10_0000_0000
_GARBAGE = 0xDEAD_BEEF << 32
_CONTEXT = 0x1122_3344_5566_7788
_OFF = 1
_PATTERN = 0x0123_4567_89AB_CDEF
_MEMORY = range(0x4040_0000, 0x4140_0000, 0x20_0000)

_SOURCE = (
    "DEN0022, SYSTEM_SUSPEND; Xen vpsci.c do_psci_1_0_system_suspend, domain.c arch_domain_resume; "
    "KVM leaves it to the program that runs it; QEMU has none; measured"
)
_WITHOUT = ("qemu",)
_ENTERS = Enters(_CONTEXT)


def _suspend(landing: int = 0) -> Call:
    return Call(Id.SYSTEM_SUSPEND64, (Landing(landing), _CONTEXT))


def _comes_back(name: str, function_id: int, entry: Landing, context_id: int, x0: int) -> Scenario:
    call = Call(function_id, (entry, context_id))
    return scenario(
        f"system_suspend.{name}",
        call,
        expect(Enters(x0), qemu=_NO),
        lambda lab: lab.suspend(call),
        source=_SOURCE,
    )


def _refused(
    name: str,
    entry: Argument,
    *,
    on: tuple[int, ...] = (),
    last: bool = False,
    **answers: Answer | tuple[Answer, ...],
) -> list[Scenario]:
    """The same call in both widths."""
    return [
        ask(
            f"system_suspend.{name}.{width}",
            Call(function_id, (entry, 0x1234)),
            expect(**answers, qemu=_NO),
            source=_SOURCE,
            on=on,
            last=last,
        )
        for width, function_id in (("32", Id.SYSTEM_SUSPEND32), ("64", Id.SYSTEM_SUSPEND64))
    ]


def _whole(lab: Lab) -> Mapping[str, Observation]:
    """Suspends with the MMU on, and looks at everything afterwards."""
    probe = lab.probe
    for address in _MEMORY:
        probe.write_memory(address, _PATTERN ^ address)
    mark(lab, 0)
    enable_mmu(probe)
    before = probe.read_system_register("CNTVCT_EL0")
    came = lab.suspend(_suspend(3))
    seen: dict[str, Observation] = {"system_suspend.with_mmu": came}
    if not isinstance(came, Enters):
        return seen
    seen |= observe_entry(lab, 0, "system_suspend.entry")
    fp = probe.record(0).changed >> 32
    went_on = probe.read_system_register("CNTVCT_EL0") > before
    lost = [hex(address) for address in _MEMORY if probe.read_memory(address) != _PATTERN ^ address]
    return seen | {
        "system_suspend.fp_registers": Event("changed") if fp else KEPT,
        "system_suspend.counter": YES if went_on else NO,
        "system_suspend.memory": Event(f"changed: {' '.join(lost)}") if lost else KEPT,
    }


def _others(lab: Lab) -> Mapping[str, Observation]:
    came = lab.suspend(_suspend())
    if came != _ENTERS:
        return {"system_suspend.others_stay_off": came}
    return {
        "system_suspend.others_stay_off": lab.call(Call(Id.AFFINITY_INFO64, (Mpidr(1), 0))),
        "system_suspend.others_can_start": lab.start(Call(Id.CPU_ON64, (Mpidr(1), Landing(), _CONTEXT))),
    }


def _by_secondary(lab: Lab) -> Mapping[str, Observation]:
    lab.probe.hand_over(1)
    lab.power_off(0)
    call = Call(Id.SYSTEM_SUSPEND64, (Landing(2), _CONTEXT), cpu=1)
    came = lab.suspend(call)
    if came != _ENTERS:
        return {"system_suspend.by_cpu1": came}
    return {
        "system_suspend.by_cpu1": came,
        "system_suspend.by_cpu1.boot_cpu": lab.call(Call(Id.AFFINITY_INFO64, (Mpidr(0), 0), cpu=1)),
    }


def _thrice(lab: Lab) -> Observation:
    for landing in range(3):
        came = lab.suspend(_suspend(landing))
        if came != _ENTERS:
            break
    return came


def _wakes(seconds: float) -> Callable[[Lab], Observation]:
    def observe(lab: Lab) -> Observation:
        with timer(lab, seconds):
            return lab.suspend(_suspend(), resume=False)

    return observe


def _interrupt_kept(lab: Lab) -> Observation:
    with timer(lab, 0):
        came = lab.suspend(_suspend())
        return came if came != _ENTERS else YES if timer_is_pending(lab) else NO


def _no_interrupt_wakes(lab: Lab) -> str | None:
    if WakeSource.IRQ in lab.wake:
        return no_timer(lab)
    return "no interrupt ends a suspend on this board"


SCENARIOS = [
    *_refused("cpu1_on", Landing(), on=(1,), spec=_DENIED),
    *_refused("cpu1_on.odd", Landing(offset=1), on=(1,), spec=(_ADDRESS, _DENIED), xen=_ADDRESS, kvm=_DENIED),
    *_refused("odd", Landing(offset=1), spec=_ADDRESS),
    *_refused("misaligned", Landing(offset=2), spec=_ADDRESS, xen=None, kvm=None),
    ask(
        "system_suspend.no_memory",
        Call(Id.SYSTEM_SUSPEND64, (_NO_MEMORY, 0)),
        expect(_ADDRESS, xen=None, kvm=None, qemu=_NO),
        source=_SOURCE,
    ),
    *(
        _comes_back(f"context_{context_id:x}", Id.SYSTEM_SUSPEND64, Landing(), context_id, context_id)
        for context_id in (0, _CONTEXT, (1 << 64) - 1)
    ),
    _comes_back("landing", Id.SYSTEM_SUSPEND64, Landing(17), _CONTEXT, _CONTEXT),
    _comes_back("32", Id.SYSTEM_SUSPEND32, Landing(1), 0x3232, 0x3232),
    _comes_back("32.garbage", Id.SYSTEM_SUSPEND32, Landing(1, _GARBAGE), _GARBAGE | 0x3232, 0x3232),
    scenario(
        "system_suspend.thrice",
        _suspend(),
        expect(_ENTERS, qemu=_NO),
        _thrice,
        source=_SOURCE,
        what=", three times",
    ),
    Scenario(
        cases=(
            *entry_cases("system_suspend.entry", "SYSTEM_SUSPEND64, resumed", but=_WITHOUT),
            Case(
                "system_suspend.with_mmu",
                f"{_suspend(3)} with the MMU on",
                expect(_ENTERS, qemu=None),
                _SOURCE,
            ),
            Case(
                "system_suspend.fp_registers",
                "v0 to v31 over SYSTEM_SUSPEND64",
                expect(None, xen=KEPT),
                "Xen domain.c: only what vcpu_guest_context has is written; measured",
            ),
            Case(
                "system_suspend.counter",
                "CNTVCT_EL0 goes on over SYSTEM_SUSPEND64",
                expect(YES, qemu=None),
                "Arm ARM, the generic timer is always on; measured on Xen and KVM",
            ),
            Case(
                "system_suspend.memory",
                "memory over SYSTEM_SUSPEND64",
                expect(KEPT, qemu=None),
                "DEN0022, SYSTEM_SUSPEND: suspend to RAM",
            ),
        ),
        run=_whole,
    ),
    Scenario(
        cases=(
            Case(
                "system_suspend.others_stay_off",
                "AFFINITY_INFO64(cpu1) after SYSTEM_SUSPEND64",
                expect(_OFF, qemu=None),
                _SOURCE,
            ),
            Case(
                "system_suspend.others_can_start",
                "CPU_ON64(cpu1) after SYSTEM_SUSPEND64",
                expect(_ENTERS, qemu=None),
                _SOURCE,
            ),
        ),
        run=_others,
        cpus=2,
    ),
    Scenario(
        cases=(
            Case(
                "system_suspend.by_cpu1",
                "cpu1: SYSTEM_SUSPEND64(entry2), with cpu0 off",
                expect(_ENTERS, qemu=None),
                f"{_SOURCE}; Linux sleep.S needs the same vCPU back",
            ),
            Case(
                "system_suspend.by_cpu1.boot_cpu",
                "then AFFINITY_INFO64(cpu0)",
                expect(_OFF, qemu=None),
                _SOURCE,
            ),
        ),
        run=_by_secondary,
        on=frozenset({1}),
        cpus=2,
    ),
    scenario(
        "system_suspend.wakes",
        _suspend(),
        expect(_ENTERS, qemu=None),
        _wakes(0.3),
        source="DEN0022, SYSTEM_SUSPEND: wake-up by an enabled interrupt",
        skip=_no_interrupt_wakes,
        what=", until a timer goes off",
    ),
    scenario(
        "system_suspend.wakes.pending",
        _suspend(),
        expect((_ENTERS, _DENIED, 0), qemu=None),
        _wakes(0),
        source="DEN0022, SYSTEM_SUSPEND: a pending interrupt ends it at once, or is a reason to refuse it",
        skip=_no_interrupt_wakes,
        what=" with a timer that has gone off",
    ),
    scenario(
        "system_suspend.interrupt",
        _suspend(),
        expect(None, xen=YES, kvm=NO),
        _interrupt_kept,
        source="Xen keeps vGIC and timer; Linux kvm_timer_vcpu_reset stops the timer; measured",
        skip=no_timer,
        what=" leaves a pending interrupt pending",
    ),
]
