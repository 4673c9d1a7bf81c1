"""Runs: what the evidence of one run of a container tells of its end, and of who wanted it. Each test's name is a promise,
each timeline an example of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.cast import BOTH_ENGINES, HOUR, KEPT
from support.scenario import EPOCH, START, World, play, service

import sentinel
from sentinel import Cause, Container, EngineKind, Heard, Intent, Verdict

# ─── Deaths that nobody asked for ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", [1, 3, 126, 127, 134, 139, 143, 255])
def test_a_process_that_ends_by_itself_is_dead_at_once_and_started_at_once(code: int) -> None:
    world = play(World("web"),
                 (0, f"web exits {code}", f"DEAD web exit {code}", "start web"),
                 (5, "", "Recovered web"),
                 (HOUR, ""))
    red, green = world.notices
    assert (red.uptime, red.logs, red.at) == (pytest.approx(HOUR, abs=1), ("last words of web",), START)
    assert (red.incident, red.plan) == (1, "Restarting it now (attempt 1 of 5).")
    assert (green.incident, green.deaths, green.attempts, green.downtime) == (1, 1, 1, 0.0)


@BOTH_ENGINES
def test_an_out_of_memory_kill_is_told_as_one_with_the_event_and_the_flag(engine: int) -> None:
    play(World("web", engine=engine), (0, "web oom", "DEAD web exit 137 out of memory", "start web"),
         (5, "", "Recovered web"))


def test_an_out_of_memory_kill_is_told_as_one_with_the_flag_alone() -> None:
    play(World("web"), (0, lambda w: w.exits("web", 137, oom=True), "DEAD web exit 137 out of memory", "start web"))


@BOTH_ENGINES
def test_137_without_a_kill_or_memory_evidence_is_killed_from_outside(engine: int) -> None:
    play(World("web", engine=engine), (0, "web exits 137", f"DEAD web exit 137 {Cause.OUTSIDE}", "start web"))


def test_an_oom_flag_left_over_from_the_run_before_is_no_evidence() -> None:
    play(World(service("web", oom_killed=True), engine=20),
         (0, "web exits 137", f"DEAD web exit 137 {Cause.OUTSIDE}", "start web"))


def test_each_out_of_memory_kill_in_a_row_is_seen_although_the_flag_stays() -> None:
    play(World("web", engine=20),
         (0, "web oom", "DEAD web exit 137 out of memory", "start web"),
         (5, "", "Recovered web"),
         (100, "web oom", "DEAD web exit 137 out of memory"),
         (105, "", "start web"))


def test_the_exit_code_is_the_containers_where_a_label_overwrites_the_events() -> None:
    def shadowed(world: World) -> None:
        world.ended(world.find("web"), 7)
        world.event("die", "web-1", exit_code=0)

    play(World(service("web", labels={"exitCode": "0"})), (0, shadowed, "DEAD web exit 7", "start web"))


def told_of_a_short_death(world: World) -> list[tuple[Verdict, tuple[str, ...]]]:
    """What is told of web, which exits, and is restarted by Docker at once; and how the red reads in the end."""
    world.happen("web exits 1")
    world.advance(START + 60)
    told = [(notice.verdict, notice.logs) for notice in world.notices]
    assert [red.logs for red in world.reds.values()] == [logs for verdict, logs in told if verdict is Verdict.DEAD]
    return told


TOLD_WITH_WORDS = [(Verdict.DEAD, ("last words of web",)), (Verdict.RECOVERED, ())]


@pytest.mark.parametrize("late", [0.0, 0.05, 0.15, 0.5, 3.0])
@pytest.mark.parametrize("how", ["look_delay", "look_age"])
def test_a_death_has_its_last_words_though_docker_was_quicker_than_the_look(how: str, late: float) -> None:
    """Found by a busy machine: Docker's policy had it run again by then, and its log was not read."""
    world = play(World(service("web", "unless-stopped")), (0, ""))
    setattr(world, how, late)
    assert told_of_a_short_death(world) == TOLD_WITH_WORDS, world.story()


def test_a_death_that_no_event_told_has_its_last_words_too() -> None:
    world = World(service("web", "unless-stopped"))
    world.refuses = True
    play(world, (0, ""))
    assert told_of_a_short_death(world) == TOLD_WITH_WORDS, world.story()


