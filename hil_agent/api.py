"""``hil_agent.boot``: from names and options to a live session."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import TypedDict, Unpack

from hil_agent.board.load import load_board
from hil_agent.board.schema import Board
from hil_agent.errors import UsageError
from hil_agent.guest import catalogue, image
from hil_agent.guest.initramfs import check_initramfs
from hil_agent.guest.kernel import KernelKind, recognise
from hil_agent.psci.faults import FaultPlan, parse_fault
from hil_agent.session import launch
from hil_agent.session.client import Session
from hil_agent.session.plan import BootPlan, GuestFiles
from hil_agent.trap.kinds import get_trap_source
from hil_agent.yamlmodel import load_yaml_model

Progress = Callable[[str, float | None], None]
"""Told what is being done, and which fraction of it, if that is known."""

_PROMPT = r"^[^\r\n]{0,60}(?:[#$] |login: )(?:\x1b\[6n)?\Z"
"""How a Linux that we did not make is taken to be up: a shell's prompt, or a login's."""

_LOOPBACK = "127.0.0.1"

_LINUX_COMMAND_LINE = "console=ttyAMA0"


class GuestOptions(TypedDict, total=False):
    """What is booted; without ``kernel`` a guest of the catalogue. ``None`` stands for: not given."""

    guest: str | None
    """Name in the catalogue; default: the board's guest."""
    kernel: Path | None
    """An arm64 Image (plain or gzip), an ELF file, or a flat binary."""
    initramfs: Path | None
    append: str | None
    """Kernel command line; with a guest of the catalogue it is added to that guest's own."""
    device_tree: Path | None
    """Instead of the machine's own; what our vPSCI needs is patched into either."""
    load_address: int | None
    """Physical address of a flat binary."""
    entry: int | None
    """Physical address of the first instruction, if the kernel's file does not tell it right."""
    initrd_address: int | None
    """Physical address of the initramfs."""
    symbols: Path | None
    """The kernel's vmlinux; default: the guest's own, or what is recovered from the kernel."""
    ready: str | None
    """Regular expression that matches on the console when the guest is up; default: the guest's own."""
    progress: Progress
    """Told how the making of a guest image goes."""


class FaultOptions(TypedDict, total=False):
    """What goes wrong on purpose."""

    fault: tuple[str, ...] | None
    """Rules such as ``kind=return,function=SYSTEM_SUSPEND,code=DENIED``, asked before those of the plan."""
    fault_plan: Path | None
    """A YAML file of rules, with a seed."""


class DebugOptions(TypedDict, total=False):
    """How debuggers are served."""

    gdb_port: str | None
    """TCP port on loopback besides the unix socket, 0 for a free one; elsewhere only as ``ADDRESS:PORT``."""
    halt: bool | None
    """Stand before the guest's first instruction until a debugger lets it go."""


class BootOptions(GuestOptions, FaultOptions, DebugOptions, total=False):
    """Options of :func:`boot`; those that a board has too override it."""

    name: str | None
    """Of the session; default: the board's, with a number if that is taken."""
    cpus: int | None
    memory: str | None
    """With its unit: ``512M``, ``2G``."""
    cpu: str | None
    """CPU model."""
    gic_version: int | None
    profile: str | None
    """Whose vPSCI is imitated."""
    psci_version: str | None
    """Announced, and what is answered follows it."""
    poison: bool | None
    """Fill what PSCI leaves undefined at an entry point."""
    trusted_os: str | None
    """One to be imitated: ``migratable`` or ``not-migratable``."""
    mitigations: bool | None
    """Offer the workarounds of the profile for CPUs that need them."""
    context_order: str | None
    """What a suspend does first: ``state-first`` or ``context-first``."""
    trap: str | None
    """Where calls are caught: ``el2`` or ``hvc-site``."""
    pass_through: str | None
    """Functions that the firmware below answers: ``TRNG_RND,OTHER``."""
    conduit: str | None
    wake: str | None
    """What may end a suspend: ``command,irq``."""
    idle_states: str | None
    """What the guest is offered besides WFI: ``standby,power-down``."""
    network: str | None
    qemu_arg: tuple[str, ...] | None
    timeout_s: float | None
    """Seconds that the guest has to come up."""


