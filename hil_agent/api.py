"""``hil_agent.boot``: from names and options to a live session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hil_agent.board.load import load_board
from hil_agent.board.schema import Board
from hil_agent.errors import UsageError
from hil_agent.guest import catalogue, image
from hil_agent.guest.initramfs import check_initramfs
from hil_agent.guest.kernel import KernelKind, recognise
from hil_agent.session import launch
from hil_agent.session.client import Session
from hil_agent.session.folder import SessionFolder
from hil_agent.session.plan import BootPlan, GuestFiles

DEFAULT_READY: Final = ""
"""Stands for the guest's own sign of being up."""

_PROMPT = r"(?m)^[^\r\n]{0,60}(?:[#$] |login: )(?:\x1b\[6n)?$"
"""How a Linux that we did not make is taken to be up: a shell's prompt, or a login's."""

_LINUX = "console=ttyAMA0"

Progress = Callable[[str, float | None], None]


def _silent(_step: str, _fraction: float | None) -> None:
    """No progress is shown."""


def prepare(
    board: str | Board = "qemu-virt",
    *,
    guest: str | None = None,
    name: str | None = None,
    kernel: Path | None = None,
    initramfs: Path | None = None,
    append: str | None = None,
    device_tree: Path | None = None,
    load_address: int | None = None,
    entry: int | None = None,
    initrd_address: int | None = None,
    ready: str | None = DEFAULT_READY,
    progress: Progress = _silent,
    **overrides: Any,
) -> BootPlan:
    """Works out what :func:`boot` is to do, and checks all that can be checked before; see there.

    Builds the guest's image if it is not in the cache.
    """
    resolved = (load_board(board) if isinstance(board, str) else board).with_overrides(**overrides)
    if kernel is None:
        for option, value in (("--initrd", initramfs), ("--load-address", load_address), ("--entry", entry)):
            if value is not None:
                raise UsageError(f"{option} goes with --kernel")
        recipe = catalogue.find(guest or resolved.guest)
        made = image.build(recipe, progress)
        files = GuestFiles(
            name=recipe.name,
            kernel=made.kernel,
            initramfs=made.initramfs,
            command_line=" ".join(filter(None, (recipe.description.command_line, append))),
            device_tree=_absolute(device_tree),
            initrd_address=initrd_address,
        )
        own_ready: str | None = recipe.description.ready
    else:
        if guest is not None:
            raise UsageError("--guest and --kernel exclude each other")
        recognised = recognise(kernel, load_address=load_address, entry=entry)
        if initramfs is not None:
            check_initramfs(initramfs)
        linux = recognised.kind is KernelKind.IMAGE
        files = GuestFiles(
            name=kernel.name,
            kernel=kernel.absolute(),
            initramfs=_absolute(initramfs),
            command_line=append if append is not None else _LINUX if linux else "",
            device_tree=_absolute(device_tree),
            load_address=load_address,
            entry=entry,
            initrd_address=initrd_address,
        )
        own_ready = _PROMPT if linux else None
    return BootPlan(
        name=name if name is not None else _free_name(resolved.name),
        board=resolved,
        guest=files,
        ready=own_ready if ready == DEFAULT_READY else ready,
    )


def boot(board: str | Board = "qemu-virt", *, wait: bool = True, **options: Any) -> Session:
    """Boots a guest and returns its session, which is destroyed when its ``with`` block ends::

        with hil_agent.boot("qemu-virt", guest="linux-minimal", cpus=4) as session:
            session.suspend()
            session.resume()

    Args:
        board: a name from ``hil-agent board list``, the path of a board file, or a board.
        wait: until the guest is up; else only until the machine runs.
        **options: those of :func:`prepare`: ``guest``, ``name``, ``kernel``, ``initramfs``, ``append``,
            ``device_tree``, ``load_address``, ``entry``, ``initrd_address`` (64-bit physical addresses),
            ``ready`` (regular expression on the console; None: as soon as the guest is entered), ``progress``, and
            any field of the board: ``cpus``, ``memory`` (``"1G"``), ``cpu``, ``gic_version``, ``profile``,
            ``conduit``, ``wake``, ``network``, ``timeout_s`` ...

    Raises:
        UsageError: an option does not fit.
        NotFoundError: no such board or guest.
        HostError: this host lacks something.
        TargetError: the guest did not come up; nothing is left behind.
    """
    return launch.boot(prepare(board, **options), wait=wait)


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path else None


def _free_name(base: str) -> str:
    """The board's name, with a number if there is such a session already."""
    taken = {folder.name for folder in SessionFolder.all()}
    if base not in taken:
        return base
    number = 2
    while f"{base}-{number}" in taken:
        number += 1
    return f"{base}-{number}"
