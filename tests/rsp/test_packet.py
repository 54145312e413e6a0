from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_agent.errors import ProtocolError
from hil_agent.rsp.packet import (
    PAYLOAD_LIMIT,
    Control,
    Damage,
    Decoder,
    Event,
    Notification,
    Packet,
    encode,
)

payloads = st.binary(max_size=200) | st.text("#$}*+-%0", max_size=40).map(str.encode)
cuts = st.lists(st.integers(min_value=1, max_value=7), min_size=1)


def decode(stream: bytes) -> list[Event]:
    return Decoder().feed(stream)


def frame(body: bytes) -> bytes:
    return b"$%b#%02x" % (body, sum(body) & 0xFF)


def in_pieces(stream: bytes, sizes: list[int]) -> list[bytes]:
    pieces: list[bytes] = []
    while stream:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(stream[:size])
        stream = stream[size:]
    return pieces


def with_runs(payload: bytes) -> bytes:
    """A body that makes runs as gdbserver does, wherever it can."""
    body = b""
    for byte, group in groupby(payload):
        left = len(list(group))
        while left:
            count = min(left - 1, 97)
            if count < 3 or chr(count + 29) in "#$+-":
                count = 0
            body += bytes([byte]) + (bytes([ord("*"), count + 29]) if count else b"")
            left -= 1 + count
    return body


def test_a_packet_is_a_payload_and_its_checksum() -> None:
    assert encode(b"g") == b"$g#67"


def test_special_bytes_are_escaped() -> None:
    assert encode(b"#$}*") == frame(b"}\x03}\x04}]}\n")


@given(st.lists(payloads, max_size=5), cuts)
@settings(max_examples=60)
def test_what_was_encoded_is_decoded_however_the_stream_is_cut(sent: list[bytes], sizes: list[int]) -> None:
    decoder = Decoder()
    stream = b"+".join(map(encode, sent))
    events = [event for piece in in_pieces(stream, sizes) for event in decoder.feed(piece)]
    assert [event.payload for event in events if isinstance(event, Packet)] == sent


@given(st.text("0af", max_size=400).map(str.encode), cuts)
@settings(max_examples=60)
def test_runs_are_expanded_however_the_stream_is_cut(payload: bytes, sizes: list[int]) -> None:
    decoder = Decoder()
    stream = frame(with_runs(payload))
    assert [event for piece in in_pieces(stream, sizes) for event in decoder.feed(piece)] == [Packet(payload)]


def test_the_count_of_a_run_may_look_like_an_escape() -> None:
    assert decode(frame(b"0*}1")) == [Packet(b"0" * 97 + b"1")]


def test_a_run_can_follow_a_run() -> None:
    assert decode(frame(b"0*~*~")) == [Packet(b"0" * 195)]


def test_checksums_may_be_in_capitals() -> None:
    assert decode(b"$OK#9A") == [Packet(b"OK")]


def test_single_bytes_between_packets_are_told_apart() -> None:
    assert decode(b"+-\x03") == [Control.ACK, Control.NACK, Control.INTERRUPT]


def test_a_notification_is_no_packet() -> None:
    assert decode(b"%" + frame(b"Stop:T05")[1:]) == [Notification(b"Stop:T05")]


def test_noise_between_packets_is_skipped() -> None:
    assert decode(b"\r\nhello" + encode(b"OK")) == [Packet(b"OK")]


@pytest.mark.parametrize("checksum", [b"00", b"zz", b"+1", b" 9"])
def test_a_wrong_checksum_is_reported(checksum: bytes) -> None:
    assert decode(b"$OK#" + checksum) == [Damage.CHECKSUM]


@pytest.mark.parametrize("body", [b"}", b"ab}", b"* ", b"0*", b"0*\x1f", b"0*\x7f"])
def test_malformed_escapes_and_runs_are_reported(body: bytes) -> None:
    assert decode(frame(body)) == [Damage.ENCODING]


def test_decoding_goes_on_after_damage() -> None:
    assert decode(b"$OK#00" + encode(b"OK")) == [Damage.CHECKSUM, Packet(b"OK")]


def test_a_packet_without_end_is_given_up() -> None:
    with pytest.raises(ProtocolError, match="more than"):
        decode(b"$" + b"0" * (PAYLOAD_LIMIT + 3))


def test_runs_cannot_blow_a_packet_up() -> None:
    with pytest.raises(ProtocolError, match="more than"):
        decode(frame(b"0" + b"*~" * (PAYLOAD_LIMIT // 97 + 1)))


@given(st.lists(st.binary(max_size=50) | st.text("$#*}+0", max_size=20).map(str.encode), max_size=10))
@settings(max_examples=100)
def test_no_stream_breaks_the_decoder(pieces: list[bytes]) -> None:
    decoder = Decoder()
    for piece in pieces:
        decoder.feed(piece)
