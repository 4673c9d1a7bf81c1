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
from sentinel import Container, Notice, Phase, Verdict

HOUR, DAY = 3600, 86400
CHAIN = ("genesis", "flux", "pulse", "veil")
JOB = {"sentinel.job": "true"}
SWARM = {"com.docker.swarm.service.name": "shop_web", "com.docker.swarm.task.name": "shop_web.1.abc"}
STALE, ORPHAN = sentinel.Cause.STALE, sentinel.Cause.ORPHAN


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


def check_chain(world: World, order: tuple[str, ...], gap: float) -> None:
    """The chain dies in this order, and its root again and again; then the root is put right."""
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


@pytest.mark.parametrize("order", list(itertools.permutations(CHAIN)), ids=" ".join)
@pytest.mark.parametrize("gap", [0.0, 0.4])
def test_a_chain_is_one_story_in_whatever_order_it_dies(order: tuple[str, ...], gap: float) -> None:
    world = family()
    world.doom["genesis"] = (0.05, 1)
    check_chain(world, order, gap)


@pytest.mark.parametrize("order", [CHAIN, CHAIN[::-1]], ids=" ".join)
def test_a_chain_that_dockers_policy_restarts_over_and_over_is_one_story(order: tuple[str, ...]) -> None:
    world = family("always")
    world.doom |= dict.fromkeys(CHAIN, (0.05, 1))
    check_chain(world, order, 0.4)


def test_from_the_root_down_there_is_but_one_message_that_says_who_waits_for_whom() -> None:
    world = family()
    world.broken["genesis"] = "no such file"
    play(world,
         (0, "genesis exits 1", "DEAD genesis", "start genesis", "start genesis", "GAVE UP genesis"),
         (6, "flux exits 1"), (7, "pulse exits 1"), (8, "veil exits 1"))
    waits = [item.state for item in world.reds[1].consequences]
    assert waits == ["Waits for genesis.", "Waits for flux.", "Waits for pulse."]


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


def test_the_death_of_one_of_two_containers_that_a_service_depends_on_is_a_shadow_that_holds_nobody() -> None:
    world = World("db", second("db", 2), child("api", "db"))
    play(world, (0, "db-2 exits 1", "DEAD db-2", "start db-2"), (1, "api exits 1", "start api", "Recovered db-2"),
         (HOUR, ""))
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


def test_the_later_recovery_of_what_was_not_back_has_the_number_of_the_red_one() -> None:
    world = World("db", child("api", "db"))
    world.broken["api"] = "no such device"
    play(world, (0, "db exits 1, api exits 1", "DEAD db", "start db"), (4, "", "start api", "start api", "Recovered db"),
         (60, mend), (61, "start api"), (66, "", "Recovered api"), (70, ""))
    assert [green.incident for green in greens(world)] == [1, 1]


def test_what_dies_in_the_shadow_of_one_that_did_not_come_back_is_told() -> None:
    world = World("db", child("api", "db"), child("web", "api"))
    world.broken["api"] = "no such device"
    play(world, (0, "db exits 1, api exits 1", "DEAD db", "start db"), (4, "", "start api", "start api", "Recovered db"),
         (1000, "web exits 1", "GAVE UP api"))
    assert len([notice for notice in world.notices if notice.open]) == 2


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


def test_ill_health_long_after_what_it_depends_on_was_stopped_is_healed() -> None:
    play(World("db", probed("api", labels=needs("db"))), (0, "stop db"), (30, "", "Stopped db"),
         (HOUR, "api unhealthy", "UNHEALTHY api", "restart api"), (HOUR + 5, "", "Recovered api"))


def test_a_job_that_has_finished_holds_nothing() -> None:
    play(World(service("migrate", labels=JOB), child("api", "migrate")), (0, "migrate exits 0"),
         (10, "api exits 1", "DEAD api", "start api"), (15, "", "Recovered api"))


def test_a_one_off_of_what_it_depends_on_holds_nothing() -> None:
    oneoff = replace(service("shop-db-run"), labels=service("db").labels | {
        "com.docker.compose.oneoff": "True", "com.docker.compose.container-number": ""})
    play(World("db", oneoff, child("api", "db")), (0, "shop-db-run exits 0"),
         (10, "api exits 1", "DEAD api", "start api"), (15, "", "Recovered api"))


def test_exit_0_under_policy_no_stays_as_it_is_when_a_dependency_dies_and_returns() -> None:
    play(World("db", child("task", "db")), (0, "task exits 0", "DEAD task exit 0"),
         (HOUR, "db exits 1", "DEAD db", "start db"), (HOUR + 5, "", "Recovered db"), (2 * HOUR, ""))


