"""What Sentinel does, promise by promise: real containers on a real engine, the real program, a strict fake Discord.

Each test is one promise of tests/README.md. Where a test has to show that nothing happens, it lets a service
named `clock` be stopped and waits until Sentinel says so: what was not told by then never will be.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support import sentinel
from support.docker import DockerError, Engine, Project
from support.fake_discord import FakeDiscord
from support.sentinel import GREEN, LIVES, RED, STUBBORN, Sentinel, Stage, stack

MakeProject = Callable[[str], Project]
MakeStage = Callable[..., Stage]

CLOCK: dict[str, Any] = {}
#: After its first crash it can't live any more.
BROKEN = "[ -e /did ] && { echo no such config; exit 1; }; " + LIVES
#: Healthy until /sick is there. The next life first removes that, and answers no probe as long as /slow is there.
SICKLY = "[ -e /sick ] && rm /sick && touch /slow; "
PROBE = {
    "test": "while [ -e /slow ]; do sleep 0.1; done; if [ -e /sick ]; then echo pool exhausted; exit 1; fi",
    "interval": "500ms",
    "timeout": "30s",
    "retries": 1,
}


@pytest.fixture
def stage(engine: Engine, project: MakeProject, tmp_path: Path) -> Iterator[MakeStage]:
    """Makes the scene of a test: stage(compose.yaml, **settings), with the project up and Sentinel watching it."""
    with contextlib.ExitStack() as scenes:

        def make(yaml_text: str, **settings: str) -> Stage:
            made = project(yaml_text)
            made.up()
            discord = scenes.enter_context(FakeDiscord())
            folder = tmp_path / "sentinel"
            folder.mkdir()
            return scenes.enter_context(Stage(engine, made, discord, discord.add_webhook(), folder, **settings))

        yield make


# ------------------------------------------------------------------------------------ deaths that nobody asked for


def test_a_crash_is_told_in_red_restarted_and_told_in_green_when_it_holds(stage: MakeStage) -> None:
    scene = stage(stack(web={}))
    name, before = scene.name("web"), scene.started("web")
    scene.do("web", "echo starting; sleep 0.2; echo cannot reach the database >&2; exit 3")
    red = scene.red("web")
    assert f"{name} is DEAD — exit 3" in red.text
    assert "Exited (3)" in red.text
    assert red.log.splitlines() == ["starting", "cannot reach the database"]
    assert "web" in sentinel.pasted(red)
    footer = red.message.embeds[0]["footer"]["text"]
    assert scene.engine.docker("info", "--format", "{{.Name}}") in footer and "incident" in footer
    scene.runs_again("web", before)
    green = scene.green("web")
    assert re.search(rf"{name} is back online \(was down ~\d+s\)", green.text)
    assert scene.state("web")["Running"]
    assert scene.titles == ["[DEAD] web", "Recovered: web"]


def test_a_kill_from_the_host_is_a_death_from_outside_the_engine(stage: MakeStage, engine: Engine) -> None:
    if not engine.can_kill_from_host():
        pytest.skip("the containers are not processes that this user may kill")
    scene = stage(stack(web={}))
    before = scene.started("web")
    engine.kill_from_host(scene.name("web"), signal.SIGKILL)
    red = scene.red("web")
    assert f"{scene.name('web')} is DEAD — exit 137 (SIGKILL)" in red.text
    assert "killed from outside" in red.text and "out of memory" not in red.text
    scene.runs_again("web", before)


def test_a_death_for_memory_says_so_with_the_limit(stage: MakeStage) -> None:
    scene = stage(stack(web={"mem_limit": "16m", "memswap_limit": "16m"}))
    before = scene.started("web")
    scene.do("web", "exec tail /dev/zero")  # which never ends, and tail keeps the last line in memory
    red = scene.red("web")
    assert "exit 137 (SIGKILL)" in red.text
    assert "out of memory" in red.text and "16 MiB" in red.text
    scene.runs_again("web", before)


def test_a_death_by_another_signal_names_the_signal(stage: MakeStage) -> None:
    scene = stage(stack(web={}))
    scene.do("web", "sh -c 'kill -SEGV $$'; exit $?")
    assert f"{scene.name('web')} is DEAD — exit 139 (SIGSEGV)" in scene.red("web").text


def test_a_service_that_ends_with_0_is_told_but_not_restarted_under_policy_no(stage: MakeStage) -> None:
    scene = stage(stack(web={}, clock=CLOCK, other={"depends_on": ["web"]}))
    before = scene.started("web")
    scene.do("web", "exit 0")
    red = scene.red("web")
    assert f"{scene.name('web')} is DEAD — exit 0" in red.text
    assert "sentinel.job" in red.text
    scene.settle()
    assert scene.started("web") == before and not scene.state("web")["Running"]
    assert scene.titles == ["[DEAD] web", "Stopped: clock"]


def test_an_init_container_that_has_done_its_work_is_told_once_in_amber(stage: MakeStage) -> None:
    scene = stage(stack(init={}, clock=CLOCK))
    scene.do("init", "exit 0")
    alert = scene.told(f"[ENDED] {scene.name('init')}")
    assert alert.colour == sentinel.AMBER and "sentinel.job" in alert.text
    scene.settle()
    assert scene.titles == ["[ENDED] init", "Stopped: clock"] and not scene.state("init")["Running"]


def test_a_service_that_ends_with_0_under_always_is_told_and_left_to_docker(stage: MakeStage) -> None:
    scene = stage(stack(web={"restart": "always"}))
    before = scene.started("web")
    scene.do("web", "exit 0")
    red = scene.red("web")
    assert f"{scene.name('web')} is DEAD — exit 0" in red.text
    waits = "Docker" in red.text and "always" in red.text
    assert waits or "It runs again" in red.text, "Docker may be quicker than the look"
    scene.runs_again("web", before)
    scene.green("web")
    assert scene.titles == ["[DEAD] web", "Recovered: web"]
    assert not re.search(sentinel.RESTARTING.format(name=scene.name("web")), scene.sentinel.log)


def test_a_death_has_its_last_lines_though_docker_was_quicker_than_sentinel(stage: MakeStage) -> None:
    scene = stage(stack(web={"restart": "unless-stopped"}))
    before = scene.started("web")
    with scene.sentinel.held():
        scene.do("web", "echo starting; sleep 0.2; echo cannot reach the database >&2; exit 3")
        scene.runs_again("web", before)
    red = scene.red("web")
    assert f"{scene.name('web')} is DEAD — exit 3" in red.text and "It runs again" in red.text
    assert red.log.splitlines() == ["starting", "cannot reach the database"]
    scene.green("web")
    assert scene.titles == ["[DEAD] web", "Recovered: web"]


def test_an_end_with_0_under_on_failure_is_no_death(stage: MakeStage) -> None:
    scene = stage(stack(web={"restart": "on-failure"}, clock=CLOCK))
    scene.do("web", "exit 0")
    scene.settle()
    assert scene.titles == ["Stopped: clock"]
    assert not scene.state("web")["Running"]


def test_docker_kill_is_a_death_and_is_healed(stage: MakeStage) -> None:
    scene = stage(stack(web={}))
    before = scene.started("web")
    scene.engine.docker("kill", scene.name("web"))
    red = scene.red("web")
    assert "exit 137 (SIGKILL)" in red.text and "killed through the API" in red.text
    scene.runs_again("web", before)


def test_a_signal_that_is_survived_is_no_message_and_a_later_crash_is_healed(stage: MakeStage) -> None:
    """Docker's own policy is switched off by such a signal, so Sentinel has to restart them all."""
    scene = stage(stack(plain={}, always={"restart": "always"}, unless={"restart": "unless-stopped"}, clock=CLOCK))
    for service, number in (("plain", "HUP"), ("always", "HUP"), ("unless", "USR1")):
        scene.engine.docker("kill", "--signal", number, scene.name(service))
    scene.settle()
    assert scene.titles == ["Stopped: clock"]
    for service in ("plain", "always", "unless"):
        before = scene.started(service)
        scene.do(service, "exit 5")
        assert f"{scene.name(service)} is DEAD — exit 5" in scene.red(service).text
        scene.runs_again(service, before)


