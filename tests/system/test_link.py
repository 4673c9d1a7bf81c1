"""The engine goes and comes back, in whole lives of Sentinel: what it ended is no operator's stop, and what an operator
stopped stays down."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fake_engine import FakeEngine
from support.lives import Clock, Life
from support.system import add, command

import sentinel


@pytest.mark.parametrize("gone", [0, 1, 2], ids=["never", "while the engine is away", "soon after the engine is back"])
@pytest.mark.parametrize("crash", [False, True], ids=["engine stopped", "engine killed"])
def test_what_an_engine_ended_is_no_operators_stop_for_a_sentinel_that_was_killed_meanwhile(
    engine: FakeEngine, clock: Clock, tmp_path: Path, crash: bool, gone: int
) -> None:
    """Found by random life on an engine."""
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


@pytest.mark.parametrize("first", ["stop", "kill"])
@pytest.mark.parametrize("down", [0.5, 2.0, 12.0])
@pytest.mark.parametrize("last", ["stop", "kill"])
def test_what_an_engine_ends_before_all_was_clear_after_its_last_return_is_no_operators_stop(
    engine: FakeEngine, clock: Clock, tmp_path: Path, first: str, down: float, last: str
) -> None:
    """Found by random life on an engine."""
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
    """Found by random life on an engine."""
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


CLOCKS = pytest.mark.parametrize("ahead", [0.0, 0.7, 30.0, -20.0, 3600.0, -3600.0])


@CLOCKS
def test_an_event_is_news_whatever_the_engines_clock_says(
    clock: Clock, tmp_path: Path, ahead: float
) -> None:
    clock.engine_ahead = ahead
    with FakeEngine() as engine:
        web = engine.add("web", project="shop", started_ago=3600.0)
        with Life(engine, tmp_path, clock) as life:
            life.run(4)
            engine.crash(web, 3)
            life.run(1)
            assert life.told() == ["DEAD web"] and web.running, life.said
            life.run(30)
            assert "opening it anew" not in life.said
            assert ("the engine's clock is" in life.said) is (abs(ahead) > 2)


@CLOCKS
def test_what_happened_in_sentinels_absence_is_told_right_whatever_the_engines_clock_says(
    clock: Clock, tmp_path: Path, ahead: float
) -> None:
    clock.engine_ahead = ahead
    with FakeEngine() as engine:
        web, db = (engine.add(name, project="shop", started_ago=3600.0) for name in ("web", "db"))
        with Life(engine, tmp_path, clock) as life:
            life.run(10)
        clock.at += 100
        engine.stop_by_operator(web)
        engine.crash(db, 3)
        clock.at += 100
        with Life(engine, tmp_path, clock) as life:
            life.run(60)
            assert sorted(life.told()) == ["DEAD db", "Recovered db", "Stopped web"], life.said
            assert not web.running and db.running
            down = next(notice.downtime for notice in life.notices if notice.verdict is sentinel.Verdict.RECOVERED)
            assert down == pytest.approx(100, abs=3)


@CLOCKS
def test_what_an_engine_ended_is_no_operators_stop_whatever_its_clock_says(
    clock: Clock, tmp_path: Path, ahead: float
) -> None:
    """Found by random life on an engine."""
    clock.engine_ahead = ahead
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


@pytest.mark.parametrize("back", ["before Sentinel", "after Sentinel", "goes as Sentinel starts"])
def test_what_an_engine_ended_that_went_while_sentinel_was_away_is_no_operators_stop(
    engine: FakeEngine, clock: Clock, tmp_path: Path, back: str
) -> None:
    """Found by random life on an engine: one that is started anew has forgotten all that it had told."""
    webs = [engine.add(f"web{number}", project="shop", started_ago=3600.0) for number in (1, 2, 3)]
    engine._emit(webs[0], "update")
    clock.at += 1000
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


def test_what_was_stopped_before_an_engine_was_started_anew_unseen_is_unclear_and_left_down(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    """Sentinel away, a stop by somebody, the engine killed and back: what the engine ended at its start is restarted, of the
    other nobody knows; it is said so in amber, once, with the command."""
    web, db = (engine.add(name, project="shop", started_ago=3600.0) for name in ("web", "db"))
    engine._emit(web, "update")
    clock.at += 1000
    with Life(engine, tmp_path, clock) as first:
        first.run(10)
    clock.at += 5
    engine.stop_by_operator(web)
    clock.at += 5
    engine.go_down()
    engine.come_up(kill_leftovers=True)
    clock.at += 3
    with Life(engine, tmp_path, clock) as second:
        second.run(90)
        assert db.running and not web.running, second.said
        assert sorted(second.told()) == ["DEAD db", "ENDED web", "Recovered db"], second.said
        (ended,) = (notice for notice in second.notices if notice.verdict is sentinel.Verdict.ENDED)
        assert ended.cause is sentinel.Cause.UNSEEN and "can't be told from a death" in ended.plan and not ended.open
        assert sentinel.card_of(ended, "box", str).commands


@pytest.mark.parametrize("policy", ["no", "unless-stopped"])
@pytest.mark.parametrize("remembers", [True, False], ids=["the engine knows its events", "they are forgotten"])
def test_what_an_operator_stops_while_sentinel_is_away_stays_down(
    engine: FakeEngine, clock: Clock, tmp_path: Path, policy: str, remembers: bool
) -> None:
    """All of it, just before Sentinel comes back: as if the engine had ended them. Found by random life on an engine."""
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


@pytest.mark.parametrize("members", [False, True], ids=["which took nothing", "which took a service"])
def test_a_loss_of_the_engine_that_goes_on_in_the_ledger_of_another_one_is_over_and_the_next_is_told(
    engine: FakeEngine, clock: Clock, tmp_path: Path, members: bool
) -> None:
    """Found by a reading of the code: the next loss was never told, or ended the daemon."""
    add(engine, "web")
    with Life(engine, tmp_path, clock, greet=False) as first:
        first.run(10)
        engine.go_down()
        first.run(30)
        assert first.told() == ["ENGINE DOWN fakehost"]
        if members:
            engine.come_up(kill_leftovers=True)
            while not first.stories[1].consequences:
                first.run(0.1)
    with FakeEngine() as other:
        other.info = {"ID": "another-engine"}
        add(other, "new")
        with Life(other, tmp_path, clock, greet=False) as second:
            second.run(60)
            assert second.told() == []
            other.go_down()
            second.run(60)
            assert second.told() == ["ENGINE DOWN fakehost"]
            other.come_up()
            second.run(100)
            assert second.told() == ["ENGINE DOWN fakehost", "Recovered fakehost"]
    history = command("history", SENTINEL_STATE=str(tmp_path)).out
    assert history.count("ENGINE DOWN") == 2 and "open" not in history