def prepare(board: str | Board = "qemu-virt", **options: Unpack[BootOptions]) -> BootPlan:
    """Works out what :func:`boot` is to do, and checks all that can be checked before; see there.

    Builds the guest's image if it is not in the cache.
    """
    about_board = {name: value for name, value in options.items() if name in _BOARD_OPTIONS}
    resolved = (load_board(board) if isinstance(board, str) else board).with_overrides(**about_board)
    if resolved.idle_states and not get_trap_source(resolved.trap).repeats_answers:
        raise UsageError(
            f"--idle-states: with the trap source {resolved.trap} each idle state stops the machine, "
            "which then comes to nothing else",
            hint="leave them out, or use --trap el2",
        )
    kernel = options.get("kernel")
    files, ready = _catalogued(resolved, options) if kernel is None else _given(kernel, options)
    chosen = options.get("ready")
    if chosen is not None:
        _check_expression(chosen)
    return BootPlan(
        name=options.get("name"),
        board=resolved,
        guest=files,
        faults=_faults(options),
        ready=ready if chosen is None else chosen,
        gdb_address=_gdb_address(options.get("gdb_port")),
        halt=bool(options.get("halt")),
    )


def boot(board: str | Board = "qemu-virt", *, wait: bool = True, **options: Unpack[BootOptions]) -> Session:
    """Boots a guest and returns its session, which is destroyed when its ``with`` block ends.

    ::

        with hil_agent.boot("qemu-virt", guest="linux-minimal", cpus=4) as session:
            session.suspend()
            session.resume()

    Args:
        board: a name from ``hil-agent board list``, the path of a board file, or a board.
        wait: until the guest is up, or halted; else only until the machine runs.
        **options: see :class:`BootOptions`.

    Raises:
        UsageError: an option does not fit.
        NotFoundError: no such board or guest.
        HostError: this host lacks something.
        TargetError: the guest did not come up; nothing is left behind.
    """
    return launch.boot(prepare(board, **options), wait=wait)


_BOARD_OPTIONS = BootOptions.__annotations__.keys() - {
    "name",
    *GuestOptions.__annotations__,
    *FaultOptions.__annotations__,
    *DebugOptions.__annotations__,
}


def _catalogued(board: Board, options: BootOptions) -> tuple[GuestFiles, str | None]:
    """A guest of the catalogue, and how it says that it is up."""
    for option, name in _WITH_KERNEL.items():
        if options.get(option) is not None:
            raise UsageError(f"{name} goes with --kernel")
    recipe = catalogue.find(options.get("guest") or board.guest)
    made = image.build(recipe, options.get("progress", _silent))
    files = GuestFiles(
        name=recipe.name,
        kernel=made.kernel,
        initramfs=made.initramfs,
        command_line=" ".join(filter(None, (recipe.description.command_line, options.get("append")))),
        device_tree=_absolute(options.get("device_tree")),
        initrd_address=options.get("initrd_address"),
        symbols=_absolute(options.get("symbols")) or recipe.symbols,
    )
    return files, recipe.description.ready


def _given(kernel: Path, options: BootOptions) -> tuple[GuestFiles, str | None]:
    """What the user gave as a kernel, and how it says that it is up, if it is a Linux."""
    if options.get("guest") is not None:
        raise UsageError("--guest and --kernel exclude each other")
    initramfs = options.get("initramfs")
    load_address, entry = options.get("load_address"), options.get("entry")
    is_linux = recognise(kernel, load_address=load_address, entry=entry).kind is KernelKind.IMAGE
    if initramfs is not None:
        check_initramfs(initramfs)
    append = options.get("append")
    files = GuestFiles(
        name=kernel.name,
        kernel=kernel.absolute(),
        initramfs=_absolute(initramfs),
        command_line=append if append is not None else _LINUX_COMMAND_LINE if is_linux else "",
        device_tree=_absolute(options.get("device_tree")),
        load_address=load_address,
        entry=entry,
        initrd_address=options.get("initrd_address"),
        symbols=_absolute(options.get("symbols")),
    )
    return files, _PROMPT if is_linux else None


_WITH_KERNEL = {"initramfs": "--initrd", "load_address": "--load-address", "entry": "--entry"}


def _faults(options: BootOptions) -> FaultPlan:
    path = options.get("fault_plan")
    plan = FaultPlan(rules=()) if path is None else load_yaml_model(path, FaultPlan)
    return plan.model_copy(update={"rules": (*map(parse_fault, options.get("fault") or ()), *plan.rules)})


def _gdb_address(text: str | None) -> tuple[str, int] | None:
    """``PORT`` on loopback, or ``ADDRESS:PORT``."""
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or _LOOPBACK
    try:
        number = int(port)
        ip_address(host)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 16:
        raise UsageError(
            f"--gdb-port: {text!r} is no PORT, nor ADDRESS:PORT", hint="as in 1234 or 127.0.0.1:0"
        )
    return host, number


def _check_expression(ready: str) -> None:
    try:
        re.compile(ready)
    except re.error as error:
        raise UsageError(f"--until: {ready!r} is no regular expression: {error}") from error


def _silent(_step: str, _fraction: float | None) -> None:
    """No progress is shown."""


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path else None
