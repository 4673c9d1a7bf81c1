"""Outages as they happen: stacks whose services live off each other, on a real engine, told in a strict fake Discord.

What counts is how the channel looks in the end, since a message is edited as its outage moves, and how many
requests that took. Where a test has to show that nothing happens, it lets a service that stands apart be stopped
and waits until Sentinel says so: what was not told by then never will be.

SENTINEL_TEST_FLEET  how many containers the fleet has whose engine is restarted (default 60)
SENTINEL_TEST_LONG   also wait for what takes minutes
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import sentinel
from support.docker import Engine, Project, wait
from support.engines import PrivateEngine
from support.fake_discord import FakeDiscord
from support.outages import BROKEN, DEPENDANTS, HANGS, NEEDS, SYNTAX_ERROR, Embed, Scene, chain
from support.sentinel import stack

MakeProject = Callable[[str], Project]
OwnEngine = Callable[..., tuple[PrivateEngine, Engine]]
MakeScene = Callable[..., Scene]

LONG = bool(os.environ.get("SENTINEL_TEST_LONG"))

#: Ten minutes of real deaths: on the newest engine alone, unless somebody has the time.
pytestmark = pytest.mark.skipif(not LONG and os.environ.get("SENTINEL_E2E_SUITE", "forky") != "forky",
                                reason="outages are played on the newest engine; SENTINEL_TEST_LONG=1 plays them on all")
FLEET = int(os.environ.get("SENTINEL_TEST_FLEET", "60"))
HOST = "harbour"
RESTART_TRUE = {"condition": "service_started", "restart": True}
#: Answers no probe as long as /state/slow is there.
SLOW_PROBE = {"test": "while [ -e /state/slow ]; do sleep 0.1; done", "interval": "500ms", "timeout": "300s"}


@pytest.fixture
def scene(engine: Engine, project: MakeProject, tmp_path: Path) -> Iterator[MakeScene]:
    """Makes the scene of a test: scene(compose.yaml, …, **settings), a project of each, with Sentinel watching."""
    with contextlib.ExitStack() as scenes:

        def make(*yaml_texts: str, **settings: str) -> Scene:
            made = [project(text) for text in yaml_texts]
            for one in made:
                one.up()
            discord = scenes.enter_context(FakeDiscord())
            folder = tmp_path / "sentinel"
            folder.mkdir()
            told = {"SENTINEL_HOST": HOST, **settings}
            return scenes.enter_context(Scene(engine, made, discord, discord.add_webhook(), folder, **told))

        yield make


@pytest.fixture
def own_scene(own_engine: OwnEngine, tmp_path: Path) -> Iterator[Callable[..., tuple[PrivateEngine, Scene]]]:
    """The same with one project, on an engine that may be stopped and killed."""
    with contextlib.ExitStack() as scenes:

        def make(yaml_text: str, live_restore: bool = False, **settings: str) -> tuple[PrivateEngine, Scene]:
            daemon, client = own_engine(live_restore=live_restore)
            made = scenes.enter_context(client.project(tmp_path, yaml_text))
            made.run("up", "--detach", timeout=600)
            discord = scenes.enter_context(FakeDiscord())
            folder = tmp_path / "sentinel"
            folder.mkdir()
            told = {"SENTINEL_HOST": HOST, **settings}
            return daemon, scenes.enter_context(Scene(client, [made], discord, discord.add_webhook(), folder, **told))

        yield make


# ---------------------------------------------------------------------------------------------------- the judgement


def command(it: Scene, *arguments: str) -> tuple[int, str, str]:
    """Another command of Sentinel, beside the running daemon and on its ledger."""
    done = sentinel.run(it.sentinel.folder, it.engine.host, *arguments, **{"SENTINEL_PROJECTS": it.project.name})
    return done.returncode, done.stdout, done.stderr


def wait_consequences(it: Scene, *services: str, timeout: float = 60.0) -> Embed:
    """Wait until genesis's red message has these as consequences, each with the chain down to genesis."""

    def told() -> bool:
        reds = [red for red in it.reds if red.title.endswith(f"] {it.name('genesis')}")]
        return bool(reds) and all(it.told_chain(reds[0], *path(service)) for service in services)

    it.until(f"{', '.join(services)} as consequences of genesis", told, timeout)
    return next(red for red in it.reds if red.title.endswith(f"] {it.name('genesis')}"))


