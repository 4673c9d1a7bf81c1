"""The ledger: what Sentinel remembers over its own death, and what it makes of what happened meanwhile.

Most of it is played by `Life`, a whole Daemon on a clock that tests set; what is a question of processes, signals
and exit codes by the program itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support import insides
from support.fake_discord import FakeDiscord
from support.fake_engine import Container as Fake
from support.fake_engine import FakeEngine
from support.lives import Clock, Life
from support.system import PROGRAM, add, command, end, program, titles, until

import sentinel
from sentinel import Cause, Container, Health, Incident, Ledger, Notice, Outbox, Phase, Settings, Verdict, Watched

RED, GREEN, GREY = sentinel.RED, sentinel.GREEN, sentinel.GREY


# ── There and back ────────────────────────────────────────────────────────────────────────────────────────────


class Anything:
    """Values at random, of the shapes that Sentinel's own have."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def text(self) -> str:
        return "".join(self.chance.choices("aé🐳\u202e\n\"'\\ \x1b%", k=self.chance.randrange(12)))

    def moment(self) -> float:
        return self.chance.choice((-600.0, 0.0, 5.0, 1e5)) + self.chance.randrange(80000) / 8

    def flag(self) -> bool:
        return self.chance.random() < 0.5

    def number(self) -> int:
        return self.chance.randrange(300)

    def container(self) -> Container:
        labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": self.text(), "sentinel.job": "false"}
        return Container(
            f"{self.number():064x}", self.text(), labels, self.chance.choice(("running", "exited", "paused", "created")),
            self.chance.choice(tuple(Health)), self.number(), "", self.number(), self.flag(), self.text(),
            self.moment(), self.moment(), self.number(), self.chance.choice(("no", "always", "on-failure")),
            self.number(), self.moment(), self.text(), (self.text(),) * self.chance.randrange(2), self.flag(), self.flag(),
            self.number())

    def moments(self, most: int) -> list[float]:
        return [self.moment() for _ in range(self.chance.randrange(most))]

    def run(self, ended: bool) -> sentinel.Run:
        end = sentinel.Death(self.moment(), self.moment(), self.chance.choice((None, 3)), self.flag(), self.number())
        kills = [sentinel.Kill(self.number(), self.moment())] * self.chance.randrange(2)
        asked_at = self.chance.choice((None, 7.5))
        if not ended:  # a `stop` or `oom` that has ended nothing is not kept
            return sentinel.Run(self.moment(), kills, asked_at=asked_at, judged=self.flag(), follows_death=self.flag())
        return sentinel.Run(self.moment(), kills, self.moment(), self.moment(), asked_at, end, self.flag(), self.flag())

    def service(self) -> Watched:
        container, settings = self.container(), Settings()
        service = Watched(self.text() or "key", container, sentinel.policy_of(container, settings, "")[0],
                          self.chance.choice([phase for phase in Phase if phase is not Phase.RESTARTING]))
        service.run = self.run(service.phase is Phase.SUSPECT or self.flag())
        if self.flag():
            outage = sentinel.Outage(self.number(), self.moment(), service.key, [service.key],
                                     self.chance.choice(tuple(sentinel.Standing)), self.number())
            service.incident = Incident(outage, self.moment(), self.notice(), self.number(), self.number(),
                                        self.chance.choice((None, 3.5)), self.chance.choice((None, 7.5)), self.text())
        service.budget = sentinel.Budget(self.number(), tuple(self.moments(sentinel.MEMORY_OF_DEATHS)))
        service.deploy = self.chance.choice((None, sentinel.Deploy(), sentinel.Deploy(self.container())))
        service.call = self.chance.choice((None, sentinel.Call("c", 7.5), sentinel.Call("c")))
        service.hush = self.chance.choice(tuple(sentinel.Hush))
        service.network_parent, service.known_error = self.text(), self.text()
        service.proved_at, service.back_at, service.noted_at = self.moment(), self.moment(), self.chance.choice((None, 2.5))
        service.incident_ends_at.append(self.moment())
        return service

    def notice(self) -> Notice:
        return Notice(
            self.chance.choice(tuple(Verdict)), self.text(), self.moment(), self.container() if self.flag() else None,
            self.chance.choice(tuple(Cause)), "shop", self.number(), self.chance.choice((None, 137)),
            self.chance.choice((None, 3.5)), self.chance.choice((None, 7.25)), self.number(), self.number(), self.text(), "",
            ("line",), self.number(), ("web", "db"), "<@&123456>",
            (sentinel.Consequence(("web", "db"), Verdict.DEAD, self.moment(), 1, Cause.OOM, "waits", self.flag()),),
            (("Stopped", "db"),), self.flag(), self.chance.choice((None, 2.5)), self.number())


def moved(value: Any, later: float) -> Any:
    """A value with its moments as they are on a clock that is `later` ahead; an outage by its number."""
    if isinstance(value, sentinel.Outage):
        return value.number
    if is_dataclass(value):
        return {one.name: shifted(getattr(value, one.name), later, one.name) for one in fields(value)}
    if isinstance(value, list | tuple):
        return [moved(item, later) for item in value]
    return value


def shifted(value: Any, later: float, name: str) -> Any:
    """One field of a value, by its name."""
    if not (name == "at" or name.endswith("_at")) or value is None:
        return moved(value, later)
    if isinstance(value, list | tuple):
        return [round(at + later, 2) for at in value]
    return round(value + later, 2)


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("seed", range(60))
def test_a_service_is_the_same_after_the_ledger_also_on_a_clock_that_began_anew(seed: int) -> None:
    """Moments are kept as calendar time: after a reboot the monotonic clock counts from somewhere else."""
    one, due, offset, later = Anything(seed).service(), 77.125, 1.7e9, 5e4
    document = through_json(sentinel.service_record(one, due, offset))
    outages = {one.incident.outage.number: replace(one.incident.outage)} if one.incident else {}
    again, due_again = sentinel.service_of(one.key, document, sentinel.Reader(offset - later, outages), Settings())
    assert moved(again, -later) == moved(one, 0.0)
    assert due_again == pytest.approx(due + later, abs=0.01)


@pytest.mark.parametrize("seed", range(30))
def test_a_notice_and_an_outbox_are_the_same_after_the_ledger(seed: int) -> None:
    some, later = Anything(seed), 5e4
    notices = [replace(some.notice(), id=number) for number in range(1, 6)]
    box = Outbox("webhook")
    box.waiting, box.handed, box.repeat = notices[2:], [4], sentinel.Posting(2, plain=True)
    box.trouble = sentinel.Trouble(500.0, failures=3, why="why")
    records = {str(one.id): through_json(insides.notice_record(one, 1.7e9)) for one in notices}
    again = Outbox("webhook")
    insides.fill_outbox(again, through_json(insides.outbox_record(box, 1.7e9)), records, 1.7e9 - later)
    assert [moved(one, -later) for one in again.waiting] == [moved(one, 0.0) for one in box.waiting]
    assert (again.channel, again.handed, again.underway) == (box.channel, box.handed, box.underway)
    assert again.repeat == sentinel.Posting(2, plain=True, unclear=True), "it may have arrived in the life before"
    assert moved(again.trouble, -later) == moved(box.trouble, 0.0)


@pytest.mark.parametrize("text",
                         ["\ud800", "\x00", "🐳" * 5000, "'; DROP TABLE record; --", "```"],
                         ids=lambda text: ascii(text)[:12])  # fmt: skip
def test_no_text_of_a_container_is_too_odd_for_the_ledger(tmp_path: Path, text: str) -> None:
    container = Container("1" * 64, "web", {"com.docker.compose.service": text}, status="exited", error=text)
    ledger = Ledger(str(tmp_path))
    assert ledger.open() == ""
    ledger.put("notice", "1", insides.notice_record(Notice(Verdict.DEAD, "web", 0.0, container, logs=(text,)), 0.0), 1.0)
    assert ledger.commit(0.0) == ""
    assert insides.notice_of(ledger.records("notice")["1"], 0.0).name == "web"


# ── What was in flight when Sentinel was killed ───────────────────────────────────────────────────────────────


def prepare(phase: str, engine: FakeEngine, web: Fake, life: Life, max_restarts: int = 5) -> None:
    """Bring web into a phase, as it comes about in life."""
    insides.set_settings(life.watchdog, max_restarts=max_restarts)
    life.run(1)
    if phase == "restarting":
        life.lost = (sentinel.Restart,)
        engine.crash(web, 3)
        life.run(0.5)
    elif phase in ("proving", "backoff", "gave up"):
        engine.crash(web, 3)
        life.run(1)
        if phase != "proving":
            engine.crash(web, 3)
            life.run(1)
    elif phase in ("suspect", "stopped"):
        engine.stop_by_operator(web)
        life.run(2 if phase == "suspect" else 60)
    assert life.watchdog.services["shop/web/1"].phase == phase


