"""Mutes, quiet windows, greetings, reminders, `explain`, `history`, and ledgers of the version before: whole lives on a
clock that tests set, and the commands as people type them, beside a running daemon."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import support.fake_engine
from support import insides
from support.fake_discord import FakeDiscord
from support.fake_engine import Container as Fake
from support.fake_engine import FakeEngine
from support.lives import Clock, Whole
from support.system import Done, add, command, end, program, titles, until

import sentinel
from sentinel import Settings

RED, BLUE = sentinel.RED, sentinel.BLUE


def hook(discord: FakeDiscord) -> dict[str, Any]:
    return {"webhook_url": sentinel.webhook(discord.add_webhook().url)}


def text(discord: FakeDiscord) -> str:
    return "\n".join(message.text for message in discord.messages)


def mute(folder: Path, *names: str, seconds: float = 600.0) -> int:
    """The command, at the test's time."""
    return sentinel.mute(Settings(state=str(folder)), {}, [*names], seconds)


# ── Muted ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["web", "shop", "all", "shop/web/1"])
def test_what_is_muted_is_neither_told_nor_touched_and_what_is_down_at_the_end_is_told_once_and_restarted(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, name: str
) -> None:
    web = add(engine, "web")
    with Whole(engine, tmp_path, clock, **hook(discord)) as life:
        life.run(1)
        assert mute(tmp_path, name) == 0
        engine.crash(web, 3)
        life.run(590)
        assert not discord.messages and not engine.called("POST")
        life.run(60)
        assert titles(discord) == ["[STILL DOWN] web", "Recovered: web"]
        assert len(engine.called("POST", "/start$")) == 1


