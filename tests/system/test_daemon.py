"""The whole of Sentinel against a fake engine and a fake Discord.

What is a question of time (an interval, a cut every few minutes, an hour) is played on a clock that tests set. What
is a question of threads, signals and exit codes is played by a real Daemon, in this process or in one of its own.
"""

from __future__ import annotations

import os
import py_compile
import queue
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import support.fake_engine
from support import insides
from support.clocked import Clocked
from support.fake_discord import FakeDiscord
from support.fake_engine import FakeEngine
from support.system import add, end, program, until

import sentinel
from sentinel import Asked, Daemon, Engine, ExitCode, Settings, StopAsked, Verdict

ALLOWED = re.compile(r"GET /(_ping|version|info|containers/json|containers/[0-9a-f]{64}/(json|logs)|events)(\?|$)"
                     r"|GET /v4.0.0/libpod/containers/[0-9a-f]{64}/json$"
                     r"|POST /containers/[0-9a-f]{64}/(start|restart)(\?|$)")  # fmt: skip


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """An engine of which nothing is asked but what is needed."""
    with FakeEngine() as fake:
        yield fake
        asked = {f"{call.method} {call.path}" for call in fake.calls}
        assert [call for call in asked if not ALLOWED.match(call)] == []


# ── On a clock that tests set: what the stream does not tell, the listing does ────────────────────────────────


def test_where_events_are_refused_a_death_is_found_within_an_interval(engine: FakeEngine) -> None:
    web = add(engine, "web")
    engine.refuse("/events")
    with Clocked(engine, poll_interval=30.0) as watch:
        watch.run(5)
        engine.crash(web, 3)
        watch.run(30.1)
        assert watch.told()[:1] == ["DEAD web"]
        assert web.status == "running"
        watch.run(600)
        assert watch.told() == ["DEAD web", "Recovered web"]
        assert sum("events are refused" in line.text for line in watch.log) == 1
        assert len(watch.subscribed) <= 12, "once a minute is enough"


def test_events_that_are_allowed_later_are_used(engine: FakeEngine) -> None:
    web = add(engine, "web")
    engine.refuse("/events")
    with Clocked(engine) as watch:
        watch.run(5)
        engine.heal()
        watch.run(61)
        engine.crash(web, 3)
        watch.run(1)
        assert watch.told() == ["DEAD web"]


@pytest.mark.parametrize("status", [500, 502, 503])
def test_events_alone_that_can_not_be_had_are_no_engine_that_is_down(engine: FakeEngine, status: int) -> None:
    web = add(engine, "web")
    engine.refuse("/events", status)
    with Clocked(engine) as watch:
        watch.run(300)
        engine.crash(web, 3)
        watch.run(60)
        assert watch.told() == ["DEAD web", "Recovered web"]


def test_events_that_can_not_be_had_any_more_are_no_engine_that_is_down(engine: FakeEngine) -> None:
    web = add(engine, "web")
    with Clocked(engine) as watch:
        watch.run(5)
        engine.refuse("/events", 503)
        engine.cut_streams()
        watch.run(300)
        engine.crash(web, 3)
        watch.run(60)
        assert watch.told() == ["DEAD web", "Recovered web"]


def test_a_stream_that_went_deaf_is_noticed_by_the_listing_and_opened_anew(engine: FakeEngine) -> None:
    web, db = add(engine, "web"), add(engine, "db")
    with Clocked(engine, poll_interval=30.0) as watch:
        watch.run(5)
        engine.deaf(reopen_heals=True)
        engine.crash(web, 3)
        watch.run(30)
        assert watch.told() == ["DEAD web"]
        assert len(watch.subscribed) == 2
        engine.crash(db, 4)
        watch.run(0.1)
        assert watch.told() == ["DEAD web", "DEAD db"]


def test_stops_that_a_deaf_stream_did_not_tell_are_stops_once_it_hears_again(engine: FakeEngine) -> None:
    """All of them: the engine remembers its last events, and the stream opened anew tells them."""
    services = [add(engine, f"web{number}") for number in range(4)]
    with Clocked(engine, poll_interval=30.0) as watch:
        watch.run(5)
        engine.deaf(reopen_heals=True)
        for service in services:
            engine.stop_by_operator(service)
        watch.run(120)
        assert watch.told(Verdict.STOPPED) == []
        assert {service.status for service in services} == {"exited"}


