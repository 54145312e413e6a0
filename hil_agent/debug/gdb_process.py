"""A gdb that is asked through its machine interface, and that cannot hang whoever asks.

Of pygdbmi only the parser is used. Its ``GdbController`` matches no answers to commands but waits a fixed
time for more; takes the end of gdb for silence; and never reads gdb's standard error, so that a gdb with
much to say there blocks.
"""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import IO, BinaryIO, Final, Self, cast

from hil_agent.debug import mi
from hil_agent.debug.mi import GdbError, Payload, Record, RecordKind, Stop
from hil_agent.errors import HostError, LinkError, TargetTimeout, UsageError
from hil_agent.host import require

_CHUNK: Final = 64 * 1024
_EXCERPT: Final = 200
_LAST_WORDS: Final = 2000
_COMPLAINTS: Final = 8
"""Pieces of text, the latest, of gdb's log stream; where it dies, they tell of what."""

LONGEST_COMMAND: Final = select.PIPE_BUF - 32
"""Bytes. A pipe that is empty takes as many at once, so that writing never blocks."""

_OPTIONS: Final = (
    "--nx",  # nobody's init files
    "--quiet",
    "--interpreter=mi3",
    *("-iex", "set auto-load off"),  # nothing that lies beside a file of the guest's is run
    *("-iex", "set debuginfod enabled off"),
)


class GdbProcess:
    """A running gdb; a context manager that ends it. Belongs to one thread.

    Args:
        program: name or path of gdb.

    Attributes:
        stops: what has stopped and was not asked for yet, oldest first.
        running: whether the target runs, as far as gdb has said.

    Raises:
        HostError: there is no such program.
    """

    def __init__(self, program: str) -> None:
        self.stops: deque[Stop] = deque()
        self.running = False
        self._path = require(program)
        self._token = 0
        self._answer: Record | None = None
        self._said: list[str] = []
        self._complaints: deque[str] = deque(maxlen=_COMPLAINTS)
        self._partial = b""

    def __enter__(self) -> Self:
        self._errors: BinaryIO = tempfile.TemporaryFile()
        try:
            self._process = _start(self._path, self._errors)
        except BaseException:
            self._errors.close()
            raise
        self._stdin = cast("IO[bytes]", self._process.stdin)
        self._stdout = cast("IO[bytes]", self._process.stdout)
        self._readable = select.poll()
        self._readable.register(self._stdout, select.POLLIN)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for file in (self._stdin, self._stdout, self._errors):
            file.close()

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self._process.pid

    def ask(self, command: str, timeout_s: float) -> Payload:
        """What gdb answers to a command of GDB/MI.

        A gdb that does not answer in time is ended: what it said later would be taken for another answer.

        Args:
            command: one line, without a token; arguments quoted.
            timeout_s: seconds.

        Raises:
            GdbError: it refuses.
            TargetTimeout: it did not answer in time.
            LinkError: it is gone.
            UsageError: the command is too long.
        """
        deadline = time.monotonic() + timeout_s
        self._token += 1
        self._answer = None
        self._said.clear()
        self._write(f"{self._token}{command}\n".encode())
        while self._answer is None:
            if not self._read(deadline):
                self.kill()
                raise TargetTimeout(
                    f"gdb did not answer {command[:_EXCERPT]} within {timeout_s:g} s, and was ended",
                    hint="the debug stub that it is attached to may not answer",
                )
        return _payload(command, self._answer)

    def console(self, command: str, timeout_s: float) -> str:
        """What a command of gdb's command line prints; raises as :meth:`ask` does."""
        self.ask(f"-interpreter-exec console {mi.quote(command)}", timeout_s)
        return "".join(self._said)

    def wait_stop(self, timeout_s: float) -> Stop:
        """The oldest stop that was not asked for yet; waited for, if there is none.

        Raises:
            TargetTimeout: the target did not stop in time; it still runs, and gdb is well.
            LinkError: gdb is gone.
        """
        deadline = time.monotonic() + timeout_s
        while not self.stops:
            if not self._read(deadline):
                raise TargetTimeout(f"the target did not stop within {timeout_s:g} s")
        return self.stops.popleft()

    def kill(self) -> None:
        """Ends gdb at once; its connection to the target breaks."""
        self._process.kill()
        self._process.wait()

    # ------------------------------------------------------------------------- within

    def _write(self, line: bytes) -> None:
        if len(line) > LONGEST_COMMAND:
            raise UsageError(f"a command of {len(line)} bytes is too long for gdb: {line[:_EXCERPT]!r}")
        try:
            os.write(self._stdin.fileno(), line)
        except OSError as error:
            raise self._gone() from error

    def _read(self, deadline: float) -> bool:
        """Takes note of what gdb says next; False if it says nothing until the deadline."""
        left_ms = max(0.0, deadline - time.monotonic()) * 1000
        if not self._readable.poll(left_ms):
            return False
        data = os.read(self._stdout.fileno(), _CHUNK)
        if not data:
            raise self._gone()
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._note(mi.parse(line.decode(errors="replace")))
        return True

    def _note(self, record: Record) -> None:
        match record:
            case Record(RecordKind.RESULT, token=self._token):
                self._answer = record
                self.running = self.running or record.name == "running"
            case Record(RecordKind.NOTIFY, "stopped"):
                self.running = False
                self.stops.append(mi.read_stop(record.payload))
            case Record(RecordKind.NOTIFY, "running"):
                self.running = True
            case Record(RecordKind.CONSOLE | RecordKind.TARGET):
                self._said.append(record.text)
            case Record(RecordKind.LOG):
                self._complaints.append(record.text)

    def _gone(self) -> LinkError:
        self.kill()
        self._errors.seek(0)
        errors = self._errors.read()[-_LAST_WORDS:].decode(errors="replace")
        said = " ".join("".join([*self._complaints, errors]).split())
        return LinkError(f"gdb ended with status {self._process.returncode}" + (f": {said}" if said else ""))


def _start(path: Path, errors: BinaryIO) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "DEBUGINFOD_URLS"}
    try:
        return subprocess.Popen(
            [str(path), *_OPTIONS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            env=environment | {"LC_ALL": "C"},
            start_new_session=True,  # Ctrl-C at our terminal is not for it
        )
    except OSError as error:
        raise HostError(f"{path} cannot be started: {error.strerror}") from error


def _payload(command: str, answer: Record) -> Payload:
    if answer.name == "error":
        raise GdbError(
            f"gdb refuses {command[:_EXCERPT]}: {answer.payload.get('msg', 'it does not say why')}"
        )
    return answer.payload
