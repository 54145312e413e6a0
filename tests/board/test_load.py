from __future__ import annotations

import json
from pathlib import Path

import pytest

from hil_agent.board.load import list_boards, load_board
from hil_agent.board.qemu_schema import Network, QemuBoard
from hil_agent.board.schema import WakeSource
from hil_agent.errors import FileError, NotFoundError
from hil_agent.psci import Conduit


@pytest.fixture
def own_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's own boards."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "hil-agent" / "boards"
    folder.mkdir(parents=True)
    return folder


def wrong(folder: Path, *lines: str) -> FileError:
    """The error that a board file of these lines gives."""
    path = folder / "wrong.yaml"
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(FileError) as caught:
        load_board(str(path))
    assert caught.value.path == path
    return caught.value


def test_the_default_board_is_what_it_says() -> None:
    assert load_board("qemu-virt") == QemuBoard(
        name="qemu-virt",
        kind="qemu",
        description="QEMU's virt machine with a Cortex-A57, EL2 and a GICv3",
        guest="linux-minimal",
        profile="xen",
        trap="el2",
        conduit=Conduit.HVC,
        wake=(WakeSource.COMMAND, WakeSource.IRQ),
        cpu="cortex-a57",
        cpus=1,
        memory=512 << 20,
        gic_version=3,
        network=Network.NONE,
    )


def test_a_board_is_called_like_its_file(own_boards: Path) -> None:
    (own_boards / "mine.yaml").write_text("kind: qemu\ndescription: mine\n")
    assert load_board("mine").name == "mine"


def test_a_board_may_call_itself_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("kind: qemu\nname: other\ndescription: mine\n")
    assert load_board(str(path)).name == "other"


def test_the_users_own_board_hides_ours_of_the_same_name(own_boards: Path) -> None:
    (own_boards / "qemu-virt.yaml").write_text("kind: qemu\ndescription: mine\n")
    assert load_board("qemu-virt").description == "mine"


def test_the_list_has_own_and_shipped_boards(own_boards: Path) -> None:
    (own_boards / "mine.yaml").touch()
    assert {"mine", "qemu-virt"} <= list_boards().keys()


def test_a_name_that_comes_close_is_suggested() -> None:
    with pytest.raises(NotFoundError, match="did you mean qemu-virt"):
        load_board("qemu_virt")


def test_a_path_that_leads_nowhere_is_no_board(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.yaml"):
        load_board(str(tmp_path / "none.yaml"))


def test_a_board_written_out_as_json_reads_back_the_same(tmp_path: Path) -> None:
    board = load_board("qemu-virt")
    path = tmp_path / "copy.yaml"
    path.write_text(json.dumps(board.model_dump(mode="json")))
    assert load_board(str(path)) == board


def test_an_unknown_field_is_named_with_its_line_and_what_was_meant(tmp_path: Path) -> None:
    error = wrong(tmp_path, "kind: qemu", "description: x", "cpuss: 2")
    assert (error.line, error.field) == (3, "cpuss")
    assert error.hint is not None
    assert "did you mean cpus?" in error.hint


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    assert wrong(tmp_path, "kind: qemu").field == "description"


def test_a_wrong_value_is_named_with_its_line_and_what_is_allowed(tmp_path: Path) -> None:
    error = wrong(tmp_path, "kind: qemu", "description: x", "gic_version: 4")
    assert (error.line, error.field) == (3, "gic_version")
    assert "2 or 3" in error.message


@pytest.mark.parametrize("line", ["kind: qemuu", "kind: [qemu]", "kind: 3", "description: no kind"])
def test_a_wrong_or_missing_kind_is_told_with_those_there_are(tmp_path: Path, line: str) -> None:
    error = wrong(tmp_path, line)
    assert error.field == "kind"
    assert "qemu" in str(error.hint)


@pytest.mark.parametrize(
    "line", ['cpus: "2"', "cpus: yes", "cpus: 2.0", "cpus: 33", "memory: 512", "qemu_arg: -S"]
)
def test_values_are_not_bent_to_fit(tmp_path: Path, line: str) -> None:
    assert wrong(tmp_path, "kind: qemu", "description: x", line).line == 3


def test_a_field_that_is_no_text_is_no_field(tmp_path: Path) -> None:
    assert wrong(tmp_path, "kind: qemu", "3: x").field == "3"
