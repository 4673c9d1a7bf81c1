"""Sentinel as an image: the Dockerfile and the Compose example, built and run on a real engine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import image as images
from support.docker import DockerError, Engine, Project
from support.engines import EngineError
from support.fake_discord import FakeDiscord
from support.sentinel import do, stack, versions

import sentinel

MakeProject = Callable[[str], Project]
EXAMPLE = images.ROOT / "docker-compose.example.yml"
TIGHT = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--network", "none"]


@pytest.fixture(scope="module")
def image(engine: Engine) -> Iterator[str]:
    """Sentinel's image on this engine."""
    with contextlib.ExitStack() as stack_:
        try:
            made = stack_.enter_context(images.built(engine))
        except EngineError as error:
            pytest.skip(str(error))
        yield made


@pytest.fixture
def discord() -> Iterator[FakeDiscord]:
    with FakeDiscord() as fake:
        yield fake
        assert fake.lint == [] and fake.refused == []


def socket_of(engine: Engine) -> Path:
    """The engine's socket on this machine."""
    if not engine.host.startswith("unix://"):
        pytest.skip("the engine is not of this machine")
    return Path(engine.host.removeprefix("unix://"))


def sentinel_file() -> Path:
    """The one file that is copied in."""
    return images.ROOT / "sentinel.py"


def details(engine: Engine, image: str) -> dict[str, Any]:
    """All that the engine knows about an image."""
    found: list[dict[str, Any]] = json.loads(engine.docker("image", "inspect", image))
    return found[0]


def told(discord: FakeDiscord, title: str, timeout: float = 60.0) -> None:
    """Wait until Discord has been told this."""

    def is_told(_: FakeDiscord) -> bool:
        return title in [alert.title for message in discord.messages for alert in versions(message)]

    discord.wait_for(is_told, timeout)


def watching(engine: Engine, container: str, name: str) -> str:
    """Wait until Sentinel says in its log that it watches this container."""

    def found() -> str:
        said = engine.log_of(container)
        assert engine.state(container)["Running"], said
        return said if re.search(rf"watching {re.escape(name)} ", said) else ""

    return engine.wait(found, 60, f"Sentinel to watch {name}")


# ── What it is made of ────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_its_base_and_one_file_and_that_compiled(engine: Engine, image: str) -> None:
    added = details(engine, image)["Size"] - details(engine, images.BASE)["Size"]
    assert 0 < added < 2**21, f"{added} bytes"
    seen = engine.docker("run", "--rm", *TIGHT, "--entrypoint", "ls", image, "-ln", "/sentinel.py")
    assert seen.split()[:5] == ["-rw-r--r--", "1", "0", "0", str(sentinel_file().stat().st_size)]


def test_it_says_what_it_is(engine: Engine, image: str) -> None:
    config = details(engine, image)["Config"]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == "Sentinel" and labels["licenses"] == "MIT" and labels["version"] == "0.0.0+test"
    assert {"description", "source", "revision", "created"} <= set(labels)
    assert config["Entrypoint"] == ["python3", "/sentinel.py"] and not config.get("Cmd")
    assert config["Healthcheck"]["Test"] == ["CMD", "python3", "/sentinel.pyc", "health"]
    assert list(config["Volumes"]) == ["/var/lib/sentinel"]


def test_it_is_not_root_and_only_the_ledger_is_its_own(engine: Engine, image: str) -> None:
    volume = f"sentinel-test-{uuid.uuid4().hex[:8]}"
    script = "id -u; id -g; : > /var/lib/sentinel/x && echo ledger; (: > /tmp/x) 2>/dev/null || echo nothing else"
    try:
        seen = engine.docker("run", "--rm", *TIGHT, "--volume", f"{volume}:/var/lib/sentinel", "--entrypoint", "sh",
                             image, "-c", script)  # fmt: skip
    finally:
        engine.docker("volume", "rm", "--force", volume)
    assert seen.splitlines() == ["65532", "65532", "ledger", "nothing else"]


