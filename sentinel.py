#!/usr/bin/env python3
"""Sentinel watches the containers of a Docker Engine, and tells Discord when one is down.

It finds every compose container by itself, sees a death the moment it happens, says why in red,
brings the container back, proves that it stays, and says so in green. One file, Python 3.11 or
newer, standard library only: nothing that it watches can take it down.

    python3 sentinel.py           watch; DISCORD_WEBHOOK_URL says where alerts go, else the terminal
    python3 sentinel.py check     look once: a table, and 0, 1, 2 or 3 as Nagios plugins exit
    python3 sentinel.py test      a red and a green sample through every channel
    python3 sentinel.py explain   what is done about each container, and why

  event stream ──┐                                                ┌─> workers: list, look, restart
  engine workers ┼─> inbox (a queue) ─> decide (pure) ─> actions ─┼─> ledger: one SQLite transaction
  couriers ──────┤     ^                                          ├─> couriers, one a channel
  gateway, HTTP ─┤     │                                          ├─> answers to commands
  signals ───────┘     └── get(timeout = next deadline)           └─> log, supervisor, heartbeat

Only the main thread decides. A worker takes one job, does one blocking thing and puts one value in
the inbox. Waiting is data (a due time), never a sleep. Listing is the truth; an event says at once
what the next listing would say late. What breaks unexpectedly ends the process with a reason, and
its supervisor starts it again.

An observation goes one way through the deciding sections:

  observation ─> Stream, Engine link  is it news, and is the engine there?
              ─> Runs                 what does it prove of this life of the container?
              ─> Services, Roster     whose is it, and who needs whom?
              ─> Sights               what does it show, and which step is that in this phase?
              ─> Lives                what becomes of the service?
              ─> Stories, Outages     what is to be told?
              ─> Orders               what is to be done at the edges?
  a due time  ─> Watchdog.tick ─> the part whose rule it is

The machines, their states, and where each is kept:

  a service's life    Phase: up, suspect, restarting, proving, backoff, held, left to docker,
                      gave up, stopped, missing, gone. `Watched.phase`, moved along MOVES.
  an end of a run     unknown, pending, judged. `Run.end` and `Run.judged`; Lives judges.
  a deploy            none, a successor seen, the successor lost. `Watched.deploy`, by Roster.
  a mute              Hush: none, standing, down, died. `Watched.hush`, begun by Mutes, ended by
                      Silences.
  an outage           Standing: untold, told, carried. `Outage.standing`, by Outages.
  the engine          Presence: unmet, absent, here, away, settling. `Link.presence`, by its link.
  its event stream    Flow: closed, open, refused. `Stream.flow`, by Engine link.
  a message           waits, in flight, to be repeated, told, to be edited. `Outbox`, in Telling.
  another host        here, dark, at rest. `Host.state`, by Fleet.
  a channel's line    closed, open, in use. `Line`, in HTTP.
  Discord's gateway   Stage: apart, opening, joining, here, refused. `Session.stage`, by itself.

Sections, each using only what stands above it: Settings, Vocabulary, Messages, Reading, Text,
Memory, Timers, Services, Runs, Mutes, Stream, Absences, Engine link, Outages, Stories, Healing,
Lives, Settling, Dependants, Roster, Sights, Events, Silences, Roll calls, Fleet, Watchdog, Telling,
Cards, Discord's form, Terminal's form, States, Explaining, Figures, History, Drill, Gateway
session, Interactions, Answers, Commands, (the line of purity), Codec, Ledger, HTTP, Own container,
Engine, Addresses, Discord, Channels, Rolls, WebSocket, Gateway, Supervision, Lanes, Books, Post,
Roll desk, Pulse, Front desk, Daemon, Drilling, Checking, Other commands, Command line.
Durations are seconds. A name that is `at` or ends in `_at` is a moment on the monotonic clock; one
ending in `_time` is calendar time, as the engine writes it (Unix seconds).
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - all below is such that older ones come to here
    print(
        "Sentinel needs Python 3.11 or newer, and this is {}.{}.{}: install python3.11 (Ubuntu"
        " 22.04: apt install python3.11) or get it from https://www.python.org/downloads/".format(
            *sys.version_info
        ),
        file=sys.stderr,
    )
    sys.exit(78)

import argparse
import base64
import bisect
import contextlib
import difflib
import email.message
import email.utils
import fcntl
import functools
import hashlib
import hmac
import http
import http.client
import importlib.util
import io
import itertools
import json
import math
import os
import queue
import re
import select
import shlex
import signal
import socket
import sqlite3
import ssl
import textwrap
import threading
import time
import traceback
import types
import typing
import urllib.parse
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum, StrEnum, auto
from typing import Any, NoReturn, Self

__version__ = "0.1.0"

# ─── Settings ─────────────────────────────────────────────────────────────────────────────────────


class SettingError(ValueError):
    """One or more settings make no sense; each argument is a line that begins with the name the
    user wrote. `warnings`: what is odd besides."""

    warnings: Sequence[str] = ()


class Secret(str):
    """A text that shows itself only where it is used: repr and formatting give a mask."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'" if self else "''"

    def __format__(self, spec: str) -> str:
        return format("***" if self else "", spec)

    @property
    def bare(self) -> str:
        """The secret itself, for whoever it is meant for."""
        return str.__str__(self)


DURATION = re.compile(
    r"(?:(\d{1,5})d)?(?:(\d{1,7})h)?(?:(\d{1,8})m)?(?:(\d{1,9}(?:\.\d+)?)s)?", re.ASCII
)


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
    parts = (
        (whole // 86400, "d"),
        (whole // 3600 % 24, "h"),
        (whole // 60 % 60, "m"),
        (whole % 60, "s"),
    )
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


BOOLEANS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(
    ("false", "no", "off", "0"), False
)


def boolean(text: str) -> bool:
    """True or False from the words that people write for them."""
    if (word := text.strip().lower()) in BOOLEANS:
        return BOOLEANS[word]
    raise ValueError(f"{text!r} is neither true nor false")


def maybe(text: str) -> bool | None:
    """True or False, None where it is left to Sentinel."""
    return boolean(text) if text.strip() else None


def count(text: str) -> int:
    """A whole number, zero or more."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


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
        raise ValueError(
            "ssh:// is not supported; forward the socket"
            " (ssh -L /tmp/docker.sock:/var/run/docker.sock HOST) and use unix:///tmp/docker.sock"
        )
    parts = urllib.parse.urlsplit(text)
    remote = parts.scheme in ("tcp", "http") and parts.hostname and not ODD.search(text)
    usable = parts.path if parts.scheme == "unix" else remote
    if text and (not usable or parts.port == 0):  # asking for a port that is none raises, too
        raise ValueError(
            f"{text!r} is no engine address; write unix:///var/run/docker.sock or tcp://HOST:2375"
        )
    return text


WEBHOOK = re.compile(
    r"(?P<prefix>.*?)(?:/api)?(?:/v\d+)?"
    r"/webhooks/(?P<id>\d+)/(?P<token>[\w-]+)(?:/(?:slack|github))?/?",
    re.ASCII,
)


def webhook(text: str) -> Secret:
    """A webhook URL as people paste it, brought to API v10. Without a version in its path Discord
    serves API v6, whose errors are opaque and whose waits may be in milliseconds; discordapp.com
    does not serve v10 at all; /slack and /github speak other languages."""
    if not text.strip():
        return Secret()
    if text.strip()[0] in "'\"":
        raise ValueError("its quotes are part of it; leave them out")
    parts = urllib.parse.urlsplit(text.strip())
    match = WEBHOOK.fullmatch(parts.path)
    if parts.scheme not in ("https", "http") or not parts.hostname or not match:
        raise ValueError(
            "this is no webhook URL; one looks like https://discord.com/api/webhooks/ID/TOKEN"
        )
    host = re.sub(r"\bdiscordapp\.com$", "discord.com", parts.netloc)
    thread = urllib.parse.parse_qs(parts.query).get("thread_id", [""])[0]
    query = f"?thread_id={urllib.parse.quote(thread)}" if thread else ""
    path = f"{match['prefix']}/api/v10/webhooks/{match['id']}/{match['token']}"
    return Secret(f"{parts.scheme}://{host}{path}{query}")


def address(text: str) -> str:
    """An http or https address, without the slash at its end."""
    parts = urllib.parse.urlsplit(text.strip())
    if text.strip() and (
        parts.scheme not in ("https", "http")
        or not parts.hostname
        or parts.port == 0
        or ODD.search(text.strip())
    ):
        raise ValueError(f"{text.strip()!r} is no address; write https://HOST/PATH")
    return text.strip().rstrip("/")


def needed(parse: Callable[[str], str]) -> Callable[[str], str]:
    """A parser of what can't be turned off."""

    def read(text: str) -> str:
        if not text.strip():
            raise ValueError("is empty; leave it out for its default")
        return parse(text)

    return read


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
        raise ValueError(
            f"{text.strip()!r} is no id; switch on developer mode in Discord and use Copy ID"
        )
    return text.strip()


def channel_word(text: str) -> str:
    """A channel's name, as Discord writes it, or its id."""
    word = re.sub(r"<#(\d+)>", r"\1", text.strip())
    word = re.sub(r"\s+", "-", word.lstrip("#").lower())
    if word and not re.fullmatch(r"[\w-]+", word):  # else Discord would make another name of it
        raise ValueError(f"{word!r} is no channel: a name has letters, digits, - and _")
    if len(word) > CHANNEL_NAME:
        raise ValueError(f"{word!r} is no channel: a name has at most {CHANNEL_NAME} characters")
    return word


CHANNEL_NAME = 100


def mention(text: str) -> str:
    """Who is pinged: <@USER>, <@&ROLE>, @here, @everyone, or a bare role id."""
    words = [f"<@&{word}>" if word.isdecimal() else word for word in text.split()]
    if bad := [
        word
        for word in words
        if not re.fullmatch(r"<@[&!]?[1-9][0-9]{4,18}>|@here|@everyone", word)
    ]:
        raise ValueError(
            f"{bad[0]!r} is no mention; write <@USER>, <@&ROLE>, @here, or a role's id"
        )
    return " ".join(words)


def operators(text: str) -> tuple[str, ...]:
    """Ids of roles and users, as they are or as mentions, between blanks or commas."""
    words = re.split(r"[\s,]+", text.strip()) if text.strip() else []
    bare = [re.sub(r"<@[&!]?(\d+)>", r"\1", word, count=1) for word in words]
    return tuple(snowflake(word) for word in bare)


def option(
    variable: str, default: str, meaning: str, parse: Callable[[str], Any], *, shown: str = ""
) -> Any:
    """One setting: its variable, default, meaning and check. A secret has a _FILE twin and no
    flag."""
    metadata = {
        "variable": variable,
        "default": default,
        "meaning": meaning,
        "parse": parse,
        "shown": shown or default,
        "secret": parse in (webhook, token, secret_address),
    }
    return field(default_factory=lambda: parse(default), metadata=metadata)


WATCH_WORDS = ("compose", "all", "labelled")


@dataclass(frozen=True)
class Settings:
    """Everything that can be set, in the order of --help and of the README's table, which is made
    from it."""

    docker_host: str = option(
        "DOCKER_HOST",
        "",
        "The engine: `unix:///path` or `tcp://host:port`.",
        docker_host,
        shown="the rootful socket, else the rootless one",
    )
    tls_verify: bool = option(
        "DOCKER_TLS_VERIFY",
        "",
        "Anything: TLS to `tcp://`, the engine's certificate verified.",
        bool,
    )
    cert_path: str = option(
        "DOCKER_CERT_PATH",
        "",
        "Folder of `ca.pem`, `cert.pem`, `key.pem`; alone: TLS, not verified.",
        str.strip,
        shown="`~/.docker`",
    )
    context: str = option(
        "DOCKER_CONTEXT",
        "",
        "A context of the docker CLI, where `DOCKER_HOST` is not set.",
        str.strip,
        shown="the CLI's current one",
    )
    webhook_url: Secret = option(
        "DISCORD_WEBHOOK_URL",
        "",
        "Incoming webhook; without it alerts go to the terminal.",
        webhook,
    )
    bot_token: Secret = option(
        "DISCORD_BOT_TOKEN", "", "Bot, beside or instead of a webhook; with one of the next.", token
    )
    channel_id: str = option("DISCORD_CHANNEL_ID", "", "The bot's channel by its id.", snowflake)
    guild_id: str = option(
        "DISCORD_GUILD_ID",
        "",
        "The bot's server, in which the next is found or created.",
        snowflake,
    )
    channel: str = option(
        "DISCORD_CHANNEL",
        "sentinel-alerts",
        "The bot's or bridge's channel by its name.",
        needed(str.strip),
    )
    bridge_url: str = option(
        "DISCORD_BRIDGE_URL", "", "A bot service that posts for others.", address
    )
    bridge_token: Secret = option(
        "DISCORD_BRIDGE_TOKEN", "", "Sent to the bridge as a bearer token.", token
    )
    api_url: str = option(
        "DISCORD_API_URL",
        "https://discord.com/api/v10",
        "For the bot: a proxy's address.",
        needed(address),
    )
    mention: str = option(
        "DISCORD_MENTION", "", "Pinged on red only: `<@USER>`, `<@&ROLE>`, `@here`.", mention
    )
    operators: tuple[str, ...] = option(
        "DISCORD_OPERATORS",
        "",
        "Ids of roles and users who may act by commands and buttons.",
        operators,
        shown="whoever may Manage Server",
    )
    commands: bool = option(
        "SENTINEL_COMMANDS",
        "true",
        "With a bot: slash commands, buttons, presence.",
        boolean,
    )
    fleet: str = option(
        "SENTINEL_FLEET",
        "",
        "A channel (name or id) in which Sentinels watch each other, as in `sentinel-fleet`.",
        channel_word,
    )
    watch: str = option(
        "SENTINEL_WATCH",
        "compose",
        "`compose`, `all`, or `labelled` (only `sentinel.watch=true`).",
        choice(*WATCH_WORDS),
    )
    projects: tuple[str, ...] = option(
        "SENTINEL_PROJECTS", "", "Only these compose projects.", names
    )
    restart: bool = option("SENTINEL_RESTART", "true", "`false`: tell, never touch.", boolean)
    poll_interval: float = option(
        "SENTINEL_POLL_INTERVAL", "30s", "Full listing, beside the event stream.", interval
    )
    settle: float = option(
        "SENTINEL_SETTLE",
        "30s",
        "How long a stop or removal may turn out to be a deploy.",
        duration,
    )
    stops: str = option(
        "SENTINEL_STOPS",
        "notice",
        "Operator stops: `notice` (grey), `alert` (red, and restarted), `ignore`.",
        choice("notice", "alert", "ignore"),
    )
    max_restarts: int = option(
        "SENTINEL_MAX_RESTARTS", "5", "Restarts per incident, then it gives up.", count
    )
    remind: float = option(
        "SENTINEL_REMIND", "4h", "Remind of what is still down this often; `0`: never.", duration
    )
    greet: bool = option("SENTINEL_GREET", "true", "A summary in blue at the start.", boolean)
    drop_dir: str = option(
        "SENTINEL_DROP_DIR", "", "File drop: a JSON file an alert is written here.", str.strip
    )
    terminal: bool | None = option(
        "SENTINEL_TERMINAL",
        "",
        "`true`: cards on standard output, beside other channels.",
        maybe,
        shown="where that is a terminal, or no channel is set",
    )
    chain: bool = option(
        "SENTINEL_CHAIN",
        "false",
        "`true`: webhook, bot, bridge, file drop are tried in this order;"
        " else each gets every alert.",
        boolean,
    )
    state: str = option(
        "SENTINEL_STATE",
        "",
        "Folder of the ledger; unwritable: a warning, and memory.",
        str.strip,
        shown="`$STATE_DIRECTORY`, `/var/lib/sentinel`, else the user's state folder",
    )
    keep: float = option("SENTINEL_KEEP", "90d", "How long the history is kept.", duration)
    host: str = option(
        "SENTINEL_HOST", "", "Shown in footers.", str.strip, shown="the engine's name"
    )
    heartbeat_url: Secret = option(
        "SENTINEL_HEARTBEAT_URL",
        "",
        "Dead-man's switch: fetched every minute while all goes"
        " on, with `/fail` when something is given up.",
        secret_address,
    )
    listen: str = option(
        "SENTINEL_LISTEN",
        "",
        "`127.0.0.1:9180`: `/healthz`, `/metrics`, `/status`.",
        listen_address,
    )
    notify_token: Secret = option(
        "SENTINEL_NOTIFY_TOKEN",
        "",
        "Lets others send their own words: `POST /notify` there.",
        token,
    )
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
        default = (
            meta["shown"]
            if meta["shown"] != meta["default"]
            else f"`{meta['default']}`"
            if meta["default"]
            else "–"
        )
        rows.append(f"| `{meta['variable']}` | {flag} | {default} | {meta['meaning']} |")
    return "\n".join(rows)


def load_settings(
    flags: Mapping[str, str | None], environment: Mapping[str, str], read_file: Callable[[str], str]
) -> tuple[Settings, list[str]]:
    """Settings and warnings: flag over variable over _FILE twin over default; every error in one
    SettingError."""
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
        errors.append(
            "DISCORD_BOT_TOKEN: needs DISCORD_CHANNEL_ID, or DISCORD_GUILD_ID,"
            " to know where to post"
        )
    if settings.fleet and not (settings.bot_token or settings.drop_dir):
        errors.append(
            "SENTINEL_FLEET: needs DISCORD_BOT_TOKEN, or a SENTINEL_DROP_DIR that all hosts share"
        )
    if settings.fleet and settings.fleet in (settings.channel_id, settings.channel):
        errors.append("SENTINEL_FLEET: is the alerts' channel; give it one of its own")
    warnings = [*unknown_settings(environment), *idle_settings(settings)]
    if errors:
        refusal = SettingError(*errors)
        refusal.warnings = warnings
        raise refusal
    return settings, warnings


def idle_settings(settings: Settings) -> list[str]:
    """A warning for each setting that does nothing without another."""
    pairs = (
        ("SENTINEL_NOTIFY_TOKEN", settings.notify_token, "SENTINEL_LISTEN", settings.listen),
        ("DISCORD_CHANNEL_ID", settings.channel_id, "DISCORD_BOT_TOKEN", settings.bot_token),
        ("DISCORD_GUILD_ID", settings.guild_id, "DISCORD_BOT_TOKEN", settings.bot_token),
        ("DISCORD_BRIDGE_TOKEN", settings.bridge_token, "DISCORD_BRIDGE_URL", settings.bridge_url),
        ("DISCORD_OPERATORS", settings.operators, "DISCORD_BOT_TOKEN", settings.bot_token),
    )
    return [
        f"{name}: does nothing without {other}"
        for name, value, other, needed in pairs
        if value and not needed
    ]


def sources(
    name: str,
    meta: Mapping[str, Any],
    flags: Mapping[str, str | None],
    environment: Mapping[str, str],
    read_file: Callable[[str], str],
) -> list[tuple[str, Callable[[], str]]]:
    """The first source that gives this setting: its name as the user wrote it, and how to read its
    text."""
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
    hook = settings.webhook_url.bare
    secrets = [
        hook,
        hook.partition("?")[0].rpartition("/")[2],
        settings.bot_token.bare,
        settings.bridge_token.bare,
        settings.notify_token.bare,
        settings.heartbeat_url.bare,
    ]
    for secret in filter(None, secrets):
        for form in (secret, json.dumps(secret)[1:-1]):  # the latter is how it stands in JSON
            text = text.replace(form, "***")
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """What somebody may have meant, as the end of a message; empty if nothing is near."""
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_settings(environment: Mapping[str, str]) -> list[str]:
    """A warning for each SENTINEL_ variable that is no setting, with the nearest name that is
    one."""
    known = [
        meta["variable"] + twin
        for _, meta in options()
        for twin in ("", "_FILE")
        if meta["secret"] or not twin
    ]
    warnings = []
    for name in sorted(environment):
        if name.startswith("SENTINEL_") and name not in known:
            warnings.append(f"{name}: unknown setting, ignored{nearest(name, known)}")
    return warnings


# ─── Vocabulary ───────────────────────────────────────────────────────────────────────────────────
# service   what is watched: a compose project's service and number; containers come and go under it
# run       one life of a container, from `start` to `die`; who ended it is evidence of that run
# incident  one service's story, from its first bad sign to its proven recovery
# outage    incidents with one root cause: one red that is kept current, one green when all is back
# notice    one thing to tell people
# attempt   one restart by Sentinel
# relapse   a death before the service had proven that it stays

# before a replacement's name compose puts whom it replaces
REPLACE_NAME = re.compile(r"^([0-9a-f]{12})_")
MADE_UP = re.compile(r"[a-z]+_[a-z]+\d*")  # Podman's names for what has none
TEMPORARY_NAME = re.compile(r"_tmp\d+$")  # what `podman-compose run` makes


class Phase(StrEnum):
    """Where a watched service stands."""

    UP = "up"
    SUSPECT = "suspect"  # it ended, perhaps by an operator or a deploy
    RESTARTING = "restarting"  # one call of Sentinel's is in flight
    PROVING = "proving"  # it is back, and must survive before that is called green
    BACKOFF = "backoff"  # its next restart waits for its moment
    HELD = "held"  # its restart waits for what it depends on
    DOCKER = "left to docker"  # the engine's own policy is at work
    GAVE_UP = "gave up"
    STOPPED = "stopped"  # on purpose, or paused, finished, muted
    MISSING = "missing"  # its container was removed, which may be half of a deploy
    GONE = "gone"


STANDING = frozenset({Phase.UP, Phase.PROVING})
WAITING = frozenset({Phase.BACKOFF, Phase.HELD, Phase.DOCKER})
REMOVED = frozenset({Phase.MISSING, Phase.GONE})
FALLEN = WAITING | {Phase.RESTARTING, Phase.GAVE_UP}  # it is down, and that is told
DOWN = WAITING | REMOVED | {Phase.SUSPECT, Phase.GAVE_UP, Phase.STOPPED}

# From each phase to which others it may go. The README's diagram is made from this table.
MOVES: Mapping[Phase, frozenset[Phase]] = {
    Phase.UP: WAITING | REMOVED | {Phase.SUSPECT, Phase.RESTARTING, Phase.GAVE_UP, Phase.STOPPED},
    Phase.SUSPECT: WAITING | REMOVED | STANDING | {Phase.RESTARTING, Phase.GAVE_UP, Phase.STOPPED},
    Phase.RESTARTING: WAITING | REMOVED | {Phase.PROVING, Phase.GAVE_UP, Phase.STOPPED},
    Phase.PROVING: WAITING
    | REMOVED
    | {Phase.UP, Phase.SUSPECT, Phase.RESTARTING, Phase.GAVE_UP, Phase.STOPPED},
    Phase.BACKOFF: REMOVED
    | {Phase.HELD, Phase.DOCKER, Phase.RESTARTING, Phase.PROVING, Phase.SUSPECT}
    | {Phase.GAVE_UP, Phase.STOPPED},
    Phase.HELD: REMOVED
    | {Phase.BACKOFF, Phase.DOCKER, Phase.RESTARTING, Phase.PROVING, Phase.SUSPECT}
    | {Phase.GAVE_UP, Phase.STOPPED},
    Phase.DOCKER: frozenset({Phase.BACKOFF, Phase.HELD, Phase.PROVING, Phase.SUSPECT})
    | {Phase.GAVE_UP, Phase.STOPPED, Phase.MISSING},
    Phase.GAVE_UP: WAITING
    | REMOVED
    | {Phase.RESTARTING, Phase.PROVING, Phase.SUSPECT, Phase.STOPPED},
    Phase.STOPPED: WAITING | {Phase.RESTARTING, Phase.PROVING, Phase.GAVE_UP, Phase.GONE},
    Phase.MISSING: frozenset({Phase.BACKOFF, Phase.HELD, Phase.GONE, Phase.PROVING, Phase.GAVE_UP}),
    Phase.GONE: frozenset({Phase.BACKOFF, Phase.HELD, Phase.PROVING, Phase.GAVE_UP}),
}


class Unforeseen(Exception):
    """A service in this phase, and what happened to it there, make no pair that anybody thought
    of."""


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
    ENDED = "ENDED"
    ENGINE_DOWN = "ENGINE DOWN"
    DARK = "DARK"  # of another host
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
    ASKED = "Asked"  # by somebody in Discord; it is in the history alone


RED, GREEN, GREY, AMBER, BLUE = 0xED4245, 0x57F287, 0x95A5A6, 0xFEE75C, 0x5865F2
DARK_GREEN = 0x1F8B4C  # of a red that is over


class Part(Enum):
    """What a verdict is to the history of incidents."""

    GOES_ON = auto()  # its incident stays open until something else ends it
    ENDS = auto()  # it leaves nothing open
    NONE = auto()  # it is no incident at all


@dataclass(frozen=True, slots=True)
class Manner:
    """How a verdict is told. `headline` has places for {name}, {how} (the exit) and {cause}; empty
    where it takes more than that (`headline()`). `listing` stands above the services that it took
    with it."""

    colour: int = RED
    headline: str = ""
    listing: str = ""
    part: Part = Part.GOES_ON


VERDICTS: Mapping[Verdict, Manner] = {
    Verdict.DEAD: Manner(),
    Verdict.UNHEALTHY: Manner(headline="{name} is UNHEALTHY — {cause}"),
    Verdict.CRASH_LOOP: Manner(),
    Verdict.GAVE_UP: Manner(),
    Verdict.FAILED: Manner(headline="{name} has FAILED — {how}", part=Part.ENDS),
    Verdict.VANISHED: Manner(headline="{name} is VANISHED — {cause}"),
    Verdict.ORPHANED: Manner(headline="{name} is ORPHANED — its network is gone"),
    Verdict.ENDED: Manner(AMBER, "{name} has ended — {how}", part=Part.ENDS),
    Verdict.ENGINE_DOWN: Manner(listing="Not brought back"),
    Verdict.DARK: Manner(headline="{name} is DARK — its Sentinel is not heard any more"),
    Verdict.STILL_DOWN: Manner(listing="Down", part=Part.ENDS),
    Verdict.RECOVERED: Manner(GREEN, listing="Not back", part=Part.ENDS),
    Verdict.RESTARTED: Manner(GREY, "{name} was restarted by Sentinel", part=Part.ENDS),
    Verdict.STOPPED: Manner(GREY, part=Part.ENDS),
    Verdict.FOLDED: Manner(GREY, "{name} did not die of itself", part=Part.ENDS),
    Verdict.WATCHING: Manner(BLUE, "Sentinel watches the containers of {name}", part=Part.NONE),
    Verdict.ERROR: Manner(part=Part.NONE),
    Verdict.WARNING: Manner(AMBER, part=Part.NONE),
    Verdict.INFO: Manner(BLUE, part=Part.NONE),
    Verdict.CHILD_OOM: Manner(
        AMBER,
        "A process in {name} was killed: out of memory; the container lives on",
        part=Part.ENDS,
    ),
    Verdict.CHANNEL_LOST: Manner(AMBER, "The channel {name} takes no more alerts", part=Part.ENDS),
    Verdict.ASKED: Manner(BLUE, "Somebody has asked for something about {name}", part=Part.NONE),
}
OTHERS = (Verdict.ERROR, Verdict.WARNING, Verdict.INFO)  # told in the words of others


class Cause(StrEnum):
    """Why a container ended, as people read it."""

    EXIT = ""
    OOM = "out of memory"
    OUTSIDE = (
        "killed from outside its main process: no kill through the API, no sign of memory"
        " running out"
    )
    API_KILL = "killed through the API (docker kill)"
    SIGNALLED = "a signal was sent through the API"
    CANT_START = "the engine can't start it"
    STOP = "stopped on purpose"
    REMOVED = "removed"
    UNSEEN = "it ended or was stopped: no event says which"
    OPERATOR = "an operator stopped it, and SENTINEL_STOPS is `alert`"
    UNHEALTHY = "its health check fails"
    FAILED_UPDATE = "it was to be replaced, and the replacement never ran"
    ENGINE = "not brought back by the engine"
    API_AWAY = "the containers run on without it; until it is back nobody watches them"
    NEVER_STARTED = "compose made it and never started it"
    ORPHAN = (
        "the container whose network it shares was recreated: its own network is gone,"
        " and a restart can't help"
    )
    STALE = "its network was gone: the container that it shares it with was restarted"
    TOGETHER = "what it depends on was restarted (depends_on: restart: true)"


# a stop by the engine, a failed start and a lost network say nothing of the service itself
NO_DEATH_OF_ITS_OWN = frozenset({Cause.CANT_START, Cause.ORPHAN, Cause.ENGINE, Cause.NEVER_STARTED})
NO_END = frozenset(  # of a run
    {Cause.UNHEALTHY, Cause.CANT_START, Cause.ORPHAN, Cause.STALE, Cause.NEVER_STARTED}
)
NO_EXIT = frozenset(  # that has a code
    {Cause.UNHEALTHY, Cause.CANT_START, Cause.FAILED_UPDATE, Cause.NEVER_STARTED}
)


class Intent(Enum):
    """Who wanted a run to end."""

    NOBODY = auto()
    OPERATOR = auto()
    UNCLEAR = auto()


class EngineKind(StrEnum):
    """What kind of engine has a container, and whose that is."""

    DOCKER = "docker"
    PODMAN = "podman"
    ROOTLESS = "rootless podman"

    @property
    def podman(self) -> bool:
        """Whether it is Podman: containers that outlive its API, and events that do not tell a stop
        from a death."""
        return self is not EngineKind.DOCKER

    @property
    def command(self) -> str:
        """What people type."""
        return "podman" if self.podman else "docker"


def engine_name(kind: EngineKind, version: str) -> str:
    """`Docker 28.5.2`."""
    return f"{kind.command.capitalize()} {version}".strip()


class Medium(StrEnum):
    """Where hosts hear of each other."""

    CHANNEL = "channel"  # of Discord's
    FOLDER = "folder"


DEFAULT_STOP_TIMEOUT = 10.0  # Docker's own, unless dockerd is told otherwise
COMPOSE = "com.docker.compose."
BUILT_LABELS = {f"{COMPOSE}{word}" for word in ("project", "service", "version")}
PODMAN_COMPOSE = "io.podman.compose.project"
UNIT_LABEL = "PODMAN_SYSTEMD_UNIT"
# A busy engine (20.10, 26.1) says a run's start up to 72 ms too late: after its first lines, even
# after its end.
LATE_START = 1.0
LAST_LINES = 0.05  # seconds after an end by which all that the run wrote is in the log


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
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    started_time: float = 0.0
    finished_time: float = 0.0
    restart_count: int = 0
    restart_policy: str = "no"
    stop_signal: int = 15
    stop_timeout: float | None = None  # None: the engine's own, which may be any
    network_mode: str = ""
    links: tuple[str, ...] = ()
    tty: bool = False
    auto_remove: bool = False
    memory_limit: int = 0
    files_seen: bool = False  # compose's files of it are on this machine, too
    created_time: float = 0.0
    image: str = ""  # its id
    interactive: bool = False  # made for somebody at a terminal
    kind: EngineKind = EngineKind.DOCKER
    stopping: bool = False  # somebody's stop is at work (Podman)
    # Podman's word on who ended it, from 4.7 on; None where nobody says
    stopped_by_user: bool | None = None
    pod: str = ""  # Podman's, by the host name that all of it share
    infra: bool = False  # what holds a pod's namespaces
    sick_time: float = 0.0  # since when its health check fails, as far as its probes tell
    probed_time: float = 0.0  # when the last probe of that began

    @property
    def running(self) -> bool:
        """Whether it runs and is not paused."""
        return self.status == "running"

    @property
    def lines_time(self) -> float:
        """Since when the lines in its log may be those of its last run, 0 for never."""
        if not self.started_time:
            return 0.0
        return max(self.started_time - LATE_START, self._end_before + self._last_lines)

    @property
    def lines_before_time(self) -> float:
        """Until when they are those of the run before."""
        return max(0.0, self.started_time - self._last_lines)

    @property
    def _end_before(self) -> float:
        """When the run before the one that lives had ended, 0 where nobody knows: of what is down
        the engine says the end of the last run itself."""
        lives = self.status in ("running", "paused")
        return self.finished_time if lives and self.finished_time < self.started_time else 0.0

    @property
    def _last_lines(self) -> float:
        """Seconds after the end of the run before in which its last lines may come: less than until
        the next start, which is 40 ms later where Podman's policy is at work."""
        return min(LAST_LINES, (self.started_time - self._end_before) / 2)

    @property
    def sick(self) -> bool:
        """Unhealthy by a probe of this run: Docker says so, with a streak of 0, of what is paused
        or stopped, too."""
        return self.running and self.health is Health.UNHEALTHY and self.failing_streak > 0

    @property
    def patience(self) -> float:
        """Seconds that it has to stop in, as far as that is known."""
        return DEFAULT_STOP_TIMEOUT if self.stop_timeout is None else self.stop_timeout

    @property
    def unit(self) -> str:
        """The systemd unit that has made it (a quadlet) and looks after it, empty for none:
        podman-compose writes one on all that it makes, whether there is such a unit or not."""
        return "" if self.by_podman_compose else self.labels.get(UNIT_LABEL, "")

    @property
    def by_podman_compose(self) -> bool:
        """Made by podman-compose, which is no compose: it starts what waits at once, and stops what
        others need first."""
        return PODMAN_COMPOSE in self.labels

    @property
    def kept_up(self) -> bool:
        """Whether the engine itself starts it again whatever its end."""
        return self.restart_policy in ("always", "unless-stopped")

    @property
    def project(self) -> str:
        """Compose project, Swarm stack, or pod."""
        return self.stack or self.pod

    @property
    def stack(self) -> str:
        """Compose project, or Swarm stack."""
        return self.compose("project") or self.labels.get("com.docker.stack.namespace", "")

    @property
    def service(self) -> str:
        """Compose service."""
        return self.compose("service")

    def compose(self, name: str) -> str:
        """A label of compose's. Images that compose built hand on three of them (project, service,
        version) to every container that is made of them; those that compose made itself have
        more."""
        text = self.labels.get(f"{COMPOSE}{name}", "")
        if not text or f"{COMPOSE}oneoff" in self.labels:
            return text
        labels = {label for label in self.labels if label.startswith(COMPOSE)}
        return text if labels != BUILT_LABELS else ""

    @property
    def short(self) -> str:
        """What people call it among its siblings: compose's service, with its number unless that is
        1."""
        if not self.service or self.oneoff:
            return self.title
        number = self.labels.get(f"{COMPOSE}container-number", "1")
        return self.service if number == "1" else f"{self.service}-{number}"

    @property
    def task(self) -> str:
        """Swarm's service and slot, empty for what is no task of a Swarm."""
        return self.labels.get("com.docker.swarm.task.name", "").rpartition(".")[0]

    @property
    def title(self) -> str:
        """What alerts call it: a Swarm task by service and slot, a replacement by the name that it
        is to get."""
        return self.task or REPLACE_NAME.sub("", self.name)

    @property
    def called(self) -> set[str]:
        """Every name by which a command may mean it."""
        names = {self.name, self.service, self.project, self.key, self.unit}
        return names - {""}

    @property
    def network_target(self) -> str:
        """The container whose network it shares: an id, or a name where the engine left it so;
        empty for none."""
        kind, _, target = self.network_mode.partition(":")
        return target if kind in ("container", "service") else ""

    @property
    def oneoff(self) -> bool:
        """Made by `compose run`."""
        if self.by_podman_compose:  # which labels those as it does services
            return TEMPORARY_NAME.search(self.name) is not None
        return self.compose("oneoff").lower() == "true"

    @property
    def key(self) -> str:
        """What stays the same when the container is replaced: project, service and number, a Swarm
        task, a systemd unit, or the name."""
        number = self.labels.get(f"{COMPOSE}container-number")
        if self.project and self.service and number and not self.oneoff:
            return f"{self.project}/{self.service}/{number}"
        return self.task or self.unit_key or self.name

    @property
    def unit_key(self) -> str:
        """The systemd unit, with the container's name where that is neither the unit's nor one that
        Podman has made up: a unit may have several."""
        stem = self.unit.removesuffix(".service")
        named_for_it = self.name in (stem, f"systemd-{stem}") or MADE_UP.fullmatch(self.name)
        return self.unit if named_for_it or not self.unit else f"{self.unit}/{self.name}"

    @property
    def unstarted(self) -> bool:
        """Whether it was made, and nobody has tried to start it yet."""
        return self.status == "created" and not self.error and not self.started_time

    @property
    def genuine(self) -> bool:
        """Whether its image or its name tells that compose made it. `docker commit` hands compose's
        labels on to a copy, which has another image, and a name of its own."""
        words = (self.project, self.service, self.compose("container-number"))
        by_name = self.title in ("-".join(words), "_".join(words))
        return by_name or (bool(self.image) and self.image == self.compose("image"))

    def without_compose(self) -> Container:
        """A copy as what it is: compose's labels on it are another container's."""
        labels: dict[str, str] = {}
        for name, text in self.labels.items():
            if not name.startswith(COMPOSE):
                labels[name] = text
        return replace(self, labels=labels)

    def replaces(self, other: Container) -> bool:
        """Whether it may be the other's replacement, as its name tells: a copy has a name of its
        own."""
        prefix = REPLACE_NAME.match(self.name)
        return self.title == other.title or (prefix is not None and other.id.startswith(prefix[1]))


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
    drill: bool = False  # it may be killed to see what comes of it


@dataclass(frozen=True, slots=True)
class Dependency:
    """How one service depends on another: compose's condition, whether restarted with it, whether
    on its network."""

    condition: str = "service_started"
    restart: bool = False
    network: bool = False
    direct: bool = True  # not only through others


# ─── Messages ─────────────────────────────────────────────────────────────────────────────────────
# What passes between the edges and the deciding code. Observations, what the edges report: past
# participles.

NANO, MICRO = 1e9, 1e6  # in a second
UNKNOWN_STOP = 900.0  # seconds that a stop may take of which only the engine knows how long it has
UNTOLD = 0  # a signal, of which Podman says only that it was sent

Mark = tuple[int, str, str]  # what tells an event from all others: its time, container, and action


@dataclass(frozen=True, slots=True)
class Heard:
    """An event of the engine's stream. `nano` is its whole timestamp in nanoseconds; it is not
    monotonic."""

    action: str
    id: str
    nano: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    signal: int | None = None
    health: Health = Health.NONE
    oom_killed: bool = False  # Podman 6 says so of an end

    @property
    def time(self) -> float:
        """Unix seconds."""
        return self.nano / NANO

    @property
    def mark(self) -> Mark:
        """What tells it from all others."""
        return self.nano, self.id, self.action


@dataclass(frozen=True, slots=True)
class Listed:
    """A full listing; `me` is Sentinel's own container, `host` and `engine` are the engine's name
    and lasting id."""

    rows: tuple[Row, ...]
    me: str = ""
    host: str = ""
    engine: str = ""
    kind: EngineKind = EngineKind.DOCKER
    forbidden: str = ""  # why nothing can be restarted through this engine, as far as that is known
    ahead: float = 0.0  # its clock is, of Sentinel's
    version: str = ""  # the engine's


@dataclass(frozen=True, slots=True)
class Looked:
    """One container inspected: `container` is None where it no longer exists, `why` says why nobody
    knows, and `unanswered` that the engine gave no answer at all."""

    id: str
    container: Container | None
    logs: tuple[str, ...] = ()
    why: str = ""
    unanswered: bool = False


class Outcome(Enum):
    """How a restart call ended. UNKNOWN: the answer did not come, the engine may still be at it."""

    DONE = auto()
    OVERTAKEN = auto()
    REFUSED = auto()
    FORBIDDEN = auto()
    UNKNOWN = auto()


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
    """The event stream is open: it replays from Unix time `since`, and `time` is now, both by the
    engine's clock, which is `ahead` of Sentinel's by so many seconds."""

    since: float = 0.0
    time: float = 0.0
    ahead: float = 0.0
    podman: bool = False


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the engine remembers of what was asked: its last events, and the Unix time of its first
    one where it was started after those that were asked for, 0 where that can't be told."""

    since: float
    until: float
    marks: tuple[Mark, ...] = ()
    began_time: float = 0.0
    attached: tuple[str, ...] = ()  # containers that somebody has followed
    kills: tuple[Heard, ...] = ()  # on Podman, which takes them for stops
    knows: bool = False  # it has one of those that were asked for, so it was not started anew


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

    SENT = auto()
    UNSENT = auto()  # surely not stored
    UNCLEAR = auto()  # perhaps stored
    MALFORMED = auto()  # the channel refuses its form, not the channel's use
    DEAD = auto()  # the channel takes nothing any more, by Discord's own word
    GONE = auto()  # the message that was to be edited is not there any more


@dataclass(frozen=True, slots=True)
class Delivered:
    """A channel's verdict on a message: its fate, and for how many seconds the channel is to be
    left alone."""

    channel: str
    fate: Fate
    hold: float = 0.0
    why: str = ""
    message: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asks the local HTTP server; `reply` takes the answer: status, kind of content,
    text."""

    path: str
    reply: Callable[[tuple[int, str, str]], None]
    words: Notice | None = None


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """Somebody, called `by`, wants a service restarted."""

    key: str
    by: str


@dataclass(frozen=True, slots=True)
class TakenOn:
    """Somebody, called `by`, sees to an outage."""

    outage: int
    by: str


@dataclass(frozen=True, slots=True)
class Posted:
    """A host's roll call as it stands in a medium, whose clock tells when it was edited last.
    `resting`: its Sentinel has ended on purpose, which can be seen even where the text can't be
    read (then it is empty)."""

    id: str
    author: str
    author_name: str
    edited_time: float
    text: str = ""
    resting: bool = False


@dataclass(frozen=True, slots=True)
class RollRead:
    """The roll calls of a medium were read, or `why` not. `whole`: none is left out; `time`: when
    that was, by the medium's clock. `hold`: seconds for which it asks to be left alone, with
    `everywhere` by whatever is sent there."""

    medium: Medium
    posted: tuple[Posted, ...] = ()
    whole: bool = False
    time: float = 0.0
    why: str = ""
    hold: float = 0.0
    everywhere: bool = False
    buried: bool = False  # Sentinel's own is far behind what others have written


@dataclass(frozen=True, slots=True)
class RollCalled:
    """Sentinel's own roll call was made at a time of the medium's, or `why` not; `gone`: the one
    that was to be edited is not there any more."""

    medium: Medium
    id: str = ""
    edited_time: float = 0.0
    gone: bool = False
    why: str = ""
    hold: float = 0.0
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class RollPutOff:
    """Alerts go first: ask again in so many seconds."""

    medium: Medium
    seconds: float


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


# Actions, what the deciding code wants done: imperatives.


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Open the event stream, with everything since this Unix time (0: the last moments)
    replayed."""

    since: float


@dataclass(frozen=True, slots=True)
class Recall:
    """Ask whether the engine remembers any of these events between two Unix times, its own."""

    since: float
    until: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class CloseStream:
    """End the open event stream, so that it is opened anew."""


@dataclass(frozen=True, slots=True)
class List:
    """List all containers."""


@dataclass(frozen=True, slots=True)
class Look:
    """Inspect one container, and read the last log lines of the run that ended, if one has."""

    id: str
    since: float = 0.0  # they are not known since then, by the engine's clock; 0: none is known


@dataclass(frozen=True, slots=True)
class Restart:
    """Start a container that is down, or restart one that runs, if it still is the run that was
    judged."""

    key: str
    id: str
    started_time: float
    alive: bool
    stop_timeout: float | None = None  # the container's own

    @property
    def stopping(self) -> float:
        """Seconds that a stop of it may take: where that is the engine's own to say, it may be
        any."""
        return UNKNOWN_STOP if self.stop_timeout is None else self.stop_timeout


@dataclass(frozen=True, slots=True)
class ReadRoll:
    """Read the roll calls of a medium, back to the one `since` (empty: as far as may be)."""

    medium: Medium
    since: str
    own: str = ""  # Sentinel's own


@dataclass(frozen=True, slots=True)
class CallRoll:
    """Have Sentinel's own roll call (`id`, empty where there is none yet) say this. `tag`: of the
    ledger; `replaces`: another one, which is to be deleted."""

    medium: Medium
    text: str
    tag: str
    id: str = ""
    resting: bool = False
    nonce: str = ""
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """One line of Sentinel's own record."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Count:
    """So many more of a service's `deaths` or `restarts`, for whoever keeps figures."""

    what: str
    key: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Consequence:
    """One service that a root cause took with it. `chain`: from it to the root; `state`: how it
    stands now."""

    chain: tuple[str, ...]
    verdict: Verdict
    at: float
    exit_code: int | None = None
    cause: Cause = Cause.EXIT
    state: str = ""
    back: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell people: facts only, worded later. Spans are seconds, None where not
    known."""

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
    decided_at: float | None = None  # when it was decided to tell it, where that is later than `at`
    over_at: float | None = None  # when its outage was over
    recreate: bool = False  # it can't run as it is
    scale: int = 1  # how many of it there are
    lives_on: bool = False  # others of its project do
    buttons: tuple[str, ...] = ()  # that make sense on it
    body: str = ""  # a whole message of somebody else's, as JSON, for the channel `place`
    place: str = ""
    drill: bool = False  # somebody has killed it to see whether it is told and healed
    began_at: float | None = None  # its outage

    @property
    def red(self) -> bool:
        """Whether it is told in red, so that it may ping somebody."""
        return VERDICTS[self.verdict].colour == RED

    @property
    def foreign(self) -> bool:
        """Whether it is told in the words of others."""
        return self.verdict in OTHERS


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
    """Send these notices as one message, or have one that is there (`message`) say this instead.
    `nonce` begins with the ledger's tag, and is the same for the same notices; `plain` leaves out
    all that could be refused."""

    channel: str
    notices: tuple[Notice, ...]
    host: str
    nonce: str = ""
    plain: bool = False
    why_late: str = ""
    message: str = ""
    sent_at: float | None = None  # when a message that is edited now was sent
    life: str = ""  # of the ledger, where the channel takes buttons
    typed: bool = False  # whether commands can be typed where it is read


Observation = (
    Heard
    | Listed
    | ListFailed
    | Looked
    | Restarted
    | StreamOpened
    | StreamClosed
    | Recalled
    | Delivered
    | Asked
    | RestartAsked
    | TakenOn
    | RollRead
    | RollCalled
    | RollPutOff
    | Pinged
    | StopAsked
    | Crashed
)
Action = (
    Subscribe
    | Recall
    | CloseStream
    | List
    | Look
    | Restart
    | Log
    | Count
    | Tell
    | Amend
    | Deliver
    | ReadRoll
    | CallRoll
)

# ─── Reading ──────────────────────────────────────────────────────────────────────────────────────
# The engine's words to values. Tolerant: a missing or odd value becomes its default, never an
# exception.

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


def text_in(value: JSON) -> str:
    """A text, empty where it is none."""
    return encodable(value) if isinstance(value, str) else ""


def text_at(document: JSON, *path: str) -> str:
    """The text at a path, empty where there is none."""
    return text_in(at(document, *path))


def is_whole(value: JSON) -> bool:
    """Whether a value is a whole number of at most 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def whole_at(document: JSON, *path: str) -> int:
    """The whole number of at most 64 bits at a path, 0 where there is none."""
    value = at(document, *path)
    return value if is_whole(value) else 0


def labels_at(document: JSON, *path: str) -> dict[str, str]:
    """The texts of a mapping at a path."""
    value = at(document, *path)
    texts = value.items() if isinstance(value, dict) else ()
    return {encodable(name): encodable(text) for name, text in texts if isinstance(text, str)}


def number_in(text: str | None) -> int | None:
    """A whole number written in text, as events carry exit codes and signals; None for anything
    else."""
    return int(text) if text and re.fullmatch(r"-?\d{1,9}", text, re.ASCII) else None


def unix_time(text: str) -> float:
    """Unix seconds of an engine's time: 0 to 9 digits of fraction, any zone; year 1 means never, as
    does rubbish."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if not match or text.startswith("0001-"):
        return 0.0
    try:
        moment = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    return moment.timestamp() + float(match[2] or 0)


def items_at(document: JSON, *path: str) -> list[JSON]:
    """The list at a path, empty where there is none."""
    value = at(document, *path)
    return value if isinstance(value, list) else []


SIGNALS = {sig.value: sig.name for sig in signal.Signals}
REAL_TIME = {"RTMIN": 34, "RTMAX": 64}  # the engine's, whatever this machine has
SIGNAL_NUMBERS = {name.removeprefix("SIG"): value for value, name in SIGNALS.items()} | REAL_TIME


def signal_number(text: str, default: int) -> int:
    """A signal as image authors write it: SIGQUIT, quit, 3, SIGRTMIN+3."""
    name = text.upper().removeprefix("SIG")
    if match := re.fullmatch(r"(RTM(?:IN|AX))([+-]\d{1,2})", name):
        return REAL_TIME[match[1]] + int(match[2])
    return number_in(text) or SIGNAL_NUMBERS.get(name, default)


def health_of(text: str) -> Health:
    """A health word, NONE where it is none of Docker's."""
    return Health(text) if text in tuple(Health) else Health.NONE


STOPPING = "stopping"  # Podman's word for what runs, and is being stopped
# Podman's to Docker's
STATUS_WORDS = {"stopped": "exited", "initialized": "created", "configured": "created"}


def status_of(word: str) -> str:
    """The state word in Docker's vocabulary."""
    return STATUS_WORDS.get(word.lower(), word.lower()) or "unknown"


LONGEST_ERROR = 4000  # characters; it may quote a whole command


def container_of(document: JSON) -> Container:
    """A container from `GET /containers/{id}/json`."""
    state, config, host = at(document, "State"), at(document, "Config"), at(document, "HostConfig")
    probes = items_at(state, "Health", "Log")
    status = status_of(text_at(state, "Status"))
    return Container(
        id=text_at(document, "Id"),
        name=text_at(document, "Name").removeprefix("/") or text_at(document, "Id")[:12],
        labels=labels_at(config, "Labels"),
        status="running" if status == STOPPING else status,
        stopping=status == STOPPING,
        health=health_of(text_at(state, "Health", "Status")),
        failing_streak=whole_at(state, "Health", "FailingStreak"),
        probe_output=text_at(probes[-1], "Output") if probes else "",
        exit_code=whole_at(state, "ExitCode"),
        oom_killed=at(state, "OOMKilled") is True,
        error=text_at(state, "Error")[:LONGEST_ERROR],
        started_time=unix_time(text_at(state, "StartedAt")),
        finished_time=unix_time(text_at(state, "FinishedAt")),
        restart_count=whole_at(document, "RestartCount"),
        restart_policy=text_at(host, "RestartPolicy", "Name") or "no",
        stop_signal=signal_number(text_at(config, "StopSignal"), 15),
        stop_timeout=stop_timeout_of(at(config, "StopTimeout")),
        network_mode=text_at(host, "NetworkMode"),
        links=links_of(at(host, "Links")),
        tty=at(config, "Tty") is True,
        interactive=at(config, "Tty") is True and at(config, "OpenStdin") is True,
        auto_remove=at(host, "AutoRemove") is True,
        memory_limit=whole_at(host, "Memory"),
        created_time=unix_time(text_at(document, "Created")),
        image=text_at(document, "Image"),
        sick_time=sick_time_of(probes),
        probed_time=unix_time(text_at(probes[-1], "Start")) if probes else 0.0,
    )


def sick_time_of(probes: list[JSON]) -> float:
    """Since when the last of these probes have failed, one after the other; 0 where the last one
    has not."""
    began_time = 0.0
    for probe in reversed(probes):
        if not whole_at(probe, "ExitCode"):
            break
        began_time = unix_time(text_at(probe, "Start"))
    return began_time


LONGEST_STOP = 86400.0


def stop_timeout_of(value: JSON) -> float | None:
    """Seconds that a container has to stop in: a day at most, which stands for ever (-1), too; None
    where there is no number."""
    if not is_whole(value):
        return None
    return LONGEST_STOP if value < 0 else min(float(value), LONGEST_STOP)


# Podman writes down why a stop has failed, too, and what is no start's fault either
STOP_ERROR = re.compile(r"stop|interfered|did not die|kill", re.I)
RUNS_ALREADY = "container is running"  # after `podman start` of what runs
LOST_END = "conmon died"
SAYS_WHO_STOPPED = (4, 7)  # the first Podman whose inspect has StoppedByUser, where that is true


def with_libpod(container: Container, document: JSON, version: tuple[int, ...]) -> Container:
    """A container with what only Podman's own inspect tells (`GET /libpod/containers/{id}/json`):
    who ended it, whether it is being stopped, which containers it requires, and pods."""
    state = at(document, "State")
    stopping = status_of(text_at(state, "Status")) == STOPPING
    same_run = unix_time(text_at(state, "StartedAt")) == container.started_time
    stopped_by_user = None
    if same_run and not container.running and version >= SAYS_WHO_STOPPED:
        stopped_by_user = at(state, "StoppedByUser") is True
    required = filter(None, map(text_in, items_at(document, "Dependencies")))
    no_start_error = container.error.startswith(LOST_END) or RUNS_ALREADY in container.error
    if stopped_by_user and STOP_ERROR.search(container.error):
        no_start_error = True
    return replace(
        container,
        error="" if no_start_error else container.error,
        stopping=container.running and stopping,
        stopped_by_user=stopped_by_user,
        links=(*container.links, *required),
        pod=text_at(document, "Config", "Hostname") if text_at(document, "Pod") else "",
        infra=at(document, "IsInfra") is True,
    )


def links_of(links: JSON) -> tuple[str, ...]:
    """The names of the containers that legacy links (`/db:/web/alias`) lead to."""
    if not isinstance(links, list):
        return ()
    return tuple(link.partition(":")[0].lstrip("/") for link in links if isinstance(link, str))


# All else in a list would be 50 times as much.
ROW_NAMES = (
    "Id",
    "State",
    "Status",
    "Health",
    "HostConfig",
    "NetworkMode",
)


def row_of(document: JSON) -> Row:
    """A container from `GET /containers/json`; its age stands in its Status text only, its health
    there, too, but for Podman. Docker 29 and Podman 6 have a Health beside it, which says unhealthy
    of what is paused or has ended."""
    text = text_at(document, "Status")
    status = status_of(text_at(document, "State"))
    health = re.search(r"\((?:health: )?(starting|healthy|unhealthy)\)", text)
    beside = text_at(document, "Health", "Status") if status == "running" else ""
    return Row(
        id=text_at(document, "Id"),
        status=status,
        health=health_of(health[1] if health else beside),
        young=text.startswith("Up") and bool(re.search(r"second|About a minute", text)),
    )


ACTION_WORDS = {"died": "die", "remove": "destroy"}  # Podman's to Docker's


def event_of(document: JSON, podman: bool = False) -> Heard | None:
    """A container event, None for all else. Labels are copied over the event's own attributes, so
    `exitCode` and `signal` are a label's where the container has one of that name (every engine);
    the verdict takes its code from inspect where it can. Podman does not say which signal was sent,
    and tells of a restart before it, where Docker does after it: that tells nothing more."""
    if text_at(document, "Type") != "container" or text_at(document, "scope") == "swarm":
        return None
    action, _, detail = text_at(document, "Action").partition(": ")
    if action == "restart" and not podman:
        return None
    attributes = labels_at(document, "Actor", "Attributes")
    return Heard(
        action=ACTION_WORDS.get(action, action),
        id=text_at(document, "Actor", "ID"),
        nano=whole_at(document, "timeNano") or whole_at(document, "time") * 10**9,
        attributes=attributes,
        exit_code=number_in(attributes.get("containerExitCode") or attributes.get("exitCode")),
        signal=UNTOLD if podman else number_in(attributes.get("signal")),
        health=health_of(detail or text_at(document, "HealthStatus")),
        oom_killed=attributes.get("oomKilled") == "true",
    )


COMPLETED = "service_completed_successfully"


@functools.lru_cache(4096)
def dependencies_in(label: str) -> Mapping[str, Dependency]:
    """Compose's dependencies of a service: `db:service_healthy:true`; compose before 2.17 wrote no
    third part, before 2.3 no second one. A living container is restarted only where the label says
    so."""
    found: dict[str, Dependency] = {}
    for item in filter(None, label.split(",")):
        name, *parts = item.split(":")
        condition = parts[0] if parts else "service_started"
        found[name] = Dependency(condition, restart=parts[1:2] == ["true"])
    return found


def depends_on(labels: Mapping[str, str]) -> Mapping[str, Dependency]:
    """Compose's dependencies of a service, from its labels."""
    return dependencies_in(labels.get(f"{COMPOSE}depends_on", ""))


def waits_for_end(container: Container) -> list[str]:
    """The jobs that a service waits for: siblings on whose successful end it depends."""
    needs = depends_on(container.labels).items()
    return [name for name, dependency in needs if dependency.condition == COMPLETED]


HOOK_LABEL = f"{COMPOSE}hook"
SWARM_SERVICE = "com.docker.swarm.service.name"


def scope_of(container: Container, settings: Settings, me: str) -> tuple[bool, str]:
    """Whether a container is watched, and why: the first of these that holds. A bad label counts as
    none."""
    label = container.labels.get("sentinel.watch", "").strip().lower()
    asked, project = BOOLEANS.get(label), container.project
    if container.id == me:
        return False, "it is Sentinel itself"
    if container.infra:
        return False, "it holds the namespaces of a pod, and does nothing else"
    if HOOK_LABEL in container.labels:
        return False, "it is a helper of compose's, made for a moment"
    if asked is not None:
        return asked, f"its label sentinel.watch is {str(asked).lower()}"
    projects = [name.lower() for name in settings.projects]  # as compose writes them
    if projects and project.lower() not in projects:
        return False, "SENTINEL_PROJECTS does not name its project"
    if settings.watch == "all":
        return True, "SENTINEL_WATCH is `all`"
    elif settings.watch == "compose" and container.stack:
        return True, f"it belongs to the compose project {project}"
    elif settings.watch == "compose":
        return False, "it belongs to no compose project, and SENTINEL_WATCH is `compose`"
    return False, "it has no label sentinel.watch=true, and SENTINEL_WATCH is `labelled`"


def policy_of(container: Container, settings: Settings, me: str) -> tuple[Policy, list[str]]:
    """The policy of a container, and a warning for each label that makes no sense."""
    warnings: list[str] = []

    def label(name: str, parse: Callable[[str], Any], default: Any) -> Any:
        text = container.labels.get(name)
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError as error:
            warnings.append(f"{container.name}: label {name}: {error}; it is ignored")
            return default

    warnings += unknown_labels(container)
    label("sentinel.watch", boolean, None)
    asked = label("sentinel.restart", boolean, None)
    heal, why_not = settings.restart, "SENTINEL_RESTART is false"
    if asked is not None:
        heal, why_not = asked, "its label sentinel.restart is false"
    if SWARM_SERVICE in container.labels:
        heal, why_not = False, "Swarm replaces its tasks itself"
    elif container.unit:
        heal, why_not = False, f"systemd restarts it ({container.unit})"
    elif heal and speaks_through(container, settings.docker_host):
        heal, why_not = False, "Sentinel speaks to the engine through it"
    watch, _ = scope_of(container, settings, me)
    policy = Policy(
        watch=watch,
        heal=heal,
        insist=heal and asked is True,
        why_not=why_not,
        job=label("sentinel.job", boolean, True if container.oneoff else None),
        max_restarts=label("sentinel.max-restarts", count, settings.max_restarts),
        settle=label("sentinel.settle", duration, settings.settle),
        mention=label("sentinel.mention", mention, settings.mention),
        quiet=label("sentinel.quiet", quiet_windows, ()),
        drill=label("sentinel.drill", boolean, False),
    )
    return policy, warnings


LABELS = tuple(
    f"sentinel.{word}"
    for word in (
        "watch",
        "restart",
        "job",
        "max-restarts",
        "settle",
        "mention",
        "quiet",
        "drill",
    )
)


def unknown_labels(container: Container) -> list[str]:
    """A warning for each label of Sentinel's that is none, with the nearest name that is one."""
    warnings: list[str] = []
    for name in sorted(container.labels):
        if name.startswith("sentinel.") and name not in LABELS:
            words = f"label {name}: unknown, ignored{nearest(name, LABELS)}"
            warnings.append(f"{container.name}: {words}")
    return warnings


def speaks_through(container: Container, host: str) -> bool:
    """Whether the container is the socket proxy that DOCKER_HOST names."""
    name = urllib.parse.urlsplit(host).hostname
    return bool(name) and name in (container.name, container.service)


REMOVED_SEEN = "removed"  # the status of a container that is no more
REMOVED_UNSEEN = "removed unseen"  # and was gone before anyone could look
NOT_THERE = (REMOVED_SEEN, REMOVED_UNSEEN)


def recovery_commands(
    container: Container, recreate: bool = False, scale: int = 1
) -> tuple[str, ...]:
    """The commands that bring it back as it was, the surest first. `recreate`: it can't run as it
    is, since the network that it shares is gone; `scale`: how many of it there are."""
    if container.unit:
        user = ["--user"] if container.kind is EngineKind.ROOTLESS else []
        return (shlex.join(["systemctl", *user, "restart", container.unit]),)
    if container.auto_remove and not container.running:
        return ()
    swarm = container.labels.get(SWARM_SERVICE)
    if swarm:
        return (f"docker service ps --no-trunc {shlex.quote(swarm)}",)
    made_anew = recreate or container.status in NOT_THERE
    own = engine_command(container)
    if not container.service or container.oneoff:
        return () if made_anew else (own,)
    compose = compose_command(container, recreate, scale)
    if made_anew or container.files_seen:
        return (compose,) if compose else ()
    named = compose and compose_files(container.labels)
    return (own, compose) if named else (own,)


def engine_command(container: Container) -> str:
    """The engine's own command for a container that is there."""
    verb = "restart" if container.sick else "start"
    return f"{container.kind.command} {verb} {shlex.quote(container.name)}"


def compose_command(container: Container, recreate: bool, scale: int) -> str:
    """Compose's command for a service, empty where its file is no file. What is there is started as
    it is, whatever has changed in the files."""
    if any(not file.startswith("/") for file in compose_files(container.labels)):
        return ""
    program = [container.kind.command, "compose"]
    if container.by_podman_compose:
        program = ["podman-compose"]
    words = [*program, "-p", container.project, *compose_options(container.labels)]
    if container.sick and not recreate:
        return shlex.join([*words, "restart", container.service])
    words += ["up", "-d"]
    if recreate:
        words.append("--force-recreate")
    words.append(container.service)
    if not recreate and container.status not in NOT_THERE:
        words.append("--no-recreate")
    if scale > 1:  # else compose would go back to the file's number
        words.append(f"--scale={container.service}={scale}")
    return shlex.join(words)


def compose_options(labels: Mapping[str, str]) -> list[str]:
    """The files, the folder and the variables that made a compose container, as far as they are not
    what compose would take by itself."""
    files = compose_files(labels)
    base = (files[0].rpartition("/")[0] or "/") if files else ""
    folder = labels.get(f"{COMPOSE}project.working_dir", "") or base
    words: list[str] = []
    if files and folder != base and PODMAN_COMPOSE not in labels:  # which has no such option
        words += ["--project-directory", folder]
    variables = labels.get(f"{COMPOSE}project.environment_file", "")
    if variables != f"{folder}/.env":
        for file in filter(None, variables.split(",")):
            words += ["--env-file", file]
    for file in files:
        words += ["-f", file]
    return words


def compose_files(labels: Mapping[str, str]) -> list[str]:
    """The files that a compose container was made by, `-` for standard input; podman-compose names
    them from the project's folder."""
    files = list(filter(None, labels.get(f"{COMPOSE}project.config_files", "").split(",")))
    folder = labels.get(f"{COMPOSE}project.working_dir", "")
    if PODMAN_COMPOSE in labels and folder:
        return [file if file.startswith("/") else f"{folder}/{file}" for file in files]
    return files


# ─── Text ─────────────────────────────────────────────────────────────────────────────────────────
# What others wrote, brought to a form that can be shown.

LOG_LINE = 400  # characters of one log line that are shown
LONGEST_LINE = 4000  # characters of one log line that are read
SIGNAL_CODES, LAST_SIGNAL = 128, 31  # an exit code of 128 and a signal's number; the ordinary ones

# What gives a secret away: its name before it, its well-known form, or its place in an address.
SECRETS = (
    (
        re.compile(
            r"(?i)((?:passw(?:or)?d|passwd|pwd|secret|token|credential"
            r"|api[_-]?key|access[_-]?key|private[_-]?key)"
            r"[\w.-]{0,40}[\"']?\s{0,8}(?:[:=]|=>)\s{0,8}[\"']?)([^\s\"',;&]{3,})"
        ),
        r"\1***",
    ),
    (
        re.compile(
            r"(?i)((?<![\w-])--?[\w-]{0,40}(?:password|passwd|secret|token|key)[ =]+)([^\s]{3,})"
        ),
        r"\1***",
    ),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{8,}"), r"\1***"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://[^\s:/@]{0,80}):[^\s/]+@"), r"\1:***@"),
    (re.compile(r"(/webhooks/\d+/)[\w-]+"), r"\1***"),
    (re.compile(r"\b[\w-]{23,28}\.[\w-]{6}\.[\w-]{27,}"), "***"),
    (
        re.compile(
            r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_\w{30,}"
            r"|\bxox[abprs]-[\w-]{10,}|\bsk-[\w-]{20,}"
            r"|\beyJ[\w-]{10,300}\.[\w-]{5,}\.[\w-]*"
        ),
        "***",
    ),
)
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def clean(text: str) -> str:
    """Text that can be shown: no escape sequences, control characters, turned writing, or half
    characters."""
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
    """At most so many characters, cut at the front: the cause of a death stands in the last
    lines."""
    if len(text) <= most:
        return text
    return "…" + text[len(text) - most + 1 :] if most > 0 else ""


def time_down(seconds: float) -> str:
    """How long something was down, in words: a second at least."""
    return span(max(1.0, seconds))


def as_code(text: str) -> str:
    """Text in code style, out of which it can't break; markdown in it, as in `my__name`, stays as
    it is."""
    return f"`{clean(text).replace('`', 'ˋ')}`" if text else ""


def shown_lines(lines: Iterable[str]) -> list[str]:
    """Log lines as they may be shown."""
    shown: list[str] = []
    for line in lines:
        for part in line.splitlines():
            text = clip(redact(clean(part[:LONGEST_LINE])).rstrip(), LOG_LINE)
            if text.strip():
                shown.append(text)
    return shown


def shown(notice: Notice) -> Notice:
    """A notice with nothing in it that may not be shown."""
    took = [replace(each, state=redact(each.state)) for each in notice.consequences]
    return replace(
        notice,
        logs=tuple(shown_lines(notice.logs)),
        error=redact(clean(notice.error)),
        plan=redact(notice.plan),
        consequences=tuple(took),
        facts=tuple((label, redact(text)) for label, text in notice.facts),
    )


def exit_words(exit_code: int | None) -> str:
    """`exit 137 (SIGKILL)`: codes over 128 name a signal, up to the last of the ordinary ones."""
    if exit_code is None:
        return "exit code unknown"
    name = ""
    if SIGNAL_CODES < exit_code <= SIGNAL_CODES + LAST_SIGNAL:
        name = SIGNALS.get(exit_code - SIGNAL_CODES, "")
    return f"exit {exit_code} ({name})" if name else f"exit {exit_code}"


def memory_words(size: int) -> str:
    """Bytes in the unit that people set limits in."""
    return f"{size / 2**30:.3g} GiB" if size >= 2**30 else f"{size / 2**20:.4g} MiB"


# ─── Memory ───────────────────────────────────────────────────────────────────────────────────────
# All that is remembered of a service, in values that the ledger keeps. A name that is `at` or ends
# in `_at` holds moments of the monotonic clock, and is brought to calendar time when it is written.

FIRST_PROOF, LONGEST_PROOF = 5.0, 600.0  # how long a service must live to be called back
REFUND_AFTER = 600.0  # of proven life: then its restarts are forgotten
LOOP_DEATHS, LOOP_SPAN = 3, 300.0
FLAPS, FLAP_SPAN = 3, 3600.0  # so many incidents of one service within an hour are told as one
MEMORY_OF_DEATHS = 64
# an event's time and inspect's of one start differ by less, or the start is another one
SAME_START = 1.0
POLICY_NEAR = 5.0  # so soon after an end Podman's own policy has restarted it
SURVIVED = 120.0  # of health after a signal that asks it to end


@dataclass(frozen=True, slots=True)
class Death:
    """The end of a run. `heard`: the stream told it, so the absence of a `kill` means that nobody
    asked. `times`: as many ends of which only the last is known."""

    time: float
    at: float
    code: int | None
    heard: bool = True
    times: int = 1


@dataclass(frozen=True, slots=True)
class Kill:
    """A signal that was sent through the engine's API."""

    signal: int
    time: float


@dataclass(slots=True)
class Run:
    """One run of a container: the evidence that the stream told from its start to after its end,
    and that end, once it is known. `judged`: it has been seen to, so no later look makes it news
    again."""

    started_time: float = 0.0
    kills: list[Kill] = field(default_factory=list)  # of each signal the first and the last
    stop_time: float = 0.0
    oom_time: float = 0.0
    # when an operator's wish to end it was heard, or its health check recovered after that
    asked_at: float | None = None
    end: Death | None = None
    judged: bool = False
    follows_death: bool = False  # what it depends on did not want the restart that began it
    # Podman: since when an operator's stop of it was at work, or a restart; and when its own policy
    # has restarted it after its end
    wish_time: float = 0.0
    restart_time: float = 0.0
    policy_time: float = 0.0
    unpause_time: float = 0.0

    @property
    def pending(self) -> Death | None:
        """Its end, if that has not been judged."""
        return None if self.judged else self.end

    def note(self, kill: Kill) -> None:
        """A signal was sent to it; one that is told again is known."""
        if kill in self.kills:
            return
        same = [known for known in self.kills if known.signal == kill.signal]
        others = [known for known in self.kills if known not in same[1:]]
        self.kills = [*others, kill]

    def begin(self, time: float) -> None:
        """It began at this time of the engine's: what was before says nothing of it."""
        self.started_time = time
        self.kills = [kill for kill in self.kills if kill.time >= time - SAME_START]
        told = (self.stop_time, self.oom_time, self.wish_time, self.restart_time)
        self.stop_time, self.oom_time, self.wish_time, self.restart_time = (
            each if each >= time else 0.0 for each in told
        )

    def told_of_restart(self, time: float) -> None:
        """Podman: it is restarted, by its own policy where it has just ended, else by an
        operator."""
        if self.end is None:
            self.restart_time = time
        elif time - self.end.time <= POLICY_NEAR:
            self.policy_time = time

    def be_stopped(self, time: float) -> None:
        """Podman: an operator's stop of it was seen at work at this time of the engine's."""
        self.wish_time = self.wish_time or time

    def be_asked(self, now: float) -> None:
        """Somebody wants it to end."""
        if self.asked_at is None or now >= self.asked_at + SURVIVED:
            self.asked_at = now

    def lives_on(self, was_sick: bool, sick: bool, now: float) -> None:
        """It is seen to run. Who is well for minutes after a wish to end it has survived that."""
        if self.asked_at is None:
            return
        if was_sick and not sick:
            self.asked_at = now
        elif not was_sick and now >= self.asked_at + SURVIVED:
            self.asked_at = None

    def calm_down(self) -> None:
        """What depends on it has gone on."""
        self.follows_death = False

    def end_unseen(self, death: Death) -> None:
        """It has ended, as its container is gone."""
        self.end = death

    def settle(self) -> None:
        """Its end has been seen to."""
        self.judged = self.end is not None


class Standing(Enum):
    """How far an outage has been told."""

    UNTOLD = auto()
    INHERITED = auto()  # told as another one's consequence until now, and soon by itself
    TOLD = auto()
    CARRIED = auto()  # a green has named it as not back: nothing more is told until one more falls


@dataclass(slots=True)
class Outage:
    """Incidents with one root cause. `root` is a service, or empty for the engine, or for what a
    mute left behind; then `notice` is what there is to tell, and `back_at` since when that root is
    back."""

    number: int
    began_at: float
    root: str = ""
    members: list[str] = field(default_factory=list)  # services, in the order in which they fell
    standing: Standing = Standing.UNTOLD
    flaps: int = 0
    moved_at: float = 0.0  # when one of them came back last
    notice: Notice | None = None
    back_at: float | None = None
    joined: Outage | None = None  # the outage that it was merged into
    taken_by: str = ""  # who has said that they see to it
    asked: tuple[str, ...] = ()  # what people asked for, and who
    host: str = ""  # the roll call of a host that has gone dark

    @property
    def current(self) -> Outage:
        """The outage that tells its story now."""
        return self.joined.current if self.joined else self


@dataclass(slots=True)
class Incident:
    """One service's part in an outage. `notice`: what there is to tell of it now."""

    outage: Outage
    began_at: float
    notice: Notice
    deaths: int = 0
    attempts: int = 0
    looped_at: float | None = None  # since when it is a crash loop
    back_at: float | None = None  # since when it is back, where the outage goes on
    hopeless: str = ""  # why it is not healed


@dataclass(frozen=True, slots=True)
class Budget:
    """Restarts and deaths of a service since it last proved itself. `refund_at`: where somebody
    else has started it, when it will have lived long enough for its restarts to be forgotten.
    `granted`: the next restart is no try to mend it, and spends nothing: the engine ended it, or
    what it needs is back."""

    attempts: int = 0
    died_at: tuple[float, ...] = ()
    refund_at: float | None = None
    granted: bool = False

    @property
    def proof(self) -> float:
        """Seconds of life that prove it: doubled by each relapse."""
        relapses = max(0, len(self.died_at) - 1)
        return float(min(LONGEST_PROOF, FIRST_PROOF * 2**relapses))

    def died(self, now: float, times: int) -> Budget:
        """With so many deaths more."""
        return replace(self, died_at=(*self.died_at, *[now] * times)[-MEMORY_OF_DEATHS:])

    def spent(self) -> Budget:
        """With one restart more, unless that was granted."""
        if self.granted:
            return replace(self, granted=False)
        return replace(self, attempts=self.attempts + 1)

    def started(self, back_at: float, ours: bool, now: float) -> Budget:
        """At the beginning of a run: Docker's or Sentinel's doing, or somebody's."""
        if ours:
            return replace(self, refund_at=None, granted=False)
        begun = replace(self, died_at=self.recent(now), granted=False)
        return replace(begun, refund_at=back_at + begun.proof)

    def lived(self, until_at: float) -> Budget:
        """At the end of a run, or while it goes on: somebody's start has proven itself, or not."""
        if self.refund_at is None or until_at < self.refund_at:
            return self
        return Budget(died_at=self.died_at)

    def recent(self, now: float) -> tuple[float, ...]:
        """When it died lately: three such deaths are a crash loop."""
        return tuple(when for when in self.died_at if when > now - LOOP_SPAN)


@dataclass(frozen=True, slots=True)
class Deploy:
    """A replacement was seen, so a removal is half of a deploy; `successor` is it, where it is
    still there."""

    successor: Container | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A restart of Sentinel's: of which container, and until when it may be at work, where its
    answer was lost."""

    container: str
    until_at: float | None = None
    by: str = ""  # who has asked for it
    started_time: float = 0.0  # of the run that it is to end, or to follow


class Hush(StrEnum):
    """Whether a service is muted, and how it stood when that began, or what befell it since."""

    NONE = ""
    STANDING = "standing"
    DOWN = "down"
    DIED = "died"


@dataclass(slots=True)
class Watched:
    """A watched service: the only memory that Sentinel has of it. Its key stays; containers come
    and go."""

    key: str
    container: Container
    policy: Policy
    phase: Phase
    run: Run = field(default_factory=Run)  # the one that its phase is about
    logs: tuple[str, ...] = ()
    deploy: Deploy | None = None
    incident: Incident | None = None
    budget: Budget = Budget()
    call: Call | None = None
    hush: Hush = Hush.NONE
    fell_at: float | None = None  # while it was muted
    known_error: str = ""  # the engine's words at the last failed start
    last_fall: Notice | None = None  # what was told of its last death, for who asks later
    network_parent: str = ""  # the service whose network it shares
    proved_at: float | None = None
    back_at: float = 0.0
    noted_at: float | None = None
    startable_at: float | None = None  # since when nothing that is known keeps compose from it
    incident_ends_at: list[float] = field(default_factory=list)  # the last ones, for flapping

    @property
    def alive(self) -> bool:
        """Whether it runs and nothing speaks against it."""
        return self.phase in STANDING and self.container.running

    @property
    def lives(self) -> bool:
        """Whether its container was last seen alive, so that an end of it is news."""
        if self.phase in WAITING or self.phase is Phase.GAVE_UP:
            return self.container.running  # it runs on, and is sick
        return self.phase in STANDING

    @property
    def is_back(self) -> bool:
        """Whether nothing is told of it that is not over."""
        return self.incident is None or self.incident.back_at is not None

    @property
    def muted(self) -> bool:
        """Whether it is left alone."""
        return self.hush is not Hush.NONE

    @property
    def death(self) -> Death | None:
        """Its end, where that is still to be judged."""
        return self.run.pending

    def move(self, phase: Phase) -> None:
        """Change phase. Unforeseen: the table has no such move."""
        if phase is self.phase:
            return
        if phase not in MOVES[self.phase]:
            raise Unforeseen(f"{self.container.name}: from {self.phase} to {phase}")
        self.phase = phase

    def refund(self) -> None:
        """Forget restarts and deaths: it is another container."""
        self.budget = Budget()
        self.known_error = ""
        self.make_hope()

    def relieve(self) -> None:
        """What it died of is over: it is tried once more, whatever it has spent."""
        self.budget = replace(self.budget, died_at=(), granted=True)
        self.known_error = ""
        self.make_hope()

    def wait_for_start(self, startable: bool, now: float) -> float:
        """It was made and is not started yet: for how long compose has had no reason to wait."""
        if not startable:
            self.startable_at = None
            return 0.0
        if self.startable_at is None:
            self.startable_at = now
        return now - self.startable_at

    def make_hope(self) -> None:
        """Whatever spoke against healing it does not any more."""
        incident = self.incident
        if incident:
            incident.hopeless = ""

    def recent_incidents(self, now: float) -> int:
        """How many incidents it has had within the hour, this one included; 0 if those are not too
        many."""
        recent = [when for when in self.incident_ends_at if when > now - FLAP_SPAN]
        number = len(recent) + 1
        return number if number >= FLAPS else 0


def older(one: Watched, other: Watched) -> bool:
    """Whether one service's run began before another's."""
    return one.container.started_time < other.container.started_time


@dataclass(frozen=True, slots=True)
class Drill:
    """A container that somebody kills to see whether that is told and healed: since when, and
    whether whom it concerns is to be pinged."""

    since_time: float
    pings: bool = False


# ─── Timers ───────────────────────────────────────────────────────────────────────────────────────


class Rule(Enum):
    """What there is to do at a moment. Its key is a service, a container, an outage, or empty."""

    MUTE = auto()  # see who is muted from now on
    UNMUTE = auto()  # tell what became of those whose mute is over
    SUBSCRIBE = auto()  # open the event stream
    LIST = auto()  # list all containers
    ENGINE = auto()  # the engine has been away for long
    GRACE = auto()  # is the engine done with what it brings back?
    REMIND = auto()  # say what is still down
    DEPENDANTS = auto()  # what needs this service goes on
    PHASE = auto()  # what the service's phase waits for
    FORGET = auto()  # the service is gone for good
    NETWORK = auto()  # has compose put back who lost its network?
    UNHEARD = auto()  # an end that no event told
    LOOK = auto()  # look at a container
    OOM = auto()  # does a container live on whose child ran out of memory?
    OUTAGE = auto()  # is it over?
    REMOVALS = auto()  # tell which containers were removed
    ROLL = auto()  # call in a medium, or read what others call


FIRST_RULES = (Rule.MUTE, Rule.UNMUTE)  # of all that is due at once
ENGINE_RULES = frozenset(  # what can be done only while it is known how things stand
    {
        Rule.DEPENDANTS,
        Rule.PHASE,
        Rule.FORGET,
        Rule.NETWORK,
        Rule.UNHEARD,
        Rule.LOOK,
        Rule.OOM,
        Rule.OUTAGE,
    }
)
SERVICE_RULES = (Rule.PHASE, Rule.FORGET, Rule.DEPENDANTS, Rule.NETWORK, Rule.UNHEARD)
CONTAINER_RULES = (Rule.LOOK, Rule.OOM)

Timer = tuple[Rule, str]


class Timers:
    """What is due, and when: one moment for each rule and key. What waits for something that no
    clock tells is parked until that happens, or held with all of its rule: then it wakes nobody."""

    def __init__(self) -> None:
        self._due: dict[Timer, float] = {}
        self._parked: set[Timer] = set()
        self._held: frozenset[Rule] = frozenset()

    def set(self, rule: Rule, key: str, when: float) -> None:
        """Have it done at this moment, and at no other."""
        self._due[rule, key] = when
        self._parked.discard((rule, key))

    def sooner(self, rule: Rule, key: str, when: float) -> None:
        """Have it done at this moment at the latest."""
        self.set(rule, key, min(when, self._due.get((rule, key), math.inf)))

    def cancel(self, key: str, *rules: Rule) -> None:
        """Not any more."""
        for rule in rules:
            self._due.pop((rule, key), None)
            self._parked.discard((rule, key))

    def park(self, rule: Rule, key: str, when: float) -> None:
        """Have it wait, from this moment on, until it is released."""
        self._due[rule, key] = when
        self._parked.add((rule, key))

    def release(self, rule: Rule, key: str) -> None:
        """What was parked goes on."""
        self._parked.discard((rule, key))

    def hold(self, rules: frozenset[Rule]) -> None:
        """Nothing of these rules is done for now, and all others' things are."""
        self._held = rules

    def at(self, rule: Rule, key: str) -> float | None:
        """When something is due, None if it is not."""
        return self._due.get((rule, key))

    def any(self, rule: Rule) -> bool:
        """Whether anything of a rule is due some time."""
        return any(each is rule for each, _ in self._due)

    def ripe(self, now: float) -> list[Timer]:
        """What is due now."""
        return [timer for timer, when in self._due.items() if when <= now and self._wakes(timer)]

    def next_at(self) -> float | None:
        """When something is due next."""
        moments = [when for timer, when in self._due.items() if self._wakes(timer)]
        return min(moments, default=None)

    def forget_keys(self) -> None:
        """Drop all that is about a service, a container or an outage."""
        for rule, key in list(self._due):
            if key and rule is not Rule.ROLL:
                self.cancel(key, rule)

    def _wakes(self, timer: Timer) -> bool:
        return timer[0] not in self._held and timer not in self._parked


LOOKS_IN_TURN = 2  # at once, of those for which nothing waits: less than there are workers


class Orders:
    """What is to be done at the edges, and which looks are on their way: one at a time for each
    container. Those that a listing wants go a few at a time, so that a death's look waits for no
    queue of them."""

    def __init__(self, known_since: Callable[[str], float]) -> None:
        """`known_since`: since when the last lines of a container are not known."""
        self._known_since = known_since
        self._actions: list[Action] = []
        self._looks: dict[str, bool] = {}  # container → whether to look again after it
        self._in_turn: dict[str, None] = {}  # containers that are to be looked at after others

    def add(self, action: Action) -> None:
        """Have something done."""
        self._actions.append(action)

    def log(self, level: str, text: str) -> None:
        """Write a line into Sentinel's own record."""
        self._actions.append(Log(level, text))

    def look(self, container_id: str) -> None:
        """Ask for a look, or for another one after that which is on its way: more has happened
        meanwhile."""
        self._in_turn.pop(container_id, None)
        if container_id in self._looks:
            self._looks[container_id] = True
        else:
            self._looks[container_id] = False
            self._actions.append(Look(container_id, self._known_since(container_id)))

    def look_in_turn(self, container_id: str) -> None:
        """Ask for a look for which nothing waits."""
        if container_id in self._looks:
            self._looks[container_id] = True
        else:
            self._in_turn[container_id] = None

    def looked(self, container_id: str) -> bool:
        """A look was answered: whether something has overtaken it."""
        return self._looks.pop(container_id, True)

    def looking(self, container_id: str) -> bool:
        """Whether a look at a container is on its way."""
        return container_id in self._looks or container_id in self._in_turn

    @property
    def busy(self) -> bool:
        """Whether any look is on its way."""
        return bool(self._looks or self._in_turn)

    def take(self) -> list[Action]:
        """All that is to be done, once."""
        while self._in_turn and len(self._looks) < LOOKS_IN_TURN:
            self.look(next(iter(self._in_turn)))
        actions = self._actions
        self._actions = []
        return actions


@dataclass(slots=True)
class Calendar:
    """What turns monotonic moments into calendar time."""

    offset: float = 0.0
    ahead: float = 0.0  # the engine's clock is, of Sentinel's
    began_at: float = 0.0

    def begin(self, now: float, now_time: float) -> None:
        """Sentinel begins to watch."""
        self.began_at = now
        self.set(now, now_time)

    def set(self, now: float, now_time: float) -> None:
        """Now, on both clocks."""
        self.offset = now_time - now

    def time_of(self, at: float) -> float:
        """Unix seconds of a moment."""
        return at + self.offset

    def at(self, time: float) -> float:
        """The moment of Unix seconds."""
        return time - self.offset

    def engine_time(self, at: float) -> float:
        """Unix seconds of a moment, by the engine's clock."""
        return at + self.offset + self.ahead

    def engine_at(self, time: float) -> float:
        """The moment of Unix seconds by the engine's clock."""
        return time - self.offset - self.ahead

    def meet(self, ahead: float) -> None:
        """How far the engine's clock is ahead."""
        self.ahead = ahead


# ─── Services ─────────────────────────────────────────────────────────────────────────────────────

CONTAINER_ID = re.compile(r"[0-9a-f]{64}")

Needs = list[tuple[Watched, Dependency]]  # services at one end of dependencies, and these


class Network(Enum):
    """Whose network a service is on, and whether that is still there."""

    OWN = auto()  # or that of nobody who is watched
    SHARED = auto()
    STALE = auto()  # its owner was restarted, and it runs on without
    GONE = auto()  # its owner was recreated


@dataclass(frozen=True, slots=True)
class Graph:
    """Who needs whom, and who is needed by whom: keys of services, with the dependency."""

    parents: Mapping[str, Mapping[str, Dependency]]
    children: Mapping[str, Mapping[str, Dependency]]


class Services(Mapping[str, Watched]):
    """Who is who, and who needs whom. A mapping from key to service; all but the first few methods
    are questions."""

    def __init__(self) -> None:
        self._by_key: dict[str, Watched] = {}
        self._keys: dict[str, str] = {}  # container → service
        self._groups: dict[
            tuple[str, str], dict[str, None]
        ] = {}  # (project, compose service) → services
        # who share a network of which it is not known yet whose it is
        self._lodgers: set[str] = set()
        self._graph: Graph | None = None  # worked out once after each change
        self._changed: set[str] = set()  # who may have changed since they were last saved
        self._here: frozenset[str] = frozenset()  # all containers that the engine had, by id
        self._here_time = 0.0  # at this time, its own

    def __getitem__(self, key: str) -> Watched:
        return self._by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    # What changes it

    def enter(self, service: Watched) -> None:
        """Make a service findable by its container, its project, and its name in that."""
        self._by_key[service.key] = service
        self._keys[service.container.id] = service.key
        self._regroup(service, set(), groups_of(service.container))
        if service.container.network_target:
            self._lodgers.add(service.key)
        for key in list(self._lodgers):  # an owner can be told only while that container is there
            if self.find_network(self._by_key[key]):
                self._lodgers.remove(key)
        self.changed(service)
        self._graph = None

    def forget(self, service: Watched) -> None:
        """A service is gone for good."""
        del self._by_key[service.key]
        self._lodgers.discard(service.key)
        self._regroup(service, groups_of(service.container), set())
        self.changed(service)
        self._graph = None

    def _regroup(
        self, service: Watched, before: set[tuple[str, str]], after: set[tuple[str, str]]
    ) -> None:
        """A service is found in other groups than before."""
        for group in before - after:
            members = self._groups.get(group, {})
            members.pop(service.key, None)
            if not members:
                self._groups.pop(group, None)
        for group in after - before:
            self._groups.setdefault(group, {})[service.key] = None

    def rename(self, service: Watched, key: str) -> None:
        """A service is known by another key from now on."""
        before = service.key
        containers = self.containers(before)
        self.forget(service)
        service.key = key
        for other in self._by_key.values():
            if other.network_parent == before:
                other.network_parent = key
                self.changed(other)
        self.enter(service)
        for container_id in containers:
            self._keys[container_id] = key

    def clear(self) -> None:
        """Forget everybody: these containers are another engine's."""
        self._changed |= set(self._by_key)
        for memory in (self._by_key, self._keys, self._groups, self._lodgers):
            memory.clear()
        self._graph = None

    def listed(self, ids: Iterable[str], engine_time: float) -> None:
        """The engine had these containers at this time, watched or not."""
        self._here, self._here_time = frozenset(ids), engine_time

    def link(self, container_id: str, key: str) -> None:
        """One more container of a service: its replacement."""
        self._keys[container_id] = key

    def unlink(self, container_id: str) -> Watched | None:
        """A container is no more: whose it was."""
        return self._by_key.get(self._keys.pop(container_id, ""))

    def show(self, service: Watched, container: Container) -> None:
        """A service's container is this one, as it is now."""
        before = service.container
        if service.key != container.key and not container.genuine:
            container = container.without_compose()
        self._regroup(service, groups_of(before), groups_of(container))
        service.container = container
        self.changed(service)
        if (before.id, before.name, before.labels) != (
            container.id,
            container.name,
            container.labels,
        ):
            self._graph = None
        self.find_network(service)

    def changed(self, service: Watched) -> None:
        """A service may have changed, and is to be saved."""
        self._changed.add(service.key)

    def take_changed(self) -> set[str]:
        """The keys of all that may have changed, once."""
        changed = self._changed
        self._changed = set()
        return changed

    def find_network(self, service: Watched) -> str:
        """Whose network it shares, if anybody's: remembered, for when that container is
        replaced."""
        target = service.container.network_target
        found = ""
        if target:
            found = self.meant(target, service.container.project) or service.network_parent
        if found != service.network_parent:
            service.network_parent = found
            self.changed(service)
            self._graph = None
        return found

    # Who is who

    def of(self, container_id: str) -> Watched | None:
        """Whose container this is."""
        return self._by_key.get(self._keys.get(container_id, ""))

    def last_of(self, container_id: str) -> Watched | None:
        """Whose container this was last, though it is no more."""
        for service in self._by_key.values():
            if service.container.id == container_id:
                return service
        return None

    def known_since(self, container_id: str) -> float:
        """Since when the last lines of a container are not known, by the engine's clock: since its
        run that was seen last began, or has ended; 0 where none was."""
        service = self.of(container_id)
        if service is None or service.container.id != container_id:
            return 0.0
        known = service.container
        if known.running or known.finished_time < known.started_time:
            return known.lines_time
        return known.finished_time + LAST_LINES

    def containers(self, key: str = "") -> list[str]:
        """The ids of all containers that are known, or of those of one service."""
        return [each for each, known in self._keys.items() if not key or known == key]

    def meant(self, name: str, project: str) -> str:
        """The service that a container's id or name, or a compose service of a project, means;
        empty for none."""
        if name in self._keys:
            return self._keys[name]
        for key in self._groups.get((project, name), ()):
            return key
        for key, service in self._by_key.items():
            if service.container.name == name:
                return key
        return ""

    def siblings(self, service: Watched) -> list[Watched]:
        """The others of its project; the other services that have none, where it has none."""
        project = service.container.project
        others = self._groups.get((project, ""), ())
        return [self._by_key[key] for key in others if key != service.key]

    def replicas(self, service: Watched) -> list[Watched]:
        """The other containers of the same compose service."""
        container = service.container
        if not container.service:
            return []
        others = self._groups.get((container.project, container.service), ())
        return [self._by_key[key] for key in others if key != service.key]

    def is_job(self, service: Watched) -> bool:
        """By its label, as a one-off, or because a sibling waits for its completion."""
        if service.policy.job is not None:
            return service.policy.job
        name = service.container.service
        if not name:
            return False
        return any(name in waits_for_end(sibling.container) for sibling in self.siblings(service))

    def jobs_before(self, child: Watched) -> list[Watched]:
        """The jobs on whose successful end a service waits."""
        names = waits_for_end(child.container)
        return [each for each in self.siblings(child) if each.container.service in names]

    def unstarted_after(self, job: Watched) -> list[Watched]:
        """What waits for the end of a job, and was not started yet."""
        made = [each for each in self.siblings(job) if each.container.unstarted]
        return [each for each in made if job in self.jobs_before(each)]

    def finished(self, service: Watched) -> bool:
        """Whether it has ended as it should, with nobody asking."""
        container = service.container
        if container.status != "exited" or container.exit_code != 0:
            return False
        return container.restart_policy == "on-failure" or self.is_job(service)

    # Who needs whom

    def parents(self, child: Watched) -> Needs:
        """What a service depends on to run, as far as it is watched: by compose's label, a shared
        network, a legacy link."""
        return self._ends(self.graph().parents.get(child.key, {}))

    def children(self, parent: Watched) -> Needs:
        """What depends on a service."""
        return self._ends(self.graph().children.get(parent.key, {}))

    def above(self, child: Watched) -> Needs:
        """All that a service depends on, through others too, the near ones first."""
        return self._reached(self.graph().parents, child)

    def below(self, parent: Watched) -> Needs:
        """All that depends on a service, through others too, the near ones first."""
        return self._reached(self.graph().children, parent)

    def needs(self, child: Watched, parent: Watched) -> bool:
        """Whether a service depends on another, through others too."""
        return any(other is parent for other, _ in self.above(child))

    def roots_first(self, services: Iterable[Watched]) -> list[Watched]:
        """Services, what others depend on first."""
        return sorted(services, key=self.depth)

    def depth(self, service: Watched) -> int:
        """How many services are to run before it."""
        return len(self.above(service))

    def chain(self, service: Watched, root: str) -> tuple[str, ...]:
        """Names from a service to the root of its outage, along what depends on what."""
        if root not in self._by_key:
            return (service.container.short,)
        seen = {service.key}
        ways: deque[tuple[Watched, ...]] = deque([(service,)])
        while ways:
            way = ways.popleft()
            for parent, _ in self.parents(way[-1]):
                if parent.key == root:
                    return tuple(step.container.short for step in (*way, parent))
                if parent.key not in seen:
                    seen.add(parent.key)
                    ways.append((*way, parent))
        return service.container.short, self._by_key[root].container.short

    def network_of(self, child: Watched) -> Network:
        """Whose network a service is on, and whether that is still there."""
        target = child.container.network_target
        parent = self._by_key.get(child.network_parent)
        if parent is None and CONTAINER_ID.fullmatch(target):
            known = child.container.started_time < self._here_time  # it began before that listing
            return Network.GONE if known and target not in self._here else Network.OWN
        if parent is None or not target or parent.phase in REMOVED:
            return Network.OWN
        owner = parent.container
        if target not in (owner.id, owner.name, owner.service):
            return Network.GONE
        return Network.STALE if older(child, parent) else Network.SHARED

    def adrift(self, service: Watched) -> bool:
        """Whether a service has lost the network that it shares."""
        return self.network_of(service) in (Network.STALE, Network.GONE)

    def graph(self) -> Graph:
        """Who needs whom, worked out anew where something has changed."""
        if self._graph is None:
            parents = {key: self._needed_by(service) for key, service in self._by_key.items()}
            children: dict[str, dict[str, Dependency]] = {}
            for key, needed in parents.items():
                for parent, dependency in needed.items():
                    children.setdefault(parent, {})[key] = dependency
            self._graph = Graph(parents, children)
        return self._graph

    def _needed_by(self, child: Watched) -> dict[str, Dependency]:
        container = child.container
        found: dict[str, Dependency] = {}
        for name, dependency in depends_on(container.labels).items():
            if dependency.condition != COMPLETED:
                found |= dict.fromkeys(self._groups.get((container.project, name), ()), dependency)
        for name in container.links:
            found.setdefault(self.meant(name, container.project), Dependency())
        if child.network_parent:
            known = found.get(child.network_parent, Dependency())
            found[child.network_parent] = replace(known, network=True)
        return {
            key: link for key, link in found.items() if key in self._by_key and key != child.key
        }

    def _ends(self, links: Mapping[str, Dependency]) -> Needs:
        return [(self._by_key[key], dependency) for key, dependency in links.items()]

    def _reached(self, links: Mapping[str, Mapping[str, Dependency]], start: Watched) -> Needs:
        found = dict(links.get(start.key, {}))
        ahead = deque(found)
        while ahead:
            for key in links.get(ahead.popleft(), {}):
                if key not in found and key != start.key:
                    found[key] = Dependency(direct=False)
                    ahead.append(key)
        return self._ends(found)


def groups_of(container: Container) -> set[tuple[str, str]]:
    """Where a service is found: in its project, and there by its compose service; a one-off goes by
    no name."""
    name = "" if container.oneoff else container.service
    return {(container.project, ""), (container.project, name)}


# ─── Runs ─────────────────────────────────────────────────────────────────────────────────────────

# `stop` and `destroy` follow a `die` by up to 52 ms on 20.10; a loaded engine takes longer
STOP_GRACE = 1.5
# so soon after a `die`, a `stop` is about it; and so long after its timeout a stop may take
STOP_NEAR = 2.0
KILL_NEAR = 12.0  # a kill that ended a run came so shortly before
OOM_NEAR = 10.0
TOLD_LATE = 5.0  # what is older than this is told after an absence of the engine, or of its API
DRAIN_PATIENCE = 900.0  # for what runs on after it was asked to end, and is sick
WORTHLESS_CODES = (0, 137, 143)  # codes that a stop and a death share
KILLED_CODE = 137
CODE_LABEL = "exitCode"  # overwrites an event's attribute of that name
ASKING_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def last_kill(run: Run, signals: Collection[int]) -> Kill | None:
    """The last of these signals that was sent to a run."""
    sent = [kill for kill in run.kills if kill.signal in signals]
    return max(sent, key=lambda kill: kill.time, default=None)


def intent_of(run: Run, death: Death, container: Container, final: bool = False) -> Intent:
    """Who wanted this end, by the kills of its run and a `stop` on either side of the `die`. On
    every Docker engine an end made through the API has its `kill` before its `die`; `stop` follows
    on 20.10, and precedes it on 26 and later. HUP or USR1 is no wish to end, and what survived
    TERM, INT or QUIT may crash later; KILL alone is `docker kill`, unless `stop` or a removal
    follows. `final`: nothing is awaited."""
    if run.stop_time and run.stop_time - death.time <= STOP_NEAR:
        return Intent.OPERATOR
    if container.kind.podman:
        return intent_in_podman(run, death, container, final)
    asked = last_kill(run, {*ASKING_SIGNALS, container.stop_signal} - {signal.SIGKILL})
    if asked and obeyed(asked, death, container):
        return Intent.OPERATOR
    killed = last_kill(run, [signal.SIGKILL])
    killed_near = killed is not None and death.time - killed.time <= KILL_NEAR
    if killed_near and container.status == "removing" and not container.auto_remove:
        return Intent.OPERATOR  # `rm -f`: it may take long to remove what the container has written
    if final or (asked is None and not killed_near):
        return Intent.NOBODY
    return Intent.UNCLEAR


def obeyed(asked: Kill, death: Death, container: Container) -> bool:
    """Whether an end is what a signal asked for, as far as that tells: soon after it, with its own
    code or 0. Where the stream has not told of the end, no more than its time is asked for, since a
    `stop` may be missing, too."""
    if death.time - asked.time > container.patience + STOP_NEAR:
        return False
    code = code_of(death, container)
    return not death.heard or code in (None, 0, SIGNAL_CODES + asked.signal)


def intent_in_podman(run: Run, death: Death, container: Container, final: bool) -> Intent:
    """Who wanted an end on Podman. No event tells of a stop; from 4.7 on `StoppedByUser` of its
    inspect does, once it has ended, and a `restart` before it tells of a restart by an operator,
    which has failed where nothing follows. A kill sets that flag as well, even one that the run has
    survived. Where nothing says who, what a policy keeps up and did not bring back was stopped."""
    if run.wish_time and run.wish_time <= death.time + STOP_NEAR:
        return Intent.OPERATOR
    if run.restart_time:
        return Intent.NOBODY if final else Intent.OPERATOR
    if brought_back(run, death, container):
        return Intent.NOBODY
    if run.kills:
        asked = killed_untold(run, death) and code_of(death, container) in codes_of_stops(container)
        return Intent.OPERATOR if asked else Intent.NOBODY  # as far as can be told
    if container.started_time > death.time:  # it runs again, and its policy has not done that
        return intent_of_restarted(death, container)
    if container.stopped_by_user is not None:
        return Intent.OPERATOR if container.stopped_by_user else Intent.NOBODY
    if stays_down(run, death, container):
        return Intent.OPERATOR if final else Intent.UNCLEAR
    return Intent.NOBODY


def intent_of_restarted(death: Death, container: Container) -> Intent:
    """Who wanted an end on Podman after which somebody has started it again before it was looked
    at: only its code tells a stop from a death then."""
    codes = {None, KILLED_CODE, *codes_of_stops(container)}
    return Intent.OPERATOR if told_code(death, container) in codes else Intent.NOBODY


def stays_down(run: Run, death: Death, container: Container) -> bool:
    """Whether a policy of Podman's would have to restart what has ended, and has not."""
    if container.running or container.status in NOT_THERE or not container.kept_up:
        return False
    return not ended_for_memory(run, death, container)


def codes_of_stops(container: Container) -> set[int]:
    """The exit codes of what obeys a signal that asks it to end."""
    signals = {*ASKING_SIGNALS, container.stop_signal} - {signal.SIGKILL}
    return {0} | {SIGNAL_CODES + number for number in signals}


def brought_back(run: Run, death: Death, container: Container) -> bool:
    """Whether Podman's own policy has restarted it after an end, which it does at once; a start by
    hand sets its count to 0."""
    if container.restart_policy == "no":
        return False
    if container.started_time > death.time:
        return container.restart_count > 0
    return run.policy_time > 0.0


def killed_untold(run: Run, death: Death) -> bool:
    """Whether a signal that Podman does not name came so shortly before an end that it was the
    reason."""
    killed = last_kill(run, [UNTOLD])
    return killed is not None and death.time - killed.time <= STOP_NEAR


def ended_for_memory(run: Run, death: Death, container: Container) -> bool:
    """Whether memory ran out shortly before an end, or the engine says so of it."""
    told = run.oom_time > 0.0 and death.time - run.oom_time < OOM_NEAR
    return told or (container.oom_killed and not container.running)


def cause_of(
    run: Run, death: Death, before: Container, container: Container, code: int | None
) -> Cause:
    """Why the run ended. `before`: the container while it ran."""
    if code and ran_out_of_memory(run, death, before, container):
        return Cause.OOM
    near = [kill.signal for kill in run.kills if death.time - kill.time < KILL_NEAR]
    if (near and near[-1] == signal.SIGKILL) or killed_untold(run, death):
        return Cause.API_KILL
    if near and code == SIGNAL_CODES + near[-1]:
        return Cause.SIGNALLED
    if is_unclear(run, death, container, code):
        return Cause.UNSEEN
    return Cause.OUTSIDE if code == KILLED_CODE else Cause.EXIT


def ran_out_of_memory(run: Run, death: Death, before: Container, container: Container) -> bool:
    """Whether there is evidence of it: 137 alone is none. 20.10 keeps the OOMKilled flag through
    the next run, so it counts only if it was not set before; Podman keeps it for ever, and has no
    event to tell more."""
    told = run.oom_time > 0.0 and death.time - run.oom_time < OOM_NEAR
    again = container.kind.podman and container.exit_code == KILLED_CODE
    return told or (container.oom_killed and (again or not before.oom_killed))


def code_of(death: Death, container: Container) -> int | None:
    """The exit code: inspect's where that shows this run's end, else the event's."""
    if container.status not in ("running", REMOVED_UNSEEN):
        return container.exit_code
    return told_code(death, container)


def told_code(death: Death, container: Container) -> int | None:
    """The exit code that an event told, None where a label overwrites it."""
    return None if CODE_LABEL in container.labels else death.code


UNCLEAR = "a stop can't be told from a death here; sentinel.restart=true restarts it"
NO_POLICY = "its restart policy is `no`; if it is a job, label it sentinel.job=true"


def hopeless_end(run: Run, death: Death, container: Container, exit_code: int | None) -> str:
    """Why an end is told and not healed, empty where it is healed."""
    if container.status == REMOVED_UNSEEN:
        return REMOVES_ITSELF if container.auto_remove else "it was removed"
    if container.status == "exited" and is_unclear(run, death, container, exit_code):
        return UNCLEAR
    if exit_code == 0 and container.restart_policy == "no":
        return NO_POLICY
    return ""


def is_unclear(run: Run, death: Death, container: Container, exit_code: int | None) -> bool:
    """Whether nothing tells a stop from a death: no event told of it, and the code says nothing.
    Podman says who ended it, unless it is old, or the run has survived a kill, which it takes for a
    stop."""
    if not container.kind.podman:
        return not death.heard and exit_code in WORTHLESS_CODES
    if brought_back(run, death, container) or killed_untold(run, death):
        return False
    shared = exit_code in {KILLED_CODE, *codes_of_stops(container)}
    if container.stopped_by_user is None:
        told = ended_for_memory(run, death, container)
        return not told and (container.status == "exited" or shared)
    return container.stopped_by_user and shared


class Ending(Enum):
    """What an end of a run is, as far as nobody asked for it."""

    FINISHED = auto()
    FAILED = auto()  # a job, with an error
    DEAD = auto()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an end is, why it came, and the exit code, None where that is not known."""

    ending: Ending
    cause: Cause
    exit_code: int | None


def judgement_of(
    run: Run, death: Death, before: Container, container: Container, job: bool
) -> Judgement:
    """What an end is that nobody asked for. `before`: the container while that run lasted."""
    exit_code = code_of(death, container)
    cause = cause_of(run, death, before, container, exit_code)
    at_work = container.status in ("restarting", "running") and container.restart_policy != "no"
    to_end = container.restart_policy == "on-failure" or container.auto_remove
    typed_in = container.oneoff and container.interactive  # whoever typed there has seen its end
    if (exit_code == 0 and (to_end or (job and not at_work))) or (job and typed_in):
        return Judgement(Ending.FINISHED, cause, exit_code)
    if job and not at_work:
        return Judgement(Ending.FAILED, cause, exit_code)
    return Judgement(Ending.DEAD, cause, exit_code)


REMOVES_ITSELF = "the engine removes it at its end (--rm)"


class Runs:
    """The evidence of each container's present run, and of the time in which Sentinel was away."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self._runs: dict[str, Run] = {}  # by container
        self._history = (0.0, 0.0)  # engine's times before Sentinel's start that are replayed
        self._absence = (0.0, 0.0)  # engine's times at which Sentinel was away: that is caught up
        self._lost = (0.0, 0.0)  # engine's times of which nobody knows any more
        self._attached: set[str] = set()  # containers whose output somebody has followed

    def was_away(self, since_time: float, until_time: float) -> None:
        """Sentinel was away between these times, by the engine's clock; what was before is evidence
        only."""
        self._absence = since_time, until_time
        self._history = 0.0, since_time

    def is_back(self, until_time: float) -> None:
        """Until when it was, by the engine's clock."""
        if self._absence[0]:
            self._absence = self._absence[0], until_time

    def lose(self, since_time: float, until_time: float) -> None:
        """The engine was started anew, and has forgotten what was between these of its times."""
        self._lost = since_time, until_time

    def is_lost(self, engine_time: float) -> bool:
        """Whether nobody knows any more what was at a time."""
        return self._lost[0] < engine_time < self._lost[1]

    def replays(self, since_time: float, until_time: float) -> None:
        """A first stream tells what was before Sentinel: evidence only."""
        self._history = since_time, until_time

    @property
    def away_since_time(self) -> float:
        """Since when Sentinel was away before it started, 0 if it never was."""
        return self._absence[0]

    @property
    def away_for(self) -> float:
        """How long Sentinel was away before it started."""
        return self._absence[1] - self._absence[0] if self._absence[0] else 0.0

    def take_in(self, events: Iterable[Heard], now: float) -> None:
        """Evidence of what was before anybody watched."""
        for event in events:
            self.heard(event)
            if event.action == "die":
                self.ended(event, now)

    def was_before(self, engine_time: float) -> bool:
        """Whether something was before Sentinel began to watch, or while it was away."""
        return engine_time < max(self._history[1], self._absence[1])

    def is_evidence_only(self, event: Heard) -> bool:
        """Whether an event is from before Sentinel's time, and to be noted without acting on it."""
        return self._history[0] <= event.time <= self._history[1]

    def moment(self, engine_time: float, now: float) -> float:
        """When something was, by the monotonic clock: now, unless it was while Sentinel was
        away."""
        away = 0.0 < self._absence[0] <= engine_time < self._absence[1]
        return self.calendar.engine_at(engine_time) if away else now

    def _told_of(self, event: Heard, now: float) -> float:
        """When an event was, by the monotonic clock, where it is told late, too."""
        if 0.0 < event.time < self.calendar.engine_time(now) - TOLD_LATE:
            return self.calendar.engine_at(event.time)
        return self.moment(event.time, now)

    def heard(self, event: Heard) -> Run:
        """The run of an event's container, with its evidence; a `start` begins a new one."""
        run = self._runs.setdefault(event.id, Run())
        if event.action != "start" and event.time < run.started_time:
            return Run()  # told late: it is about the one before
        if event.action == "start" and not begins(run, event.time):
            run.started_time = max(run.started_time, event.time)
        elif event.action == "start":
            run = Run(started_time=event.time)
        elif event.action == "kill" and event.signal is not None:
            run.note(Kill(event.signal, event.time))
        elif event.action == "stop":
            run.stop_time = event.time
        elif event.action == "unpause":
            run.unpause_time = event.time
        elif event.action == "restart":
            run.told_of_restart(event.time)
        elif event.action == "oom" or (event.action == "die" and event.oom_killed):
            run.oom_time = event.time
        elif event.action == "attach":
            self.attach(event.id)
        self._runs[event.id] = run
        return run

    def ended(self, event: Heard, now: float) -> Run:
        """The run that a `die` ends."""
        run = self._runs[event.id]
        if event.time < run.started_time:
            return Run()
        if run.judged and run.end and event.time > run.end.time + SAME_START:
            run = self._runs[event.id] = Run()  # another one, whose start was not heard
        times = 1
        if run.end:  # one that was told to the life before is told again
            times = run.end.times + (run.end.time != event.time)
        run.end = Death(event.time, self._told_of(event, now), event.exit_code, times=times)
        return run

    def newest(self, container_id: str) -> Run:
        """The run that the stream told of last."""
        return self._runs.setdefault(container_id, Run())

    def of(self, container: Container) -> Run:
        """The run that a container is seen in: that which is known, unless it began after that's
        end, or is another than that which is not known to have ended."""
        run = self.newest(container.id)
        if run.end:
            another = run.end.time < container.started_time
        else:
            another = 0.0 < run.started_time < container.started_time - SAME_START
        if another:
            run = self._runs[container.id] = Run(started_time=container.started_time)
        if container.started_time > run.started_time:
            run.begin(container.started_time)
        return run

    def begun(self, container: Container) -> Container:
        """A container that a look has shown as it was made, in the run whose start was told
        since."""
        run = self.newest(container.id)
        if container.status != "created" or not run.started_time:
            return container
        return replace(container, status="running", started_time=run.started_time)

    def missed_start(self, container: Container) -> bool:
        """Whether a container is seen in a run of whose start no event told."""
        return self.newest(container.id).started_time < container.started_time - SAME_START

    def death_in(self, container: Container, now: float) -> Run:
        """A container's run, with its end as a look shows it."""
        run = self.of(container)
        if run.end is None:
            at = self.moment(container.finished_time, now)
            run.end = Death(container.finished_time, at, container.exit_code)
        return run

    def asked_until(self, container: Container) -> float:
        """Until when a container is left alone since somebody asked it to end, which may take
        longer than its own stop timeout: the time of a call is nowhere to be read. -inf if nobody
        did."""
        run = self._runs.get(container.id)
        if run is None or run.asked_at is None:
            return -math.inf
        return run.asked_at + max(DRAIN_PATIENCE, container.patience + STOP_NEAR)

    def adopt(self, container_id: str, run: Run) -> None:
        """A run that the ledger remembers."""
        self._runs[container_id] = run

    def attach(self, container_id: str) -> None:
        """Somebody follows a container, as `compose up` does where it stays in the foreground."""
        self._attached.add(container_id)

    @property
    def attached(self) -> tuple[str, ...]:
        """The containers that somebody has followed since they were made."""
        return tuple(sorted(self._attached))

    def is_attached(self, container: Container) -> bool:
        """Whether somebody has followed a container since it was made."""
        return container.id in self._attached

    def drop(self, container_id: str) -> Run:
        """A container is no more: its run."""
        self._attached.discard(container_id)
        return self._runs.pop(container_id, Run())

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Forget the runs of containers that nobody wants to know of any more."""
        self._runs = {key: run for key, run in self._runs.items() if wanted(key)}
        self._attached.intersection_update(self._runs)

    def clear(self) -> None:
        """Forget all runs: these containers are another engine's."""
        self._runs.clear()

    def __len__(self) -> int:
        return len(self._runs)


def begins(run: Run, start_time: float) -> bool:
    """Whether a `start` begins another run than this one: not if it is this one's own, told again
    or late."""
    if run.end:
        return start_time >= run.end.time
    return start_time > run.started_time + SAME_START


# ─── Mutes ────────────────────────────────────────────────────────────────────────────────────────

DAY_MINUTES = 1440
DAY_SECONDS = 86400.0
LONGEST_MUTE = 366 * DAY_SECONDS
INSTANT = 0.001  # the least by which something is later


def local_minute(moment: datetime) -> float:
    """Minutes since midnight on the clock on the wall."""
    seconds = moment.second + moment.microsecond / MICRO
    return moment.hour * 60 + moment.minute + seconds / 60


def next_at_minute(minute: int, now_time: float) -> float:
    """Unix seconds of the next moment, from now on, at which the clock on the wall shows this
    minute of the day. Where summer time skips it, it is the moment of the skip."""
    local = datetime.fromtimestamp(now_time)
    start = local.replace(hour=0, minute=0, second=0, microsecond=0)
    for day in range(3):
        wanted = start + timedelta(days=day, minutes=minute)
        for fold in (0, 1):  # in autumn an hour comes twice
            moment = wanted.replace(fold=fold).timestamp()
            if moment > now_time:
                return moment
    return now_time + DAY_SECONDS


def quiet_until(windows: Iterable[tuple[int, int]], now_time: float) -> tuple[float, float]:
    """Until when (Unix seconds) the quiet windows last that a moment is in, 0 if it is in none; and
    when the next one begins or ends."""
    minute = local_minute(datetime.fromtimestamp(now_time))
    until, change = 0.0, math.inf
    for first, last in windows:
        begin, end = next_at_minute(first, now_time), next_at_minute(last, now_time)
        change = min(change, begin, end)
        if (minute - first) % DAY_MINUTES < (last - first) % DAY_MINUTES:
            until = max(until, end)
    return until, change


class Mutes:
    """Who is left alone, until when: by command, and by the windows of a label."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self._commanded: dict[str, float] = {}  # name → until

    def command(self, commanded: Mapping[str, float]) -> None:
        """Take over who is muted by command, and until when."""
        self._commanded = dict(commanded)

    @property
    def all_until(self) -> float:
        """Until when everything is muted by command, 0 if it is not."""
        return self._commanded.get("all", 0.0)

    def commanded(self, now: float) -> dict[str, float]:
        """Who is muted by command now, and until when."""
        return {name: until for name, until in self._commanded.items() if until > now}

    def until(self, service: Watched, now: float) -> float:
        """Until when a service is to be left alone, 0 if it is not."""
        called = service.container.called
        untils = [0.0]
        for name, until in self._commanded.items():
            if name == "all" or name in called:
                untils.append(until)
        if service.policy.quiet:
            end_time, _ = quiet_until(service.policy.quiet, self.calendar.time_of(now))
            untils.append(self.calendar.at(end_time) if end_time else 0.0)
        latest = max(untils)
        return latest if latest > now else 0.0

    def begin(self, service: Watched, now: float) -> bool:
        """Mute a service if that is wanted; whether it is news."""
        if service.muted or not self.until(service, now):
            return False
        removed = service.phase is Phase.MISSING and service.incident is None  # and not told yet
        stood = service.phase in (*STANDING, Phase.SUSPECT, Phase.RESTARTING) or removed
        service.hush = Hush.STANDING if stood else Hush.DOWN
        return True

    def over(self, services: Iterable[Watched], now: float) -> list[Watched]:
        """Those whose mute is over."""
        self._commanded = {name: until for name, until in self._commanded.items() if until > now}
        return [service for service in services if service.muted and not self.until(service, now)]

    def next_change_at(self, services: Iterable[Watched], now: float) -> float | None:
        """When a mute begins or ends next, as far as is known now."""
        moments = [until for until in self._commanded.values() if until > now]
        for service in services:
            if service.policy.quiet:
                _, change_time = quiet_until(service.policy.quiet, self.calendar.time_of(now))
                moments.append(self.calendar.at(change_time))
        return max(now + INSTANT, min(moments)) if moments else None


# ─── Stream ───────────────────────────────────────────────────────────────────────────────────────

MEMORY_OF_EVENTS = 4096
MARKS = 8  # events by which it is found out whether the engine still remembers
SHORTEST_RETRY, LONGEST_RETRY = 0.05, 5.0  # until the stream is opened anew
LONG_STREAM = 10.0  # one that lived so long is opened anew at once
REFUSED_RETRY = 60.0
REOPEN_EVERY = 30.0  # a stream that seems to be deaf is opened anew, not more often
REOPEN_TIME = 2.0  # in which that is done
LAG_LIMIT = 10.0  # so long is waited for one that was cut
REPLAY_TIME = 0.5  # in which what a new stream replays is heard


class Flow(Enum):
    """The event stream."""

    CLOSED = auto()
    OPEN = auto()
    REFUSED = auto()  # a proxy lets no events through: ends are found by listing


class Stream:
    """The event stream: open or not, what it has told, and when it is to be opened anew."""

    def __init__(self) -> None:
        self.flow = Flow.CLOSED
        self.position = 0.0  # engine's time of the newest event
        self.was_cut = False  # it was open before
        self.recalls = False  # the engine is asked what it remembers
        self.marks: deque[Mark] = deque(maxlen=MARKS)  # of the newest events
        self._seen: dict[Mark, None] = {}  # the last events
        self._opened_at = 0.0
        self._closed_at = 0.0
        self._reopened_at: float | None = None
        self._delay = 0.0

    @property
    def tells(self) -> bool:
        """Whether what it can tell has been told: it is open, or never will be."""
        return self.flow is not Flow.CLOSED

    def open(self, now: float) -> None:
        """It is open."""
        self.flow = Flow.OPEN
        self._opened_at = now

    def close(self, refused: bool, now: float) -> float:
        """It ended, or can't be had: in how many seconds to try again. Streams that a proxy cuts
        every few minutes are normal life."""
        lived = now - self._opened_at if self.flow is Flow.OPEN else 0.0
        self.was_cut = self.was_cut or self.flow is Flow.OPEN
        if refused:
            self.flow = Flow.REFUSED
            self._delay = REFUSED_RETRY
            return self._delay
        if self.flow is Flow.OPEN:
            self.flow = Flow.CLOSED
            self._closed_at = now
        if lived > LONG_STREAM:
            self._delay = SHORTEST_RETRY
        else:
            self._delay = min(LONGEST_RETRY, max(SHORTEST_RETRY, self._delay * 2))
        return self._delay

    def begins_at(self, position: float) -> bool:
        """Nothing before this engine's time is news; whether that was not known yet."""
        fresh = not self.position
        self.position = min(self.position or position, position)
        return fresh

    def ask_memory(self) -> None:
        """The engine is asked what it remembers."""
        self.recalls = True

    def take_memory(self, marks: Iterable[Mark], anew: bool) -> None:
        """What it remembers; all that was known before is worth nothing where it began anew."""
        self.recalls = False
        if anew:
            self.marks.clear()
        if not self.marks:
            self.marks.extend(marks)

    def is_news(self, event: Heard) -> bool:
        """Whether an event is no repeat of a resumed stream's."""
        mark = event.mark
        if mark in self._seen:
            return False
        self._seen[mark] = None
        self.marks.append(mark)
        if len(self._seen) > MEMORY_OF_EVENTS:
            del self._seen[next(iter(self._seen))]
        self.position = max(self.position, event.time)
        return True

    def lags(self, back_at: float, now: float) -> bool:
        """Whether it has been cut, and has yet to tell what was meanwhile; `back_at`: since when
        the engine answers again."""
        if not self.was_cut or self.flow is Flow.REFUSED:
            return False
        if self.flow is Flow.OPEN:
            return now < self._opened_at + REPLAY_TIME
        return now < max(self._closed_at, back_at) + LAG_LIMIT

    def seems_deaf(self, now: float) -> bool:
        """It has not told of an end: whether it is to be opened anew."""
        lately = self._reopened_at is not None and now - self._reopened_at <= REOPEN_EVERY
        if self.flow is not Flow.OPEN or lately:
            return False
        self._reopened_at = now
        return True

    def told_by(self, now: float) -> float:
        """When all that it can tell has been told, where it is open: now, or a moment to come."""
        reopened = self._reopened_at + REOPEN_TIME if self._reopened_at is not None else now
        return max(now, reopened, self._opened_at + REPLAY_TIME)


# ─── Absences ─────────────────────────────────────────────────────────────────────────────────────

ENGINE_PATIENCE = 10.0  # how long the engine may be away before that is told
# of quiet after its return, until its own policies are done; at most
ENGINE_GRACE, GRACE_LIMIT = 10.0, 60.0
GRACE_STEP = 1.0
# an engine that shuts down signals all containers within 0.1 s; a loaded one takes longer
BURST = 1.0
RESUME_BEFORE = 2.0  # the newest event: time stamps are not in the stream's order
LIST_RETRY = 1.0
CLOCK_ERROR = 2.0  # within which the engine's clock and Sentinel's count as one
LOST_CODE = 255  # the engine's, from 23 on, for what ended while it was not there


class Presence(Enum):
    """Whether the engine is there."""

    UNMET = auto()  # nothing is known yet
    ABSENT = auto()  # it does not answer, and never has: Sentinel was just started first
    HERE = auto()
    AWAY = auto()
    SETTLING = auto()  # it is back, and its own policies are at work


@dataclass(frozen=True, slots=True)
class Lull:
    """A while that the engine was back for, in its own time."""

    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Gap:
    """Engine's times between which ends were the engine's own doing. `goodbye`: it stopped all
    containers in good order, and brings back itself what nobody had stopped before. `noticed`: its
    loss was seen itself. `lulls`: where it went again before all was clear, the times between, when
    it was back and told what others did. `opening`: the engine's first time, where it was started
    anew while nobody watched: then what it ended at that time was its own doing, and no more."""

    begin: float
    end: float | None = None  # it is not back yet
    goodbye: bool = False
    noticed: bool = True
    lulls: tuple[Lull, ...] = ()
    opening: float = 0.0

    @property
    def closed(self) -> bool:
        """Whether it is back."""
        return self.end is not None

    def holds(self, time: float) -> bool:
        """Whether something was in this gap."""
        if any(lull.begin < time <= lull.end for lull in self.lulls):
            return False
        return self.begin < time and (self.end is None or time <= self.end)

    def again(self, begin: float, in_order: bool) -> Gap:
        """It goes once more, before all was clear."""
        lulls = self.lulls
        if self.end is not None and self.end < begin:
            lulls = (*lulls, Lull(self.end, begin))
        goodbye = self.goodbye and in_order
        return Gap(min(self.begin, begin), goodbye=goodbye, lulls=lulls, opening=self.opening)


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What is known of the engine; only the link replaces it."""

    host: str = ""
    engine: str = ""  # its lasting id
    me: str = ""  # Sentinel's own container
    kind: EngineKind = EngineKind.DOCKER
    forbidden: str = ""  # why nothing can be restarted
    keeps_silent: bool = False  # on who ended a container
    version: str = ""


def survived_a_signal(run: Run, until_time: float) -> bool:
    """Whether a run went on after a signal through the API, such as a reload: Docker counts that as
    a stop by hand, and does not restart it under `unless-stopped` (moby issue 41302)."""
    for kill in run.kills:
        asks = kill.signal in ASKING_SIGNALS
        if kill.time < until_time - (SURVIVED if asks else BURST):
            return True
    return False


def first_of_burst(moments: Iterable[float]) -> float:
    """The first of the last moments that follow one another closely; 0 if there is none."""
    latest_first = sorted(moments, reverse=True)
    first = latest_first[0] if latest_first else 0.0
    for moment in latest_first:
        if first - moment <= BURST:
            first = moment
    return first


class Toll:
    """What an engine took with it when it went, as its containers show: questions only. `gap` is
    the time of its going, None where there was none."""

    def __init__(self, services: Services, runs: Runs) -> None:
        self.services, self.runs = services, runs

    def took(self, service: Watched, gap: Gap | None) -> bool:
        """Whether a service ended with its engine and is not back. After a goodbye,
        `unless-stopped` is left to the engine, unless a signal has switched that off."""
        container = service.container
        if gap is None or container.status not in ("exited", "dead", REMOVED_UNSEEN):
            return False
        run = service.run if service.death else self.runs.newest(container.id)
        left = gap.goodbye and container.restart_policy == "unless-stopped"
        if left and not survived_a_signal(run, gap.begin):
            return False
        if service.phase not in STANDING and service.phase is not Phase.SUSPECT:
            return False
        death = service.death
        ended = death.time if death else container.finished_time
        return gap.holds(ended)

    def taken(self, gap: Gap | None, now: float) -> list[Watched]:
        """What it took with it, and has not brought back. Where anything ran on, it was only out of
        reach, or its stream ended, and what somebody asked to end was somebody's wish."""
        taken = [each for each in self.services.values() if self.took(each, gap)]
        if gap and gap.opening:
            taken = [service for service in taken if self._ended_at_opening(service, gap)]
        if gap is None or not any(self._ran_on(service, gap) for service in self.services.values()):
            return taken
        return [
            service for service in taken if gap.noticed and not self._asked_to_end(service, now)
        ]

    def undone(self, gap: Gap | None) -> list[Watched]:
        """Who died while the engine was away and others ran on (live-restore), and was restarted by
        it at its return: of that no event tells but the start."""
        services = self.services.values()
        if gap is None or not any(self._ran_on(service, gap) for service in services):
            return []
        alive = [each for each in services if each.alive and each.container.kept_up]
        return [each for each in alive if gap.holds(each.container.started_time)]

    def _ended_at_opening(self, service: Watched, gap: Gap) -> bool:
        """Whether an engine ended a service as it was started: what it finds running it ends before
        it answers anybody, and of what had ended without it nothing is known but that."""
        run = service.run if service.death else self.runs.newest(service.container.id)
        if any(abs(kill.time - gap.opening) <= BURST for kill in run.kills):
            return True
        if service.container.status == REMOVED_UNSEEN:
            return True  # it removes itself at its end
        if run.end and gap.lulls and run.end.time > gap.lulls[-1].end:
            return True  # it went once more
        heard = run.end is not None and run.end.heard
        return not heard and service.container.exit_code == LOST_CODE

    def _ran_on(self, service: Watched, gap: Gap) -> bool:
        return service.alive and service.container.started_time <= gap.begin

    def _asked_to_end(self, service: Watched, now: float) -> bool:
        run = service.run if service.death else self.runs.death_in(service.container, now)
        death = run.end
        if death is None or not death.heard:
            return False
        return intent_of(run, death, service.container, final=True) is Intent.OPERATOR

    def goodbye(self, answered_time: float) -> float:
        """When the engine began to stop all containers, by its clock, else infinity; it answered
        last at `answered_time`. It answers nobody from then on, sends all of them the signal at
        once, and leaves when the last has ended; nobody else's stops leave not one unasked."""
        ended: list[float] = []
        alive: list[float] = []
        for service in self.services.values():
            if service.alive:
                alive.append(self._asked_time(self.runs.newest(service.container.id)))
            elif service.phase is Phase.SUSPECT and service.run.pending:
                ended.append(self._asked_time(service.run))
        begin = first_of_burst([*ended, *alive])
        unasked = any(when < begin for when in alive)
        stayed = answered_time > begin + BURST
        return math.inf if unasked or stayed or not begin else begin - INSTANT

    def _asked_time(self, run: Run) -> float:
        asked = last_kill(run, ASKING_SIGNALS)
        return asked.time if asked else 0.0


@dataclass(slots=True)
class Listings:
    """What the first listing found, and what the last one showed."""

    asked: bool = False  # one is on its way
    last_at: float = 0.0
    found: set[str] | None = None  # by the first
    # what the ledger knew, and the first did not find
    missed: set[str] = field(default_factory=set)
    grown: set[str] = field(default_factory=set)  # up for minutes at the last one
    ignored: set[str] = field(default_factory=set)  # containers that are not to be watched

    @property
    def done(self) -> bool:
        """Whether there was one."""
        return self.found is not None

    def ask(self) -> bool:
        """A listing is wanted: whether to ask for it, since none is on its way."""
        if self.asked:
            return False
        self.asked = True
        return True

    def answered(self, now: float) -> None:
        """It has come."""
        self.asked = False
        self.last_at = now

    def failed(self) -> None:
        """It will not come."""
        self.asked = False

    def grew(self, rows: Iterable[Row]) -> None:
        """Who was up for minutes at this listing."""
        self.grown = {row.id for row in rows if not row.young}

    def note(self, rows: Iterable[Row], known: Iterable[str]) -> set[str]:
        """Take in a listing: the ids in it. `known`: the ids of all watched containers."""
        ids = {row.id for row in rows}
        if self.found is None:
            self.found = ids
            self.missed = set(known) - ids
        self.ignored &= ids
        return ids


# ─── Engine link ──────────────────────────────────────────────────────────────────────────────────


class Link:
    """The engine: whether it is there, what it is, and what it took with it when it went."""

    def __init__(
        self,
        settings: Settings,
        timers: Timers,
        orders: Orders,
        services: Services,
        runs: Runs,
    ) -> None:
        self.settings = settings
        self.timers, self.orders, self.services, self.runs = timers, orders, services, runs
        self.toll = Toll(services, runs)
        self.stream = Stream()
        self.facts = EngineFacts(host=settings.host)
        self.presence = Presence.UNMET
        self.gap: Gap | None = None
        self.listed = Listings()
        self._since_at = 0.0  # of this presence
        self._why = ""  # it is away
        self._moved_at = 0.0  # when a container was last seen to start
        self._answered_time = 0.0  # when it has answered last, by its clock

    # What is asked of it

    @property
    def is_away(self) -> bool:
        """Whether it does not answer."""
        return self.presence in (Presence.AWAY, Presence.ABSENT)

    @property
    def away_at(self) -> float | None:
        """Since when it does not answer, None where it does."""
        return self._since_at if self.is_away else None

    @property
    def why(self) -> str:
        """Why it does not answer."""
        return self._why

    @property
    def settling(self) -> bool:
        """Whether it is back, and its own policies are at work."""
        return self.presence is Presence.SETTLING

    @property
    def catching_up(self) -> bool:
        """Whether it is still being worked out what happened while Sentinel was away."""
        return not self.listed.done or self.orders.busy or self.timers.any(Rule.UNHEARD)

    def lags(self, now: float) -> bool:
        """Whether Podman has yet to tell what has ended while its API was away: it will, and looks
        show less of it."""
        return self.facts.kind.podman and self.stream.lags(self._since_at, now)

    def rules_that_wait(self) -> frozenset[Rule]:
        """What can't be done now, since it is not known how things stand."""
        waiting: frozenset[Rule] = frozenset()
        if self.presence is not Presence.HERE or not self.listed.done:
            waiting = ENGINE_RULES
            if self.settling:
                waiting -= {Rule.LOOK}
        if not self.stream.tells or self.stream.recalls:
            waiting |= {Rule.UNHEARD}
        if self.catching_up:
            waiting |= {Rule.UNMUTE, Rule.REMIND, Rule.OUTAGE}
        return waiting

    # The stream

    def opened(self, seen: StreamOpened, now: float) -> None:
        """The stream is open: list, since what was between the two is told by neither."""
        stream = self.stream
        was_refused = stream.flow is Flow.REFUSED
        stream.open(now)
        self._meet_clock(seen.ahead)
        if not stream.was_cut:
            self.runs.is_back(seen.time)
        if seen.podman:
            self._meet_podman(EngineKind.PODMAN)
        self._bound_gap(seen)
        self._recall(seen)
        if stream.begins_at(seen.time):
            self.runs.replays(seen.since, seen.time)
        elif was_refused:  # the listings have shown what was before
            self.runs.replays(seen.since, seen.time - (now - self.listed.last_at))
        self.facts = replace(self.facts, forbidden="")  # a proxy that was changed cuts the stream
        if was_refused:
            self.orders.log("info", "the engine's events can be read again")
        self.list_now()

    def _bound_gap(self, seen: StreamOpened) -> None:
        """What was not told until now may have been the engine's own doing."""
        stream, gap = self.stream, self.gap
        if self.facts.kind.podman:
            return
        lives = self.presence in (Presence.HERE, Presence.UNMET)
        if stream.was_cut and (lives or (self.settling and gap and gap.closed)):
            gap = self._gap_from(stream.position, in_order=False)  # it may be another engine
            self.gap = replace(gap, end=seen.time)
        elif gap and not gap.closed:
            self.gap = replace(gap, end=seen.time)

    def _meet_podman(self, kind: EngineKind) -> None:
        """The engine is Podman: whatever was taken for an engine's end was its API's alone."""
        if not self.facts.kind.podman:
            self.facts = replace(self.facts, kind=kind)
        self.gap = None

    def _meet_clock(self, ahead: float) -> None:
        calendar = self.runs.calendar
        if abs(ahead - calendar.ahead) > CLOCK_ERROR:
            words = f"{span(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} Sentinel's"
            self.orders.log("warning", f"the engine's clock is {words if ahead else 'right again'}")
            calendar.meet(ahead)

    def _recall(self, seen: StreamOpened) -> None:
        """Ask whether the engine remembers what was heard last: one that was started anew has
        forgotten all."""
        marks = tuple(mark for mark in self.stream.marks if mark[0] <= seen.time * NANO)
        since = self.stream.position - RESUME_BEFORE if marks else seen.time - DAY_SECONDS
        if marks and self.facts.kind.podman:
            return  # it forgets nothing
        if since < seen.time:
            self.orders.add(Recall(since, seen.time, marks))
            self.stream.ask_memory()

    def recalled(self, seen: Recalled, now: float) -> None:
        """What the engine remembers. Where it was started anew, what it told may have been its own
        doing."""
        stream = self.stream
        anew = bool(seen.began_time)
        stream.take_memory(seen.marks, anew)
        for container_id in seen.attached:
            self.runs.attach(container_id)
        for event in seen.kills:
            self.runs.heard(event)
        if not stream.was_cut:
            self._mark_gap(seen)
        if anew and self.gap and self.gap.closed and self.presence is Presence.HERE:
            self._settle(False, now)

    def _mark_gap(self, seen: Recalled) -> None:
        """When the engine was away while Sentinel was, too, as far as its memory tells."""
        gap = self.gap
        if not seen.began_time:
            if seen.knows and gap and gap.goodbye:
                self.gap = None  # it never went: somebody has stopped all, and Sentinel with it
        elif gap is None:
            begin = seen.since + RESUME_BEFORE
            self.gap = Gap(begin, seen.until, noticed=False, opening=seen.began_time)
            self.runs.lose(begin, seen.began_time)
        elif gap.end is not None:  # what ended once it was back is not its doing
            self.gap = replace(gap, end=min(gap.end, seen.began_time + BURST))

    def closed(self, seen: StreamClosed, now: float) -> None:
        """The stream ended, or is not to be had: open it anew soon."""
        if seen.refused and self.stream.flow is not Flow.REFUSED:
            every = span(self.settings.poll_interval)
            self.orders.log(
                "warning",
                f"events are refused ({seen.why}): deaths are found by listing every {every}",
            )
        if self.stream.flow is Flow.OPEN:
            self._hear_goodbye(now)
        delay = self.stream.close(seen.refused, now)
        if seen.why and not seen.refused:
            self._lost(seen.why, now)
        self.timers.set(Rule.SUBSCRIBE, "", now + delay)
        if seen.why:
            self.list_now()  # which says whether the engine is gone, or only its events

    def _hear_goodbye(self, now: float) -> None:
        """The stream has told all. An engine that leaves in order answers nobody from the first
        moment on, and tells what it ends until 5 s after its last container has ended: it is away
        since then."""
        goodbye, gap = self.toll.goodbye(self._answered_time), self.gap
        if not self.is_away or gap is None or gap.closed or goodbye == math.inf:
            return
        first = not gap.lulls  # else not all of it was in order
        self.gap = replace(gap, begin=min(gap.begin, goodbye), goodbye=gap.goodbye or first)
        if self.timers.at(Rule.ENGINE, "") is not None:
            self.timers.set(Rule.ENGINE, "", now + ENGINE_PATIENCE)

    def subscribe(self) -> None:
        """Resume shortly before the newest event."""
        position = self.stream.position
        self.orders.add(Subscribe(position - RESUME_BEFORE if position else 0.0))

    def heard_before(self, event: Heard) -> None:
        """An engine that still knows what was before Sentinel's absence never went away itself."""
        away_since = self.runs.away_since_time
        if away_since and event.time <= away_since and self.gap and self.gap.goodbye:
            self.gap = None

    def hear_answer(self, now: float) -> None:
        """It has answered something that it was asked."""
        self._answered_time = self.runs.calendar.engine_time(now)

    # The listing

    def list_now(self) -> None:
        """Ask for a listing, if none is on its way."""
        if self.listed.ask():
            self.orders.add(List())

    def list_failed(self, seen: ListFailed, now: float) -> None:
        """It could not be asked."""
        self.listed.failed()
        self.timers.set(Rule.LIST, "", now + LIST_RETRY)
        self._lost(seen.why, now)

    def answered(self, seen: Listed, now: float) -> bool:
        """It has listed its containers. Whether it is another engine than the one that is
        remembered."""
        self.listed.answered(now)
        self._meet_clock(seen.ahead)
        self.hear_answer(now)
        self.timers.set(Rule.LIST, "", now + self.settings.poll_interval)
        if seen.kind.podman:
            self._meet_podman(seen.kind)
        known = self.facts.engine
        another = bool(known and seen.engine and seen.engine != known and not self.listed.done)
        self.facts = EngineFacts(
            self.settings.host or seen.host,
            seen.engine or known,
            seen.me,
            seen.kind,
            self.facts.forbidden or seen.forbidden,
            version=seen.version,
        )
        if another:
            self.orders.log(
                "warning",
                "the ledger is about another engine; its services are forgotten, its history kept",
            )
            self.gap = None
            self._met(now)
        else:
            self._found(now)
        return another

    def introduce(self, me: str, kind: EngineKind, keeps_silent: bool) -> None:
        """Which container Sentinel runs in, what kind of engine that is, and whether it keeps
        silent on who ended a container."""
        self.facts = replace(self.facts, me=me, kind=kind, keeps_silent=keeps_silent)

    def remember(self, engine: str, host: str, position: float, marks: Iterable[Mark]) -> None:
        """What the ledger knows of it: its id, its time of the newest event, and the last ones."""
        self.facts = replace(self.facts, engine=engine, host=self.facts.host or host)
        self.stream.begins_at(position)
        self.stream.marks.extend(marks)

    def forbid(self, why: str) -> None:
        """A restart was refused by what stands between."""
        self.facts = replace(self.facts, forbidden=why)

    # Its loss, and its return

    def _lost(self, why: str, now: float) -> None:
        if self.presence is Presence.UNMET:
            self.presence = Presence.ABSENT
            self._since_at = now
        elif not self.is_away:
            if not self.facts.kind.podman:
                goodbye = self.toll.goodbye(self._answered_time)
                begin = min(self.stream.position, goodbye)
                self.gap = self._gap_from(begin, in_order=goodbye < math.inf)
            self.presence = Presence.AWAY
            self._since_at = now
            self.timers.set(Rule.ENGINE, "", now + ENGINE_PATIENCE)
            self.timers.cancel("", Rule.GRACE)
        if self.timers.at(Rule.LIST, "") is None or not self._why:
            self.timers.set(Rule.LIST, "", now + LIST_RETRY)
        if why != self._why:
            self.orders.log("warning", f"waiting for the engine: {why}")
            self._why = why

    def _gap_from(self, begin: float, in_order: bool) -> Gap:
        if self.settling and self.gap:
            return self.gap.again(begin, in_order)
        return Gap(begin, goodbye=in_order)

    def _found(self, now: float) -> None:
        if self.presence is Presence.AWAY:
            if self.stream.flow is Flow.CLOSED:
                self.timers.sooner(Rule.SUBSCRIBE, "", now)
            if self._why:
                self._greet()
            self._why = ""
            self.timers.cancel("", Rule.ENGINE)
            self._settle(not (self.gap and self.gap.opening), now)
        elif self.presence in (Presence.UNMET, Presence.ABSENT):
            self._met(now)

    def _met(self, now: float) -> None:
        self.presence = Presence.HERE
        self._since_at = now
        self._why = ""
        self.timers.cancel("", Rule.ENGINE, Rule.GRACE)
        self._greet()
        if self.gap and self.gap.opening:
            self._settle(False, now)

    def _greet(self) -> None:
        self.orders.log("info", f"the engine of {self.facts.host} answers")

    def _settle(self, noticed: bool, now: float) -> None:
        """It is back. Its own policies are at work now, but for Podman, whose containers have run
        on."""
        self.presence = Presence.HERE if self.facts.kind.podman else Presence.SETTLING
        self._since_at = self._moved_at = now
        if self.gap:
            self.gap = replace(self.gap, noticed=noticed)
        self.timers.set(Rule.GRACE, "", now + GRACE_STEP)

    def moved(self, now: float) -> None:
        """A container started: its own policies are at work."""
        self._moved_at = now

    def settled(self, now: float) -> float | None:
        """Since when it is back, once nothing starts any more and all was looked at; None if it
        takes longer."""
        took = (self.toll.took(service, self.gap) for service in self.services.values())
        quiet = now >= self._moved_at + ENGINE_GRACE or not any(took)
        busy = self.orders.busy or not self.stream.tells
        if (busy or not quiet) and now < self._since_at + GRACE_LIMIT:
            self.timers.set(Rule.GRACE, "", now + GRACE_STEP)
            return None
        self.presence = Presence.HERE
        return self._since_at

    # What is remembered of it

    def unsettled_end(self, leaving: bool) -> Gap | None:
        """An end of the engine that is not settled; where Sentinel leaves, too, all being stopped
        is one."""
        if self.is_away or self.settling:
            return self.gap if self.gap and self.gap.begin < math.inf else None
        goodbye = self.toll.goodbye(self._answered_time) if leaving else math.inf
        return Gap(goodbye, goodbye=True) if goodbye < math.inf else None

    def resume_end(self, gap: Gap, now: float) -> None:
        """Sentinel ended before that was settled: see to it as soon as the engine answers."""
        self.presence = Presence.AWAY
        self._since_at = now
        self.gap = gap
        self.timers.set(Rule.ENGINE, "", now + ENGINE_PATIENCE)

    def resume_loss(self, at: float) -> None:
        """It was away, and told to be, when Sentinel ended: how long it was, the next listing
        tells."""
        self.presence = Presence.AWAY
        self._since_at = at
        self.gap = Gap(self.stream.position)


# ─── Outages ──────────────────────────────────────────────────────────────────────────────────────


DRILL_NEAR = 15.0  # so long after a drill has begun, its container dies of it
ASKED_KEPT = 3  # things that people asked for


class Outages(Mapping[int, Outage]):
    """What goes on, by number: which services an outage has, and what is told of it now."""

    def __init__(
        self, settings: Settings, timers: Timers, orders: Orders, services: Services
    ) -> None:
        self.settings = settings
        self.timers, self.orders, self.services = timers, orders, services
        self.engine: Outage | None = None  # the engine's own
        self._by_number: dict[int, Outage] = {}
        self._news: dict[int, Outage] = {}  # of which something new is to be told
        self._numbered = 0  # the highest number that was told
        self.drills: Mapping[str, Drill] = {}  # by container

    def __getitem__(self, number: int) -> Outage:
        return self._by_number[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_number)

    def __len__(self) -> int:
        return len(self._by_number)

    # Which there are

    def begin(self, root: str, at: float, flaps: int = 0) -> Outage:
        """A new outage, told once something is told of it; its number is taken then."""
        outage = Outage(self._next_number(), at, root, flaps=flaps)
        self._by_number[outage.number] = outage
        return outage

    def take_drills(self, drills: Mapping[str, Drill]) -> None:
        """These containers are killed for a drill now."""
        self.drills = drills

    def drill_of(self, container_id: str, death: Death) -> Drill | None:
        """The drill that a death belongs to, if any."""
        drill = self.drills.get(container_id)
        if drill and 0.0 <= death.time - drill.since_time <= DRILL_NEAR:
            return drill
        return None

    def marked(self, notice: Notice, death: Death) -> Notice:
        """A red as that of a drill, where the death was one."""
        drill = self.drill_of(notice.container.id, death) if notice.container else None
        if drill is None:
            return notice
        return replace(notice, drill=True, mention=notice.mention if drill.pings else "")

    def begin_engine(self, at: float) -> Outage:
        """The engine's own outage."""
        self.engine = self.begin("", at)
        return self.engine

    @property
    def numbered(self) -> int:
        """The highest number that was given to an outage or a notice."""
        return self._numbered

    def _take_number(self) -> int:
        self._numbered = self._next_number()
        return self._numbered

    def _next_number(self) -> int:
        return 1 + max([self._numbered, *self._by_number])

    def members(self, outage: Outage) -> list[Watched]:
        """Its services, in the order in which they fell."""
        return [self.services[key] for key in outage.members]

    def root_of(self, outage: Outage) -> Watched | None:
        """The service that it began with, None where it began with none."""
        return self.services.get(outage.root)

    def restore(self, outages: Iterable[Outage], numbered: int, now: float) -> None:
        """Take up the outages that the ledger remembers, as far as their services are there."""
        self._numbered = numbered
        for outage in outages:
            self._numbered = max(self._numbered, outage.number)
            outage.members = [key for key in outage.members if self._is_member(key, outage)]
            if not outage.members and not outage.notice:
                continue
            if outage.root not in outage.members:
                outage.root = "" if outage.notice else outage.members[0]
            self._by_number[outage.number] = outage
            self.timers.set(Rule.OUTAGE, str(outage.number), now)
            if outage.notice and outage.notice.verdict is Verdict.ENGINE_DOWN:
                self.engine = outage

    def _is_member(self, key: str, outage: Outage) -> bool:
        service = self.services.get(key)
        return bool(service and service.incident and service.incident.outage is outage)

    def rename(self, before: str, key: str) -> None:
        """A service goes by another key from now on."""
        for outage in self._by_number.values():
            outage.members = [key if member == before else member for member in outage.members]
            if outage.root == before:
                outage.root = key

    def fold(self, drop: Outage, keep: Outage) -> None:
        """An outage turns out to be a consequence of another: a root that falls after what depends
        on it is worse than what people were told, so it is a message of its own."""
        told = replace(self.story(drop), verdict=Verdict.FOLDED, consequences=(), logs=())
        self._merge(drop, keep, told, "It is a consequence of")

    def bequeath(self, drop: Outage, heirs: list[Watched], why: str) -> None:
        """The root of an outage leaves it, and what it took with it is not back: that has a story
        of its own from now on, and a message, unless all of it is muted."""
        audible = [heir for heir in heirs if not heir.muted]
        heir = [*audible, *heirs][0]
        drop.flaps = 0
        if drop.standing is Standing.UNTOLD and not audible:
            drop.standing = Standing.CARRIED
        if drop.standing is not Standing.TOLD or not audible:
            drop.root = heir.key
            return
        assert heir.incident
        keep = self.begin(heir.key, heir.incident.began_at)
        keep.standing = Standing.INHERITED
        self._merge(drop, keep, self.story(drop), f"{why} What it took with it goes on as".strip())

    def _merge(self, drop: Outage, keep: Outage, told: Notice, words: str) -> None:
        """Make two outages one, which goes on as the second. What was told of the first points to
        it."""
        for member in [*self.members(keep), *self.members(drop)]:
            self.services.changed(member)
        keep.notice = keep.notice or drop.notice
        keep.back_at = keep.back_at or drop.back_at
        keep.taken_by = keep.taken_by or drop.taken_by
        keep.asked = (*drop.asked, *keep.asked)[-ASKED_KEPT:]
        for member in self.members(drop):
            incident = member.incident
            if incident:
                incident.outage = keep
            if member.key not in keep.members:
                keep.members.append(member.key)
        drop.joined = keep
        self._forget(drop)
        if drop.standing is Standing.TOLD:
            plan = f"{words} {self.story(keep).name}: see incident {keep.number}."
            self.orders.add(Amend(replace(told, plan=plan, open=False)))
        self.changed(keep)

    def carry_on(self, outage: Outage, missing: list[Watched]) -> None:
        """Some are not back, as the green says. Their story goes on, and is told in a new red when
        something happens."""
        outage.members = [member.key for member in missing]
        outage.standing = Standing.CARRIED
        outage.flaps = 0
        outage.root = self.services.roots_first(missing)[0].key
        outage.notice = outage.back_at = None
        self._by_number[outage.number] = outage

    def drop_empty(self, outage: Outage) -> None:
        """An outage that was begun for several ends where all of them had incidents of their
        own."""
        if outage.number in self and outage is not self.engine and not outage.members:
            self.end(outage)

    def end(self, outage: Outage) -> None:
        for member in self.members(outage):
            self.services.changed(member)
        self._forget(outage)
        if not any(other.standing is Standing.TOLD for other in self._by_number.values()):
            self.timers.cancel("", Rule.REMIND)
        if outage is self.engine:
            self.engine = None

    def _forget(self, outage: Outage) -> None:
        self._by_number.pop(outage.number, None)
        self._news.pop(outage.number, None)
        self.timers.cancel(str(outage.number), Rule.OUTAGE)

    def abandon(self, why: str, now: float) -> None:
        """Nobody watches any of this engine any more: what stands in red is over."""
        for outage in list(self._by_number.values()):
            if not outage.host:
                self.close(outage, why, now)

    def close(self, outage: Outage, why: str, now: float) -> None:
        """What was told of an outage is over, for a reason that is no green."""
        if outage.standing is Standing.TOLD:
            story = self.story(outage)
            self.orders.add(Amend(replace(story, plan=why, open=False, over_at=now)))
        self.end(outage)

    # What is told

    def tell(self, notice: Notice) -> None:
        """Tell something, as an incident of its own where it belongs to none."""
        if not notice.incident:
            notice = replace(notice, incident=self._take_number())
        self._numbered = max(self._numbered, notice.incident)
        self.orders.add(Tell(shown(notice)))

    def tell_apart(
        self, service: Watched, verdict: Verdict, at: float, cause: Cause, **facts: Any
    ) -> None:
        """Tell people of a service, beside what is told of its outage."""
        incident = service.incident
        notice = notice_of(service, verdict, at, cause, **facts)
        if incident:
            number = incident.outage.number
            notice = replace(
                notice, incident=number, deaths=incident.deaths, attempts=incident.attempts
            )
        if not service.muted:
            self.tell(notice)

    def changed(self, outage: Outage) -> None:
        """Something new is to be told of an outage."""
        self._news[outage.number] = outage

    def update(self, service: Watched, plan: str) -> None:
        """Something new is to be told of a service's incident: what is done about it."""
        self.services.changed(service)
        incident = service.incident
        if incident:
            incident.notice = replace(incident.notice, plan=redact(plan))
            self.changed(incident.outage)

    def story(self, outage: Outage) -> Notice:
        """All that there is to tell of an outage now: its root cause, and the consequences."""
        root = self.root_of(outage)
        incident = root.incident if root else None
        notice = incident.notice if incident else outage.notice
        assert notice, f"outage {outage.number} has nothing to tell"
        if incident:
            notice = replace(notice, deaths=max(notice.deaths, incident.deaths))
            if notice.verdict is not Verdict.GAVE_UP:
                notice = replace(notice, attempts=incident.attempts)
        took = [self._consequence(member) for member in self.members(outage) if member is not root]
        took.sort(key=lambda consequence: len(consequence.chain))
        people = (("On it", outage.taken_by), ("Asked", "; ".join(outage.asked)))
        return replace(
            notice,
            incident=outage.number,
            consequences=tuple(took),
            facts=(*notice.facts, *filter(all, people)),
            open=True,
            flaps=outage.flaps,
            began_at=incident.began_at if incident else outage.began_at,
        )

    def take_on(self, outage: Outage, by: str) -> None:
        """Somebody says that they see to it: nobody needs to be reminded."""
        outage.taken_by = by
        self.changed(outage)

    def note_asked(self, outage: Outage, words: str) -> None:
        """Somebody has asked for something; the last few such are told."""
        outage.asked = (*outage.asked, words)[-ASKED_KEPT:]
        self.changed(outage)

    def _consequence(self, service: Watched) -> Consequence:
        incident = service.incident
        assert incident
        notice = incident.notice
        return Consequence(
            self.services.chain(service, incident.outage.root),
            notice.verdict,
            notice.at,
            notice.exit_code,
            notice.cause,
            notice.plan,
            service.is_back,
        )

    def take_news(self, now: float) -> list[Tell | Amend]:
        """What is to be told of outages that have changed, once."""
        news = self._news
        self._news = {}
        told = [outage for outage in news.values() if outage.standing is not Standing.CARRIED]
        return [self._tell_outage(outage, now) for outage in told]

    def _tell_outage(self, outage: Outage, now: float) -> Tell | Amend:
        story = self.story(outage)
        if outage.standing is Standing.TOLD:
            return Amend(story)
        outage.standing = Standing.TOLD
        self._numbered = max(self._numbered, outage.number)
        if self.settings.remind and self.timers.at(Rule.REMIND, "") is None:
            self.timers.set(Rule.REMIND, "", now + self.settings.remind)
        return Tell(story)


def notice_of(service: Watched, verdict: Verdict, at: float, cause: Cause, **facts: Any) -> Notice:
    """What there is to tell of a service."""
    container = service.container
    notice = Notice(
        verdict,
        container.title,
        at,
        container,
        cause,
        container.project,
        mention=service.policy.mention,
        **facts,
    )
    return shown(notice)


def number_of(service: Watched) -> int:
    """The number of a service's outage, 0 for none."""
    return service.incident.outage.number if service.incident else 0


# ─── Stories ──────────────────────────────────────────────────────────────────────────────────────
# Flapping: an incident's end is noted (`Watched.incident_ends_at`, by `Stories.end_told`). Whoever
# falls for the third time within an hour of such ends begins an outage that flaps
# (`Watched.recent_incidents`): its green waits until its root has been back for an hour
# (`Stories.waits_for`), and a relapse meanwhile goes on with it.

SHADOW = 120.0  # a dependant that died so long before what it depends on died of the same cause
OUTAGE_PATIENCE = 300.0  # how long the green of a root waits for its consequences
LATE_GREEN = 30.0  # a green that comes so long after the return has waited for proof or for others


@dataclass(frozen=True, slots=True)
class Fall:
    """Why a service is down, and how that came. `hopeless`: why it is not healed; None leaves that
    as it is."""

    verdict: Verdict
    cause: Cause
    death: Death
    run: Run = field(default_factory=Run)
    hopeless: str | None = None


def deaths_of_loop(service: Watched, now: float) -> tuple[int, float]:
    """How often it died, and within how long: in this incident, or lately, whichever is
    more."""
    recent, incident = service.budget.recent(now), service.incident
    if incident and incident.deaths >= len(recent):
        return incident.deaths, now - incident.began_at
    return len(recent), now - recent[0]


class Stories:
    """How an outage begins, grows and ends: incidents with one cause are one red, kept current by
    edits, and one green."""

    def __init__(self, settings: Settings, outages: Outages, link: Link) -> None:
        self.settings, self.outages, self.link = settings, outages, link
        self.timers, self.orders, self.services = outages.timers, outages.orders, outages.services

    # How an outage begins and grows

    def fell(
        self, service: Watched, notice: Notice, outage: Outage | None, times: int, now: float
    ) -> Incident:
        """A service is down: begin its incident, in this outage where one is given, or go on with
        it."""
        incident = service.incident
        if incident is None:
            if outage is None:
                outage = self.outages.begin(service.key, notice.at, service.recent_incidents(now))
            incident = service.incident = Incident(outage, notice.at, notice)
            outage.members.append(service.key)
        else:
            total = incident.deaths + times
            name = service.container.name
            self.orders.log("warning", f"{name} died again ({total} times)")
        incident.deaths += times
        incident.back_at = None
        self.services.changed(service)
        return incident

    def joins(self, service: Watched, outage: Outage, notice: Notice, now: float) -> None:
        """A service is restarted with the root of an outage, and is told of there."""
        service.incident = Incident(outage, now, notice)
        outage.members.append(service.key)
        self.services.changed(service)

    def gather(self, service: Watched, now: float) -> None:
        """Make one outage of what has one cause: a death in the shadow of what it depends on, or
        shortly before that's."""
        assert service.incident
        fallen = [child for child, _ in self.services.below(service) if child.incident]
        for child in sorted(fallen, key=number_of):
            outage = service.incident.outage
            assert child.incident
            near = now - child.incident.notice.at <= SHADOW
            if near and self._leads_another(child, outage):
                self.outages.fold(child.incident.outage, outage)
        for parent, _ in self.services.above(service):
            outage = service.incident.outage
            above = parent.incident.outage if parent.incident else None
            if above is None or not self._leads_another(service, above):
                continue
            if not (parent.is_back and above.flaps):
                self.outages.fold(outage, above)
        self._resume(service, service.incident.outage)

    def _resume(self, service: Watched, outage: Outage) -> None:
        """Somebody fell: what a green has left out is told anew; as its own story, where its root
        is muted."""
        if outage.standing is Standing.CARRIED:
            outage.standing = Standing.UNTOLD
        root = self.outages.root_of(outage)
        if outage.standing is Standing.UNTOLD and root and root.muted:
            outage.root = service.key

    def _leads_another(self, service: Watched, outage: Outage) -> bool:
        if service.incident is None or service.is_back:
            return False
        mine = service.incident.outage
        return mine is not outage and mine.root == service.key

    def red_of(
        self,
        service: Watched,
        fall: Fall,
        verdict: Verdict,
        exit_code: int | None,
        now: float,
    ) -> Notice:
        """What there is to tell of a service that is down."""
        container, death = service.container, fall.death
        began = fall.run.started_time if container.running else container.started_time
        ended = container.finished_time if container.finished_time >= began else death.time
        lived = bool(began) and ended >= began and fall.cause not in NO_END
        cant_start = fall.cause is Cause.CANT_START
        logs = () if fall.cause is Cause.FAILED_UPDATE else service.logs  # those are of another
        if container.sick:
            logs = tuple(container.probe_output.splitlines())
        notice = notice_of(
            service,
            verdict,
            death.at,
            fall.cause,
            exit_code=exit_code,
            uptime=ended - began if lived else None,
            error=container.error if cant_start else service.known_error,
            logs=logs,
            recreate=self.services.adrift(service),
            scale=1 + len(self.services.replicas(service)),
        )
        if verdict is Verdict.CRASH_LOOP:
            deaths, within = deaths_of_loop(service, now)
            notice = replace(notice, deaths=deaths, downtime=within)
        return self.outages.marked(notice, death)

    # How it stands

    def back(self, service: Watched, incident: Incident, now: float) -> None:
        """A service is proven to be back."""
        outage = incident.outage
        outage.moved_at = now
        self.outages.update(service, "It is back.")
        self.check_over(outage, now)

    # How it ends

    def left(self, service: Watched, why: str, now: float) -> None:
        """A service is no longer part of its outage: somebody took it out of the game."""
        incident = service.incident
        if incident is None:
            return
        others = [other for other in self.outages.members(incident.outage) if other is not service]
        missing = [other for other in others if not other.is_back and other.phase not in REMOVED]
        if incident.outage.root == service.key and missing:
            self.outages.bequeath(incident.outage, self.services.roots_first(missing), why)
        service.incident = None
        self.services.changed(service)
        outage = incident.outage
        outage.members.remove(service.key)
        if outage.root == service.key or not (outage.members or outage is self.outages.engine):
            self._end_without(service, incident, why, now)
            return
        self.outages.changed(outage)
        self.check_over(outage, now)

    def _end_without(self, service: Watched, incident: Incident, why: str, now: float) -> None:
        """An outage ends since the last who was down has left it."""
        outage = incident.outage
        notice = incident.notice if outage.root else outage.notice or incident.notice
        story = replace(
            notice,
            incident=outage.number,
            plan=why or notice.plan,
            open=False,
            over_at=now,
        )
        if outage.standing is Standing.TOLD:
            self.orders.add(Amend(story))
        elif outage.standing is Standing.UNTOLD and not service.muted:
            self.outages.tell(story)
        self.outages.end(outage)
        for member in self.outages.members(outage):
            member.incident = None

    def check_over(self, outage: Outage, now: float) -> None:
        """End an outage once its root is proven, and its consequences are too, or had their time,
        or are given up."""
        back_at = self._back_at(outage)
        if back_at is None or outage.number not in self.outages:
            return
        root = self.outages.root_of(outage)
        if root and root.phase is Phase.STOPPED and root.container.status != "paused":
            self.left(root, "It ended while it was paused.", now)
            return
        until = max([now, *self.waits_for(outage, back_at, now).values()])
        if until > now:
            self.timers.set(Rule.OUTAGE, str(outage.number), until)
            return
        self._tell_over(outage, back_at, now)
        members = self.outages.members(outage)
        self.outages.end(outage)
        for member in members:
            if member.is_back:
                self._end_well(member, member.key == outage.root, now)
        missing = [member for member in members if not member.is_back]
        if missing:
            self.outages.carry_on(outage, missing)

    def waits_for(self, outage: Outage, back_at: float, now: float) -> dict[str, float]:
        """Whom the green of an outage waits for, and until when, its root being back."""
        waits: dict[str, float] = {}
        for member in self.outages.members(outage):
            waits[member.key] = self._patience(member, outage, back_at, now)
        root = self.outages.root_of(outage)
        if root and (root.muted or root.phase is Phase.STOPPED):
            waits[root.key] = now + OUTAGE_PATIENCE  # the end of its mute or pause asks again
        if outage.flaps:
            waits[outage.root] = max(waits.get(outage.root, now), back_at + FLAP_SPAN)
        return {key: until for key, until in waits.items() if until > now}

    def _patience(self, member: Watched, outage: Outage, back_at: float, now: float) -> float:
        """Until when to wait for one of its members; what ends the wait before asks again."""
        children = self.services.children(member)
        if any(self.timers.at(Rule.NETWORK, child.key) is not None for child, _ in children):
            return now + OUTAGE_PATIENCE
        if member.phase is Phase.PROVING and not member.is_back:
            return now + OUTAGE_PATIENCE
        if member.is_back and member.phase in (Phase.SUSPECT, Phase.MISSING):
            return now + OUTAGE_PATIENCE  # it ended again, and it is not known yet why
        if member.is_back or member.phase in (Phase.GAVE_UP, Phase.STOPPED):
            return now  # stopped with an open incident: paused
        return max(outage.moved_at, back_at) + OUTAGE_PATIENCE

    def _back_at(self, outage: Outage) -> float | None:
        """Since when the root of an outage is back. One that is no service is, when all that it
        took is, or given up."""
        root = self.outages.root_of(outage)
        if root and root.incident:
            return root.incident.back_at
        if outage is self.outages.engine:
            return outage.back_at
        backs: list[float] = []
        for member in self.outages.members(outage):
            if member.incident is None or member.phase is Phase.GAVE_UP:
                continue
            if member.incident.back_at is None:
                return outage.back_at
            backs.append(member.incident.back_at)
        return max(backs, default=outage.back_at)

    def _tell_over(self, outage: Outage, back_at: float, now: float) -> None:
        story = self.outages.story(outage)
        root = self.outages.root_of(outage)
        began_at = root.incident.began_at if root and root.incident else outage.began_at
        downtime = back_at - began_at
        late = now > back_at + LATE_GREEN and not self.link.catching_up
        green = replace(
            story,
            facts=() if outage.host else story.facts,  # how it was
            verdict=Verdict.RECOVERED,
            at=back_at,
            cause=story.cause if story.cause is Cause.UNHEALTHY else Cause.EXIT,
            downtime=downtime,
            exit_code=None,
            uptime=None,
            error="",
            logs=(),
            plan="",
            open=False,
            decided_at=now if late else None,
        )
        self.orders.add(Tell(green))
        if outage.standing is Standing.TOLD:
            over = replace(story, plan="", recovered=downtime, open=False, over_at=back_at)
            self.orders.add(Amend(over))

    def _end_well(self, service: Watched, is_root: bool, now: float) -> None:
        """A service's incident has ended well. If it died for its own reason, that counts as one
        if it flaps."""
        incident = service.incident
        service.incident = None
        if is_root and incident and incident.notice.cause is not Cause.ENGINE:
            service.incident_ends_at = [*service.incident_ends_at, now][-FLAPS:]
        self.services.changed(service)

    def outage_due(self, number: str, now: float) -> None:
        """Somebody's time is up."""
        outage = self.outages.get(int(number))
        if outage:
            self.check_over(outage, now)

    # The engine's own

    def engine_down(self, at: float, why: str, plan: str) -> Outage:
        """Begin, or go on with, the engine's own outage."""
        outage = self.outages.engine or self.outages.begin_engine(at)
        outage.back_at = None
        known = outage.notice.error if outage.notice else ""
        podman = self.link.facts.kind.podman
        outage.notice = Notice(
            Verdict.ENGINE_DOWN,
            self.link.facts.host,
            outage.began_at,
            cause=Cause.API_AWAY if podman else Cause.EXIT,
            error=why or known,
            plan=plan,
            mention=self.settings.mention,
        )
        self.outages.changed(outage)
        return outage

    def engine_back(self, undone: list[Watched], at: float, now: float) -> None:
        """The engine is back, and what it took with it is known. `undone`: who died meanwhile, and
        was restarted by it."""
        outage = self.outages.engine
        if outage:
            outage.back_at = at
            if outage.notice and undone:
                names = listed(service.container.title for service in undone)
                facts = (("Died meanwhile", f"{names}; restarted by Docker"),)
                outage.notice = replace(outage.notice, facts=facts)
            self.check_over(outage, now)

    def left_behind(self, services: list[Watched], at: float) -> Outage | None:
        """The outage of what the engine did not bring back: its own, if that was told; else one for
        all of them, None for a single one."""
        if self.outages.engine and services:
            plan = "It answers again; what it did not bring back is restarted."
            return self.engine_down(at, self.link.why, plan)
        if len(services) < 2:
            return None
        outage = self.outages.begin("", at)
        outage.notice = Notice(
            Verdict.DEAD,
            counted(len(services), "service"),
            at,
            cause=Cause.ENGINE,
            plan="They are restarted, what others depend on first.",
            mention=self.settings.mention,
        )
        return outage

    # Reminders

    def remind(self, all_muted: bool, now: float) -> None:
        """Say what is still down, all of it in one message; nothing is said of what is muted."""
        away_at = self.link.away_at
        if away_at is not None and self.outages.engine and not all_muted:
            lines = [(self.link.facts.host, away_at)]
        else:
            lines = self._services_down()
        if not all_muted:
            lines += self._hosts_dark()
        if self.outages:
            self.timers.set(Rule.REMIND, "", now + self.settings.remind)
        if lines:
            self.outages.tell(self._still_down(lines, now))

    def _services_down(self) -> list[tuple[str, float]]:
        """What is still down and nobody sees to, and since when."""
        lines: list[tuple[str, float]] = []
        for service in self.services.values():
            incident = service.incident
            if incident is None or service.is_back or service.muted:
                continue
            if not incident.outage.taken_by:
                lines.append((incident.notice.name, incident.began_at))
        return lines

    def _hosts_dark(self) -> list[tuple[str, float]]:
        """Which hosts are dark and nobody sees to, and since when."""
        lines: list[tuple[str, float]] = []
        for outage in self.outages.values():
            if outage.host and outage.notice and not outage.taken_by:
                lines.append((f"host {outage.notice.name}", outage.began_at))
        return lines

    def _still_down(self, lines: list[tuple[str, float]], now: float) -> Notice:
        names = tuple(f"{name} ({span(now - began_at)})" for name, began_at in lines)
        title = lines[0][0] if len(lines) == 1 else counted(len(lines), "service")
        return Notice(
            Verdict.STILL_DOWN,
            title,
            now,
            downtime=now - min(began_at for _, began_at in lines),
            names=names,
            mention=self.settings.mention,
        )


# ─── Healing ──────────────────────────────────────────────────────────────────────────────────────

FIRST_DELAY, LONGEST_DELAY = 5.0, 300.0  # between restarts: at once, then 5 s, 10 s, 20 s … 5 min
POLICY_PATIENCE = 65.0  # Docker's own restart policy waits up to 60 s between tries
STOP_SHADOW = 600.0  # so long after a stop, the death of what depends on it is put down to that
# so soon after a death compose stops the rest of a project (`up --abort-on-container-exit`)
TEARDOWN = 1.0
TURNS = 60.0  # within which podman-compose has stopped one after the other
UP_BEGINS = 30.0  # so soon after it has made all, `compose up` starts the first
HELD_LOOK = 60.0  # how often it is asked whether what holds a restart still does, if nothing tells


UNASKABLE = {
    "paused": "it is paused",
    "restarting": "Docker's own restart policy is at it",
    "removing": "its container is being removed",
    **dict.fromkeys(NOT_THERE, "its container is gone"),
}
PHASES_IN_THE_WAY = {
    Phase.SUSPECT: "it has just ended, and is being looked at",
    Phase.RESTARTING: "it is being restarted already",
    Phase.DOCKER: "Docker's own restart policy is at it",
    Phase.MISSING: "its container is gone",
    Phase.GONE: "its container is gone",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done about a service that is down: in words, the phase that this is, and until when
    that lasts. `tried`: how many restarts did not help, where that is why it is given up."""

    words: str
    phase: Phase
    due: float = math.inf
    tried: int = 0


class Healing:
    """Whether a service that is down is restarted, and when: questions only."""

    def __init__(self, services: Services, link: Link) -> None:
        self.services, self.link = services, link

    def plan(self, service: Watched, now: float) -> Plan:
        """What is done about a service that is down: the first of these that holds."""
        if self.services.network_of(service) is Network.GONE:
            return self._not_restarted(
                "only compose can put it back: the network it shares is gone"
            )
        return self._turn_of_others(service, now) or self._own_turn(service, now)

    def _turn_of_others(self, service: Watched, now: float) -> Plan | None:
        """What is done where somebody else brings it back, or takes it down with its project."""
        container = service.container
        if container.status == "restarting" or self._runs_again(service):
            return Plan(policy_words(container), Phase.DOCKER, now + POLICY_PATIENCE)
        policy_until = self._podmans_turn_until(service)
        if now < policy_until:
            return Plan(policy_words(container), Phase.DOCKER, policy_until)
        if container.unit:
            words = f"systemd restarts it ({container.unit})."
            return Plan(words, Phase.HELD, now + HELD_LOOK)
        if self.taken_down(service, now):
            return self._with_its_project(service, now)
        return None

    def _own_turn(self, service: Watched, now: float) -> Plan:
        container = service.container
        obstacle = self.obstacle(service)
        if obstacle:
            return self._not_restarted(obstacle)
        until = self.link.runs.asked_until(container)
        if container.running and now < until:
            return Plan("It was asked to end, and is left alone meanwhile.", Phase.HELD, until)
        holders = self.holders(service, now)
        if holders:
            names = listed(parent.container.short for parent in holders)
            return Plan(f"Waits for {names}.", Phase.HELD, now + HELD_LOOK)
        attempts, most = service.budget.attempts, service.policy.max_restarts
        if not most:
            return self._not_restarted("it is to be restarted 0 times (max-restarts)")
        if service.budget.granted:
            return Plan("Restarting it now.", Phase.BACKOFF, now)
        if attempts >= most:
            words = f"{counted(attempts, 'restart')} did not help"
            return replace(self._not_restarted(words), tried=attempts)
        delay = self._delay_before(service, now)
        tries = f"(attempt {attempts + 1} of {most})"
        words = f"Restarting it now {tries}."
        if attempts:  # a stop of what is down sends no event
            words = f"Restarting it in {span(delay)} {tries}; to keep it down, mute it."
        return Plan(words, Phase.BACKOFF, now + delay)

    def _podmans_turn_until(self, service: Watched) -> float:
        """Until when to wait for Podman's own policy, which restarts at once, and shows nothing of
        it before: not what a kill has touched, which it takes for a stop."""
        container, death = service.container, service.run.end
        if not container.kind.podman or container.status != "exited" or death is None:
            return -math.inf
        if container.restart_policy == "no" or service.run.kills or container.stopped_by_user:
            return -math.inf
        if container.restart_policy == "on-failure" and container.exit_code == 0:
            return -math.inf
        return death.at + POLICY_NEAR

    def _delay_before(self, service: Watched, now: float) -> float:
        """How long to wait before the next restart. Of what `compose up` follows in the foreground
        it is awaited whether that stops the project now."""
        attempts, death = service.budget.attempts, service.run.end
        followed = service.container.project and self.link.runs.is_attached(service.container)
        if not attempts and death and followed:
            return max(0.0, death.at + TEARDOWN - now)
        return delay_before(attempts)

    def taken_down(self, service: Watched, now: float) -> bool:
        """Whether the rest of its project was stopped right after its death: as long as that may be
        a deploy, or once nothing of it lives on."""
        incident, death = service.incident, service.run.end
        if incident is None or death is None or not service.container.project:
            return False
        if service.run.asked_at is not None or incident.notice.cause is Cause.ENGINE:
            return False  # it did not begin with this one
        if not self.link.runs.is_attached(service.container):
            return False  # no `compose up` is there that could end with it
        siblings = self.services.siblings(service)
        runs = [sibling.run for sibling in siblings]
        if not any(is_teardown(runs, fell_at, now) for fell_at in (incident.began_at, death.at)):
            return False
        return now < death.at + service.policy.settle or not any(map(lives_on, siblings))

    def _with_its_project(self, service: Watched, now: float) -> Plan:
        for sibling in self.services.siblings(service):
            if sibling.container.running or sibling.phase is Phase.SUSPECT:
                until = now + min(HELD_LOOK, service.policy.settle)
                return Plan("The rest of its project is being stopped.", Phase.HELD, until)
        return Plan("The rest of its project was stopped with it.", Phase.STOPPED)

    def stops_around(self, service: Watched) -> bool:
        """Whether podman-compose stops its project: what others need goes first there, and they may
        end of that before it is their turn."""
        death = service.run.end
        if death is None or not service.container.by_podman_compose:
            return False
        for sibling in self.services.siblings(service):
            run = sibling.run
            stop_time = run.wish_time or (run.end.time if run.end else -math.inf)
            near = -STOP_GRACE <= death.time - stop_time <= TURNS
            if near and (sibling.container.running or stopped_by_operator(sibling)):
                return True  # the former: it drains, or has not been looked at yet
        return False

    def stopped_first(self, service: Watched) -> list[Watched]:
        """What podman-compose stops before a service: no event tells of that until it has ended, a
        look does."""
        if not service.container.by_podman_compose:
            return []
        return [parent for parent, _ in self.services.parents(service) if parent.lives]

    def comes_too_early(self, service: Watched, death: Death) -> bool:
        """Whether it was started before what it needs was ready, as podman-compose does it: then
        its first ends say nothing."""
        container = service.container
        if not container.by_podman_compose or not self.services.parents(service):
            return False
        early = 0.0 <= death.time - container.created_time <= UP_BEGINS
        left = service.policy.max_restarts - service.budget.attempts
        return early and left > 0 and not self.obstacle(service)

    def obstacle(self, service: Watched) -> str:
        """Why a service is not restarted at all, empty where it may be; its budget aside."""
        incident = service.incident
        if incident and incident.hopeless:
            return incident.hopeless
        if not service.policy.heal:
            return service.policy.why_not
        if self.link.facts.forbidden:
            return f"Sentinel may only watch here ({self.link.facts.forbidden})"
        if service.container.auto_remove and not service.container.sick:
            return REMOVES_ITSELF
        return ""

    def refusal(self, service: Watched, now: float) -> str:
        """Why a service is not restarted although somebody asks for it, empty where it is."""
        container = service.container
        if self.link.is_away:
            return "the engine does not answer"
        if service.muted:
            return "it is muted; unmute it first"
        if self.services.is_job(service):
            return "it is a job, and runs when it is due"
        if self.services.network_of(service) is Network.GONE:
            return "only compose can put it back: the network it shares is gone"
        if not service.policy.heal:
            return service.policy.why_not
        if self.link.facts.forbidden:
            return f"Sentinel may only watch here ({self.link.facts.forbidden})"
        if container.running and now < self.link.runs.asked_until(container):
            return "somebody is stopping it just now"
        if service.phase is Phase.SUSPECT and stopped_by_operator(service):
            return ""
        return UNASKABLE.get(container.status, PHASES_IN_THE_WAY.get(service.phase, ""))

    def others_live(self, service: Watched) -> bool:
        """Whether anything else of its project runs."""
        return any(other.phase in STANDING for other in self.services.siblings(service))

    def may_restart(self, service: Watched) -> bool:
        """Whether a service that runs may be restarted together with another."""
        if not service.policy.heal or self.link.facts.forbidden:
            return False
        return service.budget.attempts < service.policy.max_restarts

    def _not_restarted(self, why: str) -> Plan:
        return Plan(f"Not restarted: {why}.", Phase.GAVE_UP)

    def _runs_again(self, service: Watched) -> bool:
        container = service.container
        stale = self.services.network_of(service) is Network.STALE
        return container.running and not container.sick and not stale

    # Who waits for whom

    def holders(self, child: Watched, now: float) -> list[Watched]:
        """What a service waits for: what it names, else what is behind that; in a circle who fell
        first, of replicas one."""
        direct: list[Watched] = []
        behind: list[Watched] = []
        for parent, dependency in self.services.above(child):
            if not self._holds(parent, dependency, child, now) or self._began_circle(child, parent):
                continue
            replicas = self.services.replicas(parent)
            if not any(self.steady(other, dependency, now) for other in replicas):
                (direct if dependency.direct else behind).append(parent)
        return direct or behind

    def failed_above(self, child: Watched) -> list[Watched]:
        """What a service depends on, and that is down."""
        failed = [parent for parent, _ in self.services.above(child) if not parent.is_back]
        return self.services.roots_first(failed)

    def startable(self, child: Watched, now: float) -> bool:
        """Whether compose, which has begun to start its project, has no reason to wait with a
        service any more."""
        container = child.container
        parents = self.services.parents(child)
        jobs = self.services.jobs_before(child)
        before = [*[parent for parent, _ in self.services.above(child)], *jobs]
        since = [one.container.started_time - container.created_time for one in before]
        if not any(0.0 <= seconds <= UP_BEGINS for seconds in since):
            return False
        ready = all(self.steady(parent, dependency, now) for parent, dependency in parents)
        return ready and all(map(self.services.finished, jobs))

    def in_shadow(self, child: Watched) -> bool:
        """Whether something that it depends on, and that did not die of it, is not back."""
        down = [parent for parent, _ in self.services.above(child) if not parent.is_back]
        return any(not self._began_circle(child, parent) for parent in down)

    def _began_circle(self, child: Watched, parent: Watched) -> bool:
        """Whether two that need each other began to fall with the first of them."""
        if not self.services.needs(parent, child) or child.incident is None:
            return False
        return parent.incident is None or child.incident.began_at <= parent.incident.began_at

    def _holds(self, parent: Watched, dependency: Dependency, child: Watched, now: float) -> bool:
        """Whether a restart of a dependant would be wasted; what was stopped long before holds only
        its network."""
        if parent.alive:
            return not self.steady(parent, dependency, now)
        if parent.incident or dependency.network:
            return True
        if not dependency.direct or self.services.finished(parent):
            return False
        if parent.phase in (Phase.SUSPECT, Phase.MISSING):
            return True
        ended, fell = parent.container.finished_time, child.container.finished_time
        if child.container.running:
            fell = self.link.stream.position
        return bool(ended) and fell - ended <= STOP_SHADOW

    def steady(self, parent: Watched, dependency: Dependency, now: float) -> bool:
        """Whether it lives well enough for its dependants."""
        return now >= self.steady_at(parent, dependency)

    def steady_at(self, parent: Watched, dependency: Dependency) -> float:
        """From when on it lives well enough for its dependants: longer than last, healthy where
        they ask, not to be restarted; infinity where no clock tells."""
        container = parent.container
        if not parent.alive or container.sick or self.to_be_refreshed(parent):
            return math.inf
        if dependency.condition == "service_healthy" and container.health is Health.STARTING:
            return math.inf
        uptime = parent.incident.notice.uptime if parent.incident else None
        lived = 2 * (uptime or 0.0)
        return parent.back_at + max(FIRST_PROOF, min(parent.budget.proof, lived))

    def to_be_refreshed(self, service: Watched) -> bool:
        """Whether a service that runs is itself about to be restarted with what it depends on."""
        if service.muted or not self.may_restart(service):
            return False
        parents = self.services.parents(service)
        if not all(parent.alive for parent, _ in parents):
            return False
        if self.services.network_of(service) is Network.STALE:
            return True
        return any(self.asks_refresh(parent, service, link) for parent, link in parents)

    def asks_refresh(self, parent: Watched, child: Watched, dependency: Dependency) -> bool:
        """Whether a service is to be restarted since what it depends on died and is back."""
        return dependency.restart and parent.run.follows_death and older(child, parent)


def policy_words(container: Container) -> str:
    """Who brings it back, where that is its engine."""
    engine = "Podman" if container.kind.podman else "Docker"
    return f"{engine}'s own restart policy ({container.restart_policy}) brings it back."


def stopped_by_operator(service: Watched) -> bool:
    """Whether it is down since somebody has stopped it, as far as that is known."""
    death = service.run.end
    if death is None or service.container.running:
        return False
    return intent_of(service.run, death, service.container) is Intent.OPERATOR


def is_teardown(runs: Iterable[Run], fell_at: float, now: float) -> bool:
    """Whether runs were asked to end from a death on, each right after that or after the end of
    one before it: so compose stops a project."""
    asked: list[tuple[float, float]] = []
    for run in runs:
        if run.asked_at is not None and run.asked_at > fell_at:
            asked.append((run.asked_at, run.end.at if run.end else now))
    until = fell_at
    for asked_at, ended_at in sorted(asked):
        if asked_at > until + TEARDOWN:
            return False
        until = max(until, ended_at)
    return bool(asked)


def lives_on(service: Watched) -> bool:
    """Whether a service runs, and nobody has asked it to end."""
    return service.alive and service.run.asked_at is None


def delay_before(attempts: int) -> float:
    """How long to wait before the next restart, after so many."""
    if not attempts:
        return 0.0
    return float(min(LONGEST_DELAY, FIRST_DELAY * 2 ** (attempts - 1)))


# ─── Lives ────────────────────────────────────────────────────────────────────────────────────────

FORGET_AFTER = 600.0  # who is gone
UNKNOWN_PATIENCE = 30.0  # how long a call whose answer was lost may still be at work
SOON_ENDED = 600.0  # after it was made, an init container has ended
PROJECT_PATIENCE = 120.0  # how long a stop waits to be told together with the rest of its project
LAST_LOOK = 1.0  # before it is said that something was stopped, or not started


VARYING = re.compile(r"[0-9a-f]{12,}|\d+")  # in an engine's words


def fails_as_before(known: str, words: str) -> bool:
    """Whether a start has failed as the one before: for the same reason, ids and numbers aside, or
    over what that has left behind (gVisor: `could not delete stale containerd task object`)."""
    if not known:
        return False
    return "stale" in words or VARYING.sub("#", words) == VARYING.sub("#", known)


LOGS_REMEMBERED = 3


def remembered(notice: Notice) -> Notice:
    """What is worth to be kept of a red, once it is over."""
    container = notice.container or Container("")
    kept = Container("", container.name, exit_code=container.exit_code)
    return replace(notice, container=kept, logs=notice.logs[-LOGS_REMEMBERED:], mention="")


def no_death(now: float, code: int | None = None, times: int = 1) -> Death:
    """What stands for a death where a service is down and its container has not ended."""
    return Death(0.0, now, code, times=times)


class Lives:
    """One service's life: what its phase is, and what follows from that."""

    def __init__(
        self,
        settings: Settings,
        timers: Timers,
        orders: Orders,
        services: Services,
        runs: Runs,
        link: Link,
        stories: Stories,
        healing: Healing,
    ) -> None:
        self.settings = settings
        self.timers, self.orders, self.services, self.runs = timers, orders, services, runs
        self.link, self.stories, self.healing = link, stories, healing
        self.outages = stories.outages

    # Deaths

    def assess(self, service: Watched, run: Run, now: float) -> bool:
        """Whether nobody asked for an end, as far as is known: then it is judged as soon as it is
        looked at. Others may turn out to be a deploy."""
        death = run.end
        assert death
        service.run = run
        intent = intent_of(run, death, service.container)
        if self.outages.drill_of(service.container.id, death):
            return True
        wait = STOP_GRACE if intent is Intent.UNCLEAR else service.policy.settle
        settling = self.link.settling or self.healing.stops_around(service)
        if intent is Intent.NOBODY and not settling:
            needed = self.healing.stopped_first(service)
            if not needed:
                return True
            for parent in needed:
                self.orders.look(parent.container.id)
            wait = STOP_GRACE
        self.suspect(service, run, wait, now)
        return False

    def suspect(self, service: Watched, run: Run, wait: float, now: float) -> None:
        """It ended, and may be back soon: wait and see."""
        assert run.end
        service.run = run
        service.move(Phase.SUSPECT)
        self.settles_at(service, max(now, run.end.at + wait))

    def settles_at(self, service: Watched, due: float) -> None:
        """When it will have had its time. Shortly before, it is looked at once more: no event tells
        that somebody's restart has failed."""
        self.timers.set(Rule.PHASE, service.key, due)
        self.timers.set(Rule.LOOK, service.container.id, due - LAST_LOOK)

    def judge(self, service: Watched, before: Container, now: float) -> None:
        """Say what a death was: its run's evidence and the container as it is now are both at
        hand."""
        run, container = service.run, service.container
        death = run.end
        assert death
        run.judged = True
        job = self.services.is_job(service)
        judgement = judgement_of(run, death, before, container, job)
        verdict = Verdict.FAILED if job else Verdict.DEAD
        fall = Fall(verdict, judgement.cause, death, run)
        insist = service.policy.insist
        if judgement.ending is Ending.FINISHED:
            self.orders.log("info", f"{container.name} finished")
            self._end_job(service, now)
        elif judgement.ending is Ending.FAILED and not insist:
            self._tell_failed(service, fall, judgement.exit_code, now)
            self._end_job(service, now)
        elif insist:
            self.fall(service, fall, now)
        elif quiet := self._quiet_end(service, death, judgement.exit_code):
            self._tell_ended(service, death, judgement, quiet)
            self._end_job(service, now)
        elif service.incident is None and self.healing.comes_too_early(service, death):
            name, how = container.name, exit_words(judgement.exit_code)
            self.orders.log("info", f"{name} ended ({how}) before what it needs was ready")
            self.wait(service, now)
        else:
            hopeless = hopeless_end(run, death, container, judgement.exit_code)
            self.fall(service, replace(fall, hopeless=hopeless), now)

    def _tell_failed(self, service: Watched, fall: Fall, exit_code: int | None, now: float) -> None:
        if service.incident is None and not service.muted:
            notice = self.stories.red_of(service, fall, fall.verdict, exit_code, now)
            plan = "Not restarted: it is a job."
            waiting = self.services.unstarted_after(service)
            if waiting:
                names = listed(each.container.short for each in waiting)
                plan += f" Never started, since compose waits for it: {names}."
            self.outages.tell(replace(notice, plan=plan))

    def _quiet_end(self, service: Watched, death: Death, exit_code: int | None) -> str:
        """Why an end is told in amber, once, and not healed; empty where it is a death."""
        if service.incident:
            return ""
        unclear = is_unclear(service.run, death, service.container, exit_code)
        if unclear and self.runs.is_lost(death.time):
            return UNCLEAR
        return NO_POLICY if exit_code == 0 and self._was_to_end(service, death) else ""

    def _was_to_end(self, service: Watched, death: Death) -> bool:
        """Whether a good end looks like that of an init container: soon after it was made, under no
        policy, while nobody waits for it and the rest of its project lives."""
        container = service.container
        if container.restart_policy != "no" or not container.created_time:
            return False
        if not container.project:
            return False
        if death.time - container.created_time > SOON_ENDED or self.services.children(service):
            return False
        return self.healing.others_live(service)

    def _tell_ended(self, service: Watched, death: Death, end: Judgement, why: str) -> None:
        notice = notice_of(service, Verdict.ENDED, death.at, end.cause, exit_code=end.exit_code)
        if not service.muted:
            self.outages.tell(replace(notice, plan=f"Not restarted: {why}."))

    def _end_job(self, service: Watched, now: float) -> None:
        self.rest(service)
        self.stories.left(service, "", now)
        if service.container.running:
            self.came_back(service, now, ours=False)

    def fall(self, service: Watched, fall: Fall, now: float, outage: Outage | None = None) -> None:
        """A service is down and nobody wanted it: tell, in the outage that it belongs to, and see
        to its return."""
        if service.muted:
            self._fall_muted(service, fall.death.at, now)
            return
        death, cause = fall.death, fall.cause
        self.refund_if_proven(service, death.at)
        if cause not in NO_DEATH_OF_ITS_OWN:
            service.budget = service.budget.died(now, death.times)
        if cause is Cause.ENGINE:
            service.budget = replace(service.budget, granted=True)
        notice = notice_of(service, fall.verdict, death.at, cause)
        joined = outage.current if outage else None
        incident = self.stories.fell(service, notice, joined, death.times, now)
        if fall.hopeless is not None:
            incident.hopeless = fall.hopeless
        self.orders.add(Count("deaths", service.key, death.times))
        if fall.verdict is not Verdict.FAILED and self._loops(service, now):
            incident.looped_at = incident.looped_at or now
        self.stories.gather(service, now)
        verdict = fall.verdict
        if incident.looped_at and cause is not Cause.ORPHAN and service.budget.recent(now):
            verdict = Verdict.CRASH_LOOP
        exit_code = None
        if cause not in NO_EXIT:
            exit_code = code_of(death, service.container)
        incident.notice = self.stories.red_of(service, fall, verdict, exit_code, now)
        service.last_fall = remembered(incident.notice)
        self.wait(service, now)

    def tell_late(self, service: Watched, now: float) -> None:
        """What was to be started again without a word still waits for that: it is down."""
        run = service.run
        self.fall(service, Fall(Verdict.DEAD, Cause.EXIT, run.end or no_death(now), run), now)

    def never_started(self, service: Watched, failed: Watched | None, now: float) -> None:
        """compose broke off before it has started a service: since this has failed that it depends
        on, else for a reason of its own."""
        outage = failed.incident.outage if failed and failed.incident else None
        hopeless = None if outage else "compose broke off before it came to it"
        fall = Fall(Verdict.DEAD, Cause.NEVER_STARTED, no_death(now, times=0), Run(), hopeless)
        self.fall(service, fall, now, outage)

    def _loops(self, service: Watched, now: float) -> bool:
        return len(service.budget.recent(now)) >= LOOP_DEATHS

    def _fall_muted(self, service: Watched, at: float, now: float) -> None:
        """Nothing is told, and nothing done, until the end of the mute."""
        service.hush = Hush.DIED
        if service.fell_at is None:
            service.fell_at = at
        if service.phase is Phase.MISSING:  # the end of the mute tells it as gone
            self.be_gone(service, now)
        self.rest(service)
        if service.incident:
            self.stories.check_over(service.incident.outage, now)

    def refund_if_proven(self, service: Watched, at: float) -> None:
        """Ten minutes of proven life give the restart budget back, and the proof of a run that
        somebody else has begun."""
        budget = service.budget.lived(at)
        proved_at = service.proved_at
        if service.is_back and proved_at and at - proved_at >= REFUND_AFTER:
            budget = Budget()
        if budget != service.budget:
            service.budget = budget
            self.services.changed(service)

    # Waiting, and restarts

    def wait(self, service: Watched, now: float) -> None:
        """Wait for the next attempt, for others, or for Docker's own policy, or give up; an attempt
        that is due is made."""
        plan = self.healing.plan(service, now)
        if plan.phase is Phase.STOPPED:
            self.stories.left(service, plan.words, now)
            self.rest(service)
            return
        service.move(plan.phase)
        self.outages.update(service, plan.words)
        if plan.phase is Phase.GAVE_UP:
            self._give_up(service, plan, now)
        elif plan.due <= now:
            self.attempt(service, now)
        else:
            self.timers.set(Rule.PHASE, service.key, plan.due)
            if plan.phase is Phase.DOCKER and service.container.running:
                self.came_back(service, now, ours=True)

    def stop_with(self, service: Watched, now: float) -> None:
        """A service is stopped: it may be the end of its project, which has begun with the death of
        another."""
        for sibling in self.services.siblings(service):
            waits = sibling.phase in (Phase.BACKOFF, Phase.HELD, Phase.GAVE_UP)
            if waits and self.healing.taken_down(sibling, now):
                self.wait(sibling, now)

    def retry(self, service: Watched, now: float) -> None:
        """Its delay is over, and things may stand otherwise now."""
        if self.healing.plan(service, now).phase is Phase.BACKOFF:
            self.attempt(service, now)
        else:
            self.wait(service, now)

    def attempt(self, service: Watched, now: float) -> None:
        """Restart it, or start it where it is down; not while somebody is stopping it, or while it
        is muted."""
        container = service.container
        until = self.runs.asked_until(container)
        if container.running and now < until:
            self.timers.set(Rule.PHASE, service.key, until)
            return
        if service.muted:
            self.timers.park(Rule.PHASE, service.key, now)
            return
        tries = ""
        if not service.budget.granted:
            tries = f" (attempt {service.budget.attempts + 1} of {service.policy.max_restarts})"
        service.budget = service.budget.spent()
        incident = service.incident
        if incident:
            incident.attempts += 1
        self.outages.update(service, f"Restarting it now{tries}.")
        service.move(Phase.RESTARTING)
        self.timers.cancel(service.key, Rule.PHASE)
        self.orders.log("info", f"restarting {container.name}{tries}")
        self.orders.add(Count("restarts", service.key))
        self._call(service)

    def _call(self, service: Watched, by: str = "") -> None:
        container = service.container
        service.call = Call(container.id, by=by, started_time=container.started_time)
        self.orders.add(
            Restart(
                service.key,
                container.id,
                container.started_time,
                container.running,
                container.stop_timeout,
            )
        )

    def restart_asked(self, service: Watched, by: str, now: float) -> None:
        """Somebody wants it restarted, and `Healing.refusal` has no reason against it: that spends
        nothing, and begins its budget anew."""
        service.budget = Budget(granted=True)
        service.known_error = ""
        service.make_hope()
        service.run.settle()
        incident = service.incident
        if incident:
            incident.back_at = None
            self.outages.note_asked(incident.outage, f"restart asked for by {by}")
        self.attempt(service, now)
        if service.call:
            service.call = replace(service.call, by=by)

    def _give_up(self, service: Watched, plan: Plan, now: float) -> None:
        """Stop trying. It is told where something was tried in this incident, or lately; else the
        first red has said it already."""
        self.timers.cancel(service.key, Rule.PHASE)
        incident = service.incident
        if incident is None:
            return
        tried = max(plan.tried, incident.attempts)
        if tried and incident.notice.verdict not in (Verdict.ORPHANED, Verdict.VANISHED):
            known = service.known_error
            incident.notice = replace(
                incident.notice,
                verdict=Verdict.GAVE_UP,
                exit_code=None if known else incident.notice.exit_code,
                plan=plan.words,
                error=known,
                attempts=tried,
            )
        self.stories.check_over(incident.outage, now)

    def restarted(self, seen: Restarted, now: float) -> None:
        """Sentinel's own call ended. One that may still be at work counts as done until a look says
        otherwise."""
        service = self.services.get(seen.key)
        if service is None or service.phase is not Phase.RESTARTING:
            return
        call = service.call
        if call is None or call.container != seen.id:
            return
        self.services.changed(service)
        if call.by and seen.outcome not in (Outcome.DONE, Outcome.OVERTAKEN):
            self._tell_not_done(service, call.by, seen, now)
        service.call = None
        if service.container.id != seen.id:
            # It was replaced: what became of the new one, the look tells.
            deploy = service.deploy
            self.came_back(service, now, ours=False)
            service.deploy = deploy  # that is not over before its replacement runs
            self.orders.look(service.container.id)
            return
        if seen.container:
            self.services.show(service, seen.container)
        if seen.outcome is Outcome.FORBIDDEN:
            self.link.forbid(seen.why)
            self.wait(service, now)
        elif seen.outcome is Outcome.REFUSED:
            self._refused(service, service.container.error or seen.why, now)
        elif seen.outcome is Outcome.OVERTAKEN:
            self._overtaken(service, seen, call, now)
        else:
            if seen.outcome is Outcome.UNKNOWN:
                service.call = replace(call, until_at=now + UNKNOWN_PATIENCE)
            self._called(service, seen, now)

    def _overtaken(self, service: Watched, seen: Restarted, call: Call, now: float) -> None:
        if call.by and seen.container and seen.container.status == "exited":
            self._call(service, call.by)  # it has ended since: it is wanted all the same
        else:
            self._called(service, seen, now)

    def _tell_not_done(self, service: Watched, by: str, seen: Restarted, now: float) -> None:
        """Somebody has been told that it is restarted, and it is not, or nobody knows."""
        name = service.container.title
        words = f"The restart of {name} that {by} asked for was not done: {one_line(seen.why)}"
        if seen.outcome is Outcome.UNKNOWN:
            words = f"Whether the restart of {name} that {by} asked for was done is not known"
        title = f"Not restarted: {name}"
        self.outages.tell(Notice(Verdict.WARNING, title, now, plan=redact(words)))

    def _refused(self, service: Watched, words: str, now: float) -> None:
        """The engine can't start it: once more, unless that has failed so before."""
        if service.incident is None and service.container.running:
            self.came_back(service, now, ours=True)  # it has never been down
            return
        again = fails_as_before(service.known_error, words)
        if not again:
            service.known_error = words
        incident = service.incident
        if incident is None:  # it ran, and was to be restarted with another
            cause = Cause.CANT_START
            self.fall(service, Fall(Verdict.DEAD, cause, no_death(now)), now)
            return
        incident.hopeless = str(Cause.CANT_START) if again else ""
        self.wait(service, now)

    def _called(self, service: Watched, seen: Restarted, now: float) -> None:
        self.came_back(service, now, ours=True)
        ended = service.run.pending is not None  # it has died since
        if ended:
            self.assess(service, service.run, now)
        if ended or seen.outcome is Outcome.OVERTAKEN or not service.container.running:
            self.orders.look(seen.id)

    def call_pending(self, service: Watched, now: float) -> bool:
        """Whether a restart of Sentinel's, whose answer was lost, may still be at work."""
        call = service.call
        return call is not None and call.until_at is not None and now < call.until_at

    # Ways back

    def came_back(
        self, service: Watched, now: float, ours: bool, started_time: float = 0.0
    ) -> None:
        """It runs again. Somebody's own start refunds the restart budget once it has proven itself;
        Docker's and Sentinel's do not."""
        container, incident = service.container, service.incident
        replaced = service.phase is Phase.SUSPECT and incident is None
        if not ours:
            service.known_error = ""
            service.make_hope()
        run = service.run = self.runs.of(container)
        if service.call and run.started_time > service.call.started_time + SAME_START:
            service.call = None  # it has done its work: whoever ends this run, it is not that call
        if incident and not service.is_back and incident.notice.verdict is not Verdict.RESTARTED:
            run.follows_death = True
        service.deploy = None
        service.fell_at = None
        service.logs = ()  # they are of the run before
        service.move(Phase.UP if replaced else Phase.PROVING)
        service.back_at = self.runs.moment(started_time or container.started_time, now)
        service.budget = service.budget.started(service.back_at, ours, now)
        self.services.changed(service)
        self.timers.cancel(service.key, Rule.PHASE, Rule.FORGET)
        self.timers.set(Rule.DEPENDANTS, service.key, now + FIRST_PROOF)
        if not replaced:
            proof = service.budget.proof
            self.timers.set(Rule.PHASE, service.key, max(now, service.back_at + proof))
            self.outages.update(
                service, f"It runs again; it has to live for {span(proof)} to be called back."
            )

    # Ends that somebody wanted

    def rest(self, service: Watched) -> None:
        """Leave it alone until somebody starts it."""
        self.services.changed(service)
        service.run.settle()
        self.timers.cancel(service.key, Rule.PHASE)
        if service.phase not in REMOVED:
            service.move(Phase.STOPPED)

    def be_gone(self, service: Watched, now: float) -> None:
        """Its container is no more, and nobody misses it; it is remembered for a while."""
        service.move(Phase.GONE)
        self.services.changed(service)
        self.timers.cancel(service.key, Rule.PHASE)
        self.timers.set(Rule.FORGET, service.key, now + FORGET_AFTER)


# ─── Settling ─────────────────────────────────────────────────────────────────────────────────────


SET_ASIDE = re.compile(r"[0-9a-f]{12}_")  # compose puts it before the name of what it replaces


REMOVALS_EVERY = 60.0


def unnamed(container: Container) -> bool:
    """Whether it is watched since all are, and not for its own sake."""
    return not (container.project or container.unit or "sentinel.watch" in container.labels)


class Removals:
    """Removals of containers that nobody has named, such as those of a build server: one notice a
    minute tells of all."""

    def __init__(self, timers: Timers, outages: Outages) -> None:
        self.timers, self.outages = timers, outages
        self.names: tuple[str, ...] = ()  # that wait to be told
        self._told_at = -math.inf

    def restore(self, names: tuple[str, ...], now: float) -> None:
        """Take up what the ledger remembers."""
        for name in names:
            self.add(name, now)

    def add(self, name: str, now: float) -> None:
        """One more was removed."""
        self.names = (*self.names, name)
        self.timers.sooner(Rule.REMOVALS, "", max(now, self._told_at + REMOVALS_EVERY))

    def tell(self, now: float) -> None:
        """Tell of all that wait."""
        names = self.names
        self.names, self._told_at = (), now
        title = names[0] if len(names) == 1 else counted(len(names), "container")
        several = names if len(names) > 1 else ()
        notice = Notice(Verdict.STOPPED, title, now, cause=Cause.REMOVED, names=several)
        self.outages.tell(replace(notice, lives_on=bool(several)))


class Settling:
    """Ends that somebody may have wanted: a stop, a removal, half of a deploy, once they have had
    their time."""

    def __init__(self, settings: Settings, lives: Lives) -> None:
        self.settings, self.lives = settings, lives
        self.timers, self.services = lives.timers, lives.services
        self.outages, self.stories = lives.outages, lives.stories
        self.removals = Removals(lives.timers, lives.outages)

    def suspect_due(self, service: Watched, now: float) -> None:
        """It has not come back within its time: a death after all, or an end that somebody
        wanted."""
        run = service.run
        death = run.end
        assert death
        intent = intent_of(run, death, service.container, final=True)
        if service.container.status == REMOVED_UNSEEN and not service.container.unit:
            if death.heard and not run.kills and intent is Intent.NOBODY:
                self.lives.judge(service, service.container, now)
            self.be_forgotten(service, "", now)  # it removes itself at its end
            return
        settled_at = death.at + service.policy.settle
        if intent is Intent.NOBODY and self._ended_with_its_project(service):
            self.settle(service, Cause.STOP, now)
        elif now < settled_at and self.lives.healing.stops_around(service):
            self.lives.settles_at(service, settled_at)
        elif death.heard and intent is Intent.NOBODY:
            self.lives.judge(service, service.container, now)
        elif now < settled_at:
            self.lives.settles_at(service, settled_at)
        else:
            self.settle(service, Cause.STOP, now)

    def _ended_with_its_project(self, service: Watched) -> bool:
        return self.lives.healing.stops_around(service) and not self.lives.healing.others_live(
            service
        )

    def missing_due(self, service: Watched, now: float) -> None:
        """Nothing has taken the place of its container. A stop by systemd removes it, too."""
        self.settle(service, Cause.STOP if service.container.unit else Cause.REMOVED, now)

    def settle(self, service: Watched, cause: Cause, now: float) -> None:
        """It has not come back: stopped on purpose, removed, or half of a deploy. A project settles
        as a whole."""
        death = service.death or no_death(now)
        together_at = self._project_settles_at(service, now)
        if now < together_at and now < death.at + service.policy.settle + PROJECT_PATIENCE:
            self.timers.set(Rule.PHASE, service.key, together_at)
            return
        failed = self.lives.healing.failed_above(service)
        if failed and self._made_and_there(service):
            service.deploy = None
            self.lives.never_started(service, failed[0], now)
        elif self._half_replaced(service) and self._siblings_live(service):
            self._vanish(service, death, now)
        elif cause is Cause.STOP and self.settings.stops == "alert":
            service.run.settle()
            self.lives.fall(service, Fall(Verdict.DEAD, Cause.OPERATOR, death, service.run), now)
        else:
            self._be_at_rest(service, cause, now)

    def _made_and_there(self, service: Watched) -> bool:
        """Whether its container was made, is not started, and is not removed either."""
        there = self.services.of(service.container.id) is service
        return there and service.container.unstarted

    def _vanish(self, service: Watched, death: Death, now: float) -> None:
        """A deploy has ended half-way."""
        service.run.settle()
        service.deploy = None
        if service.phase in REMOVED:  # else its container may still be removed
            self.services.show(service, replace(service.container, status=REMOVED_SEEN))
        hopeless = "only compose can put it back"
        fall = Fall(Verdict.VANISHED, Cause.FAILED_UPDATE, death, service.run, hopeless)
        self.lives.fall(service, fall, now)

    def _be_at_rest(self, service: Watched, cause: Cause, now: float) -> None:
        """Somebody wanted its end."""
        if self.settings.stops != "ignore":
            container = service.container
            ended = cause is Cause.STOP and container.status not in NOT_THERE
            exit_code = container.exit_code if ended and not container.running else None
            facts = {"exit_code": exit_code, "lives_on": self.lives.healing.others_live(service)}
            if service.phase in REMOVED and unnamed(container) and not service.muted:
                self.removals.add(container.title, now)
            else:
                self.outages.tell_apart(service, Verdict.STOPPED, now, cause, **facts)
        if service.phase in REMOVED:
            self.lives.be_gone(service, now)
        self.stories.left(service, f"It was {cause}.", now)
        self.lives.rest(service)
        for sibling in self.services.siblings(service):
            self.end_vanished(sibling, now)
        self.lives.stop_with(service, now)

    def _project_settles_at(self, service: Watched, now: float) -> float:
        """When all of its project that may be about to come back have had their time."""
        latest = now
        if not service.container.project:
            return latest
        for other in self.services.siblings(service):
            if other.phase in (Phase.SUSPECT, Phase.MISSING):
                latest = max(latest, self.timers.at(Rule.PHASE, other.key) or now)
        return latest

    def _half_replaced(self, service: Watched) -> bool:
        """Whether a deploy of it was begun: compose 1.x renames the old container before it makes
        the new one, and breaks there on an engine of today."""
        return service.deploy is not None or bool(SET_ASIDE.match(service.container.name))

    def _siblings_live(self, service: Watched) -> bool:
        """Whether the rest of its project runs, or it has none: then a removal was not the whole
        project's."""
        return not self.services.siblings(service) or self.lives.healing.others_live(service)

    def vanished(self, service: Watched) -> bool:
        """Whether it was removed by something that never put it back."""
        incident = service.incident
        if incident is None or service.phase is not Phase.GAVE_UP:
            return False
        return incident.notice.verdict is Verdict.VANISHED

    def end_vanished(self, service: Watched, now: float) -> None:
        """What vanished is missed no longer once all of its project is removed."""
        siblings = self.services.siblings(service)
        if not self.vanished(service) or not siblings:
            return
        if all(sibling.phase in REMOVED or self.vanished(sibling) for sibling in siblings):
            self.lives.be_gone(service, now)
            self.stories.left(service, f"It was {Cause.REMOVED}.", now)

    def be_missing(self, service: Watched, wait: float, now: float) -> None:
        """Its container was removed, which may be half of a deploy."""
        service.move(Phase.MISSING)
        self.timers.set(Rule.PHASE, service.key, now + wait)

    def be_forgotten(self, service: Watched, why: str, now: float) -> None:
        """Its container was removed, and that is no news."""
        self.lives.be_gone(service, now)
        self.stories.left(service, why, now)

    def forget_due(self, service: Watched, now: float) -> None:
        """It has been gone for long."""
        if service.phase is Phase.GONE or service.container.status == REMOVED_UNSEEN:
            self.stories.left(service, f"It was {Cause.REMOVED}.", now)
            self.services.forget(service)


# ─── Dependants ───────────────────────────────────────────────────────────────────────────────────


class Dependants:
    """What the life of one service means to those that need it: they go on, are restarted with it,
    or have lost its network."""

    def __init__(self, lives: Lives) -> None:
        self.lives = lives
        self.timers, self.services = lives.timers, lives.services
        self.outages, self.stories, self.healing = lives.outages, lives.stories, lives.healing

    def wake(self, parent: Watched, now: float) -> None:
        """A service lives again: what waited for it goes on, as does what waited for it and for
        others, and what can't live on with it as it is, is restarted."""
        if not parent.alive:
            return
        for other, link in self._steady_above(parent, now):
            self._keep_together(parent, other, link, now)  # its last restart may not have been done
        for child, _ in self.services.below(parent):
            self.lives.refund_if_proven(child, now)  # one may wait for the refresh of another
        later: list[float] = []
        waiting = 0
        for child, dependency in self.services.below(parent):
            ready_at = self.healing.steady_at(parent, dependency)
            if now < ready_at:
                later.append(min(ready_at, now + HELD_LOOK))
                continue
            waiting += not self._go_on(child, parent, dependency, now)
            for other, link in self._steady_above(child, now):
                if other is not parent:
                    self._go_on(child, other, link, now)
        if later:
            self.timers.set(Rule.DEPENDANTS, parent.key, min(later))
        elif not waiting and (parent.incident is None or parent.phase is Phase.UP):
            parent.run.calm_down()

    def _steady_above(self, child: Watched, now: float) -> Needs:
        """All that a service depends on, and that lives well enough for it."""
        above = self.services.above(child)
        return [(other, link) for other, link in above if self.healing.steady(other, link, now)]

    def _go_on(self, child: Watched, parent: Watched, dependency: Dependency, now: float) -> bool:
        """Do for a dependant what the life of its parent allows; whether that is all. The end of a
        mute, and the return of others that it needs, ask again."""
        if child.muted:
            return False
        if child.incident and self._waited_for(child, parent):
            child.relieve()
            self.services.changed(child)
            self.lives.wait(child, now)
            return True
        if child.incident and child.phase is Phase.PROVING and len(child.budget.died_at) > 1:
            # It died of its parent, which says nothing of it.
            child.budget = replace(child.budget, died_at=())
            self.services.changed(child)
            proven_at = child.back_at + child.budget.proof
            self.timers.set(Rule.PHASE, child.key, max(now + INSTANT, proven_at))
            return True
        return self._keep_together(child, parent, dependency, now)

    def _keep_together(
        self, child: Watched, parent: Watched, dependency: Dependency, now: float
    ) -> bool:
        """Restart a service that runs, where it can't live on with what it needs as that is now;
        false if that has to wait for others."""
        if child.muted or not child.alive:
            return not child.muted
        if dependency.network and self.services.adrift(child):
            self.check_network(child, now)
        elif self.healing.asks_refresh(parent, child, dependency):
            if self.healing.holders(child, now):
                return False
            self._refresh(child, parent, Cause.TOGETHER, now)
        return True

    def _waited_for(self, child: Watched, parent: Watched) -> bool:
        """Whether a service that is down may be tried anew, now that what it needs is back."""
        if child.phase is Phase.HELD:
            return True
        incident = child.incident
        if child.phase is not Phase.GAVE_UP or parent.incident is None or incident is None:
            return False
        return child.policy.heal and not incident.hopeless

    def _refresh(self, child: Watched, parent: Watched, cause: Cause, now: float) -> None:
        """Restart a service that runs, after what it can't live without was restarted."""
        self.lives.refund_if_proven(child, now)
        if not self.healing.may_restart(child):
            if cause is Cause.STALE:
                self._fall_adrift(child, cause, now)
            return
        notice = notice_of(child, Verdict.RESTARTED, now, cause)
        incident = child.incident
        if incident:
            incident.back_at = None
        elif parent.incident:
            self.stories.joins(child, parent.incident.outage, notice, now)
        else:
            self.outages.tell_apart(child, Verdict.RESTARTED, now, cause)
        child.move(Phase.BACKOFF)
        self.services.changed(child)
        self.lives.attempt(child, now)

    # Networks that containers share

    def check_network(self, child: Watched, now: float) -> None:
        """See to a service whose network is gone: compose may still be about to, after a
        recreate."""
        parent = self.services.get(child.network_parent)
        if child.muted or (parent and not parent.alive):
            return
        network = self.services.network_of(child)
        if network is Network.GONE and self.timers.at(Rule.NETWORK, child.key) is None:
            self.timers.set(Rule.NETWORK, child.key, now + child.policy.settle)
        steady = parent and self.healing.steady(parent, Dependency(network=True), now)
        if parent and steady and network is Network.STALE:
            self._refresh(child, parent, Cause.STALE, now)

    def network_due(self, child: Watched, now: float) -> None:
        """Compose had its time to put back who lost its network."""
        if child.alive and self.services.network_of(child) is Network.GONE:
            self._fall_adrift(child, Cause.ORPHAN, now)
        parent = self.services.get(child.network_parent)
        if parent and parent.incident:
            self.stories.check_over(parent.incident.outage, now)

    def _fall_adrift(self, child: Watched, cause: Cause, now: float) -> None:
        self.lives.fall(child, Fall(Verdict.ORPHANED, cause, no_death(now, times=0)), now)


# ─── Roster ───────────────────────────────────────────────────────────────────────────────────────


class Roster:
    """Whose a container is: services are found, get another container or another name, and go."""

    def __init__(self, settings: Settings, settling: Settling, mutes: Mutes) -> None:
        self.settings, self.mutes, self.settling = settings, mutes, settling
        self.lives = lives = settling.lives
        self.timers, self.orders = lives.timers, lives.orders
        self.services, self.runs = lives.services, lives.runs
        self.link, self.outages = lives.link, lives.outages
        self._own_key = ""  # that which Sentinel's own container would have

    # Who is found

    def forget_self(self, now: float) -> None:
        """Sentinel's own container is no service, whatever it was taken for before it began."""
        service = self.services.of(self.link.facts.me)
        if service and service.container.id == self.link.facts.me:
            self._leave_alone(service, "It is Sentinel itself.", now)

    def owner(self, seen: Looked) -> Watched | None:
        """Whose container this is; nobody's, where it was taken for a replacement, and has another
        name now."""
        service, container = self.services.of(seen.id), seen.container
        if service is None or container is None or service.container.id == seen.id:
            return service
        if container.key == service.key:
            return service
        self.services.unlink(seen.id)
        return None

    def adopt(self, container: Container, now: float) -> Watched | None:
        """Begin to watch a container, or learn that it is not to be watched."""
        container = self._tell_apart(container, now)
        policy, warnings = policy_of(container, self.settings, self.link.facts.me)
        for warning in warnings:
            self.orders.log("warning", warning)
        key = container.key
        if container.id == self.link.facts.me:
            self._know_self(key, now)
        if not policy.watch or key == self._own_key:  # or what is about to take Sentinel's place
            self.link.listed.ignored.add(container.id)
            self.runs.drop(container.id)
            return None
        known = self.services.get(key)
        if known and self._lives_beside(container, known):
            key = self._free_key(container)
            known = None
        if known:
            self.services.link(container.id, key)
            return known
        service = Watched(key, container, policy, Phase.UP, self.runs.of(container))
        found = container.id in (self.link.listed.found or ())
        heard = service.run.pending is not None
        found_down = found and container.status not in ("running", "restarting") and not heard
        if found_down:
            service.known_error = container.error
        if found_down or container.status == "created":
            service.phase = Phase.STOPPED
            service.run.settle()
        self.services.enter(service)
        self._mind_mutes(service, now)
        self.orders.log("info", f"watching {container.name} ({container.status})")
        return service

    def _know_self(self, key: str, now: float) -> None:
        """Sentinel's own key: what was watched by that, such as an earlier task of a Swarm's, is no
        service either."""
        self._own_key = key
        earlier = self.services.get(key)
        if earlier:
            self._leave_alone(earlier, "It is an earlier Sentinel.", now)

    def adopt_all(self, containers: Iterable[Container], now: float) -> None:
        """Take containers as they are, to answer questions about them."""
        for container in containers:
            service = self.services.get(container.key)
            own = container.id == self.link.facts.me
            if own or service is None or self._lives_beside(container, service):
                service = self.adopt(container, now)
            if service:
                self.services.show(service, container)

    def _tell_apart(self, container: Container, now: float) -> Container:
        """Of two that have the same labels of compose's, the one that compose made keeps them;
        where nothing tells which that is, the first that lives."""
        known = self.services.get(container.key)
        if known is None or container.replaces(known.container):
            return container
        if known.container.genuine and not container.genuine:
            return container.without_compose()
        if container.genuine and not known.container.genuine and self._is_there(known):
            self._set_aside(known, now)
        return container

    def _set_aside(self, copy: Watched, now: float) -> None:
        """What was taken for a service is a copy of its container: it goes by its own name, if it
        is to be watched at all."""
        container = copy.container.without_compose()
        policy, _ = policy_of(container, self.settings, self.link.facts.me)
        if not policy.watch:
            self.link.listed.ignored.add(container.id)
            self.orders.log("info", f"{container.name} is a copy: not watched any more")
            self._leave_alone(copy, "It is a copy of another container.", now)
            return
        copy.policy = policy
        self._go_by(copy, self._free_key(container))
        self.services.show(copy, container)

    def _lives_beside(self, container: Container, known: Watched) -> bool:
        """Whether a container only looks like that of a service which is there: two that live share
        no key."""
        return self._is_there(known) and not container.replaces(known.container)

    def _is_there(self, known: Watched) -> bool:
        """Whether a service has a container, as far as is known."""
        there = known.phase not in REMOVED and known.container.status not in NOT_THERE
        if not there or self.settling.vanished(known):
            return False
        return known.container.id not in self.link.listed.missed

    def _mind_mutes(self, service: Watched, now: float) -> None:
        self.mutes.begin(service, now)
        if service.policy.quiet:  # its label may have windows that nobody has looked at yet
            self.timers.sooner(Rule.MUTE, "", now)

    # Another container, another name

    def succeeds(self, service: Watched, seen: Container, now: float) -> bool:
        """A second container under the same key: true if it is now the service's container."""
        ours = service.container
        if seen.status == "created" and service.phase not in REMOVED:
            if service.phase is Phase.SUSPECT and not service.deploy:
                # An update begins: it has its time, too.
                self.timers.set(Rule.PHASE, service.key, now + service.policy.settle)
            service.deploy = Deploy(seen)
            return False
        came_after = service.phase in REMOVED and seen.started_time > ours.started_time
        if seen.status not in ("running", "restarting", "created", "paused") and not came_after:
            return False
        if service.lives and seen.started_time <= ours.started_time:
            return False  # the younger one counts
        service.policy, _ = policy_of(seen, self.settings, self.link.facts.me)
        service.deploy = Deploy() if seen.status == "created" else None
        service.run = self.runs.of(seen)
        if not seen.unit:  # else it is the next try of the same
            service.refund()
        self.timers.cancel(service.key, Rule.FORGET)
        self._mind_mutes(service, now)
        if came_after and seen.status == "exited":  # it ran, while nobody looked
            self.lives.came_back(service, now, ours=False, started_time=seen.started_time)
        return True

    def next_of_unit(self, event: Heard, now: float) -> Watched | None:
        """The service of a systemd unit whose next container has started, as the event itself
        tells: that may be gone before anybody can look. The one before is gone by then, even where
        its removal is told later."""
        labels = event.attributes
        seen = Container(event.id, labels.get("name", ""), labels)
        service = self.services.get(seen.key) if seen.unit else None
        if service is None or not service.container.unit:
            return None
        if self._is_there(service) and self.runs.newest(service.container.id).end:
            self.gone(service.container.id, now)
        if self._is_there(service):
            return None
        made = replace(
            service.container,
            id=event.id,
            status="created",
            started_time=0.0,
            finished_time=0.0,
            exit_code=0,
            oom_killed=False,
        )
        self.services.link(event.id, service.key)
        self.services.show(service, made)
        return service

    def rekey(self, service: Watched) -> None:
        """A container that somebody gave another name goes by that from now on, so that its old one
        is free."""
        container = service.container
        if service.key in (container.key, container.name, own_key(container)):
            return
        self._go_by(service, self._free_key(container))

    def _go_by(self, service: Watched, key: str) -> None:
        self._move_timers(service.key, key)
        self.outages.rename(service.key, key)
        self.services.rename(service, key)

    def _free_key(self, container: Container) -> str:
        """A key that no other service has: two containers that live never share one."""
        for key in (container.key, container.name):
            if key not in self.services:
                return key
        return own_key(container)

    def _move_timers(self, old: str, new: str) -> None:
        for rule in SERVICE_RULES:
            due = self.timers.at(rule, old)
            self.timers.cancel(old, rule)
            if due is not None:
                self.timers.set(rule, new, due)

    # Who goes

    def gone(self, container_id: str, now: float) -> None:
        """A container no longer exists: removed, or replaced by its successor."""
        service = self.services.unlink(container_id)
        run = self.runs.drop(container_id)
        self.timers.cancel(container_id, *CONTAINER_RULES)
        if service is None:
            return
        self.services.changed(service)
        successor = service.deploy.successor if service.deploy else None
        if service.container.id != container_id:
            if successor and successor.id == container_id:
                service.deploy = Deploy()
            return
        self._judge_removed(service, run, now)
        if successor:
            self.services.show(service, successor)
            self.orders.look(successor.id)  # it may have run, and ended, while nobody watched
            service.deploy = Deploy()
            service.refund()
            if service.phase is not Phase.SUSPECT:  # that is about the end of the one before
                service.run = self.runs.of(successor)
            if service.phase in STANDING and successor.status == "created":
                self.await_start(service, now)
        elif self.settling.vanished(service) and service.container.status != "created":
            # It was gone before, and its replacement never came.
            self.settling.end_vanished(service, now)
        else:
            self._removed(service, container_id, now)

    def await_start(self, service: Watched, now: float) -> None:
        """No event tells of a deploy: see once more whether its replacement has been started."""
        settle = service.policy.settle
        self.timers.set(Rule.LOOK, service.container.id, now + settle)
        self.settling.be_missing(service, settle + LAST_LOOK, now)

    def _judge_removed(self, service: Watched, run: Run, now: float) -> None:
        """Judge a death that was removed before anyone could look at it."""
        death = run.pending
        if death is None or service.phase not in STANDING:
            return
        if death.time < service.container.started_time:
            return
        if self.link.facts.kind.podman and removed_by_operator(service.container, run, death):
            return
        service.run = run
        before = replace(service.container, status=REMOVED_UNSEEN, finished_time=0.0)
        self.services.show(service, before)
        self.lives.judge(service, before, now)

    def _leave_alone(self, service: Watched, why: str, now: float) -> None:
        """It is no service, and never should have been one."""
        self.lives.stories.left(service, why, now)
        self.timers.cancel(service.key, *SERVICE_RULES)
        self.services.unlink(service.container.id)
        self.services.forget(service)

    def _removed(self, service: Watched, container_id: str, now: float) -> None:
        container = service.container
        if container.auto_remove and self._ends_unclear(service, now):
            self.services.show(service, replace(container, status=REMOVED_UNSEEN))
            return
        for other in self.services.containers(service.key):
            self.orders.look(other)  # one that came after it, and ended
        told = container.auto_remove or container.status == REMOVED_UNSEEN
        if container.unit and service.phase in FALLEN:  # systemd makes the next one
            self.services.show(service, replace(container, status=REMOVED_SEEN))
        elif told and not container.unit:
            self.settling.be_forgotten(service, "", now)
        elif service.phase in REMOVED or service.phase is Phase.STOPPED:
            self.settling.be_forgotten(service, f"It was {Cause.REMOVED}.", now)
        else:
            missed = container_id in self.link.listed.missed
            away_for = self.runs.away_for if missed else 0.0
            self.settling.be_missing(service, max(0.0, service.policy.settle - away_for), now)

    def _ends_unclear(self, service: Watched, now: float) -> bool:
        """Whether it is not known yet if somebody has stopped what removes itself at its end, or
        the engine leaves."""
        gap = self.link.gap
        if service.lives and self.link.settling and gap:
            service.run.end_unseen(Death(gap.begin + INSTANT, now, None, heard=False))
            self.lives.suspect(service, service.run, service.policy.settle, now)
        return service.phase is Phase.SUSPECT


def removed_by_operator(container: Container, run: Run, death: Death) -> bool:
    """Whether an end on Podman that a removal follows at once was somebody's wish: it is that, but
    for what removes itself at its end, of which only the code tells."""
    if killed_untold(run, death) or ended_for_memory(run, death, container):
        return False
    return not container.auto_remove or death.code in {KILLED_CODE, *codes_of_stops(container)}


def own_key(container: Container) -> str:
    """A key that no other container can have."""
    return f"{container.name}@{container.id[:12]}"


# ─── Sights ───────────────────────────────────────────────────────────────────────────────────────

PROOF_STEP = 5.0  # how often it is asked whether what has lived long enough is healthy, too
LOOK_RETRY = 2.0  # after a look that failed, or a restart whose answer was lost
NOTE_EVERY = 600.0
ASKED_TO_END = "it was asked to end, and may be at it"
LIST_TIME = 5.0  # so long ago, at least, a listing that has come did not know of what has begun
FIRST_START_LOOK = 5.0  # how often it is asked whether compose has started what it has made
UNHEARD_WAIT = 1.0  # until an end that was seen has surely been told, too


class Sight(Enum):
    """What a look shows, beside what was believed."""

    PAUSED = auto()
    ENDED = auto()  # as the stream told, and that is not judged yet
    RUNS = auto()
    SICK = auto()  # it runs, and its health check fails
    RAN_UNSEEN = auto()  # it runs, and has ended and been restarted since, which no event told
    CANT_START = auto()  # the engine says so, in new words
    DOCKER_TRIES = auto()  # it waits for Docker's own restart policy
    DOCKER_STOPPED = auto()  # it does not any more
    NOT_TAKEN = auto()  # it is still down, as is known
    ENDED_UNHEARD = auto()
    ENDED_AGAIN = auto()  # it was down, and has been started and has ended, which no event told
    UNSTARTED = auto()  # it was made, and is not started yet
    NOTHING_NEW = auto()


def sight_of(believed: Watched, seen: Container, missed_start: bool) -> Sight:
    """What a look at a service's container shows. `missed_start`: no event told of the start of its
    run."""
    if seen.status == "paused":
        return Sight.PAUSED
    if has_unjudged_end(believed) and not started_by_hand(believed, seen):
        return Sight.ENDED
    if seen.running and seen.sick and outlived_restart(believed, seen):
        return Sight.NOT_TAKEN
    if seen.running:
        return sight_of_running(believed.container, seen, missed_start)
    if has_new_error(believed, seen):
        return Sight.CANT_START
    if seen.status == "restarting":
        return Sight.DOCKER_TRIES
    if ran_again(believed, seen):
        return Sight.ENDED_AGAIN
    if believed.phase in WAITING and believed.container.status == "restarting":
        return Sight.DOCKER_STOPPED
    return sight_of_down(believed, seen)


def has_unjudged_end(believed: Watched) -> bool:
    """Whether an event has told of an end of what was alive, and no look has judged it; or whether
    Podman's policy has shown that what was taken for a stop is none."""
    run = believed.run
    if believed.phase is Phase.SUSPECT:
        return run.pending is not None and run.policy_time > 0.0
    return believed.lives and run.pending is not None


def outlived_restart(believed: Watched, seen: Container) -> bool:
    """Whether what runs is the run that Sentinel's last restart was to end, whose answer was
    lost."""
    call = believed.call
    if call is None or call.until_at is None or believed.phase is not Phase.PROVING:
        return False
    return seen.started_time <= call.started_time


def ran_again(believed: Watched, seen: Container) -> bool:
    """Whether what was down has been started since, and is down again, and no event told."""
    known = believed.container
    if believed.phase in (*STANDING, Phase.RESTARTING) or seen.id != known.id:
        return False
    end = believed.run.end
    told = end is not None and end.time >= seen.started_time
    again = seen.started_time > known.started_time + SAME_START
    return seen.status == "exited" and again and not told


def started_by_hand(believed: Watched, seen: Container) -> bool:
    """Podman: whether what was taken for a restart by its policy is one of what was stopped."""
    death = believed.run.end
    if believed.phase is not Phase.SUSPECT or death is None:
        return False
    return seen.started_time > death.time and not brought_back(believed.run, death, seen)


def has_new_error(believed: Watched, seen: Container) -> bool:
    """Whether the engine says in new words why it can't start it, no restart being at work."""
    new = bool(seen.error) and not fails_as_before(believed.known_error, seen.error)
    return new and believed.phase is not Phase.RESTARTING


def sight_of_down(believed: Watched, seen: Container) -> Sight:
    """What a look at a container that is down shows, where no policy of Docker's is at work."""
    if believed.phase is Phase.STOPPED and seen.unstarted:
        return Sight.UNSTARTED
    if believed.phase is Phase.STOPPED and believed.container.status == "paused":
        return Sight.NOTHING_NEW if believed.run.end else Sight.ENDED_UNHEARD
    if believed.phase not in STANDING:
        return Sight.NOTHING_NEW
    if believed.run.judged:
        return Sight.NOT_TAKEN
    if seen.status == "created":
        return Sight.UNSTARTED if seen.unstarted and believed.deploy else Sight.NOTHING_NEW
    return Sight.ENDED_UNHEARD


def sight_of_running(before: Container, seen: Container, missed_start: bool) -> Sight:
    """What a look at a container that runs shows."""
    if seen.sick:
        return Sight.SICK
    restarted = seen.id == before.id and seen.restart_count > before.restart_count
    return Sight.RAN_UNSEEN if restarted and missed_start else Sight.RUNS


SEEN_ENDS = frozenset({Sight.ENDED, Sight.RAN_UNSEEN})  # though it may run again by now


def last_lines(
    sight: Sight, believed: Watched, seen: Container, read: tuple[str, ...]
) -> tuple[str, ...]:
    """The last lines of a run that has ended, as a look has read them or one before it; none where
    what runs is not known to have ended."""
    if seen.running and sight not in SEEN_ENDS:
        return ()
    known = believed.container
    same_run = (seen.id, seen.started_time) == (known.id, known.started_time)
    return read or (believed.logs if same_run else ())


class Looks:
    """What is done about what is seen, of whom, and about what is not there any more."""

    def __init__(self, lives: Lives, dependants: Dependants, roster: Roster) -> None:
        self.lives, self.dependants, self.roster = lives, dependants, roster
        self.settling = roster.settling
        self.timers, self.orders = lives.timers, lives.orders
        self.services, self.runs = lives.services, lives.runs
        self.link, self.outages, self.stories = lives.link, lives.outages, lives.stories

    # A listing, and a look

    def listed(self, rows: tuple[Row, ...], now: float) -> None:
        """Compare a listing, which is the truth, with what is believed; look where they differ."""
        listing = self.link.listed
        first = not listing.done  # of what was meanwhile, its rows tell too little
        ids = listing.note(rows, self.services.containers())
        asked_time = self.runs.calendar.engine_time(now) - LIST_TIME
        self.services.listed(ids, asked_time)
        differing = [row.id for row in rows if first or self._differs(row)]
        lost = [each for each in self.services.containers() if each not in ids]
        for container_id in [*differing, *lost]:
            self.orders.look_in_turn(container_id)
        for service in list(self.services.values()):
            if service.container.network_target and service.alive:
                self.services.find_network(service)
                self.dependants.check_network(service, now)
        listing.grew(rows)
        known = ids.union(self.services.containers())
        self.runs.keep(lambda each: each in known or self.orders.looking(each))

    def _differs(self, row: Row) -> bool:
        """Whether a row tells something that is not known. Age tells of restarts that no event
        told."""
        if row.id in self.link.listed.ignored:
            return False
        service = self.services.of(row.id)
        known = service.container if service else None
        if service and service.container.id != row.id:
            known = service.deploy.successor if service.deploy else None
        if known is None or known.status != row.status or row.status == "created":
            return True
        if row.status == "running" and known.health != row.health:
            return True
        deaf = self.link.stream.flow is not Flow.OPEN
        return row.young and (deaf or row.id in self.link.listed.grown)

    def looked(self, seen: Looked, now: float) -> None:
        """Reconcile a service with its container as it really is. A look that something overtook is
        repeated."""
        service = self.roster.owner(seen)
        asked = self.orders.looking(seen.id)
        waiting = service or self.services.last_of(seen.id)
        if waiting:
            self.timers.release(Rule.PHASE, waiting.key)
        overtaken = self.orders.looked(seen.id)
        if overtaken and service:
            self.orders.look(seen.id)
        elif overtaken and seen.container:
            if asked:
                self._find_overtaken(seen.container, now)
            self.orders.look(seen.id)
        elif seen.why:
            self.timers.set(Rule.LOOK, seen.id, now + LOOK_RETRY)
            if seen.unanswered:
                self.link.list_now()  # which says whether the engine is there
        elif self.link.lags(now):
            self.timers.set(Rule.LOOK, seen.id, now + REPLAY_TIME)
        elif seen.container is None:
            self.roster.gone(seen.id, now)
        elif service:
            self._see(service, seen.container, seen.logs, now)
        elif found := self.roster.adopt(seen.container, now):
            self._see(found, seen.container, seen.logs, now)

    def _find_overtaken(self, seen: Container, now: float) -> None:
        """Whose a container is that nobody knew, an overtaken look tells all the same, since the
        next one may find it gone. How it has ended, that one tells."""
        made = self.runs.begun(seen)
        service = self.roster.adopt(made, now)
        if service:
            self._see(service, made, (), now, unless=Sight.ENDED)

    def _see(
        self,
        service: Watched,
        seen: Container,
        logs: tuple[str, ...],
        now: float,
        unless: Sight | None = None,
    ) -> None:
        """Believe what a look shows, and act on it, `unless` it is what the next look is to see."""
        before = service.container
        self.services.changed(service)
        if seen.id != before.id and not self.roster.succeeds(service, seen, now):
            return
        sight = self._show(service, seen, logs, now)
        if sight is not unless:
            self._act(sight, service, before, now)

    def _show(self, service: Watched, seen: Container, logs: tuple[str, ...], now: float) -> Sight:
        """Believe what a look shows of a service's container; what that is, beside what was
        believed."""
        before = service.container
        missed_start = self.runs.missed_start(seen)
        self._note_run(service, seen, now)
        started = before.health is Health.STARTING and seen.health is not Health.STARTING
        if started and service.phase in STANDING:
            self.timers.sooner(Rule.DEPENDANTS, service.key, now)  # they may wait for that
        sight = sight_of(service, seen, missed_start)
        service.logs = last_lines(sight, service, seen, logs)
        self.services.show(service, seen)
        if seen.running and service.deploy and not service.deploy.successor:
            service.deploy = None  # the replacement runs
        self.roster.rekey(service)
        return sight

    def _note_run(self, service: Watched, seen: Container, now: float) -> None:
        """The run that a look shows, which is the service's own, unless it is still to be judged
        how the one before has ended."""
        run = self.runs.of(seen)
        if service.lives and not service.run.pending:
            service.run = run
        if seen.running:
            run.lives_on(service.container.sick, seen.sick, now)
        if seen.stopping and service.phase is not Phase.RESTARTING:
            run.be_stopped(self.runs.calendar.engine_time(now))
            run.be_asked(now)

    def _act(self, sight: Sight, service: Watched, before: Container, now: float) -> None:
        step = STEPS[sight].get(service.phase)
        if step:
            step(self, sight, service, before, now)

    # Steps: what is done about a sight. `before` is the container as it was seen last.

    def pause(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """It is paused: left alone."""
        self.lives.rest(service)
        if service.incident:
            self.stories.check_over(service.incident.outage, now)

    def back_and_paused(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """It was started, and paused before anybody saw it run."""
        self.lives.came_back(service, now, ours=False)
        self.pause(Sight.PAUSED, service, before, now)

    def judge_end(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """It ended: a death that nobody asked for is told."""
        if self.lives.assess(service, service.run, now):
            self.lives.judge(service, before, now)

    def back(self, sight: Sight, service: Watched, before: Container, now: float) -> None:
        """It runs again: by Docker's or Sentinel's doing, or by somebody's."""
        container = service.container
        same_run = container.started_time == before.started_time
        by_docker = before.status == "restarting"
        by_docker = by_docker or container.restart_count > before.restart_count
        by_engine = by_docker or bool(container.unit)
        ours = same_run or by_engine or self.lives.call_pending(service, now)
        self.lives.came_back(service, now, ours)
        self._act(sight, service, before, now)

    def back_if_restarted(
        self, sight: Sight, service: Watched, before: Container, now: float
    ) -> None:
        """It was restarted; or it is still the sick run that is known, or the one without a
        network."""
        same_run = service.container.started_time == before.started_time
        if not (same_run and (service.container.sick or self.services.adrift(service))):
            self.back(sight, service, before, now)

    def fall_sick(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """Its health check fails. While somebody stops it, no probe counts."""
        until = self.runs.asked_until(service.container)
        if now < until:
            self.timers.set(Rule.LOOK, service.container.id, until)
            return
        if 0.0 < service.container.probed_time < service.run.unpause_time:
            # It was paused under its last probe, which says nothing.
            self.timers.set(Rule.LOOK, service.container.id, now + PROOF_STEP)
            return
        hopeless = ASKED_TO_END if service.run.asked_at is not None else None
        fall = Fall(Verdict.UNHEALTHY, Cause.UNHEALTHY, no_death(now), service.run, hopeless)
        self.lives.fall(service, fall, now)

    def judge_unseen(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """It ended and was restarted, and no event told."""
        container = service.container
        times = container.restart_count - before.restart_count
        ended_at = self.runs.moment(container.started_time, now)
        death = Death(container.started_time, ended_at, None, heard=False, times=times)
        service.run = Run(before.started_time, end=death)
        self.lives.judge(service, before, now)

    def prove(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """It has lived long enough, and is healthy where it can tell: say so in green, if nobody
        else is waited for."""
        if service.muted or now < service.back_at + service.budget.proof:
            return
        starting = service.container.health is Health.STARTING
        if starting or (service.incident and self.lives.healing.in_shadow(service)):
            self.timers.set(Rule.PHASE, service.key, now + PROOF_STEP)
            return
        service.move(Phase.UP)
        service.proved_at = now
        self.lives.refund_if_proven(service, now)
        service.known_error = ""
        self.services.changed(service)
        self.timers.cancel(service.key, Rule.PHASE)
        self.dependants.wake(service, now)
        incident = service.incident
        service.make_hope()
        if incident and service.phase is Phase.UP:  # else it is restarted with what it depends on
            incident.back_at = service.back_at
            self.stories.back(service, incident, now)

    def fall_cant_start(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """The engine could not start it. No event tells that, only State.Error; it is told when its
        words change."""
        container = service.container
        if container.started_time:  # else there was no run that could have ended
            service.run = self.runs.death_in(container, now)
            service.run.settle()
        service.known_error = container.error
        death = no_death(now, container.exit_code)
        self.lives.fall(service, Fall(Verdict.DEAD, Cause.CANT_START, death), now)

    def note_error(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """The engine says in new words that it can't start it."""
        service.known_error = service.container.error
        if service.phase in WAITING:
            self.lives.wait(service, now)

    def docker_tries(self, sight: Sight, service: Watched, before: Container, now: float) -> None:
        """Docker's own policy is at it, and no event told of the end."""
        container = service.container
        if service.phase is Phase.SUSPECT and service.run.pending:
            return
        if self.link.settling:
            self.timers.set(Rule.LOOK, container.id, now + ENGINE_GRACE)
            return
        if service.phase not in STANDING:
            self.lives.came_back(service, now, ours=False)
        service.run = self.runs.death_in(container, now)
        self.lives.judge(service, before, now)

    def docker_stopped(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """Docker's own policy has stopped: as its limit is, or killed in its backoff, of which no
        event tells."""
        container = service.container
        if not container.kept_up:
            self.lives.wait(service, now)
            return
        run = Run(container.started_time, end=Death(0.0, now, container.exit_code, heard=False))
        self.lives.suspect(service, run, service.policy.settle, now)

    def not_taken(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """The death of this run is told already: the restart has not taken, unless it is still at
        work."""
        if self.lives.call_pending(service, now):
            self.timers.set(Rule.PHASE, service.key, now + LOOK_RETRY)
        else:
            self.lives.wait(service, now)

    def ended_again(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """It was down, and was started and has ended since, while nobody watched."""
        started_time = service.container.started_time
        ours = service.phase is Phase.DOCKER
        self.lives.came_back(service, now, ours, started_time)
        self.await_word(Sight.ENDED_UNHEARD, service, before, now)

    def await_word(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """It ended, and the stream has not told so: it may still."""
        if self.timers.at(Rule.UNHEARD, service.key) is None:
            refused = self.link.stream.flow is Flow.REFUSED
            self.timers.set(Rule.UNHEARD, service.key, now if refused else now + UNHEARD_WAIT)

    def await_first_start(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """compose has made it, and starts it once what it depends on is ready; nothing more, where
        one of those fails, or a hook."""
        container = service.container
        age = self.runs.calendar.engine_time(now) - container.created_time
        if not container.created_time or age > SOON_ENDED or service.muted:
            return  # somebody may want it so
        healing = self.lives.healing
        waited = service.wait_for_start(healing.startable(service, now), now)
        failed = healing.failed_above(service)
        began = [parent for parent in failed if self._began_after(parent, container)]
        if began:
            self.lives.never_started(service, began[0], now)
        elif waited >= service.policy.settle:
            self.lives.never_started(service, None, now)
        else:
            self.timers.sooner(Rule.LOOK, container.id, now + FIRST_START_LOOK)

    def await_replacement(self, _: Sight, service: Watched, before: Container, now: float) -> None:
        """It was replaced while it was restarted, and its replacement is not started yet."""
        self.roster.await_start(service, now)

    def _began_after(self, failed: Watched, made: Container) -> bool:
        """Whether what failed was started after a container was made, as by one `compose up`: what
        somebody has only made beside it is not to be started."""
        incident = failed.incident
        if incident is None:
            return False
        began_at = incident.began_at - (incident.notice.uptime or 0.0)
        return self.runs.calendar.engine_time(began_at) >= made.created_time

    # What is due

    def unheard_due(self, service: Watched, now: float) -> None:
        """A death that the stream did not tell: it may be deaf. It is opened anew, then the death
        judged without it, unless it was paused until then."""
        container = service.container
        if service.phase not in (*STANDING, Phase.STOPPED) or container.running:
            return
        if self.link.stream.seems_deaf(now):
            self.orders.log(
                "info", f"the stream did not tell that {container.name} ended; opening it anew"
            )
            self.orders.add(CloseStream())
        told_by = self.link.stream.told_by(now)
        if now < told_by:
            self.timers.set(Rule.UNHEARD, service.key, told_by)
            return
        if service.phase is Phase.STOPPED:
            return
        run = self.runs.death_in(container, now)
        assert run.end
        run.end = replace(run.end, heard=False)
        once = container.restart_policy == "on-failure"
        spent = once and (container.exit_code == 0 or container.restart_count > 0)
        asked = intent_of(run, run.end, container, final=True) is Intent.OPERATOR
        kept = container.restart_policy != "no" and not spent
        told = container.stopped_by_user is not None
        if asked or (kept and not told):  # Docker would have restarted a death, not a stop
            self.lives.suspect(service, run, service.policy.settle, now)
        else:
            service.run = run
            self.lives.judge(service, container, now)

    def look_again(self, service: Watched, now: float) -> None:
        """See whether it has proven itself, or what Docker's own policy does."""
        step = PROOF_STEP if service.phase is Phase.PROVING else POLICY_PATIENCE
        self.timers.set(Rule.PHASE, service.key, now + step)
        self.orders.look(service.container.id)

    def phase_due(self, service: Watched, now: float) -> None:
        """What a service's phase has waited for."""
        if service.phase is Phase.SUSPECT:
            self.settling.suspect_due(service, now)
        elif service.phase is Phase.MISSING:
            self.settling.missing_due(service, now)
        elif service.phase is Phase.BACKOFF:
            self.lives.retry(service, now)
        elif (
            service.phase is Phase.HELD
            and service.incident is None
            and (not service.container.running)
        ):
            self.lives.tell_late(service, now)
        elif service.phase is Phase.HELD:
            self.lives.wait(service, now)
        elif service.phase is Phase.DOCKER and service.container.status == "exited":
            self.lives.wait(service, now)  # Podman's own policy has not restarted it
        elif service.phase in (Phase.DOCKER, Phase.PROVING):
            self.look_again(service, now)
        else:
            raise Unforeseen(f"{service.container.name}: {service.phase}, and it is due")

    def oom_due(self, container_id: str, now: float) -> None:
        """A child was killed for memory and the container lives on: a note, at most one in ten
        minutes."""
        service = self.services.of(container_id)
        if service is None or service.phase not in STANDING or service.muted or service.death:
            return
        lately = service.noted_at is not None and now < service.noted_at + NOTE_EVERY
        if self.runs.newest(container_id).oom_time and not lately:
            service.noted_at = now
            self.services.changed(service)
            self.outages.tell_apart(service, Verdict.CHILD_OOM, now, Cause.OOM)


Step = Callable[[Looks, Sight, Watched, Container, float], None]


def at_phases(phases: Iterable[Phase], step: Step) -> dict[Phase, Step]:
    """The same step in several phases."""
    return dict.fromkeys(phases, step)


TRYING = (Phase.BACKOFF, Phase.HELD, Phase.GAVE_UP)
ASLEEP = (Phase.SUSPECT, Phase.DOCKER, Phase.STOPPED, Phase.MISSING, Phase.GONE)

# What is done about what is seen, in each phase; a pair that is not here is nothing to do.
STEPS: Mapping[Sight, Mapping[Phase, Step]] = {
    Sight.PAUSED: at_phases(STANDING | WAITING | {Phase.GAVE_UP}, Looks.pause)
    | at_phases((*REMOVED, Phase.SUSPECT), Looks.back_and_paused),
    Sight.ENDED: at_phases(STANDING | WAITING | {Phase.SUSPECT, Phase.GAVE_UP}, Looks.judge_end),
    Sight.RUNS: at_phases(TRYING, Looks.back_if_restarted)
    | at_phases(ASLEEP, Looks.back)
    | {Phase.PROVING: Looks.prove},
    Sight.SICK: at_phases(TRYING, Looks.back_if_restarted)
    | at_phases(ASLEEP, Looks.back)
    | at_phases(STANDING, Looks.fall_sick),
    Sight.RAN_UNSEEN: at_phases((*TRYING, *ASLEEP), Looks.back)
    | at_phases(STANDING, Looks.judge_unseen),
    Sight.CANT_START: at_phases((*WAITING, Phase.GAVE_UP), Looks.note_error)
    | at_phases(
        (*STANDING, Phase.SUSPECT, Phase.STOPPED, Phase.MISSING, Phase.GONE),
        Looks.fall_cant_start,
    ),
    Sight.DOCKER_TRIES: at_phases(
        STANDING | REMOVED | {Phase.SUSPECT, Phase.GAVE_UP, Phase.STOPPED}, Looks.docker_tries
    ),
    Sight.DOCKER_STOPPED: at_phases(WAITING, Looks.docker_stopped),
    Sight.NOT_TAKEN: at_phases(STANDING, Looks.not_taken),
    Sight.ENDED_UNHEARD: at_phases(STANDING | {Phase.STOPPED}, Looks.await_word),
    Sight.ENDED_AGAIN: at_phases(
        (*REMOVED, Phase.SUSPECT, Phase.STOPPED, Phase.GAVE_UP, Phase.DOCKER), Looks.ended_again
    ),
    Sight.UNSTARTED: {
        Phase.STOPPED: Looks.await_first_start,
        Phase.PROVING: Looks.await_replacement,
    },
    Sight.NOTHING_NEW: {},
}


# ─── Events ───────────────────────────────────────────────────────────────────────────────────────

START_LOOK = 0.5  # a start that fails sends no event at all: look after so long
OOM_LOOK = 3.0  # so long after an `oom` it is clear whether the container lives on
OUR_LABELS = "sentinel."


def begins_anew(container: Container, event: Heard) -> bool:
    """Whether a `start` is news: not that of the run that is known, told again or late."""
    if container.running:
        return event.time > container.started_time + SAME_START
    return event.time > container.finished_time


class Events:
    """What an event says at once, and the next listing would say late."""

    def __init__(self, settings: Settings, lives: Lives, roster: Roster) -> None:
        self.settings, self.lives, self.roster = settings, lives, roster
        self.timers, self.orders = lives.timers, lives.orders
        self.services, self.runs, self.link = lives.services, lives.runs, lives.link

    def heard(self, event: Heard, now: float) -> None:
        """Note an event's evidence, and act on it at once; a resumed stream's repeats are
        dropped."""
        if event.action not in EVENT_STEPS or not self.link.stream.is_news(event):
            return
        self.link.heard_before(event)
        ignored = self.link.listed.ignored
        if event.id in ignored or self._passes_by(event):
            if event.action == "destroy":
                ignored.discard(event.id)
            return
        run = self.runs.heard(event)
        service = self.services.of(event.id)
        if service:
            self.services.changed(service)
        if not self.runs.is_evidence_only(event):
            EVENT_STEPS[event.action](self, event, run, service, now)
        elif event.action == "die" and self.runs.away_since_time:
            # It may not have been judged before Sentinel went away.
            self.died(event, run, None, now)

    def _passes_by(self, event: Heard) -> bool:
        """Whether a new container is nobody's business, as its labels in the event tell: jobs may
        come by the second."""
        labels = event.attributes
        if event.action not in ("create", "start") or self.services.of(event.id):
            return False
        if self.link.facts.kind.podman or "image" not in labels:
            return False
        if any(name.startswith(OUR_LABELS) for name in labels):
            return False  # those are read by a look, which may warn
        container = Container(event.id, labels.get("name", ""), labels)
        watched, _ = scope_of(container, self.settings, self.link.facts.me)
        if not watched:
            self.link.listed.ignored.add(event.id)
        return not watched

    # One step for each kind of event

    def killed(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        """A signal that asks it to end: somebody stops it."""
        asks = event.signal in ASKING_SIGNALS
        if service and event.signal == service.container.stop_signal:
            asks = True
        ours = service and (
            service.phase is Phase.RESTARTING or self.lives.call_pending(service, now)
        )
        if asks and not ours:
            run.be_asked(now)
            if service:
                self.lives.stop_with(service, now)

    def noted(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        """Evidence, and nothing to be done."""

    def differs(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        """It is otherwise than before."""
        self.orders.look(event.id)

    def created(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        """A new container, or a new name."""
        self.orders.look(event.id)
        self.timers.set(Rule.LOOK, event.id, now + START_LOOK)

    def started(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        """It runs: again, where it was down."""
        self.orders.look(event.id)
        self.link.moved(now)
        if service is None or service.container.id != event.id:
            service = self.roster.next_of_unit(event, now)
        if service is None:
            return
        if has_unjudged_end(service):
            return  # the look under way judges that first
        if service.phase in DOWN and begins_anew(service.container, event):
            by_docker = service.container.status == "restarting"
            by_docker = by_docker or service.phase is Phase.DOCKER
            by_engine = by_docker or bool(service.container.unit)
            ours = by_engine or self.lives.call_pending(service, now)
            self.lives.came_back(service, now, ours, event.time)

    def resumed(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        """It is paused no more. It may end before a look comes."""
        self.orders.look(event.id)
        if service is None or service.container.id != event.id or run.end:
            return
        if service.phase is Phase.STOPPED:
            if service.container.status == "paused":
                self.services.show(service, replace(service.container, status="running"))
            self.lives.came_back(service, now, ours=True)

    def restarts(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        """Podman restarts it: as somebody wants, or by its own policy, which is no wish."""
        if run.end and service and service.phase is Phase.SUSPECT:
            self.orders.look(event.id)

    def stopped(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        """Somebody stopped it; it may be for a deploy."""
        if service is None or service.container.id != event.id:
            return
        settle = service.policy.settle
        if service.hush is Hush.DIED:
            service.hush = Hush.DOWN  # it ran on sick, and is to be down now
        if service.phase is Phase.SUSPECT:
            self.lives.settles_at(service, now + settle)
        elif service.phase in WAITING and service.container.status == "restarting":
            # A stop in Docker's backoff sends neither `kill` nor `die`.
            run.end = Death(event.time, now, service.container.exit_code)
            run.judged = False
            self.lives.suspect(service, run, settle, now)

    def child_killed(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        """Memory ran out: of the container, which then dies, or of a child."""
        if service:
            self.timers.set(Rule.OOM, event.id, now + OOM_LOOK)

    def probed(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        """Look only where it matters: Podman sends one event a probe."""
        known = service and service.container.health is event.health
        if service is None or not known or service.phase is Phase.PROVING:
            self.orders.look(event.id)

    def died(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        """Its run ended. What that was is judged by a look, unless it may be a deploy."""
        run = self.runs.ended(event, now)
        self.orders.look(event.id)
        if service is None or service.container.id != event.id or not service.lives:
            return
        if run.pending and event.time >= service.container.started_time:
            self.lives.assess(service, run, now)

    def destroyed(self, event: Heard, run: Run, service: Watched | None, now: float) -> None:
        """Its container is no more. Where nobody knew whose it was, the look that is on its way may
        still tell, and the next one finds it gone."""
        if service is None and self.orders.looking(event.id):
            self.orders.look(event.id)
            return
        self.orders.looked(event.id)
        self.roster.gone(event.id, now)


EventStep = Callable[[Events, Heard, Run, Watched | None, float], None]

EVENT_STEPS: Mapping[str, EventStep] = {
    "create": Events.created,
    "attach": Events.noted,
    "start": Events.started,
    "die": Events.died,
    "stop": Events.stopped,
    "restart": Events.restarts,
    "oom": Events.child_killed,
    "destroy": Events.destroyed,
    "health_status": Events.probed,
    "kill": Events.killed,
    "pause": Events.differs,
    "unpause": Events.resumed,
    "rename": Events.created,
    "update": Events.differs,
}


# ─── Silences ─────────────────────────────────────────────────────────────────────────────────────


class Hidden(Enum):
    """What a mute has hidden of a service."""

    NOTHING = auto()
    DEATH = auto()
    STOP = auto()
    REMOVAL = auto()


class Silences:
    """Mutes as they begin and end. What one hid is told when it is over: what has changed in
    all."""

    def __init__(self, lives: Lives, mutes: Mutes) -> None:
        self.lives, self.mutes = lives, mutes
        self.settings, self.timers = lives.settings, lives.timers
        self.services, self.outages = lives.services, lives.outages

    def begin(self, now: float) -> None:
        """See who is muted from now on, and when that changes next."""
        for service in self.services.values():
            if self.mutes.begin(service, now):
                self.services.changed(service)
        self._mind_next(Rule.MUTE, Rule.UNMUTE, now)

    def end(self, now: float) -> None:
        """What has become of those whose mute is over is told in one message."""
        ended = self.mutes.over(self.services.values(), now)
        hidden: dict[Hidden, list[Watched]] = {each: [] for each in Hidden}
        for service in ended:
            hidden[self._hidden(service)].append(service)
            service.hush = Hush.NONE
            self.services.changed(service)
            self._wake(service, now)
        self._tell(hidden, now)
        for service in ended:
            service.fell_at = None
        self._mind_next(Rule.UNMUTE, Rule.MUTE, now)

    def _hidden(self, service: Watched) -> Hidden:
        """What a service's mute has hidden that is to be told at its end."""
        silent = self.settings.stops == "ignore"
        if service.phase is Phase.GONE:
            return Hidden.NOTHING if silent or service.hush is Hush.DOWN else Hidden.REMOVAL
        if service.phase is not Phase.STOPPED or service.container.status == "paused":
            return Hidden.NOTHING
        if service.hush is Hush.DIED:
            return Hidden.DEATH
        stopped = service.hush is Hush.STANDING and not self.services.finished(service)
        return Hidden.STOP if stopped and not silent else Hidden.NOTHING

    def _mind_next(self, done: Rule, other: Rule, now: float) -> None:
        """One of the two rules is done until the next change, and the other is due then, too."""
        change_at = self.mutes.next_change_at(self.services.values(), now)
        self.timers.cancel("", done)
        if change_at is not None:
            self.timers.set(done, "", change_at)
            self.timers.sooner(other, "", change_at)

    def _wake(self, service: Watched, now: float) -> None:
        """Whatever has waited for the end of its mute goes on."""
        for rule in SERVICE_RULES:
            self.timers.release(rule, service.key)
        if service.phase not in (Phase.SUSPECT, Phase.MISSING):
            for rule in (Rule.PHASE, Rule.DEPENDANTS, Rule.NETWORK):
                if self.timers.at(rule, service.key) is not None:
                    self.timers.set(rule, service.key, now + INSTANT)
        for parent, _ in self.services.above(service):
            if parent.alive:
                self.timers.sooner(Rule.DEPENDANTS, parent.key, now + INSTANT)
        if service.incident:
            self.timers.sooner(Rule.OUTAGE, str(number_of(service)), now + INSTANT)

    def _tell(self, hidden: Mapping[Hidden, list[Watched]], now: float) -> None:
        died, stopped, gone = hidden[Hidden.DEATH], hidden[Hidden.STOP], hidden[Hidden.REMOVAL]
        down = [*died, *stopped, *gone]
        if not down:
            return
        title = down[0].container.title if len(down) == 1 else counted(len(down), "service")
        facts = (("Stopped", titles_of(stopped)), ("Gone", titles_of(gone)))
        notice = Notice(
            Verdict.STILL_DOWN,
            title,
            now,
            plan="The mute is over.",
            facts=facts,
            mention=self.settings.mention,
        )
        outage = None
        if any(service.incident is None for service in died):
            outage = self.outages.begin("", min(service.fell_at or now for service in died))
            outage.notice = notice
        elif stopped or gone:
            self.outages.tell(notice)
        for service in self.services.roots_first(died):
            fall = self._hidden_fall(service, now)
            fell_at = fall.death.at if service.fell_at is None else service.fell_at
            fall = replace(fall, death=replace(fall.death, at=fell_at))
            self.lives.fall(service, fall, now, outage)

    def _hidden_fall(self, service: Watched, now: float) -> Fall:
        """Why a service is down that died while it was muted."""
        container = service.container
        if container.sick:
            return Fall(Verdict.UNHEALTHY, Cause.UNHEALTHY, no_death(now), service.run)
        cause = Cause.OOM if container.oom_killed else Cause.EXIT
        run = self.lives.runs.death_in(container, now)
        death = run.end if run.end and not container.running else None
        return Fall(Verdict.DEAD, cause, death or no_death(now), run)


def titles_of(services: Iterable[Watched]) -> str:
    """The names of services, as people list them."""
    return listed(service.container.title for service in services)


# ─── Roll calls ───────────────────────────────────────────────────────────────────────────────────
# Hosts hear of each other by roll calls: each Sentinel keeps one message in a channel that all of
# them read, or one file in a folder, and edits it every minute. When that was edited last is told
# by the clock of the medium, never by a host's.

CALL_EVERY, READ_EVERY = 60.0, 60.0
DARK_AFTER = 240.0  # without an edit
IN_TOUCH = 150.0  # edits that follow one another so closely are one contact
HAND_ON = 90.0  # in which whoever is to tell of a dark host must have shown that it lives
READS = 2  # that have shown the last edit of one's own, before anybody is called dark
OWN_STAMP = 1.0  # two readings of one edit's time differ by less
NAMES_CALLED = 20  # services, or hosts, that a roll call names
NAME_CALLED = 60  # characters of a name
PARTS = " · "
DEAF = "can't tell of others"


@dataclass(frozen=True, slots=True)
class RollCall:
    """What a host says of itself. `tag`: of its ledger, which tells two of one name apart."""

    host: str
    tag: str
    engine: str = ""
    away: bool = False  # the engine does not answer
    services: int = 0
    fallen: int = 0  # how many of them are down
    down: tuple[str, ...] = ()  # these, as far as they are named
    since_time: float = 0.0  # it watches, or is at rest, by its own clock
    resting: bool = False
    muted: bool = False  # it tells nothing now
    deaf: bool = False  # nor now, since it can't read what others call, or no channel takes alerts
    dark: tuple[str, ...] = ()  # hosts that it has told to be dark
    runs: tuple[str, ...] = ()  # a Swarm's tasks that run here, and are down elsewhere


def called_names(names: Sequence[str]) -> str:
    """Names in a roll call, as many as have room."""
    shown = [as_code(called_name(name)) for name in names[:NAMES_CALLED]]
    rest = len(names) - NAMES_CALLED
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def called_name(name: str) -> str:
    """A name that can stand in a roll call."""
    return clip(one_line(name).replace("·", "-"), NAME_CALLED)


def fallen_words(call: RollCall) -> str:
    """What a roll call says is down: `db, api and 30 more`; empty for nothing."""
    rest = call.fallen - len(call.down)
    return ", ".join(call.down) + (f" and {rest} more" if rest > 0 else "")


def roll_text(call: RollCall) -> str:
    """A roll call as people and other Sentinels read it, on one line."""
    since = f"since <t:{int(call.since_time)}:R>"
    mark = "🔴" if call.fallen or call.away else "🟢"
    engine = f"{call.engine} does not answer" if call.away else call.engine
    services = f"{counted(call.services, 'service')}, all up"
    if call.fallen:
        services = f"{counted(call.services, 'service')}, {call.fallen} down: "
        services += called_names(call.down)
    words = [engine, services, f"watching {since}"]
    if call.resting:
        mark, words = "⚪", [f"at rest {since}", call.engine]
    words += ["muted"] if call.muted else []
    words += [DEAF] if call.deaf else []
    if call.dark:
        words.append(f"dark: {called_names(call.dark)}")
    if call.runs:
        words.append(f"runs now: {called_names(call.runs)}")
    name = as_code(called_name(call.host))
    return PARTS.join([f"{mark} **{name}**", *filter(None, words), as_code(call.tag)])


ROLL_CALL = re.compile(r"\S+ \*\*`(?P<host>[^`]+)`\*\* · (?P<words>.+) · `(?P<tag>[0-9a-z]+)`")
CALLED_NAME = re.compile(r"`([^`]+)`")
CALLED_SINCE = re.compile(r"(at rest|watching) since <t:(\d{1,12}):R>", re.ASCII)
CALLED_SERVICES = re.compile(r"(\d{1,6}) services?, (?:all up|(\d{1,6}) down: (.*))", re.ASCII)


def roll_call_in(text: str) -> RollCall | None:
    """The roll call that a message holds, None where it holds none."""
    found = ROLL_CALL.fullmatch(text.strip())
    if not found:
        return None
    call = RollCall(found["host"], found["tag"])
    for part in found["words"].split(PARTS):
        call = with_part(call, part)
    return call


def with_part(call: RollCall, part: str) -> RollCall:
    """A roll call with one more part of its text."""
    since, services = CALLED_SINCE.fullmatch(part), CALLED_SERVICES.fullmatch(part)
    if since:
        return replace(call, resting=since[1] == "at rest", since_time=float(since[2]))
    if services:
        down = tuple(CALLED_NAME.findall(services[3] or ""))
        return replace(call, services=int(services[1]), fallen=int(services[2] or 0), down=down)
    if part == "muted":
        return replace(call, muted=True)
    if part == DEAF:
        return replace(call, deaf=True)
    if part.startswith("dark: "):
        return replace(call, dark=tuple(CALLED_NAME.findall(part)))
    if part.startswith("runs now: "):
        return replace(call, runs=tuple(CALLED_NAME.findall(part)))
    engine = part.removesuffix(" does not answer")
    return replace(call, engine=engine, away=engine != part)


class HostState(StrEnum):
    """Where another host stands."""

    HERE = "here"
    DARK = "dark"
    RESTING = "at rest"


@dataclass(slots=True)
class Host:
    """Another host, as its roll call shows it; times are the medium's."""

    posted: Posted
    name: str
    call: RollCall | None  # None: another bot's words can't be read
    state: HostState = HostState.HERE
    # since when its edits follow one another; 0: since before this Sentinel has seen any
    steady_time: float = 0.0
    edits: int = 0  # that were seen
    dark_time: float = 0.0  # when it was heard last before it went dark
    back_time: float = 0.0  # when it was heard again, until it is clear who tells that
    told_by: set[str] = field(default_factory=set)  # roll calls that have named it dark since

    @property
    def id(self) -> str:
        """Of its roll call."""
        return self.posted.id

    @property
    def heard_time(self) -> float:
        """When it was heard last."""
        return self.posted.edited_time

    @property
    def resting(self) -> bool:
        """Whether its Sentinel ended on purpose."""
        return self.posted.resting

    @property
    def counts(self) -> bool:
        """Whether it is a host at all: a message that nobody edits and that can't be read is
        somebody's words."""
        return self.call is not None or self.edits > 0

    @property
    def order(self) -> tuple[int, str]:
        """Who tells: the first by this."""
        return roll_order(self.id)

    @property
    def tells(self) -> bool:
        """Whether it could tell of others now, as far as its words can be read."""
        return self.call is None or not (self.call.muted or self.call.deaf)

    def hear(self, posted: Posted, watched: bool) -> None:
        """Its roll call, as it reads now. `watched`: it was read shortly before."""
        since_last = posted.edited_time - self.heard_time
        if since_last > 0:
            self.edits += 1
        if since_last > IN_TOUCH:
            self.steady_time = posted.edited_time if watched else 0.0
        if posted.text != self.posted.text:
            self.call = roll_call_in(posted.text)
            self.name = self.call.host if self.call else self.name
        self.posted = posted

    def be_called(self, apart: bool) -> None:
        """It is called by its bot's name, with the end of its roll call's id where others share
        that."""
        name = self.posted.author_name
        self.name = f"{name} ({self.id[-4:]})" if apart else name

    def go_dark(self) -> None:
        """It is not heard any more."""
        if self.state is not HostState.DARK:
            self.dark_time = self.heard_time
            self.told_by = set()
        self.state = HostState.DARK

    def come_back(self) -> None:
        """It was heard, perhaps for the last time for now."""
        if self.state is HostState.DARK and self.told_by:
            self.back_time = self.heard_time
        self.state = HostState.RESTING if self.resting else HostState.HERE

    def follow(self, before: Host) -> None:
        """It is another one of the same name that was told to be dark: it was rebuilt."""
        self.dark_time, self.told_by = before.dark_time, before.told_by
        self.back_time = self.heard_time
        before.settle_return()

    def settle_return(self) -> None:
        """That it is back is told, by whomever."""
        self.back_time = 0.0
        self.told_by = set()

    def told(self, others: Iterable[Host]) -> None:
        """Note who has told that it is dark, as their roll calls say."""
        for other in others:
            names = other.call.dark if other.call else ()
            if self.name in names and other.heard_time >= self.dark_time + DARK_AFTER:
                self.told_by.add(other.id)
            elif other.call and other.call.deaf:  # nobody has heard what it told
                self.told_by.discard(other.id)


def roll_order(roll_call: str) -> tuple[int, str]:
    """The order of roll calls by their ids: numbers as numbers."""
    return len(roll_call), roll_call


@dataclass(frozen=True, slots=True)
class RollRecord:
    """What is to be remembered of a roll. `unread`: messages that were seen to be roll calls,
    though they can't be read."""

    medium: Medium
    own: str = ""
    touch_time: float = 0.0
    unread: tuple[str, ...] = ()
    told: Mapping[str, str] = field(default_factory=dict)  # dark hosts, and who has told that


class OwnCall:
    """This Sentinel's own roll call in a medium, and since when it is in touch with that: it can't
    tell others' silence from its own deafness unless its own edits arrive, and are read back."""

    def __init__(self, record: RollRecord) -> None:
        self.id = record.own
        self.author = ""  # who it is by
        self.left = ""  # one that it has left behind, and that is to be deleted
        self.touch_time = record.touch_time  # since when its edits follow one another
        self.joined_time = record.touch_time  # since when others could count on it
        self.blind = False  # whether its edits arrive, and are not read back
        self._edited_time, self._edited_at = 0.0, 0.0
        self._rested = False  # it was at rest when this life of Sentinel's began
        self._reads = 0  # that have shown the last edit

    def edited(self, seen: RollCalled, now: float) -> None:
        """It was edited, or posted."""
        lost = seen.edited_time - self._edited_time > IN_TOUCH
        if lost:
            self.touch_time = seen.edited_time
        if lost or self._rested:
            self.joined_time = seen.edited_time
        self.id, self._edited_time, self._edited_at = seen.id, seen.edited_time, now
        self._reads = 0
        self._rested = False
        self.left = ""

    def read(self, posted: Posted | None) -> None:
        """It was read, or is not to be read where the others are."""
        self.blind = self.known and posted is None
        if posted is None:
            return
        self.author = posted.author
        if not self.known:  # it was made in another life
            self._edited_time = posted.edited_time
            self._rested = posted.resting
        if posted.edited_time >= self._edited_time - OWN_STAMP:
            self._reads += 1

    def forget(self) -> None:
        """It is not there any more."""
        self.id = ""

    def move_on(self) -> None:
        """It is too far behind what others have written: another one takes its place."""
        self.left, self.id = self.id, ""

    @property
    def known(self) -> bool:
        """Whether it was edited in this life, so that the medium's time is known."""
        return self._edited_at > 0.0

    def time(self, now: float) -> float:
        """Now, by the medium's clock."""
        return self._edited_time + now - self._edited_at

    def arrives(self, now: float) -> bool:
        """Whether its edits arrive."""
        return self.known and now - self._edited_at <= IN_TOUCH

    def in_touch(self, now: float) -> bool:
        """Whether others may be called dark."""
        return self.arrives(now) and self._reads >= READS


class Roll:
    """All roll calls in one medium: its own, and those of other hosts."""

    def __init__(self, record: RollRecord) -> None:
        self.medium = record.medium
        self.own = OwnCall(record)
        self.hosts: dict[str, Host] = {}
        self.read_at: float | None = None  # when it was read last in this life of Sentinel's
        self._record = record
        self._uprooted = False  # its own was deleted, perhaps with all others

    # What comes in

    def uproot(self) -> None:
        """Its own roll call was deleted."""
        self.own.forget()
        self._uprooted = True

    def read(self, seen: RollRead, now: float) -> list[Host]:
        """Take in what stands there; which hosts' roll calls were deleted."""
        watched = self.read_at is not None and now - self.read_at <= IN_TOUCH
        self.read_at = now
        posted = {each.id: each for each in seen.posted}
        own = posted.pop(self.own.id, None)
        self.own.read(own)
        for each in posted.values():
            self._take(each, watched)
        self._name_unread()
        return self._retired(posted) if own and seen.whole else []

    def _retired(self, posted: Collection[str]) -> list[Host]:
        """Hosts whose roll calls somebody has deleted; those that were moved, or went with the
        whole channel, are only forgotten."""
        gone = [host for host in self.hosts.values() if host.id not in posted]
        for host in gone:
            del self.hosts[host.id]
        if self._uprooted:
            self._uprooted = False
            return []
        return [host for host in gone if self._moved_from(host.call) is None]

    def _moved_from(self, call: RollCall | None) -> Host | None:
        """The host whose roll call this was, or is now: of the same ledger."""
        for host in self.hosts.values():
            if call and host.call and host.call.tag == call.tag:
                return host
        return None

    def _name_unread(self) -> None:
        """Hosts whose words can't be read are called by their bots; those of one name apart."""
        unread = [host for host in self.hosts.values() if host.call is None and host.counts]
        named = Counter(host.posted.author_name for host in unread)
        for host in unread:
            host.be_called(named[host.posted.author_name] > 1)

    def follow_up(self, host: Host) -> None:
        """See whether a host that is heard is another one that was rebuilt."""
        for before in self.hosts.values():
            dark = before.state is HostState.DARK and before.told_by
            if dark and before is not host and before.name == host.name:
                host.follow(before)

    def _take(self, posted: Posted, watched: bool) -> None:
        host = self.hosts.get(posted.id)
        if host:
            host.hear(posted, watched)
            return
        call = roll_call_in(posted.text)
        if posted.text and call is None:
            return
        host = Host(posted, call.host if call else posted.author_name, call)
        host.come_back()
        if posted.id in self._record.unread:
            host.edits = 1
        if posted.id in self._record.told:
            host.go_dark()
            host.told_by.add(self._record.told[posted.id])
        if watched:
            before = self._moved_from(call)
            host.steady_time = before.steady_time if before else posted.edited_time
        self.hosts[posted.id] = host

    def record(self) -> RollRecord:
        """What is to be remembered."""
        hosts, own = self.hosts.values(), self.own
        unread = {host.id for host in hosts if host.call is None and host.counts}
        told = {host.id: min(host.told_by) for host in hosts if host.told_by}
        return RollRecord(self.medium, own.id, own.touch_time, tuple(sorted(unread)), told)

    # What it shows

    def since(self) -> str:
        """The first of the roll calls that are known."""
        known = [*self.hosts, *filter(None, [self.own.id])]
        return min(known, key=roll_order, default="")

    def age(self, host: Host, now: float) -> float:
        """For how long a host was not heard."""
        return self.own.time(now) - host.heard_time

    def silence(self, host: Host, now: float) -> float:
        """For how long it was not heard while this Sentinel could have heard it."""
        return self.own.time(now) - max(host.heard_time, self.own.touch_time)

    def heard(self, host: Host, now: float) -> bool:
        """Whether a host was heard lately."""
        return self.own.known and self.age(host, now) < DARK_AFTER

    def silent(self, host: Host, now: float) -> bool:
        """Whether a host that should be heard is not."""
        waits = host.counts and host.state is not HostState.RESTING
        return self.own.known and waits and self.silence(host, now) >= DARK_AFTER

    def overdue_at(self, now: float) -> float:
        """When the next host is dark, unless it is heard."""
        waits = [host for host in self.hosts.values() if host.state is HostState.HERE]
        left = [DARK_AFTER - self.silence(host, now) for host in waits if host.counts]
        return now + min([seconds for seconds in left if seconds > 0], default=math.inf)

    def replaced(self, host: Host, own_name: str, now: float) -> bool:
        """Whether another roll call of the same name goes on: it was rebuilt, and has another
        ledger."""
        if host.call is None:
            return False
        if host.name == own_name:
            return True
        others = [other for other in self.hosts.values() if other.name == host.name and other.call]
        later = [other for other in others if other.heard_time > host.heard_time]
        return any(self.heard(other, now) for other in later)

    def left_over(self, own_name: str, now: float) -> str:
        """A roll call of this Sentinel's name and bot that is nobody's any more, empty for none."""
        for host in self.hosts.values():
            ours = host.call is not None and host.posted.author == self.own.author
            ours = ours and host.name == own_name
            over = host.state is HostState.RESTING or not self.heard(host, now)
            if ours and over and self.own.arrives(now):
                return host.id
        return ""

    def twin(self, own_name: str, now: float) -> Host | None:
        """Another Sentinel of the same name that is alive, None for none."""
        for host in self.hosts.values():
            alive = host.state is HostState.HERE and host.edits >= READS and self.heard(host, now)
            if alive and host.name == own_name:
                return host
        return None

    # Who tells

    def is_mine(self, host: Host, now: float) -> bool:
        """Whether this Sentinel is the first of those who can tell that a host is dark, and nobody
        has."""
        return not (host.told_by or self._who_tells(host, now))

    def presume_told(self, host: Host, now: float) -> None:
        """Who is to tell that a host is dark, and has lived on since then, has told it, as far as
        anybody can say who can't read its words."""
        first = self._who_tells(host, now)
        if first and first.call is None and first.heard_time >= self._dark_since(host):
            host.told_by.add(first.id)

    def _dark_since(self, host: Host) -> float:
        """Since when this Sentinel takes a host for dark."""
        return max(host.heard_time, self.own.touch_time) + DARK_AFTER

    def _who_tells(self, host: Host, now: float) -> Host | None:
        """Who is to tell that a host is dark, None for this Sentinel."""
        went_time, since_time = host.heard_time + DARK_AFTER, self._dark_since(host)
        late = self.own.time(now) >= since_time + HAND_ON
        for other in self._others(host, now):
            was_there = other.steady_time <= since_time - DARK_AFTER + HAND_ON
            # which has told it before, if it was there
            unread = other.call is None and other.steady_time < went_time <= self.own.touch_time
            first = other.order < roll_order(self.own.id) or unread
            shown = other.heard_time >= since_time or not late
            if was_there and first and shown and other.tells:
                return other
        return None

    def tells_return(self, host: Host, now: float) -> bool:
        """Whether this Sentinel is to tell that a host is back: those who told that it was dark are
        gone, and it is the first of those who live on."""
        shown = [other for other in self._others(host, now) if other.tells]
        if self.is_late(host, now):
            shown = [other for other in shown if other.heard_time >= host.back_time]
        holders = [other for other in shown if other.id in host.told_by]
        first = all(roll_order(self.own.id) < other.order for other in shown)
        return first and not holders

    def is_late(self, host: Host, now: float) -> bool:
        """Whether whoever is to tell that a host is back has had the time for it."""
        return self.own.time(now) >= host.back_time + HAND_ON

    def _others(self, host: Host, now: float) -> list[Host]:
        """All hosts but this one that are heard."""
        here = [other for other in self.hosts.values() if other.state is HostState.HERE]
        return [
            other for other in here if other is not host and other.counts and self.heard(other, now)
        ]

    def others_were_there(self, host: Host, now: float) -> bool:
        """Whether others were there before this Sentinel was, and a host was back by then: they
        have told that."""
        joined_time = self.own.joined_time
        if host.steady_time > joined_time:
            return False
        others = self._others(host, now)
        return any(other.steady_time <= joined_time for other in others)


# ─── Fleet ────────────────────────────────────────────────────────────────────────────────────────

SUSPICION = 5.0  # between two reads while somebody seems to be dark
DARK_READ_EVERY = 30.0  # while somebody is
NAME_PATIENCE = 30.0  # how long the first roll call waits for the engine's name
SLOWEST_CALL = 60.0  # between two tries
FIRST_CALL = 10.0  # in which those who start together begin one after the other
CALL_SOON = 1.0
BLIND = "its own roll call can't be read there (deleted? Read Message History missing?)"
SPREAD = 0.6180339887  # multiples of it fall evenly between whole numbers
LOCKSTEP = 10.0  # seconds over which tries after a failure are spread
REPLACED_SOON = 20.0  # until others are told that what they miss runs here


@dataclass(slots=True)
class Chore:
    """What is done again and again with a roll: calling in it, or reading it."""

    due_at: float
    failures: int = 0
    why: str = ""  # it can't be done

    def set(self, when: float) -> None:
        """Do it next at this moment."""
        self.due_at = when

    def sooner(self, when: float) -> None:
        """Do it next at this moment at the latest."""
        self.due_at = min(self.due_at, when)

    def later(self, when: float) -> None:
        """Do it next at this moment at the earliest."""
        self.due_at = max(self.due_at, when)

    def fail(self) -> float:
        """It could not be done: in how many seconds to try again at the earliest."""
        self.failures += 1
        return float(min(SLOWEST_CALL, SUSPICION * 2 ** (self.failures - 1)))

    def note(self, why: str) -> None:
        """Why it can't be done; empty where it was done."""
        self.why = why
        if not why:
            self.failures = 0


@dataclass(slots=True)
class Duty:
    """What this Sentinel does with a roll."""

    roll: Roll
    call: Chore
    read: Chore
    asked_at: float | None = None  # since when something of it is under way
    posts: int = 0  # of roll calls: each is another message


@dataclass(frozen=True, slots=True)
class Seat:
    """A host in the fleet, as people are shown it. Times are Unix seconds."""

    host: str
    state: HostState
    heard_time: float
    call: RollCall | None = None


class Fleet:
    """Several hosts: each tells in its roll call that it lives, and one of them tells when another
    has gone dark."""

    def __init__(self, lives: Lives, mutes: Mutes) -> None:
        self.lives, self.mutes = lives, mutes
        self.timers, self.orders, self.outages = lives.timers, lives.orders, lives.outages
        self.duties: dict[Medium, Duty] = {}
        self._tag = ""
        self._machine = ""  # its name, until the engine has told its own
        self._joined_at = 0.0
        self._records: tuple[RollRecord, ...] = ()
        self._twins: set[str] = set()  # roll calls of which was said that they have this name
        self._voice = True  # whether any channel takes alerts
        self._tries = 0

    # How it begins and ends

    def restore(self, records: tuple[RollRecord, ...]) -> None:
        """Take up what the ledger remembers."""
        self._records = records

    def join(self, media: Collection[Medium], tag: str, machine: str, now: float) -> None:
        """Begin to call. `tag`: of the ledger; `machine`: its name."""
        self._tag, self._machine, self._joined_at = tag, machine, now
        known = {record.medium: record for record in self._records}
        first_at = now + FIRST_CALL * int.from_bytes(tag.encode()[-1:]) / 256
        for medium in media:
            roll = Roll(known.get(medium, RollRecord(medium)))
            self.duties[medium] = Duty(roll, Chore(first_at), Chore(first_at))
            self.timers.set(Rule.ROLL, medium, first_at)
        if not media:
            for number in self._told():
                self.outages.close(self.outages[number], "The fleet is not watched any more.", now)

    def record(self) -> tuple[RollRecord, ...]:
        """What is to be remembered."""
        if not self.duties:
            return self._records
        return tuple(duty.roll.record() for duty in self.duties.values())

    def rest(self, now: float) -> list[Action]:
        """Sentinel ends on purpose: nobody is to miss it."""
        return [self._call(duty, True, now) for duty in self.duties.values() if duty.roll.own.id]

    # What is due

    def due(self, medium: str, now: float) -> None:
        """Read, or call, whichever is due; not before it is known what this host is called."""
        duty = self.duties.get(Medium(medium))
        if duty is None or duty.asked_at is not None:
            return
        if not self.lives.link.listed.done and now < self._joined_at + NAME_PATIENCE:
            self.timers.set(Rule.ROLL, medium, now + CALL_SOON)
        elif duty.roll.read_at is not None and now >= duty.call.due_at:
            duty.asked_at = now
            self.orders.add(self._call(duty, False, now))
        elif now >= duty.read.due_at:
            duty.asked_at = now
            self.orders.add(ReadRoll(duty.roll.medium, duty.roll.since(), duty.roll.own.id))
        else:
            self._plan(duty, now)

    def _plan(self, duty: Duty, now: float) -> None:
        """Have the next thing done when it is due."""
        due = (
            min(duty.call.due_at, duty.read.due_at)
            if duty.roll.read_at is not None
            else duty.read.due_at
        )
        self.timers.set(Rule.ROLL, duty.roll.medium, max(due, now + INSTANT))

    def _call(self, duty: Duty, resting: bool, now: float) -> CallRoll:
        roll = duty.roll
        replaces = roll.own.left or (roll.left_over(self.name, now) if not resting else "")
        nonce = f"{self._tag}-roll-{duty.posts}"
        call = self._roll_call(resting, now)
        return CallRoll(
            roll.medium, roll_text(call), self._tag, roll.own.id, resting, nonce, replaces
        )

    @property
    def name(self) -> str:
        """What this host is called."""
        return called_name(self.lives.link.facts.host or self._machine)

    def _roll_call(self, resting: bool, now: float) -> RollCall:
        services = self.lives.services.values()
        down = [service.container.title for service in services if service.phase in FALLEN]
        calendar, link = self.lives.runs.calendar, self.lives.link
        since_at = now if resting else calendar.began_at
        return RollCall(
            self.name,
            self._tag,
            engine_name(link.facts.kind, link.facts.version),
            link.is_away,
            len(services),
            len(down),
            tuple(down),
            calendar.time_of(since_at),
            resting,
            self.mutes.all_until > now,
            not self._tells(now),
            tuple(notice.name for notice in self._told().values()) if self._voice else (),
            self._replacements(),
        )

    def be_heard(self, voice: bool) -> None:
        """Whether any channel takes alerts."""
        self._voice = voice

    def _tells(self, now: float) -> bool:
        """Whether this Sentinel could tell of others: alerts are taken, and roll calls are read."""
        reads = [duty.roll.read_at for duty in self.duties.values() if not duty.roll.own.blind]
        return self._voice and any(at is not None and now - at <= IN_TOUCH for at in reads)

    def _spread(self, seconds: float) -> float:
        """Some part of so many seconds, another one for each Sentinel and each time: those who fail
        together are not to try again together."""
        self._tries += 1
        return seconds * math.modf(int.from_bytes(self._tag.encode()) * self._tries * SPREAD)[0]

    # What a Swarm has moved

    def _replacements(self) -> tuple[str, ...]:
        """Tasks that run here and are down elsewhere: their replacements."""
        missed: set[str] = set()
        for duty in self.duties.values():
            for host in duty.roll.hosts.values():
                missed.update(host.call.down if host.call else ())
        alive = [service for service in self.lives.services.values() if service.alive]
        tasks = [service.container.task for service in alive]
        return tuple(task for task in tasks if task and called_name(task) in missed)

    def _find_moved(self, roll: Roll, now: float) -> None:
        """See whether tasks that are down here run elsewhere now."""
        places: dict[str, str] = {}
        for host in roll.hosts.values():
            if host.call and roll.heard(host, now):
                places |= dict.fromkeys(host.call.runs, host.name)
        for service in list(self.lives.services.values()):
            place = places.get(called_name(service.container.task))
            if place and service.incident and service.phase in FALLEN:
                self._leave_moved(service, service.incident, place, now)

    def _leave_moved(self, service: Watched, incident: Incident, place: str, now: float) -> None:
        """A task's replacement runs on another host: that is its green."""
        green = notice_of(
            service,
            Verdict.RECOVERED,
            now,
            Cause.EXIT,
            incident=incident.outage.number,
            downtime=now - incident.began_at,
            deaths=incident.deaths,
            facts=(("Runs on", place),),
        )
        if not service.muted:
            self.outages.tell(green)
        self.lives.stories.left(service, f"Its replacement runs on {place}.", now)
        self.lives.rest(service)

    # What has come

    def put_off(self, seen: RollPutOff, now: float) -> None:
        """Alerts go first."""
        duty = self.duties[seen.medium]
        duty.asked_at = None
        self.timers.set(Rule.ROLL, seen.medium, now + seen.seconds)

    def called(self, seen: RollCalled, now: float) -> None:
        """Its own roll call was made, or was not."""
        duty = self.duties[seen.medium]
        duty.asked_at = None
        if seen.gone:
            duty.roll.uproot()
            duty.posts += 1
            duty.call.set(now + CALL_SOON)
        if seen.why:
            self._fail(duty, duty.call, seen, now)
        elif not seen.gone:
            self._say(duty, duty.call, "")
            duty.roll.own.edited(seen, now)
            duty.call.set(now + max(CALL_EVERY, seen.hold))
            duty.read.sooner(now + CALL_EVERY / 2)
        self._plan(duty, now)

    def read(self, seen: RollRead, now: float) -> None:
        """The roll was read, or was not: see who is dark, and who is back."""
        duty = self.duties[seen.medium]
        duty.asked_at = None
        if seen.why:
            self._fail(duty, duty.read, seen, now)
        else:
            retired = duty.roll.read(seen, now)
            self._mind_own(duty, seen.buried, now)
            silent = self._mind_others(duty, now)
            for host in retired:
                self._retire(host, now)
            duty.read.set(self._next_read_at(duty.roll, silent, now))
        self._plan(duty, now)

    def _mind_own(self, duty: Duty, buried: bool, now: float) -> None:
        """See whether its own roll call can be read, and where it stands."""
        own = duty.roll.own
        if buried and own.id:
            own.move_on()
            duty.posts += 1
            duty.call.sooner(now + self._spread(CALL_EVERY))
        self._say(duty, duty.read, BLIND if own.blind and not buried else "")
        self._mind_twin(duty.roll, now)

    def _mind_others(self, duty: Duty, now: float) -> list[Host]:
        """See who is back, what has moved, and who is dark: those that are not heard."""
        roll = duty.roll
        for host in list(roll.hosts.values()):
            if roll.own.arrives(now):
                self._hear(host, duty, now)
        self._find_moved(roll, now)
        if self._replacements():
            duty.call.sooner(now + REPLACED_SOON)
        silent = [host for host in roll.hosts.values() if self._seems_dark(host, roll, now)]
        if roll.own.in_touch(now):
            for host in silent:
                self._go_dark(host, duty, now)
        return silent

    def _next_read_at(self, roll: Roll, silent: list[Host], now: float) -> float:
        """Sooner while somebody seems to be dark, or is."""
        if roll.own.arrives(now) and any(host.state is HostState.HERE for host in silent):
            return now + SUSPICION
        returns = any(host.back_time for host in roll.hosts.values())
        every = DARK_READ_EVERY if silent or returns else READ_EVERY
        return min(now + every, roll.overdue_at(now) + CALL_SOON)

    def _fail(self, duty: Duty, chore: Chore, seen: RollCalled | RollRead, now: float) -> None:
        """It can't be done now: once more later, and what else is done there waits, too, where that
        is asked for."""
        chore.set(now + max(seen.hold, chore.fail()) + self._spread(LOCKSTEP))
        for each in (duty.call, duty.read):
            each.later(now + seen.hold)
        self._say(duty, chore, seen.why)

    def _say(self, duty: Duty, chore: Chore, why: str) -> None:
        """Say why something can't be done, once; and when all can be done again."""
        before = {duty.call.why, duty.read.why}
        chore.note(why)
        place = f"the {duty.roll.medium}"
        if why and why not in before:
            words = f"fleet: {why}; nobody is called dark by {place} meanwhile"
            self.orders.log("warning", words)
        elif before != {""} and not (duty.call.why or duty.read.why):
            self.orders.log("info", f"fleet: the roll call in {place} goes on")

    # Who is dark, and who is back

    def _seems_dark(self, host: Host, roll: Roll, now: float) -> bool:
        """Whether a host is not heard, and nothing explains that."""
        if not roll.silent(host, now) or roll.replaced(host, self.name, now):
            return False
        return not self._heard_elsewhere(host, roll, now)

    def _go_dark(self, host: Host, duty: Duty, now: float) -> None:
        """A host is dark: see whether that is to be told from here."""
        roll = duty.roll
        if host.state is not HostState.DARK:
            self.orders.log("warning", f"fleet: {host.name} is not heard any more")
        host.go_dark()
        host.told(roll.hosts.values())
        roll.presume_told(host, now)
        muted = self.mutes.all_until > now
        muted = muted or not self._voice
        if self._outage_of(host) is None and not muted and roll.is_mine(host, now):
            self._tell_dark(host, roll.age(host, now), now)
            duty.call.set(now + CALL_SOON)  # so that the others know

    def _heard_elsewhere(self, host: Host, roll: Roll, now: float) -> bool:
        """Whether a host is heard in another medium."""
        for duty in self.duties.values():
            for other in duty.roll.hosts.values():
                explains = duty.roll.heard(other, now) or other.state is HostState.RESTING
                if explains and duty.roll is not roll and other.name == host.name:
                    return True
        return False

    def _tell_dark(self, host: Host, age: float, now: float) -> None:
        facts: tuple[tuple[str, str], ...] = ()
        call = host.call
        if call:
            engine = f"{call.engine} did not answer" if call.away else call.engine
            was = f"{engine}, {counted(call.services, 'service')}"
            facts = (("Was", was), ("Down then", fallen_words(call) or "nothing"))
        notice = Notice(
            Verdict.DARK,
            host.name,
            now - age,
            plan=DARK_PLAN,
            mention=self.lives.settings.mention,
            facts=facts,
            decided_at=now,
        )
        outage = self.outages.begin("", notice.at)
        outage.notice, outage.host = notice, host.id
        self.outages.changed(outage)

    def _told(self) -> dict[int, Notice]:
        """What this Sentinel has told of dark hosts, by outage."""
        told: dict[int, Notice] = {}
        for number, outage in self.outages.items():
            if outage.notice and outage.notice.verdict is Verdict.DARK:
                told[number] = outage.notice
        return told

    def _outage_of(self, host: Host) -> Outage | None:
        """The outage that tells of a host: by its roll call, or by its name, which it may have in
        another medium."""
        for number, notice in self._told().items():
            outage = self.outages[number]
            if host.id == outage.host or (host.call and host.name == notice.name):
                return outage
        return None

    def _hear(self, host: Host, duty: Duty, now: float) -> None:
        """See whether a host is heard: then it is back where it was dark."""
        roll, outage = duty.roll, self._outage_of(host)
        own_outage = outage is not None and outage.host == host.id
        rests = host.resting and (outage is None or own_outage)
        if not host.counts or not (rests or roll.heard(host, now)):
            return
        if host.state is HostState.DARK:
            self.orders.log("info", f"fleet: {host.name} is heard again")
        host.come_back()
        roll.follow_up(host)
        if outage:
            host.settle_return()
            self._end(outage, host, roll, now)
            duty.call.set(now + CALL_SOON)  # so that the others know
        elif host.back_time:
            self._mind_return(host, roll, now)

    def _mind_return(self, host: Host, roll: Roll, now: float) -> None:
        """A host is back of which another has told that it was dark: see who tells that."""
        late = roll.is_late(host, now)
        if roll.others_were_there(host, now):
            late = True
        elif roll.tells_return(host, now):
            down, back_at = (
                host.back_time - host.dark_time,
                now - roll.own.time(now) + host.back_time,
            )
            self.outages.tell(Notice(Verdict.RECOVERED, host.name, back_at, downtime=down))
            late = True
        if late:
            host.settle_return()

    def _end(self, outage: Outage, host: Host, roll: Roll, now: float) -> None:
        told_at = outage.notice.decided_at if outage.notice else None
        away = told_at is not None and roll.own.joined_time > roll.own.time(told_at)
        if away and roll.others_were_there(host, now):
            self.outages.close(outage, "It is heard again, as others have told.", now)
            return
        outage.back_at = max(now - roll.age(host, now), outage.began_at)
        self.lives.stories.check_over(outage, now)

    def _retire(self, host: Host, now: float) -> None:
        """Somebody has deleted a roll call: that host is not missed any more."""
        outage = self._outage_of(host)
        if outage:
            self.outages.close(outage, "Its roll call was deleted: it is not missed.", now)

    def _mind_twin(self, roll: Roll, now: float) -> None:
        twin = roll.twin(self.name, now)
        if twin and twin.id not in self._twins:
            self._twins.add(twin.id)
            words = f"fleet: another Sentinel calls itself {self.name}, too; see SENTINEL_HOST"
            self.orders.log("warning", words)

    # What is shown

    def hears(self, now: float) -> bool:
        """Whether others could be heard."""
        return any(duty.roll.own.arrives(now) for duty in self.duties.values())

    def seats(self, now: float) -> list[Seat]:
        """All hosts, this one first; each once, as the medium shows it that has heard it last."""
        if not self.duties:
            return []
        found: dict[str, Seat] = {}
        for duty in self.duties.values():
            for seat in seats_of(duty.roll, now, self.lives.runs.calendar.time_of(now)):
                known = found.get(seat.host)
                if known is None or known.heard_time < seat.heard_time:
                    found[seat.host] = seat
        now_time = self.lives.runs.calendar.time_of(now)
        own = Seat(self.name, HostState.HERE, now_time, self._roll_call(False, now))
        found.pop(own.host, None)
        return [own, *sorted(found.values(), key=lambda seat: seat.host)]


DARK_PLAN = (
    "Nothing can be done from here: see whether its machine, its network or its Sentinel is down."
)


def seat_words(seat: Seat) -> str:
    """How a host stands, in the words of its roll call."""
    call = seat.call
    if seat.state is not HostState.HERE or call is None:
        return str(seat.state)
    if call.away:
        return f"{call.engine} does not answer"
    services = counted(call.services, "service")
    return f"{services}, {call.fallen} down" if call.fallen else f"{services}, all up"


def seats_of(roll: Roll, now: float, now_time: float) -> list[Seat]:
    """The other hosts of a roll. `now_time`: Unix seconds, by this host's clock."""
    seats: list[Seat] = []
    for host in roll.hosts.values():
        if host.counts:
            heard_time = now_time - max(0.0, roll.age(host, now))
            seats.append(Seat(host.name, host.state, heard_time, host.call))
    return seats


# ─── Watchdog ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Record:
    """What is to be remembered, beside services and outages: the engine's id and its newest events,
    the highest number told, when to remind, and an end of the engine that is not settled."""

    engine: str = ""
    position: float = 0.0
    marks: tuple[Mark, ...] = ()
    ahead: float = 0.0  # the engine's clock was
    numbered: int = 0
    remind_at: float | None = None
    gap: Gap | None = None
    host: str = ""
    attached: tuple[str, ...] = ()  # containers that somebody has followed
    rolls: tuple[RollRecord, ...] = ()
    removed: tuple[str, ...] = ()  # containers of which that is still to be told


UNFORESEEN_LOOK = 30.0  # after what nobody thought of


class Watchdog:
    """Decides. `observe` takes what happened and gives what to do; `tick` does what has become due.
    It only conducts: each observation goes to the part that knows what to make of it."""

    def __init__(self, settings: Settings) -> None:
        self.calendar = Calendar()
        self.timers = Timers()
        self.services = Services()
        self.orders = Orders(self.services.known_since)
        self.mutes = Mutes(self.calendar)
        runs = Runs(self.calendar)
        self.link = Link(settings, self.timers, self.orders, self.services, runs)
        self.outages = Outages(settings, self.timers, self.orders, self.services)
        self.stories = Stories(settings, self.outages, self.link)
        healing = Healing(self.services, self.link)
        self.lives = Lives(
            settings,
            self.timers,
            self.orders,
            self.services,
            runs,
            self.link,
            self.stories,
            healing,
        )
        self.dependants = Dependants(self.lives)
        self.settling = Settling(settings, self.lives)
        self.roster = Roster(settings, self.settling, self.mutes)
        self.looks = Looks(self.lives, self.dependants, self.roster)
        self.events = Events(settings, self.lives, self.roster)
        self.silences = Silences(self.lives, self.mutes)
        self.fleet = Fleet(self.lives, self.mutes)

    # What the daemon calls

    def begin(self) -> list[Action]:
        """What to do first: subscribe, and list once that is answered, so that nothing falls in
        between."""
        return [Subscribe(0.0)]

    def observe(self, seen: Observation, now: float) -> list[Action]:
        """Take one observation, give the actions that follow from it."""
        self._mute_in_time(now)
        try:
            self._dispatch(seen, now)
        except Unforeseen as error:
            self._look_after(error, container_of_observation(seen), now)
        return self._take_actions(now)

    def tick(self, now: float) -> list[Action]:
        """Do what has become due, and what that has released."""
        done: set[Timer] = set()
        while ripe := [timer for timer in self.timers.ripe(now) if timer not in done]:
            for rule, key in sorted(ripe, key=self._depth):
                done.add((rule, key))
                due = self.timers.at(rule, key)
                if due is not None and due <= now:  # no other rule has ended it, or put it off
                    self._try(rule, key, due, now)
            self.timers.hold(self.link.rules_that_wait())
        return self._take_actions(now)

    def _depth(self, timer: Timer) -> int:
        """Mutes come first, and what others depend on before them: a project settles as a whole."""
        rule, key = timer
        if rule in FIRST_RULES:
            return -1
        service = self.services.get(key)
        return self.services.depth(service) if service else 0

    def _try(self, rule: Rule, key: str, due: float, now: float) -> None:
        try:
            self._do(rule, key, due, now)
        except Unforeseen as error:
            service = self.services.get(key)
            self._look_after(error, service.container.id if service else key, now)

    def next_due_at(self) -> float | None:
        """When `tick` is wanted next."""
        return self.timers.next_at()

    def mute(self, commanded: Mapping[str, float], now: float) -> None:
        """Take over who is muted by command, and until when."""
        self.mutes.command(commanded)
        self.silences.begin(now)
        self.timers.set(Rule.UNMUTE, "", now)
        self.timers.hold(self.link.rules_that_wait())
        away_at = self.link.away_at
        if away_at is not None and self.timers.at(Rule.ENGINE, "") is not None:
            self.timers.set(Rule.ENGINE, "", max(now, away_at + ENGINE_PATIENCE))

    def drill(self, drills: Mapping[str, Drill]) -> None:
        """Take over which containers somebody kills to see what comes of it."""
        self.outages.take_drills(drills)

    @property
    def began_at(self) -> float:
        """When it took up what the ledger remembers."""
        return self.calendar.began_at

    @property
    def catching_up(self) -> bool:
        """Whether it is still being worked out what happened while Sentinel was away."""
        return self.link.catching_up

    # What is remembered

    def restore(
        self,
        services: Iterable[tuple[Watched, float | None]],
        outages: Mapping[int, Outage],
        record: Record,
        now: float,
        now_time: float,
    ) -> None:
        """Take up what the ledger remembers: services with their due times. A restart that was cut
        short is looked at."""
        self.calendar.begin(now, now_time)
        self.calendar.meet(record.ahead)
        position = min(record.position, self.calendar.engine_time(now))
        self.link.remember(record.engine, record.host, position, record.marks)
        for container_id in record.attached:
            self.lives.runs.attach(container_id)
        self.lives.runs.was_away(self.link.stream.position, self.calendar.engine_time(now))
        self.fleet.restore(record.rolls)
        self.settling.removals.restore(record.removed, now)
        for service, due in services:
            self._restore_service(service, due, now)
        self.outages.restore(outages.values(), record.numbered, now)
        engine = self.outages.engine
        if engine and engine.back_at is None:
            self.link.resume_loss(engine.began_at)
        if record.gap:
            self.link.resume_end(record.gap, now)
        if record.remind_at is not None:
            self.timers.set(Rule.REMIND, "", record.remind_at)

    def _restore_service(self, service: Watched, due: float | None, now: float) -> None:
        self.services.enter(service)
        self.lives.runs.adopt(service.container.id, service.run)
        if service.phase is Phase.RESTARTING:
            service.phase = Phase.PROVING
            service.call = None
            service.back_at = now
            due = now + service.budget.proof
        if due is not None:
            rule = Rule.FORGET if service.phase is Phase.GONE else Rule.PHASE
            self.timers.set(rule, service.key, due)

    def due_of(self, service: Watched) -> float | None:
        """When the rule of a service's phase is due."""
        due = self.timers.at(Rule.PHASE, service.key)
        return self.timers.at(Rule.FORGET, service.key) if due is None else due

    def record(self, leaving: bool = False) -> Record:
        """What is to be remembered now, beside services and outages."""
        return Record(
            self.link.facts.engine,
            self.link.stream.position,
            tuple(self.link.stream.marks),
            self.calendar.ahead,
            self.outages.numbered,
            self.timers.at(Rule.REMIND, ""),
            self.link.unsettled_end(leaving),
            self.link.facts.host,
            self.lives.runs.attached,
            self.fleet.record(),
            self.settling.removals.names,
        )

    # From observation to part

    def _dispatch(self, seen: Observation, now: float) -> None:
        if isinstance(seen, Heard):
            self.events.heard(seen, now)
        elif isinstance(seen, Looked):
            if not seen.why:
                self.link.hear_answer(now)
            self.looks.looked(seen, now)
        elif isinstance(seen, Restarted):
            self.lives.restarted(seen, now)
        elif isinstance(seen, Listed):
            self._listed(seen, now)
        elif isinstance(seen, ListFailed):
            self.link.list_failed(seen, now)
        elif isinstance(seen, StreamOpened):
            self.link.opened(seen, now)
        elif isinstance(seen, StreamClosed):
            self.link.closed(seen, now)
        elif isinstance(seen, Recalled):
            self.link.recalled(seen, now)
        elif isinstance(seen, RestartAsked):
            self.lives.restart_asked(self.services[seen.key], seen.by, now)
        elif isinstance(seen, TakenOn):
            self.outages.take_on(self.outages[seen.outage], seen.by)
        elif isinstance(seen, RollRead):
            self.fleet.read(seen, now)
        elif isinstance(seen, RollCalled):
            self.fleet.called(seen, now)
        elif isinstance(seen, RollPutOff):
            self.fleet.put_off(seen, now)

    def _listed(self, seen: Listed, now: float) -> None:
        first = not self.link.listed.done
        if self.link.answered(seen, now):
            self.outages.abandon("It was another engine's: nobody watches that from here.", now)
            self.services.clear()
            self.lives.runs.clear()
            self.timers.forget_keys()
        self.roster.forget_self(now)
        self.looks.listed(seen.rows, now)
        if first:
            self.timers.sooner(Rule.UNMUTE, "", now)

    def _do(self, rule: Rule, key: str, due: float, now: float) -> None:
        """Do one thing that is due."""
        if rule in SERVICE_RULES:
            service = self.services.get(key)
            if service:
                self._do_for(service, rule, due, now)
            else:
                self.timers.cancel(key, rule)
            return
        self.timers.cancel(key, rule)
        if rule is Rule.MUTE:
            self.silences.begin(now)
        elif rule is Rule.UNMUTE:
            self.silences.end(now)
        elif rule is Rule.SUBSCRIBE:
            self.link.subscribe()
        elif rule is Rule.LIST:
            self.link.list_now()
        elif rule is Rule.ENGINE:
            self._tell_engine_down(now)
        elif rule is Rule.GRACE:
            self._engine_settles(now)
        elif rule is Rule.REMIND:
            self.stories.remind(self.mutes.all_until > now, now)
        elif rule is Rule.OUTAGE:
            self.stories.outage_due(key, now)
        elif rule is Rule.LOOK:
            self.orders.look(key)
        elif rule is Rule.OOM:
            self.looks.oom_due(key, now)
        elif rule is Rule.REMOVALS:
            self.settling.removals.tell(now)
        elif rule is Rule.ROLL:
            self.fleet.due(key, now)

    def _do_for(self, service: Watched, rule: Rule, due: float, now: float) -> None:
        """Do one thing that is due for a service, unless that has to wait for a look, or for the
        end of a mute."""
        self.services.changed(service)
        if rule is not Rule.UNHEARD and self._waits(service, rule):
            self.timers.park(rule, service.key, due)
            return
        self.timers.cancel(service.key, rule)
        if rule is Rule.PHASE:
            self.looks.phase_due(service, now)
        elif rule is Rule.FORGET:
            self.settling.forget_due(service, now)
        elif rule is Rule.DEPENDANTS:
            self.dependants.wake(service, now)
        elif rule is Rule.NETWORK:
            self.dependants.network_due(service, now)
        elif rule is Rule.UNHEARD:
            self.looks.unheard_due(service, now)

    def _waits(self, service: Watched, rule: Rule) -> bool:
        if rule is Rule.PHASE:
            if self.orders.looking(service.container.id):
                return True
            if service.phase in (Phase.SUSPECT, Phase.MISSING):
                return False  # what became of it is found out; a mute keeps it from being told
        return service.muted

    def _mute_in_time(self, now: float) -> None:
        """A mute begins at its time, whatever else comes first."""
        due = self.timers.at(Rule.MUTE, "")
        if due is not None and due <= now:
            self.silences.begin(now)

    def _look_after(self, error: Unforeseen, container_id: str, now: float) -> None:
        """What nobody thought of ends nothing: it is said, and things are taken as they are seen
        next."""
        self.orders.log("error", f"unforeseen, please report it: {error}; looking at it anew soon")
        if container_id:
            self.timers.set(Rule.LOOK, container_id, now + UNFORESEEN_LOOK)

    # The engine's own story

    def _tell_engine_down(self, now: float) -> None:
        """Too long without the engine: tell, unless it was never there (then Sentinel just started
        first)."""
        if self.link.presence is not Presence.AWAY:
            return
        muted_until = self.mutes.all_until
        if muted_until > now:
            self.timers.set(Rule.ENGINE, "", muted_until)
            return
        plan = "Trying to reach it; nothing is restarted meanwhile."
        self.stories.engine_down(self.link.away_at or now, self.link.why, plan)

    def _engine_settles(self, now: float) -> None:
        """Once nothing starts any more, what the engine took with it and did not bring back is
        down."""
        back_at = self.link.settled(now)
        if back_at is None:
            return
        taken = self.services.roots_first(self.link.toll.taken(self.link.gap, now))
        for service in taken:
            if service.container.task:
                self._leave_to_swarm(service, now)
        taken = [service for service in taken if not service.container.task]
        falls = {service.key: self._taken_by_engine(service, now) for service in taken}
        audible = [service for service in taken if not service.muted]
        fell_at = min((falls[service.key].death.at for service in audible), default=back_at)
        outage = self.stories.left_behind(audible, fell_at)
        for service in taken:
            self.lives.fall(service, falls[service.key], now, outage)
            if service.container.status == REMOVED_UNSEEN:  # nobody may miss it
                self.timers.set(Rule.FORGET, service.key, now + FORGET_AFTER)
        if outage:
            self.outages.drop_empty(outage.current)
        self.stories.engine_back(self.link.toll.undone(self.link.gap), back_at, now)

    def _leave_to_swarm(self, service: Watched, now: float) -> None:
        """A task that ended with its engine: the Swarm has replaced it, here or on another node."""
        self._taken_by_engine(service, now)
        why = "It ended with its engine; the Swarm replaces it, here or elsewhere."
        self.orders.log("info", f"{service.container.title}: {why}")
        self.stories.left(service, why, now)
        self.lives.rest(service)

    def _taken_by_engine(self, service: Watched, now: float) -> Fall:
        service.move(Phase.SUSPECT)
        run = service.run if service.death else self.lives.runs.death_in(service.container, now)
        run.judged = True
        service.run = run
        return Fall(Verdict.DEAD, Cause.ENGINE, run.end or no_death(now), run)

    # What is to be done

    def _take_actions(self, now: float) -> list[Action]:
        """Reds before all else, but for one that comes after the green that left it out."""
        self.timers.hold(self.link.rules_that_wait())
        told = self.outages.take_news(now)
        actions = self.orders.take()
        over: set[int] = set()
        for action in actions:
            if isinstance(action, Tell) and action.notice.verdict is Verdict.RECOVERED:
                over.add(action.notice.incident)
        first = [tell for tell in told if tell.notice.incident not in over]
        again = [tell for tell in told if tell.notice.incident in over]
        return [*first, *actions, *again]


def container_of_observation(seen: Observation) -> str:
    """The container that an observation is about, empty for none."""
    return seen.id if isinstance(seen, Heard | Looked | Restarted) else ""


# ─── Telling ──────────────────────────────────────────────────────────────────────────────────────
# The fate of a message: notices wait in an outbox; a posting of the first of them is in flight,
# arrives, or is repeated. One that tells of what still goes on is kept (`Message`). When that
# changes (`Outbox.amend`), an edit of it becomes due, is in flight, and arrives, waits, or is given
# up (`Outbox._edited`). Where a message can't be edited, what is worth it waits to be told again.

BATCH, FLOOD = 40, 3  # notices in one message; more than so many messages' worth is told in so many
PACE, PACE_SPAN = 28, 60.0  # Discord's hidden limit is about 30 messages a minute for a channel
SLOWEST_RETRY = 60.0
# so often, and at a new red, a channel that takes nothing is tried again, but never sooner than so
# long after the last time
RETIRED_RETRY, RETIRED_PAUSE = 3600.0, 600.0
RETIRED_KEEPS = 100  # notices that wait for such a channel
TELLING = 1.0  # how long what is no alert waits while one is told
CHAIN_PATIENCE = 30.0  # how long a channel may fail before the next in the chain is tried
# how long a change waits for company: one of the title, another one
EDIT_SOON, EDIT_LATER = 1.0, 6.0


@dataclass(frozen=True, slots=True)
class Posting:
    """A message of the first `size` notices that wait: in flight, or to be repeated as it was, so
    that Discord can tell a repeat. `notices`: what it says, empty where it was in flight in another
    life of Sentinel's."""

    size: int
    notices: tuple[Notice, ...] = ()
    plain: bool = False  # the channel has refused its form: the same in the plainest one
    unclear: bool = False  # it may have arrived
    unknown: bool = False  # what it said in another life
    why_late: str = ""


@dataclass(frozen=True, slots=True)
class Editing:
    """An edit of a message, in flight."""

    message: str
    notices: tuple[Notice, ...]


@dataclass(slots=True)
class Message:
    """A message that may still change: the notices that it should tell of, and how it came to be
    sent."""

    notices: list[Notice]
    sent_at: float
    why_late: str
    plain: str  # the word PLAIN, or empty

    def swap(self, notice: Notice) -> Notice | None:
        """Have it tell this of its notice: what it told of that before, None where that is the
        same."""
        for index, old in enumerate(self.notices):
            if old.id == notice.id and old != notice:
                self.notices[index] = notice
                return old
        return None

    @property
    def goes_on(self) -> bool:
        """Whether it tells of something that is not over."""
        return any(notice.open for notice in self.notices)


PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class PostedRecord:
    """A message that may still change, as the ledger keeps it: its notices by their numbers."""

    key: str
    notices: tuple[int, ...]
    sent_at: float
    why_late: str
    plain: str


@dataclass(frozen=True, slots=True)
class EditRecord:
    """An edit that waits, as the ledger keeps it; None: for nothing but its turn."""

    message: str
    due_at: float | None


@dataclass(frozen=True, slots=True)
class OutboxRecord:
    """An outbox as the ledger keeps it: notices by their numbers."""

    waiting: tuple[int, ...]
    posted: tuple[PostedRecord, ...]
    edits: tuple[EditRecord, ...]
    batch: int
    plain: bool
    handed: tuple[int, ...]
    failures: int
    held_until_at: float | None
    why: str
    retired: str
    refused_at: float | None
    lost: int


@dataclass(slots=True)
class Trouble:
    """What has gone wrong with a channel lately, and until when it is left alone."""

    held_until_at: float | None = None
    failing_since_at: float | None = None
    failures: int = 0
    edit_failures: int = 0
    why: str = ""
    retired: str = ""  # it takes nothing any more, by Discord's own word
    refused_at: float | None = None  # when it said so last
    # by Discord's word, which counts for all that is sent there
    limited_until_at: float | None = None

    def note(self, why: str) -> None:
        """Why what waits is late."""
        self.why = why

    def hold(self, until: float) -> None:
        """Leave the channel alone until then."""
        self.held_until_at = until

    def failed(self, seen: Delivered, now: float) -> None:
        """One more message did not arrive."""
        self.failures += 1
        self.held_until_at = now + pause_after(seen, self.failures)
        self.limited_until_at = now + seen.hold if seen.hold else None

    def edit_failed(self, seen: Delivered) -> float:
        """One more edit did not arrive: in how many seconds to try again."""
        self.edit_failures += 1
        return pause_after(seen, self.edit_failures)

    def retire(self, why: str, now: float) -> None:
        """It takes nothing any more."""
        self.retired = why
        self.refused_at = now
        self.held_until_at = now + RETIRED_RETRY

    def ask_anew(self, now: float) -> None:
        """There is something worth asking a retired channel for."""
        refused_at = -math.inf if self.refused_at is None else self.refused_at
        self.held_until_at = max(now, refused_at + RETIRED_PAUSE)

    def over(self, hold: float, now: float) -> bool:
        """Something arrived: whether that is news."""
        news = self.failures > 0 or bool(self.retired)
        self.failures = self.edit_failures = 0
        self.failing_since_at = None
        self.retired = ""
        self.held_until_at = now + hold
        return news


def pause_after(seen: Delivered, failures: int) -> float:
    """Seconds until the next try: as long as the channel asks for, and longer with each failure."""
    return float(max(seen.hold, min(SLOWEST_RETRY, 2 ** (failures - 1))))


class Outbox:
    """What waits to be told through one channel, in order; one message at a time. Nothing new waits
    for company: what waits together goes together."""

    def __init__(self, channel: str, edits: bool = False, chained: bool = False) -> None:
        self.channel, self.edits, self.chained = channel, edits, chained
        self.waiting: list[Notice] = []
        self.posted: dict[
            str, Message
        ] = {}  # by id, or by their notices' `1-2-`: those take no edits
        self.edits_due: dict[str, float] = {}  # messages that no longer read so → when to edit them
        self.flight: Posting | Editing | None = None
        # what stood in flight and did not arrive, or may not have
        self.repeat: Posting | None = None
        self.trouble = Trouble()
        self.handed: list[int] = []  # of what waits, what the next channel in a chain has, too
        self.lost = 0  # messages that were told anew: no repeats of the first ones
        self.dropped = 0  # notices that a retired channel could not keep
        self.size = BATCH
        self._sent_at: deque[float] = deque(maxlen=PACE)

    # What is told

    def put(self, notice: Notice, now: float) -> None:
        """Have something told. A channel that takes nothing is tried again with each new red."""
        self.waiting.append(notice)
        if self.retired:
            if notice.red:
                self.trouble.ask_anew(now)
            self._drop_oldest()

    def amend(self, notice: Notice, now: float) -> None:
        """What was told, or waits to be, reads otherwise now."""
        self.waiting = [notice if old.id == notice.id else old for old in self.waiting]
        if notice.verdict is Verdict.FOLDED:  # what nobody was told of needs no folding
            front, rest = self.waiting[: self.underway], self.waiting[self.underway :]
            self.waiting = front + [other for other in rest if other.id != notice.id]
        for key, message in self.posted.items():
            old = message.swap(notice)
            if old:
                self._reads_otherwise(key, old, notice, now)
        for key, message in list(self.posted.items()):
            if not takes_edits(key) and not message.goes_on:
                del self.posted[key]

    def knows(self, number: int) -> bool:
        """Whether a notice waits here, or stands in a message that may still change."""
        return any(notice.id == number for notice in self.unfinished())

    def unfinished(self) -> list[Notice]:
        """Notices that wait, or stand in a message that may still change."""
        told = [notice for message in self.posted.values() for notice in message.notices]
        return [*self.waiting, *told]

    def discard(self, ids: set[int]) -> None:
        """Forget what another channel has told, unless it is under way here."""
        keep = self.underway if isinstance(self.flight, Posting) else 0
        front = [notice for notice in self.waiting[keep : self.underway] if notice.id not in ids]
        rest = [notice for notice in self.waiting[self.underway :] if notice.id not in ids]
        self.waiting = [*self.waiting[:keep], *front, *rest]
        if self.repeat:
            size = keep + len(front)
            changed = size != self.repeat.size
            self.repeat = replace(self.repeat, size=size) if size else None
            if self.repeat and changed:
                self.repeat = replace(self.repeat, notices=())

    @property
    def underway(self) -> int:
        """How many notices at the front are in flight, or to be repeated together."""
        if isinstance(self.flight, Posting):
            return self.flight.size
        return self.repeat.size if self.repeat else 0

    @property
    def retired(self) -> str:
        """Why the channel takes nothing any more, empty where it does."""
        return self.trouble.retired

    def _drop_oldest(self) -> None:
        """Keep so many, and all that is the last word on what still goes on."""
        more = len(self.waiting) - max(RETIRED_KEEPS, self.underway)
        if more <= 0:
            return
        last = {notice.incident: notice.id for notice in self.waiting}
        front, rest = self.waiting[: self.underway], self.waiting[self.underway :]
        past = [one for one in rest if not one.open or last[one.incident] != one.id]
        dropped = {id(one) for one in past[:more]}
        self.waiting = [*front, *(one for one in rest if id(one) not in dropped)]
        self.dropped += len(dropped)

    def _reads_otherwise(self, key: str, old: Notice, new: Notice, now: float) -> None:
        """A message is to be edited; where it can't be, what is worth that is told again."""
        retitled = (old.verdict, old.name) != (new.verdict, new.name)
        handed_on = self.retired and self.chained
        if takes_edits(key) and not handed_on:
            soon = retitled or old.facts != new.facts
            due = now + (EDIT_SOON if soon else EDIT_LATER)
            self.edits_due[key] = min(due, self.edits_due.get(key, math.inf))
            return
        more = len(new.consequences) > len(old.consequences)
        if (retitled or more) and new not in self.waiting[self.underway :]:
            self.lost += 1
            self.waiting.append(new)
            self.handed = [number for number in self.handed if number != new.id]

    # What goes out

    def next_due_at(self, now: float) -> float | None:
        """When the next message or edit may be sent; None if there is none."""
        if self.flight or not (self.waiting or self.edits_due):
            return None
        if self.retired and not self.waiting:
            return None
        may = self.trouble.held_until_at
        may = now if may is None else may
        places = PACE if self.waiting else PACE // 2  # edits leave room for what is new
        if len(self._sent_at) >= places:
            may = max(may, self._sent_at[-places] + PACE_SPAN)
        return may if self.waiting else max(may, min(self.edits_due.values()))

    def take(self, now: float, host: str, jitter: float) -> Deliver | None:
        """The next message or edit, if one may be sent now. `jitter` (0 to 1) spreads retries."""
        due = self.next_due_at(now)
        if due is None or now < due:
            return None
        self.trouble.hold(now + jitter * self.trouble.failures)
        return self._post(host) if self.waiting else self._edit(host)

    def _post(self, host: str) -> Deliver:
        posting = self.repeat or Posting(self._together(self._flood_size()))
        if not posting.notices:
            notices = tuple(self.waiting[: posting.size])
            posting = replace(posting, notices=notices, unknown=self.repeat is not None)
        if posting.notices[0].body:  # which has no plainer form
            posting = replace(posting, plain=True)
        posting = replace(posting, why_late=self.trouble.why)
        self.flight, self.repeat = posting, None
        first, last = posting.notices[0], posting.notices[-1]
        return Deliver(
            self.channel,
            posting.notices,
            host,
            "-".join(filter(None, (f"{first.id}-{last.id}", str(self.lost or "")))),
            posting.plain,
            posting.why_late,
        )

    def _together(self, most: int) -> int:
        """How many of those that wait are one message: what is passed on goes alone."""
        passed_on = [bool(notice.body) for notice in self.waiting[:most]]
        return max(1, passed_on.index(True)) if True in passed_on else len(passed_on)

    def _flood_size(self) -> int:
        """How many notices go into one message: more, where more than a flood waits, until all is
        told."""
        if len(self.waiting) > BATCH * FLOOD:
            self.size = max(self.size, -(-len(self.waiting) // FLOOD))
        return self.size

    def _edit(self, host: str) -> Deliver:
        key = min(self.edits_due, key=self.edits_due.__getitem__)
        del self.edits_due[key]
        message = self.posted[key]
        self.flight = Editing(key, tuple(message.notices))
        return Deliver(
            self.channel,
            self.flight.notices,
            host,
            "",
            bool(message.plain),
            message.why_late,
            key,
            message.sent_at,
        )

    def keeps_waiting(self, now: float) -> float:
        """For how many seconds something else that goes the same way is to wait: as long as Discord
        has asked for, and while something is told, or could be."""
        until_at = self.trouble.limited_until_at
        limited = 0.0 if until_at is None else until_at - now
        due = self.next_due_at(now) if self.waiting else None
        telling = self.flight is not None or (due is not None and due <= now)
        return max(0.0, limited, TELLING if telling else 0.0)

    def be_limited(self, until: float) -> None:
        """Discord asks to be left alone until then, whatever is sent."""
        held_until_at = self.trouble.held_until_at
        self.trouble.hold(until if held_until_at is None else max(until, held_until_at))

    # What becomes of it

    def settle(self, seen: Delivered, now: float) -> tuple[list[Notice], list[Log]]:
        """The message in flight arrived, is to be sent again, or never will be: what is done with,
        and log lines."""
        flight, self.flight = self.flight, None
        if isinstance(flight, Editing):
            return [], self._edited(flight, seen, now)
        if flight is None:
            return [], []
        fresh = bool(seen.why) and seen.why != self.trouble.why
        if seen.why or len(self.waiting) <= flight.size:
            self.trouble.note(seen.why)
        if seen.fate is Fate.SENT or (seen.fate is Fate.MALFORMED and flight.plain):
            return self._sent(flight, seen, now)
        return [], self._not_sent(flight, seen, fresh, now)

    def _not_sent(self, flight: Posting, seen: Delivered, fresh: bool, now: float) -> list[Log]:
        """It did not arrive, or may not have: sent again, in the same form where it may have."""
        trouble = self.trouble
        trouble.failing_since_at = trouble.failing_since_at or now
        flight = replace(flight, unclear=flight.unclear or seen.fate is Fate.UNCLEAR)
        if seen.fate is Fate.MALFORMED:
            self.repeat = replace(flight, plain=True)
            return [Log("warning", f"{self.channel}: sent again in plain form: {seen.why}")]
        if flight.unclear:
            self.repeat = flight
        else:
            self._drop_folded(flight)
        if seen.fate is Fate.DEAD:
            known = trouble.retired
            trouble.retire(seen.why, now)
            for key in list(self.edits_due) if self.chained else []:
                self._tell_anew(key)  # by the next in the chain
            again = "tried again hourly, and at a new red after ten minutes"
            words = f"{self.channel}: retired, {again}: {seen.why}"
            return [] if known == seen.why else [Log("error", words)]
        trouble.failed(seen, now)
        return [Log("warning", f"{self.channel}: alerts wait: {seen.why}")] if fresh else []

    def _drop_folded(self, flight: Posting) -> None:
        """Nobody was told, so there is nothing to fold."""
        unfolded = {old.id for old in flight.notices if old.verdict is not Verdict.FOLDED}
        kept = []
        for notice in self.waiting:
            if notice.verdict is not Verdict.FOLDED or notice.id not in unfolded:
                kept.append(notice)
        self.waiting = kept

    def _sent(self, flight: Posting, seen: Delivered, now: float) -> tuple[list[Notice], list[Log]]:
        done, self.waiting = self.waiting[: flight.size], self.waiting[flight.size :]
        again = self._arrived(seen, now)
        if not self.waiting:
            self.size = BATCH
        if seen.fate is Fate.MALFORMED:
            words = f"{self.channel}: an alert was refused twice, see `history`: {seen.why}"
            return done, [Log("error", words)]
        self._keep_message(flight, done, seen.message, now)
        return done, self._say_again() if again else []

    def _say_again(self) -> list[Log]:
        """It works again; what could not be kept is counted."""
        dropped, self.dropped = self.dropped, 0
        more = f"; {dropped} older ones of what is over were dropped" if dropped else ""
        return [Log("info", f"{self.channel}: alerts arrive again{more}")]

    def _keep_message(
        self, flight: Posting, done: list[Notice], message_id: str, now: float
    ) -> None:
        """A message that tells of what still goes on, or already reads otherwise, is kept in
        mind."""
        numbers = "".join(f"{notice.id}-" for notice in done)
        key = numbers
        if self.edits and message_id:  # a yes that does not name the message is one all the same
            key = message_id
        message = Message(done, now, flight.why_late, PLAIN if flight.plain else "")
        known = not flight.unknown and tuple(done) == flight.notices
        if not key or (known and not message.goes_on):
            return
        self.posted[key] = message
        if flight.unknown and takes_edits(key):
            self.edits_due[key] = now + EDIT_SOON
        for old, new in zip(flight.notices, done, strict=True):
            if old != new:
                self._reads_otherwise(key, old, new, now)

    def _edited(self, flight: Editing, seen: Delivered, now: float) -> list[Log]:
        """An edit arrived, has to wait, or can't be made any more. What was refused is not said in
        another form."""
        if seen.fate in (Fate.UNSENT, Fate.UNCLEAR):  # what is new does not wait for that
            again_at = now + self.trouble.edit_failed(seen)
            self.edits_due[flight.message] = now
            for key, due in self.edits_due.items():
                self.edits_due[key] = max(due, again_at)
            first = self.trouble.edit_failures == 1
            return [Log("warning", f"{self.channel}: edits wait: {seen.why}")] if first else []
        message = self.posted[flight.message]
        if seen.fate is not Fate.SENT:
            self._sent_at.append(now)
            self._tell_anew(flight.message)
            why = f"{self.channel}: a message can't be edited any more: {seen.why}"
            return [Log("warning", why)]
        self._arrived(seen, now)
        if tuple(message.notices) == flight.notices and not message.goes_on:
            del self.posted[flight.message]
        return []

    def _tell_anew(self, key: str) -> None:
        """A message can't be edited here, or not any more: what goes on of it is told once more."""
        message = self.posted.pop(key)
        self.edits_due.pop(key, None)
        self.lost += 1
        for notice in message.notices:
            if notice.open and notice not in self.waiting[self.underway :]:
                self.waiting.append(notice)
                self.handed = [number for number in self.handed if number != notice.id]

    def _arrived(self, seen: Delivered, now: float) -> bool:
        """A request arrived: whether that is news."""
        self._sent_at.append(now)
        return self.trouble.over(seen.hold, now)

    # What is remembered

    def record(self) -> OutboxRecord:
        """What the ledger keeps of it: notices by their numbers."""
        trouble, flight = self.trouble, self.flight
        posting = flight if isinstance(flight, Posting) else self.repeat
        edits = [EditRecord(key, due) for key, due in self.edits_due.items()]
        if isinstance(flight, Editing):
            edits.append(EditRecord(flight.message, None))
        posted = []
        for key, told in self.posted.items():
            numbers = tuple(notice.id for notice in told.notices)
            posted.append(PostedRecord(key, numbers, told.sent_at, told.why_late, told.plain))
        return OutboxRecord(
            waiting=tuple(notice.id for notice in self.waiting),
            posted=tuple(posted),
            edits=tuple(edits),
            batch=posting.size if posting else 0,
            plain=posting.plain if posting else False,
            handed=tuple(self.handed),
            failures=trouble.failures,
            held_until_at=trouble.held_until_at,
            why=trouble.why,
            retired=trouble.retired,
            refused_at=trouble.refused_at,
            lost=self.lost,
        )

    def restore(self, record: OutboxRecord, notices: Mapping[int, Notice]) -> bool:
        """Put back what waited; False if there was any that can't be read any more."""
        self.waiting = [notices[number] for number in record.waiting if number in notices]
        for told in record.posted:
            known = [notices[number] for number in told.notices if number in notices]
            if len(known) == len(told.notices):
                self.posted[told.key] = Message(known, told.sent_at, told.why_late, told.plain)
        for edit in record.edits:
            if edit.message in self.posted:
                self.edits_due[edit.message] = 0.0 if edit.due_at is None else edit.due_at
        self.handed = list(record.handed)
        self.lost = record.lost
        # What had retired is tried at once: it may have been put right for this start.
        self.trouble = Trouble(
            None if record.retired else record.held_until_at,
            None,
            record.failures,
            why=record.why,
            retired=record.retired,
            refused_at=None if record.retired else record.refused_at,
        )
        size = min(record.batch, len(self.waiting))
        if size > 0:
            self.repeat = Posting(size, plain=record.plain, unclear=True)
        whole = len(self.waiting) == len(record.waiting)
        return whole and len(self.posted) == len(record.posted)

    # Chains

    def fails(self, now: float) -> bool:
        """Whether it can't tell in time."""
        since = self.trouble.failing_since_at
        return bool(self.retired) or (since is not None and now - since >= CHAIN_PATIENCE)

    def take_over(self, other: Outbox, now: float) -> None:
        """Tell what another channel can't tell in time, once. Somebody else's message has a place
        in that one alone."""
        for notice in other.waiting:
            handed = notice.body or notice.id in other.handed
            if not handed and not self.knows(notice.id):
                self.put(notice, now)
        other.handed = [notice.id for notice in other.waiting]
        self.trouble.note(self.trouble.why or other.trouble.why)


def takes_edits(key: str) -> bool:
    """Whether a message is known by its id, so that it can be edited."""
    return "-" not in key


def escalate(chain: list[Outbox], now: float) -> None:
    """In a chain of fallbacks, hand what a channel could not tell in time to the next one, once."""
    for outbox, fallback in itertools.pairwise(chain):
        if outbox.fails(now):
            fallback.take_over(outbox, now)


# ─── Cards ────────────────────────────────────────────────────────────────────────────────────────
# A card is what a notice says in words; Discord's embeds and the terminal's boxes are drawn from
# it.

EMBED_TITLE = 256  # Discord's limit, in code points
LATE = 60.0  # an alert that is told later than this says when it happened
# characters of a headline, a line, an engine's words
HEADLINE_TEXT, LINE_TEXT, ERROR_TEXT = 300, 600, 300

Moment = Callable[[float], str]  # how a moment of the monotonic clock is written


def headline(notice: Notice) -> str:
    """The one sentence that has to be read."""
    if notice.foreign:
        return f"{notice.name}: {one_line(notice.plan)}"
    pattern = VERDICTS[notice.verdict].headline
    if pattern:
        how = exit_words(notice.exit_code)
        return pattern.format(name=notice.name, how=how, cause=notice.cause)
    return HEADLINES.get(notice.verdict, dead_headline)(notice)


NO_END_WORDS = {Cause.CANT_START: "can't start", Cause.NEVER_STARTED: "never started"}


def dead_headline(notice: Notice) -> str:
    """It is down, and how it ended."""
    if notice.container is None and notice.cause:
        return f"{notice.name} are DEAD — {notice.cause}"
    how = NO_END_WORDS.get(notice.cause, exit_words(notice.exit_code))
    return f"{notice.name} is DEAD — {how}"


def loop_headline(notice: Notice) -> str:
    """It dies again and again."""
    sick = notice.cause is Cause.UNHEALTHY
    how = "unhealthy" if sick else exit_words(notice.exit_code)
    return f"{notice.name} is in a CRASH LOOP — {how}, {died_words(notice)}"


def given_up_headline(notice: Notice) -> str:
    """Restarts have not helped."""
    sick = notice.container is not None and notice.container.sick
    tries = counted(notice.attempts, "restart")
    stays = "unhealthy" if sick else "down"
    return f"{notice.name} stays {stays}{end_aside(notice)}, gave up after {tries}"


def stopped_headline(notice: Notice) -> str:
    """Somebody wanted its end."""
    was = "were" if notice.lives_on and notice.names else "was"
    return f"{notice.name} {was} {notice.cause}{end_aside(notice)}"


def recovered_headline(notice: Notice) -> str:
    """It is back."""
    down = time_down(notice.downtime or 0.0)
    return f"{notice.name} {be(notice)} back online (was down ~{down})"


def engine_down_headline(notice: Notice) -> str:
    """The engine does not answer, or what stands before Podman's containers."""
    return f"{engine_words(notice.cause is Cause.API_AWAY)} on {notice.name} does not answer"


def engine_words(podman: bool) -> str:
    """What it is that answers, or does not."""
    return "Podman's API service" if podman else "The Docker Engine"


def still_down_headline(notice: Notice) -> str:
    """It is not back."""
    return f"{notice.name} {be(notice)} still down"


HEADLINES: Mapping[Verdict, Callable[[Notice], str]] = {
    Verdict.CRASH_LOOP: loop_headline,
    Verdict.GAVE_UP: given_up_headline,
    Verdict.STOPPED: stopped_headline,
    Verdict.RECOVERED: recovered_headline,
    Verdict.STILL_DOWN: still_down_headline,
    Verdict.ENGINE_DOWN: engine_down_headline,
}


def be(notice: Notice) -> str:
    """The verb that goes with its name."""
    return "are" if notice.name.endswith(" services") else "is"


def end_aside(notice: Notice) -> str:
    """How it ended, as an aside, where that is known."""
    return "" if notice.exit_code is None else f" — {exit_words(notice.exit_code)}"


def died_words(notice: Notice) -> str:
    """How often a crash loop died, and within how long, where that is told apart from at once."""
    times, within = counted(notice.deaths, "time"), notice.downtime or 0.0
    return f"died {times} in {span(within)}" if within >= 1.0 else f"died {times}"


SHOWN_STATUS = dict.fromkeys(("removing", *NOT_THERE), "Removed")


def status_words(notice: Notice, moment: Moment) -> str:
    """The engine's status line, as `docker ps` words it."""
    container = notice.container
    if not container or not notice.red:
        return ""
    if container.sick:
        return "Up (unhealthy)"
    if container.running:
        return "Running" if notice.verdict is Verdict.ORPHANED else "Running again"
    word = SHOWN_STATUS.get(container.status, container.status.capitalize())
    if container.status in ("exited", "restarting"):
        word += f" ({container.exit_code})"
    return f"{word} {moment(notice.at)}"


SAID_BY_HEADLINE = (
    Cause.CANT_START,
    Cause.UNHEALTHY,
    Cause.FAILED_UPDATE,
    Cause.STOP,
    Cause.REMOVED,
)


def cause_words(notice: Notice) -> str:
    """Why it died, where that is known and not said yet."""
    if notice.cause is Cause.API_AWAY and notice.red:
        return str(notice.cause)
    if notice.cause in SAID_BY_HEADLINE or notice.container is None:
        return ""
    if notice.verdict in (Verdict.CHILD_OOM, Verdict.FOLDED):
        return ""
    if notice.cause is Cause.OOM and notice.container.memory_limit:
        return f"{Cause.OOM} (its limit is {memory_words(notice.container.memory_limit)})"
    return cause_text(notice)


def cause_text(notice: Notice) -> str:
    """A cause in the words of its engine."""
    kind = notice.container.kind if notice.container else EngineKind.DOCKER
    return notice.cause.replace("docker", kind.command)


def consequence_words(consequence: Consequence, moment: Moment) -> tuple[str, str]:
    """The chain down to the root, and what became of the service: `DEAD, exit 1, 14 s ago; waits
    for genesis`."""
    what = str(consequence.verdict)
    if consequence.verdict is Verdict.RESTARTED:
        what = "restarted with it"
    elif consequence.cause is Cause.NEVER_STARTED:
        what = NO_END_WORDS[consequence.cause]
    words = [what]
    if consequence.exit_code is not None:
        words.append(exit_words(consequence.exit_code))
    if consequence.cause in (Cause.ENGINE, Cause.OOM):
        words.append(str(consequence.cause))
    words.append(moment(consequence.at))
    state = consequence.state[:1].lower() + consequence.state[1:].rstrip(".")
    if consequence.back:
        state = "back"
    text = "; ".join(filter(None, (", ".join(words), state)))
    return " ← ".join(consequence.chain), text


def outcome_lines(notice: Notice) -> list[tuple[str, str]]:
    """How an outage went: its deaths and restarts, and who is back."""
    lines: list[tuple[str, str]] = []
    recovered = notice.verdict is Verdict.RECOVERED
    over = recovered or notice.recovered is not None
    if notice.deaths > 1 or (notice.deaths and over):
        sick = notice.cause is Cause.UNHEALTHY
        died = (
            f"unhealthy {counted(notice.deaths, 'time')}"
            if sick
            else counted(notice.deaths, "death")
        )
        if notice.attempts:
            died += f", {counted(notice.attempts, 'restart')} by Sentinel"
        lines.append(("Incident", died))
    back = [took.chain[0] for took in notice.consequences if took.back]
    if recovered and notice.container:
        lines.append(("Back with it", listed(back)))
    elif recovered and len(notice.consequences) > 1:  # else the title has its name
        lines.append(("Back", listed(back)))
    return lines


@dataclass(frozen=True, slots=True)
class Card:
    """A notice in words: what kind it is (`[DEAD]`), lines of label and text, the consequences as
    chain and text under a word of their own, the command to paste, log lines."""

    kind: str
    title: str
    colour: int
    headline: str
    lines: tuple[tuple[str, str], ...]
    consequences: tuple[tuple[str, str], ...]
    listing: str
    commands: tuple[str, ...]
    logs: tuple[str, ...]
    footer: str
    foreign: bool = False  # in the words of others
    over: str = ""  # how long it lasted, which is read first

    def line(self, label: str) -> str:
        """The text of a line, empty where there is none of that label."""
        return dict(self.lines).get(label, "")


def card_of(notice: Notice, host: str, moment: Moment, late: str = "") -> Card:
    """What a notice says, in the order in which a red one is read. `late`: why it is told long
    after."""
    notice = shown(notice)
    manner = VERDICTS[notice.verdict]
    kind = f"[{notice.verdict}]" if notice.verdict.isupper() else f"{notice.verdict}:"
    title, first = f"{kind} {notice.name}", clip(one_line(headline(notice)), HEADLINE_TEXT)
    if notice.drill:
        title += " (drill)"
    if notice.foreign:
        title, first = notice.name, clean(notice.plan).strip()
    commands: tuple[str, ...] = ()
    if notice.container and (notice.red or notice.cause is Cause.UNSEEN):
        recreate = notice.recreate or notice.verdict is Verdict.ORPHANED
        commands = recovery_commands(notice.container, recreate, notice.scale)
    footer = [host]
    if notice.incident:
        footer.append(f"incident {notice.incident}")
    if notice.drill:
        footer.append("drill")
    return Card(
        kind=kind,
        title=clip(one_line(title), EMBED_TITLE),
        colour=manner.colour,
        headline=first,
        lines=tuple(card_lines(notice, moment, late)),
        consequences=tuple(consequences_of(notice, moment)),
        listing=manner.listing or ("Took with it" if notice.container else "These"),
        commands=tuple(map(one_line, commands)),
        logs=() if notice.verdict is Verdict.RECOVERED else notice.logs,
        footer=one_line(" · ".join(filter(None, footer))),
        foreign=notice.foreign,
        over=over_words(notice),
    )


def over_words(notice: Notice) -> str:
    """How long it lasted, empty where it goes on."""
    if notice.recovered is None:
        return ""
    return f"Recovered after {time_down(notice.recovered)}"


def closed(card: Card, notice: Notice) -> Card:
    """The card of a red that stands there while it is over: nobody is to take it for one of now."""
    if not notice.red or (notice.over_at is None and notice.recovered is None):
        return card
    if notice.recovered is None:
        return replace(card, colour=GREY)
    title = clip(f"✓ {card.title}", EMBED_TITLE)
    return replace(card, title=title, colour=DARK_GREEN)


def card_lines(notice: Notice, moment: Moment, late: str) -> Iterator[tuple[str, str]]:
    """The lines of a card, label and text, as far as there is something to say."""
    flapping = ""
    if notice.flaps and notice.verdict is not Verdict.RECOVERED:
        flapping = f"{notice.flaps} incidents within an hour"
        flapping += "; green comes once it has stayed up for an hour"
    lines = (
        ("", status_words(notice, moment)),
        ("Last heard", moment(notice.at) if notice.verdict is Verdict.DARK else ""),
        ("Late", late),
        ("Cause", cause_words(notice)),
        ("Engine says", clip_front(notice.error.strip(), ERROR_TEXT)),
        ("Was up", span(notice.uptime) if notice.uptime is not None else ""),
        ("Flapping", flapping),
        ("Services", ", ".join(notice.names)),
        *notice.facts,
        ("Sentinel", "" if notice.foreign else notice.plan),
        *outcome_lines(notice),
    )
    for label, text in lines:
        if text:
            yield label, clip(one_line(redact(text)), LINE_TEXT)


def consequences_of(notice: Notice, moment: Moment) -> Iterator[tuple[str, str]]:
    """The consequences of a card: all, or in a green one those that are not back."""
    recovered = notice.verdict is Verdict.RECOVERED
    for consequence in notice.consequences:
        if not (recovered and consequence.back):
            chain, text = consequence_words(consequence, moment)
            yield one_line(chain), one_line(redact(text))


def merged_stops(notices: Iterable[Notice]) -> list[Notice]:
    """Stops of one project told together are one notice."""
    merged: dict[tuple[str, Cause] | int, Notice] = {}
    for index, notice in enumerate(notices):
        key: tuple[str, Cause] | int = index
        if notice.verdict is Verdict.STOPPED and notice.project:
            key = notice.project, notice.cause
        before = merged.get(key)
        if before is None:
            merged[key] = notice
        else:
            names = (*(before.names or (before.name,)), notice.name)
            lives_on = before.lives_on or notice.lives_on
            name = some_of(notice.project, names) if lives_on else notice.project
            merged[key] = replace(before, name=name, exit_code=None, names=names, lives_on=lives_on)
    return list(merged.values())


NAMED = 3  # containers that a title names


def some_of(project: str, names: Sequence[str]) -> str:
    """Some containers of a project that lives on."""
    if len(names) <= NAMED:
        return listed(names)
    return f"{counted(len(names), 'container')} of {project}"


def late_words(notice: Notice, now: float, why: str) -> str:
    """`12m ago; Discord could not be reached`, empty where it is told in time. A green one may have
    waited for others."""
    decided_at = notice.at if notice.decided_at is None else notice.decided_at
    ago = now - decided_at
    return f"{span(ago)} ago; {why or 'Sentinel was away'}" if ago >= LATE else ""


def samples(at: float) -> list[Notice]:
    """A red and a green sample, for `test`."""
    container = Container("0" * 64, "sample", status="exited", exit_code=1)
    red = Notice(
        Verdict.DEAD,
        "sample",
        at,
        container,
        exit_code=1,
        uptime=SAMPLE_UPTIME,
        plan="This is a test; nothing died.",
        logs=("This is where the last log lines stand.",),
    )
    green = Notice(
        Verdict.RECOVERED,
        "sample",
        at,
        container,
        downtime=SAMPLE_DOWNTIME,
        deaths=1,
        attempts=1,
    )
    return [red, green]


SAMPLE_UPTIME, SAMPLE_DOWNTIME = 3600.0, 31.0


# ─── Discord's form ───────────────────────────────────────────────────────────────────────────────

EMBEDS, EMBED_TOTAL, EMBED_TEXT, CONTENT = 10, 6000, 4096, 2000  # Discord's limits, in code points
MENTIONS = 100  # of a kind in one message
CONSEQUENCES = 20  # that are listed by name in a message
CONSEQUENCE_TEXT, CONSEQUENCE_ROOM = 200, 1500  # characters of one, and of all
MORE_ROOM = 60  # characters for how many more there are
LEAST_BLOCK = 20  # characters of log that are worth a block
FOOTER_TEXT, LATE_TEXT = 200, 200
LEAST_DIGEST = 60  # characters of a line of a digest
DIGEST_REST, LATE_ROOM = 50, 220  # characters for how many more there are, and for why it is late
COLOURS = (RED, AMBER, GREEN, DARK_GREEN, GREY, BLUE)  # worst first
FOREIGN = (  # lines whose text others wrote: no markdown in it
    "On it",
    "Asked",
    "Services",
    "Engine says",
    "Stopped",
    "Gone",
    "Back with it",
    "Back",
    "Not back",
    "Already down",
    "Was",
    "Down then",
    "Runs on",
)


def log_block(lines: tuple[str, ...], room: int) -> str:
    """The last lines in a code block that nothing in them can end, cut from the front."""
    begin, end = "```\n", "\n```"
    text = "\n".join(lines).replace("```", "ˋˋˋ").replace("`", "ˋ")
    room -= len(begin) + len(end)
    if not text or room <= LEAST_BLOCK:
        return ""
    return begin + clip_front(text, room) + end


def escaped(text: str) -> str:
    """Sentinel's own words with names in them: underscores and their like are no markdown there."""
    return re.sub(r"([_*~|])", r"\\\1", text)


def consequence_lines(card: Card, room: int) -> list[str]:
    """The consequences as a list, as many as fit; how many more there are is always said."""
    if not card.consequences:
        return []
    lines: list[str] = []
    for chain, text in card.consequences[:CONSEQUENCES]:
        name = as_code(clip(chain, CONSEQUENCE_TEXT))
        line = f"• {name}: {escaped(clip(text, CONSEQUENCE_TEXT))}"
        if sum(map(len, lines)) + len(line) + MORE_ROOM > room:
            break
        lines.append(line)
    rest = len(card.consequences) - len(lines)
    if rest:
        lines.append(f"• … and {rest} more: `sentinel.py history`")
    return [f"**{card.listing}:**", *lines]


def line_text(label: str, text: str) -> str:
    """One line of a card in Discord's markdown."""
    if label in FOREIGN:
        text = as_code(text)
    elif label == "Sentinel":
        text = escaped(text)
    return f"**{label}:** {text}" if label else text


def embed_of(card: Card, at_time: float, most: int, bare: bool = False) -> dict[str, Any]:
    """A Discord embed of at most so many characters in all; `bare` leaves out all that could be
    refused."""
    parts = [card.over] if card.over else []
    parts.append(card.headline if card.foreign else as_code(card.headline))
    parts += [line_text(label, text) for label, text in card.lines]
    parts += consequence_lines(card, min(CONSEQUENCE_ROOM, most // 2))
    if card.commands:
        parts.append(f"**Recover:** {' or '.join(map(as_code, card.commands))}")
    room = min(most, EMBED_TEXT + EMBED_TITLE) - len(card.title) - len(card.footer)
    room = min(room, EMBED_TEXT)
    text = clip("\n".join(parts), room)
    block = "" if bare else log_block(card.logs, room - len(text) - 1)
    if block:
        text += "\n" + block
    embed: dict[str, Any] = {"title": card.title, "description": text, "color": card.colour}
    if not bare:
        embed["timestamp"] = datetime.fromtimestamp(at_time, UTC).isoformat()
        if card.footer:
            embed["footer"] = {"text": clip(card.footer, FOOTER_TEXT)}
    return embed


def digests_of(cards: list[Card], share: int) -> list[dict[str, Any]]:
    """The cards of one colour, in about so many characters, as one embed or as few as hold
    them."""
    parts = max(1, -(-share // EMBED_TEXT))
    size = -(-len(cards) // parts)
    groups = [cards[index : index + size] for index in range(0, len(cards), size)]
    return [digest_of(group, share * len(group) // len(cards)) for group in groups]


def digest_of(cards: list[Card], most: int) -> dict[str, Any]:
    """Many cards of one colour as one embed: a line for each, as many as fit; the count is always
    whole."""
    title = digest_title(cards)
    late = [card.line("Late") for card in cards if card.line("Late")][:1]
    lines = [clip(f"**Late:** {text}", LATE_ROOM) for text in late]
    room = min(most, EMBED_TEXT) - len(title) - DIGEST_REST - sum(map(len, lines))
    each = max(LEAST_DIGEST, room // len(cards) - 1)
    fitting = cards[: max(0, room // (each + 1))]
    lines += [digest_line(card, each) for card in fitting]
    rest = len(cards) - len(fitting)
    if rest:
        lines.append(f"… and {rest} more: `sentinel.py history`")
    return {"title": title, "color": cards[0].colour, "description": "\n".join(lines)}


def digest_title(cards: list[Card]) -> str:
    """What a digest is called: as its card, or by kind and number."""
    kinds = {card.kind for card in cards}
    if len(cards) == 1:
        return cards[0].title
    if len(kinds) == 1:
        return f"{kinds.pop()} {len(cards)} services"
    return f"{len(cards)} alerts"


def digest_line(card: Card, most: int) -> str:
    """One card in at most so many characters: name and end first, then whom it took with it, the
    command, the last log line."""
    took = card.line("Services")
    if card.consequences:
        names = ", ".join(chain.partition(" ")[0] for chain, _ in card.consequences)
        took = f"{card.listing.lower()}: {names}"
    last_log = card.logs[-1] if card.logs else ""
    words = one_line(card.headline)
    command = card.commands[0] if card.commands else ""
    for extra, cut in ((took, clip), (command, clip_front), (last_log, clip_front)):
        if extra and len(words) + min(len(extra), LEAST_EXTRA) + SEPARATOR <= most:
            words += " · " + cut(extra, most - len(words) - SEPARATOR)
    return as_code(clip(words, most - 2))


LEAST_EXTRA, SEPARATOR = 15, 5  # characters of what is worth adding to a digest's line, and between


def message_of(job: Deliver, now: float, calendar_offset: float) -> dict[str, Any]:
    """A Discord message within every limit: an embed a notice, or digests, worst first, where that
    is too many. Only `content` can ping, and only whom `allowed_mentions` names. `calendar_offset`
    turns moments into calendar time."""
    if job.notices[0].body:
        return passed_on(job.notices[0])
    unfolded = [notice for notice in job.notices if notice.verdict is not Verdict.FOLDED]
    notices = merged_stops(unfolded or job.notices)
    told_at = now if job.sent_at is None else job.sent_at  # an edit says how late the message came

    cards = [card_for(notice, job, told_at, calendar_offset) for notice in notices]
    times = [notice.at + calendar_offset for notice in notices]
    pings = "" if job.message else pings_of(job.notices)
    message: dict[str, Any] = {
        "embeds": embeds_of(cards, times, job.plain),
        "allowed_mentions": allowed_mentions(pings),
    }
    if pings:
        message["content"] = clip(pings, CONTENT)
    if job.life:
        message["components"] = button_rows(notices, job.life)
    return message


def card_for(notice: Notice, job: Deliver, told_at: float, calendar_offset: float) -> Card:
    """A notice's card as Discord's readers see it."""

    def moment(at: float) -> str:
        return f"<t:{int(at + calendar_offset)}:R>"

    late = clip(late_words(notice, told_at, job.why_late), LATE_TEXT)
    card = card_of(notice, job.host, moment, late)
    if job.message:
        card = closed(card, notice)
    if job.typed and notice.buttons:
        return replace(card, lines=(*card.lines, ("Or type", typed_words(notice))))
    return card


def embeds_of(cards: list[Card], times: list[float], plain: bool) -> list[JSON]:
    """An embed a card, or digests of a colour each where that is too many."""
    embeds: list[JSON] = []
    if len(cards) <= EMBEDS:
        share = EMBED_TOTAL // len(cards)
        for card, time in zip(cards, times, strict=True):
            embeds.append(embed_of(card, time, share, plain))
        return embeds
    return digests_by_colour(cards)


def digests_by_colour(cards: list[Card]) -> list[JSON]:
    """Digests of a colour each, worst first. Those of few cards need more than their share, so they
    are made first, and what is left is for the others."""
    room = EMBED_TOTAL
    groups = {colour: [card for card in cards if card.colour == colour] for colour in COLOURS}
    digests: dict[int, list[dict[str, Any]]] = {}
    for colour, group in sorted(groups.items(), key=lambda item: len(item[1])):
        share = min(room, EMBED_TOTAL * len(group) // len(cards))
        digests[colour] = digests_of(group, share) if group else []
        room -= sum(len(each["title"]) + len(each["description"]) for each in digests[colour])
    return list(itertools.chain.from_iterable(digests[colour] for colour in COLOURS))


# What a red's buttons are called; what they do is in the middle of their ids.
BUTTONS = {"restart": "Restart now", "logs": "Logs", "mute": "Mute 1 h", "take": "I'm on it"}
BUTTON_STYLES = {"restart": 1, "logs": 2, "mute": 2, "take": 3}  # blue, grey, grey, green
BUTTON_ID = re.compile(r"sentinel:(\w+):(\w+):(\d{1,15})", re.ASCII)
LABEL_TEXT, BUTTON_ROWS = 80, 5


TYPED = {"restart": "/restart {}", "logs": "/logs {}", "mute": "/mute {} 1h"}


def typed_words(notice: Notice) -> str:
    """What to type instead of pressing a button, where there can be none."""
    words = [TYPED[act].format(notice.name) for act in notice.buttons if act in TYPED]
    return " · ".join(map(as_code, words))


def button_rows(notices: Sequence[Notice], life: str) -> list[JSON]:
    """The buttons of a message, a row for each red that has some; with its name where there are
    several. `life`: of the ledger, so that those of another one are known as such."""
    asking = [notice for notice in notices if notice.buttons]
    rows: list[list[JSON]] = []
    if len(asking) <= BUTTON_ROWS:
        for notice in asking:
            whose = f": {one_line(notice.name)}" if len(asking) > 1 else ""
            rows.append([button_of(notice, act, whose, life) for act in notice.buttons])
    else:  # one each
        taking = [notice for notice in asking if "take" in notice.buttons]
        buttons = [button_of(one, "take", f": {one_line(one.name)}", life) for one in taking]
        for start in range(0, BUTTON_ROWS * BUTTON_ROWS, BUTTON_ROWS):
            rows.append(buttons[start : start + BUTTON_ROWS])
    return [{"type": 1, "components": row} for row in rows if row]


def button_of(notice: Notice, act: str, whose: str, life: str) -> JSON:
    """One button of a red."""
    return {
        "type": 2,
        "style": BUTTON_STYLES[act],
        "label": clip(BUTTONS[act] + whose, LABEL_TEXT),
        "custom_id": f"sentinel:{act}:{life}:{notice.incident}",
    }


def passed_on(notice: Notice) -> dict[str, Any]:
    """Somebody else's message; it pings whom it says that it does, and else nobody."""
    document = json_in(notice.body.encode())
    message: dict[str, Any] = {"allowed_mentions": {"parse": []}}
    for part in ("content", "embeds", "allowed_mentions"):
        if at(document, part):
            message[part] = at(document, part)
    return message


def pings_of(notices: Iterable[Notice]) -> str:
    """Who is pinged by these notices: by reds only, each once."""
    mentions = [notice.mention for notice in notices if notice.red and notice.mention]
    return " ".join(dict.fromkeys(mentions))


def allowed_mentions(pings: str) -> dict[str, Any]:
    """Exactly those who are to be pinged."""
    return {
        "parse": ["everyone"] if re.search(r"@(?:here|everyone)", pings) else [],
        "roles": sorted(set(re.findall(r"<@&(\d+)>", pings)))[:MENTIONS],
        "users": sorted(set(re.findall(r"<@!?(\d+)>", pings)))[:MENTIONS],
    }


# ─── Terminal's form ──────────────────────────────────────────────────────────────────────────────

ANSI = {RED: 31, GREEN: 32, DARK_GREEN: 32, GREY: 90, AMBER: 33, BLUE: 34}
SEVERITY_ANSI = (32, 33, 31)
LEAST_WIDTH = 20
LOG_TEXT = 8000  # characters of one line of Sentinel's own record
PRIORITIES = {"error": "<3>", "warning": "<4>", "info": "<6>"}  # as sd-daemon(3) writes them


def painted(text: str, colour: int) -> str:
    """Text in one of a terminal's colours."""
    return f"\x1b[{colour}m{text}\x1b[0m"


def terminal_card(card: Card, width: int, coloured: bool) -> str:
    """A card drawn as a box in a terminal, its left edge in the card's colour."""
    body = [*filter(None, [card.over]), *card.headline.splitlines()]
    body += [f"{label}: {text}" if label else text for label, text in card.lines]
    if card.consequences:
        body.append(f"{card.listing}:")
        body += [f"  {chain}: {text}" for chain, text in card.consequences]
    if card.commands:
        body.append(f"Recover: {' or '.join(card.commands)}")
    if card.logs:
        body.append("Last log lines:")
        body += [f"  {line}" for line in card.logs]
    edge, title = "|", card.title
    if coloured:
        edge, title = painted("▌", ANSI[card.colour]), painted(card.title, 1)
    lines = [title]
    for line in [*body, card.footer]:
        whole = line.startswith("Recover: ")  # it is there to be copied
        lines += [line] if whole else wrapped(line, max(LEAST_WIDTH, width - 3))
    return "\n".join(f"{edge} {line}" for line in lines)


def wrapped(line: str, width: int) -> list[str]:
    """A line as those that fit, the further ones indented."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    lines = textwrap.wrap(
        line, width, subsequent_indent=indent, break_on_hyphens=False, replace_whitespace=False
    )
    return lines or [""]


def log_line(level: str, text: str, now_time: float, form: str) -> str:
    """One line of Sentinel's own record: text or JSON with a time in UTC, for a terminal with local
    time, or for the journal, which has its own."""
    text = clean(redact(clip(text, LOG_TEXT))).replace("\n", " ")
    if form == "journal":
        return PRIORITIES.get(level, "<6>") + text
    if form == "terminal":  # beside cards, whose time is local
        stamp = datetime.fromtimestamp(now_time).astimezone().strftime("%H:%M:%S")
        return f"{stamp} {level.upper():7} {text}"
    stamp = datetime.fromtimestamp(now_time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if form == "json":
        return json.dumps({"time": stamp, "level": level, "message": text}, ensure_ascii=False)
    return f"{stamp} {level.upper():7} {text}"


def aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Rows of a table as lines."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


# ─── States ───────────────────────────────────────────────────────────────────────────────────────
# How services stand at one look: the rows of `check`, and what a greeting names as down.

OK, WARNING, CRITICAL, UNKNOWN = range(4)  # Nagios's scale
NAGIOS_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
NAGIOS_TEXT = 1000
CANT_START_TEXT = 120


@dataclass(frozen=True, slots=True)
class State:
    """A row of `check`: how a service stands, and how bad that is by Nagios's scale."""

    name: str
    word: str
    since_time: float
    why: str
    severity: int


def state_of(service: Watched, watchdog: Watchdog) -> State:
    """How a service stands at one look, and what the engine's recent events tell of its end."""
    container = service.container
    word, severity, why = running_words(container) or ended_words(service, watchdog)
    return State(container.title, word, state_since(container), one_line(why), severity)


def state_since(container: Container) -> float:
    """Since when it has stood so, 0 where nobody says."""
    if container.sick:
        return container.sick_time
    if container.running:
        return container.started_time
    if container.status == "paused":
        return 0.0
    return container.finished_time or container.created_time


def with_mute(state: State, left: float) -> State:
    """A row with the word that it is muted, for so many seconds more."""
    if left <= 0:
        return state
    why = "; ".join(filter(None, (state.why, f"muted for another {span(left)}")))
    return replace(state, why=why)


def running_words(container: Container) -> tuple[str, int, str] | None:
    """State, severity and reason of a container that runs, or is about to; None of one that does
    not."""
    if container.status == "running" and container.sick:
        probe = shown_lines(container.probe_output.splitlines())
        return "UNHEALTHY", CRITICAL, probe[-1] if probe else ""
    elif container.status == "running":
        word = "STARTING" if container.health is Health.STARTING else "UP"
        return word, OK, str(container.health)
    elif container.status == "paused":
        return "PAUSED", WARNING, ""
    elif container.status == "restarting":
        word = "CRASH LOOP" if container.restart_count > 1 else "RESTARTING"
        return word, CRITICAL, exit_words(container.exit_code)
    return None


def ended_words(service: Watched, watchdog: Watchdog) -> tuple[str, int, str]:
    """State, severity and reason of a container that does not run."""
    container, run = service.container, service.run
    how = exit_words(container.exit_code)
    if container.error:
        return "DEAD", CRITICAL, "can't start: " + clip_front(container.error, CANT_START_TEXT)
    if container.status == "created":
        return "STOPPED", WARNING, "never started"
    death = run.end or Death(container.finished_time, 0.0, container.exit_code, heard=False)
    job = watchdog.services.is_job(service)
    judgement = judgement_of(run, death, Container(container.id), container, job)
    if judgement.ending is Ending.FINISHED:
        return "FINISHED", OK, how
    if judgement.ending is Ending.FAILED:
        return "FAILED", CRITICAL, how
    if judgement.cause is Cause.OOM:
        return "DEAD", CRITICAL, f"{how}, {Cause.OOM}"
    if run.end:
        asked = intent_of(run, death, container, final=True) is Intent.OPERATOR
        return ("STOPPED", WARNING, how) if asked else ("DEAD", CRITICAL, how)
    if container.kept_up or container.exit_code in WORTHLESS_CODES:  # no event says which
        return "STOPPED", WARNING, f"{how}, stopped or killed"
    return "DEAD", CRITICAL, how


def state_table(states: list[State], now_time: float, coloured: bool) -> str:
    """The table of `check`."""
    rows = [("SERVICE", "STATE", "FOR", "WHY")]
    for state in states:
        lasted = span(now_time - state.since_time) if state.since_time else ""
        rows.append((state.name, state.word, lasted, state.why))
    first, *lines = aligned(rows)
    if coloured:
        for index, state in enumerate(states):
            word = painted(state.word, SEVERITY_ANSI[state.severity])
            lines[index] = lines[index].replace(f" {state.word}", f" {word}", 1)
    return "\n".join([first, *lines, state_sum(states)])


def state_sum(states: list[State]) -> str:
    """`8 services: 6 ok, 1 warning, 1 critical`."""
    parts: list[str] = []
    for severity, word in enumerate(NAGIOS_WORDS):
        number = sum(state.severity == severity for state in states)
        if number:
            parts.append(f"{number} {word.lower()}")
    return f"{counted(len(states), 'service')}: {', '.join(parts)}"


def nagios_text(states: list[State], worst: int, trouble: list[str]) -> str:
    """What a Nagios plugin prints: one line with the bad ones and figures, then one for each
    service."""
    bad = list(trouble)
    for state in states:
        if state.severity:
            why = f" ({state.why})" if state.why else ""
            bad.append(f"{state.name} {state.word}{why}")
    fine = f"{counted(len(states), 'service')} up" if states else ""
    figures = {"services": len(states)}
    for number, name in enumerate(("up", "warning", "critical")):
        figures[name] = sum(state.severity == number for state in states)
    perfdata = " ".join(f"{name}={value};;;0" for name, value in figures.items())
    first = f"SENTINEL {NAGIOS_WORDS[worst]}: {', '.join(bad) or fine}".replace("|", "/")
    lines = [f"{clip(one_line(first), NAGIOS_TEXT)} | {perfdata}"]
    for state in states:
        lines.append(one_line(f"{state.name}: {state.word} {state.why}").replace("|", "/"))
    return "\n".join(lines)


def seats_in(seen: RollRead) -> list[Seat]:
    """The hosts as one look at their roll calls shows them, by the medium's clock."""
    seats: list[Seat] = []
    for posted in seen.posted:
        call = roll_call_in(posted.text)
        heard = seen.time - posted.edited_time < DARK_AFTER
        if call is None and not heard:
            continue  # nobody can say whether it is one
        state = HostState.HERE if heard else HostState.DARK
        if posted.resting:
            state = HostState.RESTING
        name = call.host if call else posted.author_name
        seats.append(Seat(name, state, posted.edited_time, call))
    return seats


FLEET_DOWN = 60  # characters of what is down on a host


def fleet_table(seats: Iterable[Seat], now_time: float) -> str:
    """The table of `fleet`."""
    rows = [("HOST", "STATE", "HEARD", "SERVICES", "DOWN", "ENGINE")]
    for seat in seats:
        call = seat.call or RollCall(seat.host, "")
        heard = f"{span(now_time - seat.heard_time)} ago"
        services = str(call.services) if seat.call and not call.resting else "–"
        down = clip(fallen_words(call), FLEET_DOWN) or "–"
        engine = f"{call.engine} (does not answer)" if call.away else call.engine or "–"
        rows.append((seat.host, str(seat.state), heard, services, down, engine))
    return "\n".join(aligned(rows))


def seat_document(seat: Seat) -> JSON:
    """A host, for programs; times are Unix seconds, None where its words can't be read."""
    call = seat.call
    return {
        "host": seat.host,
        "state": seat.state,
        "heard": round(seat.heard_time, 3),
        "engine": call.engine if call else None,
        "engine_up": not call.away if call else None,
        "services": call.services if call else None,
        "fallen": call.fallen if call else None,
        "down": list(call.down) if call else None,
        "since": call.since_time if call else None,
    }


# ─── Explaining ───────────────────────────────────────────────────────────────────────────────────

ALREADY_DOWN_TEXT = 1500
LABEL_WIDTH = 15


def greeting(
    watchdog: Watchdog, channels: list[str], degraded: str, now: float, now_time: float
) -> Notice:
    """What is said at the start: what is watched, what is already down, where alerts go, what does
    not work."""
    services = list(watchdog.services.values())
    projects = {service.container.project for service in services} - {""}
    states = [state_of(service, watchdog) for service in services]
    down = [down_words(state, now_time) for state in states if state.severity]
    watched = f"{counted(len(services), 'service')} in {counted(len(projects), 'project')}"
    facts = (
        ("Watched", watched),
        ("Already down", clip(", ".join(down), ALREADY_DOWN_TEXT)),
        ("Alerts go to", listed(channels)),
        ("Degraded", degraded),
    )
    return Notice(Verdict.WATCHING, watchdog.link.facts.host, now, facts=facts)


def down_words(state: State, now_time: float) -> str:
    """`db (DEAD, exit 1, 3m)`."""
    lasted = span(now_time - state.since_time) if state.since_time else ""
    words = filter(None, (state.word, state.why, lasted))
    return f"{state.name} ({', '.join(words)})"


def job_words(service: Watched, watchdog: Watchdog) -> str:
    """Whether it is a job, and what says so."""
    container = service.container
    if "sentinel.job" in container.labels and service.policy.job is not None:
        kind = "job" if service.policy.job else "service"
        return f"{kind}: its label sentinel.job says so"
    if container.oneoff:
        return "job: it was made by `compose run`, whose containers are there to end"
    if watchdog.services.is_job(service):
        return "job: something waits for its successful end (service_completed_successfully)"
    return "service: nothing says that it is a job"


def if_it_died(service: Watched, watchdog: Watchdog, now: float) -> str:
    """What would be done at its death with an error, in words."""
    if watchdog.services.is_job(service) and not service.policy.insist:
        return "Not restarted: it is a job."
    keeps_silent = watchdog.link.facts.keeps_silent and not service.policy.insist
    if keeps_silent and service.container.restart_policy == "no":
        return f"Not restarted: {UNCLEAR}."
    dead = replace(
        service.container,
        status="exited",
        exit_code=1,
        health=Health.NONE,
        error="",
        finished_time=watchdog.calendar.engine_time(now),
    )
    plan = watchdog.lives.healing.plan(replace(service, container=dead, incident=None), now)
    if dead.restart_policy == "no" or plan.phase is Phase.DOCKER:
        return plan.words
    own = policy_words(dead).rstrip(".")
    return f"{own}; where that gives up: {plan.words}"


def needs_words(service: Watched, watchdog: Watchdog) -> str:
    """What a service depends on."""
    words: list[str] = []
    for parent, dependency in watchdog.services.parents(service):
        how = "its network" if dependency.network else dependency.condition
        words.append(f"{parent.container.name} ({how})")
    words += [f"{name} (its successful end)" for name in waits_for_end(service.container)]
    return listed(words) or "nothing that is watched"


def muted_words(service: Watched, left: float, now_time: float) -> str:
    """Whether a service is muted, for how many seconds, and when it will be by local time."""
    if left > 0:
        return f"for another {span(left)}"
    windows: list[str] = []
    for first, last in service.policy.quiet:
        windows.append(f"{clock_words(first)}-{clock_words(last)}")
    zone = datetime.fromtimestamp(now_time).astimezone().tzname()
    return f"daily at {', '.join(windows)} ({zone})" if windows else "no"


def clock_words(minute: int) -> str:
    """A minute of the day as clocks show it."""
    return f"{minute // 60:02}:{minute % 60:02}"


def explanation(service: Watched, why: str, watchdog: Watchdog, now: float) -> list[str]:
    """Everything that decides what is done about a service, as lines."""
    lines = [("watched", f"yes: {why}"), *explained_lines(service, watchdog, now)]
    rows = [f"  {label + ':':{LABEL_WIDTH}}{text}" for label, text in lines]
    return [service.container.name, *rows]


def now_words(service: Watched, watchdog: Watchdog) -> str:
    """How it stands, and what Sentinel is at where that is not the same."""
    state = state_of(service, watchdog)
    words = [", ".join(filter(None, (state.word.lower(), state.why)))]
    if service.phase is Phase.GAVE_UP and not service.budget.attempts:
        words.append("left alone")
    elif service.phase not in (Phase.UP, Phase.STOPPED):
        words.append(str(service.phase))
    return "; ".join(words)


def explained_lines(service: Watched, watchdog: Watchdog, now: float) -> list[tuple[str, str]]:
    """Everything that decides what is done about a service: label and text."""
    policy, until = service.policy, watchdog.mutes.until(service, now)
    left = max(0, policy.max_restarts - service.budget.attempts)
    at_its_death = "Nothing, until the mute is over."
    if not until:
        at_its_death = if_it_died(service, watchdog, now)
    return [
        ("kind", job_words(service, watchdog)),
        ("depends on", needs_words(service, watchdog)),
        ("now", now_words(service, watchdog)),
        ("at its death", at_its_death),
        (
            "restarts left",
            f"{left} of {policy.max_restarts}" if policy.heal else f"none: {policy.why_not}",
        ),
        ("muted", muted_words(service, until - now, watchdog.calendar.time_of(now))),
    ]


def setting_words(value: Any, meta: Mapping[str, Any]) -> str:
    """A setting as people write it, a secret masked."""
    if value == meta["parse"](meta["default"]):
        return meta["shown"].replace("`", "") or "–"
    if meta["secret"]:
        return "***"
    if isinstance(value, bool):
        return str(value).lower()
    elif isinstance(value, float):
        return span(value)
    elif isinstance(value, tuple):
        return ", ".join(value)
    return str(value)


def settings_lines(settings: Settings) -> list[str]:
    """The settings that count, secrets masked."""
    lines: list[str] = []
    for name, meta in options():
        words = setting_words(getattr(settings, name), meta)
        lines.append(redact(f"{meta['variable']}={words}"))
    return lines


# ─── Figures ──────────────────────────────────────────────────────────────────────────────────────

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds

METRICS = {
    "sentinel_build_info": ("gauge", "Sentinel's version."),
    "sentinel_engine_up": ("gauge", "Whether the engine answers."),
    "sentinel_event_stream_reconnects_total": (
        "counter",
        "How often the event stream was opened anew.",
    ),
    "sentinel_service_up": (
        "gauge",
        "Whether a watched service runs and nothing speaks against it.",
    ),
    "sentinel_fleet_host_up": (
        "gauge",
        "Whether a host's Sentinel is heard; none for one at rest.",
    ),
    "sentinel_deaths_total": ("counter", "Ends of a service that nobody asked for."),
    "sentinel_restarts_total": ("counter", "Restarts by Sentinel."),
    "sentinel_asked_total": ("counter", "Restarts that people asked for in Discord."),
    "sentinel_outbox_notices": ("gauge", "Alerts that wait for a channel."),
    "sentinel_outbox_oldest_age_seconds": ("gauge", "How long the oldest of them has waited."),
    "sentinel_detection_seconds": (
        "histogram",
        "From a container's end, by the engine's clock, to the decision.",
    ),
    "sentinel_delivery_seconds": ("histogram", "From what happened to a channel's receipt."),
}


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
        rows: list[str] = []
        for edge, number in zip((*BUCKETS, "+Inf"), sums, strict=True):
            rows.append(f'{name}_bucket{{le="{edge}"}} {number}')
        return [*rows, f"{name}_sum {self.total:.6f}", f"{name}_count {sums[-1]}"]


class Figures:
    """What is counted for Prometheus."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[tuple[str, str], int]] = {
            "deaths": {},
            "restarts": {},
            "asked": {},
        }
        self.detection, self.delivery = Histogram(), Histogram()
        self.streams = 0

    def count_stream(self) -> None:
        """The event stream was opened once more."""
        self.streams += 1

    def keep(self, services: Iterable[Watched]) -> None:
        """Forget what was counted of services that are no more."""
        names = {figure_name(service) for service in services}
        for what, counts in self.counts.items():
            kept = {name: number for name, number in counts.items() if name in names}
            self.counts[what] = kept

    def count(self, what: str, service: Watched | None, times: int = 1) -> None:
        """So many more of a service's `deaths` or `restarts`, or of what people have `asked`."""
        if service:
            counts, name = self.counts[what], figure_name(service)
            counts[name] = counts.get(name, 0) + times


def figure_name(service: Watched) -> tuple[str, str]:
    """What a service is called in Prometheus: project, and service in that."""
    return service.container.project, service.container.short


def label_text(text: str) -> str:
    """A label's value in Prometheus' text form."""
    return clean(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def series(name: str, names: tuple[str, str], value: int) -> str:
    """One line about one service."""
    project, service = map(label_text, names)
    return f'{name}{{project="{project}",service="{service}"}} {value}'


def family_of(line: str) -> str:
    """The metric that a line belongs to."""
    name = re.split(r"[{ ]", line, maxsplit=1)[0]
    return name if name in METRICS else re.sub(r"_(bucket|sum|count)$", "", name)


def service_lines(watchdog: Watchdog, figures: Figures) -> list[str]:
    """What Prometheus reads of services; replicas by one name count as one."""
    alive: dict[tuple[str, str], int] = {}
    for service in watchdog.services.values():
        name = figure_name(service)
        alive[name] = alive.get(name, 0) or int(service.alive)
    lines = [series("sentinel_service_up", name, value) for name, value in alive.items()]
    for what, counts in figures.counts.items():
        # each from 0 on: of a series that begins with 1, `increase()` does not see that one
        for name, number in (dict.fromkeys(alive, 0) | counts).items():
            lines.append(series(f"sentinel_{what}_total", name, number))
    return lines


def fleet_lines(watchdog: Watchdog, now: float) -> list[str]:
    """What Prometheus reads of hosts that watch each other: of others only while they can be
    heard."""
    lines: list[str] = []
    seats = watchdog.fleet.seats(now)
    for seat in seats if watchdog.fleet.hears(now) else seats[:1]:
        if seat.state is not HostState.RESTING:
            host, heard = label_text(seat.host), int(seat.state is HostState.HERE)
            lines.append(f'sentinel_fleet_host_up{{host="{host}"}} {heard}')
    return lines


def outbox_lines(outboxes: Mapping[str, Outbox], now: float) -> list[str]:
    """What Prometheus reads of alerts that wait."""
    lines: list[str] = []
    for name, outbox in outboxes.items():
        ages = [now - notice.at for notice in outbox.waiting]
        oldest = max([0.0, *ages])
        label = f'{{channel="{name}"}}'
        lines.append(f"sentinel_outbox_notices{label} {len(ages)}")
        lines.append(f"sentinel_outbox_oldest_age_seconds{label} {oldest:.3f}")
    return lines


def metrics(
    watchdog: Watchdog, outboxes: Mapping[str, Outbox], figures: Figures, now: float
) -> str:
    """What Prometheus reads."""
    reconnects = max(0, figures.streams - 1)
    lines = [
        f'sentinel_build_info{{version="{__version__}"}} 1',
        f"sentinel_engine_up {int(not watchdog.link.is_away)}",
        f"sentinel_event_stream_reconnects_total {reconnects}",
        *service_lines(watchdog, figures),
        *fleet_lines(watchdog, now),
        *outbox_lines(outboxes, now),
        *figures.detection.lines("sentinel_detection_seconds"),
        *figures.delivery.lines("sentinel_delivery_seconds"),
    ]
    text: list[str] = []
    for family, rows in itertools.groupby(sorted(lines, key=family_of), family_of):
        kind, meaning = METRICS[family]
        text += [f"# HELP {family} {meaning}", f"# TYPE {family} {kind}", *rows]
    return "\n".join(text) + "\n"


def status_document(
    watchdog: Watchdog, outboxes: Mapping[str, Outbox], offset: float, now: float
) -> JSON:
    """How things stand, for programs; times are Unix seconds."""
    services: list[JSON] = []
    for service in watchdog.services.values():
        container = service.container
        services.append(
            {
                "name": container.title,
                "project": container.project,
                "service": container.service,
                "phase": service.phase,
                "status": container.status,
                "since": container.started_time,
                "attempts": service.budget.attempts,
                "incident": number_of(service) or None,
                "muted": service.muted,
            }
        )
    outages: list[JSON] = []
    for outage in watchdog.outages.values():
        began = round(outage.began_at + offset, 3)
        document = {"incident": outage.number, "root": outage.root, "began": began}
        outages.append(document | {"members": outage.members})
    waiting: JSON = {}
    for name, outbox in outboxes.items():
        waiting[name] = {"waiting": len(outbox.waiting), "retired": outbox.retired}
    return {
        "version": __version__,
        "host": watchdog.link.facts.host,
        "engine": "down" if watchdog.link.is_away else "up",
        "services": services,
        "outages": outages,
        "fleet": [seat_document(seat) for seat in watchdog.fleet.seats(now)],
        "outbox": waiting,
    }


# ─── History ──────────────────────────────────────────────────────────────────────────────────────

UNTIL_TIME = 1e11  # no moment of ours is later


def deliveries_of(
    deliveries: Mapping[str, JSON], outboxes: Mapping[str, JSON]
) -> dict[str, dict[str, str]]:
    """What became of each notice, by its number, through every channel."""
    fates: dict[str, dict[str, str]] = {}
    for key, state in deliveries.items():
        number, _, channel = key.partition("/")
        why = text_at(state, "why")
        fates.setdefault(number, {})[channel] = f"refused: {why}" if why else "sent"
    for channel, state in outboxes.items():
        for number in items_at(state, "waiting"):
            fates.setdefault(str(number), {})[channel] = "waiting"
    return fates


def incidents_of(
    notices: Mapping[int, Notice], deliveries: Mapping[str, JSON], outboxes: Mapping[str, JSON]
) -> list[JSON]:
    """The ledger's notices as incidents, oldest first, with what became of each through every
    channel. Their moments are Unix seconds."""
    fates = deliveries_of(deliveries, outboxes)
    found: dict[str, dict[str, JSON]] = {}
    for number, notice in sorted(notices.items()):
        if not 0 <= notice.at < UNTIL_TIME:
            continue
        key = str(notice.incident or f"notice {number}")
        incident = found.setdefault(key, first_words_of(notice))
        add_notice(incident, notice, fates.get(str(number), {}))
    for incident in found.values():
        if incident.pop("open"):
            incident |= {"end": None, "downtime": None}
    return list(found.values())


def add_notice(incident: dict[str, JSON], notice: Notice, fate: dict[str, str]) -> None:
    """What one more notice tells of an incident."""
    if notice.began_at is not None:
        incident["start"] = min(incident["start"], notice.began_at)
    for took in notice.consequences:
        chain = " ← ".join(took.chain)
        if chain not in incident["consequences"]:
            incident["consequences"].append(chain)
    end = end_of(notice)
    if end is None:
        incident["open"] = True
    elif VERDICTS[notice.verdict].part is Part.ENDS or incident["end"] is None:
        incident |= {"end": end, "downtime": notice.downtime}
    incident["deaths"] = max(incident["deaths"], notice.deaths)
    incident["restarts"] = max(incident["restarts"], notice.attempts)
    asked = dict(notice.facts).get("Asked", "")
    for words in filter(None, asked.split("; ")):
        if words not in incident["asked"]:
            incident["asked"].append(words)
    told = {"verdict": notice.verdict, "at": notice.at, "delivery": fate}
    incident["notices"].append(told)


def end_of(notice: Notice) -> float | None:
    """When an incident ended, as far as this notice of it tells; None if it goes on."""
    if VERDICTS[notice.verdict].part is not Part.GOES_ON:
        return notice.at
    if notice.open:
        return None
    return notice.at if notice.over_at is None else notice.over_at


def first_words_of(notice: Notice) -> dict[str, JSON]:
    """An incident as its first notice tells it."""
    return {
        "incident": notice.incident,
        "name": notice.name,
        "project": notice.project,
        "start": notice.at,
        "end": None,
        "downtime": None,
        "verdict": notice.verdict,
        "cause": cause_text(notice) or ENDLESS_CAUSES.get(notice.verdict, ""),
        "exit_code": notice.exit_code,
        "deaths": 0,
        "restarts": 0,
        "consequences": [],
        "drill": notice.drill,
        "asked": [notice.plan] if notice.verdict is Verdict.ASKED else [],
        "open": False,
        "notices": [],
    }


# of what is no end of a process
ENDLESS_CAUSES = {
    Verdict.ENGINE_DOWN: "the engine did not answer",
    Verdict.DARK: "its Sentinel was not heard",
    Verdict.CHANNEL_LOST: "Discord refused it",
}
HISTORY_NAME = 22  # columns of a name
HISTORY_MARGIN = 16  # columns that its last one has at least


def history_table(incidents: list[JSON], width: int, now_time: float) -> str:
    """The table of `history`, in local time."""
    rows = [("#", "START", "END", "DOWN", "SERVICE")]
    stories = ["WHAT"]
    for incident in incidents:
        downtime = incident["downtime"]
        rows.append(
            (
                str(incident["incident"] or "–"),
                history_time(incident["start"], now_time),
                history_end(incident, now_time),
                time_down(downtime) if downtime is not None else "–",
                clip(incident["name"], HISTORY_NAME),
            )
        )
        stories.append(history_story(incident))
    lines: list[str] = []
    columns = aligned(rows)
    indent = max(map(len, columns)) + 2
    room = width - indent
    for row, story in zip(columns, stories, strict=True):
        if room >= HISTORY_MARGIN:
            first, *rest = textwrap.wrap(story, room)
            lines.append(f"{row:{indent}}{first}".rstrip())
            lines += [" " * indent + line for line in rest]
        else:
            lines.append(row)
            lines += textwrap.wrap(story, width, initial_indent="  ", subsequent_indent="  ")
    zone = datetime.fromtimestamp(now_time).astimezone().strftime("%Z, UTC%z")
    return "\n".join([*lines, f"Local time ({zone})."])


def history_story(incident: JSON) -> str:
    """What it was, why, how often, and who was told."""
    last = incident["notices"][-1]["delivery"]
    untold = [f"{channel}: {state}" for channel, state in last.items() if state != "sent"]
    parts = [f"{told_as(incident)}: {history_cause(incident)}".removesuffix(": ")]
    if incident["deaths"] > 1:
        parts.append(counted(incident["deaths"], "death"))
    if incident["restarts"]:
        parts.append(counted(incident["restarts"], "restart"))
    return "; ".join([*parts, *untold])


def told_as(incident: JSON) -> str:
    """An incident's verdict, and whether it was a drill."""
    return f"{incident['verdict']}, drill" if incident["drill"] else str(incident["verdict"])


def history_end(incident: JSON, now_time: float) -> str:
    """When an incident ended, with the day where that is another one."""
    if incident["end"] is None:
        return "open"
    end = history_time(incident["end"], now_time)
    same_day = end[:-5] == history_time(incident["start"], now_time)[:-5]
    return end[-5:] if same_day else end


def history_time(time: float, now_time: float) -> str:
    """A moment in the table of `history`, with the year where that is another one."""
    moment, now = (datetime.fromtimestamp(each).astimezone() for each in (time, now_time))
    return moment.strftime("%m-%d %H:%M" if moment.year == now.year else "%Y-%m-%d %H:%M")


def history_cause(incident: JSON) -> str:
    """Why something fell, and whom it took with it."""
    cause = incident["cause"].partition(":")[0]
    if not cause and incident["exit_code"] is not None:
        cause = exit_words(incident["exit_code"])
    took = ", ".join(chain.partition(" ")[0] for chain in incident["consequences"])
    words = "; took ".join(filter(None, (cause, took)))
    return "; ".join(filter(None, (words, *incident["asked"])))


# ─── Drill ────────────────────────────────────────────────────────────────────────────────────────
# A death on purpose, to see that it is told and healed: whom it may hit, and what it has shown.

DRILL_LIMIT = 420.0  # seconds that all of it may take


def drill_refusal(service: Watched, watchdog: Watchdog, sure: bool, now: float) -> str:
    """Why a service is not killed for a drill, empty where it may be. `sure`: somebody has named
    it, and said yes."""
    container, policy = service.container, service.policy
    reasons = {
        f"it is {container.status}, and no drill brings it down": not container.running,
        "its health check fails": container.sick,
        f"it is not up: {service.phase}": service.phase is not Phase.UP,
        "it is muted, so nothing would be told": watchdog.mutes.until(service, now) > 0,
        "it is a job": watchdog.services.is_job(service),
        policy.why_not: not policy.heal,
        REMOVES_ITSELF: container.auto_remove,
        "it is to be restarted 0 times (max-restarts)": not policy.max_restarts,
    }
    for why, holds in reasons.items():
        if holds:
            return why
    return "" if sure else doubt_about(service, watchdog)


def doubt_about(service: Watched, watchdog: Watchdog) -> str:
    """Why somebody has to say that they are sure, empty where a label says so, and nobody else is
    hurt."""
    children = [child.container.short for child, _ in watchdog.services.below(service)]
    if children:
        return f"{listed(children)} would go down with it; named, and with --yes, it is killed"
    if service.policy.drill:
        return ""
    return "it has no label sentinel.drill=true; named, and with --yes, it is killed"


@dataclass(slots=True)
class Milestone:
    """One thing that a drill waits for: within how many seconds README promises it, when it came,
    None if it has not, and what there is to say of it."""

    what: str
    promised: float = 0.0
    after: float | None = None
    note: str = ""

    def come(self, after: float, note: str = "") -> None:
        """It has come, so many seconds after the kill."""
        if self.after is None:
            self.after, self.note = after, note


def drill_table(name: str, milestones: Iterable[Milestone]) -> str:
    """What a drill has shown."""
    rows = [("STEP", "AFTER", "PROMISED", "")]
    for milestone in milestones:
        after = milestone.after
        came = f"{after:.1f} s" if after is not None else "never"
        promised = f"{milestone.promised:.0f} s" if milestone.promised else ""
        rows.append((milestone.what, came, promised, milestone.note))
    return "\n".join([f"drill of {name}", *aligned(rows)])


# ─── Gateway session ──────────────────────────────────────────────────────────────────────────────
# A session with Discord's gateway (https://discord.com/developers/docs/events/gateway), without
# its connection: payloads and times in, payloads and closes out.

BEAT, IDENTIFY, PRESENCE, RESUME = 1, 2, 3, 6  # opcodes that are sent
MILLI = 1000  # in a second
NORMAL, RESUMABLE = (
    1000,
    4000,
)  # codes with which Sentinel closes; after the first no session is left
# Codes after which Discord lets nobody come back as they are.
REFUSALS: Mapping[int, str] = {
    4004: "the token is wrong",
    4010: "it wants no such shard",
    4011: "the bot is in too many servers for one connection",
    4012: "it no longer speaks version 10",
    4013: "it knows no such intents",
    4014: "it allows no such intents",
}
FORGETTING = (4003, 4005, 4007, 4009)  # codes after which a session can't be resumed
HELLO_PATIENCE, READY_PATIENCE = 20.0, 60.0  # seconds
HELD = 30.0  # a session that has lasted so long counts as a success
LONGEST_REDIAL = 50.0
LEAST_REST, MOST_REST = 1.0, 5.0  # before IDENTIFY, after a session that is not known any more
MINUTE = 60.0
IDENTIFY_EVERY, IDENTIFIES_A_DAY = 7.0, 800  # Discord allows one in 5 s, and 1,000 a day
PRESENCE_EVERY = 4.0  # Discord allows 5 in 20 s
BEATS_A_MINUTE = 60  # Discord allows 120 payloads a minute
LEAST_INTERVAL, MOST_INTERVAL = 1.0, 600.0  # seconds between beats that make sense
SAID_AFTER = 3  # connections that failed, one after the other


class Stage(Enum):
    """How far a session is."""

    APART = auto()  # no connection; one is opened when it is due
    OPENING = auto()  # HELLO is awaited
    JOINING = auto()  # IDENTIFY or RESUME is sent, or waits for its moment
    HERE = auto()
    REFUSED = auto()  # there is no use in trying again


@dataclass(frozen=True, slots=True)
class Payload:
    """Send this."""

    document: JSON


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection with this code."""

    code: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """An interaction has arrived, as Discord words it."""

    document: JSON


Effect = Payload | HangUp | Arrived


class Heart:
    """The heartbeats of a connection: when one is due, and whether the last one was answered."""

    def __init__(self) -> None:
        self.due_at = math.inf
        self.unanswered = False
        self._interval = MOST_INTERVAL
        self._beats_at: deque[float] = deque(maxlen=BEATS_A_MINUTE)

    def begin(self, interval: float, now: float, chance: float) -> None:
        """On a new connection: the first one comes at a random moment."""
        self._interval = min(max(interval, LEAST_INTERVAL), MOST_INTERVAL)
        self.due_at = now + self._interval * chance
        self.unanswered = False

    def stop(self) -> None:
        """There is no connection."""
        self.due_at = math.inf

    def beat(self, now: float) -> bool:
        """One more, unless somebody wants more of them than are allowed."""
        if len(self._beats_at) == BEATS_A_MINUTE and now - self._beats_at[0] < MINUTE:
            self.due_at = max(self.due_at, now + 1.0)
            return False
        self._beats_at.append(now)
        self.due_at = now + self._interval
        self.unanswered = True
        return True

    def answered(self) -> None:
        """An acknowledgement has come."""
        self.unanswered = False


class Showing:
    """What the bot is to be seen doing, and what it is seen doing."""

    def __init__(self) -> None:
        self.wanted: JSON = None
        self._shown: JSON = None
        self._shown_at = -math.inf

    @property
    def due_at(self) -> float:
        """When it may be shown."""
        return math.inf if self.wanted == self._shown else self._shown_at + PRESENCE_EVERY

    def want(self, presence: JSON) -> None:
        """Have it seen doing this."""
        self.wanted = presence

    def take(self, now: float) -> JSON:
        """What is wanted, which is shown now."""
        self._shown, self._shown_at = self.wanted, now
        return self.wanted


class Identifies:
    """How often a session was begun: Discord counts that, and takes the token away after too
    many."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=IDENTIFIES_A_DAY)

    def next_at(self, now: float) -> float:
        """When another may be begun."""
        moment = now
        if self._times:
            moment = max(now, self._times[-1] + IDENTIFY_EVERY)
        if len(self._times) == IDENTIFIES_A_DAY:
            moment = max(moment, self._times[0] + DAY_SECONDS)
        return moment

    def note(self, now: float) -> None:
        """Another was begun."""
        self._times.append(now)


class Session:
    """One session, over as many connections as it takes. Whoever has the connection tells when it
    is `opened`, what is `received`, and that it has `ended`; calls `tick` when that is due; and
    does what these give, in that order."""

    def __init__(self, token: Secret, chance: Callable[[], float]) -> None:
        """`chance`: a number from 0 to 1, each time another."""
        self.token, self.chance = token, chance
        self.stage = Stage.APART
        self.why = ""  # it is not HERE
        self.failures = 0  # connections since one has lasted
        self.resume_url = ""
        self.heart, self.showing, self.identifies = Heart(), Showing(), Identifies()
        self._id = ""
        self._number: int | None = None  # of the last dispatch
        # APART: dial; OPENING, JOINING: give up; HERE: since when
        self._moment = 0.0
        self._join_at = math.inf  # IDENTIFY waits for its moment
        self._rest_until = 0.0  # as the gateway wishes

    # When something is due

    def next_at(self) -> float:
        """When `tick`, or a connection, is wanted."""
        if self.stage is Stage.REFUSED:
            return math.inf
        elif self.stage is Stage.HERE:
            return min(self.heart.due_at, self.showing.due_at)
        return min(self.heart.due_at, self._moment, self._join_at)

    def wants_connection(self, now: float) -> bool:
        """Whether it is time to connect."""
        return self.stage is Stage.APART and now >= self._moment

    @property
    def can_resume(self) -> bool:
        """Whether there is a session to go on with, at `resume_url`."""
        return bool(self._id) and self._number is not None

    def tick(self, now: float) -> list[Effect]:
        """Do what is due, on an open connection."""
        if self.stage in (Stage.OPENING, Stage.JOINING) and now >= self._moment:
            awaited = "HELLO" if self.stage is Stage.OPENING else "READY"
            return self._leave(f"it sends no {awaited}")
        if now >= self.heart.due_at:
            if self.heart.unanswered:
                return self._leave("it does not answer heartbeats")
            return self._beat(now)
        if now >= self._join_at:
            return self._identify(now)
        if self.stage is Stage.HERE and now >= self.showing.due_at:
            return [Payload({"op": PRESENCE, "d": self.showing.take(now)})]
        return []

    # What comes

    def opened(self, now: float) -> None:
        """A connection is open."""
        self.stage = Stage.OPENING
        self._moment = now + HELLO_PATIENCE

    def received(self, payload: JSON, now: float) -> list[Effect]:
        """A payload has come; one that makes no sense is nothing."""
        number, opcode = at(payload, "s"), at(payload, "op")
        if is_whole(number):
            self._number = number
        meant = opcode if is_whole(opcode) else None
        if meant == 0:
            return self._dispatched(payload, now)
        elif meant == 1:
            return self._beat(now)
        elif meant == 7:
            return self._leave("it asked to come back")
        elif meant == 9:
            return self._rejected(at(payload, "d") is True, now)
        elif meant == 10:
            return self._greeted(payload, now)
        elif meant == 11:
            self.heart.answered()
        return []

    def ended(self, code: int | None, why: str, now: float) -> None:
        """The connection has ended, or could not be opened: by a code of the gateway's, or for
        another reason."""
        self.heart.stop()
        self._join_at = math.inf
        refusal = REFUSALS.get(code or 0)
        if refusal:
            self.refuse(refusal)
            return
        if code in FORGETTING:
            self._forget()
        if self.stage is Stage.HERE and now - self._moment >= HELD:
            self.failures = 0
        self.stage = Stage.APART
        self.why = why or f"it closed the connection ({code})"
        pause = min(LONGEST_REDIAL, 1 << (self.failures - 1)) if self.failures else 0.0
        self._moment = max(self._rest_until, now + pause * (1 + self.chance()) / 2)
        self._rest_until = 0.0
        self.failures += 1

    def missed(self) -> None:
        """Nobody answers where the session is to be resumed: it is begun anew, if that lasts."""
        if self.failures >= SAID_AFTER:
            self._forget()

    def refuse(self, why: str) -> None:
        """There is no use in trying again."""
        self.stage = Stage.REFUSED
        self.why = why

    # What follows

    def _greeted(self, payload: JSON, now: float) -> list[Effect]:
        interval = whole_at(payload, "d", "heartbeat_interval") / MILLI
        self.heart.begin(interval, now, self.chance())
        self.stage = Stage.JOINING
        self._moment = now + READY_PATIENCE
        if self.can_resume:
            about: JSON = {"session_id": self._id, "seq": self._number}
            return [Payload({"op": RESUME, "d": {"token": self.token.bare, **about}})]
        self._join_at = self.identifies.next_at(now)
        self._moment = self._join_at + READY_PATIENCE
        return self._identify(now) if now >= self._join_at else []

    def _identify(self, now: float) -> list[Effect]:
        self._join_at = math.inf
        self._number = None
        self.identifies.note(now)
        about: dict[str, JSON] = {
            "token": self.token.bare,
            "intents": 0,
            "compress": False,
            "properties": {"os": "linux", "browser": "sentinel", "device": "sentinel"},
        }
        presence = self.showing.take(now)
        if presence:
            about["presence"] = presence
        return [Payload({"op": IDENTIFY, "d": about})]

    def _dispatched(self, payload: JSON, now: float) -> list[Effect]:
        event = text_at(payload, "t")
        if event == "READY":
            self._id = text_at(payload, "d", "session_id")
            self.resume_url = text_at(payload, "d", "resume_gateway_url")
            self._arrive(now)
        elif event == "RESUMED":
            self._arrive(now)
        elif event == "INTERACTION_CREATE":
            return [Arrived(at(payload, "d"))]
        return []

    def _arrive(self, now: float) -> None:
        self.stage = Stage.HERE
        self.why = ""
        self._moment = now

    def _rejected(self, resumable: bool, now: float) -> list[Effect]:
        """The gateway does not know the session, or wants it resumed on another connection."""
        if not resumable:
            self._forget()
            self._rest_until = now + LEAST_REST + (MOST_REST - LEAST_REST) * self.chance()
        return self._leave("it rejected the session")

    def _leave(self, why: str) -> list[Effect]:
        self.why = why
        return [HangUp(RESUMABLE)]

    def _forget(self) -> None:
        self._id, self.resume_url, self._number = "", "", None

    def _beat(self, now: float) -> list[Effect]:
        return [Payload({"op": BEAT, "d": self._number})] if self.heart.beat(now) else []


class Said(Enum):
    """What was said last of the gateway."""

    NOTHING = auto()
    WORKS = auto()
    LOST = auto()


LOST_AFTER = 15.0  # seconds without it, until that is said
LOOK_AGAIN = 5.0  # how often it is looked at how it stands, while it is not as it was said to be


class Report:
    """What is said of the gateway: a loss where it lasts, a return where it holds."""

    def __init__(self) -> None:
        self.said = Said.NOTHING
        self._here_at: float | None = None  # since when it is
        self._away_at: float | None = None

    def news(self, stage: Stage, now: float) -> Said:
        """What is to be said now of how it stands, NOTHING where that is no news."""
        before = self.said
        if stage is Stage.HERE:
            self._away_at = None
            self._here_at = self._here_at or now
            if before is not Said.LOST or now - self._here_at >= HELD:
                self.said = Said.WORKS
        else:
            self._here_at = None
            self._away_at = self._away_at or now
            if stage is Stage.REFUSED or now - self._away_at >= LOST_AFTER:
                self.said = Said.LOST
        return Said.NOTHING if self.said is before else self.said

    def is_true(self, stage: Stage) -> bool:
        """Whether it stands as it was said to."""
        return (stage is Stage.HERE) is (self.said is Said.WORKS)


MOST_OF_ONE, MOST_OF_ALL, INTERACTIONS_SPAN = 30, 300, 10.0  # taken in so many seconds
FLOODED_AGAIN = 3600.0


class Turnstile:
    """How many interactions are taken: of one person, and of all."""

    def __init__(self) -> None:
        self._taken: deque[tuple[float, str]] = deque(maxlen=MOST_OF_ALL)  # when, of whom
        self._complained_at = -math.inf

    def takes(self, whose: str, now: float) -> bool:
        """Whether one more of theirs is taken."""
        while self._taken and now - self._taken[0][0] >= INTERACTIONS_SPAN:
            self._taken.popleft()
        of_one = sum(each == whose for _, each in self._taken)
        if of_one >= MOST_OF_ONE or len(self._taken) >= MOST_OF_ALL:
            return False
        self._taken.append((now, whose))
        return True

    def complains(self, now: float) -> bool:
        """Whether it is to be said that too much is asked."""
        lately = now - self._complained_at < FLOODED_AGAIN
        if not lately:
            self._complained_at = now
        return not lately


# ─── Interactions ─────────────────────────────────────────────────────────────────────────────────
# What people ask in Discord, as values; what they are answered, in Discord's form.

COMMAND, PRESS, COMPLETION = 2, 3, 4  # types of interactions
ANSWER, DEFERRED, CHOICES = 4, 5, 8  # types of answers to them
EPHEMERAL = 64  # the flag of what only who has asked can see
TEXT_OPTION, WHOLE_OPTION = 3, 4
MANAGE_SERVER, ADMINISTRATOR = 1 << 5, 1 << 3
MOST_CHOICES, CHOICE_TEXT = 25, 100
PERSON_TEXT = 32
MOST_LINES, USUAL_LINES = 200, 50  # of a log
MOST_DAYS = 366  # of a history


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: the name that the others see, and what gives rights."""

    id: str
    name: str
    roles: tuple[str, ...] = ()
    permissions: int = 0


@dataclass(frozen=True, slots=True)
class Interaction:
    """Something asked in Discord: a command with its options, a press of a button (`pressed`), or a
    name that is being typed (`typed`). `person` is None where Discord names no member."""

    id: str
    token: str
    kind: int
    application: str = ""
    guild: str = ""
    person: Person | None = None
    command: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    typed: str = ""
    pressed: str = ""


def interaction_of(document: JSON) -> Interaction | None:
    """An interaction as Discord words it; None where it can't be answered."""
    identity, token = text_at(document, "id"), text_at(document, "token")
    if not re.fullmatch(r"[0-9]{1,20}", identity) or not re.fullmatch(r"[\w.~-]{1,400}", token):
        return None
    options: dict[str, str] = {}
    typed = ""
    for option in items_at(document, "data", "options"):
        name, value = text_at(option, "name"), at(option, "value")
        if isinstance(value, str) or is_whole(value):
            options[name] = encodable(str(value))
            if at(option, "focused") is True:
                typed = options[name]
    return Interaction(
        identity,
        token,
        whole_at(document, "type"),
        text_at(document, "application_id"),
        text_at(document, "guild_id"),
        person_of(at(document, "member")),
        text_at(document, "data", "name"),
        options,
        typed,
        text_at(document, "data", "custom_id"),
    )


def person_of(member: JSON) -> Person | None:
    """Who a member of a server is; None for none."""
    identity = text_at(member, "user", "id")
    if not identity:
        return None
    names = (text_at(member, "nick"), text_at(member, "user", "global_name"))
    name = next(filter(None, map(one_line, names)), "") or text_at(member, "user", "username")
    roles = tuple(role for role in items_at(member, "roles") if isinstance(role, str))
    permissions = text_at(member, "permissions")
    bits = int(permissions) if re.fullmatch(r"[0-9]{1,30}", permissions) else 0
    return Person(identity, "@" + clip(one_line(name) or "somebody", PERSON_TEXT), roles, bits)


def may_act(person: Person, operators: Collection[str]) -> bool:
    """Whether somebody may act: as the settings say, else as Discord does of the server."""
    if operators:
        return person.id in operators or not set(operators).isdisjoint(person.roles)
    return bool(person.permissions & (MANAGE_SERVER | ADMINISTRATOR))


def whom_to_ask(operators: Collection[str]) -> str:
    """Who may act, for those who may not."""
    if operators:
        return "Only those whom DISCORD_OPERATORS names may do that; ask one of them."
    return "Only who has the permission Manage Server here may do that; ask one of them."


def saying(text: str, private: bool, colour: int | None = None) -> dict[str, JSON]:
    """What a message says, that pings nobody."""
    data: dict[str, JSON] = {"allowed_mentions": {"parse": []}}
    if colour is None:
        data["content"] = clip(text, CONTENT)
    else:
        data["embeds"] = [{"description": clip(text, EMBED_TEXT), "color": colour}]
    if private:
        data["flags"] = EPHEMERAL
    return data


def choices(names: Iterable[str], typed: str) -> dict[str, JSON]:
    """The names that go on with what is typed, those that begin with it first."""
    wanted = typed.casefold().strip()
    shown = [name for name in names if wanted in name.casefold() and len(name) <= CHOICE_TEXT]
    shown.sort(key=lambda name: (not name.casefold().startswith(wanted), name))
    return {"choices": [{"name": name, "value": name} for name in shown[:MOST_CHOICES]]}


def command_of(name: str, meaning: str, guarded: bool, *options: dict[str, JSON]) -> JSON:
    """A slash command, as it is registered."""
    command: dict[str, JSON] = {"name": name, "type": 1, "description": meaning}
    if options:
        command["options"] = list(options)
    if guarded:
        command["default_member_permissions"] = str(MANAGE_SERVER)
    return command


def option_of(name: str, meaning: str, **more: JSON) -> dict[str, JSON]:
    """An option of a slash command: a text, if nothing else is said."""
    return {"type": TEXT_OPTION, "name": name, "description": meaning, **more}


ONE_SERVICE = option_of("name", "A service", required=True, autocomplete=True)
SOME_SERVICE = option_of("name", "A service", autocomplete=True)
ANYTHING = "A service, a project, or all"
LINES = option_of("lines", "How many", type=WHOLE_OPTION, min_value=1, max_value=MOST_LINES)
DAYS = option_of("days", "How far back", type=WHOLE_OPTION, min_value=1, max_value=MOST_DAYS)
DURATION_OPTION = option_of("duration", "For how long, as in 30m or 1h30m", required=True)
READING_COMMANDS: Mapping[str, tuple[str, tuple[JSON, ...]]] = {
    "status": ("What is down, and what is done about it", (SOME_SERVICE,)),
    "why": ("Why a service died, and what would be done at its next death", (ONE_SERVICE,)),
    "history": (
        "Incidents, with their downtime",
        (option_of("name", "A service or a project"), DAYS),
    ),
}
ACTING_COMMANDS: Mapping[str, tuple[str, tuple[JSON, ...]]] = {
    "logs": ("The last lines of a service's log", (ONE_SERVICE, LINES)),
    "restart": ("Restart a service, or start it where it is down", (ONE_SERVICE,)),
    "mute": (
        "Neither alerts nor restarts, for a while",
        (ONE_SERVICE | {"description": ANYTHING}, DURATION_OPTION),
    ),
    "unmute": ("Watch it again", (option_of("name", ANYTHING, required=True),)),
}


def commands_of(operators: Collection[str]) -> list[JSON]:
    """The commands. Where Sentinel itself is told who may act, Discord hides nothing."""
    commands: list[JSON] = []
    for name, (meaning, options) in READING_COMMANDS.items():
        commands.append(command_of(name, meaning, False, *options))
    for name, (meaning, options) in ACTING_COMMANDS.items():
        commands.append(command_of(name, meaning, not operators, *options))
    return commands


def same_commands(there: JSON, wanted: list[JSON]) -> bool:
    """Whether what is registered is what is wanted: as far as Sentinel says something, and with
    nothing beside that would be seen."""
    if not isinstance(there, list) or len(there) != len(wanted):
        return False
    by_name = {text_at(command, "name"): command for command in there}
    return all(same_command(by_name.get(command["name"]), command) for command in wanted)


def same_command(there: JSON, wanted: JSON) -> bool:
    """Whether a registered command, or an option of it, is the wanted one: what Discord adds, and
    what it drops (nulls, empty lists, `false`), makes no difference."""
    for name in ("description", "type", "default_member_permissions", *OPTION_PARTS):
        if (at(there, name) or None) != (wanted.get(name) or None):
            return False
    options = wanted.get("options", [])
    known = items_at(there, "options")
    if len(known) != len(options):
        return False
    pairs = zip(known, options, strict=True)
    return all(
        text_at(one, "name") == other["name"] and same_command(one, other) for one, other in pairs
    )


OPTION_PARTS = ("required", "autocomplete", "min_value", "max_value", "choices")

# ─── Answers ──────────────────────────────────────────────────────────────────────────────────────
# What people are told who ask in Discord.

PROJECTS_SHOWN, DOWN_SHOWN, INCIDENTS_SHOWN = 40, 20, 25
PRESENCE_TEXT = 120


class Way(Enum):
    """How something is said to whoever asked."""

    ANSWER = auto()  # the first answer
    CHOICES = auto()  # what completes a name
    DEFER = auto()  # the answer comes later
    EDIT = auto()  # that answer
    FOLLOW_UP = auto()  # beside another Sentinel's answer


@dataclass(frozen=True, slots=True)
class Respond:
    """Say this to whoever asked, `asked_at`; `file`: a name and a text that go with it. `again`:
    also where another Sentinel has answered already. `then`: what is done once it is said."""

    interaction: Interaction
    way: Way
    data: Mapping[str, JSON]
    asked_at: float
    file: tuple[str, str] | None = None
    again: bool = False
    then: ReadLogs | None = None
    tries: int = 0

    @property
    def public(self) -> bool:
        """Whether it tells all of what was done."""
        return self.way is Way.ANSWER and not self.data.get("flags")


@dataclass(frozen=True, slots=True)
class ReadLogs:
    """Read so many last lines of a container's log, for whoever asked."""

    interaction: Interaction
    asked_at: float
    name: str
    container: Container
    lines: int


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Look up the incidents of this name (empty: of all) in so many last days, for whoever
    asked."""

    interaction: Interaction
    asked_at: float
    name: str
    days: int


@dataclass(frozen=True, slots=True)
class Mute:
    """Leave a name alone for so many seconds (0: no longer)."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Note:
    """Keep this for the history; nobody is told."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class Found:
    """What Discord says of the bot: the gateway's address, the application's id, and the server
    that is served; `why` where it does not, and whether there is use in asking again."""

    url: str = ""
    application: str = ""
    guild: str = ""
    why: str = ""
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Responded:
    """Somebody was answered, or was not."""

    job: Respond
    ok: bool
    code: int | None
    why: str
    wait: float | None = None  # seconds until it is worth another try; None: it is not


@dataclass(frozen=True, slots=True)
class GatewayChanged:
    """The way to commands and buttons stands otherwise: `level` and `words` for the record."""

    found: Found
    hopeless: bool
    level: str
    words: str


@dataclass(frozen=True, slots=True)
class Interacted:
    """Somebody asks something in Discord."""

    interaction: Interaction


@dataclass(frozen=True, slots=True)
class LogsRead:
    """The lines that somebody wants to see."""

    job: ReadLogs
    lines: tuple[str, ...]


FromDiscord = Interacted | GatewayChanged | Responded | LogsRead
ANSWERED, TOO_LATE = 40060, 10062  # Discord's codes: by somebody else; its three seconds are over


Deed = Respond | ReadLogs | ReadHistory | Mute | Note
Deeds = list[Deed | Action]


def muted_now(muted: Mapping[str, float], calendar: Calendar) -> str:
    """Who is muted, and until when, as a sentence; empty for nobody."""
    if not muted:
        return "Nothing is muted."
    parts = [
        f"{as_code(name)} until <t:{int(calendar.time_of(at))}:t>" for name, at in muted.items()
    ]
    return f"Muted now: {listed(parts)}."


def summary(watchdog: Watchdog, now: float) -> tuple[str, int]:
    """How all stands: what is down, else a line a project; and the colour of that."""
    host = watchdog.link.facts.host
    if watchdog.link.is_away:
        engine, why = engine_words(watchdog.link.facts.kind.podman), watchdog.link.why
        return f"{engine} on {as_code(host)} does not answer: {escaped(why)}", RED
    services = list(watchdog.services.values())
    down = [service for service in services if service.phase in FALLEN]
    lines = [down_line(service, watchdog, now) for service in down[:DOWN_SHOWN]]
    if len(down) > DOWN_SHOWN:
        lines.append(f"… and {len(down) - DOWN_SHOWN} more")
    if down:
        lines.append(f"{counted(len(services) - len(down), 'other')} up on {as_code(host)}.")
        return "\n".join(lines), RED
    muted = [service for service in services if service.muted]
    lines = [f"{counted(len(services), 'service')} on {as_code(host)}, none is down."]
    projects: dict[str, list[Watched]] = {}
    for service in services:
        projects.setdefault(service.container.project, []).append(service)
    for project, members in sorted(projects.items())[:PROJECTS_SHOWN]:
        lines.append(project_line(project, members))
    return "\n".join(lines), AMBER if muted else GREEN


def hosts_shown(watchdog: Watchdog, now: float) -> list[str]:
    """The hosts that watch each other, a line each; none where there is no fleet."""
    lines: list[str] = []
    for seat in watchdog.fleet.seats(now):
        mark = HOST_MARKS[seat.state]
        words = seat_words(seat)
        if seat.state is HostState.DARK:
            words = f"dark, last heard <t:{int(seat.heard_time)}:R>"
        lines.append(f"{mark} {as_code(seat.host)}: {escaped(words)}")
    return ["**Hosts**", *lines] if lines else []


HOST_MARKS = {HostState.HERE: "🟢", HostState.DARK: "🔴", HostState.RESTING: "⚪"}


def logs_shown(seen: LogsRead) -> Respond:
    """Log lines as an answer: in a code block, or as a file where they are too many."""
    job = seen.job
    lines = tuple(shown_lines(seen.lines))
    name = as_code(job.name)
    text = "\n".join(lines)
    file: tuple[str, str] | None = None
    if not lines:
        words = f"{name} has no log that can be read."
    elif len(text) <= LOG_ROOM:
        words = f"{name}\n{log_block(lines, CONTENT - len(name) - 1)}"
    else:
        words = f"{name}: its last {counted(len(lines), 'line')}"
        file_name = re.sub(r"[^\w.-]", "_", job.name, flags=re.ASCII)[:CHOICE_TEXT] + ".log"
        file = file_name, text + "\n"
    data = saying(words, private=False)  # as the deferred answer was
    return Respond(job.interaction, Way.EDIT, data, job.asked_at, file)


LOG_ROOM = 1700  # characters that fit into a message


def history_shown(job: ReadHistory, incidents: list[JSON], now_time: float) -> Respond:
    """Incidents as an answer, the last ones first."""
    since_time = now_time - job.days * DAY_SECONDS
    lines: list[str] = []
    for incident in reversed(incidents):
        if incident["verdict"] in UNTOLD_IN_HISTORY or incident["start"] < since_time:
            continue
        if not job.name or job.name in (incident["name"], incident["project"]):
            lines.append(incident_line(incident))
    days = counted(job.days, "day")
    if not lines:
        words = f"No incident of {as_code(job.name)}" if job.name else "No incident"
        return Respond(
            job.interaction, Way.ANSWER, saying(f"{words} in {days}.", True), job.asked_at
        )
    rest = len(lines) - INCIDENTS_SHOWN
    lines = lines[:INCIDENTS_SHOWN]
    if rest > 0:
        lines.append(f"… and {rest} more: `sentinel.py history`")
    data = saying("\n".join(lines), True, BLUE)
    return Respond(job.interaction, Way.ANSWER, data, job.asked_at)


UNTOLD_IN_HISTORY = (Verdict.WATCHING, *OTHERS)


def incident_line(incident: JSON) -> str:
    """One incident: when, who, how long."""
    name, start = as_code(clip(incident["name"], CHOICE_TEXT)), int(incident["start"])
    if incident["verdict"] == Verdict.ASKED:
        return f"• <t:{start}:f> {name}: {escaped(history_cause(incident))}"
    downtime = incident["downtime"]
    lasted = f"down {span(downtime)}" if downtime is not None else "open"
    if downtime is None and incident["end"] is not None:
        lasted = "over"
    cause = history_cause(incident)
    words = f"{incident['verdict']}, {lasted}" + (
        f", {escaped(clip(cause, LINE_TEXT))}" if cause else ""
    )
    return f"• <t:{start}:f> {name}: {words}"


def project_line(project: str, members: list[Watched]) -> str:
    """How a project stands."""
    up = sum(service.phase in STANDING for service in members)
    parts = [f"{up} up"]
    if len(members) > up:
        parts.append(f"{len(members) - up} not running")
    muted = sum(service.muted for service in members)
    if muted:
        parts.append(f"{muted} muted")
    return f"• {as_code(project) or 'without a project'}: {', '.join(parts)}"


def down_line(service: Watched, watchdog: Watchdog, now: float) -> str:
    """What is down, since when, and what is done about it."""
    incident = service.incident
    if incident is None:
        return f"🔴 {as_code(service.container.title)}: {service.phase}"
    since = int(watchdog.calendar.time_of(incident.began_at))
    text = f"🔴 {as_code(clip(headline(incident.notice), HEADLINE_TEXT))}, <t:{since}:R>"
    plan = escaped(clip(incident.notice.plan, LINE_TEXT))
    taken = incident.outage.taken_by
    return "\n".join(filter(None, (text, plan, f"{as_code(taken)} is on it." if taken else "")))


def standing_of(service: Watched, watchdog: Watchdog, now: float) -> tuple[str, int]:
    """How one service stands, and the colour of that."""
    if service.phase in FALLEN:
        return down_line(service, watchdog, now), RED
    state = state_of(service, watchdog)
    since = f", since <t:{int(state.since_time)}:R>" if state.since_time else ""
    lines = [f"{as_code(state.name)} is {state.word}{since}"]
    if state.why:
        lines.append(as_code(state.why))
    if service.muted:
        lines.append("It is muted.")
    colours = {OK: GREEN, WARNING: AMBER, CRITICAL: RED}
    return "\n".join(lines), colours.get(state.severity, GREY)


def why_of(service: Watched, watchdog: Watchdog, now: float) -> list[str]:
    """The last death of a service with its evidence, whom it needs, and what would be done at the
    next one."""
    lines: list[str] = []
    incident, container = service.incident, service.container
    if incident:
        at_time = watchdog.calendar.time_of(incident.notice.at)
        now_words = as_code(clip(headline(incident.notice), HEADLINE_TEXT))
        lines.append(f"**Now:** {now_words}, <t:{int(at_time)}:R>")
        lines += [
            line_text(label, text) for label, text in card_lines(incident.notice, lambda at: "", "")
        ]
        root = watchdog.outages.root_of(incident.outage)
        if root and root is not service:
            lines.append(f"**Root cause:** {as_code(root.container.title)}")
    elif service.last_fall:
        fall = service.last_fall
        fell_time = int(watchdog.calendar.time_of(fall.at))
        lines.append(f"**Last:** {as_code(clip(headline(fall), HEADLINE_TEXT))}, <t:{fell_time}:R>")
        lines += [line_text(label, text) for label, text in card_lines(fall, lambda at: "", "")]
        lines += [f"**Last words:** {as_code(line)}" for line in fall.logs[-1:]]
    elif container.finished_time and not container.running:
        how = exit_words(container.exit_code)
        lines.append(f"**Last end:** {how}, <t:{int(container.finished_time)}:R>")
        logs = shown_lines(service.logs)
        if logs:
            lines.append(f"**Last words:** {as_code(logs[-1])}")
    else:
        lines.append(f"{as_code(container.title)} has not died since it was made.")
    for label, text in explained_lines(service, watchdog, now):
        lines.append(f"**{label.capitalize()}:** {escaped(text)}")
    return lines


# ─── Commands ─────────────────────────────────────────────────────────────────────────────────────

SILENCE = 1.5  # seconds in which another Sentinel may know the name
# Discord takes a first answer for three seconds, and what follows that for fifteen minutes.
ANSWER_PATIENCE, LATER_PATIENCE = 2.8, 850.0
FIRST_AGAIN, MOST_TRIES = 0.1, 8  # until an answer is tried again, and how often
MUTED_BY_BUTTON = 3600.0
HISTORY_DAYS = 30


class Clerk:
    """Answers what people ask in Discord, and has done what they may have done."""

    def __init__(self, settings: Settings, watchdog: Watchdog) -> None:
        self.settings, self.watchdog = settings, watchdog
        self._guild = ""  # the server that is served
        self._life = ""  # of the ledger, by which its buttons are known
        self._now = 0.0  # when what is being answered was asked
        self._later: list[tuple[float, Respond]] = []  # what is said unless another one says better
        self._commands: Mapping[str, Callable[[Interaction, Person, float], Deeds]] = {
            "status": self._status,
            "why": self._why,
            "logs": self._logs,
            "history": self._history,
            "restart": self._restart,
            "mute": self._mute,
            "unmute": self._unmute,
        }
        self._buttons: Mapping[str, Callable[..., Deeds]] = {
            "restart": self._press_restart,
            "logs": self._press_logs,
            "mute": self._press_mute,
            "take": self._press_take,
        }

    def begin(self, life: str) -> None:
        """By what the buttons of this ledger are known."""
        self._life = life

    def serve(self, guild: str) -> None:
        """Which server is served."""
        self._guild = guild

    def asked(self, seen: Interaction, now: float) -> Deeds:
        """Take what somebody asks, give what follows."""
        self._now = now
        person = seen.person
        if person is None or not self._guild or seen.guild != self._guild:
            return self._refuse_elsewhere(seen, now)
        if seen.kind == COMPLETION:
            return self._complete(seen, now)
        if seen.kind == PRESS:
            return self._pressed(seen, person, now)
        command = self._commands.get(seen.command)
        if seen.kind != COMMAND or command is None:
            return []
        if seen.command in ACTING_COMMANDS and not may_act(person, self.settings.operators):
            return [self._private(seen, whom_to_ask(self.settings.operators))]
        return command(seen, person, now)

    def due_at(self) -> float:
        """When something is to be said that has waited for others."""
        return min((due_at for due_at, _ in self._later), default=math.inf)

    def due(self, now: float) -> list[Respond]:
        """What is to be said now, since nobody else has."""
        ripe = [reply for due_at, reply in self._later if due_at <= now]
        self._later = [(due_at, reply) for due_at, reply in self._later if due_at > now]
        return ripe

    def responded(self, seen: Responded, now: float) -> Deeds:
        """Somebody was answered, or could not be. Where another Sentinel was quicker, only what
        each has to say for itself is said beside that; but what was done is told in any case."""
        job = seen.job
        if seen.ok:
            return [job.then] if job.then else []
        if seen.code == ANSWERED and job.again:
            return [replace(job, way=Way.FOLLOW_UP, again=False)]
        patience = LATER_PATIENCE if job.way in (Way.EDIT, Way.FOLLOW_UP) else ANSWER_PATIENCE
        if seen.wait is not None and seen.code != ANSWERED and job.tries < MOST_TRIES:
            again_at = now + max(seen.wait, FIRST_AGAIN * 2**job.tries)
            if again_at < job.asked_at + patience:
                self._later.append((again_at, replace(job, tries=job.tries + 1)))
                return []
        deeds: Deeds = []
        if seen.code not in (ANSWERED, TOO_LATE):
            deeds.append(Log("warning", f"discord: an answer is not taken: {seen.why}"))
        ours = seen.code == ANSWERED and job.tries  # an earlier try of this one was taken
        if job.public and not ours:
            host = self.watchdog.link.facts.host
            words = text_at(job.data, "content")
            deeds.append(
                Tell(Notice(Verdict.INFO, f"Asked in Discord, on {host}", now, plan=words))
            )
        return deeds

    # Names

    def _names(self) -> list[str]:
        names = {service.container.title for service in self.watchdog.services.values()}
        return sorted(names)

    def _find(self, seen: Interaction, now: float) -> Watched | Deeds:
        """The service that is meant; else what is answered."""
        wanted = seen.options.get("name", "").strip()
        if not wanted:
            return [self._private(seen, "Write the name of a service.")]
        services = list(self.watchdog.services.values())
        titled = [each for each in services if wanted in (each.container.title, each.key)]
        named = titled or [each for each in services if wanted in service_names(each)]
        if len(named) == 1:
            return named[0]
        if named:
            names = listed(as_code(each.container.title) for each in named[:DOWN_SHOWN])
            return [self._private(seen, f"{as_code(wanted)} means several services: {names}.")]
        hint = nearest(wanted, self._names()) or "."
        words = f"Nothing that is watched is called {as_code(clip(wanted, CHOICE_TEXT))}{hint}"
        return self._unless_known(seen, words, now)

    def _unless_known(self, seen: Interaction, words: str, now: float) -> Deeds:
        """Say that something is not known here, unless another Sentinel knows it."""
        self._later.append((now + SILENCE, self._private(seen, words)))
        return []

    def _refuse_elsewhere(self, seen: Interaction, now: float) -> Deeds:
        if seen.kind not in (COMMAND, PRESS):
            return []
        words = "Sentinel answers members of the server that it serves, and there alone."
        return self._unless_known(seen, words, now)

    def _complete(self, seen: Interaction, now: float) -> Deeds:
        """Names that begin so; where there are none, another Sentinel may have some."""
        data = choices(self._names(), seen.typed)
        answer = Respond(seen, Way.CHOICES, data, self._now)
        if data["choices"]:
            return [answer]
        self._later.append((now + SILENCE, answer))
        return []

    def _private(self, seen: Interaction, text: str, colour: int | None = None) -> Respond:
        return Respond(seen, Way.ANSWER, saying(text, private=True, colour=colour), self._now)

    def _public(self, seen: Interaction, text: str) -> Respond:
        return Respond(seen, Way.ANSWER, saying(text, private=False), self._now)

    # Reading

    def _status(self, seen: Interaction, person: Person, now: float) -> Deeds:
        if not seen.options.get("name", "").strip():
            text, colour = summary(self.watchdog, now)
            hosts = hosts_shown(self.watchdog, now)
            text = clip("\n".join([text, *hosts]), EMBED_TEXT)
            return [replace(self._private(seen, text, colour), again=True)]
        found = self._find(seen, now)
        if isinstance(found, list):
            return found
        text, colour = standing_of(found, self.watchdog, now)
        return [self._private(seen, text, colour)]

    def _why(self, seen: Interaction, person: Person, now: float) -> Deeds:
        found = self._find(seen, now)
        if isinstance(found, list):
            return found
        lines = why_of(found, self.watchdog, now)
        return [self._private(seen, "\n".join(lines), BLUE)]

    def _logs(self, seen: Interaction, person: Person, now: float) -> Deeds:
        found = self._find(seen, now)
        if isinstance(found, list):
            return found
        asked = number_in(seen.options.get("lines")) or USUAL_LINES
        return self._read_logs(seen, found, min(max(asked, 1), MOST_LINES))

    def _read_logs(self, seen: Interaction, service: Watched, lines: int) -> Deeds:
        container = service.container
        then = ReadLogs(seen, self._now, container.title, container, lines)
        return [Respond(seen, Way.DEFER, {"flags": EPHEMERAL}, self._now, then=then)]

    def _history(self, seen: Interaction, person: Person, now: float) -> Deeds:
        name = seen.options.get("name", "").strip()
        days = number_in(seen.options.get("days")) or HISTORY_DAYS
        known: set[str] = set()
        for service in self.watchdog.services.values():
            known |= service.container.called | {service.container.title}
        if name and name not in known:
            found = self._find(seen, now)
            return found if isinstance(found, list) else []
        return [ReadHistory(seen, self._now, name, min(max(days, 1), MOST_DAYS))]

    # Acting

    def _restart(self, seen: Interaction, person: Person, now: float) -> Deeds:
        found = self._find(seen, now)
        if isinstance(found, list):
            return found
        return self._restart_one(seen, person, found, now)

    def _restart_one(
        self, seen: Interaction, person: Person, service: Watched, now: float
    ) -> Deeds:
        name = as_code(service.container.title)
        why = self.watchdog.lives.healing.refusal(service, now)
        if why:
            return [self._private(seen, f"{name} is not restarted: {why}.")]
        doing = "restarting" if service.container.running else "starting"
        host = as_code(self.watchdog.link.facts.host)
        words = f"{as_code(person.name)} asked: {doing} {name} on {host} now."
        asked = self._noted(service, f"restart asked for by {person.name}", now)
        actions = self.watchdog.observe(RestartAsked(service.key, person.name), now)
        return [self._public(seen, words), Count("asked", service.key), asked, *actions]

    def _noted(self, service: Watched, words: str, now: float) -> Note:
        container = service.container
        return Note(
            Notice(Verdict.ASKED, container.title, now, project=container.project, plan=words)
        )

    def _mute(self, seen: Interaction, person: Person, now: float) -> Deeds:
        text = seen.options.get("duration", "")
        try:
            seconds = min(interval(text), LONGEST_MUTE)
        except ValueError:
            words = f"{as_code(clip(text, CHOICE_TEXT))} is no duration; write 30m, 1h30m, or 2h."
            return [self._private(seen, words)]
        name = self._mutable(seen, now)
        if isinstance(name, list):
            return name
        until = int(self.watchdog.calendar.time_of(now) + seconds)
        words = f"{as_code(person.name)} muted {as_code(name)} until <t:{until}:f>: neither alerts"
        return self._hush(seen, person, name, seconds, f"{words} nor restarts.", now)

    def _unmute(self, seen: Interaction, person: Person, now: float) -> Deeds:
        muted = self.watchdog.mutes.commanded(now)
        name = seen.options.get("name", "").strip()
        if name != "all" and name not in muted:
            known = self._mutable(seen, now)
            if isinstance(known, list):
                return known
            return [
                self._private(
                    seen,
                    f"No mute names {as_code(name)}. {muted_now(muted, self.watchdog.calendar)}",
                )
            ]
        words = f"{as_code(person.name)} unmuted {as_code(name)}: it is watched again."
        return self._hush(seen, person, name, 0.0, words, now)

    def _hush(
        self, seen: Interaction, person: Person, name: str, seconds: float, words: str, now: float
    ) -> Deeds:
        muted = self.watchdog.mutes.commanded(now)
        if seconds:
            muted[name] = now + seconds
        elif name == "all":
            muted = {}
        else:
            muted.pop(name, None)
        deed = f"mute for {span(seconds)}" if seconds else "unmute"
        note = Note(Notice(Verdict.ASKED, name, now, plan=f"{deed} asked for by {person.name}"))
        standing = muted_now(muted, self.watchdog.calendar)
        return [self._public(seen, f"{words} {standing}".strip()), note, Mute(name, seconds)]

    def _mutable(self, seen: Interaction, now: float) -> str | Deeds:
        """The service, project, or all, that is to be muted; else what is answered."""
        name = seen.options.get("name", "").strip()
        known = {"all"}
        for service in self.watchdog.services.values():
            known |= service.container.called
        if name in known:
            return name
        found = self._find(seen, now)
        return found if isinstance(found, list) else found.key

    # Buttons

    def _pressed(self, seen: Interaction, person: Person, now: float) -> Deeds:
        match = BUTTON_ID.fullmatch(seen.pressed)
        if match is None:
            return []
        act, life, number = match.groups()
        if not may_act(person, self.settings.operators):
            return [self._private(seen, whom_to_ask(self.settings.operators))]
        if life != self._life:
            words = "That alert is another Sentinel's, or from before this one's ledger: over."
            return self._unless_known(seen, words, now)
        outage = self.watchdog.outages.get(int(number))
        button = self._buttons.get(act)
        if outage is None or button is None:
            return [self._private(seen, "That is over: the alert is an old one.")]
        return button(seen, person, outage, now)

    def _press_take(self, seen: Interaction, person: Person, outage: Outage, now: float) -> Deeds:
        if outage.taken_by:
            return [self._private(seen, f"{as_code(outage.taken_by)} is on it already.")]
        actions = self.watchdog.observe(TakenOn(outage.number, person.name), now)
        words = f"{as_code(person.name)} is on it (incident {outage.number}); no more reminders."
        return [self._public(seen, words), *actions]

    def _press_restart(
        self, seen: Interaction, person: Person, outage: Outage, now: float
    ) -> Deeds:
        root = self.watchdog.outages.root_of(outage)
        if root is None:
            return [self._private(seen, "There is nothing to restart.")]
        return self._restart_one(seen, person, root, now)

    def _press_logs(self, seen: Interaction, person: Person, outage: Outage, now: float) -> Deeds:
        root = self.watchdog.outages.root_of(outage)
        if root is None:
            return [self._private(seen, "There is no log of that.")]
        return self._read_logs(seen, root, USUAL_LINES)

    def _press_mute(self, seen: Interaction, person: Person, outage: Outage, now: float) -> Deeds:
        root = self.watchdog.outages.root_of(outage)
        if root is None or root.muted:
            return [
                self._private(seen, "It is muted already." if root else "There is nothing to mute.")
            ]
        words = f"{as_code(person.name)} muted {as_code(root.container.title)} for an hour."
        return self._hush(seen, person, root.container.name, MUTED_BY_BUTTON, words, now)


def service_names(service: Watched) -> set[str]:
    """Every name that means this service, and not its project."""
    container = service.container
    return {container.name, container.title, container.service, container.key} - {""}


def buttons_for(notice: Notice, watchdog: Watchdog, now: float) -> tuple[str, ...]:
    """Which buttons make sense on a red."""
    outage = watchdog.outages.get(notice.incident)
    if not (notice.red and notice.open) or outage is None:
        return ()
    buttons: list[str] = []
    root = watchdog.outages.root_of(outage)
    if root:
        if not watchdog.lives.healing.refusal(root, now):
            buttons.append("restart")
        buttons.append("logs")
        if not root.muted:
            buttons.append("mute")
    if not outage.taken_by:
        buttons.append("take")
    return tuple(buttons)


def presence_of(watchdog: Watchdog) -> JSON:
    """What the bot is seen doing: a board of how all stands."""
    services = list(watchdog.services.values())
    down = [service.container.short for service in services if service.phase in FALLEN]
    muted = sum(service.muted for service in services)
    settling = sum(service.phase in (Phase.SUSPECT, Phase.MISSING) for service in services)
    words, status = counted(len(services), "service"), "online"
    if watchdog.link.is_away:
        words, status = "the engine does not answer", "dnd"
    elif down:
        words, status = f"{len(down)} down: {', '.join(down)}", "dnd"
    elif muted or settling:
        about = f"{muted} muted" if muted else f"{settling} settling"
        words, status = f"{words}, {about}", "idle"
    words = clip(one_line(words), PRESENCE_TEXT)
    activity = {"type": WATCHING, "name": words}
    if status == "dnd":
        activity = {"type": CUSTOM, "name": words, "state": words}
    return {"since": None, "activities": [activity], "status": status, "afk": False}


WATCHING, CUSTOM = 3, 4  # types of activities


# ─── The line of purity: no clock, socket, thread, file, logger or random source above ────────────

# ─── Codec ────────────────────────────────────────────────────────────────────────────────────────
# Values to JSON and back, by their dataclasses. Moments (`at`, `…_at`) are written as calendar
# time. What can't be read back is a ValueError that says which part of it makes no sense.

# others may hold secrets
KEPT_LABELS = re.compile(
    r"com\.docker\.(?:compose|swarm|stack)\.|sentinel\.|io\.podman\.compose\.|PODMAN_SYSTEMD_UNIT$"
)
UNSAVED: Mapping[
    type[Any], Collection[str]
] = {  # what is worked out anew, or is too long to be kept
    Watched: {"key", "policy", "logs"},
    Outage: {"joined"},
}
MOST = 2.0**63  # of a number
MOMENT_DIGITS = 3


def is_moment(name: str) -> bool:
    """Whether a field holds moments of the monotonic clock."""
    return name == "at" or name.endswith("_at")


@functools.cache
def fields_of(kind: Any) -> tuple[tuple[str, Any, bool], ...]:
    """The saved fields of a dataclass: name, type, and whether it holds moments."""
    hints = typing.get_type_hints(kind)
    unsaved = UNSAVED.get(kind, frozenset())
    names = [one.name for one in fields(kind) if one.name not in unsaved]
    return tuple((name, hints[name], is_moment(name)) for name in names)


@functools.cache
def needed_of(kind: Any) -> frozenset[str]:
    """The fields of a dataclass that have no default."""
    return frozenset(
        one.name
        for one in fields(kind)
        if one.default is MISSING and one.default_factory is MISSING
    )


def record_of(value: Any, offset: float) -> JSON:
    """A dataclass as JSON; `offset` turns moments into calendar time."""
    if isinstance(value, Container):
        value = kept_container(value)
    elif isinstance(value, Run) and value.end is None:
        value = kept_run(value)
    document: dict[str, JSON] = {}
    kind: Any = type(value)
    for name, _, moment in fields_of(kind):
        document[name] = encoded(getattr(value, name), moment, offset)
    return document


def kept_container(container: Container) -> Container:
    """A container without its probe's words and the labels that Sentinel does not read."""
    labels: dict[str, str] = {}
    for name, text in container.labels.items():
        if KEPT_LABELS.match(name):
            labels[encodable(name)] = encodable(text)
    return replace(container, labels=labels, probe_output="")


def kept_run(run: Run) -> Run:
    """A run that goes on, with what may tell of its end: of signals that ask for nothing the first
    of each kind. More is not worth a write."""
    kept: list[Kill] = []
    for kill in run.kills:
        if kill.signal in ASKING_SIGNALS or kill.signal not in [known.signal for known in kept]:
            kept.append(kill)
    return replace(run, kills=kept, stop_time=0.0, oom_time=0.0, policy_time=0.0)


def encoded(value: Any, moment: bool, offset: float) -> JSON:
    """One value as JSON."""
    if value is None or isinstance(value, bool):
        return value
    elif isinstance(value, Outage):  # by its number: it has a record of its own
        return value.number
    elif isinstance(value, StrEnum):
        return value.value
    elif isinstance(value, str | int):
        return value
    elif isinstance(value, float):
        return round(value + offset, MOMENT_DIGITS) if moment else value
    elif isinstance(value, Enum):
        return value.name
    elif isinstance(value, list | tuple):
        return [encoded(item, moment, offset) for item in value]
    elif isinstance(value, Mapping):
        return dict(value)
    return record_of(value, offset)


class Reader:
    """JSON back to values. `offset` is that with which it was written; `outages` are those that
    incidents are part of: one that has no record any more is made up for."""

    def __init__(self, offset: float, outages: dict[int, Outage] | None = None) -> None:
        self.offset = offset
        self.outages: dict[int, Outage] = {} if outages is None else outages

    def value(self, kind: Any, document: JSON, **unsaved: Any) -> Any:
        """A dataclass, with what was not saved of it. ValueError: the document is none."""
        if not isinstance(document, dict):
            raise ValueError(f"it is no {kind.__name__}")
        values: dict[str, Any] = dict(unsaved)
        needed = needed_of(kind)
        for name, hint, moment in fields_of(kind):
            if name not in document:
                if name in needed:
                    raise ValueError(f"{kind.__name__} without {name}")
                continue  # an older Sentinel, which did not know it, wrote this
            try:
                values[name] = self.decoded(document[name], hint, moment)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return kind(**values)

    def decoded(self, item: JSON, hint: Any, moment: bool) -> Any:
        """One value of a type. ValueError: it is none."""
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is types.UnionType:
            if item is None:
                return None
            return self.decoded(item, arguments[0], moment)
        if origin in (list, tuple):
            return self._items(item, origin, arguments, moment)
        if origin is Mapping:
            return labels_in(item)
        if hint is float:
            return number_of_json(item) - (self.offset if moment else 0.0)
        if hint is Outage:
            number = plain(item, int)
            return self.outages.setdefault(number, Outage(number, 0.0, standing=Standing.TOLD))
        if issubclass(hint, StrEnum):
            return hint(plain(item, str))
        if issubclass(hint, Enum):
            return enum_named(hint, item)
        if is_dataclass(hint):
            return self.value(hint, item)
        return plain(item, hint)

    def _items(
        self, item: JSON, origin: type[Any], arguments: tuple[Any, ...], moment: bool
    ) -> Any:
        if not isinstance(item, list):
            raise ValueError("it is no list")
        hints = list(arguments)
        if origin is list or arguments[-1] is Ellipsis:
            hints = [arguments[0]] * len(item)
        if len(hints) != len(item):
            raise ValueError(f"it has {len(item)} parts")
        return origin(
            self.decoded(each, hint, moment) for each, hint in zip(item, hints, strict=True)
        )


def plain(item: JSON, kind: type[Any]) -> Any:
    """A text, a whole number of at most 64 bits, or true or false. ValueError: it is none."""
    if type(item) is not kind or (kind is int and abs(item) >= MOST):
        raise ValueError(f"it is no {kind.__name__}")
    return item


def number_of_json(item: JSON) -> float:
    """A number. ValueError: it is none."""
    if isinstance(item, bool) or not isinstance(item, int | float) or abs(item) >= MOST:
        raise ValueError("it is no number")
    number = float(item)
    if abs(number) >= MOST:  # rounded up to that
        raise ValueError("it is no number")
    return number


def labels_in(item: JSON) -> dict[str, str]:
    """Texts by name. ValueError: it is no such thing."""
    if not isinstance(item, dict) or not all(isinstance(text, str) for text in item.values()):
        raise ValueError("it is no mapping of texts")
    return {encodable(name): encodable(text) for name, text in item.items()}


def enum_named(kind: type[Enum], item: JSON) -> Enum:
    """The member of this name. ValueError: there is none."""
    name = plain(item, str)
    if name not in kind.__members__:
        raise ValueError(f"it is no {kind.__name__}")
    return kind[name]


def service_of(
    key: str, document: JSON, reader: Reader, settings: Settings
) -> tuple[Watched, float | None]:
    """A service and its due time from the ledger. ValueError where the record is not one."""
    if not key:
        raise ValueError("it has no name")
    due = reader.decoded(at(document, "due_at"), float | None, True)
    container = reader.value(Container, at(document, "container"))
    policy, _ = policy_of(container, settings, "")
    service: Watched = reader.value(Watched, document, key=key, policy=policy)
    if service.phase is Phase.SUSPECT and service.run.end is None:
        raise ValueError("a suspect without a death")
    incident = service.incident
    if incident:
        outage = incident.outage
        if not (outage.members or outage.root or outage.notice):  # it was made up for
            outage.root, outage.began_at = key, incident.began_at
        if key not in outage.members:
            outage.members.append(key)
    return service, due


def service_record(service: Watched, due: float | None, offset: float) -> JSON:
    """A service as the ledger keeps it, with its due time."""
    return record_of(service, offset) | {"due_at": encoded(due, True, offset)}


# ─── Ledger ───────────────────────────────────────────────────────────────────────────────────────

# One table: service (a watched service), outage (what is going on), notice (what was told),
# delivery (that a channel took it), outbox (what waits for a channel), mute (who is left alone,
# until when), drill (a container that somebody kills, to see what comes of it), meta. `at` is
# calendar time, `value` JSON.
CREATE = """CREATE TABLE record
(kind TEXT, key TEXT, at REAL, value TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID"""
MIGRATIONS = ((CREATE,),)
LEDGER_RETRY = 10.0
CHECKPOINT_AFTER = 2.0  # seconds from a commit until the file itself has it
SQLITE_HEADER = 100  # bytes
LOG_KEPT = 64 * 2**10  # bytes of SQLite's log that is not cut again
SIDE_FILES = ("-wal", "-shm", "-journal")  # of SQLite's, beside the file
PRUNED_KINDS = ("notice", "delivery")  # what grows old
KINDS = ("service", "outage", "outbox", "mute", "drill", "meta", *PRUNED_KINDS)
OUTSIDE_KINDS = ("mute", "drill")  # what commands write and delete, beside the daemon
OF_NO_KIND = f"kind NOT IN ({', '.join('?' * len(KINDS))})"
SOUND = "typeof(key) = 'text' AND typeof(at) = 'real' AND typeof(value) = 'text'"  # a record


class LedgerError(Exception):
    """The ledger is not ours to use: another daemon has it, or a newer Sentinel wrote it."""


def not_finite(text: str) -> NoReturn:
    """Refuse NaN and Infinity, which JSON does not have and Python reads."""
    raise ValueError(f"{text} is no number")


class Database(sqlite3.Connection):
    """An SQLite file that may be damaged. What SQLite says is wrong is an error of sqlite3's also
    where it quotes a byte that is no text, for which Python would raise UnicodeDecodeError."""

    def execute(self, *statement: Any) -> sqlite3.Cursor:
        """Do it, or say in SQLite's words why not."""
        try:
            return super().execute(*statement)
        except UnicodeDecodeError as error:
            words = bytes(error.object).decode("utf-8", "replace")
            raise sqlite3.DatabaseError(words) from None


def database_of(path: str, access: str, timeout: float) -> sqlite3.Connection:
    """An SQLite file, open: `access` as in https://sqlite.org/uri.html, `timeout` the seconds that
    it may be locked. A byte that is no text is read as U+FFFD, so that it costs no other record."""
    place = f"file:{urllib.parse.quote(path)}?{access}"
    database = sqlite3.connect(
        place, uri=True, isolation_level=None, timeout=timeout, factory=Database
    )
    database.text_factory = functools.partial(str, encoding="utf-8", errors="replace")
    return database


Name = tuple[str, str]  # kind and key
Saved = tuple[float, str]  # when it was written, by the calendar, and its JSON


class LedgerFile:
    """The ledger on the disk: one SQLite file, in a folder that one daemon holds. A file that
    SQLite can't read is set aside, and another one made.

    A commit is one sync: it goes to SQLite's write-ahead log (https://sqlite.org/wal.html), and
    from there into the file once there is time for that, so that a copy of the file alone lacks
    some seconds at most."""

    def __init__(self, folder: str) -> None:
        self.folder, self.path = folder, os.path.join(folder, "sentinel.db")
        self.database: sqlite3.Connection | None = None
        self.lock: int | None = None
        self.fresh = False  # it was made when it was opened last, and holds nothing yet
        self.stamp: tuple[int, ...] = ()  # of the file, as it was left
        self.version = -1
        self.checkpoint_at = 0.0  # 0: the file itself has all that was committed
        self._stale = False  # it can't take in its log

    def hold(self) -> str:
        """Hold the folder for this process: two daemons would tell and restart everything twice. A
        warning where the file that is there is empty. LedgerError: another daemon holds it."""
        # SQLite takes a file that is shorter than its header for an empty one.
        # But one that is opened anew may be of our own making, and gets all that is alive.
        emptied = self.lock is None and os.path.exists(self.path)
        emptied = emptied and os.path.getsize(self.path) < SQLITE_HEADER
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        self.lock = os.open(
            os.path.join(self.folder, "sentinel.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(
                f"another Sentinel uses the ledger in {self.folder}; give this one its own"
                " SENTINEL_STATE"
            ) from None
        self._make()
        return f"{self.path} was empty; what it held is lost" if emptied else ""

    def open(self) -> str:
        """Open the file, or set it aside and make another; what can be read and not written is
        read, and its writes will fail. A warning where there is reason for one. OSError,
        sqlite3.Error: it can't be used."""
        self.fresh = False
        try:
            self.database = self._connect()
            warning = self._put_in_order(self.database)
        except sqlite3.DatabaseError as error:
            out_of_reach = isinstance(error, sqlite3.OperationalError)
            if out_of_reach and "unsupported file format" not in str(error):
                raise  # which says nothing of what is in it
            aside = self._set_aside()
            self.database = self._connect()
            warning = f"{self.path} could not be used ({error}); it was set aside as {aside}"
        self.note_stamp()
        return warning

    def read_beside(self, access: str) -> None:
        """Open it to be read beside the daemon that writes it; `access` as in
        https://sqlite.org/uri.html. sqlite3.Error: it can't be read."""
        self.database = database_of(self.path, access, 2.0)
        self.database.execute("SELECT kind, key, at, value FROM record LIMIT 1").fetchone()

    def _put_in_order(self, database: sqlite3.Connection) -> str:
        """Write all records anew if some stand out of order, as those whose names were damaged:
        SQLite, which looks for names in order, would not find others. In words, if that was so."""
        if database.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",):
            return ""
        rows = database.execute("SELECT kind, key, at, value FROM record").fetchall()
        was = f"{self.path} was damaged: its records stood out of order, and"
        try:
            database.execute("BEGIN IMMEDIATE")
            database.execute("DELETE FROM record")
            database.executemany("INSERT OR IGNORE INTO record VALUES (?, ?, ?, ?)", rows)
            database.execute("COMMIT")
        except sqlite3.OperationalError as error:  # as on a disk that takes nothing
            if database.in_transaction:
                database.execute("ROLLBACK")
            return f"{was} can't be sorted ({error})"
        return f"{was} are sorted again"

    def _set_aside(self) -> str:
        """Move an unreadable file away, and its logs, which would be played into the new one."""
        self.close()
        aside = f"{self.path}.corrupt-{time.time_ns()}"
        os.replace(self.path, aside)
        for side in SIDE_FILES:
            with contextlib.suppress(FileNotFoundError):
                os.replace(self.path + side, aside + side)
        self._make()
        return aside

    def _make(self) -> None:
        """An empty file where there is none, for its owner only from the start."""
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _connect(self) -> sqlite3.Connection:
        """The file, open; to be read alone where the disk takes no log beside it."""
        try:
            return self._connection("mode=rw")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise
            return self._connection("immutable=1")

    def _connection(self, access: str) -> sqlite3.Connection:
        database = database_of(self.path, access, 1.0)
        try:
            self._migrate(database)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _migrate(self, database: sqlite3.Connection) -> None:
        """Bring the file to this version's form; DatabaseError where it is none of ours."""
        with contextlib.suppress(sqlite3.OperationalError):  # else as it is: slower
            database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute(f"PRAGMA journal_size_limit = {LOG_KEPT}")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -256")  # KiB: what is in it is in memory anyway
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version > len(MIGRATIONS) or (version == 0 and tables):
            raise sqlite3.DatabaseError(
                "a newer Sentinel wrote it" if version else "another program wrote it"
            )
        if version < len(MIGRATIONS):
            database.execute("BEGIN IMMEDIATE")
            for statement in itertools.chain.from_iterable(MIGRATIONS[version:]):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            database.execute("COMMIT")
        self.fresh = version == 0
        columns = [row[1] for row in database.execute("PRAGMA table_info(record)")]
        if columns != ["kind", "key", "at", "value"] or database.execute(
            "PRAGMA quick_check"
        ).fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it is no ledger, or its pages do not fit together")

    def touched(self) -> bool:
        """Whether another program has removed or overwritten it: SQLite, which reads from its log
        and from memory, would not see that. OSError: it is gone."""
        return self.stamp != self._stamp_now()

    def note_stamp(self) -> None:
        """Note how it is left. OSError: it is gone."""
        self.stamp = self._stamp_now()

    def _stamp_now(self) -> tuple[int, ...]:
        """What changes when somebody writes to the file, or takes its log away; without a log all
        write to the file itself. OSError: it is gone."""
        there = os.stat(self.path)
        if not os.path.exists(f"{self.path}-wal"):
            return (there.st_ino,)
        return there.st_ino, there.st_size, there.st_mtime_ns

    def changed_outside(self) -> bool:
        """Whether another process (`mute`) has written to the file since this was asked last."""
        if not self.database:
            return False
        before = self.version
        with contextlib.suppress(sqlite3.Error):
            (self.version,) = self.database.execute("PRAGMA data_version").fetchone()
        return before != self.version

    def committed(self, now: float) -> None:
        """Something was written into its log."""
        self.checkpoint_at = self.checkpoint_at or now + CHECKPOINT_AFTER

    def checkpoint(self, now: float) -> str:
        """Bring what was committed into the file itself, if it is time for that and nobody reads
        it. Why that can't be, in words, where it is news."""
        if not self.database or not self.checkpoint_at or now < self.checkpoint_at:
            return ""
        try:
            row = self.database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self.note_stamp()
        except (OSError, sqlite3.Error) as error:
            self.close()  # what is written next may still find a place
            news, self._stale = not self._stale, True
            return f"{self.path} can't take in its log ({error})" if news else ""
        _, logged, done = row
        self._stale = False
        self.checkpoint_at = 0.0 if logged == done else now + CHECKPOINT_AFTER
        return ""

    def close(self) -> None:
        """Close the file, which is whole then; what is to be written next opens it anew."""
        if self.database:
            with contextlib.suppress(sqlite3.Error):
                self.database.close()
        self.database = None
        self.checkpoint_at = 0.0
        self.version = -1


class Ledger:
    """The durable memory, written by the main thread alone, one transaction a decision. What can't
    be written (a full or read-only disk, a folder that is gone) stays in memory and is written once
    the disk takes it; a new file gets everything that is alive."""

    def __init__(self, folder: str, mask: Callable[[str], str] = str) -> None:
        """`mask`: takes out of every record what must not be written."""
        self.file, self.mask = LedgerFile(folder), mask
        self.alive: dict[Name, Saved] = {}  # what a new file would have to hold
        self.unsaved: dict[Name, Saved | None] = {}  # None: to be deleted
        self.trouble = ""
        self.retry_at = 0.0
        self.odd: list[str] = []

    @property
    def database(self) -> sqlite3.Connection | None:
        """Its file, where that is open."""
        return self.file.database

    def open(self) -> str:
        """Take its file, and make it if need be. A warning where there is reason for one.
        LedgerError: it is not ours."""
        self.trouble = warning = ""
        try:
            warning = self.file.hold()
        except OSError as error:
            self._give_up(error)
        try:
            warning = self.file.open() or warning
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
        if self.file.fresh:
            self.unsaved = {**self.alive, **self.unsaved}
        return self.trouble or warning

    def put(self, kind: str, key: str, value: JSON, at_time: float) -> None:
        """Have a record written with the next commit, if it is news."""
        text = self.mask(json.dumps(value, separators=(",", ":")))
        known = self.alive.get((kind, key))
        if known and known[1] == text:
            return
        self.unsaved[kind, key] = at_time, text
        if kind != "delivery":
            self.alive[kind, key] = at_time, text

    def newest(self) -> float:
        """When the position, which moves with all that is written, was written last, by the
        calendar."""
        written_at, _ = self.alive.get(("meta", "position"), (0.0, ""))
        sane = isinstance(written_at, float) and written_at < UNTIL_TIME
        return written_at if sane else 0.0

    def release(self, kind: str, key: str) -> None:
        """Keep a record, but no longer in memory."""
        self.alive.pop((kind, key), None)

    def drop(self, kind: str, key: str) -> None:
        """Have a record deleted with the next commit."""
        if self.alive.pop((kind, key), None):
            self.unsaved[kind, key] = None

    def commit(self, now: float) -> str:
        """Write what is unsaved, all or nothing. What has changed about the ledger's state, in
        words, if anything has."""
        if not self.unsaved or now < self.retry_at:
            return ""
        before = self.trouble
        touched = self._let_go_if_touched()
        words = self._write_or_renew(before) or touched
        if self.database is None:
            self.retry_at = now + LEDGER_RETRY
            return "" if before else self.trouble
        self.retry_at = 0.0
        self.file.committed(now)
        self.trouble = ""
        if words or before:
            return "; ".join(filter(None, (words, f"{self.file.path} is written again")))
        return ""

    def _give_up(self, error: Exception) -> None:
        path = self.file.path
        self.trouble = f"{path} can't be used ({error}); remembering in memory until it can"
        self.file.close()

    def _let_go_if_touched(self) -> str:
        """Let go of a file that others have removed or overwritten, which is said. What comes in
        its place gets all that is alive, but for mutes, which others write."""
        if not self.database:
            return ""
        try:
            if not self.file.touched():
                return ""
        except OSError:
            self._give_up(FileNotFoundError("it is gone"))
            return ""
        self.file.close()
        ours = {name: saved for name, saved in self.alive.items() if name[0] != "mute"}
        self.unsaved = {**ours, **self.unsaved}
        return f"{self.file.path} was touched by another program"

    def _write_or_renew(self, before: str) -> str:
        """Write; a file that turns out to be unusable is set aside, and a new one written, at
        once."""
        words = ""
        for _ in range(2):
            failed = self.trouble
            if self.database is None:
                words = self._reopen() or (failed if failed != before else "")
            if self.database:
                self._write(self.database)
        return words

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
            self.file.note_stamp()
            self.unsaved.clear()
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def since(self, kind: str, time: float) -> dict[str, tuple[float, JSON]]:
        """The records of a kind that are of this time or later, each with its own."""
        found: dict[str, tuple[float, JSON]] = {}
        if self.database:
            query = f"SELECT key, at, value FROM record WHERE kind = ? AND at >= ? AND {SOUND}"
            for key, at_time, text in self.database.execute(query, (kind, time)):
                found[key] = at_time, json_in(text)
        return found

    def prune(self, before_time: float, now_time: float) -> None:
        """Forget notices and deliveries that are older, and no longer wait; and mutes that are
        over. One transaction: each costs a sync of the disk."""
        if not self.database:
            return
        try:
            old = self._old(self.database, before_time, now_time)
            self.database.execute("BEGIN IMMEDIATE")
            self.database.executemany("DELETE FROM record WHERE kind = ? AND key = ?", old)
            aged = f"{OF_NO_KIND} AND NOT (typeof(at) = 'real' AND at >= ?)"
            self.database.execute(f"DELETE FROM record WHERE {aged}", (*KINDS, before_time))
            self.database.execute("COMMIT")
            self.file.note_stamp()
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
            return
        for name in old:
            self.alive.pop(name, None)

    def _old(
        self, database: sqlite3.Connection, before_time: float, now_time: float
    ) -> list[tuple[str, str]]:
        """The records that are to be forgotten."""
        told = database.execute(
            "SELECT kind, key FROM record WHERE kind IN (?, ?) AND at < ?",
            (*PRUNED_KINDS, before_time),
        ).fetchall()
        over = database.execute(
            "SELECT kind, key FROM record WHERE kind = 'mute' AND at < ?", (now_time,)
        ).fetchall()
        return [name for name in told if name not in self.alive] + over

    def mutes_alive(self, offset: float) -> dict[str, float]:
        """Who is muted by command, as far as this process knows; it may not be written yet."""
        alive = {name[1]: text for name, (_, text) in self.alive.items() if name[0] == "mute"}
        return {name: float(text) - offset for name, text in alive.items()}

    def mutes(self, offset: float) -> dict[str, float]:
        """Who is muted by command, and until when."""
        mutes: dict[str, float] = {}
        for name, until in self.records("mute").items():
            if isinstance(until, float):
                mutes[name] = until - offset
            else:
                self.odd.append(f"mute {name}")
        return mutes

    def drills(self) -> dict[str, Drill]:
        """Which containers are killed to see what comes of it."""
        drills: dict[str, Drill] = {}
        for container_id, document in self.records("drill").items():
            since_time = at(document, "since")
            if isinstance(since_time, float):
                drills[container_id] = Drill(since_time, at(document, "pings") is True)
            else:
                self.odd.append(f"drill {container_id}")
        return drills

    def take_odd(self) -> list[str]:
        """Records that could not be read, once."""
        odd = self.odd
        self.odd = []
        return odd

    @classmethod
    def beside(cls, folder: str) -> Ledger | None:
        """The ledger of a folder, to be read beside the daemon that writes it; None where there is
        none. One that can't be read has no records, and says why in `trouble`."""
        made = cls(folder)
        try:
            empty = os.path.getsize(made.file.path) == 0
        except FileNotFoundError:
            return None
        except OSError as error:
            made.be_unreadable(str(error.strerror))
            return made
        if empty:
            return None
        # A log that is not there would be made, to read beside nobody.
        logged = os.path.exists(f"{made.file.path}-wal")
        for access in ("mode=ro", "immutable=1") if logged else ("immutable=1",):
            made.trouble = ""
            try:
                made.file.read_beside(access)
                break
            except sqlite3.Error as error:
                made.be_unreadable(str(error))
        made.name_strangers()
        return made

    def records(self, kind: str) -> dict[str, JSON]:
        """All records of a kind; one that can't be read is left out, and named in `odd`."""
        found: dict[str, JSON] = {}
        if kind in OUTSIDE_KINDS:
            for name in [name for name in self.alive if name[0] == kind]:
                del self.alive[name]
        for key, at_time, text in self._rows(kind):
            try:
                found[key] = json.loads(text, parse_constant=not_finite)
            except (ValueError, TypeError, RecursionError):
                self.odd.append(f"{kind} {key}")
                continue
            if kind not in PRUNED_KINDS:
                self.alive[kind, key] = at_time, text
        return found

    def name_strangers(self) -> None:
        """Note the records that nobody reads: one whose kind was damaged is of none. Where a page
        is damaged, that is its trouble."""
        if self.database:
            query = f"SELECT kind, key FROM record WHERE {OF_NO_KIND}"
            try:
                self.odd += [f"{kind} {key}" for kind, key in self.database.execute(query, KINDS)]
            except sqlite3.Error as error:
                self.trouble = f"a part of {self.file.path} can't be read ({error})"

    def _rows(self, kind: str) -> list[tuple[str, float, str]]:
        """The records of a kind: of all that there are, since some may stand out of order, or where
        a page is damaged, as SQLite finds them in order."""
        if not self.database:
            return []
        for place in ("+kind", "kind"):  # + takes it out of the order's hands
            try:
                query = f"SELECT key, at, value FROM record WHERE {place} = ?"
                return self.database.execute(query, (kind,)).fetchall()
            except sqlite3.Error as error:
                why = str(error)
        self.be_unreadable(why)
        return []

    def be_unreadable(self, why: str) -> None:
        """Let go of the file, and keep why in words."""
        self.trouble = f"{self.file.path} can't be read ({why})"
        self.file.close()


def outside_ledger(path: str) -> contextlib.closing[sqlite3.Connection]:
    """The daemon's ledger, to be written by another process. sqlite3.Error: it can't be."""
    return contextlib.closing(database_of(path, "mode=rw", 5.0))


def write_outside(
    database: sqlite3.Connection, kind: str, key: str, at_time: float, value: JSON
) -> None:
    """Write a record that the daemon reads at once."""
    row = (kind, key, at_time, json.dumps(value))
    database.execute("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)", row)


def state_folder(settings: Settings, environment: Mapping[str, str]) -> str:
    """Where the ledger lives: as set, as systemd says, the system's place, else the user's."""
    chosen = settings.state or environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if chosen:
        return chosen
    system = "/var/lib/sentinel"
    there = system if os.path.isdir(system) else os.path.dirname(system)
    if os.access(there, os.W_OK):
        return system
    home = environment.get("HOME", "/tmp")
    states = environment.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    return os.path.join(states, "sentinel")


# ─── HTTP ─────────────────────────────────────────────────────────────────────────────────────────

WEB_TIMEOUT, WEB_PATIENCE = 15.0, 30.0  # seconds for each read, and for the whole of a request
LONGEST_HOLD = 86400.0  # a channel or a proxy may ask to be left alone for so long
HTTP_ERRORS = (OSError, http.client.HTTPException, ValueError, OverflowError)

Headers = Mapping[str, str] | email.message.Message  # the latter finds names in any case


def hang_up(sock: socket.socket | None) -> None:
    """End a connection from another thread: whoever reads from it sees the end at once."""
    if sock:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, or why there is none: `status` 0, and `sent` if the request may have
    arrived."""

    status: int
    headers: Headers = field(default_factory=dict)
    body: bytes = b""
    why: str = ""
    sent: bool = False

    @property
    def ok(self) -> bool:
        """Whether what was asked is done."""
        return 200 <= self.status < 300

    @property
    def document(self) -> JSON:
        """The body, if it is JSON."""
        return json_in(self.body)

    @property
    def code(self) -> int | None:
        """Discord's own code of an error, None where the answer is not Discord's."""
        code = at(self.document, "code")
        return code if isinstance(code, int) and not isinstance(code, bool) else None


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `patience`: seconds for the whole of it, from the connection to the last byte;
    `limit`: bytes of an answer."""

    method: str
    path: str
    patience: float
    limit: int
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Deadline:
    """A moment at which a connection is hung up: its own timeout counts for each read, and an
    answer that drips would take for ever."""

    def __init__(self, connection: http.client.HTTPConnection, patience: float) -> None:
        self.connection = connection
        self.passed = False
        self._timer = timer = threading.Timer(patience, self._pass)
        timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def check(self) -> None:
        """TimeoutError: it has passed."""
        if self.passed:
            raise TimeoutError

    def _pass(self) -> None:
        self.passed = True
        hang_up(self.connection.sock)


def exchange(connection: http.client.HTTPConnection, request: Request) -> Answer:
    """One request and its answer, over a connection that is open, or is opened for it; where it
    can't serve another one, it is closed. ExchangeError: there is no answer."""
    sent = False
    with Deadline(connection, request.patience) as deadline:
        try:
            if connection.sock is None:
                connection.connect()
            deadline.check()  # what is given up is not sent any more
            sent = True
            connection.request(request.method, request.path, request.body, dict(request.headers))
            response = connection.getresponse()
            body = response.read(request.limit)
            deadline.check()
        except HTTP_ERRORS as error:
            connection.close()
            cause = TimeoutError() if deadline.passed else error
            raise ExchangeError(cause, sent) from error
    if not response.isclosed():  # the rest of its answer is on the way
        connection.close()
    return Answer(response.status, response.headers, body)


class WebConnection(http.client.HTTPConnection):
    """HTTP over TCP, and over TLS where `tls` is given: with the session of an earlier connection,
    so that no certificates are sent. A request's head and body leave in one packet."""

    def __init__(
        self,
        place: tuple[str, int],
        name: str,
        tls: ssl.SSLContext | None,
        session: ssl.SSLSession | None,
    ) -> None:
        """`place`: host and port that are connected to; `name`: the host that the certificate has
        to be for."""
        super().__init__(*place, timeout=WEB_TIMEOUT)
        self.name, self.tls, self.session = name, tls, session
        self._parts: list[bytes] | None = None  # of a request that is being put together
        if tls:
            self.default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        """Open it, through a proxy's tunnel where one is set. The handshake is done once `sock` can
        be hung up."""
        super().connect()
        keep_alive(self.sock)
        if self.tls:
            wrapped = self.tls.wrap_socket(
                self.sock,
                server_hostname=self.name,
                session=self.session,
                do_handshake_on_connect=False,
            )
            self.sock = wrapped
            wrapped.do_handshake()

    def endheaders(self, message_body: Any = None, *, encode_chunked: bool = False) -> None:
        """Send head and body together."""
        parts: list[bytes] = []
        self._parts = parts
        try:
            super().endheaders(message_body, encode_chunked=encode_chunked)
        finally:
            self._parts = None
        super().send(b"".join(parts))

    def send(self, data: Any) -> None:
        """Send something, or gather it."""
        if self._parts is None:
            super().send(data)
        else:
            self._parts.append(data)

    @property
    def is_open(self) -> bool:
        """Whether it can be asked something: it is connected, and the far side has neither ended it
        nor said anything unasked."""
        if self.sock is None:
            return False
        self.sock.settimeout(0.0)
        try:
            self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True  # what there was to read, as a new session, was for TLS alone
        except OSError:
            return False
        finally:
            self.sock.settimeout(self.timeout)
        return False


ALIVE_EVERY, ALIVE_PATIENCE = 150, 10  # seconds; address translators forget after some five minutes


def keep_alive(sock: socket.socket) -> None:
    """Have the kernel ask an idle connection whether it still is one, and give up what nobody
    acknowledges."""
    if sys.platform == "linux":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, ALIVE_EVERY)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, ALIVE_PATIENCE * 1000)


STEADY = 20.0  # a connection that lived so long is worth to be opened anew at once
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0


class Line:
    """A warm connection to one place, so that an alert need not wait for one: opened before it is
    needed, watched while it is idle, and opened anew when the far side has ended it. Nothing is
    asked on one that has ended, so nothing has to be asked twice for that."""

    def __init__(self, make: Callable[[ssl.SSLSession | None], WebConnection]) -> None:
        """`make`: a connection that is not open yet, and goes on with a session."""
        self._make = make
        self._lock = threading.Lock()  # whoever holds it may use the connection
        self._session: ssl.SSLSession | None = None
        self._connection = make(None)
        self._bell, self._button = socket.socketpair()  # wakes the keeper
        threading.Thread(target=self._keep, name="line", daemon=True).start()

    def exchange(self, request: Request) -> Answer:
        """See `exchange()`. While another request takes its time, over one of its own."""
        if not self._lock.acquire(timeout=request.patience):
            with contextlib.closing(self._make(None)) as connection:
                return exchange(connection, request)
        try:
            self._renew()
            return exchange(self._connection, request)
        finally:
            self._lock.release()
            with contextlib.suppress(BlockingIOError):  # it has been rung before
                self._button.send(b"!", socket.MSG_DONTWAIT)

    def _renew(self) -> None:
        """Put another in the place of a connection that has ended."""
        before = self._connection
        if before.is_open:
            return
        if isinstance(before.sock, ssl.SSLSocket):
            self._session = before.sock.session
        before.close()
        self._connection = self._make(self._session)

    def _keep(self) -> None:
        """Open it anew whenever it has ended, later and later where that is of no use."""
        pause = 0.0
        while True:
            self._wait(pause, None)
            opened_at = time.monotonic()
            self._open()
            while sock := self._idle():
                self._wait(math.inf, sock)
            lived = time.monotonic() - opened_at
            pause = 0.0 if lived >= STEADY else min(max(FIRST_PAUSE, 2 * pause), LONGEST_PAUSE)

    def _open(self) -> None:
        with self._lock:
            self._renew()
            if self._connection.sock is None:
                with Deadline(self._connection, WEB_PATIENCE), contextlib.suppress(*HTTP_ERRORS):
                    self._connection.connect()

    def _idle(self) -> socket.socket | None:
        """The connection's socket, if it is open."""
        with self._lock:
            return self._connection.sock if self._connection.is_open else None

    def _wait(self, seconds: float, sock: socket.socket | None) -> None:
        """Until something is said on the connection, or it was used."""
        wait_for(self._bell, sock, seconds)


def wait_for(bell: socket.socket, sock: socket.socket | None, seconds: float) -> None:
    """Until a bell is rung, or there is something to read, or so many seconds are over."""
    waiting = select.poll()
    for each in filter(None, (bell, sock)):
        if each.fileno() >= 0:
            waiting.register(each, select.POLLIN)
    waiting.poll(None if seconds == math.inf else max(0.0, seconds) * 1000)
    with contextlib.suppress(BlockingIOError):
        bell.recv(1024, socket.MSG_DONTWAIT)


class ExchangeError(Exception):
    """A request without an answer. `cause`: what went wrong; `sent`: it may have arrived."""

    def __init__(self, cause: Exception, sent: bool) -> None:
        super().__init__(str(cause))
        self.cause, self.sent = cause, sent


def seconds_of(value: object) -> float:
    """Seconds from a header or a JSON number, 0 where there are none."""
    try:
        seconds = float(str(value))
    except ValueError:
        return 0.0
    return min(seconds, LONGEST_HOLD) if seconds > 0 else 0.0


# ─── Own container ────────────────────────────────────────────────────────────────────────────────

SAME_PROCESS = 5.0  # two starts that differ by less are one
MOUNTED = re.compile(
    r"/(?:containers|overlay-containers)/([0-9a-f]{64})"
    r"/(?:userdata/)?(?:hostname|hosts|resolv\.conf)"
)


def own_candidate(mountinfo: str, cgroup: str, hostname: str) -> str:
    """The id of the container that this process may run in, empty outside of one. Files that Docker
    and Podman mount into it name it, also with private namespaces; the cgroup's path does on v1;
    the hostname does unless it was set."""
    mounted = MOUNTED.search(mountinfo)
    if mounted:
        return mounted[1]
    grouped = re.search(r"[0-9a-f]{64}", cgroup)
    if grouped:
        return grouped[0]
    return hostname if re.fullmatch(r"[0-9a-f]{12}", hostname) else ""


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
    if not boot or len(ticks) <= START_TICKS:
        return 0.0
    return int(boot[1]) + int(ticks[START_TICKS]) / os.sysconf("SC_CLK_TCK")


START_TICKS = 19  # its place in /proc/PID/stat, behind the name


def own_container(engine: Engine) -> str:
    """Sentinel's own container; with `network_mode: container:X`, where mounts name X, the one that
    started with us."""
    mountinfo, cgroup = read_text("/proc/self/mountinfo"), read_text("/proc/self/cgroup")
    candidate = own_candidate(mountinfo, cgroup, socket.gethostname())
    container = engine.inspect(candidate) if candidate else None
    if container is None:
        return ""
    started = first_process_time()
    if not started or abs(container.started_time - started) < SAME_PROCESS:
        return container.id
    for row in engine.list():
        if text_at(row, "HostConfig", "NetworkMode") == f"container:{container.id}":
            other = engine.inspect(text_at(row, "Id"))
            if other and abs(other.started_time - started) < SAME_PROCESS:
                return other.id
    return container.id


# ─── Engine ───────────────────────────────────────────────────────────────────────────────────────

FORBIDDEN = (403, 405)  # what socket proxies say to a call that they do not let through
OVERLOADED = (502, 503, 504)  # a proxy gave up: the engine may still be at it
NOT_MODIFIED, NOT_FOUND = 304, 404
ASK_TIMEOUT, ASK_PATIENCE = 10.0, 30.0  # seconds for each read, and for the whole of a request
START_PATIENCE = 30.0  # for a start, and for a restart beyond its stop timeout
ANSWER_LIMIT = 64 * 2**20  # bytes of an answer; 2,000 containers list in 3 MB
EVENT_LIMIT = 2**20  # bytes of one event; it holds the container's labels
ERROR_LIMIT, ERROR_SHOWN = 4000, 600
LOG_TAIL, LOG_LINES = 40, 20
LOG_TAIL_BEFORE = 400  # where another run has written since
LOG_LINE_LIMIT = 2**15  # bytes; the engine counts a long line in pieces of 16 kB
EVENTS_KEPT = 256  # by the engine
RECORD_MARK = b"\x1e"  # before each event of a stream of application/json-seq (RFC 7464)
LIBPOD_API = "v4.0.0"  # any will do
LIBPOD_TRIES = 3  # to have both inspects of one run
FOLLOWED = 5.0  # seconds at most that events of the past are read from a stream
QUIET_STREAM = 0.5  # seconds without another one, and all have come
HALF_SECOND = 0.5
ANSWER_TIME = 0.05  # by which a clock that was asked for may be wrong
REPLAYED = 30.0  # a first stream begins so many seconds ago
PORT, TLS_PORT = 2375, 2376
EVENTS = (
    "create",
    "attach",
    "start",
    "die",
    "died",
    "kill",
    "stop",
    "restart",
    "oom",
    "pause",
    "unpause",
    "rename",
    "destroy",
    "remove",
    "update",
    "health_status",
)
TELLING_EVENTS = tuple(
    name for name in EVENTS if name != "health_status"
)  # of which there are many


def filter_for(actions: Collection[str]) -> str:
    """The filter of a query for the containers' events."""
    wanted = {"type": ["container"], "event": list(actions)}
    return urllib.parse.quote(json.dumps(wanted, separators=(",", ":")))


EVENT_FILTER = filter_for(EVENTS)


def version_in(text: str) -> tuple[int, ...]:
    """A version's numbers: (5, 4) of `5.4.2-rc1`; empty for none."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})", text, re.ASCII)
    return (int(match[1]), int(match[2])) if match else ()


def is_tcp(host: str) -> bool:
    """Whether an engine is spoken to over TCP, where TLS is possible."""
    return urllib.parse.urlsplit(host).scheme in ("tcp", "http")


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


PODMAN_HELP = "Podman's API service has a socket of its own: systemctl enable --now podman.socket"
CONNECTION_HELP: dict[type[Exception], str] = {
    FileNotFoundError: "no such socket; is Docker running? In a container, mount it; elsewhere, set"
    " DOCKER_HOST",
    PermissionError: "no permission; add this user, or the container (group_add),"
    " to the group of the socket",
    ConnectionRefusedError: "nobody answers; is Docker running?",
    TimeoutError: "no answer in time; the engine may hang",
}


def connection_help(host: str, error: Exception, podman: bool) -> str:
    """Why an engine can't be reached, and what to do about it."""
    if isinstance(error, ssl.SSLError):
        why = error.reason or error
        return f"{host}: TLS failed ({why}); see DOCKER_TLS_VERIFY and DOCKER_CERT_PATH"
    if isinstance(error, http.client.HTTPException):
        return f"{host}: this is not a Docker Engine ({type(error).__name__})"
    if (podman or "podman" in host) and isinstance(
        error, FileNotFoundError | ConnectionRefusedError
    ):
        return f"{host}: nobody answers; {PODMAN_HELP}"
    return f"{host}: {CONNECTION_HELP.get(type(error), error) or type(error).__name__}"


def error_text(status: int, body: bytes) -> str:
    """The message of an engine's error answer: JSON's `message`, else the text; a proxy's HTML
    shortened."""
    text = body[:ERROR_LIMIT].decode(errors="replace")
    text = text_at(json_in(body), "message")[:ERROR_LIMIT] or text
    words = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    if "HTTP request to an HTTPS server" in words:  # as Go's servers say it
        words += " It wants TLS: set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH"
    return clip(words, ERROR_SHOWN) or f"HTTP {status}"


STAMP = re.compile(r"\d{4}-\d\d-\d\dT\S+ ?")


def frames_of(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The frames of a log without a TTY: an 8-byte header (stream, three zeros, length), then the
    payload."""
    position = 0
    while re.match(rb"[\0-\2]\0\0\0.{4}", body[position : position + 8], re.S):
        size = int.from_bytes(body[position + 4 : position + 8], "big")
        yield body[position], body[position + 8 : position + 8 + size]
        position += 8 + size


def framed_texts(body: bytes) -> list[str]:
    """The texts of a log's frames, those of one line joined: over 16 KiB it comes in several, each
    with a stamp of its own."""
    texts: list[str] = []
    unfinished: dict[int, int] = {}
    for stream, payload in frames_of(body):
        text = payload.decode(errors="replace")
        index = unfinished.pop(stream, None)
        if index is None:
            index = len(texts)
            texts.append(text)
        else:
            texts[index] += STAMP.sub("", text, count=1)
        if not text.endswith("\n"):
            unfinished[stream] = index
    return texts


def log_lines(body: bytes, tty: bool) -> list[str]:
    """Log lines of an answer, in the order of their time stamps, which are cut off. 20.10 does not
    say in a header whether there are frames, so the bytes themselves are checked too."""
    texts = [] if tty else framed_texts(body)
    lines: list[str] = []
    for text in texts or [body.decode(errors="replace")]:
        lines += filter(None, re.split(r"\r?\n", text))
    if all(STAMP.match(line) for line in lines):
        lines.sort(key=lambda line: line.partition(" ")[0])
        lines = [STAMP.sub("", line, count=1) for line in lines]
    return lines


def record_in(line: bytes) -> JSON:
    """What a line of a stream says, None where that is nothing."""
    return json_in(line.lstrip(RECORD_MARK))


def path_of(container_id: str, call: str) -> str:
    """The path of a call about one container."""
    name = urllib.parse.quote(container_id, safe="", errors="replace")
    return f"/containers/{name}/{call}"


class Engine:
    """The Docker Engine's API, as far as Sentinel needs it. Unversioned paths: each engine's own
    newest version."""

    def __init__(self, host: str, tls: ssl.SSLContext | None = None, heals: bool = False) -> None:
        """`heals`: it is to be asked whether restarts are let through."""
        self.host, self.tls, self.heals = host, tls, heals
        self.libpod: tuple[int, ...] = ()  # Podman's version, which it says in every answer
        self.version = ""
        self.reticent = False  # it could not say what it is, and may next time
        self.rootless = False
        self.clock = time.time
        self.ahead = 0.0  # its clock is, of Sentinel's
        self.identity: tuple[str, str, str] | None = None
        self.tell_only = ""  # why nothing can be restarted, as far as that is known
        self.stream: socket.socket | None = None

    @property
    def kind(self) -> EngineKind:
        """What kind of engine it is, as far as it has answered."""
        if not self.libpod:
            return EngineKind.DOCKER
        return EngineKind.ROOTLESS if self.rootless else EngineKind.PODMAN

    def meet(self, headers: Headers) -> None:
        """Learn from the headers of an answer what it is, and its clock."""
        self.libpod = self.libpod or version_in(headers.get("Libpod-API-Version") or "")
        self.ahead = clock_ahead(headers.get("Date"), self.clock(), self.ahead)

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """A new connection for one request."""
        parts = urllib.parse.urlsplit(self.host)
        if parts.scheme == "unix":
            return UnixConnection(parts.path, timeout)
        name = parts.hostname or ""
        if self.tls:
            port = parts.port or TLS_PORT
            return http.client.HTTPSConnection(name, port, timeout=timeout, context=self.tls)
        return http.client.HTTPConnection(name, parts.port or PORT, timeout=timeout)

    def ask(
        self,
        method: str,
        path: str,
        patience: float = ASK_PATIENCE,
        limit: int = ANSWER_LIMIT,
    ) -> bytes:
        """The body of one answer; EngineError for everything that is not a 2xx or 304."""
        timeout = min(patience, ASK_TIMEOUT) if method == "GET" else patience
        try:
            request = Request(method, path, patience, limit)
            with contextlib.closing(self.connect(timeout)) as connection:
                answer = exchange(connection, request)
        except ExchangeError as error:
            raise EngineError(connection_help(self.host, error.cause, bool(self.libpod))) from error
        self.meet(answer.headers)
        if not answer.ok and answer.status != NOT_MODIFIED:
            raise EngineError(error_text(answer.status, answer.body), answer.status)
        return answer.body

    def read(self, path: str, seen: Callable[[dict[str, JSON]], JSON] | None = None) -> JSON:
        """A JSON answer. `seen` takes each of its objects, and gives what is to be kept of it."""
        try:
            return json.loads(self.ask("GET", path), object_hook=seen)
        except (ValueError, RecursionError) as error:
            words = f"{self.host}: this is not a Docker Engine (its answer is no JSON)"
            raise EngineError(words) from error

    def list(self) -> list[JSON]:
        """All containers, as the list shows them."""
        rows = self.read("/containers/json?all=1", row_facts)
        if not isinstance(rows, list):
            raise EngineError(f"{self.host}: this is not a Docker Engine (its list is no list)")
        return rows

    def inspect(self, container_id: str) -> Container | None:
        """One container, None where it no longer exists."""
        try:
            document = self.read(path_of(container_id, "json"))
            container = container_of(document)
            if self.libpod:
                container = self.ask_libpod(container_id, container)
        except EngineError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        files = compose_files(container.labels)
        seen = bool(files) and self.host.startswith("unix:") and all(map(os.path.isfile, files))
        known_id = container.id or container_id
        return replace(container, id=known_id, kind=self.kind, files_seen=seen)

    def ask_libpod(self, container_id: str, container: Container) -> Container:
        """A container with Podman's own words on it, as far as no proxy forbids to ask for them;
        what has been restarted between the two questions is asked about anew. EngineError: it is
        gone, or is being removed."""
        path = path_of(container_id, "json")
        for _ in range(LIBPOD_TRIES):
            try:
                document = self.read(f"/{LIBPOD_API}/libpod{path}")
            except EngineError as error:
                if container.running or error.status in FORBIDDEN:
                    return container
                if error.status == NOT_FOUND and self.read(path):  # else it is gone
                    return container
                raise
            if unix_time(text_at(document, "State", "StartedAt")) == container.started_time:
                break
            container = container_of(self.read(path))
        return with_libpod(container, document, self.libpod)

    def containers(self) -> tuple[Container, ...]:
        """Every container, inspected."""
        found = (self.inspect(text_at(row, "Id")) for row in self.list())
        return tuple(filter(None, found))

    def logs(self, container: Container, since: float) -> tuple[str, ...]:
        """The last lines of its last run, which has ended; none where they can't be read. What is
        from before `since` is known to be of another run, if that was before its start."""
        known = since if since < container.started_time else 0.0
        return self.log_tail(container, LOG_TAIL, max(known, container.lines_time))[-LOG_LINES:]

    def logs_before(self, container: Container, since: float) -> tuple[str, ...]:
        """The last lines from `since` until the run began that is there now; none where they can't
        be read. Engines count lines before they look at their times, so many are asked for."""
        lines = self.log_tail(container, LOG_TAIL_BEFORE, since, container.lines_before_time)
        return lines[-LOG_LINES:]

    def log_tail(
        self, container: Container, most: int, since: float = 0.0, until: float = 0.0
    ) -> tuple[str, ...]:
        """The last lines, between two of the engine's times where they are given; none where the
        log driver can't be read (501) or it is gone."""
        query = f"logs?stdout=1&stderr=1&timestamps=1&tail={most}"
        if since:
            query += f"&since={since:.3f}"
        if until:
            query += f"&until={until:.3f}"
        try:
            body = self.ask("GET", path_of(container.id, query), limit=most * LOG_LINE_LIMIT)
        except EngineError:
            return ()
        lines = log_lines(body, container.tty)[-most:]
        return tuple(line[-LONGEST_LINE:] for line in lines)

    def look(self, container_id: str, since: float = 0.0) -> Looked:
        """Inspect, and read the last lines since then of one that is down, or, where `since` is
        told, has been between then and the start of its run."""
        try:
            container = self.inspect(container_id)
        except EngineError as error:
            return Looked(container_id, None, why=str(error), unanswered=not error.status)
        logs: tuple[str, ...] = ()
        if container and container.started_time and not container.running:
            logs = self.logs(container, since)
        elif container and 0.0 < since < container.lines_time:
            logs = self.logs_before(container, since)
        return Looked(container_id, container, logs)

    def list_all(self) -> Listed | ListFailed:
        """A listing, with Sentinel's own container and the engine's name, which the first one finds
        out."""
        try:
            rows = self.list()
            if self.identity is None:
                if self.heals and is_tcp(self.host):
                    self.tell_only = self.forbids_restarts()
                self.identity = own_container(self), *self.name()
        except EngineError as error:
            return ListFailed(str(error))
        me, host, engine = self.identity
        if self.reticent:
            self.identity = None  # it may say next time what it is
        seen = tuple(row for row in map(row_of, rows) if row.id)
        return Listed(seen, me, host, engine, self.kind, self.tell_only, self.ahead, self.version)

    def forbids_restarts(self) -> str:
        """Why a proxy forbids restarts, if it does: the start of nothing is a 404 to an engine, 403
        or 405 to it."""
        try:
            self.ask("POST", f"/containers/{'0' * 64}/start", ASK_TIMEOUT)
        except EngineError as error:
            return f"the proxy forbids it ({error})" if error.status in FORBIDDEN else ""
        return ""

    def name(self) -> tuple[str, str]:
        """The engine's name and id; this machine's name where a proxy forbids to ask."""
        info = self.info()
        name = text_at(info, "Name") or socket.gethostname()
        if self.libpod:  # whose ID is another one each time
            return name, f"podman of {name} in {text_at(info, 'DockerRootDir')}"
        return name, text_at(info, "ID")

    def info(self) -> JSON:
        """What the engine says of itself, its time among it; None where a proxy forbids to ask."""
        asked_time = self.clock()
        try:
            info = self.read("/info")
        except EngineError as error:
            self.reticent = error.status not in FORBIDDEN
            return None
        self.reticent = False
        self.rootless = "name=rootless" in items_at(info, "SecurityOptions")
        self.version = text_at(info, "ServerVersion")
        system_time = unix_time(text_at(info, "SystemTime"))
        if system_time:
            self.ahead = precisely(system_time - (asked_time + self.clock()) / 2)
        return info

    def restart(self, job: Restart) -> Restarted:
        """Bring a container back, if it still stands as it was judged: it is looked at again just
        before. One that is down is started, never restarted: that can't take down one that somebody
        has just started. The call for a running one blocks for its stop timeout, the container's
        own or the engine's, which may be anything. A 404 may mean a network, and a 304 or a lost
        answer says nothing."""
        try:
            container = self.inspect(job.id)
        except EngineError as error:  # which says nothing of restarts
            return self.restart_failed(job, EngineError(str(error)))
        if container is None or (container.started_time, container.running) != (
            job.started_time,
            job.alive,
        ):
            return Restarted(job.key, job.id, Outcome.OVERTAKEN, container=container)
        call, patience = "start", START_PATIENCE
        if job.alive:
            call, patience = "restart", patience + job.stopping
            if job.stop_timeout is not None and job.stop_timeout < LONGEST_STOP:
                call += f"?t={job.stop_timeout:.0f}"  # else the engine's own counts, or for ever
        try:
            self.ask("POST", path_of(job.id, call), patience)
            return Restarted(job.key, job.id, Outcome.DONE, container=self.inspect(job.id))
        except EngineError as error:
            return self.restart_failed(job, error)

    def restart_failed(self, job: Restart, error: EngineError) -> Restarted:
        """What a restart call's error means."""
        outcome = Outcome.REFUSED
        if error.status in FORBIDDEN:
            outcome = Outcome.FORBIDDEN
        elif not error.status or error.status in OVERLOADED:
            outcome = Outcome.UNKNOWN
        try:
            container = self.inspect(job.id)
        except EngineError:
            return Restarted(job.key, job.id, Outcome.UNKNOWN, str(error))
        return Restarted(job.key, job.id, outcome, str(error), container)

    def events(self, since: float, put: Callable[[Observation], None]) -> StreamClosed:
        """Put every event of the stream into the inbox until it ends. A reader that pauses would
        lose events without notice and slow the whole engine, so nothing else is done here."""
        start = since or self.clock() + self.ahead - REPLAYED
        connection = self.connect(ASK_TIMEOUT)
        opened = False
        try:
            connection.request("GET", f"/events?since={start:.9f}&filters={EVENT_FILTER}")
            self.stream = stream = connection.sock
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                why = error_text(response.status, response.read(ERROR_LIMIT))
                return StreamClosed(why, refused=True)
            self.meet(response.headers)
            # An engine that starts answers late: what it does before is not news.
            time = self.clock() + self.ahead
            put(StreamOpened(start, time, self.ahead, self.kind.podman))
            opened = True
            stream.settimeout(None)
            while line := response.readline(EVENT_LIMIT):
                event = event_of(record_in(line), self.kind.podman)
                if event:
                    put(event)
            return StreamClosed()
        except HTTP_ERRORS as error:
            return StreamClosed(
                "" if opened else connection_help(self.host, error, bool(self.libpod))
            )
        finally:
            self.stream = None
            connection.close()

    def remembered(self, since: float, until: float, query: str = "") -> tuple[JSON, ...] | None:
        """The engine's events between two of its times, of which it keeps the last 256; None where
        they are not to be had."""
        try:
            body = self.ask("GET", f"/events?since={since:.9f}&until={until:.9f}{query}")
        except EngineError:
            return None
        return tuple(map(record_in, body.splitlines()))

    def followed(self, since: float, until: float, actions: Collection[str]) -> Iterator[Heard]:
        """The containers' events of these actions between two of its times, by following the
        stream for a moment: asked for what is over, Podman gives a random part."""
        ends_at = time.monotonic() + FOLLOWED
        connection = self.connect(QUIET_STREAM)
        with contextlib.closing(connection), contextlib.suppress(*HTTP_ERRORS):
            connection.request("GET", f"/events?since={since:.9f}&filters={filter_for(actions)}")
            response = connection.getresponse()
            while time.monotonic() < ends_at and (line := response.readline(EVENT_LIMIT)):
                event = event_of(record_in(line), podman=True)
                if event and event.time > until:
                    return
                if event:
                    yield event

    def recent_events(self, now_time: float) -> Iterator[Heard]:
        """The containers' last events."""
        until = now_time + self.ahead
        if self.libpod:
            return self.followed(until - DAY_SECONDS, until, TELLING_EVENTS)
        found = self.remembered(until - DAY_SECONDS, until, f"&filters={EVENT_FILTER}")
        return filter(None, map(event_of, found or ()))

    def recall(self, job: Recall) -> Recalled:
        """What it remembers: its buffer outlives no restart. All events are asked for, since probes
        fill it, too. Podman forgets nothing."""
        if self.libpod:
            kills = self.followed(job.since, job.until, ("kill",))
            return Recalled(job.since, job.until, kills=tuple(kills))
        found = self.remembered(job.since, job.until)
        if found is None:
            return Recalled(job.since, job.until)
        events = tuple(filter(None, map(event_of, found)))
        marks = tuple(event.mark for event in events)
        attached = tuple(event.id for event in events if event.action == "attach")
        knows = any(mark in marks for mark in job.marks)
        answer = Recalled(job.since, job.until, marks[-MARKS:], attached=attached, knows=knows)
        if knows or not job.marks or len(found) >= EVENTS_KEPT:
            return answer
        first = min((event.time for event in events), default=job.until)
        return replace(answer, began_time=first)

    def close_stream(self) -> None:
        """End the event stream from another thread: its reader sees the end at once."""
        hang_up(self.stream)


def precisely(ahead: float) -> float:
    """How far a clock is ahead, 0 where that is no more than an answer takes."""
    return 0.0 if abs(ahead) < ANSWER_TIME else ahead


def clock_ahead(date: str | None, wall: float, known: float) -> float:
    """How far another clock is ahead, by its HTTP Date: as is known, where that, which is cut to
    the second, agrees."""
    try:
        ahead = email.utils.parsedate_to_datetime(date or "").timestamp() + HALF_SECOND - wall
    except (TypeError, ValueError, OverflowError):
        return known
    return ahead if abs(ahead - known) > CLOCK_ERROR else known


def row_facts(row: dict[str, JSON]) -> dict[str, JSON]:
    """What is read of a list's row: all else would be 50 times as much."""
    return {name: row[name] for name in ROW_NAMES if name in row}


# ─── Addresses ────────────────────────────────────────────────────────────────────────────────────

ROOTFUL_SOCKET = "/var/run/docker.sock"


def read_setting_file(path: str) -> str:
    """A secret's or a setting's file, without the newline at its end. OSError: why it can't be had,
    and what to do about it."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except PermissionError as error:
        user = os.geteuid()
        words = f"user {user} must be able to read it (chown {user} FILE, chmod 400 FILE)"
        raise PermissionError(error.errno, words, path) from None


def engine_of(settings: Settings, environment: Mapping[str, str]) -> Engine:
    """The docker CLI's engine: DOCKER_HOST, else a context, else the socket that is there;
    SettingError for nonsense."""
    home = environment.get("HOME", "/")
    config = environment.get("DOCKER_CONFIG") or os.path.join(home, ".docker")
    host, name = settings.docker_host, settings.context
    if not host and not name:
        name = current_context(config)
    if not host and name not in ("", "default"):
        return engine_of_context(config, name, settings.restart)
    host = host or default_docker_host(environment)
    if is_tcp(host) and (settings.tls_verify or settings.cert_path):
        folder = settings.cert_path or config
        tls = tls_of(folder, settings.tls_verify, "DOCKER_CERT_PATH")
        return Engine(host, tls, settings.restart)
    return Engine(host, heals=settings.restart)


def current_context(config: str) -> str:
    """The context that the docker CLI uses now, empty for none."""
    try:
        text = read_setting_file(os.path.join(config, "config.json"))
    except (OSError, ValueError):
        return ""
    return text_at(json_in(text), "currentContext")


def engine_of_context(config: str, name: str, heals: bool) -> Engine:
    """The engine of one of the docker CLI's contexts."""
    place = hashlib.sha256(name.encode(errors="replace")).hexdigest()
    contexts = os.path.join(config, "contexts")
    try:
        text = read_setting_file(os.path.join(contexts, "meta", place, "meta.json"))
        meta = json.loads(text)
        host = docker_host(text_at(meta, "Endpoints", "docker", "Host"))
        if not host:
            raise ValueError("it names no Host")
    except OSError:
        words = f"there is no context {name} in {config}; see docker context ls"
        raise SettingError(f"DOCKER_CONTEXT: {words}") from None
    except (ValueError, RecursionError) as error:
        raise SettingError(f"DOCKER_CONTEXT: the context {name} can't be used: {error}") from None
    folder = os.path.join(contexts, "tls", place, "docker")
    verify = at(meta, "Endpoints", "docker", "SkipTLSVerify") is not True
    if is_tcp(host) and (os.path.isdir(folder) or not verify):
        return Engine(host, tls_of(folder, verify, "DOCKER_CONTEXT"), heals)
    return Engine(host, heals=heals)


def tls_of(folder: str, verify: bool, name: str) -> ssl.SSLContext:
    """TLS with the certificates of a folder, as the docker CLI keeps them. SettingError where they
    can't be used."""
    authority = os.path.join(folder, "ca.pem")
    certificate, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    own = os.path.exists(authority)
    if verify and name == "DOCKER_CERT_PATH":
        own = True  # else the system's are trusted
    for path, needed in (
        (authority, own),
        (certificate, os.path.exists(key)),
        (key, os.path.exists(certificate)),
    ):
        if needed and not os.path.exists(path):
            words = f"the certificates in {folder} can't be used: there is no {path}"
            raise SettingError(f"{name}: {words}")
    try:
        context = ssl.create_default_context(cafile=authority if own else None)
        if os.path.exists(certificate) or os.path.exists(key):
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        words = f"the certificates in {folder} can't be used: {error}"
        raise SettingError(f"{name}: {words}") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def default_docker_host(environment: Mapping[str, str]) -> str:
    """The rootful socket, else the rootless one if that is there."""
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    rootless = os.path.join(runtime, "docker.sock")
    if runtime and os.path.exists(rootless) and not os.path.exists(ROOTFUL_SOCKET):
        return f"unix://{rootless}"
    return f"unix://{ROOTFUL_SOCKET}"


# ─── Discord ──────────────────────────────────────────────────────────────────────────────────────

USER_AGENT = f"DiscordBot (https://github.com/sentinel-watchdog/sentinel, {__version__})"
# Unknown channel, message target or webhook; no access, no permission, wrong token; a channel
# without messages; too many channels; a forum; an archived or a locked thread.
GONE_CODES = frozenset({10003, 10004, 10015, 40001, 50001, 50008, 50013, 50027})
GONE_CODES |= {30013, 40058, 50083, 160005}
FORUM_WANTS_NAME, UNKNOWN_MESSAGE, UNKNOWN_CHANNEL, TOO_MANY_EDITS = 220001, 10008, 10003, 30046
UNAUTHORIZED, FORBIDDEN_STATUS, TIMED_OUT, TOO_MANY = 401, 403, 408, 429
FORM_REFUSED = (400, 413, 422)  # other 4xx say nothing of the message
NOT_STORED = (502, 503)  # 500, 504 and 52x may come after the message was stored
EDGE_PAUSE = 600.0  # Discord's edge blocks an address for longer the more it is asked
LIMIT_MARGIN = 0.25  # seconds after a rate limit's end
ADVICE = {
    10003: "the channel no longer exists",
    10015: "the webhook was deleted: make a new one",
    50001: "the bot is not in that channel: let it View Channel",
    50013: "the bot lacks Send Messages or Embed Links (or Manage Channels, to create one)",
    50027: "the token in the URL is wrong: copy it anew",
    40001: "the token is wrong",
}
WEB_LIMIT = 8 * 2**20  # bytes; the list of 500 channels with topics has 1 MB
PORTS = {"https": 443, "http": 80}
PROXY_PORT = 8080
SIMPLE_FOR = 3600.0  # so long a bridge is believed to have no channels of its own


def proxies_in(environment: Mapping[str, str]) -> dict[str, str]:
    """The proxies that variables name, by scheme, as urllib.request has them; `no` names those
    without."""
    proxies: dict[str, str] = {}
    # Lower case counts more, and HTTP_PROXY may be a header that a server made of
    for lower in (False, True):
        for name, value in environment.items():
            scheme = name.lower().removesuffix("_proxy")
            cased = name.islower() if lower else name != "HTTP_PROXY"
            if value and cased and scheme != name.lower():
                proxies[scheme] = value
    return proxies


def proxy_of(
    url: urllib.parse.SplitResult, proxies: Mapping[str, str]
) -> urllib.parse.SplitResult | None:
    """The proxy for a URL, unless `no` names its host, host:port, or a domain above. ValueError: it
    makes no sense."""
    proxy = proxies.get(url.scheme, "")
    if not proxy:
        return None
    # Only where there is a proxy: it takes memory.
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

    place = f"{url.hostname}:{url.port or PORTS[url.scheme]}"
    if proxy_bypass_environment(place, dict(proxies)):
        return None
    try:
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        return parts if parts.port != 0 else None
    except ValueError:
        variable = f"{url.scheme}_proxy".upper()
        words = f"the address of the proxy in {variable} makes no sense"
        raise ValueError(words) from None


class Web:
    """HTTP requests to the outside: certificates verified, proxies honoured, one connection a
    request, but to the place that is kept warm."""

    def __init__(
        self,
        environment: Mapping[str, str],
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        """`trust`: the certificates that are trusted; reading them takes time and memory."""
        self.proxies = proxies_in(environment)
        self.trust = functools.cache(trust)
        self._line: Line | None = None
        self._warm_place = ("", "")  # scheme and host

    def keep_warm(self, address: str) -> None:
        """Keep a connection to this address's host, for whatever is asked there."""
        url = urllib.parse.urlsplit(address)
        with contextlib.suppress(*HTTP_ERRORS):  # which is said when something is asked
            make = functools.partial(self.connection, url, proxy_of(url, self.proxies))
            self._line = Line(make)
            self._warm_place = url.scheme, url.netloc

    def connection(
        self,
        url: urllib.parse.SplitResult,
        proxy: urllib.parse.SplitResult | None,
        session: ssl.SSLSession | None = None,
    ) -> WebConnection:
        """A connection to a URL's host, through its proxy if it has one; it is not open yet."""
        near = proxy or url
        place = near.hostname or "", near.port or (PROXY_PORT if proxy else PORTS[url.scheme])
        tls = self.trust() if url.scheme == "https" else None
        made = WebConnection(place, url.hostname or "", tls, session)
        if proxy:
            host, own_port = url.hostname or "", url.port or PORTS[url.scheme]
            made.set_tunnel(host, own_port, headers=login_of(proxy))
        return made

    def ask(
        self,
        method: str,
        address: str,
        body: JSON = None,
        headers: Mapping[str, str] | None = None,
        file: tuple[str, str] | None = None,
        patience: float = WEB_PATIENCE,
    ) -> Answer:
        """One request and its answer; `file`: name and text of one that goes with it; `patience`:
        seconds for all of it. Never raises on what the network does."""
        url = urllib.parse.urlsplit(address)
        path = url.path + (f"?{url.query}" if url.query else "")
        data = None if body is None else json.dumps(body).encode()
        agreed = {"User-Agent": USER_AGENT, **(headers or {})}
        if data:
            agreed["Content-Type"] = "application/json"
        if data and file:
            boundary = os.urandom(12).hex()
            data = form_of(data, file, boundary)
            agreed["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        where = url.hostname or ""
        try:
            proxy = proxy_of(url, self.proxies)
            if proxy:
                where += f" through the proxy {proxy.hostname}:{proxy.port or PROXY_PORT}"
            request = Request(method, path, patience, WEB_LIMIT, data, agreed)
            if self._line and self._warm_place == (url.scheme, url.netloc):
                return self._line.exchange(request)
            with contextlib.closing(self.connection(url, proxy)) as connection:
                return exchange(connection, request)
        except ExchangeError as error:
            return Answer(0, why=network_words(where, error.cause), sent=error.sent)
        except HTTP_ERRORS as error:  # an address that is none
            return Answer(0, why=network_words(where, error))


def form_of(document: bytes, file: tuple[str, str], boundary: str) -> bytes:
    """A JSON document and a file as a form, as Discord takes them."""
    name, text = file
    parts = (
        ('name="payload_json"', "application/json", document),
        (f'name="files[0]"; filename="{name}"', "text/plain; charset=utf-8", text.encode()),
    )
    form = b""
    for disposition, kind, content in parts:
        head = f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n"
        form += f"{head}Content-Type: {kind}\r\n\r\n".encode() + content + b"\r\n"
    return form + f"--{boundary}--\r\n".encode()


def login_of(proxy: urllib.parse.SplitResult) -> dict[str, str]:
    """The header with which a proxy lets one in, where its address has a name."""
    if not proxy.username:
        return {}
    login = urllib.parse.unquote(f"{proxy.username}:{proxy.password or ''}")
    return {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode()}


def network_words(host: str, error: Exception) -> str:
    """Why a host could not be asked; what is the matter, not where the secret is."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, socket.gaierror):
        why = "its name can't be resolved (DNS)"
    elif isinstance(error, ssl.SSLError):
        reason = error.reason or error
        why = f"TLS failed ({reason}); a certificate of your own goes into SSL_CERT_FILE"
    elif isinstance(error, TimeoutError):
        why = "no answer in time"
    return f"{host} could not be reached: {why}"


def verdict_on(channel: str, answer: Answer, who: str = "Discord") -> Delivered:
    """What the answer of Discord, or of a bridge to it, means for a message. Only Discord's own
    codes say that a channel takes nothing any more: a proxy's or a bridge's 404 may pass."""
    status = answer.status
    if not status:
        return Delivered(channel, Fate.UNCLEAR if answer.sent else Fate.UNSENT, why=answer.why)
    if answer.ok:
        return stored(channel, answer)
    said = text_at(answer.document, "message") or f"HTTP {status}"
    words = f"{said} (HTTP {status}, code {answer.code or 0})"
    wait = pause_asked(answer, who)
    if wait:
        return Delivered(channel, Fate.UNSENT, wait, pause_words(answer, who))
    refused = status in (UNAUTHORIZED, FORBIDDEN_STATUS, NOT_FOUND)
    if answer.code in GONE_CODES or (refused and answer.code is not None):
        advice = advice_on(answer)
        return Delivered(channel, Fate.DEAD, why=f"{words}{'; ' if advice else ''}{advice}")
    if is_about_form(answer, who):
        return Delivered(channel, Fate.MALFORMED, why=words)
    if 400 <= status < 500 and status != TIMED_OUT:
        return Delivered(channel, Fate.UNSENT, why=f"{who} can't be reached: {clip(words, 200)}")
    fate = Fate.UNSENT if status in NOT_STORED else Fate.UNCLEAR
    return Delivered(channel, fate, why=f"{who} could not be reached: it answers HTTP {status}")


def is_about_form(answer: Answer, who: str) -> bool:
    """Whether an answer refuses a message for what it is: Discord's API says so in JSON, its edge
    does not."""
    if who == "Discord":
        refused = answer.status in (UNAUTHORIZED, FORBIDDEN_STATUS, NOT_FOUND, TIMED_OUT)
        return 400 <= answer.status < 500 and not refused and isinstance(answer.document, dict)
    return answer.status in FORM_REFUSED


def advice_on(answer: Answer) -> str:
    """What to do about a channel that takes nothing any more."""
    if answer.status == UNAUTHORIZED and not answer.code:
        return "the token is wrong"
    return ADVICE.get(answer.code or 0, "")


def stored(channel: str, answer: Answer) -> Delivered:
    """A message was taken; the channel may want to be left alone for a while."""
    hold = 0.0
    if answer.headers.get("X-RateLimit-Remaining") == "0":
        hold = seconds_of(answer.headers.get("X-RateLimit-Reset-After"))
    place = text_at(answer.document, "channel_id")
    where = f"channel {place}" if place else ""
    message = text_at(answer.document, "id")
    return Delivered(channel, Fate.SENT, hold, message=message, where=where)


def by_the_edge(answer: Answer, who: str) -> bool:
    """Whether an answer comes from Discord's edge and not from its API, since it has no JSON, or
    says not for how long."""
    api = isinstance(answer.document, dict)
    if answer.status == TOO_MANY and at(answer.document, "retry_after") is None:
        api = answer.headers.get("Via") is not None
    return who == "Discord" and answer.status in (FORBIDDEN_STATUS, TOO_MANY) and not api


def pause_asked(answer: Answer, who: str) -> float:
    """For how many seconds an answer asks to be left alone, 0 if it does not. A 429 counts from
    Retry-After or retry_after, never from Reset-After."""
    if by_the_edge(answer, who):
        return EDGE_PAUSE
    if answer.status != TOO_MANY:
        return 0.0
    asked = seconds_of(answer.headers.get("Retry-After"))
    asked = max(asked, seconds_of(at(answer.document, "retry_after")))
    return max(asked, 1.0) + LIMIT_MARGIN


def pause_words(answer: Answer, who: str) -> str:
    """Why a channel is left alone."""
    if by_the_edge(answer, who):
        blocked = f"Discord's edge blocks this address (HTTP {answer.status})"
        return f"{blocked}; wait, it ends by itself within hours"
    return f"{who}'s rate limit"


def verdict_on_edit(channel: str, answer: Answer) -> Delivered:
    """What the answer means for an edit: what can't be edited (deleted, too old, another token)
    stays as it is."""
    verdict = verdict_on(channel, answer)
    if verdict.fate in (Fate.DEAD, Fate.MALFORMED) or answer.code in (
        TOO_MANY_EDITS,
        UNKNOWN_MESSAGE,
    ):
        return replace(verdict, fate=Fate.GONE, why=verdict.why or "too many edits")
    return verdict


def no_channel(channel: str, answer: Answer, who: str) -> Delivered:
    """The verdict where a channel to post into could not be had: nothing was sent, whatever the
    answer says."""
    if answer.ok:
        why = f"{who} names no channel (HTTP {answer.status})"
        return Delivered(channel, Fate.UNSENT, why=why)
    verdict = verdict_on(channel, answer, who)
    if verdict.fate in (Fate.MALFORMED, Fate.UNCLEAR):
        return replace(verdict, fate=Fate.UNSENT)
    return verdict


# ─── Channels ─────────────────────────────────────────────────────────────────────────────────────


class Webhook:
    """A Discord webhook. `wait=true`, since without it a message that was not stored gives no
    error."""

    name, edits = "webhook", True

    def __init__(self, url: Secret, web: Web) -> None:
        self.url, self.web, self.made_thread = url, web, ""

    @property
    def address(self) -> str:
        """Where it is, secret and all."""
        return self.url.bare

    def keep_to(self, thread: str) -> None:
        """Post into this thread, which was made for a forum's webhook; an address that names one
        stays as it is."""
        if thread and "thread_id=" not in self.url.bare:
            self.made_thread = thread

    def send(self, job: Deliver, message: JSON) -> Delivered:
        """Post; a forum's webhook makes a thread where none is named, and then keeps to it."""
        base, _, query = self.url.bare.partition("?")
        if not query and self.made_thread:
            query = f"thread_id={self.made_thread}"
        if job.message:
            url = f"{base}/messages/{job.message}" + (f"?{query}" if query else "")
            return verdict_on_edit(self.name, self.web.ask("PATCH", url, message))
        url = f"{base}?wait=true" + (f"&{query}" if query else "")
        answer = self.web.ask("POST", url, message)
        if answer.code == FORUM_WANTS_NAME:
            named = message | {"thread_name": clip(f"Sentinel {job.host}", THREAD_NAME)}
            answer = self.web.ask("POST", url, named)
            if answer.ok:
                self.keep_to(text_at(answer.document, "channel_id"))
        elif answer.code == UNKNOWN_CHANNEL and answer.status != NOT_FOUND and self.made_thread:
            self.made_thread = ""  # somebody deleted the thread
            why = "the forum's thread is gone; another is made"
            return Delivered(self.name, Fate.UNSENT, why=why)
        return verdict_on(self.name, answer)

    def reads(self, message: str) -> bool:
        """Whether a message is to be read where it was posted."""
        base, _, query = self.url.bare.partition("?")
        url = f"{base}/messages/{message}" + (f"?{query}" if query else "")
        return self.web.ask("GET", url).ok


THREAD_NAME = 100  # characters, at most


class Bot:
    """A Discord bot, by REST alone. A repeat with the same nonce makes no second message for some
    minutes."""

    name, edits = "bot", True

    def __init__(self, settings: Settings, web: Web) -> None:
        self.settings, self.web, self.channel_id = settings, web, settings.channel_id
        self.address = settings.api_url
        self.gone: set[str] = set()  # channels of others that somebody deleted

    @property
    def headers(self) -> dict[str, str]:
        """Who is asking."""
        return {"Authorization": f"Bot {self.settings.bot_token.bare}"}

    def send(self, job: Deliver, message: JSON) -> Delivered:
        """Post, into a channel found or created by name if it has no id."""
        if job.notices[0].place:
            return self.pass_on(job, message)
        if not self.channel_id:
            trouble = self.ensure()
            if trouble:
                return trouble
        if job.message:
            answer = self.web.ask("PATCH", f"{self.url}/{job.message}", message, self.headers)
            return verdict_on_edit(self.name, answer)
        body = message | {"nonce": job.nonce, "enforce_nonce": True}
        answer = self.web.ask("POST", self.url, body, self.headers)
        gone = answer.status == NOT_FOUND
        if gone and answer.code == UNKNOWN_MESSAGE:
            return Delivered(self.name, Fate.SENT)  # it was stored before, and somebody deleted it
        if gone and not self.settings.channel_id:  # somebody deleted the channel
            trouble = self.ensure()
            if trouble:
                return trouble
            answer = self.web.ask("POST", self.url, body, self.headers)
        return verdict_on(self.name, answer)

    @property
    def url(self) -> str:
        """Where its channel's messages are."""
        return f"{self.settings.api_url}/channels/{self.channel_id}/messages"

    def reads(self, message: str) -> bool:
        """Whether a message is to be read in its channel."""
        if not self.channel_id and self.ensure():
            return False
        return self.web.ask("GET", f"{self.url}/{message}", headers=self.headers).ok

    def pass_on(self, job: Deliver, message: JSON) -> Delivered:
        """Post somebody else's message; that its channel does not take it says nothing of ours."""
        url = f"{self.settings.api_url}/channels/{job.notices[0].place}/messages"
        body = message | {"nonce": job.nonce, "enforce_nonce": True}
        answer = self.web.ask("POST", url, body, self.headers)
        verdict = verdict_on(self.name, answer)
        if answer.code == UNKNOWN_CHANNEL:
            self.gone.add(job.notices[0].place)
        dead = verdict.fate is Fate.DEAD
        return replace(verdict, fate=Fate.MALFORMED) if dead else verdict

    def ensure(self) -> Delivered | None:
        """Find its channel, or create it; the verdict where neither can be."""
        self.channel_id, answer = self.channel_named(self.settings.channel, self.settings.guild_id)
        return None if self.channel_id else no_channel(self.name, answer, "Discord")

    def channel_named(self, name: str, guild: str) -> tuple[str, Answer]:
        """The id of a channel by its name, as Discord writes it, found or created; empty where
        neither can be, with the answer that says why."""
        wanted = re.sub(r"\s+", "-", name.strip().lstrip("#").lower())
        found, answer = self.find_channel(wanted, guild)
        if found or not isinstance(answer.document, list):
            return found, answer
        url = f"{self.settings.api_url}/guilds/{guild}/channels"
        made = self.web.ask("POST", url, {"name": wanted, "type": 0}, self.headers)
        if not made.ok:
            return "", made
        # Another Sentinel may have made one at the same moment: both take the first.
        found, answer = self.find_channel(wanted, guild)
        return found or text_at(made.document, "id"), made

    def find_channel(self, wanted: str, guild: str) -> tuple[str, Answer]:
        """The id of the first channel of this name, empty where there is none, or where Discord
        does not say."""
        url = f"{self.settings.api_url}/guilds/{guild}/channels"
        answer = self.web.ask("GET", url, headers=self.headers)
        rows = answer.document if answer.ok else None
        if not isinstance(rows, list):
            return "", answer
        ids: list[str] = []
        for row in rows:
            if text_at(row, "name") == wanted and at(row, "type") in TEXT_CHANNELS:
                ids.append(text_at(row, "id"))
        return min(ids, key=roll_order, default=""), answer

    @property
    def guild(self) -> str:
        """The server of its channel, empty where Discord does not say."""
        return self.settings.guild_id or text_at(self.ask_channel().document, "guild_id")

    def ask_channel(self) -> Answer:
        """What Discord says of its channel."""
        url = f"{self.settings.api_url}/channels/{self.settings.channel_id}"
        return self.web.ask("GET", url, headers=self.headers)


TEXT_CHANNELS = (0, 5)  # kinds of channels: text, and announcements


class Bridge:
    """A bot service that posts for others. What it does not have (404) is done the simpler way, by
    /notify, and tried again after an hour: a 404 may come from a proxy while the bridge is away."""

    name, edits = "bridge", False

    def __init__(self, settings: Settings, web: Web) -> None:
        self.settings, self.web, self.channel_id = settings, web, ""
        self.address = settings.bridge_url
        self.simple_until = -math.inf

    def ask(self, path: str, body: JSON) -> Answer:
        """One request to the bridge."""
        token = self.settings.bridge_token.bare
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.web.ask("POST", self.settings.bridge_url + path, body, headers)

    def send(self, job: Deliver, message: JSON) -> Delivered:
        """Post Discord's own message body to the channel, or the notice in words."""
        if time.monotonic() >= self.simple_until:
            verdict = self.send_whole(message)
            if verdict:
                return verdict
        answer = self.ask("/notify", self.words_of(message))
        if answer.ok:
            if time.monotonic() >= self.simple_until:
                self.simple_until = time.monotonic() + SIMPLE_FOR
        elif answer.status == NOT_FOUND:
            self.simple_until = -math.inf
        return self.verdict(answer)

    def send_whole(self, message: JSON) -> Delivered | None:
        """Post into its channel, which is made anew where it is gone; None where the bridge has
        none."""
        known = bool(self.channel_id)
        if not known:
            answer = self.ask("/channels/ensure", {"name": self.settings.channel})
            if answer.status == NOT_FOUND:
                return None
            number = whole_at(answer.document, "id")
            self.channel_id = text_at(answer.document, "id") or str(number or "")
            if not self.channel_id:
                return no_channel(self.name, answer, "the bridge")
        answer = self.ask(f"/send/{self.channel_id}", message)
        if answer.status != NOT_FOUND:
            return self.verdict(answer)
        self.channel_id = ""
        return self.send_whole(message) if known else None

    def words_of(self, message: JSON) -> JSON:
        """A message for those who have no embeds."""
        embeds = items_at(message, "embeds")
        red = any(at(embed, "color") == RED for embed in embeds)
        titles = ", ".join(text_at(embed, "title") for embed in embeds)
        texts = [text_at(embed, "description") for embed in embeds]
        return {
            "channel": self.settings.channel,
            "title": clip(titles, EMBED_TITLE),
            "message": "\n".join(texts) or text_at(message, "content"),
            "level": "error" if red else "info",
            "embeds": embeds,
        }

    def verdict(self, answer: Answer) -> Delivered:
        """Any 2xx is sent, unless it says otherwise."""
        if answer.ok and at(answer.document, "ok") is False:
            why = text_at(answer.document, "error") or "not sent"
            return Delivered(self.name, Fate.UNSENT, why=f"the bridge says: {why}")
        return verdict_on(self.name, answer, "the bridge")


class Drop:
    """A folder into which each alert is put as a JSON file, whole or not at all."""

    name, edits = "drop", False

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.offset = time.time() - time.monotonic()

    def send(self, job: Deliver, message: JSON) -> Delivered:
        """Write under a temporary name, sync, rename."""
        try:
            os.makedirs(self.folder, exist_ok=True)
            for notice in job.notices:
                self.write(notice, job)
        except OSError as error:
            why = f"{self.folder} can't be written: {error.strerror or error}"
            return Delivered(self.name, Fate.UNSENT, why=why)
        return Delivered(self.name, Fate.SENT, where=self.folder)

    def write(self, notice: Notice, job: Deliver) -> None:
        """One alert; the same alert again writes the same file again, so its name goes by one
        clock."""
        at_time = notice.at + self.offset
        document = message_of(replace(job, notices=(notice,)), notice.at, self.offset)
        document |= {
            "id": notice.id,
            "time": datetime.fromtimestamp(at_time, UTC).isoformat(),
            "verdict": notice.verdict,
            "name": notice.name,
            "project": notice.project,
            "incident": notice.incident,
            "host": job.host,
            "message": headline(notice),
        }
        path = os.path.join(self.folder, self.file_name(notice, job, at_time))
        with open(f"{path}.part", "w", encoding="utf-8", errors="replace") as file:
            json.dump(document, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(f"{path}.part", 0o644)
        os.replace(f"{path}.part", path)

    def file_name(self, notice: Notice, job: Deliver, at_time: float) -> str:
        """What an alert's file is called: when, which, of which ledger, and what."""
        word = notice.verdict.lower().replace(" ", "-")
        stamp = datetime.fromtimestamp(at_time, UTC).strftime("%Y%m%dT%H%M%SZ")
        ledger = job.nonce.partition("-")[0]
        return f"{stamp}-{notice.id:09d}-{ledger}-{word}.json"


def terminal_size(environment: Mapping[str, str]) -> tuple[int, int]:
    """Columns and lines of the terminal on standard output, those of most where it is none."""
    columns = environment.get("COLUMNS", "")
    try:
        width, height = os.get_terminal_size(1)
    except OSError:
        width, height = 80, 24
    return int(columns) if re.fullmatch("[1-9][0-9]{0,3}", columns) else width or 80, height or 24


class Terminal:
    """Standard output: a card an alert, coloured where that is a terminal."""

    name, edits = "terminal", False

    def __init__(self, environment: Mapping[str, str]) -> None:
        terminal = sys.stdout.isatty()
        self.coloured = terminal and not environment.get("NO_COLOR")
        self.columns = terminal_size(environment)[0] if terminal else 1000

    def send(self, job: Deliver, message: JSON) -> Delivered:
        """Draw each notice as a card."""
        now, offset = time.monotonic(), time.time() - time.monotonic()

        def moment(at: float) -> str:
            return datetime.fromtimestamp(at + offset).astimezone().strftime("at %H:%M:%S")

        try:
            for notice in merged_stops(job.notices):
                card = card_of(notice, job.host, moment, late_words(notice, now, ""))
                print(terminal_card(card, self.columns, self.coloured) + "\n", flush=True)
        except OSError as error:
            why = f"the terminal can't be written: {error}"
            return Delivered(self.name, Fate.UNSENT, why=why)
        return Delivered(self.name, Fate.SENT)


Channel = Webhook | Bot | Bridge | Drop | Terminal


def channels_of(settings: Settings, environment: Mapping[str, str]) -> list[Channel]:
    """The channels that are set, in the order of the chain; beside them the terminal, which is the
    only one where none is set."""
    trust = functools.cache(ssl.create_default_context)
    channels: list[Channel] = []
    if settings.webhook_url:
        channels.append(Webhook(settings.webhook_url, Web(environment, trust)))
    if settings.bot_token:
        channels.append(Bot(settings, Web(environment, trust)))
    if settings.bridge_url:
        channels.append(Bridge(settings, Web(environment, trust)))
    if settings.drop_dir:
        channels.append(Drop(settings.drop_dir))
    wanted = sys.stdout.isatty() if settings.terminal is None else settings.terminal
    if wanted or not channels:
        channels.append(Terminal(environment))
    return channels


def keep_warm(channels: Iterable[Channel]) -> None:
    """Have a connection ready for each that goes through the network."""
    for channel in channels:
        if isinstance(channel, Webhook | Bot | Bridge):
            channel.web.keep_warm(channel.address)


def send(channel: Channel, job: Deliver) -> Delivered:
    """Word a message and send it through a channel."""
    now = time.monotonic()
    return channel.send(job, message_of(job, now, time.time() - now))


# ─── Rolls ────────────────────────────────────────────────────────────────────────────────────────

ROLL_PAGE, ROLL_PAGES = 100, 5  # messages of one answer, and answers that are asked for
RESTING_FLAG = 4  # of a message: no embeds; every bot can read flags, whoever wrote the words
SNOWFLAKE = re.compile(r"[1-9][0-9]{14,18}", re.ASCII)
ROLL_FILE = 64 * 2**10  # bytes of one that are read


class ChannelRoll:
    """The roll in a channel of Discord's, which is found or created by its name."""

    medium = Medium.CHANNEL

    def __init__(self, settings: Settings, web: Web) -> None:
        self.settings, self.web = settings, web
        self.bot = Bot(settings, web)
        self.place = settings.fleet if SNOWFLAKE.fullmatch(settings.fleet) else ""

    @property
    def url(self) -> str:
        """Where its messages are."""
        return f"{self.settings.api_url}/channels/{self.place}/messages"

    def find(self, make: bool) -> Delivered | None:
        """Find the channel, or `make` it; the verdict where neither can be."""
        if self.place:
            return None
        guild, name = self.settings.guild_id, self.settings.fleet
        if not guild:
            answer = self.bot.ask_channel()
            guild = text_at(answer.document, "guild_id")
            if not guild:
                return no_channel(self.medium, answer, "Discord")
        find = self.bot.channel_named if make else self.bot.find_channel
        self.place, answer = find(name, guild)
        if self.place and self.place == self.settings.channel_id:
            self.place = ""
            words = f"{name} is the alerts' channel; give SENTINEL_FLEET one of its own"
            return Delivered(self.medium, Fate.UNSENT, why=words)
        if self.place:
            return None
        if answer.ok:
            return Delivered(self.medium, Fate.UNSENT, why=f"there is no channel {name}")
        return no_channel(self.medium, answer, "Discord")

    def read(self, job: ReadRoll, make: bool = True) -> RollRead:
        """The roll calls that stand there."""
        trouble = self.find(make)
        if trouble:
            return RollRead(self.medium, why=trouble.why, hold=trouble.hold)
        posted: list[Posted] = []
        before, whole, time_there = "", False, 0.0
        buried = bool(job.own)
        for page in range(ROLL_PAGES):
            answer = self.web.ask(
                "GET", f"{self.url}?limit={ROLL_PAGE}{before}", headers=self.bot.headers
            )
            rows = answer.document if answer.ok else None
            if not isinstance(rows, list):
                return self.unread(answer)
            posted += filter(None, map(posted_of, rows))
            if page == 0 and (len(rows) < ROLL_PAGE or job.own in map(id_of, rows)):
                buried = False
            time_there = http_time(answer.headers.get("Date")) or time.time()
            last = text_at(rows[-1], "id") if rows else ""
            known = bool(job.since) and roll_order(last) <= roll_order(job.since)
            whole = len(rows) < ROLL_PAGE or known
            if whole:
                break
            before = f"&before={last}"
        return RollRead(self.medium, tuple(posted), whole, time_there, buried=buried)

    def unread(self, answer: Answer) -> RollRead:
        """Why the channel can't be read."""
        if answer.code == UNKNOWN_CHANNEL:
            self.place = "" if self.place != self.settings.fleet else self.place
        verdict = no_channel(self.medium, answer, "Discord")
        return RollRead(
            self.medium, why=verdict.why, hold=verdict.hold, everywhere=limits_all(answer)
        )

    def call(self, job: CallRoll) -> RollCalled:
        """Edit Sentinel's own roll call, or post it."""
        trouble = self.find(make=True)
        if trouble:
            return RollCalled(self.medium, why=trouble.why, hold=trouble.hold)
        flags = RESTING_FLAG if job.resting else 0
        body: JSON = {"content": job.text, "allowed_mentions": {"parse": []}, "flags": flags}
        old, hold = job.replaces, 0.0
        if job.id:
            url = f"{self.url}/{job.id}"
            answer = self.web.ask("PATCH", url, body, self.bot.headers)
            if answer.code == TOO_MANY_EDITS:
                old, hold = job.id, pause_asked(answer, "Discord")
                answer = self.post(job)
        else:
            answer = self.post(job)
        if answer.code in (UNKNOWN_MESSAGE, UNKNOWN_CHANNEL):
            self.place = "" if self.place != self.settings.fleet else self.place
            return RollCalled(self.medium, gone=True)
        if answer.ok and old:
            self.web.ask("DELETE", f"{self.url}/{old}", headers=self.bot.headers)
        called = self.called(answer)
        return replace(called, hold=max(called.hold, hold))

    def post(self, job: CallRoll) -> Answer:
        """Post a roll call; a repeat makes no second one."""
        body: JSON = {"content": job.text, "allowed_mentions": {"parse": []}}
        body |= {"nonce": job.nonce, "enforce_nonce": True}
        return self.web.ask("POST", self.url, body, self.bot.headers)

    def called(self, answer: Answer) -> RollCalled:
        """What became of a roll call."""
        posted = edited_time_of(answer.document) if answer.ok else 0.0
        if posted:
            return RollCalled(self.medium, text_at(answer.document, "id"), posted)
        verdict = verdict_on(self.medium, answer)
        why = verdict.why or "Discord's answer names no message"
        return RollCalled(self.medium, why=why, hold=verdict.hold, everywhere=limits_all(answer))


def edited_time_of(message: JSON) -> float:
    """When a message was edited last, or posted: Unix seconds by Discord's clock, 0 for no
    message."""
    edited = unix_time(text_at(message, "edited_timestamp"))
    return edited or unix_time(text_at(message, "timestamp"))


def posted_of(message: JSON) -> Posted | None:
    """A bot's message as it stands in a channel, None for other people's."""
    edited_time, name = edited_time_of(message), text_at(message, "id")
    author, flags = at(message, "author"), at(message, "flags")
    if not (name and edited_time) or at(author, "bot") is not True or at(message, "webhook_id"):
        return None
    resting = isinstance(flags, int) and bool(flags & RESTING_FLAG)
    return Posted(
        name,
        text_at(author, "id"),
        text_at(author, "username"),
        edited_time,
        text_at(message, "content"),
        resting,
    )


def id_of(message: JSON) -> str:
    """A message's id."""
    return text_at(message, "id")


def limits_all(answer: Answer) -> bool:
    """Whether an answer asks to be left alone by whatever is sent to Discord from here."""
    return by_the_edge(answer, "Discord") or at(answer.document, "global") is True


def http_time(text: str | None) -> float:
    """Unix seconds of a `Date` header, 0 where there is none."""
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return email.utils.parsedate_to_datetime(text or "").timestamp()
    return 0.0


class FolderRoll:
    """The roll in a folder that hosts share: one file each."""

    medium = Medium.FOLDER

    def __init__(self, folder: str) -> None:
        self.folder = os.path.join(folder, "fleet")

    def read(self, job: ReadRoll, make: bool = True) -> RollRead:
        """The roll calls that stand there; its clock is that of the file system."""
        posted: list[Posted] = []
        try:
            if make:
                os.makedirs(self.folder, exist_ok=True)
            for entry in os.scandir(self.folder):
                if entry.is_file(follow_symlinks=False):
                    posted += filter(None, [self.posted(entry.name)])
        except OSError as error:
            return RollRead(self.medium, why=self.trouble(error))
        return RollRead(self.medium, tuple(posted), whole=True, time=time.time())

    def posted(self, name: str) -> Posted | None:
        """One file's, None for another kind of file."""
        path = os.path.join(self.folder, name)
        if not name.endswith(".json"):
            return None
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            document = json_in(file.read(ROLL_FILE))
            edited_time = os.fstat(file.fileno()).st_mtime
            text, resting = text_at(document, "text"), at(document, "resting") is True
            return Posted(name, "", "", edited_time, text or name, resting)
        return None

    def call(self, job: CallRoll) -> RollCalled:
        """Write Sentinel's own file, whole or not at all."""
        name = f"{job.tag}.json"
        path = os.path.join(self.folder, name)
        try:
            os.makedirs(self.folder, exist_ok=True)
            with open(f"{path}.part", "w", encoding="utf-8") as file:
                json.dump({"text": job.text, "resting": job.resting}, file, ensure_ascii=False)
            os.chmod(f"{path}.part", 0o644)
            os.replace(f"{path}.part", path)
            edited_time = os.stat(path).st_mtime
            if job.replaces:
                os.unlink(os.path.join(self.folder, os.path.basename(job.replaces)))
        except OSError as error:
            return RollCalled(self.medium, why=self.trouble(error))
        return RollCalled(self.medium, name, edited_time)

    def trouble(self, error: OSError) -> str:
        """Why the folder can't be used."""
        return f"{self.folder} can't be used: {error.strerror or error}"


AnyRoll = ChannelRoll | FolderRoll


def rolls_of(settings: Settings, environment: Mapping[str, str]) -> list[AnyRoll]:
    """Where hosts hear of each other, as far as that is set."""
    rolls: list[AnyRoll] = []
    if settings.fleet and settings.bot_token:
        rolls.append(ChannelRoll(settings, Web(environment)))
    if settings.fleet and settings.drop_dir:
        rolls.append(FolderRoll(settings.drop_dir))
    return rolls


def not_done(job: ReadRoll | CallRoll, why: str) -> RollRead | RollCalled:
    """What is said where nothing came of it."""
    if isinstance(job, ReadRoll):
        return RollRead(job.medium, why=why)
    return RollCalled(job.medium, why=why)


# ─── WebSocket ────────────────────────────────────────────────────────────────────────────────────
# A client of RFC 6455 (https://www.rfc-editor.org/rfc/rfc6455), as far as a gateway needs one.

CONTINUED, TEXT, CLOSE, PONG = 0, 1, 8, 10  # opcodes
CONTROL = 8  # opcodes from here on are of frames that are whole, and short
CONTROL_LIMIT, MESSAGE_LIMIT, HEAD_LIMIT = 125, 4 * 2**20, 16 * 2**10  # bytes
PROTOCOL_ERROR, BAD_TEXT, TOO_BIG = 1002, 1007, 1009  # codes of ends
HANDSHAKE_PATIENCE, SEND_PATIENCE = 20.0, 10.0  # seconds
WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
READ_AT_ONCE = 65536


class Ended(Exception):
    """The connection has ended, or has to: with a close code, None where it just broke."""

    def __init__(self, code: int | None, why: str = "") -> None:
        super().__init__(why)
        self.code, self.why = code, why


class Frames:
    """What a server sends, as messages: opcode and payload. Ended: it breaks the rules."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._opcode = CONTINUED  # of the message whose rest is awaited
        self._message = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """What is whole now."""
        self._data += data
        while frame := self._next_frame():
            message = self._joined(*frame)
            if message:
                yield message

    def _next_frame(self) -> tuple[bool, int, bytes] | None:
        """Whether it is a last one, its opcode, and its payload; None where more has to come."""
        data = self._data
        if len(data) < 2:
            return None
        first, size = data[0], data[1]
        opcode = first & 0x0F
        if first & 0x70 or size & 0x80 or opcode not in (0, 1, 2, 8, 9, 10):
            raise Ended(PROTOCOL_ERROR, "a frame that no server may send")
        if opcode >= CONTROL and (size > CONTROL_LIMIT or not first & 0x80):
            raise Ended(PROTOCOL_ERROR, "a control frame that is too long, or in parts")
        start = 2 + {126: 2, 127: 8}.get(size, 0)
        if len(data) < start:
            return None
        if size > CONTROL_LIMIT:
            size = int.from_bytes(data[2:start], "big")
        if size + len(self._message) > MESSAGE_LIMIT:
            raise Ended(TOO_BIG, f"a message of more than {MESSAGE_LIMIT} bytes")
        if len(data) < start + size:
            return None
        payload = bytes(data[start : start + size])
        del data[: start + size]
        return bool(first & 0x80), opcode, payload

    def _joined(self, last: bool, opcode: int, payload: bytes) -> tuple[int, bytes] | None:
        """A message, if it is whole with this frame; control frames may stand between its parts."""
        if opcode >= CONTROL:
            return opcode, payload
        if (opcode == CONTINUED) == (self._opcode == CONTINUED):
            raise Ended(PROTOCOL_ERROR, "a part of a message that stands where none may")
        self._opcode = opcode or self._opcode
        self._message += payload
        if not last:
            return None
        message = self._opcode, bytes(self._message)
        self._opcode = CONTINUED
        self._message = bytearray()
        return message


def frame_of(opcode: int, payload: bytes) -> bytes:
    """A whole frame as clients send it: masked."""
    size = len(payload)
    head = bytes([0x80 | opcode])
    if size <= CONTROL_LIMIT:
        head += bytes([0x80 | size])
    elif size < 2**16:
        head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))
    return head + mask + masked


class WebSocket:
    """One connection; whoever has it waits for its socket to be readable, and then reads."""

    def __init__(self, connection: WebConnection, path: str, host: str) -> None:
        """Connect, and agree to speak this protocol. ExchangeError: it can't be had."""
        self.connection = connection
        self._frames = Frames()
        self._waiting: list[tuple[int, bytes]] = []
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Version: 13\r\nUser-Agent: {USER_AGENT}\r\n\r\n"
        )
        with Deadline(connection, HANDSHAKE_PATIENCE) as deadline:
            try:
                connection.connect()
                connection.sock.sendall(head.encode())
                self._agree(key)
                deadline.check()
            except (*HTTP_ERRORS, Ended) as error:
                connection.close()
                cause = TimeoutError() if deadline.passed else error
                raise ExchangeError(cause, sent=False) from error

    @property
    def socket(self) -> socket.socket:
        """What is waited for."""
        return self.connection.sock

    def _agree(self, key: str) -> None:
        """Read the server's agreement. ValueError: it is none."""
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = self.socket.recv(READ_AT_ONCE)
            answer += data
            if not data or len(answer) > HEAD_LIMIT:
                raise ValueError("it does not speak HTTP")
        head, _, rest = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        if not re.fullmatch(r"HTTP/1\.1 101( .*)?", status):
            raise ValueError(f"it answers {clip(one_line(status), ERROR_SHOWN)}")
        headers = dict(line.lower().partition(":")[::2] for line in lines)
        digest = hashlib.sha1((key + WEBSOCKET_GUID).encode(), usedforsecurity=False).digest()
        agreed = {name: value.strip() for name, value in headers.items()}
        if agreed.get("sec-websocket-accept", "") != base64.b64encode(digest).decode().lower():
            raise ValueError("it does not speak WebSocket")
        self._waiting += self._frames.feed(rest)

    def receive(self) -> list[str]:
        """The texts that have come; pings are answered. Ended: that was the last of them."""
        texts: list[str] = []
        frames = [*self._waiting, *self._frames.feed(self._read())]
        self._waiting = []
        for opcode, payload in frames:
            if opcode == 8:
                code = int.from_bytes(payload[:2], "big") if len(payload) > 1 else None
                raise Ended(code, one_line(payload[2:].decode(errors="replace")))
            elif opcode == 9:
                self._send(PONG, payload)
            elif opcode in (1, 2):
                texts.append(self._text(payload))
        return texts

    def _text(self, payload: bytes) -> str:
        try:
            return payload.decode()
        except UnicodeDecodeError:
            raise Ended(BAD_TEXT, "a text that is none") from None

    def _read(self) -> bytes:
        """What there is to read, without waiting for more."""
        self.socket.settimeout(0.0)
        try:
            data = self.socket.recv(READ_AT_ONCE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError as error:
            raise Ended(None, why_of_error(error)) from error
        if not data:
            raise Ended(None, "it hung up")
        return data

    @property
    def has_more(self) -> bool:
        """Whether there is something to read that its socket does not tell of: TLS has read it."""
        sock = self.socket
        return bool(self._waiting) or (isinstance(sock, ssl.SSLSocket) and sock.pending() > 0)

    def send(self, text: str) -> None:
        """Send a text. Ended: it can't be sent."""
        self._send(TEXT, text.encode())

    def _send(self, opcode: int, payload: bytes) -> None:
        self.socket.settimeout(SEND_PATIENCE)
        try:
            self.socket.sendall(frame_of(opcode, payload))
        except OSError as error:
            raise Ended(None, why_of_error(error)) from error

    def close(self, code: int) -> None:
        """Say goodbye, and hang up, if that has not been done."""
        if self.connection.sock is None:
            return
        with contextlib.suppress(Ended, OSError):
            self._send(CLOSE, code.to_bytes(2, "big"))
            hang_up(self.socket)
        self.connection.close()


def why_of_error(error: OSError) -> str:
    """What went wrong with a connection, in words."""
    return error.strerror or str(error) or type(error).__name__


# ─── Gateway ──────────────────────────────────────────────────────────────────────────────────────

MANAGE_CHANNELS, VIEW_CHANNELS, SEND_MESSAGES = 1 << 4, 1 << 10, 1 << 11
EMBED_LINKS, READ_HISTORY, MENTION_EVERYONE = 1 << 14, 1 << 16, 1 << 17
INVITE_PERMISSIONS = (
    VIEW_CHANNELS | SEND_MESSAGES | EMBED_LINKS | READ_HISTORY | MENTION_EVERYONE | MANAGE_CHANNELS
)
INVITE_SCOPES = "bot+applications.commands"
INVITE = "https://discord.com/oauth2/authorize?client_id={}&scope={}&permissions={}"
NO_ACCESS = (50001, 10004)  # Discord's codes of what a bot was not let into
SERVER_ERROR = 500  # and above
FIRST_PATIENCE = 5.0  # seconds for a first answer, which Discord takes for three
REGISTER_AGAIN = 600.0  # seconds until it is tried again
FEW_MESSAGES, BREATH = 50, 0.05  # at once, and the pause after more: who floods is read slowly
GOODBYE = 0.5  # seconds that closing may take


class Application:
    """The bot as an application, by REST: who it is, its commands, its answers."""

    def __init__(self, settings: Settings, web: Web) -> None:
        self.settings, self.web = settings, web

    def ask(self, method: str, path: str, body: JSON = None) -> Answer:
        """One request in the bot's name."""
        token = self.settings.bot_token.bare
        headers = {"Authorization": f"Bot {token}"}
        return self.web.ask(method, self.settings.api_url + path, body, headers)

    def look(self) -> Found:
        """Ask Discord for all that is needed."""
        answer = self.ask("GET", "/gateway/bot")
        url = text_at(answer.document, "url")
        if answer.status == UNAUTHORIZED or answer.code == UNAUTHORIZED_CODE:
            return Found(why="the bot's token is wrong: copy it anew", hopeless=True)
        if not answer.ok or not self.is_gateway(url):
            return Found(why=asking_failed(answer, "names no gateway"))
        me = self.ask("GET", "/applications/@me")
        if not me.ok:
            me = self.ask("GET", "/users/@me")  # which has the same id, but for the oldest bots
        application = text_at(me.document, "id")
        if not application:
            return Found(why=asking_failed(me, "names no application"))
        guild = self.settings.guild_id
        if not guild:
            channel = self.ask("GET", f"/channels/{self.settings.channel_id}")
            guild = text_at(channel.document, "guild_id")
            if not guild:
                why = "the channel is in no server where the bot is: invite it by "
                return Found(why=why + invitation(application))
        return Found(url, application, guild)

    def is_gateway(self, url: str) -> bool:
        """Whether a token may be sent there: in the clear only where the API is so, too."""
        plain = self.settings.api_url.startswith("http://")
        parts = urllib.parse.urlsplit(url)
        return bool(parts.hostname) and parts.scheme in (("wss", "ws") if plain else ("wss",))

    def register(self, found: Found) -> str:
        """Bring the commands up to date; why that can't be, empty where they are."""
        path = f"/applications/{found.application}/guilds/{found.guild}/commands"
        wanted = commands_of(self.settings.operators)
        there = self.ask("GET", path)
        if there.ok and same_commands(there.document, wanted):
            return ""
        answer = self.ask("PUT", path, wanted) if there.ok else there
        if answer.ok:
            return ""
        if answer.code in NO_ACCESS:
            link = invitation(found.application)
            return f"the bot was invited without applications.commands; invite it anew by {link}"
        return asking_failed(answer, "takes no commands")

    def respond(self, job: Respond) -> Responded:
        """Say something to whoever asked."""
        seen = job.interaction
        base = self.settings.api_url
        hooks = f"{base}/webhooks/{seen.application}/{seen.token}"
        if job.way is Way.EDIT:
            method, url, body = "PATCH", f"{hooks}/messages/@original", dict(job.data)
        elif job.way is Way.FOLLOW_UP:
            method, url, body = "POST", hooks, dict(job.data)
        else:
            method, url = "POST", f"{base}/interactions/{seen.id}/{seen.token}/callback"
            body = {"type": WAY_TYPES[job.way], "data": dict(job.data)}
        first = job.way not in (Way.EDIT, Way.FOLLOW_UP)
        patience = FIRST_PATIENCE if first else WEB_PATIENCE
        answer = self.web.ask(method, url, body, file=job.file, patience=patience)
        wait = pause_asked(answer, "Discord") if answer.status == TOO_MANY else None
        if answer.status == 0 or answer.status >= SERVER_ERROR:
            wait = 0.0
        why = asking_failed(answer, "takes no answer")
        return Responded(job, answer.ok, answer.code, why, wait)


UNAUTHORIZED_CODE = 40001
WAY_TYPES = {Way.ANSWER: ANSWER, Way.CHOICES: CHOICES, Way.DEFER: DEFERRED}


def invitation(application: str) -> str:
    """The link by which a bot is invited, with what it needs and no more."""
    return INVITE.format(application, INVITE_SCOPES, INVITE_PERMISSIONS)


def dial_words(error: Exception) -> str:
    """Why the gateway could not be connected to."""
    cause = error.cause if isinstance(error, ExchangeError) else error
    return network_words("it", cause)


def asking_failed(answer: Answer, otherwise: str) -> str:
    """Why Discord did not give what it was asked for."""
    if answer.why:
        return answer.why
    if answer.ok:
        return f"Discord {otherwise}"
    message = one_line(text_at(answer.document, "message"))
    return f"Discord answers HTTP {answer.status}" + (
        f" ({clip(message, ERROR_SHOWN)})" if message else ""
    )


class Gateway:
    """Keeps a session with Discord's gateway, in a thread of its own: alerts never wait for it."""

    def __init__(self, settings: Settings, web: Web, put: Callable[[Any], None]) -> None:
        self.application = Application(settings, web)
        self.web, self.put = web, put
        self.session = Session(settings.bot_token, lambda: int.from_bytes(os.urandom(4)) / 2**32)
        self._found = Found()
        self._report = Report()
        self._turnstile = Turnstile()
        self._register_at = 0.0
        self._unregistered = ""  # why the commands are not
        self._presence: JSON = None
        self._leaving = False
        self._left = threading.Event()
        self._bell, self._button = socket.socketpair()  # wakes the thread

    def start(self) -> None:
        """Begin."""

        def run() -> None:
            try:
                self._keep()
            except BaseException:
                # The top of a thread: whatever it is ends the process, with its reason.
                self.put(Crashed("gateway", traceback.format_exc()))
            finally:
                self._left.set()

        threading.Thread(target=run, name="gateway", daemon=True).start()

    def show(self, presence: JSON) -> None:
        """Have the bot seen doing this."""
        if presence != self._presence:
            self._presence = presence
            self._ring()

    def leave(self) -> None:
        """Say goodbye, so that the bot is seen to be gone."""
        self._leaving = True
        self._ring()

    def wait_for_end(self, seconds: float) -> None:
        """Give the goodbye so long."""
        self._left.wait(seconds)

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it has been rung before
            self._button.send(b"!", socket.MSG_DONTWAIT)

    # The thread

    def _keep(self) -> None:
        """Connect whenever that is due, until there is no use in it."""
        while not self._leaving and self.session.stage is not Stage.REFUSED:
            now = time.monotonic()
            if self.session.wants_connection(now):
                self._connect()
            else:
                self._wait(self.session.next_at() - now, None)

    def _connect(self) -> None:
        """One connection, from its beginning to its end."""
        if not self._found.url:
            self._found = self.application.look()
        found = self._found
        if found.hopeless:
            self.session.refuse(found.why)
            self._say()
            return
        if not found.url:
            self._over(None, found.why)
            return
        self._register()
        try:
            connection = self.dial(found.url)
        except (ExchangeError, ValueError) as error:
            self.session.missed()
            self._over(None, dial_words(error))
            return
        self.session.opened(time.monotonic())
        try:
            self._converse(connection)
        except Ended as end:
            ours = end.code in (PROTOCOL_ERROR, BAD_TEXT, TOO_BIG) and bool(end.why)
            connection.close(end.code if ours and end.code else NORMAL)
            self._over(end.code, end.why if ours or end.code is None else "")

    def dial(self, url: str) -> WebSocket:
        """Connect to the gateway, or to where the session is to be resumed. ExchangeError: it can't
        be had."""
        resumed = self.session.resume_url if self.session.can_resume else ""
        if resumed and self.application.is_gateway(resumed):
            url = resumed
        parts = urllib.parse.urlsplit(url)
        scheme = "https" if parts.scheme == "wss" else "http"
        web_url = urllib.parse.urlsplit(f"{scheme}://{parts.netloc}{parts.path or '/'}")
        connection = self.web.connection(web_url, proxy_of(web_url, self.web.proxies))
        return WebSocket(connection, f"{web_url.path}?v=10&encoding=json", parts.netloc)

    def _register(self) -> None:
        """Bring the commands up to date; what is in the way is said once, and tried again."""
        now = time.monotonic()
        if now < self._register_at:
            return
        before, why = self._unregistered, self.application.register(self._found)
        self._unregistered = why
        self._register_at = now + REGISTER_AGAIN if why else math.inf
        if why != before and self._report.said is Said.WORKS:
            self._tell_works()

    def _converse(self, connection: WebSocket) -> None:
        """Do what the session wants until it ends. Ended: the connection has."""
        session = self.session
        while not self._leaving:
            session.showing.want(self._presence)
            effects = session.tick(time.monotonic())
            texts = connection.receive()
            for text in texts:
                effects += session.received(json_in(text.encode()), time.monotonic())
            for effect in effects:
                self._do(effect, connection)
            self._say()
            self._register()
            if len(texts) > FEW_MESSAGES:
                self._wait(BREATH, None)
            elif not connection.has_more and not texts:
                self._wait(session.next_at() - time.monotonic(), connection.socket)
        connection.close(NORMAL)

    def _do(self, effect: Effect, connection: WebSocket) -> None:
        if isinstance(effect, Payload):
            connection.send(json.dumps(effect.document))
        elif isinstance(effect, HangUp):
            connection.close(effect.code)
            raise Ended(None, self.session.why)
        elif isinstance(effect, Arrived):
            self._take(effect.document)

    def _take(self, document: JSON) -> None:
        """Hand an interaction on, unless there are too many of them: of one person, or of all."""
        interaction, now = interaction_of(document), time.monotonic()
        if interaction is None:
            return
        whose = interaction.person.id if interaction.person else ""
        if self._turnstile.takes(whose, now):
            self.put(Interacted(interaction))
        elif self._turnstile.complains(now):
            self._tell("warning", "too much is asked at once; some of it is not answered")

    def _over(self, code: int | None, why: str) -> None:
        """The connection has ended, or could not be had."""
        self.session.ended(code, why, time.monotonic())
        self._say()

    def _say(self) -> None:
        """Say how it stands, if that is news."""
        stage = self.session.stage
        said = self._report.news(stage, time.monotonic())
        if said is Said.WORKS:
            self._tell_works()
        elif said is Said.LOST:
            again = "" if stage is Stage.REFUSED else "; it is tried again"
            why = self.session.why or "it has not answered yet"
            words = f"Discord's gateway can't be had: {why}{again}; alerts go on"
            self._tell("warning", words)

    def _tell_works(self) -> None:
        why = self._unregistered
        if why:
            words = f"buttons work, but commands can't be registered: {why}; alerts go on"
            self._tell("warning", words)
        else:
            self._tell("info", "commands and buttons work")

    def _tell(self, level: str, words: str) -> None:
        hopeless = self.session.stage is Stage.REFUSED
        self.put(GatewayChanged(self._found, hopeless, level, words))

    def _wait(self, seconds: float, sock: socket.socket | None) -> None:
        """Until something is said on the connection, or there is something to say."""
        self._say()
        if not self._report.is_true(self.session.stage):
            seconds = min(seconds, LOOK_AGAIN)
        wait_for(self._bell, sock, seconds)


# ─── Supervision ──────────────────────────────────────────────────────────────────────────────────
# Who supervises Sentinel, and what it writes for people.


class ExitCode(IntEnum):
    """How the process ends."""

    OK = 0
    CRASHED = 70
    BAD_SETTINGS = 78


# how often it is noted that all goes on, and how old that note may be
PULSE, PULSE_LIMIT = 5.0, 30.0
HEARTBEAT_EVERY = 60.0
LISTING_LIMIT = 90.0  # how late a listing may be


DATAGRAMS = (socket.AF_UNIX, socket.SOCK_DGRAM)


class Manager:
    """The service manager that started Sentinel, if it is one that wants to know (sd_notify)."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.address = environment.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        limit, owner = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        ours = owner in ("", str(os.getpid()))
        self.interval = int(limit) / MICRO / 3 if limit.isdecimal() and ours else 0.0

    def say(self, *lines: str) -> None:
        """READY=1, STATUS=…, WATCHDOG=1, STOPPING=1."""
        if not self.address:
            return
        text = "\n".join(map(one_line, lines)).encode()
        with contextlib.suppress(OSError), socket.socket(*DATAGRAMS) as sock:
            sock.sendto(text, socket.MSG_DONTWAIT, self.address)


def journal_is(environment: Mapping[str, str], descriptor: int) -> bool:
    """Whether what is written there goes to systemd's journal, which takes priorities."""
    with contextlib.suppress(OSError):
        there = os.fstat(descriptor)
        return environment.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"
    return False


class Journal:
    """Sentinel's own record: lines on standard error, without any secret."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.form = settings.log
        if settings.log == "text" and journal_is(environment, 2):
            self.form = "journal"
        elif settings.log == "text" and sys.stderr.isatty():
            self.form = "terminal"

    def mask(self, text: str) -> str:
        """Text without Sentinel's own secrets: a container may well print them, too."""
        return mask(text, self.settings)

    def log(self, level: str, text: str) -> None:
        """One line."""
        line = log_line(level, self.mask(text), time.time(), self.form)
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr, flush=True)


def health_files(settings: Settings, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Where it is noted that all goes on: beside the ledger, or where that can't be written, in a
    passing place."""
    folder = state_folder(settings, environment)
    mark = hashlib.sha256(folder.encode()).hexdigest()[:12]
    passing = f"sentinel-{os.getuid()}-{mark}"
    places = [os.path.join(place, passing) for place in ("/dev/shm", "/tmp")]
    return os.path.join(folder, "health"), *places


def write_health(files: tuple[str, ...], text: str) -> None:
    """Note it in the first file that can be written, whole or not at all, never through somebody
    else's link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    for path in files:
        with contextlib.suppress(OSError):
            with open(os.open(f"{path}.part", flags, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(f"{path}.part", path)
            return


def health_words(settings: Settings, environment: Mapping[str, str]) -> str:
    """`ok` where a daemon runs and makes progress, else what is wrong."""
    age, words = math.inf, "no Sentinel runs here; is this the daemon's SENTINEL_STATE?"
    for path in health_files(settings, environment):
        moment, _, noted = read_text(path).partition(" ")
        if re.fullmatch(r"\d+\.\d", moment):
            since = time.monotonic() - float(moment)
            if 0 <= since < age:
                age, words = since, noted
    if PULSE_LIMIT < age < math.inf:
        return f"Sentinel has not moved for {span(age)}"
    return words


def health(settings: Settings, environment: Mapping[str, str]) -> int:
    """Whether the running daemon makes progress: 0, or 1 with a reason."""
    words = health_words(settings, environment)
    print(words)
    return int(words != "ok")


def fail_url(url: str) -> str:
    """The dead-man's switch's address for a failure: `/fail` before a query."""
    path, mark, query = url.partition("?")
    return f"{path}/fail{mark}{query}"


def ping(web: Web, url: str) -> Pinged:
    """Fetch the dead-man's switch."""
    answer = web.ask("GET", url)
    if answer.ok:
        return Pinged("")
    return Pinged(answer.why or f"it answers HTTP {answer.status}")


# ─── Lanes ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Job:
    """One thing that a worker does. `limit`: seconds after which nobody waits for it any more."""

    number: int
    lane: str
    what: Any
    limit: float


@dataclass(frozen=True, slots=True)
class Done:
    """A job was done: what came of it."""

    number: int
    lane: str
    seen: Observation | FromDiscord


class Lanes:
    """Workers in lanes, so that a slow stop holds up neither looks nor starts. Each takes one job,
    does one blocking thing, and puts one value into the inbox. A job past its limit is given up;
    its worker is replaced."""

    def __init__(self, inbox: queue.SimpleQueue[Any]) -> None:
        self.inbox = inbox
        self.overdue: set[str] = set()  # lanes in which a job was given up, and none was done since
        self._queues: dict[str, queue.SimpleQueue[Job | None]] = {}  # None: one worker leaves
        self._works: dict[str, Callable[[Any], Any]] = {}
        self._workers: dict[str, int] = {}
        self._jobs: dict[int, Job] = {}
        self._at_work: Counter[str] = Counter()  # lane → its jobs
        self._began_at: dict[int, float] = {}  # jobs that a worker is at → since when
        self._numbers = itertools.count(1)
        self._names = itertools.count(1)  # of workers

    def open(self, lane: str, workers: int, work: Callable[[Any], Any]) -> None:
        """Begin a lane."""
        self._queues[lane] = queue.SimpleQueue()
        self._works[lane] = work
        self._workers[lane] = 0
        for _ in range(workers):
            self._hire(lane)

    def put(self, lane: str, what: Any, limit: float = math.inf) -> None:
        """Have a job done. Where all workers are at long ones, another is hired, as far as the lane
        grows."""
        job = Job(next(self._numbers), lane, what, limit)
        self._jobs[job.number] = job
        self._at_work[lane] += 1
        if self._workers[lane] < min(self._at_work[lane], GROWING_LANES.get(lane, 0)):
            self._hire(lane)
        self._queues[lane].put(job)

    def at_work(self, lane: str) -> int:
        """How many jobs of a lane wait, or are being done."""
        return self._at_work[lane]

    def finish(self, done: Done) -> bool:
        """A job was done: whether anybody still waits for that. Who was hired for a storm leaves
        when it is over."""
        self.overdue.discard(done.lane)  # also where it comes too late
        waited_for = self._jobs.pop(done.number, None) is not None
        self._at_work[done.lane] -= waited_for
        if done.lane in GROWING_LANES and not self._at_work[done.lane]:
            while self._workers[done.lane] > 1:
                self._workers[done.lane] -= 1
                self._queues[done.lane].put(None)
        return waited_for

    def give_up(self, now: float) -> list[Job]:
        """The jobs that are past their limits, once."""
        late: list[Job] = []
        for number, began_at in list(self._began_at.items()):
            job = self._jobs.get(number)
            if job and now - began_at > job.limit:
                late.append(job)
        for job in late:
            del self._jobs[job.number]
            self._at_work[job.lane] -= 1
            self.overdue.add(job.lane)
            self._workers[job.lane] -= 1  # who is at it leaves when it comes back
            self._hire(job.lane)
        return late

    def _hire(self, lane: str) -> None:
        self._workers[lane] += 1
        name = f"{lane}-{next(self._names)}"
        jobs, work = self._queues[lane], self._works[lane]

        def loop() -> None:
            try:
                while job := jobs.get():
                    self._began_at[job.number] = time.monotonic()
                    seen = work(job.what)
                    del self._began_at[job.number]
                    wanted = job.number in self._jobs
                    self.inbox.put(Done(job.number, lane, seen))
                    if not wanted:
                        return  # somebody else has this place now
            except BaseException:
                # The top of a thread: whatever it is ends the process, with its reason.
                self.inbox.put(Crashed(name, traceback.format_exc()))

        threading.Thread(target=loop, name=name, daemon=True).start()


GROWING_LANES = {"start": 32, "restart": 32, "answers": 32}  # up to so many workers


# ─── Books ────────────────────────────────────────────────────────────────────────────────────────

OFFSET_ERROR = 0.01
PRUNE_EVERY = 86400.0
GREET_AGAIN = 600.0


class Books:
    """What is remembered: the ledger, and the calendar by which it is kept."""

    def __init__(self, settings: Settings, ledger: Ledger, journal: Journal) -> None:
        self.settings, self.ledger, self.journal = settings, ledger, journal
        self.offset = 0.0  # what turns monotonic moments into calendar time
        # As the ledger holds them; None: it has them as they were by another clock.
        self._outages: dict[int, Outage | None] = {}
        self._prune_at = 0.0

    def open(self) -> None:
        """Open the ledger. LedgerError: it belongs to somebody else."""
        warning = self.ledger.open()
        if warning:
            self.journal.log("warning", f"ledger: {warning}")
        self.ledger.name_strangers()

    def follow_calendar(self, watchdog: Watchdog, now: float) -> None:
        """Follow the calendar clock, but not from one tick to the next: no record shall change by
        that alone."""
        offset = time.time() - now
        if abs(offset - self.offset) > OFFSET_ERROR:
            self.offset = offset
            self._outages = dict.fromkeys(self._outages)
            watchdog.calendar.set(now, now + offset)

    def restore(self, watchdog: Watchdog, now: float) -> dict[int, Outage]:
        """Give the watchdog what the ledger holds; the outages that go on."""
        now_time = time.time()
        self.follow_calendar(watchdog, now)
        reader = self.reader()
        for number, outage in self._revived("outage", reader, Outage).items():
            reader.outages[number] = outage
        self._outages = dict.fromkeys(reader.outages)
        services: list[tuple[Watched, float | None]] = []
        for key, document in self.ledger.records("service").items():
            try:
                services.append(service_of(key, document, reader, self.settings))
            except (ValueError, TypeError) as error:
                self._left_out(f"service {key}", error)
        record = self._record(reader)
        watchdog.restore(services, reader.outages, record, now, now_time)
        self.ledger.put("meta", "began", now_time, now_time)
        return reader.outages

    def reader(self) -> Reader:
        """What reads the ledger's moments: none of them is to come, also after a clock that was
        ahead."""
        self.ledger.records("meta")  # which tells when it was written last
        return Reader(max(self.offset, self.ledger.newest() - time.monotonic()))

    def _record(self, reader: Reader) -> Record:
        newest = self._record_named("position", reader)
        record = self._record_named("record", reader)
        return replace(record, position=newest.position, marks=newest.marks)

    def _record_named(self, name: str, reader: Reader) -> Record:
        meta = self.ledger.records("meta")
        try:
            return reader.value(Record, meta[name]) if name in meta else Record()
        except (ValueError, TypeError) as error:
            self._left_out("where it was", error)
            return Record()

    def notices(self) -> dict[int, Notice]:
        """All notices that the ledger holds, by number."""
        return self._revived("notice", self.reader(), Notice)

    def _revived(self, kind: str, reader: Reader, made: type[Any]) -> dict[int, Any]:
        """What the records of a kind stand for, by number; one that makes no sense is left out,
        which is said."""
        found: dict[int, Any] = {}
        for key, document in self.ledger.records(kind).items():
            try:
                found[int(key)] = reader.value(made, document)
            except (ValueError, TypeError) as error:
                self._left_out(f"{kind} {key}", error)
        return found

    def _left_out(self, what: str, error: Exception) -> None:
        words = f"ledger: the record of {what} makes no sense ({error}) and is left out"
        self.journal.log("warning", words)

    def read_mutes(self, watchdog: Watchdog, now: float) -> None:
        """Take over what `mute` and `unmute` have written, before anything else is decided."""
        self.follow_calendar(watchdog, now)
        if self.ledger.file.changed_outside():
            mutes, drills = self.ledger.mutes(self.offset), self.ledger.drills()
            if self.ledger.database:  # else it could not be read, which ends no mute
                watchdog.mute(mutes, now)
                watchdog.drill(drills)
        for name in self.ledger.take_odd():
            self._left_out(name, ValueError("it is none of ours"))

    def greeted_lately(self, notice: Notice, now_time: float) -> bool:
        """Whether the same greeting was said just before; it is noted that it is said now."""
        said = re.sub(r"\d+[smhd]\w*", "", json.dumps(notice.facts))  # but for how long
        before = self.ledger.records("meta").get("greeting")
        self.ledger.put("meta", "greeting", {"said": said, "time": now_time}, now_time)
        then = at(before, "time")
        lately = isinstance(then, float) and now_time - then < GREET_AGAIN
        return lately and at(before, "said") == said

    # One transaction for everything that has changed

    def save(self, watchdog: Watchdog, post: Post, now: float, leaving: bool = False) -> None:
        """Write all that has changed since the last time, all or nothing."""
        now_time = time.time()
        for key in watchdog.services.take_changed():
            service = watchdog.services.get(key)
            if service:
                document = service_record(service, watchdog.due_of(service), self.offset)
                self.ledger.put("service", key, document, now_time)
            else:
                self.ledger.drop("service", key)
        self._save_outages(watchdog.outages, now_time)
        self._save_post(post, now_time)
        self._save_record(watchdog, leaving, now_time)
        words = self.ledger.commit(now)
        if words:
            self.journal.log("warning", f"ledger: {words}")

    def checkpoint(self, now: float) -> None:
        """Bring what is written into the ledger's file itself, from time to time."""
        words = self.ledger.file.checkpoint(now)
        if words:
            self.journal.log("warning", f"ledger: {words}")

    def prune(self, now: float) -> bool:
        """Once a day, forget what is old; whether it was time."""
        if now < self._prune_at:
            return False
        self._prune_at = now + PRUNE_EVERY
        now_time = time.time()
        self.ledger.prune(now_time - self.settings.keep, now_time)
        return True

    def put_mute(self, name: str, until_time: float) -> None:
        """Have a name left alone until then; `all` and 0: nobody any more."""
        if until_time:
            self.ledger.put("mute", name, until_time, until_time)
            return
        for kind, key in list(self.ledger.alive):
            if kind == "mute" and name in (key, "all"):
                self.ledger.drop(kind, key)

    def incidents(self) -> list[JSON]:
        """What has been, with moments in Unix seconds."""
        return incidents_in(self.ledger)

    def put_notice(self, notice: Notice) -> None:
        """A notice, as it reads now."""
        at_time = notice.at + self.offset
        self.ledger.put("notice", str(notice.id), record_of(notice, self.offset), at_time)

    def put_delivery(self, number: int, seen: Delivered) -> None:
        """What became of a notice through a channel."""
        why = "" if seen.fate is Fate.SENT else seen.why
        state = {"message": seen.message, "why": why}
        self.ledger.put("delivery", f"{number}/{seen.channel}", state, time.time())

    def _save_outages(self, outages: Mapping[int, Outage], now_time: float) -> None:
        """Write those that have changed: to encode all of them at each death would take ever longer
        in a storm."""
        for number, outage in outages.items():
            if self._outages.get(number) != outage:
                document = record_of(outage, self.offset)
                self.ledger.put("outage", str(number), document, now_time)
                self._outages[number] = replace(outage, members=[*outage.members])
        for number in set(self._outages) - set(outages):
            self.ledger.drop("outage", str(number))
            del self._outages[number]

    def _save_post(self, post: Post, now_time: float) -> None:
        for name, outbox in post.outboxes.items():
            document = record_of(outbox.record(), self.offset)
            self.ledger.put("outbox", name, document, now_time)
        for name, value in post.facts().items():
            self.ledger.put("meta", name, value, now_time)

    def _save_record(self, watchdog: Watchdog, leaving: bool, now_time: float) -> None:
        record = watchdog.record(leaving)
        still = record_of(replace(record, position=0.0, marks=()), self.offset)
        self.ledger.put("meta", "record", still, now_time)
        if self.ledger.unsaved:  # the newest events are no reason of their own to write
            position = record_of(Record(position=record.position, marks=record.marks), self.offset)
            self.ledger.put("meta", "position", position, now_time)


def incidents_in(ledger: Ledger) -> list[JSON]:
    """The incidents that a ledger knows, with moments in Unix seconds."""
    reader = Reader(0.0)  # moments stay Unix seconds
    notices: dict[int, Notice] = {}
    for key, document in ledger.records("notice").items():
        try:
            notices[int(key)] = reader.value(Notice, document)
        except (ValueError, TypeError):
            ledger.odd.append(f"notice {key}")
    deliveries, outboxes = ledger.records("delivery"), ledger.records("outbox")
    return incidents_of(notices, deliveries, outboxes)


# ─── Post ─────────────────────────────────────────────────────────────────────────────────────────


class Post:
    """What is told: each notice gets a number and a place in the ledger, and goes through every
    channel, or through the first of a chain that can tell it."""

    def __init__(
        self,
        settings: Settings,
        channels: list[Channel],
        books: Books,
        journal: Journal,
        figures: Figures,
    ) -> None:
        self.settings, self.books, self.journal, self.figures = settings, books, journal, figures
        self.channels = {channel.name: channel for channel in channels}
        self.outboxes: dict[str, Outbox] = {}
        for channel in channels:
            self.outboxes[channel.name] = Outbox(channel.name, channel.edits, settings.chain)
        self._kept: set[int] = set()  # notices that the ledger has in memory, too
        self._buttons = False  # whether somebody would hear of a press
        self._failures: list[str] = []  # what was given up, for the dead-man's switch
        self._tag = os.urandom(3).hex()  # of this ledger: two of them number their notices alike
        self._newest = 0  # the highest number of a notice
        self._reds: dict[int, int] = {}  # outages that go on → the notices that tell of them
        self._given_up: set[int] = set()  # outages of which that was said

    def take_failures(self) -> list[str]:
        """What was given up, once."""
        failures = self._failures
        self._failures = []
        return failures

    # What the ledger holds

    def restore(self, outages: Mapping[int, Outage]) -> None:
        """Fill the outboxes, and find which notices tell of what still goes on."""
        ledger, notices = self.books.ledger, self.books.notices()
        meta = ledger.records("meta")
        self._newest = max([whole_at(meta, "notices"), *notices])
        self._tag = text_at(meta, "tag") or self._tag
        for channel in self.channels.values():
            if isinstance(channel, Webhook):
                channel.keep_to(text_at(meta, "thread"))
        reader = self.books.reader()
        for name, document in ledger.records("outbox").items():
            if name in self.outboxes:
                self._restore_outbox(self.outboxes[name], document, reader, notices)
        for notice in self._unfinished():
            self.books.put_notice(notice)
        for number, notice in notices.items():
            if notice.open and notice.incident in outages:
                self._reds[notice.incident] = number

    def _restore_outbox(
        self, outbox: Outbox, document: JSON, reader: Reader, notices: Mapping[int, Notice]
    ) -> None:
        whole = False
        with contextlib.suppress(ValueError, TypeError):
            whole = outbox.restore(reader.value(OutboxRecord, document), notices)
        if not whole:
            words = f"some alerts that waited for {outbox.channel} make no sense and are left out"
            self.journal.log("warning", f"ledger: {words}")

    def facts(self) -> dict[str, JSON]:
        """What is to be remembered, beside notices and outboxes."""
        facts: dict[str, JSON] = {"notices": self._newest, "tag": self._tag}
        for channel in self.channels.values():
            if isinstance(channel, Webhook) and channel.made_thread:
                facts["thread"] = channel.made_thread
        return facts

    def _unfinished(self) -> list[Notice]:
        found = [outbox.unfinished() for outbox in self.outboxes.values()]
        return list(itertools.chain.from_iterable(found))

    def _let_go(self, numbers: set[int]) -> None:
        """Notices that no channel needs any more are kept by the ledger alone."""
        needed = {notice.id for notice in self._unfinished()}
        gone = numbers - needed - set(self._reds.values())
        for number in gone:
            self.books.ledger.release("notice", str(number))
        self._kept -= gone

    # What is told

    def tell(self, notice: Notice, now: float, but: str = "") -> None:
        """Number a notice, and put it into the outbox of each channel `but` one, or of the first of
        a chain."""
        self._newest += 1
        notice = self._keep(notice, self._newest)
        if notice.open:
            self._reds[notice.incident] = notice.id
        if notice.verdict is Verdict.GAVE_UP:
            self._say_given_up(notice)
        self._log_told(notice)
        chain = [outbox for outbox in self._chain if outbox.channel != but]
        if self.settings.chain:
            chain = chain[:1]
        for outbox in (*chain, *self._beside):
            outbox.put(notice, now)

    def _log_told(self, notice: Notice) -> None:
        """What is told stands in the record, too, unless both are read on one terminal."""
        if self.journal.form == "terminal" and Terminal.name in self.outboxes:
            return
        words = (f"[{notice.verdict}] {headline(notice)}", cause_words(notice), notice.plan)
        self.journal.log("error" if notice.red else "info", ". ".join(filter(None, words)))

    @property
    def _chain(self) -> list[Outbox]:
        """The channels that are tried one after the other."""
        return [self.outboxes[name] for name in self.outboxes if name != Terminal.name]

    @property
    def _beside(self) -> list[Outbox]:
        """The terminal, which is beside the chain."""
        return [self.outboxes[name] for name in self.outboxes if name == Terminal.name]

    def amend(self, notice: Notice, now: float) -> None:
        """What was told of an outage reads otherwise now, wherever that can be."""
        number = self._reds.get(notice.incident)
        if number is None:
            return
        notice = self._keep(notice, number)
        for outbox in self.outboxes.values():
            outbox.amend(notice, now)
        if notice.open:
            if notice.verdict is Verdict.GAVE_UP:
                self._say_given_up(notice)
            return
        self._given_up.discard(notice.incident)
        del self._reds[notice.incident]
        self._let_go(self._kept)

    def _keep(self, notice: Notice, number: int) -> Notice:
        """A notice with its number, without secrets, and durable."""
        hide = self.journal.mask
        notice = shown(notice)
        notice = replace(
            notice,
            id=number,
            name=hide(notice.name),
            plan=hide(notice.plan),
            error=hide(notice.error),
            logs=tuple(map(hide, notice.logs)),
            body=hide(notice.body),
        )
        self._kept.add(number)
        self.books.put_notice(notice)
        return notice

    def _say_given_up(self, notice: Notice) -> None:
        if notice.incident in self._given_up:
            return
        self._given_up.add(notice.incident)
        words = f"[{notice.verdict}] {headline(notice)}"
        self.journal.log("error", words)
        self._failures.append(words)

    # What goes out, and what becomes of it

    def jobs(self, host: str, now: float) -> list[Deliver]:
        """The messages and edits that may be sent now."""
        if self.settings.chain:
            escalate(self._chain, now)
        jitter = int.from_bytes(os.urandom(1)) / 256
        jobs: list[Deliver] = []
        for outbox in self.outboxes.values():
            job = outbox.take(now, host, jitter)
            if job:
                life = self._tag if self._buttons and job.channel == Bot.name else ""
                typed = self._buttons and job.channel == Webhook.name
                nonce = f"{self._tag}-{job.nonce}"
                jobs.append(replace(job, nonce=nonce, life=life, typed=typed))
        return jobs

    @property
    def life(self) -> str:
        """What tells this ledger's messages from those of others."""
        return self._tag

    def pass_on(self, notice: Notice, now: float) -> None:
        """Have the bot post somebody else's message."""
        self._newest += 1
        self.outboxes[Bot.name].put(self._keep(notice, self._newest), now)

    def have_buttons(self, heard: bool) -> None:
        """Whether somebody would hear of a press."""
        self._buttons = heard

    def note(self, notice: Notice) -> None:
        """Keep something for the history; nobody is told."""
        self._newest += 1
        self._keep(notice, self._newest)
        self._let_go({self._newest})

    def keeps_waiting(self, channel: str, now: float) -> float:
        """For how many seconds what is no alert is to wait that goes the way of this channel."""
        outbox = self.outboxes.get(channel)
        return outbox.keeps_waiting(now) if outbox else 0.0

    def be_limited(self, channel: str, until: float) -> None:
        """Discord asks to be left alone until then, whatever is sent that way."""
        if channel in self.outboxes:
            self.outboxes[channel].be_limited(until)

    def next_due_at(self, now: float) -> float | None:
        """When something may be sent next."""
        dues = [outbox.next_due_at(now) for outbox in self.outboxes.values()]
        return min((due for due in dues if due is not None), default=None)

    def delivered(self, seen: Delivered, now: float) -> list[Log]:
        """A message's fate: note who has been told, and tell the others of a channel that is
        lost."""
        seen = replace(seen, why=self.journal.mask(seen.why))  # a bridge may well quote its token
        outbox = self.outboxes[seen.channel]
        flight, retired_before = outbox.flight, outbox.retired
        done, logs = outbox.settle(seen, now)
        for notice in done:
            self.figures.delivery.add(now - notice.at)
            self.books.put_delivery(notice.id, seen)
        told = {notice.id for notice in done}
        if self.settings.chain and seen.fate is Fate.MALFORMED:
            self._hand_on(done, outbox, now)
        elif self.settings.chain and seen.channel not in (Drop.name, Terminal.name):
            for other in self._chain:
                if other is not outbox:
                    other.discard(told)
        said = {notice.id for notice in flight.notices} if flight else set()
        self._let_go(told | said)
        if outbox.retired and not retired_before and len(self.outboxes) > 1:
            lost = Notice(Verdict.CHANNEL_LOST, seen.channel, now, error=seen.why)
            self.tell(lost, now, but=seen.channel)
        return logs

    def _hand_on(self, refused: list[Notice], outbox: Outbox, now: float) -> None:
        """What a channel of a chain has refused for good, the next one tells."""
        for one, fallback in itertools.pairwise(self._chain):
            for notice in refused if one is outbox else []:
                if not notice.body and not fallback.knows(notice.id):
                    fallback.put(notice, now)

    @property
    def underway(self) -> bool:
        """Whether a message is in flight."""
        return any(outbox.flight for outbox in self.outboxes.values())

    @property
    def waiting(self) -> int:
        """How many alerts wait, through whichever channel."""
        return sum(len(outbox.waiting) for outbox in self.outboxes.values())

    @property
    def retired(self) -> dict[str, str]:
        """The channels that take nothing any more, and why."""
        return {name: outbox.retired for name, outbox in self.outboxes.items() if outbox.retired}


# ─── Roll desk ────────────────────────────────────────────────────────────────────────────────────

ROLL_LIMIT = 90.0  # seconds that a roll call may take
LAST_TRY, LAST_WAIT = 0.5, 1.3  # seconds until the last words are tried again, and at most


class RollDesk:
    """Has roll calls made and read, a lane each medium; those in Discord after its alerts."""

    def __init__(self, rolls: Iterable[AnyRoll], lanes: Lanes, post: Post) -> None:
        self.rolls = {roll.medium: roll for roll in rolls}
        self.lanes, self.post = lanes, post
        self._last: dict[Medium, CallRoll] = {}  # words, once Sentinel ends
        self._again_at: dict[Medium, float] = {}  # when those that were not taken are said again

    @property
    def media(self) -> list[Medium]:
        """Where hosts hear of each other."""
        return list(self.rolls)

    def start(self) -> None:
        """Have the workers ready."""
        for medium in self.rolls:
            self.lanes.open(f"roll {medium}", 1, self.work)

    def work(self, job: ReadRoll | CallRoll) -> RollRead | RollCalled:
        """Read, or call."""
        roll = self.rolls[job.medium]
        return roll.read(job) if isinstance(job, ReadRoll) else roll.call(job)

    def put(self, job: ReadRoll | CallRoll, now: float) -> None:
        """Have it done, unless alerts go first."""
        wait = self.wait_for_alerts(job.medium, now)
        if wait:
            self.lanes.inbox.put(RollPutOff(job.medium, wait))
        else:
            self.lanes.put(f"roll {job.medium}", job, ROLL_LIMIT)

    def wait_for_alerts(self, medium: Medium, now: float) -> float:
        """For how many seconds alerts go first that take the same way."""
        return self.post.keeps_waiting(Bot.name, now) if medium is Medium.CHANNEL else 0.0

    def leave(self, jobs: Iterable[Action]) -> None:
        """Sentinel ends: have it said that it is at rest, where that was not asked for before."""
        for job in jobs:
            if isinstance(job, CallRoll) and job.medium not in self._last:
                self._last[job.medium] = job
                self.lanes.put(f"roll {job.medium}", job, ROLL_LIMIT)

    @property
    def underway(self) -> bool:
        """Whether something is being said or read, or is to be said again."""
        at_work = any(self.lanes.at_work(f"roll {medium}") for medium in self.rolls)
        return at_work or bool(self._again_at)

    def done(self, seen: RollRead | RollCalled, now: float) -> None:
        """Something of it was done, or was not."""
        if seen.everywhere:
            self.post.be_limited(Bot.name, now + seen.hold)
        untaken = isinstance(seen, RollCalled) and bool(seen.why) and seen.hold <= LAST_WAIT
        if untaken and seen.medium in self._last:
            self._again_at[seen.medium] = now + max(LAST_TRY, seen.hold)

    def next_at(self) -> float:
        """When last words are to be said again."""
        return min(self._again_at.values(), default=math.inf)

    def say_again(self, now: float) -> None:
        """Say again what was not taken, if it is time for that."""
        for medium, when in list(self._again_at.items()):
            if when <= now:
                del self._again_at[medium]
                self.lanes.put(f"roll {medium}", self._last[medium], ROLL_LIMIT)


# ─── Pulse ────────────────────────────────────────────────────────────────────────────────────────


class Pulse:
    """Whether all goes on, for those who watch Sentinel: a file, the service manager, a dead-man's
    switch."""

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        watchdog: Watchdog,
        lanes: Lanes,
        post: Post,
    ) -> None:
        self.settings, self.watchdog, self.lanes, self.post = settings, watchdog, lanes, post
        self.manager = Manager(environment)
        self.files = health_files(settings, environment)
        self.due_at = 0.0
        self._heartbeat_at = 0.0
        self._heartbeat_why = ""
        self._listed_at = time.monotonic()

    def listed(self, now: float) -> None:
        """A listing was answered, or refused: somebody is at work."""
        self._listed_at = now

    def stuck(self, now: float) -> str:
        """Who does not get on with its work, empty for nobody; an engine or Discord that is away is
        no trouble of ours."""
        late = sorted(self.lanes.overdue)
        if now - self._listed_at > self.settings.poll_interval + LISTING_LIMIT:
            late.append("listing")
        if late:
            return f"no progress: {listed(late)}"
        retired = self.post.retired
        if len(retired) == len(self.post.outboxes):
            return f"no channel takes alerts: {'; '.join(retired.values())}"
        return ""

    def beat(self, now: float) -> None:
        """Tell that all goes on, or what does not."""
        if now < self.due_at:
            return
        self.due_at = now + min(PULSE, self.manager.interval or PULSE)
        stuck = self.stuck(now)
        moment = math.floor(now * 10) / 10
        write_health(self.files, f"{moment:.1f} {one_line(stuck) or 'ok'}")
        lines = [f"STATUS={stuck or self._status()}"]
        if not self.lanes.overdue:
            lines.append("WATCHDOG=1")
        self.manager.say(*lines)
        if not stuck and now >= self._heartbeat_at:
            self._feed_switch(now)

    def _feed_switch(self, now: float) -> None:
        """The dead-man's switch is told that all is well; one that is slow is not told later."""
        if self.settings.heartbeat_url and not self.lanes.at_work("heartbeat"):
            self._heartbeat_at = now + HEARTBEAT_EVERY
            self.lanes.put("heartbeat", self.settings.heartbeat_url.bare)

    def _status(self) -> str:
        link = self.watchdog.link
        if link.is_away:
            return f"the engine does not answer ({link.why})"
        phases = [service.phase for service in self.watchdog.services.values()]
        down = sum(phase in FALLEN for phase in phases)
        return f"watching {counted(len(phases), 'service')}, {down} down"

    def failed(self) -> None:
        """Something was given up: the dead-man's switch is to know."""
        if self.settings.heartbeat_url:
            self.lanes.put("heartbeat", fail_url(self.settings.heartbeat_url.bare))

    def pinged(self, seen: Pinged) -> list[Log]:
        """The dead-man's switch was fetched, or was not: said when that changes."""
        news = seen.why != self._heartbeat_why
        self._heartbeat_why = seen.why
        return [Log("warning", f"heartbeat: {seen.why}")] if seen.why and news else []


# ─── Front desk ───────────────────────────────────────────────────────────────────────────────────

HTTP_PATIENCE, BODY_LIMIT = 5.0, 16 * 2**10
LINGER_READS = 1024  # at most, of a body that nobody reads
UNREAD = frozenset({400, 401, 404, 413})  # answers that may be given before the body was read
NOTES, NOTES_SPAN = 30, 60.0  # words of others that are taken in so many seconds
NOTE_TITLE, NOTE_TEXT = 200, 2000  # characters that others may send
PLAIN_TEXT = "text/plain"
GET_PATHS = ("/healthz", "/metrics", "/status")

Reply = tuple[int, str, str]  # HTTP status, kind of content, text


def serve(
    address: str, token: str, put: Callable[[Observation], None], bot: Bot | None = None
) -> None:
    """Serve /healthz, /metrics, /status, /notify in threads, and with a bot what a bridge does; the
    main thread decides. OSError: no such address."""
    # Only for those who want it: they take time and memory.
    import socketserver
    from http.server import ThreadingHTTPServer

    host, _, port = address.rpartition(":")

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        daemon_threads = True
        server_bind = socketserver.TCPServer.server_bind  # no name is looked up

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Nothing: who hangs up early is no news."""

    def ask(path: str, words: Notice | None = None) -> Reply:
        reply: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        put(Asked(path, reply.put, words))
        try:
            return reply.get(timeout=HTTP_PATIENCE)
        except queue.Empty:
            return 503, PLAIN_TEXT, "Sentinel does not answer\n"

    listening = Server((host.strip("[]"), int(port)), handler_of(token, ask, bot))
    threading.Thread(target=listening.serve_forever, name="http", daemon=True).start()


def handler_of(token: str, ask: Callable[..., Reply], bot: Bot | None = None) -> type:
    """What answers one HTTP request; `ask` has the main thread answer it."""
    from http.server import BaseHTTPRequestHandler

    class Handler(BaseHTTPRequestHandler):
        timeout = HTTP_PATIENCE

        def setup(self) -> None:
            super().setup()
            self.deadline = threading.Timer(2 * HTTP_PATIENCE, hang_up, [self.connection])
            self.deadline.start()  # for one that drips

        def finish(self) -> None:
            self.deadline.cancel()
            super().finish()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path in GET_PATHS:
                self.answer(*ask(path))
            else:
                self.answer(404, PLAIN_TEXT, "not found\n")

        def do_POST(self) -> None:
            reply = take_words(self.path, self.headers, self.rfile.read, token, ask, bot)
            self.answer(*reply)
            if reply[0] in UNREAD:
                linger(self.connection)

        def answer(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            if status == TOO_MANY:
                self.send_header("Retry-After", "60")
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a request is no news."""

    return Handler


def linger(connection: socket.socket) -> None:
    """Take what is still sent, and drop it: who sends to a closed connection does not see the
    answer any more."""
    connection.shutdown(socket.SHUT_WR)
    for _ in range(LINGER_READS):
        if not connection.recv(BODY_LIMIT):
            return


def take_words(
    path: str,
    headers: Headers,
    read: Callable[[int], bytes],
    token: str,
    ask: Callable[[str, Notice], Reply],
    bot: Bot | None = None,
) -> Reply:
    """`POST /notify`: the answer to somebody's own words; with a bot also `/channels/ensure` and
    `/send/ID`, as `Bridge` asks for them. Without a token there are no such places."""
    path = path.partition("?")[0]
    refusal = unread_answer(path, headers, token, bot)
    if refusal:
        return refusal
    sends = SEND_PATH.fullmatch(path)
    try:
        document = json.loads(read(int(headers.get("Content-Length", ""))))
    except (ValueError, RecursionError, OSError):
        form = '{"title": "…", "message": "…", "level": "info"}'
        return 400, PLAIN_TEXT, f"the body is no JSON; send {form}\n"
    try:
        if bot and path == ENSURE_PATH:
            return channel_for(bot, document)
        words = message_for(sends[1], document) if sends else words_of(document)
        return ask(path, words)
    except ValueError as error:
        return 400, PLAIN_TEXT, f"{error}\n"


def unread_answer(path: str, headers: Headers, token: str, bot: Bot | None) -> Reply | None:
    """The answer to a POST whose body is not read: there is no such place, or it is not theirs, or
    too much."""
    sends = SEND_PATH.fullmatch(path)
    place = sends[1] if sends else ""
    if not token or not (path == "/notify" or (bot and (place or path == ENSURE_PATH))):
        return 404, PLAIN_TEXT, "not found\n"
    given = headers.get("Authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {token}".encode()):
        return 401, PLAIN_TEXT, "write Authorization: Bearer and SENTINEL_NOTIFY_TOKEN\n"
    if bot and place in bot.gone:
        return 404, PLAIN_TEXT, "there is no such channel any more\n"
    length = headers.get("Content-Length", "")
    if not re.fullmatch(r"[0-9]{1,100}", length):
        return 400, PLAIN_TEXT, "a Content-Length is needed\n"
    most = SEND_LIMIT if place else BODY_LIMIT
    return (413, PLAIN_TEXT, f"at most {most} bytes\n") if int(length) > most else None


SEND_PATH, ENSURE_PATH = re.compile(r"/send/([0-9]{5,20})", re.ASCII), "/channels/ensure"
SEND_LIMIT = 64 * 2**10  # bytes of a message that is passed on


def channel_for(bot: Bot, document: JSON) -> Reply:
    """The id of the channel of this name. ValueError: that is no name."""
    name = one_line(text_at(document, "name"))
    if not 0 < len(name) <= CHOICE_TEXT:
        raise ValueError(f"name: a text of 1 to {CHOICE_TEXT} characters")
    found, answer = bot.channel_named(name, bot.guild)
    if not found:
        return 502, PLAIN_TEXT, f"{asking_failed(answer, 'names no channel')}\n"
    return 200, "application/json", json.dumps({"id": found}) + "\n"


def message_for(place: str, document: JSON) -> Notice:
    """Somebody's message for a channel. ValueError where it is none."""
    embeds, content = items_at(document, "embeds"), text_at(document, "content")
    if not embeds and not content:
        raise ValueError("embeds or content: there has to be something to say")
    title = one_line(text_at(embeds[0], "title")) if embeds else ""
    name = redact(clip(title or one_line(content) or "a message", NOTE_TITLE))
    return Notice(Verdict.INFO, name, 0.0, body=json.dumps(document), place=place)


def words_of(document: JSON) -> Notice:
    """Somebody's own words: `{"title", "message", "level"}`. ValueError where they are not that."""
    title, message = (clean(text_at(document, name)).strip() for name in ("title", "message"))
    level = at(document, "level") or "info"
    if not 0 < len(title) <= NOTE_TITLE:
        raise ValueError(f"title: a text of 1 to {NOTE_TITLE} characters")
    if not 0 < len(message) <= NOTE_TEXT:
        raise ValueError(f"message: a text of 1 to {NOTE_TEXT} characters")
    if level not in OTHERS:
        raise ValueError(f"level: one of {', '.join(OTHERS)}")
    return Notice(Verdict(level), redact(title), 0.0, plan=redact(message))


class FrontDesk:
    """Answers the local HTTP server."""

    def __init__(
        self, watchdog: Watchdog, post: Post, pulse: Pulse, books: Books, figures: Figures
    ) -> None:
        self.watchdog, self.post, self.pulse = watchdog, post, pulse
        self.books, self.figures = books, figures
        self._noted_at: deque[float] = deque(maxlen=NOTES)
        self._promised: list[Callable[[Reply], None]] = []  # who is answered once all is durable

    def answer(self, asked: Asked, now: float) -> None:
        """Answer at once, or once the words of others are durable."""
        if asked.words:
            self._take(asked, asked.words, now)
            return
        if asked.path == "/healthz":
            stuck = self.pulse.stuck(now)
            asked.reply((503 if stuck else 200, PLAIN_TEXT, f"{stuck or 'ok'}\n"))
        elif asked.path == "/metrics":
            text = metrics(self.watchdog, self.post.outboxes, self.figures, now)
            asked.reply((200, f"{PLAIN_TEXT}; version=0.0.4", text))
        else:
            document = status_document(self.watchdog, self.post.outboxes, self.books.offset, now)
            text = json.dumps(document, ensure_ascii=False) + "\n"
            asked.reply((200, "application/json", text))

    def _take(self, asked: Asked, words: Notice, now: float) -> None:
        if len(self._noted_at) == NOTES and now - self._noted_at[0] < NOTES_SPAN:
            asked.reply((TOO_MANY, PLAIN_TEXT, "too many; try again in a minute\n"))
        elif self.books.ledger.trouble:
            asked.reply(NOT_DURABLE)
        else:
            self._noted_at.append(now)
            if words.body:
                self.post.pass_on(replace(words, at=now), now)
            else:
                self.post.tell(replace(words, at=now), now)
            self._promised.append(asked.reply)

    def keep_promises(self) -> None:
        """All was written, or could not be: say so to those who wait for that."""
        promised = self._promised
        self._promised = []
        for reply in promised:
            reply(NOT_DURABLE if self.books.ledger.trouble else (202, PLAIN_TEXT, "taken\n"))


NOT_DURABLE: Reply = (503, PLAIN_TEXT, "the ledger can't be written, so nothing is promised\n")


# ─── Daemon ───────────────────────────────────────────────────────────────────────────────────────

# the last beyond a container's stop timeout
LOOK_LIMIT, LIST_LIMIT, RESTART_LIMIT = 90.0, 150.0, 120.0
COURIER_LIMIT = 150.0  # how long a message may take
RESPOND_LIMIT = 60.0
# how long Sentinel listens, and sends, from when it is asked to end
LAST_WORDS, LEAVING = 0.3, 1.8
CATCH_UP = 10.0  # the longest that alerts wait for company at the start
GREETING_PATIENCE = 120.0  # the longest that the greeting waits until all has been looked at
CHAIN_STEP = 1.0  # how often a chain of fallbacks is looked at
LONGEST_WAIT = 60.0
WORKERS = {"look": 3, "start": 1, "restart": 1}  # at first: the latter two grow


Seen = Observation | Done | FromDiscord
PRESENCE_AFTER = 1.0  # from what has happened until the bot is seen to know it


class Daemon:
    """Threads at the edges, one inbox, one decider."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.engine = engine_of(settings, environment)
        self.journal = Journal(settings, environment)
        self.watchdog = Watchdog(settings)
        ledger = Ledger(state_folder(settings, environment), self.journal.mask)
        self.books = Books(settings, ledger, self.journal)
        self.figures = Figures()
        self.post = Post(
            settings,
            channels_of(settings, environment),
            self.books,
            self.journal,
            self.figures,
        )
        self.inbox: queue.SimpleQueue[Seen] = queue.SimpleQueue()
        self.lanes = Lanes(self.inbox)
        self.pulse = Pulse(settings, environment, self.watchdog, self.lanes, self.post)
        self.desk = FrontDesk(self.watchdog, self.post, self.pulse, self.books, self.figures)
        self.web = Web(environment)
        self.clerk = Clerk(settings, self.watchdog)
        self.rolls = RollDesk(rolls_of(settings, environment), self.lanes, self.post)
        self.gateway: Gateway | None = None
        bot = self.post.channels.get(Bot.name)
        if isinstance(bot, Bot) and settings.commands:
            web = Web(environment, bot.web.trust)
            self.gateway = Gateway(settings, web, self.inbox.put)
            self.post.have_buttons(True)
        self._show_at = math.inf  # when it is looked at what the bot is to be seen doing
        self._greeting = Greeting.WAITS if settings.greet else Greeting.SAID

    def run(self) -> int:
        """Watch until asked to stop, or until something breaks."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: self.inbox.put(StopAsked(number)))
        alerts = ", ".join(self.post.channels)
        self.journal.log(
            "info",
            f"Sentinel {__version__} watches {self.engine.host}; alerts go to {alerts}",
        )
        try:
            self.remember()
        except LedgerError as error:
            self.journal.log("error", str(error))
            return ExitCode.BAD_SETTINGS
        self.start_workers()
        fleet = self.watchdog.fleet
        fleet.join(self.rolls.media, self.post.life, socket.gethostname(), time.monotonic())
        self.perform(self.watchdog.begin())
        self.pulse.manager.say("READY=1")
        while True:
            ended = self.turn(self.wait())
            if ended is not None:
                return ended

    def remember(self) -> None:
        """Take up what the ledger holds. LedgerError: it belongs to somebody else."""
        now = time.monotonic()
        self.books.open()
        outages = self.books.restore(self.watchdog, now)
        self.post.restore(outages)
        self.books.read_mutes(self.watchdog, now)

    # One turn

    def turn(self, batch: list[Seen]) -> int | None:
        """Take what has come, decide, make it durable, do it. The exit code where that is the
        end."""
        now = time.monotonic()
        self.books.read_mutes(self.watchdog, now)
        actions: Deeds = []
        stop_asked = False
        for seen in batch:
            if isinstance(seen, StopAsked):
                stop_asked = True
            elif isinstance(seen, Crashed):
                return self.broke(seen)
            else:
                actions += self.observed(seen)
        actions += self.give_up_late()
        self.watchdog.fleet.be_heard(len(self.post.retired) < len(self.post.outboxes))
        actions += self.watchdog.tick(time.monotonic())
        if stop_asked:
            return self.leave([action for action in actions if isinstance(action, WORDS)])
        actions += self.greet()
        actions += self.clerk.due(now)
        self.decided(actions)
        if batch or actions:
            self._show_at = min(self._show_at, now + PRESENCE_AFTER)
        self.show_presence(time.monotonic())
        self.pulse.beat(time.monotonic())
        return None

    def wait(self) -> list[Seen]:
        """Everything in the inbox, at the latest when something becomes due."""
        now = time.monotonic()
        dues = [now + LONGEST_WAIT, self.pulse.due_at, self.clerk.due_at()]
        if self.gateway:
            dues.append(self._show_at)
        decide_at = self.watchdog.next_due_at()
        if decide_at is not None:
            dues.append(decide_at)
        dues += filter(None, (self.books.ledger.retry_at, self.books.ledger.file.checkpoint_at))
        if self.held(now) or self.settings.chain:
            dues.append(now + CHAIN_STEP)
        post_at = None if self.held(now) else self.post.next_due_at(now)
        if post_at is not None:
            dues.append(post_at)
        batch: list[Seen] = []
        with contextlib.suppress(queue.Empty):
            batch.append(self.inbox.get(timeout=max(0.0, min(dues) - now)))
            while True:
                batch.append(self.inbox.get_nowait())
        return batch

    def observed(self, seen: Seen) -> Deeds:
        """What follows from one thing that has come."""
        now = time.monotonic()
        if isinstance(seen, Done):
            if not self.lanes.finish(seen):
                return []  # it was given up
            seen = seen.seen
        if isinstance(seen, Delivered):
            return list(self.post.delivered(seen, now))
        elif isinstance(seen, Asked):
            self.desk.answer(seen, now)
            return []
        elif isinstance(seen, Pinged):
            return list(self.pulse.pinged(seen))
        elif isinstance(seen, Interacted):
            return self.clerk.asked(seen.interaction, now)
        elif isinstance(seen, GatewayChanged):
            return self.gateway_changed(seen)
        elif isinstance(seen, Responded):
            return self.clerk.responded(seen, now)
        elif isinstance(seen, LogsRead):
            return [logs_shown(seen)]
        elif isinstance(seen, Listed | ListFailed):
            self.pulse.listed(now)
        elif isinstance(seen, StreamOpened):
            self.figures.count_stream()
        elif isinstance(seen, RollRead | RollCalled):
            self.rolls.done(seen, now)
        return [*self.watchdog.observe(seen, now)]

    def gateway_changed(self, seen: GatewayChanged) -> Deeds:
        """Commands and buttons work, or do not."""
        if seen.found.guild:
            self.clerk.serve(seen.found.guild)
        self.post.have_buttons(not seen.hopeless)
        self.books.ledger.put("meta", "gateway", seen.words, time.time())
        return [Log(seen.level, f"discord: {seen.words}")]

    def show_presence(self, now: float) -> None:
        """Have the bot seen doing what Sentinel does."""
        if self.gateway is None or now < self._show_at:
            return
        if self.watchdog.catching_up and not self.watchdog.link.is_away:
            self._show_at = now + PRESENCE_AFTER
            return
        self._show_at = math.inf
        self.gateway.show(presence_of(self.watchdog))

    def give_up_late(self) -> list[Action]:
        """What has taken too long is given up, said, and asked again where that is worth it."""
        now = time.monotonic()
        actions: list[Action] = []
        for job in self.lanes.give_up(now):
            why = f"no answer within {span(job.limit)}"
            whose = job.what.id if isinstance(job.what, Look | Restart) else ""
            service = self.watchdog.services.of(whose)
            name = type(job.what).__name__.lower()
            name += f" of {service.container.name}" if service else ""
            actions.append(Log("error", f"{job.lane}: given up: {name}, {why}"))
            if isinstance(job.what, Look):
                actions += self.watchdog.observe(Looked(job.what.id, None, why=why), now)
            elif isinstance(job.what, List):
                actions += self.watchdog.observe(ListFailed(why), now)
            elif isinstance(job.what, Recall):
                unknown = Recalled(job.what.since, job.what.until)
                actions += self.watchdog.observe(unknown, now)
            elif isinstance(job.what, Restart):
                lost = Restarted(job.what.key, job.what.id, Outcome.UNKNOWN, why)
                actions += self.watchdog.observe(lost, now)
            elif isinstance(job.what, ReadRoll | CallRoll):
                actions += self.watchdog.observe(not_done(job.what, why), now)
            elif isinstance(job.what, Deliver):
                lost_message = Delivered(job.what.channel, Fate.UNCLEAR, why=why)
                actions += self.post.delivered(lost_message, now)
        return actions

    def decided(self, actions: Sequence[Deed | Action]) -> None:
        """Make durable what was decided and what is to be told, then do it. Looking changes
        nothing, so it waits for no disk."""
        now = time.monotonic()
        self.perform(action for action in actions if isinstance(action, LOOKING))
        fresh = False
        for action in actions:
            if isinstance(action, Tell):
                if self.is_fresh(action.notice):
                    fresh = True
                    self.figure_detection(action.notice)
                self.post.tell(self.with_buttons(action.notice, now), now)
            elif isinstance(action, Amend):
                self.post.amend(self.with_buttons(action.notice, now), now)
            elif isinstance(action, Note):
                self.post.note(action.notice)
            elif isinstance(action, Mute):
                self.mute(action, now)
        jobs: list[Deliver] = []
        if fresh or not self.held(now):
            jobs = self.post.jobs(self.watchdog.link.facts.host, now)
        self.books.save(self.watchdog, self.post, now)
        self.perform(action for action in actions if not isinstance(action, LOOKING))
        self.perform(jobs)
        if self.post.take_failures():
            self.pulse.failed()
        self.desk.keep_promises()
        self.books.checkpoint(now)
        if self.books.prune(now):
            self.figures.keep(self.watchdog.services.values())

    def with_buttons(self, notice: Notice, now: float) -> Notice:
        """A notice with the buttons that make sense on it."""
        if not self.gateway:
            return notice
        return replace(notice, buttons=buttons_for(notice, self.watchdog, now))

    def mute(self, action: Mute, now: float) -> None:
        """Leave a name alone, as `mute` and `unmute` have it done."""
        until_at = now + action.seconds if action.seconds else 0.0
        until_time = self.watchdog.calendar.time_of(until_at) if until_at else 0.0
        self.books.put_mute(action.name, until_time)
        self.watchdog.mute(self.books.ledger.mutes_alive(self.books.offset), now)

    def is_fresh(self, notice: Notice) -> bool:
        """Whether it tells of an end that was seen as it happened: neither before Sentinel's time,
        nor while it was away."""
        container = notice.container
        if container is None or notice.uptime is None or not container.finished_time:
            return False
        return not self.watchdog.lives.runs.was_before(container.finished_time)

    def figure_detection(self, notice: Notice) -> None:
        """How long it took to see an end."""
        if notice.container:
            engine_time = self.watchdog.calendar.engine_time(time.monotonic())
            self.figures.detection.add(engine_time - notice.container.finished_time)

    def held(self, now: float) -> bool:
        """Whether alerts still wait for company: what happened while Sentinel was away is told in
        one message. What happens meanwhile does not wait, and takes along what does."""
        return self.watchdog.catching_up and now < self.watchdog.began_at + CATCH_UP

    def perform(self, actions: Iterable[Deed | Action]) -> None:
        """Do what was decided, or hand it to those who do."""
        for action in actions:
            if isinstance(action, Log):
                self.journal.log(action.level, action.text)
            elif isinstance(action, Count):
                service = self.watchdog.services.get(action.key)
                self.figures.count(action.what, service, action.times)
            elif isinstance(action, CloseStream):
                self.engine.close_stream()
            elif isinstance(action, Subscribe):
                self.lanes.put("events", action)
            elif isinstance(action, Restart):
                limit = action.stopping + RESTART_LIMIT
                self.lanes.put("restart" if action.alive else "start", action, limit)
            elif isinstance(action, Look):
                self.lanes.put("look", action, LOOK_LIMIT)
            elif isinstance(action, List | Recall):
                self.lanes.put("look", action, LIST_LIMIT)
            elif isinstance(action, Deliver):
                self.lanes.put(action.channel, action, COURIER_LIMIT)
            elif isinstance(action, Respond):
                self.lanes.put("answers", action, RESPOND_LIMIT)
            elif isinstance(action, ReadLogs):
                self.lanes.put("look", action, LOOK_LIMIT)
            elif isinstance(action, ReadRoll | CallRoll):
                self.rolls.put(action, time.monotonic())
            elif isinstance(action, ReadHistory):
                incidents = self.books.incidents()
                self.lanes.put("answers", history_shown(action, incidents, time.time()))

    # How it begins and ends

    def greet(self) -> list[Action]:
        """Once it is known how things stand: one summary, unless the same was said just before a
        restart."""
        now, now_time = time.monotonic(), time.time()
        waits = self._greeting is Greeting.WAITS
        if not waits or not self.watchdog.link.listed.done:
            return []
        if self.watchdog.catching_up and now < self.watchdog.began_at + GREETING_PATIENCE:
            return []
        self._greeting = Greeting.SAID
        channels, degraded = list(self.post.channels), self.degraded()
        engine_time = self.watchdog.calendar.engine_time(now)
        notice = greeting(self.watchdog, channels, degraded, now, engine_time)
        return [] if self.books.greeted_lately(notice, now_time) else [Tell(notice)]

    def degraded(self) -> str:
        """What does not work as it should, and what follows from it."""
        words: list[str] = []
        if self.watchdog.link.stream.flow is Flow.REFUSED:
            words.append("events are refused, so deaths are found by listing")
        if self.engine.tell_only:
            words.append(f"tell only: {self.engine.tell_only}")
        if self.books.ledger.trouble:
            words.append(f"no ledger: {self.books.ledger.trouble}")
        for name, why in self.post.retired.items():
            words.append(f"{name} takes no alerts: {why}")
        return "; ".join(words)

    def broke(self, seen: Crashed) -> int:
        """End with the reason, so that the supervisor starts it again from durable state."""
        self.journal.log("error", f"the worker {seen.worker} broke: {seen.report}")
        if self.settings.heartbeat_url:
            ping(self.web, fail_url(self.settings.heartbeat_url.bare))
        return ExitCode.CRASHED

    def leave(self, actions: list[Action]) -> int:
        """End within two seconds, what waits sent if the channels are quick; the ledger keeps the
        rest."""
        began = time.monotonic()
        self.journal.log("info", "asked to stop")
        self.pulse.manager.say("STOPPING=1")
        if self.gateway:
            self.gateway.leave()
        self.be_at_rest()
        self.decided(actions)
        self.hear(began + LAST_WORDS, (Heard, Delivered, *ROLLS))
        self.engine.close_stream()
        self.be_at_rest()
        until = began + LEAVING
        while (self.post.underway or self.rolls.underway) and time.monotonic() < until:
            self.hear(min(until, self.rolls.next_at()), (Delivered, *ROLLS), once=True)
            self.be_at_rest()
            self.rolls.say_again(time.monotonic())
        self.books.save(self.watchdog, self.post, time.monotonic(), leaving=True)
        self.books.ledger.file.close()
        if self.gateway:
            self.gateway.wait_for_end(min(GOODBYE, max(until - time.monotonic(), 0.0)))
        waiting = self.post.waiting
        if waiting:
            words = f"{counted(waiting, 'alert')} not delivered yet; kept for the next start"
            self.journal.log("info", words)
        return ExitCode.OK

    def be_at_rest(self) -> None:
        """Tell the other hosts; a first roll call that is being made has to be made before."""
        self.rolls.leave(self.watchdog.fleet.rest(time.monotonic()))

    def hear(self, until: float, kinds: tuple[type[Any], ...], once: bool = False) -> None:
        """A last look at the inbox: an engine that shuts down stops Sentinel's own container with
        all others."""
        while (left := until - time.monotonic()) > 0:
            try:
                seen = self.inbox.get(timeout=left)
            except queue.Empty:
                return
            inner = seen.seen if isinstance(seen, Done) else seen
            if isinstance(inner, kinds):
                actions = self.observed(seen)
                self.decided([action for action in actions if isinstance(action, WORDS)])
                if once:
                    return

    # Workers

    def start_workers(self) -> None:
        """Have everything ready that does jobs."""
        for lane, workers in WORKERS.items():
            self.lanes.open(lane, workers, self.engine_job)
        self.lanes.open("events", 1, self.read_events)
        for name, channel in self.post.channels.items():
            self.lanes.open(name, 1, functools.partial(send, channel))
        self.lanes.open("heartbeat", 1, lambda url: ping(self.web, url))
        self.rolls.start()
        if self.gateway:
            self.clerk.begin(self.post.life)
            self.lanes.open("answers", 1, self.gateway.application.respond)
            self.gateway.start()
        keep_warm(self.post.channels.values())
        if self.settings.listen:
            try:
                bot = self.post.channels.get(Bot.name)
                token = self.settings.notify_token.bare
                bot = bot if isinstance(bot, Bot) else None
                serve(self.settings.listen, token, self.inbox.put, bot)
            except OSError as error:  # no reason to stop watching
                why = f"{self.settings.listen} can't be had ({error.strerror or error})"
                self.journal.log("error", f"SENTINEL_LISTEN: {why}; going on without it")

    def read_events(self, job: Subscribe) -> Observation:
        """The event stream, until its end."""
        self.engine.info()  # which tells its time
        return self.engine.events(job.since, self.inbox.put)

    def engine_job(self, job: List | Look | Recall | Restart | ReadLogs) -> Seen:
        """One request to the engine."""
        if isinstance(job, ReadLogs):
            return LogsRead(job, self.engine.log_tail(job.container, job.lines))
        elif isinstance(job, Recall):
            return self.engine.recall(job)
        elif isinstance(job, List):
            return self.engine.list_all()
        elif isinstance(job, Look):
            return self.engine.look(job.id, job.since)
        elif isinstance(job, Restart):
            return self.engine.restart(job)


class Greeting(Enum):
    """The summary at the start."""

    WAITS = auto()
    SAID = auto()


WORDS = (Tell, Amend, Log)  # what is still done when Sentinel ends
ROLLS = (RollCalled, RollRead)
LOOKING = (Look, List, Recall)


# ─── Drilling ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command as it was given."""

    settings: Settings
    names: list[str]
    form: str  # table, json, nagios, screen
    sure: bool = False  # --yes
    pings: bool = False  # --ping
    since: float = math.inf  # --since: seconds


def watchdog_now(engine: Engine, settings: Settings, containers: Iterable[Container]) -> Watchdog:
    """A watchdog that has taken in all containers as they are, and the engine's recent events; it
    decides nothing."""
    now, now_time = time.monotonic(), time.time()
    watchdog = Watchdog(settings)
    watchdog.calendar.set(now, now_time)
    me = own_container(engine)
    watchdog.link.introduce(
        me, engine.kind, bool(engine.libpod) and engine.libpod < SAYS_WHO_STOPPED
    )
    watchdog.lives.runs.take_in(engine.recent_events(now_time), now)
    watchdog.roster.adopt_all(containers, now)
    return watchdog


def recall(watchdog: Watchdog, settings: Settings, environment: Mapping[str, str]) -> None:
    """Take in what the daemon's ledger knows, if there is one: attempts, deaths, mutes."""
    ledger = Ledger.beside(state_folder(settings, environment))
    if ledger is None:
        return
    if ledger.trouble:
        print(f"{ledger.trouble}: what the daemon knows is left out", file=sys.stderr)
    reader = Reader(watchdog.calendar.offset)
    for key, document in ledger.records("service").items():
        with contextlib.suppress(ValueError, TypeError):
            service, _ = service_of(key, document, reader, settings)
            watchdog.services.enter(service)
    watchdog.mutes.command(ledger.mutes(watchdog.calendar.offset))


def watchdog_beside(
    engine: Engine, settings: Settings, environment: Mapping[str, str], now: float
) -> tuple[Watchdog, tuple[Container, ...]]:
    """A watchdog that knows what the daemon's ledger does, and all containers as they are.
    EngineError: these can't be had."""
    watchdog, containers = watchdog_now(engine, settings, ()), engine.containers()
    recall(watchdog, settings, environment)
    watchdog.roster.adopt_all(containers, now)
    return watchdog, containers


DRILL_STEP = 0.1  # how often it is looked whether something has come
PROMISED = {"seen": 1.0, "alert": 3.0, "running": 5.0, "green": 20.0}  # as README says


class Drilling:
    """One drill: a container is killed, and what the running daemon makes of that is read from its
    ledger, from the engine, and from where its alerts can be read."""

    def __init__(
        self, engine: Engine, ledger: Ledger, container: Container, channels: Sequence[Channel]
    ) -> None:
        self.engine, self.ledger, self.container = engine, ledger, container
        self.channels = {channel.name: channel for channel in channels}
        self.killed_time = 0.0
        self.incident = 0
        self.seen = Milestone("seen by the daemon", PROMISED["seen"])
        self.running = Milestone("running again", PROMISED["running"])
        self.reds: dict[str, Milestone] = {}
        self.backs: dict[str, Milestone] = {}
        self.greens: dict[str, Milestone] = {}
        for name, channel in self.channels.items():
            self.reds[name] = Milestone(f"alert taken by {name}", PROMISED["alert"])
            if isinstance(channel, Bot | Webhook):
                self.backs[name] = Milestone(f"alert read back from {name}")
            self.greens[name] = Milestone(f"green taken by {name}", PROMISED["green"])

    @property
    def milestones(self) -> list[Milestone]:
        """All that is waited for, in the order in which it should come."""
        alerts = [*self.reds.values(), *self.backs.values()]
        return [self.seen, *alerts, self.running, *self.greens.values()]

    @property
    def done(self) -> bool:
        """Whether all has come."""
        return all(milestone.after is not None for milestone in self.milestones)

    def run(self, pings: bool) -> None:
        """Kill, and follow until all has come or its time is up. EngineError: it can't be
        killed."""
        self.killed_time = time.time()
        mark = {"since": self.killed_time + self.engine.ahead - DRILL_STEP, "pings": pings}
        with outside_ledger(self.ledger.file.path) as database:
            write_outside(database, "drill", self.container.id, self.killed_time, mark)
        try:
            self.engine.ask("POST", path_of(self.container.id, "kill?signal=KILL"))
            until = time.monotonic() + DRILL_LIMIT
            while not self.done and time.monotonic() < until:
                time.sleep(DRILL_STEP)  # a command may; the daemon never does
                self.look()
        finally:
            with outside_ledger(self.ledger.file.path) as database:
                database.execute("DELETE FROM record WHERE kind = 'drill'")

    def look(self) -> None:
        """What has come since."""
        for number, (_, notice) in self.ledger.since("notice", self.killed_time - 1.0).items():
            if at(notice, "drill") is not True or text_at(notice, "name") != self.container.title:
                continue
            green = text_at(notice, "verdict") == Verdict.RECOVERED
            if not green:
                self.seen.come(time.time() - self.killed_time)
            self._follow(number, self.greens if green else self.reds)
        self._look_at_container()

    def _follow(self, number: str, milestones: Mapping[str, Milestone]) -> None:
        """Which channels have taken a notice, and whether it can be read there."""
        for key, (at_time, state) in self.ledger.since("delivery", self.killed_time).items():
            of, _, name = key.partition("/")
            milestone = milestones.get(name)
            if of != number or milestone is None:
                continue
            if why := text_at(state, "why"):
                milestone.note = one_line(why)
                continue
            milestone.come(at_time - self.killed_time)
            back, channel = self.backs.get(name), self.channels[name]
            unread = milestones is self.reds and back is not None and back.after is None
            if unread and isinstance(channel, Bot | Webhook):
                assert back
                if channel.reads(text_at(state, "message")):
                    back.come(time.time() - self.killed_time)

    def _look_at_container(self) -> None:
        if self.running.after is not None:
            return
        with contextlib.suppress(EngineError):
            container = self.engine.inspect(self.container.id)
            if container and container.running:
                began = container.started_time
                if began > self.container.started_time:
                    self.running.come(began - self.engine.ahead - self.killed_time)


def drill(call: Invocation) -> int:
    """Kill one service that may be hurt, and see whether that is told and healed: 0 if all of it
    came, 1 if not or nobody watches, 2 where that is refused."""
    settings, environment = call.settings, os.environ
    words = health_words(settings, environment)
    if words != "ok":
        print(f"no drill: {words}", file=sys.stderr)
        return 1
    engine = engine_of(settings, environment)
    ledger = Ledger.beside(state_folder(settings, environment))
    now = time.monotonic()
    try:
        watchdog, containers = watchdog_beside(engine, settings, environment, now)
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    if ledger and ledger.trouble:
        print(f"no drill: {ledger.trouble}", file=sys.stderr)
        return 1
    service, why = drilled(watchdog, call.names, call.sure, now)
    for container in containers:
        if service is None and not why and container.called & set(call.names):
            _, why = scope_of(container, settings, watchdog.link.facts.me)
            why = f"{call.names[0]} is not watched: {why}"
    if service is None or ledger is None:
        print(f"no drill: {why or 'there is no such container'}", file=sys.stderr)
        return 2
    name = service.container.title
    print(f"killing {name}; what follows takes some 15 s, and {span(DRILL_LIMIT)} at most")
    channels = expected_channels(settings, environment)
    drilling = Drilling(engine, ledger, service.container, channels)
    try:
        drilling.run(call.pings)
    except (EngineError, sqlite3.Error) as error:
        print(f"the drill of {name} failed: {error}", file=sys.stderr)
        return 1
    print(drill_table(name, drilling.milestones))
    return int(not drilling.done)


def drilled(
    watchdog: Watchdog, wanted: list[str], sure: bool, now: float
) -> tuple[Watched | None, str]:
    """The service for a drill: that of this name, or the first that may be hurt; and why there is
    none."""
    services = sorted(watchdog.services.values(), key=lambda service: service.container.title)
    if not wanted:
        for service in services:
            if not drill_refusal(service, watchdog, False, now):
                return service, ""
        return (
            None,
            "nothing that may be hurt is up; label a service sentinel.drill=true, or name one",
        )
    named = [service for service in services if service.container.called & set(wanted)]
    if not named:
        return None, ""
    if len(named) != 1 or len(wanted) != 1:
        return None, f"{listed(wanted)} is {counted(len(named), 'service')}; name one"
    why = drill_refusal(named[0], watchdog, sure, now)
    return (None, f"{wanted[0]}: {why}") if why else (named[0], "")


def expected_channels(settings: Settings, environment: Mapping[str, str]) -> list[Channel]:
    """The channels that are to take an alert: of a chain the first."""
    channels = channels_of(replace(settings, terminal=False), environment)
    return channels[:1] if settings.chain else channels


# ─── Checking ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Glance:
    """What one look shows: rows, worst first, what could not be found or asked, and how far ahead
    the engine's clock is."""

    states: list[State]
    trouble: list[str]
    ahead: float = 0.0

    @property
    def worst(self) -> int:
        """How bad it is, by Nagios's scale."""
        worst = max((state.severity for state in self.states), default=UNKNOWN)
        return UNKNOWN if self.trouble and worst != CRITICAL else worst


def check(call: Invocation) -> int:
    """Look once: a table, JSON, or what Nagios reads; exits 0 ok, 1 warning, 2 critical, 3
    unknown. As a screen it is kept current."""
    if call.form == "screen":
        return keep_current(call)
    sight = glance_of_all(call)
    if call.form == "nagios":
        print(nagios_text(sight.states, sight.worst, sight.trouble))
        return sight.worst
    for words in sight.trouble:
        print(f"UNKNOWN: {words}", file=sys.stderr)
    if call.form == "json":
        print(json.dumps([asdict(state) for state in sight.states], indent=1, ensure_ascii=False))
    elif sight.states:
        coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        print(state_table(sight.states, time.time() + sight.ahead, coloured))
    return sight.worst


def glance_of_all(call: Invocation) -> Glance:
    """How what is watched stands, as far as it is wanted by its names."""
    settings, wanted = call.settings, set(call.names)
    try:
        engine = engine_of(settings, os.environ)
        containers = engine.containers()
        watchdog = watchdog_now(engine, settings, containers)
    except (EngineError, SettingError) as error:
        return Glance([], [str(error)])
    ledger = Ledger.beside(state_folder(settings, os.environ))
    if ledger:
        watchdog.mutes.command(ledger.mutes(watchdog.calendar.offset))
    now = time.monotonic()
    states: list[State] = []
    known: set[str] = set()
    for service in watchdog.services.values():
        called = service.container.called
        known |= called
        if not wanted or called & wanted:
            left = watchdog.mutes.until(service, now) - now
            states.append(with_mute(state_of(service, watchdog), left))
    me = watchdog.link.facts.me
    trouble = [
        unknown_name(name, known, containers, settings, me)
        for name in call.names
        if name not in known
    ]
    if not states and not trouble:
        words = "nothing is watched; compose containers are by default, see SENTINEL_WATCH"
        trouble = [words]
    states.sort(key=lambda state: (-state.severity, state.name))
    return Glance(states, trouble, engine.ahead)


def unknown_name(
    name: str, known: set[str], containers: Iterable[Container], settings: Settings, me: str
) -> str:
    """Why nothing that is watched is called so."""
    for container in containers:
        if name in container.called:
            _, why = scope_of(container, settings, me)
            return f"{name} is not watched: {why}"
    if name.lower() in known:
        return f"no watched service is called {name}; compose writes it {name.lower()}"
    return f"no watched service is called {name}{nearest(name, known)}"


FOLLOW_EVERY, FOLLOW_SHARE = 2.0, 10.0  # seconds between two looks; times that a look took
SCREEN_ON, SCREEN_OFF = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # another one, no cursor
HOME, LINE_END, SCREEN_END = "\x1b[H", "\x1b[K\r\n", "\x1b[J"


def keep_current(call: Invocation) -> int:
    """The table of `check` on a screen of its own, with open incidents, until somebody interrupts
    it; the terminal is left as it was."""
    if not sys.stdout.isatty():
        print("check --watch: needs a terminal", file=sys.stderr)
        return UNKNOWN
    for number in (signal.SIGTERM, signal.SIGINT):  # which a shell may have had ignored
        signal.signal(number, signal.default_int_handler)
    print(SCREEN_ON, end="", flush=True)
    try:
        while True:
            began = time.monotonic()
            width, height = terminal_size(os.environ)
            lines = [clip(line, width) for line in screen_lines(call, width)][: height - 1]
            print(HOME + LINE_END.join([*lines, ""]) + SCREEN_END, end="", flush=True)
            took = time.monotonic() - began
            time.sleep(max(FOLLOW_EVERY, FOLLOW_SHARE * took))  # a command may
    except KeyboardInterrupt:
        return ExitCode.OK
    finally:
        print(SCREEN_OFF, end="", flush=True)


def screen_lines(call: Invocation, width: int) -> list[str]:
    """What a screen shows: rows, then what goes on."""
    sight, now_time = glance_of_all(call), time.time()
    lines = [datetime.fromtimestamp(now_time).astimezone().strftime("Sentinel, %H:%M:%S"), ""]
    lines += sight.trouble
    if sight.states:
        lines += state_table(sight.states, now_time + sight.ahead, False).splitlines()
    ledger = Ledger.beside(state_folder(call.settings, os.environ))
    incidents = incidents_in(ledger) if ledger else []
    still = [incident for incident in incidents if incident["end"] is None]
    if ledger and ledger.trouble:
        lines += ["", ledger.trouble]
    if still:
        lines += ["", "Open incidents", *history_table(still, width, now_time).splitlines()]
    return lines


# ─── Other commands ───────────────────────────────────────────────────────────────────────────────


def test_channels(settings: Settings, environment: Mapping[str, str]) -> int:
    """Send a red and a green sample through every channel: 0 if all took them, 1 if not."""
    failed = False
    for channel in channels_of(settings, environment):
        now = time.monotonic()
        host, nonce = settings.host or socket.gethostname(), f"test{os.urandom(6).hex()}"
        seen = send(channel, Deliver(channel.name, tuple(samples(now)), host, nonce))
        took = (time.monotonic() - now) * 1000
        if seen.fate is Fate.SENT:
            where = f" to {seen.where}" if seen.where else ""
            print(f"{channel.name}: delivered{where} in {took:.0f} ms")
        else:
            failed = True
            print(f"{channel.name}: not delivered: {redact(mask(seen.why, settings))}")
    if settings.bot_token:
        for line in commands_tried(settings, environment):
            print(mask(line, settings))
    for roll in rolls_of(settings, environment):
        read = roll.read(ReadRoll(roll.medium, ""), make=False)
        hosts = counted(len(seats_in(read)), "roll call")
        print(mask(f"fleet, {roll.medium}: {read.why or f'{hosts} can be read'}", settings))
    return int(failed)


def commands_tried(settings: Settings, environment: Mapping[str, str]) -> list[str]:
    """Whether commands and buttons will work, and the link by which the bot is invited."""
    if not settings.commands:
        return ["commands: off (SENTINEL_COMMANDS is false)"]
    gateway = Gateway(settings, Web(environment), lambda _: None)
    found = gateway.application.look()
    if found.why:
        return [f"commands: not available: {found.why}"]
    invite = f"invite the bot by {invitation(found.application)}"
    unregistered = gateway.application.register(found)
    lines = [f"commands: {unregistered or 'registered'}", invite]
    try:
        gateway.dial(found.url).close(NORMAL)
        works = "the gateway answers, so buttons will work"
    except (ExchangeError, ValueError) as error:
        works = f"the gateway can't be had ({dial_words(error)}): no commands, no buttons"
    return [f"commands: {works}", *lines]


ODD_SHOWN = 200  # characters of the names of records that can't be read


def history(
    settings: Settings,
    environment: Mapping[str, str],
    as_json: bool,
    wanted: Collection[str] = (),
    since: float = math.inf,
) -> int:
    """Past and open incidents, as the ledger has them: those of these names, that lasted into the
    last so many seconds. It may be read beside the daemon; 1 where it can't be read."""
    folder = state_folder(settings, environment)
    ledger = Ledger.beside(folder)
    if ledger is None:
        print(f"no history yet: there is no ledger in {folder}", file=sys.stderr)
        print("[]" if as_json else "", end="")
        return 0
    now_time = time.time()
    shown = incidents_lasting(incidents_in(ledger), wanted, now_time - since)
    if as_json:
        print(json.dumps(shown, indent=1, ensure_ascii=False))
    elif greetless := [each for each in shown if each["verdict"] != Verdict.WATCHING]:
        print(history_table(greetless, terminal_size(environment)[0], now_time))
    elif not ledger.trouble:
        of = f" of {listed(wanted)}" if wanted else ""
        print(f"no incident{of} is known", file=sys.stderr)
    if odd := ledger.take_odd():
        names = clip(one_line(listed(odd)), ODD_SHOWN)
        print(f"left out, since they can't be read: {names}", file=sys.stderr)
    if ledger.trouble:
        print(ledger.trouble, file=sys.stderr)
    return int(bool(ledger.trouble))


def incidents_lasting(
    incidents: list[JSON], wanted: Collection[str], since_time: float
) -> list[JSON]:
    """Those of these services or projects, or all, that had not ended by then."""
    found: list[JSON] = []
    for incident in incidents:
        named = not wanted or {incident["name"], incident["project"]} & set(wanted)
        if named and (incident["end"] is None or incident["end"] >= since_time):
            found.append(incident)
    return found


def mute_command(settings: Settings, words: list[str]) -> int:
    """`mute NAME… DURATION`; 1 where it is called otherwise."""
    seconds = 0.0
    if len(words) > 1 and words[-1].isdecimal() and int(words[-1]):
        print(
            f"mute: {words[-1]} what? Write {words[-1]}m, {words[-1]}s or {words[-1]}h",
            file=sys.stderr,
        )
        return 1
    try:
        if len(words) > 1:
            seconds = min(interval(words[-1]), LONGEST_MUTE)
    except ValueError as error:
        print(f"mute: {error}", file=sys.stderr)
        return 1
    if not seconds:
        usage = "write mute NAME DURATION, as in: mute shop 30m; or mute all 1h"
        print(usage, file=sys.stderr)
        return 1
    return mute(settings, os.environ, words[:-1], seconds)


def unmute_command(settings: Settings, names: list[str]) -> int:
    """`unmute NAME…`; 1 where it is called otherwise."""
    if not names:
        print("write unmute NAME, or unmute all", file=sys.stderr)
        return 1
    return mute(settings, os.environ, names, 0.0)


def mute(
    settings: Settings, environment: Mapping[str, str], wanted: list[str], seconds: float
) -> int:
    """Have names left alone for so long (0: no longer), through the ledger; the daemon sees it at
    once. 1 if it can't be."""
    path = os.path.join(state_folder(settings, environment), "sentinel.db")
    until_time = time.time() + seconds
    try:
        with outside_ledger(path) as database:
            check_names(database, wanted, unmutes=not seconds)
            write_mutes(database, wanted, until_time if seconds else 0.0)
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 1
    except sqlite3.Error as error:
        words = f"the ledger {path} can't be used ({error}); is this the daemon's SENTINEL_STATE?"
        print(words, file=sys.stderr)
        return 1
    if not seconds:
        print(f"{listed(wanted)}: watched again")
        return 0
    end = datetime.fromtimestamp(until_time).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    print(f"{listed(wanted)}: neither alerts nor restarts until {end}")
    return 0


def check_names(database: sqlite3.Connection, wanted: list[str], unmutes: bool) -> None:
    """LedgerError: a name means nothing, or nothing that is muted."""
    known = known_names(database)
    query = f"SELECT key FROM record WHERE kind = 'mute' AND at > ? AND {SOUND}"
    muted = {key for (key,) in database.execute(query, (time.time(),))}
    loud = [name for name in wanted if name in known - muted]
    if unmutes and loud and "all" not in wanted:
        others = f"; muted are {listed(sorted(muted))}" if muted else ""
        raise LedgerError(f"no mute names {listed(loud)}{others}")
    for name in wanted:
        if name not in known:
            hint = nearest(name, known)
            raise LedgerError(f"nothing that is watched is called {name}{hint}")


def write_mutes(database: sqlite3.Connection, wanted: list[str], until_time: float) -> None:
    """Write or, where there is no `until_time`, delete the mutes of these names."""
    for name in wanted:
        if until_time:
            write_outside(database, "mute", name, until_time, until_time)
        else:
            database.execute(
                "DELETE FROM record WHERE kind = 'mute' AND (key = ? OR ? = 'all')", (name, name)
            )


def known_names(database: sqlite3.Connection) -> set[str]:
    """Every name by which the services of a ledger can be meant."""
    known = {"all"}
    query = f"SELECT key, value FROM record WHERE kind IN ('service', 'mute') AND {SOUND}"
    for key, text in database.execute(query):
        made = at(json_in(text), "container")
        container = Container("", text_at(made, "name"), labels_at(made, "labels"))
        known |= {key} | container.called
    return known


def explain(settings: Settings, environment: Mapping[str, str], wanted: list[str]) -> int:
    """For each container what is done about it and why, then the settings; 1 if the engine can't be
    asked."""
    engine = engine_of(settings, environment)
    now = time.monotonic()
    try:
        watchdog, containers = watchdog_beside(engine, settings, environment, now)
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    called: set[str] = set()
    for container in sorted(containers, key=lambda container: container.name):
        called |= container.called
        if not wanted or container.called & set(wanted):
            print("\n".join(explained(container, watchdog, settings, now)))
    missing = [name for name in wanted if name not in called]
    for name in missing:
        print(f"no container is called {name}", file=sys.stderr)
    if not wanted:
        print("settings")
        for line in settings_lines(settings):
            print(f"  {line}")
        engine.info()  # which tells its version
        print(f"  engine: {engine.host} ({engine_name(engine.kind, engine.version)})")
        zone = datetime.now().astimezone().strftime("%Z (UTC%z)")
        print(f"  local time: {zone}, by {'TZ' if environment.get('TZ') else 'this machine'}")
        print(f"  commands: {commands_words(settings, environment)}")
    return int(bool(missing))


def commands_words(settings: Settings, environment: Mapping[str, str]) -> str:
    """Whether people can answer in Discord, and how the daemon found that to stand last."""
    if not settings.bot_token:
        return "none: they need a bot, see DISCORD_BOT_TOKEN"
    if not settings.commands:
        return "none: SENTINEL_COMMANDS is false"
    who = listed(settings.operators) or "whoever may Manage Server"
    ledger = Ledger.beside(state_folder(settings, environment))
    last = ledger.records("meta").get("gateway") if ledger else None
    words = f" ({one_line(last)})" if isinstance(last, str) else ""
    return f"slash commands and buttons; acting: {who}{words}"


def explained(
    container: Container, watchdog: Watchdog, settings: Settings, now: float
) -> list[str]:
    """What is done about one container, and why."""
    service = watchdog.services.of(container.id)
    seen = service.container if service else container
    watched, why = scope_of(seen, settings, watchdog.link.facts.me)
    if watched and service:
        return explanation(service, why, watchdog, now)
    if watched:
        why = "compose's labels on it are another container's"
    return [container.name, f"  {'watched:':{LABEL_WIDTH}}no: {why}"]


SHORT_LIMIT = 10.0  # seconds of a rate limit that a command waits for


def fleet(call: Invocation) -> int:
    """The hosts that watch each other, as their roll calls tell: 0 where all are heard or at rest,
    1 where one is dark or nothing can be read."""
    rolls = rolls_of(call.settings, os.environ)
    if not rolls:
        print("SENTINEL_FLEET: is not set, so there is no fleet", file=sys.stderr)
        return ExitCode.BAD_SETTINGS
    seats: dict[str, Seat] = {}
    failed = False
    for roll in rolls:
        seen = roll.read(ReadRoll(roll.medium, ""), make=False)
        if 0.0 < seen.hold <= SHORT_LIMIT:
            time.sleep(seen.hold)  # a command may
            seen = roll.read(ReadRoll(roll.medium, ""), make=False)
        if seen.why:
            failed = True
            print(redact(mask(seen.why, call.settings)), file=sys.stderr)
        for seat in seats_in(seen):
            known = seats.get(seat.host)
            if known is None or known.heard_time < seat.heard_time:
                seats[seat.host] = seat
    shown = sorted(seats.values(), key=lambda seat: seat.host)
    if call.form == "json":
        print(json.dumps([seat_document(seat) for seat in shown], indent=1, ensure_ascii=False))
    elif shown:
        print(fleet_table(shown, time.time()))
    elif not failed:
        print("no host has made a roll call yet", file=sys.stderr)
    dark = any(seat.state is HostState.DARK for seat in shown)
    return int(failed or dark or not shown)


# ─── Command line ─────────────────────────────────────────────────────────────────────────────────


def completion(call: Invocation) -> int:
    """Print what has bash complete commands and flags."""
    if call.names != ["bash"]:
        print("completion: write completion bash", file=sys.stderr)
        return 2
    flags = [flag_name(meta["variable"]) for _, meta in options() if not meta["secret"]]
    print(BASH.format(" ".join(COMMANDS), " ".join([*flags, *FLAGS])))
    return 0


BASH = """\
# eval "$(sentinel.py completion bash)", or put it into /etc/bash_completion.d/sentinel
_sentinel() {{
    local word=${{COMP_WORDS[COMP_CWORD]}}
    case $word in
        -*) COMPREPLY=($(compgen -W "{1}" -- "$word")) ;;
        *) COMPREPLY=($(compgen -W "{0}" -- "$word")) ;;
    esac
}}
complete -F _sentinel sentinel sentinel.py\
"""


@dataclass(frozen=True, slots=True)
class Command:
    """What can be asked on the command line: what does it, how it is written, what it does, and
    how it exits."""

    run: Callable[[Invocation], int]
    usage: str
    does: str
    exits: str

    @property
    def takes_names(self) -> bool:
        """Whether names may follow it."""
        return "NAME" in self.usage or "bash" in self.usage


COMMANDS: Mapping[str, Command] = {
    "watch": Command(
        lambda call: Daemon(call.settings, os.environ).run(),
        "watch",
        "the daemon, and the default",
        "0 asked to stop, 70 something broke, 78 settings that make no sense",
    ),
    "check": Command(
        check,
        "check [--json|--nagios|--watch] [NAME…]",
        "one look: a table of every watched service; --watch keeps it current",
        "0 ok, 1 warning, 2 critical, 3 unknown",
    ),
    "test": Command(
        lambda call: test_channels(call.settings, os.environ),
        "test",
        "a red and a green sample through every channel, and what to do where one does not arrive",
        "0 all delivered, 1 not",
    ),
    "health": Command(
        lambda call: health(call.settings, os.environ),
        "health",
        "whether the running daemon makes progress; for a health check",
        "0 yes, 1 no",
    ),
    "history": Command(
        lambda call: history(
            call.settings, os.environ, call.form == "json", call.names, call.since
        ),
        "history [--json] [--since 7d] [NAME…]",
        "incidents with start, end, downtime, cause, deaths and restarts, in local time",
        "0; 1 where the ledger can't be read",
    ),
    "mute": Command(
        lambda call: mute_command(call.settings, call.names),
        "mute NAME… DURATION",
        "neither alerts nor restarts for so long; `all` means all",
        "0, 1 not done, and why",
    ),
    "unmute": Command(
        lambda call: unmute_command(call.settings, call.names),
        "unmute NAME…",
        "ends that",
        "0, 1 not done, and why",
    ),
    "drill": Command(
        drill,
        "drill [NAME] [--yes] [--ping]",
        "kills a service that may be hurt, and shows when that was seen, told, healed, called back",
        "0 all came, 1 not, 2 refused",
    ),
    "fleet": Command(
        fleet,
        "fleet [--json]",
        "the hosts that watch each other, as their roll calls tell",
        "0 all are heard or at rest, 1 not",
    ),
    "explain": Command(
        lambda call: explain(call.settings, os.environ, call.names),
        "explain [NAME…]",
        "what is watched and why, what would be done at its death, and the settings that count",
        "0, 1 no engine",
    ),
    "completion": Command(
        completion, "completion bash", "what has bash complete commands and flags", "0, 2"
    ),
}
FLAGS = {
    "--json": "as JSON",
    "--nagios": "one line, figures, and more lines, as Nagios reads",
    "--since": "incidents that lasted into so long a time: 7d",
    "--yes": "the named service may be hurt",
    "--ping": "ping as a real alert does",
    "--help": "this, or with a command what that takes",
    "--version": "Sentinel's and Python's",
}
HELP_WIDTH, HELP_INDENT = 78, 6
HELP_FOOT = (
    "Secrets come from variables or files (DISCORD_WEBHOOK_URL_FILE=/run/secrets/webhook), never"
    " from flags. Wrong usage exits with 2, settings that make no sense with 78 (check: 3)."
)


def help_text(program: str, name: str = "") -> str:
    """What `--help` says, of one command where it is asked for that."""
    command = COMMANDS.get(name)
    lines = [f"usage: {program} [COMMAND] [FLAG…] [NAME…]", ""]
    lines += ["Watch containers, tell Discord when one dies, bring it back.", "", "commands"]
    shown = COMMANDS
    if command:
        lines = [f"usage: {program} {command.usage} [FLAG…]"]
        shown = {name: command}
    for each in shown.values():
        words = f"{each.does}; exits {each.exits}"
        lines += described(each.usage, words)
    flags = {flag: words for flag, words in FLAGS.items() if not command or flag in command.usage}
    lines += ["", "flags"] if flags else []
    for flag, words in flags.items():
        lines += described(flag, words)
    lines += ["", "settings, by flag or variable"]
    for _, meta in options():
        variable, default = meta["variable"], meta["shown"].replace("`", "") or "–"
        flag = f"{variable}_FILE" if meta["secret"] else flag_name(variable)
        words = f"{meta['meaning'].replace('`', '')} [{default}]"
        lines += described(f"{flag}, {variable}", words)
    return "\n".join([*lines, "", *textwrap.wrap(HELP_FOOT, HELP_WIDTH)])


def described(what: str, words: str) -> list[str]:
    """Something and what it means, below it."""
    lines = textwrap.wrap(words, HELP_WIDTH - HELP_INDENT, break_on_hyphens=False)
    return [f"  {what}", *textwrap.indent("\n".join(lines), " " * HELP_INDENT).splitlines()]


class Parser(argparse.ArgumentParser):
    """Usage errors in one line: exit 2, or 3 for `check`, where 2 would read as critical."""

    def error(self, message: str) -> NoReturn:
        checks = "check" in sys.argv[1:]
        if checks and "--nagios" in sys.argv[1:]:
            print(f"SENTINEL UNKNOWN: {message}")
        code = UNKNOWN if checks else 2
        self.exit(code, f"{self.prog}: {message}; see --help\n")


def command_line() -> Parser:
    """The commands, and a flag for every setting that is no secret."""
    program = os.path.basename(sys.argv[0]).removesuffix("c") or "sentinel.py"
    parser = Parser(program, allow_abbrev=False, add_help=False)
    version = f"Sentinel {__version__} (Python {sys.version.split()[0]})"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("command", nargs="?", choices=COMMANDS)
    parser.add_argument("names", nargs="*")
    for flag in ("--json", "--nagios", "--yes", "--ping"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--since", default="")
    for name, meta in options():
        if not meta["secret"]:
            # `check --watch` stands alone: it is no setting then
            alone: dict[str, Any] = {"nargs": "?", "const": ""} if name == "watch" else {}
            parser.add_argument(flag_name(meta["variable"]), dest=name, **alone)
    return parser


def invocation(parser: Parser, argv: list[str] | None) -> tuple[str, argparse.Namespace]:
    """The command that is wanted, and what was given with it. Ends the process where that makes no
    sense."""
    given = parser.parse_intermixed_args(argv)
    command = given.command or "watch"
    if given.help:
        print(help_text(parser.prog, given.command or ""))
        parser.exit(0)
    given.form = form_of_output(parser, command, given)
    for flag in ("nagios", "json", "yes", "ping", "since"):
        if vars(given)[flag] and f"--{flag}" not in COMMANDS[command].usage:
            parser.error(f"{command} takes no --{flag}")
    if given.names and not COMMANDS[command].takes_names:
        parser.error(f"{command} takes no names: {listed(given.names)}")
    try:
        given.seconds = interval(given.since) if given.since else math.inf
    except ValueError as error:
        parser.error(f"argument --since: {error}")
    return command, given


def form_of_output(parser: Parser, command: str, given: argparse.Namespace) -> str:
    """How a command shows what it has to. `check --watch` is a screen, unless a word follows that
    the setting of this name takes."""
    form = "table"
    if given.json:
        form = "json"
    if given.nagios:
        form = "nagios"
    if command != "check" or given.watch is None or given.watch in WATCH_WORDS:
        if given.watch == "":
            parser.error("argument --watch: expected one argument")
        return form
    if form != "table":
        parser.error("argument --watch: not with --nagios or --json")
    given.names += filter(None, [given.watch])  # it was a name
    given.watch = None
    return "screen"


# such as CET-1CEST, which tells all about itself
TELLING_ZONE = re.compile(r"UTC|GMT|(?:<[^>]+>|[A-Za-z]{3,})[+-]?[0-9].*")


def zone_warnings(environment: Mapping[str, str]) -> list[str]:
    """A warning where TZ names no zone that is known here: local time is UTC then, and nobody says
    so."""
    name = environment.get("TZ", "").removeprefix(":")
    if not name or name.startswith("/") or TELLING_ZONE.fullmatch(name):
        return []
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        return [f"TZ: {name!r} is no time zone that is known here, so local time is UTC"]
    return []


def main(argv: list[str] | None = None) -> int:
    """Run one command, give its exit code."""
    try:
        command, given = invocation(command_line(), argv)
    except BrokenPipeError:
        return hung_up()
    if isinstance(sys.stdout, io.TextIOWrapper):  # what it can't show is shown as `?`
        sys.stdout.reconfigure(errors="replace")
    settings = Settings()
    try:
        settings, warnings = load_settings(vars(given), os.environ, read_setting_file)
        if command == "watch" and __name__ == "__main__":
            run_compiled(settings)
        warn([*warnings, *zone_warnings(os.environ)])
        call = Invocation(settings, given.names, given.form, given.yes, given.ping, given.seconds)
        return COMMANDS[command].run(call)
    except SettingError as error:
        warn([*error.warnings, *zone_warnings(os.environ)])
        return refuse_settings(error, command, given.form)
    except BrokenPipeError:
        return hung_up()
    except Exception:
        print(redact(mask(traceback.format_exc(), settings)), file=sys.stderr)
        if command == "watch" and settings.heartbeat_url:
            ping(Web(os.environ), fail_url(settings.heartbeat_url.bare))
        return ExitCode.CRASHED


def hung_up() -> int:
    """Nobody reads on, as with `check | head`: that is no fault."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return ExitCode.OK


def warn(warnings: Iterable[str]) -> None:
    """Say what is odd."""
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def refuse_settings(error: SettingError, command: str, form: str) -> int:
    """Say what is wrong with the settings; the exit code."""
    if command == "check" and form == "nagios":
        print(nagios_text([], UNKNOWN, list(error.args)))
    else:
        print("\n".join(error.args), file=sys.stderr)
    return UNKNOWN if command == "check" else ExitCode.BAD_SETTINGS


# Running this file compiles it, and CPython keeps the syntax tree for as long as it runs: a third
# of the daemon's memory. So the daemon is run from its compiled form, where a folder takes that.


def run_compiled(settings: Settings) -> None:
    """Become the same process run from the compiled file, `sentinel.pyc`; go on as we are where
    that can't be."""
    source = os.path.abspath(__file__)
    if source.endswith("c") or not sys.executable:
        return
    import py_compile

    for folder in (os.path.dirname(source), state_folder(settings, os.environ)):
        compiled = os.path.join(folder, os.path.basename(source) + "c")
        with contextlib.suppress(OSError):
            if not up_to_date(source, compiled):
                os.makedirs(folder, mode=0o700, exist_ok=True)
                py_compile.compile(source, compiled, doraise=True)
            for variable, value in MALLOC.items():
                os.environ.setdefault(variable, value)
            flags = sys.orig_argv[1 : sys.orig_argv.index(sys.argv[0])]
            os.execv(sys.executable, [sys.executable, *flags, compiled, *sys.argv[1:]])
    print("info: no folder takes the compiled file: some 12 MiB more are needed", file=sys.stderr)


# To glibc: what a listing took is given back, a thirtieth of the daemon.
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}


def up_to_date(source: str, compiled: str) -> bool:
    """Whether a compiled file is this source's, and this Python's, as its header says; and of
    somebody who may say what runs here."""
    there = os.stat(source)
    try:
        with open(compiled, "rb") as file:
            owner = os.fstat(file.fileno()).st_uid
            header = file.read(16)
    except FileNotFoundError:
        return False
    if owner not in (0, os.geteuid(), there.st_uid):
        return False
    stamp = int(there.st_mtime).to_bytes(4, "little") + there.st_size.to_bytes(4, "little")
    return header == importlib.util.MAGIC_NUMBER + bytes(4) + stamp


if __name__ == "__main__":
    sys.exit(main())
