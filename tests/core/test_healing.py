"""Healing: what is restarted and when, what is not and why, and who waits for whom."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from support import insides
from support.cast import (
    BOTH_ENGINES,
    DAY,
    HOUR,
    JOB,
    NEEDS_DB,
    ONE,
    chains,
    check_peace,
    child,
    greens,
    last_plan,
    mend,
    needs,
    reds,
)
from support.scenario import EPOCH, START, World, play, probed, service

import sentinel
from sentinel import Cause, Health, Phase, Verdict

# ─── What is not to be restarted ──────────────────────────────────────────────────────────────────────────────


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


def test_who_is_not_to_be_restarted_is_not_after_a_replacement_that_was_not_seen() -> None:
    """Found by a random walk of the core."""
    world = World(service("web", "always", labels={"sentinel.restart": "false"}), "db", poll_interval=30.0)
    world.doom["web"] = (0.01, 1)
    play(world, (0, "web exits 1", "DEAD web", "CRASH LOOP web"), (100, "stream refused"))
    world.happen("recreate web unstarted")
    world.advance(START + 300.0)


def test_what_ends_with_0_under_policy_no_is_not_restarted_however_long_it_has_lived() -> None:
    """Found by a random walk of the core."""
    play(World("web"), (0, "web exits 1", "DEAD web exit 1", "start web"), (5, "", "Recovered web"),
         (700, "web exits 0", "DEAD web exit 0"), (800, ""))


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


def test_a_start_by_others_gives_no_budget_before_it_has_proven_itself() -> None:
    """A systemd unit, or a script, that starts it each time it ends: whoever restarts it, three deaths are a loop."""
    world = World("web")
    world.doom["web"] = (2.0, 1)
    play(world, (0, "web exits 1", "DEAD web", "start web"))

    def unit() -> None:
        if world.find("web").status == "exited":
            world.start("web")
        world.later(3.0, unit)

    unit()
    world.advance(START + 600)
    assert world.done == ["DEAD web exit 1", "start web", "CRASH LOOP web exit 1"]
    loop = next(notice for notice in world.reds.values())
    assert loop.deaths > 100 and loop.downtime == pytest.approx(600.0, abs=5.0)


def test_an_operators_start_that_dies_at_once_is_not_healed_again() -> None:
    world = World("web", **ONE)
    world.doom["web"] = (1.0, 1)
    play(world, (0, "web exits 1", "DEAD web", "start web", "GAVE UP web"), (60, "start web"), (HOUR, ""))
    assert world.phase("web") is Phase.GAVE_UP


@pytest.mark.parametrize("code", [0, 3])
def test_what_is_not_restarted_for_another_reason_is_not_said_to_have_been_tried(code: int) -> None:
    """The restart of the incident before, which has ended well, is none of this one's."""
    world = play(World("web"), *SPENT, (60, f"web exits {code}", f"DEAD web exit {code}"), (64, ""))
    assert world.notices[-1].verdict is Verdict.DEAD


def test_a_budget_of_nothing_is_not_said_to_have_been_spent() -> None:
    world = play(World("web", max_restarts=0), (0, "web exits 1", "DEAD web"), (HOUR, ""))
    assert world.notices[0].plan == "Not restarted: it is to be restarted 0 times (max-restarts)."


def test_what_vanishes_after_a_restart_did_not_give_up() -> None:
    play(World("web", "db"), *SPENT, (60, "recreate web lost"), (90, "", "VANISHED web"), (HOUR, ""))


def test_stops_by_the_engine_are_no_deaths_of_a_service() -> None:
    """One crash and two restarts of the engine are no crash loop, and spend no budget."""
    started = f"DEAD web exit 0 {Cause.ENGINE}", "start web", "Recovered web"
    world = play(World("web", **ONE), *SPENT, (20, "goodbye"), (25, "returns", *started),
                 (60, "goodbye"), (65, "returns", *started), (200, ""))
    assert [notice.plan for notice in world.notices if notice.cause is Cause.ENGINE] == ["Restarting it now."] * 2


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


def test_dockers_start_before_the_death_was_looked_at_gives_no_budget_back() -> None:
    """Found by a random walk of the core."""
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


