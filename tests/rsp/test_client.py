"""The client against a scripted stub: what real ones rarely say."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread

import pytest

from hil_agent.errors import LinkError, ProtocolError, StateError, TargetTimeout, UsageError
from hil_agent.rsp import (
    AARCH64_CORE,
    BreakpointKind,
    Client,
    RefusedError,
    StopKind,
    ThreadId,
    UnsupportedError,
)
from hil_agent.rsp.packet import Decoder, Packet, encode

ZEROS = b"00" * (33 * 8 + 4)


@dataclass
class Stub:
    """A stub on a thread of its own, which answers by a table; what is not in it is unsupported."""

    replies: dict[bytes, bytes | None]
    requests: list[bytes] = field(default_factory=list)
    connection: socket.socket = field(init=False)

    def serve(self) -> None:
        decoder = Decoder()
        with suppress(ConnectionError):  # the client hung up
            while data := self.connection.recv(65536):
                for event in decoder.feed(data):
                    if isinstance(event, Packet):
                        self.requests.append(event.payload)
                        reply = self._reply(event.payload)
                        self.connection.sendall(b"+" + (b"" if reply is None else encode(reply)))

    def says(self, payload: bytes) -> None:
        self.connection.sendall(encode(payload))

    def _reply(self, request: bytes) -> bytes | None:
        """By the whole request, or by its name alone; None for what is not answered."""
        name = request.partition(b":")[0]
        return self.replies.get(request, self.replies.get(name, b""))


Connector = Callable[..., tuple[Client, Stub]]

BASE: dict[bytes, bytes | None] = {
    b"qSupported": b"PacketSize=100",
    b"Hg0": b"OK",
    b"Hg1": b"OK",
    b"Hg2": b"OK",
    b"vCont?": b"vCont;c;C;s;S",
    b"?": b"T05thread:1;",
    b"g": ZEROS,
    b"p0": b"00" * 8,
    b"P0=0500000000000000": b"OK",
    b"P20=0000004000000000": b"OK",
    b"vCont;c": None,
}


@pytest.fixture
def connect_to() -> Iterator[Connector]:
    """Connects a client to a stub with `BASE` as its answers, and others in place of them."""
    opened: list[tuple[Client, Stub, Thread]] = []

    def connect(
        changes: dict[bytes, bytes | None] | None = None, *, pipelining: bool = True, timeout_s: float = 10
    ) -> tuple[Client, Stub]:
        near, far = socket.socketpair()
        stub = Stub({**BASE, **(changes or {})})
        stub.connection = far
        thread = Thread(target=stub.serve)
        thread.start()
        client = Client(near, pipelining=pipelining, timeout_s=timeout_s)
        opened.append((client, stub, thread))
        client.handshake()
        stub.requests.clear()
        return client, stub

    yield connect
    for client, stub, thread in opened:
        client.close()
        thread.join()
        stub.connection.close()


def test_a_stub_that_knows_nothing_gets_default_registers(connect_to: Connector) -> None:
    client, _ = connect_to({b"qSupported": b"", b"vCont?": b"", b"p0": b""})
    assert client.description is AARCH64_CORE
    assert client.features.vcont == frozenset()


def test_a_description_without_registers_changes_nothing(connect_to: Connector) -> None:
    client, _ = connect_to(
        {
            b"qSupported": b"qXfer:features:read+",
            b"qXfer": b"l<target><architecture>aarch64</architecture></target>",
        }
    )
    assert client.description is AARCH64_CORE


@pytest.mark.parametrize("reply", [b"m", b"what", b"E00", b""])
def test_a_description_that_cannot_be_read_ends_the_handshake(connect_to: Connector, reply: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"target\.xml"):
        connect_to({b"qSupported": b"qXfer:features:read+", b"qXfer": reply})


def test_an_endless_description_ends_the_handshake(connect_to: Connector) -> None:
    with pytest.raises(ProtocolError, match=r"target\.xml"):
        connect_to({b"qSupported": b"qXfer:features:read+", b"qXfer": b"m" + b" " * 100_000})


def test_a_handshake_without_an_answer_is_a_timeout(connect_to: Connector) -> None:
    with pytest.raises(TargetTimeout, match="qSupported"):
        connect_to({b"qSupported": None}, timeout_s=0.01)


def test_threads_may_come_in_several_replies(connect_to: Connector) -> None:
    client, _ = connect_to({b"qfThreadInfo": b"m1,2", b"qsThreadInfo": b"l"})
    assert client.threads() == [ThreadId(1), ThreadId(2)]


def test_without_a_list_of_threads_the_one_that_stopped_is_known(connect_to: Connector) -> None:
    client, _ = connect_to()
    assert client.threads() == [ThreadId(1)]


def test_an_endless_list_of_threads_is_nonsense(connect_to: Connector) -> None:
    client, _ = connect_to({b"qfThreadInfo": b"m1", b"qsThreadInfo": b"m" + b",".join([b"1"] * 1000)})
    with pytest.raises(ProtocolError, match="listing threads"):
        client.threads()


def test_a_thread_is_selected_once(connect_to: Connector) -> None:
    client, stub = connect_to()
    client.select(ThreadId(2))
    client.read_registers(ThreadId(2))
    assert stub.requests == [b"Hg2", b"g"]


def test_registers_are_read_once_while_the_target_stands(connect_to: Connector) -> None:
    client, stub = connect_to()
    for _ in range(3):
        client.read_registers(ThreadId(2))
    assert stub.requests == [b"Hg2", b"g"]


def test_a_stop_selects_its_thread(connect_to: Connector) -> None:
    client, stub = connect_to({b"vCont;c": b"T05thread:2;"})
    client.resume()
    client.wait_stop(10)
    client.read_registers()
    assert stub.requests == [b"vCont;c", b"g"]


def test_requests_without_a_thread_return_to_the_one_that_stopped(connect_to: Connector) -> None:
    client, stub = connect_to()
    client.read_registers(ThreadId(2))
    client.read_registers()
    assert stub.requests == [b"Hg2", b"g", b"Hg1", b"g"]


def test_nothing_is_written_to_a_thread_that_cannot_be_selected(connect_to: Connector) -> None:
    client, stub = connect_to({b"Hg2": b"E01"})
    with pytest.raises(RefusedError, match="selecting thread 2"):
        client.write_registers({"x0": 5}, ThreadId(2))
    assert stub.requests == [b"Hg2"]


def test_registers_are_written_all_at_once_where_they_cannot_be_singly(connect_to: Connector) -> None:
    client, stub = connect_to({b"p0": b"", b"G05" + ZEROS[2:]: b"OK"})
    client.write_registers({"x0": 5})
    assert stub.requests[-1] == b"G05" + ZEROS[2:]


def test_a_register_write_that_did_not_stick_is_found(connect_to: Connector) -> None:
    client, _ = connect_to()
    with pytest.raises(ProtocolError, match="x0 holds 0x0 after 0x5"):
        client.write_registers({"x0": 5}, verify=True)


def test_a_memory_write_that_did_not_stick_is_found(connect_to: Connector) -> None:
    client, _ = connect_to({b"M1000,1": b"OK", b"m1000,1": b"00"})
    with pytest.raises(ProtocolError, match="0x1000 does not hold"):
        client.write_memory(0x1000, b"\x01", verify=True)


def test_a_memory_error_names_the_address(connect_to: Connector) -> None:
    client, _ = connect_to({b"m1000,8": b"E14"})
    with pytest.raises(RefusedError, match="reading 8 bytes at 0x1000: error 0x14"):
        client.read_memory(0x1000, 8)


def test_a_short_read_is_an_error(connect_to: Connector) -> None:
    client, _ = connect_to({b"m1000,8": b"0011"})
    with pytest.raises(RefusedError, match="gave 2 bytes for reading 8 bytes at 0x1000"):
        client.read_memory(0x1000, 8)


def test_memory_is_cut_to_the_stubs_packet_size(connect_to: Connector) -> None:
    client, stub = connect_to({b"X0,0": b"OK", b"X0,6c": b"OK", b"X6c,5c": b"OK"})
    client.write_memory(0, b"}" * 200)
    assert [request.partition(b":")[0] for request in stub.requests] == [b"X0,6c", b"X6c,5c"]


@pytest.mark.parametrize(("address", "length"), [(-1, 4), (2**64 - 1, 2), (0, -1)])
def test_memory_beyond_64_bits_is_the_users_error(connect_to: Connector, address: int, length: int) -> None:
    client, _ = connect_to()
    with pytest.raises(UsageError, match="64-bit"):
        client.read_memory(address, length)


def test_physical_memory_is_refused_where_there_is_none(connect_to: Connector) -> None:
    client, _ = connect_to()
    with pytest.raises(UnsupportedError, match="physical"):
        client.read_memory(0, 4, physical=True)


def test_a_breakpoint_that_is_refused_is_named(connect_to: Connector) -> None:
    client, _ = connect_to({b"Z1,1000,4": b"E0e"})
    with pytest.raises(RefusedError, match=r"inserting a breakpoint \(hardware\) at 0x1000"):
        client.insert_breakpoint(BreakpointKind.HARDWARE, 0x1000)


def test_a_monitor_reply_may_hold_the_output_itself(connect_to: Connector) -> None:
    client, _ = connect_to({b"qRcmd,68656c70": b"6f6b"})
    assert client.monitor("help") == "ok"


def test_writes_and_resume_are_one_write(connect_to: Connector) -> None:
    client, stub = connect_to({b"vCont;c": b"T05thread:1;"})
    client.resume(writes={"x0": 5, "pc": 0x40000000})
    assert client.wait_stop(10).code == 5
    assert stub.requests[-3:] == [b"P0=0500000000000000", b"P20=0000004000000000", b"vCont;c"]


def test_a_failed_write_surfaces_while_the_target_runs(connect_to: Connector) -> None:
    client, _ = connect_to({b"P0=0500000000000000": b"E01", b"vCont;c": b"T05thread:1;"})
    client.resume(writes={"x0": 5})
    with pytest.raises(RefusedError, match="writing register x0"):
        client.wait_stop(10)
    assert client.running
    assert client.wait_stop(10).kind is StopKind.STOPPED


def test_without_pipelining_a_failed_write_keeps_the_target_stopped(connect_to: Connector) -> None:
    client, _ = connect_to({b"P0=0500000000000000": b"E01"}, pipelining=False)
    with pytest.raises(RefusedError, match="writing register x0"):
        client.resume(writes={"x0": 5})
    assert not client.running


def test_one_thread_can_run_alone(connect_to: Connector) -> None:
    client, stub = connect_to({b"vCont;c:2": b"T05thread:2;"})
    client.resume(ThreadId(2))
    client.wait_stop(10)
    assert stub.requests == [b"vCont;c:2"]


def test_a_step_is_of_the_thread_that_stopped(connect_to: Connector) -> None:
    client, stub = connect_to({b"vCont;s:1": b"T05thread:1;"})
    client.resume(step=True)
    client.wait_stop(10)
    assert stub.requests == [b"vCont;s:1"]


def test_without_vcont_a_thread_is_chosen_first_and_all_are_again_later(connect_to: Connector) -> None:
    client, stub = connect_to({b"vCont?": b"", b"Hc2": b"OK", b"Hc-1": b"OK", b"c": b"S05", b"s": b"S05"})
    client.resume()
    client.wait_stop(10)
    client.resume(ThreadId(2), step=True)
    client.wait_stop(10)
    client.resume()
    client.wait_stop(10)
    assert stub.requests == [b"c", b"Hc2", b"s", b"Hc-1", b"c"]


@pytest.mark.parametrize(("reply", "error"), [(b"", UnsupportedError), (b"E01", RefusedError)])
def test_a_resume_that_is_refused_leaves_the_target_stopped(
    connect_to: Connector, reply: bytes, error: type[ProtocolError]
) -> None:
    client, _ = connect_to({b"vCont;c": reply})
    client.resume()
    with pytest.raises(error, match="resuming"):
        client.wait_stop(10)
    assert not client.running


def test_console_output_of_a_running_target_is_handed_on(connect_to: Connector) -> None:
    client, stub = connect_to()
    printed: list[bytes] = []
    client.on_console(printed.append)
    client.resume()
    stub.says(b"O6869")
    stub.says(b"W00")
    assert (client.wait_stop(10).kind, printed) == (StopKind.EXITED, [b"hi"])


def test_a_target_that_runs_cannot_be_asked(connect_to: Connector) -> None:
    client, _ = connect_to()
    client.resume()
    with pytest.raises(StateError):
        client.read_registers()


def test_a_target_that_is_stopped_can_be_neither_interrupted_nor_waited_for(connect_to: Connector) -> None:
    client, _ = connect_to()
    with pytest.raises(StateError):
        client.interrupt()
    with pytest.raises(StateError):
        client.poll_stop()


def test_a_target_that_runs_on_is_a_timeout(connect_to: Connector) -> None:
    client, _ = connect_to()
    client.resume()
    with pytest.raises(TargetTimeout):
        client.wait_stop(0.01)
    assert client.running


def test_a_stub_that_dies_while_the_target_runs_is_a_broken_link(connect_to: Connector) -> None:
    client, stub = connect_to()
    client.resume()
    stub.connection.shutdown(socket.SHUT_RDWR)
    with pytest.raises(LinkError):
        client.wait_stop(10)
