"""What random walks have found, each as the shortest timeline that shows it."""

from __future__ import annotations

from support.scenario import START, World, play, probed, service

from sentinel import Phase, Verdict

NEEDS_DB = {"com.docker.compose.depends_on": "db:service_started:false"}


def test_a_crash_loop_that_somebody_has_started_and_that_then_cant_be_started_is_told() -> None:
    world = World("web")
    world.doom["web"] = (0.5, 1)
    play(world, (0, "web exits 1", "DEAD web", "start web", "start web", "CRASH LOOP web"),
         (7, lambda world: world.doom.clear()), (8, "web start"),
         (9, lambda world: world.broken.update(web="port is already allocated")))
    world.happen("web restart")
    try:
        world.advance(world.now + 5.0)
    except IndexError as error:
        raise AssertionError(f"the daemon ends: {error!r}") from error


def test_who_died_in_a_mute_and_was_then_stopped_by_an_operator_stays_down_at_its_end() -> None:
    world = World(probed("db"))
    play(world, (0, "mute db 60"), (1, "db unhealthy"), (2, "db stop"))
    world.advance(START + 100.0)
    assert not [line for line in world.done if line.startswith(("start", "restart"))]


def test_who_was_stopped_by_an_operator_while_the_engine_was_out_of_reach_stays_down() -> None:
    world = World("web", "db")
    play(world, (0, "engine gone"), (5, "web stop"), (8, lambda world: world.engine("back")))
    world.advance(START + 100.0)
    assert [line for line in world.done if line.startswith("start")] == []


def test_what_vanished_and_is_then_removed_for_good_is_over() -> None:
    world = World("web")
    play(world, (0, "recreate web unstarted", "VANISHED web"), (60, ""))
    world.happen("web rm")
    world.advance(START + 5000.0)
    assert not world.watchdog.outages


def test_who_is_stopped_while_its_green_waits_for_others_is_not_called_back() -> None:
    world = World("db", service("api", labels=NEEDS_DB))
    world.doom["api"] = (3.0, 1)
    world.begin()
    world.happen("db exits 1, api exits 1")
    world.advance(START + 10.0)
    world.doom.clear()
    world.happen("db stop")
    world.advance(START + 25.0)
    assert world.containers["db-1"].status == "exited"
    assert [line for line in world.done if line.startswith("Recovered")] == []


def test_the_first_reminder_comes_as_long_after_the_red_as_is_set() -> None:
    world = World("web", remind=600.0)
    play(world, (0, "mute all 1200"), (1, "engine gone"))
    world.advance(START + 1500.0)
    assert [str(notice.verdict) for notice in world.notices] == [Verdict.ENGINE_DOWN]


def test_no_outage_without_members_is_left_by_an_engine_that_returns() -> None:
    world = World(service("web"), service("db"), max_restarts=0)
    play(world, (0, "web exits 1", "DEAD web"), (10, "db exits 1", "DEAD db"), (20, "web start"), (21, "db start"))
    world.advance(world.now + 1.0)
    world.happen("crash")
    world.advance(world.now + 5.0)
    world.returns()
    world.advance(world.now + 60.0)
    assert all(outage.members for outage in world.watchdog.outages.values())


def test_no_green_is_told_in_a_mute() -> None:
    world = World("web")
    play(world, (0, "web exits 1", "DEAD web", "start web"), (2, "mute web 3600"), (20, "web update"))


def test_who_is_restarted_with_one_waits_for_the_others() -> None:
    needs = {"com.docker.compose.depends_on": "db:service_started:true,cache:service_started:false"}
    world = World("db", service("cache", labels={"sentinel.restart": "false"}), service("web", labels=needs))
    play(world, (0, "cache exits 1", "DEAD cache"), (300, "db exits 1", "DEAD db", "start db"))
    world.advance(START + 320.0)
    assert "restart web" not in world.done


def test_a_note_of_memory_has_its_service_saved() -> None:
    world = World("web", "db")
    play(world, (0, "db child_oom"))
    world.advance(START + 2.5)
    world.watchdog.touched.clear()
    world.advance(START + 4.0)
    assert "OUT OF MEMORY db out of memory" in world.done and "shop/db/1" in world.watchdog.touched


def test_who_the_engine_took_in_a_mute_is_saved() -> None:
    world = World("web", "db")
    play(world, (0, "mute web 3600"))
    world.happen("goodbye")
    world.advance(world.now + 3.0)
    world.watchdog.touched.clear()
    world.returns()
    world.advance(world.now + 9.0)
    world.watchdog.touched.clear()
    world.advance(world.now + 30.0)
    assert world.phase("web") is Phase.STOPPED and "shop/web/1" in world.watchdog.touched


def test_who_is_removed_twice_is_forgotten_once() -> None:
    world = World("web")
    play(world, (0, "web remove", "Stopped web"), (100, lambda world: world.broken.update(web="no such device")))
    world.compose_up("web")
    world.advance(START + 610.0)
    world.happen("web rm")
    try:
        world.advance(START + 700.0)
    except KeyError as error:
        raise AssertionError(f"the daemon ends: {error!r}") from error


def test_who_is_not_to_be_restarted_is_not_after_a_replacement_that_was_not_seen() -> None:
    world = World(service("web", "always", labels={"sentinel.restart": "false"}), "db", poll_interval=30.0)
    world.doom["web"] = (0.01, 1)
    play(world, (0, "web exits 1", "DEAD web", "CRASH LOOP web"), (100, "stream refused"))
    world.happen("recreate web unstarted")
    world.advance(START + 300.0)
