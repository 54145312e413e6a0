from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hil_agent.board import kinds
from hil_agent.board.load import load_board
from hil_agent.board.qemu_schema import QemuBoard
from hil_agent.errors import HostError, NotFoundError

LAMP = """
from typing import Literal
from pydantic import Field
from hil_agent.board import Board

class LampBoard(Board):
    kind: Literal["lamp"] = Field(description="A lamp.")
    watts: int = Field(description="Its power, in watts.")
"""


@pytest.fixture
def lamp_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another package with kinds of board: one that works, three that do not."""
    metadata = tmp_path / "lamps-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lamps\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[hil_agent.boards]\n"
        "lamp = lamps_for_tests:LampBoard\n"
        "absent = no_such_module:Board\n"
        "nameless = lamps_for_tests:Nothing\n"
        "other = lamps_for_tests:Literal\n"
    )
    (tmp_path / "lamps_for_tests.py").write_text(LAMP)
    monkeypatch.syspath_prepend(tmp_path)
    kinds._registered.cache_clear()
    yield tmp_path
    kinds._registered.cache_clear()


def test_our_own_kinds_are_registered() -> None:
    assert kinds.board_model("qemu") is QemuBoard


def test_an_unknown_kind_is_refused_with_what_there_is() -> None:
    with pytest.raises(NotFoundError, match="did you mean qemu"):
        kinds.board_model("qemo")


def test_a_kind_of_another_package_is_one_like_ours(lamp_package: Path) -> None:
    path = lamp_package / "desk.yaml"
    path.write_text("kind: lamp\ndescription: on the desk\nwatts: 40\n")
    assert load_board(str(path)).model_dump()["watts"] == 40


@pytest.mark.parametrize("kind", ["absent", "nameless", "other"])
def test_a_broken_kind_is_an_error_of_this_host_that_names_it(lamp_package: Path, kind: str) -> None:
    with pytest.raises(HostError, match=f"board kind {kind}"):
        kinds.board_model(kind)


def test_the_schema_has_every_field_of_every_kind() -> None:
    properties = kinds.boards_schema()["$defs"]["QemuBoard"]["properties"]
    assert properties.keys() == QemuBoard.model_fields.keys()