def test_a_refund_at_the_return_of_what_it_depends_on_is_saved() -> None:
    """Found by a random walk of the core."""
    labels = {"com.docker.compose.depends_on": "db:service_started:true", "sentinel.restart": "false"}
    world = World("db", service("api", "always", labels=labels))
    play(world, (0, "api exits 1", "DEAD api"), (5, "", "Recovered api"),
         (800, "db exits 1", "DEAD db", "start db"), (804, ""))
    before = len(world.watchdog.services["shop/api/1"].budget.died_at)
    insides.changed(world.watchdog)
    world.advance(START + 810.0)
    after = len(world.watchdog.services["shop/api/1"].budget.died_at)
    assert after == before or "shop/api/1" in insides.changed(world.watchdog)


# ─── Restarts in order ────────────────────────────────────────────────────────────────────────────────────────


def test_siblings_are_started_together() -> None:
    world = World("root", child("b", "root"), child("c", "root"), child("d", "root"))
    play(world, (0, "root exits 1, b exits 1, c exits 1, d exits 1", "DEAD root", "start root"),
         (5, "", "start b", "start c", "start d"), (10, "", "Recovered root"), (HOUR, ""))
    check_peace(world)


def test_service_healthy_waits_for_health_and_service_started_does_not() -> None:
    world = World(probed("db"), child("api", "db", condition="service_healthy"), child("tail", "db"))
    world.sick["db"] = 10**6  # starting, for ever
    play(world, (0, "db exits 1, api exits 1, tail exits 1", "DEAD db", "start db"),
         (5, "", "start tail"),
         (100, "db healthy", "start api", "Recovered db"),
         (HOUR, ""))
    assert sorted(chains(greens(world)[0])) == ["api ← db", "tail ← db"]
    check_peace(world)


def test_what_asks_for_health_is_started_where_the_dependency_has_no_health_check() -> None:
    play(World("db", child("api", "db", condition="service_healthy")),
         (0, "db exits 1, api exits 1", "DEAD db", "start db"), (5, "", "start api"), (10, "", "Recovered db"))


def test_restart_true_restarts_what_lives_once_its_dependency_is_back_from_a_death() -> None:
    world = World("db", child("api", "db", restart=True), child("tail", "db"))
    play(world, (0, "db exits 1", "DEAD db", "start db"), (5, "", "restart api"), (10, "", "Recovered db"), (HOUR, ""))
    assert [item.verdict for item in greens(world)[0].consequences] == [Verdict.RESTARTED]
    check_peace(world)


@pytest.mark.parametrize("deed", ["restart db", "recreate db"])
def test_restart_true_does_not_meddle_with_what_people_do(deed: str) -> None:
    play(World("db", child("api", "db", restart=True)), (0, deed), (HOUR, ""))


def test_a_root_that_gave_up_says_whom_it_takes_and_an_operators_start_brings_all_back_with_fresh_budgets() -> None:
    world = World("db", child("api", "db"), child("web", "api"), max_restarts=2)
    world.doom["db"] = (0.5, 1)
    play(world, (0, "db exits 1, api exits 1, web exits 1", "DEAD db", "start db"),
         (1, "", "start db", "GAVE UP db"), (60, ""))
    assert sorted(chains(world.reds[1])) == ["api ← db !", "web ← api ← db !"]
    play(world, (HOUR, mend), (HOUR + 1, "start db"), (HOUR + 6, "", "start api"), (HOUR + 11, "", "start web"),
         (HOUR + 16, "", "Recovered db"), (2 * HOUR, ""))
    assert [watched.budget.attempts for watched in world.watchdog.services.values()] == [0, 0, 0]
    check_peace(world)


def test_the_return_of_what_it_needs_gives_one_more_try_and_no_new_budget() -> None:
    """Found by chaos: each return of its root gave a service that fails for its own reason five more restarts."""
    world = World("db", child("api", "db"), max_restarts=2)
    world.doom["api"] = (1.0, 1)
    world.begin()
    world.happen("api exits 1")
    world.advance(START + 200)
    assert world.done.count("start api") == 2 and world.phase("api") is Phase.GAVE_UP
    for again in (1, 2):
        world.happen("db exits 1")
        world.advance(START + 200 + again * 300)
        assert world.done.count("start api") == 2 + again and world.phase("api") is Phase.GAVE_UP


def test_waiting_for_a_root_costs_a_consequence_nothing() -> None:
    world = World("db", child("api", "db"), max_restarts=1)
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1, api exits 1", "DEAD db", "start db", "GAVE UP db"), (2 * HOUR, mend),
         (2 * HOUR + 1, "start db"), (2 * HOUR + 6, "", "start api"), (2 * HOUR + 11, "", "Recovered db"))


def test_a_consequence_that_an_operator_stops_is_not_started_when_the_root_is_back() -> None:
    world = World("db", probed("api", labels=needs("db")))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (6, "api unhealthy"), (9, "stop api"),
         (10, mend), (11, "start db", "Stopped api", "Recovered db"), (HOUR, ""))


