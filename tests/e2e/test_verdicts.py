"""Every verdict true: what people of other watchdogs have reported, with real containers. A wish is a wish, a death is a
death, and the command that brings a service back changes nothing about it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import sentinel
from support.docker import IMAGE, DockerError, Engine, Project
from support.fake_discord import FakeDiscord
from support.sentinel import LIVES, RED, Stage, stack

MakeProject = Callable[[str], Project]
MakeStage = Callable[..., Stage]

CLOCK: dict[str, Any] = {}
#: At SIGTERM it drains until somebody says that it may go; it is not healthy meanwhile.
DRAINS = ("rm -f /drain; trap 'touch /drain; while [ ! -e /flushed ]; do sleep 0.1; done; echo flushed; exit 0' TERM; "
          "while :; do sleep 0.1; done")  # fmt: skip
SICK_WHILE_IT_DRAINS = {"test": "test ! -e /drain || { echo draining; exit 1; }", "interval": "500ms", "retries": 1}


@pytest.fixture
def stage(engine: Engine, project: MakeProject, tmp_path: Path) -> Iterator[MakeStage]:
    """Makes the scene of a test: stage(compose.yaml, **settings), with the project up and Sentinel watching it."""
    with contextlib.ExitStack() as scenes:

        def make(yaml_text: str, *arguments: str, up: Callable[[Project], Any] = Project.up, **settings: str) -> Stage:
            made = project(yaml_text)
            up(made, *arguments)
            discord = scenes.enter_context(FakeDiscord())
            folder = tmp_path / "sentinel"
            folder.mkdir()
            return scenes.enter_context(Stage(engine, made, discord, discord.add_webhook(), folder, **settings))

        yield make


# ---------------------------------------------------------------------------------------------- a wish is a wish


def drain(scene: Stage, *command: str) -> subprocess.Popen[bytes]:
    """Somebody stops `web` with more time than it asks for itself; it is sick by then, and all that was told is shown."""
    stopping = subprocess.Popen(command, env=scene.engine.env, cwd=scene.project.dir)
    scene.engine.wait(lambda: scene.state("web")["Health"]["Status"] == "unhealthy", what="a sick one")
    scene.settle()
    assert scene.titles == ["Stopped: clock"], "a probe of what is being stopped says nothing"
    return stopping


def test_a_stop_with_a_longer_time_is_left_alone(stage: MakeStage) -> None:
    scene = stage(stack(web={"runs": DRAINS, "healthcheck": SICK_WHILE_IT_DRAINS, "restart": "unless-stopped"}, clock=CLOCK))
    before = scene.started("web")
    stopping = drain(scene, "docker", "stop", "--time", "600", scene.name("web"))
    scene.shell("web", "touch /flushed")
    assert stopping.wait(20) == 0
    scene.grey("web")
    assert scene.started("web") == before and not scene.state("web")["Running"]
    assert scene.engine.log_of(scene.name("web")).strip() == "flushed"


def test_a_deploy_with_a_longer_time_is_left_alone(stage: MakeStage) -> None:
    web = {"runs": DRAINS, "healthcheck": SICK_WHILE_IT_DRAINS}
    scene = stage(stack(web=web, clock=CLOCK, clock2=CLOCK))
    scene.project.write(stack(web=web | {"environment": {"VERSION": "2"}}, clock=CLOCK, clock2=CLOCK))
    compose = [*scene.engine._compose, "--project-name", scene.project.name]
    stopping = drain(scene, *compose, "up", "--detach", "--timeout", "600", "web")
    scene.shell("web", "touch /flushed")
    assert stopping.wait(30) == 0, "the deploy goes through"
    scene.settle("clock2")
    assert scene.titles == ["Stopped: clock", "Stopped: clock2"] and scene.state("web")["Running"]


# --------------------------------------------------------------------------------------------- a death is a death


@pytest.mark.parametrize("policy", ["no", "unless-stopped"])
def test_a_crash_after_a_signal_that_was_survived_is_a_death(stage: MakeStage, policy: str) -> None:
    """`docker kill -s QUIT`, as for a Java thread dump; Docker's own policy is off after that, too."""
    scene = stage(stack(web={"restart": policy, "stop_grace_period": "2m", "runs": f"trap 'echo dump' QUIT; {LIVES}"}))
    before = scene.started("web")
    scene.engine.docker("kill", "--signal", "QUIT", scene.name("web"))
    scene.engine.wait(lambda: "dump" in scene.engine.log_of(scene.name("web")), what="a dump")
    scene.do("web", "echo OutOfMemoryError; exit 1")
    red = scene.red("web")
    assert "exit 1" in red.text and red.log.splitlines()[-1] == "OutOfMemoryError"
    scene.runs_again("web", before)
    scene.green("web")


