"""Outages: what has one cause is one story, is healed in order, and is told once. Timelines as in test_deciding.py.

The services of the outage that started this project: flux depends on genesis, pulse on flux, veil on pulse.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.scenario import EPOCH, START, World, play, probed, service

import sentinel
from sentinel import Container, Health, Notice, Phase, Verdict

HOUR, DAY = 3600, 86400
CHAIN = ("genesis", "flux", "pulse", "veil")
JOB = {"sentinel.job": "true"}
SWARM = {"com.docker.swarm.service.name": "shop_web", "com.docker.swarm.task.name": "shop_web.1.abc"}
STALE, ORPHAN = sentinel.Cause.STALE, sentinel.Cause.ORPHAN


def defect(reason: str) -> pytest.MarkDecorator:
    """A promise that is not kept yet."""
    return pytest.mark.xfail(strict=True, reason=reason)


def needs(*parents: str, condition: str = "service_started", restart: bool = False) -> dict[str, str]:
    """Compose's label of what a service depends on."""
    return {"com.docker.compose.depends_on": ",".join(f"{name}:{condition}:{str(restart).lower()}" for name in parents)}


def child(name: str, *parents: str, policy: str = "no", **label: object) -> Container:
    """A service that depends on others."""
    return service(name, policy, labels=needs(*parents, **label))


def lodger(name: str, parent: str = "vpn", **facts: object) -> Container:
    """A service on another one's network."""
    return service(name, network_mode=f"container:{parent}-1", **facts)


def family(policy: str = "no") -> World:
    """The chain, and one apart."""
    return World(service("genesis", policy), *(child(name, parent, policy=policy)
                                               for parent, name in itertools.pairwise(CHAIN)), "apart")


def mend(world: World) -> None:
    """Nothing is broken any more."""
    world.broken.clear()
    world.doom.clear()


def reds(world: World) -> list[Notice]:
    """What stands in red, as it reads now; what was folded into another is none."""
    return [notice for notice in world.reds.values() if notice.verdict is not Verdict.FOLDED]


def greens(world: World) -> list[Notice]:
    return [notice for notice in world.notices if notice.verdict is Verdict.RECOVERED]


def chains(notice: Notice) -> list[str]:
    """The consequences, each with its way to the root; a `!` after what is not back."""
    return [" ← ".join(item.chain) + ("" if item.back else " !") for item in notice.consequences]


def last_plan(world: World, number: int = 1) -> str:
    return world.reds[number].plan


def check_peace(world: World) -> None:
    """Nothing is open, nothing is down, and nothing is left over."""
    assert not world.watchdog.outages, world.watchdog.outages
    for key, watched in world.watchdog.services.items():
        assert watched.incident is None and watched.phase is Phase.UP, f"{key}: {watched.phase}\n{world.story()}"
    assert not any(notice.open for notice in world.reds.values())
    told = {notice.incident for notice in world.notices if notice.open}
    assert {notice.incident for notice in greens(world)} <= told, "a green one without a red one"


# ─── Causes ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", itertools.permutations(CHAIN), ids=" ".join)
@pytest.mark.parametrize("policy", ["no", pytest.param("always", marks=defect(
    "OUTAGE_PATIENCE is counted from the root's start, and its proof alone takes 10 min: four green ones"))])
@pytest.mark.parametrize("gap", [0.0, 0.4])
def test_a_chain_is_one_story_in_whatever_order_it_dies(order: tuple[str, ...], policy: str, gap: float) -> None:
    world = family(policy)
    world.doom["genesis"] = (0.05, 1)
    if policy == "always":
        world.doom |= dict.fromkeys(CHAIN[1:], (0.05, 1))
    world.begin()
    for index, name in enumerate(order):
        world.advance(START + index * gap)
        if world.find(name).status == "running":
            world.exits(name)
    world.advance(START + 200)
    mend(world)
    world.start("genesis")
    world.advance(START + 2 * HOUR)
    (red,), (green,) = reds(world), greens(world)
    assert (red.name, green.name, green.incident) == ("genesis", "genesis", red.incident)
    assert chains(red) == chains(green) == ["flux ← genesis", "pulse ← flux ← genesis", "veil ← pulse ← flux ← genesis"]
    assert red.logs == ("last words of genesis",)
    check_peace(world)