def test_the_last_words_of_a_death_are_not_told_of_the_run_that_docker_began() -> None:
    world = play(World(service("web", "unless-stopped")), (0, ""))
    world.look_delay = 0.5
    world.happen("web exits 1")
    world.advance(START + 1.5)
    world.happen("web child_oom")
    world.advance(START + 60)
    told = [(notice.verdict, notice.logs) for notice in world.notices]
    assert (Verdict.CHILD_OOM, ()) in told and told[0] == TOLD_WITH_WORDS[0], world.story()


def test_what_a_run_wrote_that_is_known_to_have_ended_is_not_read_as_the_last_words_of_another() -> None:
    """Found by a reading of the code: a start by hand, and a death before the first look's answer."""
    world = play(World("web"), (0, ""))
    known_since = world.watchdog.services.known_since
    assert known_since("web-1") == world.find("web").lines_time
    play(world, (1, "stop web"), (31, "", "Stopped web"))
    assert world.find("web").finished_time < known_since("web-1") < EPOCH + START + 60
    assert known_since("another") == 0.0


def test_the_last_words_of_a_run_are_not_told_of_the_next() -> None:
    world = play(World("web"), (0, ""))
    world.look_delay = 0.5
    world.happen("restart web")
    world.advance(START + 60)
    world.happen("web child_oom")
    world.advance(START + 120)
    assert [(notice.verdict, notice.logs) for notice in world.notices] == [(Verdict.CHILD_OOM, ())], world.story()


@pytest.mark.parametrize("policy", KEPT)
def test_exit_0_of_a_service_is_a_death(policy: str) -> None:
    play(World(service("web", policy)), (0, "web exits 0", "DEAD web exit 0"), (5.1, "", "Recovered web"), (HOUR, ""))


def test_exit_0_under_policy_no_is_told_with_a_hint_and_not_restarted() -> None:
    world = play(World("web"), (0, "web exits 0", "DEAD web exit 0"), (HOUR, ""))
    assert "sentinel.job=true" in world.notices[0].plan and world.notices[0].plan.startswith("Not restarted")


@BOTH_ENGINES
def test_a_docker_kill_is_a_death_told_once_no_stop_can_follow_any_more(engine: int) -> None:
    play(World("web", engine=engine),
         (0, "kill web"),
         (1.5, "", f"DEAD web exit 137 {Cause.API_KILL}", "start web"),
         (6.5, "", "Recovered web"),
         (HOUR, ""))


@pytest.mark.parametrize("policy", KEPT)
def test_a_docker_kill_is_healed_although_dockers_policy_leaves_it_alone(policy: str) -> None:
    play(World(service("web", policy)), (0, "kill web"), (1.5, "", "DEAD web exit 137", "start web"),
         (6.5, "", "Recovered web"))


@pytest.mark.parametrize("number", [1, 10, 12, 28])
def test_a_hup_or_usr1_is_no_wish_to_end_it(number: int) -> None:
    play(World(service("web", "always")),
         (0, f"kill web {number}"),
         (0.05, "web exits 9", "DEAD web exit 9", "start web"),
         (5.05, "", "Recovered web"))


def test_a_reload_hours_ago_does_not_hide_a_crash_that_dockers_policy_ignores_because_of_it() -> None:
    play(World(service("web", "unless-stopped")), (0, "kill web 1"),
         (2 * HOUR, "web exits 1", "DEAD web exit 1", "start web"))


def test_a_death_by_a_signal_sent_through_the_api_says_so() -> None:
    play(World("web"), (0, "kill web 10"), (0.01, "web exits 138", f"DEAD web exit 138 {Cause.SIGNALLED}", "start web"))


@pytest.mark.parametrize("code", [0, 3, 137])
def test_a_stop_whose_end_is_told_late_is_a_stop(code: int) -> None:
    """The engine writes down how it ended between the two, which a slow disk may delay."""
    def stopped(world: World) -> None:
        container = world.find("web")
        world.purpose(container)
        world.event("kill", container.id, signal=15)
        world.event("stop", container.id)
        world.later(6.0, lambda: world.ended(container, code))
        world.later(6.0, lambda: world.event("die", container.id, exit_code=code))

    world = play(World("web", "db"), (0, stopped))
    world.advance(START + 120)
    assert [notice.verdict for notice in world.notices] == [Verdict.STOPPED], world.story()


def test_a_term_that_was_ignored_long_ago_does_not_hide_a_death() -> None:
    play(World("web"), (0, "kill web 15"), (60, "web exits 1"), (61.5, "", "DEAD web exit 1", "start web"))


