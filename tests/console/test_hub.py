from __future__ import annotations

import logging
import queue
import re
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil_agent.console.cancel import Cancellation, Cancelled
from hil_agent.console.hub import CLIENT_BACKLOG_BYTES, HISTORY_BYTES, ConsoleHub
from hil_agent.errors import HostError, LinkError, TargetTimeout

READY = re.compile(rb"ready")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The guest, and the hub's end of its console."""
    guest, ours = socket.socketpair()
    with guest, ours:
        guest.settimeout(20)
        yield guest, ours


def receive(stream: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, or fewer at the end of the stream."""
    stream.settimeout(20)
    data = b""
    while len(data) < size and (more := stream.recv(size - len(data))):
        data += more
    return data


Ends = tuple[socket.socket, socket.socket]


def test_the_log_has_every_byte_from_the_first(ends: Ends, tmp_path: Path) -> None:
    guest, ours = ends
    guest.sendall(b"before the hub\xff\0")
    with ConsoleHub(ours, log_path=tmp_path / "log") as hub:
        guest.sendall(b" ready")
        hub.wait_for(READY, 20)
    assert (tmp_path / "log").read_bytes() == b"before the hub\xff\0 ready"


def test_the_log_is_private(ends: Ends, tmp_path: Path) -> None:
    with ConsoleHub(ends[1], log_path=tmp_path / "log"):
        assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_the_socket_is_private(ends: Ends, tmp_path: Path) -> None:
    with ConsoleHub(ends[1], log_path=tmp_path / "log", socket_path=tmp_path / "sock"):
        assert stat.S_IMODE((tmp_path / "sock").stat().st_mode) == 0o600


def test_a_full_disk_ends_the_log_but_not_the_console(ends: Ends, caplog: pytest.LogCaptureFixture) -> None:
    guest, ours = ends
    with ConsoleHub(ours, log_path=Path("/dev/full")) as hub, caplog.at_level(logging.WARNING):
        guest.sendall(b"one")
        hub.wait_for(re.compile(b"one"), 20)
        guest.sendall(b"ready")
        hub.wait_for(READY, 20)
    assert len(caplog.records) == 1


def test_a_log_that_cannot_be_made_is_said(ends: Ends, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file"):
        ConsoleHub(ends[1], log_path=tmp_path / "none" / "log")


def test_a_socket_path_that_is_too_long_is_said(ends: Ends, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="too long"):
        ConsoleHub(ends[1], log_path=tmp_path / "log", socket_path=tmp_path / ("s" * 120))


def test_all_clients_hear_the_guest(ends: Ends, tmp_path: Path) -> None:
    guest, ours = ends
    with ConsoleHub(ours, log_path=tmp_path / "log") as hub, hub.attach() as one, hub.attach() as two:
        one.sendall(b"?")  # both have joined when this has come through
        guest.recv(1)
        guest.sendall(b"hello")
        assert [receive(one, 5), receive(two, 5)] == [b"hello", b"hello"]


def test_the_guest_hears_all_clients(ends: Ends, tmp_path: Path) -> None:
    guest, ours = ends
    with ConsoleHub(ours, log_path=tmp_path / "log") as hub, hub.attach() as one, hub.attach() as two:
        one.sendall(b"1")
        assert guest.recv(1) == b"1"
        two.sendall(b"2")
        assert guest.recv(1) == b"2"


def test_a_client_of_the_socket_sees_the_line_that_is_there(ends: Ends, tmp_path: Path) -> None:
    guest, ours = ends
    with ConsoleHub(ours, log_path=tmp_path / "log", socket_path=tmp_path / "sock") as hub:
        guest.sendall(b"ready\r\n~ # ")
        hub.wait_for(re.compile(b"# "), 20)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "sock"))
            assert receive(client, 4) == b"~ # "


def test_a_client_that_does_not_read_is_dropped(ends: Ends, tmp_path: Path) -> None:
    guest, ours = ends
    with ConsoleHub(ours, log_path=tmp_path / "log") as hub, hub.attach() as client:
        client.sendall(b"?")
        guest.recv(1)
        flood = CLIENT_BACKLOG_BYTES + 4 * 1024 * 1024
        guest.sendall(b"x" * flood + b"ready")
        hub.wait_for(READY, 20)
        client.settimeout(20)
        assert len(receive(client, flood)) < flood


def test_a_guest_that_does_not_read_stops_its_clients(ends: Ends, tmp_path: Path) -> None:
    _, ours = ends
    with ConsoleHub(ours, log_path=tmp_path / "log") as hub, hub.attach() as client:
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.sendall(b"x" * 16 * 1024 * 1024)


def test_the_end_of_the_guest_reaches_clients_after_its_last_words(ends: Ends, tmp_path: Path) -> None:
    guest, ours = ends
    with ConsoleHub(ours, log_path=tmp_path / "log") as hub, hub.attach() as client:
        client.sendall(b"?")
        guest.recv(1)
        guest.sendall(b"x" * 1000000 + b"bye")
        guest.close()
        assert receive(client, 2000000).endswith(b"xbye")


def test_who_attaches_after_the_end_is_told(ends: Ends, tmp_path: Path) -> None:
    with ConsoleHub(ends[1], log_path=tmp_path / "log") as hub:
        hub.close()
        with hub.attach() as client:
            assert client.recv(1) == b""


def test_close_leaves_nothing_behind(ends: Ends, tmp_path: Path) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    threads = threading.active_count()
    hub = ConsoleHub(ends[1], log_path=tmp_path / "log", socket_path=tmp_path / "sock")
    hub.attach().close()
    hub.close()
    hub.close()
    left = len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), (tmp_path / "sock").exists()
    assert left == (descriptors - 1, threads, False)  # the guest's stream was the hub's to close


def test_a_panic_is_reported_when_it_falls_silent(ends: Ends, tmp_path: Path) -> None:
    guest, ours = ends
    reports: queue.Queue[str] = queue.Queue()
    with ConsoleHub(ours, log_path=tmp_path / "log", on_death=reports.put):
        guest.sendall(b"[    1.2] Kernel panic - not sync")
        guest.sendall(b"ing: no init\r\nCPU: 0\r\n")
        assert reports.get(timeout=20).splitlines()[-1] == "CPU: 0"


def test_a_panic_is_reported_when_the_guest_ends(ends: Ends, tmp_path: Path) -> None:
    guest, ours = ends
    reports: queue.Queue[str] = queue.Queue()
    with ConsoleHub(ours, log_path=tmp_path / "log", on_death=reports.put):
        guest.sendall(b"Kernel panic - not syncing: no init\r\n")
        guest.close()
        assert reports.get(timeout=20) == "Kernel panic - not syncing: no init"


def test_what_is_waited_for_may_come_in_pieces(ends: Ends, tmp_path: Path) -> None:
    guest, ours = ends
    with ConsoleHub(ours, log_path=tmp_path / "log") as hub:
        for piece in (b"all is re", b"a", b"dy now"):
            guest.sendall(piece)
        found = hub.wait_for(READY, 20)
    assert (found.match[0], found.end) == (b"ready", 12)


def test_what_was_said_before_the_offset_does_not_count(ends: Ends, tmp_path: Path) -> None:
    guest, ours = ends
    with ConsoleHub(ours, log_path=tmp_path / "log") as hub:
        guest.sendall(b"ready")
        start = hub.wait_for(READY, 20).end
        with pytest.raises(TargetTimeout, match="ready"):
            hub.wait_for(READY, 0.1, start=start)


def test_the_offset_counts_from_the_first_byte_also_when_it_is_forgotten(ends: Ends, tmp_path: Path) -> None:
    guest, ours = ends
    with ConsoleHub(ours, log_path=tmp_path / "log") as hub:
        guest.sendall(b"x" * HISTORY_BYTES * 2 + b"ready")
        assert hub.wait_for(READY, 20).end == HISTORY_BYTES * 2 + 5


def test_a_wait_ends_with_the_console(ends: Ends, tmp_path: Path) -> None:
    guest, ours = ends
    with ConsoleHub(ours, log_path=tmp_path / "log") as hub:
        guest.sendall(b"oops")
        guest.close()
        with pytest.raises(LinkError, match="oops"):
            hub.wait_for(READY, 20)


def test_a_wait_can_be_cancelled(ends: Ends, tmp_path: Path) -> None:
    cancel = Cancellation()
    threading.Timer(0.05, cancel.set).start()
    with ConsoleHub(ends[1], log_path=tmp_path / "log") as hub, pytest.raises(Cancelled):
        hub.wait_for(READY, 20, cancel=cancel)
    cancel.close()


def test_tail_is_the_end_of_what_was_said(ends: Ends, tmp_path: Path) -> None:
    guest, ours = ends
    with ConsoleHub(ours, log_path=tmp_path / "log") as hub:
        guest.sendall(b"all is ready")
        hub.wait_for(READY, 20)
        assert (hub.tail(5), hub.tail(100), hub.tail(0)) == (b"ready", b"all is ready", b"")