def test_a_container_that_dies_while_sentinel_is_still_looking_around_is_told(engine: FakeEngine) -> None:
    """The stream told its death after Sentinel's start; that its first look came too late changes nothing."""
    web = add(engine, "web")
    with Clocked(engine, answer=0.3) as watch:
        watch.run(0.1)
        engine.crash(web, 3)
        watch.run(10)
        assert watch.told() == ["DEAD web", "Recovered web"]


def test_a_busy_engine_that_answers_late_hides_no_death(engine: FakeEngine) -> None:
    services = [add(engine, f"web{number}") for number in range(10)]
    with Clocked(engine, answer=1.5) as watch:
        watch.run(30)
        for number, service in enumerate(services):
            engine.crash(service, number + 1)
        watch.run(60)
        assert sorted(watch.told(Verdict.RECOVERED)) == [f"DEAD web{number}" for number in range(10)]
        assert sorted(watch.told(Verdict.DEAD)) == [f"Recovered web{number}" for number in range(10)]


@pytest.mark.parametrize("cut_every", [3.0, 240.0])
def test_a_stream_that_is_cut_again_and_again_is_no_news(engine: FakeEngine, cut_every: float) -> None:
    """A proxy that cuts idle streams is normal life: no word, no gap, no double."""
    web = add(engine, "web", policy="always")
    with Clocked(engine, restart=False) as watch:
        watch.run(5)
        before = len(watch.log)
        for number in range(40):
            engine.cut_streams()
            if number == 20:
                assert engine.wait_streams(0)
                engine.crash(web, 3)  # while no stream is open
                assert engine.wait(lambda: web.status == "running")
            watch.run(cut_every)
        assert watch.told() == ["DEAD web", "Recovered web"]
        assert not [line for line in watch.log[before:] if "stream" in line.text or "engine" in line.text]
        assert all(later - sooner >= 0.05 for sooner, later in zip(watch.subscribed, watch.subscribed[1:], strict=False))


def test_a_stream_that_is_cut_at_once_each_time_is_reopened_at_a_bounded_rate(engine: FakeEngine) -> None:
    add(engine, "web")
    with Clocked(engine) as watch:
        for _ in range(600):
            engine.cut_streams()
            watch.run(0.1)
        assert 10 <= len(watch.subscribed) <= 30
        assert watch.told() == []


def test_a_death_in_the_gap_of_a_cut_is_told_when_the_stream_is_back(engine: FakeEngine) -> None:
    web = add(engine, "web")
    with Clocked(engine) as watch:
        watch.run(60)
        engine.cut_streams()
        assert engine.wait_streams(0)
        engine.crash(web, 3)
        watch.run(0.2)
        assert watch.told() == ["DEAD web"]


def test_an_engine_that_is_away_is_told_once_and_its_silence_is_no_death(engine: FakeEngine) -> None:
    add(engine, "web"), add(engine, "db")
    with Clocked(engine) as watch:
        watch.run(5)
        engine.go_down()
        watch.run(9)
        assert watch.told() == []
        watch.run(600)
        assert [notice.verdict for notice in watch.notices] == [Verdict.ENGINE_DOWN]
        engine.come_up(keep_history=True)
        watch.run(30)
        assert [notice.verdict for notice in watch.notices] == [Verdict.ENGINE_DOWN, Verdict.RECOVERED]


def test_an_engine_that_was_never_there_is_waited_for_with_one_clear_line(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path / "docker.sock")
    with Clocked(engine) as watch:
        watch.run(300)
        assert [line.level for line in watch.log] == ["warning"]
        assert "no such socket; is Docker running?" in watch.log[0].text
        with engine:
            web = add(engine, "web")
            watch.run(6)
            engine.crash(web, 3)
            watch.run(20)
            assert watch.told() == ["DEAD web", "Recovered web"]


# ── In threads ────────────────────────────────────────────────────────────────────────────────────────────────


