"""Mutes: who is left alone, until when, and what is told at the end. By command, and by the windows of a label."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import support.scenario
from support import insides
from support.cast import DAY, HOUR, JOB, NEEDS_DB, check_peace, child, greens, lodger, mend, reds
from support.scenario import EPOCH, START, World, play, probed, service

import sentinel
from sentinel import Container, Phase, Verdict

# ─── Muted by command ─────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_mute_hides_does_not_silence_the_note_after_it() -> None:
    play(World("web"), (0, "mute web 60"), (1, "web child_oom"), (100, "web child_oom", "OUT OF MEMORY web"), (HOUR, ""))


def test_reminders_go_on_after_a_mute() -> None:
    world = World("web", remind=4.0 * HOUR)
    world.broken["web"] = "no such file"
    play(world, (0, "web exits 1", "DEAD web", "start web", "start web", "GAVE UP web"), (4 * HOUR - 60, "mute web 120"))
    world.advance(START + 9 * HOUR)
    assert any(notice.verdict is Verdict.STILL_DOWN for notice in world.notices)


def test_two_open_incidents_and_the_end_of_a_mute_are_no_end_of_sentinel() -> None:
    world = World("db", "web", child("api", "db"), child("tail", "web"))
    world.broken |= {"api": "no such device", "tail": "no such device"}
    world.begin()
    world.happen("api exits 1, tail exits 1")
    world.advance(START + 20)
    world.happen("mute db 30, mute web 30")
    world.happen("db exits 1, web exits 1")
    world.advance(START + HOUR)
    assert world.phase("db") is Phase.UP


def test_a_member_that_is_forgotten_is_no_end_of_sentinel() -> None:
    world = World("db", child("api", "db", policy="always"))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (60, "api exits 1"),
         (61, "mute api 100"), (62, "rm api"))
    world.advance(START + 70)
    world.unmute("api")
    world.advance(START + HOUR)
    mend(world)
    world.start("db")
    world.advance(START + 2 * HOUR)
    assert len(greens(world)) == 1


def test_a_mass_death_is_over_when_the_last_that_is_down_is_stopped_on_purpose() -> None:
    world = World("a", probed("b"))
    world.sick["b"] = 10**6  # starting, for ever
    play(world, (0, "mute all 100"), (1, "a exits 1, b exits 1", "STILL DOWN 2 services", "start a", "start b"),
         (200, "stop b", "Stopped b", "Recovered 2 services"), (HOUR, ""))
    assert not insides.outages(world.watchdog)


@pytest.mark.parametrize("who", ["web", "shop", "all", "shop/web/1"])
def test_a_death_while_muted_is_told_and_healed_when_the_mute_ends(who: str) -> None:
    world = World("web")
    play(world, (0, f"mute {who} 1000"), (10, "web exits 1"), (1000, "", "STILL DOWN web", "start web"),
         (1005, "", "Recovered web"), (2 * HOUR, ""))
    check_peace(world)


def test_a_mute_of_another_is_none() -> None:
    play(World("web", service("db", project="blog")), (0, "mute blog 1000"), (10, "web exits 1", "DEAD web", "start web"),
         (15, "", "Recovered web"), (20, "db exits 1"), (900, ""))


def test_unmute_ends_a_mute_at_once() -> None:
    play(World("web"), (0, "mute web 1000"), (10, "web exits 1"), (20, "unmute web", "STILL DOWN web", "start web"),
         (25, "", "Recovered web"), (2000, ""))


@pytest.mark.parametrize("what", ["web exits 1", "web unhealthy"])
def test_what_died_while_it_was_muted_has_been_down_since_then(what: str) -> None:
    world = World(probed("web"), "db")
    play(world, (0, "mute all 1000"), (10, what))
    world.advance(START + 1100)
    red, green = world.notices
    assert (red.verdict, green.verdict) == (Verdict.STILL_DOWN, Verdict.RECOVERED)
    assert green.downtime is not None and green.downtime >= 990.0, "since it died, not since the end of the mute"
    assert sentinel.outcome_lines(green) == [], "it is not back with itself"


@pytest.mark.parametrize("deeds", [
    "stop web, start web", "web exits 1, start web", "recreate web", "restart web", "remove web, compose_up web",
    "kill web, start web", "pause web, unpause web",
])
def test_what_is_as_before_when_a_mute_ends_is_not_told(deeds: str) -> None:
    rows = [(10 + 10 * index, deed) for index, deed in enumerate(deeds.split(", "))]
    world = play(World("web", "db"), (0, "mute all 1000"), *rows, (HOUR, ""))
    check_peace(world)


@pytest.mark.parametrize(("deed", "fact"), [("stop web", "Stopped"), ("rm web", "Gone"), ("remove web", "Gone")])
def test_what_was_stopped_or_removed_while_muted_is_told_once_and_left_alone(deed: str, fact: str) -> None:
    world = play(World("web", "db"), (0, "mute all 1000"), (10, deed), (1000, "", "STILL DOWN web"), (2 * HOUR, ""))
    assert [(name, words) for name, words in world.notices[0].facts if words] == [(fact, "web")]


@pytest.mark.parametrize(("deed", "fact"), [("stop web", "Stopped"), ("rm web", "Gone"), ("remove web", "Gone")])
def test_what_was_stopped_or_removed_shortly_before_a_mute_is_told_at_its_end(deed: str, fact: str) -> None:
    world = play(World("web", "db"), (0, deed), (5, "mute all 1000"), (1005, "", "STILL DOWN web"), (2 * HOUR, ""))
    assert [(name, words) for name, words in world.notices[0].facts if words] == [(fact, "web")]


def test_what_was_stopped_and_told_is_not_told_again_by_a_mute_in_which_it_is_removed() -> None:
    play(World("web", "db"), (0, "stop web"), (30, "", "Stopped web"), (100, "rm web"), (105, "mute all 1000"),
         (2 * HOUR, ""))


def test_a_mute_that_ends_tells_all_that_changed_in_one_message() -> None:
    world = World("web", "db", "api", "old")
    play(world, (0, "mute all 1000"), (10, "web exits 1, api exits 1"), (20, "stop db, rm old"),
         (1000, "", "STILL DOWN 4 services", "start web", "start api"), (1005, "", "Recovered 4 services"), (2 * HOUR, ""))
    assert dict(world.notices[0].facts) == {"Stopped": "db", "Gone": "old"}


def test_a_mute_begun_while_an_incident_is_open_stops_its_restarts_and_they_go_on_after_it() -> None:
    world = World("web")
    world.doom["web"] = (0.5, 1)
    play(world, (0, "web exits 1", "DEAD web", "start web"), (1, "mute web 1000"), (1001, "", "start web"), (1002, mend))
    world.advance(START + 2 * HOUR)
    assert len(reds(world)) == 1 and len(greens(world)) == 1
    check_peace(world)


def test_a_mute_of_all_keeps_the_engine_quiet() -> None:
    play(World("web"), (0, "mute all 1000"), (10, "engine gone"), (500, "engine back"), (2000, ""))


def test_unmute_lets_an_engine_that_is_away_be_told() -> None:
    play(World("web"), (0, "mute all 100000"), (1, "engine gone"), (60, "unmute all", "ENGINE DOWN box"), (HOUR, ""))


def test_a_held_consequence_that_is_muted_is_not_started_when_its_root_is_back() -> None:
    world = World("db", child("api", "db"))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1, api exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (6, "mute api 1000"),
         (10, mend))
    world.start("db")
    world.advance(START + 1000)
    assert "start api" not in world.done
    world.advance(START + HOUR)
    assert "start api" in world.done


def test_restart_true_does_not_touch_what_is_muted() -> None:
    play(World("db", child("api", "db", restart=True)), (0, "mute api 1000"), (1, "db exits 1", "DEAD db", "start db"),
         (6, "", "Recovered db"), (900, ""))


def test_what_somebody_kills_in_dockers_backoff_while_muted_is_not_started() -> None:
    world = World(service("web", "on-failure"))
    world.doom["web"] = (0.5, 1)
    play(world, (0, "web exits 1", "DEAD web", "CRASH LOOP web"), (100, "mute web 1000"), (101, "kill web"), (1000, ""))
    assert world.find("web").status == "exited"


def test_a_removal_in_a_mute_that_began_while_it_was_proving_ends_its_incident() -> None:
    world = World("web", "db")
    play(world, (0, "web exits 1", "DEAD web", "start web"), (1, "mute web 100"), (2, "rm web"))
    world.advance(START + 50)
    world.unmute("web")
    world.advance(START + HOUR)
    assert not insides.outages(world.watchdog)


def test_a_stop_in_a_mute_that_began_while_it_was_proving_ends_its_incident() -> None:
    world = World("web", "db")
    play(world, (0, "web exits 1", "DEAD web", "start web"), (1, "mute web 100"), (2, "stop web"))
    world.advance(START + 50)
    world.unmute("web")
    world.advance(START + HOUR)
    assert world.phase("web") is Phase.STOPPED and not insides.outages(world.watchdog)


def test_what_was_stopped_in_a_mute_is_told_though_another_died_in_an_open_incident() -> None:
    world = World("web", "db")
    play(world, (0, "web exits 1", "DEAD web", "start web"), (1, "mute all 100"), (2, "web exits 1"), (10, "stop db"))
    world.advance(START + HOUR)
    assert any("db" in dict(notice.facts).get("Stopped", "") for notice in world.notices)
    assert not insides.outages(world.watchdog)


def test_a_docker_kill_while_muted_is_a_death() -> None:
    play(World("web"), (0, "mute web 100"), (1, "kill web"), (100, "", "STILL DOWN web", "start web"))


def test_a_job_that_finished_while_muted_is_not_told() -> None:
    play(World(service("backup", labels=JOB), "web"), (0, "mute all 100"), (1, "backup exits 0"), (HOUR, ""))


def test_what_is_unhealthy_at_the_end_of_a_mute_is_told_as_that() -> None:
    world = World(probed("web"))
    play(world, (0, "mute web 100"), (1, "web unhealthy"), (100, "", "STILL DOWN web", "restart web"))
    assert [item.verdict for item in world.notices[0].consequences] == [Verdict.UNHEALTHY]


@pytest.mark.parametrize("deed", ["recreate web", "remove web, compose_up web"])
def test_a_deploy_over_the_end_of_a_mute_is_not_told(deed: str) -> None:
    world = World("web", "db")
    deeds = deed.split(", ")
    play(world, (0, "mute all 10"), (9.9, deeds[0]), *((11, it) for it in deeds[1:]), (HOUR, ""))


def test_what_died_while_muted_is_started_in_order() -> None:
    world = World(child("api", "db"), "db")
    world.begin()
    world.happen("mute all 10000")
    world.advance(START + 10)
    world.happen("db exits 1")
    world.advance(START + 5000)
    world.happen("api exits 1")
    world.advance(START + 3 * HOUR)
    assert [line for line in world.done if line.startswith("start")] == ["start db", "start api"]


def test_a_stop_while_muted_is_ignored_where_stops_are() -> None:
    play(World("web", stops="ignore"), (0, "mute web 100"), (1, "stop web"), (HOUR, ""))


def test_who_died_in_a_mute_and_was_then_stopped_by_an_operator_stays_down_at_its_end() -> None:
    """Found by a random walk of the core."""
    world = World(probed("db"))
    play(world, (0, "mute db 60"), (1, "db unhealthy"), (2, "db stop"))
    world.advance(START + 100.0)
    assert not [line for line in world.done if line.startswith(("start", "restart"))]


def test_no_green_is_told_in_a_mute() -> None:
    """Found by a random walk of the core."""
    world = World("web")
    play(world, (0, "web exits 1", "DEAD web", "start web"), (2, "mute web 3600"), (20, "web update"))


def test_who_the_engine_took_in_a_mute_is_saved() -> None:
    """Found by a random walk of the core."""
    world = World("web", "db")
    play(world, (0, "mute web 3600"))
    world.happen("goodbye")
    world.advance(world.now + 3.0)
    insides.changed(world.watchdog)
    world.returns()
    world.advance(world.now + 9.0)
    insides.changed(world.watchdog)
    world.advance(world.now + 30.0)
    assert world.phase("web") is Phase.STOPPED and "shop/web/1" in insides.changed(world.watchdog)


def test_who_vanished_in_a_mute_is_told_at_its_end() -> None:
    """Found by a random walk of the core."""
    world = World("web", "db")
    play(world, (0, "mute web 300"), (1, "recreate web lost"))
    world.advance(START + 1500.0)
    assert len(world.notices) == 1 and "shop/web/1" not in world.watchdog.services


def test_a_green_that_waits_for_others_is_not_told_in_a_mute() -> None:
    """Found by a random walk of the core."""
    world = World("db", service("api", labels=NEEDS_DB | {"sentinel.max-restarts": "9"}))
    world.doom["api"] = (3.0, 1)
    world.begin()
    world.happen("db exits 1, api exits 1")
    world.advance(START + 12.0)
    world.doom.clear()
    world.happen("mute db 3600")
    world.advance(START + 1000.0)
    assert [line for line in world.done if line.startswith("Recovered")] == []
    world.unmute("db")
    world.advance(START + 1010.0)
    assert [line for line in world.done if line.startswith("Recovered")] == ["Recovered db"]


def test_a_mute_begins_while_others_are_looked_at() -> None:
    """Found by a random walk of the core."""
    world = World("web", "db")
    world.begin()
    world.look_delay = 5.0
    world.happen("db exits 1")
    world.happen("mute web 3600")
    world.happen("web child_oom")
    world.advance(START + 4.5)
    assert [line for line in world.done if "web" in line] == []


def test_a_refused_restart_of_what_was_muted_meanwhile_is_told_at_the_end_of_the_mute() -> None:
    """Found by a reading of the code: it ended the daemon."""
    world = World("vpn", lodger("app"), remind=0.0)
    play(world, (0, ""))
    world.restart_delay = 8.0
    world.restart("vpn")
    while world.phase("app") is not Phase.RESTARTING:
        world.advance(world.now + 0.5)
    world.broken["app"] = "cannot join network of a non running container"
    world.mute("app", 3600.0)
    world.advance(world.now + 120.0)
    assert [line.split()[:2] for line in world.done] == [["Restarted", "app"], ["restart", "app"]]
    world.broken.clear()
    world.advance(START + 2 * HOUR)
    assert world.done[2:] == ["STILL DOWN app", "start app", "Recovered app"], world.story()


# ─── Quiet windows ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is Berlin's."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def local(after: float) -> str:
    """Local time so many seconds after a timeline's 0."""
    return (datetime.fromtimestamp(EPOCH + START, UTC) + timedelta(seconds=after)).astimezone().strftime("%H:%M")


