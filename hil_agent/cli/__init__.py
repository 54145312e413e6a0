"""The command line: one module per group of commands, each a thin layer over the Python API."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from hil_agent import __version__
from hil_agent.cli.output import run
from hil_agent.errors import InternalError

_COMMANDS = {
    "demo": "demo:demo",
    "doctor": "doctor:doctor",
    "board": "board:board",
    "guest": "guest:guest",
    "boot": "boot:boot",
    "list": "sessions:list_sessions",
    "status": "sessions:status",
    "wait": "sessions:wait",
    "reset": "sessions:reset",
    "destroy": "sessions:destroy",
    "console": "console:console",
    "exec": "console:execute",
    "push": "console:push",
    "pull": "console:pull",
    "suspend": "power:suspend",
    "resume": "power:resume",
    "context": "power:context",
    "trace": "trace:trace",
    "gdb": "gdb:gdb",
    "diagnose": "diagnose:diagnose",
    "conformance": "conformance:conformance",
}
"""Where each command is. It is imported when it is used, so that every command starts at once."""


class _Commands(click.Group):
    """Finds the commands by the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name].split(":")
        command = getattr(import_module(f"hil_agent.cli.{module}"), name)
        if not isinstance(command, click.Command):
            raise InternalError(f"{module}.{name} is no command")
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hil-agent")
def cli() -> None:
    """Boots an Arm64 guest, is its PSCI firmware, and suspends and resumes it for real."""


def main() -> None:
    """The program ``hil-agent``."""
    sys.exit(run(cli))
