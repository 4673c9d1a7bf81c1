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


def test_what_ends_with_0_under_policy_no_is_not_restarted_however_long_it_has_lived() -> None:
    play(World("web"), (0, "web exits 1", "DEAD web exit 1", "start web"), (5, "", "Recovered web"),
         (700, "web exits 0", "DEAD web exit 0"), (800, ""))


def test_a_stop_long_after_a_deploy_whose_middle_was_not_heard_is_a_stop() -> None:
    world = World("web", "db", poll_interval=30.0)
    play(world, (0, "stream deaf"), (29.9, "recreate web"), (32, "stream cut"), (50, ""))
    assert world.containers["web-2"].status == "running" and world.done == []
    play(world, (700, "web stop", "Stopped web"), (800, ""))


def test_who_is_restarted_once_more_with_its_parent_does_not_count_as_back() -> None:
    with_db = {"com.docker.compose.depends_on": "db:service_started:true"}
    world = World("db", service("api", labels=with_db), service("worker", labels=NEEDS_DB))
    world.doom["worker"] = (3.0, 1)
    world.begin()
    world.happen("db exits 1, api exits 1, worker exits 1")
    world.advance(START + 40.0)
    world.restart_delay = 3.0
    world.happen("db exits 1")
    while world.phase("api") is not Phase.RESTARTING:
        world.advance(world.now + 0.5)
    incident = world.watchdog.services["shop/api/1"].incident
    assert incident and incident.back_at is None


def test_who_vanished_in_a_mute_is_told_at_its_end() -> None:
    world = World("web", "db")
    play(world, (0, "mute web 300"), (1, "recreate web lost"))
    world.advance(START + 1500.0)
    assert len(world.notices) == 1 and "shop/web/1" not in world.watchdog.services


def test_a_stop_that_was_heard_to_begin_and_ended_while_the_engine_was_out_of_reach_is_not_undone() -> None:
    world = World("web", "db")
    world.stop_takes["web"] = 5.0
    play(world, (0, "web stop"), (1, "engine gone"), (8, "forgets"), (9, lambda world: world.engine("back")))
    world.advance(START + 100.0)
    assert [line for line in world.done if line.startswith(("start", "DEAD"))] == []


def test_a_green_that_waits_for_others_is_not_told_in_a_mute() -> None:
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
    world = World("web", "db")
    world.begin()
    world.look_delay = 5.0
    world.happen("db exits 1")
    world.happen("mute web 3600")
    world.happen("web child_oom")
    world.advance(START + 4.5)
    assert [line for line in world.done if "web" in line] == []


def test_no_note_says_that_a_container_lives_on_that_has_died() -> None:
    world = World("web", "db")
    world.begin()
    world.look_delay = 5.0
    world.happen("web oom")
    world.advance(START + 10.0)
    assert [line for line in world.done if line.startswith("OUT OF MEMORY")] == []


def test_dockers_start_before_the_death_was_looked_at_gives_no_budget_back() -> None:
    world = World(probed("db", "unless-stopped"), max_restarts=1)
    world.sick["db"] = 2.0
    world.begin()
    world.happen("db unhealthy")
    world.advance(START + 60.0)
    assert world.phase("db") is Phase.GAVE_UP
    world.look_delay = 1.0
    world.happen("db exits 1")
    world.advance(START + 120.0)
    assert world.done.count("restart db") == 1


def test_a_restart_by_an_operator_of_what_replaced_a_restarted_one_is_no_death() -> None:
    world = World("web", "db")
    world.lost_answers = "never"
    play(world, (0, "web exits 1", "DEAD web", "start web"), (5, "recreate web"), (15, "web restart"), (20, ""))
    world.advance(START + 60.0)
    assert not [line for line in world.done if line.startswith(("CRASH", "GAVE"))]
    assert max(notice.deaths for notice in world.reds.values()) == 1


def test_who_died_and_is_paused_before_it_is_looked_at_is_left_alone() -> None:
    world = World(service("web", "always"), "db", max_restarts=2)
    world.begin()
    world.look_delay = 1.0
    world.happen("web exits 3")
    world.advance(START + 0.3)
    world.happen("web pause")
    world.advance(START + 60.0)
    assert world.phase("web") is Phase.STOPPED
    assert not [line for line in world.done if "exit 0" in line or line.startswith(("start", "restart"))]


def test_who_is_restarted_with_one_that_is_itself_to_be_restarted_waits_for_it() -> None:
    def needs(name: str) -> dict[str, str]:
        return {"com.docker.compose.depends_on": f"{name}:service_started:true"}

    world = World("db", service("api", labels=needs("db")), service("web", labels=needs("api")))
    play(world, (0, "api exits 1", "DEAD api", "start api"), (2, "db exits 1", "DEAD db", "start db"))
    world.restart_delay = 3.0
    world.advance(START + 9.0)
    assert "restart api" in world.done and "restart web" not in world.done
    world.advance(START + 60.0)
    assert world.done.count("restart web") == 1


def test_a_refund_at_the_return_of_what_it_depends_on_is_saved() -> None:
    labels = {"com.docker.compose.depends_on": "db:service_started:true", "sentinel.restart": "false"}
    world = World("db", service("api", "always", labels=labels))
    play(world, (0, "api exits 1", "DEAD api"), (5, "", "Recovered api"),
         (800, "db exits 1", "DEAD db", "start db"), (804, ""))
    before = len(world.watchdog.services["shop/api/1"].deaths)
    world.watchdog.touched.clear()
    world.advance(START + 810.0)
    assert len(world.watchdog.services["shop/api/1"].deaths) == before or "shop/api/1" in world.watchdog.touched