def test_a_backup_that_stops_and_starts_what_is_muted_is_told_nothing_of(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web, db = add(engine, "web"), add(engine, "db")
    with Whole(engine, tmp_path, clock, **hook(discord)) as life:
        life.run(1)
        assert mute(tmp_path, "shop") == 0
        for container in (web, db):
            engine.stop_by_operator(container)
        life.run(300)
        for container in (web, db):
            engine.start_by_operator(container)
        life.run(900)
        assert not discord.messages and not engine.called("POST")
        engine.crash(db, 3)
        life.run(60)
        assert titles(discord) == ["[DEAD] db", "Recovered: db"], "and then it is watched as before"


def test_what_was_stopped_and_what_is_gone_in_a_mute_is_told_at_its_end_and_stays_so(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web, db, old = add(engine, "web"), add(engine, "db"), add(engine, "old")
    with Whole(engine, tmp_path, clock, **hook(discord)) as life:
        life.run(1)
        engine.stop_by_operator(old)
        life.run(60)
        before = len(discord.messages)
        assert mute(tmp_path, "all") == 0
        engine.stop_by_operator(web)
        engine.remove(db)
        life.run(900)
        (message,) = discord.messages[before:]
        assert message.embeds[0]["title"] == "[STILL DOWN] 2 services" and message.embeds[0]["color"] == RED
        assert "**Stopped:** `web`" in message.text and "**Gone:** `db`" in message.text and "old" not in message.text
        assert not engine.called("POST")


@pytest.mark.parametrize("who", ["web", "all", "shop"])
def test_unmute_is_effective_within_a_second(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, who: str
) -> None:
    web = add(engine, "web")
    with Whole(engine, tmp_path, clock, **hook(discord)) as life:
        life.run(1)
        assert mute(tmp_path, who) == 0
        engine.crash(web, 3)
        life.run(20)
        assert not discord.messages and mute(tmp_path, who, seconds=0.0) == 0
        life.run(1.1)
        assert titles(discord) == ["[STILL DOWN] web"]


def test_unmute_all_ends_every_mute_and_unmute_of_one_only_its_own(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web, db = add(engine, "web"), add(engine, "db")
    with Whole(engine, tmp_path, clock, restart=False, **hook(discord)) as life:
        life.run(1)
        assert mute(tmp_path, "web", "db") == 0
        life.run(2)
        assert mute(tmp_path, "web", seconds=0.0) == 0
        for container in (web, db):
            engine.crash(container, 3)
        life.run(5)
        assert titles(discord) == ["[DEAD] web"]
        assert mute(tmp_path, "all", seconds=0.0) == 0
        life.run(2)
        assert titles(discord) == ["[DEAD] web", "[STILL DOWN] db"]


def test_a_mute_that_ends_while_sentinel_is_away_is_told_of_at_the_next_start(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web, settings = add(engine, "web"), hook(discord)
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(1)
        assert mute(tmp_path, "web") == 0
        engine.crash(web, 3)
        life.run(20)
    clock.at += 900
    for _ in range(3):
        life = Whole(engine, tmp_path, clock, **settings)
        try:
            with life:
                life.run(60)
        except KeyError:
            if _ == 2:
                raise
        finally:
            life.kill()
    assert titles(discord) == ["[STILL DOWN] web", "Recovered: web"]


@pytest.mark.parametrize("away", [1.0, 100.0])
def test_a_mute_outlives_sentinel(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, away: float
) -> None:
    web, db, settings = add(engine, "web"), add(engine, "db"), hook(discord)
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(1)
        assert mute(tmp_path, "shop") == 0
        engine.crash(web, 3)
        life.run(20)
    clock.at += away / 2
    engine.crash(db, 4)
    clock.at += away / 2
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(570 - away)
        assert not discord.messages and not engine.called("POST")
        life.run(200)
    assert "web" in text(discord) and len(engine.called("POST", "/start$")) == 2
    assert sum(title.startswith(("[DEAD]", "[STILL DOWN]")) for title in titles(discord)) <= 2


def test_a_mute_that_is_over_is_over_in_the_next_life_too(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web, settings = add(engine, "web"), {**hook(discord), "poll_interval": 3600.0}
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(1)
        assert mute(tmp_path, "shop", seconds=60.0) == 0
        life.run(2)
        engine.health(web, "healthy")  # whatever has Sentinel look at it
        life.run(100)
        assert not discord.messages
    clock.at += 10
    engine.stop_by_operator(web)
    clock.at += 10
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(100)
        assert titles(discord) == ["Stopped: web"]


#: What happens to the ledger's folder in the midst of a mute.
LOSSES: dict[str, Callable[[Path], object]] = {
    "removed": lambda folder: (folder / "sentinel.db").unlink(), "folder removed": shutil.rmtree,
    "garbled": lambda folder: (folder / "sentinel.db").write_bytes(b"no database" * 2000)}  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
def test_a_mute_outlives_the_ledger(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, loss: str
) -> None:
    web, db = add(engine, "web"), engine.add("db", project="other", started_ago=3600.0)
    state = tmp_path / "state"
    with Whole(engine, state, clock, **hook(discord)) as life:
        life.run(1)
        assert mute(state, "web") == 0
        life.run(31)
        assert insides.mutes(life.watchdog), "it has been read"
        LOSSES[loss](state)
        engine.crash(db, 3)  # something that has Sentinel write
        life.run(60)
        engine.crash(web, 3)
        life.run(60)
        assert titles(discord) == ["[DEAD] db", "Recovered: db"]


def test_a_disk_that_is_full_in_a_mute_ends_it_not(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup fills the disk: what is muted for it must stay so."""
    web, db = add(engine, "web"), engine.add("db", project="other", started_ago=3600.0)
    with Whole(engine, tmp_path, clock, **hook(discord)) as life:
        life.run(1)
        assert mute(tmp_path, "web") == 0
        life.run(2)
        real = life.daemon.books.ledger._write

        def full(database: sqlite3.Connection) -> None:
            life.daemon.books.ledger._give_up(sqlite3.OperationalError("database or disk is full"))

        monkeypatch.setattr(life.daemon.books.ledger, "_write", full)
        engine.crash(db, 3)
        life.run(30)
        engine.crash(web, 3)
        life.run(30)
        monkeypatch.setattr(life.daemon.books.ledger, "_write", real)
        life.run(30)
        assert titles(discord) == ["[DEAD] db", "Recovered: db"]


def test_in_its_quiet_window_a_service_is_left_alone_every_day(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, utc: None
) -> None:
    """The clock begins at 08:16:40 UTC."""
    web = add(engine, "web", labels={"sentinel.quiet": "08:30-09:00"})
    with Whole(engine, tmp_path, clock, poll_interval=600.0, **hook(discord)) as life:
        for day in range(2):
            life.run(1000 if not day else 86400 - 40 * 60 - 200)  # 08:33
            before = len(discord.messages)
            engine.crash(web, 3)
            life.run(20 * 60)
            assert len(discord.messages) == before and not web.running
            life.run(20 * 60 + 200)
            assert titles(discord)[before:] == ["[STILL DOWN] web", "Recovered: web"], day
        engine.crash(web, 4)
        life.run(60)
        assert titles(discord)[-2:] == ["[DEAD] web", "Recovered: web"]


# ── Reminders ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lives", [1, 4])
def test_what_is_still_down_is_said_in_one_message_as_often_as_was_asked_over_restarts_too(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, lives: int
) -> None:
    web, db, settings = add(engine, "web"), add(engine, "db"), {**hook(discord), "restart": False, "remind": 3600.0}
    for life_number in range(lives):
        with Whole(engine, tmp_path, clock, poll_interval=300.0, **settings) as life:
            life.run(1)
            if not life_number:
                engine.crash(web, 3)
                life.run(1)
                engine.crash(db, 3)
            life.run(3 * 3600 / lives)
    found = [title for title in titles(discord) if "STILL" in title]
    assert found == ["[STILL DOWN] 2 services"] * (3 if lives == 1 else len(found)) and 2 <= len(found) <= 3
    assert "web (1h)" in text(discord) and "web (2h)" in text(discord)


def test_nobody_is_reminded_of_what_came_back_while_sentinel_was_away(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web, settings = add(engine, "web"), {**hook(discord), "restart": False, "remind": 3600.0}
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(10)
    clock.at += 1000
    engine.start_by_operator(web)
    clock.at += 4000
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(60)
    assert titles(discord) == ["[DEAD] web", "Recovered: web"]


def test_no_reminder_where_none_is_wanted(engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path) -> None:
    web = add(engine, "web")
    with Whole(engine, tmp_path, clock, restart=False, remind=0.0, poll_interval=600.0, **hook(discord)) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(20000)
    assert titles(discord) == ["[DEAD] web"]


# ── The greeting ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_start_is_one_blue_message_and_is_not_said_again_at_a_restart(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    add(engine, "web"), engine.add("wiki", project="notes", started_ago=3600.0)
    settings = {**hook(discord), "greet": True}
    for _ in range(4):
        with Whole(engine, tmp_path, clock, **settings) as life:
            life.run(60)
    (message,) = discord.messages
    assert message.embeds[0]["title"] == "Watching: fakehost" and message.embeds[0]["color"] == BLUE
    assert "2 services in 2 projects" in message.text and "webhook" in message.text and "Degraded" not in message.text
    clock.at += 700
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(5)
    assert len(discord.messages) == 2
    add(engine, "new")
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(5)
    assert len(discord.messages) == 3 and "3 services" in discord.messages[2].text, "something else is said"


def test_the_start_says_what_is_already_down_and_since_when(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    add(engine, "web"), add(engine, "db", running=False, exit_code=3, started_ago=7200.0)
    with Whole(engine, tmp_path, clock, greet=True, **hook(discord)) as life:
        life.run(5)
    assert "**Already down:** `db (DEAD, exit 3, 1h)`" in text(discord) and not engine.called("POST")


def test_the_start_is_not_said_again_at_a_restart_where_something_is_down(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    add(engine, "web"), add(engine, "db", running=False, exit_code=3, started_ago=7200.0)
    settings = {**hook(discord), "greet": True}
    for _ in range(4):
        with Whole(engine, tmp_path, clock, **settings) as life:
            life.run(70)
    assert titles(discord) == ["Watching: fakehost"]


@pytest.mark.parametrize(("spoil", "words"), [("events", "events are refused"), ("ledger", "no ledger")])
def test_the_start_says_what_does_not_work(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path, spoil: str, words: str
) -> None:
    add(engine, "web")
    if spoil == "events":
        engine.refuse("/events")
    folder = Path("/dev/null/state") if spoil == "ledger" else tmp_path
    with Whole(engine, folder, clock, greet=True, **hook(discord)) as life:
        life.run(15)
    assert titles(discord) == ["Watching: fakehost"] and f"**Degraded:** {words}" in text(discord)


def test_no_greeting_where_none_is_wanted(engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path) -> None:
    add(engine, "web")
    with Whole(engine, tmp_path, clock, greet=False, **hook(discord)) as life:
        life.run(60)
    assert not discord.messages


# ── A ledger of the version before ────────────────────────────────────────────────────────────────────────────


def old_ledger(folder: Path, web: Fake, at_time: float) -> None:
    """As the commit 011d71d left it: web is dead and given up, the alert of it waits for a Discord that is away."""
    container = {"id": web.id, "name": "web", "labels": web.labels, "status": "exited", "health": "", "failing_streak": 0,
                 "probe_output": "", "has_probe": False, "exit_code": 3, "oom_killed": False, "error": "",
                 "started_time": web.started / 1e9, "finished_time": web.finished / 1e9, "restart_count": 0,
                 "restart_policy": "no", "stop_signal": 15, "stop_timeout": 10.0, "network_mode": "none", "tty": False,
                 "auto_remove": False, "memory_limit": 0}  # fmt: skip
    notice = {"verdict": "DEAD", "name": "web", "at": at_time, "container": container, "cause": "", "project": "shop",
              "incident": 1, "exit_code": 3, "uptime": 3601.0, "downtime": None, "deaths": 1, "attempts": 0,
              "plan": "Not restarted: SENTINEL_RESTART is false.", "error": "", "logs": [], "id": 1, "names": [],
              "mention": ""}  # fmt: skip
    service = {"phase": "gave up", "container": container, "death": None, "incident": [1, at_time, 1, 0, False],
               "deaths": [at_time], "due": None, "replacing": False, "judged_time": web.started / 1e9, "attempts": 0,
               "hopeless": "", "known_error": "", "settled": False, "proved_at": at_time - 9, "back_at": at_time - 9,
               "noted_at": at_time - 900}  # fmt: skip
    outbox = {"waiting": [1], "held_until": at_time + 8, "batch": 0, "failures": 3, "handed": [], "plain": False,
              "last_why": "discord.com could not be reached: Connection refused"}  # fmt: skip
    rows = [("notice", "1", notice), ("service", "shop/web/1", service), ("outbox", "webhook", outbox),
            ("meta", "notices", 1), ("meta", "incidents", 1), ("meta", "position", at_time), ("meta", "tag", "28c86c"),
            ("meta", "began", at_time - 60)]  # fmt: skip
    folder.mkdir(exist_ok=True)
    with sqlite3.connect(folder / "sentinel.db") as database:
        database.execute("CREATE TABLE record (kind TEXT, key TEXT, at REAL, value TEXT, PRIMARY KEY (kind, key))"
                         " WITHOUT ROWID")  # fmt: skip
        database.execute("PRAGMA user_version = 1")
        database.executemany("INSERT INTO record VALUES (?, ?, ?, ?)",
                             [(kind, key, at_time, json.dumps(value)) for kind, key, value in rows])  # fmt: skip
    database.close()


def of_before(engine: FakeEngine, clock: Clock, folder: Path) -> Fake:
    web = add(engine, "web")
    clock.at += 10
    engine.crash(web, 3)
    old_ledger(folder, web, clock.at)
    clock.at += 30
    return web


def test_a_ledger_of_the_version_before_ends_no_life_and_what_is_left_out_of_it_is_said(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web = of_before(engine, clock, tmp_path)
    with Whole(engine, tmp_path, clock, restart=False, **hook(discord)) as life:
        life.run(60)
        services = [line for line in life.lines if "WARNING" in line and "shop/web/1" in line]
        assert services or life.watchdog.services["shop/web/1"].incident, life.said
        engine.start_by_operator(web)
        life.run(60)
        engine.crash(web, 4)
        life.run(10)
        assert "[DEAD] web" in titles(discord)
        assert sentinel.history(Settings(state=str(tmp_path)), {}, False) == 0


def test_an_alert_that_waits_in_a_ledger_of_the_version_before_is_told_or_missed_aloud(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    of_before(engine, clock, tmp_path)
    with Whole(engine, tmp_path, clock, restart=False, **hook(discord)) as life:
        life.run(60)
        lost = [line for line in life.lines if "WARNING" in line and ("outbox" in line or "alert" in line)]
        assert "[DEAD] web" in titles(discord) or lost


# ── history ───────────────────────────────────────────────────────────────────────────────────────────────────


def incidents(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, Any]], str]:
    """`history --json`, and the table."""
    capsys.readouterr()
    assert sentinel.history(Settings(state=str(folder)), {}, True) == 0
    found = json.loads(capsys.readouterr().out)
    assert sentinel.history(Settings(state=str(folder)), {}, False) == 0
    return found, capsys.readouterr().out


def fallen(engine: FakeEngine, folder: Path, clock: Clock, *order: str, back: bool = True) -> None:
    """A life in which these die in this order, and come back by hand; flux and other need genesis."""
    needs = {"flux": "genesis:service_started:false", "other": "genesis:service_started:false"}
    made = {name: add(engine, name, depends_on=needs.get(name, "")) for name in ("other", "flux", "genesis")}
    with Whole(engine, folder, clock, restart=False, drop_dir=str(folder / "drop")) as life:
        life.run(1)
        for name in order:
            engine.crash(made[name], 1)
            life.run(10)
        for name in order if back else ():
            engine.start_by_operator(made[name])
        life.run(60)


def test_history_has_one_incident_for_an_outage(
    engine: FakeEngine, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fallen(engine, tmp_path, clock, "genesis", "flux")
    found, table = incidents(tmp_path, capsys)
    assert [(one["name"], one["verdict"], one["end"] is None) for one in found] == [("genesis", "DEAD", False)]
    assert found[0]["downtime"] > 10 and "genesis  DEAD: " in table and "open" not in table


def test_history_shows_what_goes_on_as_open(
    engine: FakeEngine, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fallen(engine, tmp_path, clock, "genesis", "flux", back=False)
    found, table = incidents(tmp_path, capsys)
    assert [(one["name"], one["end"]) for one in found] == [("genesis", None)] and "open" in table


def test_history_names_the_consequences(
    engine: FakeEngine, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fallen(engine, tmp_path, clock, "genesis", "flux")
    found, table = incidents(tmp_path, capsys)
    assert "flux" in json.dumps(found) and "flux" in table


def test_an_incident_that_was_folded_is_not_open_for_ever(
    engine: FakeEngine, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fallen(engine, tmp_path, clock, "flux", "other", "genesis")
    found, table = incidents(tmp_path, capsys)
    assert [one for one in found if one["end"] is None] == [] and "open" not in table


def test_a_death_of_what_removes_itself_is_not_open_for_ever(
    engine: FakeEngine, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web = add(engine, "web", auto_remove=True)
    with Whole(engine, tmp_path, clock, drop_dir=str(tmp_path / "drop")) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(4000)
        assert life.told() == ["DEAD web"]
    found, table = incidents(tmp_path, capsys)
    assert [(one["name"], one["end"] is None) for one in found] == [("web", False)] and "open" not in table


@pytest.mark.parametrize("stops", ["notice", "ignore"])
def test_what_died_and_was_then_removed_is_not_open_for_ever(
    engine: FakeEngine, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str], stops: str
) -> None:
    web = add(engine, "web")
    add(engine, "db")
    with Whole(engine, tmp_path, clock, restart=False, stops=stops, drop_dir=str(tmp_path / "drop")) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(30)
        engine.remove(web)
        life.run(4000)
        assert life.told()[0] == "DEAD web"
    found, table = incidents(tmp_path, capsys)
    assert [(one["name"], one["end"] is None) for one in found if one["verdict"] == "DEAD"] == [("web", False)]
    assert "open" not in table


# ── The commands, beside a running daemon ─────────────────────────────────────────────────────────────────────


TELL_ONLY = {"SENTINEL_GREET": "false", "SENTINEL_RESTART": "false", "NO_COLOR": "1"}


def ask(folder: Path, host: str, *words: str, **settings: str) -> Done:
    """A command, with the settings of the daemon beside it."""
    return command(*words, **{"DOCKER_HOST": host, "SENTINEL_STATE": str(folder / "state"), **TELL_ONLY, **settings})


def test_mute_and_unmute_work_at_once_beside_the_daemon(engine: FakeEngine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    web, db = add(engine, "web"), add(engine, "db")
    with program(tmp_path, engine.host, **TELL_ONLY) as process:
        until(lambda: log.exists() and log.read_text().count("watching ") == 2)
        done = ask(tmp_path, engine.host, "mute", "web", "30m")
        assert (done.code, done.err) == (0, "") and "web: neither alerts nor restarts until 20" in done.out
        engine.crash(web, 3)
        engine.crash(db, 4)
        until(lambda: "db is DEAD" in log.read_text())
        assert "web is DEAD" not in log.read_text()
        done = ask(tmp_path, engine.host, "unmute", "web")
        assert (done.code, done.out) == (0, "web: watched again\n")
        until(lambda: "[STILL DOWN] web" in log.read_text())
        assert end(process) == 0


def test_a_mute_given_on_the_command_line_outlives_the_daemons_being_killed(
    engine: FakeEngine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    web, db = add(engine, "web"), add(engine, "db")
    with program(tmp_path, engine.host, **TELL_ONLY) as process:
        until(lambda: log.exists() and log.read_text().count("watching ") == 2)
        assert ask(tmp_path, engine.host, "mute", "web", "1h").code == 0
        process.send_signal(signal.SIGKILL)
        process.wait()
    log.write_text("")
    with program(tmp_path, engine.host, **TELL_ONLY):
        until(lambda: "answers" in log.read_text())
        engine.crash(web, 3)
        engine.crash(db, 4)
        until(lambda: "db is DEAD" in log.read_text())
        assert "web is DEAD" not in log.read_text()


def a_ledger(folder: Path) -> None:
    """A ledger that knows shop/web/1."""
    ledger = sentinel.Ledger(str(folder / "state"))
    assert ledger.open() == ""
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web",
              "com.docker.compose.container-number": "1"}  # fmt: skip
    ledger.put("service", "shop/web/1", {"container": {"name": "shop-web-1", "labels": labels}}, 1.0)
    ledger.commit(0.0)
    ledger.database and ledger.database.close()
    os.close(ledger.file.lock) if ledger.file.lock is not None else None


@pytest.mark.parametrize(("words", "said"), [
    (("mute", "wbe", "30m"), "did you mean web"), (("mute", "nothing-like-it-at-all", "30m"), "nothing-like-it-at-all"),
    (("mute", "web", "soon"), "'soon' is no duration"), (("mute", "web"), "mute NAME DURATION"),
    (("mute", "30m"), "mute NAME DURATION"), (("mute",), "mute NAME DURATION"), (("unmute",), "unmute NAME"),
    (("unmute", "wbe"), "did you mean web"), (("mute", "web", "wbe", "30m"), "wbe"), (("mute", "web", "0"), "too short")],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")  # fmt: skip
def test_what_can_not_be_muted_is_said_in_a_line_with_exit_1(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    a_ledger(tmp_path)
    done = ask(tmp_path, "unix:///nowhere", *words)
    assert (done.code, done.out) == (1, "") and said in done.err and len(done.err.splitlines()) == 1
    with sqlite3.connect(tmp_path / "state/sentinel.db") as database:
        assert database.execute("SELECT count(*) FROM record WHERE kind = 'mute'").fetchone() == (0,), "and nothing is done"


@pytest.mark.parametrize("name", ["web", "shop", "all", "shop-web-1", "shop/web/1"])
def test_whatever_a_service_is_called_can_be_muted(tmp_path: Path, name: str) -> None:
    a_ledger(tmp_path)
    assert ask(tmp_path, "unix:///nowhere", "mute", name, "30m").code == 0
    assert ask(tmp_path, "unix:///nowhere", "unmute", name).code == 0


@pytest.mark.parametrize("spoil", ["missing", "a text", "read-only"])
@pytest.mark.parametrize("words", [("mute", "all", "30m"), ("unmute", "all")], ids=lambda words: words[0])
def test_without_a_ledger_that_can_be_written_nothing_is_muted(tmp_path: Path, spoil: str, words: tuple[str, ...]) -> None:
    state = tmp_path / "state"
    if spoil == "a text":
        state.mkdir()
        (state / "sentinel.db").write_text("this is no database\n" * 300)
    if spoil == "read-only":
        state.mkdir()
        if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", state],
                                         capture_output=True).returncode:  # fmt: skip
            pytest.skip("only root can mount")
    try:
        if spoil == "read-only":
            a_ledger(tmp_path)
            subprocess.run(["mount", "-o", "remount,ro", state], check=True, capture_output=True)
        done = ask(tmp_path, "unix:///nowhere", *words)
        assert done.code == 1 and not done.out and "SENTINEL_STATE" in done.err and str(state) in done.err
    finally:
        if spoil == "read-only":
            subprocess.run(["umount", "-l", state], check=True)


# ── explain ───────────────────────────────────────────────────────────────────────────────────────────────────

SECRETS = {"DISCORD_WEBHOOK_URL": "http://127.0.0.1:9/api/webhooks/12345678/webhookToken",
           "DISCORD_BRIDGE_TOKEN": "bridgeToken1", "DISCORD_BRIDGE_URL": "http://127.0.0.1:9"}  # fmt: skip


def test_explain_says_of_each_container_what_is_done_and_why(engine: FakeEngine, tmp_path: Path) -> None:
    add(engine, "genesis", policy="unless-stopped")
    add(engine, "flux", depends_on="genesis:service_healthy:false")
    add(engine, "batch", labels={"sentinel.job": "true"})
    # Not now: then it would be said for how long it still is quiet.
    quiet = "-".join((datetime.now(UTC) + timedelta(hours=distance)).strftime("%H:%M") for distance in (2, 3))
    add(engine, "quiet", labels={"sentinel.quiet": quiet, "sentinel.restart": "false"})
    engine.add("lonely", started_ago=60)
    done = ask(tmp_path, engine.host, "explain", SENTINEL_RESTART="true", TZ="UTC", **SECRETS)
    assert (done.code, done.err) == (0, "")
    parts = {part.splitlines()[0]: part for part in done.out.replace("\n  ", "\t").split("\n") for part in [
        part.replace("\t", "\n  ")] if part}  # fmt: skip
    assert set(parts) == {"genesis", "flux", "batch", "quiet", "lonely", "settings"}
    assert "Docker's own restart policy (unless-stopped)" in parts["genesis"] and "yes: " in parts["genesis"]
    assert "genesis (service_healthy)" in parts["flux"] and "5 of 5" in parts["flux"]
    assert "job: its label" in parts["batch"] and "Not restarted: it is a job." in parts["batch"]
    assert f"daily at {quiet}" in parts["quiet"] and "sentinel.restart" in parts["quiet"]
    assert "no: " in parts["lonely"] and "at its death" not in parts["lonely"]
    assert "DISCORD_WEBHOOK_URL=***" in parts["settings"] and "SENTINEL_REMIND=" in parts["settings"]
    assert not [secret for secret in ("webhookToken", "bridgeToken1") if secret in done.out]


def test_explain_knows_what_the_daemon_knows(engine: FakeEngine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    web, db = add(engine, "web"), add(engine, "db")
    engine.on_start(web, support.fake_engine.PORT_TAKEN)
    with program(tmp_path, engine.host, **TELL_ONLY | {"SENTINEL_RESTART": "true"}):
        until(lambda: log.exists() and log.read_text().count("watching ") == 2)
        assert ask(tmp_path, engine.host, "mute", "db", "30m").code == 0
        engine.crash(web, 3)
        until(lambda: "restarting web" in log.read_text())

        def explained() -> bool:
            done = ask(tmp_path, engine.host, "explain", "web", "db", SENTINEL_RESTART="true")
            assert done.code == 0
            tries = any(f"{left} of 5" in done.out for left in range(5))
            return tries and "for another" in done.out and "settings" not in done.out

        until(explained)
    assert db.running


def test_explain_of_a_name_that_nobody_has_is_said(engine: FakeEngine, tmp_path: Path) -> None:
    add(engine, "web")
    done = ask(tmp_path, engine.host, "explain", "wbe")
    assert done.out == "" and "no container is called wbe" in done.err


def test_explain_without_an_engine_is_a_line_and_exit_1(tmp_path: Path) -> None:
    done = ask(tmp_path, f"unix://{tmp_path}/nowhere.sock", "explain")
    assert done.code == 1 and not done.out and "nowhere.sock" in done.err


def test_explain_shows_no_password_in_an_address(engine: FakeEngine, tmp_path: Path) -> None:
    done = ask(tmp_path, engine.host, "explain", DISCORD_BRIDGE_URL="https://me:hunter2hunter2@bridge.example")
    assert done.code == 0 and "hunter2hunter2" not in done.out


def test_a_greeting_that_makes_no_sense_in_the_ledger_ends_no_daemon(engine: FakeEngine, tmp_path: Path) -> None:
    a_ledger(tmp_path)
    with sqlite3.connect(tmp_path / "state/sentinel.db") as database:
        database.execute("INSERT INTO record VALUES ('meta', 'greeting', 1, '[]')")
    database.close()
    add(engine, "web")
    with program(tmp_path, engine.host, **TELL_ONLY | {"SENTINEL_GREET": "true"}) as process:
        until(lambda: process.poll() is not None or "Watching" in (tmp_path / "log").read_text())
        assert process.poll() is None
