from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.psci.residency import Residency, Stays

CORE, CLUSTER = 0x1, 0x0100_0002
ALL_RUN = [False] * 4


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now

    def passes(self, time_us: int) -> None:
        self.now += time_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def residency(clock: Clock) -> Residency:
    return Residency((0x0, 0x1, 0x100, 0x101), clock)


def test_nothing_has_been_used_at_first(residency: Residency) -> None:
    assert residency.stays(0, CORE, level=0) == Stays(0, 0)


def test_a_stay_counts_with_its_time_once_it_is_over(residency: Residency, clock: Clock) -> None:
    residency.sleep(0, CORE, 0, ALL_RUN)
    clock.passes(250)
    during = residency.stays(0, CORE, 0)
    residency.wake(0)
    assert (during, residency.stays(0, CORE, 0)) == (Stays(), Stays(1, 250))


@given(st.lists(st.integers(0, 10_000), max_size=20))
def test_stays_add_up(times: list[int]) -> None:
    clock = Clock()
    residency = Residency((0,), clock)
    for time_us in times:
        residency.sleep(0, CORE, 0, [False])
        clock.passes(time_us)
        residency.wake(0)
        clock.passes(7)
    assert residency.stays(0, CORE, 0) == Stays(len(times), sum(times))


def test_states_and_vcpus_are_kept_apart(residency: Residency) -> None:
    residency.sleep(0, CORE, 0, ALL_RUN)
    residency.wake(0)
    assert [residency.stays(1, CORE, 0), residency.stays(0, CORE + 1, 0)] == [Stays(), Stays()]


def test_a_cluster_goes_down_with_the_last_of_its_vcpus_and_is_up_with_the_first(
    residency: Residency, clock: Clock
) -> None:
    for cpu in (0, 1):
        residency.sleep(cpu, CLUSTER, 1, ALL_RUN)
        clock.passes(100)
    for cpu in (0, 1):
        residency.wake(cpu)
        clock.passes(1000)
    assert [residency.stays(cpu, CLUSTER, 1) for cpu in range(4)] == [Stays(1, 100)] * 2 + [Stays()] * 2


def test_a_cluster_stays_up_for_a_vcpu_in_a_state_of_its_own(residency: Residency) -> None:
    residency.sleep(1, CORE, 0, ALL_RUN)
    residency.sleep(0, CLUSTER, 1, ALL_RUN)
    residency.wake(0)
    assert residency.stays(0, CLUSTER, 1) == Stays()


def test_a_cluster_does_not_stay_up_for_a_vcpu_that_is_off(residency: Residency) -> None:
    residency.sleep(0, CLUSTER, 1, [False, True, False, False])
    residency.wake(0)
    assert residency.stays(0, CLUSTER, 1).count == 1


@pytest.mark.parametrize("then", [lambda books: books.wake(0), lambda books: books.reset()])
def test_a_vcpu_is_asleep_until_it_is_back(residency: Residency, then: Callable[[Residency], None]) -> None:
    residency.sleep(0, CORE, 0, ALL_RUN)
    before = residency.is_asleep(0)
    then(residency)
    assert (before, residency.is_asleep(0)) == (True, False)


def test_a_reset_clears_the_books(residency: Residency) -> None:
    residency.sleep(0, CORE, 0, ALL_RUN)
    residency.wake(0)
    residency.reset()
    assert residency.stays(0, CORE, 0) == Stays()