def test_what_has_vanished_is_not_restarted_when_a_dependency_dies_and_returns() -> None:
    world = World("db", child("api", "db"))
    play(world, (0, lambda w: w.recreate("api", "lost"), "VANISHED api"), (HOUR, "db exits 1", "DEAD db", "start db"),
         (HOUR + 5, "", "Recovered db"), (2 * HOUR, ""))
    assert world.watchdog.services["shop/api/1"].phase is Phase.GAVE_UP


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


def test_a_root_whose_outage_ends_by_a_removal_does_not_silence_what_was_back_before() -> None:
    world = World("db", child("api", "db", policy="always"))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (6, "api exits 1"),
         (60, "rm db", "DEAD api", "Stopped db", "Recovered api"),
         (HOUR, "api exits 1", "DEAD api", "Recovered api"), (2 * HOUR, ""))


# ─── Networks that containers share ───────────────────────────────────────────────────────────────────────────


def test_whose_network_it_is_is_known_in_whatever_order_they_are_found() -> None:
    """The owner may be replaced before the next listing, and then nothing leads from the old id to it."""
    play(World(lodger("a"), "vpn"), (1, "recreate vpn", "ORPHANED a"), (HOUR, ""))


def test_lodgers_of_a_network_are_restarted_after_its_owner_was_restarted_by_sentinel() -> None:
    world = World("vpn", lodger("a"), lodger("b"))
    play(world, (0, "vpn exits 1", "DEAD vpn", "start vpn"), (5, "", "restart a", "restart b"), (10, "", "Recovered vpn"),
         (HOUR, ""))
    assert {item.verdict for item in greens(world)[0].consequences} == {Verdict.RESTARTED}
    check_peace(world)


def test_lodgers_are_restarted_after_dockers_policy_restarted_the_owner() -> None:
    world = World(service("vpn", "always"), lodger("a"))
    play(world, (0, "vpn exits 1", "DEAD vpn"), (5, "", "restart a"), (10, "", "Recovered vpn"), (HOUR, ""))
    check_peace(world)


def test_lodgers_are_restarted_after_an_operator_restarted_the_owner_and_that_is_told_in_grey() -> None:
    world = play(World("vpn", lodger("a")), (0, "restart vpn", "Restarted a", "restart a"), (HOUR, ""))
    check_peace(world)


def test_a_lodger_that_is_restarted_by_hand_after_its_owner_is_left_alone() -> None:
    play(World("vpn", lodger("a")), (0, "restart vpn"), (2, "restart a"), (HOUR, ""))


def test_a_restart_of_the_owner_that_no_event_told_is_found_by_listing() -> None:
    def restarted_unheard(world: World) -> None:
        world.change("vpn-1", started_time=EPOCH + world.now)

    world = World("vpn", lodger("a"), poll_interval=60.0)
    world.begin()
    world.deaf = True
    play(world, (1, restarted_unheard))
    world.advance(START + 300)
    assert "restart a" in world.done


def test_a_lodger_that_can_not_be_restarted_is_told() -> None:
    world = World("vpn", lodger("a"))
    world.broken["a"] = "port is already allocated"
    world.begin()
    world.restart("vpn")
    world.advance(START + HOUR)
    assert any(notice.open and notice.name == "a" for notice in world.notices)


def test_an_owner_that_is_restarted_every_day_has_its_lodger_restarted_every_day() -> None:
    play(World("vpn", lodger("a"), poll_interval=HOUR),
         *((day * DAY, "restart vpn", "Restarted a", "restart a") for day in range(8)), (8 * DAY, ""))


def test_a_dependency_that_dies_every_day_has_restart_true_honoured_every_day() -> None:
    play(World("db", child("api", "db", restart=True), poll_interval=HOUR),
         *((day * DAY, "db exits 1", "DEAD db", "start db", "restart api", "Recovered db") for day in range(8)),
         (8 * DAY, ""))


def move_to(name: str, mode: str) -> Callable[[World], None]:
    """Compose recreates a service, on another network."""
    def do(world: World) -> None:
        world.change(world.find(name).id, network_mode=mode)
        world.watchdog.services[world.find(name).key].container = world.find(name)
        world.recreate(name)

    return do


