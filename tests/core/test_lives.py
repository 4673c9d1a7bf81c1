"""Lives: what one service goes through, from its first bad sign to proven recovery or rest. Each test's name is a promise,
each timeline an example of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support import insides
from support.cast import (
    BOTH_ENGINES,
    DAY,
    HOUR,
    JOB,
    KEPT,
    WAITS_FOR_JOB,
    chains,
    check_peace,
    child,
    last_plan,
    lodger,
    needs,
    reds,
)
from support.scenario import EPOCH, START, Lawless, World, play, probed, service

import sentinel
from sentinel import Cause, Container, Health, Listed, Looked, Phase, Row, Verdict

# ─── Jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def as_labelled() -> list[sentinel.Container]:
    return [service("job", labels=JOB)]


def as_sibling() -> list[sentinel.Container]:
    return [service("job"), service("web", labels=WAITS_FOR_JOB)]


def oneoff(name: str, **facts: object) -> sentinel.Container:
    """A container of `docker compose run`."""
    return service(name, labels={"com.docker.compose.oneoff": "True", "com.docker.compose.container-number": ""}, **facts)


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


def test_exit_0_under_policy_on_failure_is_nothing_to_tell() -> None:
    play(World(service("web", "on-failure")), (0, "web exits 0"), (HOUR, ""))


def test_a_job_that_is_run_again_and_again_is_judged_by_each_of_its_runs() -> None:
    play(World(service("job", labels=JOB)),
         (0, "job exits 0"), (60, "start job"), (70, "job exits 1", "FAILED job exit 1"),
         (120, "start job"), (130, "job exits 0"), (180, "start job"), (190, "job exits 1", "FAILED job exit 1"), (HOUR, ""))


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


@pytest.mark.parametrize("removal", [0.5, 1.4, 4.0, 20.0])
def test_a_removal_by_force_that_takes_long_is_no_death(removal: float) -> None:
    """Found with a container that had written 250,000 files."""
    def removed(world: World) -> None:
        container = world.find("web")
        world.purpose(container)
        world.event("kill", container.id, signal=9)
        world.ended(container, 137, "removing")
        world.event("die", container.id, exit_code=137)
        world.later(removal, lambda: world.destroy(container.id))

    world = play(World("web", "db"), (0, removed))
    world.advance(START + 120)
    assert [notice.verdict for notice in world.notices] == [Verdict.STOPPED], world.story()


def test_a_kill_of_what_removes_itself_is_a_death_however_long_that_takes() -> None:
    def killed(world: World) -> None:
        container = world.find("web")
        world.event("kill", container.id, signal=9)
        world.ended(container, 137, "removing")
        world.event("die", container.id, exit_code=137)
        world.later(4.0, lambda: world.destroy(container.id))

    world = play(World(replace(service("web"), auto_remove=True), "db"), (0, killed))
    world.advance(START + 120)
    assert [notice.verdict for notice in world.notices] == [Verdict.DEAD], world.story()


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
         (35, "", "Stopped db removed", "Stopped web removed"),
         (HOUR, ""))


def test_a_service_that_was_replaced_unseen_can_be_stopped_later_without_red() -> None:
    world = World(service("web", "unless-stopped"))
    play(world, (0, "stream refused"), (10, "recreate web"), (HOUR, "stream allowed"), (2 * HOUR, "stop web"),
         (2 * HOUR + 30, "", "Stopped web"), (3 * HOUR, ""))


@pytest.mark.parametrize(("stops", "wanted"),
                         [("ignore", []), ("alert", [f"DEAD web exit 0 {Cause.OPERATOR}", "start web"])])
def test_operator_stops_are_told_as_the_setting_says(stops: str, wanted: list[str]) -> None:
    play(World(service("web", "unless-stopped"), stops=stops), (0, "stop web"), (30, "", *wanted))


def test_a_project_whose_stop_is_an_alarm_comes_back_root_first_in_one_story() -> None:
    """compose stops what depends on others first, and all of a project is settled in the same moment."""
    world = World(child("api", "db"), service("db"), stops="alert")
    play(world, (0, "stop api"), (1, "stop db"), (31, "", f"DEAD db exit 0 {Cause.OPERATOR}", "start db"),
         (36, "", "start api"), (41, "", "Recovered db"))


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


def test_what_vanished_and_is_then_removed_for_good_is_over() -> None:
    """Found by a random walk of the core."""
    world = World("web")
    play(world, (0, "recreate web unstarted", "VANISHED web"), (60, ""))
    world.happen("web rm")
    world.advance(START + 5000.0)
    assert not insides.outages(world.watchdog)


def test_who_is_removed_twice_is_forgotten_once() -> None:
    """Found by a random walk of the core."""
    world = World("web")
    play(world, (0, "web remove", "Stopped web"), (100, lambda world: world.broken.update(web="no such device")))
    world.compose_up("web")
    world.advance(START + 610.0)
    world.happen("web rm")
    try:
        world.advance(START + 700.0)
    except KeyError as error:
        raise AssertionError(f"the daemon ends: {error!r}") from error


def test_a_stop_long_after_a_deploy_whose_middle_was_not_heard_is_a_stop() -> None:
    """Found by a random walk of the core."""
    world = World("web", "db", poll_interval=30.0)
    play(world, (0, "stream deaf"), (29.9, "recreate web"), (32, "stream cut"), (50, ""))
    assert world.containers["web-2"].status == "running" and world.done == []
    play(world, (700, "web stop", "Stopped web"), (800, ""))


@pytest.mark.parametrize("moment", [0.5, 29.9])
def test_an_update_that_begins_as_a_stop_settles_has_a_settle_time_of_its_own(
    moment: float
) -> None:
    """Found by random life on an engine."""
    world = World("web", "db")
    play(world, (0, "web stop"), (moment, "recreate web unstarted"), (moment + 0.5, "web start"), (moment + 90, ""))


def test_who_vanished_is_still_reminded_of_while_its_project_lives_on() -> None:
    world = World("web", "db", remind=4.0 * HOUR)
    play(world, (1, "recreate web lost", "VANISHED web", "STILL DOWN web"), (5 * HOUR, ""))


# ─── What is seen late ────────────────────────────────────────────────────────────────────────────────────────


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


def test_a_listing_that_is_older_than_the_death_changes_nothing() -> None:
    def stale(world: World) -> None:
        world.observe(Listed((Row("web-1", "running", Health.NONE, False),)))

    play(World("web", restart=False), (0, "web exits 3", "DEAD web exit 3"), (0.01, stale), (HOUR, stale), (2 * HOUR, ""))


def test_a_listing_that_is_older_than_a_start_changes_nothing() -> None:
    def stale(world: World) -> None:
        world.observe(Listed((Row("web-1", "exited", Health.NONE, False),)))

    play(World("web"), (0, "restart web"), (0.01, stale), (HOUR, ""))


def test_a_look_that_fails_is_repeated() -> None:
    world = World("web")
    world.begin()
    world.exits("web", 1)
    world.agenda.clear()
    world.observe(Looked("web-1", None, why="HTTP 500"))
    world.advance(START + 3)
    assert world.done == ["DEAD web exit 1", "start web"], world.story()


def test_a_service_that_dies_before_anybody_could_look_at_it_is_told() -> None:
    world = World("web")
    world.doom["new"], world.look_delay = (0.001, 1), 0.05
    play(world, (0, "compose_up new"), (0.3, "", "DEAD new exit 1", "start new"), (0.5, ""))


def test_what_is_down_when_sentinel_starts_is_left_as_it_is() -> None:
    world = play(World(service("web", status="exited", exit_code=1, finished_time=EPOCH),
                       service("new", status="created", started_time=0.0)),
                 (HOUR, ""))
    assert world.phase("web") is Phase.STOPPED


def test_who_died_and_is_paused_before_it_is_looked_at_is_left_alone() -> None:
    """Found by a random walk of the core."""
    world = World(service("web", "always"), "db", max_restarts=2)
    world.begin()
    world.look_delay = 1.0
    world.happen("web exits 3")
    world.advance(START + 0.3)
    world.happen("web pause")
    world.advance(START + 60.0)
    assert world.phase("web") is Phase.STOPPED
    assert not [line for line in world.done if "exit 0" in line or line.startswith(("start", "restart"))]


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


def test_a_restart_by_an_operator_of_what_replaced_a_restarted_one_is_no_death() -> None:
    """Found by a random walk of the core."""
    world = World("web", "db")
    world.lost_answers = "never"
    play(world, (0, "web exits 1", "DEAD web", "start web"), (5, "recreate web"), (15, "web restart"), (20, ""))
    world.advance(START + 60.0)
    assert not [line for line in world.done if line.startswith(("CRASH", "GAVE"))]
    assert max(notice.deaths for notice in world.reds.values()) == 1


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


def test_a_paused_service_that_is_stopped_is_stopped_as_any_other() -> None:
    """However quick the look is: a stop takes the pause back first."""
    def unpaused_and_stopped(world: World) -> None:
        world.event("kill", "web-1", signal=15)
        world.event("unpause", "web-1")
        world.change("web-1", status="running")
        world.ended(world.find("web"), 0)
        world.event("die", "web-1", exit_code=0)
        world.event("stop", "web-1")

    play(World("web"), (0, "pause web"), (60, unpaused_and_stopped), (90, "", "Stopped web exit 0 stopped on purpose"),
         (HOUR, ""))


@pytest.mark.parametrize("late", [0.0, 0.5])
def test_what_dies_of_its_unpause_is_told_though_no_look_saw_it_run(late: float) -> None:
    def unpaused_and_dies(world: World) -> None:
        world.unpause("web")
        world.exits("web")

    world = play(World("web"), (0, "pause web"), (60, ""))
    world.look_delay = late
    world.happen(unpaused_and_dies)
    world.advance(START + HOUR)
    assert [notice.verdict for notice in world.notices] == [Verdict.DEAD, Verdict.RECOVERED], world.story()


@pytest.mark.parametrize("fails_on", [False, True])
def test_a_probe_under_which_a_service_was_paused_says_nothing_of_it(fails_on: bool) -> None:
    """Found by a busy machine: the engine counts a probe that the pause has made too slow."""
    world = play(World("web"), (0, "pause web"))

    def unpaused_and_sick(world: World) -> None:
        world.unpause("web")
        world.change("web-1", probed_time=EPOCH + world.now - 30.0)
        world.unhealthy("web")

    def probed_again(world: World) -> None:
        world.change("web-1", probed_time=EPOCH + world.now - 0.5)
        if not fails_on:
            world.healthy("web")

    world.happen(unpaused_and_sick)
    world.advance(START + 2.0)
    assert not world.notices
    world.happen(probed_again)
    world.advance(START + 60)
    assert [notice.verdict for notice in world.notices[:1]] == [Verdict.UNHEALTHY][:fails_on], world.story()


@pytest.mark.parametrize("told", [True, False])
def test_what_is_killed_while_it_is_paused_is_left_alone(told: bool) -> None:
    def killed(world: World) -> None:
        world.ended(world.find("web"), 137)
        if told:
            world.event("die", "web-1", exit_code=137)

    asked_anew = [] if told else ["reopen the stream"]
    play(World("web"), (0, "pause web"), (60, killed, *asked_anew), (HOUR, ""))


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


def test_a_start_that_fails_after_dockers_backoff_is_found_by_the_listing() -> None:
    world = World(service("web", "always"))
    world.broken["web"] = "port is already allocated"
    play(world, (1, "web exits 3", "DEAD web exit 3"), (30, "", "start web", "GAVE UP web"), (HOUR, ""))


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


def test_a_crash_loop_that_somebody_has_started_and_that_then_cant_be_started_is_told() -> None:
    """Found by a random walk of the core."""
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


# ─── Notes on memory ──────────────────────────────────────────────────────────────────────────────────────────


@BOTH_ENGINES
def test_a_child_killed_for_memory_is_noted_at_most_once_in_ten_minutes(engine: int) -> None:
    play(World("web", engine=engine),
         (0, "web child_oom"), (3, "", "OUT OF MEMORY web"), (60, "web child_oom"), (590, "web child_oom"),
         (605, "web child_oom"), (608, "", "OUT OF MEMORY web"), (HOUR, ""))


def test_an_out_of_memory_death_is_not_noted_as_well() -> None:
    play(World(service("web", "always")), (0, "web oom", "DEAD web exit 137 out of memory"), (5.1, "", "Recovered web"),
         (HOUR, ""))


def test_a_note_of_one_service_does_not_silence_another() -> None:
    play(World("web", "db"), (0, "web child_oom, db child_oom"), (3, "", "OUT OF MEMORY web", "OUT OF MEMORY db"))


def test_a_note_of_memory_has_its_service_saved() -> None:
    """Found by a random walk of the core."""
    world = World("web", "db")
    play(world, (0, "db child_oom"))
    world.advance(START + 2.5)
    insides.changed(world.watchdog)
    world.advance(START + 4.0)
    assert "OUT OF MEMORY db out of memory" in world.done and "shop/db/1" in insides.changed(world.watchdog)


def test_no_note_says_that_a_container_lives_on_that_has_died() -> None:
    """Found by a random walk of the core."""
    world = World("web", "db")
    world.begin()
    world.look_delay = 5.0
    world.happen("web oom")
    world.advance(START + 10.0)
    assert [line for line in world.done if line.startswith("OUT OF MEMORY")] == []


def test_a_refused_restart_of_what_was_muted_meanwhile_ends_nothing() -> None:
    world = World(service("vpn"), service("app", network_mode="container:vpn-1"), remind=0.0)
    world.begin()
    world.advance(START + 60)
    world.restart_delay = 8.0
    world.restart("vpn")
    while world.watchdog.services["shop/app/1"].phase is not Phase.RESTARTING:
        world.advance(world.now + 0.5)
    world.broken["app"] = "cannot join network of a non running container"
    world.mute("app", 3600.0)
    world.advance(world.now + 120)
    assert world.phase("app") is Phase.STOPPED and "DEAD app" not in " ".join(world.done)


def test_what_nobody_thought_of_is_said_and_looked_at_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("web")
    world.begin()
    monkeypatch.setattr(sentinel, "MOVES", {phase: frozenset() for phase in Phase})
    world.happen("web exits 3")
    world.settle()
    assert any("unforeseen" in thing.text and "web" in thing.text and "from up to" in thing.text
               for _, _, thing in world.log if isinstance(thing, sentinel.Log))
    monkeypatch.undo()
    world.advance(START + 90)
    assert "start web" in world.done and world.phase("web") is Phase.UP


@pytest.mark.parametrize("after", [40, 4000])
def test_who_vanished_with_its_project_is_not_reminded_of_for_ever(after: int) -> None:
    world = World("web", "db", remind=4 * 3600.0)
    world.begin()
    world.advance(START + 1)
    world.recreate("web", "lost")
    world.advance(START + after)
    assert "VANISHED web" in " ".join(world.done)
    world.remove("db")
    world.advance(world.now + 200)
    told = len(world.notices)
    world.advance(START + 30 * 86400)
    assert len(world.notices) == told and not insides.outages(world.watchdog)


def test_a_renamed_container_and_the_one_that_took_its_name_are_both_watched() -> None:
    """docker rename web web-old; docker run --name web: two containers that live never share a key."""
    bare = replace(service("web"), labels={})
    world = World(bare, watch="all")
    world.begin()
    world.change("web-1", name="web-old")
    world.event("rename", "web-1")
    world.settle()
    new = world.create("web", like=bare)
    world.run(new.id)
    world.advance(START + 60)
    assert sorted(world.watchdog.services) == ["web", "web-old"]
    play(world, (100, "web-old exits 3", "DEAD web-old exit 3", "start web", "Recovered web-old"), (110, ""))


def test_a_copy_that_carries_composes_labels_takes_nobodys_place() -> None:
    """docker commit, docker run: the copy has the labels, and a name of its own."""
    world = World("web")
    world.begin()
    copy = world.create("web", named="copy")
    world.run(copy.id)
    world.advance(START + 60)
    assert {watched.container.name for watched in world.watchdog.services.values()} == {"web", "copy"}
    play(world, (100, "web exits 3", "DEAD web exit 3", "start web", "Recovered web"), (110, ""))


def test_what_could_not_start_and_runs_unseen_is_stopped_by_an_operator_for_good() -> None:
    """Found by a random walk of the core: a run was taken for one that had been judged, and the stop was undone."""
    world = World("web", "db")
    world.begin()
    world.advance(START + 1)
    world.broken["web"] = "no such device"
    world.happen("web rm")
    world.advance(START + 60)
    world.compose_up("web")
    world.advance(START + 90)
    assert "DEAD web" in " ".join(world.done)
    del world.broken["web"]
    world.happen("stream refused")
    world.happen("start web")
    world.advance(START + 300)
    world.happen("stream allowed")
    world.advance(START + 400)
    mark = len(world.done)
    world.happen("stop web")
    world.advance(START + 500)
    assert not [line for line in world.done[mark:] if line.startswith(("start", "restart", "DEAD"))], world.done[mark:]
    assert world.phase("web") is Phase.STOPPED


# ─── Anything in any phase ────────────────────────────────────────────────────────────────────────────────────

Way = Callable[[Lawless], None]
WAYS: dict[str, tuple[Phase, Way]] = {}  # how web comes into a phase; each is begun with vpn and db beside it
ALONE, ON_VPN = service("web"), lodger("web")


def way(phase: Phase, container: sentinel.Container = ALONE) -> Callable[[Way], Way]:
    """A way into a phase, of a service made like this."""

    def made(do: Way) -> Way:
        def begin(world: Lawless) -> None:
            world.containers[container.id] = world.made["web"] = container
            world.begin()
            do(world)
            world.settle()

        WAYS[do.__name__] = phase, begin
        return do

    return made


@way(Phase.UP)
def up(world: Lawless) -> None:
    pass


@way(Phase.SUSPECT)
def suspect(world: Lawless) -> None:
    world.stop("web")


@way(Phase.RESTARTING)
def restarting(world: Lawless) -> None:
    world.restart_delay = 50.0
    world.exits("web", 1)


@way(Phase.RESTARTING, probed("web"))
def restarting_what_is_sick(world: Lawless) -> None:
    world.restart_delay = 50.0
    world.unhealthy("web")


@way(Phase.RESTARTING, ON_VPN)
def restarting_what_lives(world: Lawless) -> None:
    world.restart_delay = 50.0
    world.restart("vpn")
    while world.phase("web") is not Phase.RESTARTING:
        world.advance(world.now + 0.5)


@way(Phase.PROVING)
def proving(world: Lawless) -> None:
    world.exits("web", 1)
    world.advance(START + 1.0)


@way(Phase.BACKOFF)
def in_backoff(world: Lawless) -> None:
    world.doom["web"] = 0.5, 1
    world.exits("web", 1)
    world.advance(START + 3.0)


@way(Phase.HELD, ON_VPN)
def held(world: Lawless) -> None:
    world.broken["vpn"] = "no such file"
    world.exits("vpn", 1)
    world.advance(START + 1.0)
    world.exits("web", 1)
    world.advance(START + 3.0)


@way(Phase.HELD, probed("web", labels=needs("vpn")))
def held_and_sick(world: Lawless) -> None:
    world.broken["vpn"] = "no such file"
    world.exits("vpn", 1)
    world.advance(START + 1.0)
    world.unhealthy("web")
    world.advance(START + 3.0)


@way(Phase.DOCKER, service("web", "always"))
def left_to_docker(world: Lawless) -> None:
    world.doom["web"] = 0.5, 1
    world.exits("web", 1)
    world.advance(START + 20.0)


@way(Phase.GAVE_UP)
def gave_up(world: Lawless) -> None:
    world.broken["web"] = "no such file"
    world.exits("web", 1)
    world.advance(START + 20.0)


@way(Phase.STOPPED)
def stopped(world: Lawless) -> None:
    world.stop("web")
    world.advance(START + 60.0)


@way(Phase.GAVE_UP)
def vanished(world: Lawless) -> None:
    world.recreate("web", "lost")
    world.advance(START + 60.0)


@way(Phase.MISSING)
def missing(world: Lawless) -> None:
    world.remove("web")
    world.advance(START + 2.0)


@way(Phase.GONE)
def gone(world: Lawless) -> None:
    world.remove("web")
    world.advance(START + 60.0)


@way(Phase.UP, ON_VPN)
def orphaned(world: Lawless) -> None:
    world.recreate("vpn")
    world.advance(START + 30.0)


def happenings(world: Lawless) -> dict[str, sentinel.Observation]:
    """All that may be seen of web, whether it makes sense or not."""
    now = EPOCH + world.now
    web = world.containers.get("web-1") or service("web")
    ended, begun = {"finished_time": now - 0.1}, {"started_time": now - 0.2}
    looks = {
        "runs": replace(web, status="running"), "runs anew": replace(web, status="running", **begun),
        "is sick": replace(web, status="running", health=Health.UNHEALTHY, failing_streak=3, **begun),
        "has ended": replace(web, status="exited", exit_code=1, **ended),
        "has ended with 0": replace(web, status="exited", exit_code=0, **ended),
        "is tried by Docker": replace(web, status="restarting", restart_policy="always", restart_count=5, **ended),
        "is paused": replace(web, status="paused"), "was never started": replace(web, status="created", started_time=0.0),
        "can't be started": replace(web, status="exited", exit_code=128, error="no such device"),
        "is being removed": replace(web, status="removing"), "is dead": replace(web, status="dead"), "is not there": None,
        "has a successor": replace(web, id="web-9", status="running", **begun),
        "has a successor that is down": replace(web, id="web-9", status="exited", exit_code=3, **begun, **ended)}
    found: dict[str, sentinel.Observation] = {}
    for how, container in looks.items():
        found[f"looked at, it {how}"] = Looked(container.id if container else web.id, container)
        for outcome in sentinel.Outcome:
            answer = sentinel.Restarted("shop/web/1", web.id, outcome, "no", container)
            found[f"restart {outcome.name.lower()}, it {how}"] = answer
    labels = {**web.labels, "name": web.name, "image": "app"}
    for action in ("create", "start", "die", "stop", "kill", "pause", "unpause", "destroy", "rename", "oom", "update",
                   "health_status"):
        found[action] = sentinel.Heard(action, web.id, round((now + 0.01) * 1e9), labels, signal=9, exit_code=1,
                                       health=Health.UNHEALTHY)
    for status in ("restarting", "exited", "running"):
        rows = Row("db-1", "running", Health.NONE, False), Row(web.id, status, Health.NONE, False)
        found[f"listed as {status}"] = Listed(rows, "", "box")
    found["not listed"] = Listed((Row("db-1", "running", Health.NONE, False),), "", "box")
    return found


@pytest.mark.parametrize("muted", ["never", "before", "since then"])
@pytest.mark.parametrize("into", WAYS)
def test_no_happening_in_any_phase_ends_the_daemon_or_is_unforeseen(into: str, muted: str) -> None:
    """A pair of phase and happening of which nobody has thought would be an error in the log."""
    odd: dict[str, object] = {}
    phase, begin = WAYS[into]
    for name in happenings(Lawless("web")):
        world = Lawless("vpn", "db", remind=0.0, poll_interval=600.0)
        if muted == "before":
            world.later(0.0, lambda world=world: world.mute("web", 300.0))
        begin(world)
        assert muted == "before" or world.watchdog.services["shop/web/1"].phase is phase
        if muted == "since then":
            world.mute("web", 300.0)
        try:
            world.observe(happenings(world)[name])
            world.advance(world.now + 40.0)
            world.advance(world.now + 900.0)
        except Exception as error:
            odd[name] = error
        errors = [thing.text for _, _, thing in world.log if isinstance(thing, sentinel.Log) and "unforeseen" in thing.text]
        if errors:
            odd[name] = errors
    assert not odd


SOON = {"created_time": EPOCH + START - 60.0}


@pytest.mark.parametrize(("services", "code", "wanted"), [
    ([service("init", **SOON), "web"], 0, "ENDED init exit 0"),
    ([service("init", **SOON), "web"], 1, "DEAD init exit 1"),
    ([service("init", **SOON)], 0, "DEAD init exit 0"),
    ([service("init", "always", **SOON), "web"], 0, "DEAD init exit 0"),
    ([service("init", created_time=EPOCH + START - HOUR), "web"], 0, "DEAD init exit 0"),
    ([service("init", **SOON), child("web", "init")], 0, "DEAD init exit 0"),
], ids=["an init container", "it failed", "alone", "kept up", "of long ago", "somebody needs it"])
def test_an_init_container_that_ends_well_is_told_once_in_amber_and_nothing_stays_open(
        services: list[Container | str], code: int, wanted: str) -> None:
    world = World(*services)
    world.begin()
    world.exits("init", code)
    world.advance(START + 1)
    assert world.done[0] == wanted
    if wanted.startswith("ENDED"):
        world.advance(START + DAY)
        assert world.done == [wanted] and world.phase("init") is Phase.STOPPED and not insides.outages(world.watchdog)
        assert "sentinel.job=true" in world.notices[0].plan
        later = DAY + HOUR
        play(world, (DAY, "start init"), (later, "init exits 2", "DEAD init exit 2", "start init"), (later + 4, ""))


def test_a_look_that_comes_back_after_the_removal_of_what_it_looked_at_holds_nothing_up() -> None:
    """Found by a random walk of the core."""
    world = World("web", "db", settle=5.0, engine=20)
    world.begin()
    world.look_age = 3.0
    world.happen("remove web")
    world.advance(START + 60)
    assert world.done == ["Stopped web removed"] and world.phase("web") is Phase.GONE


def test_a_scale_down_is_no_end_of_its_project() -> None:
    world = play(World("web", "db", "api"), (0, "remove web, remove db"), (30, "", "Stopped web", "Stopped db"), (HOUR, ""))
    assert all(notice.lives_on for notice in world.notices)
    world = play(World("web", "db"), (0, "remove web, remove db"), (30, "", "Stopped web", "Stopped db"), (HOUR, ""))
    assert not any(notice.lives_on for notice in world.notices)


def test_a_good_end_of_a_container_that_removes_itself_is_nothing() -> None:
    play(World(service("web", auto_remove=True), "db"), (0, "web exits 0"), (HOUR, ""))


def test_a_restart_by_hand_that_fails_is_no_stop() -> None:
    """`stop` is heard, and then no event tells that it could not be started again."""
    world = World("web")

    def fails(world: World) -> None:
        world.broken["web"] = "port is already allocated"
        web = world.find("web")
        world.end_asked(web, lambda: world.later(0.3, lambda: world.run(web.id) and None))

    play(world, (0, fails), (29, "", f"DEAD web {Cause.CANT_START}", "start web", "GAVE UP web"), (HOUR, ""))


# ─── The end of a whole project ───────────────────────────────────────────────────────────────────────────────


def follows(world: World) -> None:
    """`compose up` in the foreground: it attaches to what it has made."""
    for container_id in world.containers:
        world.event("attach", container_id)


def test_a_death_that_ends_its_project_is_told_and_not_restarted_into_the_teardown() -> None:
    """`compose up --abort-on-container-exit`: the others are asked to end 15 ms after the death, one after the other."""
    world = play(World("tests", "api", "db"), (0, follows),
                 (60, "tests exits 3", "DEAD tests exit 3"), (60.015, "stop api"), (60.4, "stop db"),
                 (90.4, "", "Stopped db", "Stopped api"), (HOUR * 5, ""))
    assert last_plan(world) == "The rest of its project was stopped with it."
    play(world, (HOUR * 6, "start tests"),
         (HOUR * 7, "tests exits 4", "DEAD tests exit 4", "start tests", "Recovered tests"), (HOUR * 8, ""))


def test_who_is_followed_is_known_after_a_restart_of_sentinel_too() -> None:
    """Found by a tester: it restarted what compose tore down, and `compose up` hung."""
    world = World("tests", "api", "db")
    play(world, (0, follows), (60, ""))
    attached = world.watchdog.record().attached
    assert set(attached) == set(world.containers)
    other = sentinel.Watchdog(sentinel.Settings())
    other.restore([], {}, sentinel.Record(attached=attached), START, EPOCH + START)
    assert other.record().attached == attached
    other.observe(sentinel.Recalled(0.0, 1.0, attached=("x",)), START)
    assert "x" in other.record().attached


def test_a_death_beside_a_stop_is_healed_where_nobody_follows_the_project() -> None:
    """After `up -d` there is no compose that could end with it: an operator has stopped the only other one by chance."""
    play(World("web", "db"), (60, "web exits 3", "DEAD web exit 3", "start web"),
         (60.1, "stop db", "Recovered web", "Stopped db"), (HOUR, ""))


def test_a_death_beside_a_stop_is_healed_where_the_project_goes_on() -> None:
    """An operator stops one service just when another dies."""
    play(World("web", "api", "db"), (0, follows), (60, "web exits 3", "DEAD web exit 3"), (60.1, "stop api"),
         (90, "", "start web", "Stopped api"), (95, "", "Recovered web"), (HOUR, ""))


def test_stops_that_come_apart_from_each_other_are_no_end_of_a_project() -> None:
    """Found by chaos: an operator stops one service just when another dies, and the third a while later."""
    play(World("web", "api", "db"), (0, follows), (60, "web exits 3", "DEAD web exit 3"), (60.1, "stop api"),
         (70, "stop db", "start web", "Recovered web"), (100, "", "Stopped db", "Stopped api"), (HOUR, ""))


def test_what_docker_runs_in_the_foreground_is_restarted_at_once() -> None:
    """It has no project that could end with it."""
    bare = replace(service("web"), labels={})
    play(World(bare, watch="all"), (0, follows), (60, "web exits 3", "DEAD web exit 3", "start web"),
         (60.5, "", "Recovered web"), (HOUR, ""))


def test_what_is_followed_in_the_foreground_is_restarted_after_a_second() -> None:
    play(World("web", "api"), (0, follows), (60, "web exits 3", "DEAD web exit 3"), (60.99, "", "start web"),
         (65, "", "Recovered web"), (HOUR, ""))


# ─── What compose has made and not started ────────────────────────────────────────────────────────────────────


def compose_makes(*made: Container) -> Callable[[World], None]:
    """What `compose up` does first: it makes all, and has started nothing."""

    def make(world: World) -> None:
        for container in made:
            world.containers[container.id] = replace(container, status="created", started_time=0.0, health=Health.NONE,
                                                     created_time=world.stamp())
            world.event("create", container.id)

    return make


def shop(**condition: str) -> tuple[Container, Container]:
    """A database, and what depends on it."""
    return probed("db"), replace(child("web", "db"), labels=service("web", labels=needs("db", **condition)).labels)


HEALTHY = {"condition": "service_healthy"}


def test_what_compose_never_started_since_its_dependency_failed_is_one_story_with_it_and_started_after_it() -> None:
    """A first `up -d` in which db becomes unhealthy: compose ends with 1 and leaves web `Created`."""
    world = World("cache")
    play(world, (0, compose_makes(*shop(**HEALTHY))), (0.5, "start db"), (20, "unhealthy db", "UNHEALTHY db", "restart db"),
         (24, "", "start web", "Recovered db"), (HOUR, ""))
    assert [chains(red) for red in reds(world)] == [["web ← db"]]
    check_peace(world)


def test_what_compose_never_started_and_somebody_removed_is_out_of_the_story() -> None:
    """Found by a tester: it was told as never started when it was gone, and its story never ended."""
    world = World("cache", max_restarts=0)
    play(world, (0, compose_makes(*shop(**HEALTHY))), (0.5, "start db"), (20, "db exits 1", "DEAD db exit 1"))
    world.advance(START + 40)
    world.destroy("web-1")
    world.advance(START + 100)
    assert world.done[-1] == "Stopped web removed"
    play(world, (100, "start db", "Recovered db"), (HOUR, ""))
    check_peace(world)


def test_what_compose_starts_late_is_no_news() -> None:
    world = World("cache")
    play(world, (0, compose_makes(*shop(**HEALTHY))), (0.5, "start db"), (30, "start web"), (HOUR, ""))


def test_what_compose_never_started_though_nothing_it_waits_for_failed_is_told_and_left_to_compose() -> None:
    """A `post_start` hook of db fails: `up` ends with 1, db lives, and web stays `Created` for ever."""
    world = World("cache")
    play(world, (0, compose_makes(*shop())), (0.5, "start db"), (35, "", "DEAD web"),
         (100, "start web", "Recovered web"), (HOUR, ""))
    assert world.notices[0].plan == "Not restarted: compose broke off before it came to it."


@pytest.mark.parametrize("begins", [(), ((0.5, "start db"), (1, "stop db"))], ids=["nothing started", "stopped again"])
def test_what_somebody_only_made_is_left_alone(begins: tuple[tuple[float, str], ...]) -> None:
    """`docker compose create`; a project of which nothing runs."""
    world = World("cache")
    play(world, (0, compose_makes(*shop())), *begins, *((31, "", "Stopped db") for _ in begins[:1]), (HOUR, ""))


def test_what_somebody_only_made_beside_a_service_is_not_started_with_it_when_that_fails() -> None:
    """`docker compose create web` while db has run for an hour."""
    play(World("db", "cache"), (0, compose_makes(child("web", "db"))),
         (60, "db exits 1", "DEAD db exit 1", "start db", "Recovered db"), (HOUR, ""))


def test_what_waits_for_a_job_is_named_where_that_fails() -> None:
    world = World("cache")
    web = service("web", labels=needs("job", condition="service_completed_successfully"))
    play(world, (0, compose_makes(service("job"), web)), (0.5, "start job"),
         (200, "job exits 3", "FAILED job exit 3"), (DAY, ""))
    assert world.notices[-1].plan == "Not restarted: it is a job. Never started, since compose waits for it: web."


def test_a_one_off_at_a_terminal_that_ends_with_an_error_is_no_news() -> None:
    """`compose run --rm app sh`, left with 1: whoever typed there has seen it. A one-off of a script is told."""
    oneoff = {"com.docker.compose.oneoff": "True"}
    shell = service("shell", labels=oneoff, interactive=True)
    play(World("web", shell, service("script", labels=oneoff)), (0, "shell exits 1"),
         (60, "script exits 1", "FAILED script exit 1"), (HOUR, ""))


def test_a_replacement_that_compose_never_started_is_told_though_a_restart_was_under_way() -> None:
    """Found by random timelines: it was proving for ever, with a look every 5 s."""
    world = play(World("web", "db"), (0, ""))
    world.restart_delay = 5.0
    world.happen("web exits 1")
    world.advance(START + 1.0)
    world.recreate("web", "unstarted")
    world.advance(START + 4000.0)
    assert Verdict.VANISHED in [notice.verdict for notice in world.reds.values()], world.story()
    assert world.phase("web") is not Phase.PROVING


def test_what_was_told_in_an_outage_of_the_engine_is_over_only_when_it_is_back() -> None:
    """Found by a random walk: what was named as not back, and died again in a mute, was told in green while it was down."""
    needs_db = {"com.docker.compose.depends_on": "db:service_started:false"}
    world = World(service("web", "unless-stopped", labels=needs_db), service("db", "always"), restart=False)
    play(world, (0, ""))
    world.crash()
    world.advance(START + 15.0)
    world.events.clear()
    world.returns()
    world.advance(START + 60.0)
    world.mute("db", 30.0)
    world.change("db-1", restart_policy="no")
    world.advance(START + 65.0)
    world.exits("db", 1)
    world.advance(START + 600.0)
    greens = [notice.name for notice in world.notices if notice.verdict is Verdict.RECOVERED]
    assert "db" not in greens, world.story()