def test_a_container_that_cannot_be_started_is_told_with_the_engines_words(stage: MakeStage) -> None:
    scene = stage(stack(clock=CLOCK))
    with pytest.raises(DockerError):
        scene.change(stack(clock=CLOCK, web={"command": ["/nope"]}))
    red = scene.red("web")
    assert f"{scene.name('web')} is DEAD — can't start" in red.text
    assert '"/nope"' in red.text and "no such file" in red.text
    scene.change(stack(clock=CLOCK, web={}))
    scene.green("web")


# ------------------------------------------------------------------------------------------------------------ jobs


def test_a_job_that_ends_well_is_silent_and_one_that_fails_is_told_but_not_restarted(stage: MakeStage) -> None:
    job = {"labels": {"sentinel.job": "true"}}
    scene = stage(stack(good=job, bad=job, clock=CLOCK))
    before = scene.started("bad")
    scene.do("good", "exit 0")
    scene.do("bad", "echo nothing to import; exit 2")
    red = scene.red("bad", "FAILED")
    assert "exit 2" in red.text and red.log == "nothing to import"
    scene.settle()
    assert scene.titles == ["[FAILED] bad", "Stopped: clock"]
    assert scene.started("bad") == before and not scene.state("bad")["Running"]


def test_a_service_whose_completion_a_sibling_waits_for_is_a_job(stage: MakeStage) -> None:
    web = {"depends_on": {"migrate": {"condition": "service_completed_successfully"}}}
    scene = stage(stack(clock=CLOCK))
    scene.change(stack(clock=CLOCK, migrate={"runs": "exit 0"}, web=web))
    assert scene.state("web")["Running"]
    scene.settle()
    assert scene.titles == ["Stopped: clock"]
    with pytest.raises(DockerError):
        scene.change(stack(migrate={"runs": "echo no such table; exit 9"}, web=web))
    assert "exit 9" in scene.red("migrate", "FAILED").text