def test_from_the_root_down_there_is_but_one_message_that_says_who_waits_for_whom() -> None:
    world = family()
    world.broken["genesis"] = "no such file"
    play(world,
         (0, "genesis exits 1", "DEAD genesis", "start genesis", "start genesis", "GAVE UP genesis"),
         (6, "flux exits 1"), (7, "pulse exits 1"), (8, "veil exits 1"))
    assert [item.state for item in world.reds[1].consequences] == ["Waits for genesis.", "Waits for flux.", "Waits for pulse."]


def test_what_a_root_took_with_it_is_started_in_order() -> None:
    world = family()
    world.broken["genesis"] = "no such file"
    play(world,
         (0, "genesis exits 1", "DEAD genesis", "start genesis", "start genesis", "GAVE UP genesis"),
         (6, "flux exits 1, pulse exits 1, veil exits 1"),
         (600, mend),
         (601, "start genesis"),
         (606, "", "start flux"),
         (611, "", "start pulse"),
         (616, "", "start veil"),
         (621, "", "Recovered genesis"),
         (2 * HOUR, ""))
    assert greens(world)[0].attempts == 2 and chains(greens(world)[0])[-1] == "veil ← pulse ← flux ← genesis"
    check_peace(world)


def test_in_a_star_whose_root_dies_last_the_first_message_is_taken_over_and_the_second_folded() -> None:
    world = World(child("b", "root"), child("c", "root"), "root")
    play(world,
         (0, "b exits 1", "DEAD b", "start b"),
         (1, "c exits 1", "DEAD c", "start c"),
         (2, "root exits 1", "DEAD root", "Folded c", "start root", "Recovered root"),
         (60, ""))
    assert world.reds[1].name == "root" and sorted(chains(world.reds[1])) == ["b ← root", "c ← root"]
    assert "incident 1" in last_plan(world, 2)
    check_peace(world)


def test_an_unrelated_death_at_the_same_instant_is_a_story_of_its_own() -> None:
    world = family()
    world.begin()
    world.happen("genesis exits 1, apart exits 1, flux exits 1")
    world.advance(START + HOUR)
    assert sorted((red.name, len(red.consequences)) for red in reds(world)) == [("apart", 0), ("genesis", 1)]
    assert sorted(green.name for green in greens(world)) == ["apart", "genesis"]
    check_peace(world)


@defect("`_gather` looks at direct dependencies only, so a living one between hides the dead root")
def test_a_death_in_the_shadow_of_a_root_further_up_is_its_consequence_though_what_is_between_still_lives() -> None:
    world = family()
    world.broken["genesis"] = "no such file"
    play(world, (0, "genesis exits 1", "DEAD genesis", "start genesis", "start genesis", "GAVE UP genesis"),
         (20, "pulse exits 1"))
    assert chains(world.reds[1]) == ["pulse ← flux ← genesis !"]


def test_a_root_in_its_crash_loop_is_told_once_however_often_it_dies() -> None:
    world = World(service("genesis", "always"), child("flux", "genesis", policy="always"))
    world.doom["genesis"] = (2.0, 1)
    play(world, (0, "genesis exits 1", "DEAD genesis"), (1, "flux exits 1", "CRASH LOOP genesis"), (600, mend,
         "Recovered genesis"), (1900, ""))
    assert len(world.reds) == 1 and len(greens(world)) == 1 and greens(world)[0].deaths > 5
    check_peace(world)