def test_a_lodger_whose_owner_was_recreated_is_orphaned_until_compose_recreates_it_too() -> None:
    world = World("vpn", lodger("a"))
    play(world, (0, "recreate vpn"), (20, "", "ORPHANED a"), (60, ""))
    assert [notice.verdict for notice in world.notices] == [Verdict.ORPHANED]
    assert last_plan(world).startswith("Not restarted: only compose can put it back")
    play(world, (100, move_to("a", "container:vpn-2"), "Recovered a"), (HOUR, ""))
    check_peace(world)


def test_an_orphan_that_was_restarted_before_is_an_orphan_and_not_given_up() -> None:
    play(World(lodger("a"), "vpn"), (0, "a exits 1", "DEAD a", "start a", "Recovered a"),
         (60, "recreate vpn", "ORPHANED a"), (HOUR, ""))


def test_a_lodger_that_compose_recreates_with_its_owner_is_no_orphan() -> None:
    play(World("vpn", lodger("a")), (0, "recreate vpn"), (2, move_to("a", "container:vpn-2")), (HOUR, ""))


@pytest.mark.parametrize("deed", ["recreate vpn", "restart vpn"])
def test_an_orphan_is_not_back_because_somebody_looked_at_it(deed: str) -> None:
    labels = {"sentinel.restart": "false"}
    world = World("vpn", lodger("a", labels=labels))
    play(world, (0, deed, "ORPHANED a"), (100, "update a"), (HOUR, ""))


def test_who_has_left_a_network_no_longer_depends_on_its_owner() -> None:
    play(World("vpn", lodger("a")), (0, move_to("a", "bridge")), (100, "stop vpn", "Stopped vpn"),
         (HOUR, "a exits 1", "DEAD a", "start a"), (HOUR + 5, "", "Recovered a"))


def test_a_lodger_that_dies_waits_for_its_owner() -> None:
    world = World("vpn", lodger("a"))
    world.broken["vpn"] = "no such file"
    play(world, (0, "vpn exits 1, a exits 1", "DEAD vpn", "start vpn", "start vpn", "GAVE UP vpn"), (60, mend),
         (61, "start vpn"), (66, "", "start a"), (71, "", "Recovered vpn"), (HOUR, ""))
    check_peace(world)


# ─── One story ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_third_incident_within_an_hour_is_flapping_and_called_back_after_an_hour_of_peace() -> None:
    world = World("web")
    rows = [(at, "web exits 1", "DEAD web", "start web", "Recovered web") for at in (0, 600)]
    play(world, *rows, (1200, "web exits 1", "DEAD web", "start web"), (1800, "web exits 1", "start web"),
         (1800 + HOUR - 10, "", "Recovered web"), (3 * HOUR, ""))
    assert [notice.flaps for notice in world.notices if notice.open] == [0, 0, 3]
    check_peace(world)


def test_incidents_more_than_an_hour_apart_are_no_flapping() -> None:
    play(World("web", remind=0.0), *((index * HOUR, "web exits 1", "DEAD web", "start web", "Recovered web")
                                        for index in range(5)), (5 * HOUR, ""))


def test_reminders_say_what_is_still_down_in_one_message() -> None:
    world = World("web", "db", remind=4.0 * HOUR)
    world.broken |= {"web": "no such file", "db": "no such file"}
    world.begin()
    world.happen("web exits 1, db exits 1")
    world.advance(START + 4 * HOUR - 1)
    told = len(world.notices)
    play(world, (4 * HOUR, "", "STILL DOWN 2 services"), (5 * HOUR, mend), (5 * HOUR + 1, "start web, start db",
         "Recovered web", "Recovered db"), (30 * HOUR, ""))
    assert told == 2 and world.notices[2].names == ("web (4h)", "db (4h)")


def test_without_a_span_there_are_no_reminders() -> None:
    world = World("web", remind=0.0)
    world.broken["web"] = "no such file"
    play(world, (0, "web exits 1", "DEAD web", "start web", "start web", "GAVE UP web"), (DAY, ""))


def test_a_reminder_comes_a_whole_span_after_the_red_one() -> None:
    world = World("web", "db", remind=4.0 * HOUR)
    world.broken["web"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "Recovered db"),
         (4 * HOUR - 60, "web exits 1", "DEAD web", "start web", "start web", "GAVE UP web"),
         (8 * HOUR - 61, ""), (8 * HOUR - 60, "", "STILL DOWN web"))