def test_a_consequence_that_an_operator_pauses_is_not_touched_when_the_root_is_back() -> None:
    world = World("db", probed("api", labels=needs("db")))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (6, "api unhealthy"), (9, "pause api"),
         (10, mend), (11, "start db", "Recovered db"), (HOUR, ""))
    assert world.find("api").status == "paused"


def test_a_recreated_root_brings_back_what_it_took() -> None:
    world = World("db", child("api", "db"))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1, api exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (60, mend),
         (61, "recreate db", "start api"), (67, "", "Recovered db"), (HOUR, ""))
    check_peace(world)


def test_a_crash_shortly_after_what_it_depends_on_was_stopped_waits_for_that() -> None:
    world = World("db", child("api", "db"))
    play(world, (0, "stop db"), (1, "api exits 1", "DEAD api"), (30, "", "Stopped db"), (HOUR, ""),
         (2 * HOUR, "start db"), (2 * HOUR + 5, "", "start api"), (2 * HOUR + 10, "", "Recovered api"), (3 * HOUR, ""))
    check_peace(world)


def test_a_crash_long_after_what_it_depends_on_was_stopped_is_healed() -> None:
    play(World("db", child("api", "db")), (0, "stop db"), (30, "", "Stopped db"),
         (HOUR, "api exits 1", "DEAD api", "start api"), (HOUR + 5, "", "Recovered api"))


def test_ill_health_long_after_what_it_depends_on_was_stopped_is_healed() -> None:
    play(World("db", probed("api", labels=needs("db"))), (0, "stop db"), (30, "", "Stopped db"),
         (HOUR, "api unhealthy", "UNHEALTHY api", "restart api"), (HOUR + 5, "", "Recovered api"))


def test_exit_0_under_policy_no_stays_as_it_is_when_a_dependency_dies_and_returns() -> None:
    play(World("db", child("task", "db")), (0, "task exits 0", "DEAD task exit 0"),
         (HOUR, "db exits 1", "DEAD db", "start db"), (HOUR + 5, "", "Recovered db"), (2 * HOUR, ""))


def test_what_has_vanished_is_not_restarted_when_a_dependency_dies_and_returns() -> None:
    world = World("db", child("api", "db"))
    play(world, (0, lambda w: w.recreate("api", "lost"), "VANISHED api"), (HOUR, "db exits 1", "DEAD db", "start db"),
         (HOUR + 5, "", "Recovered db"), (2 * HOUR, ""))
    assert world.watchdog.services["shop/api/1"].phase is Phase.GAVE_UP


SWARM = {"com.docker.swarm.service.name": "shop_web", "com.docker.swarm.task.name": "shop_web.1.abc"}


@pytest.mark.parametrize(("labels", "settings"), [
    ({"sentinel.restart": "false"}, {}), ({}, {"restart": False}), (SWARM, {})])
def test_a_consequence_that_is_not_to_be_restarted_is_told_and_not_touched(labels: dict[str, str],
                                                                           settings: dict[str, object]) -> None:
    world = World(service("db", "always"), service("api", labels=labels | needs("db")), **settings)
    play(world, (0, "db exits 1, api exits 1", "DEAD db"), (5.1, "", "Recovered db"), (HOUR, ""))
    assert len(reds(world)[0].consequences) == 1 and reds(world)[0].consequences[0].state.startswith("Not restarted: ")


def test_a_swarm_task_that_is_replaced_is_back() -> None:
    task = replace(service("web"), labels={"com.docker.stack.namespace": "shop"} | SWARM)
    world = World(task, watch="all")
    play(world, (0, "web exits 1", "DEAD shop_web.1"),
         (5, lambda w: w.run(w.create("web").id) and None, "Recovered shop_web.1"), (HOUR, ""))
    check_peace(world)


def test_who_is_restarted_with_one_waits_for_the_others() -> None:
    """Found by a random walk of the core."""
    needs = {"com.docker.compose.depends_on": "db:service_started:true,cache:service_started:false"}
    world = World("db", service("cache", labels={"sentinel.restart": "false"}), service("web", labels=needs))
    play(world, (0, "cache exits 1", "DEAD cache"), (300, "db exits 1", "DEAD db", "start db"))
    world.advance(START + 320.0)
    assert "restart web" not in world.done


def test_who_is_restarted_once_more_with_its_parent_does_not_count_as_back() -> None:
    """Found by a random walk of the core."""
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


