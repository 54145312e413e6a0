"""Idle states: answers that the EL2 monitor repeats, as a bare-metal guest and as Linux see them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from hil_agent.debug import Gdb
from hil_agent.session import Session, State

if TYPE_CHECKING:
    from tests.e2e.conftest import Cycle

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]
Assemble = Callable[..., Path]

LOAD_ADDRESS = 0x40200000
STANDBY, POWER_DOWN = 0x1, 0x10003
CONTEXT_ID = 0x1122334455667788
STAYS = 5
BOTH = "standby,power-down"
CPU_SUSPEND = 0xC4000001
HVC = 0xD4000002
SOON_S = 20


class Machine(NamedTuple):
    """What our guest idles on, how, and what it should find in x0 then, and in x1 if that is not kept."""

    state: int
    gic: int = 3
    conduit: str = "hvc"
    profile: str = "spec"
    x0: int = 0
    x1: int | None = None


BARE_METAL = [
    Machine(STANDBY, gic=2),
    Machine(STANDBY, gic=3),
    Machine(STANDBY, conduit="smc"),
    Machine(STANDBY, profile="xen"),
    Machine(STANDBY, profile="kvm", x1=0),
    Machine(POWER_DOWN, gic=2, x0=CONTEXT_ID, x1=0),
    Machine(POWER_DOWN, gic=3, x0=CONTEXT_ID, x1=0),
    Machine(POWER_DOWN, conduit="smc", x0=CONTEXT_ID, x1=0),
    Machine(POWER_DOWN, profile="xen"),
]


class Idler(NamedTuple):
    """A bare-metal guest that has idled five times and then sleeps for good."""

    machine: Machine
    session: Session

    def said(self) -> dict[str, int]:
        """The numbers that it has printed."""
        log = self.session.folder.console_log.read_text(errors="replace")
        return {name: int(value, 16) for name, value in re.findall(r"^(\w+)=(\w{16})\r?$", log, re.MULTILINE)}

    def traced(self) -> int:
        """How many of its idle calls are in the trace."""
        return [call.function for call in self.session.trace()].count("CPU_SUSPEND")


def boot_idler(boot: Boot, assemble: Assemble, machine: Machine, **options: object) -> Session:
    kernel = assemble(
        "idle",
        LOAD_ADDRESS,
        STATE=machine.state,
        EXPECTED=machine.x0,
        DOWN=int(machine.x0 == CONTEXT_ID),
        GIC=machine.gic,
        SMC=int(machine.conduit == "smc"),
        STATISTICS=int(machine.profile == "spec"),
    )
    return boot(
        kernel=kernel,
        load_address=LOAD_ADDRESS,
        memory="64M",
        ready="^done",
        timeout_s=20.0,
        gic_version=machine.gic,
        conduit=machine.conduit,
        profile=machine.profile,
        **{"idle_states": BOTH, **options},
    )


@pytest.fixture(scope="module", params=BARE_METAL, ids=lambda machine: "-".join(map(str, machine[:4])))
def idler(request: pytest.FixtureRequest, boot_shared: Boot, assemble: Assemble) -> Iterator[Idler]:
    with boot_idler(boot_shared, assemble, request.param) as session:
        yield Idler(request.param, session)


SPEC = [machine for machine in BARE_METAL if machine.profile == "spec"]


def test_a_call_returns_with_all_registers_that_it_must_keep(idler: Idler) -> None:
    assert idler.said()["changed"] == 0


def test_x1_is_kept_unless_the_profile_or_the_entry_state_says_otherwise(idler: Idler) -> None:
    expected = idler.machine.state if idler.machine.x1 is None else idler.machine.x1
    assert idler.said()["x1"] == expected


def test_only_the_first_call_is_traced(idler: Idler) -> None:
    assert idler.traced() == 1


def test_every_call_that_is_over_is_counted(idler: Idler) -> None:
    status = idler.session.status()
    assert (status.counters["CPU_SUSPEND"], status.untraced) == ((STAYS,), STAYS - 1)


def test_the_number_of_calls_is_that_of_all_counters(idler: Idler) -> None:
    status = idler.session.status()
    assert status.calls == sum(map(sum, status.counters.values()))


@pytest.mark.parametrize("idler", SPEC, indirect=True, ids=lambda machine: "-".join(map(str, machine[:4])))
def test_statistics_count_what_was_not_trapped(idler: Idler) -> None:
    said = idler.said()
    assert (said["count_first"], said["count_last"]) == (1, STAYS)


@pytest.mark.parametrize("idler", SPEC, indirect=True, ids=lambda machine: "-".join(map(str, machine[:4])))
def test_the_residency_is_most_of_the_time_that_the_guest_has_seen_go_by(idler: Idler) -> None:
    said = idler.said()
    residency = said["residency_last"] - said["residency_first"]
    assert said["elapsed"] / 2 <= residency <= said["elapsed"]


def test_registers_of_a_guest_that_waits_are_its_own(boot: Boot, assemble: Assemble) -> None:
    session = boot_idler(boot, assemble, Machine(STANDBY))
    session.suspend_by_host()
    registers = session.registers().suspended[0]
    numbered = {f"x{number}": number for number in range(4, 31)}
    assert {name: int(registers[name], 16) for name in numbered} == numbered
    assert (int(registers["x0"], 16), int(registers["x1"], 16)) == (CPU_SUSPEND, STANDBY)
    assert LOAD_ADDRESS < int(registers["pc"], 16) < LOAD_ADDRESS + 0x2000


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"idle_states": None}, id="no idle states"),
        pytest.param({"fault": ("kind=spurious-wake,cpu=3",)}, id="a fault that may be about them"),
    ],
)
def test_every_call_is_traced_if_it_may_not_be_repeated(
    boot: Boot, assemble: Assemble, options: dict[str, object]
) -> None:
    session = boot_idler(boot, assemble, Machine(STANDBY), **options)
    idler = Idler(Machine(STANDBY), session)
    status = session.status()
    assert (idler.traced(), status.untraced) == (status.counters["CPU_SUSPEND"][0], 0)
    assert idler.said()["count_last"] == STAYS


def test_after_a_reset_the_first_call_is_traced_again(boot: Boot, assemble: Assemble) -> None:
    session = boot_idler(boot, assemble, Machine(POWER_DOWN, x0=CONTEXT_ID))
    session.reset()
    idler = Idler(Machine(POWER_DOWN), session)
    assert (idler.traced(), idler.said()["count_last"]) == (2, STAYS)
    assert session.status().counters["CPU_SUSPEND"] == (2 * STAYS,)


# ----------------------------------------------------------------------------------- Linux


IDLE = "for i in $(seq 20); do sleep 0.003; done; sleep 0.5"


@pytest.fixture(scope="module", params=[2, 3], ids=["GICv2", "GICv3"])
def linux(request: pytest.FixtureRequest, boot_shared: Boot) -> Iterator[Session]:
    with boot_shared(cpus=4, gic_version=request.param, profile="spec", idle_states=BOTH) as session:
        yield session


def usage(session: Session, what: str = "usage") -> dict[str, int]:
    """How often the kernel has used each idle state, by all vCPUs together."""
    said = session.exec(
        "cd /sys/devices/system/cpu; for state in cpu*/cpuidle/state*; do "
        f"echo $(cat $state/name) $(cat $state/{what}); done"
    )
    counts: dict[str, int] = {}
    for line in said.text.splitlines():
        name, count = line.split()
        counts[name] = counts.get(name, 0) + int(count)
    return counts


def test_linux_has_the_idle_states(linux: Session) -> None:
    assert list(usage(linux)) == ["WFI", "cpu-standby", "cpu-power-down"]


def test_linux_uses_every_idle_state(linux: Session) -> None:
    before = usage(linux)
    linux.exec(IDLE)
    after = usage(linux)
    assert [name for name, count in after.items() if name != "WFI" and count == before[name]] == []


def test_no_entry_of_an_idle_state_fails(linux: Session) -> None:
    assert set(usage(linux, "rejected").values()) == {0}


def test_counters_go_up_though_hardly_a_call_is_traced(linux: Session) -> None:
    before, traced = sum(linux.status().counters["CPU_SUSPEND"]), len(linux.trace())
    linux.exec(IDLE)
    calls = sum(linux.status().counters["CPU_SUSPEND"]) - before
    assert calls > 20
    assert len(linux.trace()) - traced < calls / 2


def test_linux_and_the_counters_agree(linux: Session) -> None:
    used = usage(linux)
    counted = sum(linux.status().counters["CPU_SUSPEND"])
    later = usage(linux)
    states = ("cpu-standby", "cpu-power-down")
    waiting = len(linux.status().cpus)
    assert sum(used[state] for state in states) <= counted <= sum(later[state] for state in states) + waiting


def test_linux_suspends_and_resumes_after_idling(linux: Session, cycle: Callable[[Session], Cycle]) -> None:
    linux.exec(IDLE)
    done = [cycle(linux) for _ in range(2)]
    assert [(each.command.status, each.successes[1] - each.successes[0]) for each in done] == [(0, 1)] * 2


def test_the_kernel_complains_of_nothing(linux: Session, cycle: Callable[[Session], Cycle]) -> None:
    signs = ("WARNING", "BUG", "Call trace", "Spurious", "unexpected", "failed", "nobody cared")
    log = cycle(linux).kernel_log
    assert [line for line in log.splitlines() if any(sign in line for sign in signs)] == []


def test_linux_idles_on_after_a_resume(linux: Session, cycle: Callable[[Session], Cycle]) -> None:
    cycle(linux)
    before = usage(linux)
    linux.exec(IDLE)
    after = usage(linux)
    assert [name for name, count in after.items() if name != "WFI" and count == before[name]] == []


def test_linux_that_the_host_holds_while_it_idles_goes_on(linux: Session) -> None:
    linux.suspend_by_host()
    linux.resume()
    assert linux.exec("echo $((6 * 7))").text == "42"
    assert linux.status().state is State.RUNNING


def test_on_xen_a_power_down_state_fails_as_xen_has_it_as_standby(boot: Boot) -> None:
    session = boot(cpus=2, profile="xen", idle_states=BOTH)
    session.exec(IDLE)
    used, rejected = usage(session), usage(session, "rejected")
    assert used["cpu-standby"] > 0
    assert (used["cpu-power-down"], rejected["cpu-power-down"] > 0) == (0, True)


# -------------------------------------------------------------------------------- debuggers


def attach(session: Session) -> Gdb:
    socket = session.status().gdb
    assert socket is not None
    return Gdb(Path(socket))


def test_a_debugger_sees_a_guest_that_waits_behind_its_call(boot: Boot, assemble: Assemble) -> None:
    numbered = {f"x{number}": number for number in range(4, 31)}
    with attach(boot_idler(boot, assemble, Machine(STANDBY))) as gdb:
        registers = gdb.registers(1)
        instruction = int.from_bytes(gdb.read_memory(registers["pc"] - 4, 4), "little")
    assert {name: registers[name] for name in numbered} == numbered
    assert (registers["x0"], registers["x1"], instruction) == (CPU_SUSPEND, STANDBY, HVC)


@pytest.fixture
def idling(linux: Session) -> Session:
    """Linux, with answers that are repeated."""
    linux.exec(IDLE)
    return linux


def test_a_debugger_catches_calls_that_were_repeated(idling: Session) -> None:
    with attach(idling) as gdb:
        gdb.console("monitor break psci CPU_SUSPEND")
        gdb.go()
        caller = gdb.wait_stop(SOON_S).thread
        assert gdb.registers(caller, ["x0"])["x0"] == CPU_SUSPEND


def test_a_debugger_steps_over_a_call_that_was_repeated(idling: Session) -> None:
    with attach(idling) as gdb:
        gdb.console("monitor break psci CPU_SUSPEND")
        while True:
            gdb.go()
            caller = gdb.wait_stop(SOON_S).thread
            before = gdb.registers(caller, ["pc", "x1"])
            if before["x1"] == STANDBY:
                break
        gdb.console("monitor break clear")
        gdb.step_instruction(caller)
        gdb.wait_stop(SOON_S)
        after = gdb.registers(caller, ["pc", "x0"])
        assert (after["pc"], after["x0"]) == (before["pc"] + 4, 0)


def test_a_fault_that_a_debugger_adds_strikes_calls_that_were_repeated(boot: Boot) -> None:
    session = boot(profile="spec", idle_states=BOTH)
    session.exec(IDLE)
    before = sum(usage(session, "rejected").values())
    with attach(session) as gdb:
        gdb.console("monitor fault kind=return,function=CPU_SUSPEND,nth=1,code=DENIED")
    session.exec("sleep 0.1")
    assert sum(usage(session, "rejected").values()) == before + 1


def test_calls_are_repeated_again_when_the_debugger_has_gone(idling: Session) -> None:
    with attach(idling):
        before = idling.status().untraced
    idling.exec(IDLE)
    assert idling.status().untraced > before
