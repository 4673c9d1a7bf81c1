"""What Sentinel makes of what it sees, as timelines: each test's name is a promise, each timeline an example of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.scenario import EPOCH, START, World, play, probed, service

import sentinel
from sentinel import Cause, Health, Listed, Looked, Phase, Row, Verdict

KEPT = ("always", "unless-stopped")
HOUR = 3600
BOTH_ENGINES = pytest.mark.parametrize("engine", [20, 28])
JOB = {"sentinel.job": "true"}
ONE = {"max_restarts": 1}


def oneoff(name: str, **facts: object) -> sentinel.Container:
    """A container of `docker compose run`."""
    return service(name, labels={"com.docker.compose.oneoff": "True", "com.docker.compose.container-number": ""}, **facts)


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


def test_a_term_that_was_ignored_long_ago_does_not_hide_a_death() -> None:
    play(World("web"), (0, "kill web 15"), (60, "web exits 1"), (61.5, "", "DEAD web exit 1", "start web"))


def test_a_container_that_removes_itself_before_anybody_could_look_is_told() -> None:
    def gone_at_once(world: World) -> None:
        world.exits("web", 6)
        world.destroy("web-1")

    play(World(service("web", auto_remove=True)), (0, gone_at_once, "DEAD web exit 6"), (HOUR, ""))


def test_a_dead_container_that_somebody_removes_before_it_was_looked_at_is_not_said_to_remove_itself() -> None:
    world = play(World("web", "db"), (0, ""))
    world.look_delay = 1.0
    play(world, (1, "web exits 6"), (1.5, "rm web", "DEAD web exit 6"), (HOUR, ""))
    assert "--rm" not in world.notices[0].plan


def test_a_container_that_removes_itself_is_not_restarted() -> None:
    play(World(service("web", auto_remove=True)), (0, "web exits 6", "DEAD web exit 6"), (HOUR, ""))


# ─── Jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────

WAITS_FOR_JOB = {"com.docker.compose.depends_on": "db:service_started:false,job:service_completed_successfully:false"}


def as_labelled() -> list[sentinel.Container]:
    return [service("job", labels=JOB)]


def as_sibling() -> list[sentinel.Container]:
    return [service("job"), service("web", labels=WAITS_FOR_JOB)]


def as_oneoff() -> list[sentinel.Container]:
    return [oneoff("job")]


JOBS = pytest.mark.parametrize("made", [as_labelled, as_sibling, as_oneoff])
Made = Callable[[], list[sentinel.Container]]


@JOBS
def test_a_job_that_finishes_is_nothing_to_tell(made: Made) -> None:
    play(World(*made()), (0, "job exits 0"), (HOUR, ""))


@JOBS
def test_a_job_that_fails_is_told_and_not_restarted(made: Made) -> None:
    world = play(World(*made()), (0, "job exits 2", "FAILED job exit 2"), (HOUR, ""))
    assert world.notices[0].logs == ("last words of job",)


@JOBS
def test_a_job_that_is_out_of_memory_says_so(made: Made) -> None:
    play(World(*made()), (0, "job oom", "FAILED job exit 137 out of memory"), (HOUR, ""))


def test_a_job_that_asks_for_restarts_gets_them() -> None:
    world = World(service("job", labels=JOB | {"sentinel.restart": "true"}))
    play(world, (0, "job exits 2", "FAILED job exit 2", "start job"))


def test_a_service_that_is_no_job_by_its_label_is_none_though_a_sibling_waits_for_it() -> None:
    play(World(service("job", labels={"sentinel.job": "false"}), service("web", labels=WAITS_FOR_JOB)),
         (0, "job exits 2", "DEAD job exit 2", "start job"))


def test_a_sibling_of_another_project_makes_no_job() -> None:
    play(World(service("job"), service("web", project="other", labels=WAITS_FOR_JOB)),
         (0, "job exits 2", "DEAD job exit 2", "start job"))


def test_exit_0_under_policy_on_failure_is_nothing_to_tell() -> None:
    play(World(service("web", "on-failure")), (0, "web exits 0"), (HOUR, ""))


def test_a_job_that_is_run_again_and_again_is_judged_by_each_of_its_runs() -> None:
    play(World(service("job", labels=JOB)),
         (0, "job exits 0"), (60, "start job"), (70, "job exits 1", "FAILED job exit 1"),
         (120, "start job"), (130, "job exits 0"), (180, "start job"), (190, "job exits 1", "FAILED job exit 1"), (HOUR, ""))


def test_an_unhealthy_probe_in_the_middle_of_a_stop_does_not_undo_it() -> None:
    world = World(probed("web", stop_timeout=30.0))
    world.stop_takes["web"] = 20.0
    play(world, (0, "stop web"), (5, "web unhealthy"), (50, "", "Stopped web"), (HOUR, ""))


def test_a_replacement_that_was_made_unheard_and_loops_is_told_and_breaks_nothing() -> None:
    world = World(service("web", "always"), settle=60.0)
    play(world, (0, "stop web"), (5, ""))
    world.doom["web"] = (0.001, 1)
    world.happen("stream deaf, recreate web")
    world.advance(START + 600)
    assert "web" in [notice.name for notice in world.notices if notice.verdict in (Verdict.DEAD, Verdict.CRASH_LOOP)]


def test_a_job_that_is_run_again_before_anybody_could_look_is_watched_on() -> None:
    world = World(service("job", labels=JOB))
    world.begin()
    world.look_delay = 0.1
    play(world, (0, "job exits 0"), (0.05, "start job"), (10, "job exits 1", "FAILED job exit 1"), (HOUR, ""))


def test_a_job_that_docker_tries_again_is_told_once() -> None:
    world = World(service("job", "on-failure", labels=JOB))
    world.retries["job"], world.doom["job"] = 3, (1.0, 2)
    play(world, (0, "job exits 2", "FAILED job exit 2"), (HOUR, ""))


def test_what_failed_once_and_then_finished_leaves_no_open_incident() -> None:
    world = World(service("web", "on-failure"))
    world.doom["web"] = (1.0, 0)
    play(world, (0, "web exits 2", "DEAD web exit 2"), (5, ""))
    assert all(watched.incident is None for watched in world.watchdog.services.values()), world.story()


# ─── Ends that somebody wanted ────────────────────────────────────────────────────────────────────────────────


@BOTH_ENGINES
@pytest.mark.parametrize("policy", ["no", *KEPT])
@pytest.mark.parametrize("takes", [0.0, 8.0, 30.0])
def test_a_stop_is_told_in_grey_after_the_settle_time_and_never_undone(engine: int, policy: str, takes: float) -> None:
    world = World(service("web", policy), engine=engine)
    world.stop_takes["web"] = takes  # longer than its stop timeout: SIGKILL ends it
    play(world, (0, "stop web"), (min(takes, 10.0) + 30.0, "", "Stopped web"), (HOUR, ""))


@BOTH_ENGINES
def test_the_code_of_a_stopped_process_does_not_matter(engine: int) -> None:
    def obeys_with_17(world: World) -> None:
        world.end_asked(world.find("web"), lambda: None)
        world.change("web-1", exit_code=17)

    play(World("web", engine=engine), (0, obeys_with_17, "Stopped web exit 17"), (HOUR, ""))


@BOTH_ENGINES
@pytest.mark.parametrize("verb", ["restart web", "recreate web"])
@pytest.mark.parametrize("policy", ["no", "unless-stopped"])
def test_a_restart_and_a_recreate_are_nothing_to_tell(engine: int, verb: str, policy: str) -> None:
    world = World(service("web", policy), "db", engine=engine)
    world.stop_takes["web"] = 3.0
    play(world, (0, verb), (HOUR, verb), (2 * HOUR, ""))
    assert world.phase("web") is Phase.UP


def test_a_stop_and_a_start_within_the_settle_time_are_nothing_to_tell() -> None:
    play(World("web"), (0, "stop web"), (25, "start web"), (HOUR, ""))


def test_a_start_after_the_grey_is_nothing_to_tell() -> None:
    play(World("web"), (0, "stop web"), (30, "", "Stopped web exit 0"), (600, "start web"), (HOUR, ""))


def test_what_was_stopped_is_watched_again_after_its_start() -> None:
    play(World("web"), (0, "stop web"), (30, "", "Stopped web"), (600, "start web"),
         (700, "web exits 1", "DEAD web exit 1", "start web"))


def test_a_whole_project_is_told_as_one_when_the_last_of_it_has_settled() -> None:
    world = play(World("web", "db", "cache", service("other", project="else")),
                 (0, "remove web"), (3, "remove db"), (9, "remove cache"), (20, "stop other"),
                 (39, "", "Stopped", "Stopped", "Stopped"),
                 (50, "", "Stopped other"), (HOUR, ""))
    assert len({notice.at for notice in world.notices[:3]}) == 1
    assert sorted(notice.name for notice in world.notices[:3]) == ["cache", "db", "web"]


def test_what_was_stopped_and_removed_later_is_told_once() -> None:
    play(World("web"), (0, "stop web"), (30, "", "Stopped web"), (100, "rm web"), (HOUR, ""))


def test_rm_f_of_a_running_container_is_grey() -> None:
    play(World("web"), (0, "rm web"), (30, "", "Stopped web removed"), (HOUR, ""))


def test_a_removed_service_that_comes_back_in_time_is_nothing_to_tell() -> None:
    play(World("web"), (0, "remove web"), (10, "compose_up web"), (HOUR, ""))


def test_scaling_down_is_no_death() -> None:
    second = replace(service("web"), id="web2-1", name="web2", labels=service("web").labels
                     | {"com.docker.compose.container-number": "2"})
    play(World("web", second), (0, "remove web2"), (30, "", "Stopped web2 removed"), (HOUR, ""))


@pytest.mark.parametrize("ending", ["unstarted", "lost"])
def test_a_replacement_that_never_ran_is_vanished_in_red_with_the_compose_command(ending: str) -> None:
    world = play(World("web", "db"), (0, f"recreate web {ending}"), (30, "", "VANISHED web"), (HOUR, ""))
    assert world.notices[0].cause is Cause.FAILED_UPDATE
    assert "compose" in world.notices[0].plan


def test_a_vanished_service_that_compose_puts_back_is_green_again() -> None:
    play(World("web", "db"), (0, "recreate web lost"), (30, "", "VANISHED web"), (100, "compose_up web", "Recovered web"),
         (HOUR, ""))


def test_a_replacement_that_dies_at_once_is_dead() -> None:
    world = World("web", "db")
    play(world, (0, "recreate web"), (0.4, "web exits 1", "DEAD web exit 1", "start web"))


def test_a_project_taken_down_in_the_middle_of_a_deploy_is_not_vanished() -> None:
    play(World("web", "db"), (0, "recreate web lost"), (5, "remove db"),
         (35, "", "Stopped web removed", "Stopped db removed"),
         (HOUR, ""))


def test_a_service_that_was_replaced_unseen_can_be_stopped_later_without_red() -> None:
    world = World(service("web", "unless-stopped"))
    play(world, (0, "stream refused"), (10, "recreate web"), (HOUR, "stream allowed"), (2 * HOUR, "stop web"),
         (2 * HOUR + 30, "", "Stopped web"), (3 * HOUR, ""))


@pytest.mark.parametrize(("stops", "wanted"),
                         [("ignore", []), ("alert", [f"DEAD web exit 0 {Cause.OPERATOR}", "start web"])])
def test_operator_stops_are_told_as_the_setting_says(stops: str, wanted: list[str]) -> None:
    play(World(service("web", "unless-stopped"), stops=stops), (0, "stop web"), (30, "", *wanted))


def looping(world: World) -> World:
    """A service that Docker restarts again and again, at a moment when it waits for its next try."""
    world.doom["web"] = (1.0, 3)
    play(world, (0, "web exits 3", "DEAD web exit 3"), (2.2, "", "CRASH LOOP web exit 3"), (20, ""))
    while world.find("web").status != "restarting":
        world.advance(world.now + 0.1)
    return world


@pytest.mark.parametrize("verb", ["stop web", "kill web"])  # a kill in backoff: no event at all
def test_a_stop_or_kill_in_dockers_backoff_is_a_stop(verb: str) -> None:
    world = looping(World(service("web", "always")))
    play(world, (world.now - START, verb, "Stopped web exit 3"), (HOUR, ""))


def test_a_removal_in_dockers_backoff_is_grey() -> None:
    world = looping(World(service("web", "always")))
    play(world, (world.now - START, "remove web", "Stopped web"), (HOUR, ""))


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


@pytest.mark.parametrize("word", ["SIGRTMIN+3", "RTMIN+3", "37"])
def test_a_stop_signal_among_the_real_time_ones_is_understood(word: str) -> None:
    assert sentinel.signal_number(word, 15) == 37


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


def test_evidence_of_one_run_says_nothing_of_the_next() -> None:
    play(World("web"), (0, "restart web"), (1, "web exits 1", "DEAD web exit 1", "start web"))


def test_a_kill_of_another_container_says_nothing_of_this_one() -> None:
    play(World("web", "db"), (0, "stop db, web exits 1", "DEAD web exit 1", "start web"),
         (5, "", "Recovered web"), (30, "", "Stopped db"))


# ─── What is seen late, twice, or not at all ──────────────────────────────────────────────────────────────────


def test_a_look_that_was_asked_before_a_death_does_not_decide() -> None:
    world = play(World("web"), (0, ""))
    world.look_age = 0.05
    play(world, (1, "update web"), (1.02, "web exits 3", "DEAD web exit 3", "start web"), (6, "", "Recovered web"),
         (HOUR, ""))


def test_a_look_that_was_asked_before_a_start_does_not_decide() -> None:
    world = play(World("web"), (0, "stop web"), (20, ""))
    world.look_age = 0.05
    play(world, (20, "update web"), (20.02, "start web"), (HOUR, ""))
    assert world.phase("web") is Phase.UP


def test_an_event_told_twice_counts_once() -> None:
    def twice(world: World) -> None:
        world.exits("web", 3)
        world.observe(world.events[-1])

    world = play(World("web"), (0, twice, "DEAD web exit 3", "start web"), (5, "", "Recovered web"), (HOUR, ""))
    assert world.notices[-1].deaths == 1


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


def test_a_listing_that_is_older_than_the_death_changes_nothing() -> None:
    def stale(world: World) -> None:
        world.observe(Listed((Row("web-1", "running", Health.NONE, False),)))

    play(World("web", restart=False), (0, "web exits 3", "DEAD web exit 3"), (0.01, stale), (HOUR, stale), (2 * HOUR, ""))


def test_a_listing_that_is_older_than_a_start_changes_nothing() -> None:
    def stale(world: World) -> None:
        world.observe(Listed((Row("web-1", "exited", Health.NONE, False),)))

    play(World("web"), (0, "restart web"), (0.01, stale), (HOUR, ""))


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


def test_without_events_a_restart_by_hand_is_nothing_to_tell() -> None:
    play(World("web"), (0, "stream refused"), (10, "restart web"), (HOUR, "recreate web"), (2 * HOUR, ""))


def test_a_start_that_fails_after_dockers_backoff_is_found_by_the_listing() -> None:
    world = World(service("web", "always"))
    world.broken["web"] = "port is already allocated"
    play(world, (1, "web exits 3", "DEAD web exit 3"), (30, "", "start web", "GAVE UP web"), (HOUR, ""))


def test_events_from_before_sentinels_start_are_evidence_and_nothing_else() -> None:
    world = World(service("web", status="exited", exit_code=1, finished_time=EPOCH + START - 5), "db")
    world.events.append(sentinel.Heard("kill", "web-1", int((EPOCH + START - 5.1) * 1e9), signal=15))
    world.events.append(sentinel.Heard("die", "web-1", int((EPOCH + START - 5) * 1e9), exit_code=1))
    world.events.append(sentinel.Heard("kill", "db-1", int((EPOCH + START - 1) * 1e9), signal=15))
    play(world, (0.5, "db exits 0"), (30.5, "", "Stopped db"), (HOUR, ""))


# ─── Docker's own policy ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("policy", [*KEPT, "on-failure"])
def test_where_dockers_policy_restarts_it_sentinel_tells_and_does_not_touch(policy: str) -> None:
    world = play(World(service("web", policy)), (0, "web exits 3", "DEAD web exit 3"), (5.1, "", "Recovered web"),
                 (HOUR, ""))
    assert policy in world.notices[0].plan


def test_one_incident_however_often_docker_restarts_it() -> None:
    world = World(service("web", "always"))
    world.doom["web"] = (1.0, 3)
    play(world, (0, "web exits 3", "DEAD web exit 3"), (2.2, "", "CRASH LOOP web exit 3"), (HOUR, ""))
    world.doom.clear()
    play(world, (HOUR, "", "Recovered web"), (2 * HOUR, ""))
    assert world.notices[-1].deaths > 50 and not world.notices[-1].attempts


def test_where_docker_gave_up_sentinel_steps_in() -> None:
    world = World(service("web", "on-failure"))
    world.retries["web"], world.doom["web"] = 3, (1.0, 3)
    play(world, (0, "web exits 3", "DEAD web exit 3"), (2.2, "", "CRASH LOOP web exit 3"), (3.7, "", "start web"), (4, ""))


def test_where_docker_gave_up_after_its_last_try_sentinel_steps_in_at_once() -> None:
    world = World(service("web", "on-failure"))
    world.retries["web"], world.doom["web"] = 1, (1.0, 3)
    play(world, (0, "web exits 3", "DEAD web exit 3"), (1.0, ""), (1.1, "", "start web"))


def test_a_loop_that_is_there_when_sentinel_starts_is_told() -> None:
    world = World(service("web", "always", status="restarting", exit_code=3, restart_count=9,
                          finished_time=EPOCH + START - 1))
    world.begin()
    assert world.done == ["DEAD web exit 3"], world.story()


# ─── Budget, backoff, proof ───────────────────────────────────────────────────────────────────────────────────


def test_it_is_restarted_at_once_then_after_5_10_20_and_40_seconds_then_given_up_and_told_once() -> None:
    world = World("web")
    world.doom["web"] = (2.0, 1)
    play(world,
         (0, "web exits 1", "DEAD web exit 1", "start web"),
         (7, "", "start web"),
         (9, "", "CRASH LOOP web exit 1"),
         (19, "", "start web"),
         (41, "", "start web"),
         (83, "", "start web"),
         (85, "", "GAVE UP web exit 1"),
         (HOUR, ""))
    last = world.reds[1]
    assert (last.attempts, last.deaths, last.incident) == (5, 6, 1) and last.logs
    assert len(world.notices) == 1, world.story()


def test_the_wait_between_restarts_is_never_longer_than_five_minutes() -> None:
    world = World("web", max_restarts=12)
    world.doom["web"] = (2.0, 1)
    world.begin()
    world.exits("web", 1)
    world.advance(START + 2 * HOUR)
    starts = [moment for moment, _, thing in world.log if isinstance(thing, sentinel.Restart)]
    waits = [round(after - before - 2.0) for before, after in itertools.pairwise(starts)]
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300]


@pytest.mark.parametrize(("label", "setting"), [("1", 5), (None, 1)])
def test_the_budget_is_the_labels_or_the_settings(label: str | None, setting: int) -> None:
    world = World(service("web", labels={"sentinel.max-restarts": label} if label else {}), max_restarts=setting)
    world.doom["web"] = (1.0, 1)
    play(world, (0, "web exits 1", "DEAD web", "start web"), (1, "", "GAVE UP web"), (HOUR, ""))


def test_a_budget_of_none_is_told_in_the_red_itself() -> None:
    play(World("web", max_restarts=0), (0, "web exits 1", "DEAD web exit 1"), (HOUR, ""))


def test_the_time_to_prove_itself_doubles_with_each_relapse() -> None:
    world = play(World("web", max_restarts=9),
                 (0, "web exits 1", "DEAD web", "start web"), (5, "", "Recovered web"),
                 (200, "web exits 1", "DEAD web"), (205, "", "start web"), (214.9, ""), (215, "", "Recovered web"),
                 (400, "web exits 1", "DEAD web"), (410, "", "start web"), (429.9, ""))
    for moment, phase in ((429.9, Phase.PROVING), (430.1, Phase.UP)):
        world.advance(START + moment)
        assert world.phase("web") is phase, world.story()


def test_a_relapse_before_the_proof_is_the_same_incident() -> None:
    world = play(World("web"),
                 (0, "web exits 1", "DEAD web", "start web"), (4, "web exits 1"), (9, "", "start web"),
                 (19, "", "Recovered web"), (HOUR, ""))
    assert (world.notices[-1].deaths, world.notices[-1].attempts) == (2, 2)
    assert world.notices[-1].downtime == pytest.approx(9.0)


SPENT = (0, "web exits 1", "DEAD web", "start web"), (5, "", "Recovered web")


def test_ten_minutes_of_proven_life_refund_the_budget() -> None:
    play(World("web", **ONE), *SPENT, (605.1, "web exits 1", "DEAD web", "start web"), (610.1, "", "Recovered web"))


@pytest.mark.parametrize("seconds", [6, 300, 604])
def test_less_than_ten_minutes_do_not(seconds: float) -> None:
    play(World("web", **ONE), *SPENT, (seconds, "web exits 1", "GAVE UP web"), (HOUR, ""))


def test_ten_minutes_of_proven_life_refund_the_budget_whatever_ends_it() -> None:
    play(World("web", **ONE), *SPENT, (HOUR, "kill web"), (HOUR + 1.5, "", "DEAD web", "start web"))


def test_a_recreate_refunds_the_budget() -> None:
    play(World("web", **ONE), *SPENT, (60, "recreate web"), (100, "web exits 1", "DEAD web", "start web"))


@pytest.mark.parametrize("pause", [10, 100])
def test_an_operators_own_start_refunds_the_budget(pause: float) -> None:
    stopped = [] if pause < 30 else [(90, "", "Stopped web")]
    play(World("web", **ONE), *SPENT, (60, "stop web"), *stopped, (60 + pause, "start web"),
         (200, "web exits 1", "DEAD web", "start web"))


def test_a_pause_does_not_refund_the_budget() -> None:
    play(World("web", **ONE), *SPENT, (60, "pause web"), (70, "unpause web"),
         (100, "web exits 1", "GAVE UP web"), (HOUR, ""))


def test_an_operators_start_after_giving_up_is_proven_and_told_in_green() -> None:
    world = World("web", **ONE)
    world.doom["web"] = (1.0, 1)
    play(world, (0, "web exits 1", "DEAD web", "start web"), (1, "", "GAVE UP web"))
    world.doom.clear()
    play(world, (60, "start web"), (65, "", "Recovered web"), (400, "web exits 1", "DEAD web", "start web"), (401, ""))


@pytest.mark.parametrize("lost", ["done", "late"])
def test_a_start_whose_answer_was_lost_counts_as_a_restart_of_sentinels(lost: str) -> None:
    world = World("web", **ONE)
    world.lost_answers = lost
    world.begin()
    world.exits("web", 1)
    world.advance(START + 200)
    assert world.done[-1] == "Recovered web" and world.phase("web") is Phase.UP, world.story()
    play(world, (200, "web exits 1", "GAVE UP web"), (HOUR, ""))


def test_docker_restarts_do_not_refund_the_budget() -> None:
    play(World(service("web", "always"), **ONE),
         (0, "kill web"), (1.5, "", "DEAD web", "start web", "Recovered web"),
         (100, "web exits 1", "DEAD web", "Recovered web"),
         (400, "kill web"), (401.5, "", "GAVE UP web"), (HOUR, ""))


def test_the_wait_of_one_service_holds_no_other_up() -> None:
    world = World("web", "db")
    world.doom["web"] = (1.0, 1)
    play(world, (0, "web exits 1", "DEAD web", "start web"), (2, "db exits 1", "DEAD db", "start db"))


def test_where_events_are_refused_dockers_own_restarts_do_not_refund_the_budget() -> None:
    """`on-failure:1`: each start by Sentinel is followed by one by Docker, which only the listing tells."""
    world = World(service("web", "on-failure"), poll_interval=1.0)
    world.retries["web"], world.doom["web"] = 1, (8.0, 1)
    world.begin()
    world.stream("refused")
    world.exits("web", 1)
    world.advance(START + HOUR)
    assert [line for line in world.done if "web" in line].count("start web") == 5 and world.phase("web") is Phase.GAVE_UP


# ─── How restarts end ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_refused_start_is_tried_once_more_then_only_when_something_changed() -> None:
    world = World("web")
    world.broken["web"] = "port is already allocated"
    play(world, (0, "web exits 1", "DEAD web exit 1", "start web"), (5, "", "start web", "GAVE UP web"), (HOUR, ""))
    assert world.reds[1].error == "port is already allocated"


def test_a_refused_start_that_is_repaired_by_hand_is_green() -> None:
    world = World("web")
    world.broken["web"] = "port is already allocated"
    play(world, (0, "web exits 1", "DEAD web exit 1", "start web"), (5, "", "start web", "GAVE UP web"))
    world.broken.clear()
    play(world, (60, "start web"), (65, "", "Recovered web"), (HOUR, ""))


def test_where_a_proxy_forbids_restarts_sentinel_tells_and_tries_no_more() -> None:
    world = World("web")
    world.forbidden = "403 Forbidden"
    play(world, (0, "web exits 1", "DEAD web exit 1", "start web", "GAVE UP web"), (HOUR, ""))
    assert "may only watch" in world.reds[1].plan


def test_somebody_elses_start_before_sentinels_own_is_not_followed_by_another() -> None:
    world = World("web")
    world.restart_delay = 1.0
    play(world, (0, "web exits 1", "DEAD web exit 1", "start web"), (0.5, "start web", "Recovered web"), (HOUR, ""))


@pytest.mark.parametrize("policy", ["no", "unless-stopped"])
def test_an_operators_stop_before_sentinels_restart_wins(policy: str) -> None:
    world = World(probed("web", policy))
    world.restart_delay = 1.0
    play(world, (0, "web unhealthy", "UNHEALTHY web", "restart web"), (0.5, "stop web", "Stopped web"), (HOUR, ""))


def test_an_operators_stop_in_sentinels_backoff_wins() -> None:
    world = World(probed("web", "unless-stopped"))
    world.sick["web"] = 2.0
    play(world, (0, "web unhealthy", "UNHEALTHY web", "restart web"), (4, "stop web"), (34, "", "Stopped web"), (HOUR, ""))


def test_a_removal_before_sentinels_restart_wins() -> None:
    world = World("web")
    world.restart_delay = 1.0
    play(world, (0, "web exits 1", "DEAD web", "start web"), (0.5, "rm web", "Stopped web removed"), (HOUR, ""))


def test_a_recreate_before_sentinels_restart_wins_and_is_green() -> None:
    world = World("web")
    world.restart_delay = 1.0
    play(world, (0, "web exits 1", "DEAD web", "start web"), (0.5, "recreate web", "Recovered web"), (HOUR, ""))


def test_its_own_restart_of_a_running_container_is_no_death() -> None:
    world = World(probed("web", "unless-stopped"))
    world.stop_takes["web"] = 30.0
    play(world, (0, "web unhealthy", "UNHEALTHY web", "restart web"), (10, "", "Recovered web"), (HOUR, ""))
    assert world.notices[-1].deaths == 1


def test_a_restart_whose_answer_was_lost_is_not_failed() -> None:
    world = World(probed("web", "unless-stopped"))
    world.lost_answers, world.stop_takes["web"] = "done", 5.0
    play(world, (0, "web unhealthy", "UNHEALTHY web", "restart web", "Recovered web"), (HOUR, ""))
    assert (world.notices[-1].deaths, world.notices[-1].attempts) == (1, 1)


def test_a_death_while_it_proves_itself_after_a_restart_is_not_lost() -> None:
    world = World("web")
    world.doom["web"], world.restart_delay = (0.001, 1), 0.5
    play(world, (0, "web exits 1", "DEAD web exit 1", "start web"), (0.6, ""))
    world.doom.clear()
    play(world, (0.6, "", "start web", "Recovered web"), (HOUR, ""))


# ─── Health ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_unhealthy_service_is_told_at_once_with_its_probes_words_and_restarted() -> None:
    world = play(World(probed("web")), (0, "web unhealthy no-answer", "UNHEALTHY web", "restart web"),
                 (5, "", "Recovered web"), (HOUR, ""))
    assert world.notices[0].logs == ("no-answer",)


def test_green_waits_for_healthy_however_long_its_first_probe_takes() -> None:
    world = World(probed("web"))
    play(world, (0, "web exits 1", "DEAD web", "start web"))
    world.agenda.clear()  # its probe does not answer yet
    play(world, (60, ""), (61, "web healthy", "Recovered web"), (HOUR, ""))


def test_without_a_health_check_green_does_not_wait() -> None:
    play(World("web"), (0, "web exits 1", "DEAD web", "start web"), (4.9, ""), (5, "", "Recovered web"))


def test_a_service_that_stays_unhealthy_is_given_up_and_a_later_look_at_it_changes_nothing() -> None:
    world = World(probed("web"), max_restarts=2)
    world.sick["web"] = 2.0
    play(world, (0, "web unhealthy", "UNHEALTHY web", "restart web"), (7, "", "restart web"),
         (9, "", "GAVE UP web"),
         (200, "update web"), (300, "update web"), (HOUR, ""))


def test_an_unhealthy_service_that_heals_by_itself_is_green() -> None:
    play(World(probed("web"), restart=False), (0, "web unhealthy", "UNHEALTHY web"), (60, "web healthy"),
         (65, "", "Recovered web"), (HOUR, ""))


def test_an_unhealthy_service_that_was_unhealthy_when_sentinel_started_is_told() -> None:
    world = World(replace(probed("web"), health=Health.UNHEALTHY, failing_streak=7))
    world.begin()
    assert world.done == [f"UNHEALTHY web {Cause.UNHEALTHY}", "restart web"]


def test_a_paused_service_is_neither_unhealthy_nor_dead() -> None:
    play(World(probed("web")), (0, "pause web"), (HOUR, "unpause web"), (2 * HOUR, ""))


def test_a_paused_service_that_is_stopped_stays_silent() -> None:
    def unpaused_and_stopped(world: World) -> None:
        world.event("kill", "web-1", signal=15)
        world.event("unpause", "web-1")
        world.change("web-1", status="running")
        world.ended(world.find("web"), 0)
        world.event("die", "web-1", exit_code=0)
        world.event("stop", "web-1")

    play(World("web"), (0, "pause web"), (60, unpaused_and_stopped), (HOUR, ""))


def test_an_unhealthy_service_that_is_paused_in_sentinels_backoff_is_left_alone() -> None:
    world = World(probed("web"))
    world.sick["web"] = 2.0
    play(world, (0, "web unhealthy", "UNHEALTHY web", "restart web"), (4, "pause web"), (HOUR, ""))


def test_a_pause_between_death_and_proof_holds_green_back() -> None:
    play(World("web"), (0, "web exits 1", "DEAD web", "start web"), (2, "pause web"), (HOUR, "unpause web"),
         (HOUR + 5, "", "Recovered web"))


def test_sentinels_own_stop_of_the_unhealthy_is_no_reason_to_wait_with_the_next_attempt() -> None:
    world = World(probed("db"))
    world.broken["db"] = "no such device"
    play(world, (0, "db unhealthy", "UNHEALTHY db", "restart db"), (4.9, "", "start db", "GAVE UP db"), (5.1, ""),
         (HOUR, ""))


# ─── What can't be started ────────────────────────────────────────────────────────────────────────────────────


def test_a_service_that_cannot_be_started_is_told_with_the_engines_words_and_tried_once() -> None:
    world = World("db")
    world.broken["web"] = "exec: nosuch: executable file not found in $PATH"
    world.begin()
    world.compose_up("web")
    world.advance(START + HOUR)
    assert world.done[0] == f"DEAD web {Cause.CANT_START}" and world.notices[0].error == world.broken["web"], world.story()
    assert world.done.count("start web") == 1, world.story()


def test_a_service_that_could_not_be_started_is_green_once_it_can() -> None:
    world = World("db")
    world.broken["web"] = "port is already allocated"
    world.begin()
    world.compose_up("web")
    world.advance(START + 60)
    world.broken.clear()
    play(world, (60, "start web"), (65, "", "Recovered web"), (HOUR, ""))


def test_a_start_by_hand_that_fails_is_found_after_a_listing_at_the_latest() -> None:
    world = World("db")
    world.broken["web"] = "no such device"
    world.begin()
    world.create("web")
    world.advance(START + 10)
    world.start("web")
    world.advance(START + 31)
    assert world.done[:2] == [f"DEAD web {Cause.CANT_START}", "start web"], world.story()


# ─── Notes on memory ──────────────────────────────────────────────────────────────────────────────────────────


@BOTH_ENGINES
def test_a_child_killed_for_memory_is_noted_at_most_once_in_ten_minutes(engine: int) -> None:
    play(World("web", engine=engine),
         (0, "web child_oom"), (3, "", "OUT OF MEMORY web"), (60, "web child_oom"), (590, "web child_oom"),
         (605, "web child_oom"), (608, "", "OUT OF MEMORY web"), (HOUR, ""))


def test_an_out_of_memory_death_is_not_noted_as_well() -> None:
    play(World(service("web", "always")), (0, "web oom", "DEAD web exit 137 out of memory"), (5.1, "", "Recovered web"),
         (HOUR, ""))


def test_what_a_mute_hides_does_not_silence_the_note_after_it() -> None:
    play(World("web"), (0, "mute web 60"), (1, "web child_oom"), (100, "web child_oom", "OUT OF MEMORY web"), (HOUR, ""))


def test_a_note_of_one_service_does_not_silence_another() -> None:
    play(World("web", "db"), (0, "web child_oom, db child_oom"), (3, "", "OUT OF MEMORY web", "OUT OF MEMORY db"))


# ─── The engine itself ────────────────────────────────────────────────────────────────────────────────────────


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


def test_a_look_that_fails_is_repeated() -> None:
    world = World("web")
    world.begin()
    world.exits("web", 1)
    world.agenda.clear()
    world.observe(Looked("web-1", None, why="HTTP 500"))
    world.advance(START + 3)
    assert world.done == ["DEAD web exit 1", "start web"], world.story()


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


# ─── What is watched ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_service_added_while_sentinel_runs_is_covered_from_its_start() -> None:
    play(World("web"), (0, "compose_up new"), (0.4, "new exits 1", "DEAD new exit 1", "start new"))


def test_a_service_that_dies_before_anybody_could_look_at_it_is_told() -> None:
    world = World("web")
    world.doom["new"], world.look_delay = (0.001, 1), 0.05
    play(world, (0, "compose_up new"), (0.3, "", "DEAD new exit 1", "start new"), (0.5, ""))


@pytest.mark.parametrize("container", [
    service("web", labels={"sentinel.watch": "false"}),
    service("web", labels={"com.docker.compose.hook": "pre_start"}),
    replace(service("web"), labels={}),
])
def test_what_is_not_watched_is_neither_told_nor_touched(container: sentinel.Container) -> None:
    play(World(container, "db"), (0, "web exits 1"), (60, "start web"), (70, "web oom"), (HOUR, ""))


@pytest.mark.parametrize(("settings", "names"), [
    ({}, "a b"), ({"watch": "all"}, "a b bare"), ({"watch": "labelled"}, "b"), ({"projects": ("one",)}, "a b"),
])
def test_the_settings_say_what_is_watched(settings: dict[str, object], names: str) -> None:
    world = World(service("a", project="one"), service("b", project="two", labels={"sentinel.watch": "true"}),
                  replace(service("bare"), labels={}), **settings)
    world.begin()
    world.happen("a exits 1, b exits 1, bare exits 1")
    world.settle()
    assert " ".join(notice.name for notice in world.notices) == names


def test_sentinel_leaves_itself_alone() -> None:
    play(World("sentinel", "web", me="sentinel-1", watch="all"), (0, "sentinel exits 1"), (HOUR, ""))


@pytest.mark.parametrize(("container", "settings"), [
    (service("web"), {"restart": False}),
    (service("web", labels={"sentinel.restart": "false"}), {}),
    (service("web"), {"docker_host": "tcp://web:2375"}),
    (service("web", labels={"com.docker.swarm.service.name": "shop_web"}), {}),
])
def test_what_is_not_to_be_restarted_is_told_and_not_touched(container: sentinel.Container,
                                                             settings: dict[str, object]) -> None:
    world = play(World(container, **settings), (0, "web exits 1", "DEAD web exit 1"), (HOUR, ""))
    assert world.notices[0].plan.startswith("Not restarted: ")


def test_a_label_may_ask_for_restarts_where_the_setting_forbids_them() -> None:
    play(World(service("web", labels={"sentinel.restart": "true"}), restart=False),
         (0, "web exits 1", "DEAD web", "start web"))


def test_labels_set_the_settle_time_and_who_is_pinged() -> None:
    world = World(service("web", labels={"sentinel.settle": "5s", "sentinel.mention": "@here"}), "db", mention="<@&77777>")
    play(world, (0, "stop web"), (5, "", "Stopped web"), (10, "start web"), (20, "web exits 1, db exits 1",
         "DEAD web", "start web", "DEAD db", "start db"))
    assert [notice.mention for notice in world.notices[1:]] == ["@here", "<@&77777>"]


def test_what_is_down_when_sentinel_starts_is_left_as_it_is() -> None:
    world = play(World(service("web", status="exited", exit_code=1, finished_time=EPOCH),
                       service("new", status="created", started_time=0.0)),
                 (HOUR, ""))
    assert world.phase("web") is Phase.STOPPED


def test_the_number_of_an_incident_is_its_own() -> None:
    world = play(World("web", "db"), (0, "web exits 1, db exits 1", "DEAD web", "start web", "DEAD db", "start db"),
                 (5, "", "Recovered web", "Recovered db"))
    assert [notice.incident for notice in world.notices] == [1, 2, 1, 2]


def test_a_service_keeps_its_record_when_its_container_is_replaced() -> None:
    world = World("web", **ONE)
    world.doom["web"] = (1.0, 1)
    play(world, (0, "web exits 1", "DEAD web", "start web"), (1, "", "GAVE UP web"))
    world.doom.clear()
    play(world, (60, "recreate web", "Recovered web"), (HOUR, ""))
    assert world.notices[-1].incident == 1


# ── What is nobody's business ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("labels", "podman", "looked"), [
    ({}, False, False), ({"maintainer": "me"}, False, False), ({}, True, True), ({"sentinel.watch": "maybe"}, False, True),
    ({"com.docker.compose.project": "shop", "com.docker.compose.oneoff": "False"}, False, True)])
def test_a_container_that_nobody_watches_is_not_asked_about(labels: dict[str, str], podman: bool, looked: bool) -> None:
    """A machine that runs a job a second would be asked about each: its labels are in its own events."""
    world = World("web")
    world.begin()
    watchdog = world.watchdog
    watchdog.podman = podman
    attributes = {"image": "busybox", "name": "job", **labels}
    nano = round((world.stamp() + 1) * 1e9)
    actions = [action for word in ("create", "start") for action in watchdog.observe(
        sentinel.Heard(word, "j" * 64, nano + len(word), attributes), world.now)]
    assert (sentinel.Look("j" * 64) in actions) is looked
    watchdog.observe(sentinel.Heard("destroy", "j" * 64, nano + 9, attributes), world.now)
    assert "j" * 64 not in watchdog.ignored and "j" * 64 not in watchdog.runs


def test_an_event_without_labels_is_asked_about() -> None:
    world = World("web")
    world.begin()
    heard = sentinel.Heard("create", "j" * 64, round((world.stamp() + 1) * 1e9), {})
    assert sentinel.Look("j" * 64) in world.watchdog.observe(heard, world.now)
