"""The half of the strict fake Discord that talks first: the gateway, slash commands and buttons.

``FakeDiscord.gateway`` makes and starts one; its address is what ``GET /gateway/bot`` names.  As strict as Discord,
and as RFC 6455 on frames.  Rules are about the fake's clock, ``timeout`` of a method about real seconds.

    fake.gateway.wait_ready(bot)                            # a client of this bot's has identified
    asked = fake.gateway.slash(bot, "status", {"name": "web"}, member=Member("7", permissions=32))
    assert asked.wait()["type"] == 4 and asked.ephemeral and "up" in asked.wait_text()
    fake.gateway.press(fake.messages[0], "Restart now")     # by its label or its custom_id
    assert not fake.gateway.violations

Doers      slash, autocomplete, press: each sends INTERACTION_CREATE to every session of the bot and returns at once.
           force=True also does what a user could not do (a command hidden from the member, a button that is gone).
Record     received, sessions, identifies, resumes, closes, violations, interactions, presences(bot), presence(bot),
           connected(bot), pongs, refused_handshakes, story().
Switches   plain attributes, listed in FakeGateway.__init__: interval, hello, ready, mute_acks, fragment, compression, ...
Doings     close_all(code, reason), reconnect(), invalidate(resumable), ask_heartbeat(), send_all(op, d, t, s), ping(data),
           send_raw(data), flood(n), refuse(status), accept(), wait_for(predicate), wait_ready(bot, timeout, count)
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import queue
import re
import select
import socket
import struct
import threading
import time
import urllib.parse
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from support.fake_discord import (
    JSON,
    TEXT,
    Answer,
    Bot,
    Call,
    Channel,
    FakeDiscord,
    File,
    Form,
    Message,
    Refused,
    Where,
    _Gone,
    _invalid,
    _Server,
    _user,
    _Wire,
    as_int,
    trimmed,
)

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME, RECONNECT = 0, 1, 2, 3, 4, 6, 7
MEMBERS, INVALID, HELLO, ACK, SOUNDS = 8, 9, 10, 11, 31
FROM_CLIENTS = (HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME, MEMBERS, SOUNDS)
GUILDS, MESSAGE_CONTENT, PRIVILEGED = 1, 1 << 15, 1 << 1 | 1 << 8 | 1 << 15
INTENTS = (1 << 17) - 1 | 1 << 20 | 1 << 21 | 1 << 24 | 1 << 25
ENDS_SESSION = (4004, 4007, 4009, 4010, 4011, 4012, 4013, 4014)
REASONS = {4000: "Unknown error.", 4001: "Unknown opcode.", 4002: "Error while decoding payload.",
           4003: "Not authenticated.", 4004: "Authentication failed.", 4005: "Already authenticated.",
           4007: "Invalid seq.", 4008: "Rate limited.", 4009: "Session timed out.", 4010: "Invalid shard.",
           4012: "Invalid API version.", 4013: "Invalid intent(s).", 4014: "Disallowed intent(s)."}
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MAX_PAYLOAD = 4096
COMMAND, COMPONENT, AUTOCOMPLETE = 2, 3, 4
SUB, GROUP = 1, 2
EPHEMERAL = 64
ADMINISTRATOR = 8
STATUSES = ("online", "dnd", "idle", "invisible", "offline")

# ------------------------------------------------------------------------------------------------- commands

_COMMAND_KEYS = ("id", "application_id", "guild_id", "version", "name", "name_localizations", "description",
                 "description_localizations", "options", "default_member_permissions", "dm_permission",
                 "default_permission", "type", "nsfw", "integration_types", "contexts", "handler")
_OPTION_KEYS = ("type", "name", "name_localizations", "description", "description_localizations", "required", "choices",
                "options", "channel_types", "min_value", "max_value", "min_length", "max_length", "autocomplete")
_ONLY_FOR = {"choices": (3, 4, 10), "autocomplete": (3, 4, 10), "min_value": (4, 10), "max_value": (4, 10),
             "min_length": (3,), "max_length": (3,), "channel_types": (7,), "options": (SUB, GROUP)}


class CommandForm(Form):
    """The rules for what an application registers."""

    def name(self, value: Any, at: Where) -> None:
        if self.sized(value, at, 1, 32) and (not re.fullmatch(r"[-_'\w]{1,32}", value) or value != value.lower()):
            self.bad(at, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")

    def commands(self, value: list[Any]) -> None:
        seen = set[tuple[Any, Any]]()
        for number, item in enumerate(value):
            if not isinstance(item, dict):
                self.bad((number,), "MODEL_TYPE_CONVERT", "Expected an object/dictionary.")
                continue
            self.command(item, (number,))
            key = (item.get("type") or 1, item.get("name"))
            if key in seen:
                self.bad((number,), "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
            seen.add(key)

    def command(self, value: JSON, at: Where) -> None:
        self.unknown(value, at, _COMMAND_KEYS)
        kind = value.get("type") or 1
        if not self.choice(kind, (*at, "type"), (1, 2, 3)):
            return
        if kind == 1:
            self.name(value.get("name"), (*at, "name"))
            self.sized(value.get("description"), (*at, "description"), 1, 100)
            self.options(value.get("options"), (*at, "options"), 0)
        else:
            self.sized(value.get("name"), (*at, "name"), 1, 32)
            if value.get("description"):
                self.bad((*at, "description"), "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION_INVALID",
                         "Context menu commands cannot have description")
            if value.get("options"):
                self.bad((*at, "options"), "APPLICATION_COMMAND_CONTEXT_MENU_OPTIONS_INVALID",
                         "Context menu commands cannot have options")
        may = value.get("default_member_permissions")
        if may is not None:
            self.snowflake(may, (*at, "default_member_permissions"))
        for key in ("nsfw", "dm_permission", "default_permission"):
            if value.get(key) is not None:
                self.boolean(value[key], (*at, key))
        for key, allowed in (("contexts", (0, 1, 2)), ("integration_types", (0, 1))):
            if value.get(key) is not None:
                for number, item in enumerate(self.listed(value[key], (*at, key), len(allowed))):
                    self.choice(item, (*at, key, number), allowed)
        if len(json.dumps(value, ensure_ascii=False)) > 8000 and _letters(value) > 8000:
            self.bad(at, "APPLICATION_COMMAND_TOO_LARGE", "Command exceeds maximum size (8000)")

    def options(self, value: Any, at: Where, depth: int) -> None:
        optional, seen = False, set[Any]()
        for number, item in enumerate(self.listed([] if value is None else value, at, 25)):
            here: Where = (*at, number)
            if not isinstance(item, dict):
                self.bad(here, "MODEL_TYPE_CONVERT", "Expected an object/dictionary.")
                continue
            self.option(item, here, depth)
            if item.get("name") in seen:
                self.bad(here, "APPLICATION_COMMAND_OPTIONS_NAME_DUPLICATE", "Option names must be unique")
            seen.add(item.get("name"))
            if item.get("required") is True and optional:
                self.bad(here, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
                         "Required options must be placed before non-required options")
            optional = optional or not item.get("required")

    def option(self, value: JSON, at: Where, depth: int) -> None:
        self.unknown(value, at, _OPTION_KEYS)
        self.name(value.get("name"), (*at, "name"))
        self.sized(value.get("description"), (*at, "description"), 1, 100)
        kinds = [range(1, 12), (1, *range(3, 12)), range(3, 12)][depth]
        kind: Any = value.get("type")
        if not self.choice(kind, (*at, "type"), kinds):
            return
        for key in ("required", "autocomplete"):
            if value.get(key) is not None:
                self.boolean(value[key], (*at, key))
        for key, allowed in _ONLY_FOR.items():
            if value.get(key) not in (None, [], False) and kind not in allowed:
                self.bad((*at, key), "APPLICATION_COMMAND_OPTION_KEY_INVALID", f"'{key}' is not for options of this type")
        if value.get("autocomplete") is True and value.get("choices"):
            self.bad((*at, "autocomplete"), "APPLICATION_COMMAND_OPTION_AUTOCOMPLETE_CHOICES",
                     "Cannot have choices and autocomplete")
        if value.get("choices") is not None:
            self.choices(value["choices"], (*at, "choices"), kind)
        self.bounds(value, at, kind)
        if kind in (SUB, GROUP):
            self.options(value.get("options"), (*at, "options"), 2 if kind == SUB else 1)

    def bounds(self, value: JSON, at: Where, kind: int) -> None:
        for key in ("min_value", "max_value"):
            if value.get(key) is not None and kind == 4:
                self.integer(value[key], (*at, key), -(2**53), 2**53)
        for key, low in (("min_length", 0), ("max_length", 1)):
            if value.get(key) is not None:
                self.integer(value[key], (*at, key), low, 6000)
        for low_key, high_key in (("min_value", "max_value"), ("min_length", "max_length")):
            least, most = value.get(low_key), value.get(high_key)
            if isinstance(least, (int, float)) and isinstance(most, (int, float)) and least > most:
                self.bad((*at, low_key), "NUMBER_TYPE_MAX", f"value should be less than or equal to {most}.")

    def choices(self, value: Any, at: Where, kind: int) -> None:
        """What is offered for an option, in a registration or as somebody types."""
        names = set[Any]()
        for number, item in enumerate(self.listed(value, at, 25)):
            here: Where = (*at, number)
            if not isinstance(item, dict):
                self.bad(here, "MODEL_TYPE_CONVERT", "Expected an object/dictionary.")
                continue
            self.unknown(item, here, ("name", "name_localizations", "value"))
            self.sized(item.get("name"), (*here, "name"), 1, 100)
            if item.get("name") in names:
                self.notes.append(f"two choices named {item.get('name')!r}")
            names.add(item.get("name"))
            given = item.get("value")
            if kind == 3:
                self.sized(given, (*here, "value"), 1, 100)
            elif given is None:
                self.bad((*here, "value"), "BASE_TYPE_REQUIRED", "This field is required")
            elif kind == 4:
                self.integer(given, (*here, "value"), -(2**53), 2**53)
            elif isinstance(given, bool) or not isinstance(given, (int, float)):
                self.bad((*here, "value"), "NUMBER_TYPE_COERCE", f'Value "{given}" is not float.')


def _letters(value: Any) -> int:
    """What counts against the size of one command: all names, descriptions and values."""
    if isinstance(value, dict):
        own = sum(len(str(value[key])) for key in ("name", "description", "value") if isinstance(value.get(key), (str, int)))
        return own + sum(_letters(value.get(key)) for key in ("options", "choices"))
    return sum(_letters(item) for item in value) if isinstance(value, list) else 0


def stored_option(value: JSON) -> JSON:
    """An option as Discord gives it back: without what is false, empty or null."""
    kept = {key: value[key] for key in _OPTION_KEYS if key in value and value[key] not in (None, False, [])}
    if "options" in kept:
        kept["options"] = [stored_option(item) for item in kept["options"]]
    if "choices" in kept:
        kept["choices"] = [{"name": item["name"], "value": item["value"]} for item in kept["choices"]]
    kept.pop("name_localizations", None)
    kept.pop("description_localizations", None)
    return kept


# ---------------------------------------------------------------------------------------------- interactions


@dataclass(frozen=True)
class Member:
    """Somebody in the guild, or a user when there is none."""

    user_id: str = "200000000000000002"
    name: str = "ann"
    roles: tuple[str, ...] = ()
    permissions: int = 0
    nick: str | None = None

    def as_user(self) -> JSON:
        return _user(self.user_id, self.name) | {"discriminator": "0", "global_name": self.name.title()}

    def as_json(self) -> JSON:
        return {"user": self.as_user(), "roles": list(self.roles), "permissions": str(self.permissions), "nick": self.nick,
                "joined_at": "2026-01-02T03:04:05.678000+00:00", "premium_since": None, "pending": False, "mute": False,
                "deaf": False, "avatar": None, "banner": None, "flags": 0, "communication_disabled_until": None,
                "unusual_dm_activity_until": None}


ANN = Member()


class Callback(NamedTuple):
    """One answer that a client tried: code is 0 if it was taken, else Discord's error code."""

    time: float
    peer: str
    body: Any
    code: int