class Running:
    """A Daemon in a thread of this process."""

    def __init__(self, host: str, webhook_url: str = "", **settings: Any) -> None:
        url = sentinel.webhook(webhook_url)
        usual = {"greet": False, "state": tempfile.mkdtemp()}
        chosen = Settings(docker_host=host, webhook_url=url, **{**usual, **settings})
        self.daemon = Daemon(chosen, {"NO_COLOR": "1"})
        self.daemon.journal.log = self._log  # type: ignore[method-assign]
        self.lines: list[str] = []
        self.code: int | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _log(self, level: str, text: str) -> None:
        self.lines.append(sentinel.log_line(level, text, 0.0, "text"))

    def _run(self) -> None:
        self.code = self.daemon.run()

    def watching(self, *names: str) -> None:
        """Wait until it has the stream and knows these services."""
        watchdog, keys = self.daemon.watchdog, {f"shop/{name}/1" for name in names}
        until(lambda: insides.streams(watchdog) and keys <= set(watchdog.services))

    def ended(self, timeout: float = 10.0) -> int | None:
        self.thread.join(timeout)
        return self.code

    def let_go(self) -> None:
        """Another one may have the ledger, as at the end of its process."""
        assert self.daemon.books.ledger.file.lock is not None
        os.close(self.daemon.books.ledger.file.lock)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Running]]:
    """Daemons that prove a recovery in the twentieth of a second; all have ended well afterwards."""
    monkeypatch.setattr(sentinel.signal, "signal", lambda *_: None)  # only a main thread may
    monkeypatch.setattr(sentinel, "FIRST_PROOF", 0.05)
    made: list[Running] = []

    def start(host: str, *arguments: Any, **settings: Any) -> Running:
        made.append(Running(host, *arguments, **settings))
        made[-1].thread.start()
        return made[-1]

    yield start
    for one in made:
        one.daemon.inbox.put(StopAsked(signal.SIGTERM))
    assert {one.ended() for one in made} <= {ExitCode.OK, ExitCode.CRASHED}


def test_a_death_is_red_and_its_proven_recovery_green(
    engine: FakeEngine, discord: FakeDiscord, running: Callable[..., Running]
) -> None:
    web = add(engine, "web", memory=64 * 2**20)
    engine.log(web, "starting", "out of cheese")
    running(engine.host, discord.add_webhook().url).watching("web")
    engine.log(web, "boom")
    engine.crash(web, 3)
    discord.wait_for(lambda fake: fake.posts(text="web is DEAD"))
    discord.wait_for(lambda fake: fake.posts(text="web is back online"))
    red, green = discord.messages
    assert "exit 3" in red.text and "boom" in red.text and "docker compose -p shop" in red.text
    assert (red.embeds[0]["color"], green.embeds[0]["color"]) == (sentinel.RED, sentinel.GREEN)
    assert [call.path.rpartition("/")[2] for call in engine.called("POST")] == ["start"]


def test_a_service_that_appears_later_is_covered_from_its_start(
    engine: FakeEngine, discord: FakeDiscord, running: Callable[..., Running]
) -> None:
    running(engine.host, discord.add_webhook().url).watching()
    web = engine.add("web", project="shop")
    engine.crash(web, 3)
    discord.wait_for(lambda fake: fake.posts(text="web is DEAD"))


def test_an_engine_that_comes_later_is_found(tmp_path: Path, running: Callable[..., Running]) -> None:
    engine = FakeEngine(tmp_path / "docker.sock")
    one = running(engine.host)
    with engine:
        add(engine, "web")
        one.watching("web")


def test_there_is_never_a_second_restart_in_flight(engine: FakeEngine, running: Callable[..., Running]) -> None:
    sick = add(engine, "sick", healthcheck=True)
    running(engine.host, poll_interval=0.1).watching("sick")
    engine.hang("/restart")
    engine.health(sick, "unhealthy", "no answer")
    assert engine.wait_call("POST")
    looked = len(engine.called("GET", f"{sick.id}/json"))
    for status in ("healthy", "unhealthy") * 3:
        engine.health(sick, status)
    engine.pause(sick)
    engine.unpause(sick)
    engine.crash(sick, 3)
    assert engine.wait_call("GET", f"{sick.id}/json", looked + 1) and engine.wait_call("GET", "/containers/json", 3)
    assert [call.path for call in engine.called("POST")] == [f"/containers/{sick.id}/restart?t=1"]
    engine.heal()


