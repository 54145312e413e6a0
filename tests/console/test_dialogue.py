from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from hil_agent.console.cancel import Cancellation, Cancelled
from hil_agent.console.channel import Channel, GuestDied
from hil_agent.console.dialogue import Answer, Dialogue
from hil_agent.errors import LinkError, TargetTimeout

Reply = Callable[[int], bytes]


@contextlib.contextmanager
def guest(*replies: Reply) -> Iterator[Dialogue]:
    """A guest that gives the n-th reply to the n-th request, from the request's number; then it is silent."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        requests = theirs.makefile("rb")
        for reply, request in zip(replies, requests, strict=False):
            theirs.sendall(reply(int(request)))
        for _ in requests:
            pass
        requests.close()

    with ours, theirs:
        dialogue = Dialogue(Channel(ours))
        dialogue.nonce = "abcd"
        thread = threading.Thread(target=serve)
        thread.start()
        yield dialogue
        ours.shutdown(socket.SHUT_RDWR)
        thread.join()


def ask(dialogue: Dialogue, timeout_s: float = 20.0) -> Answer:
    return dialogue.ask(lambda number: b"%d\n" % number, deadline=time.monotonic() + timeout_s)


def good(number: int) -> bytes:
    return b"=abcd.%d:yes;\r\n" % number


def test_an_answer_is_the_text_with_the_requests_number() -> None:
    with guest(lambda number: b"before " + good(number)) as dialogue:
        assert ask(dialogue) == Answer("yes", 1, b"before ")


def test_an_answer_to_an_earlier_request_does_not_count() -> None:
    with guest(good, lambda number: b"=abcd.1:old;\r\n" + good(number)) as dialogue:
        ask(dialogue)
        assert ask(dialogue).text == "yes"


def test_a_torn_answer_is_asked_for_again() -> None:
    with guest(lambda number: b"=ab random: init done\r\ncd.%d:yes;\r\n" % number, good) as dialogue:
        assert ask(dialogue).number == 2


def test_an_answer_torn_by_a_stamped_message_is_mended() -> None:
    with guest(lambda number: b"=ab[    1.234567] random: init\r\ncd.%d:yes;\r\n" % number) as dialogue:
        assert ask(dialogue).number == 1


def test_an_answer_cut_short_does_not_count() -> None:
    with guest(lambda number: b"=abcd.%d:ye\r\n" % number, good) as dialogue:
        assert ask(dialogue).text == "yes"


def test_a_lost_request_is_made_again() -> None:
    with guest(lambda _: b"", good) as dialogue:
        assert ask(dialogue).number == 2


def test_silence_is_a_timeout() -> None:
    with guest() as dialogue, pytest.raises(TargetTimeout):
        ask(dialogue, 0.1)


def test_a_panic_is_told_with_its_text() -> None:
    with (
        guest(lambda _: b"Kernel panic - not syncing: no init\r\n") as dialogue,
        pytest.raises(GuestDied, match="no init"),
    ):
        ask(dialogue)


def test_a_boot_is_told() -> None:
    boot = b"[    0.000000] Booting Linux on physical CPU 0x0\r\n"
    with guest(lambda _: boot) as dialogue, pytest.raises(GuestDied, match="Booting Linux"):
        ask(dialogue)


def test_a_closed_console_is_a_broken_link() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(LinkError):
        ask(Dialogue(Channel(ours)))


def test_a_console_that_closes_while_waiting_is_a_broken_link() -> None:
    ours, theirs = socket.socketpair()
    theirs.shutdown(socket.SHUT_WR)
    with ours, theirs, pytest.raises(LinkError):
        ask(Dialogue(Channel(ours)))


def test_a_wait_can_be_cancelled() -> None:
    cancel = Cancellation()
    cancel.set()
    with guest() as dialogue, dialogue.channel.cancelled_by(cancel), pytest.raises(Cancelled):
        ask(dialogue)
    cancel.close()


def test_a_guest_that_does_not_read_is_a_timeout() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TargetTimeout, match="does not read"):
        Channel(ours).send(b"x" * 16 * 1024 * 1024, time.monotonic() + 0.2)


def test_what_is_expected_may_come_after_much_else() -> None:
    ours, theirs = socket.socketpair()
    flood = b"0123456789\r\n" * 100_000
    writer = threading.Thread(target=theirs.sendall, args=(flood + b"=end;",))
    writer.start()
    with ours, theirs:
        until = time.monotonic() + 20
        found = Channel(ours).expect(re.compile(b"=end;"), until=until, settled=until)
        writer.join()
    assert found is not None
    assert found[0] == flood


def test_a_flood_is_not_kept() -> None:
    ours, theirs = socket.socketpair()

    def flood() -> None:
        with contextlib.suppress(OSError):
            while True:
                theirs.sendall(b"x" * 100_000)

    writer = threading.Thread(target=flood)
    writer.start()
    with ours, theirs:
        until = time.monotonic() + 60
        assert Channel(ours).expect(re.compile(b"=end;"), until=until, settled=until) is None
        ours.shutdown(socket.SHUT_RDWR)
        writer.join()
