"""What a session is to boot: everything resolved, so that the session's process asks nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from hil_agent.board.kinds import board_model
from hil_agent.board.schema import Board
from hil_agent.errors import FileError
from hil_agent.psci.faults import FaultPlan


def _of_its_kind(value: object, handler: ValidatorFunctionWrapHandler) -> Board:
    """A board read back from JSON, as the model of its kind."""
    if isinstance(value, dict) and isinstance(kind := value.get("kind"), str):
        return board_model(kind).model_validate(value)
    board: Board = handler(value)
    return board


AnyBoard = Annotated[SerializeAsAny[Board], WrapValidator(_of_its_kind)]


class GuestFiles(BaseModel):
    """The software to boot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="The guest's name in the catalogue, or what stands for it")
    kernel: Path = Field(description="arm64 Image, gzip of one, ELF, or a flat binary with a load address")
    initramfs: Path | None = Field(default=None, description="Initial RAM file system")
    command_line: str = Field(default="", description="Kernel command line")
    device_tree: Path | None = Field(default=None, description="A device tree in place of the machine's own")
    load_address: int | None = Field(default=None, description="Physical address of a flat binary")
    entry: int | None = Field(default=None, description="Physical address of the first instruction")
    initrd_address: int | None = Field(default=None, description="Physical address of the initramfs")
    symbols: Path | None = Field(
        default=None,
        description="The kernel's vmlinux; null: its symbols are recovered from the kernel itself",
    )


class BootPlan(BaseModel):
    """One session."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(
        default=None, description="Name of the session; null: the board's, with a number if that is taken"
    )
    board: AnyBoard = Field(description="What it runs on, with the options of the command line applied")
    guest: GuestFiles = Field(description="What is booted")
    faults: FaultPlan = Field(default=FaultPlan(rules=()), description="Faults in the vPSCI's answers")
    ready: str | None = Field(
        default=None,
        description="Regular expression on the console that says the guest is up; null: when it was entered",
    )
    gdb_address: tuple[str, int] | None = Field(
        default=None, description="IP address and TCP port to serve debuggers at, besides the unix socket"
    )
    halt: bool = Field(
        default=False, description="Stand before the guest's first instruction until a debugger lets it go"
    )

    @classmethod
    def read(cls, path: Path) -> Self:
        """The plan of a session, from its folder.

        Raises:
            FileError: it is not there, or not of this version.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise FileError(f"cannot be read: {error.strerror}", path=path) from error
        except ValidationError as error:
            raise FileError(f"is no boot plan: {error}", path=path) from error