def test_compose_run_is_silent_when_it_ends_well_and_told_when_it_fails(stage: MakeStage) -> None:
    scene = stage(stack(web={}, clock=CLOCK))
    name = f"{scene.project.name}-once"

    def compose_run(script: str) -> None:
        scene.project.run("run", "--rm", "-T", "--name", name, "web", "sh", "-c", script)

    compose_run("exit 0")
    scene.settle()
    assert scene.titles == ["Stopped: clock"]
    with pytest.raises(DockerError, match=r"failed \(7\)"):
        compose_run("exit 7")
    assert "exit 7" in scene.told(f"[FAILED] {name}").text
    assert scene.about("web") == []


# ---------------------------------------------------------------------------------------- ends that somebody wanted


def test_a_stop_is_told_in_grey_after_the_settle_time_and_never_undone(stage: MakeStage) -> None:
    scene = stage(stack(one={}, two={"restart": "always"}, stubborn={"runs": STUBBORN}), SENTINEL_SETTLE="1s")
    before = {service: scene.started(service) for service in ("one", "two", "stubborn")}
    for service, command in (
        ("one", lambda: scene.engine.docker("stop", scene.name("one"))),
        ("two", lambda: scene.project.run("stop", "two")),
        ("stubborn", lambda: scene.engine.docker("stop", "--time", "1", scene.name("stubborn"))),
    ):
        began = scene.discord.clock()
        command()
        assert scene.grey(service).message.time - began >= 1.0
    assert scene.state("stubborn")["ExitCode"] == 137
    assert scene.titles == ["Stopped: one", "Stopped: two", "Stopped: stubborn"]
    assert {service: scene.started(service) for service in before} == before
    assert not any(scene.state(service)["Running"] for service in before)


def test_a_restart_by_an_operator_is_not_worth_a_message(stage: MakeStage) -> None:
    scene = stage(stack(one={}, two={}, stubborn={"runs": STUBBORN}, clock=CLOCK), SENTINEL_SETTLE="4s")
    scene.engine.docker("restart", scene.name("one"))
    scene.project.run("restart", "two")
    scene.engine.docker("restart", "--time", "1", scene.name("stubborn"))
    scene.settle()
    assert scene.titles == ["Stopped: clock"]


def test_a_recreated_service_is_not_worth_a_message_and_is_still_watched(stage: MakeStage) -> None:
    scene = stage(stack(one={}, two={}, clock=CLOCK), SENTINEL_SETTLE="4s")
    scene.project.up("--force-recreate", "one")
    scene.change(stack(one={}, two={"environment": {"VERSION": "2"}}, clock=CLOCK))
    scene.settle()
    assert scene.titles == ["Stopped: clock"]
    for service in ("one", "two"):
        scene.do(service, "exit 6")
        assert "exit 6" in scene.red(service).text


