"""``hil-agent gdb``: a gdb for a person, attached to a session, with the kernel's symbols."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hil_agent.cli.output import json_option, print_fields, print_json
from hil_agent.debug.kernel import KernelFile
from hil_agent.errors import StateError
from hil_agent.host import require
from hil_agent.session.client import Session
from hil_agent.session.plan import BootPlan

_SETTINGS = ("set confirm off", "set architecture aarch64", "set debuginfod enabled off")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("arguments", nargs=-1, metavar="[-- ARGS...]", type=click.UNPROCESSED)
@click.option(
    "--symbols",
    type=click.Path(path_type=Path),
    metavar="VMLINUX",
    help="ELF file with the kernel's symbols; default: what it was booted with, else the kernel's own.",
)
@click.option("--print", "only_print", is_flag=True, help="Print what to connect to, and start nothing.")
@json_option
def gdb(
    *, name: str, arguments: tuple[str, ...], symbols: Path | None, only_print: bool, as_json: bool
) -> None:
    """Start gdb-multiarch, attached to session NAME, with the symbols of its guest's kernel.

    Attaching stops the guest, quitting lets it go on. ARGS are gdb's own, after ours: `-- -ex bt`. The
    guest's kernel is found where KASLR has put it.
    """
    session = Session.find(name)
    status = session.status()
    if status.gdb is None:
        raise StateError(f"{name} is {status.state}, and serves no debuggers")
    plan = BootPlan.read(session.folder.plan)
    if symbols is not None:
        plan = plan.model_copy(
            update={"guest": plan.guest.model_copy(update={"symbols": symbols.absolute()})}
        )
    kernel = KernelFile.of(plan)
    commands = [] if kernel is None else kernel.locate(session.read_memory).gdb_commands
    commands.append(f"target remote {status.gdb}")
    if as_json:
        print_json({"gdb": status.gdb, "gdb_address": status.gdb_address, "commands": commands})
    elif only_print:
        print_fields(
            [("unix socket", status.gdb), ("address", status.gdb_address or "none: boot --gdb-port")]
        )
        for command in commands:
            click.echo(f"(gdb) {command}")
    else:
        program = require("gdb-multiarch")
        options = [word for command in (*_SETTINGS, *commands) for word in ("-ex", command)]
        os.execv(program, [str(program), "--quiet", *options, *arguments])  # noqa: S606 - no shell
