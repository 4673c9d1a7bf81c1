"""The fake Discord itself: what it refuses, what it must take, its limits, faults and answers."""

from __future__ import annotations

import http.client
import importlib.util
import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from support.fake_discord import (
    CATEGORY,
    FORUM,
    HISTORY,
    SEND,
    THREAD,
    VIEW,
    FakeDiscord,
    Webhook,
    check_message,
    schema_errors,
    trimmed,
)

AGENT = "DiscordBot (https://example.org, 1.0)"
HAVE_SCHEMA = importlib.util.find_spec("jsonschema") is not None
needs_schema = pytest.mark.skipif(not HAVE_SCHEMA, reason="jsonschema is not installed")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Reply(NamedTuple):
    status: int
    json: Any
    headers: http.client.HTTPMessage
    body: bytes


class World:
    """A fake on a clock that stands still, one webhook, one bot, and a client that keeps its connection."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.fake = FakeDiscord(clock=self.clock, wall=lambda: 1.8e9 + self.clock.now).start()
        self.hook = self.fake.add_webhook()
        self.bot = self.fake.add_bot("bot-token")
        self.line: http.client.HTTPConnection | None = None

    def hang_up(self) -> None:
        if self.line is not None:
            self.line.close()
        self.line = None

    def close(self) -> None:
        self.hang_up()
        self.fake.stop()

    def free(self) -> None:
        """Switches the counting of requests off."""
        self.fake.limits = {key: None if key != "nonce" else rule for key, rule in self.fake.limits.items()}

    def call(self, method: str, path: str, body: Any = None, **headers: str | None) -> Reply:
        heads = {"User-Agent": AGENT, "Content-Type": "application/json"}
        heads |= {key.replace("_", "-"): value for key, value in headers.items() if value is not None}
        dropped = {key.replace("_", "-") for key, value in headers.items() if value is None}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if self.line is None:
            self.line = http.client.HTTPConnection(self.fake.url.removeprefix("http://"), timeout=5)
        try:
            self.line.putrequest(method, path, skip_accept_encoding=True)
            for name in heads.keys() - dropped:
                self.line.putheader(name, heads[name])
            if data is not None:
                self.line.putheader("Content-Length", str(len(data)))
            self.line.endheaders(data)
            answer = self.line.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException):
            self.hang_up()
            raise
        read = json.loads(raw) if raw[:1] in (b"{", b"[") else None
        return Reply(answer.status, read, answer.headers, raw)

    def post(
        self, body: Any, query: str = "?wait=true", hook: Webhook | None = None, **headers: Any
    ) -> Reply:
        return self.call("POST", self.path(hook) + query, body, **headers)

    def path(self, hook: Webhook | None = None) -> str:
        return (hook or self.hook).url.removeprefix(self.fake.url).replace("/api/", "/api/v10/")

    def api(self, method: str, path: str, body: Any = None, **headers: Any) -> Reply:
        return self.call(method, "/api/v10" + path, body, **({"Authorization": "Bot bot-token"} | headers))

    def messages_path(self) -> str:
        return f"/channels/{self.hook.channel_id}/messages"


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """One world without limits, for tests that leave nothing behind that others would see."""
    world = World()
    world.free()
    yield world
    world.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def codes(tree: Any, at: str = "") -> set[tuple[str, str]]:
    found = {(at, item["code"]) for item in tree.get("_errors", [])}
    for key, node in tree.items():
        if key != "_errors":
            found |= codes(node, f"{at}.{key}".strip("."))
    return found


def embed(**parts: Any) -> dict[str, Any]:
    return {"embeds": [{"description": "d"} | parts]}


def field(**parts: Any) -> dict[str, Any]:
    return embed(fields=[{"name": "n", "value": "v"} | parts])


BOUNDS: list[tuple[str, int, Any]] = [
    ("content", 2000, lambda n: {"content": "x" * n}),
    ("username", 80, lambda n: {"content": "x", "username": "u" * n}),
    ("embeds", 10, lambda n: {"embeds": [{"title": "t"}] * n}),
    ("embeds.0.title", 256, lambda n: embed(title="🦊" * n)),
    ("embeds.0.description", 4096, lambda n: embed(description="ä" * n)),
    ("embeds.0.footer.text", 2048, lambda n: embed(footer={"text": "x" * n})),
    ("embeds.0.author.name", 256, lambda n: embed(author={"name": "x" * n})),
    ("embeds.0.fields", 25, lambda n: embed(fields=[{"name": "n", "value": "v"}] * n)),
    ("embeds.0.fields.0.name", 256, lambda n: field(name="x" * n)),
    ("embeds.0.fields.0.value", 1024, lambda n: field(value="x" * n)),
    ("embeds.0.url", 2048, lambda n: embed(url="https://example.org/".ljust(n, "x"))),
    ("embeds.0.color", 16777215, lambda n: embed(color=n)),
    (
        "allowed_mentions.users",
        100,
        lambda n: {"content": "x", "allowed_mentions": {"users": [str(i) for i in range(n)]}},
    ),
]


@pytest.mark.parametrize(("where", "limit", "make"), BOUNDS, ids=[item[0] for item in BOUNDS])
def test_bounds(shared: World, where: str, limit: int, make: Any) -> None:
    assert shared.post(make(limit - 1)).status == 200
    assert shared.post(make(limit)).status == 200
    over = shared.post(make(limit + 1))
    code = {"username": "BASE_TYPE_BAD_LENGTH", "embeds.0.color": "NUMBER_TYPE_MAX"}
    assert (over.status, over.json["code"], over.json["message"]) == (400, 50035, "Invalid Form Body")
    assert codes(over.json["errors"]) == {(where, code.get(where, "BASE_TYPE_MAX_LENGTH"))}
    assert str(limit) in json.dumps(over.json["errors"])


@pytest.mark.parametrize(("last", "status"), [(903, 200), (904, 200), (905, 400)])
def test_sum_over_all_embeds(shared: World, last: int, status: int) -> None:
    first = {"title": "t" * 256, "description": "d" * 4096, "author": {"name": "a" * 200}}
    second = {"footer": {"text": "f" * 500}, "fields": [{"name": "n" * 44, "value": " " + "v" * last + " "}]}
    answer = shared.post({"embeds": [first, second]})
    assert answer.status == status
    if status == 400:
        assert codes(answer.json["errors"]) == {("embeds", "MAX_EMBED_SIZE_EXCEEDED")}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"embeds": [{}]}, "embeds.0", "LIST_ITEM_VALUE_REQUIRED"),
    ({"embeds": ["x"]}, "embeds.0", "MODEL_TYPE_CONVERT"),
    ({"embeds": {}}, "embeds", "LIST_TYPE_CONVERT"),
    ({"content": {}}, "content", "STRING_TYPE_CONVERT"),
    (embed(fields=[{"value": "v"}]), "embeds.0.fields.0.name", "BASE_TYPE_REQUIRED"),
    (field(value=None), "embeds.0.fields.0.value", "BASE_TYPE_REQUIRED"),
    (field(inline="yes"), "embeds.0.fields.0.inline", "BOOLEAN_TYPE_CONVERT"),
    (embed(color="red"), "embeds.0.color", "NUMBER_TYPE_COERCE"),
    (embed(color=-1), "embeds.0.color", "NUMBER_TYPE_MIN"),
    (embed(timestamp="yesterday"), "embeds.0.timestamp", "DATE_TIME_TYPE_PARSE"),
    (embed(url="ftp://example.org"), "embeds.0.url", "URL_TYPE_INVALID_SCHEME"),
    (embed(url="http://localhost:8080/x"), "embeds.0.url", "URL_TYPE_INVALID_URL"),
    (embed(url="http://a..b/"), "embeds.0.url", "URL_TYPE_INVALID_URL"),
    (embed(image={"url": "https://" + "x" * 64 + ".org"}), "embeds.0.image.url", "URL_TYPE_INVALID_URL"),
    (
        embed(author={"name": "a", "icon_url": "https://a b.org"}),
        "embeds.0.author.icon_url",
        "URL_TYPE_INVALID_URL",
    ),
    ({"content": "x", "username": "My DisCord"}, "username", "USERNAME_INVALID_CONTAINS"),
    ({"content": "x", "username": "clyde2"}, "username", "USERNAME_INVALID_CONTAINS"),
    ({"content": "x", "username": "here"}, "username", "USERNAME_INVALID"),
    ({"content": "x", "username": "  "}, "username", "BASE_TYPE_BAD_LENGTH"),
    ({"content": "x", "tts": "no"}, "tts", "BOOLEAN_TYPE_CONVERT"),
    ({"content": "x", "thread_name": "t" * 101}, "thread_name", "BASE_TYPE_MAX_LENGTH"),
    ({"content": "x", "flags": "loud"}, "flags", "NUMBER_TYPE_COERCE"),
    ({"content": "x", "flags": 32768}, "content", "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2"),
    (
        {"content": "x", "allowed_mentions": {"parse": ["all"]}},
        "allowed_mentions.parse.0",
        "BASE_TYPE_CHOICES",
    ),
    (
        {"content": "x", "allowed_mentions": {"users": ["me"]}},
        "allowed_mentions.users.0",
        "NUMBER_TYPE_COERCE",
    ),
    (
        {"content": "x", "allowed_mentions": {"roles": ["1", "1"]}},
        "allowed_mentions.roles.1",
        "SET_TYPE_ALREADY_CONTAINS_VALUE",
    ),
    (
        {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
        "allowed_mentions",
        "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
    ),
]


@pytest.mark.parametrize(("body", "where", "code"), REFUSED, ids=[f"{item[1]}-{item[2]}" for item in REFUSED])
def test_refused(shared: World, body: dict[str, Any], where: str, code: str) -> None:
    before = len(shared.fake.messages)
    answer = shared.post(body)
    assert (answer.status, answer.json["code"], codes(answer.json["errors"])) == (400, 50035, {(where, code)})
    assert len(shared.fake.messages) == before


def test_all_errors_are_told_together(shared: World) -> None:
    body = {"content": "x" * 2001, "username": "discord", **embed(title="t" * 257, color="x")}
    assert {where for where, _ in codes(shared.post(body).json["errors"])} == {
        "content",
        "username",
        "embeds.0.title",
        "embeds.0.color",
    }


ACCEPTED: list[tuple[dict[str, Any], str]] = [
    ({"content": "x", "colour": 1}, "does not exist"),
    ({"content": "x", "wait": True}, "'wait' does not exist"),
    ({"content": "x", "allow_mentions": {}}, "'allow_mentions' does not exist"),
    ({"content": "x", "nonce": "1"}, "'nonce' does not exist"),
    (embed(color="255"), "not written as a JSON integer"),
    (embed(color=3.6), "not written as a JSON integer"),
    (embed(timestamp="2026-01-01T00:00:00"), "without zone"),
    (embed(colour=3), "unknown key 'colour' at embeds.0"),
    ({"content": "x", "flags": 64}, "no effect"),
    ({"content": "broken \ud800 text"}, "surrogate"),
    (
        {
            "content": "x",
            "embeds": [],
            "username": None,
            "tts": None,
            "allowed_mentions": None,
            "flags": None,
        },
        "",
    ),
    ({"content": "🦊" * 2000}, ""),
    ({"content": " " * 50 + "x" * 2000 + "\n" * 50}, ""),
    ({"content": "x", **embed(description="   ", title="t")}, ""),
    ({"embeds": [{"title": "a", "url": "https://example.org"}] * 2}, ""),
    (field(name="", value=""), ""),
    ({"content": "x", "allowed_mentions": {"parse": ["users"], "users": []}}, ""),
    ({"content": "x", "flags": 4 | 4096}, ""),
    (embed(image={"url": "attachment://a.png"}, timestamp="2026-01-01T00:00:00Z", color=0), ""),
]


@pytest.mark.parametrize(("body", "complaint"), ACCEPTED)
def test_accepted(shared: World, body: dict[str, Any], complaint: str) -> None:
    shared.fake.lint.clear()
    answer = shared.post(body)
    assert answer.status == 200 and schema_errors("MessageResponse", answer.json) == []
    complaints = [item for item in shared.fake.lint if "published schema" not in item]
    assert len(complaints) == bool(complaint) and complaint in "".join(complaints)


def test_empty_fields_of_old(shared: World) -> None:
    shared.fake.refuse_empty_fields = True
    assert shared.post(field(name="")).status == 400
    shared.fake.refuse_empty_fields = False


@pytest.mark.parametrize("body", [{}, {"content": " "}, {"embeds": []}, {"embeds": [{"description": ""}]}])
def test_nothing_to_send(shared: World, body: dict[str, Any]) -> None:
    assert shared.post(body).json == {"message": "Cannot send an empty message", "code": 50006}


def test_bodies_that_cannot_be_read(shared: World) -> None:
    assert shared.post(b"{").json["code"] == 50109
    assert shared.post(b'{"content": NaN}').json["code"] == 50109
    assert shared.post(b'{"content": "\xff"}').json["code"] == 50109
    assert shared.post({"content": "x"}, Content_Type=None).json["code"] == 50006
    assert (
        shared.api("POST", shared.messages_path(), {"content": "x"}, Content_Type="a/b").json["code"] == 50035
    )
    assert codes(shared.post([1]).json["errors"]) == {("", "MODEL_TYPE_CONVERT")}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/api/v5/users/@me", 400, 50041),
        ("GET", "/api/v10/nowhere", 404, 0),
        ("GET", "/other", 404, 0),
        ("POST", "/api/v10/webhooks/1", 405, 0),
        ("PUT", "/api/v10/users/@me", 405, 0),
        ("GET", "/api/v10/webhooks/1/x", 404, 10015),
        ("GET", "/api/v10/webhooks/abc/x", 400, 50035),
        ("GET", "/api/v10/users/@me", 401, 0),
        ("GET", "/api/v9/channels/1", 401, 0),
    ],
)
def test_routes(shared: World, method: str, path: str, status: int, code: int) -> None:
    answer = shared.call(method, path)
    assert (answer.status, answer.json["code"]) == (status, code) and answer.headers["Via"]


@pytest.mark.parametrize(
    ("agent", "status"),
    [("Python-urllib/3.11", 403), ("Java/1.8", 403), (None, 403), ("Mozilla/5.0", 200), ("curl/8", 200)],
)
def test_edge_rules(shared: World, agent: str | None, status: int) -> None:
    answer = shared.post({"content": "x"}, User_Agent=agent)
    assert answer.status == status
    if status == 403:
        assert answer.body == b"error code: 1010" and answer.headers["Via"] is None
    assert any("User-Agent" in item for item in shared.fake.lint)


def test_webhook_life(world: World) -> None:
    world.free()
    got = world.call("GET", world.path())
    assert got.json["channel_id"] == world.hook.channel_id
    assert schema_errors("GuildIncomingWebhookResponse", got.json) == []
    silent = world.post({"content": "one"}, "")
    assert (silent.status, silent.body) == (204, b"")
    body = {"content": "<@5> @everyone", "username": "web", "allowed_mentions": {"parse": ["users"]}}
    made = world.post(body).json
    assert [made["author"]["username"], made["mentions"][0]["id"], made["mention_everyone"]] == [
        "web",
        "5",
        False,
    ]
    where = f"{world.path()}/messages/{made['id']}"
    changed = world.call("PATCH", where, embed(title="two"))
    assert changed.status == 200 and schema_errors("MessageResponse", changed.json) == []
    assert changed.json["edited_timestamp"] and world.fake.edits[0].message_id == made["id"]
    assert world.fake.messages[1].text.endswith("two\nd")
    assert world.call("PATCH", where, {"content": "", "embeds": None}).json["code"] == 50006
    assert world.call("GET", where).status == 200 and world.call("DELETE", where).status == 204
    assert world.call("GET", where).json["code"] == 10008
    assert [len(world.fake.messages), world.fake.messages[1].deleted, world.fake.lint] == [2, True, []]
    assert [item.status for item in world.fake.refused] == [400, 404]


def test_queries(shared: World) -> None:
    assert codes(shared.post({"content": "x"}, "?wait=yes").json["errors"]) == {
        ("wait", "BOOLEAN_TYPE_CONVERT")
    }
    assert codes(shared.post({"content": "x"}, "?thread_id=x").json["errors"]) == {
        ("thread_id", "NUMBER_TYPE_COERCE")
    }
    unknown = shared.post({"content": "x"}, "?thread_id=1")
    assert (unknown.status, unknown.json["code"]) == (400, 10003)
    assert shared.post({"content": "x"}, "?wait=True").status == 200


def test_forum_rules(world: World) -> None:
    world.free()
    assert world.post({"content": "x", "thread_name": "t"}).json["code"] == 220003
    world.fake.make_forum(world.hook.channel_id)
    assert world.post({"content": "x"}).json["code"] == 220001
    made = world.post({"content": "x", "thread_name": "t"}).json
    thread = world.fake.channels[made["channel_id"]]
    assert thread.parent_id == world.hook.channel_id and thread.type == THREAD
    query = f"?wait=true&thread_id={thread.id}"
    assert world.post({"content": "x", "thread_name": "t"}, query).json["code"] == 220002
    world.fake.set_thread(thread, archived=True)
    more = world.post({"content": "y"}, query).json
    assert more["channel_id"] == thread.id and not thread.archived
    where = f"{world.path()}/messages/{more['id']}"
    assert world.call("PATCH", where, {"content": "z"}).json["code"] == 10008
    assert world.call("PATCH", where + query, {"content": "z"}).status == 200
    world.fake.set_thread(thread, locked=True)
    assert world.post({"content": "y"}, query).json["code"] == 160005


def test_bucket(world: World) -> None:
    left = []
    for number in range(5):
        answer = world.post({"content": "x" * (2001 if number == 3 else 1)})  # refused ones count too
        left.append(answer.headers["X-RateLimit-Remaining"])
        world.clock.now += 0.1
    assert left == ["4", "3", "2", "1", "0"]
    limited = world.post({"content": "x"})
    assert limited.status == 429
    assert limited.json == {"message": "You are being rate limited.", "retry_after": 1.5, "global": False}
    assert {key: limited.headers[key] for key in limited.headers if key[:1] in "XR"} == {
        "X-RateLimit-Limit": "5",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "1800001002.000",
        "X-RateLimit-Reset-After": "1.500",
        "X-RateLimit-Bucket": "5fb2a7f1c0de",
        "X-RateLimit-Scope": "user",
        "Retry-After": "2",
    }
    other = world.fake.add_webhook()
    assert world.post({"content": "x"}, hook=other).headers["X-RateLimit-Bucket"] == "5fb2a7f1c0de"
    world.clock.now += 1.5
    assert world.post({"content": "x"}).status == 200 and world.fake.lint == []


def test_waits_must_be_kept(world: World) -> None:
    for _ in range(6):
        world.post({"content": "x"})
    world.clock.now += 1.9
    world.post({"content": "x"})
    assert [item for item in world.fake.lint if "inside a wait" in item]


def test_hidden_limit_is_per_channel(world: World) -> None:
    twin = world.fake.add_webhook(world.hook.channel_id)
    world.fake.limits["hook_post"] = None
    world.fake.limits["global"] = None
    assert {
        world.post({"content": "x"}, hook=hook).status for _ in range(15) for hook in (world.hook, twin)
    } == {200}
    world.fake.limits["hook_post"] = (5, 2.0)
    world.clock.now += 20
    world.fake.hidden_wait_short_once = True
    short = world.post({"content": "x"})
    assert short.json == {
        "message": "The resource is being rate limited.",
        "retry_after": 20.0,
        "global": False,
    }
    assert short.headers["X-RateLimit-Scope"] == "shared" and short.headers["X-RateLimit-Remaining"] == "4"
    world.clock.now += 20
    full = world.post({"content": "x"})
    assert (full.status, full.headers["Retry-After"]) == (429, "20")
    world.clock.now += 20
    assert world.post({"content": "x"}).status == 200 and world.fake.lint == []


def test_global_limit_and_code(world: World) -> None:
    world.fake.limits["global"] = (3, 1.0)
    world.fake.limit_code = 20028
    answers = [world.call("GET", world.path()) for _ in range(4)]
    last = answers[-1]
    assert (last.status, last.json["global"], last.json["code"]) == (429, True, 20028)
    assert last.headers["X-RateLimit-Global"] == "true" and last.headers["X-RateLimit-Bucket"] is None


def test_invalid_requests_lead_to_a_block(world: World) -> None:
    world.fake.limits["invalid"] = (3, 600.0)
    for _ in range(3):
        assert world.api("GET", "/users/@me", Authorization="Bot wrong").status == 401
    blocked = world.post({"content": "x"})
    assert (blocked.status, blocked.json["code"], blocked.headers["Via"]) == (429, 0, None)
    assert blocked.headers["Retry-After"] is None and any("dead" in item for item in world.fake.lint)
    world.clock.now += 600
    assert world.post({"content": "x"}).status == 200


def test_dead_webhook(world: World) -> None:
    world.free()
    world.fake.rotate_token(world.hook)
    old = world.path().rpartition("/")[0] + "/old"
    assert world.call("POST", old, {"content": "x"}).json["code"] == 50027
    path, world.fake.hammer_after = world.path(), 2
    world.fake.delete_webhook(world.hook)
    found = [world.call("POST", path, {"content": "x"}) for _ in range(4)]
    assert [item.status for item in found] == [404, 404, 404, 429]
    assert found[0].json == {"message": "Unknown Webhook", "code": 10015}
    assert sum("dead" in item for item in world.fake.lint) == 1
    world.fake.forgive()
    assert world.call("POST", path, {"content": "x"}).status == 404


def test_version_6(world: World) -> None:
    path = world.path().replace("/v10", "")
    assert world.call("POST", path, {"content": "x" * 2001}).json == {
        "content": ["Must be 2000 or fewer in length."]
    }
    assert world.call("POST", path, embed(title="x" * 257)).json == {"embeds": ["0"]}
    assert world.call("POST", path, {"embeds": [{"title": "x"}] * 11}).json == {
        "embeds": ["Must be 10 or fewer in length."]
    }
    assert world.call("POST", path, {}).json["code"] == 50006
    world.call("POST", path, {"content": "x"})
    limited = world.call("POST", path, {"content": "x"})
    assert (limited.json["retry_after"], limited.headers["Retry-After"]) == (2000, "2000")
    world.fake.v6_milliseconds = False
    assert world.call("POST", path, {"content": "x"}).json["retry_after"] == 2.0
    assert any("version" in item for item in world.fake.lint)


def test_bot_messages(world: World) -> None:
    world.free()
    path = world.messages_path()
    assert world.api("GET", "/users/@me").json["id"] == world.bot.id
    made = world.api("POST", path, {"content": "hi", "nonce": "n1", "embeds": [{}]})
    assert made.json["nonce"] == "n1" and schema_errors("MessageResponse", made.json) == []
    assert world.api("PATCH", f"{path}/{made.json['id']}", {"content": "ho"}).json["content"] == "ho"
    assert world.api("POST", f"/channels/{world.hook.channel_id}/typing").status == 204
    for size, limit in ((2001, 2000), (4000, 2000), (4001, 4000)):
        assert f"Must be {limit} or" in json.dumps(world.api("POST", path, {"content": "x" * size}).json)
    for nonce, wrong in (("x" * 26, "NONCE_TYPE_TOO_LONG"), ([], "NONCE_TYPE_INVALID_TYPE")):
        bad = world.api("POST", path, {"content": "x", "nonce": nonce})
        assert codes(bad.json["errors"]) == {("nonce", wrong)}
    lost: dict[str, Any] = {"content": "x", "message_reference": {"message_id": "5"}}
    assert world.api("POST", path, lost).json["code"] == 50035
    lost["message_reference"]["fail_if_not_exists"] = False
    assert world.api("POST", path, lost).status == 200
    assert world.api("POST", path, {"embeds": [{}]}).json["code"] == 50006
    for kind, code in ((FORUM, 40058), (CATEGORY, 50008)):
        place = world.fake.add_channel(kind=kind)
        assert world.api("POST", f"/channels/{place.id}/messages", {"content": "x"}).json["code"] == code
    world.fake.take_permission(world.bot, SEND)
    assert world.api("POST", path, {"content": "x"}).json["code"] == 50013
    world.fake.take_permission(world.bot, VIEW)
    assert world.api("GET", path).json["code"] == 50001
    world.fake.delete_channel(world.hook.channel_id)
    assert world.api("GET", path).json["code"] == 10003


def test_reading(world: World) -> None:
    world.free()
    person = [world.fake.say(world.hook.channel_id, text) for text in ("secret", f"<@{world.bot.id}> status")]
    own = world.api("POST", world.messages_path(), {"content": "mine"}).json
    reply = world.fake.say(world.hook.channel_id, "re", reply_to=world.fake.messages[0])
    got = world.api("GET", world.messages_path()).json
    assert [item["content"] for item in got] == ["re", "mine", person[1].content, ""]
    path = world.messages_path()
    ids = [item["id"] for item in world.api("GET", f"{path}?after={person[0].id}&limit=2").json]
    assert ids == [own["id"], person[1].id]
    assert [item["id"] for item in world.api("GET", f"{path}?before={own['id']}&limit=1").json] == [
        person[1].id
    ]
    assert len(world.api("GET", f"{path}?around={own['id']}&limit=3").json) == 3
    assert reply.human and len(world.fake.messages) == 1
    for query in ("limit=0", "limit=101", "before=1&after=1"):
        assert world.api("GET", f"{path}?{query}").json["code"] == 50035
    world.fake.take_permission(world.bot, HISTORY)
    assert world.api("GET", path).json == []


def test_read_limit_is_not_the_one_shown(world: World) -> None:
    answers = [world.api("GET", world.messages_path()) for _ in range(6)]
    assert [item.headers["X-RateLimit-Remaining"] for item in answers[4:]] == ["999", "0"]
    assert answers[5].status == 429 and answers[5].headers["X-RateLimit-Limit"] == "5"


def test_nonce(world: World) -> None:
    world.free()
    path, body = world.messages_path(), {"content": "x", "nonce": "n", "enforce_nonce": True}
    first, again = world.api("POST", path, body), world.api("POST", path, body)
    assert first.json["id"] == again.json["id"] and len(world.fake.messages) == 1
    assert world.api("POST", path, {"content": "x", "nonce": "n"}).json["id"] != first.json["id"]
    world.clock.now += 180
    second = world.api("POST", path, body).json["id"]
    assert second != first.json["id"]
    assert world.api("DELETE", f"{path}/{second}").status == 204
    assert world.api("POST", path, body).json["code"] == 10008
    repeated = {world.post(body).json["id"] for _ in range(2)}
    assert len(repeated) == 2  # webhooks never


def test_channels(world: World) -> None:
    world.free()
    path = f"/guilds/{world.fake.guild}/channels"
    above = world.fake.add_channel("ops", CATEGORY)
    made = world.api("POST", path, {"name": "Web  Server", "type": 0, "parent_id": above.id})
    assert (made.status, made.json["name"], made.json["parent_id"]) == (201, "web-server", above.id)
    listed = world.api("GET", path).json
    assert made.json in listed and all(schema_errors("GuildChannelResponse", item) == [] for item in listed)
    for body in (
        {},
        {"name": ""},
        {"name": "x" * 101},
        {"name": "x", "parent_id": "1"},
        {"name": "x", "type": 99},
    ):
        assert world.api("POST", path, body).json["code"] == 50035
    for _ in range(500 - len(listed)):
        world.fake.add_channel()
    assert world.api("POST", path, {"name": "x"}).json["code"] == 30013
    assert world.fake.lint == []


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["status", "block_html", "block_text", "empty_200", "reset_after", "close"])
def test_faults_before_and_after_storing(world: World, kind: str, after: bool) -> None:
    world.fake.arm(kind, after_storing=after)
    if kind in ("reset_after", "close"):
        with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
            world.post({"content": "x"})
    else:
        wanted = {"status": 500, "block_html": 403, "block_text": 429, "empty_200": 200}
        assert world.post({"content": "x"}).status == wanted[kind]
    assert len(world.fake.messages) == after and world.fake.refused == []
    assert world.post({"content": "y"}).status == 200 and world.fake.requests[0].fault == kind


@pytest.mark.parametrize("kind", ["reset_before", "reset_halfway", "wrong_length"])
def test_faults_of_the_connection(world: World, kind: str) -> None:
    world.fake.arm(kind)
    with pytest.raises((ConnectionResetError, http.client.HTTPException)):
        world.post({"content": "x"})
    assert len(world.fake.messages) == (kind != "reset_before")


def test_faults_of_the_answer(world: World) -> None:
    world.fake.arm("cut_json")
    with pytest.raises(json.JSONDecodeError):
        world.post({"content": "x"})
    world.fake.arm("chunked", times=2)
    assert (
        world.post({"content": "x"}).json["content"] == "x" and world.post({"content": "x"}, "").status == 204
    )
    world.fake.arm("gzip")
    assert world.post({"content": "x"}, Accept_Encoding="gzip").headers["Content-Encoding"] == "gzip"
    world.clock.now += 2
    world.fake.arm("drip", interval=0)
    world.fake.arm("huge", size=100_000)
    assert world.post({"content": "x"}).json["content"] == "x"
    assert len(world.post({"content": "x"}).body) > 100_000
    world.fake.header_case, world.fake.skew = str.lower, 300.0
    shown = world.post({"content": "x"}).headers
    assert "x-ratelimit-reset" in list(shown) and float(shown["x-ratelimit-reset"]) > 1_800_001_300
    world.fake.rate_headers = False
    assert world.post({"content": "x"}).headers["X-RateLimit-Limit"] is None
    world.fake.arm("close_keepalive")
    assert world.post({"content": "x"}).status == 200
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        world.post({"content": "x"})


@pytest.mark.parametrize(
    ("form", "header", "want"),
    [
        ("float", "whole", (0.3, "1")),
        ("int", "absent", (1, None)),
        ("str", "fractional", ("0.3", "0.300")),
        ("absent", "whole", (None, "1")),
    ],
)
def test_armed_429(world: World, form: str, header: str, want: tuple[Any, Any]) -> None:
    world.fake.arm("429", retry_after=0.3, scope="shared", form=form, header=header)
    answer = world.post({"content": "x"})
    assert (answer.status, answer.json.get("retry_after"), answer.headers["Retry-After"]) == (429, *want)
    assert answer.headers["X-RateLimit-Remaining"] == "4" and answer.headers["Via"]
    world.post({"content": "x"})
    assert ["inside a wait" in item for item in world.fake.lint] == [True]


def test_hanging(world: World) -> None:
    for after in (False, True):
        world.fake.arm("hang", seconds=0.05, after_storing=after)
        assert world.post({"content": "x"}).status == 200
    world.fake.arm("hang", seconds=60)
    world.hang_up()
    world.line = http.client.HTTPConnection(world.fake.url.removeprefix("http://"), timeout=0.05)
    with pytest.raises(TimeoutError):
        world.post({"content": "x"})
    assert len(world.fake.messages) == 2


def test_choice_of_faults(world: World) -> None:
    world.free()
    world.fake.arm("status", status=502, html=True, window=(10.0, 20.0), path="/webhooks/")
    world.fake.arm("status", status=503, probability=0.5, method="GET")
    seen = [world.call("GET", world.path()).status for _ in range(20)]
    assert set(seen) == {200, 503} and world.post({"content": "x"}).status == 200
    world.clock.now += 10
    assert world.post({"content": "x"}).body.startswith(b"<html>")
    world.fake.disarm()
    assert world.post({"content": "x"}).status == 200
    with pytest.raises(ValueError, match="no such fault"):
        world.fake.arm("rest_after")


def test_refused_connections(world: World) -> None:
    world.post({"content": "x"})
    world.fake.refuse()
    for _ in range(2):
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            world.post({"content": "x"})
    world.hang_up()
    with pytest.raises(ConnectionRefusedError):
        world.post({"content": "x"})
    world.fake.accept()
    assert world.post({"content": "x"}).status == 200


def test_wait_for(world: World) -> None:
    world.post({"content": "found me"})
    world.fake.wait_for(lambda fake: fake.posts(text="found"), timeout=1)
    with pytest.raises(AssertionError, match="found me"):
        world.fake.wait_for(lambda fake: len(fake.messages) == 2, timeout=0.01)


def test_credentials_out_of_place(world: World) -> None:
    world.post({"content": f"see {world.hook.token}"})
    assert any("token in the body" in item for item in world.fake.lint)


# ---- generated bodies against the published schema


def texts(random_: random.Random, limit: int) -> Any:
    size = random_.choice([0, 1, limit - 1, limit, limit + 1])
    return (
        random_.choice(["x", "🦊", "ä"]) * size
        if random_.random() < 0.9
        else random_.choice([None, 5, [], {}])
    )


def some(random_: random.Random, chances: dict[str, Any]) -> dict[str, Any]:
    return {key: make() for key, make in chances.items() if random_.random() < 0.3}


def made_embed(r: random.Random) -> Any:
    if r.random() < 0.03:
        return r.choice([None, 1, "x", []])
    size = r.choice([0, 1, 2, 25, 26])
    fields = [
        some(r, {"inline": lambda: r.choice([True, None, 0])}) | {"name": "n", "value": texts(r, 1024)}
        for _ in range(size)
    ]
    return {"title": "t"} | some(
        r,
        {
            "title": lambda: texts(r, 256),
            "description": lambda: texts(r, 4096),
            "fields": lambda: fields,
            "footer": lambda: {"text": texts(r, 2048)},
            "author": lambda: r.choice([{"name": texts(r, 256)}, None, 3]),
            "color": lambda: r.choice([0, 1, 16777215, 16777216, -1, None, True, "x"]),
            "url": lambda: r.choice(
                [None, 7, "https://example.org/" + "x" * 2028, "https://example.org/" + "x" * 2029]
            ),
            "image": lambda: {"url": "https://example.org/a.png", "width": r.choice([1, "x", None])},
        },
    )


def made_body(r: random.Random) -> dict[str, Any]:
    ids = [str(number) for number in range(r.choice([0, 1, 100, 101]))]
    body: dict[str, Any] = {"content": "x"} | some(
        r,
        {
            "content": lambda: texts(r, 2000),
            "tts": lambda: r.choice([True, None, "x"]),
            "embeds": lambda: [made_embed(r) for _ in range(r.choice([0, 1, 1, 2, 10, 11]))],
            "username": lambda: texts(r, 80),
            "thread_name": lambda: texts(r, 100),
            "flags": lambda: r.choice([4, "x"]),
            "allowed_mentions": lambda: some(
                r,
                {
                    "parse": lambda: r.choice([[], ["users"], ["x"], ["users"] * 2]),
                    "users": lambda: ids,
                    "roles": lambda: r.choice([["x"], ["1"], [1, 1]]),
                },
            ),
        },
    )
    return body


@needs_schema
@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        ("webhook", "IncomingWebhookRequestPartial"),
        ("webhook_edit", "IncomingWebhookUpdateRequestPartial"),
        ("bot", "MessageCreateRequest"),
        ("bot_edit", "MessageEditRequestPartial"),
    ],
)
def test_what_the_schema_refuses_the_fake_refuses(kind: str, schema: str) -> None:
    r, both = random.Random(kind), 0
    for _ in range(150):
        body = trimmed(made_body(r))
        against = schema_errors(schema, body)
        form = check_message(kind, body)
        both += bool(against)
        assert (
            not against
            or form.errors
            or any("JSON integer" in note or "snowflake" in note for note in form.notes)
        ), (against, body)
    assert 20 < both < 150  # both sides of the bounds were met