def test_a_dependant_that_goes_unhealthy_in_the_shadow_is_a_consequence_and_its_recovery_needs_no_restart() -> None:
    world = World("db", probed("api", labels=needs("db")))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (20, "api unhealthy"))
    assert [(item.chain, item.verdict) for item in world.reds[1].consequences] == [(("api", "db"), Verdict.UNHEALTHY)]
    mend(world)
    play(world, (30, "start db"), (32, "api healthy"), (37, "", "Recovered db"), (HOUR, ""))
    check_peace(world)


def test_two_that_depend_on_each_other_through_links_do_not_wait_for_each_other() -> None:
    world = World(service("a", links=("b",)), service("b", links=("a",)))
    world.begin()
    world.happen("a exits 1, b exits 1")
    world.advance(START + HOUR)
    assert [len(reds(world)), len(greens(world))] == [1, 1]
    check_peace(world)


def test_a_circle_of_three_comes_back() -> None:
    world = World(child("a", "b"), child("b", "c"), child("c", "a"))
    world.begin()
    world.happen("c exits 1, b exits 1, a exits 1")
    world.advance(START + HOUR)
    assert [len(reds(world)), len(greens(world))] == [1, 1]
    check_peace(world)


def test_a_service_that_depends_on_itself_is_no_riddle() -> None:
    play(World(child("web", "web")), (0, "web exits 1", "DEAD web", "start web"), (5, "", "Recovered web"))


def test_a_dependency_that_does_not_exist_holds_nothing() -> None:
    play(World(child("web", "missing")), (0, "web exits 1", "DEAD web", "start web"), (5, "", "Recovered web"))


def test_a_dependency_that_is_not_watched_holds_nothing() -> None:
    play(World(service("db", labels={"sentinel.watch": "false"}), child("web", "db")),
         (0, "db exits 1"), (1, "web exits 1", "DEAD web", "start web"), (6, "", "Recovered web"))


def test_a_namesake_in_another_project_is_no_dependency() -> None:
    other = replace(service("other", project="blog"), labels=service("db", project="blog").labels)
    world = World(other, "db", child("web", "db"))
    world.broken["other"] = "no such file"
    play(world, (0, "other exits 1", "DEAD other", "start other", "start other", "GAVE UP other"),
         (6, "web exits 1", "DEAD web", "start web"), (11, "", "Recovered web"))


def test_a_network_ties_services_of_two_projects() -> None:
    world = World(service("vpn", project="net"), lodger("web"))
    world.broken["vpn"] = "no such file"
    play(world,
         (0, "vpn exits 1", "DEAD vpn", "start vpn", "start vpn", "GAVE UP vpn"),
         (6, "web exits 1"),
         (600, mend), (601, "start vpn"), (606, "", "start web"), (611, "", "Recovered vpn"), (HOUR, ""))
    assert chains(greens(world)[0]) == ["web ← vpn"]


def test_a_link_to_a_container_of_another_project_ties_them() -> None:
    world = World(service("db", project="data"), service("web", links=("db",)))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (6, "web exits 1"))
    assert chains(world.reds[1]) == ["web ← db !"]


def second(name: str, number: int) -> Container:
    """A further container of a scaled service."""
    return replace(service(f"{name}-{number}", labels={"com.docker.compose.service": name,
                                                       "com.docker.compose.container-number": str(number)}))


def test_each_container_of_a_scaled_service_is_a_consequence_of_its_own() -> None:
    replicas = [replace(second("api", number), labels=second("api", number).labels | needs("db")) for number in (2, 3)]
    world = World("db", child("api", "db"), *replicas)
    world.begin()
    world.happen("db exits 1, api exits 1, api-2 exits 1, api-3 exits 1")
    world.advance(START + HOUR)
    assert sorted(chains(reds(world)[0])) == ["api ← db", "api-2 ← db", "api-3 ← db"] and len(greens(world)) == 1
    check_peace(world)


