"""``hil-agent doctor``: looks at the host, says how to mend it, and does so if asked."""

from __future__ import annotations

from collections.abc import Iterable

import click
from rich.console import Console
from rich.progress import Progress

from hil_agent.cli.output import json_option, print_json, print_table
from hil_agent.errors import HostError
from hil_agent.host import Check, check_host, install_command
from hil_agent.install import install


@click.command
@click.option(
    "--install", "may_install", is_flag=True, help="Install what is missing, with apt-get as root or sudo."
)
@json_option
@click.pass_context
def doctor(context: click.Context, *, may_install: bool, as_json: bool) -> None:
    """Check what this host needs, and say how to mend what is missing.

    Ends with status 5 if something is missing.
    """
    checks = check_host()
    if may_install and (packages := _packages(checks)):
        _install(packages)
        checks = check_host()
    (_print_document if as_json else _print_text)(checks)
    if not all(check.ok for check in checks):
        context.exit(HostError.exit_status)


def _packages(checks: Iterable[Check]) -> list[str]:
    """The packages that mend what is missing, each once."""
    return list(dict.fromkeys(package for check in checks for package in check.packages))


def _install(packages: list[str]) -> None:
    click.echo(f"Installing {' '.join(packages)}", err=True)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("apt-get", total=100)
        install(packages, lambda doing, percent: bar.update(task, description=doing, completed=percent))


def _print_document(checks: list[Check]) -> None:
    packages = _packages(checks)
    print_json(
        {
            "ok": all(check.ok for check in checks),
            "checks": [
                {
                    "name": check.name,
                    "purpose": check.purpose,
                    "ok": check.ok,
                    "found": check.found or None,
                    "problem": check.problem or None,
                    "remedy": check.remedy or None,
                    "packages": check.packages,
                }
                for check in checks
            ],
            "install": install_command(packages) if packages else None,
        }
    )


def _print_text(checks: list[Check]) -> None:
    print_table(
        ["what", "what for", "state", "found"],
        [(check.name, check.purpose, check.problem or "ok", check.found) for check in checks],
    )
    remedies = [f"{check.name}: {check.remedy}" for check in checks if check.remedy]
    if packages := _packages(checks):
        remedies.append(f"{install_command(packages)}\n  (or: hil-agent doctor --install)")
    if remedies:
        click.echo("\n".join(["", "To mend it:", *(f"  {remedy}" for remedy in remedies)]))