def test_a_deploy_that_breaks_the_service_is_a_death(stage: MakeStage) -> None:
    scene = stage(stack(web={}))
    scene.change(stack(web={"runs": "echo bad release; sleep 0.2; exit 9"}))
    red = scene.red("web")
    assert f"{scene.name('web')} is DEAD — exit 9" in red.text and red.log == "bad release"
    scene.change(stack(web={}))
    scene.green("web")


def test_a_start_after_a_stop_is_silent_and_covered_again(stage: MakeStage) -> None:
    scene = stage(stack(web={}, clock=CLOCK), SENTINEL_SETTLE="1s")
    scene.engine.docker("stop", scene.name("web"))
    scene.grey("web")
    scene.project.run("start", "web")
    scene.settle()
    scene.do("web", "exit 2")
    scene.red("web")
    assert scene.titles == ["Stopped: web", "Stopped: clock", "[DEAD] web"]


def test_scaling_up_is_covered_and_scaling_down_is_no_death(stage: MakeStage) -> None:
    scene = stage(stack(web={}, clock=CLOCK))
    scene.project.up("--scale", "web=3")
    scene.sentinel.wait_ready(scene.name("web-3"))
    scene.do("web-2", "exit 4")
    assert "exit 4" in scene.red("web-2").text
    scene.green("web-2")
    scene.project.up("--scale", "web=1")
    scene.settle()
    assert [alert.title for alert in scene.alerts if alert.colour == RED] == [f"[DEAD] {scene.name('web-2')}"]


def test_a_project_taken_down_is_one_grey_message(stage: MakeStage) -> None:
    scene = stage(stack(one={}, two={"restart": "always"}, three={"runs": STUBBORN, "stop_grace_period": "1s"}),
                  SENTINEL_SETTLE="5s")  # fmt: skip
    names = [scene.name(service) for service in ("one", "two", "three")]
    scene.project.run("down")
    scene.discord.wait_for(lambda discord: discord.messages)
    (alert,) = scene.alerts
    assert alert.colour == sentinel.GREY and alert.title == f"Stopped: {scene.project.name}"
    assert all(name in alert.text for name in names)


def test_a_removed_container_is_no_death(stage: MakeStage) -> None:
    scene = stage(stack(one={}, two={"restart": "always"}, clock=CLOCK))
    scene.engine.docker("rm", "--force", scene.name("one"), scene.name("two"))
    scene.settle()
    assert not [alert.title for alert in scene.alerts if alert.colour == RED]


def test_a_pause_is_nothing_even_with_a_health_check(stage: MakeStage) -> None:
    quick = {**PROBE, "timeout": "500ms"}
    scene = stage(stack(web={}, probed={"healthcheck": quick}, clock=CLOCK, clock2=CLOCK), SENTINEL_SETTLE="1s")
    names = [scene.name("web"), scene.name("probed")]
    scene.engine.docker("pause", *names)
    scene.settle()
    scene.engine.docker("unpause", *names)
    scene.settle("clock2")
    assert scene.titles == ["Stopped: clock", "Stopped: clock2"]
    assert all(scene.state(service)["Running"] for service in ("web", "probed"))


def test_a_death_soon_after_an_unpause_is_told_though_no_look_was_between(stage: MakeStage) -> None:
    scene = stage(stack(web={}, clock=CLOCK), SENTINEL_SETTLE="1s")
    scene.engine.docker("pause", scene.name("web"))
    scene.settle()
    with scene.sentinel.held():
        scene.engine.docker("unpause", scene.name("web"))
        scene.do("web", "echo lost the lease; exit 3")
        scene.engine.wait(lambda: not scene.state("web")["Running"], what="its end")
    red = scene.red("web")
    assert f"{scene.name('web')} is DEAD — exit 3" in red.text and red.log == "lost the lease"
    scene.green("web")
    assert scene.titles == ["Stopped: clock", "[DEAD] web", "Recovered: web"]


# ---------------------------------------------------------------------------------------------- health, crash loops