def test_reminders_go_on_after_a_mute() -> None:
    world = World("web", remind=4.0 * HOUR)
    world.broken["web"] = "no such file"
    play(world, (0, "web exits 1", "DEAD web", "start web", "start web", "GAVE UP web"), (4 * HOUR - 60, "mute web 120"))
    world.advance(START + 9 * HOUR)
    assert any(notice.verdict is Verdict.STILL_DOWN for notice in world.notices)


def test_a_reminder_that_falls_into_a_blink_of_the_engine_is_about_the_services() -> None:
    world = World("web", remind=4.0 * HOUR)
    world.broken["web"] = "no such file"
    play(world, (0, "web exits 1", "DEAD web", "start web", "start web", "GAVE UP web"),
         (4 * HOUR - 1, "engine gone", "STILL DOWN web"),
         (4 * HOUR + 2, "engine back"))
    world.advance(START + 5 * HOUR)
    assert [notice.name for notice in world.notices if notice.verdict is Verdict.STILL_DOWN] == ["web"]


def test_many_deaths_of_one_cause_take_no_time_to_speak_of() -> None:
    world = World("root", *(child(f"s{index}", "root") for index in range(150)))
    world.begin()
    world.broken["root"] = "no such file"
    began = time.process_time()
    world.exits("root")
    for index in range(150):
        world.exits(f"s{index}")
    world.advance(START + 60)
    assert time.process_time() - began < 2.0 and len(reds(world)) == 1


# ─── Mass death, and the engine ───────────────────────────────────────────────────────────────────────────────


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
        world.forgets()
    for name in names:
        world.end_asked(world.find(name), lambda: None)


def test_an_engine_killed_and_back_at_once_is_noticed_by_what_it_ended() -> None:
    world = World(service("web", "unless-stopped"), service("db", "unless-stopped"))
    play(world, (1, "update web"), (5, lambda w: unseen(w, "web", "db", anew=True), "DEAD 2 services", "start web",
                                    "start db", "Recovered 2 services"), (HOUR, ""))


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
    assert not world.watchdog.outages


# ─── Mutes ────────────────────────────────────────────────────────────────────────────────────────────────────


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


def test_a_mute_that_ends_tells_all_that_changed_in_one_message() -> None:
    world = World("web", "db", "api", "old")
    play(world, (0, "mute all 1000"), (10, "web exits 1, api exits 1, stop db, rm old"),
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
    assert not world.watchdog.outages


def test_a_stop_in_a_mute_that_began_while_it_was_proving_ends_its_incident() -> None:
    world = World("web", "db")
    play(world, (0, "web exits 1", "DEAD web", "start web"), (1, "mute web 100"), (2, "stop web"))
    world.advance(START + 50)
    world.unmute("web")
    world.advance(START + HOUR)
    assert world.phase("web") is Phase.STOPPED and not world.watchdog.outages


def test_what_was_stopped_in_a_mute_is_told_though_another_died_in_an_open_incident() -> None:
    world = World("web", "db")
    play(world, (0, "web exits 1", "DEAD web", "start web"), (1, "mute all 100"), (2, "web exits 1"), (3, "stop db"))
    world.advance(START + HOUR)
    assert any("db" in dict(notice.facts).get("Stopped", "") for notice in world.notices)
    assert not world.watchdog.outages


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


# Quiet windows


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
    world.watchdog.calendar_offset = EPOCH + turn
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
    until, change = sentinel.quiet_until(((1380, 60),), datetime(2027, 3, 1, 23, 30).timestamp())
    assert (until, change) == (5400.0, 5400.0)
    assert sentinel.quiet_until(((1380, 60),), datetime(2027, 3, 1, 12, 0).timestamp()) == (0.0, 39600.0)


# ─── explain ──────────────────────────────────────────────────────────────────────────────────────────────────


def answer(world: World, name: str) -> str:
    service_ = next(it for it in world.watchdog.services.values() if it.container.name == name)
    return world.watchdog.if_it_died(service_, world.now)


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
    before = repr(world.watchdog.services), dict(world.watchdog.due)
    assert answer(world, "api") and before == (repr(world.watchdog.services), world.watchdog.due)


def test_explain_does_not_wait_for_what_was_stopped_long_ago() -> None:
    world = play(World("db", child("api", "db")), (0, "stop db", "Stopped db"), (DAY, ""))
    world.watchdog.calendar_offset = EPOCH
    assert answer(world, "api") == "Restarting it now (attempt 1 of 5)."


def test_explain_names_dockers_own_policy_where_sentinel_may_not_restart() -> None:
    world = World(service("web", "always"), restart=False)
    world.begin()
    assert answer(world, "web").startswith("Docker's own restart policy (always)")
