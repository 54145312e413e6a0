"""`echo mem` on a real kernel: held, resumed, and proved by the guest itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from hil_agent.errors import GuestError, HilAgentError, StateError
from hil_agent.session import Session, State

if TYPE_CHECKING:
    from tests.e2e.conftest import Cycle

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]

MACHINES = [
    pytest.param({"cpus": cpus, "gic_version": gic}, id=f"{cpus} vCPU, GICv{gic}")
    for gic in (2, 3)
    for cpus in (1, 2, 4)
]
WITHOUT_EL2 = [
    pytest.param(
        {"cpus": cpus, "gic_version": gic, "trap": "hvc-site"}, id=f"{cpus} vCPU, GICv{gic}, hvc-site"
    )
    for cpus, gic in ((1, 3), (2, 2), (3, 3), (4, 3))
]
CPU_MODELS = [pytest.param({"cpu": f"cortex-{core}"}, id=core) for core in ("a53", "a72")] + [
    pytest.param({"cpu": "max", "cpus": 2, "timeout_s": 120.0}, id="max")
]


@pytest.fixture(scope="module", params=MACHINES + WITHOUT_EL2 + CPU_MODELS)
def guest(request: pytest.FixtureRequest, boot_shared: Boot) -> Iterator[Session]:
    with boot_shared(**request.param) as session:
        yield session


def test_two_clusters(boot: Boot, cycle: Callable[[Session], Cycle]) -> None:
    session = boot(cpus=18, timeout_s=300.0)
    affinities = [int(cpu.mpidr, 16) for cpu in session.status().cpus]
    assert affinities == [*range(16), 0x100, 0x101]
    before, after = cycle(session).successes
    assert after == before + 1
    assert {cpu.power for cpu in session.status().cpus} == {"on"}


@pytest.fixture(scope="module")
def cycled(guest: Session, cycle: Callable[[Session], Cycle]) -> Cycle:
    """The guest's first suspend and resume."""
    return cycle(guest)


def test_the_guest_offers_deep_and_prefers_it(guest: Session) -> None:
    assert guest.exec("cat /sys/power/mem_sleep").text == "s2idle [deep]"


def test_every_vcpu_is_on(guest: Session) -> None:
    assert {cpu.power for cpu in guest.status().cpus} == {"on"}


def test_the_suspending_command_succeeds(cycled: Cycle) -> None:
    assert (cycled.command.status, cycled.command.output) == (0, b"")


def test_the_guest_counts_a_success(cycled: Cycle) -> None:
    before, after = cycled.successes
    assert after == before + 1


def test_the_kernel_says_that_it_was_suspended_and_has_resumed(cycled: Cycle) -> None:
    entry, exit_ = (
        cycled.kernel_log.find("PM: suspend entry (deep)"),
        cycled.kernel_log.find("PM: suspend exit"),
    )
    assert 0 <= entry < exit_


def test_the_kernel_complains_of_nothing(cycled: Cycle) -> None:
    signs = ("WARNING", "BUG", "Call trace", "Spurious", "unexpected", "failed", "nobody cared")
    assert [line for line in cycled.kernel_log.splitlines() if any(sign in line for sign in signs)] == []


def test_system_suspend_does_not_return(cycled: Cycle) -> None:
    (call,) = [call for call in cycled.calls if call.function == "SYSTEM_SUSPEND"]
    assert (call.result, call.value, call.args[0]) == (None, None, cycled.context.entry_point)


def test_the_secondaries_went_down_and_came_back(cycled: Cycle, guest: Session) -> None:
    secondaries = len(guest.status().cpus) - 1
    made = [call.function for call in cycled.calls]
    assert (made.count("CPU_OFF"), made.count("CPU_ON")) == (secondaries, secondaries)


def test_every_vcpu_is_on_again_and_works(cycled: Cycle, guest: Session) -> None:
    cpus = len(guest.status().cpus)
    said = guest.exec(f"for cpu in $(seq 0 {cpus - 1}); do taskset $((1 << cpu)) true && echo $cpu; done")
    assert said.text.split() == [str(cpu) for cpu in range(cpus)]


def test_timers_still_fire(cycled: Cycle, guest: Session) -> None:
    assert guest.exec("sleep 0.2", timeout_s=10).status == 0


# --------------------------------------------------------------------- one ordinary guest


@pytest.fixture(scope="module")
def session(boot_shared: Boot) -> Session:
    return boot_shared(cpus=2)


def test_ten_cycles_in_a_row(session: Session, cycle: Callable[[Session], Cycle]) -> None:
    results = [cycle(session) for _ in range(10)]
    assert [(each.command.status, each.successes[1] - each.successes[0]) for each in results] == [(0, 1)] * 10


def test_while_suspended_one_vcpu_is_suspended_and_the_rest_off(session: Session) -> None:
    session.suspend()
    powers = [cpu.power for cpu in session.status().cpus]
    session.resume()
    session.settle()
    assert powers == ["suspended", "off"]


def test_a_second_suspend_is_refused_while_suspended(session: Session) -> None:
    session.suspend()
    with pytest.raises(StateError, match="suspended already"):
        session.suspend()
    session.resume()
    session.settle()


def test_of_two_suspends_at_once_one_is_refused(session: Session) -> None:
    def suspend() -> bool:
        try:
            session.suspend(timeout_s=20)
        except HilAgentError:
            return False
        return True

    with ThreadPoolExecutor() as pool:
        accepted = [future.result() for future in [pool.submit(suspend), pool.submit(suspend)]]
    session.resume()
    session.settle()
    session.exec("sleep 0.5")
    assert (sorted(accepted), session.status().state) == ([False, True], State.RUNNING)


def test_commands_are_refused_while_suspended(session: Session) -> None:
    session.suspend()
    with pytest.raises(StateError, match="suspended"):
        session.exec("true", timeout_s=5)
    session.resume()
    session.settle()


def test_a_resume_is_refused_while_running(session: Session) -> None:
    with pytest.raises(StateError, match="not suspended"):
        session.resume()


def test_a_refused_resume_changes_nothing(session: Session) -> None:
    before = (
        session.status().calls,
        session.status().resumes,
        session.trace(),
        session.folder.journal.read_bytes(),
    )
    with pytest.raises(StateError):
        session.resume()
    after = (
        session.status().calls,
        session.status().resumes,
        session.trace(),
        session.folder.journal.read_bytes(),
    )
    assert after == before


def test_a_second_resume_is_refused(session: Session) -> None:
    session.suspend()
    session.resume()
    with pytest.raises(StateError):
        session.resume()
    session.settle()
    assert session.status().state is State.RUNNING


def test_with_the_context_cleared_a_resume_returns_from_the_call(session: Session) -> None:
    session.suspend()
    session.clear_context()
    session.resume()
    ended = session.settle()
    assert ended is not None
    assert ended.status != 0


def test_a_guest_whose_context_was_cleared_can_suspend_again(
    session: Session, cycle: Callable[[Session], Cycle]
) -> None:
    assert cycle(session).command.status == 0


def test_a_cleared_context_is_none(session: Session) -> None:
    session.suspend()
    session.clear_context()
    state, context = session.status().state, session.context()
    session.resume()
    session.settle()
    assert (state, context) == (State.SUSPENDED, None)


def test_a_context_can_only_be_cleared_while_suspended(session: Session) -> None:
    with pytest.raises(StateError):
        session.clear_context()


def test_a_command_that_does_not_suspend_is_reported_with_its_output(session: Session) -> None:
    with pytest.raises(GuestError, match="ended with status 3: no thanks"):
        session.suspend("echo no thanks; exit 3")