def test_the_death_of_one_of_two_containers_that_a_service_depends_on_is_a_shadow() -> None:
    world = World("db", second("db", 2), child("api", "db"))
    play(world, (0, "db-2 exits 1", "DEAD db-2", "start db-2"), (1, "api exits 1"), (5, "", "start api"),
         (10, "", "Recovered db-2"), (HOUR, ""))
    assert chains(greens(world)[0]) == ["api ← db-2"]


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
    assert [watched.attempts for watched in world.watchdog.services.values()] == [0, 1, 1]
    check_peace(world)


def test_waiting_for_a_root_costs_a_consequence_nothing() -> None:
    world = World("db", child("api", "db"), max_restarts=1)
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1, api exits 1", "DEAD db", "start db", "GAVE UP db"), (2 * HOUR, mend),
         (2 * HOUR + 1, "start db"), (2 * HOUR + 6, "", "start api"), (2 * HOUR + 11, "", "Recovered db"))


def test_a_consequence_that_does_not_come_back_is_named_in_the_green_one() -> None:
    world = World("db", child("api", "db"))
    world.broken["api"] = "no such device"
    play(world, (0, "db exits 1, api exits 1", "DEAD db", "start db"), (4, "", "start api", "start api", "Recovered db"),
         (60, ""))
    assert chains(greens(world)[0]) == ["api ← db !"]


@defect("`_carry_on` gives it a new number, of which no red one was told")
def test_the_later_recovery_of_what_was_not_back_has_the_number_of_the_red_one() -> None:
    world = World("db", child("api", "db"))
    world.broken["api"] = "no such device"
    play(world, (0, "db exits 1, api exits 1", "DEAD db", "start db"), (4, "", "start api", "start api", "Recovered db"),
         (60, mend), (61, "start api"), (66, "", "Recovered api"), (70, ""))
    assert [green.incident for green in greens(world)] == [1, 1]


@defect("an outage that is carried on counts as told, though there is no message: what joins it is never told")
def test_what_dies_in_the_shadow_of_one_that_did_not_come_back_is_told() -> None:
    world = World("db", child("api", "db"), child("web", "api"))
    world.broken["api"] = "no such device"
    play(world, (0, "db exits 1, api exits 1", "DEAD db", "start db"), (4, "", "start api", "start api", "Recovered db"),
         (1000, "web exits 1", "DEAD web"))


@defect("OUTAGE_PATIENCE is counted from the root's return, not from the last consequence's progress")
def test_a_long_chain_that_comes_back_slowly_has_one_green() -> None:
    names = [f"s{index}" for index in range(6)]
    world = World(probed("s0"), *(probed(name, labels=needs(parent, condition="service_healthy"))
                                  for parent, name in itertools.pairwise(names)))
    world.begin()
    for name in names:
        world.sick[name] = 10**6
        world.exits(name)
    for index, name in enumerate(names):
        world.advance(START + 100 * (index + 1))
        world.healthy(name)
    world.advance(START + HOUR)
    assert len(greens(world)) == 1


def test_an_operator_who_stops_the_root_ends_its_part_and_a_later_start_brings_the_rest_back() -> None:
    world = World(service("db", "always"), child("api", "db"))
    world.doom["db"] = (0.5, 1)
    play(world, (0, "db exits 1, api exits 1", "DEAD db"), (1, "", "CRASH LOOP db"),
         (20, "stop db", "DEAD api", "Stopped db"), (100, ""))
    assert world.phase("db") is Phase.STOPPED and world.phase("api") is Phase.WAITING
    assert world.reds[1].name == "api" and last_plan(world) == "Waits for db."
    mend(world)
    play(world, (200, "start db"), (205, "", "start api"), (210, "", "Recovered api"), (HOUR, ""))
    check_peace(world)