def path(service: str) -> list[str]:
    """From a service down to what it needs in the end."""
    return [service, *path(NEEDS[service])] if NEEDS[service] else [service]


def check_story(it: Scene, edits: int, *others: str) -> tuple[Embed, Embed]:
    """One red, one green, of one incident, about genesis and all that died of it; else only these other titles, and the
    reds of what died before genesis did, which are grey by now."""
    it.until("the red one's last words", lambda: all("Recovered after" in red.prose for red in it.reds))
    (red,), (green,) = it.reds, it.greens
    assert re.fullmatch(rf"\[[A-Z ]+\] {it.name('genesis')}", red.title)
    assert SYNTAX_ERROR in red.log
    for service in DEPENDANTS:
        assert it.told_chain(red, *path(service)), f"{service} is no consequence in\n{red.text}"
        assert it.says(green, service), f"{service} is missing in\n{green.text}"
    assert green.title == f"Recovered: {it.name('genesis')}"
    assert red.incident and red.incident == green.incident
    assert not it.says(red, "ember") and not it.says(green, "ember")
    rest = [embed.title for embed in it.embeds if embed not in (red, green)]
    folded = {f"Folded: {it.name(service)}" for service in DEPENDANTS} & {*rest}
    assert [title for title in rest if title not in folded] == list(others)
    assert it.posts == 2 + len(others) + len(folded)
    assert it.patches <= edits
    print(f"### {it.posts} POSTs, {it.patches} PATCHes, {len(it.discord.requests)} requests in all")
    return red, green


# ------------------------------------------------------------------------------------ a root and all that dies of it


@pytest.mark.parametrize(
    ("policy", "patience", "lives"), [("no", 2.0, 0), ("unless-stopped", 2.0, 3), ("unless-stopped", 7.0, 4)],
    ids=["left-to-sentinel", "left-to-docker", "left-to-docker-and-slow-to-die"],
)  # fmt: skip
def test_a_cascade_is_one_red_with_its_root_and_one_green_when_all_is_back(
    scene: MakeScene, policy: str, patience: float, lives: int
) -> None:
    """Under Docker's policy the root lives a while before it fails: each death doubles the time that it has to prove."""
    if lives > 3 and not LONG:
        pytest.skip("a root that dies seven times has to prove itself for minutes; SENTINEL_TEST_LONG=1 waits, too")
    it = scene(chain(policy, patience))
    ember = it.started("ember")
    it.write("genesis", f"sleep {lives}; {BROKEN}")
    red = it.until_red("genesis")
    assert f"{it.name('genesis')} is DEAD — exit 1" in red.prose and SYNTAX_ERROR in red.log
    wait_consequences(it, *DEPENDANTS)
    it.fix("genesis")
    it.until_green("genesis", 900 if LONG else 240)
    assert it.running(*NEEDS), "green before all was back"
    assert it.started("ember") == ember
    if policy == "no":
        starts = it.starts("genesis", *DEPENDANTS)
        assert starts == sorted(starts), "not started in the order of their dependencies"
    it.settle("ember")
    check_story(it, 30, f"Stopped: {it.name('ember')}")


def test_a_root_that_gives_up_says_whom_it_takes_along_and_a_start_by_hand_brings_all_back(scene: MakeScene) -> None:
    it = scene(chain(), SENTINEL_MAX_RESTARTS="2")
    it.write("genesis", BROKEN)
    wait_consequences(it, *DEPENDANTS)
    red = it.until_red("genesis", verdict="GAVE UP", timeout=60)
    assert SYNTAX_ERROR in red.log
    assert all(it.told_chain(red, *path(service)) for service in DEPENDANTS)
    it.fix("genesis")
    it.engine.docker("start", it.name("genesis"))
    it.until_green("genesis", 120)
    assert it.running(*NEEDS)
    starts = it.starts("genesis", *DEPENDANTS)
    assert starts == sorted(starts)
    it.settle("ember")
    check_story(it, 20, f"Stopped: {it.name('ember')}")


def test_the_green_says_who_is_not_back(scene: MakeScene) -> None:
    it = scene(chain(flux={"labels": {"sentinel.max-restarts": "2"}}))
    it.write("genesis", BROKEN)
    wait_consequences(it, *DEPENDANTS)
    it.write("flux", "echo no such table >&2; exit 9")
    it.fix("genesis")
    it.until("flux given up", lambda: "GAVE UP" in it.told_chain(it.reds[0], "flux", "genesis"), 90)
    if not LONG:
        pytest.skip("the green waits minutes for those that are not back; SENTINEL_TEST_LONG=1 waits, too")
    green = it.until_green("genesis", 400)
    assert it.line(green, "flux", "ot back"), green.text
    assert len(it.greens) == 1


