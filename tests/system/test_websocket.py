"""The WebSocket: its frames under fuzz, and the whole of it against two real servers."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import re
import select
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator

import pytest

import sentinel
from sentinel import Ended, Frames, WebSocket

WS = "ws@8.18.3"


def frame(opcode: int, payload: bytes, last: bool = True, first_bits: int = 0) -> bytes:
    """A frame as servers send it: not masked."""
    size = len(payload)
    head = bytes([(0x80 if last else 0) | first_bits | opcode])
    if size < 126:
        return head + bytes([size]) + payload
    if size < 2**16:
        return head + bytes([126]) + size.to_bytes(2, "big") + payload
    return head + bytes([127]) + size.to_bytes(8, "big") + payload


def unmasked(data: bytes) -> tuple[int, bytes, bytes]:
    """A client's frame: opcode, payload, and the rest."""
    size, start = data[1] & 0x7F, 2
    assert data[1] & 0x80, "a client has to mask"
    if size > 125:
        length = 2 if size == 126 else 8
        size, start = int.from_bytes(data[2 : 2 + length], "big"), 2 + length
    mask, body = data[start : start + 4], data[start + 4 : start + 4 + size]
    return data[0] & 0x0F, bytes(byte ^ mask[n % 4] for n, byte in enumerate(body)), data[start + 4 + size :]


def fed(data: bytes, *cuts: int) -> list[tuple[int, bytes]]:
    frames, found = Frames(), []
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        found += frames.feed(data[start:end])
    return found


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_frames_of_every_length_go_there_and_come_back(size: int) -> None:
    payload = os.urandom(size)
    assert fed(frame(2, payload)) == [(2, payload)]
    assert unmasked(sentinel.frame_of(2, payload)) == (2, payload, b"")


def test_messages_in_parts_with_control_frames_between_them_however_they_are_cut() -> None:
    dice = random.Random(5)
    whole = frame(1, b"he", last=False) + frame(9, b"?") + frame(0, b"llo", last=False) + frame(0, b"")
    whole += frame(2, b"x" * 300)
    wanted = [(9, b"?"), (1, b"hello"), (2, b"x" * 300)]
    for _ in range(200):
        cuts = sorted(dice.sample(range(1, len(whole)), dice.randrange(1, 20)))
        assert fed(whole, *cuts) == wanted


@pytest.mark.parametrize(("data", "code"), [
    (frame(1, b"x", first_bits=0x40), 1002), (frame(3, b"x"), 1002), (frame(11, b""), 1002), (frame(0, b"x"), 1002),
    (frame(1, b"a", last=False) + frame(1, b"b"), 1002), (frame(9, b"", last=False), 1002), (frame(9, b"x" * 126), 1002),
    (bytes([0x81, 0x81]) + b"maskx", 1002), (bytes([0x82, 127]) + (2**40).to_bytes(8, "big"), 1009),
    (bytes([0x82, 127]) + (2**63).to_bytes(8, "big"), 1009),
    (b"".join(frame(0 if n else 2, bytes(2**20), last=False) for n in range(5)), 1009),
], ids=["reserved", "opcode 3", "opcode 11", "stray part", "message in a message", "ping in parts", "long ping", "masked",
        "a terabyte", "top bit of a length", "no end"])  # fmt: skip
def test_what_no_server_may_send_ends_it_with_the_right_code(data: bytes, code: int) -> None:
    with pytest.raises(Ended) as ended:
        fed(data)
    assert ended.value.code == code and ended.value.why


def test_nonsense_is_refused_or_understood_and_nothing_grows() -> None:
    dice = random.Random(11)
    for _ in range(3000):
        frames = Frames()
        try:
            for _ in range(dice.randrange(1, 30)):
                rubbish, sense = dice.randbytes(dice.randrange(1, 40)), frame(dice.choice((1, 2, 9, 10)), b"x")
                list(frames.feed(dice.choice((rubbish, sense))))
        except Ended as ended:
            assert ended.code in (1002, 1009)
        assert len(frames._data) + len(frames._message) < 2000


# ── Against servers ───────────────────────────────────────────────────────────────────────────────────────────


def connected(port: int) -> WebSocket:
    url = urllib.parse.urlsplit(f"http://127.0.0.1:{port}/")
    connection = sentinel.Web({}).connection(url, None)
    return WebSocket(connection, "/?v=10", url.netloc)


def received(client: WebSocket, count: int) -> list[str]:
    texts: list[str] = []
    end = time.monotonic() + 10
    while len(texts) < count:
        assert time.monotonic() < end
        if not client.has_more:
            select.select([client.socket], [], [], 1)
        texts += client.receive()
    return texts


