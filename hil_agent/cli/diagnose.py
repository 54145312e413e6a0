"""``hil-agent diagnose``: what is wrong with a session."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from hil_agent.cli.output import json_option, print_json
from hil_agent.debug.diagnose import diagnose as gather
from hil_agent.session.client import Session
from hil_agent.text import printable


@click.command
@click.argument("name")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where everything goes; must not exist. Default: a name of its own, here.",
)
@click.option("--core/--no-core", default=True, help="Write an ELF core, as large as the guest's memory.")
@json_option
def diagnose(*, name: str, output: Path | None, core: bool, as_json: bool) -> None:
    """Gather all that can be had about session NAME into a folder, and say what may be wrong.

    For a suspend or a resume that hangs, a panic, or anything else that surprises; in whatever state the
    session is. A guest that runs stands for a moment.
    """
    session = Session.find(name)
    folder = output or Path(f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}")
    found = gather(session, folder.absolute(), core=core)
    if as_json:
        print_json(
            {
                "name": name,
                "folder": str(found.folder),
                "state": found.evidence.status.state.value,
                "findings": [
                    {"rule": each.rule, "what": each.what, "look": each.look} for each in found.findings
                ],
                "missing": list(found.evidence.missing),
                "files": dict(found.files),
            }
        )
        return
    for finding in found.findings:
        click.echo(printable(f"{name}: {finding.what}"))
    for gap in found.evidence.missing:
        click.echo(printable(f"{name}: not had: {gap}"), err=True)
    click.echo(f"{name}: see {found.folder / 'summary.md'}")
