"""The real program under test: started as a subprocess, judged by what Discord and the engine see of it.

`Sentinel` is one run of sentinel.py.  `Stage` is the whole scene of an end-to-end test: a Compose project on a
real engine, the strict fake Discord, and a Sentinel that watches this project and nothing else.  Standard
library only; what Sentinel says in its log is read in one place, the patterns below.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.docker import IMAGE, Engine, Project, wait
from support.engines import frozen
from support.fake_discord import FakeDiscord, Message, Webhook

PROGRAM = Path(__file__).resolve().parents[2] / "sentinel.py"
RED, GREEN, GREY, AMBER, BLUE = 0xED4245, 0x57F287, 0x95A5A6, 0xFEE75C, 0x5865F2
DARK_GREEN = 0x1F8B4C

#: What the log says: the engine has been listed, and a container is watched from now on.
LISTED = r"the engine .* answers"
WATCHING = r"watching {name} "
RESTARTING = r"restarting {name} "

#: A main process that lives until it is told by do() what to do, and that obeys SIGTERM.
LIVES = "trap 'exit 0' TERM; while [ ! -e /do ]; do sleep 0.2; done; mv /do /did; . /did"
#: The same, but it takes no notice of SIGTERM.
STUBBORN = LIVES.replace("'exit 0'", "''")


# ------------------------------------------------------------------------------------------------ compose files


def stack(**services: dict[str, Any]) -> str:
    """A compose.yaml of services that live until told otherwise; JSON is YAML, too.

    `runs` is the shell script of the main process (LIVES where absent); all else is Compose's.
    """
    made = {}
    for name, wanted in services.items():
        given = dict(wanted)
        script = given.pop("runs", LIVES).replace("$", "$$")  # Compose would put variables in
        made[name] = {"image": IMAGE, "network_mode": "none", "command": ["sh", "-c", script], **given}
    return json.dumps({"services": made}, indent=1)


def do(engine: Engine, name: str, script: str) -> None:
    """Have the main process of a container, which waits in LIVES, run these lines."""
    engine.docker("exec", "-i", name, "sh", "-c", "cat > /do.new; mv /do.new /do", stdin=script.encode())


# --------------------------------------------------------------------------------------------- one run of Sentinel


def environment(folder: Path, engine_host: str, **settings: str) -> dict[str, str]:
    """All that Sentinel is told: nothing of this process's own settings gets through."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL", "TZ") if key in os.environ}
    paths = {"HOME": str(folder), "STATE_DIRECTORY": str(folder)}
    return {**kept, **paths, "DOCKER_HOST": engine_host, "SENTINEL_GREET": "false", **settings}


def run(folder: Path, engine_host: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command of Sentinel that ends by itself, like check."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        env=environment(folder, engine_host, **settings),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


class Sentinel:
    """One run of the program; after the block it has ended as it should: with 0, nothing leaked."""

    def __init__(self, folder: Path, engine_host: str, *arguments: str, secrets: tuple[str, ...] = (),
                 **settings: str) -> None:  # fmt: skip
        self.folder = folder
        self.command = [sys.executable, str(PROGRAM), *arguments]
        self.env = environment(folder, engine_host, **settings)
        self.secrets = secrets
        self.out_file, self.log_file = folder / "sentinel.out", folder / "sentinel.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that it wrote to standard error up to now."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def out(self) -> str:
        """All that it wrote to standard output up to now."""
        return self.out_file.read_text(encoding="utf-8", errors="replace")

    def start(self) -> Self:
        """Start it; wait_ready() says when it watches."""
        with open(self.out_file, "wb") as out, open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(
                self.command, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=log, cwd=self.folder
            )
        return self

    def wait_log(self, pattern: str, timeout: float = 60.0) -> str:
        """Wait until a line of its log matches, and return that line."""

        def found() -> str:
            match = re.search(rf"^.*{pattern}.*$", self.log, re.M)
            if not match and self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"Sentinel ended with {self.process.returncode}:\n{self.log}")
            return match[0] if match else ""

        try:
            return wait(found, timeout, f"{pattern!r} in Sentinel's log")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None

    def wait_ready(self, *names: str) -> Self:
        """Wait until it has listed the engine's containers, and watches those named."""
        self.wait_log(LISTED)
        for name in names:
            self.wait_log(WATCHING.format(name=re.escape(name)))
        return self

    def wait_end(self, timeout: float) -> int:
        """Wait for its end; its exit code."""
        assert self.process is not None
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"Sentinel did not end within {timeout:g} s:\n{self.log}") from None

    def terminate(self, number: int = signal.SIGTERM) -> float:
        """Ask it to end, as Docker does, which gives it 10 s; it may not fail. The seconds it took, for the bench."""
        assert self.process is not None
        assert self.process.poll() is None, f"Sentinel ended by itself with {self.process.returncode}:\n{self.log}"
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.wait_end(10.0)
        took = time.monotonic() - began
        assert code == 0, f"Sentinel ended with {code}:\n{self.log}"
        return took

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Stopped as by a machine that has no time for it; the engine's events wait for it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            wait(lambda: frozen(self.process.pid), 10.0, "Sentinel's threads to stop")
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def check_outputs(self) -> None:
        """Nothing broke, and nothing secret is in what it wrote."""
        for text in (self.log, self.out):
            assert "Traceback" not in text, text
            for secret in self.secrets:
                assert secret not in text, f"a secret is in Sentinel's output:\n{text}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        assert self.process is not None
        try:
            print(f"--- Sentinel's log\n{self.log}--- its standard output\n{self.out}---")
            if error is None:
                if self.process.poll() is None:
                    self.terminate()
                assert self.process.returncode == 0, f"Sentinel ended with {self.process.returncode}:\n{self.log}"
                self.check_outputs()
        finally:
            self.process.kill()
            self.process.wait()


