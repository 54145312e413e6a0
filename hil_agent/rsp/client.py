"""A GDB remote protocol client: what a debugger can ask of a stub.

Speaks all-stop mode to any stub. What a stub can do is found out by `Client.handshake`; what it cannot
do is worked around where the protocol has an older way (``G`` for ``P``, ``M`` for ``X``, ``c`` for
``vCont``), else refused with a clear error.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from types import TracebackType
from typing import Final, Self

from hil_agent.errors import ProtocolError, StateError, TargetTimeout
from hil_agent.rsp.breakpoint import BreakpointKind
from hil_agent.rsp.description import AARCH64_CORE, TargetDescription, with_architectural_names
from hil_agent.rsp.features import QUERY, Features
from hil_agent.rsp.link import Link
from hil_agent.rsp.memory import pieces, write_requests
from hil_agent.rsp.packet import Control
from hil_agent.rsp.registers import Registers, decode_value, encode_value
from hil_agent.rsp.reply import (
    RefusedError,
    UnavailableError,
    UnsupportedError,
    check_answered,
    check_done,
    decode_hex,
    unexpected,
)
from hil_agent.rsp.stop import StopReply
from hil_agent.rsp.thread import ALL, ANY, ThreadId

DEFAULT_TIMEOUT_S: Final = 5.0

EVERYONE: Final = ThreadId(ALL)
"""Stands for all threads that are not named otherwise."""

_THREAD_LIMIT: Final = 4096
_TEXT_LIMIT: Final = 1 << 20  # bytes of one annex, and of a monitor command's output


class Client:
    """A debugger's side of a connection to a stub. One thread owns it; every wait is bounded.

    Where a method takes a thread, None stands for the thread that stopped last.

    Args:
        connection: a connected stream socket (unix or TCP); the client owns it from here on.
        timeout_s: how long, in seconds, the stub may take for an exchange.
        pipelining: whether requests may be sent without waiting for the replies to those before. Some
            stubs on serial lines cannot take it.
        description: the registers of the target, for stubs that describe none themselves.

    Attributes:
        features: what the stub can do; nothing until `handshake` has found out.
        description: the registers of the target.
        running: whether the target was resumed and its stop has not been seen yet.
        stop: the latest stop reply; None until `handshake`.
        thread: the thread that stopped last, if the stub ever named one.
        annexes: the documents of the stub's target description, by name.

    Raises (every method that asks the stub for something):
        LinkError: the connection broke.
        TargetTimeout: no answer came in time.
        RefusedError: the stub answered with an error.
        UnsupportedError: the stub does not know the request.
        ProtocolError: the stub talks nonsense.
        StateError: the target is running.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        pipelining: bool = True,
        description: TargetDescription = AARCH64_CORE,
    ) -> None:
        self.features = Features()
        self.description = description
        self.running = False
        self.stop: StopReply | None = None
        self.thread: ThreadId | None = None
        self.annexes: dict[str, bytes] = {}
        self._link = Link(connection, timeout_s=timeout_s, pipelining=pipelining)
        self._general: ThreadId | None = None  # what Hg has selected, where known
        self._control: ThreadId | None = None  # what Hc has selected, where it was ever used
        self._known: dict[ThreadId, Registers] = {}  # as long as the target stands
        self._unchecked: deque[str] = deque()  # what `resume` asked for and has no answer to yet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection. What the target does then is the stub's affair; see `detach`."""
        self._link.close()

    def fileno(self) -> int:
        """For selectors: readable when `poll_stop` may have something to tell."""
        return self._link.fileno()

    def on_console(self, sink: Callable[[bytes], None]) -> None:
        """Has the target's console output (``O`` packets) given to `sink` as it comes."""
        self._link.on_console = sink

    def handshake(self) -> Features:
        """Finds out what the stub can do, reads the target description, and sees where the target stands.

        On the ``?`` that this sends, QEMU removes all breakpoints and names its first vCPU, whichever
        stopped last (``handle_target_halt`` in ``gdbstub/gdbstub.c``).
        """
        self.features = Features.parse(self._query_supported())
        if self.features.no_ack:
            check_done(self._ask(b"QStartNoAckMode"), "no-acknowledgement mode")
            self._link.acknowledging = False
        # gdbserver fails an assertion when asked for a description before a thread was selected.
        self._ask(b"Hg" + ThreadId(ANY, ANY if self.features.multiprocess else None).encode())
        if self.features.describes_registers:
            described = TargetDescription.load(self._read_annex)
            if described.registers:  # some stubs name the architecture and no more
                self.description = described
        first_register = min(register.number for register in self.description.registers.values())
        # Only now: QEMU answers no 'p' before its description was read.
        vcont, register, binary, physical, stop, current = self.exchange(
            b"vCont?", b"p%x" % first_register, b"X0,0:", b"qqemu.PhyMemMode", b"?", b"qC"
        )
        self.features = replace(
            self.features,
            vcont=frozenset(vcont.decode("ascii", "replace").split(";")[1:]),
            single_registers=register != b"",
            binary_write=binary == b"OK",
            physical_memory=physical in (b"0", b"1"),
        )
        if current.startswith(b"QC"):
            self.thread = ThreadId.parse(current[2:])
        self._note_stop(stop)
        self._general = None  # '?' reports the last stop; it selects nothing
        return self.features

    def _query_supported(self) -> bytes:
        reply = self._ask(QUERY)
        if not StopReply.matches(reply):
            return reply
        # QEMU stops a running machine for a new client, and says so before it was asked anything.
        answer = self._link.next_packet(self._link.timeout_s)
        if answer is None:
            raise TargetTimeout("the stub did not answer 'qSupported'")
        return answer

    def _read_annex(self, annex: str) -> bytes:
        """One document of the target description."""
        what = f"reading target description {annex!r}"
        document = bytearray()
        while True:
            piece = b"%x,%x" % (len(document), self.features.packet_size - 1)
            reply = check_answered(self._ask(b"qXfer:features:read:%b:%b" % (annex.encode(), piece)), what)
            document += reply[1:]
            if reply[:1] == b"l":
                self.annexes[annex] = with_architectural_names(bytes(document))
                return self.annexes[annex]
            if reply[:1] != b"m" or len(reply) == 1 or len(document) > _TEXT_LIMIT:
                raise unexpected(reply, what)

    def threads(self) -> list[ThreadId]:
        """The target's threads: of a whole system, its vCPUs."""
        reply = self._ask(b"qfThreadInfo")
        if not reply:
            return [] if self.thread is None else [self.thread]
        found: list[ThreadId] = []
        while reply[:1] == b"m" and len(found) < _THREAD_LIMIT:
            found += map(ThreadId.parse, reply[1:].split(b","))
            reply = self._ask(b"qsThreadInfo")
        if reply != b"l":
            raise unexpected(check_answered(reply, "listing threads"), "listing threads")
        return found

    def pass_on(self, request: bytes) -> bytes:
        """Sends a request of any kind, and returns its reply."""
        self._known.clear()
        return self._ask(request)

    def exchange(self, *requests: bytes) -> list[bytes]:
        """Sends requests as they are, in one write where pipelining is on, and returns their replies.

        They change no general registers: those are remembered as long as the target stands.
        """
        if self.running:
            raise StateError("the target is running", hint="Interrupt it first.")
        return self._link.exchange(requests)

    def _ask(self, request: bytes) -> bytes:
        return self.exchange(request)[0]

    def monitor(self, command: str) -> str:
        """Has the stub carry out a command of its own (``qRcmd``) and returns what it printed."""
        what = f"monitor command {command!r}"
        output = bytearray()

        def collect(text: bytes) -> None:
            output.extend(text)
            if len(output) > _TEXT_LIMIT:
                raise ProtocolError(f"{what} printed more than {_TEXT_LIMIT} bytes")

        self._known.clear()
        sink, self._link.on_console = self._link.on_console, collect
        try:
            reply = self._ask(b"qRcmd," + command.encode().hex().encode())
        finally:
            self._link.on_console = sink
        if reply != b"OK":
            output += decode_hex(reply, what)
        return output.decode(errors="replace")

    def detach(self) -> None:
        """Lets the target go on without a debugger, and closes the connection."""
        request = b"D"
        if self.features.multiprocess and self.thread is not None and self.thread.pid is not None:
            request += b";%x" % self.thread.pid
        check_done(self._ask(request), "detaching")
        self.close()

    def read_registers(self, thread: ThreadId | None = None) -> Registers:
        """The registers that come in one go (``g``): of AArch64 the core ones, at least."""
        wanted = thread or self.thread
        if wanted is not None and (known := self._known.get(wanted)) is not None and not self.running:
            return known
        self.select(thread)
        registers = Registers(self.description, check_answered(self._ask(b"g"), "reading all registers"))
        if wanted is not None:
            self._known[wanted] = registers
        return registers

    def read_all_registers(
        self, thread: ThreadId | None = None, *, without: Iterable[str] = ()
    ) -> dict[str, int]:
        """Every register that the stub describes and has a value for, by name; but those of ``without``."""
        core = self.read_registers(thread)
        self.select(thread)
        values = {name: core[name] for name in core}
        if self.features.single_registers:
            skipped = {*values, *without}
            rest = [each for name, each in self.description.registers.items() if name not in skipped]
            replies = self.exchange(*(b"p%x" % register.number for register in rest))
            for register, reply in zip(rest, replies, strict=True):
                with contextlib.suppress(ProtocolError, UnavailableError):  # described, but not there
                    values[register.name] = decode_value(register, reply)
        return values

    def read_register(self, name: str, thread: ThreadId | None = None) -> int:
        """One register, also such as ``g`` does not carry.

        Raises:
            UsageError: the target has no register of that name.
            UnavailableError: the stub does not have its value.
        """
        register = self.description[name]
        if not self.features.single_registers:
            return self.read_registers(thread)[name]
        self.select(thread)
        return decode_value(register, self._ask(b"p%x" % register.number))

    def read_each(self, names: Iterable[str], thread: ThreadId | None = None) -> list[int]:
        """Registers by name, in one go; see `read_register`."""
        self.select(thread)
        registers = [self.description[name] for name in names]
        replies = self.exchange(*(b"p%x" % register.number for register in registers))
        return [decode_value(register, reply) for register, reply in zip(registers, replies, strict=True)]

    def write_registers(
        self, values: Mapping[str, int], thread: ThreadId | None = None, *, verify: bool = False
    ) -> None:
        """Writes registers by name.

        Args:
            values: what to write, checked for width before anything is written.
            thread: whose registers.
            verify: read them back. QEMU answers ``OK`` for system registers and writes none of them.

        Raises:
            UsageError: the target has no such register, or a value does not fit.
            ProtocolError: with `verify`, when a register has another value afterwards.
        """
        self.select(thread)
        writes = self._register_writes(values)
        self._known.clear()
        for (what, _), reply in zip(writes, self.exchange(*(request for _, request in writes)), strict=True):
            check_done(reply, what)
        for name, value in values.items() if verify else ():
            found = self.read_register(name, thread)
            if found != value:
                raise ProtocolError(f"register {name} holds {found:#x} after {value:#x} was written to it")

    def _register_writes(self, values: Mapping[str, int]) -> list[tuple[str, bytes]]:
        """Each request that writes `values` to the selected thread, with what it does in words."""
        if not self.features.single_registers:
            return [("writing all registers", self.read_registers(self._general).with_values(values))]
        writes = []
        for name, value in values.items():
            register = self.description[name]
            request = b"P%x=%b" % (register.number, encode_value(register, value))
            writes.append((f"writing register {name}", request))
        return writes

    def select(self, thread: ThreadId | None) -> None:
        """Makes `thread` the one that requests are about; asks the stub only if it is not already."""
        wanted = thread or self.thread
        if wanted is not None and wanted != self._general:
            check_done(self._ask(b"Hg" + wanted.encode()), f"selecting thread {wanted}")
            self._general = wanted

    def read_memory(self, address: int, length: int, *, physical: bool = False) -> bytes:
        """Reads `length` bytes at a 64-bit address, virtual as the current thread sees it, or physical.

        Raises:
            RefusedError: not all of it could be read.
        """
        cut = pieces(address, length, self.features.packet_size)
        replies = self._access([b"m%x,%x" % piece for piece in cut], physical=physical)
        data = bytearray()
        for (start, size), reply in zip(cut, replies, strict=True):
            what = f"reading {size} bytes at {start:#x}"
            part = decode_hex(reply, what)
            if len(part) != size:
                raise RefusedError(f"the stub gave {len(part)} bytes for {what}")
            data += part
        return bytes(data)

    def write_memory(
        self, address: int, data: bytes, *, physical: bool = False, verify: bool = False
    ) -> None:
        """Writes bytes at a 64-bit address, virtual as the current thread sees it, or physical.

        Args:
            address: of the first byte.
            data: what to write.
            physical: whether the address is physical (QEMU only).
            verify: read it back; QEMU answers ``OK`` for a write to ROM.

        Raises:
            RefusedError: not all of it could be written.
            ProtocolError: with `verify`, when the memory holds something else afterwards.
        """
        cut = pieces(address, len(data), self.features.packet_size)
        requests = list(write_requests(address, data, cut, binary=self.features.binary_write))
        replies = self._access(requests, physical=physical)
        for (start, size), reply in zip(cut, replies, strict=True):
            check_done(reply, f"writing {size} bytes at {start:#x}")
        if verify and self.read_memory(address, len(data), physical=physical) != data:
            raise ProtocolError(f"memory at {address:#x} does not hold the {len(data)} bytes written to it")

    def _access(self, requests: list[bytes], *, physical: bool) -> list[bytes]:
        if not physical:
            return self.exchange(*requests)
        if not self.features.physical_memory:
            raise UnsupportedError("the stub does not support access by physical address")
        on, *replies, off = self.exchange(b"Qqemu.PhyMemMode:1", *requests, b"Qqemu.PhyMemMode:0")
        check_done(on, "switching to physical addresses")
        check_done(off, "switching back to virtual addresses")
        return replies

    def insert_breakpoint(self, kind: BreakpointKind, address: int, length: int = 4) -> None:
        """Sets a breakpoint or watchpoint for all threads.

        Args:
            kind: which.
            address: 64-bit virtual address.
            length: bytes of the instruction (4 on AArch64) or of the data that is watched.
        """
        self._breakpoint(b"Z", kind, address, length)

    def remove_breakpoint(self, kind: BreakpointKind, address: int, length: int = 4) -> None:
        """Takes back what `insert_breakpoint` has set with the same arguments."""
        self._breakpoint(b"z", kind, address, length)

    def _breakpoint(self, letter: bytes, kind: BreakpointKind, address: int, length: int) -> None:
        verb = "inserting" if letter == b"Z" else "removing"
        name = kind.name.lower().replace("_", " ")
        reply = self._ask(b"%b%d,%x,%x" % (letter, kind, address, length))
        check_done(reply, f"{verb} a breakpoint ({name}) at {address:#x}")

    def resume(
        self,
        thread: ThreadId | None = None,
        *,
        step: bool = False,
        others: Sequence[ThreadId] = (),
        writes: Mapping[str, int] | None = None,
    ) -> None:
        """Writes registers and lets the target go, all in one write and without waiting.

        Whether the register writes succeeded is checked when the stub is next heard: `poll_stop` or
        `wait_stop` then raise RefusedError, while the target is running. Without pipelining, or where the
        stub cannot write single registers, they are checked before it goes.

        Args:
            thread: the only one to go; all go when it is None.
            step: execute a single instruction, of `thread` or of the thread that stopped, and no other.
            others: threads that run meanwhile, with a `thread`; ``EVERYONE`` for all. A stub without
                ``vCont`` decides itself.
            writes: registers to write first, to `thread` or to the thread that stopped.
        """
        if self.running:
            raise StateError("the target is running already")
        run = self._run_request(thread, step=step, others=others)
        pending: list[tuple[str, bytes]] = []
        if writes:
            if self._link.pipelining:
                self.select(thread)
                pending = self._register_writes(writes)
            else:
                self.write_registers(writes, thread)
        self._link.send([*(request for _, request in pending), run])
        self._unchecked.extend(what for what, _ in pending)
        self._known.clear()
        self.running = True

    def _run_request(self, thread: ThreadId | None, *, step: bool, others: Sequence[ThreadId]) -> bytes:
        action = "s" if step else "c"
        subject = thread or (self.thread if step else None)
        if action in self.features.vcont:
            request = f"vCont;{action}" if subject is None else f"vCont;{action}:{subject}"
            for other in others:
                request += ";c" if other == EVERYONE else f";c:{other}"
            return request.encode()
        subject = thread or (None if self._control is None else ThreadId(ALL))
        if subject != self._control:
            check_done(self._ask(f"Hc{subject}".encode()), f"choosing thread {subject} to run")
            self._control = subject
        return action.encode()

    def poll_stop(self) -> StopReply | None:
        """The stop reply, if it has arrived; for use when `fileno` is readable. Never waits.

        An error leaves what arrived behind it unread: call again before you wait for `fileno`.
        """
        return self._next_stop(0)

    def expect_silence(self) -> None:
        """For use when `fileno` is readable while the target is stopped: most often the stub is gone.

        Raises:
            LinkError: the connection broke.
            ProtocolError: the stub has said something, unasked.
        """
        self._link.expect_silence()

    def wait_stop(self, timeout_s: float) -> StopReply:
        """Waits for the stop reply.

        Raises:
            TargetTimeout: the target still ran after `timeout_s` seconds; it runs on.
        """
        stop = self._next_stop(timeout_s)
        if stop is None:
            raise TargetTimeout(f"the target has not stopped within {timeout_s:g} s")
        return stop

    def _next_stop(self, timeout_s: float) -> StopReply | None:
        if not self.running:
            raise StateError("the target is not running")
        deadline = monotonic() + timeout_s
        while (packet := self._link.next_packet(deadline - monotonic())) is not None:
            if not self._unchecked:
                self.running = False
                return self._note_stop(check_answered(packet, "resuming"))
            check_done(packet, self._unchecked.popleft())
        return None

    def _note_stop(self, payload: bytes) -> StopReply:
        stop = StopReply.parse(payload)
        self.stop = stop
        if stop.thread is not None:
            # A stub goes on with the thread that it has just reported; gdb relies on that, too.
            self.thread = self._general = stop.thread
        return stop

    def interrupt(self) -> None:
        """Asks the stub to stop the target; the stop reply tells when it has."""
        if not self.running:
            raise StateError("the target is not running")
        self._link.send_raw(Control.INTERRUPT.value)