def test_four_slow_restarts_hold_up_no_start(engine: FakeEngine, running: Callable[..., Running]) -> None:
    sick = [add(engine, f"sick{number}", healthcheck=True) for number in range(5)]
    web = add(engine, "web")
    running(engine.host).watching("web", *(container.name for container in sick))
    engine.hang("/restart")
    for container in sick:
        engine.health(container, "unhealthy")
    assert engine.wait_call("POST", "/restart", 4)
    engine.crash(web, 3)
    assert engine.wait_call("POST", f"{web.id}/start$"), "though not one of the four has been answered"
    engine.heal()


def test_a_slow_engine_delays_but_hides_nothing(
    engine: FakeEngine, discord: FakeDiscord, running: Callable[..., Running]
) -> None:
    web = add(engine, "web")
    running(engine.host, discord.add_webhook().url).watching("web")
    engine.slow("/", 0.05)
    engine.crash(web, 3)
    discord.wait_for(lambda fake: fake.posts(text="web is back online"))
    assert len(discord.messages) == 2


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("a broken part")


@pytest.mark.parametrize(("part", "name"), [
    (Engine, "list_all"), (Engine, "look"), (Engine, "restart"), (Engine, "events"), (sentinel.Webhook, "send"),
    (sentinel, "message_of"),
])  # fmt: skip
def test_a_worker_that_breaks_ends_the_process_with_its_reason(
    engine: FakeEngine, running: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, part: Any, name: str
) -> None:
    web = add(engine, "web")
    token = "SecretSecret-123"
    monkeypatch.setattr(part, name, broken)
    one = running(engine.host, f"http://127.0.0.1:1/api/webhooks/123/{token}")
    if name not in ("list_all", "look", "events"):
        one.watching("web")
        engine.crash(web, 3)
    assert one.ended() == ExitCode.CRASHED
    reason = one.lines[-1]
    assert "broke" in reason and "RuntimeError: a broken part" in reason
    assert "\n" not in reason and token not in "".join(one.lines)


def test_settings_that_make_no_sense_end_it_with_all_reasons_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "environ", {"SENTINEL_SETTLE": "soon", "SENTINEL_WATCH": "some", "DOCKER_HOST": "ssh://host",
                                        "DISCORD_WEBHOOK_URL": "https://example.org/secret-token"})  # fmt: skip
    assert sentinel.main(["--max-restarts", "many"]) == ExitCode.BAD_SETTINGS == 78
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == [
        "DOCKER_HOST", "DISCORD_WEBHOOK_URL", "SENTINEL_WATCH", "SENTINEL_SETTLE", "--max-restarts"]  # fmt: skip
    assert not [line for line in said if "secret-token" in line]


class Ahead:
    """The time of Sentinel and of the engine: it goes on as ever, and further where a test says so."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def skip(self, seconds: float) -> None:
        self.ahead += seconds

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def time(self) -> float:
        return time.time() + self.ahead

    def time_ns(self) -> int:
        return time.time_ns() + round(self.ahead * 1e9)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Ahead:
    clock = Ahead()
    monkeypatch.setattr(sentinel, "time", clock)
    monkeypatch.setattr(support.fake_engine, "time", clock)
    return clock


def asked(one: Running, path: str) -> tuple[int, str, str]:
    """What the daemon's HTTP server would answer."""
    answers: queue.SimpleQueue[tuple[int, str, str]] = queue.SimpleQueue()
    one.daemon.inbox.put(Asked(path, answers.put))
    return answers.get(timeout=10)


HANGS = {"look": ("GET", "/containers/{id}/json"), "start": ("POST", "/containers/{id}/start"),
         "restart": ("POST", "/containers/{id}/restart"), "listing": ("GET", "/containers/json")}


