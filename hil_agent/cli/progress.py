"""Progress of long work on standard error: drawn on a terminal, silent or in plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hil_agent.session.folder import SessionFolder
from hil_agent.session.plan import BootPlan
from hil_agent.text import printable

_REFRESH_S = 0.2
_LINE = 72


@contextlib.contextmanager
def building() -> Iterator[Callable[[str, float | None], None]]:
    """Shows the making of a guest image; yields what is to be told of each step and its fraction done."""
    if not sys.stderr.isatty():
        last = ""

        def plain(step: str, _: float | None) -> None:
            nonlocal last
            if step != last:
                click.echo(f"hil-agent: {printable(step)}", err=True)
                last = step

        yield plain
        return
    with _progress(BarColumn()) as progress:
        task = progress.add_task("", total=None, visible=False)

        def drawn(step: str, fraction: float | None) -> None:
            progress.update(
                task,
                description=printable(step),
                completed=fraction or 0,
                total=1 if fraction else None,
                visible=True,
            )

        yield drawn


@contextlib.contextmanager
def booting(plan: BootPlan) -> Iterator[Callable[[SessionFolder], None]]:
    """Shows the last line of the guest's console while it boots; yields what is to be told the folder."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    over = threading.Event()
    with _progress() as progress, contextlib.ExitStack() as stack:
        task = progress.add_task(f"booting {plan.guest.name}", total=None)

        def follow(folder: SessionFolder) -> None:
            while not over.wait(_REFRESH_S):
                line = _last_line(folder.console_log)
                progress.update(task, description=f"booting {plan.guest.name}  {line}")

        def created(folder: SessionFolder) -> None:
            thread = threading.Thread(target=follow, args=(folder,), daemon=True)
            thread.start()
            stack.callback(thread.join)

        try:
            yield created
        finally:
            over.set()


def _progress(*columns: BarColumn) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *columns,
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 1024))
            lines = stream.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((printable(line.strip())[:_LINE] for line in reversed(lines) if line.strip()), "")
