"""The state in which a vCPU is entered, seen by the guest: after CPU_ON, a resume and a power-down state."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hil_agent.errors import TargetTimeout
from hil_agent.psci import poison
from hil_agent.session import Session, State

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]
Assemble = Callable[..., Path]
Registers = dict[str, int]

LOAD_ADDRESS = 0x40200000
CONTEXT_ID = 0x1122334455667788
SCTLR_EE = 1 << 25
TIMER_INTERRUPT = 27

PROFILES = ("spec", "xen", "xen-v16", "kvm", "qemu")

GENERAL = tuple(f"x{number}" for number in range(1, 31))
VECTORS = tuple(f"v{number}{half}" for number in range(32) for half in ("", "_high"))
UNKNOWN_ON_KVM = 0x1DE7EC7EDBADC0DE

COMMON: Registers = {
    "currentel": 1 << 2,
    "spsel": 1,
    "daif": 0x3C0,
    "nzcv": 0,
    "sctlr_el1": 0xC50078,
    "ttbr0_el1": 0,
    "ttbr1_el1": 0,
    "tcr_el1": 0,
    **dict.fromkeys(GENERAL, 0),
}
XEN: Registers = COMMON | dict.fromkeys(("sp_el0", "sp_el1", "elr_el1", "spsr_el1"), 0)
SET: dict[str, Registers] = {
    "spec": COMMON,
    "xen": XEN,
    "xen-v16": XEN | {"daif": 0x1C0},
    "kvm": COMMON
    | dict.fromkeys(
        ("ttbr0_el1", "ttbr1_el1", "mair_el1", "tpidr_el0", "tpidr_el1", "esr_el1", "far_el1", "par_el1"),
        UNKNOWN_ON_KVM,
    )
    | dict.fromkeys(
        (
            "vbar_el1",
            "cpacr_el1",
            "contextidr_el1",
            "sp_el0",
            "cntv_ctl_el0",
            "cntkctl_el1",
            "fpcr",
            *VECTORS,
        ),
        0,
    )
    | {"csselr_el1": 0xE},
    "qemu": XEN
    | {"nzcv": 0x40000000, "sctlr_el1": 0xC50838}
    | dict.fromkeys(
        ("mair_el1", "vbar_el1", "cpacr_el1", "tpidr_el0", "tpidr_el1", "cntkctl_el1", "fpcr"), 0
    ),
}
"""What each has been seen to set at an entry point. All else is as the vCPU left it."""

KEPT_WHILE_OFF = {
    "kvm": frozenset(("sp_el1", "elr_el1", "spsr_el1")),
    "xen": frozenset(
        (
            *("mair_el1", "vbar_el1", "cpacr_el1", "contextidr_el1", "tpidr_el0", "tpidr_el1", "tpidrro_el0"),
            *("esr_el1", "far_el1", "par_el1", "csselr_el1", "cntkctl_el1", "cntv_ctl_el0", "cntv_cval_el0"),
            *("fpcr", "fpsr", *VECTORS),
        )
    ),
}
KEPT_WHILE_OFF["xen-v16"] = KEPT_WHILE_OFF["xen"]
"""What a vCPU has again when CPU_ON starts it a second time; the rest is as if it had never run."""

POISON: Registers = (
    dict(poison.GENERAL)
    | {name.lower(): value for name, value in poison.SYSTEM.items()}
    | {name: value & (1 << 64) - 1 for name, value in poison.VECTORS.items()}
    | {f"{name}_high": value >> 64 for name, value in poison.VECTORS.items()}
)


def bare_metal(assemble: Assemble, name: str, **symbols: int) -> dict[str, Any]:
    """What boots one of our guests, until it has said that it is done."""
    return {
        "kernel": assemble(name, LOAD_ADDRESS, **symbols),
        "load_address": LOAD_ADDRESS,
        "memory": "64M",
        "ready": "^done",
        "wait": False,
        "timeout_s": 20.0,
    }


def said(text: str) -> Registers:
    """The registers, or other numbers, that a guest has printed."""
    return {
        name: int(value, 16) for name, value in re.findall(r"^(\w+)=([0-9a-f]{16})\r?$", text, re.MULTILINE)
    }


# -------------------------------------------------------------------- CPU_ON and resume


@dataclass(frozen=True)
class Entries:
    """Registers of one guest: of vCPU 1 whenever CPU_ON had started it, and of vCPU 0 around SYSTEM_SUSPEND.

    vCPU 1 marked its registers before it went off in between, as vCPU 0 has them ``before``.
    """

    profile: str
    started: Registers
    again: Registers
    before: Registers
    resumed: Registers


def entries(session: Session, profile: str) -> Entries:
    """Takes the guest through SYSTEM_SUSPEND, where there is one, and collects what it has said."""
    if profile != "qemu":
        session.wait(State.SUSPENDED, timeout_s=10)
        session.resume()
    session.wait_ready(timeout_s=10)
    _, *parts = re.split(r"^== (\w+)\r?$", session.folder.console_log.read_text(), flags=re.MULTILINE)
    found = dict(zip(parts[::2], map(said, parts[1::2]), strict=True))
    return Entries(
        profile, found["started"], found["again"], found.get("before", {}), found.get("resumed", {})
    )


@pytest.fixture(scope="module", params=PROFILES)
def entered(request: pytest.FixtureRequest, boot_shared: Boot, assemble: Assemble) -> Entries:
    with boot_shared(**bare_metal(assemble, "entry_state"), cpus=2, profile=request.param) as session:
        return entries(session, request.param)


@pytest.fixture(
    scope="module",
    params=[("spec", "cortex-a57"), ("xen", "cortex-a57"), ("kvm", "cortex-a57"), ("kvm", "max")],
    ids=" on ".join,
)
def poisoned(request: pytest.FixtureRequest, boot_shared: Boot, assemble: Assemble) -> Entries:
    profile, cpu = request.param
    options = bare_metal(assemble, "entry_state")
    with boot_shared(**options, cpus=2, profile=profile, cpu=cpu, poison=True) as session:
        return entries(session, profile)


def test_cpu_on_sets_what_the_profile_sets(entered: Entries) -> None:
    expected = SET[entered.profile]
    assert {name: entered.started[name] for name in expected} == expected


def test_a_second_cpu_on_sets_what_the_profile_sets(entered: Entries) -> None:
    expected = SET[entered.profile]
    assert {name: entered.again[name] for name in expected} == expected


@pytest.mark.parametrize("entered", KEPT_WHILE_OFF, indirect=True)
def test_a_vcpu_keeps_over_its_off_time_what_the_profile_keeps(entered: Entries) -> None:
    kept = KEPT_WHILE_OFF[entered.profile]
    assert {name: entered.again[name] for name in kept} == {name: entered.before[name] for name in kept}


@pytest.mark.parametrize("entered", PROFILES[:-1], indirect=True)
def test_of_all_else_nothing_is_left_of_a_vcpus_life_before(entered: Entries) -> None:
    others = entered.started.keys() - KEPT_WHILE_OFF.get(entered.profile, set()) - {"x0"}
    assert {name: entered.again[name] for name in others} == {name: entered.started[name] for name in others}


def test_a_started_vcpu_has_its_own_mpidr(entered: Entries) -> None:
    assert entered.started["mpidr_el1"] & 0xFF_00FF_FFFF == 1


@pytest.mark.parametrize("entered", PROFILES[:-1], indirect=True)
def test_a_resume_sets_what_the_profile_sets(entered: Entries) -> None:
    expected = SET[entered.profile]
    assert {name: entered.resumed[name] for name in expected} == expected


@pytest.mark.parametrize("entered", PROFILES[:-1], indirect=True)
def test_a_resume_keeps_all_else(entered: Entries) -> None:
    kept = entered.before.keys() - SET[entered.profile].keys() - {"x0"}
    assert {name: entered.resumed[name] for name in kept} == {name: entered.before[name] for name in kept}


def test_poison_is_in_all_that_psci_leaves_undefined_after_cpu_on(poisoned: Entries) -> None:
    assert {name: poisoned.started[name] for name in POISON} == POISON


def test_poison_is_in_all_that_psci_leaves_undefined_after_a_second_cpu_on(poisoned: Entries) -> None:
    assert {name: poisoned.again[name] for name in POISON} == POISON


def test_poison_is_in_all_that_psci_leaves_undefined_after_a_resume(poisoned: Entries) -> None:
    assert {name: poisoned.resumed[name] for name in POISON} == POISON


def test_poison_leaves_alone_what_psci_defines(poisoned: Entries) -> None:
    defined = {name: SET[poisoned.profile][name] for name in ("currentel", "spsel", "daif", "sctlr_el1")}
    assert {name: poisoned.started[name] for name in defined} == defined


@pytest.mark.parametrize(("profile", "kept"), [("spec", SCTLR_EE), ("kvm", SCTLR_EE), ("xen", 0)])
def test_the_endianness_of_the_caller(boot: Boot, assemble: Assemble, profile: str, kept: int) -> None:
    session = boot(**bare_metal(assemble, "big_endian"), profile=profile)
    session.wait(State.SUSPENDED, timeout_s=10)
    session.resume()
    session.wait_ready(timeout_s=10)
    assert said(session.folder.console_log.read_text())["sctlr"] & SCTLR_EE == kept


# ------------------------------------------------------- power-down, and a timer that wakes


@dataclass(frozen=True)
class Night:
    """What a guest has said of its sleeps, and what the session recorded."""

    said: Registers
    conduits: set[str]
    causes: list[str]


def night(session: Session) -> Night:
    session.wait_ready(timeout_s=10)
    events = [json.loads(line) for line in session.folder.journal.read_text().splitlines()]
    return Night(
        said(session.folder.console_log.read_text()),
        {call.conduit for call in session.trace()},
        [event["cause"] for event in events if event.get("event") == "resumed"],
    )


SLEEPERS = {
    f"{name}, GICv{gic}": (options | {"gic_version": gic}, gic)
    for name, options in {
        "spec": {"profile": "spec"},
        "smc, irq": {"conduit": "smc", "wake": "irq"},
        "timer": {"wake": "timer"},
    }.items()
    for gic in (2, 3)
}


@pytest.fixture(scope="module", params=SLEEPERS)
def slept(request: pytest.FixtureRequest, boot_shared: Boot, assemble: Assemble) -> Night:
    options, gic = SLEEPERS[request.param]
    guest = bare_metal(assemble, "sleep", GIC=gic, SMC=int("conduit" in options), ALARM=1)
    with boot_shared(**guest, **options) as session:
        return night(session)


def test_standby_returns(slept: Night) -> None:
    assert slept.said["standby"] == 0


def test_a_timer_armed_before_system_suspend_wakes(slept: Night) -> None:
    assert (slept.said["resumed"], slept.causes) == (CONTEXT_ID, [f"interrupt {TIMER_INTERRUPT}"])


@pytest.mark.parametrize("slept", ["spec, GICv2", "spec, GICv3"], indirect=True)
def test_power_down_ends_at_the_entry_point_with_the_context_id(slept: Night) -> None:
    assert slept.said["power_down"] == CONTEXT_ID
    assert "power_down_returned" not in slept.said


@pytest.mark.parametrize("slept", ["timer, GICv3"], indirect=True)
def test_on_xen_power_down_is_standby(slept: Night) -> None:
    assert slept.said["power_down_returned"] == 0
    assert "power_down" not in slept.said


@pytest.mark.parametrize("slept", ["smc, irq, GICv2", "smc, irq, GICv3"], indirect=True)
def test_a_guest_that_calls_by_smc_is_answered_alike(slept: Night) -> None:
    assert slept.conduits == {"smc"}


def test_with_wake_by_command_a_timer_does_not_wake(boot: Boot, assemble: Assemble) -> None:
    session = boot(**bare_metal(assemble, "sleep", GIC=3, SMC=0, ALARM=1), wake="command")
    session.wait(State.SUSPENDED, timeout_s=10)
    with pytest.raises(TargetTimeout):
        session.wait_ready(timeout_s=1)


def test_a_spurious_wake_ends_every_sleep_without_an_interrupt(boot: Boot, assemble: Assemble) -> None:
    guest = bare_metal(assemble, "sleep", GIC=3, SMC=0, ALARM=0)
    with boot(**guest, profile="spec", fault=("kind=spurious-wake,after_us=1000",)) as session:
        seen = night(session)
        faults = [call.fault for call in session.trace()]
    assert (seen.said["standby"], seen.said["power_down"], seen.said["resumed"]) == (
        0,
        CONTEXT_ID,
        CONTEXT_ID,
    )
    assert (seen.causes, faults) == (["fault"], ["spurious-wake"] * 3)
