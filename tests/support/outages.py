"""Scenes of outages: services that live off each other, and what Discord's channel looks like in the end.

`chain()` is the stack that started this project: `flux` needs `genesis`, `pulse` needs `flux`, `veil` needs `pulse`,
`ember` stands apart. Each service beats into a volume that all share, watches the beat of the one it needs, and
dies by itself when that has stopped for a while. What a service shall do besides is a script put into its file
in that volume, read at every beat and at every start: the file that has a SyntaxError, until it is fixed.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.docker import Engine, Project, wait
from support.fake_discord import FakeDiscord, Message, Webhook
from support.sentinel import BLUE, GREEN, GREY, LISTED, RED, Stage, colour_of, stack, title_of

NEEDS = {"genesis": "", "flux": "genesis", "pulse": "flux", "veil": "pulse", "ember": ""}
DEPENDANTS = ("flux", "pulse", "veil")
SYNTAX_ERROR = "SyntaxError: invalid syntax (core.py, line 12)"
#: What genesis does at every start until its file is fixed.
BROKEN = f"""echo '  File "/app/core.py", line 12' >&2; echo '    def boot(self:' >&2; echo '{SYNTAX_ERROR}' >&2; exit 1"""
#: It hangs without a beat, and breaks once it is told to.
HANGS = f"while [ ! -e /state/die ]; do sleep 0.25; done; {BROKEN}"

HEART = """
trap 'exit 0' TERM
me={name} need={need} patience={ticks} last= now= seen= missed=0
look() {{ now=; [ -e /state/$need.beat ] && read now < /state/$need.beat; }}
look; last=$now
while :; do
  [ -e /state/$me.do ] && . /state/$me.do
  if [ -n "$need" ]; then
    look
    if [ "$now" != "$last" ]; then last=$now seen=yes missed=0; else missed=$((missed + 1)); fi
    [ $missed -gt $patience ] && {{ echo "ConnectionError: $need does not answer" >&2; exit 1; }}
  fi
  if [ -z "$need" ] || [ -n "$seen" ]; then read up rest < /proc/uptime; echo $up > /state/$me.beat; fi
  sleep 0.25
done
"""


def chain(policy: str = "no", patience: float = 2.0, condition: str = "service_started", restart: bool = False,
          **changes: dict[str, Any]) -> str:  # fmt: skip
    """The compose.yaml of the five; changes=… are added to a service's own."""
    services: dict[str, dict[str, Any]] = {}
    for name, need in NEEDS.items():
        service: dict[str, Any] = {"restart": policy, "volumes": ["state:/state"]}
        service["runs"] = HEART.format(name=name, need=need, ticks=round(patience * 4))
        if need:
            service["depends_on"] = {need: {"condition": condition, **({"restart": True} if restart else {})}}
        services[name] = {**service, **changes.get(name, {})}
    text = json.loads(stack(**services))
    return json.dumps({**text, "volumes": {"state": {}}}, indent=1)


# ---------------------------------------------------------------------------------- the channel, as it looks now


@dataclass(frozen=True)
class Embed:
    """One embed as it stands in the channel now."""

    title: str
    colour: int
    text: str
    footer: str
    message: Message

    @property
    def incident(self) -> str:
        """The number in the footer."""
        found = re.search(r"incident (\d+)", self.footer)
        return found[1] if found else ""

    @property
    def prose(self) -> str:
        """What is said outside the code block."""
        return self.text.partition("```")[0] + self.text.rpartition("```")[2] if "```" in self.text else self.text

    @property
    def log(self) -> str:
        """What stands in the code block."""
        return self.text.split("```")[1].strip("\n") if "```" in self.text else ""


def channel(discord: FakeDiscord) -> list[Embed]:
    """All embeds as they stand now, in order."""
    return [
        Embed(title_of(embed), colour_of(embed), embed.get("description", ""),
              embed.get("footer", {}).get("text", ""), message)
        for message in discord.messages if not message.deleted for embed in message.embeds
    ]  # fmt: skip


def count(discord: FakeDiscord, method: str) -> int:
    """How many requests of this method Discord took."""
    return sum(request.method == method and request.status in (200, 204) for request in discord.requests)


def dump(discord: FakeDiscord) -> str:
    """All messages in all their versions, in full, to be shown with a failure."""
    born = discord.requests[0].time if discord.requests else 0.0
    lines = []
    for message in discord.messages:
        states = [(message.time, message.history[0].before["embeds"] if message.history else message.embeds)]
        states += [(edit.time, edit.after["embeds"]) for edit in message.history]
        for number, (moment, embeds) in enumerate(states):
            kind = "edited" if number else "posted"
            for embed in embeds:
                footer = embed.get("footer", {}).get("text", "")
                lines.append(f"{moment - born:8.2f} {message.id} {kind}: #{embed.get('color', 0):06x} "
                             f"{embed.get('title')}\n" + re.sub("(?m)^", " " * 12 + "| ", embed.get("description", ""))
                             + f"\n            {footer}")  # fmt: skip
    posts, patches = count(discord, "POST"), count(discord, "PATCH")
    return "\n".join([*lines, f"{posts} POSTs, {patches} PATCHes, {len(discord.requests)} requests in all"])


