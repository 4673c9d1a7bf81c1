"""One Sentinel as the bridge of others: what it is asked for over HTTP, its bot posts."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.fake_discord import FakeDiscord
from support.fake_engine import FakeEngine
from support.ports import free_port
from support.system import add, program, until

MAY_BE_REFUSED = True  # a channel that is not there

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GaBcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"
BEARER = "a-Token.of.the-bridge"


@dataclass
class Desk:
    """The HTTP side of a Sentinel with a bot."""

    port: int
    discord: FakeDiscord
    folder: Path

    def post(self, path: str, body: Any, token: str = BEARER) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        text = body if isinstance(body, str) else json.dumps(body)
        connection.request("POST", path, text.encode(), {"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def desk(engine: FakeEngine, discord: FakeDiscord, tmp_path: Path) -> Iterator[Desk]:
    discord.add_bot(TOKEN)
    channel, port = discord.add_channel("alerts"), free_port()
    settings = {"DISCORD_BOT_TOKEN": TOKEN, "DISCORD_CHANNEL_ID": channel.id, "DISCORD_API_URL": f"{discord.url}/api/v10",
                "SENTINEL_LISTEN": str(port), "SENTINEL_NOTIFY_TOKEN": BEARER, "SENTINEL_GREET": "false",
                "SENTINEL_POLL_INTERVAL": "2s"}  # fmt: skip
    with program(tmp_path, engine.host, **settings):
        until(lambda: "the engine of" in (tmp_path / "log").read_text())
        yield Desk(port, discord, tmp_path)


def test_a_sentinel_speaks_through_another(desk: Desk, tmp_path: Path) -> None:
    with FakeEngine() as far:
        web = add(far, "web")
        folder = tmp_path / "far"
        folder.mkdir()
        settings = {"DISCORD_BRIDGE_URL": desk.url, "DISCORD_BRIDGE_TOKEN": BEARER, "DISCORD_CHANNEL": "Far Alerts",
                    "SENTINEL_HOST": "far-away", "DISCORD_MENTION": "<@&200000000000000077>"}
        with program(folder, far.host, **settings):
            until(lambda: "watching web" in (folder / "log").read_text())
            far.crash(web, 3)
            until(lambda: any("Recovered: web" in message.text for message in desk.discord.messages))
        (channel,) = [each for each in desk.discord.channels.values() if each.name == "far-alerts"]
        red = next(message for message in desk.discord.posts(channel.id) if "[DEAD] web" in message.text)
        assert "far-away" in red.text and red.embeds[0]["color"] == 0xED4245 and red.mentions[1] == ["200000000000000077"]
        far.heal()


def test_a_message_is_passed_on_as_it_is_and_pings_only_whom_it_says(desk: Desk) -> None:
    status, text = desk.post("/channels/ensure", {"name": "ops"})
    place = json.loads(text)["id"]
    assert status == 200 and json.loads(desk.post("/channels/ensure", {"name": "#Ops"})[1])["id"] == place
    embed = {"title": "backup", "description": "password=x stays theirs", "color": 5}
    assert desk.post(f"/send/{place}", {"content": "<@1> hello", "embeds": [embed], "tts": True})[0] == 202
    until(lambda: desk.discord.posts(place))
    (message,) = desk.discord.posts(place)
    assert message.payload["content"] == "<@1> hello" and message.embeds[0]["title"] == "backup"
    assert message.mentions == ([], [], False) and "tts" not in message.payload


def test_many_at_once_come_each_as_one_and_in_order(desk: Desk) -> None:
    place = json.loads(desk.post("/channels/ensure", {"name": "ops"})[1])["id"]
    for number in range(5):
        assert desk.post(f"/send/{place}", {"content": f"message {number}"})[0] == 202
        assert desk.post("/notify", {"title": f"words {number}", "message": "m", "level": "info"})[0] == 202
    until(lambda: len(desk.discord.posts(place)) == 5)
    assert [message.payload["content"] for message in desk.discord.posts(place)] == [f"message {n}" for n in range(5)]


@pytest.mark.parametrize(("path", "body", "token", "status"), [
    ("/send/123456", {"content": "x"}, "", 401), ("/send/123456", {"content": "x"}, "another", 401),
    ("/send/123456", {}, BEARER, 400), ("/send/123456", [], BEARER, 400), ("/send/123456", "{", BEARER, 400),
    ("/send/abc", {"content": "x"}, BEARER, 404), ("/send/123456", {"content": "x" * 70_000}, BEARER, 413),
    ("/channels/ensure", {"name": ""}, BEARER, 400), ("/channels/ensure", {"name": 5}, BEARER, 400),
], ids=str)  # fmt: skip
def test_who_may_not_or_makes_no_sense_is_refused(desk: Desk, path: str, body: Any, token: str, status: int) -> None:
    assert desk.post(path, body, token)[0] == status
    assert not [request for request in desk.discord.requests if "messages" in request.path]


def test_a_channel_that_does_not_take_it_costs_the_others_nothing(desk: Desk, engine: FakeEngine) -> None:
    assert desk.post("/send/999999999999999999", {"content": "lost"})[0] == 202
    web = add(engine, "web")
    until(lambda: "watching web" in (desk.folder / "log").read_text())
    engine.crash(web, 3)
    until(lambda: any("[DEAD] web" in message.text for message in desk.discord.messages))


def test_without_a_bot_there_are_no_such_places(engine: FakeEngine, discord: FakeDiscord, tmp_path: Path) -> None:
    port = free_port()
    settings = {"DISCORD_WEBHOOK_URL": discord.add_webhook().url, "SENTINEL_LISTEN": str(port),
                "SENTINEL_NOTIFY_TOKEN": BEARER, "SENTINEL_GREET": "false"}  # fmt: skip
    with program(tmp_path, engine.host, **settings):
        until(lambda: "the engine of" in (tmp_path / "log").read_text())
        desk = Desk(port, discord, tmp_path)
        assert desk.post("/channels/ensure", {"name": "ops"})[0] == desk.post("/send/123456", {"content": "x"})[0] == 404
