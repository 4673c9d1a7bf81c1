"""Services: who is who, who is watched, and who needs whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support import insides
from support.cast import (
    DAY,
    HOUR,
    JOB,
    ONE,
    WAITS_FOR_JOB,
    chains,
    check_peace,
    child,
    greens,
    last_plan,
    lodger,
    mend,
    reds,
)
from support.scenario import EPOCH, START, World, play, service

import sentinel
from sentinel import EngineKind, Verdict

# ─── Who is who ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_service_keeps_its_record_when_its_container_is_replaced() -> None:
    world = World("web", **ONE)
    world.doom["web"] = (1.0, 1)
    play(world, (0, "web exits 1", "DEAD web", "start web"), (1, "", "GAVE UP web"))
    world.doom.clear()
    play(world, (60, "recreate web", "Recovered web"), (HOUR, ""))
    assert world.notices[-1].incident == 1


BARE = replace(service("web"), labels={})  # `docker run --name web`


def test_what_is_renamed_and_what_takes_its_name_are_both_watched_though_no_event_tells_it() -> None:
    """Found by a reading of the code: what had been renamed was never watched again."""
    world = World(BARE, watch="all")
    play(world, (0, ""))
    world.happen("stream refused")
    world.rename("web", "web-old")
    world.advance(START + 1)
    world.compose_up("web")
    world.happen("stream allowed")
    world.advance(START + 100)
    assert sorted(watched.container.name for watched in world.watchdog.services.values()) == ["web", "web-old"]
    play(world, (100, "web-old exits 3", "DEAD web-old exit 3", "start web", "Recovered web-old"),
         (200, "web exits 4", "DEAD web exit 4", "start web", "Recovered web"), (HOUR, ""))


@pytest.mark.parametrize("later", [True, False], ids=["made later", "there from the start"])
def test_a_copy_that_has_the_labels_of_a_service_is_watched_beside_it(later: bool) -> None:
    """`docker commit` copies labels; two containers that live never share a key."""
    copy = replace(service("web"), id="copy-1", name="web-copy")
    world = World("web", "db", *([] if later else [copy]))
    play(world, (0, ""))
    if later:
        world.containers[copy.id] = replace(copy, status="created", started_time=0.0)
        world.event("create", copy.id)
        world.run(copy.id)
    play(world, (60, "web-copy exits 3", "DEAD web-copy exit 3", "start copy", "Recovered web-copy"),
         (120, "web exits 4", "DEAD web exit 4", "start web", "Recovered web"), (HOUR, ""))
    assert sorted(watched.container.name for watched in world.watchdog.services.values()) == ["db", "web", "web-copy"]


BY_IMAGE = {"com.docker.compose.image": "sha256:db"}
REAL = replace(service("db", labels=BY_IMAGE), name="the-db", image="sha256:db")  # by its `container_name`
NUMBERED = replace(service("db"), name="shop-db-1")  # as older versions of compose made it
COPY = replace(REAL, id="copy-1", name="debug", image="sha256:snap")  # `docker commit the-db snap; docker run snap`
ORDERS = pytest.mark.parametrize("order", [1, -1], ids=["the real one first", "the copy first"])


@ORDERS
@pytest.mark.parametrize("real", [REAL, NUMBERED], ids=["by its image", "by its name"])
def test_a_copy_of_a_compose_container_is_as_bare_as_docker_run_made_it(real: sentinel.Container, order: int) -> None:
    play(World(*[real, COPY][::order], child("web", "db")), (0, "debug exits 1"),
         (60, f"{real.name} exits 3", f"DEAD {real.name} exit 3", "start db", f"Recovered {real.name}"), (HOUR, ""))


@ORDERS
def test_a_copy_that_is_watched_is_no_replica_of_the_real_one(order: int) -> None:
    """Seen: each was told with `--scale=db=2`, which would have made a second of the real one."""
    world = World(*[REAL, COPY][::order], watch="all")
    play(world, (0, "debug exits 1", "DEAD debug exit 1", "start copy", "Recovered debug"),
         (60, "the-db exits 3", "DEAD the-db exit 3", "start db", "Recovered the-db"),
         (120, ""))
    for red in reds(world):
        assert sentinel.recovery_commands(red.container, red.recreate, red.scale) == (f"docker start {red.name}",)
        assert red.scale <= 1


def test_a_copy_that_outlives_the_real_one_does_not_take_its_place() -> None:
    world = World(REAL)

    def run_copy(_: World) -> None:
        world.containers[COPY.id] = replace(COPY, status="created", started_time=0.0)
        world.event("create", COPY.id)
        world.run(COPY.id)

    def run_real(_: World) -> None:
        world.run(world.create("the-db", like=REAL).id)

    play(world, (0, "remove the-db"), (30, run_copy, "Stopped the-db"), (40, "debug exits 2"), (60, run_real),
         (120, "debug exits 1"), (180, "the-db exits 3", "DEAD the-db exit 3", "start the-db", "Recovered the-db"),
         (HOUR, ""))


def test_explain_says_why_a_copy_is_not_watched() -> None:
    settings = sentinel.Settings()
    watchdog = sentinel.Watchdog(settings)
    watchdog.roster.adopt_all([COPY, REAL], START)
    assert [known.container.name for known in watchdog.services.values()] == ["the-db"]
    why = sentinel.explained(COPY, watchdog, settings, START)[1]
    assert why.endswith("no: compose's labels on it are another container's")


def test_a_recreate_that_breaks_after_the_rename_is_no_stop() -> None:
    """compose 1.29 on an engine of today: it stops and renames the old container, and breaks before it makes the new one."""
    world = World("web", "db")

    def set_aside(_: World) -> None:
        container = world.find("web")
        world.stop("web", lambda: world.rename("web", f"0123456789ab_{container.name}"))

    play(world, (0, set_aside), (30, "", "VANISHED web"), (HOUR, ""),
         (HOUR * 2, "start 0123456789ab_web", "Recovered web"), (HOUR * 3, ""))


# ─── What is watched ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_service_added_while_sentinel_runs_is_covered_from_its_start() -> None:
    play(World("web"), (0, "compose_up new"), (0.4, "new exits 1", "DEAD new exit 1", "start new"))


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


def test_labels_set_the_settle_time_and_who_is_pinged() -> None:
    world = World(service("web", labels={"sentinel.settle": "5s", "sentinel.mention": "@here"}), "db", mention="<@&77777>")
    play(world, (0, "stop web"), (5, "", "Stopped web"), (10, "start web"), (20, "web exits 1, db exits 1",
         "DEAD web", "start web", "DEAD db", "start db"))
    assert [notice.mention for notice in world.notices[1:]] == ["@here", "<@&77777>"]


# ─── What is nobody's business ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("labels", "podman", "looked"), [
    ({}, False, False), ({"maintainer": "me"}, False, False), ({}, True, True), ({"sentinel.watch": "maybe"}, False, True),
    ({"com.docker.compose.project": "shop", "com.docker.compose.oneoff": "False"}, False, True)])
def test_a_container_that_nobody_watches_is_not_asked_about(labels: dict[str, str], podman: bool, looked: bool) -> None:
    """A machine that runs a job a second would be asked about each: its labels are in its own events."""
    world = World("web")
    world.begin()
    watchdog = world.watchdog
    insides.introduce(watchdog, kind=EngineKind.PODMAN if podman else EngineKind.DOCKER)
    attributes = {"image": "busybox", "name": "job", **labels}
    nano = round((world.stamp() + 1) * 1e9)
    actions = [action for word in ("create", "start") for action in watchdog.observe(
        sentinel.Heard(word, "j" * 64, nano + len(word), attributes), world.now)]
    assert (sentinel.Look("j" * 64) in actions) is looked
    watchdog.observe(sentinel.Heard("destroy", "j" * 64, nano + 9, attributes), world.now)
    if looked:
        watchdog.observe(sentinel.Looked("j" * 64, None), world.now)
    assert not any("j" * 64 in known for known in insides.known_containers(watchdog).values())


def test_an_event_without_labels_is_asked_about() -> None:
    world = World("web")
    world.begin()
    heard = sentinel.Heard("create", "j" * 64, round((world.stamp() + 1) * 1e9), {})
    assert sentinel.Look("j" * 64) in world.watchdog.observe(heard, world.now)


# ─── Who is a job ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_service_that_is_no_job_by_its_label_is_none_though_a_sibling_waits_for_it() -> None:
    play(World(service("job", labels={"sentinel.job": "false"}), service("web", labels=WAITS_FOR_JOB)),
         (0, "job exits 2", "DEAD job exit 2", "start job"))


def test_a_sibling_of_another_project_makes_no_job() -> None:
    play(World(service("job"), service("web", project="other", labels=WAITS_FOR_JOB)),
         (0, "job exits 2", "DEAD job exit 2", "start job"))


# ─── Who needs whom ───────────────────────────────────────────────────────────────────────────────────────────


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


def test_a_job_that_has_finished_holds_nothing() -> None:
    play(World(service("migrate", labels=JOB), child("api", "migrate")), (0, "migrate exits 0"),
         (10, "api exits 1", "DEAD api", "start api"), (15, "", "Recovered api"))


def test_a_one_off_of_what_it_depends_on_holds_nothing() -> None:
    oneoff = replace(service("shop-db-run"), labels=service("db").labels | {
        "com.docker.compose.oneoff": "True", "com.docker.compose.container-number": ""})
    play(World("db", oneoff, child("api", "db")), (0, "shop-db-run exits 0"),
         (10, "api exits 1", "DEAD api", "start api"), (15, "", "Recovered api"))


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


def test_what_takes_sentinels_own_place_is_no_service() -> None:
    """compose makes the new one beside it, under its labels, and starts it once the old one is gone."""
    world = World(service("sentinel"), "web", me="sentinel-1")
    world.begin()
    world.create("sentinel", like=world.find("sentinel"), named="0123456789ab_sentinel")
    world.advance(START + 60)
    assert list(world.watchdog.services) == ["shop/web/1"] and world.done == []


def test_sentinels_own_container_is_no_service_though_the_ledger_says_so() -> None:
    world = World(service("sentinel"), "web")
    world.begin()
    world.advance(START + 1)
    assert "shop/sentinel/1" in world.watchdog.services
    world.me = "sentinel-1"
    world.advance(START + 60)
    assert list(world.watchdog.services) == ["shop/web/1"] and world.done == []


def test_an_earlier_task_of_sentinels_own_is_no_service_whichever_is_seen_first() -> None:
    def task(number: int) -> sentinel.Container:
        name = f"sentinel.node.{number}"
        labels = {"com.docker.swarm.service.name": "sentinel", "com.docker.swarm.task.name": name}
        return sentinel.Container(f"{number}" * 64, name, labels, status="exited")

    for first, second in ((1, 2), (2, 1)):
        watchdog = sentinel.Watchdog(sentinel.Settings(watch="all"))
        watchdog.link.introduce(task(2).id, sentinel.EngineKind.DOCKER, False)
        watchdog.roster.adopt_all([task(first), task(second)], 1.0)
        assert not watchdog.services