def test_an_unhealthy_service_is_restarted_and_green_only_when_healthy(stage: MakeStage) -> None:
    scene = stage(stack(web={"runs": SICKLY + LIVES, "healthcheck": PROBE}, other={}))
    scene.engine.wait(lambda: scene.state("web")["Health"]["Status"] == "healthy", what="a healthy start")
    before = scene.started("web")
    scene.shell("web", "touch /sick")
    red = scene.red("web", "UNHEALTHY")
    assert "pool exhausted" in red.text
    scene.runs_again("web", before)
    scene.do("other", "exit 1")  # its recovery shows that the time for a proof has passed
    scene.green("other")
    assert scene.titles == ["[UNHEALTHY] web", "[DEAD] other", "Recovered: other"]
    assert scene.state("web")["Health"]["Status"] == "starting"
    scene.shell("web", "rm /slow")
    scene.green("web")
    assert scene.state("web")["Health"]["Status"] == "healthy"


def test_what_does_not_come_up_is_given_up_and_that_is_told(stage: MakeStage) -> None:
    scene = stage(stack(web={"runs": BROKEN}, clock=CLOCK), SENTINEL_MAX_RESTARTS="2")
    scene.do("web", "exit 1")
    gave_up = scene.red("web", "GAVE UP")
    assert gave_up.log == "no such config" and "web" in sentinel.pasted(gave_up)
    last = scene.started("web")
    scene.settle()
    assert scene.titles == ["[DEAD] web", "[GAVE UP] web", "Stopped: clock"]
    assert scene.started("web") == last and not scene.state("web")["Running"]


def test_a_crash_loop_under_always_is_left_to_docker_and_is_no_flood(stage: MakeStage) -> None:
    scene = stage(stack(web={"runs": BROKEN, "restart": "always"}))
    scene.do("web", "exit 1")
    scene.red("web", "CRASH LOOP")
    scene.engine.wait(lambda: scene.engine.inspect(scene.name("web"))["RestartCount"] >= 7, 30, "more restarts")
    assert scene.titles == ["[DEAD] web", "[CRASH LOOP] web"]
    assert len(scene.discord.messages) <= 2


def test_where_docker_gave_up_sentinel_steps_in(stage: MakeStage) -> None:
    twice = "[ -e /did ] && [ ! -e /twice ] && { touch /twice; exit 1; }; " + LIVES
    scene = stage(stack(web={"runs": twice, "restart": "on-failure:1"}))
    scene.do("web", "exit 1")
    scene.red("web")
    scene.sentinel.wait_log(sentinel.RESTARTING.format(name=scene.name("web")))
    scene.green("web")
    assert scene.titles == ["[DEAD] web", "Recovered: web"]


def test_a_stop_ends_dockers_backoff_and_nobody_starts_it_again(stage: MakeStage) -> None:
    scene = stage(stack(web={"runs": BROKEN, "restart": "always"}, clock=CLOCK))
    scene.do("web", "exit 1")
    scene.red("web", "CRASH LOOP")
    scene.engine.wait(lambda: scene.engine.inspect(scene.name("web"))["RestartCount"] >= 5, what="a long backoff")
    scene.engine.docker("stop", scene.name("web"))
    last = scene.started("web")
    scene.settle()
    assert scene.started("web") == last and not scene.state("web")["Running"]
    assert [title for title in scene.titles if title[0] == "["] == ["[DEAD] web", "[CRASH LOOP] web"]


# ------------------------------------------------------------------------------------------------ what is watched


def test_a_service_added_while_it_runs_is_covered(stage: MakeStage) -> None:
    scene = stage(stack(web={}))
    scene.change(stack(web={}, late={}))
    scene.do("late", "exit 8")
    assert "exit 8" in scene.red("late").text


def test_labels_say_what_is_not_watched_and_what_is_not_restarted(stage: MakeStage) -> None:
    unwatched, untouched = {"labels": {"sentinel.watch": "false"}}, {"labels": {"sentinel.restart": "false"}}
    scene = stage(stack(unwatched=unwatched, untouched=untouched, clock=CLOCK))
    before = scene.started("untouched")
    scene.do("unwatched", "exit 1")
    scene.do("untouched", "exit 1")
    assert "Not restarted" in scene.red("untouched").text
    scene.settle()
    assert scene.titles == ["[DEAD] untouched", "Stopped: clock"]
    assert scene.started("untouched") == before
    assert not scene.state("untouched")["Running"] and not scene.state("unwatched")["Running"]


