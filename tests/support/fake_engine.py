"""A Docker Engine for tests: the part of its HTTP API that a watchdog sees, on a unix socket.

Two halves.  ``EngineServer`` speaks HTTP (versions, chunked event streams, faults on demand) and asks a
subclass for the facts.  ``FakeEngine`` is such a subclass with containers that tests can crash, stop, pause
and so on; every change shows in the same instant in the events, in the list and in inspect.

Typical use::

    with FakeEngine() as engine:
        web = engine.add("web", policy="no")
        engine.crash(web, 3)
        assert engine.called("POST", r"/start$")

Time stamps of ``engine.calls`` are ``time.monotonic()`` values.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import queue
import re
import select
import shutil
import signal as signals
import socket
import tempfile
import threading
import time
import urllib.parse
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, Self

Doc = dict[str, Any]

ZERO_TIME = "0001-01-01T00:00:00Z"
RING_SIZE = 256
FRAME_SIZE = 16384
STALE_LIST_SECONDS = 0.02
LONGEST_BACKOFF = 60.0
IMAGE_ID = "sha256:" + hashlib.sha256(b"image").hexdigest()
API_RANGES = {"29": ("1.40", "1.56"), "28": ("1.24", "1.51"), "20.10": ("1.12", "1.41"),
              "podman": ("1.24", "1.41"), "podman-5.4": ("1.24", "1.41"), "podman-6.1": ("1.24", "1.44")}
SERVER_VERSIONS = {"29": "29.8.0-dev", "28": "28.5.2", "20.10": "20.10.24",
                   "podman": "4.3.1", "podman-5.4": "5.4.2", "podman-6.1": "6.1.1"}
RECORD_MARK = b"\x1e"
EVENT_FILTERS_BY_PREFIX = {"health_status", "exec_create", "exec_start"}
LIST_FILTERS = {"id", "name", "label", "status", "ancestor", "before", "since", "exited", "health", "network",
                "volume", "is-task", "isolation", "publish", "expose"}


# --- small helpers --------------------------------------------------------------------------------------


def rfc3339(nanoseconds: int) -> str:
    """Go's RFC3339Nano: trailing zeros of the fraction are dropped, the zero time is the year 1."""
    if not nanoseconds:
        return ZERO_TIME
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    stamp = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f"{fraction:09d}".rstrip("0")
    return f"{stamp}.{digits}Z" if digits else f"{stamp}Z"


def parse_rfc3339(text: str) -> int:
    """The way back, in nanoseconds; 0 for the zero time."""
    if not text or text.startswith("0001-"):
        return 0
    whole, _, fraction = text.rstrip("Z").partition(".")
    moment = datetime.datetime.fromisoformat(whole + "+00:00")
    return int(moment.timestamp()) * 1_000_000_000 + int((fraction + "000000000")[:9])


def human_duration(seconds: float) -> str:
    """How Docker words an age in the Status column."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes, hours = whole // 60, round(whole / 3600)
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    return _human_days(hours)


def _human_days(hours: int) -> str:
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"


def status_text(state: Mapping[str, Any], flavour: str = "28", now: int | None = None) -> str:
    """The list's Status column for an inspect State document."""
    now = time.time_ns() if now is None else now
    started, finished = parse_rfc3339(str(state["StartedAt"])), parse_rfc3339(str(state["FinishedAt"]))
    if state.get("Restarting"):
        return f"Restarting ({state['ExitCode']}) {human_duration((now - finished) / 1e9)} ago"
    if state.get("Running"):
        up = f"Up {human_duration((now - started) / 1e9)}"
        return f"{up}{_up_suffix(state)}"
    if state["Status"] == "removing":
        return "Removal In Progress"
    if state["Status"] == "dead":
        return "Dead" if flavour in ("28", "29") else "Removal In Progress"
    if not started:
        return "Created"
    return f"Exited ({state['ExitCode']}) {human_duration((now - finished) / 1e9)} ago"


def _up_suffix(state: Mapping[str, Any]) -> str:
    if state.get("Paused"):
        return " (Paused)"
    health = (state.get("Health") or {}).get("Status")
    if not health or health == "none":
        return ""
    return " (health: starting)" if health == "starting" else f" ({health})"


def go_json(document: object) -> bytes:
    """JSON as Go's encoder writes it: no spaces, and the three HTML characters escaped."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    for character in "&<>\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace") + b"\n"


def version_tuple(version: str) -> tuple[int, ...]:
    return tuple(int(part or 0) for part in version.split("."))


def signal_number(value: object) -> int | None:
    """9, "9", "KILL" and "SIGKILL" are all 9; None for what is no signal."""
    text = str(value).upper()
    if text.isdigit():
        return int(text) if 0 < int(text) < 65 else None
    name = text if text.startswith("SIG") else "SIG" + text
    found = getattr(signals, name, None)
    return int(found) if isinstance(found, signals.Signals) else None


def fake_id(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


class BadTime(ValueError):
    """A since or until that the engine cannot read; the text is the engine's own."""


def parse_engine_time(text: str) -> int | None:
    """since/until: seconds[.nanoseconds] as nanoseconds, None when absent."""
    if not text:
        return None
    whole, _, fraction = text.partition(".")
    for part in (whole, fraction):
        if part and not re.fullmatch(r"-?\d+", part):
            raise BadTime(f'strconv.ParseInt: parsing "{part}": invalid syntax')
    nanoseconds = int(fraction.ljust(9, "0")[:9]) if fraction else 0
    return int(whole or 0) * 1_000_000_000 + nanoseconds


# --- requests, replies, faults --------------------------------------------------------------------------


class Call(NamedTuple):
    """One request as the engine saw it; ``status`` is 0 for one that was never answered."""

    time: float
    method: str
    path: str
    status: int


@dataclass
class Request:
    method: str
    target: str
    http10: bool
    keep_alive: bool
    version: str = ""
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def route(self) -> str:
        """Path and query without the version prefix: what the patterns of answer() are matched with."""
        query = self.target.partition("?")[2]
        return f"{self.path}?{query}" if query else self.path


@dataclass
class Reply:
    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status: int, content: object = None) -> Reply:
        """A reply from anything: bytes and text go out as they are, the rest as JSON."""
        if content is None:
            return cls(status)
        if isinstance(content, bytes):
            return cls(status, content, "application/octet-stream")
        if isinstance(content, str):
            html = content.lstrip().startswith("<")
            return cls(status, content.encode(), "text/html" if html else "text/plain; charset=utf-8")
        return cls(status, go_json(content))


@dataclass
class Answer:
    """A prepared fault: what to say (or not to say) to requests that match."""

    pattern: re.Pattern[str]
    reply: Reply | None
    times: int | None = None
    method: str | None = None
    delay: float = 0.0
    act: bool = False
    drip: float = 0.0
    released: threading.Event = field(default_factory=threading.Event)

    def matches(self, request: Request) -> bool:
        if self.times is not None and self.times <= 0:
            return False
        if self.method and self.method != request.method:
            return False
        return bool(self.pattern.search(request.route))


@dataclass
class StreamMode:
    """How event lines are put on the wire; the default is Docker's own way."""

    split: int = 0
    split_utf8: bool = False
    split_header: bool = False
    coalesce: int = 0
    stall: float = 0.0
    cut: bool = False
    garbage: bytes = b""
    framed: bool = False


REASONS = {200: "OK", 201: "Created", 204: "No Content", 301: "Moved Permanently", 304: "Not Modified",
           400: "Bad Request", 403: "Forbidden", 404: "Not Found", 409: "Conflict",
           500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
           503: "Service Unavailable", 504: "Gateway Timeout"}


# --- the event stream -----------------------------------------------------------------------------------


class EventFilter:
    """The filters= parameter of /events; unknown keys are ignored, as Docker does."""

    def __init__(self, text: str) -> None:
        raw = json.loads(text) if text else {}
        if not isinstance(raw, dict):
            raise TypeError("invalid filter")
        self.wanted: dict[str, list[str]] = {key: list(value) for key, value in raw.items() if value}

    def accepts(self, event: Mapping[str, Any]) -> bool:
        attributes = event["Actor"].get("Attributes") or {}
        return (self._one_of("type", event["Type"])
                and self._action(str(event["Action"]))
                and self._one_of("scope", event.get("scope", "local"))
                and self._one_of("image", attributes.get("image", ""))
                and self._container(event, attributes)
                and self._labels(attributes))

    def _one_of(self, key: str, value: object) -> bool:
        return key not in self.wanted or value in self.wanted[key]

    def _action(self, action: str) -> bool:
        wanted = self.wanted.get("event")
        if wanted is None:
            return True
        # One name of a family (health_status without its colon) turns every name into a prefix.
        if EVENT_FILTERS_BY_PREFIX & set(wanted):
            return any(action.startswith(item) for item in wanted)
        return action in wanted

    def _container(self, event: Mapping[str, Any], attributes: Mapping[str, str]) -> bool:
        wanted = self.wanted.get("container")
        if wanted is None:
            return True
        if event["Type"] != "container":
            return False
        return any(event["Actor"]["ID"].startswith(item) or attributes.get("name") == item for item in wanted)

    def _labels(self, attributes: Mapping[str, str]) -> bool:
        for item in self.wanted.get("label", []):
            key, equals, value = item.partition("=")
            if key not in attributes or (equals and attributes[key] != value):
                return False
        return True


