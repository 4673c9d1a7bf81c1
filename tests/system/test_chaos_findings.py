"""What tests/tools/chaos.py found, each in its smallest form."""

from __future__ import annotations

from pathlib import Path

import pytest
import support.fake_engine
from support.fake_engine import FakeEngine
from support.lives import Clock, EngineClock, Life
from support.scenario import World, play

import sentinel
from sentinel import Cause, Verdict


@pytest.mark.parametrize("gone", [0, 1, 2], ids=["never", "while the engine is away", "soon after the engine is back"])
@pytest.mark.parametrize("crash", [False, True], ids=["engine stopped", "engine killed"])
def test_what_an_engine_ended_is_no_operators_stop_for_a_sentinel_that_was_killed_meanwhile(
    engine: FakeEngine, clock: Clock, tmp_path: Path, crash: bool, gone: int
) -> None:
    webs = [engine.add(f"web{number}", project="shop", started_ago=3600.0) for number in (1, 2, 3)]

    def engine_goes() -> None:
        engine.go_down() if crash else engine.daemon_shutdown()

    steps = [engine_goes, lambda: engine.come_up(kill_leftovers=crash), lambda: None]
    told, waits = [], (4.0, 4.0, 60.0)
    for life in (range(gone), range(gone, 3)):
        with Life(engine, tmp_path, clock) as sentinel_:
            sentinel_.run(5)
            for step in life:
                steps[step]()
                sentinel_.run(waits[step])
            told += sentinel_.told()
    assert all(web.running for web in webs), told
    assert not [words for words in told if words.startswith("Stopped")], told


@pytest.mark.parametrize("begun", ["before", "while Sentinel was away"])
def test_green_waits_for_five_seconds_of_life_whenever_the_life_before_began(
    engine: FakeEngine, clock: Clock, tmp_path: Path, begun: str
) -> None:
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


@pytest.mark.parametrize("moment", [0.5, 29.9])
def test_an_update_that_begins_as_a_stop_settles_has_a_settle_time_of_its_own(
    moment: float
) -> None:
    world = World("web", "db")
    play(world, (0, "web stop"), (moment, "recreate web unstarted"), (moment + 0.5, "web start"), (moment + 90, ""))


def test_a_digest_says_which_services_of_a_project_were_stopped() -> None:
    stops = [sentinel.Notice(Verdict.STOPPED, f"shop-web-{number}", 0.0, cause=Cause.STOP, project="shop", id=number)
             for number in (1, 2)]  # fmt: skip
    deaths = [sentinel.Notice(Verdict.DEAD, f"db-{number}", 0.0, exit_code=1, id=number) for number in range(3, 13)]
    message = sentinel.message_of(sentinel.Deliver("webhook", (*stops, *deaths), "box", "1"), 1.0, 0.0)
    words = next(embed["description"] for embed in message["embeds"] if embed["title"].startswith("Stopped"))
    assert all(name in words for name in ("web-1", "web-2")), words


@pytest.mark.parametrize("first", ["stop", "kill"])
@pytest.mark.parametrize("down", [0.5, 2.0, 12.0])
@pytest.mark.parametrize("last", ["stop", "kill"])
def test_what_an_engine_ends_before_all_was_clear_after_its_last_return_is_no_operators_stop(
    engine: FakeEngine, clock: Clock, tmp_path: Path, first: str, down: float, last: str
) -> None:
    engine.add("db", project="shop", started_ago=3600.0, policy="always")
    web = engine.add("web", project="shop", started_ago=3600.0, policy="unless-stopped")

    def again(how: str, seconds: float) -> None:
        engine.daemon_shutdown() if how == "stop" else engine.go_down()
        life.run(seconds)
        engine.come_up(kill_leftovers=how == "kill")
        life.run(5)

    with Life(engine, tmp_path, clock) as life:
        life.run(10)
        again(first, 2.0)
        if not web.running:
            engine.start_by_operator(web)
            life.run(2)
        again("kill", down)
        again(last, 12.0)
        life.run(100)
        assert web.running, life.said
        assert not [words for words in life.told() if words.startswith("Stopped")]


