"""Alerts arrive, once and truly, whatever befalls their way: found by a reading of the code, each played against the
strict fakes on a clock of its own."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fake_bridge import CHANNEL, FakeBridge
from support.fake_discord import FakeDiscord
from support.fake_engine import FakeEngine
from support.lives import Clock, Life, Whole
from support.system import add, titles

import sentinel
from sentinel import Fate, Verdict

MAY_BE_REFUSED = True  # webhooks that are gone, forms that a forum does not take
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GaBcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"
HOUR = 3600.0


@pytest.fixture
def bridge() -> Iterator[FakeBridge]:
    with FakeBridge() as fake:
        yield fake


def hook_of(discord: FakeDiscord) -> sentinel.Secret:
    return sentinel.webhook(discord.add_webhook().url)


def bot_of(discord: FakeDiscord) -> dict[str, Any]:
    """The settings of a bot that posts by REST alone."""
    discord.add_bot(TOKEN)
    return {"bot_token": sentinel.token(TOKEN), "channel_id": discord.add_channel("bots").id,
            "api_url": f"{discord.url}/api/v10", "commands": False}  # fmt: skip


# ── Clocks and new lives ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("behind", [2400.0, 3 * 24 * HOUR])
def test_a_clock_that_is_behind_at_the_start_holds_back_no_alert(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, behind: float
) -> None:
    web, db = add(engine, "web"), add(engine, "db")
    hook = hook_of(discord)
    with Life(engine, tmp_path, clock, webhook_url=hook) as first:
        first.run(1)
        engine.crash(web, 3)
        first.run(30)
    clock.booted -= behind
    clock.reboot()
    before = len(discord.messages)
    with Life(engine, tmp_path, clock, webhook_url=hook) as second:
        second.run(5)
        engine.crash(db, 3)
        second.run(30)
    assert titles(discord)[before:] == ["[DEAD] db", "Recovered: db"]


def test_a_channel_that_was_put_right_is_tried_at_the_next_start(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web = add(engine, "web")
    with Whole(engine, tmp_path, clock, webhook_url=hook_of(discord), restart=False) as first:
        first.run(1)
        discord.webhooks.clear()
        engine.crash(web, 3)
        first.run(30)
        assert "retired" in first.said
    clock.at += 60
    with Whole(engine, tmp_path, clock, webhook_url=hook_of(discord), restart=False) as second:
        second.run(10)
        assert titles(discord)[:1] == ["[DEAD] web"]
        assert "alerts arrive again" in second.said


def test_a_red_that_was_in_flight_when_sentinel_was_killed_reads_true_in_the_next_life(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web = add(engine, "web")
    settings = {**bot_of(discord), "restart": False}
    with Whole(engine, tmp_path, clock, **settings) as first:
        first.run(1)
        first.deaf = True  # of the answer
        engine.crash(web, 3)
        first.run(1)
        assert titles(discord) == ["[DEAD] web"]
    clock.at += 5
    engine.start_by_operator(web)
    clock.at += 20
    with Whole(engine, tmp_path, clock, **settings) as second:
        second.run(60)
    assert titles(discord)[:2] == ["[DEAD] web", "Recovered: web"]
    assert discord.messages[0].embeds[0]["title"] == "✓ [DEAD] web", "no red of something that is over"


# ── What a channel answers ────────────────────────────────────────────────────────────────────────────────────


def answer(status: int, document: Any = None) -> sentinel.Answer:
    return sentinel.Answer(status, body=b"<html>" if document is None else json.dumps(document).encode())


@pytest.mark.parametrize(("status", "document", "who", "fate"), [
    (400, {"code": 50035, "message": "Invalid Form Body"}, "Discord", Fate.MALFORMED),
    (400, {"embeds": ["0"]}, "Discord", Fate.MALFORMED),
    (400, None, "Discord", Fate.UNSENT),
    (421, None, "Discord", Fate.UNSENT),
    (400, {"code": 40058, "message": "Cannot send a message in a forum channel"}, "Discord", Fate.DEAD),
    (400, {"code": 160005, "message": "Thread is locked"}, "Discord", Fate.DEAD),
    (400, None, "the bridge", Fate.MALFORMED),
    (422, {"error": "?"}, "the bridge", Fate.MALFORMED),
    (405, None, "the bridge", Fate.UNSENT),
    (451, None, "the bridge", Fate.UNSENT),
])  # fmt: skip
def test_what_is_no_word_on_its_form_costs_no_message(status: int, document: Any, who: str, fate: Fate) -> None:
    assert sentinel.verdict_on("webhook", answer(status, document), who).fate is fate


@pytest.mark.parametrize(("status", "document"), [(400, {"code": 50035}), (500, None), (422, None), (200, [])])
def test_where_no_channel_could_be_had_nothing_was_sent(status: int, document: Any) -> None:
    assert sentinel.no_channel("bot", answer(status, document), "Discord").fate is Fate.UNSENT


def test_a_bridges_channel_that_was_deleted_is_asked_for_anew(
    engine: FakeEngine, bridge: FakeBridge, clock: Clock, tmp_path: Path
) -> None:
    web, db = add(engine, "web"), add(engine, "db")
    bridge.has = ("ensure", "send")
    with Life(engine, tmp_path, clock, bridge_url=bridge.url, restart=False) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(5)
        bridge.replies[f"/send/{CHANNEL}"] = (404, {"error": "no such channel"})
        bridge.replies["/channels/ensure"] = (200, {"id": "999999999999999999"})
        bridge.replies["/send/999999999999999999"] = (200, {"id": "1"})
        engine.crash(db, 3)
        life.run(5)
        assert [path for path, *_ in bridge.requests][-3:] == [
            f"/send/{CHANNEL}", "/channels/ensure", "/send/999999999999999999"]  # fmt: skip
        assert not life.daemon.post.outboxes["bridge"].waiting


def test_a_place_of_others_that_somebody_deleted_is_a_404_from_then_on(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    place = discord.add_channel("others").id
    with Life(engine, tmp_path, clock, **bot_of(discord)) as life:
        bot = life.daemon.post.channels["bot"]
        assert isinstance(bot, sentinel.Bot)
        message = sentinel.message_for(place, {"content": "hello"})
        discord.channels.pop(place)
        life.daemon.post.pass_on(replace(message, at=life.now), life.now)
        life.run(10)
    given = {"Authorization": "Bearer t", "Content-Length": "2"}
    told = sentinel.take_words(f"/send/{place}", given, lambda _: b"{}", "t", lambda *_: (202, "", ""), bot)
    assert told[0] == 404


def test_what_was_given_up_while_it_connected_is_not_sent_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = threading.Event()
    monkeypatch.setattr(sentinel, "hang_up", lambda sock: given_up.set())

    class Slow(http.client.HTTPConnection):
        def connect(self) -> None:
            assert given_up.wait(10)

        def request(self, *_: Any, **__: Any) -> None:
            pytest.fail("it is sent")

    with pytest.raises(sentinel.ExchangeError) as error:
        sentinel.exchange(Slow("localhost"), sentinel.Request("POST", "/", 0.01, 100))
    assert not error.value.sent


# ── Floods ────────────────────────────────────────────────────────────────────────────────────────────────────


def wordy(verdict: Verdict, number: int) -> sentinel.Notice:
    """A notice whose line in a digest takes all the room that there is."""
    labels = {"com.docker.compose.project": f"p{number}", "com.docker.compose.service": "s",
              "com.docker.compose.project.config_files": f"/srv/stacks/production/p{number}/compose.yaml"}  # fmt: skip
    container = sentinel.Container(f"{number:064x}", f"p{number}-service-of-a-long-name-1", labels, status="exited")
    return sentinel.Notice(verdict, container.name, 0.0, container, project=f"p{number}", logs=("last words " * 20,))


@pytest.mark.parametrize("few", [1, 3, 9])
@pytest.mark.parametrize("many", [30, 190])
@pytest.mark.parametrize("reason", ["", "x" * 400])
def test_a_digest_of_many_colours_is_within_discords_limit(few: int, many: int, reason: str) -> None:
    """Where few are of a colour, their share may be less than their title, and why they are late."""
    verdicts = [Verdict.DEAD] * many + [Verdict.RECOVERED, Verdict.CHILD_OOM, Verdict.STOPPED] * few
    notices = tuple(wordy(verdict, number) for number, verdict in enumerate(verdicts))
    message = sentinel.message_of(sentinel.Deliver("webhook", notices, "box", why_late=reason), HOUR, 0.0)
    sizes = [(len(embed["title"]), len(embed["description"])) for embed in message["embeds"]]
    assert sum(map(sum, sizes)) <= 6000 and max(size for _, size in sizes) <= 4096


def test_a_retired_channel_keeps_what_still_goes_on_and_counts_what_it_drops(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    """The oldest of a flood are its root causes."""
    first = [add(engine, f"w{number:03}") for number in range(130)]
    with Life(engine, tmp_path, clock, webhook_url=hook_of(discord), restart=False, remind=0.0) as life:
        life.run(1)
        hooks = dict(discord.webhooks)
        discord.webhooks.clear()
        for container in first:
            engine.crash(container, 3)
            life.run(3)
        engine.start_by_operator(first[5])
        life.run(10)
        discord.webhooks.update(hooks)
        life.run(2 * HOUR)
        said = "\n".join(message.text for message in discord.messages)
        assert [f"w{number:03}" for number in range(130) if number != 5 and f"w{number:03}" not in said] == []
        assert "of what is over were dropped" in life.said


# ── Chains ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_loss_of_a_chains_first_channel_is_told_through_the_next(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web = add(engine, "web")
    with Life(engine, tmp_path, clock, webhook_url=hook_of(discord), chain=True, **bot_of(discord)) as life:
        life.run(1)
        discord.webhooks.clear()
        engine.crash(web, 3)
        life.run(120)
    assert "[CHANNEL LOST] webhook" in titles(discord)


def test_a_fallback_says_why_it_is_late_and_not_that_sentinel_was_away(
    engine: FakeEngine, discord: FakeDiscord, bridge: FakeBridge, clock: Clock, tmp_path: Path
) -> None:
    web = add(engine, "web")
    settings = {"webhook_url": hook_of(discord), "bridge_url": bridge.url, "chain": True, "restart": False}
    discord.arm("status", status=503, times=999, path="/")
    with Life(engine, tmp_path, clock, **settings, **bot_of(discord)) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(120)
    texts = [told.text for told in bridge.sent]
    assert texts and all("Late" in text and "HTTP 503" in text and "was away" not in text for text in texts), texts


def test_somebody_elses_message_is_for_its_own_place_alone(
    engine: FakeEngine, discord: FakeDiscord, bridge: FakeBridge, clock: Clock, tmp_path: Path
) -> None:
    """On a bridge without embeds it ended Sentinel, at each start anew."""
    bridge.has = ("notify",)
    place = discord.add_channel("others").id
    with Life(engine, tmp_path, clock, bridge_url=bridge.url, chain=True, **bot_of(discord)) as life:
        life.run(1)
        discord.refuse()
        message = sentinel.message_for(place, {"content": "hello from elsewhere"})
        life.daemon.post.pass_on(replace(message, at=life.now), life.now)
        life.run(60)
        discord.accept()
        life.run(120)
    assert bridge.sent == []
    assert [message.content for message in discord.messages] == ["hello from elsewhere"]


def test_what_one_channel_of_a_chain_refuses_for_good_the_next_one_tells(
    engine: FakeEngine, bridge: FakeBridge, clock: Clock, tmp_path: Path
) -> None:
    web, drop = add(engine, "web"), tmp_path / "drop"
    bridge.replies["/send"] = (400, {"error": "?"})
    settings = {"bridge_url": bridge.url, "drop_dir": str(drop), "chain": True, "restart": False}
    with Life(engine, tmp_path / "state", clock, **settings) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(10)
    assert [path for path in drop.iterdir() if "dead" in path.name]