def test_who_is_restarted_with_one_that_is_itself_to_be_restarted_waits_for_it() -> None:
    """Found by a random walk of the core."""
    def needs(name: str) -> dict[str, str]:
        return {"com.docker.compose.depends_on": f"{name}:service_started:true"}

    world = World("db", service("api", labels=needs("db")), service("web", labels=needs("api")))
    play(world, (0, "api exits 1", "DEAD api", "start api"), (2, "db exits 1", "DEAD db", "Folded api", "start db"))
    world.restart_delay = 3.0
    world.advance(START + 9.0)
    assert "restart api" in world.done and "restart web" not in world.done
    world.advance(START + 60.0)
    assert world.done.count("restart web") == 1


# ─── explain: what would be done ──────────────────────────────────────────────────────────────────────────────


def answer(world: World, name: str) -> str:
    service_ = next(it for it in world.watchdog.services.values() if it.container.name == name)
    return insides.if_it_died(world.watchdog, service_, world.now)


def test_explain_says_what_would_be_done() -> None:
    world = World("web", service("kept", "always"), service("job", labels=JOB),
                  service("off", labels={"sentinel.restart": "false"}))
    world.begin()
    assert [answer(world, name) for name in ("web", "kept", "job", "off")] == [
        "Restarting it now (attempt 1 of 5).",
        "Docker's own restart policy (always) brings it back; where that gives up: Restarting it now (attempt 1 of 5).",
        "Not restarted: it is a job.", "Not restarted: its label sentinel.restart is false."]


def test_explain_says_for_what_it_would_wait() -> None:
    world = World("db", child("api", "db"))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (60, ""))
    assert answer(world, "api") == "Waits for db."


def test_a_question_changes_nothing() -> None:
    world = World("db", child("api", "db"))
    play(world, (0, "db exits 1", "DEAD db", "start db"))
    before = repr([*world.watchdog.services.values()]), dict(insides.due(world.watchdog))
    assert answer(world, "api") and before == (repr([*world.watchdog.services.values()]), insides.due(world.watchdog))


def test_explain_does_not_wait_for_what_was_stopped_long_ago() -> None:
    world = play(World("db", child("api", "db")), (0, "stop db", "Stopped db"), (DAY, ""))
    insides.set_calendar(world.watchdog, EPOCH)
    assert answer(world, "api") == "Restarting it now (attempt 1 of 5)."


def test_explain_names_dockers_own_policy_where_sentinel_may_not_restart() -> None:
    world = World(service("web", "always"), restart=False)
    world.begin()
    assert answer(world, "web").startswith("Docker's own restart policy (always)")


def test_an_orphan_of_before_sentinels_time_is_told_by_what_its_network_names() -> None:
    """The owner of its network was recreated before Sentinel was started: a look alone can tell."""
    lost = service("torrent", network_mode=f"container:{'ab' * 32}")
    play(World(lost, "web"), (0, ""), (60, "", "ORPHANED torrent"), (HOUR, ""))
    here = replace(service("vpn"), id="ab" * 32)
    play(World(lost, here), (HOUR, ""))


def test_who_shares_the_network_of_a_container_newer_than_the_last_listing_is_no_orphan() -> None:
    """Neither is watched yet when its owner, which nobody watches, and it are made anew; it dies before the next listing."""
    world = World("web")

    def both(world: World) -> None:
        vpn = replace(world.create("vpn", like=service("vpn", labels={"sentinel.watch": "false"})), id="ab" * 32)
        world.containers.pop("vpn-2", None)
        world.containers[vpn.id] = vpn
        world.run(vpn.id)
        app = world.create("app", like=service("app", network_mode=f"container:{vpn.id}"))
        world.run(app.id)

    play(world, (35, both), (38, "app exits 3", "DEAD app exit 3", "start app"), (43, "", "Recovered app"), (HOUR, ""))


def test_sentinels_own_restart_is_nobodys_wish_though_its_answer_is_lost() -> None:
    """The process takes no notice of TERM, and the engine's answer never comes: the next attempt is made in time."""
    world = World(probed("web"), max_restarts=3)
    world.begin()
    world.restart_delay = HOUR
    world.unhealthy("web")
    world.advance(START + 1)
    world.event("kill", "web-1", signal=15)
    world.observe(sentinel.Restarted("shop/web/1", "web-1", sentinel.Outcome.UNKNOWN, "no answer in time"))
    world.restart_delay = 0.0
    world.in_flight.clear()
    world.advance(START + 120)
    assert world.done.count("restart web") == 2 and world.done[-1].startswith("Recovered"), world.story()


