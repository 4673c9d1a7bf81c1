"""A bot service that posts for others, as many stacks run one: the far side of DISCORD_BRIDGE_URL.

    with FakeBridge(token="secret") as bridge:
        ...                                    # run the client against bridge.url
        assert bridge.sent[0].path == "/send/4242"

    POST /channels/ensure {"name"}                                  answers {"id"}
    POST /send/{channel_id} Discord's own message body              answers {"id"}
    POST /notify {"channel", "title", "message", "level", "embeds"} answers {"ok": true}

Switches: `has` (which of the three there are; others answer 404), `replies` (path prefix → status and document given
instead of acting), `delay` (seconds before each answer), `refuse()` and `accept()` (nobody listens, and again).
What is wrong with a request's form is answered with 400 and noted in `lint`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from support.fake_discord import check_message

CHANNEL = "424242424242424242"
NOTIFY = {"channel": str, "title": str, "message": str, "level": str, "embeds": list}


@dataclass(frozen=True)
class Sent:
    """One request that was carried out."""

    path: str
    body: dict[str, Any]

    @property
    def text(self) -> str:
        return json.dumps(self.body, ensure_ascii=False)


class FakeBridge:
    """See the top of the file."""

    def __init__(self, token: str = "", has: tuple[str, ...] = ("ensure", "send", "notify")) -> None:
        self.token, self.has = token, has
        self.delay, self.lint = 0.0, list[str]()
        self.replies: dict[str, tuple[int, object]] = {}
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.sent: list[Sent] = []
        self.channels: dict[str, str] = {}
        self.change = threading.Condition()
        self._closing = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.accept()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def accept(self) -> None:
        bridge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                bridge._closing.wait(bridge.delay)
                status, document = bridge.answer(self.path, headers, body)
                data = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # the client went away

        self._server = Server(("127.0.0.1", getattr(self, "port", 0)), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def refuse(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def wait_for(self, predicate: Callable[[FakeBridge], Any], timeout: float = 5.0) -> None:
        """Blocks until predicate(bridge) holds; tried anew after each request."""
        with self.change:
            assert self.change.wait_for(lambda: predicate(self), timeout), f"not within {timeout} s: {self.sent}"

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, object]:
        with self.change:
            self.requests.append((path, headers, body))
            try:
                return self._act(path, headers, body)
            finally:
                self.change.notify_all()

    def _act(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, object]:
        for prefix, reply in self.replies.items():
            if path.startswith(prefix):
                return reply
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"error": "unauthorized"}
        _, first, *rest = path.split("/")
        verb = "ensure" if (first, rest) == ("channels", ["ensure"]) else first
        if verb not in self.has:
            return 404, {"error": "not found"}
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if why := self._wrong(verb, rest, document, headers):
            self.lint.append(f"{path}: {why}")
            return 400, {"error": why}
        if verb == "ensure":
            self.channels[CHANNEL] = document["name"]
            return 200, {"id": CHANNEL}
        self.sent.append(Sent(path, document))
        return 200, {"id": str(1000 + len(self.sent))} if verb == "send" else {"ok": True}

    def _wrong(self, verb: str, rest: list[str], document: Any, headers: dict[str, str]) -> str:
        if not isinstance(document, dict) or headers.get("content-type") != "application/json":
            return "no JSON object"
        if verb == "ensure":
            return "" if isinstance(document.get("name"), str) else "no name"
        if verb == "send":
            form = check_message("bot", document)
            return str(form.errors) if form.errors else "" if rest and rest[0].isdigit() else "no channel"
        kinds = {key: type(value) for key, value in document.items()}
        return "" if kinds == NOTIFY else f"wrong fields: {kinds}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.set()
        self.refuse()