class Stream:
    """One open /events response."""

    def __init__(self, server: EngineServer, connection: socket.socket, request: Request) -> None:
        self.server = server
        self.connection = connection
        self.chunked = not request.http10
        self.events: queue.Queue[Doc | None] = queue.Queue()
        self.filter = EventFilter(request.query.get("filters", ""))
        self.legacy_fields = version_tuple(request.version or server.api_max) < (1, 52)
        self.deaf = False
        self.pending = 0

    def put(self, event: Doc) -> None:
        """Queue an event; the caller holds the server's lock."""
        self.pending += 1
        self.events.put(event)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until all that was queued has been written, or the stream is over."""
        return self.server.wait(lambda: self.pending == 0 or self not in self.server.open_streams, timeout)

    def _written(self, count: int) -> None:
        with self.server.changed:
            self.pending -= count
            self.server.changed.notify_all()

    def run(self, until: int | None) -> None:
        """Send events until the client goes, the server cuts the stream or the time is up."""
        while True:
            left = None if until is None else (until - time.time_ns()) / 1e9
            batch = self._next_batch(left)
            if batch is None or not self._send_batch(batch):
                return
            self._written(len(batch))

    def _next_batch(self, left: float | None) -> list[Doc] | None:
        """The next events to write; None at the end of the stream."""
        deadline = None if left is None else time.monotonic() + left
        while True:
            wait = 0.1 if deadline is None else min(0.1, deadline - time.monotonic())
            try:
                event = self.events.get(timeout=wait) if wait > 0 else self.events.get_nowait()
            except queue.Empty:
                if self._client_gone() or (deadline is not None and time.monotonic() >= deadline):
                    return None
                continue
            return None if event is None else self._coalesce(event)

    def _coalesce(self, first: Doc) -> list[Doc]:
        batch = [first]
        while len(batch) < self.server.mode.coalesce:
            try:
                event = self.events.get(timeout=0.05)
            except queue.Empty:
                break
            if event is None:
                self.events.put(None)
                break
            batch.append(event)
        return batch

    def _client_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def _send_batch(self, batch: list[Doc]) -> bool:
        mode = self.server.mode
        mark = RECORD_MARK if mode.framed else b""
        line = b"".join(mark + go_json(self._fit(event)) for event in batch)
        if mode.garbage:
            line = mode.garbage.rstrip(b"\n") + b"\n" + line
            mode.garbage = b""
        if mode.cut:
            mode.cut = False
            # Half a line in a chunk that announced the whole of it: what a dying engine leaves behind.
            self.connection.sendall(self._chunk(line)[: len(line) // 2])
            return False
        for wire in self._chunks(line):
            self._send(wire)
        return True

    def _fit(self, event: Doc) -> Doc:
        if self.legacy_fields:
            return event
        return {key: value for key, value in event.items() if key not in ("status", "id", "from")}

    def _chunk(self, payload: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(payload), payload) if self.chunked else payload

    def _chunks(self, line: bytes) -> list[bytes]:
        if not self.server.mode.split_utf8:
            return [self._chunk(line)]
        # One byte into the first multi-byte character, or the middle if there is none.
        middle = next((index + 1 for index, byte in enumerate(line) if byte >= 0x80), len(line) // 2)
        return [self._chunk(line[:middle]), self._chunk(line[middle:])]

    def _send(self, wire: bytes) -> None:
        mode = self.server.mode
        if mode.split_header and self.chunked:
            # First digit alone, then up to between CR and LF, then the rest.
            end = wire.index(b"\r\n") + 1
            self._pieces([wire[:1], wire[1:end], wire[end:]])
        elif mode.stall:
            self.connection.sendall(wire[: len(wire) // 2])
            self.server.closing.wait(mode.stall)
            self.connection.sendall(wire[len(wire) // 2:])
        elif mode.split:
            for start in range(0, len(wire), mode.split):
                self.connection.sendall(wire[start: start + mode.split])
        else:
            self.connection.sendall(wire)
        if mode.split_utf8:
            self.server.closing.wait(0.002)

    def _pieces(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.connection.sendall(piece)
            self.server.closing.wait(0.002)


# --- the HTTP server ------------------------------------------------------------------------------------


class EngineServer:
    """HTTP on a unix socket; a subclass supplies list, inspect, logs and the calls that change things."""

    def __init__(self, path: str | os.PathLike[str] | None = None, flavour: str = "28",
                 api_min: str | None = None, api_max: str | None = None) -> None:
        if flavour not in API_RANGES:
            raise ValueError(f"flavour must be one of {sorted(API_RANGES)}")
        self.flavour = flavour
        self.api_min = api_min or API_RANGES[flavour][0]
        self.api_max = api_max or API_RANGES[flavour][1]
        self._own_directory = "" if path else tempfile.mkdtemp(prefix="engine-")
        self.path = os.fspath(path) if path else os.path.join(self._own_directory, "docker.sock")
        self.host = f"unix://{self.path}"
        self.calls: list[Call] = []
        self.mode = StreamMode()
        self.closing = threading.Event()
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.ring: deque[Doc] = deque(maxlen=RING_SIZE)
        self.is_down = True
        self.open_streams: list[Stream] = []
        self._answers: list[Answer] = []
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._deaf = False
        self._deaf_reopen_heals = False
        self._events_lost = False
        # Podman's events are in a file, which forgets nothing; Docker's in a small buffer.
        if self.podman:
            self.ring = deque()
        self._last_nano = 0

    @property
    def podman(self) -> tuple[int, ...]:
        """Podman's version, empty for Docker."""
        version = SERVER_VERSIONS[self.flavour]
        return version_tuple(version) if self.flavour.startswith("podman") else ()

    # -- life --

    def start(self) -> Self:
        self.closing.clear()
        self._listen()
        return self

    def stop(self) -> None:
        self.closing.set()
        self.heal()
        self._unlisten(remove_socket=True)
        if self._own_directory:
            shutil.rmtree(self._own_directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _listen(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(128)
        with self.changed:
            self._listener, self.is_down = listener, False
            self.changed.notify_all()
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _unlisten(self, remove_socket: bool) -> None:
        self.is_down = True
        listener, self._listener = self._listener, None
        if listener is not None:
            # shutdown wakes the thread that sits in accept; close alone would not.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        if remove_socket:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        with self.changed:
            connections = list(self._connections)
            self.cut_streams()
            self.open_streams.clear()
            self.changed.notify_all()
        for connection in connections:
            _hang_up(connection)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    # -- one connection --

    def _serve(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        try:
            while True:
                request = _read_request(reader)
                if request is None or not self._handle(connection, request):
                    return
        except (OSError, ValueError):
            # The client has gone or the test has cut the line: both are part of the play.
            return
        finally:
            with self.lock:
                self._connections.discard(connection)
            reader.close()
            _hang_up(connection)

    def _handle(self, connection: socket.socket, request: Request) -> bool:
        """Answer one request; False when the connection is to be closed."""
        reply = self._split_version(request)
        answer = self._take_answer(request)
        if answer is not None and self._faulty(connection, request, answer):
            return request.keep_alive and answer.reply is not None
        if reply is None and request.path == "/events" and request.method == "GET":
            self._events(connection, request)
            return False
        self._send(connection, request, reply or self.dispatch(request))
        return request.keep_alive

    def _faulty(self, connection: socket.socket, request: Request, answer: Answer) -> bool:
        """Play a prepared answer; False when the request is to be handled as usual after a delay."""
        if answer.drip:
            self._drip(connection, request, answer)
            return True
        if answer.reply is None and not answer.delay:
            self._note(request, 0)
            answer.released.wait()
            return True
        if answer.act:
            threading.Thread(target=self.dispatch, args=(request,), daemon=True).start()
        if answer.delay:
            answer.released.wait(answer.delay)
        if answer.reply is None:
            return False
        self._send(connection, request, answer.reply)
        return True

    def _drip(self, connection: socket.socket, request: Request, answer: Answer) -> None:
        """The usual answer, a byte at a time; the rest of it at once when the fault is taken back."""
        reply = answer.reply or self.dispatch(request)
        self._note(request, reply.status)
        headers = {**self._headers(reply), "Content-Length": str(len(reply.body))}
        wire = _head(request, self.time_ns(), reply.status, headers) + reply.body
        with contextlib.suppress(OSError):  # the client has gone
            for index in range(len(wire)):
                connection.sendall(wire[index : index + 1])
                if answer.released.wait(answer.drip):
                    connection.sendall(wire[index + 1 :])
                    break

    def _take_answer(self, request: Request) -> Answer | None:
        with self.lock:
            for answer in self._answers:
                if answer.matches(request):
                    if answer.times is not None:
                        answer.times -= 1
                    return answer
        return None

    def _note(self, request: Request, status: int) -> None:
        with self.changed:
            self.calls.append(Call(time.monotonic(), request.method, request.target, status))
            self.changed.notify_all()

    def _send(self, connection: socket.socket, request: Request, reply: Reply) -> None:
        self._note(request, reply.status)
        headers = self._headers(reply)
        body = b"" if request.method == "HEAD" or reply.status in (204, 304) else reply.body
        if reply.status not in (204, 304):
            headers.setdefault("Content-Length", str(len(body)))
        if not request.keep_alive:
            headers["Connection"] = "close"
        connection.sendall(_head(request, self.time_ns(), reply.status, headers) + body)

    def _headers(self, reply: Reply) -> dict[str, str]:
        headers = dict(reply.headers)
        if reply.content_type and reply.status not in (204, 304):
            headers["Content-Type"] = reply.content_type
        return {**self.engine_headers(), **headers}

    def engine_headers(self) -> dict[str, str]:
        version = SERVER_VERSIONS[self.flavour]
        if self.podman:
            return {"Api-Version": self.api_max, "Libpod-Api-Version": version,
                    "Server": f"Libpod/{version} (linux)"}
        return {"Api-Version": self.api_max, "Docker-Experimental": "false", "Ostype": "linux",
                "Server": f"Docker/{version} (linux)"}

    # -- versions and routes --

    def _split_version(self, request: Request) -> Reply | None:
        """Take the version off the path; a reply when the engine refuses it."""
        raw, _, query = request.target.partition("?")
        request.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        found = re.match(r"/v(\d[\d.]*)(/.*)", raw)
        request.path = urllib.parse.unquote(found[2] if found else raw)
        if not found or self.podman:
            return None
        request.version = found[1]
        asked = version_tuple(found[1])
        if asked < version_tuple(self.api_min):
            text = (f"client version {found[1]} is too old. Minimum supported API version is {self.api_min}, "
                    "please upgrade your client to a newer version")
            # Clients older than 1.24 knew no JSON errors and still get plain text.
            return Reply.of(400, text + "\n") if asked < (1, 24) else Reply.of(400, {"message": text})
        if asked > version_tuple(self.api_max):
            return self.error(400, f"client version {found[1]} is too new. "
                                   f"Maximum supported API version is {self.api_max}")
        return None

    def dispatch(self, request: Request) -> Reply:
        """Everything but the event stream."""
        path, method = request.path, request.method
        if path == "/_ping" and method in ("GET", "HEAD"):
            builder = {} if self.flavour == "20.10" else {"Builder-Version": "2", "Swarm": "inactive"}
            return Reply(200, b"OK", "text/plain; charset=utf-8", builder)
        if method == "GET" and path in ("/version", "/info"):
            return Reply.of(200, self.version_doc() if path == "/version" else self.info_doc())
        if method == "GET" and path == "/containers/json":
            return self._list(request)
        found = re.fullmatch(r"/libpod/containers/([^/]+)/json", path)
        if found and self.podman and method == "GET":
            return self._inspect(found[1], self.libpod_doc)
        found = re.fullmatch(r"/containers/([^/]+)(?:/(\w+))?", path)
        if found:
            return self._container(request, found[1], found[2] or "")
        return Reply.of(404, {"message": "page not found"})

    def _container(self, request: Request, ref: str, verb: str) -> Reply:
        if request.method == "GET" and verb == "json":
            return self._inspect(ref, self.inspect_doc)
        if request.method == "GET" and verb == "logs":
            return self.log_reply(ref, request)
        if request.method == "POST" and verb in ("start", "stop", "restart", "kill", "pause", "unpause"):
            return self.act(verb, ref, request.query)
        if request.method == "DELETE" and not verb:
            return self.act("remove", ref, request.query)
        return Reply.of(404, {"message": "page not found"})

    def _inspect(self, ref: str, document_of: Callable[[str], Doc | None]) -> Reply:
        document = document_of(ref)
        return Reply.of(200, document) if document is not None else self.no_such(ref)

    def _list(self, request: Request) -> Reply:
        try:
            filters = json.loads(request.query.get("filters") or "{}")
        except ValueError:
            if self.flavour == "20.10":
                first = request.query["filters"][:1]
                return self.error(500, f"invalid character '{first}' looking for beginning of value")
            return self.error(400, "invalid filter")
        for key in filters:
            if key not in LIST_FILTERS:
                word = "Invalid" if self.flavour == "20.10" else "invalid"
                return self.error(400, f"{word} filter '{key}'")
        wanted_all = request.query.get("all", "0") not in ("", "0", "false")
        rows = [row for row in self.list_rows() if wanted_all or row["State"] in ("running", "paused")]
        if not self.podman and version_tuple(request.version or self.api_max) < (1, 52):
            for row in rows:
                row.pop("Health", None)
        return Reply.of(200, [row for row in rows if _row_matches(row, filters)])

    def error(self, status: int, message: str) -> Reply:
        if self.podman:
            return Reply.of(status, {"cause": message, "message": message, "response": status})
        return Reply.of(status, {"message": message})

    def no_such(self, ref: str) -> Reply:
        if self.podman:
            return self.error(404, f'no container with name or ID "{ref}" found: no such container')
        return self.error(404, f"No such container: {ref}")

    # -- what a subclass supplies --

    def list_rows(self) -> list[Doc]:
        raise NotImplementedError

    def inspect_doc(self, ref: str) -> Doc | None:
        raise NotImplementedError

    def libpod_doc(self, ref: str) -> Doc | None:
        """Podman's own inspect."""
        raise NotImplementedError

    def log_reply(self, ref: str, request: Request) -> Reply:
        raise NotImplementedError

    def act(self, verb: str, ref: str, query: Mapping[str, str]) -> Reply:
        raise NotImplementedError

    def version_doc(self) -> Doc:
        version = SERVER_VERSIONS[self.flavour]
        name = "Podman Engine" if self.podman else "Engine"
        return {"Platform": {"Name": ""}, "Components": [{"Name": name, "Version": version, "Details": {}}],
                "Version": version, "ApiVersion": self.api_max, "MinAPIVersion": self.api_min,
                "Os": "linux", "Arch": "amd64", "KernelVersion": "6.1.0"}

    def info_doc(self) -> Doc:
        return {"ID": fake_id(self.path), "Name": "fakehost", "SystemTime": rfc3339(self.time_ns()),
                "ServerVersion": SERVER_VERSIONS[self.flavour],
                "NCPU": 4, "MemTotal": 8 * 2**30, "OperatingSystem": "Fake Linux 1", "Driver": "overlay2",
                "CgroupVersion": "2", "CgroupDriver": "systemd", "Architecture": "x86_64",
                "Containers": len(self.list_rows()), "LiveRestoreEnabled": False, "SecurityOptions": []}

    def time_ns(self) -> int:
        """The engine's clock."""
        return time.time_ns()

    # -- the event stream --

    def publish(self, event: Doc) -> None:
        """Into the ring and to every stream that listens; lost while the engine is down, as in life."""
        with self.changed:
            if self._events_lost:
                return
            self.ring.append(event)
            for stream in self.open_streams:
                if not stream.deaf and stream.filter.accepts(event):
                    stream.put(event)
            self.changed.notify_all()

    def _events(self, connection: socket.socket, request: Request) -> None:
        try:
            since = parse_engine_time(request.query.get("since", ""))
            until = parse_engine_time(request.query.get("until", ""))
            stream = Stream(self, connection, request)
        except BadTime as problem:
            return self._send(connection, request, self.error(500, str(problem)))
        except (ValueError, TypeError):
            return self._send(connection, request, self.error(400, "invalid filter"))
        if since is not None and until is not None and since > until:
            text = f"`since` time ({since // 10**9}) cannot be after `until` time ({until // 10**9})"
            return self._send(connection, request, self.error(400, text))
        headers = {**self.engine_headers(), "Content-Type": self._stream_type(stream)}
        if stream.chunked:
            headers["Transfer-Encoding"] = "chunked"
        # Headers go out before the subscription is entered: the real engine has the same small hole.
        connection.sendall(_head(request, self.time_ns(), 200, headers))
        self._subscribe(stream, since, until)
        self._note(request, 200)
        try:
            stream.run(until)
            if stream.chunked and not self.closing.is_set() and until is not None:
                connection.sendall(b"0\r\n\r\n")
        finally:
            with self.changed, contextlib.suppress(ValueError):
                self.open_streams.remove(stream)
                self.changed.notify_all()
        return None

    def _stream_type(self, stream: Stream) -> str:
        """By a client's Accept, of which the fake knows nothing: there is none, or a mode says otherwise."""
        if self.mode.framed:
            return "application/json-seq"
        return "application/json" if stream.legacy_fields else "application/jsonl"

    def _subscribe(self, stream: Stream, since: int | None, until: int | None) -> None:
        with self.changed:
            stream.deaf = self._deaf and not self._deaf_reopen_heals
            if not stream.deaf:
                for event in self._replay(since, until):
                    if stream.filter.accepts(event):
                        stream.put(event)
            self.open_streams.append(stream)
            self.changed.notify_all()

    def _replay(self, since: int | None, until: int | None) -> list[Doc]:
        if since is None and until is None:
            return []
        if self.podman and until is not None:
            return []  # a random part of what was, mostly nothing
        found: list[Doc] = []
        # Backwards, up to the first event that is too old: events out of order behind it are lost.
        for event in reversed(self.ring):
            if since is not None and event["timeNano"] < since:
                break
            if until is None or event["timeNano"] <= until:
                found.append(event)
        return found[::-1]

    def next_nano(self) -> int:
        """Now, but never twice the same, not even as a float: where a test's clock stands still, what
        an engine does in turn has its order all the same."""
        self._last_nano = max(time.time_ns(), self._last_nano + 1000)
        return self._last_nano

    # -- faults --

    def answer(self, path: str, status: int, body: object = None, times: int | None = 1, *,
               method: str | None = None, delay: float = 0.0, act: bool = False) -> Answer:
        """Give this answer to requests whose path and query (no version prefix) match the pattern.

        act=True carries the request out all the same, in the background: a proxy that gave up too early.
        """
        return self._add_answer(Answer(re.compile(path), Reply.of(status, body), times, method, delay, act))

    def refuse(self, path: str, status: int = 403, body: object = "<html><body>403 Forbidden</body></html>",
               method: str | None = None) -> Answer:
        """Refuse all requests to paths that begin so, until heal()."""
        pattern = re.compile("^" + re.escape(path))
        return self._add_answer(Answer(pattern, Reply.of(status, body), None, method))

    def hang(self, path: str, times: int | None = None, method: str | None = None) -> Answer:
        """Accept matching requests and never answer them, until heal() closes their connections."""
        return self._add_answer(Answer(re.compile(path), None, times, method))

    def slow(self, path: str, seconds: float, times: int | None = None, method: str | None = None) -> Answer:
        """Answer matching requests as usual, but late."""
        return self._add_answer(Answer(re.compile(path), None, times, method, seconds))

    def drip(self, path: str, interval: float, times: int | None = None, method: str | None = None) -> Answer:
        """Answer matching requests as usual, but a byte at a time, until heal()."""
        return self._add_answer(Answer(re.compile(path), None, times, method, drip=interval))

    def _add_answer(self, answer: Answer) -> Answer:
        with self.lock:
            self._answers.append(answer)
        return answer

    def heal(self) -> None:
        """Take back all of answer, refuse, hang, slow, drip, deaf and stream_mode."""
        with self.lock:
            answers, self._answers = self._answers, []
            self.mode = StreamMode()
        for answer in answers:
            answer.released.set()
        self.deaf(False)

    def deaf(self, on: bool = True, *, reopen_heals: bool = False) -> None:
        """Streams stay open and silent while list and inspect go on; what happens meanwhile is lost on them.

        With reopen_heals a stream opened from now on works, so that a client that reopens is cured.
        """
        with self.lock:
            self._deaf, self._deaf_reopen_heals = on, reopen_heals
            for stream in self.open_streams:
                stream.deaf = on

    def cut_streams(self) -> None:
        """End every open event stream without a last chunk."""
        with self.lock:
            for stream in self.open_streams:
                stream.events.put(None)

    def stream_mode(self, *, split: int = 0, split_utf8: bool = False, split_header: bool = False,
                    coalesce: int = 0, stall: float = 0.0, cut: bool = False,
                    garbage: bytes | str | bool = b"", framed: bool = False) -> None:
        """How the following events go over the wire; without arguments as Docker sends them.

        split: pieces of so many bytes.  split_utf8: a chunk boundary inside a character.  split_header: the
        chunk size line arrives in pieces.  coalesce: up to so many events in one chunk.  stall: a pause in
        the middle of each line.  cut (once): half a line, then EOF.  garbage (once): a line that is no JSON.
        framed: each event as a record of application/json-seq (RFC 7464).
        """
        if isinstance(garbage, bool):
            garbage = b"\xff<not json" if garbage else b""
        raw = garbage.encode() if isinstance(garbage, str) else garbage
        with self.lock:
            self.mode = StreamMode(split, split_utf8, split_header, coalesce, stall, cut, raw, framed)

    def go_down(self, remove_socket: bool = True) -> None:
        """Close everything; connecting fails with ENOENT, or with ECONNREFUSED if the file stays.

        Of Podman that is its API service alone: containers, policies and the CLI go on, and so do events.
        """
        with self.lock:
            self._events_lost = not self.podman
        self._unlisten(remove_socket)

    def come_up(self, keep_history: bool = False) -> None:
        """Listen again; a fresh engine knows no events of its former life, but for Podman."""
        with self.lock:
            if not keep_history and not self.podman:
                self.ring.clear()
            self._events_lost = False
        self._listen()

    # -- questions for tests --

    @property
    def streams(self) -> int:
        """How many event streams are open."""
        with self.lock:
            return len(self.open_streams)

    def called(self, method: str, path: str = "") -> list[Call]:
        """The calls so far with this method whose path matches the pattern."""
        with self.lock:
            return [call for call in self.calls if call.method == method and re.search(path, call.path)]

    def wait(self, condition: Callable[[], bool], timeout: float = 60.0) -> bool:
        """Wait for a condition that changes with calls, events or streams; no polling."""
        with self.changed:
            return self.changed.wait_for(condition, timeout)

    def wait_call(self, method: str, path: str = "", count: int = 1, timeout: float = 60.0) -> bool:
        return self.wait(lambda: len(self.called(method, path)) >= count, timeout)

    def wait_streams(self, count: int = 1, timeout: float = 60.0) -> bool:
        """Wait until at least so many event streams are open (with 0: until all are closed)."""
        return self.wait(lambda: self.streams >= count if count else self.streams == 0, timeout)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _read_request(reader: BinaryIO) -> Request | None:
    line = reader.readline(65537)
    if not line.strip():
        return None
    method, target, protocol = line.decode("latin-1").split()
    headers: dict[str, str] = {}
    for raw in iter(reader.readline, b"\r\n"):
        if not raw.strip():
            break
        name, _, value = raw.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    http10 = protocol == "HTTP/1.0"
    keep = headers.get("connection", "").lower() == "keep-alive" if http10 else (
        headers.get("connection", "").lower() != "close")
    length = int(headers.get("content-length") or 0)
    return Request(method, target, http10, keep, body=reader.read(length) if length else b"")


def _head(request: Request, time_ns: int, status: int, headers: Mapping[str, str]) -> bytes:
    protocol = "HTTP/1.0" if request.http10 else "HTTP/1.1"
    date = datetime.datetime.fromtimestamp(time_ns // 10**9, datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    lines = [f"{protocol} {status} {REASONS.get(status, 'Unknown')}", f"Date: {date}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _row_matches(row: Doc, filters: Mapping[str, Any]) -> bool:
    for key, wanted in filters.items():
        values = list(wanted)
        if key == "status" and row["State"] not in values:
            return False
        if key == "id" and not any(row["Id"].startswith(value) for value in values):
            return False
        if key == "name" and not any(value.lstrip("/") in row["Names"][0] for value in values):
            return False
        if key == "label" and not all(_has_label(row["Labels"], value) for value in values):
            return False
    return True


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


# --- containers -----------------------------------------------------------------------------------------


class LogLine(NamedTuple):
    nano: int
    stream: int
    text: str


@dataclass
class StartPlan:
    """What happens at the next start of a container."""

    error: StartError | None = None
    crash_after: float | None = None
    code: int = 1
    delay: float = 0.0
    times: int | None = None


class StartError(NamedTuple):
    """A start that fails: the HTTP answer, and what inspect shows afterwards."""

    status: int
    message: str
    state_error: str | None = None
    exit_code: int = 128


# Failures as a real engine words them, for on_start(..., error=NO_ENTRY).
_SHIM = ("failed to create task for container: failed to create shim task: OCI runtime create failed: "
         "runc create failed: unable to start container process: ")
NO_ENTRY = StartError(400, _SHIM + 'exec: "/nosuch": stat /nosuch: no such file or directory', None, 127)
NOT_EXECUTABLE = StartError(400, _SHIM + 'exec: "/etc/hostname": permission denied', None, 126)
PORT_TAKEN = StartError(500, "failed to set up container networking: driver failed programming external "
                             "connectivity on endpoint web: Bind for 0.0.0.0:8080 failed: "
                             "port is already allocated", None, 128)
NETWORK_GONE = StartError(404, "failed to set up container networking: network " + fake_id("gone")
                          + " not found", None, 128)


@dataclass
class Container:
    """One container; tests may change any field between calls (take engine.lock if threads run)."""

    id: str
    name: str
    image: str = "example/app:1"
    labels: dict[str, str] = field(default_factory=dict)
    policy: str = "no"
    max_retry: int = 0
    tty: bool = False
    stop_signal: str | None = None
    stop_timeout: int | None = None
    network_mode: str = "none"
    auto_remove: bool = False
    log_driver: str = "json-file"
    healthcheck: Doc | None = None
    memory: int = 0
    # The exit code on the stop signal; None is a process that ignores it.
    term_code: int | None = 0
    created: int = 0
    status: str = "created"
    exit_code: int = 0
    error: str = ""
    started: int = 0
    finished: int = 0
    restart_count: int = 0
    oom_killed: bool = False
    oom_pending: bool = False
    pid: int = 0
    health: Doc | None = None
    logs: list[LogLine] = field(default_factory=list)
    plans: list[StartPlan] = field(default_factory=list)
    # Docker's two notes about earlier kills; they decide whether the restart policy acts.
    exit_on_next: bool = False
    manually_stopped: bool = False
    # Podman's notes.
    stopped_by_user: bool = False
    dependencies: tuple[str, ...] = ()
    pod: str = ""
    infra: bool = False
    backoff: float = 0.0
    run: int = 0
    up_at_shutdown: bool = False
    stale_row: Doc | None = None
    stale_until: float = 0.0

    @property
    def running(self) -> bool:
        return self.status in ("running", "paused")

    def state(self) -> Doc:
        """The State document of inspect."""
        document: Doc = {
            "Status": self.status, "Running": self.status in ("running", "paused", "restarting"),
            "Paused": self.status == "paused", "Restarting": self.status == "restarting",
            "OOMKilled": self.oom_killed, "Dead": self.status in ("dead", "removing"),
            "Pid": self.pid if self.running else 0, "ExitCode": self.exit_code, "Error": self.error,
            "StartedAt": rfc3339(self.started), "FinishedAt": rfc3339(self.finished)}
        if self.health is not None:
            document["Health"] = json.loads(json.dumps(self.health))
        return document


def compose_labels(project: str, service: str, number: int, oneoff: bool, depends_on: str,
                   key: str) -> dict[str, str]:
    """The labels that compose v2 puts on a container."""
    prefix = "com.docker.compose."
    labels = {prefix + "project": project, prefix + "service": service, prefix + "oneoff": str(oneoff),
              prefix + "config-hash": fake_id("config", project, service), prefix + "image": IMAGE_ID,
              prefix + "depends_on": depends_on, prefix + "version": "2.40.3",
              prefix + "project.working_dir": "/srv/stack",
              prefix + "project.config_files": "/srv/stack/compose.yml"}
    # One-off containers have a slug in place of the number.
    labels[prefix + ("slug" if oneoff else "container-number")] = fake_id(key) if oneoff else str(number)
    return labels


def inspect_document(container: Container) -> Doc:
    return {
        "Id": container.id, "Created": rfc3339(container.created), "Path": "app", "Args": [],
        "State": container.state(), "Image": IMAGE_ID, "Name": "/" + container.name,
        "RestartCount": container.restart_count, "Driver": "overlay2", "Platform": "linux",
        "HostConfig": {
            "NetworkMode": container.network_mode, "AutoRemove": container.auto_remove,
            "RestartPolicy": {"Name": container.policy, "MaximumRetryCount": container.max_retry},
            "LogConfig": {"Type": container.log_driver, "Config": {}}, "Memory": container.memory,
            "NanoCpus": 0, "Privileged": False, "PidMode": "", "IpcMode": "private"},
        "GraphDriver": {"Name": "overlay2", "Data": None}, "Mounts": [],
        "Config": _config_document(container),
        "NetworkSettings": {"Ports": {}, "Networks": _networks(container)}}


def _config_document(container: Container) -> Doc:
    config: Doc = {"Hostname": container.id[:12], "User": "", "Tty": container.tty, "Env": None,
                   "Cmd": ["app"], "Image": container.image, "Entrypoint": None,
                   "Labels": dict(container.labels)}
    if container.stop_signal is not None:
        config["StopSignal"] = container.stop_signal
    if container.stop_timeout is not None:
        config["StopTimeout"] = container.stop_timeout
    if container.healthcheck is not None:
        config["Healthcheck"] = dict(container.healthcheck)
    return config


def _networks(container: Container) -> Doc:
    if container.network_mode.startswith("container:"):
        return {}
    return {container.network_mode: {"NetworkID": fake_id("network", container.network_mode)}}


def list_row(container: Container, flavour: str) -> Doc:
    row: Doc = {
        "Id": container.id, "Names": ["/" + container.name], "Image": container.image, "ImageID": IMAGE_ID,
        "Command": "app", "Created": container.created // 10**9, "Ports": [],
        "Labels": dict(container.labels), "State": container.status,
        "Status": status_text(container.state(), flavour),
        "HostConfig": {"NetworkMode": container.network_mode},
        "NetworkSettings": {"Networks": _networks(container)}, "Mounts": []}
    if flavour.startswith("podman"):
        return _podman_row(container, flavour, row)
    health = container.health or {"Status": "none", "FailingStreak": 0}
    row["Health"] = {key: health[key] for key in ("Status", "FailingStreak")}
    return row


def _podman_row(container: Container, flavour: str, row: Doc) -> Doc:
    """No health in the text; a Health beside it from 6 on, which then has a HostConfig, too."""
    state = podman_state(container, flavour)
    row["State"] = state["Status"]
    if flavour != "podman":
        row["Status"] = status_text({**container.state(), "Health": None}, flavour)
    if flavour == "podman-6.1":
        row["Health"] = {"Status": (container.health or {"Status": "none"})["Status"]}
    else:
        del row["HostConfig"]
    return row


def podman_state(container: Container, flavour: str) -> Doc:
    """The State of Podman's compat inspect: its own words, and no `restarting`."""
    state = container.state()
    word = "stopped" if container.status == "restarting" else container.status
    if flavour == "podman-6.1" and word == "stopped":
        word = "exited"
    state.update(Status=word, Running=word == "running", Restarting=False)
    return state


def libpod_document(container: Container, flavour: str) -> Doc:
    """The part of Podman's own inspect that differs from Docker's."""
    state = container.state()
    state["Status"] = "stopped" if container.status == "restarting" else container.status
    if container.stopped_by_user and flavour != "podman":
        state["StoppedByUser"] = True  # left out otherwise, and unknown to 4.3.1
    return {
        "Id": container.id, "Created": rfc3339(container.created), "State": state, "Image": IMAGE_ID[7:],
        "ImageName": container.image, "Pod": container.pod, "Name": container.name,
        "RestartCount": container.restart_count, "IsInfra": container.infra, "IsService": False,
        "Dependencies": list(container.dependencies), "Config": _config_document(container)}


def encode_logs(container: Container, query: Mapping[str, str]) -> bytes:
    """The body of a logs answer: frames, or the plain bytes of a terminal."""
    since = parse_engine_time(query.get("since", "")) or 0
    until = parse_engine_time(query.get("until", "")) or 2**63
    streams = [number for number, name in ((1, "stdout"), (2, "stderr")) if _true(query.get(name))]
    parts: list[tuple[LogLine, bytes]] = []
    for line in container.logs:
        raw = line.text.encode("utf-8", "replace")
        # Long lines are stored in pieces, and tail counts the pieces, before anybody looks at their times.
        parts += [(line, raw[at: at + FRAME_SIZE]) for at in range(0, max(1, len(raw)), FRAME_SIZE)]
    tail = query.get("tail", "all")
    if tail.isdigit():
        parts = parts[len(parts) - min(int(tail), len(parts)):]
    stamps = _true(query.get("timestamps"))
    return b"".join(_frame(container.tty, line, raw, stamps) for line, raw in parts
                    if line.stream in streams and since <= line.nano <= until)


def _frame(tty: bool, line: LogLine, raw: bytes, stamps: bool) -> bytes:
    if stamps:
        seconds, fraction = divmod(line.nano, 10**9)
        when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
        raw = f"{when:%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z ".encode() + raw
    if tty:
        return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return bytes([line.stream, 0, 0, 0]) + len(raw).to_bytes(4, "big") + raw


def _true(value: str | None) -> bool:
    return value not in (None, "", "0", "false", "False")


# --- a server with containers ---------------------------------------------------------------------------


class ContainerServer(EngineServer):
    """Answers about containers, for whoever changes them: FakeEngine, or a tape."""

    def __init__(self, path: str | os.PathLike[str] | None = None, flavour: str = "28",
                 api_min: str | None = None, api_max: str | None = None) -> None:
        super().__init__(path, flavour, api_min, api_max)
        self.containers: dict[str, Container] = {}

    def find(self, ref: str) -> Container | None:
        """By id, unique prefix of an id, or name."""
        with self.lock:
            if ref in self.containers:
                return self.containers[ref]
            by_name = [item for item in self.containers.values() if item.name == ref.lstrip("/")]
            by_prefix = [item for item in self.containers.values() if item.id.startswith(ref)]
        return by_name[0] if by_name else by_prefix[0] if len(by_prefix) == 1 else None

    def list_rows(self) -> list[Doc]:
        with self.lock:
            now = time.monotonic()
            return [item.stale_row if item.stale_row and now < item.stale_until and not item.running
                    else list_row(item, self.flavour) for item in reversed(self.containers.values())]

    def inspect_doc(self, ref: str) -> Doc | None:
        with self.lock:
            container = self.find(ref)
            if container is None:
                return None
            document = inspect_document(container)
            if self.podman:
                document["State"] = podman_state(container, self.flavour)
            return document

    def libpod_doc(self, ref: str) -> Doc | None:
        with self.lock:
            container = self.find(ref)
            return libpod_document(container, self.flavour) if container else None

    def log_reply(self, ref: str, request: Request) -> Reply:
        with self.lock:
            container = self.find(ref)
            if container is None:
                return self.no_such(ref)
            if not _true(request.query.get("stdout")) and not _true(request.query.get("stderr")):
                return self.error(400, "Bad parameters: you must choose at least one stream")
            if container.log_driver == "none":
                return self.error(501, "configured logging driver does not support reading")
            try:
                body = encode_logs(container, request.query)
            except BadTime as problem:
                return self.error(500, str(problem))
        return Reply(200, body, self._log_type(container, request))

    def _log_type(self, container: Container, request: Request) -> str:
        if self.podman:
            return "application/octet-stream"
        if version_tuple(request.version or self.api_max) < (1, 42):
            return ""
        return f"application/vnd.docker.{'raw' if container.tty else 'multiplexed'}-stream"

    def make_stale(self, container: Container) -> None:
        """Old engines list a dead container as running for some milliseconds; inspect does not."""
        if self.flavour == "20.10":
            container.stale_row = list_row(container, self.flavour)
            container.stale_until = time.monotonic() + STALE_LIST_SECONDS


# --- the engine with containers -------------------------------------------------------------------------


class FakeEngine(ContainerServer):
    """An engine whose containers do what the test says."""

    def __init__(self, path: str | os.PathLike[str] | None = None, flavour: str = "28",
                 api_min: str | None = None, api_max: str | None = None) -> None:
        super().__init__(path, flavour, api_min, api_max)
        self.info: Doc = {}
        # The first delay of a restart policy; it doubles with every lap.
        self.backoff = 0.1
        self._timers: list[threading.Timer] = []
        self._count = 0
        self._shutting_down = False

    def stop(self) -> None:
        super().stop()
        for timer in self._timers:
            timer.cancel()

    def info_doc(self) -> Doc:
        own = {"ID": str(uuid.uuid4()), "DockerRootDir": "/var/lib/containers/storage"} if self.podman else {}
        return {**super().info_doc(), **own, **self.info}

    # -- containers come and go --

    def add(self, name: str, project: str | None = None, service: str | None = None, number: int = 1,
            labels: Mapping[str, str] | None = None, policy: str = "no", running: bool = True,
            healthcheck: bool | Doc = False, exit_code: int = 0, tty: bool = False, oneoff: bool = False,
            stop_signal: str | None = None, stop_timeout: int | None = None, network_mode: str = "none",
            depends_on: str = "", *, started_ago: float = 0.0, never_started: bool = False,
            quiet: bool = False, **extra: Any) -> Container:
        """A new container.  ``extra`` sets further fields of Container, such as image or term_code.

        One that has run for a while (started_ago) or is quiet leaves no events behind.
        """
        own = compose_labels(project, service or name, number, oneoff, depends_on, name) if project else {}
        with self.changed:
            container = self._make(name, {**own, **(labels or {})}, policy)
            container.tty, container.stop_signal, container.stop_timeout = tty, stop_signal, stop_timeout
            container.network_mode, container.exit_code = network_mode, exit_code
            if healthcheck:
                container.healthcheck = healthcheck if isinstance(healthcheck, dict) else {
                    "Test": ["CMD-SHELL", "test -f /ok"], "Interval": 10**9, "Timeout": 10**9, "Retries": 2}
            for key, value in extra.items():
                if not hasattr(container, key):
                    raise TypeError(f"unknown field {key}")
                setattr(container, key, value)
            self._first_state(container, running, never_started, started_ago, quiet or started_ago > 0)
            self.changed.notify_all()
        return container

    def _make(self, name: str, labels: dict[str, str], policy: str) -> Container:
        self._count += 1
        container = Container(fake_id("container", name, self._count), name, labels=labels)
        container.policy, _, retries = policy.partition(":")
        container.max_retry = int(retries or 0)
        container.created = self.next_nano()
        self.containers[container.id] = container
        return container

    def _first_state(self, container: Container, running: bool, never_started: bool, ago: float,
                     quiet: bool) -> None:
        past = int(ago * 1e9)
        container.created -= past
        if not quiet:
            self._emit(container, "create")
        if never_started:
            return
        if running:
            self._set_running(container, quiet=quiet)
            container.started -= past
            return
        container.status = "exited"
        container.started = container.created
        container.finished = max(container.created + 1, container.created + past // 2)

    # -- events --

    def _emit(self, container: Container, action: str, **extra: str) -> None:
        health = action.partition(": ")[2] if action.startswith("health_status") else ""
        if self.podman:
            translated = {"destroy": "remove", "health_status: healthy": "health_status",
                          "health_status: unhealthy": "health_status", "exec_die": "exec_died"}
            action = translated.get(action.partition(": ")[0] if "exec" in action else action, action)
        # Labels lie over the event's own keys; only name and image win over labels.
        attributes = {**extra, **container.labels, "image": container.image, "name": container.name}
        nano = self.next_nano()
        event: Doc = {
            "status": action, "id": container.id, "from": container.image, "Type": "container",
            "Action": action, "Actor": {"ID": container.id, "Attributes": dict(sorted(attributes.items()))},
            "scope": "local", "time": nano // 10**9, "timeNano": nano}
        if self.podman and health:
            event["HealthStatus"] = health
        self.publish(event)

    def _emit_network(self, container: Container, action: str) -> None:
        mode = container.network_mode
        if self.podman or mode.startswith("container:"):
            return
        nano = self.next_nano()
        kind = {"none": "null", "host": "host"}.get(mode, "bridge")
        self.publish({
            "Type": "network", "Action": action,
            "Actor": {"ID": fake_id("network", mode),
                      "Attributes": {"container": container.id, "name": mode, "type": kind}},
            "scope": "local", "time": nano // 10**9, "timeNano": nano})

    def _emit_kill(self, container: Container, number: int) -> None:
        """The event, and Docker's notes for the restart policy."""
        if self.podman:
            self._emit(container, "kill")
            self._note_user(container, number in (9, 15))
            return
        own = signal_number(container.stop_signal) if container.stop_signal else None
        # With a stop signal set in the image only that signal, or KILL, silences the policy for good.
        if own is None or number in (own, 9):
            container.exit_on_next = True
        if not self._shutting_down:
            container.manually_stopped = True
        self._emit(container, "kill", signal=str(number))

    def _note_user(self, container: Container, ends: bool = True) -> None:
        """Podman's note that a user has ended it: from 5 on of any signal, and it silences the policy."""
        container.stopped_by_user = True
        container.exit_on_next = container.manually_stopped = ends or self.podman >= (5,)

    # -- start --

    def on_start(self, container: Container, error: StartError | tuple[Any, ...] | None = None, *,
                 crash_after: float | None = None, code: int = 1, delay: float = 0.0,
                 times: int | None = None) -> None:
        """What the next starts do: fail, crash after some seconds, or take long.

        Plans queue up: one with times=n serves n starts, one without serves all that follow.
        """
        failure = StartError(*error) if error is not None else None
        with self.lock:
            if container.plans and container.plans[-1].times is None:
                container.plans.clear()
            container.plans.append(StartPlan(failure, crash_after, code, delay, times))

    def _take_plan(self, container: Container) -> StartPlan:
        with self.lock:
            if not container.plans:
                return StartPlan()
            plan = container.plans[0]
            if plan.times is not None:
                plan.times -= 1
                if plan.times <= 0:
                    container.plans.pop(0)
            return plan

    def _launch(self, container: Container) -> StartError | None:
        """A start, by whomever; the delay of a plan passes without the lock."""
        plan = self._take_plan(container)
        if plan.delay:
            self.closing.wait(plan.delay)
        with self.changed:
            if container.running or container.id not in self.containers:
                return None
            error = plan.error or self._network_error(container)
            if error is not None:
                self._start_failed(container, error)
                return error
            self._set_running(container)
            if plan.crash_after is not None:
                run = container.run
                self._later(plan.crash_after, lambda: self._crash_run(container, run, plan.code))
            self.changed.notify_all()
        return None

    def _network_error(self, container: Container) -> StartError | None:
        """A container that shares the network of another needs that one to run."""
        kind, _, ref = container.network_mode.partition(":")
        if kind != "container":
            return None
        target = self.find(ref)
        new = self.flavour in ("28", "29")
        if target is None:
            text = f"No such container: {ref}"
            return StartError(500, "joining network namespace of container: " + text) if new else (
                StartError(404, text))
        if target.running:
            return None
        text = (f"cannot join network namespace of a non running container: container {target.name} is "
                f"{target.status}") if new else f"cannot join network of a non running container: {target.id}"
        return StartError(409, text)

    def _start_failed(self, container: Container, error: StartError) -> None:
        if self.flavour == "20.10":
            self._emit_network(container, "connect")
        self._emit_network(container, "disconnect")
        container.run += 1
        if self.podman:
            container.status = "exited" if container.started else "created"
            container.error = error.message if self.podman >= (5,) else ""
        else:
            container.error = error.message if error.state_error is None else error.state_error
            # A code from an earlier run stays unless it was 0.
            container.exit_code = container.exit_code or error.exit_code
            container.status = "exited" if container.started else "created"
        self.changed.notify_all()

    def _set_running(self, container: Container, quiet: bool = False) -> None:
        container.run += 1
        container.status, container.exit_code, container.error = "running", 0, ""
        container.pid = 10000 + (self._count * 97 + container.run) % 20000
        container.exit_on_next = container.manually_stopped = container.stopped_by_user = False
        container.stale_row = None
        if self.flavour != "20.10":
            container.oom_killed = False
        container.oom_pending = False
        if container.healthcheck is not None:
            container.health = {"Status": "starting", "FailingStreak": 0, "Log": []}
        if not quiet:
            self._emit_network(container, "connect")
            if self.podman:
                self._emit(container, "init")
        container.started = self.next_nano()
        if not quiet:
            self._emit(container, "start")

    # -- death --

    def _die(self, container: Container, code: int, *, stopped: bool = False, keep: bool = False) -> None:
        """The end of a run, with all its events; ``stopped`` adds Docker's stop event."""
        self.make_stale(container)
        ran = (self.next_nano() - container.started) / 1e9
        self._end_run(container, code)
        again = self._policy_restarts(container, code)
        if again:
            container.status = "restarting"
            container.restart_count += 1
            self._schedule_restart(container, ran)
        # Podman cleans up what has ended for good; up to 4 also what is restarted or removed.
        cleanup = not again and not container.auto_remove and (not keep or self.podman < (5,))
        self._emit_death(container, code, int(ran), stopped, cleanup)
        if container.auto_remove and not again and not keep:
            self._destroy(container)
        self.changed.notify_all()

    def _end_run(self, container: Container, code: int) -> None:
        container.run += 1
        container.status, container.exit_code = "exited", code
        container.finished = self.next_nano()
        container.oom_killed = container.oom_killed or container.oom_pending
        if container.health is not None:
            # A stopped container counts as unhealthy with no failed probe, and no event says so.
            container.health.update(Status="unhealthy", FailingStreak=0)

    def _emit_death(self, container: Container, code: int, seconds: int, stopped: bool, cleanup: bool) -> None:
        if self.podman:
            memory = {"oomKilled": "true"} if container.oom_killed and self.podman >= (6,) else {}
            self._emit(container, "die", exitCode=str(code), containerExitCode=str(code), **memory)
            if cleanup:
                self._emit(container, "cleanup", **({"containerExitCode": "0"} if self.podman < (5,) else {}))
        elif self.flavour == "20.10":
            self._emit(container, "die", exitCode=str(code))
            self._emit_network(container, "disconnect")
        else:
            self._emit_network(container, "disconnect")
        if stopped and not self.podman:
            self._emit(container, "stop")
        if self.flavour in ("28", "29"):
            self._emit(container, "die", exitCode=str(code), execDuration=str(seconds))

    def _policy_restarts(self, container: Container, code: int) -> bool:
        if self._shutting_down or self._events_lost:
            return False
        if container.exit_on_next:
            return False
        if container.policy == "unless-stopped":
            return not container.manually_stopped
        if container.policy == "on-failure":
            return code != 0 and (not container.max_retry or container.restart_count < container.max_retry)
        return container.policy == "always"

    def _schedule_restart(self, container: Container, ran: float) -> None:
        doubled = self.backoff if self.podman else min(container.backoff * 2, LONGEST_BACKOFF)
        # A run of ten seconds forgives all earlier ones.
        container.backoff = self.backoff if ran >= 10 or not container.backoff else doubled
        run = container.run
        self._later(container.backoff, lambda: self._policy_start(container, run))

    def _policy_start(self, container: Container, run: int) -> None:
        with self.lock:
            if container.run != run or container.status != "restarting":
                return
            if self.podman:
                self._emit(container, "restart")
        self._launch(container)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        with self.lock:
            self._timers = [item for item in self._timers if item.is_alive()] + [timer]
        timer.start()

    def _crash_run(self, container: Container, run: int, code: int) -> None:
        with self.lock:
            if container.run == run:
                self._die(container, code)

    def _destroy(self, container: Container) -> None:
        if container.id not in self.containers:
            return
        container.run += 1
        self.containers.pop(container.id, None)
        self._emit(container, "destroy")
        self.changed.notify_all()

    # -- what tests do to containers --

    def crash(self, container: Container, code: int = 1) -> None:
        """The main process ends by itself.  While the engine is down it learns no code and tells nobody."""
        with self.lock:
            self._must_run(container)
            if self._events_lost:
                code = 137 if self.flavour == "20.10" else 255
            self._die(container, code)

    def host_kill(self, container: Container, signal: int | str = 9) -> None:
        """A signal from outside the engine: no kill event, and the policy is free to act."""
        self.crash(container, 128 + _number(signal))

    def oom(self, container: Container, child: bool = False) -> None:
        """The kernel kills the main process, or only a child of it, for want of memory."""
        with self.changed:
            self._must_run(container)
            if child and self.flavour == "20.10":
                container.oom_pending = True
            elif child and self.podman:
                container.oom_pending = self.podman >= (5,)
            else:
                container.oom_killed = not self.podman or self.podman >= (5,)
            if not self.podman:
                self._emit(container, "oom")
            if not child:
                self._die(container, 137)
            self.changed.notify_all()

    def stop_by_operator(self, container: Container, timeout: float | None = None) -> None:
        """docker stop."""
        self._stop(container, timeout)

    def kill(self, container: Container, signal: int | str = "KILL", code: int | None = None) -> None:
        """docker kill.  The process dies of KILL, obeys its stop signal and TERM, and survives the rest.

        With a code it ends with that code on any signal.
        """
        self._kill(container, _number(signal), code)

    def restart_by_operator(self, container: Container, timeout: float | None = None) -> None:
        """docker restart."""
        self._restart(container, timeout)

    def start_by_operator(self, container: Container) -> StartError | None:
        """docker start."""
        with self.lock:
            if container.running or container.status == "restarting":
                return None
            container.restart_count, container.backoff = 0, 0.0
        return self._launch(container)

    def remove(self, container: Container, force: bool = True) -> None:
        """docker rm [-f]."""
        with self.lock:
            if container.running:
                if not force:
                    raise RuntimeError("the container runs")
                if self.podman:
                    self._note_user(container)
                else:
                    self._emit_kill(container, 9)
                self._die(container, 137, keep=True)
            self._destroy(container)

    def replacement(self, container: Container, **changes: Any) -> Container:
        """What docker compose up makes first after a change: the container that is to take this one's place."""
        prefix = "com.docker.compose."
        service, number = (container.labels.get(prefix + key, "1") for key in ("service", "container-number"))
        with self.changed:
            policy = f"{container.policy}:{container.max_retry}"
            new = self._make(f"{container.id[:12]}_{container.name}", dict(container.labels), policy)
            for key in ("image", "tty", "stop_signal", "stop_timeout", "network_mode", "healthcheck",
                        "log_driver", "memory", "term_code", "auto_remove"):
                setattr(new, key, changes.get(key, getattr(container, key)))
            new.labels[prefix + "replace"] = f"{service}-{number}"
            self._emit(new, "create")
        return new

    def recreate(self, container: Container, start: bool = True, timeout: float | None = None,
                 **changes: Any) -> Container:
        """docker compose up after a change: the replacement is created before the old one is stopped."""
        new, name = self.replacement(container, **changes), container.name
        before = new.name
        self._stop(container, timeout)
        with self.changed:
            self._destroy(container)
            new.name = name
            self._emit(new, "rename", oldName=f"/{before}")
        if start:
            self._launch(new)
        return new

    def rename(self, container: Container, name: str) -> None:
        with self.lock:
            old, container.name = container.name, name
            self._emit(container, "rename", oldName="/" + old)

    def update_policy(self, container: Container, policy: str) -> None:
        """docker update --restart."""
        with self.lock:
            container.policy, _, retries = policy.partition(":")
            container.max_retry = int(retries or 0)
            self._emit(container, "update")

    def pause(self, container: Container) -> None:
        with self.changed:
            self._must_run(container)
            container.status = "paused"
            if container.health is not None:
                container.health.update(Status="unhealthy", FailingStreak=0)
            self._emit(container, "pause")
            self.changed.notify_all()

    def unpause(self, container: Container) -> None:
        """Running again; the health stays wrong until the next probe."""
        with self.changed:
            container.status = "running"
            self._emit(container, "unpause")
            self.changed.notify_all()

    def health(self, container: Container, status: str, output: str = "",
               exit_code: int | None = None) -> None:
        """One probe with this outcome; an event only if the status changes."""
        with self.changed:
            health = container.health
            if health is None:
                health = container.health = {"Status": "starting", "FailingStreak": 0, "Log": []}
            bad = status == "unhealthy"
            code = int(bad) if exit_code is None else exit_code
            end = self.next_nano()
            entry = {"Start": rfc3339(end - 50_000_000), "End": rfc3339(end), "ExitCode": code,
                     "Output": output}
            health["Log"] = (health["Log"] + [entry])[-5:]
            health["FailingStreak"] = max(2, int(health["FailingStreak"]) + 1) if bad else 0
            before, health["Status"] = health["Status"], status
            execution = fake_id("exec", end)
            self._emit(container, "exec_create: /bin/sh -c test -f /ok", execID=execution)
            self._emit(container, "exec_start: /bin/sh -c test -f /ok", execID=execution)
            self._emit(container, "exec_die", execID=execution, exitCode=str(code))
            if status != before or self.podman:
                self._emit(container, f"health_status: {status}")
            self.changed.notify_all()

    def set_logs(self, container: Container, lines: Sequence[str | tuple[int, str] | LogLine]) -> None:
        """The whole log: text (stdout), (stream, text) or LogLine; a newline is added where none is."""
        with self.lock:
            container.logs = []
        self.log(container, *lines)

    def log(self, container: Container, *lines: str | tuple[int, str] | LogLine) -> None:
        """More lines at the end of the log."""
        with self.lock:
            for line in lines:
                if isinstance(line, str):
                    line = (1, line)
                if not isinstance(line, LogLine):
                    line = LogLine(self.next_nano(), line[0], line[1])
                text = line.text if line.text.endswith("\n") else line.text + "\n"
                container.logs.append(line._replace(text=text))

    def daemon_shutdown(self, remove_socket: bool = True) -> None:
        """SIGTERM to the engine: it stops every container, then the streams end."""
        with self.lock:
            self._shutting_down = True
            live = [item for item in self.containers.values() if item.running]
            for container in live:
                container.up_at_shutdown = True
                self._emit_kill(container, _stop_number(container))
            for container in live:
                self._die(container, 137 if container.term_code is None else container.term_code,
                          stopped=True)
        # The real engine stays up for some seconds more: all of this reaches the clients.
        self.cut_streams()
        self.wait_streams(0, 1.0)
        self.go_down(remove_socket)

    def come_up(self, keep_history: bool = False, *, kill_leftovers: bool = False) -> None:
        """Listen again, and start what the policies say: always, and unless-stopped after a clean end.

        Podman's API service starts nothing, since nothing has ended with it.

        kill_leftovers is an engine without live-restore that was killed: it first ends what still runs.
        """
        if self.podman:
            return super().come_up()
        with self.lock:
            if not keep_history:
                self.ring.clear()
            self._events_lost = False
            clean, self._shutting_down = self._shutting_down, kill_leftovers
            for container in list(self.containers.values()) if kill_leftovers else []:
                if container.running:
                    self._emit_kill(container, _stop_number(container))
                    self._die(container, 137 if container.term_code is None else container.term_code,
                              stopped=True)
            self._shutting_down = False
            due = [item for item in self.containers.values() if self._comes_back(item, clean)]
        for container in due:
            self._launch(container)
        super().come_up(keep_history=True)

    def _comes_back(self, container: Container, clean: bool) -> bool:
        was_up, container.up_at_shutdown = container.up_at_shutdown, False
        if container.running or not container.started:
            return False
        return container.policy == "always" or (clean and was_up and container.policy == "unless-stopped")

    def _must_run(self, container: Container) -> None:
        if not container.running:
            raise RuntimeError(f"{container.name} is {container.status}, not running")

    # -- calls over HTTP --

    def act(self, verb: str, ref: str, query: Mapping[str, str]) -> Reply:
        container = self.find(ref)
        if container is None:
            prefix = self._kill_prefix(ref) if verb == "kill" else ""
            return self.no_such(ref) if not prefix else self.error(404, f"{prefix}No such container: {ref}")
        try:
            timeout = int(query["t"]) if query.get("t") else None
        except ValueError:
            return self.error(500, f'strconv.Atoi: parsing "{query["t"]}": invalid syntax')
        handlers: dict[str, Callable[[], Reply]] = {
            "start": lambda: self._post_start(container),
            "stop": lambda: self._post_stop(container, timeout, query),
            "restart": lambda: self._post_restart(container, ref, timeout),
            "kill": lambda: self._post_kill(container, ref, query),
            "pause": lambda: self._post_pause(container, True),
            "unpause": lambda: self._post_pause(container, False),
            "remove": lambda: self._delete(container, ref, query)}
        return handlers[verb]()

    def _post_start(self, container: Container) -> Reply:
        with self.lock:
            status = container.status
        if status in ("running", "restarting"):
            return Reply(304)
        if status == "paused":
            return self.error(409, "cannot start a paused container, try unpause instead")
        if status in ("removing", "dead"):
            return self.error(409, "container is marked for removal and cannot be started")
        error = self.start_by_operator(container)
        return Reply(204) if error is None else self.error(error.status, error.message)

    def _post_stop(self, container: Container, timeout: float | None, query: Mapping[str, str]) -> Reply:
        if not container.running and container.status != "restarting":
            return Reply(304)
        number = signal_number(query["signal"]) if query.get("signal") else None
        self._stop(container, timeout, number)
        return Reply(204)

    def _post_restart(self, container: Container, ref: str, timeout: float | None) -> Reply:
        if container.status in ("removing", "dead"):
            text = "container is marked for removal and cannot be started"
            return self.error(500, f"Cannot restart container {ref}: {text}")
        error = self._restart(container, timeout)
        if error is not None:
            return self.error(500, f"Cannot restart container {ref}: {error.message}")
        return Reply(204)

    def _post_kill(self, container: Container, ref: str, query: Mapping[str, str]) -> Reply:
        number = signal_number(query.get("signal") or "KILL")
        prefix = self._kill_prefix(ref)
        if number is None:
            text = f"Invalid signal: {query['signal']}"
            return self.error(400, text if self.flavour == "20.10" else prefix + text.lower())
        if not container.running and container.status != "restarting":
            if self.podman:
                return self.error(500, f"can only kill running containers. {container.id} is in state exited")
            return self.error(409, f"{prefix}container {container.id} is not running")
        self._kill(container, number, None)
        return Reply(204)

    def _kill_prefix(self, ref: str) -> str:
        return f"{'Cannot' if self.flavour == '20.10' else 'cannot'} kill container: {ref}: "

    def _post_pause(self, container: Container, on: bool) -> Reply:
        if on and container.status == "paused":
            return self.error(409, f"Container {container.id} is already paused")
        if on and container.status != "running":
            return self.error(409, f"Container {container.id} is not running")
        if not on and container.status != "paused":
            return self.error(500, f"Container {container.id} is not paused")
        (self.pause if on else self.unpause)(container)
        return Reply(204)

    def _delete(self, container: Container, ref: str, query: Mapping[str, str]) -> Reply:
        if container.running and not _true(query.get("force")):
            return self.error(409, f'cannot remove container "{ref}": container is running: '
                                   "stop the container before removing or force remove")
        self.remove(container, force=True)
        return Reply(204)

    # -- the engine's own stop, kill and restart --

    def _stop(self, container: Container, timeout: float | None, number: int | None = None,
              keep: bool = False) -> None:
        with self.changed:
            if container.status == "restarting":
                self._leave_backoff(container)
                if not self.podman:
                    self._emit(container, "stop")
                return
            if not container.running:
                return
            run = container.run
            if self.podman:
                self._note_user(container)
            else:
                self._emit_kill(container, number or _stop_number(container))
            if container.status == "paused":
                self.unpause(container)
            if container.term_code is not None:
                return self._die(container, container.term_code, stopped=True, keep=keep)
            grace = container.stop_timeout if timeout is None else timeout
            self.changed.wait_for(lambda: container.run != run, None if grace is not None and grace < 0
                                  else 10 if grace is None else grace)
            if container.run == run:
                if not self.podman:
                    self._emit_kill(container, 9)
                self._die(container, 137, stopped=True, keep=keep)
        return None

    def _leave_backoff(self, container: Container) -> None:
        container.run += 1
        container.status = "exited"
        container.manually_stopped = True
        self.changed.notify_all()

    def _kill(self, container: Container, number: int, code: int | None) -> None:
        with self.changed:
            if container.status == "restarting":
                # Docker accepts it, ends the backoff and says nothing.
                return self._leave_backoff(container)
            self._must_run(container)
            self._emit_kill(container, number)
            if code is None and number == 9:
                code = 137
            elif code is None and number in (15, _stop_number(container)) and container.status == "running":
                code = container.term_code
            if code is not None:
                self._die(container, code)
        return None

    def _restart(self, container: Container, timeout: float | None) -> StartError | None:
        with self.lock:
            if self.podman:
                self._emit(container, "restart")  # before all else, where Docker says it at the end
            if container.status == "restarting":
                self._leave_backoff(container)
        self._stop(container, timeout, keep=True)
        with self.lock:
            container.restart_count, container.backoff = 0, 0.0
            if container.running:
                # A second restart at the same time has started it already.
                if not self.podman:
                    self._emit(container, "restart")
                return None
        error = self._launch(container)
        if error is None and not self.podman:
            with self.lock:
                self._emit(container, "restart")
        return error


def _number(value: int | str) -> int:
    number = signal_number(value)
    if number is None:
        raise ValueError(f"no such signal: {value}")
    return number


def _stop_number(container: Container) -> int:
    return signal_number(container.stop_signal or "TERM") or 15