@dataclass
class Interaction:
    """Something a user did, and all that became of it."""

    id: str
    token: str
    created: float
    type: int
    bot: Bot
    payload: JSON  # as it was sent
    change: threading.Condition
    message: Message | None = None  # the one that its answer made; for a press at first the one with the button
    option_type: int = 3  # of the option that is being completed
    callbacks: list[Callback] = field(default_factory=list)
    answer: JSON | None = None
    followups: list[Message] = field(default_factory=list)
    edits: list[JSON] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    @property
    def deferred(self) -> bool:
        return self.answer is not None and self.answer["type"] in (5, 6)

    @property
    def ephemeral(self) -> bool:
        """Whether only who asked sees the answer: fixed when it is acknowledged."""
        made = self.answer is not None and self.answer["type"] in (4, 5)
        return made and self.message is not None and self.message.ephemeral

    @property
    def choices(self) -> list[JSON]:
        """What was offered to somebody who types."""
        return (self.wait().get("data") or {}).get("choices") or []

    def wait(self, timeout: float = 3.0) -> JSON:
        """The answer, once there is one."""
        with self.change:
            if not self.change.wait_for(lambda: self.answer is not None, timeout):
                raise AssertionError(f"{self} was not answered within {timeout} s")
            assert self.answer is not None
            return self.answer

    def _shown(self) -> str | None:
        if self.answer is None or self.message is None or self.message.loading:
            return None
        if self.answer["type"] == 6 and not self.edits:
            return self.followups[-1].text if self.followups else None
        return self.message.text

    def wait_text(self, timeout: float = 60.0) -> str:
        """What the user reads in the end: after the edit, where the answer was deferred."""
        with self.change:
            if not self.change.wait_for(lambda: self._shown() is not None, timeout):
                raise AssertionError(f"{self} has no final answer within {timeout} s")
            return self._shown() or ""

    def __str__(self) -> str:
        data = self.payload["data"]
        return (f"interaction {self.id} ({data.get('name') or data.get('custom_id')}), answered {self.answer}, "
                f"refused {self.refused}")


_VALUES: dict[int, Any] = {3: str, 4: int, 5: bool, 6: str, 7: str, 8: str, 9: str, 10: (int, float), 11: str}