@pytest.mark.parametrize("what", HANGS)
def test_a_job_that_never_ends_is_noticed_given_up_said_and_asked_again(
    engine: FakeEngine, ahead: Ahead, running: Callable[..., Running], what: str
) -> None:
    """Found by a reading of the code: the answer to another look was taken for that of the one that hung."""
    web, db = add(engine, "web", healthcheck=what == "restart"), add(engine, "db")
    one = running(engine.host, remind=0.0)
    one.watching("web", "db")
    method, path = HANGS[what]
    path = path.format(id=web.id)
    before, said = len(engine.called(method, path)), len(one.lines)
    engine.hang(path, method=method)
    engine.health(web, "unhealthy") if what == "restart" else engine.crash(web, 3)
    ahead.skip(40.0)
    assert asked(one, "/healthz")[0] in (200, 503) and engine.wait_call(method, path, before + 1)
    statuses = set()
    for _ in range(60):  # ten minutes, in which all others are answered
        ahead.skip(10.0)
        looked = len(engine.called("GET", f"/containers/{db.id}/json"))
        engine.update_policy(db, "no")
        assert engine.wait_call("GET", f"/containers/{db.id}/json", looked + 1)
        statuses.add(asked(one, "/healthz")[0])
    assert 503 in statuses, "nobody notices"
    assert engine.wait_call(method, path, before + 2), "it is not asked again"
    words = re.compile("given up: list" if what == "listing" else rf"{what}: given up: .*\bweb\b")
    assert [line for line in one.lines[said:] if words.search(line)], "nothing is said of it"
    engine.heal()

    def well() -> bool:
        ahead.skip(5.0)
        if what == "restart":
            engine.health(web, "healthy")
        return asked(one, "/healthz")[0] == 200 and any("web is back" in line for line in one.lines)

    until(well, what=lambda: one.lines[said:])
    assert [line for line in one.lines if "web is DEAD" in line or "web is UNHEALTHY" in line]


