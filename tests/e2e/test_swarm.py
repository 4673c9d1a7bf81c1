"""A real Swarm of one node: Sentinel comes up from its own stack file, tells the death of a task, and never fights it.

The scene is played once; each test looks at one side of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import docker, engines
from support import image as images
from support.fake_discord import FakeDiscord
from support.sentinel import GREEN, LIVES, RED, Alert, versions

HOST_NETWORK = {"host": {"external": True, "name": "host"}}
#: Each Swarm makes this bridge in the machine, under this name.
BRIDGE = Path("/sys/class/net/docker_gwbridge")


@pytest.fixture(scope="module")
def swarm() -> Iterator[docker.Engine]:
    """A private engine that is a Swarm of its own, with Sentinel's image; one at a time, for the sake of the bridge."""
    suite = os.environ.get("SENTINEL_E2E_SUITE")
    if suite not in engines.SUITES:
        pytest.skip("only where tests/run starts private engines")
    with contextlib.ExitStack() as stack:
        stack.enter_context(engines.one_at_a_time())
        if BRIDGE.exists():
            pytest.skip("this machine has another Swarm, whose docker_gwbridge would be shared")
        daemon = stack.enter_context(engines.PrivateEngine(suite))
        engine = docker.Engine(daemon.host, environ=daemon.environ())
        docker.ensure_image(engine)
        try:
            stack.enter_context(images.built(engine))
        except engines.EngineError as error:
            pytest.skip(str(error))
        engine.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        try:
            yield engine
        finally:
            engine.docker("swarm", "leave", "--force")
            with contextlib.suppress(docker.DockerError):
                engine.docker("network", "rm", "docker_gwbridge")


@dataclass
class Scene:
    """What there was to see."""

    service: str
    alerts: list[Alert]
    first: str  # the task's container that was killed
    second: str  # the one by which the Swarm replaced it
    first_state: dict[str, object]
    log: str
    exit_code: int


def deploy(engine: docker.Engine, folder: Path, name: str, *files: Path | dict[str, object], **variables: str) -> None:
    """docker stack deploy of these files."""
    options: list[str] = []
    # Clients before 23 want the number of a format that everybody else has forgotten.
    old = int(engine.docker("version", "--format", "{{.Client.Version}}").partition(".")[0]) < 23
    for number, file in enumerate(files):
        text = file.read_text(encoding="utf-8") if isinstance(file, Path) else json.dumps(file, indent=1)
        path = folder / f"{name}-{number}.yaml"
        if old:
            text = re.sub(r"\A\{", '{"version": "3.9",', text) if text.startswith("{") else f'version: "3.9"\n{text}'
        path.write_text(text, encoding="utf-8")
        options += ["--compose-file", str(path)]
    told = docker.Engine(engine.host, environ={**engine.env, **variables})
    # The image is here and nowhere else, so its digest can't be asked for.
    told.docker("stack", "deploy", "--resolve-image", "never", *options, name)


def task(engine: docker.Engine, service: str, slot: int = 1) -> str:
    """Wait for the running container of a service's slot."""

    def found() -> str:
        names = engine.docker("ps", "--format", "{{.Names}}", "--filter", f"name={service}.{slot}.").split()
        return names[0] if names else ""

    return engine.wait(found, 30, f"a task of {service}")