def test_dependants_of_a_service_wait_until_it_is_healthy_where_they_ask_for_that(scene: MakeScene) -> None:
    flux = {"depends_on": {"genesis": {"condition": "service_healthy"}}}
    it = scene(chain(genesis={"healthcheck": SLOW_PROBE}, flux=flux))
    it.write("genesis", BROKEN)
    wait_consequences(it, *DEPENDANTS)
    it.wait_down(*DEPENDANTS)
    it.shell("ember", "touch /state/slow")
    it.fix("genesis")
    wait(lambda: it.running("genesis"), 90, "genesis to run")
    before = it.starts(*DEPENDANTS)
    it.write("ember", "rm /state/ember.do; exit 3")
    it.until_green("ember")  # as long as a first proof takes
    assert it.state("genesis")["Health"]["Status"] == "starting" and it.starts(*DEPENDANTS) == before
    it.shell("ember", "rm /state/slow")
    it.until_green("genesis", 120)
    assert it.running(*NEEDS)
    starts = it.starts("genesis", *DEPENDANTS)
    assert starts == sorted(starts)


def test_the_red_of_what_died_before_its_root_points_to_the_roots_own_message(scene: MakeScene) -> None:
    it = scene(chain())
    it.write("genesis", HANGS)
    first = it.until_red("flux")
    it.wait_down("veil")
    it.shell("ember", "touch /state/die")
    wait_consequences(it, *DEPENDANTS)
    it.fix("genesis")
    it.until_green("genesis", 900 if LONG else 240)
    assert it.running(*NEEDS)
    it.settle("ember")
    red, _ = check_story(it, 30, f"Stopped: {it.name('ember')}")
    assert red.message.id != first.message.id, "a new root is a new message"
    assert f"Folded: {it.name('flux')}" in [embed.title for embed in it.greys]


def test_deaths_from_the_last_dependant_down_to_the_root_leave_one_red_and_one_green(scene: MakeScene) -> None:
    it = scene(chain(patience=60.0))  # nobody dies by itself
    for service in reversed(DEPENDANTS):
        it.write(service, "echo lost it >&2; exit 1")
        it.until_red(service)
    it.write("genesis", BROKEN)
    wait_consequences(it, *DEPENDANTS)
    for service in ("genesis", *DEPENDANTS):
        it.fix(service)
    it.until_green("genesis", 900 if LONG else 240)
    assert it.running(*NEEDS)
    it.settle("ember")
    check_story(it, 40, f"Stopped: {it.name('ember')}")


def test_two_that_were_told_apart_are_folded_when_what_both_need_turns_out_dead(scene: MakeScene) -> None:
    needs = {"depends_on": ["root"]}
    it = scene(stack(root={}, alpha=needs, beta=needs, clock={}))
    it.do("alpha", "exit 1")
    it.until_red("alpha")
    it.do("beta", "exit 1")
    it.until_red("beta")
    it.do("root", "echo no space left >&2; exit 7")
    red = it.until_red("root")
    both = ("alpha", "beta")
    it.until("both in the root's message", lambda: all(it.told_chain(it.reds[-1], name, "root") for name in both))
    it.until_green("root")
    it.settle()
    (red,), (green,) = it.reds, it.greens
    assert red.title == f"[DEAD] {it.name('root')}" and red.log == "no space left"
    assert red.incident == green.incident
    *folded, stopped = it.greys
    assert [embed.title for embed in folded] == [f"Folded: {it.name(name)}" for name in both]
    assert all(it.says(embed, "root") and red.incident in embed.text for embed in folded)
    assert stopped.title == f"Stopped: {it.name('clock')}"
    assert it.posts == 5