def test_a_container_that_removes_itself_before_anybody_could_look_is_told() -> None:
    def gone_at_once(world: World) -> None:
        world.exits("web", 6)
        world.destroy("web-1")

    play(World(service("web", auto_remove=True)), (0, gone_at_once, "DEAD web exit 6"), (HOUR, ""))


NOT_TOUCHED = {
    ("no", 0, ""): [(Verdict.DEAD, ("last words of job",))],
    ("no", 0, "true"): [],
    ("no", 1, "true"): [(Verdict.FAILED, ("last words of job",))],
    ("on-failure", 0, ""): [],
}


@pytest.mark.parametrize("began", [0.05, 0.6])
@pytest.mark.parametrize(("policy", "code", "job"), NOT_TOUCHED)
def test_what_has_ended_as_it_should_is_not_started_again_though_the_first_look_is_overtaken(
    policy: str, code: int, job: str, began: float
) -> None:
    """Found by a reading of the code: the look showed it as it was made, and it was taken to run."""
    world = play(World("web"), (0, ""))
    world.look_delay, world.look_age = 0.5, 0.3
    made = world.create("job", like=service("job", policy, labels={"sentinel.job": job} if job else {}))
    world.advance(START + began)
    world.run(made.id)
    world.advance(START + began + 0.1)
    world.exits("job", code)
    world.advance(START + HOUR / 2)
    assert [(notice.verdict, notice.logs) for notice in world.notices] == NOT_TOUCHED[policy, code, job], world.story()
    assert not [line for line in world.done if line.startswith("start")], world.story()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("age", [0.05, 0.1, 0.2, 0.3, 0.4, 5.0])
def test_a_one_off_that_fails_is_told_though_each_look_at_it_is_overtaken(age: float, times: int) -> None:
    """Found by a busy machine: `compose run --rm`, again by the same name, while the engine answers slowly."""
    once = service("once", labels={"com.docker.compose.oneoff": "True"}, auto_remove=True)
    world = play(World("web"), (0, ""))
    world.look_age = age
    for code in (0, 7)[-times:]:
        made, began = world.create("once", like=once), world.now
        world.advance(began + 0.15)
        world.run(made.id)
        world.advance(began + 0.35)
        world.exits("once", code)  # and is removed by the engine
        world.advance(began + 60)
    assert [(notice.verdict, notice.name) for notice in world.notices] == [(Verdict.FAILED, "once")]


def test_a_dead_container_that_somebody_removes_before_it_was_looked_at_is_not_said_to_remove_itself() -> None:
    world = play(World("web", "db"), (0, ""))
    world.look_delay = 1.0
    play(world, (1, "web exits 6"), (1.5, "rm web", "DEAD web exit 6"), (HOUR, ""))
    assert "--rm" not in world.notices[0].plan


def test_a_container_that_removes_itself_is_not_restarted() -> None:
    play(World(service("web", auto_remove=True)), (0, "web exits 6", "DEAD web exit 6"), (HOUR, ""))


# ─── Intent: evidence in any order ────────────────────────────────────────────────────────────────────────────

ENDS = {  # what was done, and all orders in which engines tell it
    "stopped": ["k15 die stop", "k15 stop die", "k15 k9 die stop", "k15 k9 stop die"],
    "removed": ["k9 die destroy", "k15 die stop destroy", "k15 stop die destroy", "k15 k9 die stop destroy",
                "k15 k9 stop die destroy"],
    "killed": ["k9 die", "k1 k9 die", "k9 k9 die"],
    "ended by itself": ["die", "k1 die", "k10 die", "oom die"],
}


@pytest.mark.parametrize("gap", [0.0, 0.003, 0.055])
@pytest.mark.parametrize(("what", "order"), [(what, order) for what, orders in ENDS.items() for order in orders])
def test_who_wanted_an_end_is_told_whatever_the_order_of_its_events(what: str, order: str, gap: float) -> None:
    world = World(service("web", stop_timeout=10.0))

    def happens(word: str) -> None:
        if word == "destroy":
            world.destroy("web-1")
        elif word == "die" or (word == "stop" and world.find("web").status == "running"):
            if world.find("web").status == "running":
                world.ended(world.find("web"), 137)
            world.event(word, "web-1", exit_code=137)
        elif word.startswith("k"):
            world.event("kill", "web-1", signal=int(word[1:]))
        else:
            world.event(word, "web-1")

    def all_of_it(world: World) -> None:
        for index, word in enumerate(order.split()):
            world.later(index * gap, lambda word=word: happens(word))

    world.begin()
    all_of_it(world)
    world.advance(START + 2.0)
    first = [notice.verdict for notice in world.notices]
    world.advance(START + HOUR)
    verdicts = [notice.verdict for notice in world.notices]
    if what in ("stopped", "removed"):
        assert (first, verdicts) == ([], [Verdict.STOPPED]), world.story()
        assert world.notices[0].cause is (Cause.STOP if what == "stopped" else Cause.REMOVED)
    else:
        assert verdicts == [Verdict.DEAD, Verdict.RECOVERED] and first == [Verdict.DEAD], world.story()