def test_with_restart_false_it_tells_and_never_touches_and_the_recovery_command_works(stage: MakeStage) -> None:
    scene = stage(stack(web={}, clock=CLOCK), SENTINEL_RESTART="false")
    before = scene.started("web")
    scene.do("web", "exit 1")
    red = scene.red("web")
    scene.settle()
    assert scene.started("web") == before and not scene.state("web")["Running"]
    sentinel.paste(scene.engine, sentinel.pasted(red))
    scene.green("web")
    assert scene.titles == ["[DEAD] web", "Stopped: clock", "Recovered: web"]


def test_stops_can_be_alerts_and_are_then_undone(stage: MakeStage) -> None:
    scene = stage(stack(web={}), SENTINEL_STOPS="alert", SENTINEL_SETTLE="1s")
    before = scene.started("web")
    scene.engine.docker("stop", scene.name("web"))
    scene.red("web")
    scene.runs_again("web", before)


def test_stops_can_be_ignored(stage: MakeStage) -> None:
    scene = stage(stack(web={}, other={}), SENTINEL_STOPS="ignore", SENTINEL_SETTLE="1s")
    scene.engine.docker("stop", scene.name("web"))
    scene.do("other", "exit 1")  # its recovery takes longer than the settle time
    scene.green("other")
    assert scene.titles == ["[DEAD] other", "Recovered: other"]
    assert not scene.state("web")["Running"]


# ---------------------------------------------------------------------------------------------- what containers say


def test_the_last_line_is_shown_of_a_terminal_of_rubbish_and_after_a_megabyte(stage: MakeStage) -> None:
    scene = stage(stack(terminal={"tty": True}, rubbish={}, huge={}))
    scripts = {
        "terminal": "printf '\\033[31mred\\033[0m\\r\\n'; echo the end; exit 1",
        "rubbish": "head -c 5000 /dev/urandom; printf '\\0\\377\\n\\001\\0\\0\\0\\n'; echo the end; exit 1",
        "huge": "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1",
    }
    for service, script in scripts.items():
        scene.do(service, script)
        red = scene.red(service)
        assert red.log.splitlines()[-1] == "the end"
        assert "exit 1" in red.text and "\x1b" not in red.text
        assert scene.name(service) in red.text


def test_what_a_container_writes_pings_nobody_and_stays_in_its_code_block(stage: MakeStage) -> None:
    scene = stage(stack(web={}))
    lines = ["```", "@everyone <@123456789012345678>", "**bold** [a](https://example.com)", "`` ` ```js", "> the end"]
    scene.do("web", "cat <<'END'\n" + "\n".join(lines) + "\nEND\nexit 1")
    red = scene.red("web")
    assert len(red.log.splitlines()) == len(lines) and red.log.endswith("> the end")
    payload = red.message.payload
    assert payload["allowed_mentions"] == {"parse": [], "roles": [], "users": []}
    assert "@everyone" not in payload.get("content", "")


def test_a_password_in_a_log_is_not_passed_on(stage: MakeStage) -> None:
    scene = stage(stack(web={}))
    hidden = ["hunter2hunter2", "s3cr3t-in-a-url", "ghp_" + "a1B2c3D4e5" * 4]
    first, second, third = hidden
    scene.do("web", f"echo DB_PASSWORD={first}; echo postgres://app:{second}@db/shop; echo using {third}; exit 1")
    log = scene.red("web").log
    assert not [secret for secret in hidden if secret in log]
    assert "DB_PASSWORD=" in log and "@db/shop" in log
    assert not [secret for secret in hidden if secret in scene.sentinel.log]


# ------------------------------------------------------------------------------------------------ many, and the end