def test_a_look_that_drips_puts_off_no_reminder(
    engine: FakeEngine, ahead: Ahead, running: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the ends of mutes and outages, which wait for all that is being looked at."""
    timer = threading.Timer
    monkeypatch.setattr(threading, "Timer", lambda seconds, *words, **more: timer(seconds / 40, *words, **more))
    web, db = add(engine, "web"), add(engine, "db")
    one = running(engine.host, restart=False, remind=3600.0)
    one.watching("web", "db")
    engine.drip(f"/containers/{web.id}/json", 0.2)
    engine.update_policy(web, "no")
    assert engine.wait_call("GET", f"/containers/{web.id}/json", 2)
    engine.crash(db, 3)
    until(lambda: any("db is DEAD" in line for line in one.lines))

    def reminded() -> bool:
        ahead.skip(30.0)
        return asked(one, "/healthz")[0] > 0 and any("STILL DOWN" in line for line in one.lines)

    until(reminded, what=lambda: one.lines)
    engine.heal()


def test_stops_that_take_hours_do_not_keep_others_from_being_restarted(
    engine: FakeEngine, running: Callable[..., Running]
) -> None:
    """Its stop timeout is a container's own choice, up to a day, and a restart waits for it."""
    slow = [add(engine, f"slow{number}", healthcheck=True, stop_timeout=86_000) for number in range(6)]
    web = add(engine, "web", healthcheck=True)
    running(engine.host).watching("web", *(container.name for container in slow))
    for container in slow:
        engine.hang(f"{container.id}/restart")
        engine.health(container, "unhealthy")
    assert engine.wait_call("POST", "/restart", 4)
    engine.health(web, "unhealthy")
    assert engine.wait_call("POST", f"{web.id}/restart"), "it waits for those that take their time"
    engine.heal()


def test_what_has_arrived_as_sentinel_is_asked_to_stop_is_not_sent_again(
    engine: FakeEngine, discord: FakeDiscord, tmp_path: Path, running: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a reading of the code: what stood behind the wish to stop in one batch was forgotten."""
    monkeypatch.setattr(sentinel, "LEAVING", 3600.0)
    web, url = add(engine, "web"), discord.add_webhook().url
    first = running(engine.host, url, state=str(tmp_path), restart=False)
    first.watching("web")
    discord.arm("hang", seconds=1.0, after_storing=True)
    engine.crash(web, 3)
    discord.wait_for(lambda fake: fake.posts(text="web is DEAD"))
    gate = threading.Event()
    first.daemon.inbox.put(Asked("/status", lambda answer: gate.wait(10) and None))  # keeps the main thread busy
    until(first.daemon.inbox.empty)
    first.daemon.inbox.put(StopAsked(signal.SIGTERM))
    until(lambda: first.daemon.inbox.qsize() >= 2, what="the answer of Discord")
    gate.set()
    assert first.ended() == ExitCode.OK, "it waits for an answer that it has"
    assert not [line for line in first.lines if "not delivered yet" in line]
    first.let_go()
    second = running(engine.host, url, state=str(tmp_path), restart=False)
    second.watching("web")
    second.daemon.inbox.put(StopAsked(signal.SIGTERM))
    assert second.ended() == ExitCode.OK
    assert len(discord.posts(text="web is DEAD")) == 1


class Standstill:
    """Time that passes only where it is waited, and an inbox and a gateway in which nothing ever comes."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def get(self, timeout: float) -> None:
        self.now += timeout
        raise queue.Empty

    def leave(self) -> None:
        """Nobody answers."""

    def wait_for_end(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("waits", [True, False])
def test_it_ends_within_two_seconds_though_nobody_answers(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """The sum of all that is waited for; how long it takes on a machine is the bench's."""
    daemon = Daemon(Settings(docker_host=engine.host, state=str(tmp_path)), {"NO_COLOR": "1"})
    daemon.remember()
    clock: Any = Standstill()
    monkeypatch.setattr(sentinel, "time", clock)
    clock.time = lambda: 1.8e9
    monkeypatch.setattr(sentinel.Post, "underway", waits)
    daemon.inbox = daemon.gateway = clock
    assert daemon.leave([]) == ExitCode.OK
    assert clock.now - 1000.0 <= (1.8 if waits else 1.0)


# ── In a process of its own ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_ends_also_in_the_middle_of_a_restart_that_never_ends(
    engine: FakeEngine, discord: FakeDiscord, tmp_path: Path, number: signal.Signals
) -> None:
    """And nothing that it was told as a secret is in what it says."""
    sick, web, hook = add(engine, "sick", healthcheck=True), add(engine, "web"), discord.add_webhook()
    engine.log(web, f"posting to {hook.url}")
    engine.hang("/restart|/start")
    form = "json" if number == signal.SIGINT else "text"
    err = tmp_path / "err"
    with program(tmp_path, engine.host, log="err", out="out", DISCORD_WEBHOOK_URL=hook.url, SENTINEL_LOG=form) as process:
        until(lambda: re.search("(?s)watching sick.*watching web|watching web.*watching sick", err.read_text()))
        engine.health(sick, "unhealthy")
        engine.crash(web, 3)
        assert engine.wait_call("POST", "/restart") and engine.wait_call("POST", "/start")
        discord.wait_for(lambda fake: fake.posts(text="web is DEAD"))
        assert end(process, number) == 0
    said = err.read_text() + (tmp_path / "out").read_text()
    assert "asked to stop" in said and "web is DEAD" in said
    assert hook.token not in said
    assert hook.token not in "".join(message.text for message in discord.messages)
    engine.heal()


def test_without_a_channel_alerts_are_cards_on_the_terminal(engine: FakeEngine, tmp_path: Path) -> None:
    web = add(engine, "web")
    with program(tmp_path, engine.host, log="err", out="out") as process:
        until(lambda: "watching web" in (tmp_path / "err").read_text())
        engine.crash(web, 3)
        until(lambda: "[DEAD] web" in (tmp_path / "out").read_text())
        assert end(process) == 0
    card = (tmp_path / "out").read_text()
    assert "web is DEAD — exit 3" in card and "\x1b" not in card, "plain where it is no terminal"


@pytest.mark.parametrize("kept", ["beside it", "in its state"])
def test_the_daemon_is_run_from_its_compiled_form_and_called_what_was_started(engine: FakeEngine, tmp_path: Path,
                                                                              kept: str) -> None:
    """CPython keeps the syntax tree of a script for as long as it runs, which is a third of the daemon's memory."""
    engine.add("web", project="shop", started_ago=3600.0)
    folder = tmp_path / "program"
    folder.mkdir()
    script = shutil.copy(sentinel.__file__, folder / "sentinel.py")
    if kept == "in its state":
        (folder / "sentinel.pyc").mkdir()  # so that no file can be put there
    with program(tmp_path, engine.host, script) as process:
        until(lambda: "watching web" in (tmp_path / "log").read_text())
        words = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode().split("\0")
    compiled = folder / "sentinel.pyc" if kept == "beside it" else tmp_path / "state" / "sentinel.pyc"
    assert words[1] == str(compiled) and compiled.is_file() and re.search("sentinel.py", " ".join(words))


def test_a_compiled_form_of_somebody_else_is_not_run(engine: FakeEngine, tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("only root can give a file away")
    script = Path(shutil.copy(sentinel.__file__, tmp_path / "sentinel.py"))
    there, other = script.stat(), tmp_path / "other.py"
    other.write_text("raise SystemExit('of somebody else')")
    py_compile.compile(str(other), str(tmp_path / "sentinel.pyc"))
    header = (tmp_path / "sentinel.pyc").read_bytes()
    stamp = int(there.st_mtime).to_bytes(4, "little") + there.st_size.to_bytes(4, "little")
    (tmp_path / "sentinel.pyc").write_bytes(header[:8] + stamp + header[16:])
    assert sentinel.up_to_date(str(script), str(tmp_path / "sentinel.pyc"))
    os.chown(tmp_path / "sentinel.pyc", 12345, 12345)
    with program(tmp_path, engine.host, str(script)):
        until(lambda: "watches" in (tmp_path / "log").read_text())


def test_an_old_compiled_form_is_not_run(engine: FakeEngine, tmp_path: Path) -> None:
    script = Path(shutil.copy(sentinel.__file__, tmp_path / "sentinel.py"))
    old = tmp_path / "old.py"
    old.write_text("raise SystemExit('old')")
    py_compile.compile(str(old), str(tmp_path / "sentinel.pyc"))
    with program(tmp_path, engine.host, str(script)):
        until(lambda: "watches" in (tmp_path / "log").read_text())


def lanes_with(
    jobs: int, gate: threading.Event, limit: float = 60.0
) -> tuple[sentinel.Lanes, queue.SimpleQueue[Any], list[int]]:
    """A lane that grows, with so many jobs in it that wait for the gate; and how many were at work at once."""
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lanes, at_work, now = sentinel.Lanes(inbox), [0], []
    lock = threading.Lock()

    def work(what: Any) -> Any:
        with lock:
            now.append(what)
            at_work[0] = max(at_work[0], len(now))
        gate.wait(10)
        with lock:
            now.remove(what)
        return sentinel.Pinged("")

    lanes.open("start", 1, work)
    for number in range(jobs):
        lanes.put("start", number, limit)
    return lanes, inbox, at_work


def test_a_lane_grows_for_a_storm_up_to_a_limit_and_shrinks_after_it() -> None:
    gate, before = threading.Event(), set(threading.enumerate())

    def workers() -> int:
        """Those of this lane alone: what other tests left may end meanwhile."""
        hired = set(threading.enumerate()) - before
        return sum(worker.name.startswith("start-") for worker in hired)

    lanes, inbox, at_work = lanes_with(100, gate)
    until(lambda: at_work[0] == sentinel.GROWING_LANES["start"])
    assert workers() == sentinel.GROWING_LANES["start"]
    gate.set()
    for _ in range(100):
        assert lanes.finish(inbox.get(timeout=10))
    until(lambda: workers() == 1)
    lanes.put("start", 100)
    assert lanes.finish(inbox.get(timeout=10)), "and somebody is still there"
    assert at_work[0] == sentinel.GROWING_LANES["start"]


def test_whoever_is_stuck_counts_no_longer_and_the_lane_goes_on() -> None:
    gate = threading.Event()
    lanes, inbox, at_work = lanes_with(1, gate, limit=5.0)
    until(lambda: at_work[0] == 1)
    assert not lanes.give_up(time.monotonic())
    assert [job.what for job in lanes.give_up(time.monotonic() + 6.0)] == [0]
    gate.set()
    assert not lanes.finish(inbox.get(timeout=10)), "too late"
    for number in range(3):  # each leaves the lane idle
        lanes.put("start", number)
        assert lanes.finish(inbox.get(timeout=10))
