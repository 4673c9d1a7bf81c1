"""A real Swarm of three nodes on this machine: one Sentinel a node by the stack file, which watch each other in a channel.

The scene is played once: a task dies in its place, a node is drained, a node is lost and comes back, a task dies and is
replaced elsewhere. Each test looks at one side of it. The nodes are network namespaces (see support/nodes.py), so that no
other test is disturbed; the tasks have their node's network, since overlay networks want more of the kernel.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import docker, engines, nodes
from support import image as images
from support.fake_discord import Channel, FakeDiscord
from support.sentinel import LIVES, do, title_of

SUITE = "forky"
NAMES = MANAGER, DRAINED, LOST = "web-1", "web-2", "db-1"
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GaBcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"
FLEET = "sentinel-fleet"
SERVICE = "shop_web"
HOST_NETWORK = {"host": {"external": True, "name": "host"}}
DARK_WITHIN = 330.0

Told = tuple[str, str]  # a title, and whose Sentinel has told it


class Swarm:
    """Three nodes, Discord as they see it, and what both say."""

    def __init__(self, made: list[nodes.Node], discord: FakeDiscord, alerts: Channel, folder: Path) -> None:
        self.nodes = {node.name: node for node in made}
        self.discord, self.alerts, self.folder = discord, alerts, folder
        self.manager = self.nodes[MANAGER].engine
        self.clocks: set[str] = set()

    # What is done

    def deploy(self, name: str, *files: Path | dict[str, object], **variables: str) -> None:
        """docker stack deploy of these files."""
        options: list[str] = []
        for number, file in enumerate(files):
            path = self.folder / f"{name}-{number}.yaml"
            path.write_text(file.read_text(encoding="utf-8") if isinstance(file, Path) else json.dumps(file, indent=1))
            options += ["--compose-file", str(path)]
        told = docker.Engine(self.manager.host, environ={**self.manager.env, **variables})
        # The images are here and nowhere else, so their digests can't be asked for.
        told.docker("stack", "deploy", "--detach=true", "--resolve-image", "never", *options, name)

    def availability(self, word: str, *names: str) -> None:
        """What may run on these nodes: active, pause (nothing new), drain (nothing)."""
        for name in names:
            self.manager.docker("node", "update", "--availability", word, name)

    def settle(self, *names: str) -> None:
        """Let the settle time pass on these nodes, and show that it has: a service is stopped now, and each says so.

        Whatever happened before this would have been told before that, so what was not told never will be.
        """
        clocks: list[str] = []
        for name in names:
            clock, engine = f"clock-{uuid.uuid4().hex[:8]}", self.nodes[name].engine
            self.clocks.add(f"Stopped: {clock}")
            engine.docker("run", "--detach", "--name", clock, "--network", "none", "--label", "sentinel.watch=true",
                          docker.IMAGE, "sh", "-c", LIVES)  # fmt: skip
            self.wait_watched(name, clock)
            engine.docker("stop", clock)
            clocks.append(clock)
        for clock in clocks:
            self.wait_told(f"Stopped: {clock}", 90)

    # What there is to see

    def slots(self, name: str) -> dict[int, str]:
        """The slots that run on a node, and their containers."""
        names = self.nodes[name].engine.docker("ps", "--format", "{{.Names}}", "--filter", f"name={SERVICE}.").split()
        return {int(container.split(".")[1]): container for container in names}

    def runs_on(self, slot: int, *names: str) -> str:
        """Wait until a slot runs on one of these nodes: which one."""

        def found() -> str:
            return next((name for name in names if slot in self.slots(name)), "")

        return docker.wait(found, 90, f"slot {slot} to run on {' or '.join(names)}")

    def sentinels(self) -> str:
        """Sentinel's service as the Swarm lists it."""
        form = "{{.Mode}} {{.Replicas}}"
        return self.manager.docker("service", "ls", "--filter", "name=sentinel_sentinel", "--format", form)

    def log(self, name: str) -> str:
        """What a node's Sentinels have said, the earlier first."""
        engine = self.nodes[name].engine
        tasks = engine.docker("ps", "--all", "--quiet", "--filter", "name=sentinel_sentinel.").split()
        return "".join(engine.log_of(task) for task in reversed(tasks))

    def wait_watched(self, name: str, *containers: str) -> None:
        """Wait until a node's Sentinel watches these."""

        def watched() -> bool:
            log = self.log(name)
            return all(f"watching {container} " in log for container in containers)

        docker.wait(watched, 60, f"{name} to watch {', '.join(containers)}")

    @property
    def calls(self) -> dict[str, str]:
        """The roll calls as they stand, in their order."""
        channel = next((channel for channel in self.discord.channels.values() if channel.name == FLEET), None)
        posts = [message for message in self.discord.posts(channel.id) if not message.deleted] if channel else []
        return {message.content.split("`")[1]: message.content for message in posts}

    def fleet(self) -> str:
        """What `fleet` shows on the manager."""
        task = self.manager.docker("ps", "--quiet", "--filter", "name=sentinel_sentinel.").split()[0]
        return self.manager.docker("exec", task, "sh", "-c", "python3 /sentinel.py fleet; echo exit $?")

    def all_told(self) -> list[Told]:
        """All that was told, in its order; what was edited is told anew where its title is another one."""
        found: dict[tuple[str, int, str], tuple[float, Told]] = {}
        for message in self.discord.posts(self.alerts.id):
            states = [(message.time, message.history[0].before.get("embeds", []) if message.history else message.embeds)]
            states += [(edit.time, edit.after.get("embeds", [])) for edit in message.history]
            for moment, embeds in states:
                for place, embed in enumerate(embeds):
                    host = embed["footer"]["text"].partition(" · ")[0]
                    title = title_of(embed)
                    found.setdefault((message.id, place, title), (moment, (title, host)))
        return [told for _, told in sorted(found.values(), key=lambda each: each[0])]

    def titles(self) -> list[str]:
        """The titles of all that was told."""
        return [title for title, _ in self.all_told()]

    @property
    def told(self) -> list[Told]:
        """All that was told but greetings and clocks."""
        return [told for told in self.all_told() if not told[0].startswith("Watching: ") and told[0] not in self.clocks]

    def wait(self, predicate: Callable[[], object], timeout: float, what: str) -> None:
        """Wait for something that Discord is to see."""
        try:
            self.discord.wait_for(lambda _: predicate(), timeout)
        except AssertionError as error:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}; told: {self.told}; {error}") from None

    def wait_told(self, title: str, timeout: float) -> None:
        """Wait until this is told."""
        self.wait(lambda: title in self.titles(), timeout, title)


