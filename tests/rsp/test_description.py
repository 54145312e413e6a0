from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.errors import ProtocolError, UsageError
from hil_agent.rsp import AARCH64_CORE, Register, TargetDescription
from hil_agent.rsp.description import REGISTER_LIMIT


def load(**annexes: str) -> TargetDescription:
    return TargetDescription.load(lambda annex: annexes[annex.removesuffix(".xml")].encode())


def wrap(content: str) -> str:
    return f'<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target>{content}</target>'


def test_registers_stand_in_the_order_of_their_numbers() -> None:
    description = load(
        target=wrap('<reg name="b" bitsize="32" regnum="7"/><reg name="a" bitsize="64" regnum="2"/>')
    )
    assert [(item.name, item.offset) for item in description.registers.values()] == [("a", 0), ("b", 8)]


def test_numbers_count_on_from_the_register_before() -> None:
    description = load(
        target=wrap('<reg name="a" bitsize="8" regnum="5"/><reg name="b" bitsize="8"/>'),
    )
    assert description["b"].number == 6


def test_numbers_count_on_across_included_documents() -> None:
    description = load(
        target=wrap('<xi:include href="one.xml"/><xi:include href="two.xml"/>'),
        one='<feature name="org.one"><reg name="a" bitsize="64"/></feature>',
        two='<feature name="org.two"><reg name="b" bitsize="64"/></feature>',
    )
    assert description["b"] == Register("b", 1, 64, 8, feature="org.two")


def test_what_a_register_is_declared_as_is_kept() -> None:
    description = load(
        target=wrap(
            "<architecture>aarch64</architecture>"
            '<feature name="f"><reg name="E" bitsize="64" type="int" group="cp_regs"/></feature>'
        )
    )
    assert description.architecture == "aarch64"
    assert description["E"] == Register("E", 0, 64, 0, "int", "cp_regs", "f")


def test_a_register_of_single_bits_takes_whole_bytes() -> None:
    assert Register("flag", 0, 1, 0).size == 1


def test_an_unknown_register_is_the_users_error() -> None:
    with pytest.raises(UsageError, match="no register 'rax'"):
        AARCH64_CORE["rax"]


def test_the_default_core_is_laid_out_as_gdb_expects_it() -> None:
    assert (AARCH64_CORE["pc"].number, AARCH64_CORE["pc"].offset, AARCH64_CORE["cpsr"].size) == (32, 256, 4)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "no element found"),
        ("<target>", "no element found"),
        ("<target><reg name='a'/></target>", "bitsize"),
        ("<target><reg bitsize='8'/></target>", "name"),
        ("<target><reg name='a' bitsize='many'/></target>", "many"),
        ("<target><reg name='a' bitsize='0'/></target>", "0 bits"),
        ("<target><reg name='a' bitsize='8' regnum='-1'/></target>", "number -1"),
        ("<target><reg name='a' bitsize='99999999999'/></target>", "99999999999 bits"),
        ("<!DOCTYPE t [<!ENTITY a 'b'>]><target>&a;</target>", "entities"),
        ("<target><xi:include/></target>", "href"),
        ("<target><xi:include href='target.xml'/></target>", "more than 64 documents"),
        ("<t>" + "<reg name='a' bitsize='8'/>" * (REGISTER_LIMIT + 1) + "</t>", "8 bits"),
    ],
)
def test_a_hostile_description_is_refused(document: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        load(target=document)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
    | st.text("<>/='\"regnambitsz 0123-", max_size=60).map(wrap)
)
def test_no_description_does_worse_than_a_protocol_error(document: str) -> None:
    with suppress(ProtocolError):
        TargetDescription.load(lambda _: document.encode())
