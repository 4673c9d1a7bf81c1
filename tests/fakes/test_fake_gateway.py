"""The fake gateway itself: what it refuses, what users do there, and real clients of others that get along with it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import importlib
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from support.fake_discord import FakeDiscord, Message, schema_errors
from support.fake_gateway import ANN, FakeGateway, Interaction, Member

AGENT = "DiscordBot (https://example.org, 1.0)"
TOKEN = "bot-token"
LIKE_REAL = f"{base64.b64encode(b'1000000000000000002').decode().rstrip('=')}.GabcdE.{'x' * 38}"
QUERY = "?v=10&encoding=json"
KEY = base64.b64encode(b"sixteen bytes...").decode()
WHO = {"os": "linux", "browser": "test", "device": "test"}
ONLINE: dict[str, Any] = {"since": None, "status": "online", "afk": False, "activities": [{"name": "43 up", "type": 3}]}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def masked(opcode: int, data: bytes, first: int | None = None, mask: bytes | None = None) -> bytes:
    """A frame as a client must send it."""
    mask = os.urandom(4) if mask is None else mask
    size = len(data)
    length = bytes([128 | min(size, 125)])
    if size > 125:
        length = b"\xfe" + size.to_bytes(2, "big") if size < 65536 else b"\xff" + size.to_bytes(8, "big")
    head = bytes([128 | opcode if first is None else first])
    return head + length + mask + bytes(byte ^ mask[at & 3] for at, byte in enumerate(data))


class Tiny:
    """A WebSocket client of few lines, that also does what it should not."""

    def __init__(self, gateway: FakeGateway, path: str = "/" + QUERY, **heads: str | None) -> None:
        self.sock = socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), 5)
        self.buffer = b""
        self.pings: list[bytes] = []
        asked: dict[str, str | None] = {"Host": "x", "Upgrade": "websocket", "Connection": "Upgrade",
                                        "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY}
        asked |= {name.replace("_", "-"): value for name, value in heads.items()}
        lines = [f"{name}: {value}" for name, value in asked.items() if value is not None]
        self.sock.sendall("\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode())
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.sock.recv(4096) or b"\r\n\r\n"
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])
        self.head = head.decode()

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError
            self.buffer += more
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def frame(self) -> tuple[int, bytes, bool]:
        first, size = self.exactly(2)
        assert size < 128, "a server's frames are not masked"
        if size > 125:
            size = int.from_bytes(self.exactly(2 if size == 126 else 8), "big")
        return first & 15, self.exactly(size), bool(first & 128)

    def get(self) -> Any:
        """The next payload; the code where it is a close."""
        text = b""
        while True:
            opcode, data, final = self.frame()
            if opcode == 8:
                return int.from_bytes(data[:2], "big")
            if opcode == 9:
                self.pings.append(data)
                self.sock.sendall(masked(10, data))
                continue
            if opcode == 10:
                return data
            text += data
            if final:
                return json.loads(text)

    def until(self, op: int, event: str | None = None) -> Any:
        while True:
            got = self.get()
            if not isinstance(got, dict) or (got["op"] == op and event in (None, got["t"])):
                return got

    def put(self, op: int, d: Any = None) -> None:
        self.sock.sendall(masked(1, json.dumps({"op": op, "d": d}).encode()))

    def identify(self, token: str = TOKEN, **more: Any) -> Any:
        self.put(2, {"token": token, "intents": 0, "properties": WHO, **more})
        return self.until(0)

    def resume(self, session: str, seq: int, token: str = TOKEN) -> None:
        self.put(6, {"token": token, "session_id": session, "seq": seq})

    def shut(self, code: int = 1000) -> None:
        with contextlib.suppress(OSError, EOFError):
            self.sock.sendall(masked(8, struct.pack(">H", code)))
            while self.get() != code:
                pass
        self.sock.close()


class World:
    """A fake on a clock that stands still, a bot, and its clients."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.fake = FakeDiscord(clock=self.clock, wall=lambda: 1.8e9 + self.clock.now).start()
        self.fake.limits = {key: None if key != "nonce" else rule for key, rule in self.fake.limits.items()}
        self.channel = self.fake.add_channel()
        self.bot = self.fake.add_bot(TOKEN)
        self.gateway = self.fake.gateway
        self.clients: list[Tiny] = []

    def close(self) -> None:
        for client in self.clients:
            client.sock.close()
        self.fake.stop()

    def client(self, path: str = "/" + QUERY, **heads: str | None) -> Tiny:
        made = Tiny(self.gateway, path, **heads)
        self.clients.append(made)
        return made

    def ready(self) -> tuple[Tiny, Any]:
        """A client that has identified, and its READY."""
        made = self.client()
        assert made.get()["op"] == 10
        got = made.identify()
        assert got["t"] == "READY"
        return made, got["d"]

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json",
             bot: bool = True) -> tuple[int, Any]:
        line = http.client.HTTPConnection(self.fake.url.removeprefix("http://"), timeout=5)
        heads = {"User-Agent": AGENT} | ({"Content-Type": kind} if body is not None else {})
        heads |= {"Authorization": f"Bot {TOKEN}"} if bot else {}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            line.request(method, "/api/v10" + path, data, heads)
            answer = line.getresponse()
            raw = answer.read()
            return answer.status, json.loads(raw) if raw else None
        finally:
            line.close()

    def answer(self, asked: Interaction, kind: int, data: Any = None, query: str = "") -> tuple[int, Any]:
        body = {"type": kind} if data is None else {"type": kind, "data": data}
        return self.call("POST", f"/interactions/{asked.id}/{asked.token}/callback{query}", body, bot=False)

    def hook(self, method: str, asked: Interaction, rest: str = "", body: Any = None, **more: Any) -> tuple[int, Any]:
        return self.call(method, f"/webhooks/{self.bot.application_id}/{asked.token}{rest}", body, bot=False, **more)

    def original(self, method: str, asked: Interaction, body: Any = None, **more: Any) -> tuple[int, Any]:
        return self.hook(method, asked, "/messages/@original", body, **more)

    def register(self, *commands: dict[str, Any]) -> tuple[int, Any]:
        path = f"/applications/{self.bot.application_id}/guilds/{self.fake.guild}/commands"
        return self.call("PUT", path, list(commands))

    def red(self, **more: Any) -> Message:
        """A message of the bot's with two buttons."""
        body = {"content": "web is down", "components": [row(button("go", "Restart now"), button("log", "Logs"))]} | more
        status, made = self.call("POST", f"/channels/{self.channel.id}/messages", body)
        assert status == 200, made
        return self.fake.messages[-1]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def codes(tree: Any, at: str = "") -> set[tuple[str, str]]:
    found = {(at, item["code"]) for item in tree.get("_errors", [])}
    for key, node in tree.items():
        if key != "_errors":
            found |= codes(node, f"{at}.{key}".strip("."))
    return found


