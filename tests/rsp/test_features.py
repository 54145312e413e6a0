from __future__ import annotations

import pytest

from hil_agent.errors import ProtocolError
from hil_agent.rsp import Features


def test_what_qemu_7_2_offers() -> None:
    reply = b"PacketSize=1000;qXfer:features:read+;vContSupported+;multiprocess+"
    assert Features.parse(reply) == Features(packet_size=4096, multiprocess=True, describes_registers=True)


def test_a_stub_that_offers_nothing() -> None:
    assert Features.parse(b"") == Features(packet_size=400)


def test_what_is_offered_with_a_minus_is_not_there() -> None:
    assert not Features.parse(b"QStartNoAckMode-;swbreak-").no_ack


def test_a_huge_packet_size_is_not_made_use_of() -> None:
    assert Features.parse(b"PacketSize=ffffffffffffffff").packet_size == 16 * 1024


@pytest.mark.parametrize("size", [b"", b"0", b"-1000", b"3f", b"lots"])
def test_an_absurd_packet_size_is_refused(size: bytes) -> None:
    with pytest.raises(ProtocolError, match="PacketSize"):
        Features.parse(b"PacketSize=" + size)
