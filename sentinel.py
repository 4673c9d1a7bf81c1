#!/usr/bin/env python3
"""Sentinel watches the containers of a Docker Engine, and tells Discord when one that should live does not.

It finds every compose container by itself, sees a death the moment it happens, says why in red, brings the
container back, proves that it stays, and says so in green. One file, Python 3.11 or newer, standard library
only: nothing that it watches can take it down.

    python3 sentinel.py                       watch; DISCORD_WEBHOOK_URL says where alerts go, else the terminal
    python3 sentinel.py check                 look once: a table, and 0, 1, 2 or 3 as Nagios plugins exit
    python3 sentinel.py test                  a red and a green sample through every channel
    python3 sentinel.py explain               what is done about each container, and why; mute and unmute change that

     event stream ──┐                                                   ┌─> engine workers: list, look, restart
     engine workers ┼─> inbox (SimpleQueue) ─> decide (pure) ─> actions ┼─> ledger: one SQLite transaction
     couriers ──────┤         ^                                         ├─> couriers, one a channel
     signals, HTTP ─┘         └── get(timeout = next deadline)          └─> log, service manager, heartbeat

Only the main thread decides. A worker takes one job, does one blocking thing and puts one value in the inbox.
Waiting is data (a due time), never a sleep. Listing is the truth; an event says at once what the next listing
would say late. What breaks unexpectedly ends the process with a reason, and its supervisor starts it again.

Sections, each using only what stands above it: Settings, Vocabulary, Reading, Deciding, Telling, Wording,
(the line of purity), Ledger, Engine, Discord, Daemon, Command line. Durations are seconds. A name ending in `_at` is
a moment on the monotonic clock; one ending in `_time` is calendar time, as the engine writes it (Unix seconds).
"""

from __future__ import annotations

import argparse
import base64
import bisect
import contextlib
import difflib
import email.message
import fcntl
import functools
import hashlib
import hmac
import http.client
import itertools
import json
import marshal
import math
import os
import queue
import re
import shlex
import signal
import socket
import sqlite3
import ssl
import sys
import threading
import time
import traceback
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import Enum, IntEnum, StrEnum
from typing import Any, NoReturn

__version__ = "0.1.0"

# ─── Settings ─────────────────────────────────────────────────────────────────────────────────────────────────


class SettingError(ValueError):
    """One or more settings make no sense; each argument is a line that begins with the name the user wrote."""


class Secret(str):
    """A text that shows itself only where it is used: repr and formatting give a mask."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'" if self else "''"

    def __format__(self, spec: str) -> str:
        return format("***" if self else "", spec)


DURATION = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,7})h)?(?:(\d{1,8})m)?(?:(\d{1,9}(?:\.\d+)?)s)?", re.ASCII)


def duration(text: str) -> float:
    """Seconds from `30s`, `5m`, `1h30m`, or plain seconds."""
    text = text.strip().lower()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return float(text)
    match = DURATION.fullmatch(text)
    if not text or not match:
        raise ValueError(f"{text!r} is no duration; write 30s, 5m, 1h30m, or plain seconds")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def span(seconds: float) -> str:
    """A duration as people say it, in its two largest units: 45s, 3m20s, 2h5m, 4d3h."""
    whole = max(0, round(seconds))
    parts = ((whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s"))
    first = next((index for index, (value, _) in enumerate(parts) if value), 3)
    return "".join(f"{value}{unit}" for value, unit in parts[first : first + 2] if value) or "0s"


def listed(names: Iterable[str]) -> str:
    """`db`, `db and cache`, `db, cache and queue`."""
    *first, last = [*names] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def counted(number: int, noun: str) -> str:
    """`1 restart`, `2 restarts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def interval(text: str) -> float:
    """A duration of at least one second."""
    if (seconds := duration(text)) < 1:
        raise ValueError(f"{text!r} is too short; one second is the least")
    return seconds


BOOLEANS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


def boolean(text: str) -> bool:
    """True or False from the words that people write for them."""
    if (word := text.strip().lower()) in BOOLEANS:
        return BOOLEANS[word]
    raise ValueError(f"{text!r} is neither true nor false")


def count(text: str) -> int:
    """A whole number, zero or more."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


DAY = 1440  # minutes


def quiet_windows(text: str) -> tuple[tuple[int, int], ...]:
    """Daily windows as minutes of the day, from `03:00-04:30` or `23:00-01:00, 12:00-12:15`."""
    windows = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)", part)
        if not match or match.group(1, 2) == match.group(3, 4):
            raise ValueError(f"{part!r} is no window; write 03:00-04:30")
        first, first_minute, last, last_minute = map(int, match.groups())
        windows.append((first * 60 + first_minute, last * 60 + last_minute))
    return tuple(windows)


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas or blanks."""
    return tuple(name for name in re.split(r"[,\s]+", text) if name)


def choice(*words: str) -> Callable[[str], str]:
    """One of a few words."""

    def parse(text: str) -> str:
        if (word := text.strip().lower()) not in words:
            raise ValueError(f"{text!r} is none of {', '.join(words)}")
        return word

    return parse


ODD = re.compile(r"[^\x21-\x7e]")  # blanks, and what no address or token has


def docker_host(text: str) -> str:
    """An engine's address, as the docker CLI reads it: unix:///path or tcp://host:port."""
    text = text.strip()
    if text.startswith("ssh://"):
        raise ValueError("ssh:// is not supported; forward the socket (ssh -L /tmp/docker.sock:/var/run/docker.sock"
                         " HOST) and use unix:///tmp/docker.sock")
    parts = urllib.parse.urlsplit(text)
    remote = parts.scheme in ("tcp", "http") and parts.hostname and not ODD.search(text)
    usable = parts.path if parts.scheme == "unix" else remote
    if text and (not usable or parts.port == 0):  # asking for a port that is none raises, too
        raise ValueError(f"{text!r} is no engine address; write unix:///var/run/docker.sock or tcp://HOST:2375")
    return text


WEBHOOK = re.compile(r"(?P<prefix>.*?)(?:/api)?(?:/v\d+)?/webhooks/(?P<id>\d+)/(?P<token>[\w-]+)(?:/(?:slack|github))?/?",
                     re.ASCII)


def webhook(text: str) -> Secret:
    """A webhook URL as people paste it, brought to API v10.
    Without a version in its path Discord serves API v6, whose errors are opaque and whose waits may be in
    milliseconds; discordapp.com does not serve v10 at all; /slack and /github speak other languages."""
    if not text.strip():
        return Secret()
    parts = urllib.parse.urlsplit(text.strip())
    match = WEBHOOK.fullmatch(parts.path)
    if parts.scheme not in ("https", "http") or not parts.hostname or not match:
        raise ValueError("this is no webhook URL; one looks like https://discord.com/api/webhooks/ID/TOKEN")
    host = re.sub(r"\bdiscordapp\.com$", "discord.com", parts.netloc)
    thread = urllib.parse.parse_qs(parts.query).get("thread_id", [""])[0]
    query = f"?thread_id={urllib.parse.quote(thread)}" if thread else ""
    return Secret(f"{parts.scheme}://{host}{match['prefix']}/api/v10/webhooks/{match['id']}/{match['token']}{query}")


def address(text: str) -> str:
    """An http or https address, without the slash at its end."""
    parts = urllib.parse.urlsplit(text.strip())
    if text.strip() and (parts.scheme not in ("https", "http") or not parts.hostname or parts.port == 0
                         or ODD.search(text.strip())):
        raise ValueError(f"{text.strip()!r} is no address; write https://HOST/PATH")
    return text.strip().rstrip("/")


def secret_address(text: str) -> Secret:
    """An address that is a key to what it leads to."""
    with contextlib.suppress(ValueError):  # which quotes it
        return Secret(address(text))
    raise ValueError("this is no address; write https://HOST/PATH")


def listen_address(text: str) -> str:
    """HOST:PORT to listen on; a port alone means this machine only."""
    match = re.fullmatch(r"(?:(\[[0-9a-fA-F:.]+\]|[\w.-]*):)?(\d{1,5})", text.strip(), re.ASCII)
    if text.strip() and (not match or not 0 < int(match[2]) < 65536):
        raise ValueError(f"{text.strip()!r} is no address; write 127.0.0.1:9180, or a port alone")
    return f"{match[1] or '127.0.0.1'}:{match[2]}" if match else ""


def token(text: str) -> Secret:
    """A bot's or bridge's token; a leading `Bot` is not part of it."""
    word = text.strip().removeprefix("Bot ").strip()
    if ODD.search(word):
        raise ValueError("this is no token: it holds blanks or characters that no token has")
    if 0 < len(word) < 8:
        raise ValueError("this is no token: it has less than 8 characters")
    return Secret(word)


def snowflake(text: str) -> str:
    """An id of Discord's."""
    if text.strip() and not re.fullmatch(r"[1-9][0-9]{4,18}", text.strip()):
        raise ValueError(f"{text.strip()!r} is no id; switch on developer mode in Discord and use Copy ID")
    return text.strip()


def mention(text: str) -> str:
    """Who is pinged: <@USER>, <@&ROLE>, @here, @everyone, or a bare role id."""
    words = [f"<@&{word}>" if word.isdecimal() else word for word in text.split()]
    if bad := [word for word in words if not re.fullmatch(r"<@[&!]?[1-9][0-9]{4,18}>|@here|@everyone", word)]:
        raise ValueError(f"{bad[0]!r} is no mention; write <@USER>, <@&ROLE>, @here, or a role's id")
    return " ".join(words)


def option(variable: str, default: str, meaning: str, parse: Callable[[str], Any], *, shown: str = "") -> Any:
    """One setting: its variable, default, meaning and check. A secret has a _FILE twin and no flag."""
    metadata = {"variable": variable, "default": default, "meaning": meaning, "parse": parse,
                "shown": shown or default, "secret": parse in (webhook, token, secret_address)}
    return field(default_factory=lambda: parse(default), metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Everything that can be set, in the order of --help and of the README's table, which is made from it."""
    docker_host: str = option("DOCKER_HOST", "", "The engine: `unix:///path` or `tcp://host:port`.", docker_host,
                              shown="the rootful socket, else the rootless one")
    tls_verify: bool = option("DOCKER_TLS_VERIFY", "", "Anything: TLS to `tcp://`, the engine's certificate verified.", bool)
    cert_path: str = option("DOCKER_CERT_PATH", "", "Folder of `ca.pem`, `cert.pem`, `key.pem`; alone: TLS, not verified.",
                            str.strip, shown="`~/.docker`")
    context: str = option("DOCKER_CONTEXT", "", "A context of the docker CLI, where `DOCKER_HOST` is not set.", str.strip,
                          shown="the CLI's current one")
    webhook_url: Secret = option("DISCORD_WEBHOOK_URL", "", "Incoming webhook; without it alerts go to the terminal.",
                                 webhook)
    bot_token: Secret = option("DISCORD_BOT_TOKEN", "", "Bot, beside or instead of a webhook; with one of the next.", token)
    channel_id: str = option("DISCORD_CHANNEL_ID", "", "The bot's channel by its id.", snowflake)
    guild_id: str = option("DISCORD_GUILD_ID", "", "The bot's server, in which the next is found or created.", snowflake)
    channel: str = option("DISCORD_CHANNEL", "sentinel-alerts", "The bot's or bridge's channel by its name.", str.strip)
    bridge_url: str = option("DISCORD_BRIDGE_URL", "", "A bot service that posts for others.", address)
    bridge_token: Secret = option("DISCORD_BRIDGE_TOKEN", "", "Sent to the bridge as a bearer token.", token)
    api_url: str = option("DISCORD_API_URL", "https://discord.com/api/v10", "For the bot: a proxy's address.", address)
    mention: str = option("DISCORD_MENTION", "", "Pinged on red only: `<@USER>`, `<@&ROLE>`, `@here`.", mention)
    watch: str = option("SENTINEL_WATCH", "compose", "`compose`, `all`, or `labelled` (only `sentinel.watch=true`).",
                        choice("compose", "all", "labelled"))
    projects: tuple[str, ...] = option("SENTINEL_PROJECTS", "", "Only these compose projects.", names)
    restart: bool = option("SENTINEL_RESTART", "true", "`false`: tell, never touch.", boolean)
    poll_interval: float = option("SENTINEL_POLL_INTERVAL", "30s", "Full listing, beside the event stream.", interval)
    settle: float = option("SENTINEL_SETTLE", "30s", "How long a stop or removal may turn out to be a deploy.", duration)
    stops: str = option("SENTINEL_STOPS", "notice", "Operator stops: `notice` (grey), `alert` (red, and restarted),"
                        " `ignore`.", choice("notice", "alert", "ignore"))
    max_restarts: int = option("SENTINEL_MAX_RESTARTS", "5", "Restarts per incident, then it gives up.", count)
    remind: float = option("SENTINEL_REMIND", "4h", "Remind of what is still down this often; `0`: never.", duration)
    greet: bool = option("SENTINEL_GREET", "true", "A summary in blue at the start.", boolean)
    drop_dir: str = option("SENTINEL_DROP_DIR", "", "File drop: a JSON file an alert is written here.", str.strip)
    chain: bool = option("SENTINEL_CHAIN", "false", "`true`: webhook, bot, bridge, file drop are tried in this order;"
                         " else each gets every alert.", boolean)
    state: str = option("SENTINEL_STATE", "", "Folder of the ledger; unwritable: a warning, and memory.", str.strip,
                        shown="`$STATE_DIRECTORY`, `/var/lib/sentinel`, else the user's state folder")
    keep: float = option("SENTINEL_KEEP", "90d", "How long the history is kept.", duration)
    host: str = option("SENTINEL_HOST", "", "Shown in footers.", str.strip, shown="the engine's name")
    heartbeat_url: Secret = option("SENTINEL_HEARTBEAT_URL", "", "Dead-man's switch: fetched every minute while all goes"
                                   " on, with `/fail` when something is given up.", secret_address)
    listen: str = option("SENTINEL_LISTEN", "", "`127.0.0.1:9180`: `/healthz`, `/metrics`, `/status`.", listen_address)
    notify_token: Secret = option("SENTINEL_NOTIFY_TOKEN", "", "Lets others send their own words: `POST /notify` there.",
                                  token)
    log: str = option("SENTINEL_LOG", "text", "`text` or `json`.", choice("text", "json"))


def options() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Field name and metadata of every setting."""
    return ((item.name, item.metadata) for item in fields(Settings))


def flag_name(variable: str) -> str:
    """The flag of a variable: SENTINEL_POLL_INTERVAL is --poll-interval."""
    return "--" + variable.removeprefix("SENTINEL_").lower().replace("_", "-")


def settings_table() -> str:
    """The README's table of settings."""
    rows = ["| variable | flag | default | what |", "|---|---|---|---|"]
    for _, meta in options():
        flag = "`_FILE` twin" if meta["secret"] else f"`{flag_name(meta['variable'])}`"
        default = meta["shown"] if meta["shown"] != meta["default"] else f"`{meta['default']}`" if meta["default"] else "–"
        rows.append(f"| `{meta['variable']}` | {flag} | {default} | {meta['meaning']} |")
    return "\n".join(rows)


def load_settings(flags: Mapping[str, str | None], environment: Mapping[str, str],
                  read_file: Callable[[str], str]) -> tuple[Settings, list[str]]:
    """Settings and warnings: flag over variable over _FILE twin over default; every error in one SettingError."""
    values: dict[str, Any] = {}
    errors: list[str] = []
    for name, meta in options():
        for source, read in sources(name, meta, flags, environment, read_file):
            try:
                values[name] = meta["parse"](read())
            except (ValueError, OSError) as error:
                errors.append(f"{source}: {error}")
    settings = Settings(**values)
    if settings.bot_token and not settings.channel_id and not settings.guild_id:
        errors.append("DISCORD_BOT_TOKEN: needs DISCORD_CHANNEL_ID, or DISCORD_GUILD_ID, to know where to post")
    if errors:
        raise SettingError(*errors)
    return settings, [*unknown_settings(environment), *idle_settings(settings)]


def idle_settings(settings: Settings) -> list[str]:
    """A warning for each setting that does nothing without another."""
    pairs = (("SENTINEL_NOTIFY_TOKEN", settings.notify_token, "SENTINEL_LISTEN", settings.listen),
             ("DISCORD_CHANNEL_ID", settings.channel_id, "DISCORD_BOT_TOKEN", settings.bot_token),
             ("DISCORD_GUILD_ID", settings.guild_id, "DISCORD_BOT_TOKEN", settings.bot_token),
             ("DISCORD_BRIDGE_TOKEN", settings.bridge_token, "DISCORD_BRIDGE_URL", settings.bridge_url))
    return [f"{name}: does nothing without {other}" for name, value, other, needed in pairs if value and not needed]


def sources(name: str, meta: Mapping[str, Any], flags: Mapping[str, str | None], environment: Mapping[str, str],
            read_file: Callable[[str], str]) -> list[tuple[str, Callable[[], str]]]:
    """The first source that gives this setting: its name as the user wrote it, and how to read its text."""
    variable = meta["variable"]
    if (value := flags.get(name)) is not None:
        return [(flag_name(variable), lambda: value)]
    if text := environment.get(variable, "").strip():
        return [(variable, lambda: text)]
    if meta["secret"] and (path := environment.get(f"{variable}_FILE")):
        return [(f"{variable}_FILE", lambda: read_file(path))]
    return []


def mask(text: str, settings: Settings) -> str:
    """Text without the secrets that are set."""
    hook, *tokens = map(str.__str__, (settings.webhook_url, settings.bot_token, settings.bridge_token,
                                      settings.notify_token, settings.heartbeat_url))
    for secret in filter(None, (hook, hook.partition("?")[0].rpartition("/")[2], *tokens)):
        text = text.replace(secret, "***")
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """What somebody may have meant, as the end of a message; empty if nothing is near."""
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_settings(environment: Mapping[str, str]) -> list[str]:
    """A warning for each SENTINEL_ variable that is no setting, with the nearest name that is one."""
    known = [meta["variable"] + twin for _, meta in options() for twin in ("", "_FILE") if meta["secret"] or not twin]
    warnings = []
    for name in sorted(environment):
        if name.startswith("SENTINEL_") and name not in known:
            warnings.append(f"{name}: unknown setting, ignored{nearest(name, known)}")
    return warnings


# ─── Vocabulary ───────────────────────────────────────────────────────────────────────────────────────────────
# service   what is watched: a compose project's service and number; containers come and go under its key
# run       one life of a container, from `start` to `die`; evidence of who ended it is kept for each run
# incident  one service's story, from its first bad sign to its proven recovery
# outage    incidents with one root cause: one red message that is kept current, one green one when all is back
# notice    one thing to tell people
# attempt   one restart by Sentinel; relapse: a death before the service had proven that it stays

REPLACE_NAME = re.compile(r"^[0-9a-f]{12}_")  # what compose puts before the name of a replacement


class Phase(StrEnum):
    """Where a watched service stands."""
    UP = "up"
    SUSPECT = "suspect"
    RESTARTING = "restarting"
    PROVING = "proving"
    WAITING = "waiting"
    GAVE_UP = "gave up"
    STOPPED = "stopped"
    GONE = "gone"


LEGAL: Mapping[Phase, frozenset[Phase]] = {
    Phase.UP: frozenset({Phase.SUSPECT, Phase.WAITING, Phase.STOPPED, Phase.GONE}),
    Phase.SUSPECT: frozenset({Phase.UP, Phase.PROVING, Phase.WAITING, Phase.STOPPED, Phase.GONE}),
    Phase.RESTARTING: frozenset({Phase.PROVING, Phase.WAITING, Phase.GONE}),
    Phase.PROVING: frozenset({Phase.UP, Phase.WAITING, Phase.SUSPECT, Phase.STOPPED, Phase.GONE}),
    Phase.WAITING: frozenset({Phase.RESTARTING, Phase.PROVING, Phase.SUSPECT, Phase.GAVE_UP, Phase.STOPPED, Phase.GONE}),
    Phase.GAVE_UP: frozenset({Phase.PROVING, Phase.WAITING, Phase.SUSPECT, Phase.STOPPED, Phase.GONE}),
    Phase.STOPPED: frozenset({Phase.PROVING, Phase.WAITING, Phase.GONE}),
    Phase.GONE: frozenset({Phase.PROVING, Phase.WAITING})}

DOWN = frozenset({Phase.SUSPECT, Phase.WAITING, Phase.GAVE_UP, Phase.STOPPED, Phase.GONE})


class Health(StrEnum):
    """What a container's health check says; NONE also where it says nothing that counts."""
    NONE = ""
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Verdict(StrEnum):
    """What is told of a service; the first word of a title."""
    DEAD = "DEAD"
    UNHEALTHY = "UNHEALTHY"
    CRASH_LOOP = "CRASH LOOP"
    GAVE_UP = "GAVE UP"
    FAILED = "FAILED"
    VANISHED = "VANISHED"
    ORPHANED = "ORPHANED"
    ENGINE_DOWN = "ENGINE DOWN"
    STILL_DOWN = "STILL DOWN"
    RECOVERED = "Recovered"
    RESTARTED = "Restarted"
    STOPPED = "Stopped"
    FOLDED = "Folded"
    WATCHING = "Watching"
    ERROR = "error"  # the words of others, by /notify
    WARNING = "warning"
    INFO = "info"
    CHILD_OOM = "OUT OF MEMORY"
    CHANNEL_LOST = "CHANNEL LOST"


class Cause(StrEnum):
    """Why a container ended, as people read it."""
    EXIT = ""
    OOM = "out of memory"
    OUTSIDE = "killed from outside the engine: no kill through its API, no sign of memory running out"
    API_KILL = "killed through the API (docker kill)"
    SIGNALLED = "a signal was sent through the API"
    CANT_START = "the engine can't start it"
    STOP = "stopped on purpose"
    REMOVED = "removed"
    UNSEEN = "it ended or was stopped: no event says which"
    OPERATOR = "an operator stopped it, and SENTINEL_STOPS is `alert`"
    UNHEALTHY = "its health check fails"
    FAILED_UPDATE = "it was removed to be replaced, and the replacement never ran"
    ENGINE = "not brought back by the engine"
    ORPHAN = "the container whose network it shares was recreated: its own network is gone, and a restart can't help"
    STALE = "its network was gone: the container that it shares it with was restarted"
    TOGETHER = "what it depends on was restarted (depends_on: restart: true)"


class Intent(Enum):
    """Who wanted a run to end."""
    NOBODY = 1
    OPERATOR = 2
    UNCLEAR = 3


@dataclass(frozen=True, slots=True)
class Container:
    """A container as `inspect` shows it. Times are Unix seconds, 0 for never."""
    id: str
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    status: str = "unknown"
    health: Health = Health.NONE
    failing_streak: int = 0
    probe_output: str = ""
    has_probe: bool = False
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    started_time: float = 0.0
    finished_time: float = 0.0
    restart_count: int = 0
    restart_policy: str = "no"
    stop_signal: int = 15
    stop_timeout: float = 10.0
    network_mode: str = ""
    links: tuple[str, ...] = ()
    tty: bool = False
    auto_remove: bool = False
    memory_limit: int = 0

    @property
    def sick(self) -> bool:
        """Unhealthy by a probe of this run: Docker says so, with a streak of 0, of what is paused or stopped, too."""
        return self.status == "running" and self.health is Health.UNHEALTHY and self.failing_streak > 0

    @property
    def project(self) -> str:
        """Compose project, or Swarm stack."""
        return self.compose("project") or self.labels.get("com.docker.stack.namespace", "")

    @property
    def service(self) -> str:
        """Compose service."""
        return self.compose("service")

    def compose(self, name: str) -> str:
        """A label of compose's. Images that compose built hand on three of them (project, service, version) to every
        container that is made of them; those that compose made itself have more."""
        text = self.labels.get(f"com.docker.compose.{name}", "")
        if not text or "com.docker.compose.oneoff" in self.labels:
            return text
        labels = {label for label in self.labels if label.startswith("com.docker.compose.")}
        return text if labels != {f"com.docker.compose.{word}" for word in ("project", "service", "version")} else ""

    @property
    def short(self) -> str:
        """What people call it among its siblings: compose's service, with its number unless that is 1."""
        number = self.labels.get("com.docker.compose.container-number", "1")
        name = self.service if number == "1" else f"{self.service}-{number}"
        return name if self.service and not self.oneoff else self.title

    @property
    def title(self) -> str:
        """What alerts call it: a Swarm task by service and slot, a replacement by the name that it is to get."""
        task = self.labels.get("com.docker.swarm.task.name", "")
        return task.rpartition(".")[0] or REPLACE_NAME.sub("", self.name)

    @property
    def called(self) -> set[str]:
        """Every name by which a command may mean it."""
        return {self.name, self.service, self.project, self.key} - {""}

    @property
    def network_target(self) -> str:
        """The container whose network it shares: an id, or a name where the engine left it so; empty for none."""
        kind, _, target = self.network_mode.partition(":")
        return target if kind in ("container", "service") else ""

    @property
    def oneoff(self) -> bool:
        """Made by `compose run`."""
        return self.labels.get("com.docker.compose.oneoff", "").lower() == "true"

    @property
    def key(self) -> str:
        """What stays the same when the container is replaced: project, service and number, or the name."""
        number = self.labels.get("com.docker.compose.container-number")
        if self.project and self.service and number and not self.oneoff:
            return f"{self.project}/{self.service}/{number}"
        task = self.labels.get("com.docker.swarm.task.name", "")
        return task.rpartition(".")[0] or self.name


@dataclass(frozen=True, slots=True)
class Row:
    """A container as the list shows it."""
    id: str
    status: str
    health: Health
    young: bool  # up for less than a minute or two


@dataclass(frozen=True, slots=True)
class Policy:
    """What its labels and the settings ask for one service."""
    watch: bool
    heal: bool
    insist: bool  # a label asks for restarts in so many words
    why_not: str
    job: bool | None
    max_restarts: int
    settle: float
    mention: str
    quiet: tuple[tuple[int, int], ...] = ()  # windows of the day, in minutes of local time


@dataclass(frozen=True, slots=True)
class Dependency:
    """How one service depends on another: compose's condition, whether restarted with it, whether on its network."""
    condition: str = "service_started"
    restart: bool = False
    network: bool = False
    direct: bool = True  # not only through others


# Observations: what the edges report. Past participles.


@dataclass(frozen=True, slots=True)
class Heard:
    """An event of the engine's stream. `nano` is its whole timestamp in nanoseconds; it is not monotonic."""
    action: str
    id: str
    nano: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    signal: int | None = None
    health: Health = Health.NONE

    @property
    def time(self) -> float:
        """Unix seconds."""
        return self.nano / 1e9


@dataclass(frozen=True, slots=True)
class Listed:
    """A full listing; `me` is Sentinel's own container, `host` and `engine` are the engine's name and lasting id."""
    rows: tuple[Row, ...]
    me: str = ""
    host: str = ""
    engine: str = ""
    podman: bool = False  # whose events do not tell a stop from a death
    forbidden: str = ""  # why nothing can be restarted through this engine, as far as that is known


@dataclass(frozen=True, slots=True)
class Looked:
    """One container inspected: `container` is None where it no longer exists, `why` says why nobody knows."""
    id: str
    container: Container | None
    logs: tuple[str, ...] = ()
    why: str = ""


class Outcome(Enum):
    """How a restart call ended. UNKNOWN: the answer did not come, the engine may still be at it."""
    DONE = 1
    OVERTAKEN = 2
    REFUSED = 3
    FORBIDDEN = 4
    UNKNOWN = 5


@dataclass(frozen=True, slots=True)
class Restarted:
    """A restart call ended; `container` is how it stood afterwards."""
    key: str
    id: str
    outcome: Outcome
    why: str = ""
    container: Container | None = None


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The event stream is open: it replays from Unix time `since`, and `time` is now."""
    since: float = 0.0
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The event stream ended: cut (no `why`), not to be had (`why`), or `refused` by a proxy."""
    why: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class ListFailed:
    """The engine could not be asked."""
    why: str


class Fate(Enum):
    """What became of a message."""
    SENT = 1
    UNSENT = 2  # surely not stored
    UNCLEAR = 3  # perhaps stored
    MALFORMED = 4  # the channel refuses its form, not the channel's use
    DEAD = 5  # the channel will never take anything
    GONE = 6  # the message that was to be edited is not there any more


@dataclass(frozen=True, slots=True)
class Delivered:
    """A channel's verdict on a message: its fate, and for how many seconds the channel is to be left alone."""
    channel: str
    fate: Fate
    hold: float = 0.0
    why: str = ""
    message: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asks the local HTTP server; `reply` takes the answer: status, kind of content, text."""
    path: str
    reply: Callable[[tuple[int, str, str]], None]
    words: Notice | None = None


@dataclass(frozen=True, slots=True)
class Pinged:
    """The dead-man's switch was fetched; `why` says why it was not."""
    why: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    """A signal asked Sentinel to end."""
    signal: int


@dataclass(frozen=True, slots=True)
class Crashed:
    """A worker broke unexpectedly."""
    worker: str
    report: str


# Actions: what the deciding code wants done. Imperatives.


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Open the event stream, with everything since this Unix time (0: the last moments) replayed."""
    since: float


@dataclass(frozen=True, slots=True)
class CloseStream:
    """End the open event stream, so that it is opened anew."""

@dataclass(frozen=True, slots=True)
class List:
    """List all containers."""

@dataclass(frozen=True, slots=True)
class Look:
    """Inspect one container, and read its last log lines if it is not running."""
    id: str


@dataclass(frozen=True, slots=True)
class Restart:
    """Start a container that is down, or restart one that runs, if it still is the run that was judged."""
    key: str
    id: str
    started_time: float
    alive: bool
    stop_timeout: float


@dataclass(frozen=True, slots=True)
class Log:
    """One line of Sentinel's own record."""
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Consequence:
    """One service that a root cause took with it. `chain`: from it to the root; `state`: how it stands now."""
    chain: tuple[str, ...]
    verdict: Verdict
    at: float
    exit_code: int | None = None
    cause: Cause = Cause.EXIT
    state: str = ""
    back: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell people: facts only, worded later. Spans are seconds, None where not known."""
    verdict: Verdict
    name: str
    at: float
    container: Container | None = None
    cause: Cause = Cause.EXIT
    project: str = ""
    incident: int = 0
    exit_code: int | None = None
    uptime: float | None = None
    downtime: float | None = None
    deaths: int = 0
    attempts: int = 0
    plan: str = ""
    error: str = ""
    logs: tuple[str, ...] = ()
    id: int = 0  # its place in the ledger
    names: tuple[str, ...] = ()  # all of them, where one notice stands for several services
    mention: str = ""
    consequences: tuple[Consequence, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()  # further lines: label and text
    open: bool = False  # its outage goes on, so what is told of it may change
    recovered: float | None = None  # how long it was down, where it is over
    flaps: int = 0  # incidents of this service within an hour, where that is too many
    decided_at: float = 0.0  # when it was decided to tell it, where that is later than what it tells


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell people something new."""
    notice: Notice


@dataclass(frozen=True, slots=True)
class Amend:
    """Bring what was told in red of an outage up to date, where it stands."""
    notice: Notice


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send these notices as one message, or have one that is there (`message`) say this instead. `nonce` begins with the
    ledger's tag, and is the same for the same notices; `plain` leaves out all that could be refused."""
    channel: str
    notices: tuple[Notice, ...]
    host: str
    nonce: str = ""
    plain: bool = False
    why_late: str = ""
    message: str = ""
    sent_at: float | None = None  # when a message that is edited now was sent


Observation = (Heard | Listed | ListFailed | Looked | Restarted | StreamOpened | StreamClosed | Delivered | Asked | Pinged
               | StopAsked | Crashed)
Action = Subscribe | CloseStream | List | Look | Restart | Log | Tell | Amend | Deliver

# ─── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────
# The engine's words to values. Tolerant: a missing or odd value becomes its default, never an exception.

JSON = Any  # what json.loads gives; every use is guarded by the readers below


def json_in(text: str | bytes) -> JSON:
    """What a JSON text says, None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def at(document: JSON, *path: str) -> JSON:
    """The value at a path of keys, None where the path breaks off."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def encodable(text: str) -> str:
    """Text without the half characters that JSON can hold and nothing else takes."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def text_at(document: JSON, *path: str) -> str:
    """The text at a path, empty where there is none."""
    value = at(document, *path)
    return encodable(value) if isinstance(value, str) else ""


def whole_at(document: JSON, *path: str) -> int:
    """The whole number of at most 64 bits at a path, 0 where there is none."""
    value = at(document, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else 0


def labels_at(document: JSON, *path: str) -> dict[str, str]:
    """The texts of a mapping at a path."""
    value = at(document, *path)
    texts = value.items() if isinstance(value, dict) else ()
    return {encodable(name): encodable(text) for name, text in texts if isinstance(text, str)}


def number_in(text: str | None) -> int | None:
    """A whole number written in text, as events carry exit codes and signals; None for anything else."""
    return int(text) if text and re.fullmatch(r"-?\d{1,9}", text, re.ASCII) else None


def unix_time(text: str) -> float:
    """Unix seconds of an engine's time: 0 to 9 digits of fraction, any zone; year 1 means never, as does rubbish."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if not match or text.startswith("0001-"):
        return 0.0
    try:
        moment = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    return moment.timestamp() + float(match[2] or 0)


def fits(value: JSON, example: JSON, optional: tuple[str, ...] = ()) -> bool:
    """Whether a JSON value has an example's shape: its keys, and kinds of values; `optional` ones may be null. A list of
    one is an example for all elements, a longer one for each in turn, an empty one for any."""
    if isinstance(example, dict):
        return isinstance(value, dict) and all(
            name in value and ((name in optional and value[name] is None) or fits(value[name], item, optional))
            for name, item in example.items())
    if isinstance(example, list | tuple | deque):
        if len(example) < 2:
            return isinstance(value, list) and all(fits(item, example[0], optional) for item in value if example)
        return isinstance(value, list) and len(value) == len(example) and all(map(fits, value, example))
    if isinstance(example, bool) or not isinstance(example, int | float):
        return isinstance(value, str if isinstance(example, str) else type(example))
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63


