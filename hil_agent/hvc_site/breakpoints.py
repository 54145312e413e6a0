"""The hardware breakpoints at a guest's calls, at whatever addresses it runs.

Breakpoints go by virtual address, so they have to follow the guest:

1. It starts at physical addresses: there its calls have breakpoints, and so have the instructions that
   change how it translates, which run at addresses that are mapped to themselves.
2. When its tables tell where its kernel is mapped, the calls there get theirs. It may move again, as older
   Linux does for KASLR, with instructions in the pages where it has changed its translation so far.
3. When it has called from a virtual address it will not move any more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from hil_agent.errors import TargetError
from hil_agent.guest.address import AddressRange
from hil_agent.hvc_site.code import Code, Site
from hil_agent.hvc_site.translation import Mapping
from hil_agent.psci.call import Conduit
from hil_agent.rsp import BreakpointKind, Client, RefusedError

_INSTRUCTION = 4
_PAGE = -4096
_FEW = 64
"""Up to so many instructions, those that are no likely calls of firmware are caught, too. A Linux has two
hundred, and QEMU compares each jump that it has not linked with each breakpoint: it becomes five times as
slow."""
_HYPERVISORS = {0xC600, 0x4600}
"""Function IDs of a hypervisor's own services (SMCCC, section 6.3): KVM's code calls itself with the first,
Hyper-V is called with the second."""

_log = logging.getLogger(__name__)


def _is_likely(site: Site, conduit: Conduit) -> bool:
    """Whether an instruction is likely to call firmware; Xen's hypercalls have an immediate."""
    return site.conduit is conduit and not site.immediate and site.owner not in _HYPERVISORS


class CallBreakpoints:
    """What is set, and what it is for.

    Args:
        client: the debug stub.
        code: what was found in the kernel.
        conduit: what the guest is told to call with.
    """

    def __init__(self, client: Client, code: Code, conduit: Conduit) -> None:
        self._client = client
        likely = [site for site in code.sites if _is_likely(site, conduit)]
        others = [site for site in code.sites if not _is_likely(site, conduit)]
        self._wanted = likely + (others if len(code.sites) <= _FEW else [])
        self._code = code
        self._sites: dict[int, Site] = {}
        self._watched: Sequence[int] = ()
        self._hit: set[int] = set()
        self._set: set[int] = set()

    @property
    def memory(self) -> AddressRange:
        """The physical memory that the calls are in."""
        addresses = [site.address for site in self._wanted]
        start = min(addresses, default=0)
        return AddressRange(start, max(addresses, default=start) + _INSTRUCTION - start)

    def __contains__(self, address: int) -> bool:
        return address in self._set

    def site(self, address: int) -> Site | None:
        """The instruction at a virtual address that the guest may call with."""
        return self._sites.get(address)

    def is_watched(self, address: int) -> bool:
        """Whether the instruction at an address changes how the guest translates."""
        return address in self._watched

    def start(self) -> None:
        """The guest is about to start."""
        self._hit.clear()
        self._change({site.address: site for site in self._wanted}, self._code.translation)

    def follow(self, address: int, mappings: Iterable[Mapping]) -> None:
        """The guest has changed its translation.

        Args:
            address: of the instruction that did it.
            mappings: where its kernel's calls are now.
        """
        self._hit.add(address & _PAGE)
        sites = {
            mapping.virtual + site.address - mapping.physical.start: site
            for mapping in mappings
            for site in self._wanted
            if mapping.physical.start <= site.address < mapping.physical.end
        }
        if sites:
            self._change(sites, [each for each in self._code.translation if each & _PAGE in self._hit])

    def called_from(self, address: int) -> None:
        """The guest has called from an address."""
        if self._watched and address != self._sites[address].address:
            self._change(self._sites, ())

    @contextmanager
    def lifted(self, address: int) -> Iterator[None]:
        """Without a breakpoint at an address, so that a vCPU that is there can be stepped, also with KVM."""
        if address not in self._set:
            yield
            return
        self._client.remove_breakpoint(BreakpointKind.HARDWARE, address, _INSTRUCTION)
        try:
            yield
        finally:
            if address in self._set and not self._client.running:  # else a step has failed for good
                self._client.insert_breakpoint(BreakpointKind.HARDWARE, address, _INSTRUCTION)

    def _change(self, sites: dict[int, Site], watched: Sequence[int]) -> None:
        """Sets what is new and takes away what is not wanted any more."""
        self._sites, self._watched = sites, watched
        wanted = [*sites, *watched]
        for address in self._set.difference(wanted):
            self._client.remove_breakpoint(BreakpointKind.HARDWARE, address, _INSTRUCTION)
        self._set.intersection_update(wanted)
        for address in wanted:
            if address not in self._set and not self._insert(address):
                _log.warning("%d of %d breakpoints are set", len(self._set), len(wanted))
                return

    def _insert(self, address: int) -> bool:
        """Whether there was a breakpoint left; calls come first, and the most likely of them."""
        try:
            self._client.insert_breakpoint(BreakpointKind.HARDWARE, address, _INSTRUCTION)
        except RefusedError as error:
            if not self._set:
                raise TargetError(f"the stub has no breakpoint for the guest's calls: {error}") from error
            return False
        self._set.add(address)
        return True