@BOTH_ENGINES
@pytest.mark.parametrize("number", [1, 2, 3, 10, 12, 15, 37, 9])
def test_the_containers_own_stop_signal_is_a_wish_to_end_it(engine: int, number: int) -> None:
    play(World(service("web", stop_signal=number), engine=engine), (0, "stop web"), (30, "", "Stopped web"), (HOUR, ""))


def test_a_stop_may_take_as_long_as_the_container_is_allowed() -> None:
    world = World(service("web", stop_timeout=60.0), engine=20)
    world.stop_takes["web"] = 50.0
    play(world, (0, "stop web"), (80, "", "Stopped web"), (HOUR, ""))


@BOTH_ENGINES
def test_a_stop_may_take_longer_than_that_if_whoever_asked_for_it_said_so(engine: int) -> None:
    def ends(world: World) -> None:
        world.ended(world.find("web"), 0)
        for action in ("die", "stop") if engine == 20 else ("stop", "die"):
            world.event(action, "web-1")

    play(World("web", engine=engine), (0, "kill web 15"), (100, ends, "Stopped web"), (HOUR, ""))


def test_a_term_through_the_api_that_is_obeyed_is_a_wish() -> None:
    play(World("web"), (0, "kill web 15"), (2, "web exits 143"), (32, "", "Stopped web exit 143"), (HOUR, ""))


@BOTH_ENGINES
@pytest.mark.parametrize(("number", "later", "code"), [(3, 60, 1), (3, 5, 1), (3, 3, 137), (2, 4, 2), (15, 8, 139)])
def test_a_signal_that_was_survived_does_not_make_a_wish_of_the_next_crash(
        engine: int, number: int, later: float, code: int) -> None:
    """A Java thread dump (QUIT), and a crash soon after: a stop has its `stop`, an obeyed signal its own code or 0."""
    play(World(service("web", "unless-stopped"), engine=engine), (0, f"kill web {number}"), (later, f"web exits {code}"),
         (later + 1.5, "", f"DEAD web exit {code}", "start web"), (later + 6.5, "", "Recovered web"), (HOUR, ""))


@pytest.mark.parametrize(("number", "code"), [(15, 0), (15, 143), (2, 130), (3, 131), (3, 0)])
def test_an_obeyed_signal_is_a_wish(number: int, code: int) -> None:
    play(World(service("web", "unless-stopped")), (0, f"kill web {number}"), (1, f"web exits {code}"),
         (31, "", f"Stopped web exit {code}"), (HOUR, ""))


def test_evidence_of_one_run_says_nothing_of_the_next() -> None:
    play(World("web"), (0, "restart web"), (1, "web exits 1", "DEAD web exit 1", "start web"))


@pytest.mark.parametrize(("stopped", "intent"), [(True, Intent.OPERATOR), (False, Intent.NOBODY)])
def test_a_restart_whose_new_run_is_seen_before_it_is_told_says_nothing_of_that_run(stopped: bool, intent: Intent) -> None:
    """Podman; found by a busy machine: the run before had lasted less than a second, and a look came first."""
    runs = sentinel.Runs(sentinel.Calendar())
    seen = Container("web-1", "web", kind=EngineKind.PODMAN, status="running", started_time=EPOCH)
    runs.of(seen)
    if stopped:
        runs.heard(Heard("restart", "web-1", int((EPOCH + 0.4) * 1e9)))
    else:
        runs.of(seen).be_stopped(EPOCH + 0.4)
    runs.of(replace(seen, started_time=EPOCH + 0.9))
    for action, time in (("die", 0.6), ("start", 0.9), ("die", 15.0)):
        event = Heard(action, "web-1", int((EPOCH + time) * 1e9), exit_code=0 if action == "die" else None)
        runs.heard(event)
        if action == "die":
            runs.ended(event, EPOCH + time)
    ended = replace(seen, started_time=EPOCH + 0.9, finished_time=EPOCH + 15.0, status="exited", exit_code=0,
                    stopped_by_user=stopped)  # fmt: skip
    run = runs.of(ended)
    assert run.end
    assert sentinel.intent_of(run, run.end, ended, final=True) is intent