def test_an_obeyed_signal_is_a_wish(stage: MakeStage) -> None:
    scene = stage(stack(web={"restart": "unless-stopped"}, clock=CLOCK))
    scene.engine.docker("kill", "--signal", "TERM", scene.name("web"))
    scene.grey("web")
    scene.settle()
    assert not scene.state("web")["Running"] and not [alert for alert in scene.alerts if alert.colour == RED]


def test_a_copy_of_a_container_is_not_taken_for_it(stage: MakeStage) -> None:
    """`docker commit` carries compose's labels: the real one's death is told all the same, and the copy is nobody's."""
    scene = stage(stack(web={}))
    copy, image = f"{scene.project.name}-debug", f"{scene.project.name}-snap"
    scene.engine.docker("commit", scene.name("web"), image)
    try:
        scene.engine.docker("run", "--detach", "--network", "none", "--name", copy, image, "sh", "-c",
                            "while [ ! -e /bye ]; do sleep 0.1; done; exit 1")  # fmt: skip
        before = scene.started("web")
        scene.do("web", "exit 3")
        assert "exit 3" in scene.red("web").text
        scene.runs_again("web", before)
        scene.green("web")
        assert scene.engine.state(copy)["Running"]
    finally:
        scene.engine.remove(copy)
        scene.engine.docker("image", "rm", image)


