"""Podman, as true as Docker: real containers of a real Podman end in every way, and one Sentinel watches.

All cases are played side by side, each with containers of its own, so that the whole takes as long as the longest;
then each test looks at what was told of its own. tests/run says which Podman: SENTINEL_E2E_PODMAN.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support import docker, engines, sentinel
from support.fake_discord import FakeDiscord
from support.podman import PrivatePodman
from support.sentinel import LISTED, Sentinel, stack, versions
from support.sentinel import LIVES as BUSY

IMAGE = "busybox:local"
SETTLE = 8.0
#: They are many: each looks less often what it is to do.
LIVES = BUSY.replace("sleep 0.2", "sleep 0.3")
#: It lives on after a SIGHUP, for longer than a signal takes to end anything, and crashes then: once.
LATE_CRASH = f"trap 'sleep 4; [ -e /late ] || {{ touch /late; exit 3; }}' HUP; {LIVES}"
NEVER_ENDS = "trap '' TERM; while :; do sleep 0.3; done"
UNIT = "PODMAN_SYSTEMD_UNIT={}.service"


def at_term(code: int) -> str:
    """A main process that ends with this code where it is asked to."""
    return LIVES.replace("exit 0", f"exit {code}")


class Scene:
    """A Podman, a Sentinel at it, and a strict Discord."""

    def __init__(self, podman: PrivatePodman, folder: Path) -> None:
        self.podman, self.log_file = podman, folder / "sentinel.log"
        self.discord = FakeDiscord()
        self.engine = docker.Engine(podman.host, environ=engines.client_environ(podman.host, os.environ))
        self.standing: dict[str, bool] = {}  # which containers ran when all was over
        #: From 4.7 on Podman says who ended a container.
        self.says_who = tuple(map(int, podman.version.split(".")[:2])) >= (4, 7)

    def cli(self, *arguments: str, data: str = "") -> str:
        """Podman's own command, beside its API."""
        return self.podman.cli(*arguments, data=data.encode()).stdout.strip()

    def run(self, name: str, script: str = LIVES, *options: str) -> None:
        """Start a container."""
        self.cli("run", "--detach", "--network", "none", "--name", name, *options, IMAGE, "sh", "-c", script)

    def do(self, name: str, script: str) -> None:
        """Have a main process, which waits in LIVES, run these lines."""
        write = ("exec", "-i", name, "sh", "-c", "cat > /do.new; mv /do.new /do")
        self.podman.cli(*write, data=script.encode(), check=False)  # it may be gone before that has ended

    def kill_from_host(self, name: str) -> None:
        """End the main process behind Podman's back."""
        os.kill(int(self.cli("inspect", "--format", "{{.State.Pid}}", name)), signal.SIGKILL)

    def state(self, name: str) -> dict[str, Any]:
        """The State part of a container's inspection; empty where it is gone."""
        done = self.podman.cli("container", "inspect", name, check=False)
        found: dict[str, Any] = json.loads(done.stdout)[0]["State"] if not done.returncode else {}
        return found

    def runs(self, name: str) -> bool:
        """Whether a container runs."""
        return self.state(name).get("Status") == "running"

    def titles(self, name: str) -> list[str]:
        """What was told of a container, in order; each verdict once, however many tries it went on for. Of what comes at
        once Discord is sent a digest, so that the log is read."""
        found = re.findall(rf"\[([A-Za-z ]+)\] {name} ", self.log_file.read_text())
        return list(dict.fromkeys(found))


    def embed_titles(self) -> list[str]:
        """The titles of all that Discord shows now."""
        return [embed["title"].removeprefix("✓ ") for message in self.discord.messages for embed in message.embeds]


# ------------------------------------------------------------------------------- what happens to a container


def stop(scene: Scene, name: str) -> None:
    scene.cli("stop", "--time", "2", name)


def stop_by_api(scene: Scene, name: str) -> None:
    scene.engine.docker("stop", "--time", "2", name)


def restart(scene: Scene, name: str) -> None:
    scene.cli("restart", "--time", "2", name)


def restart_by_api(scene: Scene, name: str) -> None:
    scene.engine.docker("restart", "--time", "2", name)