def meanwhile(deed: str, engine: FakeEngine, web: Fake) -> None:
    """What happens to web while nobody watches."""
    match deed:
        case "starts":
            engine.start_by_operator(web)
        case "dies":
            engine.crash(web, 4)
        case "starts and dies":
            engine.start_by_operator(web)
            engine.crash(web, 4)
        case "is stopped":
            engine.stop_by_operator(web)
        case "is removed":
            engine.remove(web)
        case "is recreated":
            engine.recreate(web)


#: phase at the kill, what happens meanwhile, what is told after the next start, how often the engine is called
FLIGHTS = [
    ("up", "nothing", [], 0),
    ("up", "dies", ["DEAD web", "Recovered web"], 1),
    ("up", "is stopped", ["Stopped web"], 0),
    ("up", "is removed", ["Stopped web"], 0),
    ("up", "is recreated", [], 0),
    ("restarting", "nothing", ["Recovered web"], 1),
    ("restarting", "starts", ["Recovered web"], 0),
    ("restarting", "starts and dies", ["Recovered web"], 1),
    ("restarting", "is removed", ["Stopped web"], 0),
    ("restarting", "is recreated", ["Recovered web"], 0),
    ("proving", "nothing", ["Recovered web"], 0),
    ("proving", "dies", ["Recovered web"], 1),
    ("proving", "is stopped", ["Stopped web"], 0),
    ("proving", "is removed", ["Stopped web"], 0),
    ("proving", "is recreated", ["Recovered web"], 0),
    ("backoff", "nothing", ["Recovered web"], 1),
    ("backoff", "starts", ["Recovered web"], 0),
    ("backoff", "is removed", ["Stopped web"], 0),
    ("suspect", "nothing", ["Stopped web"], 0),
    ("suspect", "starts", [], 0),
    ("suspect", "is removed", ["Stopped web"], 0),
    ("suspect", "is recreated", [], 0),
    ("gave up", "nothing", [], 0),
    ("gave up", "starts", ["Recovered web"], 0),
    ("gave up", "is removed", ["Stopped web"], 0),
    ("stopped", "nothing", [], 0),
    ("stopped", "starts", [], 0),
    ("stopped", "is removed", [], 0),
]


@pytest.mark.parametrize("away", [1.0, 20.0, 900.0])
@pytest.mark.parametrize(("phase", "deed", "told", "calls"), FLIGHTS,
                         ids=lambda value: str(value) if isinstance(value, str) else "")
def test_what_was_in_flight_is_settled_by_looking(
    engine: FakeEngine, clock: Clock, tmp_path: Path, phase: str, deed: str, told: list[str], calls: int, away: float
) -> None:
    web = add(engine, "web")
    settings = {"max_restarts": 1} if phase == "gave up" else {}
    with Life(engine, tmp_path, clock, **settings) as first:
        prepare(phase, engine, web, first, **settings)
        number = insides.numbered(first.watchdog)
    called = len(engine.called("POST"))
    clock.at += away / 2
    meanwhile(deed, engine, web)
    clock.at += away / 2
    with Life(engine, tmp_path, clock, **settings) as second:
        second.run(120)
        assert second.told() == told, second.said
        assert len(engine.called("POST")) - called == calls, second.said
        if number and told and "DEAD" not in told[0] and phase != "stopped":
            assert {notice.incident for notice in second.notices} == {number}, "one story, one number"
        second.run(1000)
        assert second.told() == told, "and no more than that"


@pytest.mark.parametrize("lives", [1, 2, 5])
def test_a_restart_of_sentinel_gives_no_fresh_budget(engine: FakeEngine, clock: Clock, tmp_path: Path, lives: int) -> None:
    web = add(engine, "web")
    engine.on_start(web, crash_after=0.0, code=3)
    told: list[str] = []
    for number in range(lives + 1):
        with Life(engine, tmp_path, clock) as life:
            life.run(1)
            if not number:
                engine.crash(web, 3)
            life.run(3000 if number == lives else 12)
            told += life.told()
        clock.at += 1
    assert len(engine.called("POST", "/start$")) == 5, told
    assert [line.partition(" web")[0] for line in told] == ["DEAD", "CRASH LOOP", "GAVE UP"]


