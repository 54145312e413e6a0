"""What clients can ask of a session: the methods of the control protocol."""

from __future__ import annotations

import base64
import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from hil_agent.board.machine import Machine
from hil_agent.console import Cancellation, Cancelled
from hil_agent.el2.idle import RepeatedAnswers
from hil_agent.engine.executor import Executor
from hil_agent.engine.loop import TargetLoop
from hil_agent.errors import FileError, GuestError, HilAgentError, StateError, UsageError
from hil_agent.psci import Function, ReturnCode, VirtualPsci
from hil_agent.session.control import Method
from hil_agent.session.folder import SessionFolder
from hil_agent.session.guest_shell import Background, GuestShell
from hil_agent.session.journal import Journal, News
from hil_agent.session.plan import BootPlan
from hil_agent.session.protocol import Json
from hil_agent.session.state import FINAL, State, StateCell
from hil_agent.stub.server import GdbServer

_log = logging.getLogger(__name__)

_TARGET_TIMEOUT_S = 30.0
_SHOWN = 500
_MOST_MEMORY = 1 << 20

Result = TypeVar("Result")


class Service:
    """Most public methods are those of the protocol; ``cancel`` is set when its client has gone."""

    def __init__(
        self,
        plan: BootPlan,
        folder: SessionFolder,
        *,
        cell: StateCell,
        journal: Journal,
        loop: TargetLoop,
        executor: Executor,
        repeated: RepeatedAnswers | None,
        shell: GuestShell,
        machine: Machine,
        debuggers: GdbServer,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._cell = cell
        self._journal = journal
        self._loop = loop
        self._executor = executor
        self._repeated = repeated
        self._shell = shell
        self._machine = machine
        self._debuggers = debuggers
        self._suspend = threading.Lock()
        self._suspending: Background | None = None

    def methods(self) -> Mapping[str, Method]:
        """The methods by name."""
        return {
            "status": self.status,
            "wait": self.wait,
            "wait_ready": self.wait_ready,
            "exec": self.exec,
            "push": self.push,
            "pull": self.pull,
            "suspend": self.suspend,
            "settle": self.settle,
            "suspend_by_host": self.suspend_by_host,
            "resume": self.resume,
            "registers": self.registers,
            "read_memory": self.read_memory,
            "set_context": self.set_context,
            "clear_context": self.clear_context,
            "trace": self.trace,
            "dump": self.dump,
            "reset": self.reset,
            "destroy": self.destroy,
        }

    def client_gone(self) -> None:
        """Has all waits look whether they are still wanted."""
        self._cell.wake_waiters()
        self._journal.nudge()

    def status(self) -> Json:
        """Everything about the session."""
        self._count_repeated()
        vpsci: VirtualPsci = self._executor.vpsci
        return {
            "name": self._folder.name,
            "board": self._plan.board.name,
            "guest": self._plan.guest.name,
            "state": self._cell.state.value,
            "reason": self._cell.reason,
            "profile": self._plan.board.profile,
            "trap": self._plan.board.trap,
            "cpus": [
                {"cpu": cpu, "mpidr": f"{mpidr:#x}", "power": power.value}
                for cpu, (mpidr, power) in enumerate(zip(vpsci.mpidrs, vpsci.powers, strict=True))
            ],
            "context": self._context(),
            "suspends": self._cell.suspends,
            "resumes": self._cell.resumes,
            "calls": self._cell.calls + vpsci.repeated,
            "untraced": vpsci.repeated,
            "counters": {
                function.name if function else "unknown": list(counts)
                for function, counts in tuple(vpsci.counts.items())
            },
            "uptime_s": round(self._journal.uptime_s, 3),
            "gdb": str(self._folder.gdb_socket),
            "gdb_address": self._gdb_address(),
            "debuggers": self._debuggers.debuggers,
            "console_log": str(self._folder.console_log),
            "pid": os.getpid(),
            "target_pid": self._machine.pid,
        }

    def wait(self, *, state: str, timeout_s: float, cancel: Cancellation) -> None:
        """Waits for a state."""
        try:
            wanted = State(state)
        except ValueError:
            raise UsageError(f"{state!r} is no state of a session") from None
        self._wait(lambda: self._cell.state is wanted, timeout_s, f"state {wanted}", cancel)

    def wait_ready(self, *, timeout_s: float, cancel: Cancellation) -> None:
        """Waits until the guest has come up, whatever it does then."""
        self._wait(lambda: self._cell.ready, timeout_s, "the guest to come up", cancel)

    def exec(self, *, command: str, timeout_s: float, cancel: Cancellation) -> Json:
        """Runs a command in the guest."""
        with self._shell.take(timeout_s, cancel) as shell:
            result = shell.exec(command, timeout_s, cancel=cancel)
        return {"output": base64.b64encode(result.stdout).decode(), "status": result.status}

    def push(
        self, *, data: str, destination: str, name: str, mode: int, timeout_s: float, cancel: Cancellation
    ) -> None:
        """Stores a file in the guest."""
        with self._shell.take(timeout_s, cancel) as shell:
            decoded = base64.b64decode(data)
            shell.push(decoded, destination, name=name, mode=mode, timeout_s=timeout_s, cancel=cancel)

    def pull(self, *, source: str, timeout_s: float, cancel: Cancellation) -> str:
        """Reads a file in the guest."""
        with self._shell.take(timeout_s, cancel) as shell:
            return base64.b64encode(shell.pull(source, timeout_s=timeout_s, cancel=cancel)).decode()

    def suspend(self, *, command: str, timeout_s: float, cancel: Cancellation) -> Json:
        """Has the guest suspend, and waits until SYSTEM_SUSPEND was accepted."""
        if not self._suspend.acquire(blocking=False):
            raise StateError("somebody else is having the guest suspend")
        try:
            return self._have_suspend(command, timeout_s, cancel)
        finally:
            self._suspend.release()

    def _have_suspend(self, command: str, timeout_s: float, cancel: Cancellation) -> Json:
        if self._cell.state is State.SUSPENDED:
            raise StateError("the guest is suspended already")
        profile = self._executor.vpsci.profile
        if not profile.offers(Function.SYSTEM_SUSPEND):
            raise StateError(
                f"the vPSCI (profile {profile.name}, PSCI {profile.psci_version}) has no SYSTEM_SUSPEND: "
                "the guest would only go to s2idle",
                hint="boot it with another --profile or --psci-version",
            )
        before, calls = self._cell.suspends, self._cell.calls
        background = self._suspending = self._shell.start(command)
        try:
            self._wait(
                lambda: self._cell.suspends > before or background.over, timeout_s, "SYSTEM_SUSPEND", cancel
            )
        except BaseException:
            background.cancel.set()
            raise
        context = self._cell.last_context
        if self._cell.suspends == before or context is None:
            raise self._refusal(command, background, calls)
        return {
            "entry_point": f"{context.entry_point:#x}",
            "context_id": f"{context.context_id:#x}",
            "cpu": context.cpu,
            "width": context.width.value,
            "since_s": round(self._cell.suspended_for or 0.0, 6),
        }

    def settle(self, *, timeout_s: float, cancel: Cancellation) -> Json:
        """Waits for the command of the last suspend to end."""
        background = self._suspending
        if background is None:
            return None
        self._wait(lambda: background.over, timeout_s, "the suspending command to end", cancel)
        result = background.result()
        return {"output": base64.b64encode(result.stdout).decode(), "status": result.status}

    def suspend_by_host(self) -> None:
        """Holds the guest where it is."""
        if self._cell.state not in {State.RUNNING, State.BOOTING}:
            raise StateError(f"the guest is {self._cell.state}")
        self._with_target_stopped(self._executor.suspend_by_host)

    def resume(self, *, answer: str | None = None) -> None:
        """Resumes the guest; with ``answer`` its call returns with that code instead."""
        if self._cell.state is not State.SUSPENDED:
            raise StateError(f"the guest is {self._cell.state}, not suspended")
        if answer is None:
            self._with_target_stopped(self._executor.resume)
            return
        if answer not in ReturnCode.__members__:
            raise UsageError(f"{answer!r} is no return code", hint=", ".join(ReturnCode.__members__))
        code = ReturnCode[answer]
        self._with_target_stopped(lambda: self._executor.resume_as_is(code))

    def read_memory(self, *, address: int, length: int) -> Json:
        """Reads the guest's physical memory, with the machine stopped for a moment."""
        if not (0 <= address < 1 << 64 and 0 <= length <= _MOST_MEMORY):
            raise UsageError(f"{length} bytes at {address:#x} cannot be read at once, but {_MOST_MEMORY}")
        read = self._with_target_stopped(lambda: self._debuggers.target.view.read_physical(address, length))
        return base64.b64encode(read).decode()

    def registers(self) -> Json:
        """Every register at the last suspend, and what had changed after its resume; by vCPU."""
        executor = self._executor
        captured, changed = self._loop.submit(lambda: (executor.captured, executor.changed)).result(
            _TARGET_TIMEOUT_S
        )
        return {
            "suspended": {
                str(cpu): {name: f"{value:#x}" for name, value in registers.items()}
                for cpu, registers in captured.items()
            },
            "changed": {
                str(cpu): {name: [f"{before:#x}", f"{after:#x}"] for name, (before, after) in changes.items()}
                for cpu, changes in changed.items()
            },
        }

    def set_context(self, *, entry_point: int | None = None, context_id: int | None = None) -> None:
        """Changes what the next resume will use."""
        for value in (entry_point, context_id):
            if value is not None and not 0 <= value < 1 << 64:
                raise UsageError(f"{value:#x} is no 64-bit value")
        vpsci = self._executor.vpsci
        change = functools.partial(vpsci.edit_context, entry_point=entry_point, context_id=context_id)
        self._loop.submit(change).result(_TARGET_TIMEOUT_S)

    def clear_context(self) -> None:
        """Drops the resume context."""
        self._loop.submit(self._executor.vpsci.clear_context).result(_TARGET_TIMEOUT_S)

    def trace(self, *, follow: bool, cancel: Cancellation) -> Iterator[Json]:
        """Yields the calls so far and, if asked to follow, those that come."""
        if not follow:
            yield from self._journal.calls()
            return
        with self._journal.follow() as (so_far, news):
            yield from so_far
            while (record := news.get()) is not News.END:
                if cancel.is_set():
                    return
                if record is not News.LOOK:
                    yield record

    def dump(self, *, path: str, timeout_s: float) -> None:
        """Writes the guest's memory into an ELF core."""
        core = Path(path)
        if not core.is_absolute():
            raise UsageError(f"{path!r} is no absolute path")
        try:
            os.close(os.open(core, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise FileError(f"cannot be created: {error.strerror}", path=core) from error
        try:
            self._loop.submit(lambda: self._machine.dump(core)).result(timeout_s)
        except BaseException:
            core.unlink(missing_ok=True)
            raise

    def reset(self, *, timeout_s: float, cancel: Cancellation) -> None:
        """Resets the machine and waits until the guest is up again."""
        self._loop.submit(self._executor.reset, stopped=True).result(_TARGET_TIMEOUT_S)
        self.wait_ready(timeout_s=timeout_s, cancel=cancel)

    def destroy(self) -> None:
        """Ends the session."""
        self._loop.end()

    # ------------------------------------------------------------------------- within

    def _wait(self, done: Callable[[], bool], timeout_s: float, what: str, cancel: Cancellation) -> None:
        self._cell.wait_until(lambda: cancel.is_set() or done(), timeout_s, what)
        if cancel.is_set():
            raise Cancelled(f"nobody waits for {what} any more")

    def _with_target_stopped(self, action: Callable[[], Result]) -> Result:
        return self._loop.submit(action, stopped=True).result(_TARGET_TIMEOUT_S)

    def _gdb_address(self) -> Json:
        address = self._debuggers.address
        return None if address is None else "{}:{}".format(*address)

    def _count_repeated(self) -> None:
        """Has the vPSCI told what the target has answered by itself, for which it stops for a moment."""
        repeated = self._repeated
        if repeated is None or self._cell.state in FINAL:
            return
        try:
            self._with_target_stopped(repeated.report)
        except HilAgentError as error:  # the status itself tells what has become of the target
            _log.info("what was answered at EL2 is not known: %s", error.message)

    def _context(self) -> Json:
        context, held = self._executor.vpsci.context, self._cell.suspended_for
        if context is None or held is None:
            return None
        return {
            "entry_point": f"{context.entry_point:#x}",
            "context_id": f"{context.context_id:#x}",
            "cpu": context.cpu,
            "width": context.width.value,
            "since_s": round(held, 6),
        }

    def _refusal(self, command: str, background: Background, calls: int) -> GuestError:
        """Why a command ended without the guest having suspended; there had been ``calls`` before it."""
        result = background.result()
        answers = [
            record["result"]
            for record in self._journal.calls()
            if record["function"] == "SYSTEM_SUSPEND" and record["seq"] > calls
        ]
        said = result.stdout.decode(errors="replace").strip()[-_SHOWN:]
        return GuestError(
            f"the guest did not suspend: {command!r} ended with status {result.status}"
            + (f": {said}" if said else "")
            + (f"; SYSTEM_SUSPEND was answered {answers[-1]}" if answers else "; no SYSTEM_SUSPEND was seen"),
            hint="/sys/power/mem_sleep must say [deep]; see hil-agent trace and the guest's dmesg",
        )