def test_a_death_that_ends_its_project_is_told_and_not_restarted_into_the_teardown(stage: MakeStage) -> None:
    """`compose up --abort-on-container-exit`, as a test run of a CI: one dies, and compose stops the others."""
    scene = stage(stack(tests={}, db={}, api={"depends_on": ["db"]}), up=lambda made: made.run("create"))
    compose = [*scene.engine._compose, "--project-name", scene.project.name]
    foreground = subprocess.Popen([*compose, "up", "--exit-code-from", "tests"], env=scene.engine.env, cwd=scene.project.dir,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # fmt: skip
    scene.engine.wait(lambda: all(scene.state(name)["Running"] for name in ("tests", "db", "api")), what="a whole project")
    began = scene.started("tests")
    scene.do("tests", "exit 3")
    assert "exit 3" in scene.red("tests").text
    assert foreground.wait(40) == 3
    scene.grey("db")
    scene.wait_alert("its end", lambda alert: "The rest of its project was stopped with it." in alert.text)
    assert scene.started("tests") == began and not scene.state("tests")["Running"]


SICK_AT_FIRST = {"test": "test -e /well", "interval": "500ms", "retries": 2}


def breaks_off(made: Project) -> None:
    """`compose up` that ends with an error before it has started everything."""
    with pytest.raises(DockerError):
        made.up()


def test_what_compose_never_started_is_one_story_with_what_has_failed_and_started_after_that(stage: MakeStage) -> None:
    """The first `up -d` of a project whose database is sick: compose ends with 1, and leaves the others `Created`."""
    db = {"healthcheck": SICK_AT_FIRST, "runs": f"[ -e /begun ] && touch /well; touch /begun; {LIVES}"}
    web = {"depends_on": {"db": {"condition": "service_healthy"}}}
    scene = stage(stack(db=db, web=web, clock=CLOCK), up=breaks_off)  # else db may be healed before compose has looked
    scene.red("db", "UNHEALTHY")
    scene.wait_alert("web in its story", lambda alert: alert.colour == RED and "web ← db`: never started" in alert.text)
    scene.green("db", 40)
    scene.engine.wait(lambda: bool(scene.state("web")["Running"]), what="a web that runs")


def test_what_compose_never_started_since_a_hook_failed_is_told(stage: MakeStage) -> None:
    db = {"post_start": [{"command": ["sh", "-c", "exit 7"]}]}
    scene = stage(stack(db=db, web={"depends_on": ["db"]}, clock=CLOCK), up=lambda made: made.up("clock"))
    breaks_off(scene.project)
    if scene.state("web")["Status"] != "created":
        pytest.skip("this version of compose knows no hooks")
    red = scene.red("web")
    assert "never started" in red.text and "compose broke off" in red.text
    scene.engine.docker("start", scene.name("web"))
    scene.green("web")


def test_what_waits_for_a_job_is_named_where_that_fails(stage: MakeStage) -> None:
    job = {"runs": "sleep 1; echo no such table; exit 4"}
    web = {"depends_on": {"job": {"condition": "service_completed_successfully"}}}
    scene = stage(stack(job=job, web=web, clock=CLOCK), up=lambda made: made.up("clock"))
    breaks_off(scene.project)
    assert "Never started, since compose waits for it: web." in scene.red("job", "FAILED").text


def test_a_recreate_that_breaks_after_the_rename_is_no_stop(stage: MakeStage) -> None:
    """compose 1.29 on an engine of today: it has stopped and renamed the old container, and makes no new one."""
    scene = stage(stack(web={}, clock=CLOCK))
    name = scene.name("web")
    scene.engine.docker("stop", name)
    scene.engine.docker("rename", name, f"{scene.engine.ids(f'name={name}')[0][:12]}_{name}")
    scene.wait_alert("VANISHED", lambda alert: alert.colour == RED and "VANISHED" in alert.title)


def test_what_somebody_else_starts_again_and_again_is_a_crash_loop(stage: MakeStage) -> None:
    """As a systemd unit does, or a script: whoever restarts it, three deaths in five minutes are a loop."""
    scene = stage(stack(web={"runs": "sleep 1; echo boom; exit 1", "restart": "no"}))
    unit = subprocess.Popen(["sh", "-c", f"while :; do docker start -a {scene.name('web')}; sleep 2; done"],
                            env=scene.engine.env, stdout=subprocess.DEVNULL)  # fmt: skip
    try:
        loop = scene.red("web", "CRASH LOOP")
        assert "in 0s" not in loop.text and len(scene.discord.messages) == 1
    finally:
        unit.kill()
        unit.wait()


def test_what_was_not_tried_is_not_given_up(stage: MakeStage) -> None:
    """The restart of an incident that has ended well is none of the next one's."""
    scene = stage(stack(web={}))
    before = scene.started("web")
    scene.do("web", "exit 1")
    scene.runs_again("web", before)
    scene.green("web")
    scene.do("web", "exit 0")
    alert = scene.wait_alert("exit 0", lambda alert: "exit 0" in alert.text)
    assert alert.title == f"[DEAD] {scene.name('web')}" and "restart policy is `no`" in alert.text.replace("\\", "")


# --------------------------------------------------------------------- the command that brings it back changes nothing


def configuration(scene: Stage, service: str = "web") -> dict[str, Any]:
    """What a container is, as far as a restart may not change it."""
    found = scene.engine.inspect(scene.name(service))
    return {"id": found["Id"], "env": found["Config"]["Env"], "mounts": found["Mounts"], "command": found["Config"]["Cmd"]}


def paste(scene: Stage, alert: sentinel.Alert) -> str:
    """Run what an alert says."""
    command = sentinel.pasted(alert)
    sentinel.paste(scene.engine, command)
    return command


def elsewhere(made: Project, *arguments: str) -> str:
    """docker compose up, with a folder and variables that are not those of the file's own place."""
    deploy = made.dir / "deploy"
    deploy.mkdir()
    made.file.rename(deploy / "compose.yaml")
    (made.dir / "prod.env").write_text("MODE=production\n", encoding="utf-8")
    (made.dir / "data").mkdir()
    return made.engine.compose(made.dir, "--project-name", made.name, "--project-directory", ".", "--env-file", "prod.env",
                               "-f", "deploy/compose.yaml", "up", "--detach")  # fmt: skip


def piped(made: Project, *arguments: str) -> str:
    """docker compose -f - up: no file anywhere."""
    text = made.file.read_bytes()
    made.file.unlink()
    return made.engine._run([*made.engine._compose, "--project-name", made.name, "-f", "-", "up", "--detach"], 60.0,
                            cwd=made.dir, stdin=text)  # fmt: skip


TOLD_ONLY = {"labels": {"sentinel.restart": "false"}}
DATABASE = stack(web={**TOLD_ONLY, "environment": {"MODE": "${MODE:-unset}"}, "volumes": ["./data:/data"]})


@pytest.mark.parametrize("up", [Project.up, elsewhere, piped], ids=["as usual", "elsewhere", "piped in"])
def test_the_command_brings_back_the_same_container(stage: MakeStage, up: Callable[[Project], Any]) -> None:
    scene = stage(DATABASE.replace("$$", "$"), up=up)
    before = configuration(scene)
    scene.do("web", "exit 3")
    red = scene.red("web")
    if scene.project.file.exists():  # not deployed yet, and not to be deployed by this
        scene.project.write(json.dumps(json.loads(DATABASE) | {"x-edited": True}).replace("unset", "edited"))
    paste(scene, red)
    scene.green("web")
    assert configuration(scene) == before


def test_the_command_for_one_of_several_leaves_the_others_alone(stage: MakeStage) -> None:
    """compose would go back to the number that the file says."""
    scene = stage(stack(web=TOLD_ONLY), "--scale", "web=3")
    before = [configuration(scene, f"web-{number}") for number in (1, 2, 3)]
    scene.do("web-2", "exit 3")
    paste(scene, scene.red("web-2"))
    scene.green("web-2")
    assert [configuration(scene, f"web-{number}") for number in (1, 2, 3)] == before
    assert all(scene.state(f"web-{number}")["Running"] for number in (1, 2, 3))


def test_the_command_for_a_sick_one_brings_back_the_same_container(stage: MakeStage) -> None:
    probe = {"test": "test ! -e /sick", "interval": "500ms", "retries": 1}
    scene = stage(stack(web={**TOLD_ONLY, "runs": f"rm -f /sick; {LIVES}", "healthcheck": probe}))
    scene.engine.wait(lambda: scene.state("web")["Health"]["Status"] == "healthy", what="a healthy start")
    before = configuration(scene)
    scene.shell("web", "touch /sick")
    paste(scene, scene.red("web", "UNHEALTHY"))
    scene.green("web")
    assert configuration(scene) == before


def test_the_command_for_one_that_is_not_composes_brings_it_back(engine: Engine, stage: MakeStage) -> None:
    scene = stage(stack(web={}), SENTINEL_WATCH="all", SENTINEL_PROJECTS="")
    name = f"{scene.project.name}-bare"
    engine.docker("run", "--detach", "--network", "none", "--name", name, "--label", "sentinel.restart=false", IMAGE,
                  "sh", "-c", LIVES)  # fmt: skip
    try:
        scene.sentinel.wait_log(rf"watching {name} ")
        sentinel.do(engine, name, "exit 3")
        assert paste(scene, scene.told(f"[DEAD] {name}")) == f"docker start {name}"
        scene.told(f"Recovered: {name}")
    finally:
        engine.remove(name)


def test_the_command_for_one_whose_network_is_gone_makes_it_anew_whatever_fails_later(stage: MakeStage) -> None:
    """Its restart fails and leaves it down: `docker start` can't work any more, and the alert says what does."""
    services = {"vpn": {"runs": LIVES}, "torrent": {"network_mode": "service:vpn", "depends_on": ["vpn"]}}
    scene = stage(stack(**services))
    scene.project.write(stack(**services | {"vpn": {"runs": LIVES, "environment": {"VERSION": "2"}}}))
    scene.project.up("--no-deps", "vpn")
    red = scene.red("torrent", "ORPHANED")
    assert "--force-recreate" in sentinel.pasted(red)
    with contextlib.suppress(Exception):
        scene.engine.docker("restart", "--time", "0", scene.name("torrent"))
    later = scene.wait_alert("can't start", lambda alert: "[DEAD]" in alert.title and "torrent" in alert.title, 15)
    assert "--force-recreate" in paste(scene, later)
    scene.green("torrent")
