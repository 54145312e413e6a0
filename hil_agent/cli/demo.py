"""``hil-agent demo``: the main job from beginning to end, with its proof."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from dataclasses import asdict, dataclass

import click

from hil_agent.api import prepare
from hil_agent.board.schema import MOST_CPUS
from hil_agent.cli.output import json_option, print_fields, print_json
from hil_agent.cli.progress import booting, building
from hil_agent.errors import GuestError, TargetTimeout
from hil_agent.session.client import DEFAULT_SUSPEND, Session
from hil_agent.session.documents import Context
from hil_agent.session.launch import boot
from hil_agent.session.state import State

_SUCCESSES = "cat /sys/power/suspend_stats/success"
_EXIT = re.compile(r"PM: suspend exit")


@dataclass(frozen=True, slots=True)
class _Proof:
    """What was seen of one suspend and resume."""

    kernel: str
    profile: str
    trap: str
    cpus: int
    boot_s: float
    mem_sleep: str
    context: Context
    suspend_s: float
    held_s: float
    state_while_held: State
    resume_s: float
    command_status: int
    kernel_said: str
    successes_before: int
    successes_after: int
    calls: dict[str, int]

    def check(self) -> None:
        """Sees to it that this was a true suspend.

        Raises:
            GuestError: one of the signs is missing.
        """
        signs = {
            "the guest's command ended with status 0": self.command_status == 0,
            "the guest stayed suspended while it was held": self.state_while_held is State.SUSPENDED,
            "suspend_stats/success went up by one": self.successes_after == self.successes_before + 1,
            "the kernel said 'PM: suspend exit'": bool(_EXIT.search(self.kernel_said)),
            "SYSTEM_SUSPEND was called once": self.calls.get("SYSTEM_SUSPEND") == 1,
        }
        missing = [sign for sign, seen in signs.items() if not seen]
        if missing:
            raise GuestError("this was no suspend and resume; missing: " + "; ".join(missing))


@click.command
@click.option("--cpus", type=int, help=f"Number of vCPUs, 1 to {MOST_CPUS}.")
@click.option("--profile", help="Whose PSCI answers are imitated.")
@click.option("--trap", help="Where calls are caught: el2 or hvc-site.")
@click.option(
    "--hold",
    "hold_s",
    type=click.FloatRange(0, 3600),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds between suspend and resume.",
)
@json_option
def demo(*, cpus: int | None, profile: str | None, trap: str | None, hold_s: float, as_json: bool) -> None:
    """Boot Linux, suspend it with `echo mem`, hold, resume, and prove it."""
    with building() as progress:
        plan = prepare("qemu-virt", cpus=cpus, profile=profile, trap=trap, progress=progress)
    began = time.monotonic()
    with booting(plan) as created:
        session = boot(plan, created=created)
    with session:
        proof = _prove(session, hold_s, time.monotonic() - began)
    proof.check()
    if as_json:
        print_json(
            {
                **asdict(proof),
                "context": proof.context.model_dump(),
                "state_while_held": str(proof.state_while_held),
            }
        )
    else:
        _print(proof)


def _prove(session: Session, hold_s: float, boot_s: float) -> _Proof:
    before = session.exec(f"uname -r; {_SUCCESSES}; cat /sys/power/mem_sleep").text.splitlines()
    started = time.monotonic()
    context = session.suspend()
    suspended = time.monotonic()
    with contextlib.suppress(TargetTimeout):
        session.wait(State.RUNNING, timeout_s=hold_s)  # nothing should wake it
    state = session.status().state
    resuming = time.monotonic()
    session.resume()
    command = session.settle()
    resumed = time.monotonic()
    after = session.exec(f"{_SUCCESSES}; dmesg | grep 'PM: suspend' | tail -n 1").text.splitlines()
    status = session.status()
    return _Proof(
        kernel=before[0],
        profile=status.profile,
        trap=status.trap,
        cpus=len(status.cpus),
        boot_s=boot_s,
        mem_sleep=before[2],
        context=context,
        suspend_s=suspended - started,
        held_s=resuming - suspended,
        state_while_held=state,
        resume_s=resumed - resuming,
        command_status=command.status if command else -1,
        kernel_said=after[-1],
        successes_before=int(before[1]),
        successes_after=int(after[0]),
        calls=dict(Counter(record.function for record in session.trace())),
    )


def _print(proof: _Proof) -> None:
    context = proof.context
    calls = ", ".join(
        f"{count} {name}" for name, count in sorted(proof.calls.items(), key=lambda item: -item[1])
    )
    print_fields(
        [
            (
                "booted",
                f"Linux {proof.kernel} with {proof.cpus} vCPU(s) in {proof.boot_s:.1f} s,"
                f" under our vPSCI, profile {proof.profile}, trap source {proof.trap};"
                f" mem_sleep {proof.mem_sleep}",
            ),
            (
                "suspended",
                f"by `{DEFAULT_SUSPEND}` in {proof.suspend_s:.2f} s: SYSTEM_SUSPEND"
                f" with entry point {context.entry_point}, context ID {context.context_id},"
                f" on vCPU {context.cpu}",
            ),
            ("held", f"for {proof.held_s:.2f} s"),
            ("resumed", f"and at the shell again in {proof.resume_s:.2f} s"),
            ("kernel", proof.kernel_said),
            ("suspend_stats", f"success {proof.successes_before} before, {proof.successes_after} after"),
            ("calls", f"{sum(proof.calls.values())}: {calls}"),
        ],
    )
