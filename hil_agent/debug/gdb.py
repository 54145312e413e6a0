"""gdb under program control: break, run, look, and be told what happened, in values."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Self, TypeAlias

from hil_agent.debug import mi
from hil_agent.debug.gdb_process import GdbProcess
from hil_agent.debug.mi import Access, Breakpoint, Frame, GdbError, Payload, Stop, Thread, Value, Watchpoint
from hil_agent.errors import HilAgentError, StateError

Target: TypeAlias = Path | tuple[str, int]
"""A debug stub: a unix socket, or a host and a port."""

Location: TypeAlias = str | int
"""Where to break: an address, or what gdb takes, such as ``cpu_resume`` or ``*0xffff800008000000``."""

_TIMEOUT_S: Final = 20.0
_MOST_FRAMES: Final = 64
_MEMORY_CHUNK: Final = 64 * 1024
_WRITE_CHUNK: Final = 1024
_LEAVE_S: Final = 5.0

_SETTINGS: Final = (
    "confirm off",
    "pagination off",
    "width 0",
    "height 0",
    "style enabled off",
    "mi-async on",  # so that a target that runs can be asked to stop
    # The target does not choose files of this host for gdb to load, nor sends it its own.
    "auto-solib-add off",
    "remote pid-to-exec-file-packet off",
    "remote hostio-open-packet off",
)

_log = logging.getLogger(__name__)


class Gdb:
    """A gdb attached to a target. As a context manager it attaches, and detaches at the end.

    ::

        with Gdb(Path(session.status().gdb)) as gdb:
            gdb.break_at("cpu_resume", hardware=True)
            gdb.go()
            print(gdb.wait_stop(60).frame, gdb.backtrace())

    Attaching stops the target, detaching lets it go on. Nothing waits longer than its limit: a gdb that does
    not answer is ended, and whatever is asked of it then fails. It belongs to one thread.

    Args:
        target: the debug stub.
        commands: of gdb's command line, carried out before it attaches, such as those that load symbols.
        program: name or path of gdb.
        timeout_s: seconds that gdb has for an answer, if nothing else is said.

    Raises:
        HostError: there is no such program; the hint has the command that installs it.
        UsageError: an argument has a line's end in it.
        TargetError: it cannot attach.

    Every method raises:
        GdbError: gdb refuses; its message says why.
        TargetTimeout: it did not answer in time.
        LinkError: it is gone.
    """

    def __init__(
        self,
        target: Target,
        *,
        commands: Sequence[str] = (),
        program: str = "gdb-multiarch",
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._target = target
        self._commands = commands
        self._timeout_s = timeout_s
        self._process = GdbProcess(program)
        self._attached = False

    def __enter__(self) -> Self:
        self._process.__enter__()
        try:
            for setting in _SETTINGS:
                self._ask(f"-gdb-set {setting}")
            # In place of a stub's memory map: devices are not in it, and gdb dies of regions of 63 bits.
            self.console("mem 0 0 rw")
            for command in self._commands:
                self.console(command)
            self._attach()
        except BaseException:
            self._process.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.detach()
        except HilAgentError as error:
            _log.warning("gdb could not detach, and is ended: %s", error.message)
        finally:
            self._process.__exit__()

    @property
    def pid(self) -> int:
        """Process ID of gdb."""
        return self._process.pid

    # -------------------------------------------------------------------- where it stops

    def break_at(
        self,
        location: Location,
        *,
        hardware: bool = False,
        condition: str | None = None,
        temporary: bool = False,
    ) -> Breakpoint:
        """Sets a breakpoint.

        Args:
            location: an address, a function, or whatever else gdb takes.
            hardware: with one of the machine's comparators, where memory cannot be written or is yet to be.
            condition: an expression; it stops only where that is true.
            temporary: it goes when it is hit.
        """
        place = f"*{location:#x}" if isinstance(location, int) else location
        words = ["-break-insert", *(["-h"] if hardware else []), *(["-t"] if temporary else [])]
        words += ["-c", mi.quote(condition)] if condition is not None else []
        return mi.read_breakpoint(self._ask(*words, mi.quote(place))["bkpt"])

    def watch(self, expression: str, *, access: Access = Access.WRITE) -> Watchpoint:
        """Sets a watchpoint: it stops when what the expression stands for is written, or read."""
        return mi.read_watchpoint(self._ask("-break-watch", access, mi.quote(expression)))

    def delete(self, point: Breakpoint | Watchpoint) -> None:
        """Takes a breakpoint or a watchpoint away."""
        self._ask("-break-delete", str(point.number))

    # ---------------------------------------------------------------------------- running

    @property
    def running(self) -> bool:
        """Whether the target runs, as far as gdb has said."""
        return self._process.running

    def go(self) -> None:
        """Lets the target run. A stop that nobody has waited for until now is forgotten."""
        self._run("-exec-continue")

    def step_instruction(self, thread: int | None = None) -> None:
        """Has a thread execute one instruction; :meth:`wait_stop` tells when it has."""
        self._run("-exec-step-instruction", thread)

    def next_instruction(self, thread: int | None = None) -> None:
        """Like :meth:`step_instruction`, but a call counts as one, until it returns."""
        self._run("-exec-next-instruction", thread)

    def finish(self, thread: int | None = None) -> None:
        """Lets it run until the innermost function has returned.

        The stop's reason is ``FINISHED`` only where there is debug information; else gdb names none.
        """
        self._run("-exec-finish", thread)

    def interrupt(self) -> None:
        """Asks a target that runs to stop; :meth:`wait_stop` tells when it has."""
        self._ask("-exec-interrupt")

    def wait_stop(self, timeout_s: float | None = None) -> Stop:
        """Why and where the target has stopped; waits for it.

        Stops come in their order, also those that came while something else was asked.

        Args:
            timeout_s: seconds to wait; 0 only looks.

        Raises:
            TargetTimeout: it did not stop in time, and still runs; it can be waited for again.
        """
        stop = self._process.wait_stop(self._timeout_s if timeout_s is None else timeout_s)
        self._attached = self._attached and not stop.reason.over
        return stop

    # ---------------------------------------------------------------------------- looking

    def threads(self) -> tuple[Thread, ...]:
        """All threads: of a machine, its vCPUs."""
        return tuple(map(mi.read_thread, self._ask("-thread-info").get("threads", ())))

    def backtrace(self, thread: int | None = None, *, limit: int = _MOST_FRAMES) -> tuple[Frame, ...]:
        """The frames of a thread, or of the one that stopped, the innermost first.

        Args:
            thread: gdb's number of it.
            limit: most that are told; damaged stacks have no end.
        """
        answer = self._ask("-stack-list-frames", *_thread(thread), "0", str(limit - 1))
        return tuple(map(mi.read_frame, answer["stack"]))

    def evaluate(self, expression: str) -> Value:
        """What an expression is, in the thread and frame where the target has stopped; it may assign."""
        return mi.read_value(self._ask("-data-evaluate-expression", mi.quote(expression))["value"])

    def registers(self, thread: int | None = None, names: Iterable[str] | None = None) -> dict[str, int]:
        """Registers by name, as unsigned numbers. Vectors, and what the target does not tell, are left out.

        Args:
            thread: gdb's number of it; the one that stopped, if None.
            names: those that are wanted; all, if None.

        Raises:
            GdbError: there is no register of such a name.
        """
        numbers = self._register_numbers()
        wanted = numbers.keys() if names is None else list(names)
        if missing := [name for name in wanted if name not in numbers]:
            raise GdbError(f"the target has no register {', '.join(missing)}")
        by_number = {numbers[name]: name for name in wanted}
        asked = [] if names is None else list(map(str, by_number))
        options = (*_thread(thread), "--skip-unavailable")
        answer = self._ask("-data-list-register-values", *options, "r", *asked)["register-values"]
        values = ((int(each["number"]), mi.read_register(each["value"])) for each in answer)
        return {by_number[number]: value for number, value in values if value is not None}

    def read_memory(self, address: int, length: int, *, thread: int | None = None) -> bytes:
        """Memory, as a thread sees it.

        Args:
            address: 64 bits.
            length: bytes.
            thread: gdb's number of it; the one that stopped, if None.

        Raises:
            GdbError: not all of it can be read.
        """
        data = bytearray()
        while len(data) < length:
            wanted = min(_MEMORY_CHUNK, length - len(data))
            at = address + len(data)
            words = ("-data-read-memory-bytes", *_thread(thread), f"{at:#x}", str(wanted))
            data += (got := mi.read_memory(self._ask(*words)))
            if len(got) != wanted:
                raise GdbError(f"memory at {at + len(got):#x} cannot be read")
        return bytes(data)

    def write_memory(self, address: int, data: bytes) -> None:
        """Writes memory, as the thread that stopped sees it."""
        for start in range(0, len(data), _WRITE_CHUNK):
            part = data[start : start + _WRITE_CHUNK]
            self._ask("-data-write-memory-bytes", f"{address + start:#x}", part.hex())

    def console(self, command: str, *, timeout_s: float | None = None) -> str:
        """What a command of gdb's command line prints, as does what ``monitor`` has the stub print.

        Args:
            command: one line.
            timeout_s: seconds that it has.
        """
        return self._process.console(command, self._timeout_s if timeout_s is None else timeout_s)

    # ---------------------------------------------------------------------------- leaving

    def detach(self) -> None:
        """Takes all breakpoints away and lets the target go; does nothing the second time."""
        if not self._attached:
            return
        self._attached = False
        if self._process.running:
            self.interrupt()
            self._process.wait_stop(_LEAVE_S)
        self._process.ask("-break-delete", _LEAVE_S)
        self._process.ask("-target-detach", _LEAVE_S)

    # ------------------------------------------------------------------------- within

    def _attach(self) -> None:
        where = self._target if isinstance(self._target, Path) else "{}:{}".format(*self._target)
        self._ask(f"-gdb-set tcp connect-timeout {max(1, int(self._timeout_s))}")
        self._ask(f"-target-select remote {where}")
        self._process.wait_stop(self._timeout_s)
        self._attached = True

    def _ask(self, *words: str) -> Payload:
        return self._process.ask(" ".join(words), self._timeout_s)

    def _run(self, command: str, thread: int | None = None) -> None:
        if self._process.running:
            raise StateError("the target runs already")
        self._process.stops.clear()
        self._ask(command, *_thread(thread))

    def _register_numbers(self) -> dict[str, int]:
        names = self._ask("-data-list-register-names")["register-names"]
        return {name: number for number, name in enumerate(names) if name}


def _thread(number: int | None) -> tuple[str, ...]:
    return () if number is None else ("--thread", str(number))
