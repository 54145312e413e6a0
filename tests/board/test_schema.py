from __future__ import annotations

import pytest

from hil_agent.board.qemu_schema import Network, QemuBoard
from hil_agent.board.schema import Board, WakeSource
from hil_agent.errors import UsageError
from hil_agent.psci import Conduit
from hil_agent.psci.idle import IdleState

BOARD = QemuBoard(name="lab", kind="qemu", description="for tests")


def test_overrides_take_the_place_of_what_the_file_says() -> None:
    board = BOARD.with_overrides(cpus=4, memory="2G", cpu="max,sve=off", timeout_s=5.0)
    assert (board.cpus, board.memory, board.cpu, board.timeout_s) == (4, 2 << 30, "max,sve=off", 5.0)


def test_names_become_enums() -> None:
    board = BOARD.with_overrides(conduit="smc", network="user")
    assert (board.conduit, board.network) == (Conduit.SMC, Network.USER)


def test_an_override_that_was_not_given_changes_nothing() -> None:
    assert BOARD.with_overrides(cpus=None, memory=None) == BOARD


def test_the_board_itself_stays_as_it_was() -> None:
    BOARD.with_overrides(cpus=32)
    assert BOARD.cpus == 1


@pytest.mark.parametrize("wake", ["command,timer", ["command", "timer"]])
def test_wake_sources_are_a_list_or_its_words_with_commas(wake: object) -> None:
    assert BOARD.with_overrides(wake=wake).wake == (WakeSource.COMMAND, WakeSource.TIMER)


@pytest.mark.parametrize("states", ["power-down,standby", ["standby", "power-down", "standby"]])
def test_idle_states_are_sorted_from_shallow_to_deep(states: object) -> None:
    assert BOARD.with_overrides(idle_states=states).idle_states == tuple(IdleState)


def test_idle_states_of_a_board_can_be_taken_away() -> None:
    board = BOARD.with_overrides(idle_states="standby")
    assert board.with_overrides(idle_states="none").idle_states == ()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cpus", 33, r"^--cpus: .*\(it is 33\)"),
        ("cpus", True, "^--cpus: "),
        ("cpus", 0, "^--cpus: "),
        ("memory", "lots", "^--memory: .*512M"),
        ("memory", "8M", "^--memory: .*from 16M"),
        ("memory", (16 << 20) + 4096, "^--memory: .*whole MiB"),
        ("cpu", "-S", "^--cpu: "),
        ("qemu", "-S", "^--qemu: "),
        ("profile", "xan", "^--profile: .*did you mean xen"),
        ("wake", "", "^--wake: "),
        ("wake", (), "^--wake: "),
        ("idle_states", "hibernate", "^--idle-states: .*'standby' or 'power-down'"),
        ("gic_version", 4, "^--gic-version: "),
        ("timeout_s", float("nan"), "^--timeout: "),
        ("power", "x", "^--power: boards of kind qemu do not have it"),
    ],
)
def test_a_wrong_override_names_its_option(field: str, value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BOARD.with_overrides(**{field: value})


@pytest.mark.parametrize("model", [Board, QemuBoard])
def test_every_field_is_described(model: type[Board]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_a_gicv2_serves_no_more_than_eight_vcpus() -> None:
    assert BOARD.with_overrides(gic_version=2, cpus=8).cpus == 8
    with pytest.raises(UsageError, match=r"^--gic-version: .* 8 vCPUs, and there are to be 9"):
        BOARD.with_overrides(gic_version=2, cpus=9)