SIGNALS = {sig.value: sig.name for sig in signal.Signals}
SIGNAL_NUMBERS = {name.removeprefix("SIG"): value for value, name in SIGNALS.items()}


def signal_number(text: str, default: int) -> int:
    """A signal as image authors write it: SIGQUIT, quit, 3, SIGRTMIN+3."""
    name = text.upper().removeprefix("SIG")
    if match := re.fullmatch(r"(RTM(?:IN|AX))([+-]\d{1,2})", name):
        return SIGNAL_NUMBERS[match[1]] + int(match[2])
    return number_in(text) or SIGNAL_NUMBERS.get(name, default)


def health_of(text: str) -> Health:
    """A health word, NONE where it is none of Docker's."""
    return Health(text) if text in tuple(Health) else Health.NONE


STATUS_WORDS = {"stopped": "exited", "initialized": "created", "configured": "created"}  # Podman's to Docker's


def status_of(word: str) -> str:
    """The state word in Docker's vocabulary."""
    return STATUS_WORDS.get(word.lower(), word.lower()) or "unknown"


LONGEST_ERROR = 4000  # characters; it may quote a whole command


def container_of(document: JSON) -> Container:
    """A container from `GET /containers/{id}/json`."""
    state, config, host = at(document, "State"), at(document, "Config"), at(document, "HostConfig")
    probes = at(state, "Health", "Log")
    last_probe = probes[-1] if isinstance(probes, list) and probes else None
    stop_timeout = at(config, "StopTimeout")
    return Container(
        id=text_at(document, "Id"),
        name=text_at(document, "Name").removeprefix("/") or text_at(document, "Id")[:12],
        labels=labels_at(config, "Labels"),
        status=status_of(text_at(state, "Status")),
        health=health_of(text_at(state, "Health", "Status")), failing_streak=whole_at(state, "Health", "FailingStreak"),
        probe_output=text_at(last_probe, "Output"), has_probe=text_at(state, "Health", "Status") not in ("", "none"),
        exit_code=whole_at(state, "ExitCode"), oom_killed=at(state, "OOMKilled") is True,
        error=text_at(state, "Error")[:LONGEST_ERROR],
        started_time=unix_time(text_at(state, "StartedAt")), finished_time=unix_time(text_at(state, "FinishedAt")),
        restart_count=whole_at(document, "RestartCount"), restart_policy=text_at(host, "RestartPolicy", "Name") or "no",
        stop_signal=signal_number(text_at(config, "StopSignal"), 15),
        stop_timeout=float(min(stop_timeout, 86400)) if isinstance(stop_timeout, int) and stop_timeout >= 0 else 10.0,
        network_mode=text_at(host, "NetworkMode"), links=links_of(at(host, "Links")),
        tty=at(config, "Tty") is True, auto_remove=at(host, "AutoRemove") is True, memory_limit=whole_at(host, "Memory"))


def links_of(links: JSON) -> tuple[str, ...]:
    """The names of the containers that legacy links (`/db:/web/alias`) lead to."""
    return tuple(link.partition(":")[0].lstrip("/") for link in links if isinstance(link, str)) if isinstance(
        links, list) else ()


ROW_NAMES = ("Id", "State", "Status", "HostConfig", "NetworkMode")  # all else in a list would be 50 times as much


def row_of(document: JSON) -> Row:
    """A container from `GET /containers/json`; health and age stand in its Status text only."""
    text = text_at(document, "Status")
    health = re.search(r"\((?:health: )?(starting|healthy|unhealthy)\)", text)
    return Row(id=text_at(document, "Id"), status=status_of(text_at(document, "State")),
               health=health_of(health[1] if health else ""),
               young=text.startswith("Up") and bool(re.search(r"second|About a minute", text)))


ACTION_WORDS = {"died": "die", "remove": "destroy"}  # Podman's to Docker's


def event_of(document: JSON) -> Heard | None:
    """A container event, None for all else.
    Labels are copied over the event's own attributes, so `exitCode` and `signal` are a label's where the
    container has one of that name (every engine); the verdict takes its code from inspect where it can."""
    if text_at(document, "Type") != "container" or text_at(document, "scope") == "swarm":
        return None
    action, _, detail = text_at(document, "Action").partition(": ")
    attributes = labels_at(document, "Actor", "Attributes")
    return Heard(
        action=ACTION_WORDS.get(action, action), id=text_at(document, "Actor", "ID"),
        nano=whole_at(document, "timeNano") or whole_at(document, "time") * 10**9, attributes=attributes,
        exit_code=number_in(attributes.get("containerExitCode") or attributes.get("exitCode")),
        signal=number_in(attributes.get("signal")), health=health_of(detail or text_at(document, "HealthStatus")))


@functools.lru_cache(4096)
def dependencies_in(label: str) -> Mapping[str, Dependency]:
    """Compose's dependencies of a service: `db:service_healthy:true`; compose before 2.17 wrote no third part, before
    2.3 no second one. A living container is restarted only where the label says so."""
    parts = (item.split(":") for item in label.split(",") if item)
    return {part[0]: Dependency(part[1] if len(part) > 1 else "service_started", part[2:3] == ["true"]) for part in parts}


def depends_on(labels: Mapping[str, str]) -> Mapping[str, Dependency]:
    """Compose's dependencies of a service, from its labels."""
    return dependencies_in(labels.get("com.docker.compose.depends_on", ""))


def waits_for_end(container: Container) -> list[str]:
    """The jobs that a service waits for: siblings on whose successful end it depends."""
    return [name for name, dependency in depends_on(container.labels).items()
            if dependency.condition == "service_completed_successfully"]


HOOK_LABEL = "com.docker.compose.hook"


def scope_of(container: Container, settings: Settings, me: str) -> tuple[bool, str]:
    """Whether a container is watched, and why; a bad label counts as none."""
    asked = container.labels.get("sentinel.watch", "").strip().lower()
    project = container.project
    chosen = settings.watch == "all" or (settings.watch == "compose" and bool(project))
    reasons = (
        (container.id == me, False, "it is Sentinel itself"),
        (HOOK_LABEL in container.labels, False, "it is a helper of compose's, made for a moment"),
        (BOOLEANS.get(asked) is False, False, "its label sentinel.watch is false"),
        (BOOLEANS.get(asked) is True, True, "its label sentinel.watch is true"),
        (settings.projects and project not in settings.projects, False, "SENTINEL_PROJECTS does not name its project"),
        (settings.watch == "all", True, "SENTINEL_WATCH is `all`"),
        (chosen, True, f"it belongs to the compose project {project}"),
        (settings.watch == "compose", False, "it belongs to no compose project, and SENTINEL_WATCH is `compose`"))
    return next(((watched, why) for holds, watched, why in reasons if holds),
                (False, "it has no label sentinel.watch=true, and SENTINEL_WATCH is `labelled`"))


def policy_of(container: Container, settings: Settings, me: str) -> tuple[Policy, list[str]]:
    """The policy of a container, and a warning for each label that makes no sense."""
    warnings: list[str] = []

    def label(name: str, parse: Callable[[str], Any], default: Any) -> Any:
        if (text := container.labels.get(name)) is None:
            return default
        try:
            return parse(text)
        except ValueError as error:
            warnings.append(f"{container.name}: label {name}: {error}; it is ignored")
            return default

    label("sentinel.watch", boolean, None)
    asked = label("sentinel.restart", boolean, None)
    heal = settings.restart if asked is None else asked
    why_not = "SENTINEL_RESTART is false" if asked is None else "its label sentinel.restart is false"
    if "com.docker.swarm.service.name" in container.labels:
        heal, why_not = False, "Swarm replaces its tasks itself"
    elif heal and speaks_through(container, settings.docker_host):
        heal, why_not = False, "Sentinel speaks to the engine through it"
    return Policy(
        watch=scope_of(container, settings, me)[0], heal=heal, insist=heal and asked is True, why_not=why_not,
        job=label("sentinel.job", boolean, True if container.oneoff else None),
        max_restarts=label("sentinel.max-restarts", count, settings.max_restarts),
        settle=label("sentinel.settle", duration, settings.settle),
        mention=label("sentinel.mention", mention, settings.mention),
        quiet=label("sentinel.quiet", quiet_windows, ())), warnings


def speaks_through(container: Container, host: str) -> bool:
    """Whether the container is the socket proxy that DOCKER_HOST names."""
    name = urllib.parse.urlsplit(host).hostname
    return bool(name) and name in (container.name, container.service)


def recovery_command(container: Container) -> str:
    """The command that brings it back: compose's own where its labels tell the file, else docker's."""
    files = container.labels.get("com.docker.compose.project.config_files", "")
    if container.auto_remove and container.status != "running":
        return ""
    verbs = ["restart"] if container.sick else ["up", "-d"]
    if container.status == "running" and not container.sick:
        verbs.append("--force-recreate")  # it runs in a network that is gone
    if swarm := container.labels.get("com.docker.swarm.service.name"):
        return f"docker service ps --no-trunc {shlex.quote(swarm)}"
    if (not container.service or container.oneoff) and "--force-recreate" in verbs:
        return ""
    if not container.service or container.oneoff:
        return f"docker {'restart' if container.sick else 'start'} {shlex.quote(container.name)}"
    words = ["docker", "compose", "-p", container.project]
    for file in filter(None, files.split(",")):
        words += ["-f", file]
    return shlex.join([*words, *verbs, container.service])


# ─── Deciding ─────────────────────────────────────────────────────────────────────────────────────────────────

FIRST_DELAY, LONGEST_DELAY = 5.0, 300.0  # between restarts: at once, then 5 s, 10 s, 20 s … 5 min
FIRST_PROOF, LONGEST_PROOF = 5.0, 600.0  # how long a service must live to be called back
REFUND_AFTER = 600.0  # of proven life: then its restarts are forgotten
LOOP_DEATHS, LOOP_SPAN = 3, 300.0
STOP_GRACE = 1.5  # `stop` and `destroy` follow a `die` by up to 52 ms on 20.10; a loaded engine takes longer
UNKNOWN_PATIENCE = 30.0  # how long a call whose answer was lost may still be at work
POLICY_PATIENCE = 65.0  # Docker's own restart policy waits up to 60 s between tries
ENGINE_PATIENCE = 10.0  # how long the engine may be away before that is told
NOTE_EVERY, FORGET_AFTER = 600.0, 600.0
SHADOW = 120.0  # a dependant that died so long before what it depends on died of the same cause
STOP_SHADOW = 600.0  # so long after a stop, the death of what depends on it is put down to that
HELD_LOOK = 60.0  # how often it is asked whether what holds a restart still does
OUTAGE_PATIENCE = 300.0  # how long the green of a root waits for its consequences
LATE_GREEN = 30.0  # a green that comes so long after the return has waited for proof or for others
FLAPS, FLAP_SPAN = 3, 3600.0  # so many incidents of one service within an hour are told as one
ENGINE_GRACE, GRACE_LIMIT = 10.0, 60.0  # of quiet after the engine's return, until Docker's own policies are done; at most
BURST = 1.0  # an engine that shuts down sends the stop signal to all containers within 0.1 s; a loaded one takes longer
MEMORY_OF_EVENTS, MEMORY_OF_DEATHS = 4096, 64
WORTHLESS_CODES = (0, 137, 143)  # codes that a stop and a death share
ASKING_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


@dataclass(slots=True)
class Run:
    """Evidence of one run of a container: what the stream told from its start to after its end."""
    started_time: float = 0.0
    kills: list[tuple[int, float]] = field(default_factory=list)
    stop_time: float = 0.0
    oom_time: float = 0.0
    asked_at: float = -math.inf  # when an operator's wish to end it was heard
    death: Death | None = None


@dataclass(slots=True)
class Death:
    """One end of a run. `heard`: the stream told it, so the absence of a `kill` means that nobody asked."""
    time: float
    at: float
    code: int | None
    run: Run
    heard: bool = True
    times: int = 1


@dataclass(slots=True)
class Outage:
    """Incidents with one root cause. `root` is a service, or empty for the engine, or for what a mute left behind."""
    number: int
    began_at: float
    root: str = ""
    members: list[str] = field(default_factory=list)  # services, in the order in which they fell
    told: bool = False
    left: bool = False  # of another, whose green named it as not back: nothing is told until one more falls
    flaps: int = 0
    moved_at: float = 0.0  # when one of them came back last
    notice: Notice | None = None  # what there is to tell of a root that is no service
    back_at: float | None = None  # since when such a root is back


@dataclass(slots=True)
class Incident:
    """One service's story, from its first bad sign to its proven recovery. `notice`: what there is to tell of it now."""
    outage: Outage
    began_at: float
    notice: Notice
    deaths: int = 0
    attempts: int = 0
    looped: bool = False
    back_at: float | None = None  # since when it is back, where the outage goes on


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done about a service that is down: in words, and when (None: nothing). `held`: it waits for others."""
    words: str
    due: float | None
    held: bool = False


@dataclass(slots=True)
class Watched:
    """A watched service: the only memory that Sentinel has of it."""
    key: str
    container: Container
    policy: Policy
    phase: Phase
    logs: tuple[str, ...] = ()
    successor: Container | None = None
    replacing: bool = False  # a replacement was seen, so a removal is half of a deploy
    death: Death | None = None  # not judged yet
    judged_time: float = -1.0  # start of the run whose death was judged last
    incident: Incident | None = None
    attempts: int = 0
    deaths: list[float] = field(default_factory=list)  # since the last refund
    proved_at: float = 0.0
    back_at: float = 0.0
    hopeless: str = ""  # why this incident is not healed
    known_error: str = ""  # the engine's words at the last failed start
    noted_at: float = -NOTE_EVERY
    calling: str = ""  # the container of the restart call in flight
    pending_until: float = 0.0  # a restart call without an answer may still be at work
    held: bool = False  # its restart waits for what it depends on
    fell: bool = False  # its present run follows a death, not a restart that somebody wanted
    network_parent: str = ""  # the service whose network it shares
    muted: str = ""  # it is muted, and was `standing` or `down` when that began, or has `died` since
    recoveries: list[float] = field(default_factory=list)
    settled: bool = False  # its removal has been told, or was not worth it

    @property
    def alive(self) -> bool:
        """Whether it runs and nothing speaks against it."""
        return self.phase in (Phase.UP, Phase.PROVING) and self.container.status == "running"

    @property
    def standing(self) -> bool:
        """Whether its container was last seen alive, so that an end of it is news."""
        sick = self.phase in (Phase.WAITING, Phase.GAVE_UP) and self.container.status == "running"
        return sick or self.phase in (Phase.UP, Phase.PROVING)

    @property
    def proof(self) -> float:
        """Seconds of life that prove it: doubled by each relapse."""
        return float(min(LONGEST_PROOF, FIRST_PROOF * 2 ** max(0, len(self.deaths) - 1)))

    def unjudged(self, death: Death) -> bool:
        """Whether a death is that of the run last seen, and has not been judged."""
        return death.time >= self.container.started_time != self.judged_time

    def flaps(self, now: float) -> int:
        """How many incidents it has had within the hour, this one included; 0 if that is not too many."""
        recent = [when for when in self.recoveries if when > now - FLAP_SPAN]
        return len(recent) + 1 if len(recent) + 1 >= FLAPS else 0

    def recent_deaths(self, now: float) -> list[float]:
        """When it died lately: three such deaths are a crash loop."""
        return [when for when in self.deaths if when > now - LOOP_SPAN]

    def move(self, phase: Phase) -> None:
        """Change phase, along a legal edge only."""
        if phase is not self.phase:
            assert phase in LEGAL[self.phase], f"{self.key}: {self.phase} to {phase}"
            self.phase = phase

    def refund(self) -> None:
        """Forget restarts and deaths: it has proven itself, or somebody took it in hand."""
        self.attempts, self.hopeless, self.known_error = 0, "", ""
        self.deaths.clear()


def intent_of(death: Death, container: Container, final: bool = False) -> Intent:
    """Who wanted this end, by the kills of its run and a `stop` on either side of the `die`. On every Docker engine an end
    made through the API has its `kill` before its `die`; `stop` follows on 20.10, and precedes it on 26 and later. HUP or
    USR1 is no wish to end; KILL alone is `docker kill`, unless `stop` or a removal follows. `final`: nothing is awaited."""
    run = death.run
    if run.stop_time and abs(run.stop_time - death.time) <= 2.0:
        return Intent.OPERATOR
    asking = (*ASKING_SIGNALS, container.stop_signal) if container.stop_signal != signal.SIGKILL else ASKING_SIGNALS
    asked = max((when for number, when in run.kills if number in asking), default=None)
    killed = max((when for number, when in run.kills if number == signal.SIGKILL), default=None)
    if asked is not None and death.time - asked <= container.stop_timeout + 2.0:
        return Intent.OPERATOR
    if asked is None and (killed is None or death.time - killed > 12.0):
        return Intent.NOBODY
    return Intent.NOBODY if final else Intent.UNCLEAR


def cause_of(death: Death, before: Container, container: Container, code: int | None) -> Cause:
    """Why the run ended. OOM needs evidence: 137 alone is none.
    20.10 keeps the OOMKilled flag through the next run, so it counts only if it was not set before."""
    run = death.run
    if run.oom_time and death.time - run.oom_time < 10.0 and code:
        return Cause.OOM
    if container.oom_killed and not before.oom_killed and code:
        return Cause.OOM
    last_signal = next((number for number, when in reversed(run.kills) if death.time - when < 12.0), None)
    if last_signal == signal.SIGKILL:
        return Cause.API_KILL
    if last_signal and code == 128 + last_signal:
        return Cause.SIGNALLED
    if code in WORTHLESS_CODES and not death.heard:
        return Cause.UNSEEN
    return Cause.OUTSIDE if code == 137 else Cause.EXIT


def code_of(death: Death, container: Container) -> int | None:
    """The exit code: inspect's where that shows this run's end, else the event's (a label `exitCode` overwrites it)."""
    if container.status not in ("running", "gone"):
        return container.exit_code
    return death.code if "exitCode" not in container.labels else None


def hopeless_end(death: Death, container: Container, exit_code: int | None) -> str:
    """Why an end is told and not healed, empty where it is healed."""
    if container.status == "gone":
        return "the engine removes it at its end (--rm)" if container.auto_remove else "it was removed"
    if exit_code == 0 and container.restart_policy == "no":
        return "its restart policy is `no`; if it is a job, label it sentinel.job=true"
    if not death.heard and exit_code in WORTHLESS_CODES and container.status == "exited":
        return "a stop can't be told from a death here; sentinel.restart=true restarts it"
    return ""


def older(one: Watched, other: Watched) -> bool:
    """Whether one service's run began before another's."""
    return one.container.started_time < other.container.started_time


def quiet_until(windows: Iterable[tuple[int, int]], calendar_time: float) -> tuple[float, float]:
    """Seconds until the end of the quiet windows that a moment is in (0 if in none), and until the next change."""
    local = datetime.fromtimestamp(calendar_time).astimezone()
    minute = local.hour * 60 + local.minute + (local.second + local.microsecond / 1e6) / 60
    ends, changes = [0.0], []
    for first, last in windows:
        inside = (minute - first) % DAY < (last - first) % DAY
        ends.append((last - minute) % DAY * 60 if inside else 0.0)
        changes += [(moment - minute) % DAY * 60 or DAY * 60 for moment in (first, last)]
    return max(ends), min(changes, default=DAY * 60)


def begins_anew(container: Container, event: Heard) -> bool:
    """Whether a `start` is news: not that of the run that is known, told again or late."""
    return event.time > (container.started_time + 1.0 if container.status == "running" else container.finished_time)


def note(run: Run, event: Heard) -> Run:
    """The evidence of a run with one more event; a `start` begins a new one."""
    if event.action == "start":
        return Run(started_time=event.time)
    if event.action == "kill" and event.signal is not None:
        run.kills = [*run.kills[-7:], (event.signal, event.time)]
    elif event.action == "stop":
        run.stop_time = event.time
    elif event.action == "oom":
        run.oom_time = event.time
    return run


