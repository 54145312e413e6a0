"""Guests of a few instructions each, that see what no Linux shows: every answer, every register at entry."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hil_agent.board import load_board
from hil_agent.errors import StateError
from hil_agent.session import Session, State

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]
Assemble = Callable[..., Path]

LOAD_ADDRESS = 0x40200000
SUCCESS, NOT_SUPPORTED, INVALID_PARAMETERS, DENIED, ALREADY_ON, INVALID_ADDRESS = 0, -1, -2, -3, -4, -9
EL1H = 0x4 | 1
DAIF = 0x3C0
MMU_AND_CACHES = 1 << 0 | 1 << 2 | 1 << 12
CONTEXT_ID = 0x1122334455667788
UNDEFINED = 0x02000000
SOON_S = 10.0
SYNCHRONOUS_EL1H = 0x200
SYSTEM_OFF, SYSTEM_RESET, SYSTEM_RESET2, SYSTEM_OFF2 = 0x84000008, 0x84000009, 0xC4000012, 0xC4000015
EC_SHIFT, DATA_ABORT = 26, 0x25


def said(session: Session) -> dict[str, int]:
    """The numbers that a guest has printed, the last of each name; 64 bits, signed."""
    log = session.folder.console_log.read_text(errors="replace")
    return {
        name: int.from_bytes(int(value, 16).to_bytes(8), signed=True)
        for name, value in re.findall(r"^([\w-]+)=([0-9a-f]{16})\r?$", log, re.MULTILINE)
    }


def flat(assemble: Assemble, name: str, *, target: int = 0, **options: object) -> dict[str, object]:
    """What boots one of our guests; names in capitals are symbols for its assembly."""
    symbols = {option: options.pop(option) for option in tuple(options) if option.isupper()}
    return {
        "kernel": assemble(name, LOAD_ADDRESS, TARGET=target, **symbols),
        "load_address": LOAD_ADDRESS,
        "memory": "64M",
        "timeout_s": 20.0,
        **options,
    }


def test_a_guest_that_suspends_at_once_has_booted(boot: Boot, assemble: Assemble) -> None:
    session = boot(**flat(assemble, "suspend", ready="^ready"))
    session.wait(State.SUSPENDED, timeout_s=10)


# ------------------------------------------------------------------------------- answers


@pytest.fixture(scope="module", params=["xen", "kvm", "spec", "xen-v16"])
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def answers(boot_shared: Boot, assemble: Assemble, profile: str) -> dict[str, int]:
    with boot_shared(**flat(assemble, "calls", cpus=2, ready="^done", profile=profile)) as session:
        return said(session)


COMMON = {
    "migrate": 2,
    "features_suspend": SUCCESS,
    "features_suspend32": SUCCESS,
    "features_unknown": NOT_SUPPORTED,
    "unknown": NOT_SUPPORTED,
    "unknown64": NOT_SUPPORTED,
    "affinity_self": 0,
    "affinity_other": 1,
    "affinity_level": INVALID_PARAMETERS,
    "on_absent": INVALID_PARAMETERS,
    "suspend_odd": INVALID_ADDRESS,
    "suspend_odd32": INVALID_ADDRESS,
}
OWN = {
    "xen": {"version": 0x10001, "version_smc": 0x10001, "smccc": 0x10002, "on_self": ALREADY_ON,
            "on_odd": INVALID_ADDRESS, "garbage_id": 0x10001, "affinity_garbage32": 0,
            "suspend_odd_smc": INVALID_ADDRESS},
    "xen-v16": {"version": 0x10001, "version_smc": 0x10001, "affinity_garbage32": 1},
    "kvm": {"version": 0x10001, "version_smc": NOT_SUPPORTED, "smccc": 0x10001, "on_self": ALREADY_ON,
            "garbage_id": 0x10001, "suspend_odd_smc": NOT_SUPPORTED},
    "spec": {"version": 0x10003, "version_smc": 0x10003, "on_odd": INVALID_ADDRESS, "garbage_id": 0x10003},
}  # fmt: skip


def test_every_call_is_answered_as_the_profile_says(answers: dict[str, int], profile: str) -> None:
    expected = COMMON | OWN[profile]
    assert {name: answers.get(name) for name in expected} == expected


def test_registers_beyond_the_results_are_kept(answers: dict[str, int], profile: str) -> None:
    results = 4 if profile == "kvm" else 1
    kept = {number: answers[f"kept{number}"] for number in (1, 2, 3, 17, 28)}
    expected = {number: 0 if number < results else int(f"{number:02}"[-1] * 16, 16) for number in (1, 2, 3)}
    expected |= {17: 0x1717171717171717, 28: 0x2828282828282828}
    assert kept == expected


@pytest.mark.parametrize("profile", ["kvm"], indirect=True)
def test_an_immediate_is_ignored_on_kvm(answers: dict[str, int]) -> None:
    assert (answers["hvc1"], answers["smc1234"]) == (0x10001, NOT_SUPPORTED)


@pytest.fixture(scope="module")
def xen_immediate(boot_shared: Boot, assemble: Assemble) -> list[dict[str, int]]:
    """The exceptions that the guest took for `hvc #1` and `smc #0x1234`, in that order."""
    with boot_shared(**flat(assemble, "calls", ready="^done", profile="xen")) as session:
        log = session.folder.console_log.read_text()
    numbers = r"vector=(\w+)\s+esr=(\w+)\s+elr-site=(\w+)\s+spsr=(\w+)"
    names = ("vector", "esr", "distance", "spsr")
    return [
        dict(zip(names, (int(word, 16) for word in each), strict=True)) for each in re.findall(numbers, log)
    ]


def test_on_xen_an_immediate_is_an_undefined_instruction(xen_immediate: list[dict[str, int]]) -> None:
    assert [(each["vector"], each["esr"]) for each in xen_immediate] == [(SYNCHRONOUS_EL1H, UNDEFINED)] * 2


def test_on_xen_elr_is_past_an_hvc_and_at_an_smc(xen_immediate: list[dict[str, int]]) -> None:
    assert [each["distance"] for each in xen_immediate] == [4, 0]


def test_an_injected_exception_saves_the_callers_pstate(xen_immediate: list[dict[str, int]]) -> None:
    assert [each["spsr"] & 0x3CF for each in xen_immediate] == [DAIF | 5] * 2


def test_the_smc_conduit_is_traced_as_such(boot: Boot, assemble: Assemble) -> None:
    session = boot(**flat(assemble, "calls", ready="^done", cpus=2))
    assert [call.conduit for call in session.trace()[:3]] == ["hvc", "smc", "hvc"]


# --------------------------------------------------------------------------- a second vCPU


@pytest.fixture(scope="module")
def secondary(boot_shared: Boot, assemble: Assemble) -> Session:
    return boot_shared(**flat(assemble, "secondary", cpus=2, ready="^done"))


def test_a_secondary_starts_with_its_context_id(secondary: Session) -> None:
    assert said(secondary)["secondary_x0"] == CONTEXT_ID


def test_a_secondary_starts_with_nothing_else_in_its_registers(secondary: Session) -> None:
    assert said(secondary)["secondary_x1_to_x30"] == 0


def test_a_secondary_starts_at_el1h_with_everything_masked(secondary: Session) -> None:
    assert (said(secondary)["secondary_el"], said(secondary)["secondary_daif"]) == (EL1H, DAIF)


def test_a_secondary_starts_with_mmu_and_caches_off(secondary: Session) -> None:
    assert said(secondary)["secondary_sctlr"] & MMU_AND_CACHES == 0


def test_suspend_with_a_secondary_on_is_denied(secondary: Session) -> None:
    assert (said(secondary)["suspend_denied"], said(secondary)["suspend_denied32"]) == (DENIED, DENIED)


def test_an_odd_entry_point_is_refused_before_the_other_vcpus_are_looked_at(secondary: Session) -> None:
    assert said(secondary)["suspend_odd_first"] == INVALID_ADDRESS


def test_a_secondary_can_be_taken_up_twice_and_down_twice(secondary: Session) -> None:
    assert [call.function for call in secondary.trace()].count("CPU_OFF") == 2


def test_what_cpu_on_said(secondary: Session) -> None:
    results = [call.result for call in secondary.trace() if call.function == "CPU_ON"]
    assert results == ["SUCCESS", "ALREADY_ON", "SUCCESS"]


def test_a_denied_suspend_leaves_no_trace_in_the_state(secondary: Session) -> None:
    status = secondary.status()
    assert (status.state, status.context, status.suspends) == (State.RUNNING, None, 0)


# --------------------------------------------------------------------------------- resume


@pytest.fixture(scope="module", params=[2, 3], ids=["GICv2", "GICv3"])
def resumed(request: pytest.FixtureRequest, boot_shared: Boot, assemble: Assemble) -> Iterator[Session]:
    """A guest that has been suspended four times, with both forms of the call, and never set up its GIC."""
    with boot_shared(**flat(assemble, "suspend", gic_version=request.param), wait=False) as session:
        for done in range(4):
            session.wait(State.SUSPENDED, timeout_s=10)
            assert session.status().suspends == done + 1
            session.resume()
        session.wait(State.SUSPENDED, timeout_s=10)
        yield session


def test_a_guest_without_a_gic_driver_is_resumed(resumed: Session) -> None:
    assert resumed.status().resumes == 4


def test_no_suspend_has_returned(resumed: Session) -> None:
    assert "returned" not in said(resumed)


def test_the_entry_point_gets_the_context_id(resumed: Session) -> None:
    log = resumed.folder.console_log.read_text()
    values = [int(value, 16) for value in re.findall(r"^x0=(\w+)", log, re.MULTILINE)]
    assert values == [CONTEXT_ID, CONTEXT_ID & 0xFFFFFFFF] * 2


def test_all_other_registers_are_zero(resumed: Session) -> None:
    assert said(resumed)["x1_to_x30"] == 0


def test_it_is_entered_at_el1h(resumed: Session) -> None:
    assert said(resumed)["el_spsel"] == EL1H


def test_it_is_entered_with_everything_masked(resumed: Session) -> None:
    assert said(resumed)["daif"] == DAIF


def test_it_is_entered_with_mmu_and_caches_off(resumed: Session) -> None:
    assert said(resumed)["sctlr"] & MMU_AND_CACHES == 0


def test_the_context_says_how_the_call_was_made(resumed: Session) -> None:
    context = resumed.context()
    assert context is not None
    assert (context.context_id, context.width, context.cpu) == (f"{CONTEXT_ID:#x}", 64, 0)


# --------------------------------------------------------------------- reset, off, and worse


@dataclass(frozen=True)
class End:
    """How a guest is reset and switched off, and what that is called."""

    reset: int
    off: int
    calls: tuple[str, str]
    causes: tuple[str, str]
    profile: str = "xen"


COLD = End(SYSTEM_RESET, SYSTEM_OFF, ("SYSTEM_RESET", "SYSTEM_OFF"), ("SYSTEM_RESET", "SYSTEM_OFF"))
WARM = End(
    SYSTEM_RESET2,
    SYSTEM_OFF2,
    ("SYSTEM_RESET2", "SYSTEM_OFF2"),
    ("SYSTEM_RESET2, warm reset", "SYSTEM_OFF2, to hibernate"),
    profile="spec",
)
ENDS = {
    "cold": COLD,
    "warm, hibernation": WARM,
    "warm, on KVM": replace(
        COLD,
        reset=SYSTEM_RESET2,
        calls=("SYSTEM_RESET2", "SYSTEM_OFF"),
        causes=("SYSTEM_RESET2, warm reset", "SYSTEM_OFF"),
        profile="kvm",
    ),
    "hibernation, on a KVM with PSCI 1.3": replace(WARM, profile="kvm"),
}


@pytest.fixture(scope="module", params=ENDS)
def end(request: pytest.FixtureRequest) -> End:
    return ENDS[request.param]


@pytest.fixture(scope="module")
def switched_off(boot_shared: Boot, assemble: Assemble, end: End) -> Session:
    guest = flat(assemble, "power", RESET=end.reset, OFF=end.off)
    version = "1.3" if end.off == SYSTEM_OFF2 else None
    session = boot_shared(**guest, profile=end.profile, psci_version=version, wait=False)
    session.wait(State.OFF, timeout_s=10)
    deadline = time.monotonic() + SOON_S
    while not said(session).get("boots"):  # its last words may still be on their way
        assert time.monotonic() < deadline, "the guest has not said that it booted again"
        time.sleep(0.01)
    return session


def test_a_reset_starts_the_guest_again_and_leaves_its_memory_alone(switched_off: Session) -> None:
    assert said(switched_off)["boots"] == 1


def test_reset_and_off_do_not_return(switched_off: Session, end: End) -> None:
    calls = [(call.function, call.result) for call in switched_off.trace()]
    assert calls == [(function, None) for function in end.calls]


def test_a_guest_that_is_off_tells_why(switched_off: Session, end: End) -> None:
    assert switched_off.status().reason == end.causes[1]


def test_the_journal_tells_why_a_guest_was_reset_and_is_off(switched_off: Session, end: End) -> None:
    events = [json.loads(line) for line in switched_off.folder.journal.read_text().splitlines()]
    causes = [each["cause"] for each in events if each.get("event") in {"wasreset", "switchedoff"}]
    assert causes == list(end.causes)


def test_protected_memory_is_overwritten_at_a_reset(boot: Boot, assemble: Assemble) -> None:
    session = boot(**flat(assemble, "protect"), profile="spec", wait=False)
    session.wait(State.SUSPENDED, timeout_s=10)
    session.resume()
    session.wait(State.SUSPENDED, timeout_s=60)
    log = session.folder.console_log.read_text()
    assert re.findall(r"^memory=(\d+)", log, re.MULTILINE) == ["0" * 16] * 2
    assert '"SYSTEM_RESET, memory overwritten"' in session.folder.journal.read_text()


def test_a_guest_that_is_off_cannot_be_resumed(switched_off: Session) -> None:
    with pytest.raises(StateError):
        switched_off.resume()


def test_a_guest_that_overwrites_what_is_the_monitors_is_answered_all_the_same(
    boot: Boot, assemble: Assemble
) -> None:
    rom = load_board("qemu-virt").rom
    assert rom is not None
    session = boot(**flat(assemble, "vandal", target=rom.start, ready="^done"))
    assert (said(session)["version"], session.status().state) == (0x10001, State.RUNNING)
    assert said(session)["esr"] >> EC_SHIFT == DATA_ABORT
    assert "taken" not in session.folder.console_log.read_text()


def test_a_guest_that_never_calls_is_up_when_it_says_so(boot: Boot, assemble: Assemble) -> None:
    session = boot(**flat(assemble, "silent", ready="here I am"))
    assert (session.status().state, session.status().calls) == (State.RUNNING, 0)


def test_an_elf_file_is_booted_where_it_was_linked(boot: Boot, assemble: Assemble) -> None:
    kernel = assemble("silent", 0x41000000, elf=True)
    assert boot(kernel=kernel, memory="64M", ready="here I am").status().state is State.RUNNING