def test_its_commands_are_sentinels(engine: Engine, image: str) -> None:
    assert engine.docker("run", "--rm", *TIGHT, image, "--version").startswith(f"Sentinel {sentinel.__version__} ")
    with pytest.raises(DockerError, match=r"no such socket.*mount it"):
        engine.docker("run", "--rm", *TIGHT, image, "check")


# ── What it does ──────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def sidecar(engine: Engine, image: str, hook: str, project: str, *options: str) -> Iterator[str]:
    """Sentinel in a container, as its README says, beside the project that it watches."""
    name = f"sentinel-test-{uuid.uuid4().hex[:8]}"
    socket = socket_of(engine)
    settings = {"DISCORD_WEBHOOK_URL": hook, "SENTINEL_PROJECTS": project, "SENTINEL_SETTLE": "2s"}
    pairs = [word for key, value in settings.items() for word in ("--env", f"{key}={value}")]
    try:
        engine.docker("run", "--detach", "--name", name, *TIGHT[:-1], "host", "--user", f"65532:{socket.stat().st_gid}",
                      "--volume", f"{socket}:/var/run/docker.sock", *pairs, *options, image)  # fmt: skip
        yield name
        print(engine.log_of(name))
    finally:
        engine.remove(name)


def test_beside_a_stack_it_tells_a_death_and_heals_it(engine: Engine, image: str, project: MakeProject,
                                                     discord: FakeDiscord) -> None:  # fmt: skip
    made = project(stack(web={}))
    made.up()
    with sidecar(engine, image, discord.add_webhook().url, made.name, "--env", "SENTINEL_WATCH=all") as name:
        said = watching(engine, name, made.container("web"))
        assert f"watching {name} " not in said and "ledger" not in said
        do(engine, made.container("web"), "exit 3")
        told(discord, f"[DEAD] {made.container('web')}")
        told(discord, f"Recovered: {made.container('web')}")
        # SIGTERM reaches Python itself: it ends by itself and well, long before the engine would kill it.
        engine.docker("stop", "--time", "30", name)
        state = engine.state(name)
        assert state["ExitCode"] == 0 and "Traceback" not in engine.log_of(name)
        assert "asked to stop" in engine.log_of(name)


def test_the_healthcheck_is_about_progress(engine: Engine, image: str, project: MakeProject, discord: FakeDiscord) -> None:
    commands = next(action.choices for action in sentinel.command_line()._actions if action.dest == "command")
    if "health" not in (commands or ()):
        pytest.skip("sentinel.py has no command `health` yet")
    with pytest.raises(DockerError, match=r"failed \(1\)"):  # no daemon has ever written here
        engine.docker("run", "--rm", *TIGHT, image, "health")
    made = project(stack(web={}))
    made.up()
    quick = ["--health-interval", "1s", "--health-start-period", "0s"]
    with sidecar(engine, image, discord.add_webhook().url, made.name, *quick) as name:
        watching(engine, name, made.container("web"))
        engine.wait(lambda: engine.state(name)["Health"]["Status"] == "healthy", 60, "its healthcheck to succeed")


# ── The Compose example ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def example(engine: Engine, tmp_path: Path) -> Callable[..., str]:
    """Runs Compose on a copy of the example: example("config", DOCKER_GID="0")."""
    folder = tmp_path / "example"
    folder.mkdir()
    shutil.copy(EXAMPLE, folder / "compose.yaml")

    def run(*arguments: str, **variables: str) -> str:
        lines = [f"{key}={value}\n" for key, value in variables.items()]
        (folder / ".env").write_text("".join(lines))
        return engine.compose(folder, "--project-name", f"st{os.getpid()}", *arguments)

    return run


def test_the_example_wants_one_variable_and_says_how_to_get_it(example: Callable[..., str]) -> None:
    with pytest.raises(DockerError, match=r"DOCKER_GID.*must be the number of the group"):
        example("config")
    assert "65532:998" in example("config", DOCKER_GID="998")


