"""Ports for programs that listen, which nobody else is given meanwhile."""

from __future__ import annotations

import socket

held: list[socket.socket] = []


def free_port() -> int:
    """A port of this machine's. It stays taken, so that no other program is given it, but nobody listens on it yet; who sets
    SO_REUSEADDR, as servers do, can."""
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", 0))
    held.append(taken)
    return int(taken.getsockname()[1])