@dataclass
class Played:
    """What was told in each part, and what else there was to see."""

    greetings: list[Told] = field(default_factory=list)
    calls: dict[str, str] = field(default_factory=dict)
    # a task dies, and is replaced where it was
    stayed: int = 0
    in_place: list[Told] = field(default_factory=list)
    # a node is drained, and then it is active again
    drained_slot: int = 0
    drained_call: str = ""
    drained: list[Told] = field(default_factory=list)
    active_again: list[Told] = field(default_factory=list)
    # a node is lost, and then it is back
    lost_slot: int = 0
    dark_after: float = 0.0
    fleet_when_dark: str = ""
    lost: list[Told] = field(default_factory=list)
    back: list[Told] = field(default_factory=list)
    # a task dies, and is replaced elsewhere
    moved_slot: int = 0
    moved_to: str = ""
    moved: list[Told] = field(default_factory=list)
    moved_text: str = ""
    fleet_at_the_end: str = ""
    logs: dict[str, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    @property
    def teller(self) -> str:
        """Who is to tell of the node that is lost: the first that is alive."""
        return next(name for name in self.calls if name != LOST)


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """Three nodes that are a Swarm, each with the images and a way to Discord."""
    suite = os.environ.get("SENTINEL_E2E_SUITE")
    if suite not in engines.SUITES:
        pytest.skip("only where tests/run starts private engines")
    if suite != SUITE:
        pytest.skip(f"only on {SUITE}: it takes long, and is about Sentinels and not about engines")
    folder = tmp_path_factory.mktemp("swarm-fleet")
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(nodes.network(SUITE, *NAMES))
        except engines.EngineError as error:
            pytest.skip(str(error))
        for node in made:
            stack.enter_context(node)  # which starts it
            docker.ensure_image(node.engine)
            (folder / node.name).symlink_to(node.dir)
        manager, *workers = made
        try:
            stack.enter_context(images.built(manager.engine))
        except engines.EngineError as error:
            pytest.skip(str(error))
        packed = folder / "image.tar"
        manager.engine.docker("save", "--output", str(packed), images.IMAGE)
        for node in workers:
            node.engine.docker("load", "--input", str(packed), timeout=180)
        packed.unlink()
        manager.engine.docker("swarm", "init", "--advertise-addr", manager.address)
        token = manager.engine.docker("swarm", "join-token", "--quiet", "worker")
        for node in workers:
            node.engine.docker("swarm", "join", "--advertise-addr", node.address, "--token", token, manager.address)
        discord = stack.enter_context(FakeDiscord())
        discord.add_bot(TOKEN)
        alerts = discord.add_channel("alerts")
        for url in (discord.url, discord.gateway.url):
            for node in made:
                stack.enter_context(nodes.Relay(node.namespace, int(url.rpartition(":")[2])))
        yield Swarm(made, discord, alerts, folder)


def deploy_all(swarm: Swarm) -> None:
    """A service with a task for each node, and Sentinel's own stack with what a fleet needs."""
    web = {"image": docker.IMAGE, "command": ["sh", "-c", LIVES.replace("$", "$$")], "networks": ["host"],
           "deploy": {"replicas": 3, "restart_policy": {"condition": "any", "delay": "500ms"}}}  # fmt: skip
    swarm.deploy("shop", {"services": {"web": web}, "networks": HOST_NETWORK})
    token, no_hook = swarm.folder / "token.txt", swarm.folder / "webhook.txt"
    token.write_text(TOKEN)
    no_hook.write_text("\n")  # a Swarm takes no empty secret, such as the example's /dev/null
    settings = {"DISCORD_BOT_TOKEN_FILE": "/run/secrets/discord_bot_token", "DISCORD_CHANNEL_ID": swarm.alerts.id,
                "DISCORD_API_URL": f"{swarm.discord.url}/api/v10", "SENTINEL_FLEET": FLEET}  # fmt: skip
    more = {"services": {"sentinel": {"networks": ["host"], "secrets": ["discord_bot_token"], "environment": settings}},
            "secrets": {"discord_bot_token": {"file": str(token)}}, "networks": HOST_NETWORK}  # fmt: skip
    # On real nodes the socket has the same path everywhere.
    swarm.deploy("sentinel", images.ROOT / "docker-compose.example.yml", more, SENTINEL_IMAGE=images.IMAGE,
                 DOCKER_SOCKET=f"{swarm.folder}/{{{{.Node.Hostname}}}}/docker.sock", DOCKER_GID="0",
                 DISCORD_WEBHOOK_FILE=str(no_hook))  # fmt: skip


def play(swarm: Swarm) -> Played:
    """The whole scene."""
    played = Played()
    deploy_all(swarm)
    docker.wait(lambda: all(len(swarm.slots(name)) == 1 for name in NAMES), 60, "a task on each node")
    slots = {name: next(iter(swarm.slots(name))) for name in NAMES}
    for name in NAMES:
        swarm.wait_watched(name, swarm.slots(name)[slots[name]])
    swarm.wait(lambda: len(swarm.calls) == len(NAMES), 60, "all roll calls")
    swarm.wait(lambda: len(swarm.all_told()) == len(NAMES), 60, "all greetings")
    played.greetings = swarm.all_told()
    docker.wait(lambda: swarm.sentinels() == f"global {len(NAMES)}/{len(NAMES)}", 30, "the Swarm to see all Sentinels")

    played.stayed = slots[LOST]
    do(swarm.nodes[LOST].engine, swarm.slots(LOST)[played.stayed], "exit 3")
    swarm.wait_told(f"Recovered: {SERVICE}.{played.stayed}", 60)
    swarm.settle(LOST)
    played.in_place = swarm.told

    before, played.drained_slot = len(swarm.told), slots[DRAINED]
    swarm.availability("pause", LOST)  # so that it is clear where that goes
    swarm.availability("drain", DRAINED)
    swarm.runs_on(played.drained_slot, MANAGER)
    swarm.wait(lambda: "at rest" in swarm.calls[DRAINED], 60, "the drained node's Sentinel to be at rest")
    swarm.settle(MANAGER)  # longer than a deploy takes
    played.drained_call = swarm.calls[DRAINED]
    played.drained = swarm.told[before:]
    before = len(swarm.told)
    swarm.availability("active", LOST, DRAINED)
    swarm.wait(lambda: "at rest" not in swarm.calls[DRAINED], 60, "the drained node's Sentinel to be back")
    swarm.settle(DRAINED, MANAGER)
    played.active_again = swarm.told[before:]

    before, played.lost_slot, played.calls = len(swarm.told), slots[LOST], swarm.calls
    began = time.monotonic()
    swarm.nodes[LOST].lose()
    swarm.runs_on(played.lost_slot, DRAINED)
    swarm.wait_told(f"[DARK] {LOST}", DARK_WITHIN)
    played.dark_after = time.monotonic() - began
    swarm.settle(MANAGER, DRAINED)
    played.fleet_when_dark = swarm.fleet()
    played.lost = swarm.told[before:]
    before = len(swarm.told)
    swarm.nodes[LOST].boot()
    swarm.wait_told(f"Recovered: {LOST}", 300)
    swarm.settle(*NAMES)
    played.back = swarm.told[before:]

    before, played.moved_slot = len(swarm.told), slots[MANAGER]
    swarm.availability("pause", MANAGER)
    do(swarm.manager, swarm.slots(MANAGER)[played.moved_slot], "exit 4")
    played.moved_to = swarm.runs_on(played.moved_slot, DRAINED, LOST)
    swarm.wait_told(f"[DEAD] {SERVICE}.{played.moved_slot}", 30)
    swarm.wait_told(f"Recovered: {SERVICE}.{played.moved_slot}", 240)
    played.moved_text = swarm.discord.posts(swarm.alerts.id, f"Recovered: {SERVICE}.{played.moved_slot}")[-1].text
    swarm.settle(*NAMES)
    played.moved = swarm.told[before:]
    played.fleet_at_the_end = swarm.fleet()

    # What three Sentinels with one token can't know of each other.
    strange = [each for each in swarm.discord.gateway.violations if each != "IDENTIFY again within 5 s"]
    refused = [f"{request.method} {request.path} {request.status}" for request in swarm.discord.refused]
    played.complaints = [*swarm.discord.lint, *refused, *strange]
    return played


@pytest.fixture(scope="module")
def played(swarm: Swarm) -> Iterator[Played]:
    """The scene, played once; what was said in it is shown with a failure."""
    try:
        made = play(swarm)
        made.logs = {name: swarm.log(name) for name in NAMES}
        yield made
    finally:
        for name, node in swarm.nodes.items():
            if node.alive():
                print(f"--- the Sentinels of {name}\n{swarm.log(name)}")
        print(f"--- what was told\n{swarm.all_told()}\n--- what Discord saw\n{swarm.discord.story()}")


def reds(told: list[Told]) -> list[Told]:
    """Those that alarm."""
    return [each for each in told if each[0].startswith("[")]


def test_each_node_has_a_sentinel_from_the_stack_file_and_calls_the_roll(played: Played) -> None:
    assert sorted(played.greetings) == sorted((f"Watching: {name}", name) for name in NAMES)
    assert sorted(played.calls) == sorted(NAMES)
    assert all(call.startswith("🟢") for name, call in played.calls.items() if name != DRAINED), played.calls


def test_a_death_is_told_once_and_so_is_its_replacement_by_the_node_where_it_was(played: Played) -> None:
    assert played.in_place == [(f"[DEAD] {SERVICE}.{played.stayed}", LOST), (f"Recovered: {SERVICE}.{played.stayed}", LOST)]


def test_a_drain_is_told_by_nobody_while_it_lasts(played: Played) -> None:
    assert played.drained == [] and played.drained_call.startswith("⚪")


def test_a_node_that_is_active_again_tells_no_red_of_what_was_moved(played: Played) -> None:
    assert reds(played.active_again) == []


def test_a_node_that_is_active_again_tells_of_what_was_moved_once_at_most(played: Played) -> None:
    slot = f"{SERVICE}.{played.drained_slot}"
    assert played.active_again in ([], [(f"Stopped: {slot}", DRAINED)])


def test_a_node_that_is_lost_is_told_once_by_the_first_of_the_others_and_nothing_else_is(played: Played) -> None:
    assert played.lost == [(f"[DARK] {LOST}", played.teller)]
    assert played.dark_after < DARK_WITHIN
    assert f"\n{LOST} " in f"\n{played.fleet_when_dark}" and " dark " in played.fleet_when_dark
    assert played.fleet_when_dark.endswith("exit 1")


def test_a_node_that_is_back_is_told_once_by_who_has_told_that_it_was_lost(played: Played) -> None:
    assert [told for told in played.back if LOST in told[0]] == [(f"Recovered: {LOST}", played.teller)]
    assert max(Counter(played.back).values()) == 1
    assert played.fleet_at_the_end.endswith("exit 0")


def test_of_what_runs_elsewhere_by_now_a_node_that_is_back_tells_nothing(played: Played) -> None:
    assert reds(played.back) == [] and (f"Recovered: {LOST}", played.teller) in played.back


def test_a_death_is_told_once_by_its_node_where_its_replacement_runs_elsewhere(played: Played) -> None:
    assert reds(played.moved) == [(f"[DEAD] {SERVICE}.{played.moved_slot}", MANAGER)]


def test_a_replacement_elsewhere_is_told_once_with_where_it_runs_now(played: Played) -> None:
    slot = f"{SERVICE}.{played.moved_slot}"
    assert played.moved == [(f"[DEAD] {slot}", MANAGER), (f"Recovered: {slot}", MANAGER)]
    assert f"**Runs on:** `{played.moved_to}`" in played.moved_text


def test_no_task_is_restarted_by_sentinel_and_nothing_breaks(played: Played) -> None:
    for log in played.logs.values():
        assert "Traceback" not in log and "restarting" not in log and TOKEN not in log
    assert played.complaints == []
