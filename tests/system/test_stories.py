"""Outages in whole lives of Sentinel: one red message that is edited where it stands, over every channel, over kills, over
a Discord that is away; ledgers that are damaged or old; mutes, greetings, reminders, and the commands about them.

Most of it is played by `Life`, a whole Daemon on a clock that tests set; what is a question of processes, signals
and exit codes by the program itself.
"""

from __future__ import annotations

import functools
import json
import os
import random
import re
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import support.lives
from support import insides
from support.fake_bridge import FakeBridge
from support.fake_discord import FORUM, THREAD, FakeDiscord, Message
from support.fake_engine import PORT_TAKEN, FakeEngine
from support.fake_engine import Container as Fake
from support.lives import Clock, Life
from support.system import add, titles

import sentinel
from sentinel import Settings

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GaBcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"
MAY_BE_REFUSED = True  # webhooks and messages are deleted here
Whole = functools.partial(support.lives.Whole, restart=False)
RED, GREEN, GREY, BLUE = sentinel.RED, sentinel.GREEN, sentinel.GREY, sentinel.BLUE


def cascade(engine: FakeEngine) -> dict[str, Fake]:
    """pulse needs flux, flux needs genesis; apart needs nobody."""
    return {"genesis": add(engine, "genesis"), "flux": add(engine, "flux", "genesis"), "pulse": add(engine, "pulse", "flux"),
            "apart": add(engine, "apart")}  # fmt: skip


def words(message: Message) -> str:
    """What a message says now."""
    return "\n".join(f"{embed['title']}\n{embed['description']}" for embed in message.embeds)


def patches(discord: FakeDiscord) -> list[Any]:
    return [request for request in discord.requests if request.method == "PATCH"]


def files(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)]


def over(life: Life, made: dict[str, Fake], engine: FakeEngine) -> None:
    """Everything is started again by hand, and proves itself."""
    for container in made.values():
        if not container.running:
            engine.start_by_operator(container)
    life.run(60)


# ── Where it is edited ────────────────────────────────────────────────────────────────────────────────────────


def places(discord: FakeDiscord, kind: str) -> tuple[dict[str, Any], str, dict[str, str]]:
    """Settings for a kind of channel, the path that its edits begin with, and their query."""
    if kind == "bot":
        discord.add_bot(TOKEN)
        place = discord.add_channel()
        settings = {"bot_token": sentinel.token(TOKEN), "channel_id": place.id, "api_url": f"{discord.url}/api/v10"}
        return settings, f"/api/v10/channels/{place.id}/messages/", {}
    place = discord.add_channel("alerts", FORUM if kind == "forum" else 0)
    hook = discord.add_webhook(place)
    path = f"/api/v10/webhooks/{hook.id}/{hook.token}/messages/"
    if kind == "thread":
        thread = discord.add_channel("thread", THREAD, parent=place)
        return {"webhook_url": sentinel.webhook(f"{hook.url}?thread_id={thread.id}")}, path, {"thread_id": thread.id}
    return {"webhook_url": sentinel.webhook(hook.url)}, path, {}


@pytest.mark.parametrize("kind", ["webhook", "thread", "forum", "bot"])
def test_an_outage_is_one_message_that_is_edited_where_it_stands_and_one_green(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, kind: str
) -> None:
    made = cascade(engine)
    settings, path, query = places(discord, kind)
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(1)
        engine.log(made["genesis"], "SyntaxError: invalid syntax")
        for name in ("genesis", "flux", "pulse"):
            engine.crash(made[name], 1)
            life.run(10)
        (red,) = discord.messages
        assert "[DEAD] genesis" in words(red) and "SyntaxError" in words(red) and red.embeds[0]["color"] == RED
        assert "`flux ← genesis`: DEAD" in words(red) and "`pulse ← flux ← genesis`: DEAD" in words(red)
        over(life, made, engine)
    red, green = discord.messages
    assert green.embeds[0]["title"] == "Recovered: genesis" and "flux and pulse" in words(green)
    assert green.channel_id == red.channel_id
    assert "Recovered after" in words(red) and "SyntaxError" in words(red)
    assert red.embeds[0]["title"] == "✓ [DEAD] genesis" and red.embeds[0]["color"] == sentinel.DARK_GREEN
    query = {"thread_id": red.channel_id} if kind == "forum" else query
    assert {request.path for request in patches(discord)} == {path + red.id}
    assert all(request.query == query and request.status == 200 for request in patches(discord))
    assert 2 <= len(patches(discord)) <= 10, "edits are merged"
    assert all("content" not in request.json for request in patches(discord))
    assert [request for request in discord.refused if kind != "forum"] == []