class Watchdog:
    """Decides. `observe` takes what happened and gives what to do; `tick` does what has become due."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.services: dict[str, Watched] = {}
        self.by_id: dict[str, str] = {}  # container → service
        self.runs: dict[str, Run] = {}  # container → evidence of its run
        self.groups: dict[tuple[str, str], dict[str, None]] = {}  # (project, compose service or "") → services
        self.dependants: dict[str, list[tuple[str, Dependency]]] | None = None  # service → what depends on it; None: unknown
        self.lodgers: set[str] = set()  # services that share a network of which it is not known yet whose it is
        self.outages: dict[int, Outage] = {}
        self.news: dict[int, Outage] = {}  # outages of which something new is to be told
        self.deaths: list[str] = []  # services that died, for whoever counts them
        self.mutes: dict[str, float] = {}  # who is muted by command → until when
        self.ignored: set[str] = set()  # containers that are not to be watched
        self.looks: dict[str, bool] = {}  # looks in flight; True: look again after it
        self.due: dict[tuple[str, str], float] = {}  # (rule, service or container) → when
        self.touched: set[str] = set()  # services that may have changed since they were last saved
        self.actions: list[Action] = []
        self.incidents = 0
        self.me, self.host, self.engine_id, self.forbidden = "", settings.host, "", ""
        self.seen: dict[tuple[int, str, str], None] = {}  # the last events, for what a resumed stream tells twice
        self.position = 0.0  # engine's time of the newest event
        self.history = (0.0, 0.0)  # engine's times before Sentinel's start that are replayed: evidence only
        self.absence = (0.0, 0.0)  # engine's times at which Sentinel was away: what happened then is caught up
        self.began_at = self.calendar_offset = 0.0
        self.initial: set[str] | None = None  # what the first listing found
        self.missed: set[str] = set()  # what the ledger knew, and the first listing did not find
        self.grown: set[str] = set()  # up for minutes at the last listing
        self.streaming = self.refused = self.listing = self.engine_known = self.podman = False
        self.opened_at = self.reconnect_delay = 0.0
        self.was_cut = self.noticed = False  # the stream was open before; the loss of the engine was seen itself
        self.remembered = True  # the stream repeats what was heard before it was cut
        self.reopened_at = -math.inf
        self.lost_at: float | None = None
        self.lost_why = ""
        self.engine_outage: Outage | None = None
        self.graced_at: float | None = None  # when the engine came back: Docker's own policies are at work
        self.moved_at = 0.0  # when a container was last seen to start
        self.engine_gap = (math.inf, 0.0)  # engine's times between which ends were its own doing
        self.graceful = False  # it said goodbye: then Docker itself brings back what was not stopped by hand

    # What the daemon calls

    def begin(self) -> list[Action]:
        """What to do first: subscribe, and list once that is answered, so that nothing falls in between."""
        return [Subscribe(0.0)]

    def restore(self, services: Iterable[tuple[Watched, float | None]], outages: Mapping[int, Outage], engine_id: str,
                position: float, incidents: int, now: float, now_time: float) -> None:
        """Take up what the ledger remembers: services with their due times. A restart that was cut short is looked at."""
        for service, due in services:
            self.enter(service)
            if service.phase is Phase.RESTARTING:
                service.phase, service.back_at, due = Phase.PROVING, now, now + service.proof
            if due is not None:
                self.due["forget" if service.phase is Phase.GONE and service.settled else "phase", service.key] = due
        for number, outage in outages.items():
            found = {key: self.services[key].incident for key in outage.members if key in self.services}
            outage.members = [key for key, incident in found.items() if incident and incident.outage is outage]
            if outage.members or outage.notice:
                outage.root = outage.root if outage.root in outage.members else "" if outage.notice else outage.members[0]
                self.outages[number] = outage
                self.due["outage", str(number)] = now
            if outage.notice and outage.notice.verdict is Verdict.ENGINE_DOWN:
                self.engine_outage = outage
                if outage.back_at is None:  # it was away when Sentinel ended: how long it was, the next listing tells
                    self.engine_known, self.lost_at, self.engine_gap = True, outage.began_at, (position, math.inf)
        self.engine_id = engine_id
        self.position, self.incidents = min(position, now_time), max([incidents, *outages])
        self.absence, self.history = (self.position, now_time), (0.0, self.position)
        self.began_at, self.calendar_offset = now, now_time - now

    def due_of(self, service: Watched) -> float | None:
        """When the rule of a service's phase is due."""
        return self.due.get(("phase", service.key), self.due.get(("forget", service.key)))

    @property
    def catching_up(self) -> bool:
        """Whether it is still being worked out what happened while Sentinel was away."""
        return self.initial is None or bool(self.looks) or any(rule == "unheard" for rule, _ in self.due)

    def observe(self, seen: Observation, now: float) -> list[Action]:
        """Take one observation, give the actions that follow from it."""
        handlers: dict[type, Callable[[Any, float], None]] = {
            Heard: self._heard, Looked: self._looked, Restarted: self._restarted, Listed: self._listed,
            ListFailed: self._list_failed, StreamOpened: self._stream_opened, StreamClosed: self._stream_closed}
        handlers[type(seen)](seen, now)
        return self._take_actions(now)

    def tick(self, now: float) -> list[Action]:
        """Do what has become due: for each rule there is a method, `_phase_due` for `phase`."""
        for timer in [timer for timer, when in self.due.items() if when <= now]:
            if self.due.get(timer, math.inf) > now:
                continue  # another rule has ended it, or put it off
            self.touched.add(timer[1])
            if timer[1] and (put_off := self._put_off(*timer, now)):
                self.due[timer] = put_off
            else:
                getattr(self, f"_{timer[0]}_due")(timer[1], now)
            if self.due.get(timer, now + 1.0) <= now:  # the rule has not set it anew
                del self.due[timer]
        return self._take_actions(now)

    def _put_off(self, rule: str, key: str, now: float) -> float:
        """Until when a rule has to wait, 0 for not at all: until it is known how things stand, or a mute is over."""
        if self.lost_at is not None or self.initial is None or (self.graced_at is not None and rule != "look"):
            return now + 0.5
        service = self.services.get(key)
        if service is None or rule not in ("phase", "dependants", "network", "forget"):
            return 0.0
        if rule == "phase" and service.phase in (Phase.SUSPECT, Phase.GONE) and service.container.id not in self.looks:
            return 0.0  # what became of it is found out; a mute keeps it from being told
        return now + 0.5 if rule == "phase" and service.container.id in self.looks else self.muted_until(service, now)

    def next_due_at(self) -> float | None:
        """When `tick` is wanted next."""
        return min(self.due.values(), default=None)

    def _take_actions(self, now: float) -> list[Action]:
        news, self.news = self.news, {}
        told = [self._tell_outage(outage, now) for outage in news.values() if self._is_told(outage)]
        actions, self.actions = self.actions, []
        greens = [act for act in actions if isinstance(act, Tell) and act.notice.verdict is Verdict.RECOVERED]
        over = {green.notice.incident for green in greens}
        again = [tell for tell in told if tell.notice.incident in over]  # a red after the green that left it out
        return [*(tell for tell in told if tell not in again), *actions, *again]

    def _log(self, level: str, text: str) -> None:
        self.actions.append(Log(level, text))

    def _look(self, container_id: str) -> None:
        """Ask for a look; one at a time for each container, and again if more happened meanwhile."""
        if container_id in self.looks:
            self.looks[container_id] = True
        else:
            self.looks[container_id] = False
            self.actions.append(Look(container_id))

    def _look_due(self, container_id: str, _: float) -> None:
        self._look(container_id)

    def _cancel(self, service: Watched) -> None:
        self.due.pop(("phase", service.key), None)

    def _number(self) -> int:
        self.incidents += 1
        return self.incidents

    def _is_told(self, outage: Outage) -> bool:
        return outage.number in self.outages and not outage.left

    def _notice(self, service: Watched, verdict: Verdict, at: float, cause: Cause, **facts: Any) -> Notice:
        """What there is to tell of a service."""
        container = service.container
        return Notice(verdict, container.title, at, container, cause, container.project, mention=service.policy.mention,
                      **facts)

    def _tell(self, service: Watched, verdict: Verdict, at: float, cause: Cause, **facts: Any) -> None:
        """Tell people of a service, beside what is told of its outage."""
        if incident := service.incident:
            counts = {"incident": incident.outage.number, "deaths": incident.deaths, "attempts": incident.attempts}
        else:
            counts = {"incident": self._number()}
        if not service.muted:
            self.actions.append(Tell(self._notice(service, verdict, at, cause, **counts, **facts)))

    # The engine: its stream, its listing, its loss

    def _stream_opened(self, seen: StreamOpened, now: float) -> None:
        self.streaming, self.opened_at = True, now
        if self.was_cut and self.lost_at is None and (self.graced_at is None or self.engine_gap[1] < math.inf):
            begin = self.position if self.graced_at is None else self.engine_gap[0]  # it may be another one
            self.engine_gap, self.graceful, self.remembered = (begin, seen.time), False, not self.seen
        if not self.position:
            self.position, self.history = seen.time, (seen.since, seen.time)
        self.forbidden = ""  # a proxy that was changed cuts the stream
        if self.engine_gap[1] == math.inf:
            self.engine_gap = (self.engine_gap[0], seen.time)
        if self.refused:
            self._log("info", "the engine's events can be read again")
        self.refused = False
        self._list_due("", now)

    def _stream_closed(self, seen: StreamClosed, now: float) -> None:
        """Reconnect soon: streams cut every few minutes by a proxy are normal life."""
        lived = now - self.opened_at if self.streaming else 0.0
        self.was_cut = self.was_cut or self.streaming
        self.streaming = False
        if seen.refused:
            if not self.refused:
                self._log("warning", f"events are refused ({seen.why}): deaths are found by listing every "
                                     f"{span(self.settings.poll_interval)}")
            self.refused, self.reconnect_delay = True, 60.0
        else:
            self.reconnect_delay = 0.05 if lived > 10.0 else min(5.0, max(0.05, self.reconnect_delay * 2))
            if seen.why:
                self._engine_lost(seen.why, now)
        self.due["subscribe", ""] = now + self.reconnect_delay
        if seen.why:
            self._list_due("", now)  # the listing says whether the engine is gone, or only its events

    def _subscribe_due(self, _: str, now: float) -> None:
        """Resume two seconds before the newest event: time stamps are not in the stream's order."""
        self.actions.append(Subscribe(self.position - 2.0 if self.position else 0.0))

    def _list_due(self, _: str, now: float) -> None:
        if not self.listing:
            self.listing = True
            self.actions.append(List())

    def _list_failed(self, seen: ListFailed, now: float) -> None:
        self.listing = False
        self.due["list", ""] = now + 1.0
        self._engine_lost(seen.why, now)

    def _listed(self, seen: Listed, now: float) -> None:
        """Compare the listing, which is the truth, with what is believed; look where they differ."""
        self.listing = False
        self.due["list", ""] = now + self.settings.poll_interval
        self.me, self.host, self.podman = seen.me, self.settings.host or seen.host, seen.podman
        self.forbidden = self.forbidden or seen.forbidden
        if seen.engine and seen.engine != self.engine_id:
            self._new_engine(seen.engine)
        self._engine_found(now)
        ids = {row.id for row in seen.rows}
        if self.initial is None:
            self.initial, self.missed = ids, set(self.by_id) - ids
            self.due["mutes", ""] = now + 0.5
        for container_id in [row.id for row in seen.rows if self._differs(row)] + [i for i in self.by_id if i not in ids]:
            self._look(container_id)
        for service in self.services.values():
            if service.container.network_target and service.alive:
                self._find_network(service)
                self._check_network(service, now)
        self.ignored &= ids
        self.grown = {row.id for row in seen.rows if not row.young}
        self.runs = {i: run for i, run in self.runs.items() if i in ids or i in self.by_id or i in self.looks}

    def _new_engine(self, engine_id: str) -> None:
        """Another engine than the ledger's: what was remembered is not about these containers."""
        if self.engine_id and self.initial is None:
            self._log("warning", "the ledger is about another engine; its services are forgotten, its history kept")
            self.touched |= set(self.services)
            self.due = {timer: when for timer, when in self.due.items() if not timer[1]}
            for memory in (self.services, self.by_id, self.runs, self.groups, self.outages, self.lodgers):
                memory.clear()
            self.dependants = None
        self.engine_id = engine_id

    def _differs(self, row: Row) -> bool:
        """Whether a row tells something that is not known. Age tells of restarts that no event told."""
        if row.id in self.ignored:
            return False
        service = self.services.get(self.by_id.get(row.id, ""))
        known = service and (service.container if service.container.id == row.id else service.successor)
        if not known or known.status != row.status or row.status == "created":
            return True
        unhealthier = row.status == "running" and known.health != row.health
        return unhealthier or (row.young and (not self.streaming or row.id in self.grown))

    def _engine_lost(self, why: str, now: float) -> None:
        if self.lost_at is None:
            self.lost_at = now
            self.due["engine", ""], self.due["list", ""] = now + ENGINE_PATIENCE, now + 1.0
            goodbye = self.goodbye()
            before = self.engine_gap[0] if self.graced_at is not None else math.inf  # it goes again before all was clear
            self.graceful = goodbye < math.inf and (self.graceful or before == math.inf)
            self.engine_gap, self.graced_at = (min(self.position, goodbye, before), math.inf), None
            self.due.pop(("grace", ""), None)
        if why != self.lost_why:
            self._log("warning", f"waiting for the engine: {why}")
            self.lost_why = why

    def goodbye(self) -> float:
        """When the engine began to stop all containers, by its clock, else infinity. It sends all of them the signal at
        once, and leaves when the last has ended; nobody else's stops leave not one unasked."""
        asked = {}
        for service in self.services.values():
            if service.alive or (service.phase is Phase.SUSPECT and service.death):
                run = self.runs.get(service.container.id, Run()) if service.alive or not service.death else service.death.run
                asked[service.key] = max((when for number, when in run.kills if number in ASKING_SIGNALS), default=0.0)
        begin = last = max(asked.values(), default=0.0)
        for when in sorted(asked.values(), reverse=True):
            begin = when if begin - when <= BURST else begin
        unasked = [key for key, when in asked.items() if self.services[key].alive and when < begin]
        return math.inf if unasked or not last else begin - 0.001

    def engine_end(self, leaving: bool) -> list[float]:
        """What is to be remembered of an end of the engine that is not settled: from when to when (0: not back yet), and
        whether it said goodbye; nothing where it lives. Where Sentinel leaves, too, all being stopped is such an end."""
        if self.engine_known and (self.lost_at, self.graced_at) != (None, None) and self.engine_gap[0] < math.inf:
            return [self.engine_gap[0], self.engine_gap[1] if self.engine_gap[1] < math.inf else 0.0, float(self.graceful)]
        goodbye = self.goodbye() if leaving else math.inf
        return [goodbye, 0.0, 1.0] if goodbye < math.inf else []

    def resume_end(self, begin: float, end: float, graceful: bool, now: float) -> None:
        """Sentinel ended before that was settled: see to it as soon as the engine answers."""
        self.engine_known, self.lost_at, self.graceful = True, now, graceful
        self.engine_gap = (begin, end or math.inf)
        self.due["engine", ""] = now + ENGINE_PATIENCE

    def _engine_due(self, _: str, now: float) -> None:
        """Too long without the engine: tell, unless it was never there (then Sentinel just started first)."""
        if self.lost_at is not None and self.engine_known:
            if muted := self.mutes.get("all", 0.0):
                self.due["engine", ""] = max(muted, now + 1.0)
            else:
                self._engine_falls(self.lost_at, "Trying to reach it; nothing is restarted meanwhile.")

    def _engine_falls(self, at: float, plan: str) -> Outage:
        """Begin, or go on with, the engine's own outage."""
        outage = self.engine_outage
        if outage is None:
            outage = self.engine_outage = self._new_outage("", at)
        outage.back_at, why = None, self.lost_why or (outage.notice.error if outage.notice else "")
        outage.notice = Notice(Verdict.ENGINE_DOWN, self.host, outage.began_at, error=why, plan=plan,
                               mention=self.settings.mention)
        self.news[outage.number] = outage
        return outage

    def _engine_found(self, now: float) -> None:
        """It answers. Docker's own restart policies get some time, if anything that ran does not run yet."""
        if not self.engine_known or self.lost_why:
            self._log("info", f"the engine of {self.host} answers")
        if self.engine_known and self.lost_at is not None:
            self._begin_grace(True, now)
        self.engine_known, self.lost_at, self.lost_why = True, None, ""
        self.due.pop(("engine", ""), None)

    def _begin_grace(self, noticed: bool, now: float) -> None:
        self.graced_at, self.moved_at, self.noticed = now, now, noticed
        self.due["grace", ""] = now + 1.0

    def _grace_due(self, _: str, now: float) -> None:
        """Once nothing starts any more, what the engine took with it and did not bring back is down."""
        assert self.graced_at is not None
        taken = [service for service in self.services.values() if self._taken(service)]
        busy = bool(self.looks) or not (self.streaming or self.refused)
        quiet = not taken or now >= self.moved_at + ENGINE_GRACE
        if (busy or not quiet) and now < self.graced_at + GRACE_LIMIT:
            self.due["grace", ""] = now + 1.0
            return
        back_at, self.graced_at = self.graced_at, None
        ran_on = any(service.alive and service.container.started_time <= self.engine_gap[0]
                     for service in self.services.values())
        if ran_on:  # then it was out of reach, or only the stream ended, and somebody stopped others
            taken = [service for service in taken if self.noticed and not self._asked_to_end(service, now)]
        outage = self._left_behind([service for service in taken if not service.muted], back_at)
        for service in self._roots_first(taken):
            service.move(Phase.SUSPECT)
            death = service.death or self._found_death(service.container, now)
            service.death, service.judged_time = None, service.container.started_time
            outage = self._fall_with(outage, service, Verdict.DEAD, Cause.ENGINE, death, now)
        if outage and outage.number in self.outages and outage is not self.engine_outage and not outage.members:
            self._end(outage)  # all had incidents of their own
        if outage := self.engine_outage:
            outage.back_at = back_at
            self._check_over(outage, now)

    def _asked_to_end(self, service: Watched, now: float) -> bool:
        """Whether somebody asked for the end of a service, as far as was heard."""
        death = service.death or self._found_death(service.container, now)
        return death.heard and intent_of(death, service.container, final=True) is Intent.OPERATOR

    def _fall_with(self, outage: Outage | None, service: Watched, verdict: Verdict, cause: Cause, death: Death,
                   now: float) -> Outage | None:
        """One of several that are told as one; which outage that is, changes where it merges with another."""
        self._fall(service, verdict, cause, death, now, outage)
        merged = outage and outage.number not in self.outages and service.incident
        return service.incident.outage if merged and service.incident else outage

    def _left_behind(self, services: list[Watched], at: float) -> Outage | None:
        """The outage of what the engine did not bring back: its own, if that was told; else one for all of them."""
        if self.engine_outage and services:
            return self._engine_falls(at, "It answers again; what it did not bring back is restarted.")
        if len(services) < 2:
            return None
        outage = self._new_outage("", at)
        outage.notice = Notice(Verdict.DEAD, counted(len(services), "service"), at, cause=Cause.ENGINE,
                               plan="They are restarted, what others depend on first.", mention=self.settings.mention)
        return outage

    def _taken(self, service: Watched) -> bool:
        """Whether it ended with its engine and is not back; after a goodbye, `unless-stopped` is left to the engine."""
        container, death = service.container, service.death
        if container.status not in ("exited", "dead") or (self.graceful and container.restart_policy == "unless-stopped"):
            return False
        within = self.engine_gap[0] < (death.time if death else container.finished_time) <= self.engine_gap[1]
        return within and service.phase in (Phase.SUSPECT, Phase.UP, Phase.PROVING)

    # Events

    def _heard(self, event: Heard, now: float) -> None:
        """Note an event's evidence, and act on it at once; a resumed stream's repeats are dropped."""
        handlers: dict[str, Callable[[Heard, Run, Watched | None, float], None]] = {
            "create": self._created, "start": self._started, "die": self._died, "stop": self._stopped, "oom": self._oom,
            "destroy": self._destroyed, "health_status": self._health, "kill": self._killed, "pause": self._changed,
            "unpause": self._changed, "rename": self._created, "update": self._changed}
        mark = (event.nano, event.id, event.action)
        if event.action not in handlers or mark in self.seen:
            self.remembered = self.remembered or mark in self.seen
            return
        self.seen[mark] = None
        if len(self.seen) > MEMORY_OF_EVENTS:
            del self.seen[next(iter(self.seen))]
        self.position = max(self.position, event.time)
        if self.absence[0] and event.time <= self.absence[0] and self.graceful:
            self.engine_gap, self.graceful = (math.inf, 0.0), False  # it still knows what was before: it never went away
        if event.id in self.ignored or self._passes_by(event):
            self.ignored -= {event.id} if event.action == "destroy" else set()
            return
        self.touched.add(self.by_id.get(event.id, ""))
        run = self.runs[event.id] = note(self.runs.get(event.id, Run()), event)
        if not self.history[0] <= event.time <= self.history[1]:
            handlers[event.action](event, run, self.services.get(self.by_id.get(event.id, "")), now)
        elif event.action == "die" and self.absence[0]:
            self._died(event, run, None, now)  # it may not have been judged before Sentinel went away

    def _passes_by(self, event: Heard) -> bool:
        """Whether a new container is nobody's business, as its labels in the event tell: jobs may come by the second."""
        labels = event.attributes
        if event.action not in ("create", "start") or event.id in self.by_id or self.podman or "image" not in labels or any(
                name.startswith("sentinel.") for name in labels):  # those of ours are read by a look, which may warn
            return False
        if not scope_of(Container(event.id, labels.get("name", ""), labels), self.settings, self.me)[0]:
            self.ignored.add(event.id)
        return event.id in self.ignored

    def _killed(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        if event.signal in (*ASKING_SIGNALS, service and service.container.stop_signal):
            run.asked_at = now

    def _changed(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        self._look(event.id)

    def _created(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        self._look(event.id)
        self.due["look", event.id] = now + 0.5  # a start that fails sends no event at all

    def _started(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        self._look(event.id)
        self.moved_at = now
        unjudged = service and service.death and service.phase is not Phase.SUSPECT  # the look under way judges it first
        known = service and service.container.id == event.id and not unjudged
        if service and known and service.phase in DOWN and begins_anew(service.container, event):
            ours = service.container.status == "restarting" or now < service.pending_until
            self._came_back(service, now, ours, event.time)

    def _stopped(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        if service and service.container.id == event.id:
            settle = service.policy.settle
            if service.muted == "died":
                service.muted = "down"  # it ran on sick, and is to be down now
            if service.phase is Phase.SUSPECT:
                self.due["phase", service.key] = now + settle
            elif service.phase is Phase.WAITING and service.container.status == "restarting":
                # A stop in Docker's backoff sends neither `kill` nor `die`.
                self._suspect(service, Death(event.time, now, service.container.exit_code, run), now, settle)

    def _oom(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        if service:
            self.due["oom", event.id] = now + 3.0

    def _health(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        """Look only where it matters: Podman sends one event a probe."""
        if not service or service.container.health is not event.health or service.phase is Phase.PROVING:
            self._look(event.id)

    def _died(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        times = run.death.times + 1 if run.death else 1
        run.death = Death(event.time, self._moment(event.time, now), event.exit_code, run, not self.podman, times)
        if service and service.container.id == event.id and event.time >= service.container.started_time:
            if service.standing and service.unjudged(run.death):
                self._assess(service, run.death, now)
            elif service.phase is Phase.RESTARTING:
                service.death = run.death  # its own stop, or the end of the new run: the restart's answer will tell
        self._look(event.id)

    def _moment(self, engine_time: float, now: float) -> float:
        """When something was, by the monotonic clock: now, unless it was while Sentinel was away."""
        away = 0.0 < self.absence[0] <= engine_time < self.absence[1]
        return engine_time - self.calendar_offset if away else now

    def _found_death(self, container: Container, now: float) -> Death:
        """A death as a look shows it."""
        at = self._moment(container.finished_time, now)
        run = self.runs.setdefault(container.id, Run(started_time=container.started_time))
        return Death(container.finished_time, at, container.exit_code, run)

    def _destroyed(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        self.looks.pop(event.id, None)
        self._gone(event.id, now)

    # Looks

    def _looked(self, seen: Looked, now: float) -> None:
        """Reconcile a service with its container as it really is. A look that something overtook is repeated."""
        if self.looks.pop(seen.id, True):
            if seen.id in self.by_id or seen.container:
                self._look(seen.id)
        elif seen.why:
            self.due["look", seen.id] = now + 2.0
        elif seen.container is None:
            self._gone(seen.id, now)
        elif service := self.services.get(self.by_id.get(seen.id, "")) or self._adopt(seen.container, now):
            self._reconcile(service, seen.container, seen.logs, now)

    def _adopt(self, container: Container, now: float) -> Watched | None:
        """Begin to watch a container, or learn that it is not to be watched."""
        policy, warnings = policy_of(container, self.settings, self.me)
        for warning in warnings:
            self._log("warning", warning)
        if not policy.watch:
            self.ignored.add(container.id)
            self.runs.pop(container.id, None)
            return None
        if service := self.services.get(container.key):
            self.by_id[container.id] = container.key
            return service
        death = self.runs.get(container.id, Run()).death
        told = death is not None and death.time >= container.started_time
        found_down = container.id in (self.initial or ()) and container.status not in ("running", "restarting") and not told
        service = Watched(container.key, container, policy, Phase.UP)
        if found_down or container.status == "created":
            service.phase, service.known_error = Phase.STOPPED, container.error if found_down else ""
        self.enter(service)
        self._begin_mute(service, now)
        self._mind_windows(service, now)
        self._log("info", f"watching {container.name} ({container.status})")
        return service

    def adopt_all(self, containers: Iterable[Container], now: float) -> None:
        """Take containers as they are, to answer questions about them."""
        for container in containers:
            service = self.services.get(container.key) or self._adopt(container, now)
            if service:
                service.container = container
                self._find_network(service)

    def _reconcile(self, service: Watched, container: Container, logs: tuple[str, ...], now: float) -> None:
        before = service.container
        self.touched.add(service.key)
        if container.id != before.id and not self._succeeds(service, container, now):
            return
        standing = service.standing
        service.container, service.logs = container, logs or service.logs
        self._find_network(service)
        run = self.runs.setdefault(container.id, Run(started_time=container.started_time))
        if container.status == "paused":
            if service.phase in (Phase.UP, Phase.PROVING, Phase.WAITING, Phase.GAVE_UP):
                self._rest(service)
            return
        if standing and not service.death and run.death and service.unjudged(run.death):
            self._assess(service, run.death, now)
        if standing and service.death and service.phase is not Phase.SUSPECT:
            self._judge(service, before, now)
        elif container.status == "running":
            self._alive(service, before, run, now)
        else:
            self._down(service, before, now)

    def _succeeds(self, service: Watched, container: Container, now: float) -> bool:
        """A second container under the same key: true if it is now the service's container."""
        if container.status == "created" and service.phase is not Phase.GONE:
            if service.phase is Phase.SUSPECT and not service.replacing:  # an update begins: it gets the settle time, too
                self.due["phase", service.key] = now + service.policy.settle
            service.successor, service.replacing = container, True
            return False
        ended = service.phase is Phase.GONE and container.started_time > service.container.started_time
        if container.status not in ("running", "restarting", "created") and not ended:
            return False
        if service.standing and container.started_time <= service.container.started_time:
            return False  # two of one key, as `docker commit` makes them: the younger one counts
        service.policy, _ = policy_of(container, self.settings, self.me)
        self.due.pop(("forget", service.key), None)
        self.dependants = None
        self._mind_windows(service, now)
        service.successor, service.death, service.replacing = None, None, container.status == "created"
        service.refund()
        if ended and container.status == "exited":  # it ran, while nobody looked
            self._came_back(service, now, ours=False, started_time=container.started_time)
        return True

    def _alive(self, service: Watched, before: Container, run: Run, now: float) -> None:
        container = service.container
        service.replacing = service.replacing and service.successor is not None  # else the replacement runs
        same_run = container.started_time == before.started_time
        ill = container.sick or self._network_is(service)
        still_sick = ill and same_run and service.phase in (Phase.WAITING, Phase.GAVE_UP)
        if service.phase in DOWN and not still_sick:
            docker_did = before.status == "restarting" or container.restart_count > before.restart_count
            self._came_back(service, now, ours=same_run or docker_did or now < service.pending_until)
        missed = container.id == before.id and run.started_time < container.started_time - 1.0
        run.started_time = max(run.started_time, container.started_time)
        if service.phase not in (Phase.UP, Phase.PROVING):
            return
        if container.sick and now < (until := run.asked_at + container.stop_timeout + 2.0):
            self.due["look", container.id] = until  # somebody stops it: no probe's word counts meanwhile
        elif container.sick:
            self._fall(service, Verdict.UNHEALTHY, Cause.UNHEALTHY, Death(0.0, now, None, run), now)
        elif missed and container.restart_count > before.restart_count:
            deaths = container.restart_count - before.restart_count
            service.death = Death(container.started_time, now, None, run, heard=False, times=deaths)
            self._judge(service, before, now)
        elif service.phase is Phase.PROVING:
            self._prove(service, now)

    def _down(self, service: Watched, before: Container, now: float) -> None:
        """Not running, though no death is waiting to be judged."""
        container, phase = service.container, service.phase
        standing = phase in (Phase.UP, Phase.PROVING)
        looping_unseen = phase in DOWN and phase is not Phase.WAITING and service.death is None
        if container.error and container.error != service.known_error and phase is not Phase.RESTARTING:
            self._cannot_start(service, now)
        elif phase is Phase.WAITING and before.status == "restarting" != container.status:
            if container.restart_policy in ("always", "unless-stopped"):  # killed in Docker's backoff: no event tells
                self._suspect(service, Death(0.0, now, container.exit_code, Run(), heard=False), now, service.policy.settle)
            else:
                self._wait(service, now)
        elif container.status == "restarting" and self.graced_at is not None:
            self.due["look", container.id] = now + ENGINE_GRACE  # Docker's own policy is at it
        elif container.status == "restarting" and (standing or looping_unseen):
            if not standing:
                self._came_back(service, now, ours=False)
            service.death = self._found_death(container, now)
            self._judge(service, before, now)
        elif standing and container.started_time == service.judged_time:
            if now < service.pending_until:
                self.due["phase", service.key] = now + 2.0
            else:
                self._wait(service, now)  # the death of this run is told already: the restart has not taken
        elif standing and container.status != "created" and ("unheard", service.key) not in self.due:
            self.due["unheard", service.key] = now + (0.0 if self.refused else 1.0)

    def _cannot_start(self, service: Watched, now: float) -> None:
        """The engine could not start it. No event tells that, only State.Error; it is told when its words change."""
        container = service.container
        if service.phase in (Phase.GAVE_UP, Phase.WAITING):
            service.known_error = container.error
            if service.phase is Phase.WAITING:
                self._wait(service, now)
        else:
            service.judged_time, service.known_error = container.started_time, container.error
            self._fall(service, Verdict.DEAD, Cause.CANT_START, Death(0.0, now, container.exit_code, Run()), now)

    def _unheard_due(self, key: str, now: float) -> None:
        """A death that the stream did not tell: it may be deaf. It is opened anew, then the death judged without it."""
        service = self.services.get(key)
        if not service or service.phase not in (Phase.UP, Phase.PROVING) or service.container.status == "running":
            return
        container = service.container
        if self.streaming and now - self.reopened_at > 30.0:
            self._log("info", f"the stream did not tell that {container.name} ended; opening it anew")
            self.actions.append(CloseStream())
            self.reopened_at = now
        if now < self.reopened_at + 2.0 or not (self.streaming or self.refused):
            self.due["unheard", key] = max(self.reopened_at + 2.0, now + 0.5)  # what a new stream replays may tell of a stop
            return
        death = replace(self._found_death(container, now), heard=False)
        spent = container.restart_policy == "on-failure" and (container.exit_code == 0 or container.restart_count > 0)
        asked = intent_of(death, container, final=True) is Intent.OPERATOR
        if asked or (container.restart_policy != "no" and not spent):  # Docker would have restarted a death, not a stop
            self._suspect(service, death, now, service.policy.settle)
        else:
            service.death = death
            self._judge(service, container, now)

    # Deaths

    def _assess(self, service: Watched, death: Death, now: float) -> None:
        """A death that nobody asked for is judged as soon as it is looked at; others may turn out to be a deploy."""
        intent = intent_of(death, service.container)
        if intent is Intent.NOBODY and self.graced_at is None:
            service.death = death
        else:
            self._suspect(service, death, now, STOP_GRACE if intent is Intent.UNCLEAR else service.policy.settle)
            self._doubt_engine(death, now)

    def _doubt_engine(self, death: Death, now: float) -> None:
        """An engine that was killed and started anew ends all that it finds, and has forgotten what was told before."""
        if not self.remembered and self.graced_at is None and self.engine_gap[0] < death.time <= self.engine_gap[1]:
            self._begin_grace(False, now)

    def _suspect(self, service: Watched, death: Death, now: float, wait: float) -> None:
        service.death = death
        service.move(Phase.SUSPECT)
        self.due["phase", service.key] = max(now, death.at + wait)

    def _judge(self, service: Watched, before: Container, now: float) -> None:
        """Say what a death was: its run's evidence and the container as it is now are both at hand."""
        death, container = service.death, service.container
        assert death is not None
        service.death = death.run.death = None
        service.judged_time = (before if container.status == "running" else container).started_time
        exit_code, job = code_of(death, container), self.is_job(service)
        cause = cause_of(death, before, container, exit_code)
        tried_again = container.restart_policy != "no" and container.status in ("restarting", "running")
        if exit_code == 0 and (container.restart_policy == "on-failure" or (job and not tried_again)):
            self._log("info", f"{container.name} finished")
            self._rest(service)
        elif job and not tried_again and not service.policy.insist:
            if service.incident is None:
                notice = self._red(service, Verdict.FAILED, cause, death, exit_code, "Not restarted: it is a job.", now)
                if not self.muted_until(service, now):
                    self.actions.append(Tell(replace(notice, incident=self._number())))
            self._rest(service)
        else:
            if not service.policy.insist:
                service.hopeless = hopeless_end(death, container, exit_code)
            self._fall(service, Verdict.FAILED if job else Verdict.DEAD, cause, death, now)
            return
        self._leave(service, "", now)
        if container.status == "running":
            self._came_back(service, now, ours=False)

    def is_job(self, service: Watched) -> bool:
        """By its label, as a one-off, or because a sibling waits for its completion."""
        if service.policy.job is not None:
            return service.policy.job
        project, name = service.container.project, service.container.service
        return bool(name) and any(name in waits_for_end(self.services[key].container)
                                  for key in self.groups.get((project, ""), ()))

    def _fall(self, service: Watched, verdict: Verdict, cause: Cause, death: Death, now: float,
              outage: Outage | None = None) -> None:
        """A service is down and nobody wanted it: tell, in the outage that it belongs to, and see to its return."""
        if self.muted_until(service, now):
            service.muted = "died"
            if service.phase is Phase.GONE:  # VANISHED: the end of the mute tells it as gone
                service.settled = True
                self.due["forget", service.key] = now + FORGET_AFTER
            self._rest(service)
            return
        incident = service.incident
        self._refund_if_proven(service, death.at)
        if cause not in (Cause.CANT_START, Cause.ORPHAN):
            service.deaths = [*service.deaths, *[now] * death.times][-MEMORY_OF_DEATHS:]
        if incident is None:
            outage = outage or self._new_outage(service.key, death.at, service.flaps(now))
            notice = self._notice(service, verdict, death.at, cause)
            incident = service.incident = Incident(outage, death.at, notice)
            outage.members.append(service.key)
        else:
            self._log("warning", f"{service.container.name} died again ({incident.deaths + death.times} times)")
        incident.deaths += death.times
        self.deaths += [service.key] * death.times
        incident.back_at, service.fell = None, True
        incident.looped |= len(service.recent_deaths(now)) >= LOOP_DEATHS and verdict is not Verdict.FAILED
        self._gather(service, now)
        incident.outage.left = False
        looping = incident.looped and cause is not Cause.ORPHAN and service.recent_deaths(now)
        verdict = Verdict.CRASH_LOOP if looping else verdict
        exit_code = None if cause in (Cause.UNHEALTHY, Cause.CANT_START) else code_of(death, service.container)
        incident.notice = self._red(service, verdict, cause, death, exit_code, "", now)
        self._wait(service, now)

    def _refund_if_proven(self, service: Watched, at: float) -> None:
        """Ten minutes of proven life give the restart budget back."""
        if self._is_back(service) and service.proved_at and at - service.proved_at >= REFUND_AFTER:
            service.attempts = 0
            service.deaths.clear()
            self.touched.add(service.key)

    def _red(self, service: Watched, verdict: Verdict, cause: Cause, death: Death, exit_code: int | None,
             plan: str, now: float) -> Notice:
        """What there is to tell of a service that is down."""
        container, recent = service.container, service.recent_deaths(now) or [death.at]
        began = container.started_time if container.status != "running" else death.run.started_time
        ended = container.finished_time if container.finished_time >= began else death.time
        lived = began and ended >= began and cause not in (Cause.UNHEALTHY, Cause.CANT_START, Cause.ORPHAN, Cause.STALE)
        return self._notice(
            service, verdict, death.at, cause, exit_code=exit_code, plan=plan,
            uptime=ended - began if lived else None,
            **({"deaths": len(recent), "downtime": now - recent[0]} if verdict is Verdict.CRASH_LOOP else {}),
            error=container.error if cause is Cause.CANT_START else service.known_error,
            logs=tuple(container.probe_output.splitlines()) if container.sick else service.logs)

    def _plan(self, service: Watched, now: float) -> Plan:
        """What is done about a service that is down."""
        container, policy = service.container, service.policy
        if self._network_is(service) == "gone":
            return Plan(f"Not restarted: only compose can put it back: {recovery_command(container)}.", None)
        runs = container.status == "running" and not container.sick and self._network_is(service) != "stale"
        if container.status == "restarting" or runs:
            return Plan(f"Docker's own restart policy ({container.restart_policy}) brings it back.", now + POLICY_PATIENCE)
        forbidden = f"Sentinel may only watch here ({self.forbidden})" if self.forbidden else ""
        if why_not := service.hopeless or ("" if policy.heal else policy.why_not) or forbidden:
            return Plan(f"Not restarted: {why_not}.", None)
        if container.auto_remove and not container.sick:
            return Plan("Not restarted: the engine removes it at its end (--rm).", None)
        if holders := self._holders(service, now):
            return Plan(f"Waits for {listed(parent.container.short for parent in holders)}.", now + HELD_LOOK, held=True)
        if service.attempts >= policy.max_restarts:
            return Plan(f"Not restarted: {counted(service.attempts, 'restart')} did not help.", None)
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (service.attempts - 1)) if service.attempts else 0.0
        when = f"in {span(delay)}" if delay else "now"
        return Plan(f"Restarting it {when} (attempt {service.attempts + 1} of {policy.max_restarts}).", now + delay)

    # Ways back

    def _wait(self, service: Watched, now: float) -> None:
        """Wait for the next attempt, or for Docker's own policy, or give up; an attempt that is due is made."""
        service.move(Phase.WAITING)
        plan = self._plan(service, now)
        service.held = plan.held
        self._update(service, plan.words)
        if plan.due is None:
            self._give_up(service, plan.words, now)
        elif plan.due <= now:
            self._attempt(service, now)
        else:
            self.due["phase", service.key] = plan.due
            if service.container.status == "running" and not service.container.sick and not plan.held:
                self._came_back(service, now, ours=True)

    def if_it_died(self, service: Watched, now: float) -> str:
        """What would be done at its death with an error, in words."""
        dead = replace(service.container, status="exited", exit_code=1, health=Health.NONE, error="",
                       finished_time=now + self.calendar_offset)
        own = dead.restart_policy != "no"
        first = f"Docker's own restart policy ({dead.restart_policy}) brings it back; where that gives up: " if own else ""
        if self.is_job(service) and not service.policy.insist:
            return "Not restarted: it is a job."
        return first + self._plan(replace(service, container=dead, hopeless="", held=False), now).words

    def _attempt(self, service: Watched, now: float) -> None:
        container = service.container
        until = self.runs.get(container.id, Run()).asked_at + container.stop_timeout + 2.0  # somebody is stopping it
        until = max(until if container.status == "running" else 0.0, self.muted_until(service, now))
        if now < until:
            self.due["phase", service.key] = until
            return
        service.attempts += 1
        if service.incident:
            service.incident.attempts += 1
        self._update(service, f"Restarting it now (attempt {service.attempts} of {service.policy.max_restarts}).")
        service.death, service.held = None, False
        service.move(Phase.RESTARTING)
        service.calling = container.id
        self._cancel(service)
        self._log("info", f"restarting {container.name} (attempt {service.attempts} of {service.policy.max_restarts})")
        self.actions.append(Restart(service.key, container.id, container.started_time, container.status == "running",
                                    container.stop_timeout))

    def _give_up(self, service: Watched, plan: str, now: float) -> None:
        """Stop trying. It is told where something was tried; else the first red has said it already."""
        service.move(Phase.GAVE_UP)
        self._cancel(service)
        orphan = service.incident and service.incident.notice.verdict is Verdict.ORPHANED
        if (incident := service.incident) and service.attempts and not orphan:
            exit_code = None if service.known_error else incident.notice.exit_code
            incident.notice = replace(incident.notice, verdict=Verdict.GAVE_UP, exit_code=exit_code, plan=plan,
                                      error=service.known_error, attempts=service.attempts)
            self._check_over(incident.outage, now)

    def _restarted(self, seen: Restarted, now: float) -> None:
        """Sentinel's own call ended. One that may still be at work counts as done until a look says otherwise."""
        service = self.services.get(seen.key)
        if not service or service.phase is not Phase.RESTARTING or service.calling != seen.id:
            return
        self.touched.add(service.key)
        replaced = service.container.id != seen.id
        if seen.container and not replaced:
            service.container = seen.container
        if replaced:
            service.death = None  # what became of the new one, the look tells
            self._came_back(service, now, ours=False)
            self._look(service.container.id)
        elif seen.outcome is Outcome.FORBIDDEN:
            self.forbidden = seen.why
            self._wait(service, now)
        elif seen.outcome is Outcome.REFUSED:
            words = service.container.error or seen.why
            service.hopeless = "the engine can't start it" if words == service.known_error else ""
            service.known_error = words
            if service.incident is None:  # it ran, and was to be restarted with another
                self._fall(service, Verdict.DEAD, Cause.CANT_START, Death(0.0, now, None, Run()), now)
            else:
                self._wait(service, now)
        else:
            service.pending_until = now + UNKNOWN_PATIENCE if seen.outcome is Outcome.UNKNOWN else 0.0
            self._came_back(service, now, ours=True)
            death, service.death = service.death, None
            if death and death.time >= service.container.started_time:  # else it is the end that the restart made
                self._assess(service, death, now)
            if death or seen.outcome is Outcome.OVERTAKEN or service.container.status != "running":
                self._look(seen.id)

    def _came_back(self, service: Watched, now: float, ours: bool, started_time: float = 0.0) -> None:
        """It runs again. Somebody's own start refunds the restart budget; Docker's and Sentinel's do not."""
        replaced = service.phase is Phase.SUSPECT and service.incident is None
        if not ours:
            service.refund()
        if service.phase is not Phase.RESTARTING:
            service.death = None
        service.successor, service.replacing, service.held = None, False, False
        service.move(Phase.UP if replaced else Phase.PROVING)
        service.back_at = self._moment(started_time or service.container.started_time, now)
        for rule in ("phase", "forget"):
            self.due.pop((rule, service.key), None)
        if not replaced:
            self.due["phase", service.key] = max(now, service.back_at + service.proof)
            self._update(service, f"It runs again; it has to live for {span(service.proof)} to be called back.")
        self.due["dependants", service.key] = now + FIRST_PROOF

    def _prove(self, service: Watched, now: float) -> None:
        """It has lived long enough, and is healthy where it can tell: say so in green, if nobody else is waited for."""
        if now < service.back_at + service.proof or self.muted_until(service, now):
            return
        if service.container.health is Health.STARTING or (service.incident and self._in_shadow(service)):
            self.due["phase", service.key] = now + 5.0
            return
        service.move(Phase.UP)
        service.proved_at, service.hopeless, service.known_error = now, "", ""
        self._cancel(service)
        self._dependants_due(service.key, now)
        if incident := service.incident:
            incident.back_at, incident.outage.moved_at = service.back_at, now
            self._update(service, "It is back.")
            self._check_over(incident.outage, now)

    def _phase_due(self, key: str, now: float) -> None:
        """The rule of each phase that has a due time."""
        service = self.services[key]
        if service.phase is Phase.SUSPECT:
            self._suspect_due(service, now)
        elif service.phase is Phase.GONE:
            self._settle(service, Cause.REMOVED, now)
        elif service.phase is Phase.WAITING and service.container.status != "restarting":
            plan = self._plan(service, now)
            again = service.held or plan.held or plan.due is None  # its delay is over, and things may stand otherwise now
            self._wait(service, now) if again else self._attempt(service, now)
        elif service.phase is Phase.WAITING and service.held:
            self._wait(service, now)
        else:
            self.due["phase", key] = now + (5.0 if service.phase is Phase.PROVING else POLICY_PATIENCE)
            self._look(service.container.id)

    # Ends that somebody wanted

    def _suspect_due(self, service: Watched, now: float) -> None:
        death = service.death
        assert death is not None
        settle = service.policy.settle
        if death.heard and intent_of(death, service.container, final=True) is Intent.NOBODY:
            self._judge(service, service.container, now)
        elif now < death.at + settle:
            self.due["phase", service.key] = death.at + settle
        else:
            self._settle(service, Cause.STOP, now)

    def _settle(self, service: Watched, cause: Cause, now: float) -> None:
        """It has not come back: stopped on purpose, removed, or half of a deploy. A project settles as a whole."""
        project, death = service.container.project, service.death or Death(0.0, now, None, Run())
        last = max((self.due.get(("phase", other.key), now) for other in self.services.values()
                    if other.container.project == project and other.phase in (Phase.SUSPECT, Phase.GONE)), default=now)
        if project and last > now:
            self.due["phase", service.key] = last
        elif service.replacing and self._siblings_live(service):
            service.hopeless, service.replacing = "only compose can put it back", False
            self._fall(service, Verdict.VANISHED, Cause.FAILED_UPDATE, death, now)
        elif cause is Cause.STOP and self.settings.stops == "alert":
            self._fall(service, Verdict.DEAD, Cause.OPERATOR, death, now)
        else:
            if self.settings.stops != "ignore":
                exit_code = service.container.exit_code if cause is Cause.STOP else None
                self._tell(service, Verdict.STOPPED, now, cause, exit_code=exit_code)
            if service.phase is Phase.GONE:
                self.due["forget", service.key] = now + FORGET_AFTER
            self._leave(service, f"It was {cause}.", now)
            service.settled = True
            self._rest(service)

    def _siblings_live(self, service: Watched) -> bool:
        """Whether the rest of its project runs, or it has none: then a removal was not the whole project's."""
        others = [other.phase for other in self.services.values()
                  if other is not service and other.container.project == service.container.project]
        return not others or any(phase in (Phase.UP, Phase.PROVING) for phase in others)

    def _rest(self, service: Watched) -> None:
        """Leave it alone until somebody starts it."""
        self.touched.add(service.key)
        service.death = None
        self._cancel(service)
        if service.phase is not Phase.GONE:
            service.move(Phase.STOPPED)

    def _gone(self, container_id: str, now: float) -> None:
        """A container no longer exists: removed, or replaced by its successor."""
        self.touched.add(self.by_id.get(container_id, ""))
        service, run = self.services.get(self.by_id.pop(container_id, "")), self.runs.pop(container_id, Run())
        for rule in ("look", "oom"):
            self.due.pop((rule, container_id), None)
        if service is None or service.container.id != container_id:
            if service and service.successor and service.successor.id == container_id:
                service.successor = None
            return
        told_apart = not self.podman or (run.death and run.death.code not in WORTHLESS_CODES)  # `rm -f`, to Podman
        if run.death and told_apart and service.phase in (Phase.UP, Phase.PROVING) and service.unjudged(run.death):
            service.death = run.death  # it was removed before anyone could look
            service.container = replace(service.container, status="gone", finished_time=0.0)
            self._judge(service, service.container, now)
        if service.successor:
            service.container, service.successor, self.dependants = service.successor, None, None
            service.judged_time = -1.0
            service.refund()
            return
        told = service.container.auto_remove or service.container.status == "gone"
        quiet = told or service.phase in (Phase.STOPPED, Phase.GONE)
        service.move(Phase.GONE)
        for other in [other for other, key in self.by_id.items() if key == service.key]:
            self._look(other)  # one that came after it, and ended
        self._cancel(service)
        service.settled = quiet
        if quiet:
            self._leave(service, "" if told else "It was removed.", now)
            self.due["forget", service.key] = now + FORGET_AFTER
        else:
            away = self.absence[1] - self.absence[0] if self.absence[0] and container_id in self.missed else 0.0
            self.due["phase", service.key] = now + max(0.0, service.policy.settle - away)

    def _forget_due(self, key: str, now: float) -> None:
        service = self.services[key]
        if service.phase is Phase.GONE:
            self._leave(service, "It was removed.", now)
            del self.services[key]
            self.lodgers.discard(key)
            self.dependants = None
            for group in [(service.container.project, name) for name in ("", service.container.service)]:
                self.groups.get(group, {}).pop(key, None)
                if not self.groups.get(group, True):
                    del self.groups[group]

    # Who depends on whom

    def enter(self, service: Watched) -> None:
        """Make a service findable by its container, its project, and its name in that."""
        self.services[service.key], self.by_id[service.container.id] = service, service.key
        self.dependants = None
        for name in {"", "" if service.container.oneoff else service.container.service}:
            self.groups.setdefault((service.container.project, name), {})[service.key] = None
        self.lodgers |= {service.key} if service.container.network_target else set()
        for key in list(self.lodgers):  # whose network it is can be told only while that container is there
            self._find_network(self.services[key])
            if self.services[key].network_parent:
                self.lodgers.remove(key)

    def _key_of(self, name: str, project: str) -> str:
        """The service that a container's id or name, or a compose service of a project, means; empty for none."""
        found = self.by_id.get(name) or next(iter(self.groups.get((project, name), ())), "")
        return found or next((key for key, service in self.services.items() if service.container.name == name), "")

    def _find_network(self, service: Watched) -> None:
        """Whose network it shares: remembered, for when that container is replaced."""
        target, before = service.container.network_target, service.network_parent
        service.network_parent = (self._key_of(target, service.container.project) or before) if target else ""
        if service.network_parent != before:
            self.dependants = None

    def parents(self, child: Watched) -> list[tuple[Watched, Dependency]]:
        """What a service depends on to run: by compose's label, a shared network, a legacy link; as far as it is watched."""
        container, found = child.container, dict[str, Dependency]()
        if container.network_target and not child.network_parent:
            self._find_network(child)
        for name, dependency in depends_on(container.labels).items():
            if dependency.condition != "service_completed_successfully":
                found |= dict.fromkeys(self.groups.get((container.project, name), ()), dependency)
        for name in container.links:
            found.setdefault(self._key_of(name, container.project), Dependency())
        if child.network_parent:
            found[child.network_parent] = replace(found.get(child.network_parent, Dependency()), network=True)
        return [(self.services[key], dependency) for key, dependency in found.items()
                if key in self.services and key != child.key]

    def _children(self, parent: Watched) -> list[tuple[Watched, Dependency]]:
        """What depends on a service; worked out for all at once, when containers have changed."""
        while self.dependants is None:
            self.dependants = found = dict[str, list[tuple[str, Dependency]]]()
            for child in self.services.values():
                for other, dependency in self.parents(child):
                    found.setdefault(other.key, []).append((child.key, dependency))
        return [(self.services[key], dependency) for key, dependency in self.dependants.get(parent.key, ())]

    def _all(self, step: Callable[[Watched], list[tuple[Watched, Dependency]]],
             start: Watched) -> list[tuple[Watched, Dependency]]:
        """All of a service's `parents` or `_children`, through others too, the near ones first."""
        found = {other.key: (other, dependency) for other, dependency in step(start)}
        ahead = deque(found)
        while ahead:
            for other, _ in step(self.services[ahead.popleft()]):
                if other.key not in found and other is not start:
                    found[other.key] = other, Dependency(direct=False)
                    ahead.append(other.key)
        return list(found.values())

    def _needs(self, child: Watched, parent: Watched) -> bool:
        """Whether a service depends on another, through others too."""
        return any(other is parent for other, _ in self._all(self.parents, child))

    def _holders(self, child: Watched, now: float) -> list[Watched]:
        """What a service waits for: what it names, else what is behind that; in a circle who fell first, of replicas one."""
        holders = [(parent, dependency.direct) for parent, dependency in self._all(self.parents, child)
                   if self._holds(parent, dependency, child, now)
                   and not (self._needs(parent, child) and self._fell_before(child, parent))
                   and not any(self._steady(other, dependency, now) for other in self._replicas(parent))]
        return [parent for parent, direct in holders if direct] or [parent for parent, _ in holders]

    def _in_shadow(self, child: Watched) -> bool:
        """Whether something that it depends on, and that did not die of it, is not back."""
        return any(not self._is_back(parent) and not (self._needs(parent, child) and self._fell_before(child, parent))
                   for parent, _ in self._all(self.parents, child))

    def _replicas(self, service: Watched) -> list[Watched]:
        """The other containers of the same compose service."""
        name = service.container.project, service.container.service
        return [self.services[key] for key in self.groups.get(name, ()) if name[1] and key != service.key]

    def _holds(self, parent: Watched, dependency: Dependency, child: Watched, now: float) -> bool:
        """Whether a restart of a dependant would be wasted; what was stopped long before holds only its network."""
        if parent.alive:
            return not self._steady(parent, dependency, now)
        if parent.incident or dependency.network:
            return True
        if not dependency.direct or self._finished(parent):
            return False
        ended = parent.container.finished_time
        fell = child.container.finished_time if child.container.status != "running" else self.position
        return parent.phase is Phase.SUSPECT or (bool(ended) and fell - ended <= STOP_SHADOW)

    def _finished(self, service: Watched) -> bool:
        """Whether it has ended as it should, with nobody asking."""
        container = service.container
        done = container.status == "exited" and container.exit_code == 0
        return done and (container.restart_policy == "on-failure" or self.is_job(service))

    def _fell_before(self, one: Watched, other: Watched) -> bool:
        return one.incident is not None and (other.incident is None or one.incident.began_at <= other.incident.began_at)

    def _roots_first(self, services: list[Watched]) -> list[Watched]:
        """Services that fell together, what others depend on first."""
        return sorted(services, key=lambda service: len(self._all(self.parents, service)))

    def _steady(self, parent: Watched, dependency: Dependency, now: float) -> bool:
        """Whether it lives well enough for its dependants: longer than last, healthy where they ask, not to be restarted."""
        container, incident = parent.container, parent.incident
        if not parent.alive or container.sick or self._to_be_refreshed(parent):
            return False
        if dependency.condition == "service_healthy" and container.health is Health.STARTING:
            return False
        lived = 2 * (incident.notice.uptime or 0.0) if incident else 0.0
        return now >= parent.back_at + max(FIRST_PROOF, min(parent.proof, lived))

    def _dependants_due(self, key: str, now: float) -> None:
        """A service lives again: what waited for it goes on, and what can't live on with it as it is, is restarted."""
        parent = self.services.get(key)
        if parent is None or not parent.alive:
            return
        again = [now + 1.0 for child, dependency in self._all(self._children, parent)
                 if not self._go_on(child, parent, dependency, now)]
        if again:
            self.due["dependants", key] = min(again)
        elif parent.incident is None or parent.phase is Phase.UP:
            parent.fell = False

    def _go_on(self, child: Watched, parent: Watched, dependency: Dependency, now: float) -> bool:
        """Do for a dependant what the life of its parent allows; false if that is to be asked again."""
        if not self._steady(parent, dependency, now):
            return False
        lost = child.phase is Phase.GAVE_UP and parent.incident and not child.hopeless and child.policy.heal
        if self.muted_until(child, now):
            return False
        if child.incident and ((child.held and child.phase is Phase.WAITING) or lost):
            child.refund()
            self._wait(child, now)
        elif child.incident and child.phase is Phase.PROVING and len(child.deaths) > 1:
            child.deaths.clear()  # it died of its parent, which says nothing of it
            self.touched.add(child.key)
            self.due["phase", child.key] = max(now + 0.001, child.back_at + child.proof)
        elif dependency.network and child.alive and self._network_is(child):
            self._check_network(child, now)
        elif dependency.restart and parent.fell and child.alive and older(child, parent):
            if self._holders(child, now):
                return False
            self._refresh(child, parent, Cause.TOGETHER, now)
        return True

    def _to_be_refreshed(self, service: Watched) -> bool:
        """Whether a service that runs is itself about to be restarted with what it depends on."""
        if not service.policy.heal or self.forbidden or service.muted or service.attempts >= service.policy.max_restarts:
            return False
        parents = self.parents(service)
        due = any(parent.fell and link.restart and older(service, parent) for parent, link in parents)
        return due and all(parent.alive for parent, _ in parents)

    def _refresh(self, child: Watched, parent: Watched, cause: Cause, now: float) -> None:
        """Restart a service that runs, after what it can't live without was restarted."""
        self._refund_if_proven(child, now)
        if not child.policy.heal or self.forbidden or child.attempts >= child.policy.max_restarts:
            if cause is Cause.STALE:
                self._fall(child, Verdict.ORPHANED, cause, Death(0.0, now, None, Run(), times=0), now)
            return
        notice = self._notice(child, Verdict.RESTARTED, now, cause)
        if parent.incident and child.incident is None:
            child.incident = Incident(parent.incident.outage, now, notice)
            parent.incident.outage.members.append(child.key)
        elif child.incident is None:
            self._tell(child, Verdict.RESTARTED, now, cause)
        else:
            child.incident.back_at = None
        child.move(Phase.WAITING)
        self._attempt(child, now)

    # Networks that containers share

    def _network_is(self, child: Watched) -> str:
        """`gone`: the container that owns it was recreated. `stale`: that was restarted, and this one runs on without."""
        parent, target = self.services.get(child.network_parent), child.container.network_target
        if parent is None or not target or parent.phase is Phase.GONE:
            return ""
        container = parent.container
        if target not in (container.id, container.name, container.service):
            return "gone"
        return "stale" if older(child, parent) else ""

    def _check_network(self, child: Watched, now: float) -> None:
        """See to a service whose network is gone: compose may still be about to, after a recreate."""
        parent, state = self.services.get(child.network_parent), self._network_is(child)
        if parent is None or not parent.alive or not state or self.muted_until(child, now):
            return
        if state == "gone":
            self.due.setdefault(("network", child.key), now + child.policy.settle)
        elif self._steady(parent, Dependency(network=True), now):
            self._refresh(child, parent, Cause.STALE, now)

    def _network_due(self, key: str, now: float) -> None:
        service = self.services.get(key)
        del self.due["network", key]
        if service and service.alive and self._network_is(service) == "gone":
            self._fall(service, Verdict.ORPHANED, Cause.ORPHAN, Death(0.0, now, None, Run(), times=0), now)
        parent = self.services.get(service.network_parent) if service else None
        if parent and parent.incident:
            self._check_over(parent.incident.outage, now)

    # Outages: incidents with one cause are one story

    def _new_outage(self, root: str, at: float, flaps: int = 0) -> Outage:
        outage = Outage(self._number(), at, root, flaps=flaps)
        self.outages[outage.number] = outage
        return outage

    def _update(self, service: Watched, plan: str) -> None:
        """Something new is to be told of a service's incident."""
        self.touched.add(service.key)
        if incident := service.incident:
            incident.notice = replace(incident.notice, plan=plan)
            self.news[incident.outage.number] = incident.outage

    def _gather(self, service: Watched, now: float) -> None:
        """Make one outage of what has one cause: a death in the shadow of what it depends on, or shortly before that's."""
        assert service.incident
        children = [child for child, _ in self._all(self._children, service) if child.incident]
        for child in sorted(children, key=lambda child: child.incident.outage.number if child.incident else 0):
            outage = service.incident.outage
            if self._leads_another(child, outage) and child.incident and now - child.incident.notice.at <= SHADOW:
                self._merge(child.incident.outage, outage, outage.root)
        for parent, _ in self._all(self.parents, service):
            outage, above = service.incident.outage, parent.incident.outage if parent.incident else None
            if above and self._leads_another(service, above) and not (self._is_back(parent) and above.flaps):
                self._merge(outage, above, above.root)

    def _leads_another(self, service: Watched, outage: Outage) -> bool:
        """Whether a service is down, and the root of another outage than this."""
        mine = service.incident.outage if service.incident and not self._is_back(service) else outage
        return mine is not outage and mine.root == service.key

    def _merge(self, one: Outage, other: Outage, root: str) -> None:
        """Make two outages one. The one that was told first goes on; what was told of the other points to it."""
        keep, drop = sorted((one, other), key=lambda outage: (not outage.told, outage.number))
        told = self._story(drop)
        self.touched |= {*keep.members, *drop.members}
        keep.root, keep.notice, keep.back_at = root, keep.notice or drop.notice, keep.back_at or drop.back_at
        for member in self._members(drop):
            if member.incident:
                member.incident.outage = keep
        keep.members += [key for key in drop.members if key not in keep.members]
        self.incidents -= not drop.told and drop.number == self.incidents
        self.engine_outage = keep if drop is self.engine_outage else self.engine_outage
        del self.outages[drop.number]
        self.due.pop(("outage", str(drop.number)), None)
        if drop.told:
            name = self._story(keep).name
            self.actions.append(Amend(replace(told, verdict=Verdict.FOLDED, open=False, consequences=(), logs=(),
                                              plan=f"It is a consequence of {name}: see incident {keep.number}.")))
        self.news[keep.number] = keep

    def _leave(self, service: Watched, why: str, now: float) -> None:
        """A service is no longer part of its outage: somebody took it out of the game."""
        incident, service.incident = service.incident, None
        if incident is None:
            return
        outage = incident.outage
        outage.members.remove(service.key)
        left = [member for member in self._members(outage) if not self._is_back(member)]
        if outage.root == service.key and left:
            outage.root = self._roots_first(left)[0].key
        elif outage.root == service.key or not (outage.members or outage is self.engine_outage):
            notice = incident.notice if outage.root else outage.notice or incident.notice
            story = replace(notice, incident=outage.number, plan=why or notice.plan, open=False)
            if outage.told:
                self.actions.append(Amend(story))
            elif not (outage.left or service.muted):
                self.actions.append(Tell(story))
            self._end(outage)
            for member in self._members(outage):
                member.incident = None
            return
        self.news[outage.number] = outage
        self._check_over(outage, now)

    def _members(self, outage: Outage) -> list[Watched]:
        return [self.services[key] for key in outage.members]

    def _is_back(self, service: Watched) -> bool:
        return service.incident is None or service.incident.back_at is not None

    def _story(self, outage: Outage) -> Notice:
        """All that there is to tell of an outage now: its root cause, and the consequences."""
        root = self.services.get(outage.root)
        incident = root.incident if root else None
        notice = incident.notice if incident else outage.notice
        assert notice, f"outage {outage.number} has nothing to tell"
        if incident:
            attempts = notice.attempts if notice.verdict is Verdict.GAVE_UP else incident.attempts
            notice = replace(notice, deaths=max(notice.deaths, incident.deaths), attempts=attempts)
        consequences = [self._consequence(member, outage) for member in self._members(outage) if member is not root]
        consequences.sort(key=lambda consequence: len(consequence.chain))
        return replace(notice, incident=outage.number, consequences=tuple(consequences), open=True, flaps=outage.flaps)

    def _consequence(self, service: Watched, outage: Outage) -> Consequence:
        assert service.incident
        notice = service.incident.notice
        return Consequence(self._chain(service, outage), notice.verdict, notice.at, notice.exit_code, notice.cause,
                           notice.plan, self._is_back(service))

    def _chain(self, service: Watched, outage: Outage) -> tuple[str, ...]:
        """Names from a service to the root of its outage, along what depends on what."""
        if outage.root not in self.services:
            return (service.container.short,)
        seen = {service.key}
        ways: deque[tuple[Watched, ...]] = deque([(service,)])
        while ways:
            way = ways.popleft()
            for parent, _ in self.parents(way[-1]):
                if parent.key == outage.root:
                    return tuple(step.container.short for step in (*way, parent))
                if parent.key not in seen:
                    seen.add(parent.key)
                    ways.append((*way, parent))
        return service.container.short, self.services[outage.root].container.short

    def _tell_outage(self, outage: Outage, now: float) -> Tell | Amend:
        story = self._story(outage)
        if outage.told:
            return Amend(story)
        outage.told = True
        if self.settings.remind:
            self.due.setdefault(("remind", ""), now + self.settings.remind)
        return Tell(story)

    def _check_over(self, outage: Outage, now: float) -> None:
        """End an outage once its root is proven, and its consequences are too, or had their time, or are given up."""
        back_at, members = self._back_at(outage), self._members(outage)
        if back_at is None or outage.number not in self.outages:
            return
        waits = [self._patience(member, outage, back_at, now) for member in members]
        root = self.services.get(outage.root)
        muted = now + 1.0 if root and self.muted_until(root, now) else now
        until = max(back_at + FLAP_SPAN if outage.flaps else now, muted, *waits)
        if until > now:
            self.due["outage", str(outage.number)] = until
            return
        story = self._story(outage)
        downtime = back_at - (root.incident.began_at if root and root.incident else outage.began_at)
        late = now if now > back_at + LATE_GREEN and not self.catching_up else 0.0
        self.actions.append(Tell(replace(story, verdict=Verdict.RECOVERED, at=back_at, cause=Cause.EXIT, downtime=downtime,
                                         exit_code=None, uptime=None, error="", logs=(), plan="", open=False,
                                         decided_at=late)))
        if outage.told:
            self.actions.append(Amend(replace(story, plan="", recovered=downtime, open=False)))
        self._end(outage)
        missing = [member for member in members if not self._is_back(member)]
        for member in members:
            if member not in missing:
                member.incident = None
                member.recoveries = [*member.recoveries, now][-FLAPS:]
        if missing:
            self._carry_on(outage, missing)

    def _back_at(self, outage: Outage) -> float | None:
        """Since when the root of an outage is back. One that is no service is, when all that it took is, or given up."""
        root = self.services.get(outage.root)
        if root and root.incident:
            return root.incident.back_at
        backs = [member.incident.back_at for member in self._members(outage)
                 if member.incident and member.phase is not Phase.GAVE_UP]
        if outage is self.engine_outage or None in backs:
            return outage.back_at
        return max((back for back in backs if back is not None), default=outage.back_at)

    def _patience(self, member: Watched, outage: Outage, back_at: float, now: float) -> float:
        """Until when the green of an outage waits for one of its members, its root being back."""
        if any(("network", child.key) in self.due for child, _ in self._children(member)):
            return now + 1.0
        if self._is_back(member) and member.phase in (Phase.SUSPECT, Phase.GONE):
            return now + 1.0  # it ended again, and it is not known yet why
        if self._is_back(member) or member.phase in (Phase.GAVE_UP, Phase.STOPPED):
            return now  # stopped with an open incident: paused
        return now + 5.0 if member.phase is Phase.PROVING else max(outage.moved_at, back_at) + OUTAGE_PATIENCE

    def _carry_on(self, outage: Outage, missing: list[Watched]) -> None:
        """Some are not back, as the green says. Their story goes on, and is told in a new red when something happens."""
        outage.members, outage.told, outage.left, outage.flaps = [member.key for member in missing], False, True, 0
        outage.root, outage.notice = self._roots_first(missing)[0].key, None
        self.outages[outage.number] = outage

    def _end(self, outage: Outage) -> None:
        self.touched |= set(outage.members)
        for memory in (self.outages, self.news):
            memory.pop(outage.number, None)
        self.due.pop(("outage", str(outage.number)), None)
        if not any(other.told for other in self.outages.values()):
            self.due.pop(("remind", ""), None)
        if outage is self.engine_outage:
            self.engine_outage = None

    def _outage_due(self, number: str, now: float) -> None:
        if outage := self.outages.get(int(number)):
            self._check_over(outage, now)

    def _remind_due(self, _: str, now: float) -> None:
        """Say what is still down, all of it in one message; nothing is said of what is muted."""
        if self.catching_up:
            self.due["remind", ""] = now + 1.0
            return
        down = [service for service in self.services.values() if not self._is_back(service) and not service.muted]
        lines = [(service.incident.notice.name, service.incident.began_at) for service in down if service.incident]
        if self.lost_at is not None:
            lines = [(self.host, self.lost_at)] if self.engine_outage and not self.mutes.get("all") else lines
        if self.outages:
            self.due["remind", ""] = now + self.settings.remind
        if lines:
            self.actions.append(Tell(self._still_down(lines, now)))

    def _still_down(self, lines: list[tuple[str, float]], now: float) -> Notice:
        """One red notice of what is down, and for how long."""
        names = tuple(f"{name} ({span(now - began_at)})" for name, began_at in lines)
        title = lines[0][0] if len(lines) == 1 else counted(len(lines), "service")
        return Notice(Verdict.STILL_DOWN, title, now, incident=self._number(), downtime=now - min(at for _, at in lines),
                      names=names, mention=self.settings.mention)

    # Mutes: by command, and by the windows of a label

    def mute(self, mutes: Mapping[str, float], now: float) -> None:
        """Take over who is muted by command, and until when."""
        self.mutes = dict(mutes)
        self._mutes_due("", now)
        if self.lost_at is not None and ("engine", "") in self.due:
            self.due["engine", ""] = max(now, self.lost_at + ENGINE_PATIENCE)

    def muted_until(self, service: Watched, now: float) -> float:
        """Until when a service is left alone, 0 if it is not."""
        untils = [until for name, until in self.mutes.items() if name == "all" or name in service.container.called]
        end, _ = quiet_until(service.policy.quiet, now + self.calendar_offset) if service.policy.quiet else (0.0, 0.0)
        until = max([0.0, *untils, end and now + end])
        return until if until > now else 0.0

    def _begin_mute(self, service: Watched, now: float) -> None:
        if not service.muted and self.muted_until(service, now):
            standing = service.phase in (Phase.UP, Phase.SUSPECT, Phase.PROVING, Phase.RESTARTING)
            service.muted = "standing" if standing else "down"
            self.touched.add(service.key)

    def _mind_windows(self, service: Watched, now: float) -> None:
        """Its label may have windows that nobody has looked at yet."""
        if service.policy.quiet:
            self.due["mutes", ""] = min(self.due.get(("mutes", ""), math.inf), now + 0.5)

    def _mutes_due(self, _: str, now: float) -> None:
        """Begin and end mutes; what has become of those that end is told in one message."""
        for service in self.services.values():
            self._begin_mute(service, now)
        if self.catching_up:
            self.due["mutes", ""] = now + 0.5
            return
        self.mutes = {name: until for name, until in self.mutes.items() if until > now}
        ended = [service for service in self.services.values() if service.muted and not self.muted_until(service, now)]
        self._unmute(ended, now)
        changes = [now + quiet_until(service.policy.quiet, now + self.calendar_offset)[1]
                   for service in self.services.values() if service.policy.quiet]
        if changes := [*changes, *self.mutes.values()]:
            self.due["mutes", ""] = max(now + 0.001, min(changes))

    def _unmute(self, ended: list[Watched], now: float) -> None:
        """Tell the net change that a mute hid: what died, and is restarted now; what is stopped or gone, once clear."""
        rested = [service for service in ended if service.phase is Phase.STOPPED and service.container.status != "paused"]
        died = [service for service in rested if service.muted == "died"]
        stopped = [service for service in rested if service.muted == "standing" and not self._finished(service)]
        gone = [service for service in ended if service.muted != "down" and service.phase is Phase.GONE and service.settled]
        for service in ended:
            self.touched.add(service.key)
            service.muted = ""
            for rule in ("phase", "dependants", "network"):
                if (rule, service.key) in self.due and service.phase not in (Phase.SUSPECT, Phase.GONE):
                    self.due[rule, service.key] = now + 0.001
        if self.settings.stops == "ignore":
            stopped, gone = [], []
        if not (down := [*died, *stopped, *gone]):
            return
        names = (("Stopped", listed(s.container.title for s in stopped)), ("Gone", listed(s.container.title for s in gone)))
        title = down[0].container.title if len(down) == 1 else counted(len(down), "service")
        notice = Notice(Verdict.STILL_DOWN, title, now, plan="The mute is over.", facts=names, mention=self.settings.mention)
        fresh = [service for service in died if service.incident is None]
        outage = self._new_outage("", now) if fresh else None
        if outage:
            outage.notice = notice
        elif stopped or gone:
            self.actions.append(Tell(replace(notice, incident=self._number())))
        for service in self._roots_first(died):
            death = self._found_death(service.container, now)
            cause = Cause.OOM if service.container.oom_killed else Cause.UNHEALTHY if service.container.sick else Cause.EXIT
            verdict = Verdict.UNHEALTHY if service.container.sick else Verdict.DEAD
            outage = self._fall_with(outage, service, verdict, cause, death, now)

    # Notes

    def _oom_due(self, container_id: str, now: float) -> None:
        """A child was killed for memory and the container lives on: a note, at most one in ten minutes."""
        service = self.services.get(self.by_id.get(container_id, ""))
        lives = service and service.phase in (Phase.UP, Phase.PROVING) and self.runs[container_id].oom_time
        if service and lives and not (service.muted or service.death) and now >= service.noted_at + NOTE_EVERY:
            service.noted_at = now
            self.touched.add(service.key)
            self._tell(service, Verdict.CHILD_OOM, now, Cause.OOM, logs=service.logs)



# ─── Telling ──────────────────────────────────────────────────────────────────────────────────────────────────

BATCH, FLOOD = 40, 3  # notices in one message; more than so many messages' worth is told in so many
PACE, PACE_SPAN = 28, 60.0  # Discord's hidden limit is about 30 messages a minute for a channel
SLOWEST_RETRY = 60.0
CHAIN_PATIENCE = 30.0  # how long a channel may fail before the next in the chain is tried
EDIT_SOON, EDIT_LATER = 1.0, 6.0  # how long a change waits for company: one of the title, another one


@dataclass(slots=True)
class Message:
    """A message that may still change: the notices that it should tell of, and how it came to be sent."""
    notices: list[Notice]
    sent_at: float
    why_late: str = ""
    plain: bool = False


class Outbox:
    """What waits to be told through one channel, in order; one message at a time. Nothing new waits for company: what
    waits together goes together. A channel's own word on when to come back is kept. A message that may have arrived is
    repeated as it was, so that Discord can tell a repeat. One that tells of what still goes on is edited when that changes,
    behind all that is new; where it can't be, it is told again if its title or its consequences have changed."""

    def __init__(self, channel: str, edits: bool = False, chained: bool = False) -> None:
        self.channel, self.edits, self.chained = channel, edits, chained
        self.waiting: list[Notice] = []
        self.posted: dict[str, Message] = {}  # by the message's id, or its notices' `1-2-` where it has none: no edits
        self.stale: dict[str, float] = {}  # those that no longer read so → when to edit them
        self.sent: tuple[Notice, ...] = ()  # what the message under way says
        self.editing = ""  # the message that is being edited
        self.size = BATCH
        self.batch = 0  # how many at the front make the message that is under way, or to be repeated
        self.busy = self.unsure = False
        self.held_until = self.failing_since = 0.0
        self.failures = self.edit_failures = 0
        self.handed: list[int] = []  # of what waits, what the next channel in a chain has, too
        self.unclear = False  # the message to be repeated may have arrived
        self.plain = False  # the channel refused the message's form: say the same in the plainest one
        self.dead = self.last_why = self.why_late = ""
        self.sent_at: deque[float] = deque(maxlen=PACE)

    def take(self, now: float, host: str, jitter: float) -> Deliver | None:
        """The next message or edit, if one may be sent now. `jitter` (0 to 1) spreads retries."""
        due = self.next_due_at(now)
        if due is None or now < due:
            return None
        self.busy = True
        self.held_until = now + jitter * self.failures
        if not self.waiting:
            return self._take_edit(host)
        self.size = max(self.size, -(-len(self.waiting) // FLOOD) if len(self.waiting) > BATCH * FLOOD else BATCH)
        if not self.batch or len(self.sent) != self.batch:
            self.unsure = self.batch > 0  # it was under way in another life: what it said is not known
            self.batch = self.batch or min(len(self.waiting), self.size)
            self.sent = tuple(self.waiting[: self.batch])
        nonce, self.why_late = f"{self.sent[0].id}-{self.sent[-1].id}", self.last_why
        return Deliver(self.channel, self.sent, host, nonce, self.plain, self.last_why)

    def _take_edit(self, host: str) -> Deliver:
        self.editing = min(self.stale, key=lambda message: self.stale[message])
        del self.stale[self.editing]
        message = self.posted[self.editing]
        self.sent = tuple(message.notices)
        return Deliver(self.channel, self.sent, host, "", message.plain, message.why_late, self.editing, message.sent_at)

    def next_due_at(self, now: float) -> float | None:
        """When the next message or edit may be sent; None if there is none."""
        if self.busy or self.dead or not (self.waiting or self.stale):
            return None
        places = PACE if self.waiting else PACE // 2  # edits leave room for what is new
        full = len(self.sent_at) >= places
        may = max(self.held_until, self.sent_at[-places] + PACE_SPAN if full else now)
        return may if self.waiting else max(may, min(self.stale.values()))

    def amend(self, notice: Notice, now: float) -> None:
        """What was told, or waits to be, reads otherwise now."""
        for index, old in enumerate(self.waiting):
            if old.id == notice.id:
                self.waiting[index] = notice
        if notice.verdict is Verdict.FOLDED:
            self.waiting[self.batch :] = [other for other in self.waiting[self.batch :] if other.id != notice.id]
        for key, message in self.posted.items():
            for index, old in enumerate(message.notices):
                if old.id == notice.id and old != notice:
                    message.notices[index] = notice
                    self._mark(key, old, notice, now)
        self.posted = {key: message for key, message in self.posted.items()
                       if "-" not in key or any(other.open for other in message.notices)}

    def knows(self, number: int) -> bool:
        """Whether a notice waits here, or stands in a message that may still change."""
        told = (notice for message in self.posted.values() for notice in message.notices)
        return any(notice.id == number for notice in (*self.waiting, *told))

    def _mark(self, message: str, old: Notice, new: Notice, now: float) -> None:
        """Have a message edited; where it can't be, have said again what is worth that."""
        retitled = (old.verdict, old.name) != (new.verdict, new.name)
        if "-" not in message and not (self.dead and self.chained):  # then it is handed on
            due = now + (EDIT_SOON if retitled else EDIT_LATER)
            self.stale[message] = min(self.stale.get(message, math.inf), due)
        elif (retitled or len(new.consequences) > len(old.consequences)) and new not in self.waiting[self.batch :]:
            self.waiting.append(new)
            self.handed = [number for number in self.handed if number != new.id]

    def settle(self, seen: Delivered, now: float) -> tuple[list[Notice], list[Log]]:
        """The message under way arrived, is to be sent again, or never will be: what is done with, and log lines."""
        self.busy = False
        if self.editing:
            return [], self._edited(seen, now)
        fresh = bool(seen.why) and seen.why != self.last_why
        self.last_why = seen.why or (self.last_why if len(self.waiting) > self.batch else "")
        if seen.fate is Fate.SENT or (seen.fate is Fate.MALFORMED and self.plain):
            return self._sent(seen, now)
        self.failing_since = self.failing_since or now
        self.unclear = self.unclear or seen.fate is Fate.UNCLEAR
        if not self.unclear and seen.fate is not Fate.MALFORMED:  # nobody was told, so there is nothing to fold
            unfolded = {old.id for old in self.sent if old.verdict is not Verdict.FOLDED}
            self.waiting = [new for new in self.waiting if new.verdict is not Verdict.FOLDED or new.id not in unfolded]
            self.batch = 0
        if seen.fate is Fate.DEAD:
            self.dead = seen.why
            return [], [Log("error", f"{self.channel}: retired, nothing more is sent to it: {seen.why}")]
        if seen.fate is Fate.MALFORMED:
            self.plain = True
            return [], [Log("warning", f"{self.channel}: sent again in plain form: {seen.why}")]
        self.failures += 1
        self.held_until = now + self._pause(seen, self.failures)
        return [], [Log("warning", f"{self.channel}: alerts wait: {seen.why}")] if fresh else []

    def _pause(self, seen: Delivered, failures: int) -> float:
        return max(seen.hold, min(SLOWEST_RETRY, 2.0 ** (failures - 1)))

    def _arrived(self, seen: Delivered, now: float) -> bool:
        """A request arrived: whether that is news."""
        again, self.failures, self.edit_failures = self.failures > 0, 0, 0
        self.failing_since, self.held_until = 0.0, now + seen.hold
        self.sent_at.append(now)
        return again

    def _sent(self, seen: Delivered, now: float) -> tuple[list[Notice], list[Log]]:
        done, self.waiting = self.waiting[: self.batch], self.waiting[self.batch :]
        again = self._arrived(seen, now)
        plain, unsure = self.plain, self.unsure
        self.batch, self.plain, self.unclear, self.unsure = 0, False, False, False
        self.size = self.size if self.waiting else BATCH
        if seen.fate is Fate.MALFORMED:
            return done, [Log("error", f"{self.channel}: an alert was refused twice, see `history`: {seen.why}")]
        numbers = "".join(f"{notice.id}-" for notice in done)
        message = (self.edits and seen.message) or numbers  # a yes that does not name the message is one all the same
        if message and (any(notice.open for notice in done) or tuple(done) != self.sent):
            self.posted[message] = Message(done, now, self.why_late, plain)
            if unsure and message != numbers:
                self.stale[message] = now + EDIT_SOON
            for old, new in zip(self.sent, done, strict=True):
                if old != new:
                    self._mark(message, old, new, now)
        return done, [Log("info", f"{self.channel}: alerts arrive again")] if again else []

    def _edited(self, seen: Delivered, now: float) -> list[Log]:
        """An edit arrived, has to wait, or can't be made any more. What was refused is not said in another form."""
        message, self.editing = self.editing, ""
        if seen.fate in (Fate.UNSENT, Fate.UNCLEAR):  # what is new does not wait for that
            self.edit_failures += 1
            pause = self._pause(seen, self.edit_failures)
            self.stale = {key: max(due, now + pause) for key, due in {**self.stale, message: now}.items()}
            return [Log("warning", f"{self.channel}: edits wait: {seen.why}")] if self.edit_failures == 1 else []
        self._arrived(seen, now)
        notices = self.posted[message].notices
        if seen.fate is not Fate.SENT:
            del self.posted[message]
            self.stale.pop(message, None)
            return [Log("warning", f"{self.channel}: a message can't be edited any more: {seen.why}")]
        if tuple(notices) == self.sent and not any(notice.open for notice in notices):
            del self.posted[message]
        return []

    def discard(self, ids: set[int]) -> None:
        """Forget what another channel has told, unless it is under way here."""
        keep = self.batch if self.busy else 0
        front = [notice for notice in self.waiting[keep : self.batch] if notice.id not in ids]
        rest = [notice for notice in self.waiting[self.batch :] if notice.id not in ids]
        self.waiting, self.batch = [*self.waiting[:keep], *front, *rest], keep + len(front)


def escalate(chain: list[Outbox], now: float) -> None:
    """In a chain of fallbacks, hand what a channel could not tell in time to the next one, once."""
    for outbox, fallback in itertools.pairwise(chain):
        if outbox.dead or (outbox.failing_since and now - outbox.failing_since >= CHAIN_PATIENCE):
            fallback.waiting += [one for one in outbox.waiting if one.id not in outbox.handed and not fallback.knows(one.id)]
            outbox.handed = [notice.id for notice in outbox.waiting]
            if outbox.dead:
                outbox.waiting, outbox.batch = [], 0


# ─── Wording ──────────────────────────────────────────────────────────────────────────────────────────────────
# Values to words. A card is what a notice says; Discord's embeds and the terminal's boxes are drawn from it.

RED, GREEN, GREY, AMBER, BLUE = 0xED4245, 0x57F287, 0x95A5A6, 0xFEE75C, 0x5865F2
COLOURS = {Verdict.RECOVERED: GREEN, Verdict.STOPPED: GREY, Verdict.CHILD_OOM: AMBER, Verdict.CHANNEL_LOST: AMBER,
           Verdict.RESTARTED: GREY, Verdict.FOLDED: GREY, Verdict.WATCHING: BLUE, Verdict.INFO: BLUE,
           Verdict.WARNING: AMBER}
OTHERS = (Verdict.ERROR, Verdict.WARNING, Verdict.INFO)  # told in the words of others
LATE = 60.0  # an alert that is told later than this says when it happened
ANSI = {RED: 31, GREEN: 32, GREY: 90, AMBER: 33, BLUE: 34}
EMBEDS, EMBED_TOTAL, EMBED_TEXT, EMBED_TITLE, CONTENT = 10, 6000, 4096, 256, 2000  # Discord's limits, in code points
LOG_LINE = 400  # characters of one log line that are shown
LOG_TEXT = 8000  # characters of one line of Sentinel's own record
NOTE_TITLE, NOTE_TEXT = 200, 2000  # characters that others may send
LINE_TEXT = 600  # characters of one line of a card
CONSEQUENCES = 20  # that are listed by name in a message

# What gives a secret away: its name before it, its well-known form, or its place in an address.
SECRETS = (
    (re.compile(r"(?i)((?:passw(?:or)?d|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)"
                r"[\w.-]{0,40}[\"']?\s{0,8}(?:[:=]|=>)\s{0,8}[\"']?)([^\s\"',;&]{3,})"), r"\1***"),
    (re.compile(r"(?i)((?<![\w-])--?[\w-]{0,40}(?:password|passwd|secret|token|key)[ =]+)([^\s]{3,})"), r"\1***"),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{8,}"), r"\1***"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://[^\s:/@]{0,80}):[^\s/]+@"), r"\1:***@"),
    (re.compile(r"(/webhooks/\d+/)[\w-]+"), r"\1***"),
    (re.compile(r"\b[\w-]{23,28}\.[\w-]{6}\.[\w-]{27,}"), "***"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_\w{30,}|\bxox[abprs]-[\w-]{10,}|\bsk-[\w-]{20,}"
                r"|\beyJ[\w-]{10,300}\.[\w-]{5,}\.[\w-]*"), "***"))
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """Text that can be shown: no escape sequences, control characters, turned writing, or half characters."""
    return UNPRINTABLE.sub("", ESCAPES.sub("", text)).replace("\t", "    ")


def one_line(text: str) -> str:
    """Clean text on one line."""
    return " ".join(clean(text).split())


def redact(text: str) -> str:
    """Text without the secrets that can be told as such."""
    for pattern, mask in SECRETS:
        text = pattern.sub(mask, text)
    return text


def clip(text: str, most: int) -> str:
    """At most so many characters, cut at the end."""
    return text if len(text) <= most else text[: max(0, most - 1)] + "…"


def clip_front(text: str, most: int) -> str:
    """At most so many characters, cut at the front: the cause of a death stands in the last lines."""
    return text if len(text) <= most else "…" + text[len(text) - most + 1 :] if most > 0 else ""


def as_code(text: str) -> str:
    """Text in code style, out of which it can't break; markdown in it, as in `my__name`, stays as it is."""
    return f"`{clean(text).replace('`', 'ˋ')}`" if text else ""


def shown_lines(lines: Iterable[str]) -> list[str]:
    """Log lines as they may be shown."""
    shown = (clip(redact(clean(part[:4000])).rstrip(), LOG_LINE) for line in lines for part in line.splitlines())
    return [line for line in shown if line.strip()]


def exit_words(exit_code: int | None) -> str:
    """`exit 137 (SIGKILL)`: codes over 128 name a signal, up to the last of the ordinary ones."""
    if exit_code is None:
        return "exit code unknown"
    name = SIGNALS.get(exit_code - 128) if 128 < exit_code <= 128 + 31 else None
    return f"exit {exit_code} ({name})" if name else f"exit {exit_code}"


def memory_words(size: int) -> str:
    """Bytes in the unit that people set limits in."""
    return f"{size / 2**30:.3g} GiB" if size >= 2**30 else f"{size / 2**20:.4g} MiB"


HEADLINES = {
    Verdict.CHANNEL_LOST: "The channel {name} takes no more alerts",
    Verdict.ENGINE_DOWN: "The Docker Engine on {name} does not answer",
    Verdict.CHILD_OOM: "A process in {name} was killed: out of memory; the container lives on",
    Verdict.FAILED: "{name} has FAILED — {how}",
    Verdict.UNHEALTHY: "{name} is UNHEALTHY — {cause}",
    Verdict.VANISHED: "{name} is VANISHED — {cause}",
    Verdict.ORPHANED: "{name} is ORPHANED — its network is gone",
    Verdict.RESTARTED: "{name} was restarted by Sentinel",
    Verdict.FOLDED: "{name} did not die of itself",
    Verdict.WATCHING: "Sentinel watches the containers of {name}"}


def headline(notice: Notice) -> str:
    """The one sentence that has to be read."""
    name, how = notice.name, exit_words(notice.exit_code)
    be = "are" if name.endswith(" services") else "is"
    if notice.verdict in OTHERS:
        return f"{name}: {one_line(notice.plan)}"
    if notice.verdict in HEADLINES:
        return HEADLINES[notice.verdict].format(name=name, how=how, cause=notice.cause)
    match notice.verdict:
        case Verdict.RECOVERED:
            return f"{name} {be} back online (was down ~{span(max(1.0, notice.downtime or 0.0))})"
        case Verdict.STOPPED:
            return f"{name} was {notice.cause}" + (f" — {how}" if notice.exit_code is not None else "")
        case Verdict.CRASH_LOOP:
            return f"{name} is in a CRASH LOOP — {how}, died {counted(notice.deaths, 'time')} in" \
                   f" {span(notice.downtime or 0.0)}"
        case Verdict.GAVE_UP:
            last = f" — {how}" if notice.exit_code is not None else ""
            return f"{name} stays down{last}, gave up after {counted(notice.attempts, 'restart')}"
        case Verdict.STILL_DOWN:
            return f"{name} {be} still down"
    if notice.cause is Cause.CANT_START:
        return f"{name} is DEAD — can't start"
    if notice.container is None and notice.cause:
        return f"{name} are DEAD — {notice.cause}"
    return f"{name} is DEAD — {how}"


def status_words(notice: Notice, moment: Callable[[float], str]) -> str:
    """The engine's status line, as `docker ps` words it."""
    container = notice.container
    if not container or notice.verdict in COLOURS:
        return ""
    if container.status == "running":
        running = "Running" if notice.verdict is Verdict.ORPHANED else "Running again"
        return running if not container.sick else "Up (unhealthy)"
    word = container.status.capitalize()
    code_shown = f" ({container.exit_code})" if container.status in ("exited", "restarting") else ""
    return f"{word}{code_shown} {moment(notice.at)}"


def cause_words(notice: Notice) -> str:
    """Why it died, where that is known and not said yet."""
    said = notice.cause in (Cause.CANT_START, Cause.UNHEALTHY, Cause.FAILED_UPDATE, Cause.STOP, Cause.REMOVED)
    if said or notice.verdict in (Verdict.CHILD_OOM, Verdict.FOLDED) or notice.container is None:
        return ""
    if notice.cause is Cause.OOM and notice.container.memory_limit:
        return f"{Cause.OOM} (its limit is {memory_words(notice.container.memory_limit)})"
    return str(notice.cause)


def consequence_words(consequence: Consequence, moment: Callable[[float], str]) -> tuple[str, str]:
    """The chain down to the root, and what became of the service: `DEAD, exit 1, 14 s ago; waits for genesis`."""
    what = "restarted with it" if consequence.verdict is Verdict.RESTARTED else str(consequence.verdict)
    how = exit_words(consequence.exit_code) if consequence.exit_code is not None else ""
    why = str(consequence.cause) if consequence.cause in (Cause.ENGINE, Cause.OOM) else ""
    state = "back" if consequence.back else consequence.state[:1].lower() + consequence.state[1:].rstrip(".")
    words = ", ".join(filter(None, (what, how, why, moment(consequence.at))))
    return " ← ".join(consequence.chain), "; ".join(filter(None, (words, state)))


def outcome_lines(notice: Notice) -> list[tuple[str, str]]:
    """How an outage went: its deaths and restarts, and who is back."""
    over = notice.verdict is Verdict.RECOVERED or notice.recovered is not None
    died = counted(notice.deaths, "death") if notice.deaths else ""
    helped = f", {counted(notice.attempts, 'restart')} by Sentinel" if notice.attempts else ""
    back = listed(consequence.chain[0] for consequence in notice.consequences if consequence.back)
    missing = listed(consequence.chain[0] for consequence in notice.consequences if not consequence.back)
    return [
        ("Incident", died + helped if died and (over or notice.deaths > 1) else ""),
        ("Back with it", back if notice.verdict is Verdict.RECOVERED else ""),
        ("Takes with it", missing if notice.verdict is Verdict.GAVE_UP else ""),
        ("", f"Recovered after {span(max(1.0, notice.recovered))}" if notice.recovered is not None else "")]


@dataclass(frozen=True, slots=True)
class Card:
    """A notice in words: what kind it is (`[DEAD]`), lines of label and text, the consequences as chain and text under
    a word of their own, the command to paste, log lines."""
    kind: str
    title: str
    colour: int
    headline: str
    lines: tuple[tuple[str, str], ...]
    consequences: tuple[tuple[str, str], ...]
    listing: str
    command: str
    logs: tuple[str, ...]
    footer: str


def card_of(notice: Notice, host: str, moment: Callable[[float], str], late: str = "") -> Card:
    """What a notice says, in the order in which a red one is read. `late`: why it is told long after."""
    recovered = notice.verdict is Verdict.RECOVERED
    flapping = f"{notice.flaps} incidents within an hour; green comes once it has stayed up for an hour"
    lines = (
        ("", status_words(notice, moment)),
        ("Late", late),
        ("Cause", cause_words(notice)),
        ("Engine says", clip_front(redact(clean(notice.error)).strip(), 300)),
        ("Was up", span(notice.uptime) if notice.uptime is not None else ""),
        ("Flapping", flapping if notice.flaps and not recovered else ""),
        ("Services", ", ".join(notice.names)),
        *notice.facts,
        ("Sentinel", notice.plan if notice.verdict not in OTHERS else ""),
        *outcome_lines(notice))
    red = notice.verdict not in COLOURS
    kind = f"[{notice.verdict}]" if notice.verdict.isupper() else f"{notice.verdict}:"
    return Card(
        kind=kind,
        title=clip(one_line(notice.name if notice.verdict in OTHERS else f"{kind} {notice.name}"), EMBED_TITLE),
        colour=COLOURS.get(notice.verdict, RED),
        headline=clip(one_line(headline(notice)), 300) if notice.verdict not in OTHERS else clean(notice.plan).strip(),
        lines=tuple((label, clip(one_line(redact(text)), LINE_TEXT)) for label, text in lines if text),
        consequences=tuple((one_line(chain), one_line(redact(text))) for chain, text in (
            consequence_words(consequence, moment) for consequence in notice.consequences
            if not (recovered and consequence.back))),
        listing=LISTINGS.get(notice.verdict, "Took with it" if notice.container else "These"),
        command=one_line(recovery_command(notice.container)) if red and notice.container else "",
        logs=tuple(shown_lines(notice.logs)) if not recovered else (),
        footer=one_line(" · ".join(filter(None, (host, f"incident {notice.incident}" if notice.incident else "")))))


def log_block(lines: tuple[str, ...], room: int) -> str:
    """The last lines in a code block that nothing in them can end, cut from the front."""
    fence = "```\n", "\n```"
    text = "\n".join(lines).replace("```", "ˋˋˋ").replace("`", "ˋ")
    room -= len(fence[0]) + len(fence[1])
    return fence[0] + clip_front(text, room) + fence[1] if text and room > 20 else ""


LISTINGS = {Verdict.ENGINE_DOWN: "Not brought back", Verdict.STILL_DOWN: "Down", Verdict.RECOVERED: "Not back"}
FOREIGN = ("Services", "Engine says", "Stopped", "Gone", "Back with it", "Not back", "Takes with it", "Already down")


def escaped(text: str) -> str:
    """Sentinel's own words with names in them: underscores and their like are no markdown there."""
    return re.sub(r"([_*~|])", r"\\\1", text)


def consequence_lines(card: Card, room: int) -> list[str]:
    """The consequences as a list, as many as fit; how many more there are is always said."""
    lines: list[str] = []
    for chain, text in card.consequences[:CONSEQUENCES]:
        line = f"• {as_code(clip(chain, 200))}: {escaped(clip(text, 200))}"
        if sum(map(len, lines)) + len(line) + 60 > room:
            break
        lines.append(line)
    if rest := len(card.consequences) - len(lines):
        lines.append(f"• … and {rest} more: `sentinel.py history`")
    return [f"**{card.listing}:**", *lines] if card.consequences else []


def embed_of(card: Card, at_time: float, most: int, bare: bool = False) -> dict[str, Any]:
    """A Discord embed of at most so many characters in all; `bare` leaves out all that could be refused."""
    parts = [card.headline if card.kind.rstrip(":") in OTHERS else as_code(card.headline)]
    for label, text in card.lines:  # foreign text is no markdown
        shown = as_code(text) if label in FOREIGN else escaped(text) if label == "Sentinel" else text
        parts.append(f"**{label}:** {shown}" if label else shown)
    parts += consequence_lines(card, min(1500, most // 2))
    if card.command:
        parts.append(f"**Recover:** {as_code(card.command)}")
    room = min(most, EMBED_TEXT + EMBED_TITLE) - len(card.title) - len(card.footer)
    text = clip("\n".join(parts), min(room, EMBED_TEXT))
    if card.logs and not bare:
        text += "\n" + block if (block := log_block(card.logs, min(room, EMBED_TEXT) - len(text) - 1)) else ""
    embed: dict[str, Any] = {"title": card.title, "description": text, "color": card.colour}
    if not bare:
        embed["timestamp"] = datetime.fromtimestamp(at_time, UTC).isoformat()
        if card.footer:
            embed["footer"] = {"text": clip(card.footer, 200)}
    return embed


def digests_of(cards: list[Card], total: int) -> list[dict[str, Any]]:
    """The cards of one colour, of so many in the message, as one embed or as few as hold them."""
    share = EMBED_TOTAL * len(cards) // total
    size = -(-len(cards) // max(1, -(-share // EMBED_TEXT)))
    groups = [cards[index : index + size] for index in range(0, len(cards), size or 1)]
    return [digest_of(group, share * len(group) // len(cards)) for group in groups]


def digest_of(cards: list[Card], most: int) -> dict[str, Any]:
    """Many cards of one colour as one embed: a line for each, as many as fit; the count is always whole."""
    colour = cards[0].colour
    kinds = {card.kind for card in cards}
    title = f"{kinds.pop()} {len(cards)} services" if len(kinds) == 1 else f"{len(cards)} alerts"
    title = cards[0].title if len(cards) == 1 else title
    room = min(most, EMBED_TEXT) - len(title) - 50 - (220 if any(label == "Late" for label, _ in cards[0].lines) else 0)
    each = max(60, room // len(cards) - 1)
    shown = cards[: room // (each + 1)]
    late = [text for card in cards for label, text in card.lines if label == "Late"][:1]
    lines = [*(f"**Late:** {text}" for text in late), *(digest_line(card, each) for card in shown)]
    if len(shown) < len(cards):
        lines.append(f"… and {len(cards) - len(shown)} more: `sentinel.py history`")
    return {"title": title, "color": colour, "description": "\n".join(lines)}


def digest_line(card: Card, most: int) -> str:
    """One card in at most so many characters: name and end first, then the command, then the last log line."""
    names = ", ".join(chain.partition(" ")[0] for chain, _ in card.consequences)
    took = f"{card.listing.lower()}: {names}" if names else dict(card.lines).get("Services", "")
    words = one_line(card.headline)
    for extra, cut in ((took, clip), (card.command, clip_front), (card.logs[-1] if card.logs else "", clip_front)):
        if extra and len(words) + min(len(extra), 15) + 5 <= most:
            words += " · " + cut(extra, most - len(words) - 5)
    return as_code(clip(words, most - 2))


def merged_stops(notices: Iterable[Notice]) -> list[Notice]:
    """Stops of one project told together are one notice."""
    merged: dict[tuple[str, Cause] | int, Notice] = {}
    for index, notice in enumerate(notices):
        together = notice.verdict is Verdict.STOPPED and notice.project
        key = (notice.project, notice.cause) if together else index
        before = merged.get(key)
        if before is None:
            merged[key] = notice
        else:
            others = before.names or (before.name,)
            merged[key] = replace(before, name=notice.project, exit_code=None, names=(*others, notice.name))
    return list(merged.values())


def late_words(notice: Notice, now: float, why: str) -> str:
    """`12m ago; Discord could not be reached`, empty where it is told in time. A green one may have waited for others."""
    ago = now - (notice.decided_at or notice.at)
    return f"{span(ago)} ago; {why or 'Sentinel was away'}" if ago >= LATE else ""


def message_of(job: Deliver, now: float, calendar_offset: float) -> dict[str, Any]:
    """A Discord message within every limit: an embed a notice, or digests, worst first, where that is too many.
    Only `content` can ping, and only whom `allowed_mentions` names. `calendar_offset` turns moments into calendar time."""
    unfolded = [notice for notice in job.notices if notice.verdict is not Verdict.FOLDED]
    notices = merged_stops(unfolded or job.notices)
    told_at = now if job.sent_at is None else job.sent_at  # an edit says how late the message came, not how late it is
    cards = [card_of(notice, job.host, lambda at: f"<t:{int(at + calendar_offset)}:R>",
                     clip(late_words(notice, told_at, job.why_late), 200)) for notice in notices]
    if len(cards) <= EMBEDS:
        share = EMBED_TOTAL // len(cards)
        embeds = [embed_of(card, notice.at + calendar_offset, share, job.plain)
                  for card, notice in zip(cards, notices, strict=True)]
    else:
        embeds = [embed for colour in (RED, AMBER, GREEN, GREY, BLUE)
                  for embed in digests_of([card for card in cards if card.colour == colour], len(cards))]
    mentions = (notice.mention for notice in job.notices if notice.verdict not in COLOURS and notice.mention)
    pings = " ".join(dict.fromkeys(mentions)) if not job.message else ""
    message: dict[str, Any] = {"embeds": embeds, "allowed_mentions": allowed_mentions(pings)}
    if pings:
        message["content"] = clip(pings, CONTENT)
    return message


def samples(at: float) -> list[Notice]:
    """A red and a green sample, for `test`."""
    container = Container("0" * 64, "sample", status="exited", exit_code=1)
    return [Notice(Verdict.DEAD, "sample", at, container, exit_code=1, uptime=3600.0, plan="This is a test; nothing died.",
                   logs=("This is where the last log lines stand.",)),
            Notice(Verdict.RECOVERED, "sample", at, container, downtime=31.0, deaths=1, attempts=1)]


def allowed_mentions(pings: str) -> dict[str, Any]:
    """Exactly those who are to be pinged."""
    return {"parse": ["everyone"] if re.search(r"@(?:here|everyone)", pings) else [],
            "roles": sorted(set(re.findall(r"<@&(\d+)>", pings)))[:100],
            "users": sorted(set(re.findall(r"<@!?(\d+)>", pings)))[:100]}


def terminal_card(card: Card, width: int, coloured: bool) -> str:
    """A card drawn as a box in a terminal, its left edge in the card's colour."""
    body = [*card.headline.splitlines(), *(f"{label}: {text}" if label else text for label, text in card.lines)]
    if card.consequences:
        body += [f"{card.listing}:", *(f"  {chain}: {text}" for chain, text in card.consequences)]
    if card.command:
        body.append(f"Recover: {card.command}")
    if card.logs:
        body += ["Last log lines:", *(f"  {line}" for line in card.logs)]
    edge, bold, end = (f"\x1b[{ANSI[card.colour]}m▌\x1b[0m", "\x1b[1m", "\x1b[0m") if coloured else ("|", "", "")
    lines = [bold + card.title + end, *body, card.footer]
    return "\n".join(f"{edge} {line if line.startswith('Recover: ') else clip(line, max(20, width - 3))}" for line in lines)


PRIORITIES = {"error": "<3>", "warning": "<4>", "info": "<6>"}  # as sd-daemon(3) writes them


def log_line(level: str, text: str, now_time: float, form: str) -> str:
    """One line of Sentinel's own record: text or JSON with a time in UTC, or for the journal, which has its own."""
    text = clean(redact(clip(text, LOG_TEXT))).replace("\n", " ")
    if form == "journal":
        return PRIORITIES.get(level, "<6>") + text
    stamp = datetime.fromtimestamp(now_time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if form == "json":
        return json.dumps({"time": stamp, "level": level, "message": text}, ensure_ascii=False)
    return f"{stamp} {level.upper():7} {text}"


def greeting(watchdog: Watchdog, channels: list[str], degraded: str, now: float, now_time: float) -> Notice:
    """What is said at the start: what is watched, what is already down, where alerts go, what does not work."""
    services = list(watchdog.services.values())
    projects = {service.container.project for service in services} - {""}
    states = [state_of(service.container, watchdog.is_job(service), None) for service in services]
    down = [f"{state.name} ({', '.join(filter(None, (state.word, state.why)))}, {span(now_time - state.since_time)})"
            if state.since_time else f"{state.name} ({state.word})" for state in states if state.severity]
    facts = (("Watched", f"{counted(len(services), 'service')} in {counted(len(projects), 'project')}"),
             ("Already down", clip(", ".join(down), 1500)), ("Alerts go to", listed(channels)), ("Degraded", degraded))
    return Notice(Verdict.WATCHING, watchdog.host, now, facts=facts)


def job_words(service: Watched, watchdog: Watchdog) -> str:
    """Whether it is a job, and what says so."""
    container = service.container
    if "sentinel.job" in container.labels and service.policy.job is not None:
        return f"{'job' if service.policy.job else 'service'}: its label sentinel.job says so"
    if container.oneoff:
        return "job: it was made by `compose run`"
    if watchdog.is_job(service):
        return "job: something waits for its successful end (service_completed_successfully)"
    return "service: nothing says that it is a job"


def explanation(service: Watched, why: str, watchdog: Watchdog, now: float) -> list[str]:
    """Everything that decides what is done about a service."""
    policy, until = service.policy, watchdog.muted_until(service, now)
    parents = [parent.container.name + (f" ({dependency.condition})" if not dependency.network else " (its network)")
               for parent, dependency in watchdog.parents(service)]
    jobs = [f"{name} (its successful end)" for name in waits_for_end(service.container)]
    windows = ", ".join(f"{first // 60:02}:{first % 60:02}-{last // 60:02}:{last % 60:02}" for first, last in policy.quiet)
    left = max(0, policy.max_restarts - service.attempts)
    muted = f"for another {span(until - now)}" if until else f"daily at {windows}" if windows else "no"
    lines = (("watched", f"yes: {why}"), ("kind", job_words(service, watchdog)),
             ("depends on", listed([*parents, *jobs]) or "nothing that is watched"),
             ("now", str(service.phase)),
             ("at its death", watchdog.if_it_died(service, now) if not until else "Nothing, until the mute is over."),
             ("restarts left", f"{left} of {policy.max_restarts}" if policy.heal else f"none: {policy.why_not}"),
             ("muted", muted))
    return [service.container.name, *(f"  {label + ':':15}{text}" for label, text in lines)]


def settings_lines(settings: Settings) -> list[str]:
    """The settings that count, secrets masked."""

    def words(value: Any, meta: Mapping[str, Any]) -> str:
        if value == meta["parse"](meta["default"]):
            return meta["shown"].replace("`", "") or "–"
        if meta["secret"]:
            return "***"
        forms: dict[type, Callable[[Any], str]] = {tuple: ", ".join, float: span, bool: lambda value: str(value).lower()}
        return forms.get(type(value), str)(value)

    return [redact(f"{meta['variable']}={words(getattr(settings, name), meta)}") for name, meta in options()]


BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds


class Histogram:
    """How often something took up to so many seconds."""

    def __init__(self) -> None:
        self.counts, self.total = [0] * (len(BUCKETS) + 1), 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect.bisect_left(BUCKETS, max(0.0, seconds))] += 1
        self.total += max(0.0, seconds)

    def lines(self, name: str) -> list[str]:
        """In Prometheus' text form."""
        sums = list(itertools.accumulate(self.counts))
        rows = [f'{name}_bucket{{le="{edge}"}} {count}' for edge, count in zip((*BUCKETS, "+Inf"), sums, strict=True)]
        return [*rows, f"{name}_sum {self.total:.6f}", f"{name}_count {sums[-1]}"]


class Figures:
    """What is counted for Prometheus."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[tuple[str, str], int]] = {"deaths": {}, "restarts": {}}
        self.detection, self.delivery = Histogram(), Histogram()
        self.streams = 0

    def keep(self, services: Iterable[Watched]) -> None:
        """Forget what was counted of services that are no more."""
        names = {(service.container.project, service.container.short) for service in services}
        self.counts = {what: {name: number for name, number in counts.items() if name in names}
                       for what, counts in self.counts.items()}

    def count(self, what: str, service: Watched | None) -> None:
        """One more of a service's `deaths` or `restarts`."""
        if service:
            names = service.container.project, service.container.short
            self.counts[what][names] = self.counts[what].get(names, 0) + 1


def label_text(text: str) -> str:
    """A label's value in Prometheus' text form."""
    return clean(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def metrics(watchdog: Watchdog, outboxes: Mapping[str, Outbox], figures: Figures, now: float) -> str:
    """What Prometheus reads."""
    lines = [f'sentinel_build_info{{version="{__version__}"}} 1', f"sentinel_engine_up {int(watchdog.lost_at is None)}",
             f"sentinel_event_stream_reconnects_total {max(0, figures.streams - 1)}"]
    alive: dict[tuple[str, str], int] = {}
    for service in watchdog.services.values():
        names = service.container.project, service.container.short
        alive[names] = alive.get(names, 0) or int(service.alive)
    lines += [series("sentinel_service_up", names, value) for names, value in alive.items()]
    for what, counts in figures.counts.items():
        lines += [series(f"sentinel_{what}_total", names, number) for names, number in counts.items()]
    for name, outbox in outboxes.items():
        ages = [now - notice.at for notice in outbox.waiting]
        lines += [f'sentinel_outbox_notices{{channel="{name}"}} {len(ages)}',
                  f'sentinel_outbox_oldest_age_seconds{{channel="{name}"}} {max(0.0, *ages, 0.0):.3f}']
    lines += figures.detection.lines("sentinel_detection_seconds") + figures.delivery.lines("sentinel_delivery_seconds")
    text: list[str] = []
    for family, rows in itertools.groupby(sorted(lines, key=family_of), family_of):
        text += [f"# HELP {family} {METRICS[family][1]}", f"# TYPE {family} {METRICS[family][0]}", *rows]
    return "\n".join(text) + "\n"


METRICS = {
    "sentinel_build_info": ("gauge", "Sentinel's version."),
    "sentinel_engine_up": ("gauge", "Whether the engine answers."),
    "sentinel_event_stream_reconnects_total": ("counter", "How often the event stream was opened anew."),
    "sentinel_service_up": ("gauge", "Whether a watched service runs and nothing speaks against it."),
    "sentinel_deaths_total": ("counter", "Ends of a service that nobody asked for."),
    "sentinel_restarts_total": ("counter", "Restarts by Sentinel."),
    "sentinel_outbox_notices": ("gauge", "Alerts that wait for a channel."),
    "sentinel_outbox_oldest_age_seconds": ("gauge", "How long the oldest of them has waited."),
    "sentinel_detection_seconds": ("histogram", "From a container's end, by the engine's clock, to the decision."),
    "sentinel_delivery_seconds": ("histogram", "From what happened to a channel's receipt.")}


def family_of(line: str) -> str:
    """The metric that a line belongs to."""
    name = re.split(r"[{ ]", line, maxsplit=1)[0]
    return name if name in METRICS else re.sub(r"_(bucket|sum|count)$", "", name)


def series(name: str, names: tuple[str, str], value: int) -> str:
    """One line about one service."""
    return f'{name}{{project="{label_text(names[0])}",service="{label_text(names[1])}"}} {value}'


def status_document(watchdog: Watchdog, outboxes: Mapping[str, Outbox], offset: float) -> JSON:
    """How things stand, for programs; times are Unix seconds."""
    return {
        "version": __version__, "host": watchdog.host, "engine": "down" if watchdog.lost_at is not None else "up",
        "services": [{"name": service.container.title, "project": service.container.project,
                      "service": service.container.service, "phase": service.phase, "status": service.container.status,
                      "since": service.container.started_time, "attempts": service.attempts,
                      "incident": service.incident.outage.number if service.incident else None,
                      "muted": bool(service.muted)} for service in watchdog.services.values()],
        "outages": [{"incident": outage.number, "root": outage.root, "began": round(outage.began_at + offset, 3),
                     "members": outage.members} for outage in watchdog.outages.values()],
        "outbox": {name: {"waiting": len(outbox.waiting), "retired": outbox.dead} for name, outbox in outboxes.items()}}


@dataclass(frozen=True, slots=True)
class State:
    """A row of `check`: how a service stands, and how bad that is by Nagios's scale."""
    name: str
    word: str
    since_time: float
    why: str
    severity: int


def state_of(container: Container, job: bool, asked: bool | None) -> State:
    """How a container stands at one look. `asked`: the engine's recent events tell who ended it, None if not.
    Without that evidence codes 0, 137 and 143 may be a stop, and a policy that did not restart it says so too."""

    def state(word: str, severity: int, why: str = "") -> State:
        when = container.started_time if container.status in ("running", "paused") else container.finished_time
        return State(container.title, word, when, one_line(why), severity)

    how = exit_words(container.exit_code)
    match container.status:
        case "running" if container.sick:
            return state("UNHEALTHY", 2, (shown_lines(container.probe_output.splitlines()) or [""])[-1])
        case "running":
            return state("UP" if container.health is not Health.STARTING else "STARTING", 0, str(container.health))
        case "paused":
            return state("PAUSED", 1)
        case "restarting":
            return state("CRASH LOOP" if container.restart_count > 1 else "RESTARTING", 2, how)
    if container.error:
        return state("DEAD", 2, "can't start: " + clip_front(container.error, 120))
    if container.status == "created":
        return state("STOPPED", 1, "never started")
    return state(*ended_words(container, job, asked))


def ended_words(container: Container, job: bool, asked: bool | None) -> tuple[str, int, str]:
    """State, severity and reason of a container that has run and ended."""
    how = exit_words(container.exit_code)
    if container.exit_code == 0 and (job or container.restart_policy == "on-failure"):
        return "FINISHED", 0, how
    if job:
        return "FAILED", 2, how
    if container.oom_killed:
        return "DEAD", 2, f"{how}, {Cause.OOM}"
    kept = container.restart_policy in ("always", "unless-stopped")
    if asked or (asked is None and (kept or container.exit_code in WORTHLESS_CODES)):
        return "STOPPED", 1, how if asked else f"{how}, stopped or killed"
    return "DEAD", 2, how


def aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Rows of a table as lines."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def state_table(states: list[State], now_time: float, coloured: bool) -> str:
    """The table of `check`."""
    rows = [("SERVICE", "STATE", "FOR", "WHY")]
    rows += [(s.name, s.word, span(now_time - s.since_time) if s.since_time else "", s.why) for s in states]
    first, *lines = aligned(rows)
    if coloured:
        lines = [line.replace(f" {s.word}", f" \x1b[{(32, 33, 31)[s.severity]}m{s.word}\x1b[0m", 1)
                 for s, line in zip(states, lines, strict=True)]
    return "\n".join([first, *lines])


def nagios_text(states: list[State], worst: int, trouble: list[str]) -> str:
    """What a Nagios plugin prints: one line with the bad ones and figures, then one for each service."""
    word = ("OK", "WARNING", "CRITICAL", "UNKNOWN")[worst]
    bad = [f"{state.name} {state.word}" + (f" ({state.why})" if state.why else "") for state in states if state.severity]
    fine = f"{counted(len(states), 'service')} up" if states else ""
    figures = {"services": len(states)} | {name: sum(state.severity == number for state in states)
                                           for number, name in enumerate(("up", "warning", "critical"))}
    perfdata = " ".join(f"{name}={value};;;0" for name, value in figures.items())
    first = f"SENTINEL {word}: {', '.join([*trouble, *bad]) or fine}".replace("|", "/")
    rows = [one_line(f"{state.name}: {state.word} {state.why}").replace("|", "/") for state in states]
    return "\n".join([f"{clip(one_line(first), 1000)} | {perfdata}", *rows])


NO_INCIDENT = (Verdict.WATCHING, *OTHERS)
ENDS = (*NO_INCIDENT, Verdict.RECOVERED, Verdict.STOPPED, Verdict.FAILED, Verdict.CHILD_OOM, Verdict.CHANNEL_LOST,
        Verdict.RESTARTED, Verdict.STILL_DOWN, Verdict.FOLDED)
EXAMPLE_NOTICE = {"incident": 0, "name": "", "project": "", "at": 0.0, "downtime": 0.0, "verdict": "", "cause": "",
                  "exit_code": 0, "deaths": 0, "attempts": 0, "consequences": []}


def incidents_of(notices: Mapping[str, JSON], deliveries: Mapping[str, JSON], outboxes: Mapping[str, JSON]) -> list[JSON]:
    """The ledger's notices as incidents, oldest first, with what became of each through every channel."""
    found: dict[str, JSON] = {}
    fates: dict[str, dict[str, str]] = {}
    for key, state in deliveries.items():
        number, _, channel = key.partition("/")
        why = text_at(state, "why")
        fates.setdefault(number, {})[channel] = f"refused: {why}" if why else "sent"
    for channel, state in outboxes.items():
        waiting = at(state, "waiting")
        for waits in waiting if isinstance(waiting, list) else []:
            fates.setdefault(str(waits), {})[channel] = "waiting"
    usable = {int(key): notice for key, notice in notices.items()
              if key.isdecimal() and fits(notice, EXAMPLE_NOTICE, ("downtime", "exit_code")) and 0 <= notice["at"] < 1e11}
    for place, notice in sorted(usable.items()):
        incident = found.setdefault(str(notice["incident"] or f"notice {place}"), {
            "incident": notice["incident"], "name": notice["name"], "project": notice["project"], "start": notice["at"],
            "end": None, "downtime": None, "verdict": notice["verdict"], "cause": notice["cause"],
            "exit_code": notice["exit_code"], "deaths": 0, "restarts": 0, "consequences": [], "notices": []})
        took = [" ← ".join(item["chain"]) for item in notice["consequences"] if fits(at(item, "chain"), [""])]
        incident["consequences"] += [chain for chain in took if chain not in incident["consequences"]]
        if notice["verdict"] in ENDS:
            incident |= {"end": notice["at"], "downtime": notice["downtime"]}
        incident["deaths"] = max(incident["deaths"], notice["deaths"])
        incident["restarts"] = max(incident["restarts"], notice["attempts"])
        delivery = fates.get(str(place), {})
        incident["notices"].append({"verdict": notice["verdict"], "at": notice["at"], "delivery": delivery})
    return list(found.values())


def history_table(incidents: list[JSON]) -> str:
    """The table of `history`; times in UTC."""
    rows = [("INCIDENT", "SERVICE", "START", "END", "DOWN", "DEATHS", "RESTARTS", "CAUSE", "TOLD")]
    for incident in incidents:
        start, end = (datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S") if moment is not None else "open"
                      for moment in (incident["start"], incident["end"]))
        told = ", ".join(f"{channel} {state}" for channel, state in incident["notices"][-1]["delivery"].items())
        how = exit_words(incident["exit_code"]) if incident["verdict"] not in NO_INCIDENT else ""
        cause = incident["cause"].partition(":")[0] or how
        took = ", ".join(chain.partition(" ")[0] for chain in incident["consequences"])
        cause = "; took ".join(filter(None, (cause, took)))
        rows.append((str(incident["incident"] or "–"), f"{incident['name']} [{incident['verdict']}]", start, end,
                     span(incident["downtime"]) if incident["downtime"] is not None else "–",
                     str(incident["deaths"]), str(incident["restarts"]), cause, told))
    return "\n".join(aligned(rows))


# ─── The line of purity: nothing above uses a clock, socket, thread, file, logger or random source ────────────

# ─── Ledger ───────────────────────────────────────────────────────────────────────────────────────────────────

KEPT_LABELS = re.compile(r"com\.docker\.(?:compose|swarm|stack)\.|sentinel\.")  # others may hold secrets
# One table: service (a watched service), outage (what is going on), notice (what was told), delivery (that a channel
# took it), outbox (what waits for a channel), mute (who is left alone, until when), meta. `at` is calendar time,
# `value` JSON.
MIGRATIONS = (("CREATE TABLE record (kind TEXT, key TEXT, at REAL, value TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID",),)
LEDGER_RETRY = 10.0


class LedgerError(Exception):
    """The ledger is not ours to use: another daemon has it, or a newer Sentinel wrote it."""


def not_finite(text: str) -> NoReturn:
    """Refuse NaN and Infinity, which JSON does not have and Python reads."""
    raise ValueError(f"{text} is no number")


class Ledger:
    """The durable memory: one SQLite file, written by the main thread alone, one transaction a decision.
    What can't be written (a full or read-only disk, a folder that is gone) stays in memory and is written once
    the disk takes it; a file that SQLite can't read is set aside, and everything alive is written to a new one."""

    def __init__(self, folder: str, mask: Callable[[str], str] = str) -> None:
        """`mask`: takes out of every record what must not be written."""
        self.folder, self.path, self.mask = folder, os.path.join(folder, "sentinel.db"), mask
        self.database: sqlite3.Connection | None = None
        self.lock: int | None = None
        self.alive: dict[tuple[str, str], tuple[float, str]] = {}  # what a new file would have to hold
        self.unsaved: dict[tuple[str, str], tuple[float, str] | None] = {}  # None: to be deleted
        self.trouble = ""
        self.retry_at = 0.0
        self.version = -1
        self.odd: list[str] = []

    def open(self) -> str:
        """Open, lock and if need be make the file. A warning where there is reason for one. LedgerError: it is not ours.
        What can be read but not written is read: its writes will fail, and be kept."""
        self.trouble = ""
        emptied = os.path.exists(self.path) and not os.path.getsize(self.path)
        try:
            self._lock()
        except OSError as error:
            self._give_up(error)
        try:
            try:
                self.database = self._connect()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and "unsupported file format" not in str(error):
                    raise  # it can't be reached, which says nothing of what is in it
                aside = self._set_aside()
                self.database = self._connect()
                return f"{self.path} could not be used ({error}); it was set aside as {aside}"
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
        return self.trouble or (f"{self.path} was empty; what it held is lost" if emptied else "")

    def _set_aside(self) -> str:
        """Move an unreadable file away, and its journal, which would be played into the new one."""
        aside = f"{self.path}.corrupt-{time.time_ns()}"
        os.replace(self.path, aside)
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{self.path}-journal", f"{aside}-journal")
        self._make()
        return aside

    def _lock(self) -> None:
        """Hold the folder for this process: two daemons would tell and restart everything twice."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        self.lock = os.open(os.path.join(self.folder, "sentinel.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(f"another Sentinel uses the ledger in {self.folder}; give this one its own"
                              " SENTINEL_STATE") from None
        self._make()

    def _make(self) -> None:
        """An empty file where there is none, for its owner only from the start."""
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, isolation_level=None, timeout=1.0)
        try:
            self._migrate(database)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _migrate(self, database: sqlite3.Connection) -> None:
        """Bring the file to this version's form; DatabaseError where it is none of ours."""
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -256")  # KiB: what is in it is in memory anyway
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version > len(MIGRATIONS) or (version == 0 and tables):
            raise sqlite3.DatabaseError("a newer Sentinel wrote it" if version else "another program wrote it")
        if version < len(MIGRATIONS):
            database.execute("BEGIN IMMEDIATE")
            for statement in (statement for step in MIGRATIONS[version:] for statement in step):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            database.execute("COMMIT")
        if version == 0:
            self.unsaved = {**self.alive, **self.unsaved}
        columns = [row[1] for row in database.execute("PRAGMA table_info(record)")]
        if columns != ["kind", "key", "at", "value"] or database.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it is no ledger, or its pages do not fit together")

    def _give_up(self, error: Exception) -> None:
        self.trouble = f"{self.path} can't be used ({error}); remembering in memory until it can"
        if self.database:
            self.database.close()
        self.database = None

    def put(self, kind: str, key: str, value: JSON, at_time: float) -> None:
        """Have a record written with the next commit, if it is news."""
        text = self.mask(json.dumps(value, separators=(",", ":")))
        if (self.alive.get((kind, key)) or (0.0, ""))[1] != text:
            self.unsaved[kind, key] = at_time, text
            if kind != "delivery":
                self.alive[kind, key] = at_time, text

    def changed_outside(self) -> bool:
        """Whether another process (`mute`) has written to the file since this was asked last."""
        with contextlib.suppress(sqlite3.Error):
            if self.database:
                before, (self.version,) = self.version, self.database.execute("PRAGMA data_version").fetchone()
                return bool(before != self.version)
        return False

    def newest(self) -> float:
        """When the position, which moves with all that is written, was written last, by the calendar."""
        written_at, _ = self.alive.get(("meta", "position"), (0.0, ""))
        return written_at if isinstance(written_at, float) and written_at < 1e11 else 0.0

    def release(self, kind: str, key: str) -> None:
        """Keep a record, but no longer in memory."""
        self.alive.pop((kind, key), None)

    def drop(self, kind: str, key: str) -> None:
        """Have a record deleted with the next commit."""
        if self.alive.pop((kind, key), None):
            self.unsaved[kind, key] = None

    def commit(self, now: float) -> str:
        """Write what is unsaved, all or nothing. What has changed about the ledger's state, in words, if anything has."""
        if not self.unsaved or now < self.retry_at:
            return ""
        before, words = self.trouble, ""
        if self.database and not os.path.exists(self.path):
            self._give_up(FileNotFoundError("it is gone"))
        for _ in range(2):  # a file that turns out to be unusable is set aside, and a new one written, at once
            failed = self.trouble
            if self.database is None:
                words = self._reopen() or (failed if failed != before else "")
            if self.database:
                self._write(self.database)
        self.retry_at = now + LEDGER_RETRY if self.database is None else 0.0
        if self.database is None:
            return "" if before else self.trouble
        self.trouble = ""
        return "; ".join(filter(None, (words, f"{self.path} is written again"))) if words or before else ""

    def _reopen(self) -> str:
        try:
            return self.open()
        except LedgerError as error:
            self.trouble = str(error)
            return ""

    def _write(self, database: sqlite3.Connection) -> None:
        if not self.unsaved:
            return
        puts = [(kind, key, *value) for (kind, key), value in self.unsaved.items() if value]
        drops = [name for name, value in self.unsaved.items() if value is None]
        try:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)", puts)
            database.executemany("DELETE FROM record WHERE kind = ? AND key = ?", drops)
            database.execute("COMMIT")
            self.unsaved.clear()
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def prune(self, before_time: float, now_time: float) -> None:
        """Forget notices and deliveries that are older, and no longer wait; and mutes that are over."""
        query = "SELECT kind, key FROM record WHERE kind IN ('notice', 'delivery') AND at < ? OR kind = 'mute' AND at < ?"
        with contextlib.suppress(sqlite3.Error):
            if self.database:
                old = [row for row in self.database.execute(query, (before_time, now_time))
                       if row[0] == "mute" or row not in self.alive]
                self.alive = {name: value for name, value in self.alive.items() if name[0] != "mute" or name not in old}
                self.database.executemany("DELETE FROM record WHERE kind = ? AND key = ?", old)

    def records(self, kind: str) -> dict[str, JSON]:
        """All records of a kind; one that can't be read is left out, and named in `odd`."""
        found: dict[str, JSON] = {}
        try:
            query = "SELECT key, at, value FROM record WHERE kind = ?"
            rows = self.database.execute(query, (kind,)).fetchall() if self.database else []
            if kind == "mute":  # written and deleted by others
                self.alive = {name: value for name, value in self.alive.items() if name[0] != kind}
            for key, at_time, text in rows:
                try:
                    found[key] = json.loads(text, parse_constant=not_finite)
                    if kind not in ("notice", "delivery"):
                        self.alive[kind, key] = at_time, text
                except (ValueError, TypeError, RecursionError):
                    self.odd.append(f"{kind} {key}")
        except sqlite3.Error as error:
            self._give_up(error)
        return found


def state_folder(settings: Settings, environment: Mapping[str, str]) -> str:
    """Where the ledger lives: as set, as systemd says, the system's place, else the user's."""
    system = "/var/lib/sentinel"
    if chosen := settings.state or environment.get("STATE_DIRECTORY", "").partition(":")[0]:
        return chosen
    if os.access(system if os.path.isdir(system) else os.path.dirname(system), os.W_OK):
        return system
    home = environment.get("XDG_STATE_HOME") or os.path.join(environment.get("HOME", "/tmp"), ".local", "state")
    return os.path.join(home, "sentinel")


CONTAINER_FIELDS = tuple(one.name for one in fields(Container))


def container_record(container: Container) -> JSON:
    """A container without its probe's words and the labels that Sentinel does not read."""
    labels = {encodable(name): encodable(text) for name, text in container.labels.items() if KEPT_LABELS.match(name)}
    facts = {name: getattr(container, name) for name in CONTAINER_FIELDS}  # a third of asdict's time, at every event
    return facts | {"labels": labels, "links": list(container.links), "probe_output": ""}


def container_from(document: JSON) -> Container:
    """The way back from `container_record`; KeyError, TypeError or ValueError where it is none."""
    if not fits(document, container_record(Container(""))) or labels_at(document, "labels") != document["labels"]:
        raise ValueError("its container has another shape")
    return Container(**document | {"health": Health(document["health"]), "links": tuple(document["links"])})


def death_record(death: Death, offset: float) -> JSON:
    """A death that is not judged yet, with the evidence of its run."""
    run = death.run
    return {"time": death.time, "at": death.at + offset, "code": death.code, "heard": death.heard, "times": death.times,
            "run": [run.started_time, run.kills, run.stop_time, run.oom_time]}


def death_of(document: JSON, offset: float) -> Death:
    """The way back from `death_record`."""
    started_time, kills, stop_time, oom_time = document["run"]
    run = Run(started_time, [(number, when) for number, when in kills], stop_time, oom_time)
    return Death(document["time"], document["at"] - offset, document["code"], run, document["heard"], document["times"])


SERVICE_FIELDS = ("replacing", "judged_time", "attempts", "hopeless", "known_error", "settled", "held", "fell",
                  "network_parent", "muted")
SERVICE_MOMENTS = ("proved_at", "back_at", "noted_at")


def service_record(service: Watched, due: float | None, offset: float) -> JSON:
    """A service as the ledger keeps it; `offset` turns monotonic moments into calendar time."""
    return {
        "phase": service.phase, "container": container_record(service.container),
        "death": death_record(service.death, offset) if service.death and service.phase is Phase.SUSPECT else None,
        "incident": incident_record(service.incident, offset) if service.incident else None,
        "deaths": [round(at + offset, 3) for at in service.deaths], "due": due and round(due + offset, 3),
        "recoveries": [round(at + offset, 3) for at in service.recoveries],
        **{name: getattr(service, name) for name in SERVICE_FIELDS},
        **{name: round(getattr(service, name) + offset, 3) for name in SERVICE_MOMENTS}}


def incident_record(incident: Incident, offset: float) -> JSON:
    """A service's part in an outage."""
    return {"outage": incident.outage.number, "began": incident.began_at + offset, "deaths": incident.deaths,
            "attempts": incident.attempts, "looped": incident.looped, "notice": notice_record(incident.notice, offset),
            "back": incident.back_at and incident.back_at + offset}


def incident_of(document: JSON, key: str, outages: dict[int, Outage], offset: float) -> Incident:
    """The way back from `incident_record`. An outage that can't be read any more is made up for."""
    began_at, back = document["began"] - offset, document["back"]
    number = int(document["outage"])
    outage = outages.setdefault(number, Outage(number, began_at, key, told=True))
    outage.members += [key] if key not in outage.members else []
    return Incident(outage, began_at, notice_of(document["notice"], offset), document["deaths"], document["attempts"],
                    document["looped"], back and back - offset)


def outage_record(outage: Outage, offset: float) -> JSON:
    """An outage as the ledger keeps it; its members are told by the services."""
    return {"root": outage.root, "began": outage.began_at + offset, "told": outage.told, "left": outage.left,
            "flaps": outage.flaps, "moved": outage.moved_at + offset, "members": outage.members,
            "back": outage.back_at and outage.back_at + offset,
            "notice": notice_record(outage.notice, offset) if outage.notice else None}


def outage_of(number: int, document: JSON, offset: float) -> Outage:
    """The way back from `outage_record`; KeyError, TypeError or ValueError where it is none."""
    if not fits(document, outage_record(Outage(0, 0.0), 0.0) | {"back": 0.0, "notice": example_notice()}, OPTIONAL):
        raise ValueError("it has another shape")
    notice = notice_of(document["notice"], offset) if document["notice"] else None
    back = document["back"]
    return Outage(number, document["began"] - offset, document["root"], [str(key) for key in document["members"]],
                  document["told"], document["left"], document["flaps"], document["moved"] - offset, notice,
                  back and back - offset)


@functools.cache
def example_notice() -> JSON:
    """The record of a notice with everything that one can have."""
    consequence = Consequence(("",), Verdict.DEAD, 0.0, 0)
    return json.loads(json.dumps(notice_record(Notice(
        Verdict.DEAD, "", 0.0, Container(""), exit_code=0, uptime=0.0, downtime=0.0, logs=("line",), names=("",),
        consequences=(consequence,), recovered=0.0), 0.0)))


@functools.cache
def example_service() -> JSON:
    """The record of a service with everything that one can have."""
    policy = Policy(True, True, False, "", None, 0, 0.0, "")
    notice = Notice(Verdict.DEAD, "", 0.0, Container(""), exit_code=0, uptime=0.0, downtime=0.0, recovered=0.0)
    return service_record(Watched(
        "", Container(""), policy, Phase.SUSPECT, death=Death(0.0, 0.0, 0, Run(kills=[(0, 0.0)])),
        incident=Incident(Outage(0, 0.0), 0.0, notice, back_at=1.0), deaths=[0.0], recoveries=[0.0]), 1.0, 0.0)


OPTIONAL = ("death", "incident", "due", "code", "back", "container", "exit_code", "uptime", "downtime", "recovered",
            "notice")


def service_of(key: str, document: JSON, offset: float, settings: Settings,
               outages: dict[int, Outage]) -> tuple[Watched, float | None]:
    """A service and its due time from the ledger. KeyError, TypeError or ValueError where the record is not one."""
    if not key or not fits(document, example_service(), OPTIONAL) or not document["container"]:
        raise ValueError("it has another shape")
    container = container_from(document["container"])
    service = Watched(key, container, policy_of(container, settings, "")[0], Phase(document["phase"]))
    for name in SERVICE_FIELDS:
        setattr(service, name, document[name])
    for name in SERVICE_MOMENTS:
        setattr(service, name, document[name] - offset)
    service.deaths = [at - offset for at in document["deaths"][-MEMORY_OF_DEATHS:]]
    service.recoveries = [at - offset for at in document["recoveries"][-FLAPS:]]
    if document["incident"]:
        service.incident = incident_of(document["incident"], key, outages, offset)
    service.death = death_of(document["death"], offset) if document["death"] else None
    if service.phase is Phase.SUSPECT and service.death is None:
        raise ValueError("a suspect without a death")
    return service, document["due"] and document["due"] - offset


def notice_record(notice: Notice, offset: float) -> JSON:
    """A notice as the ledger keeps it: nothing in it that may not be shown."""
    consequences = tuple(replace(item, at=item.at + offset, state=redact(item.state)) for item in notice.consequences)
    document = asdict(replace(notice, container=None, logs=tuple(shown_lines(notice.logs)), at=notice.at + offset,
                              error=redact(clean(notice.error)), consequences=consequences, plan=redact(notice.plan),
                              facts=tuple((label, redact(text)) for label, text in notice.facts),
                              decided_at=notice.decided_at and notice.decided_at + offset))
    return document | {"container": container_record(notice.container) if notice.container else None}


def notice_of(document: JSON, offset: float) -> Notice:
    """The way back from `notice_record`; KeyError, TypeError or ValueError where it is none."""
    if not fits(document, example_notice(), OPTIONAL):
        raise ValueError("it has another shape")
    consequences = tuple(
        Consequence(**item | {"chain": tuple(item["chain"]), "at": item["at"] - offset, "cause": Cause(item["cause"]),
                              "verdict": Verdict(item["verdict"])}) for item in document["consequences"])
    return Notice(**document | {
        "container": container_from(document["container"]) if document["container"] else None,
        "at": document["at"] - offset, "decided_at": document["decided_at"] and document["decided_at"] - offset,
        "names": tuple(document["names"]), "verdict": Verdict(document["verdict"]),
        "cause": Cause(document["cause"]), "logs": tuple(document["logs"]), "consequences": consequences,
        "facts": tuple((label, text) for label, text in document["facts"])})


def mutes_of(ledger: Ledger, offset: float) -> dict[str, float]:
    """Who is muted by command, and until when."""
    mutes = ledger.records("mute")
    ledger.odd += [f"mute {name}" for name, until in mutes.items() if not isinstance(until, float)]
    return {name: until - offset for name, until in mutes.items() if isinstance(until, float)}


OUTBOX_FIELDS = ("batch", "failures", "handed", "plain", "last_why")


def outbox_record(outbox: Outbox, offset: float) -> JSON:
    """An outbox as the ledger keeps it: ids of what waits, and for how long the channel is to be left alone."""
    posted = [[key, [notice.id for notice in told.notices], told.sent_at + offset, told.why_late, told.plain]
              for key, told in outbox.posted.items()]
    return {"waiting": [notice.id for notice in outbox.waiting], "posted": posted,
            "stale": [*outbox.stale, *filter(None, [outbox.editing])],
            "held_until": round(outbox.held_until + offset, 1) if outbox.failures else 0,
            **{name: getattr(outbox, name) for name in OUTBOX_FIELDS}}


def fill_outbox(outbox: Outbox, document: JSON, notices: Mapping[str, JSON], offset: float) -> bool:
    """Put back what waited; what can't be read any more is left out. False if there was any such."""
    if not fits(document, outbox_record(Outbox(""), 0.0)):
        return False
    for name in OUTBOX_FIELDS:
        setattr(outbox, name, document[name])
    for number in document["waiting"]:
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            outbox.waiting.append(notice_of(notices[str(number)], offset))
    for row in document["posted"]:
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            key, numbers, sent_at, why_late, plain = row
            told = [notice_of(notices[str(number)], offset) for number in numbers]
            outbox.posted[str(key)] = Message(told, sent_at - offset, str(why_late), bool(plain))
    outbox.stale = {message: 0.0 for message in map(str, document["stale"]) if message in outbox.posted}
    outbox.batch = max(0, min(int(outbox.batch), len(outbox.waiting)))
    outbox.unclear = outbox.batch > 0
    outbox.held_until = document["held_until"] - offset if document["held_until"] else 0.0
    return len(outbox.waiting) == len(document["waiting"]) and len(outbox.posted) == len(document["posted"])


# ─── Engine ───────────────────────────────────────────────────────────────────────────────────────────────────

FORBIDDEN = (403, 405)  # what socket proxies say to a call that they do not let through
ROOTFUL_SOCKET = "/var/run/docker.sock"
ANSWER_LIMIT = 64 * 2**20  # bytes of an answer; 2,000 containers list in 3 MB
EVENT_LIMIT = 2**20  # bytes of one event; it holds the container's labels
LOG_LIMIT, LOG_TAIL, LOG_LINES = 2**20, 40, 20
LOG_MARGIN = 0.05  # 20.10 stamps a quick process's first line up to 2 ms before its StartedAt
EVENTS = ("create", "start", "die", "died", "kill", "stop", "restart", "oom", "pause", "unpause", "rename", "destroy",
          "remove", "update", "health_status")
EVENT_FILTER = urllib.parse.quote(json.dumps({"type": ["container"], "event": EVENTS}, separators=(",", ":")))


def hang_up(sock: socket.socket | None) -> None:
    """End a connection from another thread: whoever reads from it sees the end at once."""
    with contextlib.suppress(OSError):
        if sock:
            sock.shutdown(socket.SHUT_RDWR)


def read_setting_file(path: str) -> str:
    """A secret's or a setting's file, without the newline at its end."""
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def engine_of(settings: Settings, environment: Mapping[str, str]) -> Engine:
    """The docker CLI's engine: DOCKER_HOST, else a context, else the socket that is there; SettingError for nonsense."""
    config = environment.get("DOCKER_CONFIG") or os.path.join(environment.get("HOME", "/"), ".docker")
    host, name = settings.docker_host, settings.context
    if not host and not name:
        with contextlib.suppress(OSError, ValueError):
            name = text_at(json_in(read_setting_file(os.path.join(config, "config.json"))), "currentContext")
    if host or name in ("", "default"):
        host = host or default_docker_host(environment)
        wanted = settings.tls_verify or settings.cert_path
        folder = settings.cert_path or config
        tls = tls_of(folder, settings.tls_verify, "DOCKER_CERT_PATH") if wanted and is_tcp(host) else None
        return Engine(host, tls)
    place = hashlib.sha256(name.encode(errors="replace")).hexdigest()
    try:
        meta = json.loads(read_setting_file(os.path.join(config, "contexts", "meta", place, "meta.json")))
        host = docker_host(text_at(meta, "Endpoints", "docker", "Host"))
        if not host:
            raise ValueError("it names no Host")
    except OSError:
        raise SettingError(f"DOCKER_CONTEXT: there is no context {name} in {config}; see docker context ls") from None
    except (ValueError, RecursionError) as error:
        raise SettingError(f"DOCKER_CONTEXT: the context {name} can't be used: {error}") from None
    folder = os.path.join(config, "contexts", "tls", place, "docker")
    verify = at(meta, "Endpoints", "docker", "SkipTLSVerify") is not True
    secure = is_tcp(host) and (os.path.isdir(folder) or not verify)
    return Engine(host, tls_of(folder, verify, "DOCKER_CONTEXT") if secure else None)


def is_tcp(host: str) -> bool:
    """Whether an engine is spoken to over TCP, where TLS is possible."""
    return urllib.parse.urlsplit(host).scheme in ("tcp", "http")


def tls_of(folder: str, verify: bool, name: str) -> ssl.SSLContext:
    """TLS with the certificates of a folder, as the docker CLI keeps them. SettingError where they can't be used."""
    authority, certificate, key = (os.path.join(folder, file) for file in ("ca.pem", "cert.pem", "key.pem"))
    own = os.path.exists(authority) or (verify and name == "DOCKER_CERT_PATH")  # else the system's are trusted
    try:
        context = ssl.create_default_context(cafile=authority if own else None)
        if os.path.exists(certificate) or os.path.exists(key):
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(f"{name}: the certificates in {folder} can't be used: {error}") from None
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class EngineError(Exception):
    """The engine could not be asked, or said no. `status` is 0 where there was no answer."""

    def __init__(self, why: str, status: int = 0) -> None:
        super().__init__(why)
        self.status = status


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def default_docker_host(environment: Mapping[str, str]) -> str:
    """The rootful socket, else the rootless one if that is there."""
    rootless = os.path.join(environment.get("XDG_RUNTIME_DIR", ""), "docker.sock")
    use_rootless = not os.path.exists(ROOTFUL_SOCKET) and environment.get("XDG_RUNTIME_DIR") and os.path.exists(rootless)
    return f"unix://{rootless if use_rootless else ROOTFUL_SOCKET}"


CONNECTION_HELP: dict[type[Exception], str] = {
    FileNotFoundError: "no such socket; is Docker running? In a container, mount it; elsewhere, set DOCKER_HOST",
    PermissionError: "no permission; add this user, or the container (group_add), to the group of the socket",
    ConnectionRefusedError: "nobody answers; is Docker running?", TimeoutError: "no answer in time; the engine may hang"}


def connection_help(host: str, error: Exception) -> str:
    """Why an engine can't be reached, and what to do about it."""
    if isinstance(error, ssl.SSLError):
        return f"{host}: TLS failed ({error.reason or error}); see DOCKER_TLS_VERIFY and DOCKER_CERT_PATH"
    if isinstance(error, http.client.HTTPException):
        return f"{host}: this is not a Docker Engine ({type(error).__name__})"
    return f"{host}: {CONNECTION_HELP.get(type(error), error) or type(error).__name__}"


def error_text(status: int, body: bytes) -> str:
    """The message of an engine's error answer: JSON's `message`, else the text; a proxy's HTML shortened."""
    text = body[:4000].decode(errors="replace")
    text = text_at(json_in(body), "message")[:4000] or text
    return clip(" ".join(re.sub(r"<[^>]*>", " ", text).split()), 600) or f"HTTP {status}"


STAMP = re.compile(r"\d{4}-\d\d-\d\dT\S+ ?")


def frames_of(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The frames of a log without a TTY: an 8-byte header (stream, three zeros, length), then the payload."""
    position = 0
    while re.match(rb"[\0-\2]\0\0\0.{4}", body[position : position + 8], re.S):
        size = int.from_bytes(body[position + 4 : position + 8], "big")
        yield body[position], body[position + 8 : position + 8 + size]
        position += 8 + size


def log_lines(body: bytes, tty: bool) -> list[str]:
    """Log lines of an answer, in the order of their time stamps, which are cut off.
    20.10 does not say in a header whether there are frames, so the bytes themselves are checked too. A line
    longer than 16 KiB comes in several frames, each with a stamp of its own."""
    lines: list[str] = []
    unfinished: dict[int, int] = {}
    for stream, payload in [] if tty else frames_of(body):
        text = payload.decode(errors="replace")
        if (index := unfinished.pop(stream, None)) is not None:
            lines[index] += STAMP.sub("", text, count=1)
        else:
            index = len(lines)
            lines.append(text)
        if not text.endswith("\n"):
            unfinished[stream] = index
    lines = [line for text in lines or [body.decode(errors="replace")] for line in re.split(r"\r?\n", text) if line]
    if all(STAMP.match(line) for line in lines):
        lines = [STAMP.sub("", line, count=1) for line in sorted(lines, key=lambda line: line.partition(" ")[0])]
    return lines


def path_of(container_id: str, call: str) -> str:
    """The path of a call about one container."""
    return f"/containers/{urllib.parse.quote(container_id, safe='', errors='replace')}/{call}"


class Engine:
    """The Docker Engine's API, as far as Sentinel needs it. Unversioned paths: each engine's own newest version."""

    def __init__(self, host: str, tls: ssl.SSLContext | None = None) -> None:
        self.host, self.tls, self.podman = host, tls, False  # Podman says so in every answer
        self.heals = False  # it is to be asked whether restarts are let through
        self.identity: tuple[str, str, str] | None = None
        self.tell_only = ""  # why nothing can be restarted through this engine, as far as that is known
        self.stream: socket.socket | None = None

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """A new connection for one request."""
        parts = urllib.parse.urlsplit(self.host)
        if parts.scheme == "unix":
            return UnixConnection(parts.path, timeout)
        if self.tls:
            return http.client.HTTPSConnection(parts.hostname or "", parts.port or 2376, timeout=timeout, context=self.tls)
        return http.client.HTTPConnection(parts.hostname or "", parts.port or 2375, timeout=timeout)

    def ask(self, method: str, path: str, timeout: float = 10.0, limit: int = ANSWER_LIMIT) -> bytes:
        """The body of one answer; EngineError for everything that is not a 2xx or 304."""
        try:
            with contextlib.closing(self.connect(timeout)) as connection:
                connection.request(method, path)
                response = connection.getresponse()
                body = response.read(limit)
                self.podman = self.podman or response.getheader("Libpod-API-Version") is not None
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            raise EngineError(connection_help(self.host, error)) from error
        if response.status >= 300 and response.status != 304:
            raise EngineError(error_text(response.status, body), response.status)
        return body

    def read(self, path: str, seen: Callable[[dict[str, JSON]], JSON] | None = None) -> JSON:
        """A JSON answer. `seen` takes each of its objects, and gives what is to be kept of it."""
        try:
            return json.loads(self.ask("GET", path), object_hook=seen)
        except (ValueError, RecursionError) as error:
            raise EngineError(f"{self.host}: this is not a Docker Engine (its answer is no JSON)") from error

    def list(self) -> list[JSON]:
        """All containers, as the list shows them."""
        rows = self.read("/containers/json?all=1", lambda row: {name: row[name] for name in ROW_NAMES if name in row})
        if not isinstance(rows, list):
            raise EngineError(f"{self.host}: this is not a Docker Engine (its list is no list)")
        return rows

    def inspect(self, container_id: str) -> Container | None:
        """One container, None where it no longer exists."""
        try:
            container = container_of(self.read(path_of(container_id, "json")))
        except EngineError as error:
            if error.status == 404:
                return None
            raise
        return container if container.id else replace(container, id=container_id)

    def containers(self) -> tuple[Container, ...]:
        """Every container, inspected."""
        return tuple(filter(None, (self.inspect(text_at(row, "Id")) for row in self.list())))

    def logs(self, container: Container) -> tuple[str, ...]:
        """The last lines of its last run; none where the log driver can't be read (501) or it is gone."""
        since = f"&since={container.started_time - LOG_MARGIN:.3f}" if container.started_time else ""
        path = path_of(container.id, f"logs?stdout=1&stderr=1&timestamps=1&tail={LOG_TAIL}{since}")
        try:
            lines = log_lines(self.ask("GET", path, limit=LOG_LIMIT), container.tty)
        except EngineError:
            return ()
        return tuple(line[-4000:] for line in lines[-LOG_LINES:])

    def look(self, container_id: str) -> Looked:
        """Inspect, and read the last lines of one that is down."""
        try:
            container = self.inspect(container_id)
            down = container and container.status != "running" and container.started_time
            return Looked(container_id, container, self.logs(container) if container and down else ())
        except EngineError as error:
            return Looked(container_id, None, why=str(error))

    def list_all(self) -> Listed | ListFailed:
        """A listing, with Sentinel's own container and the engine's name, which the first one finds out."""
        try:
            rows = self.list()
            if self.identity is None:
                self.tell_only = self.forbids_restarts() if self.heals and is_tcp(self.host) else ""
                self.identity = own_container(self), *self.name()
        except EngineError as error:
            return ListFailed(str(error))
        return Listed(tuple(row for row in map(row_of, rows) if row.id), *self.identity, self.podman, self.tell_only)

    def forbids_restarts(self) -> str:
        """Why a proxy forbids restarts, if it does: the start of nothing is a 404 to an engine, 403 or 405 to it."""
        try:
            self.ask("POST", f"/containers/{'0' * 64}/start")
        except EngineError as error:
            return f"the proxy forbids it ({error})" if error.status in FORBIDDEN else ""
        return ""

    def name(self) -> tuple[str, str]:
        """The engine's name and id; this machine's name where a proxy forbids to ask."""
        try:
            info = self.read("/info")
        except EngineError:
            info = None
        return text_at(info, "Name") or socket.gethostname(), text_at(info, "ID")

    def restart(self, job: Restart) -> Restarted:
        """Bring a container back, if it still stands as it was judged: it is looked at again just before. One that is down
        is started, never restarted: that can't take down one that somebody has just started. The call for a running one
        blocks for its stop timeout and a little more. A 404 may mean a network, and a 304 or a lost answer says nothing."""
        asked = False
        try:
            container = self.inspect(job.id)
            if container is None or (container.started_time, container.status == "running") != (job.started_time, job.alive):
                return Restarted(job.key, job.id, Outcome.OVERTAKEN, container=container)
            stop_timeout = int(job.stop_timeout)
            call = f"restart?t={stop_timeout}" if job.alive else "start"
            asked = True
            self.ask("POST", path_of(job.id, call), timeout=(stop_timeout if job.alive else 0) + 30.0)
            return Restarted(job.key, job.id, Outcome.DONE, container=self.inspect(job.id))
        except EngineError as error:  # what a look was refused says nothing of restarts
            return self.restart_failed(job, error if asked else EngineError(str(error)))

    def restart_failed(self, job: Restart, error: EngineError) -> Restarted:
        """What a restart call's error means."""
        outcomes = dict.fromkeys((0, 502, 503, 504), Outcome.UNKNOWN) | dict.fromkeys(FORBIDDEN, Outcome.FORBIDDEN)
        with contextlib.suppress(EngineError):
            return Restarted(job.key, job.id, outcomes.get(error.status, Outcome.REFUSED), str(error), self.inspect(job.id))
        return Restarted(job.key, job.id, Outcome.UNKNOWN, str(error))

    def events(self, since: float, clock: Callable[[], float], put: Callable[[Observation], None]) -> StreamClosed:
        """Put every event of the stream into the inbox until it ends. A reader that pauses would lose events
        without notice and slow the whole engine, so nothing else is done here. `clock` gives Unix seconds."""
        start = since or clock() - 30.0
        connection = self.connect(10.0)
        try:
            connection.request("GET", f"/events?since={start:.9f}&filters={EVENT_FILTER}")
            self.stream = connection.sock
            response = connection.getresponse()
            if response.status != 200:
                return StreamClosed(error_text(response.status, response.read(4000)), refused=True)
            put(StreamOpened(start, clock()))  # an engine that starts answers late: what it does before is not news
            assert self.stream
            self.stream.settimeout(None)
            while line := response.readline(EVENT_LIMIT):
                if event := event_of(json_in(line)):
                    put(event)
            return StreamClosed()
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            opened = self.stream is not None and self.stream.gettimeout() is None
            return StreamClosed("" if opened else connection_help(self.host, error))
        finally:
            self.stream = None
            connection.close()

    def close_stream(self) -> None:
        """End the event stream from another thread: its reader sees the end at once."""
        hang_up(self.stream)


def own_candidate(mountinfo: str, cgroup: str, hostname: str) -> str:
    """The id of the container that this process may run in, empty outside of one. Files that Docker and Podman mount into
    it name it, also with private namespaces; the cgroup's path does on v1; the hostname does unless it was set."""
    mounted = re.search(r"/(?:containers|overlay-containers)/([0-9a-f]{64})/(?:userdata/)?(?:hostname|hosts|resolv\.conf)",
                        mountinfo)
    grouped = re.search(r"[0-9a-f]{64}", cgroup)
    if mounted:
        return mounted[1]
    return grouped[0] if grouped else hostname if re.fullmatch(r"[0-9a-f]{12}", hostname) else ""


def read_text(path: str) -> str:
    """A file's text, empty where it can't be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def first_process_time() -> float:
    """When process 1 of this namespace started, in Unix seconds; 0 if unknown."""
    boot = re.search(r"^btime (\d+)", read_text("/proc/stat"), re.M)
    ticks = read_text("/proc/1/stat").rpartition(")")[2].split()
    return int(boot[1]) + int(ticks[19]) / os.sysconf("SC_CLK_TCK") if boot and len(ticks) > 19 else 0.0


def own_container(engine: Engine) -> str:
    """Sentinel's own container; with `network_mode: container:X`, where mounts name X, the one that started with us."""
    candidate = own_candidate(read_text("/proc/self/mountinfo"), read_text("/proc/self/cgroup"), socket.gethostname())
    container = engine.inspect(candidate) if candidate else None
    started = first_process_time()
    if container is None or not started or abs(container.started_time - started) < 5.0:
        return container.id if container else ""
    for row in engine.list():
        if text_at(row, "HostConfig", "NetworkMode") == f"container:{container.id}":
            other = engine.inspect(text_at(row, "Id"))
            if other and abs(other.started_time - started) < 5.0:
                return other.id
    return container.id


# ─── Discord ──────────────────────────────────────────────────────────────────────────────────────────────────

USER_AGENT = f"DiscordBot (https://github.com/sentinel-watchdog/sentinel, {__version__})"
# Unknown channel, message target or webhook; no access, no permission, wrong token; a channel without messages.
GONE_CODES = (10003, 10004, 10015, 40001, 50001, 50008, 50013, 50027)
FORUM_WANTS_NAME, UNKNOWN_MESSAGE, UNKNOWN_CHANNEL, TOO_MANY_EDITS = 220001, 10008, 10003, 30046
EDGE_PAUSE = 600.0  # Discord's edge blocks an address for longer the more it is asked
ADVICE = {
    10003: "the channel no longer exists", 10015: "the webhook was deleted: make a new one", 50001: "the bot is not in that"
    " channel: let it View Channel", 50013: "the bot lacks Send Messages (or Manage Channels, to create one)",
    50027: "the token in the URL is wrong: copy it anew", 40001: "the token is wrong", 0: "the token is wrong"}


Headers = Mapping[str, str] | email.message.Message  # the latter finds names in any case


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, or why there is none: `status` 0, and `sent` if the request may have arrived."""
    status: int
    headers: Headers = field(default_factory=dict)
    body: bytes = b""
    why: str = ""
    sent: bool = False

    @property
    def document(self) -> JSON:
        """The body, if it is JSON."""
        return json_in(self.body)


def proxy_of(scheme: str, url: urllib.parse.SplitResult, environment: Mapping[str, str]) -> urllib.parse.SplitResult | None:
    """The proxy for a URL, by HTTPS_PROXY or HTTP_PROXY, unless NO_PROXY names its host, host:port, or a domain above."""
    host = (url.hostname or "").lower()
    for name in names(environment.get("no_proxy") or environment.get("NO_PROXY") or ""):
        bare, _, port = name.lstrip("*.").lower().partition(":")
        if port and port != str(url.port or (443 if scheme == "https" else 80)):
            continue
        if name == "*" or host == bare or (bare and host.endswith("." + bare)):
            return None
    variable = f"{scheme}_proxy"
    proxy = environment.get(variable) or environment.get(variable.upper() if scheme == "https" else "") or ""
    try:
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else None
        return parts if parts is None or parts.port != 0 else None
    except ValueError:
        raise ValueError(f"the address of the proxy in {variable.upper()} makes no sense") from None


WEB_PATIENCE, WEB_LIMIT = 30.0, 8 * 2**20  # seconds, bytes; the list of 500 channels with topics has 1 MB


class Web:
    """HTTP requests to the outside: certificates verified, proxies honoured, one connection a request."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.tls: ssl.SSLContext | None = None

    def connection(self, url: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        """A connection to a URL's host, through its proxy if it has one."""
        host, proxy, secure = url.hostname or "", proxy_of(url.scheme, url, self.environment), url.scheme == "https"
        near, own_port = proxy or url, 443 if secure else 80
        place = near.hostname or "", near.port or (8080 if proxy else own_port)
        if secure:
            self.tls = self.tls or ssl.create_default_context()
            made: http.client.HTTPConnection = http.client.HTTPSConnection(*place, timeout=15.0, context=self.tls)
        else:
            made = http.client.HTTPConnection(*place, timeout=15.0)
        if proxy:
            login = urllib.parse.unquote(f"{proxy.username}:{proxy.password or ''}") if proxy.username else ""
            basic = {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}
            made.set_tunnel(host, url.port or own_port, headers=basic)
        return made

    def ask(self, method: str, address: str, body: JSON = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request and its answer. Never raises on what the network does."""
        url = urllib.parse.urlsplit(address)
        path = url.path + (f"?{url.query}" if url.query else "")
        data = json.dumps(body).encode() if body is not None else None
        agreed = {"User-Agent": USER_AGENT, **({"Content-Type": "application/json"} if data else {}), **(headers or {})}
        connection: http.client.HTTPConnection | None = None
        sent, where = False, url.hostname or ""
        # The connection's timeout counts for each read: an answer that drips would take for ever.
        deadline = threading.Timer(WEB_PATIENCE, lambda: hang_up(connection.sock if connection else None))
        try:
            connection = self.connection(url)
            if connection.host != url.hostname:
                where += f" through the proxy {connection.host}:{connection.port}"
            connection.connect()
            deadline.start()
            sent = True
            connection.request(method, path, data, agreed)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read(WEB_LIMIT))
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(0, why=network_words(where, error), sent=sent)
        finally:
            deadline.cancel()
            if connection:
                connection.close()


def network_words(host: str, error: Exception) -> str:
    """Why a host could not be asked; what is the matter, not where the secret is."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, socket.gaierror):
        why = "its name can't be resolved (DNS)"
    elif isinstance(error, ssl.SSLError):
        why = f"TLS failed ({error.reason or error}); a certificate of your own goes into SSL_CERT_FILE"
    elif isinstance(error, TimeoutError):
        why = "no answer in time"
    return f"{host} could not be reached: {why}"


def seconds_of(value: object) -> float:
    """Seconds from a header or a JSON number, 0 where there are none."""
    try:
        seconds = float(str(value))
    except ValueError:
        return 0.0
    return min(seconds, 86400.0) if seconds > 0 else 0.0


def verdict_on(channel: str, answer: Answer, who: str = "Discord") -> Delivered:
    """What the answer of Discord, or of a bridge to it, means for a message. A 429 counts from Retry-After or
    retry_after, never from Reset-After. An answer without JSON or `Via` is from Discord's edge, not from its API, and
    that wants to be left alone for long. 500, 504 and 52x may come after the message was stored, 502 and 503 do not."""
    status, document = answer.status, answer.document
    number, text = whole_at(document, "code"), text_at(document, "message") or f"HTTP {status}"
    if not status:
        return Delivered(channel, Fate.UNCLEAR if answer.sent else Fate.UNSENT, why=answer.why)
    if 200 <= status < 300:
        spent = answer.headers.get("X-RateLimit-Remaining") == "0"
        hold = seconds_of(answer.headers.get("X-RateLimit-Reset-After")) if spent else 0.0
        where = text_at(document, "channel_id")
        where = f"channel {where}" if where else ""
        return Delivered(channel, Fate.SENT, hold, message=text_at(document, "id"), where=where)
    by_the_edge = not isinstance(document, dict) or answer.headers.get("Via") is None
    if status in (403, 429) and by_the_edge and who == "Discord":
        why = f"Discord's edge blocks this address (HTTP {status}); wait, it ends by itself within hours"
        return Delivered(channel, Fate.UNSENT, EDGE_PAUSE, why)
    if status == 429:
        wait = max(seconds_of(answer.headers.get("Retry-After")), seconds_of(at(document, "retry_after")), 1.0)
        return Delivered(channel, Fate.UNSENT, wait + 0.25, f"{who}'s rate limit")
    if status in (401, 403, 404) or number in GONE_CODES:
        advice = ADVICE.get(number, "")
        return Delivered(channel, Fate.DEAD, why=f"{text} (HTTP {status}, code {number}){'; ' + advice if advice else ''}")
    if 400 <= status < 500 and status != 408:
        return Delivered(channel, Fate.MALFORMED, why=f"{text} (HTTP {status}, code {number})")
    fate = Fate.UNSENT if status in (502, 503) else Fate.UNCLEAR
    return Delivered(channel, fate, why=f"{who} could not be reached: it answers HTTP {status}")


def verdict_on_edit(channel: str, answer: Answer) -> Delivered:
    """What the answer means for an edit: what can't be edited (deleted, too old, another token) stays as it is."""
    verdict = verdict_on(channel, answer)
    over = verdict.fate in (Fate.DEAD, Fate.MALFORMED) or whole_at(answer.document, "code") == TOO_MANY_EDITS
    return replace(verdict, fate=Fate.GONE, why=verdict.why or "too many edits") if over else verdict


def no_channel(channel: str, answer: Answer, who: str) -> Delivered:
    """The verdict where a channel to post into could not be had: nothing was sent, whatever the answer says."""
    if 200 <= answer.status < 300:
        return Delivered(channel, Fate.UNSENT, why=f"{who} names no channel (HTTP {answer.status})")
    return verdict_on(channel, answer, who)


class Webhook:
    """A Discord webhook. `wait=true`, since without it a message that was not stored gives no error."""
    name, edits = "webhook", True

    def __init__(self, url: Secret, web: Web) -> None:
        self.url, self.web, self.made_thread = url, web, ""

    def keep_to(self, thread: str) -> None:
        """Post into this thread, which was made for a forum's webhook; an address that names one stays as it is."""
        if thread and "thread_id=" not in str.__str__(self.url):
            self.made_thread = thread

    def send(self, job: Deliver, message: JSON) -> Delivered:
        """Post; a forum's webhook makes a thread where none is named, and then keeps to it."""
        base, _, query = str.__str__(self.url).partition("?")
        query = query or (f"thread_id={self.made_thread}" if self.made_thread else "")
        if job.message:
            url = f"{base}/messages/{job.message}" + (f"?{query}" if query else "")
            return verdict_on_edit(self.name, self.web.ask("PATCH", url, message))
        url = f"{base}?wait=true" + (f"&{query}" if query else "")
        answer = self.web.ask("POST", url, message)
        if answer.status == 400 and whole_at(answer.document, "code") == FORUM_WANTS_NAME:
            answer = self.web.ask("POST", url, message | {"thread_name": clip(f"Sentinel {job.host}", 100)})
            if answer.status == 200:
                self.keep_to(text_at(answer.document, "channel_id"))
        elif answer.status == 400 and self.made_thread and whole_at(answer.document, "code") == UNKNOWN_CHANNEL:
            self.made_thread = ""  # somebody deleted the thread
            return Delivered(self.name, Fate.UNSENT, why="the forum's thread is gone; another is made")
        return verdict_on(self.name, answer)


class Bot:
    """A Discord bot, by REST alone. A repeat with the same nonce makes no second message for some minutes."""
    name, edits = "bot", True

    def __init__(self, settings: Settings, web: Web) -> None:
        self.settings, self.web, self.channel_id = settings, web, settings.channel_id

    @property
    def headers(self) -> dict[str, str]:
        """Who is asking."""
        return {"Authorization": "Bot " + str.__str__(self.settings.bot_token)}

    def send(self, job: Deliver, message: JSON) -> Delivered:
        """Post, into a channel found or created by name if it has no id."""
        if not self.channel_id and (trouble := self.ensure()):
            return trouble
        url = f"{self.settings.api_url}/channels/{self.channel_id}/messages"
        if job.message:
            return verdict_on_edit(self.name, self.web.ask("PATCH", f"{url}/{job.message}", message, self.headers))
        answer = self.web.ask("POST", url, message | {"nonce": job.nonce, "enforce_nonce": True}, self.headers)
        if answer.status == 404 and whole_at(answer.document, "code") == UNKNOWN_MESSAGE:
            return Delivered(self.name, Fate.SENT)  # it was stored before, and somebody deleted it
        return verdict_on(self.name, answer)

    def ensure(self) -> Delivered | None:
        """Find the channel by its name, as Discord writes it, or create it; the verdict where neither can be."""
        url = f"{self.settings.api_url}/guilds/{self.settings.guild_id}/channels"
        wanted = re.sub(r"\s+", "-", self.settings.channel.strip().lstrip("#").lower())
        answer = self.web.ask("GET", url, headers=self.headers)
        rows = answer.document if answer.status == 200 else None
        if not isinstance(rows, list):
            return no_channel(self.name, answer, "Discord")
        match = next((row for row in rows if text_at(row, "name") == wanted and at(row, "type") in (0, 5)), None)
        if match is None:
            answer = self.web.ask("POST", url, {"name": wanted, "type": 0}, self.headers)
            match = answer.document if answer.status == 201 else None
        self.channel_id = text_at(match, "id")
        return None if self.channel_id else no_channel(self.name, answer, "Discord")


class Bridge:
    """A bot service that posts for others. What it does not have (404) is done the simpler way, by /notify."""
    name, edits = "bridge", False

    def __init__(self, settings: Settings, web: Web) -> None:
        self.settings, self.web, self.channel_id, self.simple = settings, web, "", False

    def ask(self, path: str, body: JSON) -> Answer:
        """One request to the bridge."""
        token = str.__str__(self.settings.bridge_token)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.web.ask("POST", self.settings.bridge_url + path, body, headers)

    def send(self, job: Deliver, message: JSON) -> Delivered:
        """Post Discord's own message body to the channel, or the notice in words."""
        if not self.channel_id and not self.simple:
            answer = self.ask("/channels/ensure", {"name": self.settings.channel})
            self.channel_id = text_at(answer.document, "id") or str(whole_at(answer.document, "id") or "")
            self.simple = answer.status == 404
            if not self.channel_id and not self.simple:
                return no_channel(self.name, answer, "the bridge")
        if not self.simple:
            answer = self.ask(f"/send/{self.channel_id}", message)
            if answer.status != 404:
                return self.verdict(answer)
            self.simple = True
        embeds = message["embeds"]
        level = "error" if any(embed["color"] == RED for embed in embeds) else "info"
        words = "\n".join(embed["description"] for embed in embeds)
        return self.verdict(self.ask("/notify", {
            "channel": self.settings.channel, "title": ", ".join(embed["title"] for embed in embeds)[:EMBED_TITLE],
            "message": words, "level": level, "embeds": embeds}))

    def verdict(self, answer: Answer) -> Delivered:
        """Any 2xx is sent, unless it says otherwise."""
        if 200 <= answer.status < 300 and at(answer.document, "ok") is False:
            why = text_at(answer.document, "error") or "not sent"
            return Delivered(self.name, Fate.UNSENT, why=f"the bridge says: {why}")
        return verdict_on(self.name, answer, "the bridge")


class Drop:
    """A folder into which each alert is put as a JSON file, whole or not at all."""
    name, edits = "drop", False

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def send(self, job: Deliver, message: JSON) -> Delivered:
        """Write under a temporary name, sync, rename."""
        try:
            os.makedirs(self.folder, exist_ok=True)
            for notice in job.notices:
                self.write(notice, job)
        except OSError as error:
            return Delivered(self.name, Fate.UNSENT, why=f"{self.folder} can't be written: {error.strerror or error}")
        return Delivered(self.name, Fate.SENT, where=self.folder)

    def write(self, notice: Notice, job: Deliver) -> None:
        """One alert; the same alert again writes the same file again."""
        at_time = notice.at + time.time() - time.monotonic()
        document = message_of(replace(job, notices=(notice,)), notice.at, at_time - notice.at)
        document |= {"id": notice.id, "time": datetime.fromtimestamp(at_time, UTC).isoformat(), "verdict": notice.verdict,
                     "name": notice.name, "project": notice.project, "incident": notice.incident, "host": job.host,
                     "message": headline(notice)}
        word = notice.verdict.lower().replace(" ", "-")
        stamp = datetime.fromtimestamp(at_time, UTC).strftime("%Y%m%dT%H%M%SZ")
        path = os.path.join(self.folder, f"{stamp}-{notice.id:09d}-{job.nonce.partition('-')[0]}-{word}.json")
        with open(f"{path}.part", "w", encoding="utf-8", errors="replace") as file:
            json.dump(document, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(f"{path}.part", 0o644)
        os.replace(f"{path}.part", path)


class Terminal:
    """Standard output: a card an alert, coloured where that is a terminal."""
    name, edits = "terminal", False

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.coloured = sys.stdout.isatty() and not environment.get("NO_COLOR")
        self.columns = os.get_terminal_size(1).columns if sys.stdout.isatty() else 1000

    def send(self, job: Deliver, message: JSON) -> Delivered:
        """Draw each notice as a card."""
        now, offset = time.monotonic(), time.time() - time.monotonic()

        def moment(at: float) -> str:
            return datetime.fromtimestamp(at + offset).astimezone().strftime("at %H:%M:%S")

        cards = [card_of(notice, job.host, moment, late_words(notice, now, "")) for notice in merged_stops(job.notices)]
        try:
            print("\n".join(terminal_card(card, self.columns, self.coloured) + "\n" for card in cards), flush=True)
        except OSError as error:
            return Delivered(self.name, Fate.UNSENT, why=f"the terminal can't be written: {error}")
        return Delivered(self.name, Fate.SENT)


Channel = Webhook | Bot | Bridge | Drop | Terminal


def channels_of(settings: Settings, environment: Mapping[str, str]) -> list[Channel]:
    """The channels that are set, in the order of the chain; the terminal where none is."""
    web = Web(environment)
    makers: tuple[tuple[str, Callable[[], Channel]], ...] = (
        (settings.webhook_url, lambda: Webhook(settings.webhook_url, web)),
        (settings.bot_token, lambda: Bot(settings, web)), (settings.bridge_url, lambda: Bridge(settings, web)),
        (settings.drop_dir, lambda: Drop(settings.drop_dir)))
    return [make() for wanted, make in makers if wanted] or [Terminal(environment)]


# ─── Daemon ───────────────────────────────────────────────────────────────────────────────────────────────────


class ExitCode(IntEnum):
    """How the process ends."""
    OK = 0
    CRASHED = 70
    BAD_SETTINGS = 78


GREET_AGAIN = 600.0
PULSE, PULSE_LIMIT = 5.0, 30.0  # how often it is noted that all goes on, and how old that note may be
LOOK_LIMIT, COURIER_LIMIT, LIST_LIMIT = 90.0, 150.0, 90.0  # how long a look, a message, or the next listing may take
HEARTBEAT_EVERY = 60.0
LAST_WORDS = 0.3
WORDS = (Tell, Amend, Log)  # what is still done when Sentinel ends
OFFSET_ERROR = 0.01
NOTES, NOTES_SPAN = 30, 60.0  # words of others that are taken in so many seconds
CATCH_UP = 10.0  # the longest that alerts wait for company at the start
LANES = {"look": 3, "start": 4, "restart": 4}  # workers of each lane: a slow stop holds up neither looks nor starts


class Manager:
    """The service manager that started Sentinel, if it is one that wants to know (sd_notify)."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.address = environment.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        limit, owner = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        self.interval = int(limit) / 3e6 if limit.isdecimal() and owner in ("", str(os.getpid())) else 0.0

    def say(self, *lines: str) -> None:
        """READY=1, STATUS=…, WATCHDOG=1, STOPPING=1."""
        if self.address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.sendto("\n".join(map(one_line, lines)).encode(), socket.MSG_DONTWAIT, self.address)


def journal_is(environment: Mapping[str, str], descriptor: int) -> bool:
    """Whether what is written there goes to systemd's journal, which takes priorities."""
    with contextlib.suppress(OSError):
        there = os.fstat(descriptor)
        return environment.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"
    return False


def health_files(settings: Settings, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Where it is noted that all goes on: beside the ledger, or where that can't be written, in a passing place."""
    folder = state_folder(settings, environment)
    passing = f"sentinel-{os.getuid()}-{hashlib.sha256(folder.encode()).hexdigest()[:12]}"
    return os.path.join(folder, "health"), *(os.path.join(place, passing) for place in ("/dev/shm", "/tmp"))


def write_health(files: tuple[str, ...], text: str) -> None:
    """Note it in the first file that can be written, whole or not at all, never through somebody else's link."""
    for path in files:
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(f"{path}.part", flags, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(f"{path}.part", path)
            return


def health(settings: Settings, environment: Mapping[str, str]) -> int:
    """Whether the running daemon makes progress: 0, or 1 with a reason."""
    notes = [read_text(path).partition(" ") for path in health_files(settings, environment)]
    ages = [(time.monotonic() - float(moment), words) for moment, _, words in notes if re.fullmatch(r"\d+\.\d", moment)]
    age, words = min(((age, words) for age, words in ages if age >= 0), default=(math.inf, ""))
    if age == math.inf:
        words = "no Sentinel runs here; is this the daemon's SENTINEL_STATE?"
    elif age > PULSE_LIMIT:
        words = f"Sentinel has not moved for {span(age)}"
    print(words)
    return int(words != "ok")


def fail_url(url: str) -> str:
    """The dead-man's switch's address for a failure: `/fail` before a query."""
    path, mark, query = url.partition("?")
    return f"{path}/fail{mark}{query}"


def ping(web: Web, url: str) -> Pinged:
    """Fetch the dead-man's switch."""
    answer = web.ask("GET", url)
    return Pinged("" if 200 <= answer.status < 300 else answer.why or f"it answers HTTP {answer.status}")


HTTP_PATIENCE, BODY_LIMIT = 5.0, 16 * 2**10


def serve(address: str, token: str, put: Callable[[Observation], None]) -> None:
    """Serve /healthz, /metrics, /status, /notify in threads; the main thread decides. OSError: no such address."""
    import socketserver
    from http.server import ThreadingHTTPServer  # only for those who want it: it takes time and memory

    def ask(path: str, words: Notice | None = None) -> tuple[int, str, str]:
        reply: queue.SimpleQueue[tuple[int, str, str]] = queue.SimpleQueue()
        put(Asked(path, reply.put, words))
        try:
            return reply.get(timeout=HTTP_PATIENCE)
        except queue.Empty:
            return 503, "text/plain", "Sentinel does not answer\n"

    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    server = type("Server", (ThreadingHTTPServer,), {
        "address_family": family, "daemon_threads": True, "server_bind": socketserver.TCPServer.server_bind,
        "handle_error": lambda *_: None})  # no name is looked up, and who hangs up early is no news
    listening = server((host.strip("[]"), int(port)), handler_of(token, ask))
    threading.Thread(target=listening.serve_forever, name="http", daemon=True).start()


def handler_of(token: str, ask: Callable[..., tuple[int, str, str]]) -> type:
    """What answers one HTTP request; `ask` has the main thread answer it."""
    from http.server import BaseHTTPRequestHandler

    class Handler(BaseHTTPRequestHandler):
        timeout = HTTP_PATIENCE

        def setup(self) -> None:
            super().setup()
            self.deadline = threading.Timer(2 * HTTP_PATIENCE, hang_up, [self.connection])  # for one that drips
            self.deadline.start()

        def finish(self) -> None:
            self.deadline.cancel()
            super().finish()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            self.answer(*(ask(path) if path in ("/healthz", "/metrics", "/status") else (404, "text/plain", "not found\n")))

        def do_POST(self) -> None:
            self.answer(*take_words(self.path, self.headers, self.rfile.read, token, ask))

        def answer(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            headers = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body)), "Connection": "close"}
            for name, value in (headers | ({"Retry-After": "60"} if status == 429 else {})).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a request is no news."""

    return Handler


def take_words(path: str, headers: Headers, read: Callable[[int], bytes], token: str,
               ask: Callable[[str, Notice], tuple[int, str, str]]) -> tuple[int, str, str]:
    """`POST /notify`: the answer to somebody's own words. Without a token there is no such place."""
    length = headers.get("Content-Length", "")
    size = int(length) if re.fullmatch(r"[0-9]{1,100}", length) else -1
    if path.partition("?")[0] != "/notify" or not token:
        return 404, "text/plain", "not found\n"
    if not hmac.compare_digest(headers.get("Authorization", "").encode(), f"Bearer {token}".encode()):
        return 401, "text/plain", "write Authorization: Bearer and SENTINEL_NOTIFY_TOKEN\n"
    if size < 0:
        return 400, "text/plain", "a Content-Length is needed\n"
    if size > BODY_LIMIT:
        return 413, "text/plain", f"at most {BODY_LIMIT} bytes\n"
    try:
        document = json.loads(read(size))
    except (ValueError, RecursionError, OSError):
        return 400, "text/plain", 'the body is no JSON; send {"title": "…", "message": "…", "level": "info"}\n'
    try:
        return ask("/notify", words_of(document))
    except ValueError as error:
        return 400, "text/plain", f"{error}\n"


def words_of(document: JSON) -> Notice:
    """Somebody's own words: `{"title", "message", "level"}`. ValueError where they are not that."""
    title, message = (clean(text_at(document, name)).strip() for name in ("title", "message"))
    level = at(document, "level") or "info"
    if not title or len(title) > NOTE_TITLE:
        raise ValueError(f"title: a text of 1 to {NOTE_TITLE} characters")
    if not message or len(message) > NOTE_TEXT:
        raise ValueError(f"message: a text of 1 to {NOTE_TEXT} characters")
    if level not in OTHERS:
        raise ValueError(f"level: one of {', '.join(OTHERS)}")
    return Notice(Verdict(level), redact(title), 0.0, plan=redact(message))


class Daemon:
    """Threads at the edges, one inbox, one decider."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.engine = engine_of(settings, environment)
        self.engine.heals = settings.restart
        self.watchdog = Watchdog(settings)
        self.ledger = Ledger(state_folder(settings, environment), self.mask)
        self.channels = {channel.name: channel for channel in channels_of(settings, environment)}
        self.outboxes = {name: Outbox(name, channel.edits, settings.chain) for name, channel in self.channels.items()}
        self.notices = 0
        self.reds: dict[int, int] = {}  # outages that go on → the notices that tell of them
        self.kept: set[int] = set()  # outages that the ledger holds
        self.given_up: set[int] = set()  # outages of which that was said
        self.greeted, self.heartbeat_why = not settings.greet, ""
        self.offset = 0.0  # what turns monotonic moments into calendar time
        self.tag = os.urandom(3).hex()  # of this ledger: two of them number their notices alike
        self.manager, self.journal = Manager(environment), journal_is(environment, 2)
        self.web = Web(environment)
        self.health_files = health_files(settings, environment)
        self.pulse_at = self.heartbeat_at = self.prune_at = 0.0
        self.began: dict[str, deque[float]] = {name: deque() for name in ("look", *self.channels)}  # jobs under way
        self.listed_at = time.monotonic()
        self.notes: deque[float] = deque(maxlen=NOTES)
        self.replies: list[Callable[[], None]] = []
        self.figures = Figures()
        self.inbox: queue.SimpleQueue[Observation] = queue.SimpleQueue()
        self.lanes: dict[str, queue.SimpleQueue[Any]] = {
            lane: queue.SimpleQueue() for lane in (*LANES, "events", "heartbeat", *self.channels)}

    def run(self) -> int:
        """Watch until asked to stop, or until something breaks."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: self.inbox.put(StopAsked(number)))
        self.log("info", f"Sentinel {__version__} watches {self.engine.host}; alerts go to {', '.join(self.channels)}")
        try:
            self._remember()
        except LedgerError as error:
            self.log("error", str(error))
            return ExitCode.BAD_SETTINGS
        self._start_workers()
        self._perform(self.watchdog.begin())
        self.manager.say("READY=1")
        while True:
            actions: list[Action] = []
            batch = self._wait()
            self._read_mutes(time.monotonic())
            for seen in batch:
                if isinstance(seen, StopAsked):
                    return self._leave(actions)
                if isinstance(seen, Crashed):
                    return self._broke(seen)
                actions += self._observed(seen)
            actions += self.watchdog.tick(time.monotonic())
            actions += self._greet()
            self._decided(actions)
            self._pulse(time.monotonic())

    def _observed(self, seen: Observation) -> Iterable[Action]:
        match seen:
            case Delivered():
                return self._delivered(seen)
            case Asked():
                self._asked(seen)
                return []
            case Pinged():
                news, self.heartbeat_why = seen.why != self.heartbeat_why, seen.why
                return [Log("warning", f"heartbeat: {seen.why}")] if seen.why and news else []
        self._moved(seen)
        return self.watchdog.observe(seen, time.monotonic())

    def _broke(self, seen: Crashed) -> int:
        """End with the reason, so that the supervisor starts it again from durable state."""
        self.log("error", f"the worker {seen.worker} broke: {seen.report}")
        if self.settings.heartbeat_url:
            ping(self.web, fail_url(str.__str__(self.settings.heartbeat_url)))
        return ExitCode.CRASHED

    def _decided(self, actions: list[Action]) -> None:
        """Make durable what was decided and what is to be told, then do it."""
        now = time.monotonic()
        for key in self.watchdog.deaths:
            self.figures.count("deaths", self.watchdog.services.get(key))
        self.watchdog.deaths.clear()
        for action in actions:
            if isinstance(action, Tell):
                self._tell(action.notice)
            elif isinstance(action, Amend):
                self._amend(action.notice, now)
        if self.settings.chain:
            escalate(list(self.outboxes.values()), now)
        if not self._held(now):
            jitter = int.from_bytes(os.urandom(1)) / 256
            jobs = [outbox.take(now, self.watchdog.host, jitter) for outbox in self.outboxes.values()]
            actions += [replace(job, nonce=f"{self.tag}-{job.nonce}") for job in jobs if job]
        self._save(now)
        self._perform(actions)
        for reply in self.replies:
            reply()
        self.replies.clear()

    def _held(self, now: float) -> bool:
        """Whether alerts still wait for company: what happened while Sentinel was away is told in one message."""
        return self.watchdog.catching_up and now < self.watchdog.began_at + CATCH_UP

    def _wait(self) -> list[Observation]:
        """Everything in the inbox, at the latest when something becomes due."""
        now = time.monotonic()
        dues = [due for due in (self.watchdog.next_due_at(), self.ledger.retry_at or None, self.pulse_at)
                if due is not None]
        if self._held(now) or self.settings.chain or self.watchdog.mutes:
            dues.append(now + 1.0)
        if not self._held(now):
            dues += [due for outbox in self.outboxes.values() if (due := outbox.next_due_at(now)) is not None]
        batch: list[Observation] = []
        with contextlib.suppress(queue.Empty):
            batch.append(self.inbox.get(timeout=max(0.0, min([60.0, *(due - now for due in dues)]))))
            while True:
                batch.append(self.inbox.get_nowait())
        return batch

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Log():
                    self.log(action.level, action.text)
                case CloseStream():
                    self.engine.close_stream()
                case Subscribe():
                    self.lanes["events"].put(action)
                case Restart():
                    self.figures.count("restarts", self.watchdog.services.get(action.key))
                    self.lanes["restart" if action.alive else "start"].put(action)
                case Look() | List():
                    self.began["look"].append(time.monotonic())
                    self.lanes["look"].put(action)
                case Deliver():
                    self.began[action.channel].append(time.monotonic())
                    self.lanes[action.channel].put(action)

    # Whether all goes on, and who wants to know

    def _moved(self, seen: Observation) -> None:
        """Note what an answer says about the workers."""
        if isinstance(seen, Looked | Listed | ListFailed) and self.began["look"]:
            self.began["look"].popleft()
        if isinstance(seen, Listed | ListFailed):
            self.listed_at = time.monotonic()
        if isinstance(seen, StreamOpened):
            self.figures.streams += 1

    def stuck(self, now: float) -> str:
        """Who does not get on with its work, empty for nobody; an engine or Discord that is away is no trouble of ours."""
        limits = {"look": LOOK_LIMIT}
        late = [name for name, began in self.began.items() if began and now - began[0] > limits.get(name, COURIER_LIMIT)]
        if now - self.listed_at > self.settings.poll_interval + LIST_LIMIT:
            late.append("listing")
        return f"no progress: {listed(late)}" if late else ""

    def _pulse(self, now: float) -> None:
        """Tell those who watch Sentinel that it gets on, or what does not."""
        if now < self.pulse_at:
            return
        self.pulse_at = now + min(PULSE, self.manager.interval or PULSE)
        stuck = self.stuck(now)
        write_health(self.health_files, f"{math.floor(now * 10) / 10:.1f} {stuck or 'ok'}")
        states = [service.phase for service in self.watchdog.services.values()]
        down = sum(phase in (Phase.WAITING, Phase.RESTARTING, Phase.GAVE_UP) for phase in states)
        where = f"the engine does not answer ({self.watchdog.lost_why})" if self.watchdog.lost_at is not None else (
            f"watching {counted(len(states), 'service')}, {down} down")
        self.manager.say(f"STATUS={stuck or where}", *(["WATCHDOG=1"] if not stuck else []))
        if self.settings.heartbeat_url and now >= self.heartbeat_at and not stuck:
            self.heartbeat_at = now + HEARTBEAT_EVERY
            self.lanes["heartbeat"].put(str.__str__(self.settings.heartbeat_url))

    def _asked(self, seen: Asked) -> None:
        """Answer the local HTTP server; words of others are answered for once they are durable."""
        now = time.monotonic()
        if seen.words:
            if len(self.notes) == NOTES and now - self.notes[0] < NOTES_SPAN:
                seen.reply((429, "text/plain", "too many; try again in a minute\n"))
                return
            if self.ledger.trouble:
                seen.reply((503, "text/plain", "the ledger can't be written, so nothing is promised\n"))
                return
            self.notes.append(now)
            self._tell(replace(seen.words, at=now))
            self.replies.append(lambda: seen.reply((202, "text/plain", "taken\n")))
        elif seen.path == "/healthz":
            stuck = self.stuck(now)
            seen.reply((503 if stuck else 200, "text/plain", f"{stuck or 'ok'}\n"))
        elif seen.path == "/metrics":
            seen.reply((200, "text/plain; version=0.0.4", metrics(self.watchdog, self.outboxes, self.figures, now)))
        else:
            document = status_document(self.watchdog, self.outboxes, self.offset)
            seen.reply((200, "application/json", json.dumps(document, ensure_ascii=False) + "\n"))

    # What is told

    def _keep(self, notice: Notice, number: int) -> Notice:
        """A notice with its number, without secrets, and durable."""
        logs = tuple(self.mask(line) for line in notice.logs)
        notice = replace(notice, id=number, logs=logs, error=self.mask(notice.error), name=self.mask(notice.name),
                         plan=self.mask(notice.plan))
        self._put_notice(notice)
        return notice

    def _put_notice(self, notice: Notice) -> None:
        self.ledger.put("notice", str(notice.id), notice_record(notice, self.offset), notice.at + self.offset)

    def _amend(self, notice: Notice, now: float) -> None:
        """What was told of an outage reads otherwise now, wherever that can be."""
        if number := self.reds.get(notice.incident):
            notice = self._keep(notice, number)
            for outbox in self.outboxes.values():
                outbox.amend(notice, now)
            if notice.verdict is Verdict.GAVE_UP and notice.open:
                self._gave_up(notice)
            if not notice.open:
                self.given_up.discard(notice.incident)
                del self.reds[notice.incident]
                self._let_go({int(key) for kind, key in self.ledger.alive if kind == "notice" and key.isdecimal()})

    def _gave_up(self, notice: Notice) -> None:
        if notice.incident not in self.given_up:
            self.given_up.add(notice.incident)
            self.log("error", f"[{notice.verdict}] {headline(notice)}")
            if self.settings.heartbeat_url:
                self.lanes["heartbeat"].put(fail_url(str.__str__(self.settings.heartbeat_url)))

    def _let_go(self, numbers: set[int]) -> None:
        """Notices that no channel needs any more are kept by the ledger alone."""
        needed = {notice.id for notice in self._unfinished()}
        for number in numbers - needed - set(self.reds.values()):
            self.ledger.release("notice", str(number))

    def _tell(self, notice: Notice, without: str = "") -> None:
        """Number a notice, and put it into the outbox of each channel, or of the first of a chain."""
        self.notices += 1
        notice = self._keep(notice, self.notices)
        if notice.open:
            self.reds[notice.incident] = notice.id
        if notice.container and notice.uptime is not None and notice.container.finished_time:
            self.figures.detection.add(time.time() - notice.container.finished_time)
        if notice.verdict is Verdict.GAVE_UP:
            self._gave_up(notice)
        words = (f"[{notice.verdict}] {headline(notice)}", cause_words(notice), notice.plan)
        self.log("info" if notice.verdict in COLOURS else "error", ". ".join(filter(None, words)))
        for outbox in list(self.outboxes.values())[: 1 if self.settings.chain else None]:
            if self.settings.chain or (not outbox.dead and outbox.channel != without):
                outbox.waiting.append(notice)

    def _delivered(self, seen: Delivered) -> list[Log]:
        """A message's fate: note who has been told, and tell the others of a channel that is lost."""
        seen = replace(seen, why=self.mask(seen.why))  # a bridge may well quote its token
        outbox = self.outboxes[seen.channel]
        self.began[seen.channel].clear()
        lost_before = outbox.dead
        done, logs = outbox.settle(seen, time.monotonic())
        told = [notice.id for notice in done]
        for number in told:
            state = {"message": seen.message, "why": seen.why if seen.fate is not Fate.SENT else ""}
            self.figures.delivery.add(time.monotonic() - next(notice.at for notice in done if notice.id == number))
            self.ledger.put("delivery", f"{number}/{seen.channel}", state, time.time())
        if self.settings.chain and seen.channel != Drop.name:
            for other in (other for other in self.outboxes.values() if other is not outbox):
                other.discard(set(told))
        self._let_go({notice.id for notice in (*outbox.sent, *done)})
        if outbox.dead and not lost_before and len(self.outboxes) > 1:
            self._tell(Notice(Verdict.CHANNEL_LOST, seen.channel, time.monotonic(), error=seen.why), seen.channel)
        return logs

    def _greet(self) -> list[Action]:
        """Once it is known how things stand: one summary, unless the same was said just before a restart."""
        now, now_time = time.monotonic(), time.time()
        if self.greeted or self.watchdog.initial is None or self._held(now):
            return []
        self.greeted = True
        notice = greeting(self.watchdog, [*self.channels], self._degraded(), now, now_time)
        before = self.ledger.records("meta").get("greeting")
        said = re.sub(r"\d+[smhd]\w*", "", json.dumps(notice.facts))  # but for how long
        self.ledger.put("meta", "greeting", [said, now_time], now_time)
        again = fits(before, ["", 0.0]) and before[0] == said and now_time - before[1] < GREET_AGAIN  # type: ignore[index]
        return [] if again else [Tell(notice)]

    def _degraded(self) -> str:
        """What does not work as it should, and what follows from it."""
        return "; ".join(filter(None, (
            "events are refused, so deaths are found by listing" if self.watchdog.refused else "",
            f"tell only: {self.engine.tell_only}" if self.engine.tell_only else "",
            f"no ledger: {self.ledger.trouble}" if self.ledger.trouble else "",
            *(f"{name} takes no alerts: {outbox.dead}" for name, outbox in self.outboxes.items() if outbox.dead))))

    # What is remembered

    def _read_mutes(self, now: float) -> None:
        """Take over what `mute` and `unmute` have written, before anything else is decided."""
        self._set_offset(now)
        if self.ledger.changed_outside():
            mutes = mutes_of(self.ledger, self.offset)
            if self.ledger.database:  # else it could not be read, which ends no mute
                self.watchdog.mute(mutes, now)
        while self.ledger.odd:
            self.log("warning", f"ledger: the record of {self.ledger.odd.pop()} makes no sense and is left out")

    def _set_offset(self, now: float) -> None:
        """Follow the calendar clock, but not from one tick to the next: no record shall change by that alone."""
        if abs(time.time() - now - self.offset) > OFFSET_ERROR:
            self.offset = self.watchdog.calendar_offset = time.time() - now

    def _remember(self) -> None:
        """Open the ledger and take up what it holds. LedgerError: it belongs to somebody else."""
        if warning := self.ledger.open():
            self.log("warning", f"ledger: {warning}")
        now, now_time = time.monotonic(), time.time()
        self._set_offset(now)
        meta = self.ledger.records("meta")
        self.offset = max(self.offset, self.ledger.newest() - now)  # else all is to come, after a clock that was ahead
        revived = self._revived("outage", lambda key, document: outage_of(int(key), document, self.offset))
        outages: dict[int, Outage] = {outage.number: outage for outage in revived}
        self.kept = set(outages)
        services = self._revived("service", lambda key, document: service_of(key, document, self.offset, self.settings,
                                                                             outages))
        self._remember_notices(outages, whole_at(meta, "notices"))
        self.tag = text_at(meta, "tag") or self.tag
        for channel in self.channels.values():
            if isinstance(channel, Webhook):
                channel.keep_to(text_at(meta, "thread"))
        position, remind = at(meta, "position"), at(meta, "remind")
        self.watchdog.restore(services, outages, text_at(meta, "engine"),
                              position if isinstance(position, float) else 0.0, whole_at(meta, "incidents"), now, now_time)
        if fits(end := at(meta, "end"), [0.0, 0.0, 0.0]):
            self.watchdog.resume_end(end[0], end[1], end[2] > 0, now)
        if isinstance(remind, float) and 0 < remind < 1e11 and self.settings.remind:
            self.watchdog.due["remind", ""] = remind - self.offset
        self._set_offset(now)
        self.ledger.put("meta", "began", now_time, now_time)
        self._read_mutes(now)

    def _revived(self, kind: str, revive: Callable[[str, JSON], Any]) -> list[Any]:
        """What the records of a kind stand for; one that makes no sense is left out, which is said."""
        found = []
        for key, document in self.ledger.records(kind).items():
            try:
                found.append(revive(key, document))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                self.log("warning", f"ledger: the record of {kind} {key} makes no sense ({error!r}) and is left out")
        return found

    def _remember_notices(self, outages: Mapping[int, Outage], newest: int) -> None:
        """Fill the outboxes, and find which notices tell of what still goes on."""
        notices = self.ledger.records("notice")
        self.notices = max([newest, *(int(key) for key in notices if key.isdecimal())])
        for name, document in self.ledger.records("outbox").items():
            if name in self.outboxes and not fill_outbox(self.outboxes[name], document, notices, self.offset):
                self.log("warning", f"ledger: some alerts that waited for {name} make no sense and are left out")
        for notice in self._unfinished():
            self._put_notice(notice)
        for key, document in notices.items():
            if at(document, "open") is True and key.isdecimal() and whole_at(document, "incident") in outages:
                self.reds[whole_at(document, "incident")] = int(key)

    def _unfinished(self) -> list[Notice]:
        """Notices that wait in an outbox, or stand in a message that may still change."""
        return [notice for outbox in self.outboxes.values()
                for notices in (outbox.waiting, *(message.notices for message in outbox.posted.values()))
                for notice in notices]

    def _save(self, now: float, leaving: bool = False) -> None:
        """One transaction for everything that has changed since the last."""
        now_time = time.time()
        watchdog = self.watchdog
        for key in watchdog.touched:
            if service := watchdog.services.get(key):
                self.ledger.put("service", key, service_record(service, watchdog.due_of(service), self.offset), now_time)
            else:
                self.ledger.drop("service", key)
        watchdog.touched.clear()
        self._save_outages(now_time)
        for name, outbox in self.outboxes.items():
            self.ledger.put("outbox", name, outbox_record(outbox, self.offset), now_time)
        remind = watchdog.due.get(("remind", ""))
        facts = {"notices": self.notices, "incidents": watchdog.incidents, "engine": watchdog.engine_id, "tag": self.tag,
                 "end": watchdog.engine_end(leaving), "remind": round(remind + self.offset) * 1.0 if remind else 0}
        for name, value in facts.items():
            self.ledger.put("meta", name, value, now_time)
        for channel in self.channels.values():
            if isinstance(channel, Webhook) and channel.made_thread:
                self.ledger.put("meta", "thread", channel.made_thread, now_time)
        if self.ledger.unsaved:  # the events' position is no reason of its own to write
            self.ledger.put("meta", "position", watchdog.position, now_time)
        if words := self.ledger.commit(now):
            self.log("warning", f"ledger: {words}")
        if now >= self.prune_at:
            self.prune_at = now + 86400.0
            self.ledger.prune(now_time - self.settings.keep, now_time)
            self.figures.keep(watchdog.services.values())

    def _save_outages(self, now_time: float) -> None:
        outages = self.watchdog.outages
        for number, outage in outages.items():
            self.ledger.put("outage", str(number), outage_record(outage, self.offset), now_time)
        for number in self.kept - set(outages):
            self.ledger.drop("outage", str(number))
        self.kept = set(outages)

    def _leave(self, actions: list[Action]) -> int:
        """End within two seconds, what waits sent if the channels are quick; the ledger keeps the rest."""
        self.log("info", "asked to stop")
        self.manager.say("STOPPING=1")
        self._hear_out()
        self.engine.close_stream()
        until = time.monotonic() + 1.5
        self._decided([action for action in actions if isinstance(action, WORDS)])
        while any(outbox.busy for outbox in self.outboxes.values()) and (left := until - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                if isinstance(seen := self.inbox.get(timeout=left), Delivered):
                    self._decided(list(self._delivered(seen)))
        self._save(time.monotonic(), leaving=True)
        if waiting := sum(len(outbox.waiting) for outbox in self.outboxes.values()):
            self.log("info", f"{counted(waiting, 'alert')} not delivered yet; kept for the next start")
        return ExitCode.OK

    def _hear_out(self) -> None:
        """A last look at the stream: an engine that shuts down stops Sentinel's own container with all others."""
        until = time.monotonic() + LAST_WORDS
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                seen = self.inbox.get(timeout=left)
                if isinstance(seen, Heard | Delivered):
                    self._decided([action for action in self._observed(seen) if isinstance(action, WORDS)])

    def mask(self, text: str) -> str:
        """Text without Sentinel's own secrets: a container may well print them, too."""
        return mask(text, self.settings)

    def log(self, level: str, text: str) -> None:
        """One line to standard error, without any secret."""
        with contextlib.suppress(OSError):
            form = "journal" if self.journal and self.settings.log == "text" else self.settings.log
            print(log_line(level, self.mask(text), time.time(), form), file=sys.stderr, flush=True)

    # Workers: each takes one job, does one blocking thing, puts one value in the inbox

    def _start_workers(self) -> None:
        for lane, workers in LANES.items():
            for index in range(workers):
                self._worker(f"{lane}-{index + 1}", lane, self._engine_job)
        self._worker("events", "events", lambda job: self.engine.events(job.since, time.time, self.inbox.put))
        for name, channel in self.channels.items():
            self._worker(name, name, functools.partial(send, channel))
        self._worker("heartbeat", "heartbeat", lambda url: ping(self.web, url))
        if self.settings.listen:
            try:
                serve(self.settings.listen, str.__str__(self.settings.notify_token), self.inbox.put)
            except OSError as error:  # no reason to stop watching
                self.log("error", f"SENTINEL_LISTEN: {self.settings.listen} can't be had ({error.strerror or error});"
                                  " going on without it")

    def _worker(self, name: str, lane: str, work: Callable[[Any], Observation]) -> None:
        jobs = self.lanes[lane]

        def loop() -> None:
            try:
                while True:
                    self.inbox.put(work(jobs.get()))
            except BaseException:  # the top of a thread: whatever it is ends the process, with its reason
                self.inbox.put(Crashed(name, redact(traceback.format_exc())))

        threading.Thread(target=loop, name=name, daemon=True).start()

    def _engine_job(self, job: List | Look | Restart) -> Observation:
        match job:
            case List():
                return self.engine.list_all()
            case Look():
                return self.engine.look(job.id)
            case Restart():
                return self.engine.restart(job)


def send(channel: Channel, job: Deliver) -> Delivered:
    """Word a message and send it through a channel."""
    now = time.monotonic()
    return channel.send(job, message_of(job, now, time.time() - now))


# ─── Command line ─────────────────────────────────────────────────────────────────────────────────────────────


def recent_ends(engine: Engine, now_time: float) -> dict[str, bool]:
    """Who was asked to end, by the engine's last 256 events: container id → asked. Empty where events are refused."""
    try:
        body = engine.ask("GET", f"/events?since={now_time - 86400:.0f}&until={now_time:.9f}&filters={EVENT_FILTER}")
    except EngineError:
        return {}
    runs: dict[str, Run] = {}
    for line in body.splitlines():
        if event := event_of(json_in(line)):
            run = runs[event.id] = note(runs.get(event.id, Run()), event)
            if event.action == "die":
                run.death = Death(event.time, 0.0, event.exit_code, run)
    return {container_id: intent_of(run.death, Container(container_id), final=True) is Intent.OPERATOR
            for container_id, run in runs.items() if run.death}


def watched_now(engine: Engine, settings: Settings) -> list[tuple[Container, bool]]:
    """Every watched container, and whether it is a job."""
    me = own_container(engine)
    policies = [(container, policy_of(container, settings, me)[0]) for container in engine.containers()]
    watched = [(container, policy) for container, policy in policies if policy.watch]
    awaited = {(container.project, name) for container, _ in watched for name in waits_for_end(container)}
    return [(container, bool(policy.job) or (container.project, container.service) in awaited)
            for container, policy in watched]


def check(settings: Settings, environment: Mapping[str, str], wanted: list[str], form: str) -> int:
    """Look once: a table, JSON, or what Nagios reads (`form`); exits 0 ok, 1 warning, 2 critical, 3 unknown."""
    states: list[State] = []
    try:
        states, trouble = states_now(engine_of(settings, environment), settings, wanted)
    except (EngineError, SettingError) as error:
        trouble = [str(error)]
    worst = max((state.severity for state in states), default=3)
    worst = worst if worst == 2 or not trouble else 3
    if form == "nagios":
        print(nagios_text(states, worst, trouble))
        return worst
    for words in trouble:
        print(f"UNKNOWN: {words}", file=sys.stderr)
    if form == "json":
        print(json.dumps([asdict(state) for state in states], indent=1, ensure_ascii=False))
    elif states:
        print(state_table(states, time.time(), sys.stdout.isatty() and not environment.get("NO_COLOR")))
    return worst


def states_now(engine: Engine, settings: Settings, wanted: list[str]) -> tuple[list[State], list[str]]:
    """How what is watched stands, worst first, as far as it is wanted by its names; and what could not be found."""
    watched, ends = watched_now(engine, settings), recent_ends(engine, time.time())
    trouble = [f"no watched service is called {name}" for name in wanted
               if not any(name in container.called for container, _ in watched)]
    states = [state_of(container, job, ends.get(container.id)) for container, job in watched
              if not wanted or container.called & set(wanted)]
    if not states and not trouble:
        trouble = ["nothing is watched; compose containers are by default, see SENTINEL_WATCH"]
    return sorted(states, key=lambda state: (-state.severity, state.name)), trouble


EPILOGUE = """\
examples:
  sentinel.py                                  watch; alerts go to the terminal
  DISCORD_WEBHOOK_URL=… sentinel.py            watch; alerts go to Discord
  sentinel.py check shop                       look once at the project shop
  sentinel.py test                             a red and a green sample through every channel

exit codes: 0 asked to stop, 70 something broke (start it again), 78 settings that make no sense;
check exits 0 ok, 1 warning, 2 critical, 3 unknown. Secrets come from variables or files, never from flags.
"""


def test_channels(settings: Settings, environment: Mapping[str, str]) -> int:
    """Send a red and a green sample through every channel: 0 if all took them, 1 if not."""
    failed = False
    for channel in channels_of(settings, environment):
        now = time.monotonic()
        host, nonce = settings.host or socket.gethostname(), f"test{os.urandom(6).hex()}"
        seen = send(channel, Deliver(channel.name, tuple(samples(now)), host, nonce))
        failed = failed or seen.fate is not Fate.SENT
        where = f" to {seen.where}" if seen.where else ""
        print(f"{channel.name}: delivered{where} in {(time.monotonic() - now) * 1000:.0f} ms" if seen.fate is Fate.SENT
              else f"{channel.name}: not delivered: {redact(mask(seen.why, settings))}")
    return int(failed)


def ledger_to_read(settings: Settings, environment: Mapping[str, str]) -> Ledger | None:
    """The ledger, opened beside the daemon that writes it; None where there is none."""
    ledger = Ledger(state_folder(settings, environment))
    try:
        ledger.database = sqlite3.connect(f"file:{urllib.parse.quote(ledger.path)}?mode=ro", uri=True, timeout=2.0)
    except sqlite3.Error:
        return None
    return ledger


def history(settings: Settings, environment: Mapping[str, str], as_json: bool) -> int:
    """Past and open incidents, as the ledger has them; it may be read beside the daemon."""
    ledger = ledger_to_read(settings, environment)
    if ledger is None:
        print(f"no history yet: there is no ledger in {state_folder(settings, environment)}", file=sys.stderr)
        print("[]" if as_json else "", end="")
        return 0
    incidents = incidents_of(ledger.records("notice"), ledger.records("delivery"), ledger.records("outbox"))
    if ledger.trouble:
        print(ledger.trouble, file=sys.stderr)
    print(json.dumps(incidents, indent=1, ensure_ascii=False) if as_json else history_table(incidents))
    return 0


def mute(settings: Settings, environment: Mapping[str, str], wanted: list[str], seconds: float) -> int:
    """Have names left alone for so long (0: no longer), through the ledger; the daemon sees it at once. 1 if it can't be."""
    path = os.path.join(state_folder(settings, environment), "sentinel.db")
    try:
        database = sqlite3.connect(f"file:{urllib.parse.quote(path)}?mode=rw", uri=True, timeout=5.0, isolation_level=None)
        known = known_names(database)
        muted = {key for (key,) in database.execute("SELECT key FROM record WHERE kind = 'mute'")}
        if not seconds and "all" not in wanted and (loud := [name for name in wanted if name in known - muted]):
            others = f"; muted are {listed(sorted(muted))}" if muted else ""
            raise LedgerError(f"no mute names {listed(loud)}{others}")
        if unknown := [name for name in wanted if name not in known]:
            raise LedgerError(f"nothing that is watched is called {unknown[0]}{nearest(unknown[0], known)}")
        until = time.time() + seconds
        for name in wanted:
            if seconds:
                database.execute("INSERT OR REPLACE INTO record VALUES ('mute', ?, ?, ?)", (name, until, json.dumps(until)))
            else:
                database.execute("DELETE FROM record WHERE kind = 'mute' AND (key = ? OR ? = 'all')", (name, name))
        database.close()
    except (sqlite3.Error, LedgerError) as error:
        foreign = f"the ledger {path} can't be used ({error}); is this the daemon's SENTINEL_STATE?"
        print(error if isinstance(error, LedgerError) else foreign, file=sys.stderr)
        return 1
    end = datetime.fromtimestamp(until).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    print(f"{listed(wanted)}: neither alerts nor restarts until {end}" if seconds else f"{listed(wanted)}: watched again")
    return 0


def known_names(database: sqlite3.Connection) -> set[str]:
    """Every name by which the services of a ledger can be meant."""
    known = {"all"}
    for key, text in database.execute("SELECT key, value FROM record WHERE kind IN ('service', 'mute')"):
        made = at(json_in(text), "container")
        known |= {key} | Container("", text_at(made, "name"), labels_at(made, "labels")).called
    return known


class Parser(argparse.ArgumentParser):
    """Usage errors in one line: exit 2, or 3 for `check`, where 2 would read as critical."""

    def error(self, message: str) -> NoReturn:
        if "check" in sys.argv[1:] and "--nagios" in sys.argv[1:]:
            print(f"SENTINEL UNKNOWN: {message}")
        self.exit(3 if "check" in sys.argv[1:] else 2, f"{self.prog}: {message}; see --help\n")


COMMANDS = ("watch", "check", "test", "health", "history", "mute", "unmute", "explain")


def command_line() -> Parser:
    """The commands, and a flag for every setting that is no secret."""
    parser = Parser("sentinel.py", description="Watch containers, tell Discord when one dies, bring it back.",
                    epilog=EPILOGUE, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"Sentinel {__version__} (Python {sys.version.split()[0]})")
    parser.add_argument("command", nargs="?", default="watch", choices=COMMANDS, help="what to do (watch)")
    parser.add_argument("names", nargs="*", metavar="NAME", help="containers, services or projects: check and explain these"
                        " alone; mute NAME… DURATION, unmute NAME…, where `all` means all")
    parser.add_argument("--json", action="store_true", help="check, history: as JSON")
    parser.add_argument("--nagios", action="store_true", help="check: one line, figures, and more lines, as Nagios reads")
    for name, meta in options():
        if not meta["secret"]:
            parser.add_argument(flag_name(meta["variable"]), dest=name, metavar="…",
                                help=f"{meta['meaning'].replace('`', '')} [{meta['variable']}]")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command, give its exit code."""
    arguments = command_line().parse_intermixed_args(argv)
    command, form = arguments.command, "nagios" if arguments.nagios else "json" if arguments.json else "table"
    heartbeat_url = ""
    try:
        settings, warnings = load_settings(vars(arguments), os.environ, read_setting_file)
        if command == "watch" and __name__ == "__main__":
            relaunch()
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        heartbeat_url = str.__str__(settings.heartbeat_url) if command == "watch" else ""
        return commands(settings, arguments.names, form)[command]()
    except SettingError as error:
        nagios = command == "check" and form == "nagios"
        print(nagios_text([], 3, list(error.args)) if nagios else "\n".join(error.args), file=None if nagios else sys.stderr)
        return 3 if command == "check" else ExitCode.BAD_SETTINGS
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # as `check | head` ends it
        return ExitCode.OK
    except Exception:
        print(redact(traceback.format_exc()), file=sys.stderr)
        if heartbeat_url:
            ping(Web(os.environ), fail_url(heartbeat_url))
        return ExitCode.CRASHED


def commands(settings: Settings, names: list[str], form: str) -> dict[str, Callable[[], int]]:
    """What each command runs."""
    return {
        "check": lambda: check(settings, os.environ, names, form),
        "test": lambda: test_channels(settings, os.environ),
        "health": lambda: health(settings, os.environ),
        "history": lambda: history(settings, os.environ, form == "json"),
        "mute": lambda: mute_command(settings, names, True),
        "unmute": lambda: mute_command(settings, names, False),
        "explain": lambda: explain(settings, os.environ, names),
        "watch": lambda: Daemon(settings, os.environ).run()}


LONGEST_MUTE = 366 * 86400.0


def mute_command(settings: Settings, words: list[str], on: bool) -> int:
    """`mute NAME… DURATION`, `unmute NAME…`; 1 where it is called otherwise."""
    try:
        seconds = min(interval(words[-1]), LONGEST_MUTE) if on and len(words) > 1 else 0.0
    except ValueError as error:
        print(f"mute: {error}", file=sys.stderr)
        return 1
    names = words[:-1] if on else words
    if not names:
        print("write mute NAME DURATION, as in: mute shop 30m; or mute all 1h" if on else "write unmute NAME, or unmute all",
              file=sys.stderr)
        return 1
    return mute(settings, os.environ, names, seconds)


def explain(settings: Settings, environment: Mapping[str, str], wanted: list[str]) -> int:
    """For each container what is done about it and why, then the settings; 1 if the engine can't be asked."""
    engine = engine_of(settings, environment)
    try:
        me, containers = own_container(engine), engine.containers()
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    now = time.monotonic()
    watchdog = remembered_watchdog(settings, environment, me, now)
    chosen = [container for container in containers if not wanted or container.called & set(wanted)]
    watchdog.adopt_all(containers, now)
    for container in sorted(chosen, key=lambda container: container.name):
        watched, why = scope_of(container, settings, me)
        service = watchdog.services.get(container.key)
        unwatched = [container.name, f"  {'watched:':15}no: {why}"]
        print("\n".join(explanation(service, why, watchdog, now) if watched and service else unwatched))
    missing = [name for name in wanted if not any(name in container.called for container in containers)]
    for name in missing:
        print(f"no container is called {name}", file=sys.stderr)
    if not wanted:
        print("\n".join(["settings", *(f"  {line}" for line in settings_lines(settings))]))
    return int(bool(missing))


def remembered_watchdog(settings: Settings, environment: Mapping[str, str], me: str, now: float) -> Watchdog:
    """A watchdog that knows what the daemon's ledger knows, if there is one; it decides nothing."""
    watchdog, offset = Watchdog(settings), time.time() - now
    watchdog.me, watchdog.calendar_offset = me, offset
    if ledger := ledger_to_read(settings, environment):
        for key, document in ledger.records("service").items():
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
                service, _ = service_of(key, document, offset, settings, {})
                watchdog.enter(service)
        watchdog.mutes = mutes_of(ledger, offset)
    return watchdog


def relaunch() -> None:
    """Become the same process that has not compiled this file: CPython keeps the syntax tree of a script, a fifth of
    the daemon's memory, for as long as the script runs, and compiling leaves as much in pieces. The code goes along."""
    frame = sys._getframe()
    while frame.f_back and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    if frame.f_globals is globals() and hasattr(os, "memfd_create") and sys.executable and sys.argv[0] in sys.orig_argv:
        with contextlib.suppress(OSError):  # a sandbox may forbid it: then it goes on as it is
            os.pwrite(code := os.memfd_create("sentinel", 0), marshal.dumps(frame.f_code), 0)
            for variable, value in (("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "65536")):  # glibc: what a
                os.environ.setdefault(variable, value)  # listing took is given back, a thirtieth of the daemon
            flags = sys.orig_argv[1 : sys.orig_argv.index(sys.argv[0])]
            os.execv(sys.executable, [sys.executable, *flags, "-c", RELAUNCHED.format(code=code), *sys.argv[1:]])


RELAUNCHED = ("import marshal, sys, types; sentinel = sys.modules['sentinel'] = types.ModuleType('sentinel'); "
              "exec(marshal.loads(open({code}, 'rb').read()), vars(sentinel)); sys.exit(sentinel.main())")


if __name__ == "__main__":
    sys.exit(main())