def test_twenty_killed_at_once_are_all_told_all_restarted_and_few_messages(
    stage: MakeStage, engine: Engine, heavy: None
) -> None:
    if not engine.can_kill_from_host():
        pytest.skip("the containers are not processes that this user may kill")
    scene = stage(stack(web={"runs": "exec sleep 1000", "scale": 20, "stop_signal": "SIGKILL"}))
    names = [scene.name(f"web-{number}") for number in range(1, 21)]
    scene.discord.arm("hang", seconds=0.15, window=(0, 1000))  # about as slow as the real one
    for pid in [engine.host_pid(name) for name in names]:
        os.kill(pid, signal.SIGKILL)

    def all_told(colour: int, words: str) -> Callable[[FakeDiscord], bool]:
        def told(_: FakeDiscord) -> bool:
            text = "\n".join(f"{alert.text}\n" for alert in scene.alerts if alert.colour == colour)
            return all(words.format(name=name) in text for name in names)

        return told

    scene.discord.wait_for(all_told(RED, "{name} is DEAD — exit 137 (SIGKILL)"), 20)
    scene.discord.wait_for(all_told(GREEN, "{name} is back online (was down ~"), 30)
    assert all(engine.state(name)["Running"] for name in names)
    first = [message.history[0].before["embeds"] if message.history else message.embeds
             for message in scene.discord.messages]  # fmt: skip
    commands = [line for embeds in first for embed in embeds for line in embed["description"].splitlines()
                if " up -d web" in line or "docker start" in line]  # fmt: skip
    assert len(commands) == 20
    # What comes one after the other is told as it comes, no faster than the webhook's five in two seconds.
    passed = spread(engine, names, "FinishedAt") + spread(engine, names, "StartedAt")
    assert len(scene.discord.messages) <= 2 * (5 + 1) + 2.5 * passed


def spread(engine: Engine, names: list[str], moment: str) -> float:
    """The seconds from the first to the last of these containers' starts or ends."""
    moments = [datetime.fromisoformat(engine.state(name)[moment][:23].rstrip("Z")).timestamp() for name in names]
    return max(moments) - min(moments)


def test_it_ends_in_the_middle_of_a_long_restart(stage: MakeStage) -> None:
    scene = stage(stack(web={"runs": STUBBORN, "healthcheck": PROBE, "stop_grace_period": "60s"}))
    before = scene.started("web")
    scene.shell("web", "touch /sick")
    scene.red("web", "UNHEALTHY")
    scene.sentinel.wait_log(sentinel.RESTARTING.format(name=scene.name("web")))
    scene.sentinel.terminate()
    assert scene.state("web")["Running"] and scene.started("web") == before, "it waited for the restart"
    scene.engine.docker("kill", scene.name("web"))  # which spares the engine the minute


# ------------------------------------------------------------------------------------- without Discord or an engine


def test_without_a_channel_the_alerts_are_drawn_on_the_terminal(
    engine: Engine, project: MakeProject, tmp_path: Path
) -> None:
    made = project(stack(web={}))
    made.up()
    name = made.container("web")
    with Sentinel(tmp_path, engine.host, SENTINEL_PROJECTS=made.name) as running:
        running.wait_ready(name)
        sentinel.do(engine, name, "echo cannot go on; exit 3")
        engine.wait(lambda: "Recovered: " in running.out, what="both cards")
        for part in (f"[DEAD] {name}", f"{name} is DEAD — exit 3", "cannot go on", " web", f"Recovered: {name}"):
            assert part in running.out
        assert "\x1b" not in running.out, "colours in a file"
        running.terminate(signal.SIGINT)


def test_an_engine_that_is_not_there_yet_is_waited_for_with_one_clear_line(
    engine: Engine, project: MakeProject, tmp_path: Path
) -> None:
    if not engine.host.startswith("unix://"):
        pytest.skip("the engine is not at a unix socket")
    made = project(stack(web={}))
    made.up()
    name, socket_file = made.container("web"), tmp_path / "late.sock"
    with Sentinel(tmp_path, f"unix://{socket_file}", SENTINEL_PROJECTS=made.name) as running:
        line = running.wait_log(re.escape(str(socket_file)) + ".*no such socket")
        assert "DOCKER_HOST" in line
        socket_file.symlink_to(engine.host.removeprefix("unix://"))
        running.wait_ready(name)
        sentinel.do(engine, name, "exit 3")
        engine.wait(lambda: f"[DEAD] {name}" in running.out, what="the red card")
        assert running.log.count("no such socket") == 1
        assert "ENGINE DOWN" not in running.out


# ------------------------------------------------------------------------------------------- settings and commands