def quiet_world(first: float, last: float, *others: Container | str) -> World:
    """A service that is to be left alone daily, and others; a timeline's 0 is at the turn of a minute."""
    turn = -((EPOCH + START) % 60)
    label = {"sentinel.quiet": f"{local(turn + first)}-{local(turn + last)}"}
    world = World(service("web", labels=label), *others)
    insides.set_calendar(world.watchdog, EPOCH + turn)
    return world


def test_a_death_in_a_quiet_window_is_told_and_healed_at_its_end(berlin: None) -> None:
    world = quiet_world(600, 1800)
    play(world, (700, "web exits 1"), (1800, "", "STILL DOWN web", "start web"), (1805, "", "Recovered web"))
    play(world, (DAY + 700, "web exits 1"), (DAY + 1800, "", "STILL DOWN web", "start web"),
         (DAY + 1805, "", "Recovered web"))


def test_a_quiet_window_of_a_service_that_came_later_ends_too(berlin: None) -> None:
    world = quiet_world(600, 1800, "db")
    web = world.containers.pop("web-1")
    play(world, (10, "compose_up web"), (700, "web exits 1"), (1800, "", "STILL DOWN web", "start web"))
    assert web


def test_a_death_outside_a_quiet_window_is_told_at_once(berlin: None) -> None:
    play(quiet_world(600, 1800), (599, "web exits 1", "DEAD web", "start web"))
    play(quiet_world(600, 1800), (1801, "web exits 1", "DEAD web", "start web"))