def test_an_edit_pings_nobody_and_takes_the_ping_of_the_first_message_not_away(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    made, (settings, _, _) = cascade(engine), places(discord, "webhook")
    with Whole(engine, tmp_path, clock, mention="<@&1234567>", **settings) as life:
        life.run(1)
        engine.crash(made["genesis"], 1)
        life.run(1)
        engine.crash(made["flux"], 1)
        life.run(30)
    (red,) = discord.messages
    assert patches(discord) and red.content == "<@&1234567>" and red.mentions == ([], [], False)
    assert discord.requests[0].json["allowed_mentions"]["roles"] == ["1234567"]


def test_a_root_that_is_given_up_is_said_by_an_edit_and_by_no_second_message(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    made, (settings, _, _) = cascade(engine), places(discord, "webhook")
    engine.on_start(made["genesis"], PORT_TAKEN)
    with Whole(engine, tmp_path, clock, restart=True, **settings) as life:
        life.run(1)
        engine.crash(made["genesis"], 1)
        life.run(0.5)
        engine.crash(made["flux"], 1)
        life.run(120)
        (red,) = discord.messages
        assert "[GAVE UP] genesis" in words(red) and "`flux ← genesis`" in words(red)
        assert "port is already allocated" in words(red)
        assert len(engine.called("POST", made["flux"].id)) <= 1, "it burns no budget against a wall"


def test_what_was_told_apart_is_folded_into_the_root_when_that_turns_out_to_be_dead(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    made, (settings, _, _) = cascade(engine), places(discord, "bot")
    made["other"] = add(engine, "other", "genesis")
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(1)
        for name in ("flux", "other", "genesis"):
            engine.crash(made[name], 1)
            life.run(5)
        life.run(30)
        *apart, red = discord.messages
        assert "[DEAD] genesis" in words(red) and "flux ← genesis" in words(red) and "other ← genesis" in words(red)
        number = re.search(r"incident (\d+)", red.embeds[0]["footer"]["text"])
        assert number and [message.embeds[0]["title"] for message in apart] == ["Folded: flux", "Folded: other"]
        for message in apart:
            assert message.embeds[0]["color"] == GREY
            assert f"see incident {number[1]}" in words(message) and "genesis" in words(message)
        over(life, made, engine)
        assert titles(discord) == ["Folded: flux", "Folded: other", "[DEAD] genesis", "Recovered: genesis"]
        assert not life.daemon.post.outboxes["bot"].posted and not life.daemon.post._reds


# ── Killed at any moment ──────────────────────────────────────────────────────────────────────────────────────

STORY: list[tuple[float, str, str]] = [(1, "flux", "crash"), (4, "genesis", "crash"), (20, "pulse", "crash"),
                                       (40, "genesis", "start"), (42, "flux", "start"), (44, "pulse", "start")]  # fmt: skip


def play(engine: FakeEngine, folder: Path, clock: Clock, made: dict[str, Fake], moments: list[float], deaf: bool,
         **settings: Any) -> None:  # fmt: skip
    """The story, Sentinel killed at each of these moments and started at once; deaf to what Discord said last."""
    began, todo = clock.now, sorted(STORY)
    ends = [*moments, 200.0]
    for index, end in enumerate(ends):
        with Whole(engine, folder, clock, **settings) as life:
            while todo and todo[0][0] < end:
                moment, name, deed = todo.pop(0)
                life.run_until(began + max(moment, clock.now - began))
                (engine.crash(made[name], 1) if deed == "crash" else engine.start_by_operator(made[name]))
            life.run_until(began + max(end - 0.2, clock.now - began))
            life.deaf = deaf and index < len(moments)
            life.run_until(began + end)


@pytest.mark.parametrize("seed", range(25))
def test_an_outage_is_told_once_and_its_message_kept_current_however_often_sentinel_is_killed(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    moments = sorted({round(chance.choice((chance.uniform(0.5, 45), chance.choice((1, 4, 5, 10, 20, 26, 40))
                                           + chance.choice((0.001, 0.006, 0.011, 0.05)))), 3)
                      for _ in range(6)})  # fmt: skip
    print(moments)
    made, (settings, _, _) = cascade(engine), places(discord, "webhook")
    play(engine, tmp_path, clock, made, moments, False, **settings)
    assert titles(discord) == ["Folded: flux", "[DEAD] genesis", "Recovered: genesis"], discord.story()
    _, red, green = discord.messages
    assert "Recovered after" in words(red) and "`pulse ← flux ← genesis`: DEAD" in words(red)
    assert "flux and pulse" in words(green)


@pytest.mark.parametrize("lives", [1, 3])
def test_an_outage_that_is_over_is_over_in_the_next_life_too(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, lives: int
) -> None:
    made, (settings, _, _) = cascade(engine), places(discord, "webhook")
    play(engine, tmp_path, clock, made, [50.0, 51.0, 52.0][:lives], False, **settings)
    assert titles(discord) == ["Folded: flux", "[DEAD] genesis", "Recovered: genesis"], discord.story()


@pytest.mark.parametrize("seed", range(25))
def test_a_bot_that_is_killed_before_it_hears_the_answer_tells_nothing_twice(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, seed: int
) -> None:
    """The message is in Discord, its id is not in the ledger: the next life asks again, with the same nonce."""
    chance = random.Random(seed)
    moments = sorted(round(chance.choice((1, 4, 5, 10, 20, 26, 40, 47)) + chance.uniform(0.01, 0.2), 3) for _ in range(4))
    print(moments)
    made, (settings, _, _) = cascade(engine), places(discord, "bot")
    play(engine, tmp_path, clock, made, moments, True, **settings)
    assert len([title for title in titles(discord) if title.startswith("Recovered")]) == 1, discord.story()
    assert len(discord.messages) == 3, discord.story()


def test_what_was_under_way_at_the_kill_reads_the_newest_in_the_end(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    """Posted, killed before the answer came; all is over before the next life has asked again."""
    made, (settings, _, _) = cascade(engine), places(discord, "bot")
    with Whole(engine, tmp_path, clock, **settings) as first:
        first.run(1)
        first.deaf = True
        engine.crash(made["genesis"], 1)
        first.run(0.1)
    assert titles(discord) == ["[DEAD] genesis"]
    engine.crash(made["flux"], 1)
    clock.at += 10
    with Whole(engine, tmp_path, clock, **settings) as second:
        second.run(30)
        (red,) = discord.messages
        assert "flux ← genesis" in words(red)


# ── Somebody deletes the message, Discord is away ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["webhook", "bot"])
def test_a_red_that_somebody_deletes_is_told_anew_when_there_is_more_to_say(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, kind: str
) -> None:
    made, (settings, _, _) = cascade(engine), places(discord, kind)
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(1)
        engine.crash(made["genesis"], 1)
        life.run(10)
        discord.messages[0].deleted = True
        for name in ("flux", "pulse"):
            engine.crash(made[name], 1)
            life.run(20)
        over(life, made, engine)
        statuses = [request.status for request in patches(discord)]
        assert statuses[0] == 404 and set(statuses[1:]) <= {200}, "asked once, and not again"
        assert sum("can't be edited any more" in line for line in life.lines) == 1 and "WARNING" in life.said
        assert titles(discord) == ["[DEAD] genesis", "[DEAD] genesis", "Recovered: genesis"]
        _, red, green = discord.messages
        assert "Recovered after" in words(red) and "flux and pulse" in words(green)
        assert not life.daemon.post.outboxes[kind].posted
        engine.crash(made["apart"], 1)
        life.run(5)
        assert titles(discord)[3:] == ["[DEAD] apart"], "the channel is as good as before"


@pytest.mark.parametrize("kind", ["webhook", "bot"])
@pytest.mark.parametrize("lives", [1, 2])
def test_while_discord_is_away_the_outage_moves_on_and_is_then_told_once_as_it_is(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, kind: str, lives: int
) -> None:
    made, (settings, _, _) = cascade(engine), places(discord, kind)
    discord.refuse()
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(1)
        for name in ("pulse", "flux", "genesis"):
            engine.crash(made[name], 1)
            life.run(20)
    discord.accept() if lives == 2 else None
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(1)
        discord.accept() if lives == 1 else None
        life.run(90)
        (red,) = discord.messages
        assert "[DEAD] genesis" in words(red) and "`pulse ← flux ← genesis`" in words(red), "it reads the newest already"
        assert not patches(discord)
        over(life, made, engine)
    assert titles(discord) == ["[DEAD] genesis", "Recovered: genesis"] and "Recovered after" in words(discord.messages[0])


def test_an_outage_that_is_over_before_discord_is_back_is_told_as_one_that_is_over(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    made, (settings, _, _) = cascade(engine), places(discord, "webhook")
    discord.refuse()
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(1)
        engine.crash(made["genesis"], 1)
        life.run(20)
        over(life, made, engine)
        discord.accept()
        life.run(90)
        assert titles(discord) == ["[DEAD] genesis", "Recovered: genesis"]
        assert "Recovered after" in words(discord.messages[0]) and not patches(discord)
        box = life.daemon.post.outboxes["webhook"]
        assert not box.posted and not box.waiting and not life.daemon.post._reds


@pytest.mark.parametrize("fault", ["30046", "500"])
def test_edits_that_discord_does_not_take_do_not_delay_the_alert_of_another_service(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, fault: str
) -> None:
    """30046 counts the edits of one message that is older than an hour; posts are taken all the while."""
    made, (settings, _, _) = cascade(engine), places(discord, "webhook")
    with Whole(engine, tmp_path, clock, poll_interval=600.0, **settings) as life:
        life.run(1)
        engine.crash(made["genesis"], 1)
        life.run(3700)
        details: dict[str, Any] = {"code": 30046, "retry_after": 30.0} if fault == "30046" else {"status": 500}
        discord.arm("429" if fault == "30046" else "status", times=100, method="PATCH", **details)
        engine.crash(made["flux"], 1)
        life.run(100)
        assert patches(discord)
        last = len(patches(discord))
        for _ in range(200):
            if len(patches(discord)) > last:  # a 30046 ends the edits of that message
                break
            life.run(0.5)
        before = clock.at
        engine.crash(made["apart"], 3)
        while not discord.posts(text="apart is DEAD"):
            life.run(0.5)
            assert clock.at - before < 5, f"an edit holds up the red of another service for {clock.at - before:.0f} s"


# ── Channels that can't edit ──────────────────────────────────────────────────────────────────────────────────


def test_a_cascade_over_a_bridge_is_told_again_as_it_grows(engine: FakeEngine, clock: Clock, tmp_path: Path) -> None:
    made = cascade(engine)
    with FakeBridge() as bridge, Whole(engine, tmp_path, clock, bridge_url=bridge.url) as life:
        life.run(1)
        for name in ("flux", "genesis", "pulse"):
            engine.crash(made[name], 1)
            life.run(10)
        over(life, made, engine)
        told = [sent.body["embeds"] for sent in bridge.sent]
        assert [[embed["title"] for embed in embeds] for embeds in told] == [
            ["[DEAD] flux"], ["[DEAD] genesis"], ["[DEAD] genesis"], ["Recovered: genesis"]], "title, list, green"
        assert "pulse ← flux ← genesis" in told[2][0]["description"] and "pulse" not in told[1][0]["description"]
        assert bridge.lint == [] and not life.daemon.post.outboxes["bridge"].posted


def test_a_cascade_into_a_folder_is_told_again_as_it_grows(engine: FakeEngine, clock: Clock, tmp_path: Path) -> None:
    made, drop = cascade(engine), tmp_path / "drop"
    with Whole(engine, tmp_path, clock, drop_dir=str(drop)) as life:
        life.run(1)
        for name in ("flux", "genesis", "pulse"):
            engine.crash(made[name], 1)
            life.run(10)
        found = files(drop)
        newest = next(one for one in found if one["name"] == "genesis")
        assert "pulse ← flux ← genesis" in json.dumps(newest, ensure_ascii=False)
        over(life, made, engine)
        assert [one["name"] for one in files(drop) if one["verdict"] == "Recovered"] == ["genesis"]
        assert not list(drop.glob("*.part")) and not life.daemon.post.outboxes["drop"].posted


def test_a_cascade_in_a_terminal(
    engine: FakeEngine, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = cascade(engine)
    with Whole(engine, tmp_path, clock) as life:
        life.run(1)
        for name in ("flux", "genesis", "pulse"):
            engine.crash(made[name], 1)
            life.run(10)
        over(life, made, engine)
    shown = re.findall(r"^\| (\[.*\] \w+|Recovered: \w+)$", capsys.readouterr().out, re.M)
    assert shown == ["[DEAD] flux", "[DEAD] genesis", "[DEAD] genesis", "Recovered: genesis"]


def test_over_a_bridge_each_of_two_outages_of_one_message_is_told_again_when_it_is_given_up(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    one, two = add(engine, "one"), add(engine, "two")
    with FakeBridge() as bridge, Whole(engine, tmp_path, clock, bridge_url=bridge.url, restart=True) as life:
        life.run(1)
        bridge.refuse()
        for container in (one, two):  # the second try of each fails, too, half a second apart
            engine.on_start(container, PORT_TAKEN)
            engine.crash(container, 1)
            life.run(0.5)
        bridge.accept()
        life.run(3)
        assert [[embed["title"] for embed in sent.body["embeds"]] for sent in bridge.sent] == [["[DEAD] one", "[DEAD] two"]]
        life.run(300)
        told = [embed["title"] for sent in bridge.sent for embed in sent.body["embeds"]]
        assert {"[GAVE UP] one", "[GAVE UP] two"} <= set(told), told


# ── Nothing grows ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channel", ["webhook", "bridge", "drop"])
def test_dozens_of_outages_leave_nothing_in_memory(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, channel: str
) -> None:
    made, (webhook, _, _) = cascade(engine), places(discord, "webhook")
    with FakeBridge() as bridge:
        settings = {"webhook": webhook, "bridge": {"bridge_url": bridge.url}, "drop": {"drop_dir": str(tmp_path / "d")}}
        with Whole(engine, tmp_path, clock, poll_interval=3600.0, **settings[channel]) as life:
            life.run(1)
            sizes = []
            for _ in range(6):
                for names in (("flux", "genesis"), ("genesis", "flux", "apart"), ("pulse",)):
                    for name in names:
                        engine.crash(made[name], 1)
                    life.run(20)
                    over(life, made, engine)
                    life.run(3700)
                post, goes_on = life.daemon.post, len(insides.outages(life.watchdog))
                kept = sum(len(box.posted) + len(box.waiting) for box in post.outboxes.values())
                sizes.append((len(life.daemon.books.ledger.alive), len(post._reds), goes_on, kept))
            assert sizes[0] == sizes[-1] and sizes[-1][1:] == (0, 0, 0), sizes


# ── Ledgers that are damaged ──────────────────────────────────────────────────────────────────────────────────


def sql(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def record(path: Path, kind: str) -> list[tuple[str, Any]]:
    with sqlite3.connect(path) as database:
        rows = [(key, json.loads(text)) for key, text in database.execute(
            "SELECT key, value FROM record WHERE kind = ? ORDER BY key", (kind,))]  # fmt: skip
    database.close()
    return rows


def put(path: Path, kind: str, key: str, value: Any) -> None:
    with sqlite3.connect(path) as database:
        database.execute("INSERT OR REPLACE INTO record VALUES (?, ?, 1.8e9, ?)", (kind, key, json.dumps(value)))
    database.close()


def going_on(engine: FakeEngine, discord: FakeDiscord, clock: Clock, folder: Path, **settings: Any) -> dict[str, Fake]:
    """An outage that goes on, its message posted, and another alert that waits for a Discord that is away."""
    made = cascade(engine)
    with Whole(engine, folder, clock, **settings) as life:
        life.run(1)
        engine.crash(made["genesis"], 1)
        engine.crash(made["flux"], 1)
        life.run(10)
        discord.refuse()
        engine.crash(made["apart"], 3)
        life.run(10)
    discord.accept()
    return made


def spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a document."""
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from spots(item, (*path, key))


ODD = [None, "text", -1, 1e300, [], {}, ["x"], [[1]], {"a": 1}, True, 3.5, "", float("nan"), float("inf")]


def mutated(document: Any, chance: random.Random) -> tuple[Any, tuple[Any, ...], Any]:
    """A document with one value replaced by one of another kind, or taken out."""
    copy = json.loads(json.dumps(document))
    path = chance.choice([*spots(copy)])
    odd = chance.choice(ODD)
    if not path:
        return odd, path, odd
    place = copy
    for step in path[:-1]:
        place = place[step]
    if chance.random() < 0.2:
        del place[path[-1]]
    else:
        place[path[-1]] = odd
    return copy, path, odd


def survives(engine: FakeEngine, discord: FakeDiscord, clock: Clock, folder: Path, made: dict[str, Fake],
             **settings: Any) -> support.lives.Whole:  # fmt: skip
    """A life on this ledger: whatever is in it, a new death is told."""
    with Whole(engine, folder, clock, greet=True, **settings) as life:
        life.run(90)
        fresh = add(engine, "fresh")
        life.run(40)
        engine.crash(fresh, 5)
        over(life, made, engine)
        life.run(400)
    assert discord.posts(text="fresh is DEAD"), life.said
    return life


def trial(engine: FakeEngine, discord: FakeDiscord, clock: Clock, folder: Path, kind: str,
          seeds: Iterable[int]) -> list[str]:  # fmt: skip
    """What goes wrong with a ledger one of whose records of a kind has another value somewhere."""
    settings, _, _ = places(discord, "webhook")
    for limit in discord.limits:
        discord.limits[limit] = None
    made = going_on(engine, discord, clock, folder, **settings)
    kept, wrong = (folder / "sentinel.db").read_bytes(), []
    for seed in seeds:
        (folder / "sentinel.db").write_bytes(kept)
        chance = random.Random(seed)
        key, document = chance.choice(record(folder / "sentinel.db", kind))
        changed, path, odd = mutated(document, chance)
        put(folder / "sentinel.db", kind, key, changed)
        life = Whole(engine, folder, clock, greet=True, **settings)
        try:
            with life:
                life.run(20)
                life.run(400)
            sentinel.history(Settings(state=str(folder)), {}, False)
            sentinel.history(Settings(state=str(folder)), {}, True)
        except Exception as error:
            wrong.append(f"{kind} {key} {'.'.join(map(str, path))} = {odd!r}: {error!r}")
            life.kill()
    for limit in discord.limits:
        discord.limits[limit] = None
    survives(engine, discord, clock, folder, made, **settings) if not wrong else None
    return wrong


@pytest.mark.parametrize("kind", ["service", "outage", "outbox", "notice", "meta"])
def test_a_record_with_a_value_of_another_kind_ends_no_life(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, kind: str
) -> None:
    wrong = trial(engine, discord, clock, tmp_path, kind, range(int(os.environ.get("SENTINEL_TEST_SEEDS", "25"))))
    assert not wrong, "\n".join(wrong)


#: Records of which each ends every life of Sentinel from then on: it is read again at each start.
FATAL: list[tuple[str, str, tuple[str, ...], Any]] = [
    ("service", "shop/genesis/1", ("incident", "outage"), 3.5),
    ("service", "shop/pulse/1", ("container", "labels", "com.docker.compose.depends_on"), {"a": 1}),
    ("service", "shop/apart/1", ("container", "labels", "com.docker.compose.service"), {}),
    ("notice", "2", ("container", "labels", "com.docker.compose.service"), ["x"]),
    ("notice", "2", ("container", "labels", "com.docker.compose.oneoff"), 3.5),
    ("notice", "2", ("mention",), 3.5), ("notice", "2", ("recovered",), []), ("notice", "1", ("id",), [[1]]),
    ("notice", "2", ("at",), 1e300), ("notice", "2", ("names",), [1]), ("notice", "2", ("logs",), [1]),
    ("outbox", "webhook", ("batch",), float("nan")), ("outbox", "webhook", ("edits",), [[]]),
    ("meta", "remind", (), float("nan")), ("meta", "greeting", (), [])]  # fmt: skip


@pytest.mark.parametrize(("kind", "key", "path", "odd"), FATAL, ids=lambda value: str(value)[-40:])
def test_a_damaged_record_is_left_out(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, kind: str, key: str,
    path: tuple[str, ...], odd: Any
) -> None:
    settings, _, _ = places(discord, "webhook")
    made, ledger = going_on(engine, discord, clock, tmp_path, **settings), tmp_path / "sentinel.db"
    document = dict(record(ledger, kind)).get(key) if path else odd
    place = document
    for step in path[:-1]:
        place = place[step]
    if path:
        assert path[-1] in place
        place[path[-1]] = odd
    put(ledger, kind, key, document)
    survives(engine, discord, clock, tmp_path, made, **settings)


@pytest.mark.parametrize(("kind", "key"), [("outage", "1"), ("outbox", "webhook"), ("notice", "2")])
def test_a_record_that_is_left_out_is_a_line_in_the_log(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, kind: str, key: str
) -> None:
    settings, _, _ = places(discord, "webhook")
    made, ledger = going_on(engine, discord, clock, tmp_path, **settings), tmp_path / "sentinel.db"
    put(ledger, kind, key, {"of": "another shape"})
    life = survives(engine, discord, clock, tmp_path, made, **settings)
    assert [line for line in life.lines if "WARNING" in line and "ledger" in line]
