"""Guests: the software that is booted, and how it is laid out in memory.

Made by us: ``catalogue`` reads the recipes, ``image`` makes and caches what they describe, from
packages that ``debian`` fetches, with ``modules`` and ``cpio``.

Given by the user: ``kernel`` and ``initramfs`` tell what a file is, and what is wrong with it.

For every boot: ``layout`` finds a place for everything, ``device_tree`` reads what machine it is and
tells the guest of our vPSCI; ``flat_tree`` is the format, ``address`` the arithmetic below them.
"""