def test_a_quiet_window_over_midnight_is_one(berlin: None) -> None:
    night, noon = datetime(2027, 3, 1, 23, 30).timestamp(), datetime(2027, 3, 1, 12, 0).timestamp()
    assert sentinel.quiet_until(((1380, 60),), night) == (night + 5400.0, night + 5400.0)
    assert sentinel.quiet_until(((1380, 60),), noon) == (0.0, noon + 39600.0)


@pytest.mark.parametrize(("day", "hours"), [
    (datetime(2027, 3, 27), 5), (datetime(2027, 10, 30), 7), (datetime(2027, 6, 1), 6)], ids=["spring", "autumn", "summer"])
def test_a_quiet_window_ends_by_the_clock_on_the_wall_in_the_nights_of_the_change_of_time_too(
    berlin: None, monkeypatch: pytest.MonkeyPatch, day: datetime, hours: int
) -> None:
    """Found by a reading of the code: in spring it ended at 06:00."""
    evening = day.replace(hour=22).timestamp()
    monkeypatch.setattr(support.scenario, "EPOCH", evening - START)
    label = {"sentinel.quiet": "23:00-05:00"}
    world = World(replace(service("web", labels=label), started_time=evening - 3600.0),
                  replace(service("db"), started_time=evening - 3600.0), remind=0.0)
    insides.set_calendar(world.watchdog, evening - START)
    end = (1 + hours) * HOUR
    play(world, (1.5 * HOUR, "web exits 1"), (end, "", "STILL DOWN web", "start web"), (end + 5, "", "Recovered web"),
         (end + 60, "web exits 1", "DEAD web"))


@pytest.mark.parametrize(("moment", "until"), [
    (datetime(2027, 3, 27, 23, 30), 4.5), (datetime(2027, 3, 28, 1, 59), 2 + 1 / 60),
    (datetime(2027, 3, 28, 3, 1), 2 - 1 / 60), (datetime(2027, 3, 28, 5, 0), 0),
    (datetime(2027, 10, 30, 23, 30), 6.5), (datetime(2027, 10, 31, 2, 30), 3.5),
    (datetime(2027, 10, 31, 2, 30, fold=1), 2.5), (datetime(2027, 10, 31, 5, 0), 0)])
def test_the_length_of_a_quiet_window_knows_the_change_of_time(berlin: None, moment: datetime, until: float) -> None:
    now_time = moment.timestamp()
    until_time = sentinel.quiet_until(((1380, 300),), now_time)[0]
    assert until_time == pytest.approx(now_time + until * HOUR if until else 0.0, abs=1.0)