def test_a_kill_of_another_container_says_nothing_of_this_one() -> None:
    play(World("web", "db"), (0, "stop db, web exits 1", "DEAD web exit 1", "start web"),
         (5, "", "Recovered web"), (30, "", "Stopped db"))


def test_an_event_told_twice_counts_once() -> None:
    def twice(world: World) -> None:
        world.exits("web", 3)
        world.observe(world.events[-1])

    world = play(World("web"), (0, twice, "DEAD web exit 3", "start web"), (5, "", "Recovered web"), (HOUR, ""))
    assert world.notices[-1].deaths == 1


def test_events_from_before_sentinels_start_are_evidence_and_nothing_else() -> None:
    world = World(service("web", status="exited", exit_code=1, finished_time=EPOCH + START - 5), "db")
    world.events.append(sentinel.Heard("kill", "web-1", int((EPOCH + START - 5.1) * 1e9), signal=15))
    world.events.append(sentinel.Heard("die", "web-1", int((EPOCH + START - 5) * 1e9), exit_code=1))
    world.events.append(sentinel.Heard("kill", "db-1", int((EPOCH + START - 1) * 1e9), signal=15))
    play(world, (0.5, "db exits 0"), (30.5, "", "Stopped db"), (HOUR, ""))


def test_an_end_of_a_run_whose_start_was_missed_is_told_by_all_its_evidence() -> None:
    """Found by a walk: the `stop` that comes after the look was noted of a run that was none."""
    runs = sentinel.Runs(sentinel.Calendar())
    seen = Container("web-1", "web", status="running", started_time=EPOCH)
    runs.of(seen)
    again = replace(seen, started_time=EPOCH + 60.0)  # no event has told
    for action, time, number in (("kill", 100.0, 15), ("kill", 110.0, 9), ("die", 110.0, None)):
        event = Heard(action, "web-1", int((EPOCH + time) * 1e9), signal=number, exit_code=None if number else 137)
        runs.heard(event)
    run = runs.ended(event, 0.0)
    ended = replace(again, status="exited", exit_code=137, finished_time=EPOCH + 110.0)
    assert runs.of(ended) is run
    runs.heard(Heard("stop", "web-1", int((EPOCH + 110.1) * 1e9)))
    assert run.end
    assert sentinel.intent_of(run, run.end, ended, final=True) is Intent.OPERATOR


def test_an_end_that_was_told_to_the_life_before_counts_once() -> None:
    runs = sentinel.Runs(sentinel.Calendar())
    runs.of(Container("web-1", "web", status="running", started_time=EPOCH))
    for time, times in ((10.0, 1), (10.0, 1), (20.0, 2)):
        event = Heard("die", "web-1", int((EPOCH + time) * 1e9), exit_code=1)
        end = runs.ended(event, EPOCH + time).end
        assert end and end.times == times


@pytest.mark.parametrize("policy", ["no", "always"])
def test_a_restart_by_hand_of_what_was_just_stopped_is_none_of_podmans_policy(policy: str) -> None:
    """`podman restart` soon after `podman stop`: the event is that of its own policy, which leaves a count behind."""
    death = sentinel.Death(EPOCH + 10.0, 10.0, 0)
    run = sentinel.Run(EPOCH, end=death, policy_time=EPOCH + 11.0)
    again = Container("web-1", "web", status="running", kind=EngineKind.PODMAN, restart_policy=policy,
                      started_time=EPOCH + 11.0)  # fmt: skip
    assert not sentinel.brought_back(run, death, again)
    assert sentinel.brought_back(run, death, replace(again, restart_count=1)) is (policy == "always")
    ended = replace(again, status="exited", started_time=EPOCH)
    wishes, _ = sentinel.policy_of(ended, sentinel.Settings(), "")
    believed = sentinel.Watched("web", ended, wishes, sentinel.Phase.SUSPECT, run)
    assert sentinel.sight_of(believed, again, False) is sentinel.Sight.RUNS