def crash(scene: Scene, name: str) -> None:
    scene.do(name, "echo the end; exit 3")


def crash_well(scene: Scene, name: str) -> None:
    scene.do(name, "exit 0")


def kill_from_host(scene: Scene, name: str) -> None:
    scene.kill_from_host(name)


def kill(scene: Scene, name: str) -> None:
    scene.cli("kill", name)


def kill_by_api(scene: Scene, name: str) -> None:
    scene.engine.docker("kill", name)


def term_from_inside(scene: Scene, name: str) -> None:
    scene.do(name, "exit 143")


def hang_up(scene: Scene, name: str) -> None:
    """A signal that is survived sets the flag of a stop; the crash comes later, of itself."""
    scene.cli("kill", "--signal", "HUP", name)
    engines.wait_until(lambda: "DEAD" in scene.titles(name), 30)


def remove(scene: Scene, name: str) -> None:
    scene.cli("rm", "--force", "--time", "2", name)


def replace(scene: Scene, name: str) -> None:
    scene.run(name, at_term(3), "--replace")


def stop_and_start(scene: Scene, name: str) -> None:
    stop(scene, name)
    scene.cli("start", name)


def pause_and_go_on(scene: Scene, name: str) -> None:
    scene.cli("pause", name)
    scene.cli("unpause", name)


def next_of_unit(scene: Scene, name: str, script: str = LIVES) -> None:
    """As systemd starts the next container of a quadlet, 0.1 s after the end of the last one."""
    engines.wait_until(lambda: not scene.state(name), 30)
    scene.run(name, script, "--rm", "--label", UNIT.format(name))


def unit_crashes(scene: Scene, name: str) -> None:
    scene.do(name, "exit 4")
    next_of_unit(scene, name)


def unit_loops(scene: Scene, name: str) -> None:
    """None of these lives is long enough for a green, however slow the machine is."""
    scene.do(name, "exit 4")
    for script in ("sleep 1; exit 4", "sleep 1; exit 4", LIVES):
        next_of_unit(scene, name, script)


def unit_restarts(scene: Scene, name: str) -> None:
    """As its ExecStop does it."""
    remove(scene, name)
    next_of_unit(scene, name)


def unit_stops(scene: Scene, name: str) -> None:
    remove(scene, name)


def runs_sick(scene: Scene, name: str) -> None:
    """No systemd is here whose timers would probe."""
    scene.cli("exec", name, "touch", "/sick")

    def sick() -> bool:
        scene.podman.cli("healthcheck", "run", name, check=False)
        return "UNHEALTHY" in scene.titles(name)

    def healthy() -> bool:
        scene.podman.cli("exec", name, "rm", "-f", "/sick", check=False)
        scene.podman.cli("healthcheck", "run", name, check=False)
        return "Recovered" in scene.titles(name)

    engines.wait_until(sick, 30, step=0.5)
    engines.wait_until(healthy, 30, step=1.0)


# --------------------------------------------------------------------------------------- the cases


class Case(NamedTuple):
    """What happens to a container of this script, what is told of that, and whether it runs afterwards."""

    happens: Callable[[Scene, str], None]
    told: list[str]
    runs: bool
    script: str = LIVES
    options: tuple[str, ...] = ()
    #: What a Podman tells that does not say who ended a container, where that is something else.
    untold: list[str] | None = None
    #: … and whether it runs then.
    runs_untold: bool | None = None


WISH, DEATH, SILENCE = ["Stopped"], ["DEAD", "Recovered"], list[str]()
ALWAYS, PROBED = ("--restart", "always"), ("--health-cmd", "test ! -e /sick", "--health-retries", "2")
IN_UNIT = ("--rm", "--label")

