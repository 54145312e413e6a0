"""The profiles: one module each, found by its being here.

A module defines ``PROFILE``. To add a profile is to add a module.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from hil_agent.errors import UsageError
from hil_agent.psci.profile import Profile

DEFAULT_PROFILE = "xen"


@cache
def profiles() -> Mapping[str, Profile]:
    """Every profile by its name, in the order of the names."""
    found: list[Profile] = [
        import_module(f"{__name__}.{module.name}").PROFILE for module in iter_modules(__path__)
    ]
    return MappingProxyType(
        {profile.name: profile for profile in sorted(found, key=lambda profile: profile.name)}
    )


def get_profile(name: str) -> Profile:
    """The profile called ``name``.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in profiles():
        raise UsageError(f"there is no profile {name!r}", hint=f"profiles: {', '.join(profiles())}")
    return profiles()[name]
