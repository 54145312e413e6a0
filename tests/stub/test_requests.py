"""What stands in a debugger's requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.engine.run_control import FREELY, Plan
from hil_agent.errors import ProtocolError
from hil_agent.stub.requests import RequestError, memory_range, number, octets, parse_plan

CPUS = 4


@pytest.mark.parametrize(
    ("payload", "plan"),
    [
        (b"vCont;c", FREELY),
        (b"vCont;c:p1.-1", FREELY),
        (b"vCont;C05", FREELY),
        (b"vCont;c:-1", FREELY),
        (b"vCont;s:p1.2;c:p1.-1", Plan(step=1)),
        (b"vCont;s:p1.2;c", Plan(step=1)),
        (b"vCont;S05:2", Plan(step=1, going=frozenset())),
        (b"vCont;s:p1.2", Plan(step=1, going=frozenset())),
        (b"vCont;c:p1.3", Plan(going=frozenset({2}))),
        (b"vCont;c:1;c:4", Plan(going=frozenset({0, 3}))),
        (b"vCont;s", Plan(step=2)),
        (b"vCont;s:1;s:2;c", Plan(step=0)),
    ],
)
def test_vcont_says_which_vcpus_run(payload: bytes, plan: Plan) -> None:
    found = parse_plan(payload, CPUS, current=2)
    assert (found.step, found.going) == (plan.step, plan.going)


@pytest.mark.parametrize(
    "payload", [b"vCont", b"vCont;", b"vCont;t", b"vCont;c:9", b"vCont;r0,4:1", b"vCont;c:p1.x"]
)
def test_a_vcont_without_sense_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_plan(payload, CPUS, current=0)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**16))
def test_a_range_is_read_if_it_is_in_the_address_space(address: int, length: int) -> None:
    text = b"%x,%x" % (address, length)
    if address + length <= 2**64:
        assert memory_range(text) == (address, length)
    else:
        with pytest.raises(RequestError):
            memory_range(text)


@given(st.binary(max_size=12))
def test_whatever_stands_there_is_a_value_or_a_request_error(text: bytes) -> None:
    for read in (number, octets, memory_range, lambda text: parse_plan(b"vCont;" + text, CPUS, 0)):
        try:
            read(text)
        except ProtocolError:
            continue