# ------------------------------------------------------------------------------------------------- the whole scene


@dataclass(frozen=True)
class Alert:
    """One embed as a reader sees it, in one of the versions that its message had."""

    title: str
    colour: int
    text: str
    message: Message

    @property
    def log(self) -> str:
        """What stands in its code block, which there is at most one of, and which is closed."""
        if "```" not in self.text:
            return ""
        _, block, after = self.text.split("```")
        assert "`" not in block and not after.strip()
        return block.strip("\n")


def title_of(embed: dict[str, Any]) -> str:
    """The title of an embed, but for the tick of what is over."""
    return str(embed["title"]).removeprefix("✓ ")


def colour_of(embed: dict[str, Any]) -> int:
    """The colour of an embed as it was told first: a red that is over has another one."""
    closed = embed["color"] in (DARK_GREEN, GREY) and title_of(embed).startswith("[")
    return RED if closed else int(embed["color"])


def versions(message: Message) -> list[Alert]:
    """A message's embeds, with those that it had before it was edited; each title once."""
    states = [edit.before.get("embeds", []) for edit in message.history] + [message.embeds]
    alerts = {
        (place, title_of(embed)): Alert(title_of(embed), colour_of(embed), embed.get("description", ""), message)
        for embeds in states for place, embed in enumerate(embeds)
    }  # fmt: skip
    return list(alerts.values())


