"""Every way to Discord: bot, bridge, file drop, several at once and one after the other; and the commands about them.

What takes hours is played by `Life`, a whole Daemon on a clock that tests set, what is a question of processes and
of the network by the program itself. (The webhook alone: test_discord.py.)
"""

from __future__ import annotations

import base64
import http.server
import json
import os
import random
import re
import select
import shutil
import socket
import ssl
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fake_bridge import CHANNEL, FakeBridge
from support.fake_discord import ALL_PERMISSIONS, MANAGE_CHANNELS, SEND, VIEW, FakeDiscord
from support.fake_engine import FakeEngine
from support.lives import Clock, Life
from support.system import add, changed, command, program, until

import sentinel
from sentinel import Bot, Bridge, Deliver, Delivered, Drop, Fate, Notice, Settings, Verdict, Web, message_of

MAY_BE_REFUSED = True  # bots without permission, and webhooks that are gone
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GaBcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"


@pytest.fixture
def bridge() -> Iterator[FakeBridge]:
    with FakeBridge() as fake:
        yield fake
        assert fake.lint == []


def letter(*names: str, nonce: str = "n-1") -> Deliver:
    """What an outbox hands out."""
    notices = tuple(Notice(Verdict.DEAD, name, 1000.0, exit_code=3, incident=number, id=number, project="shop")
                    for number, name in enumerate(names, 1))
    return Deliver("", notices, "box", nonce)


def post(channel: Any, job: Deliver | None = None) -> Delivered:
    job = job or letter("web")
    return channel.send(job, message_of(job, 1000.0, 1.8e9))