CASES = {
    **{f"stop{code}": Case(stop, WISH, False, at_term(code), untold=["DEAD"]) for code in (0, 1, 3, 130, 143, 255)},
    "stop-api": Case(stop_by_api, WISH, False, at_term(3), untold=["DEAD"]),
    "stop-kill": Case(stop, WISH, False, NEVER_ENDS, untold=["DEAD"]),
    "stop-always": Case(stop, WISH, False, at_term(3), ALWAYS),
    "stop-insist": Case(stop, WISH, False, at_term(0), ("--label", "sentinel.restart=true"), DEATH, True),
    "stop-start": Case(stop_and_start, SILENCE, True),
    "restart": Case(restart, SILENCE, True),
    "restart3": Case(restart, SILENCE, True, at_term(3)),
    "restart-api": Case(restart_by_api, SILENCE, True, at_term(1)),
    "restart-always": Case(restart, SILENCE, True, NEVER_ENDS, ALWAYS),
    "crash": Case(crash, DEATH, True, untold=["DEAD"], runs_untold=False),
    "crash143": Case(term_from_inside, DEATH, True, untold=["DEAD"], runs_untold=False),
    "crash0": Case(crash_well, ["DEAD"], False),
    "crash0-kept": Case(crash_well, DEATH, True, options=ALWAYS),
    "crash-kept": Case(crash, DEATH, True, options=ALWAYS),
    "hostkill": Case(kill_from_host, DEATH, True, untold=["DEAD"], runs_untold=False),
    "hostkill-kept": Case(kill_from_host, DEATH, True, options=ALWAYS),
    "killed": Case(kill, DEATH, True),
    "killed-api": Case(kill_by_api, DEATH, True),
    "killed-kept": Case(kill, DEATH, True, options=ALWAYS),
    "hup-crash": Case(hang_up, DEATH, True, LATE_CRASH, untold=["DEAD"], runs_untold=False),
    "removed": Case(remove, WISH, False, at_term(3)),
    "replaced": Case(replace, SILENCE, True, at_term(3)),
    "paused": Case(pause_and_go_on, SILENCE, True),
    "job": Case(crash_well, SILENCE, False, options=("--label", "sentinel.job=true")),
    "passing": Case(crash_well, SILENCE, False, options=("--rm",)),
    "sick": Case(runs_sick, ["UNHEALTHY", "Recovered"], True, options=PROBED),
    "unit-crash": Case(unit_crashes, DEATH, True, options=(*IN_UNIT, UNIT.format("unit-crash"))),
    "unit-loop": Case(unit_loops, DEATH, True, options=(*IN_UNIT, UNIT.format("unit-loop"))),
    "unit-restart": Case(unit_restarts, SILENCE, True, options=(*IN_UNIT, UNIT.format("unit-restart"))),
    "unit-stop": Case(unit_stops, WISH, False, options=(*IN_UNIT, UNIT.format("unit-stop"))),
}


@pytest.fixture(scope="module")
def podman() -> Iterator[PrivatePodman]:
    """A Podman with its API."""
    suite = os.environ.get("SENTINEL_E2E_PODMAN")
    if not suite:
        pytest.skip("tests/run --engine podman brings them up")
    with PrivatePodman(suite) as made:
        yield made


def clear(podman: PrivatePodman) -> None:
    """Take all containers away: what others require may go after them only."""

    def empty() -> bool:
        podman.cli("pod", "rm", "--all", "--force", check=False)
        podman.cli("rm", "--all", "--force", "--time", "0", check=False)
        return not podman.cli("ps", "--all", "--quiet").stdout.strip()

    assert engines.wait_until(empty, 30)


@pytest.fixture(scope="module")
def played(podman: PrivatePodman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """All cases, played to their ends."""
    folder = tmp_path_factory.mktemp("sentinel")
    scene = Scene(podman, folder)
    with scene.discord, ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda item: scene.run(item[0], item[1].script, *item[1].options), CASES.items()))
        scene.run("clock")
        hook = scene.discord.add_webhook()
        settings = {"DISCORD_WEBHOOK_URL": hook.url, "SENTINEL_WATCH": "all", "SENTINEL_SETTLE": f"{SETTLE:g}s"}
        with Sentinel(folder, podman.host, secrets=(hook.token,), **settings) as watch:
            watch.wait_log(LISTED, 60)
            watch.wait_ready(*CASES, "clock")
            list(pool.map(lambda item: item[1].happens(scene, item[0]), CASES.items()))
            greens = [name for name, case in CASES.items() if "Recovered" in wanted(scene, case)]
            engines.wait_until(lambda: all("Recovered" in scene.titles(name) for name in greens), 60)
            scene.cli("stop", "--time", "2", "clock")  # all that was to be told before is told once this is
            engines.wait_until(lambda: bool(scene.titles("clock")), 30)
            scene.standing = {name: scene.runs(name) for name in CASES}
        print(scene.discord.story())
    clear(podman)
    yield scene