@pytest.fixture(scope="module")
def scene(swarm: docker.Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Sentinel's stack and another one, of which a task is killed; told when it is replaced."""
    folder = tmp_path_factory.mktemp("swarm")
    shop, own = f"shop{uuid.uuid4().hex[:6]}", f"sentinel{uuid.uuid4().hex[:6]}"
    script = LIVES.replace("$", "$$")
    web = {"image": docker.IMAGE, "command": ["sh", "-c", script], "networks": ["host"],
           "deploy": {"replicas": 2, "restart_policy": {"condition": "any", "delay": "500ms"}}}  # fmt: skip
    with FakeDiscord() as discord:
        secret = folder / "webhook.txt"
        secret.write_text(discord.add_webhook().url)
        deploy(swarm, folder, shop, {"services": {"web": web}, "networks": HOST_NETWORK})
        first, other = task(swarm, f"{shop}_web", 1), task(swarm, f"{shop}_web", 2)
        # The fake Discord is on this machine's loopback: the only thing in which the example is changed.
        more = {"services": {"sentinel": {"networks": ["host"], "environment": {"SENTINEL_PROJECTS": shop,
                "SENTINEL_SETTLE": "1s"}}}, "networks": HOST_NETWORK}  # fmt: skip
        socket = swarm.host.removeprefix("unix://")
        deploy(swarm, folder, own, images.ROOT / "docker-compose.example.yml", more, SENTINEL_IMAGE=images.IMAGE,
               DOCKER_SOCKET=socket, DOCKER_GID=str(os.stat(socket).st_gid), DISCORD_WEBHOOK_FILE=str(secret))  # fmt: skip

        def sentinel_task() -> str:
            return swarm.docker("ps", "--format", "{{.Names}}", "--filter", f"name={own}_sentinel.")

        sentinel = swarm.wait(sentinel_task, 30, "Sentinel's task")

        def both_watched() -> bool:
            log = swarm.log_of(sentinel)
            return all(f"watching {name}" in log for name in (first.rpartition(".")[0], other.rpartition(".")[0]))

        swarm.wait(both_watched, 60, "Sentinel to watch both tasks")

        def told(title: str) -> bool:
            return any(alert.title.startswith(title) for message in discord.messages for alert in versions(message))

        swarm.docker("exec", "-i", first, "sh", "-c", "cat > /do.new; mv /do.new /do", stdin=b"exit 3")
        discord.wait_for(lambda _: told(f"[DEAD] {shop}_web.1"), 60)
        discord.wait_for(lambda _: told(f"Recovered: {shop}_web.1"), 40)
        second = task(swarm, f"{shop}_web", 1)
        # An operator's own act, told after the settle time: what was not told before it never will be.
        swarm.docker("service", "scale", "--detach", f"{shop}_web=1")
        discord.wait_for(lambda _: told("Stopped: "), 40)
        first_state, log = swarm.state(first), swarm.log_of(sentinel)
        swarm.docker("stop", "--time", "30", sentinel)
        alerts = [alert for message in discord.messages for alert in versions(message) if shop in alert.title]
        yield Scene(f"{shop}_web", alerts, first, second, first_state, log, int(swarm.state(sentinel)["ExitCode"]))
        print(log, discord.story())
        for name in (shop, own):
            swarm.docker("stack", "rm", name)


def test_a_task_that_dies_is_told_once_and_so_is_its_replacement(scene: Scene) -> None:
    kinds = [re.sub(r"^(\[DEAD\]|Recovered:|Stopped:).*", r"\1", alert.title) for alert in scene.alerts]
    assert kinds == ["[DEAD]", "Recovered:", "Stopped:"]
    red, green, _ = scene.alerts
    assert red.colour == RED and "exit 3" in red.text and green.colour == GREEN
    assert scene.second != scene.first


def test_a_task_is_never_restarted_by_sentinel(scene: Scene) -> None:
    assert "Swarm replaces its tasks itself" in scene.log and "restarting" not in scene.log
    assert scene.first_state["Status"] == "exited" and scene.first_state["ExitCode"] == 3


def test_a_task_is_called_by_its_service_and_slot(scene: Scene) -> None:
    red, green, _ = scene.alerts
    assert (red.title, green.title) == (f"[DEAD] {scene.service}.1", f"Recovered: {scene.service}.1")


def test_the_recovery_command_is_one_for_a_swarm(scene: Scene) -> None:
    assert "docker start" not in scene.alerts[0].text
    assert f"docker service ps --no-trunc {scene.service}" in scene.alerts[0].text


def test_sentinel_ends_well_when_the_swarm_stops_it(scene: Scene) -> None:
    assert scene.exit_code == 0 and "Traceback" not in scene.log
