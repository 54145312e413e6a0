"""``hil-agent trace``: every trapped call."""

from __future__ import annotations

import json
from collections.abc import Iterable

import click

from hil_agent.cli.output import json_option, print_json
from hil_agent.errors import UsageError
from hil_agent.session.client import Session
from hil_agent.session.documents import TraceRecord
from hil_agent.text import printable


@click.command
@click.argument("name")
@click.option(
    "--follow", is_flag=True, help="Go on with the calls that come, until Ctrl-C or the session's end."
)
@click.option(
    "--format",
    "shape",
    type=click.Choice(["text", "json", "perfetto"]),
    default="text",
    show_default=True,
    help="perfetto: for ui.perfetto.dev.",
)
@json_option
def trace(*, name: str, follow: bool, shape: str, as_json: bool) -> None:
    """Show every call that the guest of session NAME has made."""
    if as_json and shape == "text":
        shape = "json"
    if follow and shape == "perfetto":
        raise UsageError("a perfetto trace is one document: --follow cannot make it")
    session = Session.find(name)
    records: Iterable[TraceRecord] = session.follow() if follow else session.trace()
    if shape == "text":
        for record in records:
            click.echo(printable(str(record)))
    elif follow:
        for record in records:
            print_json(record.model_dump(mode="json"), compact=True)
    elif shape == "json":
        print_json([record.model_dump(mode="json") for record in records])
    else:
        click.echo(json.dumps({"traceEvents": [_slice(record) for record in records]}))


def _slice(record: TraceRecord) -> dict[str, object]:
    """One call as a complete event of the Chrome trace format; its times are in microseconds."""
    return {
        "name": record.function,
        "cat": "psci",
        "ph": "X",
        "ts": record.time_s * 1e6 - record.handling_us,
        "dur": record.handling_us,
        "pid": 1,
        "tid": record.cpu,
        "args": {"arguments": record.args, "result": record.result, "value": record.value, "seq": record.seq},
    }
