"""Hints about wrong names."""

from __future__ import annotations

from hil_agent.suggest import suggest


def test_what_is_close_is_named_with_all_that_there_is() -> None:
    assert suggest("resme", ["reset", "resume"]) == "did you mean resume? there is: reset, resume"


def test_of_very_many_names_only_a_close_one_is_told() -> None:
    many = [f"REGISTER{number}_EL1" for number in range(200)]
    assert suggest("SOMETHING", many) == ""
    assert suggest("REGISTER12_EL2", many) == "did you mean REGISTER12_EL1?"