def test_ten_outages_at_once_and_one_death_apart_are_eleven_stories(scene: MakeScene) -> None:
    it = scene(*[chain() for _ in range(10)])
    loner = it.projects[4].container("ember")
    with ThreadPoolExecutor(4) as pool:
        broken = [pool.submit(it.write, "genesis", BROKEN, project) for project in it.projects]
        broken.insert(5, pool.submit(it.write, "ember", "rm /state/ember.do; echo alone >&2; exit 3", it.projects[4]))
        for done in broken:
            done.result()

    def red_of(project: Project) -> list[Embed]:
        return [red for red in it.reds if red.title.endswith(f"] {project.container('genesis')}")]

    def all_told() -> bool:
        return all(red_of(project) and all(it.told_chain(red_of(project)[0], *path(service), project=project)
                                           for service in DEPENDANTS) for project in it.projects)  # fmt: skip

    it.until("ten roots with their consequences", all_told, 120)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda project: it.fix("genesis", project), it.projects))
    roots = [project.container("genesis") for project in it.projects]
    it.until("eleven greens", lambda: len(it.greens) >= 11, 300)
    assert sorted(green.title for green in it.greens) == sorted(f"Recovered: {name}" for name in [*roots, loner])
    assert sorted(red.title.partition("] ")[2] for red in it.reds) == sorted([*roots, loner])
    assert len(it.embeds) == 22
    for red in it.reds:
        own = red.title.partition("] ")[2].rpartition("-genesis")[0]
        assert set(re.findall(r"st[0-9a-f]{10}", red.text)) <= {own or loner.rpartition("-ember")[0]}
        assert loner not in red.text or red.title == f"[DEAD] {loner}"
    for project in it.projects:
        assert all(it.engine.state(project.container(service))["Running"] for service in NEEDS)
    print(f"### {it.posts} POSTs, {it.patches} PATCHes, {len(it.discord.requests)} requests in all")
    assert it.posts <= 22
    assert it.patches <= 120


# ----------------------------------------------------------------------------------- Sentinel itself killed half-way


def test_an_outage_goes_on_in_the_same_message_when_sentinel_is_killed_half_way(scene: MakeScene) -> None:
    it = scene(chain(patience=3.0))
    it.write("genesis", BROKEN)
    first = wait_consequences(it, "flux")
    it.kill_sentinel()
    it.wait_down(*DEPENDANTS)
    it.start_sentinel()
    second = wait_consequences(it, *DEPENDANTS)
    assert second.message.id == first.message.id and second.incident == first.incident
    it.kill_sentinel()
    it.fix("genesis")
    it.start_sentinel()
    green = it.until_green("genesis", 240)
    assert green.incident == first.incident
    assert it.running(*NEEDS)
    it.settle("ember")
    check_story(it, 30, f"Stopped: {it.name('ember')}")


def test_an_outage_that_ended_while_sentinel_was_away_has_its_green_and_no_second_red(scene: MakeScene) -> None:
    it = scene(chain())
    it.write("genesis", BROKEN)
    first = wait_consequences(it, *DEPENDANTS)
    it.kill_sentinel()
    it.fix("genesis")
    for service in ("genesis", *DEPENDANTS):
        it.engine.docker("start", it.name(service))
    it.start_sentinel()
    green = it.until_green("genesis", 180)
    assert green.incident == first.incident
    it.settle("ember")
    check_story(it, 20, f"Stopped: {it.name('ember')}")


# ---------------------------------------------------------------------- on another's network, and restarted with it

ON_VPN: dict[str, Any] = {"network_mode": "service:vpn"}


def vpn() -> str:
    return stack(vpn={}, alpha=ON_VPN, beta=ON_VPN, clock={})


def test_what_shares_a_dead_containers_network_is_restarted_after_it(scene: MakeScene) -> None:
    it = scene(vpn())
    before = {service: it.started(service) for service in ("vpn", "alpha", "beta")}
    it.do("vpn", "echo tunnel lost >&2; exit 4")
    for service, since in before.items():
        it.runs_again(service, since)
    it.until_green("vpn", 30)
    assert min(it.starts("alpha", "beta")) > it.started("vpn")
    it.settle()
    (red,), (green,) = it.reds, it.greens
    assert red.title == f"[DEAD] {it.name('vpn')}" and red.log == "tunnel lost"
    for service in ("alpha", "beta"):
        assert "restarted with it" in it.line(red, service) + it.line(green, service)
    assert it.posts == 3 and red.incident == green.incident


def test_what_shares_a_network_is_restarted_after_an_operators_restart_and_that_is_no_alarm(scene: MakeScene) -> None:
    it = scene(vpn())
    before = {service: it.started(service) for service in ("vpn", "alpha", "beta")}
    it.engine.docker("restart", it.name("vpn"))
    for service, since in before.items():
        it.runs_again(service, since)
    assert min(it.starts("alpha", "beta")) > it.started("vpn")
    after = it.starts("vpn", "alpha", "beta")
    it.until("a grey message", lambda: it.greys)
    it.settle()
    assert not it.reds and not it.greens
    assert all(embed.title.startswith("Restarted: ") for embed in it.greys[:-1])
    assert all(it.has(service) for service in ("alpha", "beta"))
    assert it.posts <= 2, "one for the restart, one for the clock"
    assert it.starts("vpn", "alpha", "beta") == after, "restarted again and again"