def test_a_restart_that_was_cut_short_is_neither_repeated_at_once_nor_forgotten(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    web = add(engine, "web")
    with Life(engine, tmp_path, clock) as first:
        prepare("restarting", engine, web, first)
    called = len(engine.called("POST"))
    with Life(engine, tmp_path, clock) as second:
        second.run(2)
        assert len(engine.called("POST")) == called, "the engine may still be at it"
        second.run(30)
        assert len(engine.called("POST")) == called + 1
        service = second.watchdog.services["shop/web/1"]
        assert service.budget.attempts == 2 and second.told() == ["Recovered web"]
        assert second.notices[0].deaths == 1 and second.notices[0].attempts == 2


def test_a_crash_loop_that_then_cant_be_started_ends_no_life(clock: Clock, tmp_path: Path) -> None:
    """Found by a random walk of the core."""
    with FakeEngine() as engine:
        web = engine.add("web", project="shop", started_ago=3600.0, stop_timeout=0, term_code=0)
        with contextlib.suppress(IndexError), Life(engine, tmp_path, clock, greet=False) as first:
            first.run(2)
            for pause in (1, 7, 2):
                engine.crash(web, 1)
                first.run(pause)
            engine.start_by_operator(web)
            first.run(1)
            engine.on_start(web, (500, "port is already allocated"))
            engine.restart_by_operator(web)
            first.run(30)
        clock.at += 5
        with Life(engine, tmp_path, clock, greet=False) as second:
            second.run(30)


# ── What happened while Sentinel was away ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("history", ["kept", "lost"])
@pytest.mark.parametrize("away", [10.0, 600.0])
def test_a_death_while_sentinel_was_away_is_told_with_its_own_time(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, away: float, history: str
) -> None:
    web, hook = add(engine, "web"), sentinel.webhook(discord.add_webhook().url)
    with Life(engine, tmp_path, clock, webhook_url=hook) as first:
        first.run(1)
    clock.at += 5
    died = clock.at
    engine.crash(web, 3)
    clock.at += away
    if history == "lost":
        engine.ring.clear()
    with Life(engine, tmp_path, clock, webhook_url=hook) as second:
        second.run(30)
        assert second.told() == ["DEAD web", "Recovered web"], second.said
        assert second.notices[0].at + clock.booted == pytest.approx(died, abs=1.5)
        assert second.notices[1].downtime == pytest.approx(away, abs=3.5), "down since it died, not since it was found"
    text = discord.posts(text="web is DEAD")[0].text
    stamp = re.search(r"<t:(\d+):R>", text)
    assert stamp and int(stamp[1]) == pytest.approx(died, abs=2)
    assert ("ago; Sentinel was away" in text) == (away > 60)


def test_all_that_happened_while_sentinel_was_away_is_told_in_one_message(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    names = ("dead", "loop", "back", "stopped", "gone", "fresh", "fine")
    made, hook = {name: add(engine, name) for name in names}, sentinel.webhook(discord.add_webhook().url)
    with Life(engine, tmp_path, clock, webhook_url=hook, restart=False) as first:
        first.run(1)
        engine.crash(made["back"], 3)
        first.run(1)
    before = len(discord.messages)
    clock.at += 100
    for name in ("dead", "loop"):
        engine.crash(made[name], 5)
    engine.start_by_operator(made["loop"])
    engine.crash(made["loop"], 6)
    engine.start_by_operator(made["back"])
    engine.stop_by_operator(made["stopped"])
    engine.remove(made["gone"])
    engine.recreate(made["fresh"])
    clock.at += 400
    with Life(engine, tmp_path, clock, webhook_url=hook, restart=False) as second:
        second.run(120)
        assert second.said.count("WARNING") == 0, second.said
    told = discord.messages[before:]
    assert len(told) == 1, discord.story()
    found = [embed["title"] for embed in told[0].embeds]
    text = told[0].text
    assert "[DEAD] dead" in found and "Recovered: back" in found and any("loop" in title for title in found)
    assert "stopped was stopped on purpose" in text and "gone was removed" in text
    assert "fresh" not in text and "fine" not in text
    assert all(word in text for word in ("exit 5", "exit 6"))


def test_after_a_reboot_of_the_host_the_story_goes_on(engine: FakeEngine, clock: Clock, tmp_path: Path) -> None:
    """The monotonic clock then counts from near zero."""
    web = add(engine, "web")
    with Life(engine, tmp_path, clock) as first:
        prepare("backoff", engine, web, first)
    clock.at += 60
    clock.reboot()
    with Life(engine, tmp_path, clock) as second:
        second.run(60)
        assert second.told() == ["Recovered web"]
        assert 60 < (second.notices[0].downtime or 0) < 90


def test_the_ledger_of_another_engine_is_no_word_about_this_one(engine: FakeEngine, clock: Clock, tmp_path: Path) -> None:
    add(engine, "web")
    with Life(engine, tmp_path, clock) as first:
        prepare("up", engine, engine.containers[next(iter(engine.containers))], first)
    with FakeEngine() as other:
        other.info = {"ID": "another-engine"}
        web, new = add(other, "web", running=False, exit_code=3), add(other, "new")
        with Life(other, tmp_path, clock) as second:
            second.run(60)
            assert second.told() == [] and other.called("POST") == []
            assert "another engine" in second.said
            other.crash(new, 3)
            second.run(30)
            assert second.told() == ["DEAD new", "Recovered new"]
            assert web.status == "exited"
            assert min(notice.incident for notice in second.notices) >= 1


@pytest.mark.parametrize("begun", ["before", "while Sentinel was away"])
def test_green_waits_for_five_seconds_of_life_whenever_the_life_before_began(
    engine: FakeEngine, clock: Clock, tmp_path: Path, begun: str
) -> None:
    """Found by random life on an engine."""
    web = engine.add("web", project="shop", started_ago=3600.0)
    with Life(engine, tmp_path, clock) as first:
        first.run(10)
    clock.at += 5
    if begun != "before":
        engine.restart_by_operator(web)
    clock.at += 5
    with Life(engine, tmp_path, clock, restart=False) as second:
        second.run(20)
        engine.crash(web, 3)
        second.run(2)
        engine.start_by_operator(web)
        second.run(3)
        assert second.told() == ["DEAD web"], "told before it could prove anything"
        second.run(10)
        assert second.told() == ["DEAD web", "Recovered web"]


@pytest.mark.parametrize(("step", "moment"), [
    (0.0, 0.1), (0.0, 3.0), (4000.0, 8.0), (4000.0, 0.1), (4000.0, 1.0), (4000.0, 3.0)])
def test_a_calendar_that_was_ahead_and_is_put_right_while_sentinel_is_away_holds_back_no_green(
    engine: FakeEngine, clock: Clock, tmp_path: Path, step: float, moment: float
) -> None:
    """Found by random life on an engine."""
    web = engine.add("web", project="shop", started_ago=3600.0)
    with Life(engine, tmp_path, clock) as zeroth:
        zeroth.run(20)
    clock.booted += step
    with Life(engine, tmp_path, clock) as first:
        first.run(10)
        engine.crash(web, 3)
        first.run(moment)
    clock.booted -= step
    clock.at += 5
    with Life(engine, tmp_path, clock) as second:
        second.run(60)
    assert web.running
    assert (first.told() + second.told())[-1:] == ["Recovered web"], (first.told(), second.told())


@pytest.mark.parametrize("code", [3, 137])
def test_who_was_recreated_and_then_died_while_sentinel_was_away_is_dead_and_not_removed(
    engine: FakeEngine, clock: Clock, tmp_path: Path, code: int
) -> None:
    """Found by random life on an engine."""
    web = engine.add("web", project="shop", started_ago=3600.0)
    engine.add("db", project="shop", started_ago=3600.0)
    with Life(engine, tmp_path, clock) as first:
        first.run(10)
    clock.at += 5
    web = engine.recreate(web)
    clock.at += 7
    engine.crash(web, code)
    clock.at += 10
    with Life(engine, tmp_path, clock) as second:
        second.run(60)
        assert second.told() == ["DEAD web", "Recovered web"], second.said
    assert web.running


@pytest.mark.parametrize("when", ["before Sentinel ends", "while Sentinel is away", "after its next start"])
def test_who_vanished_is_over_when_its_project_is_taken_down_around_a_restart_of_sentinel(
    engine: FakeEngine, clock: Clock, tmp_path: Path, when: str
) -> None:
    web, db = add(engine, "web"), add(engine, "db")
    usual: dict[str, Any] = {"greet": False, "poll_interval": 600.0, "remind": 4 * 3600.0}

    def taken_down() -> None:
        engine.stop_by_operator(db)
        engine.remove(db)

    with Life(engine, tmp_path, clock, **usual) as first:
        first.run(10)
        new = engine.replacement(web)
        first.run(0.5)
        for container in (web, new):  # compose was broken off between them
            engine.stop_by_operator(container)
            engine.remove(container)
        first.run(60)
        assert first.told() == ["VANISHED web"]
        if when == "before Sentinel ends":
            taken_down()
            first.run(60)
            assert "Stopped db" in first.told() and "open" not in command("history", SENTINEL_STATE=str(tmp_path)).out
    clock.at += 5
    if when == "while Sentinel is away":
        taken_down()
        clock.at += 5
    with Life(engine, tmp_path, clock, **usual) as second:
        second.run(600)
        if when == "after its next start":
            assert second.told() == [], "it is as it was"
            taken_down()
            second.run(60)
        told = [*first.told(), *second.told()]
        second.run(13 * 3600)
    assert [*first.told(), *second.told()] == told, "it is reminded of"
    history = command("history", SENTINEL_STATE=str(tmp_path)).out
    assert "VANISHED" in history and "open" not in history


def test_how_fast_deaths_are_found_is_not_told_of_those_in_whose_time_nobody_watched(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    """Found by a reading of the code: hours of absence counted as slow detection."""
    web, db, api = (add(engine, name) for name in ("web", "db", "api"))

    def found(life: Life) -> tuple[float, float]:
        """How many deaths, and in how many seconds."""
        lines = dict(line.rsplit(" ", 1) for line in life.asked("/metrics")[2].splitlines() if line[:1] != "#")
        return float(lines["sentinel_detection_seconds_count"]), float(lines["sentinel_detection_seconds_sum"])

    with Life(engine, tmp_path, clock, greet=False, restart=False) as first:
        first.run(5)
        engine.crash(web, 3)
        first.run(5)
        count, seconds = found(first)
        assert count == 1 and seconds < 2
    clock.at += 5
    engine.crash(db, 3)
    clock.at += 7200
    with Life(engine, tmp_path, clock, greet=False, restart=False) as second:
        second.run(60)
        assert second.told() == ["DEAD db"] and found(second) == (0, 0)
        engine.crash(api, 3)
        second.run(5)
        count, seconds = found(second)
        assert second.told() == ["DEAD db", "DEAD api"] and count == 1 and seconds < 2


# ── A file that is no ledger ──────────────────────────────────────────────────────────────────────────────────


def filled(engine: FakeEngine, clock: Clock, folder: Path) -> Path:
    """A ledger with something in it."""
    web = add(engine, "web")
    with Life(engine, folder, clock) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(30)
        assert life.told() == ["DEAD web", "Recovered web"]
    return folder / "sentinel.db"


def sql(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def garble(path: Path, start: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(random.Random(7).randbytes(size))


def services_found(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [key for key, in database.execute("SELECT key FROM record WHERE kind = 'service' ORDER BY key")]


def swap(path: Path, old: bytes, new: bytes) -> None:
    """Bytes of the file itself, which are there."""
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))


SPOILS: dict[str, Callable[[Path], object]] = {
    "garbled at its head": lambda path: garble(path, 0, 100),
    "garbled in its schema": lambda path: garble(path, 100, 500),
    "garbled inside": lambda path: garble(path, 4096, path.stat().st_size - 4096),
    "of a name that is no text": lambda path: swap(path, b"tablerecordrecord", b"tablerec\xf4rdrecord"),
    "of words that are no text": lambda path: swap(path, b"CREATE TABLE record", b"CREATE T\xf4BLE record"),
    "of a column that is no text": lambda path: swap(path, b"value TEXT", b"val\xf4e TEXT"),
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a page and a bit": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "a text": lambda path: path.write_text("this is no database\n" * 300),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "another program's": lambda path: (path.unlink(), sql(path, "CREATE TABLE record (name TEXT)")),
    "without its table": lambda path: sql(path, "DROP TABLE record"),
    "of another shape": lambda path: sql(path, "DROP TABLE record", "CREATE TABLE record (a, b)"),
    "of a newer Sentinel": lambda path: sql(path, "PRAGMA user_version = 999"),
}  # fmt: skip
CLEAN = ("empty",)  # an empty file is a new one


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_file_that_is_no_ledger_is_set_aside_and_a_fresh_one_begun(
    engine: FakeEngine, clock: Clock, tmp_path: Path, spoil: str
) -> None:
    path = filled(engine, clock, tmp_path)
    SPOILS[spoil](path)
    spoilt, web = path.read_bytes(), next(iter(engine.containers.values()))
    with Life(engine, tmp_path, clock) as second:
        second.run(30)
        assert second.told() == [], "what is alive is no news"
        engine.crash(web, 4)
        second.run(30)
        assert second.told() == ["DEAD web", "Recovered web"]
        warnings = [line for line in second.lines if "WARNING" in line and "set aside" in line]
        assert len(warnings) == (0 if spoil in CLEAN else 1), second.said
    aside = [other for other in tmp_path.iterdir() if "corrupt" in other.name]
    assert [len(other.read_bytes()) for other in aside] == ([] if spoil in CLEAN else [len(spoilt)])
    with Life(engine, tmp_path, clock) as third:
        assert set(third.daemon.books.ledger.records("notice")) >= {"1", "2"}
        assert third.watchdog.services["shop/web/1"].phase is Phase.UP
        assert not [line for line in third.lines if "WARNING" in line]


@pytest.mark.parametrize("spoil", [*SPOILS, "out of reach"])
def test_a_command_beside_a_file_that_is_no_ledger_says_so(
    engine: FakeEngine, clock: Clock, tmp_path: Path, spoil: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = filled(engine, clock, tmp_path)
    if spoil == "out of reach":
        path.unlink()
        path.mkdir()
    else:
        SPOILS[spoil](path)
    settings = Settings(state=str(tmp_path), docker_host=f"unix://{engine.path}")
    capsys.readouterr()
    readable = spoil in ("of a newer Sentinel", *CLEAN)
    assert sentinel.history(settings, {}, False) == (0 if readable else 1)
    out, err = capsys.readouterr()
    assert readable or (out == "" and err.startswith(f"{path} can't be read (") and err.count("\n") == 1)
    for seconds in (60.0, 0.0):
        code = sentinel.mute(settings, {}, ["web"], seconds)
        out, err = capsys.readouterr()
        if spoil == "of a newer Sentinel":
            assert code == 0
        else:
            assert code == 1 and err.startswith(f"the ledger {path} can't be used (") and err.count("\n") == 1
    assert sentinel.explain(settings, {}, ["web"]) == 0, "the engine knows enough to explain"
    assert readable or f"{path} can't be read (" in capsys.readouterr().err


def test_a_byte_that_is_no_text_costs_its_record_alone(
    engine: FakeEngine, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = filled(engine, clock, tmp_path)
    sql(path, "INSERT INTO record VALUES ('service', 'shop/odd/1', 1, '{\"spoilt')",
        "INSERT INTO record VALUES ('notice', '77', 1, '{\"spoilt')")  # fmt: skip
    swap(path, b'{"spoilt', b'{"spo\xf4lt')
    assert sentinel.history(Settings(state=str(tmp_path)), {}, False) == 0
    out, err = capsys.readouterr()
    assert "DEAD" in out and err == "left out, since they can't be read: notice 77\n"
    with Life(engine, tmp_path, clock) as second:
        assert second.watchdog.services["shop/web/1"].phase is Phase.UP
        assert second.daemon.books.ledger.database and "set aside" not in second.said
        assert [line for line in second.lines if "shop/odd/1" in line], "it is said what is left out"


def test_a_damaged_kind_costs_its_record_alone(
    engine: FakeEngine, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found by the fuzzer: SQLite found none of those that stood behind it."""
    for name in ("adam", "wilma"):
        engine.add(name, project="shop")
    path = filled(engine, clock, tmp_path)
    sql(path, "INSERT INTO record VALUES ('servicX', 'shop/odd/1', 1, '{}')")
    swap(path, b"serviceshop/web/1", b"servic\xb6shop/web/1")
    assert services_found(path) == ["shop/adam/1"], "SQLite looks for them in order"
    beside = Ledger.beside(str(tmp_path))
    assert beside and beside.database and set(beside.records("service")) == {"shop/adam/1", "shop/wilma/1"}
    assert sentinel.history(Settings(state=str(tmp_path)), {}, False) == 0
    assert capsys.readouterr().err == "left out, since they can't be read: servicX shop/odd/1 and servic\ufffd shop/web/1\n"
    with Life(engine, tmp_path, clock) as second:
        names = [line for line in second.lines if "is left out" in line]
        assert len(names) == 2 and "shop/odd/1" in second.said and "shop/web/1" in second.said
        assert second.said.count("stood out of order") == 1
        assert {service.container.name for service in second.watchdog.services.values()} == {"adam", "wilma"}
        second.run(1)
    with Life(engine, tmp_path, clock) as third:
        assert "out of order" not in third.said
    assert services_found(path) == ["shop/adam/1", "shop/web/1", "shop/wilma/1"]


NONSENSE = ["null", "17", "[]", "{}", '"text"', "{", '{"phase": "up", "waiting": 5}', '{"batch": "x", "waiting": [1]}',
            '{"waiting": [{}], "batch": null, "failures": "many", "handed": 4, "plain": 3, "last_why": 4}',
            "NULL", "x'00ff'", "1"]  # fmt: skip


@pytest.mark.parametrize("command", ["watch", "history"])
@pytest.mark.parametrize("kind", ["service", "outbox", "notice", "delivery", "meta"])
@pytest.mark.parametrize("value", NONSENSE)
def test_records_that_make_no_sense_are_left_out(
    engine: FakeEngine, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, value: str, command: str
) -> None:
    path = filled(engine, clock, tmp_path)
    text = value if value in NONSENSE[-3:] else "'" + value + "'"
    sql(path, f"UPDATE record SET value = {text} WHERE kind = '{kind}'",
        f"INSERT OR REPLACE INTO record VALUES ('{kind}', 'odd/²/key', 1, {text})")
    if command == "history":
        capsys.readouterr()
        for as_json in (False, True):
            assert sentinel.history(Settings(state=str(tmp_path)), {}, as_json) == 0
        assert kind == "notice" or "DEAD" in capsys.readouterr().out
        return
    web = next(iter(engine.containers.values()))
    with Life(engine, tmp_path, clock) as second:
        second.run(30)
        engine.crash(web, 4)
        second.run(60)
        assert second.told()[-2:] == ["DEAD web", "Recovered web"], second.said


@pytest.mark.parametrize("seed", range(40))
def test_a_service_with_any_field_of_another_kind_is_left_out_or_usable(
    engine: FakeEngine, clock: Clock, tmp_path: Path, seed: int
) -> None:
    """One value in its record is replaced by one of another kind: whatever comes of it, web is watched."""
    path, chance = filled(engine, clock, tmp_path), random.Random(seed)
    with sqlite3.connect(path) as database:
        ((text,),) = database.execute("SELECT value FROM record WHERE kind = 'service'")
        record = json.loads(text)
        place = record if chance.random() < 0.5 else record["container"]
        field = chance.choice([name for name in place if place is not record or name != "container"])
        place[field] = chance.choice([None, "text", -1, 1e300, [], {}, ["x"], {"a": 1}, True])
        print(field, place[field])
        database.execute("UPDATE record SET value = ? WHERE kind = 'service'", (json.dumps(record),))
    database.close()
    web = next(iter(engine.containers.values()))
    with Life(engine, tmp_path, clock) as second:
        second.run(30)
        if web.running:
            engine.crash(web, 4)
        second.run(700)
        assert web.running, second.said


def without(document: object, name: str) -> object:
    """A document as one who did not know this field would have written it."""
    if isinstance(document, dict):
        return {key: without(value, name) for key, value in document.items() if key != name}
    return [without(value, name) for value in document] if isinstance(document, list) else document


@pytest.mark.parametrize("name", ["image", "network_parent", "scale", "kills"])
def test_the_ledger_of_an_older_sentinel_that_did_not_know_a_field_is_read(
    engine: FakeEngine, clock: Clock, tmp_path: Path, name: str
) -> None:
    path = filled(engine, clock, tmp_path)
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT kind, key, value FROM record").fetchall()
        older = [(json.dumps(without(json.loads(value), name)), kind, key) for kind, key, value in rows]
        assert any(f'"{name}"' in value for _, _, value in rows) and not any(f'"{name}"' in value for value, _, _ in older)
        database.executemany("UPDATE record SET value = ? WHERE kind = ? AND key = ?", older)
    database.close()
    web = next(iter(engine.containers.values()))
    with Life(engine, tmp_path, clock) as second:
        second.run(30)
        assert not [line for line in second.lines if "WARNING" in line], second.said
        engine.crash(web, 4)
        second.run(30)
        assert second.told() == ["DEAD web", "Recovered web"]


@pytest.mark.parametrize("left", [b"", b"S", b"\0", b"{"], ids=["nothing", "its first letter", "a zero", "a brace"])
def test_a_ledger_of_which_hardly_anything_is_left_is_not_lost_without_a_word(
    engine: FakeEngine, clock: Clock, tmp_path: Path, left: bytes
) -> None:
    """Found by the fuzzer: SQLite takes a file of one byte for an empty one (target ledger, seed e5487080, input 2)."""
    path = filled(engine, clock, tmp_path)
    path.write_bytes(left)
    with Life(engine, tmp_path, clock) as life:
        life.run(30)
    assert [line for line in life.lines if "WARNING" in line and "ledger: " in line and str(path) in line], life.said


# ── A disk that does not take writes ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder],
                                     capture_output=True).returncode:
        pytest.skip("only root can mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def mount_options(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True, capture_output=True)


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            pass


def garble_later(path: Path) -> None:
    """Older kernels' stamps go by ticks: what changes a file within one of its last change is not to be seen."""
    last = path.stat().st_mtime_ns
    garble(path, 0, 3000)
    os.utime(path, ns=(last, last + 10**9))


#: what happens to the disk while Sentinel runs, and how it is healed
TROUBLES: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "full": (fill, lambda folder: (folder / "filler").unlink()),
    "folder removed": (lambda folder: shutil.rmtree(folder / "state"), lambda folder: None),
    "folder is a file": (lambda folder: (shutil.rmtree(folder / "state"), (folder / "state").write_text("")),
                         lambda folder: (folder / "state").unlink()),
    "file removed": (lambda folder: (folder / "state/sentinel.db").unlink(), lambda folder: None),
    "file garbled": (lambda folder: garble_later(folder / "state/sentinel.db"), lambda folder: None),
    "file emptied": (lambda folder: os.truncate(folder / "state/sentinel.db", 0), lambda folder: None),
    "file cut": (lambda folder: os.truncate(folder / "state/sentinel.db", 5000), lambda folder: None),
    "file replaced": (lambda folder: (os.rename(folder / "state/sentinel.db", folder / "old"),
                                      shutil.copy(folder / "old", folder / "state/sentinel.db")), lambda folder: None),
    "replaced by another": (lambda folder: (os.rename(folder / "state/sentinel.db", folder / "old"),
                                            sql(folder / "state/sentinel.db", "CREATE TABLE other (a)")),
                                            lambda folder: None),
}  # fmt: skip


@pytest.mark.parametrize("earlier", [False, True], ids=["", "with alerts of an earlier life"])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_disk_that_fails_costs_a_warning_and_nothing_else(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, request: pytest.FixtureRequest, trouble: str,
    earlier: bool
) -> None:
    """Alerts that wait, budgets and services are on the disk again once it takes them: the next life has them all."""
    folder = request.getfixturevalue("disk") if trouble == "full" else tmp_path
    spoil, heal = TROUBLES[trouble]
    web, db, old = add(engine, "web"), add(engine, "db"), add(engine, "old")
    settings = {"webhook_url": sentinel.webhook(discord.add_webhook().url), "restart": False}
    discord.refuse()
    if earlier:
        with Life(engine, folder / "state", clock, **settings) as zeroth:
            zeroth.run(1)
            engine.crash(old, 1)
            zeroth.run(5)
    with Life(engine, folder / "state", clock, **settings) as first:
        first.run(1)
        engine.crash(web, 3)
        first.run(5)
        spoil(folder)
        engine.crash(db, 4)
        first.run(30)
        heal(folder)
        first.run(45)
        warnings = [line for line in first.lines if "ledger" in line]
        assert warnings and all("WARNING" in line for line in warnings), first.said
        assert len(warnings) <= 3, first.said
    discord.accept()
    with Life(engine, folder / "state", clock, **settings) as second:
        second.run(90)
        wanted = {"[DEAD] web", "[DEAD] db"} | ({"[DEAD] old"} if earlier else set())
        assert sorted(titles(discord)) == sorted(wanted), second.said
        assert second.told() == [], "nothing is found anew: it is known"


@pytest.mark.parametrize("how", ["read-only", "full"])
def test_a_disk_that_takes_no_writes_at_the_start_is_read_and_written_as_soon_as_it_does(
    engine: FakeEngine, clock: Clock, disk: Path, how: str
) -> None:
    web = add(engine, "web")
    with Life(engine, disk / "state", clock) as first:
        prepare("gave up", engine, web, first, max_restarts=1)
    called = len(engine.called("POST"))
    mount_options(disk, "ro") if how == "read-only" else fill(disk)
    with Life(engine, disk / "state", clock, max_restarts=1) as second:
        second.run(30)
        assert second.told() == [] and len(engine.called("POST")) == called, "what is only read is known all the same"
        assert sum("memory" in line for line in second.lines) == 1, second.said
        mount_options(disk, "rw") if how == "read-only" else (disk / "filler").unlink()
        engine.start_by_operator(web)
        second.run(60)
        assert second.told() == ["Recovered web"]
        assert second.watchdog.services["shop/web/1"].phase is Phase.UP
    with Life(engine, disk / "state", clock) as third:
        assert third.watchdog.services["shop/web/1"].phase is Phase.UP


@pytest.mark.parametrize("how", ["read-only", "full"])
def test_records_out_of_order_are_read_though_the_disk_takes_no_writes_and_sorted_as_soon_as_it_does(
    engine: FakeEngine, clock: Clock, disk: Path, how: str
) -> None:
    add(engine, "wilma")
    path = filled(engine, clock, disk)
    sql(path, "PRAGMA journal_mode = DELETE")
    swap(path, b"serviceshop/web/1", b"servic\xb6shop/web/1")
    mount_options(disk, "ro") if how == "read-only" else fill(disk)
    with Life(engine, disk, clock) as second:
        assert [*second.watchdog.services] == ["shop/wilma/1"]
        assert "can't be sorted" in second.said or "remembering in memory" in second.said
        mount_options(disk, "rw") if how == "read-only" else (disk / "filler").unlink()
        second.run(30)
    assert services_found(path) == ["shop/web/1", "shop/wilma/1"]


def test_a_damaged_page_costs_a_command_what_is_on_it_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger(str(tmp_path))
    ledger.open()
    notice = Notice(Verdict.DEAD, "web", 0.0, Container("1" * 64, "web"), incident=1)
    for number in range(1, 31):
        ledger.put("service", f"shop/s{number:02}/1", {"phase": "x" * 2000}, 1.0)
        ledger.put("notice", str(number), insides.notice_record(replace(notice, id=number, incident=number), 0.0), 1.0)
    ledger.commit(1.0)
    ledger.file.checkpoint(10.0)
    ledger.file.close()
    path = tmp_path / "sentinel.db"
    garble(path, path.read_bytes().index(b"shop/s15/1") // 4096 * 4096, 4096)
    assert sentinel.history(Settings(state=str(tmp_path)), {}, True) == 1
    out, err = capsys.readouterr()
    assert len(json.loads(out)) == 30
    assert err.startswith(f"a part of {path} can't be read (") and err.count("\n") == 1


def test_what_others_write_while_the_file_is_closed_is_heard_of(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    ledger.open()
    assert ledger.file.changed_outside()
    assert not ledger.file.changed_outside()
    ledger.file.close()
    with sentinel.outside_ledger(str(tmp_path / "sentinel.db")) as other:
        sentinel.write_outside(other, "mute", "web", 2e9, 2e9)
    ledger.open()
    assert ledger.file.changed_outside()


def test_records_of_no_kind_are_named_once_and_forgotten_in_time(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    path = filled(engine, clock, tmp_path)
    sql(path, "INSERT INTO record VALUES ('noticX', 'odd', 1, '{}')",
        "INSERT INTO record VALUES ('zzz', 'odder', 'x', '{}')")  # fmt: skip
    swap(path, b"noticX", b"notic\xe5")
    with Life(engine, tmp_path, clock) as second:
        second.daemon.books.ledger.open()
        second.run(30)
        assert second.said.count("is left out") == 2
    ledger = Ledger(str(tmp_path))
    ledger.open()
    ledger.prune(2.0, 2.0)
    ledger.name_strangers()
    assert ledger.take_odd() == []


def test_a_first_ledger_that_could_not_be_written_at_once_is_none_that_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own file of no bytes was taken for one of which nothing was left."""
    ledger = Ledger(str(tmp_path))
    with monkeypatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        patch.setattr(sqlite3, "connect", full)
        assert "database or disk is full" in ledger.open()
    ledger.put("meta", "began", 1.0, 1.0)
    words = ledger.commit(1000.0)
    assert "written again" in words and "lost" not in words, words


@pytest.mark.parametrize("error",
                         [sqlite3.OperationalError("disk I/O error"), sqlite3.OperationalError("database or disk is full"),
                                   sqlite3.OperationalError("database is locked"), OSError(28, "full")],
                                   ids=str)  # fmt: skip
def test_a_write_that_fails_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    ledger = Ledger(str(tmp_path))
    assert ledger.open() == ""
    real = ledger.database

    class Broken:
        def execute(self, *_: object, **__: object) -> None:
            raise error

        executemany, close = execute, lambda self: real.close()

    ledger.put("meta", "a", 1, 0.0)
    assert ledger.commit(0.0) == ""
    ledger.put("meta", "b", 2, 0.0)
    ledger.drop("meta", "a")
    ledger.file.database = Broken()  # type: ignore[assignment]
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", Broken().execute)
        assert "remembering in memory" in ledger.commit(1.0)
        ledger.put("meta", "c", 3, 0.0)
        assert ledger.commit(2.0) == ledger.commit(1.0 + sentinel.LEDGER_RETRY) == "", "said once"
    assert "is written a" in ledger.commit(1.0 + 2 * sentinel.LEDGER_RETRY)
    other = sqlite3.connect(tmp_path / "sentinel.db")
    assert dict(other.execute("SELECT key, value FROM record")) == {"b": "2", "c": "3"}


def kept_in(path: Path, access: str = "mode=ro") -> dict[str, str]:
    """The records of a ledger's file, as another program reads them."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?{access}", uri=True)) as other:
        return dict(other.execute("SELECT key, value FROM record"))


def test_a_copy_of_the_file_alone_has_all_but_the_last_seconds(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "state"))
    ledger.open()
    for number in range(300):
        ledger.put("meta", f"a{number}", "b" * 300, 0.0)
    ledger.commit(10.0)
    ledger.file.checkpoint(10.0 + sentinel.CHECKPOINT_AFTER / 2)
    shutil.copy(tmp_path / "state/sentinel.db", tmp_path / "early.db")
    ledger.put("meta", "b", 1, 0.0)
    ledger.commit(10.0 + sentinel.CHECKPOINT_AFTER / 2)
    ledger.file.checkpoint(10.0 + sentinel.CHECKPOINT_AFTER)
    shutil.copy(tmp_path / "state/sentinel.db", tmp_path / "copy.db")
    assert len(kept_in(tmp_path / "copy.db", "immutable=1")) == 301
    assert ledger.file.checkpoint_at == 0.0, "and there is nothing more to do"
    with pytest.raises(sqlite3.OperationalError):
        kept_in(tmp_path / "early.db", "immutable=1")


def test_what_was_started_and_died_while_sentinel_was_away_is_told(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    """Found by a reading of the code: it was down before, and is down."""
    web = add(engine, "web")
    with Life(engine, tmp_path, clock, restart=False) as first:
        first.run(1)
        engine.stop_by_operator(web)
        first.run(60)
        assert first.told() == ["Stopped web"]
    clock.at += 1000
    engine.start_by_operator(web)
    clock.at += 60
    engine.crash(web, 3)
    clock.at += 2000
    with Life(engine, tmp_path, clock, restart=False) as second:
        second.run(60)
        assert second.told() == ["DEAD web"], second.said


def test_what_was_stopped_together_with_sentinel_is_not_started_again(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    """Found by a reading of the code: it looked as if the engine had been shut down."""
    web, db = add(engine, "web"), add(engine, "db", policy="always")
    with Life(engine, tmp_path, clock) as first:
        first.run(1)
        engine.stop_by_operator(web)
        engine.stop_by_operator(db)
        first.run(0.5)
        first.daemon.books.save(first.watchdog, first.daemon.post, first.now, leaving=True)
    called = len(engine.called("POST"))
    clock.at += 300
    with Life(engine, tmp_path, clock) as second:
        second.run(120)
        assert not any("DEAD" in told for told in second.told()), second.told()
        assert len(engine.called("POST")) == called, "nothing is started"


def test_what_was_stopped_between_the_engines_return_and_sentinels_is_not_started_again(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    """Found by random timelines: after a reboot Sentinel may come later than the engine."""
    add(engine, "web", policy="always")
    db = add(engine, "db", policy="always")
    with Life(engine, tmp_path, clock) as first:
        first.run(1)
        engine.daemon_shutdown()
        first.run(0.3)
        first.daemon.books.save(first.watchdog, first.daemon.post, first.now, leaving=True)
    clock.at += 40
    engine.come_up()
    assert engine.wait(lambda: db.status == "running")
    clock.at += 10
    engine.stop_by_operator(db)
    clock.at += 15
    with Life(engine, tmp_path, clock) as second:
        second.run(300)
        assert second.told() == ["Stopped db"] and db.status == "exited", second.said


def test_no_green_at_the_return_before_anybody_has_looked(engine: FakeEngine, clock: Clock, tmp_path: Path) -> None:
    """Found by random timelines: an outage that had waited for one more was over at once, though its root was down again."""
    web, db = add(engine, "web", needs="db"), add(engine, "db")
    with Life(engine, tmp_path, clock) as first:
        first.run(1)
        engine.crash(db, 1)
        for _ in range(40):  # whenever it runs, it dies
            if web.status == "running":
                engine.crash(web, 1)
            first.run(1)
        assert db.status == "running" and first.told() == ["DEAD db"], first.said
    clock.at += 200
    engine.crash(db, 7)
    clock.at += 200
    with Life(engine, tmp_path, clock) as second:
        second.run(2)
        assert "Recovered db" not in second.told(), second.said


def test_what_docker_restarted_while_sentinel_was_away_is_told_at_its_return_and_not_at_some_later_look(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    web = add(engine, "web", policy="always")
    with Life(engine, tmp_path, clock) as first:
        first.run(1)
    clock.at += 300
    engine.crash(web, 3)
    assert engine.wait(lambda: web.status == "running")
    clock.at += 300
    with Life(engine, tmp_path, clock) as second:
        second.run(60)
        assert second.told() == ["DEAD web", "Recovered web"]
        red, green = second.notices
        assert 250 < second.now - red.at < 400 and green.downtime is not None and green.downtime >= 0.0


def test_a_death_in_an_absence_of_what_had_been_given_up_goes_on_in_its_red(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    web = add(engine, "web")
    with Life(engine, tmp_path, clock, max_restarts=0) as first:
        first.run(1)
        engine.crash(web, 3)
        first.run(60)
    clock.at += 300
    engine.start_by_operator(web)
    engine.crash(web, 4)
    clock.at += 300
    with Life(engine, tmp_path, clock, max_restarts=0) as second:
        second.run(60)
        incident = second.watchdog.services["shop/web/1"].incident
        assert incident and (incident.deaths, incident.notice.exit_code) == (2, 4)


@pytest.mark.parametrize("end", ["dies of its unpause", "runs on", "is stopped", "is killed", "is paused again"])
def test_what_becomes_of_a_paused_service_in_an_absence(
    engine: FakeEngine, clock: Clock, tmp_path: Path, end: str
) -> None:
    web = add(engine, "web")
    with Life(engine, tmp_path, clock) as first:
        first.run(1)
        engine.pause(web)
        first.run(60)
    clock.at += 300
    if end == "is killed":
        engine.kill(web)
    elif end == "is stopped":
        engine.stop_by_operator(web)
    else:
        engine.unpause(web)
    if end == "dies of its unpause":
        engine.crash(web, 3)
    elif end == "is paused again":
        engine.pause(web)
    clock.at += 300
    with Life(engine, tmp_path, clock) as second:
        second.run(200)
        wanted = {"dies of its unpause": ["DEAD web", "Recovered web"], "is stopped": ["Stopped web"]}
        assert second.told() == wanted.get(end, [])


def test_a_death_in_an_absence_is_told_though_sentinel_is_restarted_at_once_after_it(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    web = add(engine, "web")
    with Life(engine, tmp_path, clock) as first:
        first.run(1)
    clock.at += 300
    engine.crash(web, 3)
    clock.at += 300
    with Life(engine, tmp_path, clock) as second:
        second.run(0.5)
    clock.at += 2
    with Life(engine, tmp_path, clock) as third:
        third.run(60)
        assert second.told() + third.told() == ["DEAD web", "Recovered web"]
        assert web.status == "running"


@pytest.mark.parametrize("end", ["crashes", "is paused"])
def test_a_replacement_that_ran_while_sentinel_was_restarted_has_not_vanished(
    engine: FakeEngine, clock: Clock, tmp_path: Path, end: str
) -> None:
    """Found by a reading of the code: one `up` that recreates Sentinel, too."""
    web = add(engine, "web")
    with Life(engine, tmp_path, clock) as first:
        first.run(1)
        made = engine.replacement(web)
        first.run(0.1)
    clock.at += 2
    name = web.name
    engine.remove(web)
    engine.rename(made, name)
    engine.start_by_operator(made)
    clock.at += 1
    engine.crash(made, 3) if end == "crashes" else engine.pause(made)
    clock.at += 2
    with Life(engine, tmp_path, clock) as second:
        second.run(300)
        assert not any("VANISHED" in told for told in second.told()), second.told()
        assert second.told() == (["DEAD web", "Recovered web"] if end == "crashes" else [])


def test_whoever_reads_the_ledger_holds_up_no_commit_and_the_file_is_whole_afterwards(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    ledger.open()
    ledger.put("meta", "a", 1, 0.0)
    ledger.commit(10.0)
    with contextlib.closing(sqlite3.connect(tmp_path / "sentinel.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM record").fetchone() == (1,)
        ledger.put("meta", "b", 2, 0.0)
        assert ledger.commit(11.0) == ""
        ledger.file.checkpoint(20.0)
        assert ledger.file.checkpoint_at == 20.0 + sentinel.CHECKPOINT_AFTER, "it is tried again"
        assert reader.execute("SELECT count(*) FROM record").fetchone() == (1,)
    ledger.file.checkpoint(30.0)
    assert ledger.file.checkpoint_at == 0.0
    assert kept_in(tmp_path / "sentinel.db", "immutable=1") == {"a": "1", "b": "2"}


@pytest.mark.parametrize("side", ["-wal", "-shm"])
def test_a_log_that_is_taken_away_costs_nothing(tmp_path: Path, side: str) -> None:
    ledger = Ledger(str(tmp_path))
    ledger.open()
    ledger.put("meta", "a", 1, 0.0)
    ledger.commit(0.0)
    (tmp_path / f"sentinel.db{side}").unlink()
    ledger.put("meta", "b", 2, 0.0)
    ledger.commit(1.0)
    ledger.put("meta", "c", 3, 0.0)
    ledger.commit(2.0)
    ledger.file.checkpoint(10.0)
    assert kept_in(tmp_path / "sentinel.db", "immutable=1") == {"a": "1", "b": "2", "c": "3"}
    if side == "-wal":
        assert kept_in(tmp_path / "sentinel.db") == {"a": "1", "b": "2", "c": "3"}, "by what others can see"


def test_a_commit_is_one_sync(tmp_path: Path) -> None:
    """Each costs as long as the disk takes, while an alert waits."""
    script = """
import os, sys, sentinel
ledger = sentinel.Ledger(sys.argv[1])
ledger.open()
for number in range(12):
    ledger.put("meta", str(number), number, 0.0)
    ledger.commit(1.0)
    os.write(1, b"committed")
"""
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("there is no strace here")
    trace = tmp_path / "trace"
    subprocess.run([strace, "-f", "-e", "trace=fsync,fdatasync,write", "-o", trace, sys.executable, "-c", script, tmp_path],
                   check=True, capture_output=True, cwd=PROGRAM.parent)
    each = re.split(r'write\(1, "committed".*', trace.read_text())[2:-1]  # the first makes the log
    assert [len(re.findall(r"f(?:data)?sync\(", calls)) for calls in each] == [1] * 10


@pytest.mark.parametrize("place", ["/proc/nowhere/state", "/dev/null/state"])
def test_a_folder_that_can_not_be_is_a_warning_and_memory(
    engine: FakeEngine, clock: Clock, place: str
) -> None:
    web = add(engine, "web")
    with Life(engine, Path(place), clock) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(60)
        assert life.told() == ["DEAD web", "Recovered web"]
        assert sum("memory" in line for line in life.lines) == 1, life.said
        assert place in life.said


# ── Keeping house ─────────────────────────────────────────────────────────────────────────────────────────────


def test_history_is_pruned_but_never_what_still_waits(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web, db = add(engine, "web"), add(engine, "db")
    settings = {"webhook_url": sentinel.webhook(discord.add_webhook().url), "keep": 10 * 86400.0, "poll_interval": 3600.0}
    with Life(engine, tmp_path, clock, **settings) as first:
        first.run(1)
        engine.crash(web, 3)
        first.run(30)
        discord.refuse()
        engine.crash(db, 3)
        first.run(30)
        assert set(first.daemon.books.ledger.records("notice")) == {"1", "2", "3", "4"}
    clock.at += 9 * 86400
    with Life(engine, tmp_path, clock, **settings) as second:
        second.run(5)
        assert set(second.daemon.books.ledger.records("notice")) == {"1", "2", "3", "4"}, "kept for as long as was said"
    clock.at += 2 * 86400
    with Life(engine, tmp_path, clock, **settings) as third:
        third.run(5)
    discord.accept()
    with Life(engine, tmp_path, clock, **settings) as fourth:
        assert set(fourth.daemon.books.ledger.records("notice")) == {"3", "4"}
        assert set(fourth.daemon.books.ledger.records("delivery")) == set()
        fourth.run(90)
        assert titles(discord)[2:] == ["[DEAD] db", "Recovered: db"]


def test_the_ledger_is_for_its_owner_only(tmp_path: Path) -> None:
    for folder in (tmp_path / "made", tmp_path / "given"):
        if folder.name == "given":
            folder.mkdir(mode=0o755)
        mask = os.umask(0o022)
        try:
            ledger = Ledger(str(folder))
            ledger.open()
            ledger.put("meta", "a", 1, 0.0)
            ledger.commit(0.0)
        finally:
            os.umask(mask)
        assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()} == {
            "sentinel.db": "0o600", "sentinel.db-shm": "0o600", "sentinel.db-wal": "0o600", "sentinel.lock": "0o600"}
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700


BOT = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GaBcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"
BRIDGE = "bridge-Token.0123456789"


@pytest.mark.parametrize("where", ["log", "error", "probe", "label"])
def test_no_secret_is_in_the_ledgers_bytes(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, where: str
) -> None:
    """Neither one of Sentinel's own nor one that a container or the engine tells."""
    hook = discord.add_webhook()
    secrets = (hook.token, BOT, BRIDGE, "hunter2hunter2", "dbPass99")
    words = [f"posting to {hook.url}", f"Authorization: Bot {BOT}", f"Authorization: Bearer {BRIDGE}",
             "DB_PASSWORD=hunter2hunter2", "postgres://app:dbPass99@db/shop", f"bare {hook.token}",
             f"bare {BRIDGE}"]  # fmt: skip
    web = add(engine, "web", healthcheck=where == "probe",
              labels={"traefik.password": " ".join(words)} if where == "label" else {})
    settings = {"webhook_url": sentinel.webhook(hook.url), "bot_token": sentinel.token(BOT), "channel_id": "123456",
                "bridge_token": sentinel.token(BRIDGE), "api_url": discord.url + "/api/v10"}  # fmt: skip
    with Life(engine, tmp_path, clock, **settings) as life:
        del life.daemon.post.outboxes["bot"]
        life.run(1)
        if where == "log":
            engine.log(web, *words)
        if where == "error":
            engine.on_start(web, (f'exec: "{" ".join(words)}": not found', 127))
        if where == "probe":
            engine.health(web, "unhealthy", "\n".join(words))
        else:
            engine.crash(web, 3)
        life.run(1)
        looked = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()) + life.said.encode()
        life.run(60)
        looked += b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()) + life.said.encode()
    assert b"web" in looked
    assert [secret for secret in secrets if secret.encode() in looked] == []


def test_what_became_of_an_alert_is_written_and_not_kept_in_memory(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    assert ledger.open() == ""
    ledger.put("delivery", "1/webhook", {"why": ""}, 0.0)
    assert ledger.commit(0.0) == "" and ledger.alive == {} and ledger.unsaved == {}
    assert ledger.database and ledger.database.execute("SELECT key FROM record").fetchall() == [("1/webhook",)]
    ledger.database.close()


def test_a_long_history_is_pruned_in_few_transactions(
    engine: FakeEngine, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a reading of the code: each row was a commit of its own, for half a minute in which nothing was watched."""
    add(engine, "web")
    with Life(engine, tmp_path, clock, greet=False) as first:
        first.run(5)
    notice = json.dumps(insides.notice_record(Notice(Verdict.DEAD, "old", 0.0), clock.at))
    with contextlib.closing(sqlite3.connect(tmp_path / "sentinel.db")) as database, database:
        rows = [(kind, f"{number}{end}", clock.at, notice if kind == "notice" else "{}")
                for number in range(1000, 3000) for kind, end in (("notice", ""), ("delivery", "/webhook"))]
        database.executemany("INSERT INTO record VALUES (?, ?, ?, ?)", rows)
    clock.at += 100 * 86400
    transactions, connect = list[str](), sqlite3.connect

    def counted(*arguments: Any, **options: Any) -> sqlite3.Connection:
        """A connection of which each commit is known: those that were asked for, and of each write outside of them."""
        database = connect(*arguments, **options)
        inside = [False]

        def seen(statement: str) -> None:
            word = statement.split(maxsplit=1)[0].upper()
            inside[0] = word in ("BEGIN", "SAVEPOINT") or (inside[0] and word not in ("COMMIT", "END", "ROLLBACK"))
            if not inside[0] and word in ("COMMIT", "END", "INSERT", "DELETE", "UPDATE", "REPLACE"):
                transactions.append(statement)

        database.set_trace_callback(seen)
        return database

    monkeypatch.setattr(sqlite3, "connect", counted)
    with Life(engine, tmp_path, clock, greet=False) as second:
        second.run(60)
    monkeypatch.undo()
    with contextlib.closing(sqlite3.connect(tmp_path / "sentinel.db")) as database:
        left = database.execute("SELECT count(*) FROM record WHERE kind IN ('notice', 'delivery')").fetchone()
    assert left == (0,)
    assert len(transactions) < 50, f"{len(transactions)}, among them {transactions[-1]}"


@pytest.mark.parametrize("secret", ['to"ken-12345', "to\\ken-12345", 'a"b\\c"d-1234'])
def test_a_secret_that_json_writes_otherwise_is_not_in_the_ledger_either(
    engine: FakeEngine, clock: Clock, tmp_path: Path, secret: str
) -> None:
    """Found by a reading of the code: it was looked for in what JSON had made of it."""
    web = add(engine, "web", error="")
    engine.log(web, f"my token is {secret}")
    with Life(engine, tmp_path, clock, notify_token=sentinel.token(secret), listen="", restart=False) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(5)
        engine.on_start(web, (500, f"no such thing: {secret}"))
        engine.start_by_operator(web)
        life.run(60)
        said = life.said
    text = " ".join(row[0] for row in sqlite3.connect(tmp_path / "sentinel.db").execute("SELECT value FROM record"))
    assert "my token is" in text and "my token is" not in said
    for form in (secret, json.dumps(secret)[1:-1], json.dumps(json.dumps(secret)[1:-1])[1:-1]):
        assert form not in text and form not in said


# ── In processes of their own ─────────────────────────────────────────────────────────────────────────────────


def test_a_second_daemon_on_one_ledger_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with FakeEngine() as engine, program(tmp_path, engine.host) as first:
        web = add(engine, "web")
        until(lambda: "watching web" in log.read_text())
        with program(tmp_path, engine.host, log="second") as second:
            assert second.wait(60) == 78
            said = (tmp_path / "second").read_text()
            assert str(tmp_path / "state") in said and "SENTINEL_STATE" in said and "Traceback" not in said
        engine.crash(web, 3)
        until(lambda: "Recovered: web" in log.read_text())
        first.send_signal(signal.SIGKILL)
        first.wait()
        with program(tmp_path, engine.host, log="third") as third:
            until(lambda: "answers" in (tmp_path / "third").read_text())
            assert end(third) == 0, "a lock does not outlive its owner"


def test_nothing_spins_while_alerts_wait_for_the_catch_up(tmp_path: Path) -> None:
    """An engine that is slow to answer at the start, and an alert of the life before: that is waited for, not asked for."""
    log = tmp_path / "log"
    settings = {"DISCORD_WEBHOOK_URL": "http://127.0.0.1:9/api/webhooks/123/token", "SENTINEL_RESTART": "false"}
    with FakeEngine() as engine:
        web = add(engine, "web")
        with program(tmp_path, engine.host, **settings):
            until(lambda: "watching web" in log.read_text())
            engine.crash(web, 3)
            until(lambda: "alerts wait" in log.read_text())
        engine.hang("/containers/json")
        streams, lists = (len(engine.called("GET", path)) for path in ("^/events", "^/containers/json"))
        with program(tmp_path, engine.host, **settings) as second:
            assert engine.wait_call("GET", "^/events", streams + 1, timeout=60)
            assert engine.wait_call("GET", "^/containers/json", lists + 1, timeout=60)
            spent = [sum(os.sysconf("SC_CLK_TCK") ** -1 * int(ticks) for ticks in
                         Path(f"/proc/{second.pid}/stat").read_text().rpartition(")")[2].split()[11:13])
                     for _ in (0, 1) if not second.poll() and not time.sleep(1.0)]
            assert spent[1] - spent[0] < 0.3, "most of a second's processor time in a second of waiting"
        engine.heal()


def anybodys_python() -> str:
    """An interpreter whose library every user may read: one in somebody's home breaks at its first late import."""
    for python in (sys.executable, "/usr/bin/python3"):
        if not os.path.exists(python):
            continue
        code = "import os, sys; print(os.__file__ if sys.version_info >= (3, 11) else '')"
        found = subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()
        if found and all(parent.stat().st_mode & 0o001 for parent in Path(found).resolve().parents):
            return python
    pytest.skip("no Python of 3.11 or newer here is for everybody")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("what", ["file", "folder", "nobody's"])
def test_what_may_not_be_written_is_a_warning_and_memory(tmp_path: Path, what: str) -> None:
    state, log = tmp_path / "state", tmp_path / "log"
    for folder in (tmp_path, *tmp_path.parents[:3]):  # pytest's own, which are its user's alone
        folder.chmod(folder.stat().st_mode | 0o011)
    with FakeEngine(tmp_path / "docker.sock") as engine:
        os.chmod(tmp_path / "docker.sock", 0o777)
        web = add(engine, "web")
        with program(tmp_path, engine.host) as process:
            until(lambda: "watching web" in log.read_text())
            assert end(process) == 0
        if what != "nobody's":
            for path in (state, *state.iterdir()):
                os.chown(path, 65534, 65534)
        (state / "sentinel.db").chmod(0o400 if what == "file" else 0o600)
        state.chmod(0o500 if what == "folder" else 0o700)
        as_nobody = f"import os, sys; sys.path.insert(0, {str(PROGRAM.parent)!r}); sys.argv = ['x']; " \
                    "import encodings.idna, shutil, sentinel; " \
                    "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(sentinel.main([]))"
        with log.open("wb") as file:
            process = subprocess.Popen([anybodys_python(), "-B", "-c", as_nobody], stdout=file, stderr=file, env={
                "PATH": os.environ["PATH"], "DOCKER_HOST": engine.host, "SENTINEL_STATE": str(state)})
        try:
            until(lambda: "the engine of" in log.read_text())
            engine.crash(web, 3)
            until(lambda: "Recovered: web" in log.read_text())
            assert "Traceback" not in log.read_text()
            assert "WARNING" in log.read_text() and "memory" in log.read_text()
        finally:
            assert end(process) == 0


def test_what_changes_nothing_is_not_written(
    engine: FakeEngine, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each transaction is synced: a flood of events that change nothing may not cost one a turn."""
    web = engine.add("web", project="shop", healthcheck=True, started_ago=3600.0)
    engine.health(web, "healthy")
    written: list[str] = []
    write = Ledger._write
    with Life(engine, tmp_path, clock, watch="compose") as life:
        life.run(10)
        engine._emit(web, "kill", signal="1")  # of signals that ask for nothing, the first is worth a write
        life.run(1)
        monkeypatch.setattr(Ledger, "_write", lambda self, database: (written.extend(key for _, key in self.unsaved),
                                                                      write(self, database))[1])  # fmt: skip
        for _ in range(20):
            engine._emit(web, "health_status: healthy")
            engine._emit(web, "kill", signal="1")
            life.run(0.37)
    assert written == []