def test_check_prints_a_table_and_exits_as_nagios_plugins_do(
    engine: Engine, project: MakeProject, tmp_path: Path
) -> None:
    made = project(stack(web={}, db={}))
    made.up()
    web, db = made.container("web"), made.container("db")

    def check(*arguments: str, host: str = engine.host) -> tuple[int, dict[str, str], str]:
        done = sentinel.run(tmp_path, host, "check", *arguments, SENTINEL_PROJECTS=made.name)
        assert "\x1b" not in done.stdout
        return done.returncode, {line.split()[0]: line for line in done.stdout.splitlines()}, done.stderr

    code, table, _ = check()
    assert (code, "UP" in table[web], "UP" in table[db]) == (0, True, True)
    engine.docker("stop", db)
    code, table, _ = check()
    assert (code, "STOPPED" in table[db], "UP" in table[web]) == (1, True, True)
    assert check("web")[0] == 0
    sentinel.do(engine, web, "exit 3")
    engine.wait(lambda: not engine.state(web)["Running"], what="the crash")
    code, table, _ = check()
    assert (code, "DEAD" in table[web], "exit 3" in table[web]) == (2, True, True)
    assert check(db)[0] == 1
    code, _, said = check("nobody")
    assert code == 3 and "nobody" in said
    code, _, said = check(host=f"unix://{tmp_path}/none.sock")
    assert code == 3 and "none.sock" in said
    assert not engine.state(web)["Running"], "check only looks"


def test_bad_settings_are_told_all_at_once_by_the_names_that_the_user_wrote(engine: Engine, tmp_path: Path) -> None:
    bad = {"SENTINEL_WATCH": "everything", "SENTINEL_RESTART": "perhaps", "SENTINEL_POLL_INTERVAL": "0",
           "DISCORD_WEBHOOK_URL_FILE": str(tmp_path / "absent")}  # fmt: skip
    done = sentinel.run(tmp_path, engine.host, "watch", "--settle", "soon", **bad)
    assert done.returncode == 78
    assert done.stdout == ""
    assert {line.partition(":")[0] for line in done.stderr.splitlines()} == {*bad, "--settle"}
    assert sentinel.run(tmp_path, engine.host, "check", **bad).returncode == 3
    done = sentinel.run(tmp_path, engine.host, DISCORD_WEBHOOK_URL="http://example.com/hooks/my-token")
    assert done.returncode == 78 and "my-token" not in done.stderr


def test_an_unknown_setting_is_a_warning_with_the_nearest_name(stage: MakeStage) -> None:
    scene = stage(stack(web={}), SENTINEL_SETLE="5s")
    assert re.search(r"SENTINEL_SETLE\b.*SENTINEL_SETTLE\b", scene.sentinel.log)


# --------------------------------------------------------------------------------------------------------- Discord


def test_a_rate_limit_is_obeyed_and_the_alert_arrives_after_it(stage: MakeStage) -> None:
    scene = stage(stack(web={}))
    scene.discord.arm("429", retry_after=1.5)
    scene.do("web", "exit 3")
    red = scene.red("web")
    first = scene.discord.requests[0]
    assert first.status == 429 and red.message.time - first.time >= 1.5
    assert len(scene.discord.requests) == 2


def test_an_error_of_discord_is_retried(stage: MakeStage) -> None:
    scene = stage(stack(web={}))
    scene.discord.arm("status", status=500)
    scene.discord.arm("reset_before")
    scene.do("web", "exit 3")
    scene.red("web")
    assert [request.status for request in scene.discord.requests] == [500, None, 200]


def test_a_deleted_webhook_is_a_clear_error_and_is_left_alone_for_ten_minutes(stage: MakeStage) -> None:
    scene = stage(stack(web={}, other={}))
    scene.discord.delete_webhook(scene.hook)
    scene.refusals = 1
    scene.do("web", "exit 3")
    line = scene.sentinel.wait_log(r"ERROR .*webhook.*404")
    assert "Unknown Webhook" in line
    before = scene.started("other")
    scene.do("other", "exit 3")  # told or not, it is healed
    scene.runs_again("other", before)
    scene.sentinel.wait_log(f"{scene.name('other')} is back online")
    assert len(scene.discord.requests) == 1
