"""Stories: what has one cause is one story, and is told once.

The services of the outage that started this project: flux depends on genesis, pulse on flux, veil on pulse."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest
from support.cast import DAY, HOUR, NEEDS_DB, chains, check_peace, child, greens, last_plan, mend, needs, reds
from support.scenario import START, World, play, probed, service

from sentinel import WAITING, Container, Phase, Verdict

# ─── One cause is one story ───────────────────────────────────────────────────────────────────────────────────


def test_the_number_of_an_incident_is_its_own() -> None:
    world = play(World("web", "db"), (0, "web exits 1, db exits 1", "DEAD web", "start web", "DEAD db", "start db"),
                 (5, "", "Recovered web", "Recovered db"))
    assert [notice.incident for notice in world.notices] == [1, 2, 1, 2]


CHAIN = ("genesis", "flux", "pulse", "veil")


def family(policy: str = "no") -> World:
    """The chain, and one apart."""
    return World(service("genesis", policy), *(child(name, parent, policy=policy)
                                               for parent, name in itertools.pairwise(CHAIN)), "apart")


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


def test_a_root_that_falls_after_what_it_takes_with_it_is_a_new_message() -> None:
    """Something is worse than people were told, so their phones have to buzz; the first reds point to it."""
    world = World(child("b", "root"), child("c", "root"), "root")
    play(world,
         (0, "b exits 1", "DEAD b", "start b"),
         (1, "c exits 1", "DEAD c", "start c"),
         (2, "root exits 1", "DEAD root", "Folded b", "Folded c", "start root", "Recovered root"),
         (60, ""))
    assert world.reds[3].name == "root" and sorted(chains(world.reds[3])) == ["b ← root", "c ← root"]
    assert [last_plan(world, number) for number in (1, 2)] == ["It is a consequence of root: see incident 3."] * 2
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
    assert world.phase("db") is Phase.STOPPED and world.phase("api") in WAITING
    old, new = world.reds.values()
    assert (old.name, old.open, old.plan) == (
        "db", False, "It was stopped on purpose. What it took with it goes on as api: see incident 2.")
    assert (new.name, new.open, new.plan) == ("api", True, "Waits for db."), "a message of its own: phones buzz"
    mend(world)
    play(world, (200, "start db"), (205, "", "start api"), (210, "", "Recovered api"), (HOUR, ""))
    check_peace(world)


def test_a_consequence_that_an_operator_removes_is_no_longer_part_of_it() -> None:
    world = World("db", child("api", "db"))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (6, "api exits 1"), (9, "rm api"),
         (10, mend), (11, "start db"))
    world.advance(START + HOUR)
    assert "start api" not in world.done
    check_peace(world)


def test_a_root_whose_outage_ends_by_a_removal_does_not_silence_what_was_back_before() -> None:
    world = World("db", child("api", "db", policy="always"))
    world.broken["db"] = "no such file"
    play(world, (0, "db exits 1", "DEAD db", "start db", "start db", "GAVE UP db"), (6, "api exits 1"),
         (60, "rm db", "DEAD api", "Stopped db", "Recovered api"),
         (HOUR, "api exits 1", "DEAD api", "Recovered api"), (2 * HOUR, ""))


def test_who_is_stopped_while_its_green_waits_for_others_is_not_called_back() -> None:
    """Found by a random walk of the core."""
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


# ─── Flapping, and reminders ──────────────────────────────────────────────────────────────────────────────────


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


def test_the_first_reminder_comes_as_long_after_the_red_as_is_set() -> None:
    """Found by a random walk of the core."""
    world = World("web", remind=600.0)
    play(world, (0, "mute all 1200"), (1, "engine gone"))
    world.advance(START + 1500.0)
    assert [str(notice.verdict) for notice in world.notices] == [Verdict.ENGINE_DOWN]


def test_a_root_that_is_paused_while_its_consequences_are_waited_for_is_not_called_back() -> None:
    """Found by a random walk of the core: a green that is not true."""
    world = World("db", child("api", "db"), max_restarts=2)
    world.doom["api"] = (1.0, 1)
    play(world, (0, "db exits 1, api exits 1", "DEAD db", "start db"))
    world.advance(START + 7)
    world.pause("db")
    world.advance(START + 2000)
    assert not [line for line in world.done if line.startswith("Recovered")]
    world.doom.clear()
    world.unpause("db")
    world.advance(START + 2100)
    if world.find("api").status != "running":
        world.start("api")
    world.advance(START + 4000)
    assert [line for line in world.done if line.startswith("Recovered")]


def test_what_vanished_shows_nothing_of_another_container() -> None:
    """Neither the log of the one that was replaced, nor an exit code of one that never ran."""
    world = play(World("web", "db"), (0, "recreate web unstarted", "VANISHED web"), (HOUR, ""))
    assert (world.notices[0].logs, world.notices[0].exit_code) == ((), None)


# ─── Flapping is a service's own ──────────────────────────────────────────────────────────────────────────────


def test_a_root_does_not_inherit_the_flapping_of_what_it_takes_with_it() -> None:
    """api has failed twice for its own reasons within the hour; then db dies for the first time, and api with it."""
    world = World("db", child("api", "db"))
    play(world, (0, "api exits 1", "DEAD api", "start api", "Recovered api"),
         (700, "api exits 1", "DEAD api", "start api", "Recovered api"),
         (1400, "api exits 1", "DEAD api", "start api"),
         (1402, "db exits 1", "DEAD db", "Folded api", "start db", "Recovered db"), (1500, ""))
    assert not world.reds[4].flaps


def test_consequences_are_no_flaps() -> None:
    world = World("db", child("api", "db"))
    world.begin()
    for index in range(3):
        for name in ("db", "api"):
            world.happen(f"{name} exits 1")
        world.advance(START + 700 * (index + 1))
    assert [notice.flaps for notice in reds(world)] == [0, 0, 3]
    play(world, (6000, ""), (6001, "api exits 1", "DEAD api", "start api"), (6006, "", "Recovered api"))


def test_a_root_that_falls_while_another_story_is_open_is_a_new_message() -> None:
    """api had crash-looped and ran again, its proof not over; then db failed for its own reason."""
    world = World("db", child("api", "db"))
    world.doom["api"] = (1.0, 1)
    play(world, (0, "api exits 1", "DEAD api", "start api", "start api", "CRASH LOOP api"), (8, mend), (17, "", "start api"))
    world.advance(START + 25)
    assert world.phase("api") is Phase.PROVING
    play(world, (25, "db exits 1", "DEAD db", "Folded api", "start db"), (26, ""))


# ─── What is taken down while it is down ──────────────────────────────────────────────────────────────────────


def test_a_project_that_is_taken_down_while_it_is_down_is_no_new_red() -> None:
    """Found by a tester: the consequences of a root that was removed were told in red, just as they were removed, too; and
    the number of that red was given to the next one."""
    world = World("db", child("api", "db"), "other", max_restarts=0)
    play(world, (0, "db exits 1, api exits 1", "DEAD db exit 1"), (60, "rm db, rm api", "Stopped db", "Stopped api"),
         (300, "other exits 3", "DEAD other exit 3"), (HOUR, ""))
    assert next(red.plan for red in reds(world)) == "It was removed."
    assert world.notices[-1].incident not in [notice.incident for notice in world.notices[:-1]]


def test_what_is_judged_as_it_is_removed_takes_a_number_of_its_own() -> None:
    """Found by a tester: the next incident had the same one, and history showed only one of them."""
    world = World(service("tool", auto_remove=True), "web")

    def gone_at_once(_: World) -> None:
        world.exits("tool", 6)
        world.destroy("tool-1")

    play(world, (0, gone_at_once, "DEAD tool exit 6"), (60, "web exits 1", "DEAD web exit 1", "start web", "Recovered web"),
         (HOUR, ""))
    assert world.notices[0].incident != world.notices[1].incident
