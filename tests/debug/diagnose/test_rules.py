"""What is concluded from what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hil_agent.board.load import load_board
from hil_agent.debug.diagnose import Evidence, Vcpu
from hil_agent.debug.diagnose.gic import Interrupt
from hil_agent.debug.diagnose.rules import conclude
from hil_agent.debug.mi import Frame
from hil_agent.session.documents import Status, TraceRecord
from hil_agent.session.plan import BootPlan, GuestFiles

_KERNEL = 0xFFFF_8000_0801_0000
_EL1H = 0x5
_MASKED = _EL1H | 0x80
_MMU_ON = 1
_CONTEXT = {"entry_point": "0x40efd038", "context_id": "0x0", "cpu": 0, "width": 64, "since_s": 12.0}


def _status(state: str = "running", power: str = "on", **fields: Any) -> Status:  # noqa: ANN401 - those of Status
    cpus = [{"cpu": 0, "mpidr": "0x0", "power": power}]
    known = {"name": "s", "board": "b", "guest": "g", "profile": "xen", "trap": "el2", "target_pid": 1}
    return Status.model_validate({"state": state, "cpus": cpus, "console_log": "/c", **known, **fields})


def _vcpu(*functions: str, code: tuple[int, int] = (0, 0), **registers: int) -> Vcpu:
    frames = tuple(Frame(level, _KERNEL + level, name) for level, name in enumerate(functions))
    symbols = {frame.address: f"{frame.function}+0x0" for frame in frames}
    base = {"cpsr": _EL1H, "pc": _KERNEL, "SCTLR_EL1": _MMU_ON}
    return Vcpu(0, "on", base | registers, backtrace=frames, symbols=symbols, code=code)


def _call(function: str = "SYSTEM_SUSPEND", result: str | None = None, **fields: Any) -> TraceRecord:  # noqa: ANN401
    record = {
        "seq": 7,
        "time_s": 1.0,
        "cpu": 0,
        "conduit": "hvc",
        "function": function,
        "function_id": "0x0",
        "args": ["0x40efd038", "0x0"],
        "result": result,
        "value": None,
        "handling_us": 1.0,
        "fault": None,
    }
    return TraceRecord.model_validate(record | fields)


def _plan(wake: str) -> BootPlan:
    board = load_board("qemu-virt").with_overrides(wake=wake)
    return BootPlan(board=board, guest=GuestFiles(name="g", kernel=Path("/k")))


def _interrupt(intid: int, *, pending: bool = False) -> Interrupt:
    return Interrupt(intid, "timer", 0, enabled=True, pending=pending, active=False)


def _first(evidence: Evidence) -> str:
    """The likely cause."""
    return conclude(evidence)[0].what


def _names(evidence: Evidence) -> list[str]:
    return [finding.rule for finding in conclude(evidence)]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert conclude(Evidence(_status(), vcpus=(_vcpu("do_work"),))) == ()


def test_a_machine_that_is_gone() -> None:
    evidence = Evidence(_status("crashed", reason="QEMU was killed by SIGKILL\nmore", target_pid=None))
    assert _first(evidence) == "the machine is gone: QEMU was killed by SIGKILL"


def test_a_panic_is_found_in_the_kernel_s_memory() -> None:
    log = ("[    1.0] sysrq: Trigger a crash", "[    1.1] Kernel panic - not syncing: sysrq triggered crash")
    evidence = Evidence(_status("crashed"), kernel_log=log)
    assert _first(evidence) == ("the kernel has panicked: Kernel panic - not syncing: sysrq triggered crash")


def test_a_panic_is_found_on_the_console_where_memory_cannot_be_read() -> None:
    assert _names(Evidence(_status(), console=("Kernel panic - not syncing: x",))) == ["panic"]


def test_an_entry_point_that_was_changed() -> None:
    evidence = Evidence(
        _status(resumes=1),
        calls=(_call(),),
        events=({"event": "resumed", "time_s": 2.0, "entry_point": "0x40000000", "cause": "command"},),
    )
    assert _first(evidence).startswith(
        "the guest was resumed at 0x40000000, though it had asked for 0x40efd038"
    )


def test_an_entry_point_that_a_fault_has_changed() -> None:
    resumed = {"event": "resumed", "time_s": 2.0, "entry_point": "0x40efd039", "cause": "command"}
    evidence = Evidence(_status(resumes=1), calls=(_call(fault="flip"),), events=(resumed,))
    assert _first(evidence).endswith("the fault flip did that")


def test_an_entry_point_that_was_not_changed() -> None:
    resumed = {"event": "resumed", "time_s": 2.0, "entry_point": "0x40efd038", "cause": "command"}
    assert conclude(Evidence(_status(resumes=1), calls=(_call(),), events=(resumed,))) == ()


def test_vectors_that_cannot_be_executed() -> None:
    stuck = _vcpu(
        pc=_KERNEL + 0x200, ELR_EL1=_KERNEL + 0x200, VBAR_EL1=_KERNEL, ESR_EL1=0x86000000, SCTLR_EL1=0
    )
    (finding,) = conclude(Evidence(_status(resumes=1), vcpus=(stuck,)))
    assert finding.rule == "exception-loop"
    assert "(instruction abort)" in finding.what
    assert finding.what.endswith("as the MMU is off")


def test_an_exception_that_is_handled_is_no_loop() -> None:
    handling = _vcpu(pc=_KERNEL + 0x200, ELR_EL1=_KERNEL + 0x10000, VBAR_EL1=_KERNEL)
    assert conclude(Evidence(_status(), vcpus=(handling,))) == ()


def test_a_vcpu_that_has_not_come_far_since_its_entry() -> None:
    evidence = Evidence(_status(resumes=1), vcpus=(_vcpu("cpu_resume", SCTLR_EL1=0),))
    assert _first(evidence).startswith("vCPU 0 is at cpu_resume+0x0 with its MMU still off")


@pytest.mark.parametrize(
    "line",
    [
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000",
        "Internal error: Oops: 0000000096000005 [#1] SMP",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [sh:1]",
        "rcu: INFO: rcu_sched self-detected stall on CPU",
        "INFO: task sh:1 blocked for more than 120 seconds.",
        "CPU1: failed to come online",
    ],
)
def test_what_the_kernel_complains_of(line: str) -> None:
    assert line in _first(Evidence(_status(), kernel_log=(f"[   60.0] {line}",)))


def test_a_vcpu_that_never_arrived() -> None:
    assert "never arrived" in _first(Evidence(_status(power="on_pending")))


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (_call(result="DENIED"), "other vCPUs were on"),
        (_call(result="DENIED", fault="no sleep"), "by the fault no sleep"),
        (_call(result="INVALID_ADDRESS"), "not in the guest's RAM"),
    ],
    ids=["denied", "fault", "address"],
)
def test_a_suspend_that_was_refused(call: TraceRecord, why: str) -> None:
    assert why in _first(Evidence(_status(), calls=(call,)))


def test_only_the_last_suspend_counts() -> None:
    assert conclude(Evidence(_status(), calls=(_call(result="DENIED"), _call()))) == ()


def test_a_suspend_that_only_the_command_ends() -> None:
    evidence = Evidence(_status("suspended", "suspended", context=_CONTEXT), _plan("command"))
    assert "only hil-agent resume wakes it" in _first(evidence)


_UART = Interrupt(33, "uart", None, enabled=True, pending=False, active=False)
_SGI = Interrupt(1, "SGI 1", 0, enabled=True, pending=False, active=False)


@pytest.mark.parametrize(
    ("timer", "interrupts", "end"),
    [
        (1, (_SGI, _interrupt(27), _UART), "what may wake it, if it raises its interrupt: timer, uart"),
        (0, (_SGI, _interrupt(27), _UART), "what may wake it, if it raises its interrupt: uart"),
        (3, (_SGI, _interrupt(27)), "no device's interrupt is enabled, and no timer counts"),
    ],
    ids=["device, timer", "device", "nothing"],
)
def test_a_suspend_that_interrupts_may_end(timer: int, interrupts: tuple[Interrupt, ...], end: str) -> None:
    status = _status("suspended", "suspended", context=_CONTEXT)
    vcpus = (_vcpu(CNTV_CTL_EL0=timer),)
    assert _first(Evidence(status, _plan("command,irq"), vcpus=vcpus, interrupts=interrupts)).endswith(end)


def test_a_guest_that_the_host_holds() -> None:
    assert "held by the host" in _first(Evidence(_status("suspended")))


def test_a_fault_on_purpose() -> None:
    evidence = Evidence(_status(), calls=(_call("CPU_ON", "INTERNAL_FAILURE", fault="no power"),))
    assert _first(evidence) == "call 7, CPU_ON, was answered INTERNAL_FAILURE by the fault no power"


def test_a_vcpu_that_spins_on_a_lock() -> None:
    evidence = Evidence(_status(), vcpus=(_vcpu("queued_spin_lock_slowpath", "do_work"),))
    assert "waits for a spin lock that nobody releases" in _first(evidence)


def test_a_vcpu_that_spins_on_one_instruction() -> None:
    evidence = Evidence(_status(), vcpus=(_vcpu("hang", code=(0, 0x14000000)),))
    assert "spins at hang+0x0" in _first(evidence)


def test_interrupts_that_are_masked_while_one_is_pending() -> None:
    evidence = Evidence(
        _status(), vcpus=(_vcpu("work", cpsr=_MASKED),), interrupts=(_interrupt(27, pending=True),)
    )
    assert _names(evidence) == ["interrupts-masked"]


@pytest.mark.parametrize(
    "vcpu",
    [
        _vcpu("cpu_do_idle", cpsr=_MASKED, code=(0xD503207F, 0)),
        _vcpu("vectors", cpsr=_MASKED, pc=_KERNEL + 0x280, VBAR_EL1=_KERNEL),
    ],
    ids=["in wfi", "in its vectors"],
)
def test_interrupts_that_are_about_to_be_taken_are_no_cause(vcpu: Vcpu) -> None:
    evidence = Evidence(_status(), vcpus=(vcpu,), interrupts=(_interrupt(27, pending=True),))
    assert "interrupts-masked" not in _names(evidence)


def test_a_guest_that_a_debugger_holds() -> None:
    assert _first(Evidence(_status("stopped"))).startswith("a debugger holds the machine")


def test_a_guest_that_is_off() -> None:
    assert _names(Evidence(_status("off", "off"))) == ["off"]


@pytest.mark.parametrize(
    "vcpu", [_vcpu(code=(0xD503207F, 0)), _vcpu("cpu_do_idle", "do_idle")], ids=["wfi", "function"]
)
def test_a_guest_that_is_idle(vcpu: Vcpu) -> None:
    assert _names(Evidence(_status(), vcpus=(vcpu,))) == ["idle"]


def test_a_vcpu_that_is_off_is_no_cause() -> None:
    off = Vcpu(0, "off", {"cpsr": _MASKED, "SCTLR_EL1": 0})
    assert conclude(Evidence(_status(resumes=1), vcpus=(off,))) == ()


def test_a_guest_that_the_session_gave_up() -> None:
    evidence = Evidence(_status("crashed", reason="vCPU 0: unexpected SError at EL2\nmore"))
    assert _first(evidence) == "the session has given the guest up: vCPU 0: unexpected SError at EL2"