def test_what_shares_the_network_of_a_recreated_container_is_orphaned_and_left_alone(scene: MakeScene) -> None:
    it = scene(vpn())
    before = it.starts("alpha", "beta")
    it.project.up("--no-deps", "--force-recreate", "vpn")
    it.until("both orphans", lambda: all(any("ORPHANED" in red.title + it.line(red, name) for red in it.reds
                                             if it.says(red, name)) for name in ("alpha", "beta")))  # fmt: skip
    for red in it.reds:
        assert re.search(r"docker compose .*up -d .*(alpha|beta)", red.prose), red.text
    it.engine.docker("stop", it.name("clock"))
    it.grey("clock")
    assert it.starts("alpha", "beta") == before and it.running("alpha", "beta"), "a restart would leave it down"
    assert not it.greens
    assert it.posts <= 3, "one for the orphans (at most one each), one for the clock"
    it.project.up("--no-deps", "--force-recreate", "alpha", "beta")
    both = ("alpha", "beta")
    it.until("green for both", lambda: all(any(it.says(green, name) for green in it.greens) for name in both), 30)
    assert it.incidents(*it.reds) == it.incidents(*it.greens)
    fixed = it.starts("vpn", "alpha", "beta")
    it.do("vpn", "exit 1")  # the record goes on under the new ids
    it.until_red("vpn")
    wait(lambda: all(now > then for now, then in zip(it.starts("alpha", "beta"), fixed[1:], strict=True)), 30, "restarts")


def test_a_network_parent_that_is_recreated_in_its_own_outage_has_its_orphans_in_the_same_message(
    scene: MakeScene,
) -> None:
    it = scene(vpn(), SENTINEL_MAX_RESTARTS="1")
    it.project.write(stack(vpn={"runs": "echo bad key >&2; exit 5"}, alpha=ON_VPN, beta=ON_VPN, clock={}))
    before = it.starts("alpha", "beta")
    it.project.up("--no-deps", "vpn")
    red = it.until_red("vpn", verdict="GAVE UP")
    it.project.write(vpn())
    it.project.up("--no-deps", "vpn")
    it.until("the orphans in it", lambda: all(it.line(it.reds[0], name, "ORPHANED") for name in ("alpha", "beta")), 30)
    assert it.starts("alpha", "beta") == before and it.running("alpha", "beta")
    it.project.up("--no-deps", "--force-recreate", "alpha", "beta")
    it.until_green("vpn", 60)
    it.settle()
    assert [embed.message.id for embed in it.reds] == [red.message.id]
    assert len(it.greens) == 1 and it.posts == 3


def test_dependants_that_ask_for_it_are_restarted_with_what_they_need(scene: MakeScene) -> None:
    it = scene(stack(db={}, web={"depends_on": {"db": RESTART_TRUE}}, plain={"depends_on": ["db"]}, clock={}))
    web, plain = it.starts("web", "plain")
    it.do("db", "exit 1")
    it.runs_again("web", web)
    it.until_green("db", 30)
    assert it.started("web") > it.started("db") and it.started("plain") == plain
    it.settle()
    (red,), (green,) = it.reds, it.greens
    assert "restarted with it" in it.line(red, "web") + it.line(green, "web")
    assert it.posts == 3 and red.title == f"[DEAD] {it.name('db')}"


# ------------------------------------------------------------------------------------------ many, and the engine gone

KEEPS = "trap 'exit 0' TERM; sleep 100000 & wait"


