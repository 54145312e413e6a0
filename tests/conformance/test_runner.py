"""Verdicts, on a QEMU that answers calls itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hil_agent.board.load import load_board
from hil_agent.board.schema import Board
from hil_agent.conformance import Lab, Result, Verdict, builtin_target, run
from hil_agent.conformance.case import Call, Case, Landing, Mpidr, Scenario, ask
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.observation import Enters, Returns, expect
from hil_agent.errors import TargetError, UsageError
from hil_agent.psci import ReturnCode

NO = ReturnCode.NOT_SUPPORTED


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    board = load_board("qemu-virt").with_overrides(cpus=2)
    with Lab(lambda: builtin_target(board, lambda _step, _fraction: None)) as lab:
        yield lab


def judge(lab: Lab, scenario: Scenario) -> tuple[Verdict, str]:
    (result,) = run(lab, [scenario], "qemu")
    assert isinstance(result, Result)
    return result.verdict, result.got


def test_what_is_as_expected_passes(lab: Lab) -> None:
    scenario = ask("a", Call(Id.PSCI_VERSION), expect(0x10003, qemu=0x10001), source="test")
    assert judge(lab, scenario) == (Verdict.PASSED, "0x10001")


def test_what_is_not_as_expected_fails(lab: Lab) -> None:
    scenario = ask("a", Call(Id.PSCI_VERSION), expect(0x10003), source="test")
    assert judge(lab, scenario) == (Verdict.FAILED, "0x10001")


def test_what_the_profile_has_not_but_the_specification_has_is_lacking(lab: Lab) -> None:
    scenario = ask("a", Call(Id.MEM_PROTECT), expect(0, qemu=NO), source="test")
    assert judge(lab, scenario) == (Verdict.LACKS, "NOT_SUPPORTED")


def test_what_nobody_has_is_not_lacking(lab: Lab) -> None:
    scenario = ask("a", Call(0x8400_0099), expect(NO), source="test")
    assert judge(lab, scenario) == (Verdict.PASSED, "NOT_SUPPORTED")


def test_what_needs_more_vcpus_is_skipped(lab: Lab) -> None:
    scenario = ask("a", Call(Id.AFFINITY_INFO64, (Mpidr(2), 0)), expect(1), source="test")
    assert judge(lab, scenario) == (Verdict.SKIPPED, "needs 3 vCPUs")


def test_a_case_that_nothing_was_seen_of_fails(lab: Lab) -> None:
    scenario = Scenario(cases=(Case("a", "nothing", expect(0), "test"),), run=lambda _: {})
    assert judge(lab, scenario) == (Verdict.FAILED, "nothing was seen")


def test_a_vcpu_that_is_lost_costs_the_machine_but_not_the_next_case(lab: Lab) -> None:
    lost = ask("a", Call(Id.CPU_ON64, (Mpidr(1), 1 << 36, 0)), expect(0), source="test")
    call = Call(Id.CPU_ON64, (Mpidr(1), Landing(2), 7))
    starts = Scenario(
        cases=(Case("b", str(call), expect(Enters(7)), "test"),), run=lambda lab: {"b": lab.start(call)}
    )
    assert [result.verdict for result in run(lab, [lost, starts], "qemu")] == [Verdict.PASSED, Verdict.PASSED]


def test_a_machine_that_switches_itself_off_is_replaced(lab: Lab) -> None:
    off = Scenario(
        cases=(Case("a", "off", expect(0), "test"),),
        run=lambda lab: {"a": lab.end(Call(Id.SYSTEM_OFF), off=True)},
    )
    assert judge(lab, off) == (Verdict.FAILED, "switched off")
    lab.arrange(on=[1])
    assert lab.call(Call(Id.AFFINITY_INFO64, (Mpidr(1), 0))) == Returns(0)


def test_a_qemu_that_does_not_start_says_why() -> None:
    board = load_board("qemu-virt").with_overrides(cpu="cortex-a99")
    start = builtin_target(board, lambda _step, _fraction: None)
    with pytest.raises(TargetError, match="unable to find CPU model 'cortex-a99'"), start:
        pass


def test_builtin_needs_a_qemu_board() -> None:
    other = Board(name="other", kind="other", description="for tests")
    start = builtin_target(other, lambda _step, _fraction: None)
    with pytest.raises(UsageError, match="other is a board of kind other"), start:
        pass