def wanted(scene: Scene, case: Case) -> list[str]:
    """What is to be told of a case by this Podman."""
    return case.told if scene.says_who or case.untold is None else case.untold


@pytest.mark.parametrize("name", CASES)
def test_each_end_is_what_it_is(played: Scene, name: str) -> None:
    case = CASES[name]
    titles = played.titles(name)
    by_chance = not played.says_who and "stop" in name and titles == WISH
    assert by_chance or titles == wanted(played, case), "only the `stop` event of an old Podman comes by chance"
    as_told = played.says_who or by_chance or case.runs_untold is None
    assert played.standing[name] is (case.runs if as_told else case.runs_untold)


def test_the_next_container_of_a_unit_goes_on_with_its_incident(played: Scene) -> None:
    """However short it lived: nobody could look at it."""
    log = played.log_file.read_text()
    assert "unit-loop died again (3 times)" in log and "unit-loop died again (4" not in log
    texts = [embed.text for message in played.discord.messages for embed in versions(message)]
    assert any("systemctl restart unit-loop.service" in text for text in texts)


# ----------------------------------------------------------------------------------- scenes with a Sentinel of their own


@pytest.fixture
def scene(podman: PrivatePodman, tmp_path: Path) -> Iterator[Scene]:
    """A Podman without containers."""
    made = Scene(podman, tmp_path)
    with made.discord:
        yield made
    clear(podman)


@contextlib.contextmanager
def watched(scene: Scene, *names: str, **settings: str) -> Iterator[Sentinel]:
    """A Sentinel that watches these."""
    hook = scene.discord.add_webhook()
    told = {"DISCORD_WEBHOOK_URL": hook.url, "SENTINEL_WATCH": "all", "SENTINEL_SETTLE": "2s", **settings}
    folder = scene.log_file.parent
    with Sentinel(folder, scene.podman.host, secrets=(hook.token,), **told) as watch:
        watch.wait_log(LISTED, 60)
        yield watch.wait_ready(*names)