def test_copied_and_with_one_variable_set_it_builds_itself_and_comes_up(engine: Engine, image: str, tmp_path: Path,
                                                                       example: Callable[..., str]) -> None:  # fmt: skip
    folder = tmp_path / "example"
    shutil.copy(sentinel_file(), folder)
    dockerfile = (images.ROOT / "Dockerfile").read_text(encoding="utf-8")
    (folder / "Dockerfile").write_text(re.sub(r"^ARG BASE=.*", f"ARG BASE={images.BASE}", dockerfile, flags=re.M))
    # This engine may be somebody's own: nothing on it is watched.
    more = {"services": {"sentinel": {"environment": {"SENTINEL_PROJECTS": "no-such-project"}}}}
    (folder / "compose.override.yaml").write_text(json.dumps(more))
    socket = socket_of(engine)
    variables = {"DOCKER_GID": str(socket.stat().st_gid), "DOCKER_SOCKET": str(socket), "SENTINEL_IMAGE": f"{image}-up"}
    try:
        example("up", "--detach", **variables)
        container = example("ps", "--quiet", "sentinel", **variables)
        said = engine.wait(lambda: answered(engine, container), 60, "Sentinel to find the engine")
        assert "alerts go to terminal" in said and "warning" not in said.lower()
    finally:
        example("down", "--volumes", "--timeout", "0", **variables)
        engine.docker("image", "rm", "--force", f"{image}-up")


def answered(engine: Engine, container: str) -> str:
    """The container's log, once it says that the engine answers."""
    said = engine.log_of(container)
    return said if re.search("the engine of .* answers", said) else ""


def test_the_socket_proxy_of_the_example_is_ready_to_be_uncommented(engine: Engine, tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    proxy = text.index("  # socket-proxy:\n")
    with_proxy = text[:proxy] + re.sub(r"^(  )?# ", r"\1", text[proxy:], flags=re.M)
    (tmp_path / "compose.yaml").write_text(with_proxy)
    (tmp_path / ".env").write_text("DOCKER_GID=998\n")
    config = json.loads(engine.compose(tmp_path, "config", "--format", "json"))
    service = config["services"]["socket-proxy"]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["user"] == "65534:998"
    assert list(service["networks"]) == ["socket"] and config["networks"]["socket"]["internal"]


def test_the_example_comes_up_tight_and_tells_a_death(engine: Engine, image: str, example: Callable[..., str],
                                                      project: MakeProject, discord: FakeDiscord,
                                                      tmp_path: Path) -> None:  # fmt: skip
    made = project(stack(web={}))
    made.up()
    secret = tmp_path / "example" / "webhook.txt"
    secret.write_text(discord.add_webhook().url + "\n")
    if os.geteuid() == 0:  # as the example says; else all may read it
        secret.chmod(0o400)
        os.chown(secret, 65532, -1)
    # The fake Discord is on this machine's loopback, and a private engine has no network of its own.
    more = {"services": {"sentinel": {"network_mode": "host", "environment": {"SENTINEL_PROJECTS": made.name}}}}
    (tmp_path / "example" / "compose.override.yaml").write_text(json.dumps(more))
    socket = socket_of(engine)
    variables = {"DOCKER_GID": str(socket.stat().st_gid), "DOCKER_SOCKET": str(socket), "SENTINEL_IMAGE": image,
                 "DISCORD_WEBHOOK_FILE": "./webhook.txt"}  # fmt: skip
    try:
        example("up", "--detach", **variables)
        container = example("ps", "--quiet", "sentinel", **variables)
        facts = engine.inspect(container)
        host = facts["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["Privileged"]
        assert "no-new-privileges:true" in host["SecurityOpt"] and host["RestartPolicy"]["Name"] == "unless-stopped"
        assert host["Memory"] == 128 * 2**20 and host["PidsLimit"] == 64
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
        assert not any("webhooks/" in text for text in facts["Config"]["Env"])
        watching(engine, container, made.container("web"))
        do(engine, made.container("web"), "exit 3")
        told(discord, f"[DEAD] {made.container('web')}")
        assert not engine.state(container)["OOMKilled"]
        example("stop", **variables)
        assert engine.state(container)["ExitCode"] == 0
    finally:
        example("down", "--volumes", "--timeout", "0", **variables)
