"""The engine's link: its stream and what it keeps back, its loss, its return, and what it took with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support import insides
from support.cast import BOTH_ENGINES, HOUR, ONE, check_peace, child, greens, reds
from support.scenario import EPOCH, START, World, play, probed, service

import sentinel
from sentinel import Cause, Container, Phase, Verdict

# ─── The stream ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("after", [0.5, 3.0, 60.0])
def test_a_stream_that_is_cut_is_resumed_without_doubles_and_without_gaps(after: float) -> None:
    world = World("web", "db")
    world.begin()
    world.exits("web", 3)
    world.advance(START + after)
    world.happen("stream cut, db exits 4")
    world.advance(START + HOUR)
    assert sorted(world.done) == ["DEAD db exit 4", "DEAD web exit 3", "Recovered db", "Recovered web", "start db",
                                  "start web"]


def test_a_stop_while_the_stream_is_cut_is_still_a_stop() -> None:
    play(World(service("web", "unless-stopped")), (0, "stream cut, stop web", "Stopped web"), (HOUR, ""))


def test_a_stream_that_went_deaf_is_opened_anew_and_tells_what_it_kept_back() -> None:
    play(World("web"),
         (1, "stream deaf, web exits 3"),
         (31, "", "reopen the stream", "DEAD web exit 3", "start web"),
         (36.05, "", "Recovered web"),
         (HOUR, ""))


def test_a_stream_that_goes_deaf_again_is_opened_anew_again() -> None:
    reopened = "reopen the stream", "DEAD web exit 3", "start web", "Recovered web"
    play(World("web"), (1, "stream deaf, web exits 3", *reopened), (HOUR, "stream deaf, web exits 3", *reopened),
         (2 * HOUR, ""))


def test_a_death_of_which_even_a_new_stream_does_not_tell_is_judged_without_it() -> None:
    play(World("web"),
         (1, "stream deaf, web exits 3, forgets"),
         (31, "", "reopen the stream"),
         (33, "", "DEAD web exit 3", "start web"),
         (38, "", "Recovered web"),
         (HOUR, ""))


def test_a_stream_that_was_cut_after_a_while_is_resumed_at_once_and_one_that_never_lives_ever_more_slowly() -> None:
    world = World("web")
    world.begin()

    def opened() -> list[float]:
        return [moment - START for moment, _, thing in world.log if isinstance(thing, sentinel.Subscribe)]

    for at in (240.0, 480.0, 720.0):
        play(world, (at, "stream cut"))
    world.advance(START + 800)
    assert opened()[1:] == pytest.approx([240.05, 480.05, 720.05])
    world.engine("gone")
    world.advance(START + 830)
    waits = [round(b - a, 2) for a, b in zip(opened()[4:], opened()[5:], strict=False)]
    assert waits == sorted(waits) and waits[-1] == 5.0 and len(waits) < 16


def test_a_resumed_stream_begins_two_seconds_before_the_newest_event() -> None:
    world = play(World("web"), (0, "update web"), (100, "stream cut"), (101, ""))
    since = [thing.since for _, _, thing in world.log if isinstance(thing, sentinel.Subscribe)][-1]
    assert since == pytest.approx(EPOCH + START - 2, abs=0.01)


# ─── Where events are refused ─────────────────────────────────────────────────────────────────────────────────


def test_events_that_are_told_late_undo_nothing() -> None:
    world = World("web", **ONE)
    world.doom["web"] = (1.0, 1)
    play(world, (0, "stream refused"),
         (10, "web exits 1", "DEAD web", "start web", "GAVE UP web"),
         (300, "stream allowed"), (HOUR, ""))


def test_events_that_are_told_late_do_not_make_a_sick_service_be_restarted_again() -> None:
    world = World(probed("web"), **ONE)
    world.sick["web"] = 2.0
    play(world, (0, "stream refused"))
    world.unhealthy("web")
    world.advance(START + 300)
    assert world.done[-1].startswith("GAVE UP web"), world.story()
    play(world, (300, "stream allowed"), (HOUR, ""))


def test_where_events_are_refused_a_crash_is_found_by_the_listing() -> None:
    play(World("web"), (0, "stream refused"), (10, "web exits 3"), (30, "", "DEAD web exit 3", "start web"),
         (35, "", "Recovered web"), (HOUR, ""))


def test_where_events_are_refused_a_job_that_ended_well_under_on_failure_is_nobodys_stop() -> None:
    play(World(service("job", "on-failure")), (0, "stream refused"), (1, "job exits 0"), (HOUR, ""))


def test_where_events_are_refused_a_crash_that_docker_heals_is_seen_by_its_count() -> None:
    play(World(service("web", "always")), (0, "stream refused"), (10, "web exits 3"), (30, "", "DEAD web"),
         (35, "", "Recovered web"), (HOUR, ""))


@pytest.mark.parametrize("code", [0, 137, 143])
def test_without_events_what_may_be_a_stop_under_a_policy_is_grey(code: int) -> None:
    def stopped(world: World) -> None:
        world.killed["web-1"] = True
        world.exits("web", code)

    play(World(service("web", "unless-stopped")), (0, "stream refused"), (10, stopped), (60, "", f"Stopped web exit {code}"),
         (HOUR, ""))


@pytest.mark.parametrize("code", [137, 143])
def test_without_events_what_may_be_a_stop_under_no_policy_is_told_and_not_undone(code: int) -> None:
    world = play(World("web"), (0, "stream refused"), (10, f"web exits {code}"),
                 (30, "", f"DEAD web exit {code} {Cause.UNSEEN}"), (HOUR, ""))
    assert world.notices[0].plan.startswith("Not restarted")


def test_without_events_restarts_that_a_label_asks_for_are_made() -> None:
    play(World(service("web", labels={"sentinel.restart": "true"})), (0, "stream refused"),
         (10, "web exits 143", "DEAD web exit 143", "start web"), (31, ""))


def test_without_events_half_a_deploy_is_told() -> None:
    """The old container is gone, the new one was never started: no event told that anything ended."""
    play(World("web", "db"), (0, "stream refused"), (10, "recreate web unstarted"), (60, "", "VANISHED web"), (HOUR, ""))


def test_starts_that_are_told_long_after_are_no_news() -> None:
    """What the last listing has shown is known: a start by somebody, told late, gives no new budget."""
    world = World("web", **ONE)
    world.doom["web"] = (1.0, 1)
    play(world, (0, "stream refused"), (10, "web exits 1", "DEAD web", "start web", "GAVE UP web"),
         (200, "start web"), (300, "stream allowed"), (HOUR, ""))


def test_without_events_a_restart_by_hand_is_nothing_to_tell() -> None:
    play(World("web"), (0, "stream refused"), (10, "restart web"), (HOUR, "recreate web"), (2 * HOUR, ""))


# ─── Lost, and back ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_lost_engine_is_told_once_after_ten_seconds_and_its_return_once() -> None:
    world = play(World("web", "db"), (0, "engine gone"), (10.05, "", "ENGINE DOWN box"),
                 (HOUR, "engine back", "Recovered box"),
                 (2 * HOUR, ""))
    assert world.notices[1].downtime == pytest.approx(HOUR, abs=6)


@pytest.mark.parametrize("seconds", [1, 4, 8])
def test_an_engine_that_is_back_within_ten_seconds_is_nothing_to_tell(seconds: int) -> None:
    play(World("web"), (0, "engine gone"), (seconds, "engine back"), (HOUR, ""))


def test_an_engine_that_was_never_there_is_waited_for_without_alarm() -> None:
    world = World("web")
    world.up = False
    play(world, (HOUR, ""), (HOUR + 1, "engine back"), (HOUR + 20, "web exits 1", "DEAD web", "start web"))


def test_nothing_is_touched_and_no_green_is_told_while_the_engine_is_away() -> None:
    world = World("web", "db")
    world.doom["web"] = (2.0, 1)
    play(world, (0, "web exits 1", "DEAD web", "start web"), (2.5, "db exits 1", "DEAD db", "start db"), (3, "engine gone"),
         (13.05, "", "ENGINE DOWN box"), (600, ""))
    world.doom.clear()
    world.engine("back")
    world.advance(START + HOUR)
    assert sorted(world.done[5:]) == ["Recovered box", "Recovered db", "Recovered web", "start web"], world.story()


def test_what_was_recreated_or_removed_while_the_engine_was_away_is_no_death() -> None:
    def meanwhile(world: World) -> None:
        world.containers.pop("web-1")
        world.containers["web-2"] = replace(service("web"), id="web-2", started_time=world.stamp())
        world.containers.pop("db-1")

    play(World("web", "db"), (0, "engine gone"), (2, meanwhile), (4, "engine back", "Stopped db removed"), (HOUR, ""))


def test_an_engine_that_restarts_with_its_containers_is_nothing_to_tell() -> None:
    world = World(service("web", "always"), service("db", "always"))
    play(world, (0, "stop web, stop db"), (0.5, "engine gone"), (5, "engine back, start web, start db"), (HOUR, ""))


def test_a_broken_poll_is_no_end_of_sentinel() -> None:
    world = World("web")
    play(world, (0, lambda w: w.observe(sentinel.ListFailed("HTTP 500"))),
         (20, "web exits 1", "DEAD web", "start web"))


# ─── What an engine takes with it ─────────────────────────────────────────────────────────────────────────────


def many(number: int, policy: str = "no") -> World:
    return World(*(service(f"s{index}", policy, project=f"p{index // 20}") for index in range(number)))


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_an_engine_that_restarts_and_brings_all_back_soon_is_not_told(policy: str) -> None:
    play(many(200, policy), (0, "goodbye"), (4, "returns"), (HOUR, ""))


@pytest.mark.parametrize("end", ["goodbye", "crash"])
def test_two_hundred_services_that_an_engine_did_not_bring_back_are_one_story(end: str) -> None:
    world = many(200)
    world.begin()
    world.happen(end)
    world.advance(START + 5)
    world.returns()
    world.advance(START + HOUR)
    assert [str(notice.verdict) for notice in world.notices] == ["DEAD", "Recovered"]
    assert world.notices[0].name == "200 services" and len(greens(world)[0].consequences) == 200
    check_peace(world)


@pytest.mark.parametrize("policy", ["no", "always"])
@pytest.mark.parametrize("end", ["goodbye", "crash"])
def test_a_long_loss_of_the_engine_is_one_red_and_one_green_whatever_it_brings_back(policy: str, end: str) -> None:
    world = many(40, policy)
    world.begin()
    world.happen(end)
    world.advance(START + 300)
    world.returns()
    world.advance(START + HOUR)
    assert [str(notice.verdict) for notice in world.notices] == ["ENGINE DOWN", "Recovered"]
    check_peace(world)


def test_after_a_crash_of_the_engine_what_was_not_brought_back_is_started_in_order() -> None:
    world = World(child("api", "db", policy="unless-stopped"), service("db", "unless-stopped"), service("web", "always"))
    play(world, (0, "crash", "ENGINE DOWN box"), (20, "returns"))
    world.advance(START + 300)
    assert [line for line in world.done if line.startswith("start")] == ["start db", "start api"]
    assert sorted(item.chain[0] for item in world.reds[1].consequences) == ["api", "db"]
    check_peace(world)


def test_what_an_operator_had_stopped_stays_stopped_over_an_engine_restart() -> None:
    world = World(service("web", "always"), service("db", "always"))
    play(world, (0, "stop db"), (30, "", "Stopped db"), (60, "goodbye"), (65, "returns"), (HOUR, ""))
    assert world.phase("db") is Phase.STOPPED


def test_what_an_operator_stops_in_the_moment_of_the_engines_goodbye_stays_stopped() -> None:
    """The engine brings back what ran under `unless-stopped`: what it does not bring back was stopped by hand."""
    world = World(service("web", "unless-stopped"), service("db", "always"))
    play(world, (0, "stop web"), (0.2, "goodbye"), (3, "returns", "Stopped web"), (HOUR, ""))


@pytest.mark.parametrize("lasts", [0.1, 4.0], ids=["all end at once", "one takes its time"])
def test_an_engine_that_leaves_ends_nothing_on_purpose_though_its_stream_outlives_what_it_answers(lasts: float) -> None:
    """26 and 28: the socket is gone 25 ms after SIGTERM, and the stream ends 5 s after the last container has."""
    world = World(service("web", "unless-stopped"), service("db", "always"), "job", settle=2.0)

    def leaves(world: World) -> None:
        running = [world.find(name) for name in ("web", "db", "job")]
        for container in running:
            world.event("kill", container.id, signal=15)
        world.up = False
        world.carried = {"web-1", "db-1"}

        def ends(container: Container) -> None:
            world.ended(container, 0)
            world.event("stop", container.id)
            world.event("die", container.id, exit_code=0)

        for index, container in enumerate(running):
            world.later(lasts if index else 0.1, lambda container=container: ends(container))
        world.later(lasts + 5.0, lambda: world.stream("cut"))

    play(world, (1, "update web"), (10, leaves),
         (20.5, "returns", f"DEAD job exit 0 {Cause.ENGINE}", "start job", "Recovered job"), (HOUR, ""))
    assert world.find("web").status == "running"


@BOTH_ENGINES
@pytest.mark.parametrize(("number", "before"), [(1, 5), (1, HOUR), (10, 5), (3, 200)])
def test_what_docker_does_not_bring_back_since_it_was_reloaded_by_a_signal_is_started(
        engine: int, number: int, before: float) -> None:
    """moby 41302: any signal through the API counts as a stop by hand, and the engine leaves it down after its restart."""
    world = World(service("web", "unless-stopped"), service("db", "always"), engine=engine)
    play(world, (0, f"kill web {number}"), (before, "goodbye"),
         (before + 3, "returns", f"DEAD web exit 0 {Cause.ENGINE}", "start web", "Recovered web"), (2 * HOUR, ""))


def test_what_was_stopped_before_an_engine_says_goodbye_does_not_make_its_goodbye_somebodys_stop() -> None:
    world = World(service("web", "unless-stopped"), service("db", "always"), "job")
    play(world, (0, "stop web"), (20, "goodbye"), (23, "returns", "DEAD job", "start job", "Stopped web", "Recovered job"),
         (HOUR, ""))


def test_what_died_while_an_engine_was_away_whose_containers_live_on_is_its_outage() -> None:
    play(World("web", "db"), (0, "engine gone"), (1, "web exits 3, forgets"),
         (2.5, "engine back", "DEAD web exit 3 not brought back by the engine", "start web", "Recovered web"), (HOUR, ""))


def test_nothing_is_restarted_against_a_dead_engine_and_its_services_are_silent() -> None:
    world = many(3)
    play(world, (0, "crash"), (10, "", "ENGINE DOWN box"), (HOUR, ""))


def unseen(world: World, *names: str, anew: bool = False) -> None:
    """The stream ends; before it is open again, these are stopped as an engine that starts anew, or somebody, stops them."""
    world.stream("cut")
    if anew:
        world.events.clear()
    for name in names:
        world.end_asked(world.find(name), lambda: None)


def test_what_the_engine_took_with_it_has_been_down_since_it_left() -> None:
    world = World("web", "db")
    play(world, (0, "goodbye"), (4, "returns", f"DEAD 2 services {Cause.ENGINE}", "start web", "start db",
                                 "Recovered 2 services"), (HOUR, ""))
    red, green = world.notices
    assert red.at == START and green.downtime == green.at - START > 10.0


def test_an_engine_that_does_not_say_what_it_remembers_is_the_same_one() -> None:
    """A look at its memory that fails is no sign that it has forgotten: a stop stays a stop."""
    world = World(service("web", "unless-stopped"), "db")

    def deaf_and_dumb(world: World) -> None:
        world.overrun = True
        unseen(world, "web")

    play(world, (1, "update web"), (5, deaf_and_dumb, "Stopped web"), (HOUR, ""))


def test_a_swarms_task_that_ended_with_its_engine_is_the_swarms_to_replace() -> None:
    labels = {"com.docker.swarm.service.name": "shop_web", "com.docker.swarm.task.name": "task.1.abc"}
    world = World(service("task", project="", labels=labels), "web", watch="all")
    play(world, (0, "goodbye"),
         (4, "returns", "DEAD web exit 0 not brought back by the engine", "start web", "Recovered web"), (HOUR, ""))


def test_an_engine_killed_and_back_at_once_is_noticed_by_what_it_ended() -> None:
    world = World(service("web", "unless-stopped"), service("db", "unless-stopped"))
    play(world, (1, "update web"), (5, lambda w: unseen(w, "web", "db", anew=True), "DEAD 2 services", "start web",
                                    "start db", "Recovered 2 services"), (HOUR, ""))


def test_what_an_operator_stops_between_two_ends_of_the_engine_stays_stopped() -> None:
    """Found by a random walk of the core: the second end is no reason to doubt what was told before it."""
    world = World("web", "db")
    play(world, (0, "crash"), (2, "returns"), (5, "web start"), (6, "web stop"),
         (10, "stream cut", "DEAD db exit 137 not brought back by the engine", "start db", "Recovered db", "Stopped web"),
         (HOUR, ""))


def test_all_that_somebody_stops_while_the_stream_is_cut_stays_stopped() -> None:
    world = World(service("web", "unless-stopped"), service("db", "unless-stopped"))
    play(world, (1, "update web"), (5, lambda w: unseen(w, "web", "db"), "Stopped web", "Stopped db"), (HOUR, ""))


def test_what_somebody_stops_while_the_stream_is_cut_stays_stopped_where_others_ran_on() -> None:
    world = World(service("web", "unless-stopped"), service("db", "unless-stopped"))
    play(world, (1, "update web"), (5, lambda w: unseen(w, "web", anew=True), "Stopped web"), (HOUR, ""))


def test_an_engine_that_comes_back_for_a_moment_is_not_back() -> None:
    play(many(3), (0, "crash"), (10, "", "ENGINE DOWN box"), (20, "returns"), (22, "engine gone"), (HOUR, ""))


def test_what_an_engine_took_is_told_though_a_consequence_of_it_was_down_before() -> None:
    world = World("db", child("api", "db"), "web", "cache")
    world.broken["api"] = "no such device"
    play(world, (0, "api exits 1", "DEAD api", "start api", "start api", "GAVE UP api"), (20, "crash"))
    world.advance(START + 22)
    world.returns()
    world.advance(START + 60)
    told = {item.chain[0] for red in reds(world) for item in red.consequences}
    assert {"web", "cache"} <= told
    world.advance(START + HOUR)
    assert world.watchdog.services["shop/web/1"].incident is None


def test_two_open_incidents_and_a_restart_of_the_engine_are_no_end_of_sentinel() -> None:
    world = World("db", "web", child("api", "db"), child("tail", "web"))
    world.broken |= {"api": "no such device", "tail": "no such device"}
    world.begin()
    world.happen("api exits 1, tail exits 1")
    world.advance(START + 20)
    world.crash()
    world.advance(START + 22)
    world.returns()
    world.advance(START + HOUR)
    assert world.phase("db") is Phase.UP


def test_who_was_stopped_by_an_operator_while_the_engine_was_out_of_reach_stays_down() -> None:
    """Found by a random walk of the core."""
    world = World("web", "db")
    play(world, (0, "engine gone"), (5, "web stop"), (8, lambda world: world.engine("back")))
    world.advance(START + 100.0)
    assert [line for line in world.done if line.startswith("start")] == []


def test_no_outage_without_members_is_left_by_an_engine_that_returns() -> None:
    """Found by a random walk of the core."""
    world = World(service("web"), service("db"), max_restarts=0)
    play(world, (0, "web exits 1", "DEAD web"), (10, "db exits 1", "DEAD db"), (20, "web start"), (21, "db start"))
    world.advance(world.now + 1.0)
    world.happen("crash")
    world.advance(world.now + 5.0)
    world.returns()
    world.advance(world.now + 60.0)
    assert all(outage.members for outage in insides.outages(world.watchdog).values())


def test_a_stop_that_was_heard_to_begin_and_ended_while_the_engine_was_out_of_reach_is_not_undone() -> None:
    """Found by a random walk of the core."""
    world = World("web", "db")
    world.stop_takes["web"] = 5.0
    play(world, (0, "web stop"), (1, "engine gone"), (8, "forgets"), (9, lambda world: world.engine("back")))
    world.advance(START + 100.0)
    assert [line for line in world.done if line.startswith(("start", "DEAD"))] == []


@pytest.mark.parametrize("members", [False, True])
def test_the_loss_of_a_new_engine_is_told(members: bool) -> None:
    """The ledger is about another engine, whose ENGINE DOWN is open."""
    watchdog = sentinel.Watchdog(sentinel.Settings())
    notice = sentinel.Notice(Verdict.ENGINE_DOWN, "old", START - 100)
    outage = sentinel.Outage(7, START - 100, standing=sentinel.Standing.TOLD, notice=notice)
    services = []
    if members:
        container = service("web")
        policy, _ = sentinel.policy_of(container, sentinel.Settings(), "")
        watched = sentinel.Watched(container.key, container, policy, Phase.BACKOFF)
        watched.incident = sentinel.Incident(outage, START - 50, sentinel.Notice(Verdict.DEAD, "web", START - 50))
        outage.members.append(watched.key)
        services.append((watched, None))
    record = sentinel.Record("engine-1", EPOCH, numbered=7)
    watchdog.restore(services, {7: outage}, record, START, EPOCH + START)
    watchdog.observe(sentinel.StreamOpened(0.0, EPOCH + START), START)
    actions = watchdog.observe(sentinel.Listed((), host="new", engine="engine-2"), START + 1)
    assert [action.notice.open for action in actions if isinstance(action, sentinel.Amend)] == [False], "the old red is over"
    for second in range(2, 120):
        watchdog.tick(START + second)
    actions = watchdog.observe(sentinel.StreamClosed("refused"), START + 200)
    actions += watchdog.observe(sentinel.ListFailed("refused"), START + 200)
    for second in range(201, 300):
        actions += watchdog.tick(START + second)
    told = [action.notice.verdict for action in actions if isinstance(action, sentinel.Tell)]
    assert told == [Verdict.ENGINE_DOWN]


def test_nothing_is_asked_twice_a_second_while_the_engine_is_away() -> None:
    """What waits for the engine wakes nobody: only the listing that looks for it does, and the stream."""
    world = World("db", "web")
    play(world, (0, "db exits 1", "DEAD db", "start db"), (1, "engine gone"), (2, "", "ENGINE DOWN box"), (60, ""))
    ticks = []
    tick = world.watchdog.tick
    world.watchdog.tick = lambda now: ticks.append(now) or tick(now)  # type: ignore[method-assign]
    world.advance(START + 3660)
    assert len(ticks) <= 3600 + 720 + 10


@pytest.mark.parametrize("away", [3, 60], ids=["at once", "after a minute"])
@pytest.mark.parametrize("end", ["killed", "killed, and the new one tells", "stopped"])
def test_what_removes_itself_and_is_gone_at_the_engines_return_is_told(end: str, away: int) -> None:
    """`docker run --rm`: an engine removes what it ends as it leaves, and what it finds running as it is started."""
    world = World(service("tool", auto_remove=True), service("web", policy="always"))

    def leave(_: World) -> None:
        world.goodbye() if end == "stopped" else world.crash()
        if end == "killed":
            world.containers.pop("tool-1")
        elif end == "stopped":
            world.destroy("tool-1")

    def come(_: World) -> None:
        if end == "killed, and the new one tells":
            world.event("kill", "tool-1", signal=15)
            world.event("die", "tool-1", exit_code=137)
            world.destroy("tool-1")
        world.returns()

    play(world, (0, leave))
    world.advance(START + away)
    come(world)
    world.advance(START + away + 60)
    told = [(notice.cause, notice.plan) for notice in reds(world) if notice.name == "tool"]
    told += [(took.cause, took.state) for red in reds(world) for took in red.consequences]
    assert told == [(Cause.ENGINE, "Not restarted: the engine removes it at its end (--rm).")]
    world.advance(START + away + HOUR)
    check_peace(world)


def test_a_crash_of_what_removes_itself_just_after_the_engines_return_is_told() -> None:
    """Nothing is judged then for a while, and what removes itself is gone by the end of that."""
    world = World(service("tool", auto_remove=True), service("web", policy="always"))

    def crash(_: World) -> None:
        world.exits("tool", 6)
        world.destroy("tool-1")

    play(world, (0, "engine gone"), (3, "engine back"), (4, crash))
    world.advance(START + HOUR)
    assert [(notice.verdict, notice.exit_code) for notice in world.notices if notice.name == "tool"] == [(Verdict.DEAD, 6)]
    check_peace(world)


def test_a_stop_of_what_removes_itself_is_still_no_news() -> None:
    def stop(world: World) -> None:
        world.stop("tool", lambda: world.destroy("tool-1"))

    play(World(service("tool", auto_remove=True), "web"), (0, stop), (HOUR, ""))


def test_an_engine_that_answers_after_all_was_stopped_has_not_stopped_it() -> None:
    """An operator stops everything and shuts the host down: on every engine nobody is answered from the first signal on."""
    world = World("web", "db", settle=30.0)
    play(world, (0, "stop web, stop db"), (3, "update web"), (8, "crash"))
    world.advance(START + 15)
    world.returns()
    world.advance(START + HOUR)
    assert [(notice.verdict, notice.cause) for notice in world.notices] == [(Verdict.STOPPED, Cause.STOP)] * 2