def converse(port: int) -> None:
    """Texts of every length there and back, and the goodbye."""
    client = connected(port)
    texts = ["", "a", "é🐳" * 50, "x" * 126, "y" * 70_000]
    for text in texts:
        client.send(text)
    assert received(client, len(texts)) == texts
    client.send("close 4009")
    with pytest.raises(Ended) as ended:
        received(client, 1)
    assert ended.value.code == 4009
    client.close(1000)
    client.close(1000)


@pytest.fixture(scope="module")
def python_server() -> Iterator[int]:
    if not importlib.util.find_spec("websockets"):
        pytest.skip("websockets is not installed")
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            text = str(message)
            if text.startswith("close "):
                await connection.close(int(text[6:]))
            else:
                await connection.ping()
                half = len(text) // 2
                await connection.send([text[:half], text[half:]] if half else text)

    ports: list[int] = []
    ready, over = threading.Event(), threading.Event()

    async def run() -> None:
        async with serve(echo, "127.0.0.1", 0) as server:
            ports.append(next(iter(server.sockets)).getsockname()[1])
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(10)
    yield ports[0]
    over.set()
    thread.join(10)


NODE_SERVER = """
const {WebSocketServer} = require('ws');
const server = new WebSocketServer({host: '127.0.0.1', port: 0}, () => console.log(server.address().port));
server.on('connection', (socket) => socket.on('message', (data) => {
  const text = data.toString();
  if (text.startsWith('close ')) return socket.close(Number(text.slice(6)));
  socket.ping('are you there?');
  const half = Math.floor(text.length / 2);
  socket.send(text.slice(0, half), {fin: false});
  socket.send(text.slice(half), {fin: true});
}));
"""


@pytest.fixture(scope="module")
def node_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("there is no node here")
    folder = tmp_path_factory.mktemp("node")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), WS]
    try:
        done = subprocess.run(install, capture_output=True, timeout=60, cwd=folder)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{WS} can't be installed in time")
    if done.returncode:
        pytest.skip(f"{WS} can't be installed")
    (folder / "server.js").write_text(NODE_SERVER)
    with subprocess.Popen([node, "server.js"], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield int(process.stdout.readline())
        process.kill()


def test_it_speaks_with_the_server_of_websockets(python_server: int) -> None:
    converse(python_server)


def test_it_speaks_with_the_server_of_ws(node_server: int) -> None:
    converse(node_server)


def answering(answer: bytes) -> int:
    """A server that gives everybody this answer, and hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = server.accept()
        with client, server:
            request = client.recv(65536)
            key = re.search(rb"Sec-WebSocket-Key: (\S+)", request)
            client.sendall(answer.replace(b"KEY", key[1] if key else b""))

    threading.Thread(target=serve, daemon=True).start()
    return int(server.getsockname()[1])


@pytest.mark.parametrize(("answer", "words"), [
    (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "503"),
    (b"HTTP/1.1 101 Fine\r\nSec-WebSocket-Accept: KEY\r\n\r\n", "WebSocket"),
    (b"SSH-2.0-OpenSSH\r\n", "HTTP"), (b"", "HTTP"), (b"x" * 20_000, "HTTP"),
], ids=["503", "wrong key", "ssh", "nothing", "no end"])  # fmt: skip
def test_who_does_not_agree_is_named(answer: bytes, words: str) -> None:
    with pytest.raises(sentinel.ExchangeError) as failed:
        connected(answering(answer))
    assert words in str(failed.value.cause) or isinstance(failed.value.cause, OSError)


def test_who_never_agrees_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentinel, "HANDSHAKE_PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(sentinel.ExchangeError) as failed:
        connected(server.getsockname()[1])
    assert isinstance(failed.value.cause, TimeoutError)


def test_a_million_frames_of_nonsense_change_nothing() -> None:
    dice = random.Random(3)
    made, frames = sentinel.Session(sentinel.Secret("token"), lambda: 0.5), Frames()
    made.opened(0.0)
    made.received({"op": 10, "d": {"heartbeat_interval": 41250}}, 0.0)
    made.received({"op": 0, "t": "READY", "s": 1, "d": {"session_id": "a", "resume_gateway_url": "wss://b"}}, 0.0)
    payloads = ['{"op":0,"t":"TYPING_START","s":2,"d":{}}', '{"op":99}', "[]", "nonsense", '{"op":null}', "{", "0"]
    chunk = b"".join(frame(dice.choice((1, 2)), dice.choice(payloads).encode()) for _ in range(1000))
    for number in range(1000):
        for _, text in frames.feed(chunk):
            assert made.received(sentinel.json_in(text), number / 100) == []
    assert made.stage is sentinel.Stage.HERE and len(frames._data) == len(frames._message) == 0
    assert made.next_at() == 20.625, "the heart beats on"