@defect("`_dependants_due` takes up whatever is `held`, in SUSPECT too")
def test_a_consequence_that_an_operator_stops_is_not_started_when_the_root_is_back() -> None:
    world = World("db", probed("api", labels=needs("db")))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (6, "api unhealthy"), (9, "stop api"),
         (10, mend), (11, "start db", "Recovered db"), (HOUR, ""))


@defect("`_dependants_due` takes up whatever is `held`, in STOPPED too")
def test_a_consequence_that_an_operator_pauses_is_not_touched_when_the_root_is_back() -> None:
    world = World("db", probed("api", labels=needs("db")))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (6, "api unhealthy"), (9, "pause api"),
         (10, mend), (11, "start db"), (HOUR, ""))
    assert world.find("api").status == "paused"


@defect("`_dependants_due` takes up whatever is `held`, in GONE too: then it is PROVING for ever")
def test_a_consequence_that_an_operator_removes_is_no_longer_part_of_it() -> None:
    world = World("db", child("api", "db"))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (6, "api exits 1"), (9, "rm api"),
         (10, mend), (11, "start db"))
    world.advance(START + HOUR)
    assert "start api" not in world.done
    check_peace(world)


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


@defect("`_holds` compares with the dependant's last end; one that is unhealthy has none, and waits for ever")
def test_ill_health_long_after_what_it_depends_on_was_stopped_is_healed() -> None:
    play(World("db", probed("api", labels=needs("db"))), (0, "stop db"), (30, "", "Stopped db"),
         (HOUR, "api unhealthy", "UNHEALTHY api", "restart api"), (HOUR + 5, "", "Recovered api"))


@defect("`_holds` takes a finished job for something that was stopped, and waits for it for ever")
def test_a_job_that_has_finished_holds_nothing() -> None:
    play(World(service("migrate", labels=JOB), child("api", "migrate")), (0, "migrate exits 0"),
         (10, "api exits 1", "DEAD api", "start api"), (15, "", "Recovered api"))


@defect("`parents` takes a container of `compose run db` for db, and waits for it for ever once it has ended")
def test_a_one_off_of_what_it_depends_on_holds_nothing() -> None:
    oneoff = replace(service("shop-db-run"), labels=service("db").labels | {
        "com.docker.compose.oneoff": "True", "com.docker.compose.container-number": ""})
    play(World("db", oneoff, child("api", "db")), (0, "shop-db-run exits 0"),
         (10, "api exits 1", "DEAD api", "start api"), (15, "", "Recovered api"))


@defect("`_dependants_due` refunds what has given up, and forgets with that why it was not to be restarted")
def test_exit_0_under_policy_no_stays_as_it_is_when_a_dependency_dies_and_returns() -> None:
    play(World("db", child("task", "db")), (0, "task exits 0", "DEAD task exit 0"),
         (HOUR, "db exits 1", "DEAD db", "start db"), (HOUR + 5, "", "Recovered db"), (2 * HOUR, ""))


@defect("`_dependants_due` has a container restarted that does not exist; the service is PROVING for ever")
def test_what_has_vanished_is_not_restarted_when_a_dependency_dies_and_returns() -> None:
    world = World("db", child("api", "db"))
    play(world, (0, lambda w: w.recreate("api", "lost"), "VANISHED api"), (HOUR, "db exits 1", "DEAD db", "start db"),
         (HOUR + 5, "", "Recovered db"), (2 * HOUR, ""))
    assert world.phase("api") is Phase.GAVE_UP


@pytest.mark.parametrize(("labels", "settings"), [({"sentinel.restart": "false"}, {}), ({}, {"restart": False}), (SWARM, {})])
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


@defect("`_leave` ends an outage without ending the incidents of those that are back: they are never told again")
def test_a_root_whose_outage_ends_by_a_removal_does_not_silence_what_was_back_before() -> None:
    world = World("db", child("api", "db", policy="always"))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (6, "api exits 1"), (60, "rm db", "Stopped db"),
         (HOUR, "api exits 1", "DEAD api", "Recovered api"), (2 * HOUR, ""))