class Scene(Stage):
    """A stage of one or several projects, whose channel is judged by how it looks in the end."""

    def __init__(self, engine: Engine, projects: Sequence[Project], discord: FakeDiscord, hook: Webhook, folder: Path,
                 **settings: str) -> None:  # fmt: skip
        names = ",".join(project.name for project in projects)
        self.projects = list(projects)
        super().__init__(engine, projects[0], discord, hook, folder, **{"SENTINEL_PROJECTS": names, **settings})

    def __exit__(self, *error: Any) -> None:
        print(f"--- the channel\n{dump(self.discord)}")
        super().__exit__(*error)

    def _watched(self) -> list[str]:
        listed = self.engine.docker("ps", "--all", "--format", "{{.Names}}").splitlines()
        return [name for name in listed if any(name.startswith(f"{project.name}-") for project in self.projects)]

    # What the test does

    def write(self, service: str, script: str, project: Project | None = None) -> None:
        """Put a script into the file that a service reads at every beat (through ember, which is apart)."""
        into = f"cat > /state/{service}.new; mv /state/{service}.new /state/{service}.do"
        ember = (project or self.project).container("ember")
        self.engine.docker("exec", "-i", ember, "sh", "-c", into, stdin=script.encode())

    def fix(self, service: str, project: Project | None = None) -> None:
        """The file is good again."""
        self.write(service, ":", project)

    def kill_sentinel(self) -> None:
        """As kill -9 does; nothing is said or saved any more."""
        process = self.sentinel.process
        assert process is not None and process.poll() is None, "Sentinel ended by itself"
        process.send_signal(signal.SIGKILL)
        process.wait()
        print(f"--- Sentinel's log until it was killed\n{self.sentinel.log}---")

    def start_sentinel(self) -> None:
        """Start it again, on the ledger that it has."""
        self.sentinel.start()
        self.sentinel.wait_log(LISTED)

    # What the engine says

    def running(self, *services: str) -> bool:
        """Whether all of these run."""
        return all(self.state(service)["Running"] for service in services)

    def wait_down(self, *services: str, timeout: float = 60.0) -> None:
        """Wait until none of these runs."""
        wait(lambda: not any(self.state(service)["Running"] for service in services), timeout,
             f"the death of {', '.join(services)}")  # fmt: skip

    def starts(self, *services: str) -> list[str]:
        """When each was started last, as sortable text."""
        return [self.started(service) for service in services]

    # What the channel looks like

    @property
    def embeds(self) -> list[Embed]:
        """Every embed as it stands now."""
        return channel(self.discord)

    def coloured(self, colour: int) -> list[Embed]:
        """Those of one colour."""
        return [embed for embed in self.embeds if embed.colour == colour]

    @property
    def reds(self) -> list[Embed]:
        return self.coloured(RED)

    @property
    def greens(self) -> list[Embed]:
        return self.coloured(GREEN)

    @property
    def greys(self) -> list[Embed]:
        return self.coloured(GREY)

    @property
    def blues(self) -> list[Embed]:
        return self.coloured(BLUE)

    @property
    def posts(self) -> int:
        return count(self.discord, "POST")

    @property
    def patches(self) -> int:
        return count(self.discord, "PATCH")

    def until(self, what: str, holds: Callable[[], Any], timeout: float = 60.0) -> None:
        """Wait until the channel looks so."""
        try:
            self.discord.wait_for(lambda _: holds(), timeout)
        except AssertionError:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}\n{dump(self.discord)}") from None

    def until_red(self, service: str, verdict: str = "", timeout: float = 60.0) -> Embed:
        """Wait until there is a red embed about a service, with this verdict if one is given, and return it."""
        title = rf"\[.*{verdict}\] {self.name(service)}"

        def found() -> list[Embed]:
            return [red for red in self.reds if re.fullmatch(title, red.title)]

        self.until(f"a red {verdict} about {service}", found, timeout)
        return found()[0]

    def until_green(self, service: str, timeout: float = 60.0) -> Embed:
        """Wait for the green embed of a service, and return it."""
        return self.until_green_title(f"Recovered: {self.name(service)}", timeout)

    def until_green_title(self, title: str, timeout: float = 60.0) -> Embed:
        """The same by its title."""
        self.until(title, lambda: [green for green in self.greens if green.title == title], timeout)
        return next(green for green in self.greens if green.title == title)

    def word(self, service: str, project: Project | None = None) -> str:
        """A pattern for a service as people are told it: by its container's name, or by its own for short."""
        of = (project or self.project).name
        return rf"(?<![\w-])(?:{of}-)?{service}(?:-1)?(?![\w-])"

    def says(self, embed: Embed, service: str, project: Project | None = None) -> bool:
        """Whether an embed names a service outside its code block."""
        return bool(re.search(self.word(service, project), f"{embed.title}\n{embed.prose}"))

    def line(self, embed: Embed, service: str, words: str = "") -> str:
        """The line of an embed's prose that names a service and has these words; empty if there is none."""
        lines = embed.prose.replace("`", "").splitlines()
        return next((line for line in lines if re.search(self.word(service), line) and words in line), "")

    def told_chain(self, embed: Embed, *services: str, project: Project | None = None) -> str:
        """The line of an embed with this chain, from a consequence down to the root; empty if there is none."""
        links = " ← ".join(self.word(service, project) for service in services)
        found = re.search(rf"^.*{links}.*$", embed.prose.replace("`", ""), re.M)
        return found[0] if found else ""

    def has(self, service: str, project: Project | None = None) -> list[Embed]:
        """The embeds that name a service outside their code blocks."""
        return [embed for embed in self.embeds if self.says(embed, service, project)]

    def incidents(self, *embeds: Embed) -> set[str]:
        """Their numbers."""
        return {embed.incident for embed in embeds}
