"""What one debugger says, and what it is told: the GDB remote protocol from the stub's side.

Source: GDB's manual, appendix "GDB Remote Serial Protocol".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final

from hil_agent.engine.breakpoints import Breakpoint
from hil_agent.engine.run_control import Plan, Stop
from hil_agent.errors import HilAgentError
from hil_agent.rsp import BreakpointKind, UnavailableError
from hil_agent.rsp.registers import decode_value
from hil_agent.rsp.thread import ALL, ThreadId
from hil_agent.stub import documents
from hil_agent.stub.connection import Connection
from hil_agent.stub.requests import RequestError, memory_range, number, octets, parse_plan, thread_of
from hil_agent.stub.target import Target

PACKET_SIZE: Final = 16 * 1024
"""Bytes; gdb takes no more (MAX_REMOTE_PACKET_SIZE in gdb/remote.c)."""

_NAME: Final = re.compile(rb"[qQv][A-Za-z.]+\??|.", re.DOTALL)
_PROCESS: Final = 1
_SHORT: Final = 128  # bytes that fit the packets of any stub
_CORE: Final = 34  # x0 to x30, sp, pc, cpsr: what a stop tells at once
_OK: Final = b"OK"
_UNKNOWN: Final = b""
_EFAULT: Final = b"E0e"
_FAILED: Final = b"E01"


class _Errors(Enum):
    """How a request is refused: readers of hexadecimal take a text for data."""

    CODE = auto()
    TEXT = auto()


class Dialogue:
    """One debugger. Belongs to the thread that owns the target.

    Args:
        target: what is debugged.
        connection: to the debugger.

    Attributes:
        attached: it has asked why the machine stands, as debuggers do first, or has let it go.
    """

    def __init__(self, target: Target, connection: Connection) -> None:
        self.attached = False
        self._target = target
        self._run = target.run_control
        self._view = target.view
        self._connection = connection
        self._multiprocess = False
        self._cpu = 0  # what it has selected with Hg
        self._goes: int | None = None  # ... and with Hc; None for all
        self._physical = False
        self._waiting = False
        self._missed: Stop | None = None

    # ---------------------------------------------------------------- what happens

    def stopped(self, stop: Stop) -> None:
        """Tells of a stop: now if it waits for one, else when it lets the machine go."""
        if self._waiting:
            self._waiting = False
            self._connection.send(self._stop_reply(stop))
        else:
            self._missed = stop

    def say(self, text: str) -> None:
        """Has a debugger that waits show a line."""
        if self._waiting:
            self._connection.send(b"O" + f"{text}\n".encode().hex().encode())

    def lost(self) -> None:
        """The target has ended: a debugger that waits is told so, and all are let go."""
        if self._waiting:
            self._waiting = False
            self._connection.send(b"W00")
        self._connection.finish()

    # ---------------------------------------------------------------- what it asks

    def interrupt(self) -> None:
        """Ctrl-C: stops the machine, for everybody."""
        if self._waiting:
            self._run.hold()

    def answer(self, payload: bytes) -> bytes | None:
        """Deals with a packet; the reply, or None if that comes later, or never."""
        found = _NAME.match(payload)
        handler, errors = _HANDLERS.get(found[0] if found else b"", (None, _Errors.CODE))
        if handler is None:
            return self._pass_on(payload)
        try:
            return handler(self, payload)
        except UnavailableError:
            return _EFAULT
        except RequestError:
            return _FAILED
        except HilAgentError as error:
            if errors is _Errors.CODE:
                return _FAILED
            text = "; ".join(filter(None, (error.message, error.hint)))
            return b"E." + text.encode("ascii", "replace")

    def _pass_on(self, payload: bytes) -> bytes | None:
        """What only QEMU knows goes to QEMU."""
        if payload[1:6] != b"qemu.":
            return _UNKNOWN
        return self._target.standing(lambda: self._target.client.pass_on(payload))

    # -- who it is

    def _supported(self, payload: bytes) -> bytes:
        self._multiprocess = b"multiprocess+" in payload
        features = [
            b"PacketSize=%x" % PACKET_SIZE,
            b"QStartNoAckMode+",
            b"vContSupported+",
            b"multiprocess+",
            b"qXfer:threads:read+",
            b"qXfer:memory-map:read+",
        ]
        if self._target.annexes:
            features.append(b"qXfer:features:read+")
        return b";".join(features)

    def _no_acknowledgement(self, _payload: bytes) -> None:
        self._connection.send(_OK)  # which is acknowledged still
        self._connection.acknowledging = False

    def _ok(self, _payload: bytes) -> bytes:
        return _OK

    def _attached(self, _payload: bytes) -> bytes:
        return b"1"

    def _transfer(self, payload: bytes) -> bytes:
        parts = payload.split(b":", 4)
        if len(parts) != len(("qXfer", "kind", "read", "annex", "span")) or parts[2] != b"read":
            return _UNKNOWN
        kind, annex = parts[1], parts[3]
        offset, length = memory_range(parts[4])
        match kind:
            case b"features":
                document = self._target.annexes.get(annex.decode("ascii", "replace"))
            case b"threads":
                ids = [str(self._thread(cpu)) for cpu in range(self._target.cpus)]
                about = [self._target.about(cpu) for cpu in range(self._target.cpus)]
                document = documents.thread_list(list(zip(ids, about, strict=True)))
            case b"memory-map":
                document = documents.MEMORY_MAP
            case _:
                return _UNKNOWN
        return b"E00" if document is None else documents.piece(document, offset, length)

    # -- threads

    def _thread(self, cpu: int) -> ThreadId:
        return ThreadId(cpu + 1, _PROCESS if self._multiprocess else None)

    def _cpu_of(self, text: bytes) -> int | None:
        return thread_of(text, self._target.cpus)

    def _select(self, payload: bytes) -> bytes:
        cpu = self._cpu_of(payload[2:])
        match payload[1:2]:
            case b"g":
                if ThreadId.parse(payload[2:]).tid == ALL:
                    return _FAILED
                self._cpu = self._run.latest.cpu if cpu is None else cpu
            case b"c":
                self._goes = cpu
            case _:
                return _UNKNOWN
        return _OK

    def _is_alive(self, payload: bytes) -> bytes:
        return _OK if self._cpu_of(payload[1:]) is not None else _FAILED

    def _current_thread(self, _payload: bytes) -> bytes:
        return b"QC" + self._thread(self._cpu).encode()

    def _threads(self, payload: bytes) -> bytes:
        if payload[:2] == b"qs":
            return b"l"
        return b"m" + b",".join(self._thread(cpu).encode() for cpu in range(self._target.cpus))

    def _thread_extra(self, payload: bytes) -> bytes:
        cpu = self._cpu_of(payload.partition(b",")[2])
        return _FAILED if cpu is None else f"vCPU {cpu}: {self._target.about(cpu)}".encode().hex().encode()

    # -- stops

    def _why_stopped(self, _payload: bytes) -> bytes:
        self.attached = True
        self._run.hold()
        self._missed = None
        self._cpu = self._run.latest.cpu
        return self._stop_reply(self._run.latest)

    def _stop_reply(self, stop: Stop) -> bytes:
        self._cpu = stop.cpu
        pairs = [b"thread:" + self._thread(stop.cpu).encode()]
        if stop.reason is not None and stop.address is not None:
            pairs.insert(0, b"%b:%x" % (stop.reason.value, stop.address))
        try:
            pairs += self._core_registers(stop.cpu)
        except HilAgentError:
            pairs = pairs[:1]  # it asks for them, and is told what is wrong
        return b"T%02x" % stop.signal + b"".join(pair + b";" for pair in pairs)

    def _core_registers(self, cpu: int) -> list[bytes]:
        """The registers that a debugger looks at after every stop, so that it need not ask."""
        text = self._view.read_all(cpu)
        registers = [self._view.register(number) for number in range(_CORE)]
        return [b"%02x:%b" % (each.number, text[each.span[0] : each.span[1]]) for each in registers]

    # -- run control

    def _continue(self, payload: bytes) -> None:
        """``c``, ``s``, and with a signal, which means nothing to a machine, ``C`` and ``S``."""
        steps = payload[:1] in {b"s", b"S"}
        address = payload[1:] if payload[:1] in {b"c", b"s"} else payload.partition(b";")[2]
        if address:
            pc = self._target.client.description["pc"]
            self._target.standing(lambda: self._view.write(self._cpu, pc, number(address)))
        if steps:
            self._resume(Plan(step=self._cpu if self._goes is None else self._goes))
        else:
            self._resume(Plan(going=None if self._goes is None else frozenset({self._goes})))

    def _vcont(self, payload: bytes) -> None:
        self._resume(parse_plan(payload, self._target.cpus, self._cpu))

    def _vcont_actions(self, _payload: bytes) -> bytes:
        return b"vCont;c;C;s;S"

    def _resume(self, plan: Plan) -> None:
        self.attached = self._waiting = True
        if self._missed is not None:
            missed, self._missed = self._missed, None
            if self._run.holding:  # the machine has moved since it looked last
                self.stopped(missed)
                return
        if self._run.holding:
            self._run.resume(plan)

    def _detach(self, _payload: bytes) -> bytes | None:
        self._connection.send(_OK)
        self._connection.finish()
        return None

    def _kill(self, _payload: bytes) -> None:
        self._connection.finish()

    def _reset(self, _payload: bytes) -> None:
        self._target.standing(self._run.reset)

    # -- registers

    def _read_all(self, _payload: bytes) -> bytes:
        return self._target.standing(lambda: self._view.read_all(self._cpu))

    def _write_all(self, payload: bytes) -> bytes:
        self._target.standing(lambda: self._view.write_all(self._cpu, payload[1:]))
        return _OK

    def _read_one(self, payload: bytes) -> bytes:
        register = self._view.register(number(payload[1:]))
        try:
            return self._target.standing(lambda: self._view.read(self._cpu, register))
        except UnavailableError:
            return b"xx" * register.size

    def _write_one(self, payload: bytes) -> bytes:
        which, _, text = payload[1:].partition(b"=")
        register = self._view.register(number(which))
        value = decode_value(register, text)
        self._target.standing(lambda: self._view.write(self._cpu, register, value))
        return _OK

    # -- memory, and breakpoints in it

    def _read_memory(self, payload: bytes) -> bytes:
        address, length = memory_range(payload[1:])
        return self._target.standing(lambda: self._read(payload, address, min(length, PACKET_SIZE // 2)))

    def _read(self, payload: bytes, address: int, length: int) -> bytes:
        """Memory in hexadecimal; what is short, as most of it is, as the target's stub gives it."""
        if length <= _SHORT and not self._physical:
            code = self._view.code_at(self._cpu, address, length)
            if code is not None:
                return code.hex().encode()
            if (reply := self._view.pass_on_read(self._cpu, payload)) is not None:
                return reply
        return self._view.read_memory(self._cpu, address, length, physical=self._physical).hex().encode()

    def _write_memory(self, payload: bytes) -> bytes:
        span, _, content = payload[1:].partition(b":")
        address, length = memory_range(span)
        data = octets(content) if payload[:1] == b"M" else content
        if len(data) != length:
            raise RequestError
        self._target.standing(
            lambda: self._view.write_memory(self._cpu, address, data, physical=self._physical)
        )
        return _OK

    def _physical_mode(self, payload: bytes) -> bytes:
        if payload[:1] == b"q":
            return b"%d" % self._physical
        self._physical = payload.endswith(b":1")
        return _OK

    def _breakpoint(self, payload: bytes) -> bytes:
        kind, _, span = payload[1:].partition(b";")[0].partition(b",")
        address, length = memory_range(span)
        if number(kind) not in set(map(int, BreakpointKind)):
            return _UNKNOWN
        breakpoint_ = Breakpoint(BreakpointKind(number(kind)), address, length)
        change = self._run.insert if payload[:1] == b"Z" else self._run.remove
        self._target.standing(lambda: change(self, breakpoint_))
        return _OK

    def _command(self, payload: bytes) -> bytes:
        line = octets(payload.partition(b",")[2]).decode(errors="replace")
        try:
            output = self._target.standing(lambda: self._target.monitor.run(line, self._cpu))
        except HilAgentError as error:
            output = f"{error}\n"
        encoded = output.encode().hex().encode()
        size = PACKET_SIZE - 2
        for start in range(0, len(encoded), size):
            self._connection.send(b"O" + encoded[start : start + size])
        return _OK


