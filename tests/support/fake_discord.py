"""A strict stand-in for Discord's HTTP API, for tests and for trying Sentinel by hand.

It refuses what Discord refuses, with the same status, code and body, and it records everything.  Standard
library only; plain HTTP on 127.0.0.1 unless an ssl context is given.

    with FakeDiscord() as fake:                # clock=, wall=, seed=, port=, tls= are injectable
        hook = fake.add_webhook()              # .id .token .url .channel_id .name
        ...                                    # run the client against hook.url
        fake.wait_for(lambda f: len(f.messages) == 1, timeout=5)
        assert "web is down" in fake.messages[0].text
        assert not fake.lint and not fake.refused

Set-up      add_webhook(channel, name), add_bot(token, guild, permissions), add_channel(name, kind, guild,
            parent), say(channel, content) puts in a message written by a person.
Gateway     gateway (support.fake_gateway, begun when first asked for): the WebSocket, slash commands, buttons.
            Its answers are among the messages, marked (interaction_id, ephemeral, loading while deferred).
Record      messages (stored through the API, in order; deleted ones stay, marked), posts(channel_id, text),
            edits, requests, refused (answers of 4xx that no armed fault made), lint (bad manners; a client's
            tests want it empty), story() (all of it as text).
Changes     delete_webhook, rotate_token, delete_channel, take_permission, give_permission, make_forum,
            set_thread(locked=, archived=), refuse() (connections are refused), accept() (no longer),
            forgive() (drop waits, blocks and the marks of dead targets, as if the client began anew).
Switches    plain attributes, listed in FakeDiscord.__init__: limits, v6_milliseconds, skew, header_case, ...

Faults      arm(fault, times=1, after_storing=False, path=None, method=None, probability=None, window=None,
            **details).  path is a regular expression searched in the path; window is (from, to) in seconds of
            the fake's clock since its making; times has no bound if a window or a probability is given.
  replaces the answer; the request acts only with after_storing=True:
    "status" (status=500, html=False), "block_html" (403), "block_text" (429 error code: 1015),
    "block_json" (429, code 0), "429" (retry_after=1.0, scope="user", code=None, form="float" or int, str,
    absent; header="whole" or fractional, absent),
    "reset_after" (read all, then reset), "close" (read all, no answer), "empty_200", "huge" (size=8 MiB)
  comes before anything is read but the head:  "reset_before"
  spoils the answer of a request that did act:
    "reset_halfway", "drip" (interval=1.0), "wrong_length" (delta=10), "cut_json", "chunked",
    "gzip" (if the client accepts it), "close_keepalive" (a good answer, then the connection is dropped)
  "hang" (seconds=30.0, until=None): waits before acting (and does not act if the client left), at most until an Event
    is set; with after_storing, acts first and waits then
"""

from __future__ import annotations

import argparse
import contextlib
import email.utils
import gzip
import importlib
import importlib.util
import json
import math
import random
import re
import select
import socket
import ssl
import string
import struct
import sys
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.fake_gateway import FakeGateway

JSON = dict[str, Any]
Where = tuple[str | int, ...]
Mentions = tuple[list[str], list[str], bool]  # users, roles, everyone

VIEW, SEND, EMBED, HISTORY = 1 << 10, 1 << 11, 1 << 14, 1 << 16
MANAGE_CHANNELS, SEND_IN_THREADS = 1 << 4, 1 << 38
ALL_PERMISSIONS = VIEW | SEND | EMBED | HISTORY | MANAGE_CHANNELS | SEND_IN_THREADS
TEXT, CATEGORY, THREAD, FORUM, MEDIA = 0, 4, 11, 15, 16
EPOCH_MS = 1420070400000
MAX_BODY = 25 * 1024 * 1024
SCHEMA_FILE = Path(__file__).resolve().parent.parent / "data" / "discord-openapi.json"

# ---------------------------------------------------------------------------------------------- validation

_EDIT_KEYS = {"content", "embeds", "allowed_mentions", "components", "attachments", "flags"}
_NEW_KEYS = _EDIT_KEYS | {"tts", "poll"}
_KEYS = {
    "webhook": _NEW_KEYS | {"username", "avatar_url", "thread_name", "applied_tags"},
    "webhook_edit": _EDIT_KEYS | {"poll"},
    "bot": _NEW_KEYS | {"nonce", "enforce_nonce", "message_reference", "sticker_ids"},
    "bot_edit": _EDIT_KEYS | {"sticker_ids"},
    "answer": _NEW_KEYS,
    "answer_edit": _EDIT_KEYS | {"poll"},
}
_SCHEMAS = {
    "webhook": "IncomingWebhookRequestPartial",
    "webhook_edit": "IncomingWebhookUpdateRequestPartial",
    "bot": "MessageCreateRequest",
    "bot_edit": "MessageEditRequestPartial",
    "answer": "IncomingWebhookRequestPartial",
    "answer_edit": "IncomingWebhookUpdateRequestPartial",
    "channel": "CreateGuildChannelRequest",
}
_FLAGS = {"webhook": 4 | 4096 | 32768, "webhook_edit": 4 | 32768,
          "bot": 4 | 4096 | 8192 | 32768, "bot_edit": 4 | 32768, "answer": 4 | 64, "answer_edit": 4}
_NOT_MODELLED = ("poll", "sticker_ids", "applied_tags")
_PICTURE = {"url": "image", "width": "int", "height": "int", "placeholder": 64, "placeholder_version": "int",
            "is_animated": "bool", "description": 4096}
_EMBED: dict[str, Any] = {
    "title": 256, "description": 4096, "type": 4096, "url": "url", "color": "color", "timestamp": "time",
    "fields": "fields", "footer": {"text": 2048, "icon_url": "image"},
    "author": {"name": 256, "url": "url", "icon_url": "image"},
    "provider": {"name": 256, "url": "url"}, "image": _PICTURE, "thumbnail": _PICTURE, "video": _PICTURE,
}
_FIELD = {"name": 256, "value": 1024, "inline": "bool"}