def files(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


# ── Bot ───────────────────────────────────────────────────────────────────────────────────────────────────────


def a_bot(discord: FakeDiscord, **settings: Any) -> Bot:
    return Bot(Settings(bot_token=sentinel.token(TOKEN), api_url=f"{discord.url}/api/v10", **settings), Web({}))


def test_a_bot_posts_to_a_channel_by_its_id(discord: FakeDiscord) -> None:
    discord.add_bot(TOKEN)
    place = discord.add_channel("alerts")
    seen = post(a_bot(discord, channel_id=place.id))
    assert seen.fate is Fate.SENT and seen.message == discord.posts(place.id, "web is DEAD")[0].id


@pytest.mark.parametrize("given", ["ops-alerts", "#ops-alerts", "Ops Alerts", "  OPS-alerts "])
def test_a_channel_by_name_is_found_as_discord_writes_it_and_only_among_those_that_take_text(
    discord: FakeDiscord, given: str
) -> None:
    discord.add_bot(TOKEN, permissions=ALL_PERMISSIONS & ~MANAGE_CHANNELS)
    discord.add_channel("ops-alerts", 2)
    place = discord.add_channel("ops-alerts")
    bot = a_bot(discord, guild_id=discord.guild, channel=given)
    assert [post(bot, letter("web", nonce=nonce)).fate for nonce in "ab"] == [Fate.SENT] * 2
    assert len(discord.posts(place.id)) == 2
    assert [request.method for request in discord.requests] == ["GET", "POST", "POST"], "it is looked up once"


def test_a_channel_that_is_not_there_is_created_once(discord: FakeDiscord) -> None:
    discord.add_bot(TOKEN)
    bot = a_bot(discord, guild_id=discord.guild, channel="Ops Alerts")
    assert [post(bot, letter("web", nonce=nonce)).fate for nonce in "ab"] == [Fate.SENT] * 2
    assert [(channel.name, channel.type) for channel in discord.channels.values()] == [("ops-alerts", 0)]
    assert post(a_bot(discord, guild_id=discord.guild, channel="Ops Alerts"), letter("db", nonce="c")).fate is Fate.SENT
    assert len(discord.channels) == 1, "another bot finds it"


def test_a_channel_is_found_in_the_greatest_of_guilds(discord: FakeDiscord) -> None:
    """500 channels with topics are more than half a megabyte of answer."""
    discord.add_bot(TOKEN)
    for number in range(450):
        discord.add_channel(f"c{number}").topic = "x" * 1024
    place = discord.add_channel("sentinel-alerts")
    assert post(a_bot(discord, guild_id=discord.guild)).fate is Fate.SENT
    assert len(discord.posts(place.id)) == 1 and len(discord.channels) == 451


@pytest.mark.parametrize("fault", ["cut_json", "empty_200", "huge", "reset_after", "status"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_odd_answer_while_the_channel_is_looked_for_loses_and_doubles_nothing(
    discord: FakeDiscord, fault: str, method: str
) -> None:
    discord.add_bot(TOKEN)
    if method == "GET":
        discord.add_channel("sentinel-alerts")
    bot = a_bot(discord, guild_id=discord.guild)
    discord.arm(fault, path="/guilds/", method=method, after_storing=method == "POST")
    first = post(bot)
    assert (first.fate is Fate.SENT) == bool(discord.messages), "sent is only what was sent"
    assert first.fate is not Fate.DEAD
    second = first if first.fate is Fate.SENT else post(bot)
    assert second.fate is Fate.SENT and len(discord.messages) == 1
    assert len(discord.channels) == 1


@pytest.mark.parametrize(("lacking", "channel", "word"), [
    (MANAGE_CHANNELS, "named", "Manage Channels"), (SEND, "id", "Send Messages"), (VIEW, "id", "View Channel")])  # fmt: skip
def test_a_permission_that_lacks_is_named(discord: FakeDiscord, lacking: int, channel: str, word: str) -> None:
    discord.add_bot(TOKEN, permissions=ALL_PERMISSIONS & ~lacking)
    where = {"guild_id": discord.guild} if channel == "named" else {"channel_id": discord.add_channel().id}
    seen = post(a_bot(discord, **where))
    assert seen.fate is Fate.DEAD and word in seen.why and TOKEN not in seen.why


def gone(discord: FakeDiscord, what: str) -> dict[str, str]:
    where = {"channel_id": discord.add_channel().id}
    if what == "token":
        discord.bots.clear()
    elif what == "channel":
        discord.delete_channel(where["channel_id"])
    elif what == "guild":
        where = {"guild_id": "123456789012345678"}
    return where


@pytest.mark.parametrize(("what", "status", "advice"), [
    ("token", 401, "token"), ("channel", 404, "no longer exists"), ("guild", 404, "server|guild|Guild")])  # fmt: skip
def test_what_will_never_work_is_said_with_its_reason(discord: FakeDiscord, what: str, status: int, advice: str) -> None:
    discord.add_bot(TOKEN)
    seen = post(a_bot(discord, **gone(discord, what)))
    assert seen.fate is Fate.DEAD and f"HTTP {status}" in seen.why and re.search(advice, seen.why), seen.why


@pytest.mark.parametrize(("fault", "details"), [
    ("reset_after", {}), ("close", {}), ("status", {"status": 500}), ("status", {"status": 504}), ("reset_halfway", {})],
    ids=str)  # fmt: skip
def test_a_repeat_after_an_unclear_answer_makes_no_double(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, fault: str, details: dict[str, Any]
) -> None:
    discord.add_bot(TOKEN)
    place, web, db = discord.add_channel(), add(engine, "web"), add(engine, "db")
    discord.arm(fault, after_storing=True, times=2, **details)
    with Life(engine, tmp_path, clock, bot_token=sentinel.token(TOKEN), channel_id=place.id,
              api_url=f"{discord.url}/api/v10", restart=False) as life:  # fmt: skip
        life.run(1)
        engine.crash(web, 3)
        life.run(0.5)
        engine.crash(db, 3)
        life.run(60)
    bodies = [request.json for request in discord.requests]
    assert all(body["enforce_nonce"] is True and len(body["nonce"]) <= 25 for body in bodies)
    assert re.findall(r"`(\w+) is DEAD", "".join(message.text for message in discord.messages)) == ["web", "db"]
    assert len({body["nonce"] for body in bodies}) == 2


@pytest.mark.parametrize("second", ["another host", "a lost ledger"])
def test_a_nonce_is_of_one_ledger_only(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, second: str
) -> None:
    """Discord takes a nonce that it knows for a repeat, whoever of the bot's programs sends it: the alert would be lost."""
    discord.add_bot(TOKEN)
    place = discord.add_channel()
    for name in ("web", "db"):
        one = add(engine, name)
        with Life(engine, tmp_path / name, clock, bot_token=sentinel.token(TOKEN), channel_id=place.id,
                  api_url=f"{discord.url}/api/v10", restart=False) as life:  # fmt: skip
            life.run(1)
            engine.crash(one, 3)
            life.run(10)
    assert [len(discord.posts(text=f"{name} is DEAD")) for name in ("web", "db")] == [1, 1]


# ── Bridge ────────────────────────────────────────────────────────────────────────────────────────────────────


def a_bridge(bridge: FakeBridge, **settings: Any) -> Bridge:
    return Bridge(Settings(bridge_url=bridge.url, **settings), Web({}))


@pytest.mark.parametrize(("has", "paths"), [
    (("ensure", "send", "notify"), [f"/send/{CHANNEL}"] * 2), (("ensure", "send"), [f"/send/{CHANNEL}"] * 2),
    (("notify",), ["/notify"] * 2), (("ensure", "notify"), ["/notify"] * 2)], ids=str)  # fmt: skip
def test_a_bridge_is_used_as_far_as_it_goes(bridge: FakeBridge, has: tuple[str, ...], paths: list[str]) -> None:
    bridge.has, bridge.token = has, "bridge-token"
    channel = a_bridge(bridge, bridge_token=sentinel.token("bridge-token"), channel="ops")
    assert [post(channel).fate for _ in "ab"] == [Fate.SENT] * 2
    assert [sent.path for sent in bridge.sent] == paths and "web is DEAD" in bridge.sent[0].text
    assert bridge.channels in ({CHANNEL: "ops"}, {})
    assert sum(path == "/channels/ensure" for path, _, _ in bridge.requests) == 1, "asked once"
    if paths[0] == "/notify":
        body = bridge.sent[0].body
        assert (body["channel"], body["title"], body["level"]) == ("ops", "[DEAD] web", "error") and len(body["embeds"]) == 1


def test_without_a_token_none_is_sent(bridge: FakeBridge) -> None:
    assert post(a_bridge(bridge)).fate is Fate.SENT
    assert all("authorization" not in headers for _, headers, _ in bridge.requests)


@pytest.mark.parametrize("body", [{}, {"ok": True}, [], "text", b"", b"<html>", {"channel": "1"}], ids=str)
def test_a_channel_that_could_not_be_had_is_no_alert_that_was_sent(bridge: FakeBridge, body: object) -> None:
    bridge.replies["/channels/ensure"] = (200, body)
    channel = a_bridge(bridge)
    assert (post(channel).fate is Fate.SENT) == bool(bridge.sent)
    del bridge.replies["/channels/ensure"]
    if not bridge.sent:
        assert post(channel).fate is Fate.SENT and len(bridge.sent) == 1


@pytest.mark.parametrize(("status", "body", "fate"), [
    (200, {"ok": False, "error": "no"}, (Fate.UNSENT, Fate.UNCLEAR)), (401, {"error": "who are you"}, (Fate.UNSENT,)),
    (403, {"error": "no"}, (Fate.UNSENT,)), (500, b"oops", (Fate.UNCLEAR,)), (502, b"", (Fate.UNSENT,)),
    (503, {"error": "starting"}, (Fate.UNSENT,)), (429, {"retry_after": 2.5}, (Fate.UNSENT,)),
    (429, b"slow down", (Fate.UNSENT,)), (400, {"error": "form"}, (Fate.MALFORMED,)), (204, b"", (Fate.SENT,))],
    ids=str)  # fmt: skip
@pytest.mark.parametrize("path", ["/send", "/notify"])
def test_what_a_bridge_says_is_what_is_done(
    bridge: FakeBridge, path: str, status: int, body: object, fate: tuple[Fate, ...]
) -> None:
    bridge.has = ("ensure", "send") if path == "/send" else ("notify",)
    bridge.replies[path] = (status, body)
    seen = post(a_bridge(bridge))
    assert seen.fate in fate
    assert seen.hold <= 60, "only Discord's own edge wants to be left alone for long"
    if seen.fate is not Fate.SENT:
        assert "Discord" not in seen.why, "it is the bridge that says so"


def test_a_bridge_that_is_away_or_slow_is_waited_for(
    engine: FakeEngine, bridge: FakeBridge, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = add(engine, "web")
    bridge.refuse()
    with Life(engine, tmp_path, clock, bridge_url=bridge.url, restart=False) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(90)
        assert life.said.count("alerts wait") == 1
        bridge.accept()
        life.run(61)
    assert len(bridge.sent) == 1 and "could not be reached" in bridge.sent[0].text


# ── File drop ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_drop_is_one_readable_file_an_alert_and_a_repeat_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    mask = os.umask(0o077)
    try:
        for _ in range(2):
            assert post(Drop(str(folder)), letter("web", "db", "web")).fate is Fate.SENT
    finally:
        os.umask(mask)
    found = sorted(folder.iterdir())
    assert len(found) == 3 and all(path.suffix == ".json" for path in found), "no half file is left"
    assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o644}
    assert [(one["name"], one["verdict"], one["host"], len(one["embeds"])) for one in files(folder)] == [
        (name, "DEAD", "box", 1) for name in ("web", "db", "web")]


def test_a_drop_is_never_seen_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is synced under another name before it gets its own."""
    done: list[str] = []
    rename, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("sync"), fsync(handle))[1])

    def renamed(old: str, new: str) -> None:
        json.loads(Path(old).read_text())
        assert not Path(old).name.endswith(".json") and done[-1] == "sync"
        done.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "replace", renamed)
    post(Drop(str(tmp_path)))
    assert done[:2] == ["sync", "rename"]


def test_files_of_a_lost_ledger_are_not_overwritten(engine: FakeEngine, clock: Clock, tmp_path: Path) -> None:
    for name in ("web", "db"):
        one = add(engine, name)
        with Life(engine, tmp_path / name, clock, drop_dir=str(tmp_path / "drop"), restart=False) as life:
            life.run(1)
            engine.crash(one, 3)
            life.run(10)
    assert [one["name"] for one in files(tmp_path / "drop")] == ["web", "db"]


def test_a_folder_that_can_not_be_written_is_waited_for(engine: FakeEngine, clock: Clock, tmp_path: Path) -> None:
    web, folder = add(engine, "web"), tmp_path / "drop"
    folder.write_text("in the way")
    with Life(engine, tmp_path / "state", clock, drop_dir=str(folder), restart=False) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(60)
        assert life.said.count("can't be written") == 1
        folder.unlink()
        life.run(61)
    assert [one["name"] for one in files(folder)] == ["web"]


def test_an_alert_has_one_file_however_often_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by a reading of the code: its name was worked out from two clocks, anew at each try."""

    class Slow(Clock):
        """A machine so busy that between the reads of two clocks there may be a second."""

        dice = random.Random(7)

        def monotonic(self) -> float:
            self.now += self.dice.random()
            return self.now

        def time(self) -> float:
            self.now += self.dice.random()
            return self.at

    clock = Slow()
    clock.booted += 0.5  # it happened in the middle of a second
    monkeypatch.setattr(sentinel, "time", clock)
    drop = Drop(str(tmp_path))
    assert {post(drop).fate for _ in range(20)} == {Fate.SENT}
    assert len(list(tmp_path.glob("*.json"))) == 1, sorted(path.name for path in tmp_path.iterdir())


# ── Several at once ───────────────────────────────────────────────────────────────────────────────────────────


def everything(discord: FakeDiscord, bridge: FakeBridge, folder: Path) -> dict[str, Any]:
    """All four channels."""
    discord.add_bot(TOKEN)
    return {"webhook_url": sentinel.webhook(discord.add_webhook().url), "bot_token": sentinel.token(TOKEN),
            "channel_id": discord.add_channel("bots").id, "api_url": f"{discord.url}/api/v10", "bridge_url": bridge.url,
            "drop_dir": str(folder / "drop")}  # fmt: skip


def told_by(discord: FakeDiscord, bridge: FakeBridge, folder: Path, text: str) -> list[str]:
    """Which channels told this, each as often as it did."""
    found = ["webhook" if message.webhook_id else "bot" for message in discord.messages if text in message.text]
    found += ["bridge" for sent in bridge.sent if text in sent.text]
    return sorted(found + ["drop" for one in files(folder / "drop") if text in json.dumps(one, ensure_ascii=False)])


def test_all_channels_get_every_alert_and_a_dead_one_is_said_through_the_others_once(
    engine: FakeEngine, discord: FakeDiscord, bridge: FakeBridge, clock: Clock, tmp_path: Path
) -> None:
    web, db = add(engine, "web"), add(engine, "db")
    settings = everything(discord, bridge, tmp_path)
    with Life(engine, tmp_path / "state", clock, **settings) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(30)
        for what in ("web is DEAD", "web is back online"):
            assert told_by(discord, bridge, tmp_path, what) == ["bot", "bridge", "drop", "webhook"]
        discord.webhooks.clear()
        engine.crash(db, 3)
        life.run(3600)
        assert told_by(discord, bridge, tmp_path, "db is DEAD") == ["bot", "bridge", "drop"]
        assert told_by(discord, bridge, tmp_path, "webhook takes no more alerts") == ["bot", "bridge", "drop"]
        assert sum(line.split()[1] == "ERROR" and "retired" in line for line in life.lines) == 1
    assert sum(request.status == 404 for request in discord.requests) <= 2, "asked again hourly, never hammered"


@pytest.mark.parametrize("slow", ["webhook", "bridge", "down"])
def test_a_slow_or_dead_channel_delays_no_other(
    engine: FakeEngine, discord: FakeDiscord, bridge: FakeBridge, tmp_path: Path, slow: str
) -> None:
    discord.add_bot(TOKEN)
    hook, place, web = discord.add_webhook(), discord.add_channel("bots"), add(engine, "web")
    if slow == "webhook":
        discord.arm("hang", seconds=60.0, path="/webhooks/", times=9)
    elif slow == "bridge":
        bridge.delay = 60.0
    else:
        bridge.refuse()
    with program(tmp_path, engine.host, DISCORD_WEBHOOK_URL=hook.url, DISCORD_BOT_TOKEN=TOKEN, DISCORD_CHANNEL_ID=place.id,
                 DISCORD_API_URL=f"{discord.url}/api/v10", DISCORD_BRIDGE_URL=bridge.url,
                 SENTINEL_DROP_DIR=str(tmp_path / "drop")):  # fmt: skip
        until(lambda: "watching web" in (tmp_path / "log").read_text())
        engine.crash(web, 3)
        quick = {"webhook": ["bot", "bridge", "drop"]}.get(slow, ["bot", "drop", "webhook"])
        until(lambda: told_by(discord, bridge, tmp_path, "web is DEAD") == quick)


# ── What is not Discord's own answer ──────────────────────────────────────────────────────────────────────────


class Between:
    """A proxy, a firewall, a router: what answers in Discord's place, and in words of its own."""

    def __init__(self) -> None:
        self.status, self.body, self.kind, self.asked = 404, b"", "text/plain", 0
        between = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                between.asked += 1
                self.send_response(between.status)
                self.send_header("Content-Type", between.kind)
                self.send_header("Content-Length", str(len(between.body)))
                self.end_headers()
                self.wfile.write(between.body)

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def between() -> Iterator[Between]:
    made = Between()
    yield made
    made.server.shutdown()
    made.server.server_close()


def asked_through(between: Between, way: str) -> Delivered:
    """What a channel makes of the answer from between."""
    job = letter("web")
    bot = {"bot_token": sentinel.token(TOKEN), "api_url": f"{between.url}/api/v10"}
    hook = sentinel.webhook(f"{between.url}/api/webhooks/123456789012345678/a-Token_1")
    channels: dict[str, Any] = {
        "webhook": sentinel.Webhook(hook, Web({})), "webhook's edit": sentinel.Webhook(hook, Web({})),
        "bot": Bot(Settings(**bot, channel_id="123456"), Web({})),
        "bot's edit": Bot(Settings(**bot, channel_id="123456"), Web({})),
        "bot's channel": Bot(Settings(**bot, guild_id="123456"), Web({})),
        "bridge": Bridge(Settings(bridge_url=between.url), Web({}))}
    if "edit" in way:
        job = replace(job, message="123456789", sent_at=1000.0, nonce="")
    return post(channels[way], job)


NOT_DISCORDS = {"a page": ("text/html", b"<html><body><h1>Not here</h1></body></html>"),
                "Traefik's": ("text/plain; charset=utf-8", b"404 page not found\n"), "nothing": ("text/plain", b""),
                "JSON without a code": ("application/json", b'{"message": "no Route matched with those values"}'),
                "JSON of another kind": ("application/json", b'["no"]')}


@pytest.mark.parametrize("way", ["webhook", "webhook's edit", "bot", "bot's edit", "bot's channel", "bridge"])
@pytest.mark.parametrize("words", NOT_DISCORDS)
@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_is_not_discords_own_answer_retires_no_channel(between: Between, way: str, words: str, status: int) -> None:
    """Found by a reading of the code: the 404 of a router that had just lost its routes was the end of a channel."""
    between.status, (between.kind, between.body) = status, NOT_DISCORDS[words]
    seen = asked_through(between, way)
    assert between.asked and seen.fate is Fate.UNSENT, seen
    assert str(status) in seen.why and "token is wrong" not in seen.why


def test_a_bridge_whose_router_forgets_it_for_a_while_is_used_as_before(
    bridge: FakeBridge, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simpler way, for a bridge that has no other, is not the way for ever. Found by a reading of the code."""
    monkeypatch.setattr(sentinel, "time", clock)
    channel, forgotten = a_bridge(bridge), (404, b"404 page not found\n")
    bridge.replies = {"/": forgotten}
    assert post(channel).fate is Fate.UNSENT
    bridge.replies = {}
    assert post(channel).fate is Fate.SENT and bridge.sent[-1].path == f"/send/{CHANNEL}"
    bridge.replies = {"/send": forgotten}
    assert post(channel).fate is Fate.SENT and bridge.sent[-1].path == "/notify"
    bridge.replies = {}
    clock.at += 3700
    assert post(channel).fate is Fate.SENT and bridge.sent[-1].path == f"/send/{CHANNEL}"


# ── Retired, and called back ──────────────────────────────────────────────────────────────────────────────────


def a_retired_bot(discord: FakeDiscord) -> tuple[Any, dict[str, Any]]:
    """A bot that may not post, and its settings."""
    bot = discord.add_bot(TOKEN)
    discord.take_permission(bot, SEND)
    place = discord.add_channel("alerts").id
    return bot, {"bot_token": sentinel.token(TOKEN), "channel_id": place, "api_url": f"{discord.url}/api/v10",
                 "restart": False, "remind": 0.0, "poll_interval": 600.0, "greet": False}


def test_a_retired_channel_is_asked_again_every_hour_and_tells_what_it_has_missed(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web, (bot, settings) = add(engine, "web"), a_retired_bot(discord)
    with Life(engine, tmp_path, clock, **settings) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(10 * 3600)
        assert "retired" in life.said
        assert 8 <= len(discord.requests) <= 12, [request.time for request in discord.requests]
        discord.give_permission(bot, SEND)
        life.run(3700)
        assert ["web is DEAD" in message.text for message in discord.messages] == [True]


def test_a_retired_channel_is_asked_again_at_each_new_red(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web, db, api = (add(engine, name) for name in ("web", "db", "api"))
    bot, settings = a_retired_bot(discord)
    with Life(engine, tmp_path, clock, **settings) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(1000)
        engine.crash(db, 3)
        life.run(10)
        assert len(discord.requests) == 2 and not discord.messages
        life.run(1000)
        discord.give_permission(bot, SEND)
        engine.crash(api, 3)
        life.run(10)
        assert "api is DEAD" in "".join(message.text for message in discord.messages)


def test_a_channel_that_was_retired_is_asked_again_in_the_next_life(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web, (bot, settings) = add(engine, "web"), a_retired_bot(discord)
    with Life(engine, tmp_path, clock, **settings) as first:
        first.run(1)
        engine.crash(web, 3)
        first.run(30)
    discord.give_permission(bot, SEND)
    clock.at += 700
    with Life(engine, tmp_path, clock, **settings) as second:
        second.run(3700)
    assert "web is DEAD" in "".join(message.text for message in discord.messages)


# ── One after the other ───────────────────────────────────────────────────────────────────────────────────────


def test_in_a_chain_only_the_first_is_used_while_it_works(
    engine: FakeEngine, discord: FakeDiscord, bridge: FakeBridge, clock: Clock, tmp_path: Path
) -> None:
    web = add(engine, "web")
    with Life(engine, tmp_path / "state", clock, **everything(discord, bridge, tmp_path), chain=True) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(120)
    assert told_by(discord, bridge, tmp_path, "web is") == ["webhook", "webhook"]


CHAIN = ["webhook", "bot", "bridge", "drop"]


@pytest.mark.parametrize("broken", [1, 2, 3])
@pytest.mark.parametrize("way", ["for good", "for now"])
def test_the_next_in_a_chain_is_tried_once_the_ones_before_have_failed(
    engine: FakeEngine, discord: FakeDiscord, bridge: FakeBridge, clock: Clock, tmp_path: Path, broken: int, way: str
) -> None:
    """At once if they have for good, after half a minute if they may come back; each alert is told once on Discord."""
    web, settings = add(engine, "web"), everything(discord, bridge, tmp_path)
    if way == "for good":
        discord.webhooks.clear()
        discord.bots.clear() if broken > 1 else None
        if broken > 2:
            bridge.replies[""] = (401, {"error": "no"})
    else:
        discord.arm("status", status=503, times=999, path="/webhooks/" if broken == 1 else "/")
        bridge.refuse() if broken > 2 else None
    with Life(engine, tmp_path / "state", clock, **settings, chain=True, restart=False) as life:
        life.run(1)
        began = clock.at
        engine.crash(web, 3)
        while not told_by(discord, bridge, tmp_path, "web is DEAD"):
            life.run(0.5)
            assert clock.at - began < 40 * broken, life.said
        took = clock.at - began
        waits = broken if way == "for now" else broken // 3  # a bridge's own no may pass: it is waited for
        assert 30 * waits <= took < 33 * waits + 10, life.said
        assert told_by(discord, bridge, tmp_path, "web is DEAD") == [CHAIN[broken]]
        discord.disarm()
        life.run(300)
        told = told_by(discord, bridge, tmp_path, "web is DEAD")
        if way == "for now" and broken == 3:  # what is in a file nobody has read on Discord
            assert told in (["drop", "webhook"], ["bot", "drop"])
        else:
            assert told == [CHAIN[broken]]


def test_what_was_only_dropped_to_a_file_still_goes_to_discord_marked_late(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    """Also over a restart of Sentinel, and with the reason."""
    web, settings = add(engine, "web"), {"webhook_url": sentinel.webhook(discord.add_webhook().url),
                                         "drop_dir": str(tmp_path / "drop"), "chain": True, "restart": False}  # fmt: skip
    discord.refuse()
    with Life(engine, tmp_path / "state", clock, **settings) as first:
        first.run(1)
        engine.crash(web, 3)
        first.run(60)
        assert [one["name"] for one in files(tmp_path / "drop")] == ["web"]
    clock.at += 600
    with Life(engine, tmp_path / "state", clock, **settings) as second:
        second.run(60)
        discord.accept()
        second.run(61)
        assert len(files(tmp_path / "drop")) == 1, "dropped once"
    (message,) = discord.messages
    assert re.search(r"1[12]m\w* ago; .*could not be reached", message.text), message.text


def test_half_a_minute_of_patience_for_real(engine: FakeEngine, discord: FakeDiscord, tmp_path: Path) -> None:
    """In the daemon with its threads, the half minute cut to a second."""
    hook, web = discord.add_webhook(), add(engine, "web")
    discord.refuse()
    patient = changed("sentinel.CHAIN_PATIENCE = 1.0")
    with program(tmp_path, engine.host, *patient, DISCORD_WEBHOOK_URL=hook.url, SENTINEL_CHAIN="true",
                 SENTINEL_DROP_DIR=str(tmp_path / "drop"), SENTINEL_RESTART="false", SENTINEL_GREET="false"):  # fmt: skip
        until(lambda: "watching web" in (tmp_path / "log").read_text())
        began = time.monotonic()
        engine.crash(web, 3)
        until(lambda: files(tmp_path / "drop"))
        assert time.monotonic() - began >= 1.0
        discord.accept()
        discord.wait_for(lambda fake: fake.posts(text="web is DEAD"), 10)


# ── Late, and many ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_late_alert_says_when_it_happened_and_why_it_is_late(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web, hook = add(engine, "web"), discord.add_webhook()
    with Life(engine, tmp_path, clock, webhook_url=sentinel.webhook(hook.url)) as life:
        life.run(1)
        discord.refuse()
        died = clock.at
        engine.crash(web, 3)
        life.run(720)
        discord.accept()
        life.run(61)
    (message,) = discord.messages
    red, green = message.embeds
    assert red["title"] == "[DEAD] web" and re.search(r"1[23]m\w* ago; .*could not be reached", red["description"])
    assert f"<t:{int(died)}:R>" in red["description"] and green["title"] == "Recovered: web"
    assert hook.token not in message.text


@pytest.mark.parametrize("number", [30, 60, 300])
def test_after_an_outage_of_hours_what_comes_is_readable(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    """A handful of messages, worst first, each saying that it is late and why; all are counted, and in the history."""
    webs = [add(engine, f"web{index}") for index in range(number)]
    with Life(engine, tmp_path, clock, webhook_url=sentinel.webhook(discord.add_webhook().url), stops="ignore") as life:
        life.run(1)
        discord.refuse()
        for index, web in enumerate(webs):
            engine.crash(web, 3)
            life.run(7200 / number)
            if index % 10 == 9:
                engine.oom(web, child=True)
        life.run(30)
        alerts = len(life.notices)
        assert alerts >= 2 * number
        discord.accept()
        life.run(120)
    order = {sentinel.RED: 0, sentinel.AMBER: 1, sentinel.GREEN: 2, sentinel.DARK_GREEN: 3, sentinel.GREY: 4}
    assert len(discord.messages) <= 6
    counts = 0
    for message in discord.messages:
        ranks = [order[embed["color"]] for embed in message.embeds]
        assert ranks == sorted(ranks), "worst first"
        counts += sum(int((re.search(r"\b\d+\b", embed["title"]) or ["1"])[0]) for embed in message.embeds)
        assert re.search(r"ago; .*could not be reached", message.text), message.text[:500]
    assert counts == alerts, "nothing is missing from the count"
    assert discord.messages[0].embeds[0]["color"] == sentinel.RED
    capsys.readouterr()
    assert sentinel.history(Settings(state=str(tmp_path)), {}, True) == 0
    incidents = json.loads(capsys.readouterr().out)
    assert sum(len(incident["notices"]) for incident in incidents) == alerts
    assert {notice["delivery"]["webhook"] for incident in incidents for notice in incident["notices"]} == {"sent"}


def test_one_forum_thread_serves_all_lives(engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path) -> None:
    """A webhook into a forum opens a thread for its alerts: the next life goes on in it."""
    web, hook = add(engine, "web"), discord.add_webhook()
    discord.make_forum(hook.channel_id)
    for _ in range(2):
        with Life(engine, tmp_path, clock, webhook_url=sentinel.webhook(hook.url)) as life:
            life.run(1)
            engine.crash(web, 3)
            life.run(30)
        clock.at += 10
    assert len(discord.messages) >= 3 and len({message.channel_id for message in discord.messages}) == 1


# ── Commands ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_test_tells_of_each_channel_where_and_how_fast(discord: FakeDiscord, bridge: FakeBridge, tmp_path: Path) -> None:
    discord.add_bot(TOKEN)
    hook, place = discord.add_webhook(), discord.add_channel("bots")
    code, out, err = command("test", DISCORD_WEBHOOK_URL=hook.url, DISCORD_BOT_TOKEN=TOKEN, DISCORD_CHANNEL_ID=place.id,
                             DISCORD_API_URL=f"{discord.url}/api/v10", DISCORD_BRIDGE_URL=bridge.url,
                             SENTINEL_DROP_DIR=str(tmp_path))  # fmt: skip
    assert (code, err) == (0, "")
    delivered = [re.match(r"(\w+): delivered.* in \d+ ms", line) for line in out.splitlines()]
    assert [match[1] for match in delivered if match] == CHAIN
    assert "commands: registered" in out and "the gateway answers" in out
    assert str(tmp_path) in out and place.id in out, "where"
    for where in (hook.channel_id, place.id):
        (message,) = discord.posts(where)
        assert [embed["color"] for embed in message.embeds] == [sentinel.RED, sentinel.GREEN]
    assert hook.token not in out and TOKEN not in out


def test_test_without_a_channel_shows_the_samples_on_the_terminal() -> None:
    code, out, _ = command("test")
    assert code == 0 and "[DEAD] sample" in out and "Recovered: sample" in out


FAILURES: dict[str, tuple[str, str]] = {  # what is said: why, and what to do
    "deleted": ("Unknown Webhook.*404", "make a new one"),
    "wrong token": ("401", "copy it anew"),
    "edge": ("edge blocks.*403", "wait|later|minutes|hour"),
    "refused": ("could not be reached", "refused"),
    "no name": ("DNS", "hook.invalid"),
    "self-signed": ("TLS.*self.signed|TLS.*CERTIFICATE_VERIFY_FAILED", "SSL_CERT_FILE"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_test_says_why_not_and_what_to_do(discord: FakeDiscord, certificate: Path, failure: str) -> None:
    hook = discord.add_webhook()
    url, secure = hook.url, None
    if failure == "deleted":
        discord.delete_webhook(hook)
    elif failure == "wrong token":
        url += "x"
    elif failure == "edge":
        discord.arm("block_html")
    elif failure == "refused":
        discord.refuse()
    elif failure == "no name":
        url = url.replace("127.0.0.1", "hook.invalid")
    elif failure == "self-signed":
        secure = FakeDiscord(tls=server_context(certificate)).start()
        url = secure.add_webhook().url
    code, out, err = command("test", DISCORD_WEBHOOK_URL=url)
    if secure:
        secure.stop()
    assert code == 1 and len(out.splitlines()) == 1 and out.startswith("webhook: not delivered")
    why, help_ = FAILURES[failure]
    assert re.search(why, out) and re.search(help_, out), out
    assert hook.token not in out + err


def test_test_names_the_permission_and_goes_on_with_the_next_channel(discord: FakeDiscord, tmp_path: Path) -> None:
    discord.add_bot(TOKEN, permissions=ALL_PERMISSIONS & ~MANAGE_CHANNELS)
    code, out, _ = command("test", DISCORD_BOT_TOKEN=TOKEN, DISCORD_GUILD_ID=discord.guild,
                           DISCORD_API_URL=f"{discord.url}/api/v10", SENTINEL_DROP_DIR=str(tmp_path))  # fmt: skip
    assert code == 1 and "Manage Channels" in out.splitlines()[0] and "drop: delivered" in out.splitlines()[1]


@pytest.mark.parametrize("url",
                         ["https://discord.com/channels/1/2", "discord.com/api/webhooks/1/x",
                          "https://discord.com/api/webhooks/1", "x"])  # fmt: skip
def test_a_wrong_url_is_a_setting_that_makes_no_sense(url: str) -> None:
    code, _, err = command("test", DISCORD_WEBHOOK_URL=url)
    assert code == 78 and err.startswith("DISCORD_WEBHOOK_URL: ") and "https://discord.com/api/webhooks/ID/TOKEN" in err


def test_history_without_a_ledger_is_no_error(tmp_path: Path) -> None:
    code, out, err = command("history", SENTINEL_STATE=str(tmp_path / "none"))
    assert (code, out) == (0, "") and str(tmp_path / "none") in err
    code, out, _ = command("history", "--json", SENTINEL_STATE=str(tmp_path / "none"))
    assert code == 0 and json.loads(out) == [], "whoever reads JSON gets JSON"
    assert not (tmp_path / "none").exists(), "reading makes nothing"


def test_history_tells_the_whole_story_also_beside_the_daemon(
    engine: FakeEngine, discord: FakeDiscord, tmp_path: Path
) -> None:
    hook, web, db = discord.add_webhook(), add(engine, "web"), add(engine, "db", memory=2**26)
    began, bridge_off = time.time(), "http://127.0.0.1:9"
    with program(tmp_path, engine.host, DISCORD_WEBHOOK_URL=hook.url, DISCORD_BRIDGE_URL=bridge_off,
                 SENTINEL_MAX_RESTARTS="0"):
        until(lambda: all(f"watching {name}" in (tmp_path / "log").read_text() for name in ("web", "db")))
        engine.crash(web, 3)
        engine.oom(db)
        discord.wait_for(lambda fake: fake.posts(text="db is DEAD"))
        engine.start_by_operator(web)
        discord.wait_for(lambda fake: fake.posts(text="web is back"), 15)

        def told() -> dict[str, Any]:
            code, out, err = command("history", "--json", SENTINEL_STATE=str(tmp_path / "state"))
            assert (code, err) == (0, "")
            return {incident["name"]: incident for incident in json.loads(out)}

        until(lambda: told()["web"]["notices"][-1]["delivery"] == {"webhook": "sent", "bridge": "waiting"})
        one, other = told()["web"], told()["db"]
        code, out, _ = command("history", SENTINEL_STATE=str(tmp_path / "state"))
    assert began - 1 < one["start"] < one["end"] < time.time()
    assert one["downtime"] == pytest.approx(one["end"] - one["start"], abs=0.1)
    assert (one["deaths"], one["restarts"], one["exit_code"], one["verdict"]) == (1, 0, 3, "DEAD")
    assert [notice["verdict"] for notice in one["notices"]] == ["DEAD", "Recovered"]
    assert (other["end"], other["downtime"], other["cause"]) == (None, None, "out of memory")
    lines = {name: line for line in out.splitlines() for name in ("web", "db") if f" {name} " in line}
    assert code == 0 and "open" in lines["db"] and "open" not in lines["web"]
    words = " ".join(out.split())
    assert "bridge: waiting" in words and "out of memory" in words and "webhook" not in words, out


def test_a_note_is_no_incident_that_stays_open(
    engine: FakeEngine, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web, job = add(engine, "web"), add(engine, "job", labels={"sentinel.job": "true"})
    with Life(engine, tmp_path, clock) as life:
        life.run(1)
        engine.oom(web, child=True)
        engine.crash(job, 3)
        life.run(60)
        assert sorted(life.told()) == ["FAILED job", "OUT OF MEMORY web"]
    capsys.readouterr()
    sentinel.history(Settings(state=str(tmp_path)), {}, False)
    assert "open" not in capsys.readouterr().out


# ── The way there: proxies, certificates, secrets ─────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    if not shutil.which("openssl"):
        pytest.skip("openssl is needed to make a certificate")
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                           "/CN=127.0.0.1", "-addext",
                           "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key", "-out", folder / "cert"],
                           capture_output=True)  # fmt: skip
    if made.returncode:
        pytest.skip("openssl is needed to make a certificate")
    return folder


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    return context


class Proxy:
    """An HTTP proxy that does CONNECT and nothing else. `login` (user:password) is asked for if set."""

    def __init__(self, login: str = "") -> None:
        self.login, self.asked = login, list[str]()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """From now on nobody listens: without the shutdown the accept that waits would take one more."""
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (more := client.recv(4096)):
            head += more
        self.asked.append(head.split(b"\r\n")[0].decode())
        basic = base64.b64encode(self.login.encode())
        if not head.startswith(b"CONNECT ") or (self.login and b"Basic " + basic not in head):
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return client.close()
        host, _, port = head.split()[1].decode().rpartition(":")
        with socket.create_connection((host, int(port))) as far, client:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            while True:
                for ready in select.select([client, far], [], [])[0]:
                    if not (data := ready.recv(65536)):
                        return None
                    (far if ready is client else client).sendall(data)


@pytest.fixture
def secure(certificate: Path) -> Iterator[FakeDiscord]:
    with FakeDiscord(tls=server_context(certificate)) as fake:
        yield fake


@pytest.mark.parametrize(("variable", "direct", "through"), [
    ("HTTPS_PROXY", "", True), ("https_proxy", "", True), ("HTTPS_PROXY", "discord.com,10.0.0.0/8", True),
    ("HTTPS_PROXY", "127.0.0.1", False), ("HTTPS_PROXY", "*", False), ("HTTP_PROXY", "", False),
    ("HTTPS_PROXY", "127.0.0.1:PORT", False)])  # fmt: skip
@pytest.mark.parametrize("login", ["", "user:pa%73s"])
def test_a_proxy_is_used_for_what_it_is_set_for(
    secure: FakeDiscord, certificate: Path, variable: str, direct: str, through: bool, login: str
) -> None:
    proxy, hook = Proxy("user:pass" if login else ""), secure.add_webhook()
    port = hook.url.split(":")[2].split("/")[0]
    code, out, _ = command("test", DISCORD_WEBHOOK_URL=hook.url, SSL_CERT_FILE=str(certificate / "cert"),
                           NO_PROXY=direct.replace("PORT", port),
                           **{variable: f"http://{login}{'@' if login else ''}127.0.0.1:{proxy.port}"})  # fmt: skip
    proxy.close()
    assert code == 0, out
    assert len(secure.messages) == 1
    assert proxy.asked == ([f"CONNECT 127.0.0.1:{port} HTTP/1.0"] if through else []) or (
        through and proxy.asked == [f"CONNECT 127.0.0.1:{port} HTTP/1.1"])


def test_a_proxy_that_refuses_is_named(secure: FakeDiscord) -> None:
    proxy, hook = Proxy("user:pass"), secure.add_webhook()
    code, out, _ = command("test", DISCORD_WEBHOOK_URL=hook.url,
                           HTTPS_PROXY=f"http://user:wrong-pass@127.0.0.1:{proxy.port}")
    assert code == 1 and "proxy" in out.lower(), out
    assert "wrong-pass" not in out


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["on the target's own host", "elsewhere"])
def test_a_proxy_that_is_away_is_named(secure: FakeDiscord, host: str) -> None:
    """Found by a reading of the code: one on the target's own host was not."""
    hook = secure.add_webhook()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    code, out, _ = command("test", DISCORD_WEBHOOK_URL=hook.url, HTTPS_PROXY=f"http://user:some-pass@{host}:{port}")
    assert code == 1 and f"proxy {host}:{port}" in out.lower(), out
    assert "some-pass" not in out


def test_a_certificate_counts_if_the_system_or_ssl_cert_file_vouches_for_it(secure: FakeDiscord, certificate: Path) -> None:
    hook = secure.add_webhook()
    assert command("test", DISCORD_WEBHOOK_URL=hook.url)[0] == 1 and not secure.messages
    assert command("test", DISCORD_WEBHOOK_URL=hook.url, SSL_CERT_FILE=str(certificate / "cert"))[0] == 0
    assert len(secure.messages) == 1


def test_secrets_from_files_are_used_and_appear_nowhere(engine: FakeEngine, discord: FakeDiscord, tmp_path: Path) -> None:
    """Not in what is printed, in the ledger, in dropped files, or in the list of processes; whatever a container prints."""
    discord.add_bot(TOKEN)
    hook, place, bridge_token = discord.add_webhook(), discord.add_channel("bots"), "bridge-Token.0123456789"
    web = add(engine, "web")
    engine.log(web, f"POST {hook.url}", f"Authorization: Bot {TOKEN}", f"bridge said {bridge_token}",
               f"and {hook.token} too")
    with FakeBridge(token=bridge_token) as bridge:
        bridge.replies["/send"] = (200, {"ok": False, "error": f"bad token {bridge_token}"})
        given = {}
        for name, secret in (("DISCORD_WEBHOOK_URL", hook.url), ("DISCORD_BOT_TOKEN", TOKEN),
                             ("DISCORD_BRIDGE_TOKEN", bridge_token)):
            (tmp_path / name).write_text(f"{secret}\n")
            given[f"{name}_FILE"] = str(tmp_path / name)
        with program(tmp_path, engine.host, **given, DISCORD_CHANNEL_ID=place.id, DISCORD_API_URL=f"{discord.url}/api/v10",
                     DISCORD_BRIDGE_URL=bridge.url, SENTINEL_DROP_DIR=str(tmp_path / "drop")) as process:  # fmt: skip
            until(lambda: "watching web" in (tmp_path / "log").read_text())
            engine.crash(web, 3)
            discord.wait_for(lambda fake: len(fake.posts(text="web is back")) == 2, 15)
            until(lambda: "bridge" in (tmp_path / "log").read_text())
            seen = Path(f"/proc/{process.pid}/cmdline").read_text()
        seen += "".join(command("history", "--json", SENTINEL_STATE=str(tmp_path / "state"))[1:])
        seen += "".join(command("test", **given, DISCORD_CHANNEL_ID=place.id, DISCORD_API_URL=f"{discord.url}/api/v10",
                                            DISCORD_BRIDGE_URL=bridge.url)[1:])  # fmt: skip
    written = {path.name: path.read_bytes() for folder in ("state", "drop") for path in (tmp_path / folder).iterdir()}
    written |= {"log": (tmp_path / "log").read_bytes(), "said": seen.encode(),
                "discord": "".join(message.text for message in discord.messages).encode()}  # fmt: skip
    assert {name: secret for name,
            data in written.items() for secret in (hook.token, TOKEN, bridge_token) if secret.encode() in data} == {}
    discord.lint.clear()