def fleet() -> str:
    """A third is left to Sentinel; Docker brings a third back unless the engine was killed, and a third always."""
    policies = {"plain": "no", "unless": "unless-stopped", "always": "always"}
    return stack(**{name: {"runs": KEEPS, "restart": policy, "scale": FLEET // 3} for name, policy in policies.items()})


def up_again(it: Scene, starts_before: dict[str, str]) -> bool:
    now = all_starts(it)
    return len(now) == len(starts_before) and all(now[name] > starts_before[name] for name in now)


def all_starts(it: Scene) -> dict[str, str]:
    """When each running container of the project was started."""
    form = "{{.Name}} {{.State.Running}} {{.State.StartedAt}}"
    lines = it.engine.docker("container", "inspect", "--format", form, *it.project.ids()).splitlines()
    return {name: moment for name, running, moment in map(str.split, lines) if running == "true"}


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("long", [True, False], ids=["long", "short"])
def test_an_engine_that_goes_and_comes_back_is_at_most_three_messages_however_many_containers(
    own_scene: Callable[..., tuple[PrivateEngine, Scene]], killed: bool, long: bool
) -> None:
    daemon, it = own_scene(fleet(), SENTINEL_SETTLE="30s")  # as by default: an engine takes 5 s to end after the last stop
    before = all_starts(it)
    assert len(before) == FLEET // 3 * 3
    if killed:
        daemon.kill()
    else:
        daemon.stop(timeout=180)
    if long:
        it.until("the engine's red", lambda: [red for red in it.reds if red.title == f"[ENGINE DOWN] {HOST}"], 30)
    daemon.start(timeout=300)
    wait(lambda: up_again(it, before), 60 + FLEET, "all containers to run again")
    it.until("one green", lambda: it.greens, 120)
    assert len(all_starts(it)) == len(before), "green before all was back"
    told = it.posts
    extra = it.name("always-1")
    it.engine.docker("stop", extra)
    it.until("the grey one", lambda: [grey for grey in it.greys if extra in grey.text], 60)
    print(f"### {told} POSTs, {it.patches} PATCHes, {len(it.discord.requests)} requests in all")
    (red,), (green,) = it.reds, it.greens
    assert red.incident == green.incident
    if long:
        assert (red.title, green.title) == (f"[ENGINE DOWN] {HOST}", f"Recovered: {HOST}")
    assert it.posts - 1 <= 3, "more than three messages"
    assert it.patches <= 30


def test_what_a_killed_engine_did_not_bring_back_is_started_in_order(
    own_scene: Callable[..., tuple[PrivateEngine, Scene]],
) -> None:
    daemon, it = own_scene(chain("unless-stopped", patience=30.0), SENTINEL_SETTLE="30s")
    before = all_starts(it)
    daemon.kill()
    daemon.start()
    wait(lambda: up_again(it, before), 120, "all containers to run again")
    starts = it.starts("genesis", *DEPENDANTS)
    assert starts == sorted(starts), "not started in the order of their dependencies"
    it.until("one green", lambda: it.greens, 60)
    (red,) = it.reds
    assert all(it.says(red, service) for service in NEEDS)
    assert it.posts == 2


def test_what_docker_undid_while_it_was_away_is_named_at_its_return(
    own_scene: Callable[..., tuple[PrivateEngine, Scene]],
) -> None:
    """live-restore: containers run on, and one that dies meanwhile is restarted without a `die`."""
    daemon, it = own_scene(stack(web={"restart": "always"}, db={"restart": "always"}), live_restore=True)
    web, pid = it.name("web"), it.engine.host_pid(it.name("web"))
    before, untouched = it.started("web"), it.started("db")
    daemon.kill()
    os.kill(pid, signal.SIGKILL)
    it.until("the engine's red", lambda: [red for red in it.reds if red.title == f"[ENGINE DOWN] {HOST}"], 30)
    daemon.start()
    it.runs_again("web", before)
    it.until("one green", lambda: it.greens, 60)
    (red,), (green,) = it.reds, it.greens
    assert f"Died meanwhile:** {web}; restarted by Docker" in green.text and it.name("db") not in green.text
    assert it.started("db") == untouched and red.incident == green.incident


# ------------------------------------------------------------------------------------------------ mutes and windows


def test_a_muted_project_is_neither_told_nor_touched_and_its_end_is_one_message_with_what_changed(
    scene: MakeScene,
) -> None:
    it = scene(stack(db={}, web={}, cache={}, pruned={}, steady={}), SENTINEL_SETTLE="1s")
    before = {service: it.started(service) for service in ("db", "web", "cache", "steady")}
    muted = it.discord.clock()
    assert command(it, "mute", it.project.name, "15s")[0] == 0
    it.engine.docker("stop", it.name("db"))
    it.engine.docker("kill", it.name("web"))
    it.engine.docker("rm", "--force", it.name("pruned"))
    it.engine.docker("restart", it.name("cache"))
    it.until("the end of the mute", lambda: it.embeds, 40)
    assert it.state("db")["Running"] is False, "touched while it was muted"
    (first,) = it.embeds
    assert first.title.startswith("[STILL DOWN]")
    assert first.message.time - muted >= 14.5
    assert all(it.says(first, service) for service in ("db", "web", "pruned"))
    assert not any(it.says(first, service) for service in ("cache", "steady"))
    it.do("steady", "exit 3")  # told, and healed: the mute is over
    it.until_green("steady")
    assert it.started("cache") > before["cache"] and it.running("cache", "steady")
    others = [embed.title for embed in it.embeds if not it.says(embed, "steady") and embed != first]
    print("### after the mute:", others, it.running("db"), it.running("web"))
    assert it.started("db") == before["db"], "a stop is never undone"


def test_an_unmute_is_effective_at_once(scene: MakeScene) -> None:
    it = scene(stack(web={}, second={}, clock={}), SENTINEL_SETTLE="1s")
    web = it.started("web")
    assert command(it, "mute", "all", "1h")[0] == 0
    it.do("web", "exit 3")
    wait(lambda: not it.running("web"), 10, "the death")
    it.engine.docker("restart", it.name("second"))
    assert not it.embeds and it.started("web") == web
    assert command(it, "unmute", "all")[0] == 0
    it.until("what changed", lambda: it.has("web"))
    assert not it.has("second")
    it.settle()
    titles = [embed.title for embed in it.embeds]
    assert titles[0].startswith("[STILL DOWN]")


def test_a_mute_in_which_nothing_changed_in_the_end_is_not_worth_a_message(scene: MakeScene) -> None:
    it = scene(stack(web={}, clock={}), SENTINEL_SETTLE="1s")
    name, before = it.name("web"), it.started("web")
    assert command(it, "mute", name, "1h")[0] == 0
    it.do("web", "exit 3")
    wait(lambda: not it.running("web"), 10, "the death")
    it.settle()  # others are not muted
    assert it.started("web") == before and not it.has("web")
    it.engine.docker("start", name)
    assert command(it, "unmute", name)[0] == 0
    it.engine.docker("start", it.name("clock"))
    wait(lambda: it.running("clock"), 10, "the clock")
    before = it.started("web")
    it.do("web", "exit 3")  # told and healed again
    red = it.until_red("web")
    it.runs_again("web", before)
    assert [embed.title for embed in it.embeds if embed != red][:1] == [f"Stopped: {it.name('clock')}"]
    assert len(it.has("web")) <= 2


def test_a_mute_outlives_sentinel_and_one_for_nobody_is_an_error(scene: MakeScene) -> None:
    it = scene(stack(web={}, clock={}), SENTINEL_SETTLE="1s")
    code, _, said = command(it, "mute", "nobody", "5m")
    assert code == 1 and "nobody" in said and len(said.strip().splitlines()) == 1
    assert command(it, "mute", it.name("web"), "1h")[0] == 0
    it.kill_sentinel()
    before = it.started("web")
    it.do("web", "exit 3")
    wait(lambda: not it.running("web"), 10, "the death")
    it.start_sentinel()
    it.settle()
    assert it.started("web") == before and not it.has("web")


def test_a_window_by_label_is_a_mute(scene: MakeScene) -> None:
    now = datetime.now(UTC)
    end = (now + timedelta(seconds=120)).replace(second=0, microsecond=0)
    window = f"{now - timedelta(minutes=5):%H:%M}-{end:%H:%M}"
    it = scene(stack(web={"labels": {"sentinel.quiet": window}}, clock={}), SENTINEL_SETTLE="1s", TZ="UTC")
    before = it.started("web")
    it.do("web", "exit 3")
    wait(lambda: not it.running("web"), 10, "the death")
    it.settle()
    assert not it.has("web") and it.started("web") == before and datetime.now(UTC) < end
    it.until("the end of the window", lambda: it.has("web"), 150)
    assert it.has("web")[0].message.wall >= end.timestamp() - 0.5


# --------------------------------------------------------------------------- reminders, flapping, and what is asked


def test_what_is_still_down_is_recalled_in_one_message(scene: MakeScene) -> None:
    it = scene(stack(alpha={}, beta={}, intact={}), SENTINEL_REMIND="6s", SENTINEL_RESTART="false")
    it.do("alpha", "exit 1")
    it.do("beta", "exit 2")
    it.until("a reminder", lambda: [red for red in it.reds if red.title.startswith("[STILL DOWN]")], 30)
    first = next(red for red in it.reds if red.title.startswith("[STILL DOWN]"))
    assert it.says(first, "alpha") and it.says(first, "beta") and not it.says(first, "intact")

    def reminded() -> list[Embed]:
        return [red for red in it.reds if red.title.startswith("[STILL DOWN]")]

    it.until("the next one", lambda: len(reminded()) > 1)
    assert reminded()[1].message.time - first.message.time >= 5.0, "not one for all"
    it.engine.docker("start", it.name("alpha"), it.name("beta"))
    it.until_green("alpha")
    it.until_green("beta")


def test_no_reminder_where_none_is_wanted(scene: MakeScene) -> None:
    it = scene(stack(alpha={}, clock={}), SENTINEL_REMIND="0", SENTINEL_RESTART="false")
    it.do("alpha", "exit 1")
    it.until_red("alpha")
    it.settle()
    assert [red.title for red in it.reds] == [f"[DEAD] {it.name('alpha')}"]


def test_a_service_that_fails_over_and_over_is_one_incident_that_says_so(scene: MakeScene) -> None:
    it = scene(stack(web={}, clock={}))
    for number in (1, 2):
        it.do("web", "exit 1")
        it.until("a green", lambda number=number: len(it.greens) == number, 40)
    before = it.started("web")
    it.do("web", "exit 1")
    it.until("a red that says so", lambda: any("lapping" in red.title + red.prose for red in it.reds))
    it.runs_again("web", before)
    before = it.started("web")
    it.do("web", "exit 1")
    it.runs_again("web", before, timeout=60)
    it.settle()
    assert len(it.reds) == 3 and len(it.greens) == 2


def test_the_start_is_one_blue_message_with_what_is_watched_and_what_is_down(scene: MakeScene) -> None:
    it = scene(stack(web={}, broken={"runs": "exit 3"}, clock={}), stack(second={}), SENTINEL_GREET="true")
    it.until("a greeting", lambda: it.blues)
    (blue,) = it.blues
    assert blue.title == f"Watching: {HOST}"
    assert it.says(blue, "broken") and not it.says(blue, "web")
    assert "webhook" in blue.text.lower()
    assert re.search(r"\b4\b", blue.text) and re.search(r"\b2\b", blue.text)
    it.settle()
    assert len(it.blues) == 1


def test_explain_says_what_depends_on_what_and_what_would_be_done(scene: MakeScene) -> None:
    it = scene(chain(ember={"labels": {"sentinel.job": "true"}}))
    code, text, said = command(it, "explain")
    assert code == 0, said
    assert all(it.name(service) in text for service in NEEDS)
    code, text, said = command(it, "explain", it.name("pulse"))
    assert code == 0 and it.name("pulse") in text and "flux" in text and it.name("ember") not in text
    assert command(it, "mute", it.name("pulse"), "1h")[0] == 0
    assert "mute" in command(it, "explain", it.name("pulse"))[1].lower()
    assert "job" in command(it, "explain", it.name("ember"))[1].lower()


def test_a_red_that_was_deleted_is_told_anew_and_the_green_still_comes(scene: MakeScene) -> None:
    it = scene(chain())
    it.refusals = 1
    it.write("genesis", BROKEN)
    it.until_red("genesis").message.deleted = True
    it.until("an edit that was refused", lambda: it.discord.refused, 30)
    it.wait_down(*DEPENDANTS)
    it.fix("genesis")
    it.until_green("genesis", 900 if LONG else 240)
    edits = [request for request in it.discord.requests if request.method == "PATCH"]
    assert [request.status for request in edits].count(404) == 1, "the message that is gone is left alone"
    reds = [message for message in it.discord.messages if "[DEAD] " in str(message.embeds) or "LOOP" in str(message.embeds)]
    assert len(reds) >= 2 and not reds[-1].deleted


def test_an_outage_is_one_entry_of_the_history(scene: MakeScene) -> None:
    it = scene(chain())
    it.write("genesis", BROKEN)
    wait_consequences(it, *DEPENDANTS)
    it.fix("genesis")
    green = it.until_green("genesis", 240)
    code, text, _ = command(it, "history", "--json")
    print(text)
    entries = json.loads(text)
    assert code == 0
    roots = [entry for entry in entries if it.name("genesis") in json.dumps(entry.get("name", ""))]
    assert len(roots) == 1 and str(roots[0]["incident"]) == green.incident
