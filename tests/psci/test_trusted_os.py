from __future__ import annotations

import pytest

from hil_agent.psci import (
    Call,
    Conduit,
    Outcome,
    ReturnCode,
    TrustedOs,
    VirtualPsci,
    get_profile,
    with_trusted_os,
)
from hil_agent.psci.effects import PowerOff

CPU_OFF = 0x8400_0002
MIGRATE = 0xC400_0005
INFO_TYPE = 0x8400_0006
INFO_UP_CPU = 0xC400_0007
FEATURES = 0x8400_000A
MPIDRS = (0, 1, 0x100)


def make(kind: TrustedOs = TrustedOs.MIGRATABLE) -> VirtualPsci:
    psci = VirtualPsci(with_trusted_os(get_profile("spec"), kind), MPIDRS, ())
    psci.power_on(2)
    psci.entered(2)
    return psci


@pytest.fixture
def psci() -> VirtualPsci:
    return make()


def call(psci: VirtualPsci, x0: int, x1: int = 0, *, cpu: int = 0) -> Outcome:
    return psci.call(Call(cpu, Conduit.HVC, (x0, x1, 0, 0)))


@pytest.mark.parametrize("kind", TrustedOs)
def test_its_kind_is_told(kind: TrustedOs) -> None:
    assert call(make(kind), INFO_TYPE).result == kind


@pytest.mark.parametrize("function_id", [MIGRATE, INFO_UP_CPU])
def test_features_agree(psci: VirtualPsci, function_id: int) -> None:
    assert call(psci, FEATURES, function_id).code is ReturnCode.SUCCESS


def test_its_vcpu_does_not_go_off(psci: VirtualPsci) -> None:
    assert call(psci, CPU_OFF).code is ReturnCode.DENIED


def test_other_vcpus_go_off(psci: VirtualPsci) -> None:
    assert call(psci, CPU_OFF, cpu=2) == Outcome((PowerOff(),))


def test_it_moves_and_its_old_vcpu_may_go_off(psci: VirtualPsci) -> None:
    moved = call(psci, MIGRATE, 0x100)
    where = call(psci, INFO_UP_CPU).result
    assert (moved.code, where, call(psci, CPU_OFF)) == (ReturnCode.SUCCESS, 0x100, Outcome((PowerOff(),)))


@pytest.mark.parametrize("mpidr", [99, 1], ids=["absent", "off"])
def test_it_does_not_move_to_where_nothing_runs(psci: VirtualPsci, mpidr: int) -> None:
    assert call(psci, MIGRATE, mpidr).code is ReturnCode.INVALID_PARAMETERS


def test_it_is_moved_from_its_own_vcpu_only(psci: VirtualPsci) -> None:
    assert call(psci, MIGRATE, 0, cpu=2).code is ReturnCode.NOT_PRESENT


def test_one_that_cannot_move_does_not() -> None:
    assert call(make(TrustedOs.NOT_MIGRATABLE), MIGRATE, 0x100).code is ReturnCode.DENIED