# ─── What somebody is stopping ────────────────────────────────────────────────────────────────────────────────


def ended_by_a_stop(world: World) -> None:
    """The process has flushed, and ends as it was asked to, long after the container's own stop timeout."""
    world.ended(world.find("web"), 0)
    for action in ("die", "stop") if world.engine_version < 23 else ("stop", "die"):
        world.event(action, "web-1", exit_code=0 if action == "die" else None)


@BOTH_ENGINES
@pytest.mark.parametrize("policy", ["no", "unless-stopped"])
def test_what_drains_for_longer_than_its_stop_timeout_is_left_alone(engine: int, policy: str) -> None:
    """docker stop -t 600, which is nowhere to be read; its health check fails while it drains."""
    world = World(service("web", policy, health=Health.HEALTHY), engine=engine)
    play(world, (0, "kill web 15"), (10, "unhealthy web"), (400, ended_by_a_stop), (430, "", "Stopped web"), (HOUR, ""))


def test_a_probe_that_recovers_after_a_signal_counts_again_once_it_lives_on() -> None:
    """It survived the signal: sick soon after it, well again for minutes, and sick for good."""
    play(World(probed("web")), (0, "kill web 15"), (10, "unhealthy web"), (40, "healthy web"),
         (400, "unhealthy web", "UNHEALTHY web", "restart web", "Recovered web"), (HOUR, ""))


def test_a_probe_that_fails_minutes_after_a_signal_that_was_survived_counts() -> None:
    play(World(probed("web")), (0, "kill web 3"), (300, "unhealthy web", "UNHEALTHY web", "restart web", "Recovered web"),
         (HOUR, ""))


def test_what_stays_sick_long_after_a_signal_is_told_and_left_alone() -> None:
    """A thread dump of what hangs: nobody knows whether it is being stopped, so nobody kills it."""
    world = play(World(probed("web")), (0, "kill web 3"), (10, "unhealthy web"), (900, "", "UNHEALTHY web"), (HOUR, ""))
    assert "asked to end" in last_plan(world)


def test_what_is_sick_is_not_restarted_while_somebody_stops_it() -> None:
    world = World(probed("web"), max_restarts=3)
    world.sick["web"] = 1.0
    play(world, (0, "unhealthy web", "UNHEALTHY web", "restart web"), (3, "kill web 15"))
    world.advance(START + 60)
    assert "asked to end" in last_plan(world)
    play(world, (300, ended_by_a_stop), (330, "", "Stopped web"), (HOUR, ""))


# ─── Own calls ────────────────────────────────────────────────────────────────────────────────────────────────


def calls(world: World) -> list[sentinel.Restart]:
    """What was asked of the engine."""
    return [thing for _, _, thing in world.log if isinstance(thing, sentinel.Restart)]


def test_a_restart_that_is_asked_for_of_what_is_gone_is_asked_of_the_engine_once() -> None:
    """Found by a walk: where no event tells of a removal, it was asked for as often as the engine answered."""
    world = play(World("web", max_restarts=0), (0, "web exits 1", "DEAD web"))
    del world.containers["web-1"]
    world.observe(sentinel.RestartAsked("shop/web/1", "@ann"))
    world.advance(world.now + 20)
    assert len(calls(world)) == 1


def test_a_stop_after_a_restart_whose_answer_was_lost_is_an_operators() -> None:
    """Found by a walk: the signal was taken for the restart's own, and what drained was restarted in the middle of it."""
    world = World(probed("web"))
    world.sick["web"], world.stop_takes["web"], world.lost_answers = 2.0, 40.0, "done"
    world.begin()
    world.unhealthy("web")
    while world.phase("web") is not Phase.BACKOFF:
        world.advance(world.now + 0.5)
    begun = len(calls(world))
    world.lost_answers = ""
    world.stop("web")
    world.advance(world.now + HOUR)
    assert len(calls(world)) == begun
    assert begun and world.containers["web-1"].status == "exited"


def test_a_sick_service_whose_restarts_are_not_answered_has_not_died_again_each_time() -> None:
    """Found by a random walk of the core: it was called a crash loop."""
    world = World(probed("db"), max_restarts=3)
    world.lost_answers = "never"
    play(world, (0, "db unhealthy", "UNHEALTHY db", "restart db"), (60, "", "restart db", "restart db", "GAVE UP db"),
         (HOUR, ""))
    incident = world.watchdog.services["shop/db/1"].incident
    assert incident and incident.deaths == 1
