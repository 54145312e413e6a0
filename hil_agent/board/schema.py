"""What every board file says, whatever kind of board it describes.

A kind of board is a subclass of :class:`Board` that says ``kind: Literal["..."]`` and adds its own
fields; :mod:`hil_agent.board.kinds` finds it. Every field has a description: it is the documentation
that ``hil-agent board schema`` gives to people and to their editors.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hil_agent.board.machine import Machine
from hil_agent.errors import UsageError
from hil_agent.guest.address import AddressRange
from hil_agent.guest.layout import Blob
from hil_agent.psci import DEFAULT_PROFILE, Conduit, profiles
from hil_agent.psci.idle import IdleState
from hil_agent.psci.pass_through import OTHER, PASSABLE
from hil_agent.psci.state import ContextOrder
from hil_agent.suggest import suggest
from hil_agent.trap.kinds import DEFAULT_TRAP_SOURCE, trap_sources


class TrustedOsKind(StrEnum):
    """What a Trusted OS that runs on one vCPU at a time lets the guest do with it."""

    NONE = "none"
    MIGRATABLE = "migratable"
    NOT_MIGRATABLE = "not-migratable"


MOST_CPUS = 32
"""More vCPUs than that have never been tried."""


class WakeSource(StrEnum):
    """What may end a suspend."""

    COMMAND = "command"
    IRQ = "irq"
    TIMER = "timer"


def _split(value: object) -> object:
    """A list as an option gives it, ``command,irq``."""
    return tuple(value.split(",")) if isinstance(value, str) else value


def _split_or_none(value: object) -> object:
    return () if value == "none" else _split(value)


def _known_profile(name: str) -> str:
    if name not in profiles():
        raise ValueError(f"there is no such profile; {suggest(name, profiles())}")
    return name


def _in_order(states: tuple[IdleState, ...]) -> tuple[IdleState, ...]:
    """Each once, from shallow to deep, which is how Linux wants them."""
    return tuple(state for state in IdleState if state in states)


def _known_trap_source(name: str) -> str:
    if name not in trap_sources():
        raise ValueError(f"there is no such trap source; {suggest(name, trap_sources())}")
    return name


def _passable(name: str) -> str:
    if name not in PASSABLE:
        raise ValueError(f"{name} cannot be passed on; {suggest(name, PASSABLE)}")
    return name


class Board(BaseModel):
    """What a guest runs on: the fields of all kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="How the board is called. If left out: the file's name without its suffix.",
    )
    kind: str = Field(description="The kind of board; it decides which further fields there are.")
    description: str = Field(description="One line that tells people what this board is.")
    guest: str = Field(default="linux-minimal", description="The guest that is booted if none is named.")
    profile: Annotated[str, AfterValidator(_known_profile)] = Field(
        default=DEFAULT_PROFILE, description="Whose PSCI answers are imitated."
    )
    psci_version: str | None = Field(
        default=None,
        pattern=r"^(0\.1|0\.2|1\.[0-3])$",
        description="PSCI version announced; what is answered follows it. Default: the profile's.",
    )
    poison: bool = Field(
        default=False,
        description="Fill registers that PSCI leaves undefined at an entry point with recognisable values.",
    )
    trusted_os: TrustedOsKind = Field(
        default=TrustedOsKind.NONE,
        strict=False,
        description="A Trusted OS to be imitated, on vCPU 0 at first: what MIGRATE and its kin are about.",
    )
    mitigations: bool = Field(
        default=False,
        description="Offer workarounds for CPUs that need them. Linux calls them at each exception: slow.",
    )
    context_order: ContextOrder = Field(
        default=ContextOrder.STATE_FIRST,
        strict=False,
        description="What a suspend does first: mark the guest as suspended, or keep its context.",
    )
    trap: Annotated[str, AfterValidator(_known_trap_source)] = Field(
        default=DEFAULT_TRAP_SOURCE,
        description="Where calls are caught: in our EL2 monitor, or at the guest's own hvc instruction.",
    )
    pass_through: Annotated[
        tuple[Annotated[str, AfterValidator(_passable)], ...], BeforeValidator(_split), Field(strict=False)
    ] = Field(
        default=(),
        description="PSCI, SMCCC and TRNG functions by name that the firmware below answers instead of ours,"
        f" if they do no more than return; {OTHER} stands for IDs without a name.",
    )
    cpus: int = Field(default=1, ge=1, le=MOST_CPUS, description="Number of vCPUs.")
    conduit: Conduit = Field(
        default=Conduit.HVC,
        strict=False,
        description="The instruction that the device tree tells the guest to call with.",
    )
    idle_states: Annotated[
        tuple[Annotated[IdleState, Field(strict=False)], ...],
        BeforeValidator(_split_or_none),
        AfterValidator(_in_order),
        Field(strict=False),
    ] = Field(
        default=(),
        description="Idle states that the device tree offers the guest: standby, power-down; or none.",
    )
    wake: Annotated[
        tuple[Annotated[WakeSource, Field(strict=False)], ...],
        BeforeValidator(_split),
        Field(strict=False),
    ] = Field(
        default=(WakeSource.COMMAND, WakeSource.IRQ),
        min_length=1,
        description="What may end a suspend: the resume command, an interrupt, a timer.",
    )
    timeout_s: float = Field(
        default=60.0, gt=0, le=86400, description="Seconds that the guest has to become ready."
    )

    @property
    def ram(self) -> AddressRange:
        """The memory that its guests have."""
        raise NotImplementedError

    @property
    def rom(self) -> AddressRange | None:
        """Where code can be placed that its guests do not overwrite by mistake; None if nowhere."""
        return None

    def open(self, blobs: Sequence[Blob], entry: int, folder: Path) -> AbstractContextManager[Machine]:
        """The machine, to be started by entering it.

        Args:
            blobs: what is placed in its memory, again at every reset.
            entry: physical address at which vCPU 0 starts, at EL2 if the trap source needs that.
            folder: the session's folder, for sockets and logs.
        """
        raise NotImplementedError

    def with_overrides(self, **values: object) -> Self:
        """This board with what the command line says in place of what its file says.

        Args:
            **values: fields by name; one that is ``None`` was not given and is left alone.

        Raises:
            UsageError: a value does not fit, or a board of this kind has no such field; names the
                option, which is called like the field, less its unit: ``timeout_s``, ``--timeout``.
        """
        given = {field: value for field, value in values.items() if value is not None}
        try:
            return self.model_validate(self.model_dump() | given)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            option = "--" + str(wrong["loc"][0]).removesuffix("_s").replace("_", "-")
            if wrong["type"] == "extra_forbidden":
                raise UsageError(f"{option}: boards of kind {self.kind} do not have it") from error
            message = wrong["msg"].removeprefix("Value error, ")
            raise UsageError(f"{option}: {message} (it is {wrong['input']!r})") from error
