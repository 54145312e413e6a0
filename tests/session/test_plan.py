from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hil_agent.board.load import load_board
from hil_agent.session.plan import BootPlan, GuestFiles


@pytest.fixture
def plan() -> BootPlan:
    board = load_board("qemu-virt").with_overrides(cpus=4, memory="1G", gic_version=2, wake="command")
    guest = GuestFiles(
        name="g", kernel=Path("/k"), initramfs=Path("/i"), command_line="a b", entry=0x4020_0000
    )
    return BootPlan(name="n", board=board, guest=guest, ready="^ready")


def test_a_plan_survives_its_file(plan: BootPlan) -> None:
    assert BootPlan.model_validate_json(plan.model_dump_json()) == plan


def test_a_board_comes_back_as_its_kind(plan: BootPlan) -> None:
    assert type(BootPlan.model_validate_json(plan.model_dump_json()).board) is type(plan.board)


def test_a_field_that_nobody_knows_is_refused(plan: BootPlan) -> None:
    document = plan.model_dump(mode="json") | {"colour": "red"}
    with pytest.raises(ValidationError, match="colour"):
        BootPlan.model_validate(document)