def row(*buttons: Any, **more: Any) -> dict[str, Any]:
    return {"type": 1, "components": list(buttons), **more}


def button(name: str, label: str = "L", style: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": 2, "style": style, "label": label, "custom_id": name, **more}


def command(name: str = "status", *options: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": "d"} | ({"options": list(options)} if options else {}) | more


def option(name: str = "name", kind: int = 3, **more: Any) -> dict[str, Any]:
    return {"type": kind, "name": name, "description": "d", **more}


# ---- the handshake


BAD_HANDSHAKES: list[tuple[str, dict[str, str | None], int]] = [
    ("/" + QUERY, {"Upgrade": "h2c"}, 400),
    ("/" + QUERY, {"Upgrade": None}, 400),
    ("/" + QUERY, {"Connection": "keep-alive"}, 400),
    ("/" + QUERY, {"Sec_WebSocket_Version": "8"}, 426),
    ("/" + QUERY, {"Sec_WebSocket_Key": base64.b64encode(b"short").decode()}, 400),
    ("/" + QUERY, {"Sec_WebSocket_Key": "?" * 24}, 400),
    ("/" + QUERY, {"Host": None}, 400),
    ("/" + QUERY, {"Authorization": f"Bot {TOKEN}"}, 400),
    ("/elsewhere" + QUERY, {}, 400),
    ("/?encoding=json", {}, 400),
    ("/?v=10&encoding=etf", {}, 400),
    ("/?v=10&encoding=json&compress=zlib-stream", {}, 400),
]


@pytest.mark.parametrize(("path", "heads", "status"), BAD_HANDSHAKES)
def test_bad_handshakes(world: World, path: str, heads: dict[str, str | None], status: int) -> None:
    assert world.client(path, **heads).status == status
    assert len(world.gateway.violations) == 1 and world.gateway.violations[0].startswith("handshake: ")


def test_a_good_handshake(world: World) -> None:
    for path in (QUERY, "/" + QUERY, "/resume" + QUERY, "/resume/" + QUERY):
        client = world.client(path if path[0] == "/" else "/" + path, Connection="keep-alive, Upgrade")
        assert client.status == 101 and "Sec-WebSocket-Accept: " in client.head
        assert client.get() == {"t": None, "s": None, "op": 10, "d": {"heartbeat_interval": 41250, "_trace": []}}
    assert world.gateway.violations == []


# ---- frames and payloads that end a connection

WELL = json.dumps({"op": 1, "d": None}).encode()
BAD_FRAMES: list[tuple[str, bytes, int]] = [
    ("unmasked", b"\x81\x02{}", 1002),
    ("reserved bit", masked(1, WELL, 0xC1), 1002),
    ("reserved opcode", masked(3, WELL), 1002),
    ("stray continuation", masked(0, WELL), 1002),
    ("text within a message", masked(1, b"{", 0x01) + masked(1, WELL), 1002),
    ("ping in fragments", masked(9, b"x", 0x09), 1002),
    ("ping too long", masked(9, b"x" * 126), 1002),
    ("length not shortest", b"\x81\xfe\x00\x02" + b"mask" + b"{}", 1002),
    ("text not UTF-8", masked(1, b"\xff\xfe"), 1007),
    ("4097 bytes", masked(1, b'"' + b"x" * 4095 + b'"'), 4002),
    ("100,000 bytes", masked(1, b"x" * 100_000), 4002),
    ("4,100 bytes in two", masked(1, b"x" * 2050, 0x01) + masked(0, b"x" * 2050), 4002),
    ("no JSON", masked(1, b"{nonsense"), 4002),
    ("a list", masked(1, b"[]"), 4002),
    ("without op", masked(1, b'{"d":null}'), 4002),
    ("op as text", masked(1, b'{"op":"1"}'), 4002),
    ("op true", masked(1, b'{"op":true}'), 4002),
    ("close with 1005", masked(8, struct.pack(">H", 1005)), 1002),
    ("close with one byte", masked(8, b"x"), 1002),
    ("close with bad text", masked(8, struct.pack(">H", 1000) + b"\xff"), 1007),
]


@pytest.mark.parametrize(("data", "code"), [item[1:] for item in BAD_FRAMES], ids=[item[0] for item in BAD_FRAMES])
def test_bad_frames(world: World, data: bytes, code: int) -> None:
    client = world.client()
    client.get()
    client.sock.sendall(data)
    assert client.get() == code
    assert len(world.gateway.violations) == 1
    client.sock.close()
    world.gateway.wait_for(lambda gateway: gateway.closes)
    assert (world.gateway.closes[0].by, world.gateway.closes[0].code) == ("gateway", code)


def heartbeat(d: Any) -> dict[str, Any]:
    return {"op": 1, "d": d}


def identify(**more: Any) -> dict[str, Any]:
    return {"op": 2, "d": {"token": TOKEN, "intents": 0, "properties": WHO} | more}


BAD_PAYLOADS: list[tuple[str, dict[str, Any], int]] = [
    ("unknown op", {"op": 5}, 4001),
    ("a server's op", {"op": 11}, 4001),
    ("presence first", {"op": 3, "d": ONLINE}, 4003),
    ("wrong token", identify(token="wrong"), 4004),
    ("token with Bot", identify(token=f"Bot {TOKEN}"), 4004),
    ("no token", identify(token=None), 4002),
    ("no properties", identify(properties=None), 4002),
    ("old properties", identify(properties={"$os": "linux"}), 4002),
    ("d a list", {"op": 2, "d": []}, 4002),
    ("intents missing", identify(intents=None), 4013),
    ("intents negative", identify(intents=-1), 4013),
    ("intents unknown", identify(intents=1 << 30), 4013),
    ("intents as text", identify(intents="0"), 4013),
    ("intents privileged", identify(intents=1 << 15), 4014),
    ("shard", identify(shard=[1, 1]), 4010),
    ("threshold", identify(large_threshold=5), 4002),
    ("presence of no status", identify(presence=ONLINE | {"status": "green"}), 4002),
    ("resume of nothing", {"op": 6, "d": None}, 4002),
    ("resume with a wrong token", {"op": 6, "d": {"token": "no", "session_id": "x", "seq": 1}}, 4004),
    ("resume without seq", {"op": 6, "d": {"token": TOKEN, "session_id": "x", "seq": None}}, 4002),
    ("beat of text", heartbeat("1"), 4002),
]


@pytest.mark.parametrize(("payload", "code"), [item[1:] for item in BAD_PAYLOADS], ids=[item[0] for item in BAD_PAYLOADS])
def test_bad_payloads(world: World, payload: dict[str, Any], code: int) -> None:
    client = world.client()
    client.get()
    client.put(**payload) if "d" in payload else client.put(payload["op"])
    assert client.get() == code and len(world.gateway.violations) == 1
    assert world.gateway.received[-1].payload["op"] == payload["op"]


def test_a_second_identify_and_a_wrong_version(world: World) -> None:
    client, _ = world.ready()
    client.put(**identify())
    assert client.get() == 4005
    other = world.client("/?v=9&encoding=json")
    assert other.get() == 4012


def test_too_many_payloads(world: World) -> None:
    client, _ = world.ready()
    world.gateway.interval = 0
    for _ in range(119):
        client.put(8, {})
    client.put(1, None)
    assert client.until(11) == 4008
    assert world.gateway.violations == ["more than 120 payloads in 60 s"]


def test_too_many_presences(world: World) -> None:
    client, _ = world.ready()
    for _ in range(5):
        client.put(3, ONLINE)
    world.gateway.wait_for(lambda gateway: len(gateway.presences(world.bot)) == 5)
    world.clock.now += 20
    client.put(3, ONLINE | {"status": "dnd"})
    for _ in range(5):
        client.put(3, ONLINE)
    assert client.get() == 4008
    assert world.gateway.presences(world.bot)[5]["status"] == "dnd"


@pytest.mark.parametrize("broken", [
    {"status": "green"}, {"afk": None}, {"activities": None}, {"activities": [{"name": "x" * 129, "type": 3}]},
    {"activities": [{"name": "x"}]}, {"since": "now"},
])
def test_bad_presences(world: World, broken: dict[str, Any]) -> None:
    client, _ = world.ready()
    client.put(3, ONLINE)
    client.put(3, ONLINE | broken)
    assert client.get() == 4002 and world.gateway.presence(world.bot) == ONLINE


def test_no_identify(world: World) -> None:
    client = world.client()
    client.get()
    world.clock.now += 31
    assert client.get() == 4003 and "no IDENTIFY" in world.gateway.violations[0]


def test_no_heartbeat(world: World) -> None:
    client, _ = world.ready()
    world.clock.now += 41.25
    client.put(1, 1)
    assert client.get()["op"] == 11
    world.clock.now += 61.8
    time.sleep(0.2)
    assert world.gateway.violations == []
    world.clock.now += 1
    assert client.get() == 4009 and world.gateway.sessions[0].ended


def test_heartbeats(world: World) -> None:
    client, _ = world.ready()
    client.put(1, 77)
    assert client.get()["op"] == 11
    world.gateway.ask_heartbeat()
    assert client.get() == {"t": None, "s": None, "op": 1, "d": None}
    client.put(1, 1)
    client.until(11)
    client.put(1, 1)
    client.until(11)
    assert world.gateway.violations == [
        "heartbeat with a sequence that was never sent", "heartbeats twice as often as asked for"]
    world.gateway.mute_acks = True
    world.clock.now += 41
    client.put(1, 1)
    world.gateway.ping(b"x")
    world.gateway.reconnect()
    assert client.get()["op"] == 7 and client.pings == [b"x"]


def test_masks_and_pongs(world: World) -> None:
    client = world.client()
    client.get()
    for _ in range(2):
        client.sock.sendall(masked(9, b"hi", mask=b"same"))
        assert client.get() == b"hi"
    world.gateway.ping(b"one")
    assert client.frame()[:2] == (9, b"one")
    client.sock.sendall(masked(10, b"two"))
    world.gateway.wait_for(lambda gateway: gateway.pongs)
    assert world.gateway.violations == ["mask used twice", "pong with other content than the ping"]


# ---- sessions


def test_ready(world: World) -> None:
    client, ready = world.ready()
    assert ready["user"]["id"] == world.bot.id and ready["application"] == {"id": world.bot.application_id, "flags": 0}
    assert ready["resume_gateway_url"] == world.gateway.url + "/resume"
    assert ready["guilds"] == [{"id": world.fake.guild, "unavailable": True}]
    world.gateway.wait_ready(world.bot)
    assert world.gateway.connected(world.bot) == 1
    client.shut(1000)
    world.gateway.wait_for(lambda gateway: gateway.closes)
    assert world.gateway.closes[0][1:3] == ("client", 1000) and world.gateway.connected(world.bot) == 0
    world.clock.now += 6
    other = world.client()
    other.get()
    assert other.identify(intents=1, presence=ONLINE)["s"] == 1
    guild = other.get()
    assert (guild["t"], guild["s"], guild["d"]["id"]) == ("GUILD_CREATE", 2, world.fake.guild)
    assert world.gateway.presence(world.bot) == ONLINE and world.gateway.violations == []


def test_two_identifies_within_five_seconds(world: World) -> None:
    first, _ = world.ready()
    second = world.client()
    second.get()
    second.put(**identify())
    assert second.get() == {"t": None, "s": None, "op": 9, "d": False}
    assert world.gateway.violations == [], "another client with this token is no fault of this one"
    world.clock.now += 5
    assert second.identify()["t"] == "READY"
    world.gateway.wait_ready(world.bot, count=2)
    second.shut(4000)
    world.gateway.wait_for(lambda gateway: gateway.closes)
    third = world.client()
    third.get()
    third.put(**identify())
    assert third.get()["op"] == 9
    assert world.gateway.violations == ["IDENTIFY again within 5 s"] and len(world.gateway.identifies) == 4
    first.shut()


def test_starts_of_a_day(world: World) -> None:
    world.gateway.starts_used = 999
    status, shown = world.call("GET", "/gateway/bot")
    assert (status, shown["url"], shown["shards"]) == (200, world.gateway.url, 1)
    assert shown["session_start_limit"] == {"total": 1000, "remaining": 1, "reset_after": 86_400_000, "max_concurrency": 1}
    world.ready()
    assert world.call("GET", "/gateway/bot")[1]["session_start_limit"]["remaining"] == 0
    assert world.call("GET", "/gateway/bot", bot=False)[0] == 401
    world.clock.now += 10
    client = world.client()
    client.get()
    assert client.identify() == 4004


def test_resume(world: World) -> None:
    client, ready = world.ready()
    world.gateway.flood(2)
    assert [client.get()["s"] for _ in range(2)] == [2, 3]
    client.shut(4000)
    world.gateway.wait_for(lambda gateway: gateway.closes)
    world.gateway.tell(world.bot, "INTERACTION_CREATE", {"missed": 1})
    back = world.client("/resume" + QUERY)
    back.get()
    back.resume(ready["session_id"], 2)
    assert [(item["s"], item["t"]) for item in (back.get(), back.get(), back.get())] == [
        (3, "NONSENSE_EVENT"), (4, "INTERACTION_CREATE"), (5, "RESUMED")]
    assert world.gateway.connected(world.bot) == 1 and world.gateway.violations == []
    assert len(world.gateway.resumes) == 1 and len(world.gateway.identifies) == 1


@pytest.mark.parametrize("how", ["unknown", "expired", "closed with 1000", "invalidated", "of another's"])
def test_a_session_that_cannot_be_resumed(world: World, how: str) -> None:
    client, ready = world.ready()
    world.fake.add_bot("other")
    if how == "invalidated":
        world.gateway.invalidate()
        assert client.get() == {"t": None, "s": None, "op": 9, "d": False}
    client.shut(1000 if how == "closed with 1000" else 4000)
    world.gateway.wait_for(lambda gateway: gateway.closes)
    world.clock.now += 181 if how == "expired" else 1
    back = world.client("/resume" + QUERY)
    back.get()
    back.resume("x" if how == "unknown" else ready["session_id"], 1, "other" if how == "of another's" else TOKEN)
    assert back.get() == {"t": None, "s": None, "op": 9, "d": False}


def test_resume_that_is_wrong(world: World) -> None:
    client, ready = world.ready()
    client.resume(ready["session_id"], 1)
    assert client.get() == 4005
    back = world.client()
    back.get()
    back.resume(ready["session_id"], 9)
    assert back.get() == 4007
    assert "RESUME elsewhere than at resume_gateway_url" in world.gateway.violations


def test_resume_on_the_same_connection_and_a_second_one(world: World) -> None:
    client, ready = world.ready()
    world.gateway.invalidate(resumable=True)
    assert client.get()["d"] is True and world.gateway.connected(world.bot) == 0
    client.resume(ready["session_id"], 1)
    assert client.get()["t"] == "RESUMED"
    other = world.client("/resume" + QUERY)
    other.get()
    other.resume(ready["session_id"], 2)
    assert other.get()["t"] == "RESUMED" and client.get() == 4000
    assert world.gateway.connected(world.bot) == 1


# ---- switches


def test_closes_and_resets(world: World) -> None:
    client, _ = world.ready()
    world.gateway.close_all(4009, "over")
    assert client.get() == 4009 and world.gateway.sessions[0].ended
    client.shut()
    world.clock.now += 6
    client, _ = world.ready()
    world.gateway.close_all(None)
    with pytest.raises(ConnectionResetError):
        client.get()
    world.gateway.wait_for(lambda gateway: len(gateway.closes) == 2)
    assert world.gateway.closes[1][1:3] == ("reset", None) and not world.gateway.sessions[1].ended


def test_refusals(world: World) -> None:
    client, _ = world.ready()
    world.gateway.refuse()
    with pytest.raises((EOFError, ConnectionError)):
        client.get()
    with pytest.raises(ConnectionRefusedError):
        world.client()
    world.gateway.accept()
    world.gateway.refuse(status=503)
    assert world.client().status == 503 and len(world.gateway.refused_handshakes) == 1
    world.gateway.accept()
    assert world.client().status == 101 and world.gateway.violations == []


def test_odd_manners_of_the_gateway(world: World) -> None:
    world.gateway.fragment = True
    client, _ = world.ready()
    assert client.pings == [b"between", b"between"]
    world.gateway.fragment = False
    world.gateway.send_raw(b"\x83\x00")
    assert client.frame()[0] == 3
    world.gateway.send_all(99, {"x": 1})
    assert client.get() == {"t": None, "s": None, "op": 99, "d": {"x": 1}}
    world.gateway.wait_for(lambda gateway: len(gateway.pongs) == 2)
    world.gateway.hello = world.gateway.ready = False
    world.clock.now += 6
    other = world.client()
    other.put(**identify())
    world.gateway.wait_for(lambda gateway: len(gateway.sessions) == 2)
    world.gateway.reconnect()
    assert other.get()["op"] == 7, "neither HELLO nor READY came before"
    assert world.gateway.connected(world.bot) == 1 and world.gateway.violations == ["payload before HELLO"]


def test_a_client_that_does_not_read_holds_up_nobody(world: World) -> None:
    world.ready()
    began = time.monotonic()
    world.gateway.flood(20_000)
    assert time.monotonic() - began < 5 and world.gateway.connected(world.bot) == 1


# ---- commands

BAD_COMMANDS: list[tuple[Any, str, str]] = [
    (command("Status"), "0.name", "APPLICATION_COMMAND_INVALID_NAME"),
    (command("sta tus"), "0.name", "APPLICATION_COMMAND_INVALID_NAME"),
    (command("x" * 33), "0.name", "BASE_TYPE_BAD_LENGTH"),
    (command(description=""), "0.description", "BASE_TYPE_BAD_LENGTH"),
    (command(description="x" * 101), "0.description", "BASE_TYPE_BAD_LENGTH"),
    ({"name": "x"}, "0.description", "BASE_TYPE_REQUIRED"),
    (command("x", *[option(f"o{n}") for n in range(26)]), "0.options", "BASE_TYPE_MAX_LENGTH"),
    (command("x", option("a"), option("b", required=True)), "0.options.1", "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID"),
    (command("x", option("a"), option("a")), "0.options.1", "APPLICATION_COMMAND_OPTIONS_NAME_DUPLICATE"),
    (command("x", option("A")), "0.options.0.name", "APPLICATION_COMMAND_INVALID_NAME"),
    (command("x", option(kind=12)), "0.options.0.type", "BASE_TYPE_CHOICES"),
    (command("x", option(autocomplete=True, choices=[{"name": "a", "value": "a"}])), "0.options.0.autocomplete",
     "APPLICATION_COMMAND_OPTION_AUTOCOMPLETE_CHOICES"),
    (command("x", option(kind=5, autocomplete=True)), "0.options.0.autocomplete", "APPLICATION_COMMAND_OPTION_KEY_INVALID"),
    (command("x", option(min_value=1)), "0.options.0.min_value", "APPLICATION_COMMAND_OPTION_KEY_INVALID"),
    (command("x", option(kind=4, min_value=9, max_value=1)), "0.options.0.min_value", "NUMBER_TYPE_MAX"),
    (command("x", option(choices=[{"name": "a", "value": 1}])), "0.options.0.choices.0.value", "STRING_TYPE_CONVERT"),
    (command("x", option(choices=[{"name": "a", "value": "a"}] * 26)), "0.options.0.choices", "BASE_TYPE_MAX_LENGTH"),
    (command("x", option("a", 1, options=[option("b", 1)])), "0.options.0.options.0.type", "BASE_TYPE_CHOICES"),
    (command(default_member_permissions="all"), "0.default_member_permissions", "NUMBER_TYPE_COERCE"),
    (command(contexts=[7]), "0.contexts.0", "BASE_TYPE_CHOICES"),
    (command("x", type=3), "0.description", "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION_INVALID"),
]


@pytest.mark.parametrize(("body", "where", "code"), BAD_COMMANDS)
def test_bad_commands(world: World, body: Any, where: str, code: str) -> None:
    status, said = world.register(body)
    assert (status, said["code"], codes(said["errors"])) == (400, 50035, {(where, code)})
    assert world.bot.registered == []


def test_registering(world: World) -> None:
    fields = [option(required=True, autocomplete=True), option("lines", 4, required=False, min_value=1, max_value=200)]
    logs = command("logs", *fields, default_member_permissions="32")
    status, made = world.register(logs, command("status", contexts=None))
    assert status == 200
    first = made[0]
    assert first["options"] == [
        {"type": 3, "name": "name", "description": "d", "required": True, "autocomplete": True},
        {"type": 4, "name": "lines", "description": "d", "min_value": 1, "max_value": 200}]
    assert {key: first[key] for key in ("application_id", "guild_id", "default_member_permissions", "type", "nsfw")} == {
        "application_id": world.bot.application_id, "guild_id": world.fake.guild, "default_member_permissions": "32",
        "type": 1, "nsfw": False}
    assert "options" not in made[1] and made[1]["default_member_permissions"] is None and made[1]["contexts"] is None
    path = f"/applications/{world.bot.application_id}/guilds/{world.fake.guild}/commands"
    assert "name_localizations" not in world.call("GET", path)[1][0]
    assert world.call("GET", path + "?with_localizations=true")[1] == made
    again = world.register(command("logs", *fields), command("why"))[1]
    assert again[0]["id"] == first["id"] and again[0]["version"] != first["version"]
    assert world.fake.lint == []


def test_registering_refused(world: World) -> None:
    path = f"/applications/{world.bot.application_id}/guilds/{world.fake.guild}/commands"
    assert world.call("PUT", path, {})[1]["code"] == 50035
    assert world.call("PUT", path, b"[", )[1]["code"] == 50109
    assert world.call("GET", path.replace(world.bot.application_id, world.bot.id))[1]["code"] == 20012
    assert world.call("GET", path.replace(world.fake.guild, "5")) == (403, {"message": "Missing Access", "code": 50001})
    assert world.register(*[command(f"c{n}") for n in range(101)])[1]["code"] == 30032
    assert world.register(command(), command())[1]["code"] == 50035
    for round_ in range(2):
        assert world.register(*[command(f"c{round_}-{n}") for n in range(100)])[0] == 200
    assert world.register(command("more"))[1]["code"] == 30034
    world.bot.commands = False
    assert world.register()[1]["code"] == 50001
    assert world.call("GET", "/applications/@me")[1]["id"] == world.bot.application_id


# ---- interactions


@pytest.fixture
def asked(world: World) -> Interaction:
    """A slash command that a client heard of and has not answered."""
    world.register(command("status", option(autocomplete=True)), command("restart", default_member_permissions="32"))
    client, _ = world.ready()
    made = world.gateway.slash(world.bot, "status", {"name": "web"}, member=Member("7", "bob", ("9",), 32))
    heard = client.get()
    assert heard["t"] == "INTERACTION_CREATE" and heard["d"] == made.payload
    return made


def test_a_slash_command(world: World, asked: Interaction) -> None:
    sent = asked.payload
    assert sent["data"]["options"] == [{"type": 3, "name": "name", "value": "web"}]
    assert (sent["type"], sent["guild_id"], sent["channel_id"]) == (2, world.fake.guild, world.channel.id)
    assert sent["member"]["user"]["id"] == "7" and sent["member"]["permissions"] == "32" and sent["member"]["roles"] == ["9"]
    assert world.answer(asked, 4, {"content": "up", "flags": 64, "embeds": [{"title": "web"}]}) == (204, None)
    assert asked.wait(0)["type"] == 4 and asked.wait_text(0) == "up\nweb" and asked.ephemeral and not asked.deferred
    made = world.fake.messages[-1]
    assert (made.ephemeral, made.interaction_id, made.as_json()["flags"]) == (True, asked.id, 64)
    assert world.call("GET", f"/channels/{world.channel.id}/messages")[1] == [], "nobody else sees it"
    assert world.answer(asked, 4, {"content": "again"}) == (
        400, {"message": "Interaction has already been acknowledged.", "code": 40060})
    assert asked.refused == [40060] and [item.code for item in asked.callbacks] == [0, 40060]
    assert world.original("GET", asked)[1]["content"] == "up"
    assert world.original("PATCH", asked, {"content": "down"})[0] == 200 and asked.wait_text(0) == "down\nweb"
    assert world.original("DELETE", asked)[0] == 204 and world.original("GET", asked)[1]["code"] == 10008
    assert world.fake.lint == [] and world.gateway.violations == []


def test_what_a_user_cannot_do(world: World, asked: Interaction) -> None:
    gateway, bot = world.gateway, world.bot
    for doing in (
        lambda: gateway.slash(bot, "nothing"),
        lambda: gateway.slash(bot, "status", {"nam": "web"}),
        lambda: gateway.slash(bot, "status", {"name": 5}),
        lambda: gateway.slash(bot, "restart"),
        lambda: gateway.slash(bot, "status", guild="5"),
        lambda: gateway.autocomplete(bot, "restart", "name", "w", force=True),
        lambda: gateway.press(world.red(), "Mute"),
        lambda: gateway.press(world.red(components=[row(button("x", disabled=True))]), "x"),
    ):
        with pytest.raises(AssertionError):
            doing()
    for member in (Member("1", permissions=32), Member("1", permissions=8)):
        gateway.slash(bot, "restart", member=member)
    gateway.slash(bot, "restart", force=True)
    elsewhere = gateway.slash(bot, "status", guild="5", force=True).payload
    assert elsewhere["guild_id"] == "5" and "guild_id" not in elsewhere["data"]
    private = gateway.slash(bot, "status", member=None, user=ANN).payload
    assert private["user"]["id"] == ANN.user_id and "guild_id" not in private and "member" not in private
    assert "options" not in private["data"]


def test_every_session_hears_and_the_first_one_answers(world: World, asked: Interaction) -> None:
    world.clock.now += 6
    other, _ = world.ready()
    second = world.gateway.slash(world.bot, "status")
    heard = [next(client for client in world.clients).until(0, "INTERACTION_CREATE"), other.get()]
    assert [item["d"]["id"] for item in heard] == [second.id] * 2
    assert world.answer(second, 5)[0] == 204 and world.answer(second, 4, {"content": "mine"})[0] == 400


def test_late_and_unknown(world: World, asked: Interaction) -> None:
    world.clock.now += 3.1
    assert world.answer(asked, 4, {"content": "late"}) == (404, {"message": "Unknown interaction", "code": 10062})
    asked.token = "other"
    assert world.answer(asked, 4, {"content": "x"})[1]["code"] == 10062 and asked.answer is None
    with pytest.raises(AssertionError, match="not answered"):
        asked.wait(0.01)


BAD_ANSWERS: list[tuple[int, Any, set[tuple[str, str]] | int]] = [
    (4, None, {("data", "BASE_TYPE_REQUIRED")}),
    (4, [], {("data", "MODEL_TYPE_CONVERT")}),
    (4, {}, 50006),
    (4, {"content": "x" * 2001}, {("data.content", "BASE_TYPE_MAX_LENGTH")}),
    (4, {"content": "x", "embeds": [{"title": "t" * 257}]}, {("data.embeds.0.title", "BASE_TYPE_MAX_LENGTH")}),
    (4, {"content": "x", "components": [button("a")]}, {("data.components.0.type", "BASE_TYPE_CHOICES")}),
    (1, None, {("type", "BASE_TYPE_CHOICES")}),
    (6, None, {("type", "BASE_TYPE_CHOICES")}),
    (7, {"content": "x"}, {("type", "BASE_TYPE_CHOICES")}),
    (8, {"choices": []}, {("type", "BASE_TYPE_CHOICES")}),
]


@pytest.mark.parametrize(("kind", "data", "wrong"), BAD_ANSWERS)
def test_bad_answers(world: World, asked: Interaction, kind: int, data: Any, wrong: Any) -> None:
    status, said = world.answer(asked, kind, data)
    assert status == 400 and asked.answer is None and not world.fake.messages
    assert said["code"] == wrong if isinstance(wrong, int) else codes(said["errors"]) == wrong


@pytest.mark.parametrize("flags", [0, 64])
def test_deferred(world: World, asked: Interaction, flags: int) -> None:
    assert world.answer(asked, 5, {"flags": flags})[0] == 204 and asked.deferred
    assert world.fake.messages[-1].loading and world.original("GET", asked)[1]["flags"] == 128 | flags
    with pytest.raises(AssertionError, match="no final answer"):
        asked.wait_text(0.01)
    assert world.original("PATCH", asked, {"content": "done", "flags": 64 - flags})[0] == 200
    assert asked.wait_text(0) == "done" and asked.ephemeral is bool(flags) and asked.edits[0]["content"] == "done"
    assert any("private" in line for line in world.fake.lint) is (flags == 0)
    assert world.hook("POST", asked, "?wait=true", {"content": "and", "flags": 64})[0] == 200
    assert asked.followups[0].ephemeral and len(world.fake.messages) == 2
    world.clock.now += 901
    assert world.original("PATCH", asked, {"content": "later"})[1]["code"] == 50027


def test_a_follow_up_takes_the_place_of_a_deferred_answer(world: World, asked: Interaction) -> None:
    assert world.hook("POST", asked, "", {"content": "early"})[1]["code"] == 10015
    assert world.original("PATCH", asked, {"content": "early"})[1]["code"] == 10008
    assert world.answer(asked, 5)[0] == 204
    made = world.hook("POST", asked, "", {"content": "first", "flags": 64})[1]
    assert made["id"] == world.fake.messages[-1].id and len(world.fake.messages) == 1 and not asked.ephemeral
    assert asked.wait_text(0) == "first"
    assert world.hook("PATCH", asked, f"/messages/{made['id']}", {"content": "second"})[0] == 200
    assert world.call("POST", f"/webhooks/{world.bot.application_id}/wrong", {"content": "x"}, bot=False)[1]["code"] == 50027


def test_with_response(world: World, asked: Interaction) -> None:
    status, said = world.answer(asked, 4, {"content": "up"}, "?with_response=true")
    assert status == 200 and said["interaction"]["id"] == asked.id and said["resource"]["type"] == 4
    assert said["resource"]["message"]["id"] == said["interaction"]["response_message_id"] == world.fake.messages[-1].id
    assert said["resource"]["message"]["type"] == 20


def test_authorization_where_none_belongs(world: World, asked: Interaction) -> None:
    body = {"type": 4, "data": {"content": "x"}}
    assert world.call("POST", f"/interactions/{asked.id}/{asked.token}/callback", body)[0] == 204
    assert any("Authorization" in line for line in world.fake.lint)


def form(body: Any, *files: tuple[str, str, bytes]) -> bytes:
    parts = [('Content-Disposition: form-data; name="payload_json"\r\nContent-Type: application/json\r\n\r\n'
              + json.dumps(body)).encode()]
    parts += [f'Content-Disposition: form-data; name="{name}"; filename="{file}"\r\nContent-Type: text/plain\r\n\r\n'
              .encode() + data for name, file, data in files]
    return b"".join(b"--line\r\n" + part + b"\r\n" for part in parts) + b"--line--\r\n"


def test_files(world: World, asked: Interaction) -> None:
    kind = "multipart/form-data; boundary=line"
    data = b"line\r\n--not the end\r\n\x00\xff"
    body = {"type": 4, "data": {"content": "see", "attachments": [{"id": 0, "filename": "web.log"}]}}
    path = f"/interactions/{asked.id}/{asked.token}/callback"
    assert world.call("POST", path, form(body, ("files[0]", "web.log", data))[:-4], kind, bot=False)[0] == 400
    assert world.call("POST", path, form(body, ("files[0]", "web.log", data)), kind, bot=False)[0] == 204
    assert (asked.files[0].name, asked.files[0].data) == ("web.log", data) and asked.answer == body
    made = world.fake.messages[-1]
    assert made.files == asked.files and made.as_json()["attachments"][0]["size"] == len(data)
    assert world.original("PATCH", asked, form({}, ("files[0]", "b.txt", b"b")), kind=kind)[0] == 200
    assert [item.name for item in made.files] == ["web.log", "b.txt"]
    assert schema_errors("MessageResponse", made.as_json()) == []
    assert world.original("PATCH", asked, {"attachments": []})[0] == 200 and made.files == []
    assert world.hook("POST", asked, "", form({}, ("files[0]", "c.txt", b"c")), kind=kind)[0] == 200
    assert world.original("PATCH", asked, form({}, ("file", "d", b"d")), kind=kind)[0] == 200
    assert [line.partition(" [")[0] for line in world.fake.lint] == [
        "a form without its first or last boundary", "part 'file' of the form is neither payload_json nor a file"]


# ---- completing, buttons


def test_completing(world: World, asked: Interaction) -> None:
    typed = world.gateway.autocomplete(world.bot, "status", "name", "we")
    assert typed.payload["type"] == 4
    assert typed.payload["data"]["options"] == [{"type": 3, "name": "name", "value": "we", "focused": True}]
    for choices, wrong in (
        ([{"name": "n", "value": "v"}] * 26, ("data.choices", "BASE_TYPE_MAX_LENGTH")),
        ([{"name": "n" * 101, "value": "v"}], ("data.choices.0.name", "BASE_TYPE_BAD_LENGTH")),
        ([{"name": "", "value": "v"}], ("data.choices.0.name", "BASE_TYPE_BAD_LENGTH")),
        ([{"name": "n", "value": "v" * 101}], ("data.choices.0.value", "BASE_TYPE_BAD_LENGTH")),
        ([{"name": "n", "value": 1}], ("data.choices.0.value", "STRING_TYPE_CONVERT")),
        (None, ("data.choices", "BASE_TYPE_REQUIRED")),
    ):
        assert codes(world.answer(typed, 8, {"choices": choices})[1]["errors"]) == {wrong}
    for kind in (4, 5):
        assert codes(world.answer(typed, kind, {"content": "x"})[1]["errors"]) == {("type", "BASE_TYPE_CHOICES")}
    assert world.answer(typed, 8, {"choices": [{"name": "web", "value": "web"}]})[0] == 204
    assert typed.choices == [{"name": "web", "value": "web"}] and not world.fake.messages
    assert world.hook("POST", typed, "", {"content": "x"})[1]["code"] == 10015


BAD_BUTTONS: list[tuple[Any, str, str]] = [
    ([row(button("a"))] * 6, "components", "BASE_TYPE_MAX_LENGTH"),
    ([row(*[button(f"b{n}") for n in range(6)])], "components.0.components", "BASE_TYPE_MAX_LENGTH"),
    ([row()], "components.0.components", "BASE_TYPE_BAD_LENGTH"),
    ([{"type": 2}], "components.0.type", "BASE_TYPE_CHOICES"),
    ([row(row())], "components.0.components.0.type", "BASE_TYPE_CHOICES"),
    ([row(button("a", style=7))], "components.0.components.0.style", "BASE_TYPE_CHOICES"),
    ([row(button("a", "l" * 81))], "components.0.components.0.label", "BASE_TYPE_BAD_LENGTH"),
    ([row(button("a" * 101))], "components.0.components.0.custom_id", "BASE_TYPE_BAD_LENGTH"),
    ([row(button(""))], "components.0.components.0.custom_id", "BASE_TYPE_BAD_LENGTH"),
    ([row(button("a")), row(button("a"))], "components.1.components.0.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED"),
    ([row(button("a", disabled="no"))], "components.0.components.0.disabled", "BOOLEAN_TYPE_CONVERT"),
    ([row({"type": 2, "style": 1, "label": "x"})], "components.0.components.0", "BUTTON_COMPONENT_CUSTOM_ID_REQUIRED"),
    ([row(button("a", url="https://example.org"))], "components.0.components.0", "BUTTON_COMPONENT_URL_EXCLUSIVE"),
]


@pytest.mark.parametrize(("components", "where", "code"), BAD_BUTTONS)
def test_bad_buttons(world: World, components: Any, where: str, code: str) -> None:
    body = {"content": "x", "components": components}
    status, said = world.call("POST", f"/channels/{world.channel.id}/messages", body)
    assert (status, codes(said["errors"])) == (400, {(where, code)})


def test_buttons(world: World, asked: Interaction) -> None:
    red = world.red()
    assert schema_errors("MessageResponse", red.as_json()) == []
    assert [(item["label"], item["custom_id"], item["id"]) for item in red.buttons] == [
        ("Restart now", "go", 2), ("Logs", "log", 3)]
    path = f"/channels/{world.channel.id}/messages/{red.id}"
    assert world.call("PATCH", path, {"content": "worse"})[1]["components"] == red.components != []
    pressed = world.gateway.press(red, "Restart now", member=Member("7"))
    assert pressed.payload["data"] == {"component_type": 2, "custom_id": "go", "id": 2}
    assert pressed.payload["message"] == red.as_json() and pressed.payload["type"] == 3
    assert world.answer(pressed, 7, {"content": "again", "components": []})[0] == 204
    assert red.content == "again" and red.buttons == [] and pressed.wait_text(0) == "again" and not pressed.ephemeral
    old = world.gateway.press(red, "log", force=True)
    assert world.answer(old, 4, {"content": "over", "flags": 64})[0] == 204 and old.ephemeral
    other = world.red()
    later = world.gateway.press(other, "log")
    assert world.answer(later, 6)[0] == 204 and later.deferred and not world.fake.messages[-1].ephemeral
    assert world.original("PATCH", later, {"content": "seen to"})[0] == 200 and other.content == "seen to"
    assert world.call("PATCH", path, {"components": []})[0] == 200
    assert world.fake.lint == []


def test_buttons_of_a_webhook_are_dropped(world: World) -> None:
    hook = world.fake.add_webhook()
    body = {"content": "x", "components": [row(button("a"))]}
    status, made = world.call("POST", f"/webhooks/{hook.id}/{hook.token}?wait=true", body, bot=False)
    assert (status, made["components"]) == (200, []) and "dropped" in world.fake.lint[0]


# ---- real clients of others: extras, see tests/requirements.txt


def real(name: str, version: str) -> Any:
    """A client of others in the version that was tried; its absence skips the test."""
    found = pytest.importorskip(name, reason=f"{name} is not installed")
    if found.__version__ != version:
        pytest.skip(f"{name} is {found.__version__} and not {version}")
    return found


@pytest.fixture
def live() -> Iterator[tuple[FakeDiscord, Any]]:
    """A fake on the real clock, whose gateway compresses for who asks, as Discord's does."""
    with FakeDiscord() as fake:
        fake.add_channel()
        bot = fake.add_bot(LIKE_REAL)
        fake.gateway.compression = True
        yield fake, bot


def complaints(fake: FakeDiscord) -> list[str]:
    """What a real client did wrong; discord.py names itself in a form of its own, and sends tts where there is none."""
    manners = [line for line in fake.lint if "User-Agent" not in line and "'tts' does not exist" not in line]
    return [*manners, *fake.gateway.violations,
            *(f"{item.status} {item.path} {item.decision}" for item in fake.refused)]


@contextlib.contextmanager
def running(life: Callable[[asyncio.Event], Awaitable[None]]) -> Iterator[None]:
    """A client's life on a loop of its own in another thread; it is to end when the event is set."""
    done = asyncio.Event()
    failed: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def whole() -> None:
        loops.append(asyncio.get_running_loop())
        await life(done)

    def run() -> None:
        try:
            asyncio.run(whole())
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # it has ended already
            loops[0].call_soon_threadsafe(done.set)
        thread.join(10)
        assert not failed, failed
    assert not thread.is_alive()


def test_discord_py(live: tuple[FakeDiscord, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    discord = real("discord", "2.7.1")
    fake, bot = live
    gateway = fake.gateway
    monkeypatch.setattr(discord.http.Route, "BASE", f"{fake.url}/api/v10")
    address = importlib.import_module("yarl").URL(gateway.url)
    monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", address)
    place = next(iter(fake.channels.values()))

    async def life(done: asyncio.Event) -> None:
        client = discord.Client(intents=discord.Intents(guilds=True), activity=discord.Game("43 up"))
        tree, home = discord.app_commands.CommandTree(client), discord.Object(int(fake.guild))

        async def status(interaction: Any, name: str, lines: int = 5) -> None:
            await interaction.response.send_message(f"{name} is up, {lines}", ephemeral=True)

        async def restart(interaction: Any, name: str) -> None:
            await interaction.response.defer(thinking=True)
            await interaction.edit_original_response(content=f"{name} restarted by {interaction.user.display_name}")
            await interaction.followup.send("log", file=discord.File(fp=importlib.import_module("io").BytesIO(b"text"),
                                                                    filename="web.log"))

        async def complete(interaction: Any, current: str) -> list[Any]:
            return [discord.app_commands.Choice(name=current + "b", value=current + "b")]

        async def pressed(interaction: Any) -> None:
            if interaction.data.get("custom_id") == "mute":
                await interaction.response.edit_message(content="muted", view=None)
                await client.change_presence(activity=discord.Game("1 muted"), status=discord.Status.idle)

        for work in (status, restart):
            made = discord.app_commands.Command(name=work.__name__, description="d", callback=work)
            made.autocomplete("name")(complete)
            tree.add_command(made, guild=home)
        client.event(pressed)
        client.on_interaction = pressed

        async def setup() -> None:
            await tree.sync(guild=home)
            view = discord.ui.View(timeout=None)
            view.add_item(discord.ui.Button(label="Mute 1 h", custom_id="mute", style=discord.ButtonStyle.secondary))
            await client.get_partial_messageable(int(place.id)).send("web is down", view=view)

        client.setup_hook = setup
        async with client:
            work = asyncio.ensure_future(client.start(LIKE_REAL))
            await asyncio.wait([work, asyncio.ensure_future(done.wait())], return_when=asyncio.FIRST_COMPLETED)
            await client.close()
            await work

    with running(life):
        gateway.wait_ready(bot, 10)
        asked = gateway.slash(bot, "status", {"name": "web", "lines": 7})
        assert asked.wait_text() == "web is up, 7" and asked.ephemeral
        deferred = gateway.slash(bot, "restart", {"name": "web"})
        assert deferred.wait()["type"] == 5 and deferred.wait_text() == "web restarted by Ann" and not deferred.ephemeral
        gateway.wait_for(lambda _: deferred.followups)
        assert deferred.files[0].data == b"text"
        assert gateway.autocomplete(bot, "status", "name", "we").choices == [{"name": "web", "value": "web"}]
        red = fake.messages[0]
        assert gateway.press(red, "Mute 1 h").wait()["type"] == 7
        assert red.content == "muted" and red.buttons == []
        gateway.wait_for(lambda _: (gateway.presence(bot) or {}).get("activities"))
        gateway.close_all(4000)
        gateway.wait_for(lambda _: gateway.resumes and gateway.connected(bot))
        assert gateway.slash(bot, "status", {"name": "db"}).wait_text() == "db is up, 5"
        assert gateway.presences(bot)[0]["game"]["name"] == "43 up"
    assert complaints(fake) == []
    assert len(gateway.identifies) == 1


def test_hikari(live: tuple[FakeDiscord, Any]) -> None:
    hikari = real("hikari", "2.7.0")
    fake, bot = live
    gateway = fake.gateway

    async def life(done: asyncio.Event) -> None:
        client = hikari.GatewayBot(LIKE_REAL, rest_url=f"{fake.url}/api/v10", intents=hikari.Intents.NONE, banner=None,
                                   logs=None)

        @client.listen(hikari.InteractionCreateEvent)
        async def heard(event: Any) -> None:
            asked = event.interaction
            await asked.create_initial_response(hikari.ResponseType.MESSAGE_CREATE, "up", flags=hikari.MessageFlag.EPHEMERAL)

        @client.listen(hikari.StartedEvent)
        async def started(event: Any) -> None:
            command = client.rest.slash_command_builder("status", "d")
            command.add_option(hikari.CommandOption(type=hikari.OptionType.STRING, name="name", description="d",
                                                    is_required=True))
            await client.rest.set_application_commands(int(bot.application_id), [command], int(fake.guild))

        await client.start(check_for_updates=False)
        await done.wait()
        await client.close()

    with running(life):
        gateway.wait_ready(bot, 10)
        gateway.wait_for(lambda _: bot.registered)
        asked = gateway.slash(bot, "status", {"name": "web"})
        assert asked.wait_text() == "up" and asked.ephemeral
    assert complaints(fake) == []