class Interactions:
    """What users do, and the routes by which applications register commands and answer."""

    fake: FakeDiscord
    change: threading.Condition
    answer_within, token_life = 3.0, 900.0

    def __init__(self) -> None:
        self.interactions: list[Interaction] = []

    # ---- doers

    def slash(self, bot: Bot, name: str, options: JSON | None = None, member: Member | None = ANN,
              guild: str | None = None, channel: str | Channel | None = None, user: Member | None = None,
              force: bool = False) -> Interaction:
        """A user runs a command; options are values by name, those of a subcommand a dict under its name."""
        with self.change:
            command = self._visible(bot, name, member, guild, force)
            given = self._given(command.get("options", []), options or {}, name, force)
            data = {"id": command["id"], "name": name, "type": 1, "options": given}
            return self._happen(COMMAND, bot, data, member, guild, channel, user)

    def autocomplete(self, bot: Bot, name: str, option: str, typed: str, options: JSON | None = None,
                     member: Member | None = ANN, guild: str | None = None, channel: str | Channel | None = None,
                     user: Member | None = None, force: bool = False) -> Interaction:
        """A user has typed so much of an option; ``options`` are those that were filled in before."""
        with self.change:
            command = self._visible(bot, name, member, guild, force)
            known = {item["name"]: item for item in command.get("options", [])}
            assert known.get(option, {}).get("autocomplete"), f"/{name} has no option {option!r} that completes"
            given = self._given(command["options"], options or {}, name, True)
            given.append({"type": known[option]["type"], "name": option, "value": typed, "focused": True})
            data = {"id": command["id"], "name": name, "type": 1, "options": given}
            return self._happen(AUTOCOMPLETE, bot, data, member, guild, channel, user, known[option]["type"])

    def press(self, message: Message, button: str, member: Member | None = ANN, guild: str | None = None,
              user: Member | None = None, force: bool = False) -> Interaction:
        """A user presses a button, found by its label or its custom_id; with force also one that is gone."""
        with self.change:
            bot = next((item for item in self.fake.bots.values() if item.id == message.author["id"]), None)
            assert bot is not None, f"no bot wrote {message}"
            fits = [item for item in message.buttons if button in (item.get("label"), item.get("custom_id"))]
            shown = fits[0] if fits else {"custom_id": button, "id": 2}
            if not force:
                assert fits, f"no button {button!r} among {message.buttons}"
                assert not message.deleted and not shown.get("disabled"), f"{button!r} cannot be pressed"
            assert "custom_id" in shown, f"{button!r} is a link"
            data = {"component_type": 2, "custom_id": shown["custom_id"], "id": shown["id"]}
            place = message.channel_id
            return self._happen(COMPONENT, bot, data, member, guild, place, user, message=message)

    @staticmethod
    def _visible(bot: Bot, name: str, member: Member | None, guild: str | None, force: bool) -> JSON:
        found = next((item for item in bot.registered if item["name"] == name and item["type"] == 1), None)
        names = [item["name"] for item in bot.registered]
        assert found is not None, f"/{name} is not registered; these are: {names}"
        needed, may = found["default_member_permissions"], member.permissions if member else 0
        assert force or guild in (None, bot.guild_id), f"/{name} is not registered in the guild {guild}"
        hidden = member is not None and needed is not None and (int(needed) == 0 or may & int(needed) != int(needed))
        assert force or not hidden or may & ADMINISTRATOR, f"/{name} is hidden from {member}: it needs {needed}"
        return found

    def _given(self, known: list[JSON], options: JSON, name: str, force: bool) -> list[JSON]:
        """The options as Discord sends them, when a user could have filled them in."""
        by_name = {item["name"]: item for item in known}
        given: list[JSON] = []
        for key, value in options.items():
            assert key in by_name, f"/{name} has no option {key!r}; it has {list(by_name)}"
            option = by_name[key]
            if option["type"] in (SUB, GROUP):
                inner = self._given(option.get("options", []), value, f"{name} {key}", force)
                given.append({"type": option["type"], "name": key, "options": inner})
                continue
            if not force:
                self._fits(option, value, name)
            given.append({"type": option["type"], "name": key, "value": value})
        missing = [key for key, item in by_name.items() if item.get("required") and key not in options]
        assert force or not missing, f"/{name} needs {missing}"
        return given

    @staticmethod
    def _fits(option: JSON, value: Any, name: str) -> None:
        kind, where = option["type"], f"/{name} {option['name']} {value!r}"
        good = isinstance(value, _VALUES[kind]) and (kind == 5 or not isinstance(value, bool))
        assert good, f"{where} is of another type than {kind}"
        offered = [item["value"] for item in option.get("choices", [])]
        assert not offered or value in offered, f"{where} is not among {offered}"
        size = value if kind in (4, 10) else len(value) if kind == 3 else None
        for key in ("value", "length"):
            low, high = option.get(f"min_{key}"), option.get(f"max_{key}")
            if size is not None:
                assert low is None or size >= low, f"{where} is below {low}"
                assert high is None or size <= high, f"{where} is above {high}"

    def _happen(self, kind: int, bot: Bot, data: JSON, member: Member | None, guild: str | None,
                channel: str | Channel | None, user: Member | None, option_type: int = 3,
                message: Message | None = None) -> Interaction:
        fake, private = self.fake, member is None
        guild = guild or bot.guild_id
        place = channel.id if isinstance(channel, Channel) else channel
        if place is None:
            texts = [item.id for item in fake.channels.values() if item.guild_id == guild and item.type == TEXT]
            place = (texts or [fake.add_channel(guild=guild).id])[0]
        known = fake.channels.get(place)
        shown = known.as_json() if known and not private else {"id": place, "type": 1, "flags": 0}
        token = "aW50ZXJhY3Rpb246" + "".join(fake._token() for _ in range(3))[:182]
        owners = {} if private else {"0": guild}
        payload: JSON = {
            "id": fake._snowflake(), "application_id": bot.application_id, "type": kind, "data": data, "token": token,
            "version": 1, "channel_id": place, "channel": shown | {"permissions": "0", "last_message_id": None},
            "app_permissions": str(bot.permissions), "locale": "en-US", "entitlements": [], "context": int(private),
            "authorizing_integration_owners": owners, "attachment_size_limit": 10 << 20,
        }
        if private:
            payload["user"] = (user or ANN).as_user()
        else:
            assert member is not None
            here = {"id": guild, "locale": "en-US", "features": []}
            payload |= {"guild_id": guild, "guild_locale": "en-US", "guild": here, "member": member.as_json()}
        if message is not None:
            payload["message"] = message.as_json()
        if not data.get("options"):
            data.pop("options", None)
        if kind != COMPONENT and guild == bot.guild_id:
            data["guild_id"] = guild  # where the command is registered
        made = Interaction(payload["id"], token, fake.clock(), kind, bot, payload, self.change, message, option_type)
        self.interactions.append(made)
        self.tell(bot, "INTERACTION_CREATE", payload)
        self.change.notify_all()
        return made

    def tell(self, bot: Bot, event: str, data: JSON) -> None:
        raise NotImplementedError

    # ---- REST: who one is, and commands

    def do_application(self, call: Call) -> Answer:
        bot = call.bot
        assert bot is not None
        return Answer(200, {
            "id": bot.application_id, "name": "sentinel", "icon": None, "description": "", "type": None, "flags": 0,
            "summary": "", "is_monetized": False, "is_verified": False, "hook": True, "bot_public": False,
            "bot_require_code_grant": False, "verify_key": "0" * 64, "tags": [], "redirect_uris": [], "team": None,
            "interactions_endpoint_url": None, "role_connections_verification_url": None, "approximate_guild_count": 1,
            "bot": _user(bot.id, "sentinel-bot", True), "owner": ANN.as_user(),
        })

    @staticmethod
    def _registering(call: Call) -> Bot:
        bot = call.bot
        assert bot is not None
        if call.ids[0] != bot.application_id:
            raise Refused(403, 20012, "You are not authorized to perform this action on this application")
        if call.ids[1] != bot.guild_id or not bot.commands:
            raise Refused(403, 50001, "Missing Access")
        return bot

    def _command_list(self, call: Call, bot: Bot, localized: bool) -> Answer:
        more = {"name_localizations": None, "description_localizations": None} if localized else {}
        return Answer(200, [command | more for command in bot.registered])

    def do_commands(self, call: Call) -> Answer:
        bot = self._registering(call)
        return self._command_list(call, bot, self.fake._truth(call, "with_localizations"))

    def do_register(self, call: Call) -> Answer:
        bot = self._registering(call)
        if call.request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise _invalid("", "CONTENT_TYPE_INVALID", 'Expected "Content-Type" header to be one of {\'application/json\'}.')
        try:
            body = trimmed(json.loads(call.request.body.decode("utf-8")))
        except ValueError:
            raise Refused(400, 50109, "The request body contains invalid JSON.") from None
        if not isinstance(body, list):
            raise _invalid("", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType.")
        form = CommandForm()
        form.commands(body)
        for text in form.notes:
            self.fake.note(call.request, text)
        if form.errors:
            raise Refused(400, 50035, "Invalid Form Body", form.errors)
        if len([item for item in body if item.get("type") in (None, 1)]) > 100:
            raise Refused(400, 30032, "Maximum number of application commands reached (100)")
        self._count_creations(bot, body)
        bot.registered = [self._stored_command(bot, item) for item in body]
        return self._command_list(call, bot, True)

    def _count_creations(self, bot: Bot, body: list[JSON]) -> None:
        """At most 200 new ones a day and guild."""
        now, there = self.fake.clock(), {(item["type"], item["name"]) for item in bot.registered}
        fresh = [item for item in body if (item.get("type") or 1, item["name"]) not in there]
        bot.creations = [moment for moment in bot.creations if now - moment < 86400]
        if len(bot.creations) + len(fresh) > 200:
            raise Refused(429, 30034, "Max number of daily application command creates has been reached (200)")
        bot.creations += [now] * len(fresh)

    def _stored_command(self, bot: Bot, value: JSON) -> JSON:
        kind, may = value.get("type") or 1, value.get("default_member_permissions")
        old = next((item for item in bot.registered if (item["type"], item["name"]) == (kind, value["name"])), None)
        made: JSON = {
            "id": old["id"] if old else self.fake._snowflake(), "application_id": bot.application_id,
            "version": old["version"] if old else self.fake._snowflake(),
            "default_member_permissions": None if may is None else str(may), "type": kind, "name": value["name"],
            "description": value.get("description") or "", "dm_permission": value.get("dm_permission") is not False,
            "contexts": value.get("contexts"), "integration_types": value.get("integration_types") or [0],
            "guild_id": bot.guild_id, "nsfw": bool(value.get("nsfw")),
        }
        if value.get("options"):
            made["options"] = [stored_option(item) for item in value["options"]]
        if old is not None and made != old:
            made["version"] = self.fake._snowflake()
        return made

    # ---- REST: answers

    def do_app_callback(self, call: Call) -> Answer:
        asked = next((item for item in self.interactions if call.ids == (item.id, item.token)), None)
        try:
            answer = self._acknowledge(call, asked)
        except Refused as no:
            if asked is not None:
                asked.refused.append(no.code)
                asked.callbacks.append(Callback(call.request.time, call.request.peer, call.request.json, no.code))
            raise
        assert asked is not None
        asked.callbacks.append(Callback(call.request.time, call.request.peer, asked.answer, 0))
        return answer

    def _acknowledge(self, call: Call, asked: Interaction | None) -> Answer:
        if asked is None or (asked.answer is None and self.fake.clock() - asked.created > self.answer_within):
            raise Refused(404, 10062, "Unknown interaction")
        if asked.answer is not None:
            raise Refused(400, 40060, "Interaction has already been acknowledged.")
        shown = self.fake._truth(call, "with_response")
        body = trimmed(self.fake._parse(call))
        form = Form()
        form.unknown(body, ("callback",), ("type", "data"))
        allowed = {COMMAND: (4, 5), COMPONENT: (4, 5, 6, 7), AUTOCOMPLETE: (8,)}[asked.type]
        form.choice(body.get("type"), ("type",), allowed)
        data = body.get("data")
        if data is not None and not isinstance(data, dict):
            form.bad(("data",), "MODEL_TYPE_CONVERT", "Expected an object/dictionary.")
        elif data is None and body.get("type") in (4, 7, 8):
            form.bad(("data",), "BASE_TYPE_REQUIRED", "This field is required")
        for text in form.notes:
            self.fake.note(call.request, text)
        if form.errors:
            raise Refused(400, 50035, "Invalid Form Body", form.errors)
        message = self._act(call, asked, body["type"], data or {})
        asked.answer, asked.message = body, message
        asked.files += call.files
        return self._with_response(asked, message) if shown else Answer(204)

    def _act(self, call: Call, asked: Interaction, kind: int, data: JSON) -> Message | None:
        """What an answer does; the message that is then the original one."""
        fake = self.fake
        if kind == 8:
            self._offer(call, asked, data)
            return None
        data = fake._checked(call, "answer_edit" if kind == 7 else "answer", data, "data")
        if kind == 4:
            fake._not_empty(data | {"attachments": call.files})
            return self._speak(asked, data, call.files)
        if kind == 5:
            self._only_flags(call, data)
            return self._speak(asked, data, [], loading=True)
        assert asked.message is not None
        if kind == 7 and data:
            fake._rewrite(asked.message, data, call.files, False)
        return asked.message

    def _only_flags(self, call: Call, data: JSON) -> None:
        for key in data.keys() - {"flags"}:
            self.fake.note(call.request, f"key '{key}' has no effect when an answer is deferred")

    def _offer(self, call: Call, asked: Interaction, data: JSON) -> None:
        form = CommandForm()
        form.unknown(data, ("data",), ("choices",))
        if data.get("choices") is None:
            form.bad(("choices",), "BASE_TYPE_REQUIRED", "This field is required")
        else:
            form.choices(data["choices"], ("choices",), asked.option_type)
        for text in form.notes:
            self.fake.note(call.request, text)
        if form.errors:
            raise Refused(400, 50035, "Invalid Form Body", {"data": form.errors})

    def _speak(self, asked: Interaction, data: JSON, files: list[File], loading: bool = False,
               ephemeral: bool | None = None) -> Message:
        private = bool((as_int(data.get("flags")) or 0) & EPHEMERAL) if ephemeral is None else ephemeral
        kind = 20 if asked.type == COMMAND else 19
        shown: JSON = {"flags": data.get("flags")} if loading else data
        author = _user(asked.bot.id, "sentinel-bot", True)
        return self.fake._store(
            shown, asked.payload["channel_id"], author, self.fake._snowflake(), None, files=list(files), kind=kind,
            webhook_id=asked.bot.application_id, application_id=asked.bot.application_id, interaction_id=asked.id,
            ephemeral=private, loading=loading)

    @staticmethod
    def _with_response(asked: Interaction, message: Message | None) -> Answer:
        assert asked.answer is not None
        made: JSON = {"id": asked.id, "type": asked.type}
        body: JSON = {"interaction": made}
        if message is not None:
            made |= {"response_message_id": message.id, "response_message_loading": message.loading,
                     "response_message_ephemeral": message.ephemeral}
            if asked.answer["type"] in (4, 7):
                body["resource"] = {"type": asked.answer["type"], "message": message.as_json()}
        return Answer(200, body)

    def _own(self, call: Call) -> Interaction:
        """The interaction of this application with this token, while the token lives."""
        for asked in self.interactions:
            if asked.token == call.ids[1] and asked.bot.application_id == call.ids[0]:
                if self.fake.clock() - asked.created > self.token_life:
                    break
                return asked
        raise Refused(401, 50027, "Invalid Webhook Token")

    def do_app_get(self, call: Call) -> Answer:
        raise Refused(404, 10015, "Unknown Webhook")

    def do_app_post(self, call: Call) -> Answer:
        asked = self._own(call)
        try:
            return self._follow_up(call, asked)
        except Refused as no:
            asked.refused.append(no.code)
            raise

    def _follow_up(self, call: Call, asked: Interaction) -> Answer:
        if asked.answer is None or asked.type == AUTOCOMPLETE:
            raise Refused(404, 10015, "Unknown Webhook")
        self.fake._truth(call, "wait")  # always waited for, whatever is asked
        body = self.fake._body(call, "answer")
        self.fake._not_empty(body | {"attachments": call.files})
        if asked.message is not None and asked.message.loading:  # the first one takes the place that was kept
            message = asked.message
            self.fake._rewrite(message, body, call.files, False)
        else:
            message = self._speak(asked, body, call.files)
        asked.files += call.files
        asked.followups.append(message)
        return Answer(200, message.as_json())

    def _original(self, call: Call) -> tuple[Interaction, Message]:
        asked = self._own(call)
        found: list[Message] = [item for item in asked.followups if item.id == call.ids[2]]
        if asked.answer is not None and asked.message is not None and call.ids[2] in ("@original", asked.message.id):
            found.append(asked.message)
        if not found or found[0].deleted:
            asked.refused.append(10008)
            raise Refused(404, 10008, "Unknown Message")
        return asked, found[0]

    def do_app_message(self, call: Call) -> Answer:
        return Answer(200, self._original(call)[1].as_json())

    def do_app_edit(self, call: Call) -> Answer:
        asked, message = self._original(call)
        try:
            body = self.fake._body(call, "answer_edit")
            if (as_int(body.get("flags")) or 0) & EPHEMERAL and not message.ephemeral:
                self.fake.note(call.request, "an edit cannot make an answer private: that is fixed when it is acknowledged")
            self.fake._rewrite(message, body, call.files, False)
        except Refused as no:
            asked.refused.append(no.code)
            raise
        if message is asked.message:
            asked.edits.append(body)
        asked.files += call.files
        return Answer(200, message.as_json())

    def do_app_delete(self, call: Call) -> Answer:
        self._original(call)[1].deleted = True
        return Answer(204)


# -------------------------------------------------------------------------------------------------- sessions


class Received(NamedTuple):
    """One payload of a client's; session is "" before there is one."""

    time: float
    session: str
    payload: JSON


class Closed(NamedTuple):
    """How a connection ended: by "client", "gateway" or "reset"; code is None without a close frame."""

    time: float
    by: str
    code: int | None
    reason: str
    session: str


@dataclass
class Session:
    """What lives on when a connection does not."""

    id: str
    bot: Bot
    intents: int
    started: float
    seq: int = 0
    log: list[JSON] = field(default_factory=list)
    link: Link | None = None
    ended: bool = False
    ready: bool = False
    left: float = 0.0  # when its connection ended

    def dispatch(self, event: str, data: Any) -> None:
        """Numbers an event, keeps it for a RESUME, and sends it if there is a connection."""
        self.seq += 1
        payload = {"t": event, "s": self.seq, "op": DISPATCH, "d": data}
        self.log.append(payload)
        if self.link is not None:
            self.link.send(payload)


class Close(Exception):
    """The connection is to be closed with this code, for what the client did."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


class Link(_Wire):
    """One connection: frames in and out.  Written by a thread of its own, so that a slow reader holds up nobody."""

    def __init__(self, sock: socket.socket, gateway: FakeGateway) -> None:
        super().__init__(sock)
        self.gateway, self.out = gateway, queue.SimpleQueue[bytes | None]()
        self.guard = threading.Lock()
        self.session: Session | None = None
        self.opened = self.beat = gateway.fake.clock()
        self.version, self.at_resume = 10, False
        self.squeeze: Any = None
        self.greeted = self.identified = self.asked_beat = False
        self.interval = 0.0
        self.closing: float | None = None  # in real time, since when a close frame is out
        self.recent, self.presences = deque[float](), deque[float]()
        self.pings: list[bytes] = []
        self.last_mask = b""
        self.last_beat: float | None = None
        self.ended_by: Closed | None = None

    # ---- out

    def write(self) -> None:
        with contextlib.suppress(OSError):
            while (data := self.out.get()) is not None:
                self.sock.sendall(data)

    def frame(self, opcode: int, data: bytes, final: bool = True) -> None:
        size = len(data)
        head = bytes([final << 7 | opcode])
        head += bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
        if size > 65535:
            head = head[:1] + b"\x7f" + size.to_bytes(8, "big")
        self.out.put(head + data)

    def send(self, payload: Any) -> None:
        with self.guard:
            data = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
            opcode = 1
            if self.squeeze is not None:
                data, opcode = self.squeeze.compress(data) + self.squeeze.flush(zlib.Z_SYNC_FLUSH), 2
            if self.closing is not None:
                return
            if not self.gateway.fragment:
                self.frame(opcode, data)
                return
            third = max(1, len(data) // 3)
            self.frame(opcode, data[:third], False)
            self.ping(b"between")
            self.frame(0, data[third: 2 * third], False)
            self.frame(0, data[2 * third:])

    def ping(self, data: bytes) -> None:
        self.pings.append(data)
        self.frame(9, data)

    def close(self, code: int, reason: str, by: str = "gateway") -> None:
        """Sends a close frame, once; the client's own is waited for."""
        with self.guard:
            if self.closing is not None:
                return
            self.closing = time.monotonic()
            session = self.session.id if self.session else ""
            self.ended_by = Closed(self.gateway.fake.clock(), by, code, reason, session)
            self.frame(8, struct.pack(">H", code) + reason.encode()[:123])

    def cut(self) -> None:
        """Ends so that the client sees a reset."""
        session = self.session.id if self.session else ""
        self.ended_by = self.ended_by or Closed(self.gateway.fake.clock(), "reset", None, "", session)
        with contextlib.suppress(OSError):  # it may have ended by itself
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.shutdown(socket.SHUT_RD)  # wakes the reading thread, which closes

    # ---- in

    def more(self) -> None:
        while not select.select([self.sock], [], [], 0.05)[0]:
            self.gateway.look_at(self)
        super().more()

    def frames(self) -> Iterator[tuple[int, bytes, bool]]:
        """The client's frames: opcode, content, whether it is the last of its message."""
        while True:
            first, second = self.exactly(2)
            opcode, size = first & 15, second & 127
            if first & 0x70:
                raise Close(1002, "reserved bit")
            if opcode not in (0, 1, 2, 8, 9, 10):
                raise Close(1002, "reserved opcode")
            if not second & 128:
                raise Close(1002, "unmasked frame")
            if opcode > 7 and (size > 125 or not first & 128):
                raise Close(1002, "control frame too long or in fragments")
            if size > 125:
                width, low = (2, 126) if size == 126 else (8, 65536)
                size = int.from_bytes(self.exactly(width), "big")
                if size < low:
                    raise Close(1002, "length not written in the shortest form")
            if size > MAX_PAYLOAD:
                raise Close(4002, "payload of more than 4096 bytes")
            mask = self.exactly(4)
            if mask == self.last_mask:
                self.gateway.violate("mask used twice")
            self.last_mask = mask
            data = self.exactly(size)
            yield opcode, bytes(byte ^ mask[at & 3] for at, byte in enumerate(data)), bool(first & 128)

    def messages(self) -> Iterator[bytes]:
        """Whole messages; control frames are seen to on the way."""
        parts: list[bytes] = []
        kind = 0
        for opcode, data, final in self.frames():
            if opcode > 7:
                self.control(opcode, data)
                continue
            if self.closing is not None:
                continue
            if (opcode == 0) is not bool(kind):
                raise Close(1002, "continuation out of place")
            kind = kind or opcode
            parts.append(data)
            whole = b"".join(parts)
            if len(whole) > MAX_PAYLOAD:
                raise Close(4002, "payload of more than 4096 bytes")
            if not final:
                continue
            if kind == 1:
                try:
                    whole.decode("utf-8")
                except UnicodeDecodeError:
                    raise Close(1007, "text that is not UTF-8") from None
            parts, kind = [], 0
            yield whole

    def control(self, opcode: int, data: bytes) -> None:
        self.gateway.look_at(self)
        if opcode == 9 and self.closing is None:
            self.frame(10, data)
        elif opcode == 10:
            self.gateway.hear_pong(data)
            if data in self.pings:
                del self.pings[: self.pings.index(data) + 1]
            elif self.pings:
                self.gateway.violate("pong with other content than the ping")
        elif opcode == 8:
            self.closed(data)

    def closed(self, data: bytes) -> None:
        """The client's close frame: an answer to ours, or its own wish."""
        if self.closing is not None:
            raise _Gone
        code = int.from_bytes(data[:2], "big") if len(data) > 1 else None
        own = code is not None and (1000 <= code <= 1014 or 3000 <= code <= 4999)
        good = code is None or (own and code not in (1004, 1005, 1006))
        if len(data) == 1 or not good:
            raise Close(1002, "close frame with a code that may not be sent")
        try:
            reason = data[2:].decode("utf-8")
        except UnicodeDecodeError:
            raise Close(1007, "reason of a close that is not UTF-8") from None
        session = self.session.id if self.session else ""
        self.ended_by = Closed(self.gateway.fake.clock(), "client", code, reason, session)
        self.closing = time.monotonic()
        self.frame(8, data[:2])
        raise _Gone


# --------------------------------------------------------------------------------------------------- gateway


class _Listener(_Server):
    """The server of the fake, with WebSockets on it."""

    def __init__(self, gateway: FakeGateway, port: int) -> None:
        self.gateway = gateway
        super().__init__(gateway.fake, port, None)

    def _talk(self, raw: socket.socket) -> None:
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.gateway.serve(raw, self._spawn)
        except (_Gone, Close, OSError):
            pass
        except Exception as error:  # a client's test has to notice
            self.gateway.violate(f"the gateway could not handle something: {error!r}")
        finally:
            with self.lock:
                self.open.discard(raw)
            raw.close()


class FakeGateway(Interactions):
    """See the top of the file."""

    def __init__(self, fake: FakeDiscord, port: int = 0) -> None:
        super().__init__()
        self.fake, self.change = fake, fake._change
        self.interval = 41250  # milliseconds between beats, told to those that connect from now on
        self.patience = 1.5  # of these intervals without a beat end a connection
        self.identify_within, self.identify_gap = 30.0, 5.0
        self.resume_within = 180.0  # a session without a connection lives so long
        self.frames_limit, self.presence_limit = (120, 60.0), (5, 20.0)
        self.starts, self.starts_used = 1000, 0  # session_start_limit; used before the record begins
        self.hello = self.ready = True
        self.mute_acks = self.fragment = False
        self.compression = False  # zlib-stream is given to who asks; else asking for it is refused
        self.privileged = 0  # intents that were switched on for all bots
        self.handshake_status = 101
        self.received: list[Received] = []
        self.sessions: list[Session] = []
        self.identifies: list[float] = []
        self.resumes: list[float] = []
        self.closes: list[Closed] = []
        self.violations: list[str] = []
        self.refused_handshakes: list[float] = []
        self.pongs: list[bytes] = []
        self.links: list[Link] = []
        self._presences: dict[str, list[JSON]] = {}
        self._last_start: dict[str, Link] = {}
        self._last_identify: dict[str, float] = {}
        self._server = _Listener(self, port)
        self.url = f"ws://127.0.0.1:{self._server.port}"

    # ---- life

    def start(self) -> FakeGateway:
        self._server.listen()
        return self

    def stop(self) -> None:
        self._server.stop()

    def refuse(self, status: int | None = None) -> None:
        """Nobody connects any more: open connections are dropped, or with a status handshakes get that as answer."""
        if status is None:
            self._server.close()
        else:
            self.handshake_status = status

    def accept(self) -> None:
        self.handshake_status = 101
        self._server.listen()

    # ---- the record

    def violate(self, word: str) -> None:
        with self.change:
            self.violations.append(word)
            self.change.notify_all()

    def hear_pong(self, data: bytes) -> None:
        with self.change:
            self.pongs.append(data)
            self.change.notify_all()

    def presences(self, bot: Bot) -> list[JSON]:
        with self.change:
            return list(self._presences.get(bot.token, []))

    def presence(self, bot: Bot) -> JSON | None:
        told = self.presences(bot)
        return told[-1] if told else None

    def live(self, bot: Bot | None = None) -> list[Session]:
        """The sessions that are ready and have a connection."""
        with self.change:
            return [item for item in self.sessions if item.ready and item.link is not None and item.link.closing is None
                    and not item.ended and bot in (None, item.bot)]

    def connected(self, bot: Bot) -> int:
        return len(self.live(bot))

    def wait_for(self, predicate: Callable[[FakeGateway], Any], timeout: float = 60.0) -> None:
        """Blocks until predicate(gateway) holds; tried anew whenever something happens."""
        with self.change:
            if not self.change.wait_for(lambda: predicate(self), timeout):
                raise AssertionError(f"not within {timeout} s; what came in:\n{self.story()}")

    def wait_ready(self, bot: Bot, timeout: float = 60.0, count: int = 1) -> None:
        self.wait_for(lambda _: self.connected(bot) >= count, timeout)

    def story(self) -> str:
        with self.change:
            lines = [f"{item.time - self.fake._born:8.3f} op {item.payload.get('op')} {self._hidden(item.payload)[:200]}"
                     for item in self.received]
            lines += [f"{item.time - self.fake._born:8.3f} closed by {item.by}: {item.code} {item.reason}"
                      for item in self.closes]
            lines += [str(item) for item in self.interactions] + [f"violation: {word}" for word in self.violations]
            return "\n".join(sorted(lines)[-200:]) or "nothing"

    def _hidden(self, payload: JSON) -> str:
        text = json.dumps(payload.get("d"))
        for token in self.fake.bots:
            text = text.replace(token, "***")
        return text

    # ---- doings

    def open_links(self) -> list[Link]:
        with self.change:
            return [link for link in self.links if link.closing is None]

    def close_all(self, code: int | None, reason: str = "") -> None:
        """Closes all connections with this code; None resets them without a word."""
        with self.change:
            for link in self.open_links():
                if code is None:
                    link.cut()
                    continue
                link.close(code, reason or REASONS.get(code, ""))
                if link.session is not None and code in ENDS_SESSION:
                    link.session.ended = True

    def send_all(self, op: int, d: Any = None, t: str | None = None, s: int | None = None) -> None:
        for link in self.open_links():
            link.send({"t": t, "s": s, "op": op, "d": d})

    def reconnect(self) -> None:
        self.send_all(RECONNECT)

    def invalidate(self, resumable: bool = False) -> None:
        with self.change:
            for link in self.open_links():
                session = link.session
                if session is not None:
                    self._leave(link)
                    session.ended = not resumable
                link.send({"t": None, "s": None, "op": INVALID, "d": resumable})

    def ask_heartbeat(self) -> None:
        with self.change:
            for link in self.open_links():
                link.asked_beat = True
                link.send({"t": None, "s": None, "op": HEARTBEAT, "d": None})

    def ping(self, data: bytes = b"") -> None:
        for link in self.open_links():
            link.ping(data)

    def send_raw(self, data: bytes) -> None:
        """Writes these bytes to all open connections, as they are."""
        for link in self.open_links():
            link.out.put(data)

    def flood(self, n: int) -> None:
        """Dispatches that mean nothing, to all sessions."""
        with self.change:
            for number, session in itertools.product(range(n), self.live()):
                session.dispatch("NONSENSE_EVENT", {"number": number, "filler": "x" * 200})

    def tell(self, bot: Bot, event: str, data: JSON) -> None:
        for session in self.sessions:
            if session.bot is bot and session.ready and not self._expired(session):
                session.dispatch(event, data)

    # ---- handshake

    def serve(self, sock: socket.socket, spawn: Callable[[Callable[[socket.socket], None], socket.socket], None]) -> None:
        link = Link(sock, self)
        request = link.head(self.fake.clock)
        if self.handshake_status != 101:
            with self.change:
                self.refused_handshakes.append(self.fake.clock())
                self.change.notify_all()
            self._turn_away(link, self.handshake_status)
            return
        wrong = self._wrong_handshake(request.method, request.path, request.query, request.headers)
        if wrong:
            self.violate(f"handshake: {wrong}")
            self._turn_away(link, 426 if "version" in wrong else 400)
            return
        accept = base64.b64encode(hashlib.sha1(request.headers["sec-websocket-key"].encode() + MAGIC).digest()).decode()
        link.version, link.at_resume = as_int(request.query.get("v")) or 0, request.path.rstrip("/") == "/resume"
        if "compress" in request.query:
            link.squeeze = zlib.compressobj()
        sock.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode())
        writer = threading.Event()

        def write(_: socket.socket) -> None:
            link.write()
            writer.set()

        spawn(write, sock)
        try:
            self._converse(link)
        finally:
            self._gone(link)
            link.out.put(None)
            if not writer.wait(1):  # the client does not read
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _turn_away(link: Link, status: int) -> None:
        text = f"HTTP/1.1 {status} Refused\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        link.sock.sendall(text.encode())

    def _wrong_handshake(self, method: str, path: str, query: dict[str, str], heads: dict[str, str]) -> str:
        """What is wrong with a request for a WebSocket, if anything."""
        try:
            key = base64.b64decode(heads.get("sec-websocket-key", ""), validate=True)
        except ValueError:
            key = b""
        named = [word.strip().lower() for word in heads.get("connection", "").split(",")]
        spoken = " ".join([path, *query.values(), *heads.values()])
        checks = [
            (method == "GET", "method is not GET"),
            (path.rstrip("/") in ("", "/resume"), "path that was never named"),
            (bool(heads.get("host")), "no Host"),
            (heads.get("upgrade", "").lower() == "websocket", "Upgrade is not websocket"),
            ("upgrade" in named, "Connection is not Upgrade"),
            (heads.get("sec-websocket-version") == "13", "WebSocket version is not 13"),
            (len(key) == 16, "key is not of 16 bytes"),
            ("v" in query and query.get("encoding") == "json", "query without v and encoding=json"),
            (query.get("compress", "zlib-stream") == "zlib-stream", "unknown compression"),
            (self.compression or "compress" not in query, "compression asked for"),
            (not any(token in urllib.parse.unquote(spoken) for token in self.fake.bots), "token in the handshake"),
        ]
        return next((text for good, text in checks if not good), "")

    # ---- talk

    def _converse(self, link: Link) -> None:
        with self.change:
            self.links.append(link)
            link.interval = self.interval / 1000
            if link.version != 10:
                self._punish(link, Close(4012, f"API version {link.version}"))
            elif self.hello:
                link.greeted = True
                link.send({"t": None, "s": None, "op": HELLO, "d": {"heartbeat_interval": self.interval, "_trace": []}})
            self.change.notify_all()
        while True:
            try:
                for data in link.messages():
                    with self.change:
                        self._take(link, data)
                        self.change.notify_all()
                    self.look_at(link)
            except Close as no:
                self._punish(link, no)
                if no.code in (1002, 1007) or "4096" in no.why:
                    self._drain(link)

    @staticmethod
    def _drain(link: Link) -> None:
        """After a broken frame there is no next one to find; the client may still read why."""
        until = time.monotonic() + 1
        while time.monotonic() < until:
            if select.select([link.sock], [], [], 0.05)[0] and not link.sock.recv(65536):
                break
        raise _Gone

    def _punish(self, link: Link, no: Close) -> None:
        with self.change:
            if link.closing is None:
                self.violate(no.why)
                if link.session is not None and no.code in ENDS_SESSION:
                    link.session.ended = True
                link.close(no.code, REASONS.get(no.code, no.why))

    def look_at(self, link: Link) -> None:
        """What is due on a connection: called some times a second."""
        now = self.fake.clock()
        if link.closing is not None:
            if time.monotonic() - link.closing > 2:
                raise _Gone
            return
        if link.session is None and now - link.opened > self.identify_within:
            raise Close(4003, f"no IDENTIFY within {self.identify_within:g} s")
        if link.greeted and now - link.beat > self.patience * link.interval:
            raise Close(4009, "no heartbeat")

    def _gone(self, link: Link) -> None:
        with self.change:
            session = link.session
            by = "client" if self._server.listening else "gateway"
            last = link.ended_by or Closed(self.fake.clock(), by, None, "", session.id if session else "")
            self.closes.append(last)
            link.closing = link.closing or time.monotonic()
            own = session is not None and session.link is link
            self._leave(link)
            if session is not None and own and last.by == "client" and last.code in (1000, 1001):
                session.ended = True  # the client said that it will not be back
            if link in self.links:
                self.links.remove(link)
            self.change.notify_all()

    def _leave(self, link: Link) -> None:
        session, link.session, link.opened = link.session, None, self.fake.clock()
        if session is not None and session.link is link:
            session.link, session.left = None, self.fake.clock()

    def _take(self, link: Link, data: bytes) -> None:
        now = self.fake.clock()
        self._limit(link.recent, self.frames_limit, now, "more than 120 payloads in 60 s")
        try:
            payload = json.loads(data.decode("utf-8"))
        except ValueError:
            raise Close(4002, "payload that is not JSON") from None
        if not isinstance(payload, dict) or isinstance(payload.get("op"), bool) or not isinstance(payload.get("op"), int):
            raise Close(4002, "payload that is no object with an op")
        self.received.append(Received(now, link.session.id if link.session else "", payload))
        op, d = payload["op"], payload.get("d")
        if op not in FROM_CLIENTS:
            raise Close(4001, f"unknown op {op}")
        if not link.greeted:
            self.violate("payload before HELLO")
        if op == HEARTBEAT:
            self._heartbeat(link, d, now)
        elif op == IDENTIFY:
            self._identify(link, d, now)
        elif op == RESUME:
            self._resume(link, d, now)
        elif link.session is None:
            raise Close(4003, f"op {op} before IDENTIFY")
        elif op == PRESENCE:
            self._limit(link.presences, self.presence_limit, now, "more than 5 presence updates in 20 s")
            self._presence(link.session.bot, d)

    @staticmethod
    def _limit(times: deque[float], rule: tuple[int, float], now: float, why: str) -> None:
        times.append(now)
        while now - times[0] >= rule[1]:
            times.popleft()
        if len(times) > rule[0]:
            raise Close(4008, why)

    def _heartbeat(self, link: Link, d: Any, now: float) -> None:
        if d is not None and (isinstance(d, bool) or not isinstance(d, int)):
            raise Close(4002, "heartbeat that is neither a number nor null")
        if d is not None and link.session is not None and d > link.session.seq:
            self.violate("heartbeat with a sequence that was never sent")
        if link.last_beat is not None and not link.asked_beat and now - link.last_beat < link.interval / 2:
            self.violate("heartbeats twice as often as asked for")
        link.beat, link.asked_beat = now, False
        link.last_beat = now
        if not self.mute_acks:
            link.send({"t": None, "s": None, "op": ACK, "d": None})

    # ---- IDENTIFY and RESUME

    def _bot(self, token: Any) -> Bot:
        bot = self.fake.bots.get(token) if isinstance(token, str) else None
        if bot is None:
            raise Close(4004, "wrong token")
        return bot

    def _identify(self, link: Link, d: Any, now: float) -> None:
        if link.session is not None:
            raise Close(4005, "second IDENTIFY")
        self.identifies.append(now)
        if not isinstance(d, dict) or not isinstance(d.get("properties"), dict) or not isinstance(d.get("token"), str):
            raise Close(4002, "IDENTIFY without token or properties")
        if any(not isinstance(d["properties"].get(key), str) for key in ("os", "browser", "device")):
            raise Close(4002, "IDENTIFY without os, browser and device")
        if not isinstance(d.get("compress", False), bool) or not 50 <= (as_int(d.get("large_threshold", 50)) or 0) <= 250:
            raise Close(4002, "IDENTIFY with a strange compress or large_threshold")
        bot = self._bot(d["token"])
        self._may_start(link, bot, d, now)
        if link.at_resume:
            self.violate("IDENTIFY at the resume address")
        if self._too_soon(link, bot, now):
            link.send({"t": None, "s": None, "op": INVALID, "d": False})
            return
        self._last_identify[bot.token], self._last_start[bot.token] = now, link
        if d.get("presence") is not None:
            self._presence(bot, d["presence"], (*STATUSES, None))  # null is online here
        name = f"{len(self.sessions) + 1:08x}" + hashlib.sha1(f"{id(link)} {now}".encode()).hexdigest()[:24]
        link.session = session = Session(name, bot, d["intents"], now, link=link)
        self.sessions.append(session)
        if self.ready:
            self._welcome(session)

    def _may_start(self, link: Link, bot: Bot, d: JSON, now: float) -> None:
        """Shard, intents and the number of starts."""
        shard, intents = d.get("shard", [0, 1]), d.get("intents")
        if not isinstance(shard, list) or [type(item) for item in shard] != [int, int] or not 0 <= shard[0] < shard[1]:
            raise Close(4010, "invalid shard")
        if isinstance(intents, bool) or not isinstance(intents, int) or intents & ~INTENTS:
            raise Close(4013, "invalid intents")
        if intents & PRIVILEGED & ~(self.privileged | MESSAGE_CONTENT * bot.message_content):
            raise Close(4014, "disallowed intents")
        if self.remaining() < 0:
            raise Close(4004, "more than 1000 IDENTIFYs in a day: the token is reset")

    def remaining(self) -> int:
        now = self.fake.clock()
        return self.starts - self.starts_used - sum(now - moment < 86400 for moment in self.identifies)

    def _too_soon(self, link: Link, bot: Bot, now: float) -> bool:
        last, other = self._last_identify.get(bot.token), self._last_start.get(bot.token)
        if last is None or now - last >= self.identify_gap:
            return False
        if other is link or other not in self.links:  # else another client has that one, and this one cannot know
            self.violate(f"IDENTIFY again within {self.identify_gap:g} s")
        return True

    def _welcome(self, session: Session) -> None:
        bot = session.bot
        user = _user(bot.id, "sentinel-bot", True) | {"verified": True, "mfa_enabled": False, "email": None}
        session.ready = True
        session.dispatch("READY", {
            "v": 10, "user_settings": {}, "user": user, "session_type": "normal", "session_id": session.id,
            "resume_gateway_url": f"{self.url}/resume", "relationships": [], "private_channels": [], "presences": [],
            "guilds": [{"id": bot.guild_id, "unavailable": True}], "guild_join_requests": [], "game_relationships": [],
            "geo_ordered_rtc_regions": [], "auth": {}, "application": {"id": bot.application_id, "flags": 0}, "_trace": [],
        })
        if session.intents & GUILDS:
            session.dispatch("GUILD_CREATE", self._guild(bot))

    def _guild(self, bot: Bot) -> JSON:
        places = [item.as_json() for item in self.fake.channels.values() if item.guild_id == bot.guild_id]
        everyone = {"id": bot.guild_id, "name": "@everyone", "color": 0, "hoist": False, "icon": None, "position": 0,
                    "unicode_emoji": None, "permissions": str(bot.permissions), "managed": False, "mentionable": False,
                    "flags": 0, "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None}}
        me = Member(bot.id, "sentinel-bot").as_json() | {"user": _user(bot.id, "sentinel-bot", True)}
        me.pop("permissions")
        return {
            "id": bot.guild_id, "name": "a guild", "unavailable": False, "icon": None, "splash": None, "banner": None,
            "discovery_splash": None, "owner_id": ANN.user_id, "afk_channel_id": None, "afk_timeout": 300,
            "roles": [everyone],
            "emojis": [], "stickers": [], "features": [], "mfa_level": 0, "application_id": None, "system_channel_id": None,
            "system_channel_flags": 0, "rules_channel_id": None, "public_updates_channel_id": None, "description": None,
            "safety_alerts_channel_id": None, "vanity_url_code": None, "preferred_locale": "en-US", "premium_tier": 0,
            "premium_subscription_count": 0, "premium_progress_bar_enabled": False, "verification_level": 0,
            "default_message_notifications": 0, "explicit_content_filter": 0, "nsfw": False, "nsfw_level": 0, "large": False,
            "joined_at": "2026-01-02T03:04:05.678000+00:00", "member_count": 1, "members": [me], "channels": places,
            "threads": [], "presences": [], "voice_states": [], "stage_instances": [], "guild_scheduled_events": [],
            "soundboard_sounds": [], "max_members": 500000, "max_video_channel_users": 25, "hub_type": None,
            "max_stage_video_channel_users": 50, "incidents_data": None, "inventory_settings": None,
        }

    def _expired(self, session: Session) -> bool:
        return session.ended or (session.link is None and self.fake.clock() - session.left > self.resume_within)

    def _resume(self, link: Link, d: Any, now: float) -> None:
        if link.session is not None:
            raise Close(4005, "RESUME when already identified")
        self.resumes.append(now)
        if not isinstance(d, dict) or not isinstance(d.get("session_id"), str) or not isinstance(d.get("token"), str):
            raise Close(4002, "RESUME without token or session_id")
        bot, seq = self._bot(d["token"]), d.get("seq")
        if isinstance(seq, bool) or not isinstance(seq, int):
            raise Close(4002, "RESUME without a number as seq")
        if not link.at_resume:
            self.violate("RESUME elsewhere than at resume_gateway_url")
        session = next((item for item in self.sessions if item.id == d["session_id"] and item.bot is bot), None)
        if session is None or self._expired(session):
            link.send({"t": None, "s": None, "op": INVALID, "d": False})
            return
        if seq > session.seq or seq < 0:
            session.ended = True
            raise Close(4007, "RESUME with a seq that was never sent")
        if session.link is not None:  # the old connection, of which the client knows more than we
            session.link.close(4000, "resumed elsewhere")
        session.link, link.session = link, session
        for payload in session.log[seq:]:
            link.send(payload)
        session.dispatch("RESUMED", {"_trace": []})

    # ---- presence

    def _presence(self, bot: Bot, d: Any, statuses: tuple[str | None, ...] = STATUSES) -> None:
        activities = d.get("activities", [d["game"]] if d.get("game") else []) if isinstance(d, dict) else None
        good = (
            isinstance(d, dict)
            and d.get("status") in statuses
            and isinstance(d.get("afk"), bool)
            and (d.get("since") is None or as_int(d["since"]) is not None)
            and ("activities" in d or "game" in d)  # the latter as old clients have it
            and isinstance(activities, list)
            and all(self._activity(item) for item in activities)
        )
        if not good:
            raise Close(4002, f"presence that is not well formed: {d}")
        self._presences.setdefault(bot.token, []).append(d)

    @staticmethod
    def _activity(value: Any) -> bool:
        return (isinstance(value, dict) and isinstance(value.get("name"), str) and 1 <= len(value["name"]) <= 128
                and as_int(value.get("type")) in range(6) and len(value.get("state") or "") <= 128)

    # ---- REST

    def do_gateway(self, call: Call) -> Answer:
        limit = {"total": self.starts, "remaining": max(0, self.remaining()), "reset_after": 86_400_000,
                 "max_concurrency": 1}
        return Answer(200, {"url": self.url, "shards": 1, "session_start_limit": limit})
