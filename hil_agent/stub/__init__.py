"""A GDB stub of our own that any number of debuggers can attach to, at any time.

``server`` has the sockets, ``connection`` turns one client's bytes into packets and back, ``dialogue``
answers what a client asks (``requests`` reads it), ``view`` shows vCPUs as if there were no code of ours,
``documents`` are what clients read about the target, ``monitor`` has the monitor commands; ``target`` is
what all of them share.
"""