def until(check: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for something, and fail where it does not come."""
    assert engines.wait_until(lambda: bool(check()), seconds)


def test_containers_outlive_the_api(scene: Scene) -> None:
    """What ends while it is away is judged by what Podman says of it, and nothing is its own doing."""
    names = ("stays", "stopped", "crashed", "ended")
    for name in names:
        scene.run(name, at_term(3))
    with watched(scene, *names) as watch:
        scene.podman.stop()
        stop(scene, "stopped")
        crash(scene, "crashed")
        term_from_inside(scene, "ended")
        down = watch.wait_log(r"\[ENGINE DOWN\] .*")
        assert "Podman's API service on" in down and "run on without it" in down
        scene.podman.start()
        watch.wait_log(r"\[Recovered\] (?!crashed|ended)")
        if not scene.says_who:
            until(lambda: scene.titles("crashed") == scene.titles("ended") == ["DEAD"])
            until(lambda: scene.titles("stopped") in (["DEAD"], WISH))  # by chance, its `stop` is told
            assert not any(map(scene.runs, names[1:]))
            return
        until(lambda: scene.titles("crashed") == scene.titles("ended") == DEATH)
        until(lambda: scene.titles("stopped") == WISH)
        assert scene.titles("stays") == [] and not scene.runs("stopped")
        assert "not brought back" not in watch.log


def test_an_api_that_leaves_when_idle_is_no_loss(scene: Scene) -> None:
    """With a socket of systemd's the next call starts it again."""
    scene.run("web")
    with watched(scene, "web") as watch:
        scene.podman.stop()
        scene.podman.start()
        scene.run("next")
        watch.wait_log("watching next")
        crash(scene, "web")
        until(lambda: "DEAD" in scene.titles("web"))
        assert "ENGINE DOWN" not in watch.log


def test_memory_that_ran_out_is_a_death(scene: Scene) -> None:
    if scene.podman.cli("run", "--rm", "--memory", "32m", IMAGE, "true", check=False).returncode:
        pytest.skip("this machine gives this Podman no limits of memory")
    grow = "while [ ! -e /do ]; do sleep 0.1; done; rm /do; x=$(yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)"
    scene.run("big", f"{grow}; exit 1", "--memory", "32m", "--memory-swap", "32m")
    with watched(scene, "big") as watch:
        scene.cli("exec", "big", "touch", "/do")
        red = watch.wait_log(r"\[DEAD\] big ")
        if scene.says_who:
            assert "out of memory" in red
            until(lambda: scene.titles("big") == DEATH)


def test_a_death_has_its_last_lines_though_podman_was_quicker_than_sentinel(scene: Scene) -> None:
    """Podman's own policy restarts at once."""
    scene.run("kept", LIVES, *ALWAYS)
    before = scene.state("kept")["StartedAt"]
    with watched(scene, "kept") as watch:
        with watch.held():
            crash(scene, "kept")
            until(lambda: scene.runs("kept") and scene.state("kept")["StartedAt"] != before)
        until(lambda: scene.titles("kept") == DEATH)
        texts = [red.text for message in scene.discord.messages for red in versions(message) if "DEAD" in red.title]
    assert texts and all("the end" in text for text in texts)


def test_compose_at_podmans_socket(scene: Scene, tmp_path: Path) -> None:
    """A restart and a deploy are silent, a stop is grey, whatever the codes; a death is healed."""
    web = {"runs": at_term(3), "depends_on": ["db"]}
    with scene.engine.project(tmp_path, stack(web=web, db={"runs": at_term(1)})) as project:
        text = project.file.read_text().replace(docker.IMAGE, IMAGE)
        project.write(text)
        project.up()
        name = project.container
        with watched(scene, name("web"), name("db"), SENTINEL_WATCH="compose", SENTINEL_SETTLE="8s") as watch:
            project.run("restart", "--timeout", "2")
            project.write(text.replace("sleep 0.3", "sleep 0.4"))
            project.up("--timeout", "2")
            watch.wait_log(f"watching {name('web')}")
            scene.do(name("web"), "exit 4")
            if scene.says_who:
                until(lambda: scene.titles(name("web")) == DEATH)
            project.run("stop", "--timeout", "2")
            if scene.says_who:
                until(lambda: scene.titles(name("db")) == WISH and scene.titles(name("web")) == [*DEATH, *WISH])
                until(lambda: f"Stopped: {project.name}" in scene.embed_titles())
            assert not scene.runs(name("web")) and not scene.runs(name("db"))


def test_the_stop_of_a_pod_is_one_grey(scene: Scene) -> None:
    scene.cli("pod", "create", "--name", "shop")
    for name in ("front", "back"):
        scene.cli("run", "--detach", "--pod", "shop", "--name", name, IMAGE, "sh", "-c", at_term(3))
    with watched(scene, "front", "back", SENTINEL_SETTLE="5s") as watch:
        assert "infra" not in watch.log
        scene.cli("pod", "stop", "--time", "2", "shop")
        if scene.says_who:
            watch.wait_log(r"\[Stopped\] ")
            until(lambda: scene.discord.messages)
            assert scene.embed_titles() == ["Stopped: shop"]
        assert not scene.runs("front") and not scene.runs("back")


def test_check_reads_what_podman_remembers(scene: Scene) -> None:
    for name in ("up", "stopped", "crashed"):
        scene.run(name, at_term(3))
    stop(scene, "stopped")
    crash(scene, "crashed")
    until(lambda: not scene.runs("crashed"))
    done = sentinel.run(scene.log_file.parent, scene.podman.host, "check", "--json", SENTINEL_WATCH="all")
    states = {row["name"]: row["word"] for row in json.loads(done.stdout)}
    by_chance = {"STOPPED"} if scene.says_who else {"STOPPED", "DEAD"}
    assert states.pop("stopped") in by_chance and states == {"up": "UP", "crashed": "DEAD"}


# -------------------------------------------------------------------------------------------------- podman-compose

NEEDS_DB = "trap 'exit 0' TERM; [ -e /s/up ] || exit 1; while [ -e /s/up ]; do sleep 0.1; done; exit 1"
SLOW_DB = "trap 'rm -f /s/up; sleep 3; exit 0' TERM; while :; do sleep 0.1; [ ! -e /go ] || touch /s/up; done"


def composed(scene: Scene, service: str, script: str, *options: str) -> str:
    """Start a container as podman-compose does: with its labels, and what it needs by `--requires`."""
    labels = {"io.podman.compose.project": "shop", "PODMAN_SYSTEMD_UNIT": "podman-compose@shop.service",
              "com.docker.compose.project": "shop", "com.docker.compose.service": service,
              "com.docker.compose.container-number": "1", "com.docker.compose.project.working_dir": "/srv/shop",
              "com.docker.compose.project.config_files": "compose.yaml"}  # fmt: skip
    given = [word for label, text in labels.items() for word in ("--label", f"{label}={text}")]
    name = f"shop_{service}_1"
    scene.run(name, script, "--volume", "shop:/s", *options, *given)
    return name


def test_podman_compose_starts_what_waits_and_stops_what_others_need(scene: Scene) -> None:
    with watched(scene, SENTINEL_WATCH="compose", SENTINEL_SETTLE="5s") as watch:
        db = composed(scene, "db", SLOW_DB)
        web = composed(scene, "web", NEEDS_DB, "--requires", db)
        watch.wait_log(f"watching {web}")
        if not scene.says_who:
            return
        watch.wait_log(f"{web} ended .* before what it needs was ready")
        scene.cli("exec", db, "touch", "/go")
        until(lambda: scene.runs(web) and scene.podman.cli("exec", db, "test", "-e", "/s/up", check=False).returncode == 0)
        engines.wait_until(lambda: not scene.runs(web), 3)  # it may have looked a moment too early
        until(lambda: scene.runs(web))
        scene.cli("stop", "--time", "5", db)
        until(lambda: not scene.runs(web))  # before its own turn, and before the end of what it needs
        scene.cli("stop", "--time", "5", web)
        watch.wait_log(rf"\[Stopped\] {web} ")
        assert scene.titles(db) == scene.titles(web) == WISH


def test_a_death_in_a_project_of_podman_compose_is_a_death(scene: Scene) -> None:
    with watched(scene, SENTINEL_WATCH="compose") as watch:
        web = composed(scene, "web", LIVES)
        watch.wait_log(f"watching {web}")
        crash(scene, web)
        red = watch.wait_log(rf"\[DEAD\] {web} ")
        if scene.says_who:
            until(lambda: scene.titles(web) == DEATH)
        texts = [embed.text for message in scene.discord.messages for embed in versions(message)]
        assert red and any(f"podman start {web}" in text for text in texts)


@pytest.mark.skipif(not importlib.util.find_spec("podman_compose"), reason="podman-compose is not installed (an extra)")
def test_podman_compose_itself(scene: Scene, tmp_path: Path) -> None:
    """Its labels are those that are written above: the project is found, and its ups and downs ping nobody."""
    folder = tmp_path / "shop"
    folder.mkdir()
    services = json.loads(stack(db={"runs": LIVES}, web={"runs": at_term(3), "depends_on": ["db"]}))["services"]
    for service in services.values():
        service["image"] = IMAGE
    (folder / "compose.yaml").write_text(json.dumps({"services": services}))
    there = scene.podman.script(tmp_path / "podman")

    def podman_compose(*arguments: str) -> None:
        command = [sys.executable, "-m", "podman_compose", "--in-pod", "false", "--podman-path", str(there), *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert not done.returncode, done.stderr

    with watched(scene, SENTINEL_WATCH="compose") as watch:
        podman_compose("up", "--detach")
        watch.wait_log("watching shop_web_1")
        podman_compose("restart", "--timeout", "2")
        podman_compose("stop", "--timeout", "2")
        if scene.says_who:
            until(lambda: scene.titles("shop_web_1") == scene.titles("shop_db_1") == WISH)
        assert not scene.runs("shop_web_1") and not scene.runs("shop_db_1")
        podman_compose("down", "--timeout", "2")