def trimmed(value: Any) -> Any:
    """Outer whitespace is cut off every text before anything is measured."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return [trimmed(item) for item in value]
    if isinstance(value, dict):
        return {key: trimmed(item) for key, item in value.items()}
    return value


class Form:
    """Gathers the errors of one body as Discord's tree, and notes on what it took but should not be sent."""

    def __init__(self) -> None:
        self.errors: JSON = {}
        self.notes: list[str] = []

    def bad(self, at: Where, code: str, message: str) -> None:
        node = self.errors
        for step in at:
            node = node.setdefault(str(step), {})
        node.setdefault("_errors", []).append({"code": code, "message": message})

    def too_long(self, value: Any, at: Where, most: int) -> bool:
        if len(value) > most:
            self.bad(at, "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")
        return len(value) > most

    def text(self, value: Any, at: Where, most: int) -> None:
        if not isinstance(value, str):
            self.bad(at, "STRING_TYPE_CONVERT", f'Could not interpret "{value}" as string.')
        elif not self.too_long(value, at, most) and re.search("[\ud800-\udfff]", value):
            self.notes.append(f"lone surrogate at {_dotted(at)}")

    def boolean(self, value: Any, at: Where) -> None:
        if not isinstance(value, bool):
            self.bad(at, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")

    def integer(self, value: Any, at: Where, low: int | None = None, high: int | None = None) -> None:
        number = as_int(value)
        if number is None:
            self.bad(at, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
        elif low is not None and number < low:
            self.bad(at, "NUMBER_TYPE_MIN", f"int value should be greater than or equal to {low}.")
        elif high is not None and number > high:
            self.bad(at, "NUMBER_TYPE_MAX", f"int value should be less than or equal to {high}.")
        elif not isinstance(value, int):
            self.notes.append(f"number not written as a JSON integer at {_dotted(at)}")

    def snowflake(self, value: Any, at: Where) -> None:
        if isinstance(value, bool) or not re.fullmatch(r"0|[1-9][0-9]{0,19}", str(value)):
            self.bad(at, "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')
        elif not isinstance(value, str):
            self.notes.append(f"snowflake not written as a string at {_dotted(at)}")

    def moment(self, value: Any, at: Where) -> None:
        try:
            naive = datetime.fromisoformat(value).tzinfo is None
        except (TypeError, ValueError):
            self.bad(at, "DATE_TIME_TYPE_PARSE", f"Could not parse {value}. Should be ISO8601.")
            return
        if naive:
            self.notes.append(f"time without zone at {_dotted(at)}")

    def url(self, value: Any, at: Where, schemes: tuple[str, ...] = ("http", "https")) -> None:
        before = len(str(self.errors))
        self.text(value, at, 2048)
        if len(str(self.errors)) != before:
            return
        scheme, _, rest = value.partition(":")
        if not _ or scheme.lower() not in schemes:
            shown = scheme if _ else ""
            self.bad(at, "URL_TYPE_INVALID_SCHEME", f'Scheme "{shown}" is not one of {schemes[:2]}.')
            return
        host = re.split(r"[/?#]", rest.removeprefix("//"), maxsplit=1)[0].rpartition("@")[2].partition(":")[0]
        labels = host.split(".")
        good = rest.startswith("//") and len(labels) > 1 and all(0 < len(label) <= 63 for label in labels)
        if scheme.lower() != "attachment" and (not good or re.search(r"\s", value)):
            self.bad(at, "URL_TYPE_INVALID_URL", "Not a well formed URL.")

    def check(self, value: Any, at: Where, kind: Any) -> None:
        """One value against its kind: a length, a named kind, or a dict of keys."""
        if isinstance(kind, int):
            self.text(value, at, kind)
        elif isinstance(kind, dict):
            self.record(value, at, kind)
        elif kind == "int":
            self.integer(value, at)
        elif kind == "bool":
            self.boolean(value, at)
        elif kind == "color":
            self.integer(value, at, 0, 0xFFFFFF)
        elif kind == "time":
            self.moment(value, at)
        elif kind == "fields":
            self.fields(value, at)
        else:
            self.url(value, at, ("http", "https", "attachment") if kind == "image" else ("http", "https"))

    def record(self, value: Any, at: Where, kinds: JSON) -> None:
        if not isinstance(value, dict):
            self.bad(at, "MODEL_TYPE_CONVERT", "Expected an object/dictionary.")
            return
        for key, item in value.items():
            if key not in kinds:
                self.notes.append(f"unknown key '{key}' at {_dotted(at)}")
            elif item is not None:
                self.check(item, (*at, key), kinds[key])

    def listed(self, value: Any, at: Where, most: int) -> list[Any]:
        if not isinstance(value, list):
            self.bad(at, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType.")
            return []
        return [] if self.too_long(value, at, most) else value

    def fields(self, value: Any, at: Where) -> None:
        for number, item in enumerate(self.listed(value, at, 25)):
            self.record(item, (*at, number), _FIELD)
            for key in ("name", "value"):
                if isinstance(item, dict) and item.get(key) is None:
                    self.bad((*at, number, key), "BASE_TYPE_REQUIRED", "This field is required")

    def embeds(self, value: Any, webhook: bool) -> None:
        embeds = self.listed(value, ("embeds",), 10)
        for number, embed in enumerate(embeds):
            if embed == {} and webhook:
                self.bad(("embeds", number), "LIST_ITEM_VALUE_REQUIRED",
                         "List item values of ModelType are required")
            self.record(embed, ("embeds", number), _EMBED)
            if isinstance(embed, dict):
                self.ineffective(embed, number)
        if "embeds" not in self.errors and sum(embed_size(embed) for embed in embeds) > 6000:
            self.bad(("embeds",), "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum size of 6000")

    def ineffective(self, embed: JSON, number: int) -> None:
        dead = [key for key in ("provider", "video") if embed.get(key) is not None]
        dead += ["type"] if embed.get("type", "rich") not in ("rich", None) else []
        self.notes += [f"key '{key}' of embeds.{number} has no effect" for key in dead]
        if embed and not visible(embed):
            self.notes.append(f"embeds.{number} shows nothing")

    def mentions(self, value: Any) -> None:
        top = "allowed_mentions"
        if not isinstance(value, dict):
            self.bad((top,), "MODEL_TYPE_CONVERT", "Expected an object/dictionary.")
            return
        self.notes += [f"unknown key '{key}' at {top}" for key in value if key not in _MENTION_KEYS]
        for key in ("parse", "users", "roles"):
            if value.get(key) is not None:
                self.mention_list(key, value[key])
        if value.get("replied_user") is not None:
            self.boolean(value["replied_user"], (top, "replied_user"))
        parse = value.get("parse")
        for key in ("users", "roles"):
            if isinstance(parse, list) and key in parse and value.get(key):
                self.bad((top,), "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                         f'parse:["{key}"] and {key}: [ids...] are mutually exclusive.')

    def mention_list(self, key: str, value: Any) -> None:
        at: Where = ("allowed_mentions", key)
        items = self.listed(value, at, 100)
        for number, item in enumerate(items):
            if item in items[:number]:
                self.bad((*at, number), "SET_TYPE_ALREADY_CONTAINS_VALUE",
                         "The set already contains this value")
            elif key != "parse":
                self.snowflake(item, (*at, number))
            elif item not in ("users", "roles", "everyone"):
                self.bad((*at, number), "BASE_TYPE_CHOICES",
                         "Value must be one of ('everyone', 'roles', 'users').")

    def username(self, value: Any) -> None:
        if not isinstance(value, str) or not 1 <= len(value) <= 80:
            if not isinstance(value, str):
                self.text(value, ("username",), 80)
                return
            self.bad(("username",), "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 80 in length.")
            return
        for word in ("discord", "clyde"):
            if word in value.lower():
                self.bad(("username",), "USERNAME_INVALID_CONTAINS", f'Username cannot contain "{word}"')
        if value.lower() in ("everyone", "here"):
            self.bad(("username",), "USERNAME_INVALID", f'Username cannot be "{value.lower()}"')

    def nonce(self, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            self.bad(("nonce",), "NONCE_TYPE_INVALID_TYPE", "Nonce must be a string or an integer.")
        elif len(str(value)) > 25 or (isinstance(value, int) and not -(2**63) <= value < 2**63):
            self.bad(("nonce",), "NONCE_TYPE_TOO_LONG", "Must be 25 or fewer characters long.")

    def reference(self, value: JSON) -> None:
        for key in ("message_id", "channel_id", "guild_id"):
            if value.get(key) is not None or key == "message_id":
                self.snowflake(value.get(key), ("message_reference", key))
        if value.get("fail_if_not_exists") is not None:
            self.boolean(value["fail_if_not_exists"], ("message_reference", "fail_if_not_exists"))
        if value.get("type") not in (None, 0) or isinstance(value.get("type"), bool):
            self.bad(("message_reference", "type"), "BASE_TYPE_CHOICES", "Value must be one of {0, 1}.")

    def choice(self, value: Any, at: Where, allowed: Iterable[Any]) -> bool:
        """One of these, and not a boolean that passes for a number."""
        good = not isinstance(value, bool) and value in (choices := tuple(allowed))
        if value is None:
            self.bad(at, "BASE_TYPE_REQUIRED", "This field is required")
        elif not good:
            self.bad(at, "BASE_TYPE_CHOICES", f"Value must be one of {{{str(choices)[1:-1]}}}.")
        return good

    def sized(self, value: Any, at: Where, low: int, high: int) -> bool:
        """A text that must be there, with both its bounds."""
        if value is None:
            self.bad(at, "BASE_TYPE_REQUIRED", "This field is required")
        elif not isinstance(value, str):
            self.text(value, at, high)
        elif not low <= len(value) <= high:
            self.bad(at, "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")
        else:
            return True
        return False

    def components(self, value: Any) -> None:
        """Rows of buttons: all that this fake knows of components."""
        seen = set[str]()
        for number, row in enumerate(self.listed(value, ("components",), 5)):
            at: Where = ("components", number)
            if not isinstance(row, dict):
                self.bad(at, "MODEL_TYPE_CONVERT", "Expected an object/dictionary.")
            elif self.choice(row.get("type"), (*at, "type"), (1,)):
                self.unknown(row, at, ("type", "id", "components"))
                inner = self.listed(row.get("components"), (*at, "components"), 5)
                if not inner and isinstance(row.get("components"), list) and not row["components"]:
                    self.bad((*at, "components"), "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
                for place, button in enumerate(inner):
                    self.button(button, (*at, "components", place), seen)

    def unknown(self, value: JSON, at: Where, known: Iterable[str]) -> None:
        self.notes += [f"unknown key '{key}' at {_dotted(at)}" for key in value if key not in known]

    def button(self, value: Any, at: Where, seen: set[str]) -> None:
        if not isinstance(value, dict):
            self.bad(at, "MODEL_TYPE_CONVERT", "Expected an object/dictionary.")
            return
        self.unknown(value, at, ("type", "id", "style", "label", "custom_id", "disabled", "url", "emoji"))
        if not self.choice(value.get("type"), (*at, "type"), (2,)):
            return
        self.choice(value.get("style"), (*at, "style"), (1, 2, 3, 4, 5))
        link, name = value.get("style") == 5, value.get("custom_id")
        if value.get("label") is not None or not value.get("emoji"):
            self.sized(value.get("label"), (*at, "label"), 1, 80)
        if value.get("disabled") is not None:
            self.boolean(value["disabled"], (*at, "disabled"))
        if link:
            self.url(value.get("url"), (*at, "url"), ("http", "https", "discord"))
        if link is (name is not None) or (not link and value.get("url") is not None):
            self.bad(at, "BUTTON_COMPONENT_CUSTOM_ID_REQUIRED" if name is None else "BUTTON_COMPONENT_URL_EXCLUSIVE",
                     "A custom id is required" if name is None else "A custom id and url cannot both be specified")
        elif name is not None and self.sized(name, (*at, "custom_id"), 1, 100):
            if name in seen:
                self.bad((*at, "custom_id"), "COMPONENT_CUSTOM_ID_DUPLICATED",
                         "Component custom id cannot be duplicated")
            seen.add(name)

    def attachments(self, value: Any) -> None:
        for number, item in enumerate(self.listed(value, ("attachments",), 10)):
            at: Where = ("attachments", number)
            if not isinstance(item, dict):
                self.bad(at, "MODEL_TYPE_CONVERT", "Expected an object/dictionary.")
                continue
            if not re.fullmatch(r"0|[1-9][0-9]{0,19}", str(item.get("id"))):
                self.bad((*at, "id"), "NUMBER_TYPE_COERCE", f'Value "{item.get("id")}" is not snowflake.')
            for key, most in (("filename", 1024), ("description", 1024)):
                if item.get(key) is not None:
                    self.text(item[key], (*at, key), most)

    def flags(self, value: Any, kind: str, body: JSON) -> None:
        self.integer(value, ("flags",))
        bits = as_int(value) or 0
        if bits & ~_FLAGS[kind]:
            self.notes.append(f"flag bits {bits & ~_FLAGS[kind]} have no effect here")
        for key in ("content", "embeds", "poll"):
            if bits & 32768 and body.get(key):
                self.bad((key,), "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
                         f"The '{key}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2")


_MENTION_KEYS = ("parse", "users", "roles", "replied_user")


def as_int(value: Any) -> int | None:
    """Discord takes floats (rounded) and numeric strings where it wants an integer."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return round(float(value)) if isinstance(value, float) else int(value)
    except (ValueError, OverflowError):
        return None


def embed_size(embed: JSON) -> int:
    parts = [embed.get("title"), embed.get("description"), (embed.get("footer") or {}).get("text"),
             (embed.get("author") or {}).get("name")]
    for item in embed.get("fields") or []:
        parts += [item["name"], item["value"]]
    return sum(len(part) for part in parts if part)


def visible(embed: JSON) -> bool:
    inner = [("footer", "text"), ("author", "name"), ("image", "url"), ("thumbnail", "url")]
    return any(embed.get(key) for key in ("title", "description", "fields")) or any(
        isinstance(embed.get(key), dict) and embed[key].get(sub) for key, sub in inner)


def check_message(kind: str, body: JSON) -> Form:
    """Everything Discord says about one already trimmed message body of this kind."""
    form = Form()
    webhook = kind.startswith("webhook")
    for key, value in body.items():
        if key not in _KEYS[kind]:
            form.notes.append(f"key '{key}' does not exist in a {kind} body")
        elif key in _NOT_MODELLED and value:
            form.notes.append(f"key '{key}' is not looked into by this fake")
        elif webhook and key == "components" and value:
            form.notes.append("components of a webhook's message are dropped")
        if value is None or key not in _KEYS[kind]:
            continue
        if key == "content":
            long = isinstance(value, str) and len(value) > 4000 and kind.startswith("bot")
            form.text(value, (key,), 4000 if long else 2000)
        elif key in ("thread_name", "avatar_url"):
            form.check(value, (key,), 100 if key == "thread_name" else "url")
        elif key in ("tts", "enforce_nonce"):
            form.boolean(value, (key,))
        elif key == "components" and not webhook and not (as_int(body.get("flags")) or 0) & 32768:
            form.components(value)
        elif key == "attachments":
            form.attachments(value)
        elif key in ("components", "sticker_ids", "applied_tags"):
            form.listed(value, (key,), 40 if key == "components" else 10)
        else:
            _check_rest(form, kind, key, value, body)
    return form


def _check_rest(form: Form, kind: str, key: str, value: Any, body: JSON) -> None:
    if key == "embeds":
        form.embeds(value, kind.startswith("webhook"))
    elif key == "allowed_mentions":
        form.mentions(value)
    elif key == "flags":
        form.flags(value, kind, body)
    elif key == "username":
        form.username(value)
    elif key == "nonce":
        form.nonce(value)
    elif not isinstance(value, dict):
        form.bad((key,), "MODEL_TYPE_CONVERT", "Expected an object/dictionary.")
    elif key == "message_reference":
        form.reference(value)


def check_channel(body: JSON) -> Form:
    form = Form()
    name = body.get("name")
    if name is None:
        form.bad(("name",), "BASE_TYPE_REQUIRED", "This field is required")
    elif not isinstance(name, str) or not 1 <= len(name) <= 100:
        form.bad(("name",), "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
    if body.get("type") not in (None, 0, 2, 4, 5, 13, 14, 15) or isinstance(body.get("type"), bool):
        form.bad(("type",), "BASE_TYPE_CHOICES", "Value must be one of {0, 2, 4, 5, 13, 14, 15}.")
    if body.get("topic") is not None:
        form.text(body["topic"], ("topic",), 1024)
    if body.get("parent_id") is not None:
        form.snowflake(body["parent_id"], ("parent_id",))
    known = ("name", "type", "topic", "parent_id", "position", "nsfw", "permission_overwrites")
    form.notes += [f"key '{key}' of a channel is not looked into" for key in body if key not in known]
    return form


_PARTS = {"footer": ("text", "icon_url"), "author": ("name", "url", "icon_url"), "image": ("url",),
          "thumbnail": ("url",)}


def stored_embed(embed: JSON) -> JSON:
    """An embed as Discord gives it back: without empty parts, always of type rich, images without sizes."""
    kept: JSON = {key: embed[key] for key in ("title", "description", "url", "timestamp") if embed.get(key)}
    for key, subs in _PARTS.items():
        part = {sub: embed[key][sub] for sub in subs if (embed.get(key) or {}).get(sub)}
        if subs[0] in part:  # nothing of a part is shown without its main text
            kept[key] = part
    if embed.get("color") is not None:
        kept["color"] = as_int(embed["color"])
    if embed.get("fields"):
        kept["fields"] = [{"name": item["name"], "value": item["value"], "inline": bool(item.get("inline"))}
                          for item in embed["fields"]]
    return kept | {"type": "rich"}


def stored_embeds(embeds: Any) -> list[JSON]:
    return [stored_embed(embed) for embed in embeds or [] if visible(embed)]


def stored_components(rows: Any) -> list[JSON]:
    """Rows of buttons as Discord gives them back: numbered, without what is null or false."""
    kept: list[JSON] = []
    number = 0
    for row in rows or []:
        number += 1
        kept.append({"type": 1, "id": number, "components": []})
        for button in row.get("components") or []:
            number += 1
            given = {key: item for key, item in button.items() if key != "id" and item not in (None, False)}
            kept[-1]["components"].append(given | {"id": number})
    return kept


def _dotted(at: Iterable[str | int]) -> str:
    return ".".join(str(step) for step in at)


def flat_errors(errors: JSON) -> JSON:
    """The shape of API version 6: top-level keys only, no codes."""
    flat: JSON = {}
    for key, node in errors.items():
        if key == "_errors":
            flat["_misc"] = [item["message"] for item in node]
        else:
            flat[key] = [item["message"] for item in node["_errors"]] if "_errors" in node else list(node)
    return flat


def leaves(errors: JSON, at: str = "") -> list[str]:
    """Each error as path and code, for the record."""
    found = [f"{at or '-'} {item['code']}" for item in errors.get("_errors", [])]
    for key, node in errors.items():
        if key != "_errors":
            found += leaves(node, f"{at}.{key}" if at else key)
    return found


_validators: dict[str, Any] = {}


def schema_errors(name: str, value: Any) -> list[str]:
    """What Discord's published schema says against the value; nothing if jsonschema is not installed."""
    if importlib.util.find_spec("jsonschema") is None or not SCHEMA_FILE.exists():
        return []
    if name not in _validators:
        document = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
        document["$ref"] = f"#/components/schemas/{name}"
        _validators[name] = importlib.import_module("jsonschema").Draft202012Validator(document)
    return [f"{error.json_path}: {error.message[:120]}" for error in _validators[name].iter_errors(value)]


# -------------------------------------------------------------------------------------------------- records


@dataclass
class Request:
    """One recorded request; header names in lower case; status stays None if no answer was given."""

    time: float
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    json: Any = None
    status: int | None = None
    decision: str = ""
    fault: str = ""
    peer: str = ""


@dataclass
class File:
    """A file as it was uploaded."""

    name: str
    data: bytes
    kind: str


@dataclass
class Channel:
    id: str
    guild_id: str
    name: str
    type: int = TEXT
    parent_id: str | None = None
    locked: bool = False
    archived: bool = False
    topic: str | None = None

    def as_json(self) -> JSON:
        return {"id": self.id, "type": self.type, "flags": 0, "guild_id": self.guild_id, "name": self.name,
                "position": 0, "parent_id": self.parent_id, "topic": self.topic,
                "permission_overwrites": []}


@dataclass
class Webhook:
    id: str
    token: str
    name: str
    channel_id: str
    guild_id: str
    base: str

    @property
    def url(self) -> str:
        """As a user copies it out of the client: without a version."""
        return f"{self.base}/api/webhooks/{self.id}/{self.token}"

    def as_json(self) -> JSON:
        return {"application_id": None, "avatar": None, "channel_id": self.channel_id, "id": self.id,
                "guild_id": self.guild_id, "name": self.name, "type": 1, "token": self.token,
                "url": f"https://discord.com/api/webhooks/{self.id}/{self.token}"}


@dataclass
class Bot:
    id: str
    token: str
    guild_id: str
    permissions: int = ALL_PERMISSIONS
    message_content: bool = False
    denied: dict[str, int] = field(default_factory=dict)  # channel id -> permission bits taken there
    application_id: str = ""  # another than the user's, as with old applications
    commands: bool = True  # added with the scope applications.commands
    registered: list[JSON] = field(default_factory=list)  # its commands in its guild
    creations: list[float] = field(default_factory=list)  # when commands were made


@dataclass
class Edit:
    time: float
    message_id: str
    before: JSON
    after: JSON


@dataclass
class Message:
    """A stored message; payload is the body as sent, trimmed."""

    id: str
    channel_id: str
    content: str
    embeds: list[JSON]
    author: JSON
    time: float
    wall: float
    payload: JSON
    webhook_id: str | None = None
    nonce: str | int | None = None
    human: bool = False
    deleted: bool = False
    history: list[Edit] = field(default_factory=list)
    mentions: Mentions = ([], [], False)
    components: list[JSON] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    kind: int = 0
    application_id: str | None = None
    interaction_id: str | None = None
    ephemeral: bool = False
    loading: bool = False  # deferred: the user sees that the bot is thinking

    @property
    def buttons(self) -> list[JSON]:
        return [button for row in self.components for button in row.get("components", [])]

    @property
    def text(self) -> str:
        """All that a reader sees, a line each."""
        lines = [self.content]
        for embed in self.embeds:
            lines.append(embed.get("author", {}).get("name", ""))
            lines += [embed.get("title", ""), embed.get("description", "")]
            lines += [f"{item['name']}: {item['value']}" for item in embed.get("fields", [])]
            lines.append(embed.get("footer", {}).get("text", ""))
        return "\n".join(line for line in lines if line)

    def as_json(self) -> JSON:
        users, roles, everyone = self.mentions
        edited = _iso(self.wall + self.history[-1].time - self.time) if self.history else None
        full: JSON = {
            "id": self.id, "type": self.kind, "channel_id": self.channel_id, "content": self.content,
            "author": self.author, "mentions": [_user(user, "someone") for user in users],
            "mention_roles": roles, "mention_everyone": everyone, "components": self.components,
            "attachments": [self._attachment(number, item) for number, item in enumerate(self.files)],
            "embeds": self.embeds, "timestamp": _iso(self.wall), "edited_timestamp": edited, "pinned": False,
            "flags": (as_int(self.payload.get("flags")) or 0) & ~192 | 64 * self.ephemeral | 128 * self.loading,
            "tts": bool(self.payload.get("tts")),
        }
        extra = {"webhook_id": self.webhook_id, "nonce": self.nonce, "application_id": self.application_id}
        return full | {key: value for key, value in extra.items() if value is not None}

    def _attachment(self, number: int, item: File) -> JSON:
        url = f"https://cdn.discordapp.com/attachments/{self.channel_id}/{int(self.id) + number}/{item.name}"
        return {"id": str(int(self.id) + number), "filename": item.name, "size": len(item.data), "url": url,
                "proxy_url": url, "content_type": item.kind}


@dataclass
class Fault:
    kind: str
    times: int | None
    after_storing: bool
    path: str | None
    method: str | None
    probability: float | None
    window: tuple[float, float] | None
    details: JSON


@dataclass
class Answer:
    status: int
    body: Any = None  # JSON value, ready bytes, or None for no body
    headers: dict[str, str] = field(default_factory=dict)
    edge: bool = False  # answered in front of the API: no Via, no rate-limit headers
    kind: str = "application/json"


class Refused(Exception):
    """An error answer of the API."""

    def __init__(self, status: int, code: int, message: str, errors: JSON | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.errors = status, code, message, errors


@dataclass
class Call:
    """A request on its way through the checks."""

    request: Request
    handler: str
    ids: tuple[str, ...]
    version: int
    owner: str  # the bot's Authorization, or "" (then the address counts)
    key: tuple[str, ...]
    bot: Bot | None = None
    headers: dict[str, str] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)


def _short(path: str) -> str:
    """A path without the endless token of an interaction."""
    return re.sub(r"[\w-]{100,}", "...", path)


def _iso(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat()


def _user(user_id: str, name: str, bot: bool = False) -> JSON:
    return {"id": user_id, "username": name, "avatar": None, "discriminator": "0000", "public_flags": 0,
            "flags": 0, "bot": bot, "global_name": None, "primary_guild": None}


def _invalid(at: str, code: str, message: str) -> Refused:
    form = Form()
    form.bad((at,) if at else (), code, message)
    return Refused(400, 50035, "Invalid Form Body", form.errors)


_ROUTES: list[tuple[str, dict[str, str]]] = [
    (r"/webhooks/([^/]+)/([^/]+)", {"GET": "hook_get", "POST": "hook_post"}),
    (r"/webhooks/([^/]+)/([^/]+)/messages/([^/]+)",
     {"GET": "hook_message", "PATCH": "hook_edit", "DELETE": "hook_delete"}),
    (r"/webhooks/([^/]+)", {}),
    (r"/users/@me", {"GET": "me"}),
    (r"/channels/([^/]+)", {"GET": "channel"}),
    (r"/channels/([^/]+)/messages", {"GET": "read", "POST": "create"}),
    (r"/channels/([^/]+)/messages/([^/]+)", {"GET": "message", "PATCH": "edit", "DELETE": "delete"}),
    (r"/channels/([^/]+)/typing", {"POST": "typing"}),
    (r"/guilds/([^/]+)/channels", {"GET": "channels", "POST": "guild_create"}),
    (r"/gateway/bot", {"GET": "gateway"}),
    (r"/(?:oauth2/)?applications/@me", {"GET": "application"}),
    (r"/applications/([^/]+)/guilds/([^/]+)/commands", {"GET": "commands", "PUT": "register"}),
    (r"/interactions/([^/]+)/([^/]+)/callback", {"POST": "app_callback"}),
]
_ALONE = ("hook", "app_")  # these need no Authorization: the path holds all that is secret
# Posts and edits of messages answer the same hash, though they are counted apart.
_HASHES = {"hook_post": "5fb2a7f1c0de", "hook_edit": "5fb2a7f1c0de", "hook_get": "77aa01b3c2d4",
           "hook_message": "77aa01b3c2d4", "create": "80c17d2f203b", "edit": "80c17d2f203b",
           "read": "b05c0e6c2d1f", "guild_create": "c9d3a1b2e4f5", "app_post": "d1e6f0a9b8c7",
           "app_edit": "d1e6f0a9b8c7", "register": "e0a4c2b7d9f1"}
_BLOCK_TEXT = ("You are being blocked from accessing our API temporarily due to exceeding our rate limits "
               "frequently. Please read our docs at https://discord.com/developers/docs/topics/rate-limits "
               "to prevent this moving forward.")
_LIMIT_TEXT = {"user": "You are being rate limited.", "shared": "The resource is being rate limited.",
               "global": "You are being rate limited."}
_INSTEAD = ("status", "block_html", "block_text", "block_json", "429", "reset_after", "close", "empty_200",
            "huge")
_SPOILS = ("reset_halfway", "drip", "wrong_length", "cut_json", "chunked", "gzip", "close_keepalive", "hang")


class Limiter:
    """Counts requests: fixed windows for what the headers show, sliding ones for what they hide."""

    def __init__(self) -> None:
        self.fixed: dict[Hashable, tuple[float, int]] = {}
        self.recent: dict[Hashable, deque[float]] = {}

    def take(self, key: Hashable, rule: tuple[int, float], now: float) -> tuple[bool, int, float]:
        """Whether one more may pass, how many then remain, and the seconds until the window ends."""
        start, used = self.fixed.get(key, (now, 0))
        if now - start >= rule[1]:
            start, used = now, 0
        allowed = used < rule[0]
        self.fixed[key] = (start, used + allowed)
        return allowed, rule[0] - used - allowed, start + rule[1] - now

    def slide(self, key: Hashable, rule: tuple[int, float], now: float) -> float:
        """Seconds to wait for a free place in the last rule[1] seconds; 0 takes the place."""
        times = self.recent.setdefault(key, deque())
        while times and now - times[0] >= rule[1]:
            times.popleft()
        if len(times) >= rule[0]:
            return times[0] + rule[1] - now
        times.append(now)
        return 0.0


# ------------------------------------------------------------------------------------------------- the fake


class FakeDiscord:
    """See the top of the file."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time,
                 seed: int = 0, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.clock, self.wall = clock, wall
        self.limits: dict[str, tuple[int, float] | None] = {  # None switches one off
            "hook_post": (5, 2.0), "hook_edit": (5, 2.0), "hook_get": (5, 2.0), "hook_message": (5, 2.0),
            "create": (5, 5.0), "edit": (5, 5.0), "read": (5, 5.0), "guild_create": (5, 10.0),
            "app_post": (5, 2.0), "app_edit": (5, 2.0), "register": (5, 20.0),
            "hidden": (30, 60.0), "global": (50, 1.0), "invalid": (10_000, 600.0), "nonce": (10_000, 180.0),
        }
        self.hidden_wait_short_once = False  # the next wait told for the hidden limit is too short
        self.limit_code: int | None = None  # code put into 429 bodies, for instance 20028
        self.v6_milliseconds = True  # waits on unversioned paths are told in milliseconds
        self.strict_agent = True  # a missing User-Agent is blocked
        self.refuse_empty_fields = False  # embed fields with empty texts are refused, as before 2024
        self.untyped_code = 50006  # a webhook body without a proper Content-Type; 50035 as the docs say
        self.rate_headers = True
        self.header_case: Callable[[str], str] = str  # for instance str.lower
        self.skew = 0.0  # seconds by which Date and X-RateLimit-Reset are off
        self.hammer_after, self.block_seconds, self.dead_rest = 20, 600.0, 600.0
        self.on_store: Callable[[Message], None] | None = None
        self.requests: list[Request] = []
        self.lint: list[str] = []
        self.edits: list[Edit] = []
        self.stored: list[Message] = []  # with those of people
        self.webhooks: dict[str, Webhook] = {}
        self.bots: dict[str, Bot] = {}
        self.channels: dict[str, Channel] = {}
        self.guild = "1000000000000000000"
        self._born, self._random, self._count, self._last_id = clock(), random.Random(seed), 0, 0
        self._limiter, self._faults = Limiter(), list[Fault]()
        self._waits: dict[tuple[str, ...], float] = {}
        self._dead: dict[tuple[str, ...], float] = {}
        self._after_404: dict[tuple[str, ...], int] = {}
        self._invalid: deque[float] = deque()
        self._blocked_until = -math.inf
        self._change = threading.Condition()
        self._gateway: FakeGateway | None = None
        self._server = _Server(self, port, tls)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.port}"

    # ---- life

    def start(self) -> FakeDiscord:
        self._server.listen()
        return self

    def stop(self) -> None:
        self._server.stop()
        if self._gateway is not None:
            self._gateway.stop()

    @property
    def gateway(self) -> FakeGateway:
        """The WebSocket and all that is said there; begun when it is first asked for."""
        from support.fake_gateway import FakeGateway  # here, since that module needs this one

        with self._change:
            if self._gateway is None:
                self._gateway = FakeGateway(self).start()
            return self._gateway

    def __enter__(self) -> FakeDiscord:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def refuse(self) -> None:
        """From now on connections are refused, and open ones are dropped."""
        self._server.close()

    def accept(self) -> None:
        self._server.listen()

    # ---- set-up and changes of state

    def _new_id(self) -> str:
        self._count += 1
        return str(int(self.guild) + self._count)

    def _snowflake(self) -> str:
        self._last_id = max(self._last_id + 1, (int(self.wall() * 1000) - EPOCH_MS) << 22)
        return str(self._last_id)

    def add_channel(self, name: str = "alerts", kind: int = TEXT, guild: str | None = None,
                    parent: str | Channel | None = None) -> Channel:
        with self._change:
            above = parent.id if isinstance(parent, Channel) else parent
            channel = Channel(self._new_id(), guild or self.guild, name, kind, above)
            self.channels[channel.id] = channel
            return channel

    def add_webhook(self, channel: str | Channel | None = None, name: str = "Sentinel") -> Webhook:
        with self._change:
            place = self.channels[channel] if isinstance(channel, str) else channel or self.add_channel()
            hook = Webhook(self._new_id(), self._token(), name, place.id, place.guild_id, self.url)
            self.webhooks[hook.id] = hook
            return hook

    def _token(self) -> str:
        return "".join(self._random.choices(string.ascii_letters + string.digits + "_-", k=68))

    def add_bot(self, token: str, guild: str | None = None, permissions: int = ALL_PERMISSIONS,
                message_content: bool = False, commands: bool = True) -> Bot:
        with self._change:
            bot = Bot(self._new_id(), token, guild or self.guild, permissions, message_content,
                      application_id=self._new_id(), commands=commands)
            self.bots[token] = bot
            return bot

    def say(self, channel: str | Channel, content: str, author: str = "200000000000000001",
            reply_to: Message | None = None) -> Message:
        """A person writes into a channel; a reply mentions the author it answers."""
        with self._change:
            place = channel.id if isinstance(channel, Channel) else channel
            users, roles, everyone = self._mentioned(content, None, True)
            users += [reply_to.author["id"]] if reply_to else []
            message = Message(self._snowflake(), place, content, [], _user(author, "person"), self.clock(),
                              self.wall(), {}, human=True, mentions=(users, roles, everyone))
            self.stored.append(message)
            self._change.notify_all()
            return message

    def delete_webhook(self, hook: Webhook) -> None:
        with self._change:
            self.webhooks.pop(hook.id, None)

    def rotate_token(self, hook: Webhook) -> None:
        with self._change:
            hook.token = self._token()

    def delete_channel(self, channel: str | Channel) -> None:
        """Takes its webhooks along, as Discord does."""
        with self._change:
            place = channel.id if isinstance(channel, Channel) else channel
            self.channels.pop(place, None)
            self.webhooks = {key: hook for key, hook in self.webhooks.items() if hook.channel_id != place}

    def take_permission(self, bot: Bot, bits: int, channel: str = "*") -> None:
        with self._change:
            bot.denied[channel] = bot.denied.get(channel, 0) | bits

    def give_permission(self, bot: Bot, bits: int, channel: str = "*") -> None:
        with self._change:
            bot.denied[channel] = bot.denied.get(channel, 0) & ~bits

    def make_forum(self, channel: str | Channel) -> None:
        with self._change:
            self.channels[channel.id if isinstance(channel, Channel) else channel].type = FORUM

    def set_thread(self, thread: Channel, locked: bool = False, archived: bool = False) -> None:
        with self._change:
            thread.locked, thread.archived = locked, archived

    def forgive(self) -> None:
        with self._change:
            for marks in (self._waits, self._dead, self._after_404, self._invalid):
                marks.clear()
            self._blocked_until = -math.inf

    def arm(self, fault: str, times: int | None = None, after_storing: bool = False, path: str | None = None,
            method: str | None = None, probability: float | None = None,
            window: tuple[float, float] | None = None, **details: Any) -> None:
        if fault not in (*_INSTEAD, *_SPOILS, "reset_before"):
            raise ValueError(f"no such fault: {fault}")
        once = probability is None and window is None and times is None
        with self._change:
            self._faults.append(Fault(fault, 1 if once else times, after_storing, path, method, probability,
                                      window, details))

    def disarm(self) -> None:
        with self._change:
            self._faults.clear()

    # ---- the record

    @property
    def messages(self) -> list[Message]:
        with self._change:
            return [message for message in self.stored if not message.human]

    def posts(self, channel_id: str | None = None, text: str = "") -> list[Message]:
        """Stored messages of one channel, or with this text in them."""
        return [message for message in self.messages
                if channel_id in (None, message.channel_id) and text in message.text]

    @property
    def refused(self) -> list[Request]:
        with self._change:
            return [item for item in self.requests if not item.fault and 400 <= (item.status or 0) < 500]

    def wait_for(self, predicate: Callable[[FakeDiscord], Any], timeout: float = 60.0) -> None:
        """Blocks until predicate(fake) holds; tried anew after each request, answer and stored message."""
        with self._change:
            if not self._change.wait_for(lambda: predicate(self), timeout):
                raise AssertionError(f"not within {timeout} s; what came in:\n{self.story()}")

    def story(self) -> str:
        with self._change:
            lines = [f"{item.time - self._born:8.3f} {item.method} {_short(item.path)} {item.status} {item.decision}"
                     for item in self.requests]
            lines += [f"message {item.id} in {item.channel_id}: {item.text[:300]!r}" for item in self.stored]
            return "\n".join(lines + [f"lint: {item}" for item in self.lint]) or "nothing"

    def note(self, request: Request, complaint: str) -> None:
        line = f"{complaint} [{request.method} {request.path}]"
        if line not in self.lint:
            self.lint.append(line)

    # ---- arrival: record, manners, faults

    def arrive(self, request: Request) -> Fault | None:
        """Records a request whose head was read, and says which armed fault it meets."""
        with self._change:
            self.requests.append(request)
            self._manners(request)
            fault = next((item for item in self._faults if self._meets(item, request)), None)
            if fault is not None:
                request.fault = request.decision = fault.kind
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
            self._change.notify_all()
            return fault

    def _meets(self, fault: Fault, request: Request) -> bool:
        since = self.clock() - self._born
        return (
            (fault.method is None or fault.method == request.method)
            and (fault.path is None or re.search(fault.path, request.path) is not None)
            and (fault.window is None or fault.window[0] <= since < fault.window[1])
            and (fault.probability is None or self._random.random() < fault.probability)
        )

    def _manners(self, request: Request) -> None:
        agent = request.headers.get("user-agent", "")
        if not re.match(r"DiscordBot \(\S+, \S+\)", agent):
            self.note(request, f"User-Agent {agent!r} is not of the form DiscordBot (url, version)")
        if not re.match(r"/api/v(9|10)/", request.path):
            self.note(request, "path without a current API version")
        try:
            call = self._route(request)
        except Refused:
            return
        told = (self._waits.get(key, -math.inf) for key in (call.key, ("global", call.owner)))
        early = max(told) - request.time
        if early > 0.005:  # the answer was under way for a moment
            self.note(request, f"sent {early:.3f} s inside a wait it had been told to keep")
        if request.time - self._dead.get(self._dead_key(call), -math.inf) < self.dead_rest:
            self.note(request, "use of a target known to be dead")

    def _dead_key(self, call: Call) -> tuple[str, ...]:
        return ("hook", *call.ids[:2]) if call.handler.startswith("hook") else call.key

    def read_body(self, request: Request) -> None:
        """Keeps the body's JSON; credentials belong into the path or the Authorization header only."""
        with self._change, contextlib.suppress(ValueError):
            sent = request.body.decode("utf-8", "replace") + " ".join(request.query.values())
            if any(token in sent for token in (*self.bots, *(hook.token for hook in self.webhooks.values()))):
                self.note(request, "a token in the body or the query")
            parts, _ = form_parts(request)
            request.json = json.loads(parts.get("payload_json", (request.body, "", ""))[0] or b"null")

    # ---- decision, in the order (b) edge ... (l) store

    def settle(self, request: Request) -> Answer:
        """Lets a request act and says what Discord would answer."""
        with self._change:
            call: Call | None = None
            try:
                answer = self._edge(request)
                if answer is None:
                    call = self._route(request)
                    doer = getattr(self, f"_do_{call.handler}", None) or getattr(self.gateway, f"do_{call.handler}")
                    answer = self._admit(call) or doer(call)
            except Refused as no:
                answer = self._refusal(no, call, request)
            if call is not None and not answer.edge:
                answer.headers = call.headers | answer.headers
            request.status = answer.status
            request.decision = (request.decision + " " + self._words(answer)).strip()
            self._count_invalid(answer)
            self._change.notify_all()
            return answer

    @staticmethod
    def _words(answer: Answer) -> str:
        if isinstance(answer.body, dict) and answer.status >= 400:
            shown = {key: value for key, value in answer.body.items() if key != "errors"}
            return f"{json.dumps(shown)} {', '.join(leaves(answer.body.get('errors', {})))}".strip()
        return "edge block" if answer.edge else "done"

    def _edge(self, request: Request) -> Answer | None:
        if self.clock() < self._blocked_until:
            return Answer(429, {"code": 0, "message": _BLOCK_TEXT}, edge=True)
        agent = request.headers.get("user-agent", "")
        if re.match(r"Python-urllib/|Java/1\.", agent) or (not agent and self.strict_agent):
            return Answer(403, b"error code: 1010", edge=True, kind="text/plain; charset=UTF-8")
        if agent.startswith("Mozilla/") and "authorization" in request.headers:
            return Answer(403, {"message": "internal network error", "code": 40333}, edge=True)
        return None

    def _route(self, request: Request) -> Call:
        found = re.fullmatch(r"/api(?:/v(\d+))?(/.*)", request.path)
        if not found:
            raise Refused(404, 0, "404: Not Found")
        version = int(found[1] or 6)
        if not 6 <= version <= 10:
            raise Refused(400, 50041, "Invalid API version provided")
        for pattern, methods in _ROUTES:
            match = re.fullmatch(pattern, found[2])
            if match and request.method in methods:
                handler, hook = methods[request.method], methods[request.method].startswith(_ALONE)
                if hook and any(bot.application_id == match[1] for bot in self.bots.values()):
                    handler = handler.replace("hook_", "app_")  # an application's own webhook
                owner = "" if hook else request.headers.get("authorization", "")
                key = (handler, *match.groups()[: 2 if hook else 1], owner)
                return Call(request, handler, match.groups(), version, owner, key)
            if match:
                raise Refused(405, 0, "405: Method Not Allowed")
        raise Refused(404, 0, "404: Not Found")

    def _admit(self, call: Call) -> Answer | None:
        """Size, bot auth, then rate limits."""
        if len(call.request.body) > MAX_BODY:
            raise Refused(413, 40005, "Request entity too large")
        if not call.handler.startswith(_ALONE):
            word, _, token = call.owner.partition(" ")
            call.bot = self.bots.get(token) if word == "Bot" else None
            if call.bot is None:
                raise Refused(401, 0, "401: Unauthorized")
        elif call.handler.startswith("app_") and "authorization" in call.request.headers:
            self.note(call.request, "Authorization sent where the path says it all")
        now, rule = self.clock(), self.limits["global"]
        if rule and not call.handler.startswith("app_"):  # which are not bound to it
            allowed, _, rest = self._limiter.take(("global", call.owner), rule, now)
            if not allowed:
                return self.limited(call, rest, "global")
        rule = self.limits.get(call.handler)
        if rule:
            allowed, left, rest = self._limiter.take(call.key, rule, now)
            self._bucket(call, rule[0], left, rest, allowed)
            if not allowed:
                return self.limited(call, rest, "user")
        return self._hidden(call) if call.handler == "hook_post" else None

    def _bucket(self, call: Call, most: int, left: int, rest: float, allowed: bool) -> None:
        if call.handler == "read" and allowed:
            most, left = 1000, 999  # the limit that bites is not the one that is shown
        rest = math.ceil(rest * 1000) / 1000
        call.headers |= {
            "X-RateLimit-Limit": str(most), "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": f"{self.wall() + self.skew + rest:.3f}",
            "X-RateLimit-Reset-After": f"{rest:.3f}", "X-RateLimit-Bucket": _HASHES[call.handler],
        }

    def _hidden(self, call: Call) -> Answer | None:
        hook, rule = self.webhooks.get(call.ids[0]), self.limits["hidden"]
        if hook is None or rule is None:
            return None
        wait = self._limiter.slide(("hidden", hook.channel_id), rule, self.clock())
        if wait and self.hidden_wait_short_once:
            self.hidden_wait_short_once, wait = False, wait / 2
        return self.limited(call, wait, "shared") if wait else None

    def limited(self, call: Call | None, wait: float, scope: str, code: int | None = None,
                form: str = "float", header: str = "whole") -> Answer:
        """A 429, and a mark that its wait has to be kept."""
        wait = max(math.ceil(wait * 1000) / 1000, 0.001)
        body: JSON = {"message": _LIMIT_TEXT[scope], "retry_after": wait, "global": scope == "global"}
        heads = {"Retry-After": str(max(1, math.ceil(wait))), "X-RateLimit-Scope": scope}
        if call is not None and call.version == 6 and self.v6_milliseconds:
            body["retry_after"], heads["Retry-After"] = math.ceil(wait * 1000), str(math.ceil(wait * 1000))
        elif form != "float":
            body["retry_after"] = math.ceil(wait) if form == "int" else str(wait)
        if form == "absent":
            del body["retry_after"]
        if header != "whole":
            heads["Retry-After"] = f"{wait:.3f}"
        if header == "absent":
            del heads["Retry-After"]
        if scope == "global":
            heads["X-RateLimit-Global"] = "true"
        if call is not None:
            call.headers = {} if scope == "global" else call.headers
            self._waits[("global", call.owner) if scope == "global" else call.key] = self.clock() + wait
        code = code or self.limit_code
        return Answer(429, body | ({"code": code} if code else {}), heads)

    def instead(self, request: Request, fault: Fault) -> Answer:
        """The answer of a fault that replaces the real one."""
        with self._change:
            details = fault.details
            status = int(details.get("status", 500))
            page = b"<html><head><title>%d</title></head><body>cloudflare</body></html>" % status
            if fault.kind == "status" and (details.get("html") or status >= 520):
                answer = Answer(status, page, edge=True, kind="text/html; charset=UTF-8")
            elif fault.kind == "429":
                answer = self._armed_429(request, **details)
            elif fault.kind == "huge":
                filler = "x" * int(details.get("size", 1 << 23))
                answer = Answer(int(details.get("status", 200)), {"message": filler})
            else:
                answer = {
                    "block_html": Answer(403, page.replace(b"500", b"403"), edge=True, kind="text/html"),
                    "block_text": Answer(429, b"error code: 1015", edge=True, kind="text/plain"),
                    "block_json": Answer(429, {"code": 0, "message": _BLOCK_TEXT}, edge=True),
                    "empty_200": Answer(200, b""),
                }.get(fault.kind) or Answer(status, {"message": f"{status}: Server Error", "code": 0})
            request.status = answer.status
            self._change.notify_all()
            return answer

    def _armed_429(self, request: Request, retry_after: float = 1.0, scope: str = "user",
                   code: int | None = None, form: str = "float", header: str = "whole") -> Answer:
        call: Call | None = None
        with contextlib.suppress(Refused):
            call = self._route(request)
        if call is not None and call.handler in _HASHES:
            # A limit that the headers do not show leaves them with places free and a nearer reset.
            shared = scope == "shared"
            self._bucket(call, 5, 4 if shared else 0, 0.5 if shared else retry_after, False)
        answer = self.limited(call, retry_after, scope, code, form, header)
        answer.headers = (call.headers if call else {}) | answer.headers
        return answer

    def heads(self, answer: Answer) -> dict[str, str]:
        heads = {"Date": email.utils.formatdate(self.wall() + self.skew, usegmt=True)}
        if answer.status != 204:
            heads["Content-Type"] = answer.kind
        if not answer.edge:
            heads["Via"] = "1.1 fake"
        keep = self.rate_headers
        return heads | {k: v for k, v in answer.headers.items() if keep or not k.startswith("X-RateLimit")}

    def _count_invalid(self, answer: Answer) -> None:
        rule, now = self.limits["invalid"], self.clock()
        shared = answer.headers.get("X-RateLimit-Scope") == "shared"
        if rule is None or answer.status not in (401, 403, 429) or shared or now < self._blocked_until:
            return
        self._invalid.append(now)
        while now - self._invalid[0] >= rule[1]:
            self._invalid.popleft()
        if len(self._invalid) >= rule[0]:
            self._blocked_until = now + self.block_seconds

    def _refusal(self, no: Refused, call: Call | None, request: Request) -> Answer:
        gone = no.status == 401 or no.code in (10015, 10003, 50001, 50013)
        if call is not None and gone and not (no.code == 10003 and call.handler.startswith("hook")):
            self._dead[self._dead_key(call)] = self.clock()
        if call is not None and no.code == 10015:
            key = self._dead_key(call)
            self._after_404[key] = self._after_404.get(key, 0) + 1
            if self._after_404[key] > self.hammer_after:
                self._blocked_until = self.clock() + self.block_seconds
        if no.errors is not None and not re.match(r"/api/v\d", request.path):
            return Answer(no.status, flat_errors(no.errors))
        extra = {} if no.errors is None else {"errors": no.errors}
        return Answer(no.status, {"message": no.message, "code": no.code} | extra)

    # ---- (f) targets

    def _hook(self, call: Call) -> Webhook:
        if not call.ids[0].isdecimal():
            raise _invalid("webhook_id", "NUMBER_TYPE_COERCE", f'Value "{call.ids[0]}" is not snowflake.')
        hook = self.webhooks.get(call.ids[0])
        if hook is None:
            raise Refused(404, 10015, "Unknown Webhook")
        if hook.token != call.ids[1]:
            raise Refused(401, 50027, "Invalid Webhook Token")
        return hook

    def _may(self, bot: Bot, channel: str, bits: int) -> bool:
        denied = bot.denied.get("*", 0) | bot.denied.get(channel, 0)
        return bot.permissions & ~denied & bits == bits

    def _place(self, call: Call, bits: int = 0) -> tuple[Bot, Channel]:
        """The bot and the channel it may see and do this in."""
        assert call.bot is not None
        channel = self.channels.get(call.ids[0])
        if channel is None:
            raise Refused(404, 10003, "Unknown Channel")
        if channel.guild_id != call.bot.guild_id or not self._may(call.bot, channel.id, VIEW):
            raise Refused(403, 50001, "Missing Access")
        bits = bits & ~SEND | SEND_IN_THREADS if bits & SEND and channel.type == THREAD else bits
        if not self._may(call.bot, channel.id, bits):
            raise Refused(403, 50013, "Missing Permissions")
        return call.bot, channel

    def _message(self, message_id: str, channel_id: str, webhook_id: str | None = None) -> Message:
        for message in self.stored:
            mine = webhook_id in (None, message.webhook_id) and not message.deleted and not message.ephemeral
            if mine and (message.id, message.channel_id) == (message_id, channel_id):
                return message
        raise Refused(404, 10008, "Unknown Message")

    # ---- (g) to (i): body and query

    def _body(self, call: Call, kind: str) -> JSON:
        """Reads, validates and returns the trimmed body; all its errors are told together."""
        body: JSON = trimmed(self._parse(call))
        return self._checked(call, kind, body)

    def _checked(self, call: Call, kind: str, body: JSON, under: str = "") -> JSON:
        """The trimmed body, when it stands all checks; ``under`` is where it stands in the whole body."""
        form = check_channel(body) if kind == "channel" else check_message(kind, body)
        if self.refuse_empty_fields and kind != "channel" and not form.errors:
            for number, embed in enumerate(body.get("embeds") or []):
                if any("" in (item.get("name"), item.get("value")) for item in embed.get("fields") or []):
                    form.bad(("embeds", number, "fields"), "BASE_TYPE_REQUIRED", "This field is required")
        for text in form.notes:
            self.note(call.request, text)
        if form.errors:
            raise Refused(400, 50035, "Invalid Form Body", {under: form.errors} if under else form.errors)
        shown = body
        if body.get("attachments"):  # the number of a file is no text, whatever the schema says
            shown = body | {"attachments": [item | {"id": str(item["id"])} for item in body["attachments"]]}
        for text in schema_errors(_SCHEMAS[kind], shown):
            self.note(call.request, f"the published schema of {_SCHEMAS[kind]} disagrees: {text}")
        if kind.startswith("webhook"):
            body.pop("components", None)
        return body

    def _parse(self, call: Call) -> JSON:
        kind = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/x-www-form-urlencoded":
            return dict(urllib.parse.parse_qsl(call.request.body.decode("utf-8", "replace")))
        if kind == "multipart/form-data":
            return self._parse_form(call)
        if kind != "application/json":
            if call.handler.startswith("hook") and self.untyped_code == 50006:
                raise Refused(400, 50006, "Cannot send an empty message")
            wanted = "{'multipart/form-data', 'application/x-www-form-urlencoded', 'application/json'}"
            text = f'Expected "Content-Type" header to be one of {wanted}.'
            raise _invalid("", "CONTENT_TYPE_INVALID", text)
        return self._object(call.request.body)

    @staticmethod
    def _object(data: bytes) -> JSON:
        try:
            body = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        except ValueError:
            raise Refused(400, 50109, "The request body contains invalid JSON.") from None
        if not isinstance(body, dict):
            raise _invalid("", "MODEL_TYPE_CONVERT", "Expected an object/dictionary.")
        return body

    def _parse_form(self, call: Call) -> JSON:
        """A form: payload_json, and files by their numbers, which ``attachments`` may describe."""
        parts, problem = form_parts(call.request)
        if problem:
            self.note(call.request, problem)
            raise _invalid("", "CONTENT_TYPE_INVALID", "The form could not be read.")
        body = self._object(parts["payload_json"][0]) if "payload_json" in parts else {}
        for name, (data, file, kind) in parts.items():
            if re.fullmatch(r"files\[(0|[1-9][0-9]*)\]", name) and file:
                call.files.append(File(file, data, kind))
            elif name != "payload_json":
                self.note(call.request, f"part {name!r} of the form is neither payload_json nor a file")
        if len(call.files) > 10:
            raise Refused(400, 30015, "Maximum number of attachments in a message reached (10)")
        if sum(len(item.data) for item in call.files) > 10 << 20:
            raise Refused(413, 40005, "Request entity too large")
        given = {name[6:-1] for name in parts if name.startswith("files[")}
        for item in body.get("attachments") or []:
            number = str(item.get("id")) if isinstance(item, dict) else ""
            if len(number) < 3 and number not in given:
                self.note(call.request, f"attachments name a file {number!r} that is not there")
        return body

    def _thread(self, call: Call, hook: Webhook) -> Channel | None:
        wanted = call.request.query.get("thread_id")
        if wanted is None:
            return None
        if not wanted.isdecimal():
            raise _invalid("thread_id", "NUMBER_TYPE_COERCE", f'Value "{wanted}" is not snowflake.')
        thread = self.channels.get(wanted)
        if thread is None or thread.parent_id != hook.channel_id:
            raise Refused(400, 10003, "Unknown Channel")
        return thread

    @staticmethod
    def _not_empty(body: JSON) -> None:
        carriers = ("content", "components", "poll", "attachments", "sticker_ids")
        if not any(body.get(key) for key in carriers) and not stored_embeds(body.get("embeds")):
            raise Refused(400, 50006, "Cannot send an empty message")

    # ---- (j) to (l)

    @staticmethod
    def _mentioned(content: str, allowed: JSON | None, everything: bool) -> Mentions:
        kinds = ["users", "roles", "everyone"] if everything else ["users"]
        rules: JSON = {"parse": kinds} if allowed is None else allowed
        parse = rules.get("parse") or []

        def pick(kind: str, pattern: str) -> list[str]:
            found = dict.fromkeys(re.findall(pattern, content))
            return [item for item in found if kind in parse or item in (rules.get(kind) or [])]

        loud = "everyone" in parse and re.search(r"@(everyone|here)\b", content) is not None
        return pick("users", r"<@!?(\d+)>"), pick("roles", r"<@&(\d+)>"), loud

    def _store(self, body: JSON, place: str, author: JSON, message_id: str,
               hook: Webhook | None = None, **marks: Any) -> Message:
        content, embeds = _clean(body.get("content") or ""), _clean(stored_embeds(body.get("embeds")))
        message = Message(message_id, place, content, embeds, author, self.clock(), self.wall(), body,
                          **({"webhook_id": hook.id} if hook else {"nonce": body.get("nonce")}), **marks)
        message.components = _clean(stored_components(body.get("components")))
        message.mentions = self._mentioned(content, body.get("allowed_mentions"), hook is None)
        self.stored.append(message)
        if self.on_store:
            self.on_store(message)
        return message

    def _do_hook_get(self, call: Call) -> Answer:
        return Answer(200, self._hook(call).as_json())

    def _do_hook_post(self, call: Call) -> Answer:
        hook = self._hook(call)
        place = self.channels[hook.channel_id]
        thread, wait = self._thread(call, hook), self._truth(call, "wait")
        body = self._body(call, "webhook")
        self._not_empty(body | {"attachments": call.files})
        message_id, forum = self._snowflake(), place.type in (FORUM, MEDIA)
        self._forum_rules(forum, thread, body.get("thread_name"))
        if forum and thread is None:  # a forum's new thread has the id of its first message
            thread = Channel(message_id, place.guild_id, body["thread_name"], THREAD, place.id)
            self.channels[thread.id] = thread
        if thread is not None:
            thread.archived = False
        author = _user(hook.id, body.get("username") or hook.name, True)
        message = self._store(body, thread.id if thread else place.id, author, message_id, hook, files=call.files)
        return Answer(200, message.as_json()) if wait else Answer(204)

    @staticmethod
    def _forum_rules(forum: bool, thread: Channel | None, name: str | None) -> None:
        start = "Webhooks posted to forum channels"
        if forum and thread is None and not name:
            raise Refused(400, 220001, f"{start} must have a thread_name or thread_id")
        if forum and thread is not None and name:
            raise Refused(400, 220002, f"{start} cannot have both a thread_name and thread_id")
        if not forum and name:
            raise Refused(400, 220003, "Webhooks can only create threads in forum channels")
        if thread is not None and thread.locked:
            raise Refused(400, 160005, "This thread is locked")

    @staticmethod
    def _truth(call: Call, name: str) -> bool:
        value = call.request.query.get(name, "false")
        if value not in ("True", "true", "1", "False", "false", "0"):
            raise _invalid(name, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
        return value in ("True", "true", "1")

    def _hook_own(self, call: Call) -> Message:
        hook = self._hook(call)
        thread = self._thread(call, hook)
        return self._message(call.ids[2], thread.id if thread else hook.channel_id, hook.id)

    def _do_hook_message(self, call: Call) -> Answer:
        return Answer(200, self._hook_own(call).as_json())

    def _do_hook_edit(self, call: Call) -> Answer:
        return self._change_message(call, self._hook_own(call), "webhook_edit")

    def _do_hook_delete(self, call: Call) -> Answer:
        self._hook_own(call).deleted = True
        return Answer(204)

    def _change_message(self, call: Call, message: Message, kind: str) -> Answer:
        body = self._body(call, kind)
        place = self.channels.get(message.channel_id)
        if place is not None and place.archived:
            raise Refused(400, 50083, "Tried to perform an operation on an archived thread")
        self._rewrite(message, body, call.files, kind != "webhook_edit")
        return Answer(200, message.as_json())

    def _rewrite(self, message: Message, body: JSON, files: list[File], everything: bool) -> None:
        """Changes what the body names, and keeps how it was."""
        before = {"content": message.content, "embeds": message.embeds, "components": message.components}
        after = {"content": _clean(body.get("content", message.content) or ""),
                 "embeds": _clean(stored_embeds(body.get("embeds", message.embeds))),
                 "components": _clean(stored_components(body.get("components", message.components)))}
        kept = message.files
        if body.get("attachments") is not None:  # those that are not named go
            named = {str(item["id"]) for item in body["attachments"]}
            kept = [item for item, shown in zip(kept, message.as_json()["attachments"], strict=True)
                    if shown["id"] in named]
        self._not_empty(body | after | {"attachments": kept + files})
        message.content, message.embeds, message.components = after["content"], after["embeds"], after["components"]
        message.files, message.loading = kept + files, False
        message.mentions = self._mentioned(message.content, body.get("allowed_mentions"), everything)
        message.payload = message.payload | body
        message.history.append(Edit(self.clock(), message.id, before, after))
        self.edits.append(message.history[-1])

    def _do_me(self, call: Call) -> Answer:
        assert call.bot is not None
        return Answer(200, _user(call.bot.id, "sentinel-bot", True))

    def _do_channel(self, call: Call) -> Answer:
        return Answer(200, self._place(call)[1].as_json())

    def _do_typing(self, call: Call) -> Answer:
        self._place(call, SEND)
        return Answer(204)

    def _do_create(self, call: Call) -> Answer:
        bot, place = self._place(call, SEND)
        body = self._body(call, "bot")
        self._not_empty(body | {"attachments": call.files})
        reference = body.get("message_reference") or {}
        wanted = reference.get("message_id") if reference.get("fail_if_not_exists") is not False else None
        if wanted and not any(item.id == str(wanted) and not item.deleted for item in self.stored):
            raise _invalid("message_reference", "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "Unknown message")
        if place.type in (FORUM, MEDIA):
            raise Refused(400, 40058, "Cannot execute action on this channel type")
        if place.type == CATEGORY:
            raise Refused(400, 50008, "Cannot send messages in a non-text channel")
        if place.locked or place.archived:
            raise Refused(400, 160005 if place.locked else 50083, "This thread is locked or archived")
        earlier = self._repeated(bot, place, body)
        if earlier is not None and earlier.deleted:
            raise Refused(404, 10008, "Unknown Message")
        author = _user(bot.id, "sentinel-bot", True)
        made = earlier or self._store(body, place.id, author, self._snowflake(), files=call.files)
        return Answer(200, made.as_json())

    def _repeated(self, bot: Bot, place: Channel, body: JSON) -> Message | None:
        """The earlier message of the same nonce, if the client asked for that to be enforced."""
        nonce, rule = body.get("nonce"), self.limits["nonce"]
        if body.get("enforce_nonce") is not True or nonce in (None, "") or rule is None:
            return None
        fits = [item for item in self.stored if item.author["id"] == bot.id and item.channel_id == place.id
                and item.nonce == nonce and self.clock() - item.time < rule[1]]
        return fits[-1] if fits else None

    def _do_read(self, call: Call) -> Answer:
        bot, place = self._place(call)
        query = call.request.query
        limit = query.get("limit", "50")
        anchors: list[str] = [key for key in ("around", "before", "after") if key in query]
        if not limit.isdecimal() or not 1 <= int(limit) <= 100:
            raise _invalid("limit", "NUMBER_TYPE_MAX", "int value should be between 1 and 100.")
        if len(anchors) > 1 or any(not query[key].isdecimal() for key in anchors):
            raise _invalid(anchors[-1], "NUMBER_TYPE_COERCE", "One snowflake of these three is taken.")
        found = [item for item in self.stored
                 if item.channel_id == place.id and not item.deleted and not item.ephemeral]
        found = found if self._may(bot, place.id, HISTORY) else []
        newest = _around(sorted(found, key=lambda item: int(item.id)), query, anchors, int(limit))
        return Answer(200, [self._seen(bot, item) for item in newest])

    @staticmethod
    def _seen(bot: Bot, message: Message) -> JSON:
        """Foreign content is hidden from a bot without the intent, unless the message mentions it."""
        shown = message.as_json()
        if bot.message_content or message.author["id"] == bot.id or bot.id in message.mentions[0]:
            return shown
        return shown | {"content": "", "embeds": [], "attachments": [], "components": []}

    def _do_message(self, call: Call) -> Answer:
        bot, place = self._place(call, HISTORY)
        return Answer(200, self._seen(bot, self._message(call.ids[1], place.id)))

    def _do_edit(self, call: Call) -> Answer:
        bot, place = self._place(call)
        message = self._message(call.ids[1], place.id)
        if message.author["id"] != bot.id:
            raise Refused(403, 50005, "Cannot edit a message authored by another user")
        return self._change_message(call, message, "bot_edit")

    def _do_delete(self, call: Call) -> Answer:
        bot, place = self._place(call)
        message = self._message(call.ids[1], place.id)
        if message.author["id"] != bot.id:
            raise Refused(403, 50013, "Missing Permissions")
        message.deleted = True
        return Answer(204)

    def _guild(self, call: Call) -> tuple[str, list[Channel]]:
        assert call.bot is not None
        if call.ids[0] != call.bot.guild_id:
            raise Refused(404, 10004, "Unknown Guild")
        mine = [item for item in self.channels.values() if item.guild_id == call.ids[0]]
        return call.ids[0], [item for item in mine if item.type != THREAD]

    def _do_channels(self, call: Call) -> Answer:
        return Answer(200, [item.as_json() for item in self._guild(call)[1]])

    def _do_guild_create(self, call: Call) -> Answer:
        assert call.bot is not None
        guild, there = self._guild(call)
        if not self._may(call.bot, "*", MANAGE_CHANNELS):
            raise Refused(403, 50013, "Missing Permissions")
        body = self._body(call, "channel")
        parent, kind = body.get("parent_id"), body.get("type") or TEXT
        if parent is not None and not any(item.id == str(parent) and item.type == CATEGORY for item in there):
            raise _invalid("parent_id", "CHANNEL_PARENT_INVALID", "Category does not exist")
        if len(there) >= 500:
            raise Refused(400, 30013, "Maximum number of guild channels reached (500)")
        name = re.sub(r"\s+", "-", body["name"].lower()) if kind in (TEXT, 5, FORUM) else body["name"]
        channel = self.add_channel(name, kind, guild, parent)
        channel.topic = body.get("topic")
        return Answer(201, channel.as_json())


def form_parts(request: Request) -> tuple[dict[str, tuple[bytes, str, str]], str]:
    """The parts of a form by name (content, file name, type), and what is wrong with it; none if it is no form."""
    kind, _, rest = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != "multipart/form-data":
        return {}, ""
    found = re.search(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', rest)
    if not found:
        return {}, "a form without a boundary"
    mark = b"--" + (found[1] or found[2]).encode()
    first, *parts = (b"\r\n" + request.body).split(b"\r\n" + mark)
    if first or not parts or parts[-1].rstrip(b"\r\n") != b"--":
        return {}, "a form without its first or last boundary"
    read: dict[str, tuple[bytes, str, str]] = {}
    for part in parts[:-1]:
        head, gap, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        heads = {name.strip().lower(): value.strip()
                 for name, _, value in (line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n"))}
        shown = heads.get("content-disposition", "")
        name, file = re.search(r'[; ]name="([^"]*)"', shown), re.search(r'filename="([^"]*)"', shown)
        if not part.startswith(b"\r\n") or not gap or not shown.startswith("form-data") or not name:
            return {}, "a part of a form that is not well formed"
        if name[1] in read:
            return {}, f"two parts of a form have the name {name[1]!r}"
        kind = heads.get("content-type", "application/octet-stream")
        read[name[1]] = data, urllib.parse.unquote(file[1]) if file else "", kind
    return read, ""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _clean(value: Any) -> Any:
    """Lone surrogates do not survive storing."""
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "", value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return {key: _clean(item) for key, item in value.items()} if isinstance(value, dict) else value


def _around(ordered: list[Message], query: dict[str, str], anchors: list[str], limit: int) -> list[Message]:
    """The page of messages a query asks for, newest first."""
    if not anchors:
        return ordered[::-1][:limit]
    at = int(query[anchors[0]])
    newer, older = [m for m in ordered if int(m.id) > at], [m for m in ordered if int(m.id) < at]
    if anchors[0] == "after":
        return newer[:limit][::-1]
    if anchors[0] == "before":
        return older[::-1][:limit]
    same = [m for m in ordered if int(m.id) == at]
    half = limit // 2
    return (older[max(0, len(older) - half):] + same + newer[:half])[::-1][:limit]


# -------------------------------------------------------------------------------------------------- the wire


class _Gone(Exception):
    """The connection ended, or is to be ended."""


class _Wire:
    """One connection, read and written by hand so that it can be spoilt."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.buffer = sock, b""

    def more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise _Gone
        self.buffer += data

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if len(self.buffer) > 1 << 20:
                raise _Gone
            self.more()
        head, _, self.buffer = self.buffer.partition(mark)
        return head

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self.more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def head(self, now: Callable[[], float]) -> Request:
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, target, _ = (first + "  ").split(" ", 2)
        path, _, query = target.partition("?")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return Request(now(), method, path, dict(urllib.parse.parse_qsl(query, True)), headers)

    def body(self, headers: dict[str, str]) -> bytes:
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" not in headers.get("transfer-encoding", ""):
            return self.exactly(int(headers.get("content-length") or 0))
        data = b""
        while size := int(self.until(b"\r\n").partition(b";")[0], 16):
            data += self.exactly(size + 2)[:-2]
        self.until(b"\r\n")
        return data

    def reset(self) -> None:
        """Closes so that the other side sees a reset instead of an orderly end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Gone

    def left(self) -> bool:
        """Whether the other side closed its end (not to be seen through TLS)."""
        if isinstance(self.sock, ssl.SSLSocket):
            return False
        ready = select.select([self.sock], [], [], 0)[0]
        return bool(ready) and self.sock.recv(1, socket.MSG_PEEK) == b""


class _Server:
    """Accepts connections, a thread each, and plays the faults that need the bare socket."""

    def __init__(self, fake: FakeDiscord, port: int, tls: ssl.SSLContext | None) -> None:
        self.fake, self.tls = fake, tls
        self.stopping, self.lock = threading.Event(), threading.Lock()
        self.open: set[socket.socket] = set()
        self.threads: list[threading.Thread] = []
        self.listening = False
        self.listener = self._bind(port)
        self.port: int = self.listener.getsockname()[1]

    @staticmethod
    def _bind(port: int) -> socket.socket:
        """Bound but not yet listening: the port is ours, and connections to it are refused."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        return sock

    def listen(self) -> None:
        if not self.listening:
            self.listening = True
            self.listener.listen(128)
            self._spawn(self._accept, self.listener)

    def close(self, rebind: bool = True) -> None:
        self.listening = False
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        self.listener.close()
        with self.lock:
            for sock in self.open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        if rebind:
            self.listener = self._bind(self.port)

    def stop(self) -> None:
        self.stopping.set()
        self.close(rebind=False)
        for thread in self.threads:
            thread.join(1)

    def _spawn(self, work: Callable[[socket.socket], None], sock: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(sock,), daemon=True)
        with self.lock:
            self.threads = [item for item in self.threads if item.is_alive()]
            thread.start()
            self.threads.append(thread)

    def _accept(self, listener: socket.socket) -> None:
        while self.listening:
            try:
                sock = listener.accept()[0]
            except OSError:
                return
            with self.lock:
                self.open.add(sock)
            if self.listening:
                self._spawn(self._talk, sock)
            else:
                sock.close()

    def _talk(self, raw: socket.socket) -> None:
        sock = raw
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                sock = self.tls.wrap_socket(raw, server_side=True)
                with self.lock:
                    self.open = self.open - {raw} | {sock}
            wire = _Wire(sock)
            while self._exchange(wire):
                pass
        except (_Gone, OSError):
            pass
        except Exception as error:  # a client's test has to notice
            self.fake.lint.append(f"the fake could not handle a request: {error!r}")
        finally:
            with self.lock:
                self.open.discard(sock)
            sock.close()

    def _exchange(self, wire: _Wire) -> bool:
        """One request and its answer; whether the connection lives on."""
        request = wire.head(self.fake.clock)
        request.peer = "{}:{}".format(*wire.sock.getpeername())
        fault = self.fake.arrive(request)
        if fault is not None and fault.kind == "reset_before":
            wire.reset()
        request.body = wire.body(request.headers)
        self.fake.read_body(request)
        return self._send(wire, request, self._outcome(wire, request, fault), fault)

    def _outcome(self, wire: _Wire, request: Request, fault: Fault | None) -> Answer:
        if fault is None or (fault.kind in _SPOILS and fault.kind != "hang"):
            return self.fake.settle(request)
        seconds = float(fault.details.get("seconds", 30.0))
        release = fault.details.get("until") or self.stopping
        if fault.kind == "hang" and not fault.after_storing:
            release.wait(seconds)
            if self.stopping.is_set() or wire.left():
                raise _Gone
        answer = self.fake.settle(request) if fault.kind == "hang" or fault.after_storing else None
        if fault.kind == "hang" and fault.after_storing:
            release.wait(seconds)
        if fault.kind in ("reset_after", "close"):
            request.status = None
            if fault.kind == "reset_after":
                wire.reset()
            raise _Gone
        return answer if answer and fault.kind == "hang" else self.fake.instead(request, fault)

    def _send(self, wire: _Wire, request: Request, answer: Answer, fault: Fault | None) -> bool:
        kind, details = (fault.kind, fault.details) if fault else ("", {})
        head, body = self._bytes(request, answer, kind, details)
        if kind == "reset_halfway":
            wire.sock.sendall(head + body[: len(body) // 2] if body else head[: len(head) // 2])
            wire.reset()
        if kind == "drip":
            for byte in head + body:
                wire.sock.sendall(bytes([byte]))
                if self.stopping.wait(float(details.get("interval", 1.0))):
                    raise _Gone
        else:
            wire.sock.sendall(head + body)
        ended = kind in ("wrong_length", "close_keepalive") or request.headers.get("connection") == "close"
        return not ended

    def _bytes(self, request: Request, answer: Answer, kind: str, details: JSON) -> tuple[bytes, bytes]:
        body = answer.body if isinstance(answer.body, bytes) else b""
        if answer.body is not None and not isinstance(answer.body, bytes):
            body = json.dumps(answer.body).encode()
        body = body[: len(body) // 2] if kind == "cut_json" else body
        heads = self.fake.heads(answer)
        if kind == "gzip" and body and "gzip" in request.headers.get("accept-encoding", ""):
            body, heads["Content-Encoding"] = gzip.compress(body), "gzip"
        if answer.status == 204:
            body = b""
        elif kind == "chunked":
            heads["Transfer-Encoding"] = "chunked"
            parts = [body[at: at + 7] for at in range(0, len(body), 7)] + [b""]
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        else:
            extra = int(details.get("delta", 10)) if kind == "wrong_length" else 0
            heads["Content-Length"] = str(len(body) + extra)
        lines = [f"{self.fake.header_case(name)}: {value}" for name, value in heads.items()]
        return "\r\n".join([f"HTTP/1.1 {answer.status} Status", *lines, "", ""]).encode("latin-1"), body


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake Discord to try Sentinel against; Ctrl-C ends it.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    fake = FakeDiscord(port=parser.parse_args().port)

    def show(message: Message) -> None:
        text = message.text.replace("\n", " | ")
        print(f"[{_iso(message.wall)[11:19]}] {message.author['username']}: {text}", flush=True)

    fake.on_store = show
    with fake, contextlib.suppress(KeyboardInterrupt):
        print(fake.add_webhook().url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":  # as part of its package: the gateway's half needs this module by its name
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    importlib.import_module("support.fake_discord").main()