class Stage:
    """A Compose project, the fake Discord, and a Sentinel that watches this project alone."""

    def __init__(self, engine: Engine, project: Project, discord: FakeDiscord, hook: Webhook, folder: Path,
                 **settings: str) -> None:  # fmt: skip
        self.engine, self.project, self.discord, self.hook = engine, project, discord, hook
        self.refusals = 0  # answers of 4xx that the test provokes
        self.dead_asked = 0  # how often a channel that Discord has refused is tried again, as it should
        told = {"DISCORD_WEBHOOK_URL": hook.url, "SENTINEL_PROJECTS": project.name, "SENTINEL_SETTLE": "2s"}
        self.sentinel = Sentinel(folder, engine.host, secrets=(hook.token,), **{**told, **settings})

    def __enter__(self) -> Self:
        self.sentinel.start()
        try:
            self.sentinel.wait_ready(*self._watched())
        except BaseException as error:
            self.sentinel.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        print(f"--- what Discord saw\n{self.discord.story()}")
        self.sentinel.__exit__(kind, error, trace)
        if error is None:
            dead = [line for line in self.discord.lint if "known to be dead" in line]
            assert len(dead) == self.dead_asked and self.discord.lint == dead, self.discord.story()
            assert len(self.discord.refused) == self.refusals, self.discord.story()
            for message in self.discord.messages:
                assert message.payload["allowed_mentions"]["parse"] == [], message.payload
                assert message.mentions == ([], [], False)

    def _watched(self) -> list[str]:
        filters = "{{.Names}} {{.Label \"sentinel.watch\"}}"
        listed = self.engine.docker("ps", "--all", "--format", filters, "--filter",
                                    f"label=com.docker.compose.project={self.project.name}")  # fmt: skip
        return [line.split()[0] for line in listed.splitlines() if not line.endswith(" false")]

    # What the test does

    def name(self, service: str) -> str:
        """The container of a service: `web` is PROJECT-web-1, `web-2` is PROJECT-web-2."""
        service, _, number = service.partition("-")
        return self.project.container(service, int(number or 1))

    def do(self, service: str, script: str) -> None:
        """Have a service's main process run these lines; `exit 3` is a crash with code 3."""
        do(self.engine, self.name(service), script)

    def shell(self, service: str, script: str) -> None:
        """Run these lines in the container, beside its main process."""
        self.engine.docker("exec", self.name(service), "sh", "-c", script)

    def change(self, yaml_text: str, *arguments: str) -> None:
        """Carry out another compose.yaml."""
        self.project.write(yaml_text)
        self.project.up(*arguments)

    # What the engine says

    def state(self, service: str) -> dict[str, Any]:
        """The State part of a container's inspection."""
        return self.engine.state(self.name(service))

    def started(self, service: str) -> str:
        """When the container was started last: the same as before means that nobody touched it."""
        return str(self.state(service)["StartedAt"])

    def runs_again(self, service: str, since: str, timeout: float = 60.0) -> None:
        """Wait until the container runs a life that began after the one of `since`."""

        def again() -> bool:
            state = self.state(service)
            return bool(state["Running"]) and state["StartedAt"] > since

        self.engine.wait(again, timeout, f"{service} to run again")

    # What Discord was told

    @property
    def alerts(self) -> list[Alert]:
        """Everything that was told, in order."""
        return [alert for message in self.discord.messages for alert in versions(message)]

    @property
    def titles(self) -> list[str]:
        """The titles of all that was told, with services for containers: `[DEAD] web`."""
        return [re.sub(rf"{self.project.name}-(\w+)-1\b", r"\1", alert.title) for alert in self.alerts]

    def about(self, service: str) -> list[Alert]:
        """All that was told about a service."""
        name = self.name(service)
        return [alert for alert in self.alerts if name in alert.title or name in alert.text]

    def wait_alert(self, what: str, wanted: Callable[[Alert], bool], timeout: float = 60.0) -> Alert:
        """Wait for the first alert that is wanted."""
        found: list[Alert] = []

        def arrived(_: FakeDiscord) -> bool:
            found[:] = [alert for alert in self.alerts if wanted(alert)]
            return bool(found)

        try:
            self.discord.wait_for(arrived, timeout)
        except AssertionError as error:
            raise AssertionError(f"nobody was told {what!r} {error}") from None
        return found[0]

    def told(self, title: str, timeout: float = 60.0) -> Alert:
        """Wait for an alert with this title."""
        return self.wait_alert(title, lambda alert: alert.title == title, timeout)

    def red(self, service: str, verdict: str = "DEAD", timeout: float = 60.0) -> Alert:
        """Wait for the red embed of a service."""
        alert = self.told(f"[{verdict}] {self.name(service)}", timeout)
        assert alert.colour == RED
        return alert

    def green(self, service: str, timeout: float = 60.0) -> Alert:
        """Wait for the green embed of a service."""
        alert = self.told(f"Recovered: {self.name(service)}", timeout)
        assert alert.colour == GREEN
        return alert

    def grey(self, service: str, timeout: float = 60.0) -> Alert:
        """Wait for the grey embed of a service, alone or together with others of its project."""
        titles = (f"Stopped: {self.name(service)}", f"Stopped: {self.project.name}")
        alert = self.wait_alert(
            titles[0], lambda alert: alert.title in titles and self.name(service) in alert.text, timeout
        )
        assert alert.colour == GREY
        return alert

    def settle(self, clock: str = "clock") -> None:
        """Let the settle time pass, and show that it has: a service is stopped now, and Sentinel says so.

        Whatever happened before this would have been told before that, so what was not told never will be.
        """
        self.engine.docker("stop", self.name(clock))
        self.grey(clock)


def pasted(alert: Alert) -> str:
    """The recovery command of a red embed, as a reader copies it."""
    found = re.search(r"\*\*Recover:\*\* `([^`]+)`", alert.text)
    assert found, f"no recovery command in {alert.text!r}"
    return found[1]


def paste(engine: Engine, command: str) -> None:
    """Run a command as a user would who pastes it into a shell on the engine's host."""
    done = subprocess.run(["sh", "-c", command], env=engine.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
