"""What is far away: a link that delays every byte, and an HTTP server that notes how it was reached.

    with FarServer(tls) as far, Link(far.port, 0.04) as link:        # a round trip of 80 ms
        ...                                                          # https://127.0.0.1:{link.port}/
        far.wait(lambda: far.requests)
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self


class Accepting:
    """Listens on a port of its own, and has a thread for each connection."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self.server.accept()[0]
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._served, args=(client,), daemon=True).start()

    def _served(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            self.serve(client)

    def serve(self, client: socket.socket) -> None:
        """What is done with a connection."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


class Link(Accepting):
    """A way to a port of this machine on which everything takes so many seconds, in each direction; the handshake of TCP
    too, as far as the one who connects can tell by his own requests."""

    def __init__(self, port: int, delay: float) -> None:
        self.target, self.delay = port, delay
        self.opened = 0
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        """Pass everything on, later."""
        self.opened += 1
        time.sleep(2 * self.delay)  # its SYN and the answer to that
        with socket.create_connection(("127.0.0.1", self.target)) as far:
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._pass, args=(far, client), daemon=True)
            back.start()
            self._pass(client, far)
            back.join()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        late: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def deliver() -> None:
            with contextlib.suppress(OSError):
                while True:
                    due, data = late.get()
                    time.sleep(max(0.0, due - time.monotonic()))
                    if not data:
                        return sink.shutdown(socket.SHUT_WR)
                    sink.sendall(data)

        threading.Thread(target=deliver, daemon=True).start()
        data = b"-"
        while data:
            with contextlib.suppress(OSError):
                data = source.recv(65536)
            late.put((time.monotonic() + self.delay, data))


@dataclass(frozen=True)
class Reached:
    """A request as it came: when, on which connection, in how many pieces."""

    at: float
    connection: int
    line: str
    body: bytes
    pieces: int


class FarServer(Accepting):
    """Takes every request, and says 200 with a message's id. `idle`: seconds after which it ends a silent connection."""

    def __init__(self, tls: ssl.SSLContext | None = None, idle: float | None = None, last: bool = False) -> None:
        """`last`: each answer is the last of its connection."""
        self.tls, self.idle, self.last = tls, idle, last
        self.requests: list[Reached] = []
        self.connections = self.resumed = self.closed = 0
        self.alive: set[socket.socket] = set()
        self.changed = threading.Condition()
        super().__init__()

    @property
    def hook(self) -> str:
        """A webhook of this server."""
        return self.hook_at(self.port)

    def hook_at(self, port: int) -> str:
        """The same on another port that leads here."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{port}/api/webhooks/100000000000000001/{'a' * 68}"

    def wait(self, holds: Callable[[], object], timeout: float = 20.0) -> None:
        """Wait until something about it holds."""
        with self.changed:
            assert self.changed.wait_for(lambda: bool(holds()), timeout), f"not within {timeout:g} s: {self.requests}"

    def serve(self, client: socket.socket) -> None:
        """One connection."""
        sock = self.tls.wrap_socket(client, server_side=True) if self.tls else client
        with self.changed:
            self.connections += 1
            number = self.connections
            self.resumed += isinstance(sock, ssl.SSLSocket) and bool(sock.session_reused)
            self.alive.add(sock)
            self.changed.notify_all()
        try:
            while self._request(sock, number) and not self.last:
                pass
        finally:
            with self.changed:
                self.alive.discard(sock)
                self.closed += 1
                self.changed.notify_all()
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def end_all(self) -> None:
        """End every connection, as a server does that is restarted."""
        with self.changed:
            for sock in self.alive:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _request(self, sock: socket.socket, number: int) -> bool:
        if self.idle is not None and not select.select([sock], [], [], self.idle)[0]:
            return False
        data, pieces = b"", 0
        while b"\r\n\r\n" not in data or len(data) < length_of(data):
            more = sock.recv(65536)
            if not more:
                return False
            data, pieces = data + more, pieces + 1
        at = time.monotonic()
        head, _, body = data.partition(b"\r\n\r\n")
        with self.changed:
            self.requests.append(Reached(at, number, head.split(b"\r\n")[0].decode(), body, pieces))
            answer = b'{"id": "%d", "channel_id": "1"}' % (10**17 + len(self.requests))
            self.changed.notify_all()
        close = b"Connection: close\r\n" if self.last else b""
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nVia: 1.1 test\r\n" + close
                     + b"Content-Length: %d\r\n\r\n%s" % (len(answer), answer))  # fmt: skip
        return True


def length_of(data: bytes) -> int:
    """How long a request is, head and all."""
    head, blank, _ = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return len(head) + len(blank) + int(value)
    return len(head) + len(blank)
