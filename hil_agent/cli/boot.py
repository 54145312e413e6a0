"""``hil-agent boot``: a board, a guest and the options that change them, made into a session."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from hil_agent.api import DEFAULT_READY, prepare
from hil_agent.cli.output import json_option, print_json
from hil_agent.cli.progress import booting, building
from hil_agent.errors import UsageError
from hil_agent.session.launch import boot as boot_session

_FILE = click.Path(path_type=Path)


class _Address(click.ParamType[int]):
    """A physical address: decimal, or hexadecimal with 0x."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The address as a number."""
        if isinstance(value, int):
            return value
        try:
            number = int(value, 0)
        except ValueError:
            number = -1
        if not 0 <= number < 1 << 48:
            self.fail(f"{value!r} is no physical address, such as 0x40200000", param, ctx)
        return number


@click.command(short_help="Boot a guest on a board.")
@click.argument("board")
@click.option("--guest", help="Guest of the catalogue; default: the board's.")
@click.option("--name", help="Name of the session; default: the board's name, with a number if it is taken.")
@click.option("--cpus", type=int, help="Number of vCPUs, 1 to 8.")
@click.option("--memory", metavar="SIZE", help="RAM, such as 512M or 2G.")
@click.option("--cpu", metavar="MODEL", help="CPU model: cortex-a53, cortex-a57, cortex-a72, max ...")
@click.option("--gic-version", type=int, help="Interrupt controller: 2 or 3.")
@click.option("--profile", help="Whose PSCI answers are imitated: spec, xen, xen-v16, kvm, qemu.")
@click.option("--trap", help="Where calls are caught: el2.")
@click.option("--conduit", help="What the device tree tells the guest to call with: hvc or smc.")
@click.option("--wake", metavar="SOURCES", help="What may end a suspend: command, irq, timer, with commas.")
@click.option("--network", help="none, or user: QEMU's user-mode network.")
@click.option("--kernel", type=_FILE, help="arm64 Image (plain or gzip), ELF or flat binary instead of a guest.")
@click.option("--initrd", type=_FILE, help="Initial RAM file system for --kernel.")
@click.option("--append", metavar="ARGS", help="Kernel command line; with a catalogue guest, added to its own.")
@click.option("--dtb", type=_FILE, help="Device tree instead of the machine's; it is patched like that.")
@click.option("--load-address", type=_Address(), help="Where a flat binary is placed.")
@click.option("--entry", type=_Address(), help="Where the guest starts; default: its kernel's entry.")
@click.option("--initrd-address", type=_Address(), help="Where the initramfs is placed.")
@click.option("--qemu-arg", multiple=True, metavar="ARG", help="A further argument for QEMU; repeatable.")
@click.option("--until", metavar="REGEX", help="Return when the console matches; default: the guest's own.")
@click.option("--no-wait", is_flag=True, help="Return as soon as the machine runs.")
@click.option("--timeout", "timeout_s", type=float, metavar="S", help="Seconds that the guest has to come up.")
@json_option
def boot(
    *,
    board: str,
    guest: str | None,
    name: str | None,
    append: str | None,
    until: str | None,
    no_wait: bool,
    as_json: bool,
    kernel: Path | None,
    initrd: Path | None,
    dtb: Path | None,
    load_address: int | None,
    entry: int | None,
    initrd_address: int | None,
    **overrides: Any,
) -> None:
    """Boot a guest on BOARD, a name from `hil-agent board list` or a board file.

    Returns when the guest is up: a shell answers on its console, or the console matches --until. The session
    lives on in a process of its own; see `hil-agent list`.
    """
    if until is not None and no_wait:
        raise UsageError("--until and --no-wait exclude each other")
    if until is not None:
        try:
            re.compile(until)
        except re.error as error:
            raise UsageError(f"--until: {until!r} is no regular expression: {error}") from error
    with building() as progress:
        plan = prepare(
            board,
            guest=guest,
            name=name,
            kernel=kernel,
            initramfs=initrd,
            append=append,
            device_tree=dtb,
            load_address=load_address,
            entry=entry,
            initrd_address=initrd_address,
            ready=DEFAULT_READY if until is None else until,
            progress=progress,
            **{**overrides, "qemu_arg": overrides["qemu_arg"] or None},
        )
    with booting(plan):
        session = boot_session(plan, wait=not no_wait)
    status = session.status()
    if as_json:
        print_json(status.model_dump(mode="json"))
        return
    click.echo(
        f"{status.name}: {status.guest} on {status.board}, {status.state}"
        f" ({len(status.cpus)} vCPU{'s' if len(status.cpus) > 1 else ''}, vPSCI {status.profile},"
        f" {status.calls} calls so far)"
    )
    if status.calls == 0 and not no_wait:
        click.echo("no PSCI call seen; is the conduit right? (--conduit hvc or smc)", err=True)
