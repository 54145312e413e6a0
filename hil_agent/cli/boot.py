"""``hil-agent boot``: a board, a guest and the options that change them, made into a session."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from hil_agent.api import BootOptions, prepare
from hil_agent.board.schema import MOST_CPUS
from hil_agent.cli.number import Number
from hil_agent.cli.output import json_option, print_json
from hil_agent.cli.progress import booting, building
from hil_agent.errors import UsageError
from hil_agent.session.launch import boot as boot_session

_FILE = click.Path(path_type=Path)


_OPTIONS = (
    click.Option(["--guest"], help="Guest of the catalogue; default: the board's."),
    click.Option(["--name"], help="Name of the session; default: the board's, with a number if it is taken."),
    click.Option(["--cpus"], type=int, help=f"Number of vCPUs, 1 to {MOST_CPUS}."),
    click.Option(["--memory"], metavar="SIZE", help="RAM, such as 512M or 2G."),
    click.Option(["--cpu"], metavar="MODEL", help="CPU model: cortex-a53, cortex-a57, cortex-a72, max ..."),
    click.Option(["--gic-version"], type=int, help="Interrupt controller: 2 or 3."),
    click.Option(["--profile"], help="Whose PSCI answers are imitated: spec, xen, xen-v16, kvm, qemu."),
    click.Option(
        ["--psci-version"], help="PSCI version: 0.1, 0.2, 1.0, 1.1, 1.2 or 1.3; default: the profile's."
    ),
    click.Option(
        ["--poison"], is_flag=True, default=None, help="Poison what PSCI leaves undefined at an entry point."
    ),
    click.Option(["--trusted-os"], help="A Trusted OS to be imitated: migratable or not-migratable."),
    click.Option(
        ["--mitigations"], is_flag=True, default=None, help="Offer the workarounds of CPUs that need them."
    ),
    click.Option(["--context-order"], help="What a suspend does first: state-first or context-first."),
    click.Option(
        ["--fault"],
        multiple=True,
        metavar="RULE",
        help="A fault, such as kind=return,function=SYSTEM_SUSPEND,code=DENIED; repeatable.",
    ),
    click.Option(["--fault-plan"], type=_FILE, help="YAML file of faults."),
    click.Option(["--trap"], help="Where calls are caught: el2 or hvc-site."),
    click.Option(
        ["--pass-through"],
        metavar="FUNCTIONS",
        help="Functions that the firmware below answers, such as TRNG_RND,OTHER.",
    ),
    click.Option(["--conduit"], help="What the device tree tells the guest to call with: hvc or smc."),
    click.Option(
        ["--wake"],
        metavar="SOURCES",
        help="What may end a suspend besides `resume`: irq, timer; command for nothing else.",
    ),
    click.Option(
        ["--idle-states"],
        metavar="STATES",
        help="Idle states that the guest is offered: standby, power-down, or both; default: none.",
    ),
    click.Option(["--network"], help="none, or user: QEMU's user-mode network."),
    click.Option(
        ["--kernel"], type=_FILE, help="arm64 Image (plain or gzip), ELF or flat binary instead of a guest."
    ),
    click.Option(["--initrd", "initramfs"], type=_FILE, help="Initial RAM file system for --kernel."),
    click.Option(
        ["--append"], metavar="ARGS", help="Kernel command line; added to that of a catalogue guest."
    ),
    click.Option(["--symbols"], type=_FILE, metavar="VMLINUX", help="ELF file with the kernel's symbols."),
    click.Option(["--dtb", "device_tree"], type=_FILE, help="Device tree, not the machine's own."),
    click.Option(["--load-address"], type=Number(48), help="Where a flat binary is placed."),
    click.Option(["--entry"], type=Number(48), help="Where the guest starts; default: its kernel's entry."),
    click.Option(["--initrd-address"], type=Number(48), help="Where the initramfs is placed."),
    click.Option(
        ["--qemu-arg"], multiple=True, metavar="ARG", help="A further argument for QEMU; repeatable."
    ),
    click.Option(
        ["--gdb-port"],
        metavar="PORT",
        help="Serve debuggers on loopback TCP as well; 0 takes a free port; ADDRESS:PORT for elsewhere.",
    ),
    click.Option(
        ["--halt"],
        is_flag=True,
        default=None,
        help="Stand before the first instruction until a debugger lets it go.",
    ),
    click.Option(
        ["--until", "ready"],
        metavar="REGEX",
        help="Return when the console matches; default: the guest's own.",
    ),
    click.Option(
        ["--timeout", "timeout_s"], type=float, metavar="S", help="Seconds the guest has to come up."
    ),
)
"""The options of :class:`hil_agent.api.BootOptions`, under its names."""


def boot_options(command: click.Command) -> click.Command:
    """Adds all options that say what is booted and on what; the command gets them as keywords."""
    command.params.extend(_OPTIONS)
    return command


@boot_options
@click.command(short_help="Boot a guest on a board.")
@click.argument("board")
@click.option("--no-wait", is_flag=True, help="Return as soon as the machine runs.")
@json_option
def boot(*, board: str, no_wait: bool, as_json: bool, **options: Unpack[BootOptions]) -> None:
    """Boot a guest on BOARD, a name from `hil-agent board list` or a board file.

    Returns when the guest is up: as its recipe says, at a shell's prompt, or when the console matches
    --until. The session lives on in a process of its own; see `hil-agent list`.
    """
    if no_wait and options.get("ready") is not None:
        raise UsageError("--until and --no-wait exclude each other")
    with building() as progress:
        options["progress"] = progress
        plan = prepare(board, **options)
    with booting(plan) as created:
        session = boot_session(plan, wait=not no_wait, created=created)
    status = session.status()
    if as_json:
        print_json(status.model_dump(mode="json"))
        return
    click.echo(
        f"{status.name}: {status.guest} on {status.board}, {status.state}"
        f" ({len(status.cpus)} vCPU{'s' if len(status.cpus) > 1 else ''}, vPSCI {status.profile},"
        f" {status.calls} calls so far)"
    )
    if status.calls == 0 and not no_wait and not plan.halt:
        click.echo("no PSCI call seen; is the conduit right? (--conduit hvc or smc)", err=True)