@pytest.mark.parametrize("before", [3.0, 10.0])
def test_what_an_operator_stopped_shortly_before_the_engine_was_stopped_stays_down(
    engine: FakeEngine, clock: Clock, tmp_path: Path, before: float
) -> None:
    engine.add("db", project="shop", started_ago=3600.0, policy="always")
    web = engine.add("web", project="shop", started_ago=3600.0)
    with Life(engine, tmp_path, clock) as life:
        life.run(10)
        engine.stop_by_operator(web)
        life.run(before)
        engine.daemon_shutdown()
        life.run(12)
        engine.come_up()
        life.run(100)
        assert not web.running, life.said


@pytest.mark.parametrize("ahead", [0.0, 30.0])
def test_what_an_engine_ended_is_no_operators_stop_though_its_clock_is_ahead_of_sentinels(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, clock: Clock, tmp_path: Path, ahead: float
) -> None:
    if ahead:
        words = "the end of the engine's absence is read from Sentinel's clock, and compared with the engine's stamps"
        request.applymarker(pytest.mark.xfail(strict=True, reason=words))
    theirs = EngineClock(clock)
    theirs.time, theirs.time_ns = lambda: clock.time() + ahead, lambda: clock.time_ns() + int(ahead * 1e9)
    monkeypatch.setattr(support.fake_engine, "time", theirs)
    with FakeEngine() as engine:
        web = engine.add("web", project="shop", started_ago=3600.0)
        with Life(engine, tmp_path, clock) as life:
            life.run(10)
            engine.go_down()
            life.run(3)
            engine.come_up(kill_leftovers=True)
            life.run(100)
            assert web.running, life.said
            assert not [words for words in life.told() if words.startswith("Stopped")]


UNSEEN = pytest.mark.xfail(strict=True, reason=(
    "an engine killed and back while nobody watched looks like an operator who stops all: that must never be undone"))


@pytest.mark.parametrize("back", [
    *(pytest.param(f"{when} Sentinel", marks=UNSEEN) for when in ("before", "after")), "goes as Sentinel starts"])
def test_what_an_engine_ended_that_went_while_sentinel_was_away_is_no_operators_stop(
    engine: FakeEngine, clock: Clock, tmp_path: Path, back: str
) -> None:
    webs = [engine.add(f"web{number}", project="shop", started_ago=3600.0) for number in (1, 2, 3)]
    with Life(engine, tmp_path, clock) as first:
        first.run(10)
    clock.at += 5
    if back != "goes as Sentinel starts":
        engine.go_down()
    if back == "before Sentinel":
        engine.come_up(kill_leftovers=True)
        clock.at += 3
    with Life(engine, tmp_path, clock) as second:
        second.run(0.5)
        if back == "goes as Sentinel starts":
            engine.go_down()
            second.run(0.2)
        if back != "before Sentinel":
            engine.come_up(kill_leftovers=True)
        second.run(90)
        assert all(web.running for web in webs), second.said
        assert not [words for words in second.told() if words.startswith("Stopped")]


@pytest.mark.parametrize("policy", ["no", "unless-stopped"])
@pytest.mark.parametrize("remembers", [True, False], ids=["the engine knows its events", "they are forgotten"])
def test_what_an_operator_stops_while_sentinel_is_away_stays_down(
    engine: FakeEngine, clock: Clock, tmp_path: Path, policy: str, remembers: bool
) -> None:
    """All of it, just before Sentinel comes back: as if the engine had ended them."""
    both = [engine.add(name, project="shop", started_ago=3600.0, policy=policy) for name in ("web", "db")]
    with Life(engine, tmp_path, clock) as first:
        first.run(60)
    clock.at += 200
    if not remembers:
        engine.ring.clear()
    for container in both:
        engine.stop_by_operator(container)
        clock.at += 0.5
    clock.at += 5
    with Life(engine, tmp_path, clock) as second:
        second.run(120)
        assert {words.partition(" ")[0] for words in second.told()} == {"Stopped"}, second.said
    assert not any(container.running for container in both)