_Handler = Callable[[Dialogue, bytes], bytes | None]


_HANDLERS: Final[Mapping[bytes, tuple[_Handler, _Errors]]] = {
    b"qSupported": (Dialogue._supported, _Errors.CODE),
    b"QStartNoAckMode": (Dialogue._no_acknowledgement, _Errors.CODE),
    b"qXfer": (Dialogue._transfer, _Errors.CODE),
    b"qAttached": (Dialogue._attached, _Errors.CODE),
    b"qSymbol": (Dialogue._ok, _Errors.CODE),
    b"!": (Dialogue._ok, _Errors.CODE),
    b"H": (Dialogue._select, _Errors.CODE),
    b"T": (Dialogue._is_alive, _Errors.CODE),
    b"qC": (Dialogue._current_thread, _Errors.CODE),
    b"qfThreadInfo": (Dialogue._threads, _Errors.CODE),
    b"qsThreadInfo": (Dialogue._threads, _Errors.CODE),
    b"qThreadExtraInfo": (Dialogue._thread_extra, _Errors.CODE),
    b"?": (Dialogue._why_stopped, _Errors.CODE),
    b"c": (Dialogue._continue, _Errors.TEXT),
    b"C": (Dialogue._continue, _Errors.TEXT),
    b"s": (Dialogue._continue, _Errors.TEXT),
    b"S": (Dialogue._continue, _Errors.TEXT),
    b"vCont": (Dialogue._vcont, _Errors.TEXT),
    b"vCont?": (Dialogue._vcont_actions, _Errors.CODE),
    b"D": (Dialogue._detach, _Errors.CODE),
    b"k": (Dialogue._kill, _Errors.CODE),
    b"vKill": (Dialogue._detach, _Errors.CODE),
    b"R": (Dialogue._reset, _Errors.CODE),
    b"g": (Dialogue._read_all, _Errors.CODE),
    b"G": (Dialogue._write_all, _Errors.TEXT),
    b"p": (Dialogue._read_one, _Errors.CODE),
    b"P": (Dialogue._write_one, _Errors.TEXT),
    b"m": (Dialogue._read_memory, _Errors.CODE),
    b"M": (Dialogue._write_memory, _Errors.TEXT),
    b"X": (Dialogue._write_memory, _Errors.TEXT),
    b"Z": (Dialogue._breakpoint, _Errors.TEXT),
    b"z": (Dialogue._breakpoint, _Errors.TEXT),
    b"qRcmd": (Dialogue._command, _Errors.CODE),
    b"qqemu.PhyMemMode": (Dialogue._physical_mode, _Errors.CODE),
    b"Qqemu.PhyMemMode": (Dialogue._physical_mode, _Errors.CODE),
}
"""Who deals with a packet, by what it begins with."""
