"""What reaches Sentinel from outside, as nonsense, given to the functions that read it: the quick half of fuzz.py.

A target is a name, a maker of cases (by dice), and a check that raises where Sentinel does what it must not do. A case is
made of JSON values and bytes, so that it can be shown, and made smaller.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import socket
import tempfile
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from support import insides
from support.fake_discord import check_message, schema_errors, trimmed
from support.fake_engine import Container as Fake
from support.fake_engine import LogLine, encode_logs
from support.replay import load, recordings

import sentinel
from sentinel import Container, Deliver, Engine, EngineError, Fate, Notice, Outbox, SettingError, Settings, Verdict, Web
from tools.fuzz_mangling import Mangler, json_bytes

MARK = "Zq8w-very-SECRET-Zq8w"  # stands in every secret; no line may show it
HOOK = f"https://discord.com/api/webhooks/123456789/{MARK}"
LONGEST_LINE = 20_000
NOW = 1_795_315_395.0


@dataclass(frozen=True)
class Target:
    """One way in. `slow`: its inputs are whole lives, not calls."""

    name: str
    make: Callable[[Mangler], Any]
    check: Callable[[Any], None]
    slow: bool = False


TARGETS: dict[str, Target] = {}


def target(make: Callable[[Mangler], Any], slow: bool = False) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """The check of a target, which is called as the function is."""

    def note(check: Callable[[Any], None]) -> Callable[[Any], None]:
        name = check.__name__.removeprefix("check_").replace("_", "-")
        TARGETS[name] = Target(name, make, check, slow)
        return check

    return note


# ── What must hold of all that comes out ──────────────────────────────────────────────────────────────────────


def check_line(level: str, text: str) -> None:
    """A line of the record: one line, bounded, without a secret, and it can be written."""
    for form in ("text", "json", "journal"):
        line = sentinel.log_line(level, text, NOW, form)
        line.encode()
        assert "\n" not in line and "\r" not in line, "a line of the record breaks"
        assert MARK not in line, "a line of the record shows a secret"
        assert len(line) < LONGEST_LINE, f"a line of the record has {len(line)} characters"


def check_told(*notices: Notice) -> None:
    """What is told can be sent: Discord's own rules, and the bounds of the ledger and of the other channels."""
    for plain in (False, True):
        job = Deliver("webhook", notices, "host", plain=plain)
        message = sentinel.message_of(job, 1000.0, NOW - 1000.0)
        body = trimmed(json.loads(json.dumps(message)))
        form = check_message("webhook", body)
        assert not form.errors, f"Discord refuses {form.errors}"
        assert not form.notes, f"bad manners: {form.notes}"
        json.dumps(message, ensure_ascii=False).encode()  # as the drop writes it
    if problems := schema_errors("IncomingWebhookRequestPartial", body):
        raise AssertionError(problems)
    for notice in notices:
        card = sentinel.card_of(notice, "host", str)
        sentinel.terminal_card(card, 80, True).encode()


# ── The engine's documents ────────────────────────────────────────────────────────────────────────────────────


@cache
def tapes() -> list[list[Any]]:
    """The lines of some recordings, short ones of many kinds."""
    chosen = recordings()[::5]
    return [load(".".join(name)) for name in chosen]


@cache
def events() -> list[Any]:
    """Events of real engines."""
    return [line["e"] for tape in tapes() for line in tape if line["k"] == "event"]


def full_inspect(labels: Mapping[str, str], **state: Any) -> Any:
    """A container as `inspect` shows it, with everything that Sentinel reads."""
    return {
        "Id": "ab" * 32, "Name": "/shop-web-1", "RestartCount": 1,
        "State": {"Status": "exited", "Running": False, "OOMKilled": False, "ExitCode": 3, "Error": "",
                  "StartedAt": "2026-11-22T02:00:00.113142006Z", "FinishedAt": "2026-11-22T02:43:18.389076975Z",
                  "Health": {"Status": "unhealthy", "FailingStreak": 3,
                             "Log": [{"Start": "2026-11-22T02:43:18Z", "ExitCode": 1, "Output": "no\n"}]}, **state},
        "Config": {"Labels": dict(labels), "StopSignal": "SIGTERM", "StopTimeout": 10, "Tty": False},
        "HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}, "NetworkMode": "shop_default",
                       "Links": ["/db:/web/db"], "AutoRemove": False, "Memory": 2**28}}


COMPOSE = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "com.docker.compose.oneoff": "False",
           "com.docker.compose.container-number": "1", "com.docker.compose.depends_on": "db:service_healthy:true,job",
           "com.docker.compose.project.config_files": "/srv/shop/compose.yaml,/srv/b c.yaml"}
OWN = {"sentinel.watch": "true", "sentinel.restart": "yes", "sentinel.job": "false", "sentinel.max-restarts": "3",
       "sentinel.settle": "1m30s", "sentinel.mention": "<@&123456789>", "sentinel.quiet": "23:00-04:30, 12:00-12:15"}
ODD = {"com.docker.swarm.task.name": "web.1.abc", "com.docker.stack.namespace": "stack", "exitCode": "9",
       "com.docker.swarm.service.name": "stack_web", sentinel.HOOK_LABEL: "pre"}


def made_inspect(mangler: Mangler) -> Any:
    labels = COMPOSE | (OWN if mangler.dice.random() < 0.5 else {}) | (ODD if mangler.dice.random() < 0.1 else {})
    return json_bytes(mangler.spoil(full_inspect(labels))).decode("utf-8", "surrogatepass")


@target(made_inspect)
def check_inspect(text: Any) -> None:
    """A container that makes no sense is some container all the same, and can be told of."""
    try:
        container = sentinel.container_of(json.loads(text))
    except (ValueError, RecursionError):
        return  # json.loads, which `Engine.read` minds
    settings = Settings(watch="all", webhook_url=sentinel.Secret(HOOK))
    policy, warnings = sentinel.policy_of(container, settings, "")
    for warning in warnings:
        check_line("warning", warning)
    assert isinstance(container.key, str) and container.called is not None
    sentinel.quiet_until(policy.quiet, NOW)
    state = insides.state_of(container)
    sentinel.nagios_text([state], state.severity, [])
    sentinel.state_table([state], NOW, False)
    record = json.loads(json.dumps(sentinel.record_of(container, 0.0)), parse_constant=sentinel.not_finite)
    assert sentinel.Reader(0.0).value(sentinel.Container, record).id == container.id, "it can't be remembered"
    check_told(Notice(Verdict.DEAD, container.title, 1000.0, container, project=container.project, incident=1,
                      exit_code=container.exit_code, error=container.error, mention=policy.mention, uptime=1.0,
                      logs=tuple(container.probe_output.splitlines())))


@target(made_inspect)
def check_drop(text: Any) -> None:
    """An alert about an odd container is a file, and its line on a terminal is one that can be written."""
    try:
        container = sentinel.container_of(json.loads(text))
    except (ValueError, RecursionError):
        return
    notice = Notice(Verdict.DEAD, container.title, 1000.0, container, project=container.project, incident=1, id=1)
    with tempfile.TemporaryDirectory(prefix="sentinel-fuzz-") as folder:
        seen = sentinel.send(sentinel.Drop(folder), Deliver("drop", (notice,), "host", "a1b2c3-1-1"))
        assert seen.fate is Fate.SENT and len(os.listdir(folder)) == 1


def made_event(mangler: Mangler) -> bytes:
    event = mangler.dice.choice(events())
    if mangler.dice.random() < 0.3:
        return mangler.spoil_bytes(json_bytes(event))
    return json_bytes(mangler.spoil(event))


@target(made_event)
def check_event(line: Any) -> None:
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(line)
        heard = sentinel.event_of(document)
        assert heard is None or isinstance(heard.time, float)


def made_row(mangler: Mangler) -> Any:
    return mangler.spoil({"Id": "ab" * 32, "Names": ["/web"], "State": "running", "Labels": COMPOSE,
                          "Status": "Up About a minute (health: starting)", "HostConfig": {"NetworkMode": "bridge"}})


@target(made_row)
def check_row(document: Any) -> None:
    row = sentinel.row_of(document)
    assert isinstance(row.id, str) and isinstance(row.status, str)


def made_labels(mangler: Mangler) -> Any:
    labels = COMPOSE | OWN | ODD
    kept = {name: text for name, text in labels.items() if mangler.dice.random() < 0.6}
    names = [name for name in kept if mangler.dice.random() < 0.4]
    return kept | {name: mangler.near(kept[name]) if mangler.dice.random() < 0.6 else mangler.text() for name in names}


@target(made_labels)
def check_labels(labels: Any) -> None:
    """A bad label counts as none, and has a line of its own; one that is taken can be lived with."""
    container = Container("1", "web", labels, network_mode="container:x")
    policy, warnings = sentinel.policy_of(container, Settings(), "")
    assert len(warnings) == len(set(warnings)) <= len(OWN)
    for warning in warnings:
        check_line("warning", warning)
    for name in OWN:
        assert sum(f"label {name}:" in warning for warning in warnings) <= 1
    sentinel.quiet_until(policy.quiet, NOW)
    sentinel.span(policy.settle)
    sentinel.depends_on(labels)
    check_told(Notice(Verdict.DEAD, container.title, 1000.0, container, mention=policy.mention))


# ── Settings ──────────────────────────────────────────────────────────────────────────────────────────────────

GOOD = {
    "DOCKER_HOST": "tcp://engine:2375", "DISCORD_WEBHOOK_URL": HOOK + "?thread_id=12345678",
    "DISCORD_BOT_TOKEN": f"Bot {MARK}", "DISCORD_CHANNEL_ID": "1234567890", "DISCORD_GUILD_ID": "1234567890",
    "DISCORD_CHANNEL": "#sentinel alerts", "DISCORD_BRIDGE_URL": "http://bridge:8080/api", "DISCORD_BRIDGE_TOKEN": MARK,
    "DISCORD_API_URL": "https://proxy:1234/api/v10", "DISCORD_MENTION": "<@&123456789> @here", "SENTINEL_WATCH": "all",
    "SENTINEL_PROJECTS": "a, b c", "SENTINEL_RESTART": "yes", "SENTINEL_POLL_INTERVAL": "30s", "SENTINEL_SETTLE": "1m30s",
    "SENTINEL_STOPS": "alert", "SENTINEL_MAX_RESTARTS": "5", "SENTINEL_REMIND": "4h", "SENTINEL_GREET": "true",
    "SENTINEL_CHAIN": "false", "SENTINEL_KEEP": "90d", "SENTINEL_HOST": "vm1", "SENTINEL_LISTEN": "[::1]:9180",
    "SENTINEL_HEARTBEAT_URL": f"https://hc-ping.com/{MARK}?x=1", "SENTINEL_NOTIFY_TOKEN": MARK, "SENTINEL_LOG": "json"}
PROXIES = {"HTTPS_PROXY": "http://user:pass@proxy:3128", "NO_PROXY": "localhost,.example.com:443", "http_proxy": "proxy:80"}
SECRET_ONES = [meta["variable"] for _, meta in sentinel.options() if meta["secret"]]


def made_settings(mangler: Mangler) -> Any:
    """Some settings, some of them odd, by flag, variable or file. A variable can't hold a NUL."""
    given = {name: text for name, text in (GOOD | PROXIES).items() if mangler.dice.random() < 0.4}
    chance = mangler.dice.choice((0.05, 0.3))
    for name in given:
        if mangler.dice.random() < chance:
            given[name] = (mangler.near(given[name]) if mangler.dice.random() < 0.7 else mangler.text()).replace("\0", "")
    if mangler.dice.random() < 0.1:
        given["SENTINEL_" + mangler.text().replace("\0", "")[:300]] = "1"
    by_flag = {name: given.pop(meta["variable"]) for name, meta in sentinel.options()
               if not meta["secret"] and meta["variable"] in given and mangler.dice.random() < 0.2}
    return {"environment": given, "flags": by_flag, "files": {name: given.pop(name) for name in SECRET_ONES
                                            if name in given and mangler.dice.random() < 0.2}}


@target(made_settings)
def check_settings(case: Any) -> None:
    """Settings are read, or refused in clear lines; what is taken can be used, and shows no secret."""
    environment, files = case["environment"], case["files"]
    environment |= {f"{name}_FILE": name for name in files}
    try:
        settings, warnings = sentinel.load_settings(case["flags"], environment, lambda name: files[name])
    except SettingError as error:
        for line in error.args:
            assert not any(secret in line for secret in secret_parts(environment, files)), "an error shows a secret"
            assert ":" in line
        return
    for line in [*warnings, *sentinel.settings_lines(settings)]:
        check_line("warning", line)
    for channel in sentinel.channels_of(settings, environment):
        if isinstance(channel, sentinel.Webhook | sentinel.Bot | sentinel.Bridge):
            with Wire([b"HTTP/1.1 500 Oh\r\n\r\n"] * 3) as wire:
                channel.web = CannedWeb(environment, wire)
                seen = channel.send(Deliver(channel.name, tuple(sentinel.samples(0.0)), "host", "1-2"), {"embeds": []})
                check_line("warning", sentinel.mask(seen.why, settings))
    if settings.heartbeat_url:
        with Wire([b"HTTP/1.1 500 Oh\r\n\r\n"]) as wire:
            seen_ping = sentinel.ping(CannedWeb(environment, wire), str.__str__(settings.heartbeat_url))
            check_line("warning", sentinel.mask(seen_ping.why, settings))
    check_engine_choice(settings, environment)


def check_engine_choice(settings: Settings, environment: Mapping[str, str]) -> None:
    """An engine's address that is taken can be connected to, or fails as an engine that is away does."""
    with contextlib.suppress(SettingError):
        engine = sentinel.engine_of(settings, {"HOME": "/nonexistent", **environment})
        engine.connect(0.01)


def secret_parts(environment: Mapping[str, str], files: Mapping[str, str]) -> list[str]:
    """What no line may show, where the user wrote a secret under the right name."""
    texts = [{**environment, **files}.get(name, "") for name in SECRET_ONES]
    return [MARK] if any(MARK in text for text in texts) else []


def made_context(mangler: Mangler) -> Any:
    meta = {"Name": "remote", "Metadata": {}, "Endpoints": {"docker": {"Host": "tcp://engine:2376", "SkipTLSVerify": False}}}
    kind = mangler.dice.random()
    config = {"currentContext": "remote"}
    return {"config": json_bytes(mangler.spoil(config) if kind < 0.4 else config),
            "meta": json_bytes(mangler.spoil(meta)) if kind < 0.7 else mangler.spoil_bytes(json_bytes(meta)),
            "name": mangler.text() if kind < 0.1 else "remote"}


@target(made_context)
def check_context(case: Any) -> None:
    """The files of the docker CLI: an engine, or a clear error."""
    with tempfile.TemporaryDirectory(prefix="sentinel-fuzz-") as folder:
        place = hashlib.sha256(b"remote").hexdigest()
        os.makedirs(os.path.join(folder, "contexts", "meta", place))
        for path, content in (("config.json", case["config"]), (f"contexts/meta/{place}/meta.json", case["meta"])):
            with open(os.path.join(folder, path), "wb") as file:
                file.write(content)
        name = case["name"] if case["name"] != "remote" else ""
        try:
            engine = sentinel.engine_of(Settings(context=name), {"DOCKER_CONFIG": folder})
        except SettingError as error:
            for line in error.args:
                check_line("error", line)
        else:
            engine.connect(0.01)


# ── Log bytes, mounts ─────────────────────────────────────────────────────────────────────────────────────────


def made_logs(mangler: Mangler) -> Any:
    fake = Fake("ab" * 32, "web")
    fake.tty = mangler.dice.random() < 0.3
    words = [mangler.text()[:3000] for _ in range(9)]
    fake.logs = [LogLine(int(NOW * 1e9) + index, index % 2 + 1, word) for index, word in enumerate(words)]
    body = encode_logs(fake, {"stdout": "1", "stderr": "1", "timestamps": "1", "tail": "40"})
    return [mangler.spoil_bytes(body), fake.tty if mangler.dice.random() < 0.8 else not fake.tty]


@target(made_logs)
def check_logs(case: Any) -> None:
    """Log bytes are lines, whatever they are, and can be shown."""
    lines = sentinel.log_lines(case[0], case[1])
    assert all(isinstance(line, str) for line in lines)
    assert sum(map(len, lines)) <= len(case[0])
    kept = tuple(line[-4000:] for line in lines[-20:])
    check_told(Notice(Verdict.DEAD, "web", 1000.0, Container("1", "web"), logs=kept))


def made_mountinfo(mangler: Mangler) -> Any:
    good = (b"1 2 0:3 /var/lib/docker/containers/" + b"ab" * 32 + b"/hostname /etc/hostname rw - ext4 /dev/sda rw\n",
            b"0::/system.slice/docker-" + b"cd" * 32 + b".scope\n", b"0123456789ab")
    return [mangler.spoil_bytes(part) for part in good]


@target(made_mountinfo)
def check_mountinfo(case: Any) -> None:
    found = sentinel.own_candidate(*(part.decode(errors="replace") for part in case))
    assert found == "" or len(found) in (12, 64)


# ── Answers on the wire ───────────────────────────────────────────────────────────────────────────────────────


class Wire:
    """The other end of connections: each gets the next of these answers, and then the end."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers, self.ends = iter(answers), list[socket.socket]()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        for end in self.ends:
            end.close()

    def connect(self) -> socket.socket:
        """An end of a new connection."""
        near, far = socket.socketpair()
        near.settimeout(5.0)
        self.ends += [near, far]
        answer = next(self.answers, b"")
        if len(answer) < 60_000:
            far.sendall(answer)
            far.shutdown(socket.SHUT_WR)
        else:
            threading.Thread(target=self._send, args=(far, answer), daemon=True).start()
        return near

    def _send(self, far: socket.socket, answer: bytes) -> None:
        with contextlib.suppress(OSError):
            far.sendall(answer)
            far.shutdown(socket.SHUT_WR)


class CannedEngine(Engine):
    """An engine that says what it is told to say."""

    def __init__(self, wire: Wire) -> None:
        super().__init__("unix:///var/run/docker.sock")
        self.wire = wire

    def connect(self, timeout: float) -> Any:
        connection = super().connect(timeout)
        connection.connect = lambda: setattr(connection, "sock", self.wire.connect())  # type: ignore[method-assign]
        return connection


class CannedWeb(Web):
    """The network, saying what it is told to say."""

    def __init__(self, environment: Mapping[str, str], wire: Wire) -> None:
        super().__init__(environment, lambda: TLS)
        self.wire = wire

    def connection(self, url: urllib.parse.SplitResult, proxy: Any = None, session: Any = None) -> Any:
        connection = super().connection(url, proxy, session)
        connection.connect = lambda: setattr(connection, "sock", self.wire.connect())  # type: ignore[method-assign]
        return connection


TLS = sentinel.ssl.create_default_context()


def http_answer(mangler: Mangler, body: bytes, status: int = 200, headers: str = "") -> bytes:
    """An HTTP answer, in chunks or whole, perhaps of another status, perhaps garbled on its way."""
    dice = mangler.dice
    if dice.random() < 0.2:
        status = dice.choice((200, 204, 301, 304, 400, 401, 403, 404, 405, 408, 409, 413, 429, 500, 501, 502, 503, 504, 520))
    head = f"HTTP/1.1 {status} Words\r\n{headers}".encode()
    if dice.random() < 0.5:
        cut = dice.randrange(len(body) + 1)
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:cut], body[cut:]) if part)
        answer = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    else:
        answer = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return mangler.spoil_bytes(answer) if dice.random() < 0.5 else answer


def made_engine(mangler: Mangler) -> Any:
    dice = mangler.dice
    inspect = full_inspect(COMPOSE, Status=dice.choice(("running", "exited")))
    row = made_row(Mangler(dice)) if dice.random() < 0.3 else {"Id": "ab" * 32, "State": "running", "Status": "Up"}
    documents: dict[str, list[Any]] = {
        "list_all": [[row], {"Name": "vm", "ID": "X"}, [row]], "look": [inspect, b"\x01\0\0\0\0\0\0\x05hello"],
        "restart": [inspect, {"message": "no such thing"}, inspect], "events": [b""], "containers": [[row, row], inspect],
        "ends": [b""], "logs": [b"hello"]}
    kind = dice.choice(sorted(documents))
    if kind in ("events", "ends"):
        documents[kind] = [b"\n".join(json_bytes(dice.choice(events())) for _ in range(3)) + b"\n"]
    answers = []
    for document in documents[kind]:
        odd = dice.random() < 0.5
        body = document if isinstance(document, bytes) else json_bytes(mangler.spoil(document) if odd else document)
        answers.append(http_answer(mangler, body))
    return [kind, answers]


@target(made_engine)
def check_engine(case: Any) -> None:
    """Whatever an engine answers is an observation, or an EngineError."""
    kind, answers = case
    put: list[Any] = []
    with Wire(answers) as wire:
        engine = CannedEngine(wire)
        calls: dict[str, Callable[[], Any]] = {
            "list_all": engine.list_all, "look": lambda: engine.look("ab" * 32), "containers": engine.containers,
            "restart": lambda: engine.restart(sentinel.Restart("web", "ab" * 32, 0.0, True, 10.0)),
            "events": lambda: engine.events(0.0, put.append),
            "ends": lambda: list(engine.recent_events(NOW)), "logs": lambda: engine.logs(Container("1"), 0.0)}
        try:
            seen = calls[kind]()
        except EngineError as error:
            check_line("error", str(error))
            return
    if words := getattr(seen, "why", ""):
        check_line("warning", words)
    assert all(isinstance(one, sentinel.Heard | sentinel.StreamOpened) for one in put)


MESSAGE = {"id": "1234567890", "channel_id": "987654321", "type": 0, "content": "", "embeds": []}
TROUBLE = {"message": "You are being rate limited.", "retry_after": 1.5, "global": False, "code": 0}
LIMITS = ("Via: 1.1 google\r\nRetry-After: 2\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset-After: 1.25\r\n"
          "X-RateLimit-Limit: 5\r\nX-RateLimit-Bucket: abc\r\nContent-Type: application/json\r\n")


def made_discord(mangler: Mangler) -> Any:
    dice = mangler.dice
    kind = dice.choice(("webhook", "edit", "forum", "bot", "named", "bridge", "ping"))
    answers = []
    for _ in range(3):
        good = dice.choice((MESSAGE, TROUBLE, TROUBLE | {"code": dice.choice((10003, 10015, 50013, 220001, 30046, 50035))},
                            [{"id": "11", "name": "sentinel-alerts", "type": 0}], {"ok": False, "error": "why"}))
        status = 200 if good is MESSAGE else dice.choice((429, 400, 404, 200, 201))
        headers = LIMITS if dice.random() < 0.6 else mangler.spoil_bytes(LIMITS.encode()).decode("latin-1")
        answers.append(http_answer(mangler, json_bytes(mangler.spoil(good) if dice.random() < 0.6 else good), status, ""
                                   if dice.random() < 0.2 else "".join(char for char in headers if ord(char) < 128)))
    return [kind, answers]


def channel_for(kind: str, web: Web) -> sentinel.Channel:
    settings = Settings(bot_token=sentinel.Secret(MARK), guild_id="123456", bridge_url="http://bridge",
                        channel_id="" if kind == "named" else "123456", bridge_token=sentinel.Secret(MARK))
    if kind in ("bot", "named"):
        return sentinel.Bot(settings, web)
    return sentinel.Bridge(settings, web) if kind == "bridge" else sentinel.Webhook(sentinel.webhook(HOOK), web)


@target(made_discord)
def check_discord(case: Any) -> None:
    """Whatever Discord answers is a verdict: with a bounded wait, and words without a secret."""
    kind, answers = case
    settings = Settings(webhook_url=sentinel.webhook(HOOK), bot_token=sentinel.Secret(MARK))
    with Wire(answers) as wire:
        web = CannedWeb({}, wire)
        if kind == "ping":
            check_line("warning", sentinel.ping(web, "http://hc-ping.com/x").why)
            return
        channel = channel_for(kind, web)
        box = Outbox(channel.name, channel.edits)
        box.waiting = [Notice(Verdict.DEAD, "web", 1000.0, Container("1", "web"), id=1, open=True)]
        job = box.take(1000.0, "host", 0.5)
        assert job
        seen = sentinel.send(channel, Deliver(channel.name, job.notices, "host", message="123" if kind == "edit" else ""))
    check_delivered(seen, box, settings)


def check_delivered(seen: sentinel.Delivered, box: Outbox, settings: Settings) -> None:
    """A verdict, and what the outbox makes of it."""
    assert isinstance(seen.fate, Fate) and 0.0 <= seen.hold <= 86401.0
    done, logs = box.settle(seen if seen.fate is not Fate.GONE else sentinel.replace(seen, fate=Fate.SENT), 1001.0)
    assert done or box.waiting, "an alert is lost"
    assert len(logs) <= 1, "more than one line"
    assert done == [] or seen.fate in (Fate.SENT, Fate.GONE)
    assert logs or seen.fate in (Fate.SENT, Fate.GONE), "it is not told that alerts wait"
    for log in logs:
        check_line(log.level, sentinel.mask(log.text, settings))
    record = json.loads(json.dumps(insides.outbox_record(box, NOW)), parse_constant=sentinel.not_finite)
    again = Outbox(box.channel, box.edits)
    kept = [json.loads(json.dumps(insides.notice_record(notice, NOW))) for notice in (*box.waiting, *done)]
    notices = {str(record["id"]): record for record in kept}
    assert insides.fill_outbox(again, record, notices, NOW), "the outbox can't be remembered"


# ── The local HTTP ────────────────────────────────────────────────────────────────────────────────────────────


def made_http(mangler: Mangler) -> bytes:
    words = {"title": "Backup", "message": "The disk is full.", "level": "error"}
    body = json_bytes(mangler.spoil(words))
    path = mangler.dice.choice(("/notify", "/notify?x", "/healthz", "/metrics", "/status", mangler.text()[:50]))
    verb = mangler.dice.choice(("POST", "POST", "POST", "GET", "HEAD", "PUT", ""))
    head = f"{verb} {path} HTTP/1.1\r\nAuthorization: Bearer {MARK}\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode("utf-8", "surrogatepass") + body
    return mangler.spoil_bytes(request) if mangler.dice.random() < 0.5 else request


@target(made_http)
def check_http(request: Any) -> None:
    """A request is answered, or the connection ended; what it asks to be told can be."""
    told: list[Notice] = []

    def ask(path: str, words: Notice | None = None) -> tuple[int, str, str]:
        if words:
            told.append(words)
        return 202, "text/plain", "taken\n"

    with Wire([request]) as wire, contextlib.redirect_stderr(io.StringIO()) as errors:
        near = wire.connect()
        sentinel.handler_of(MARK, ask)(near, ("127.0.0.1", 1), None)
        near.shutdown(socket.SHUT_WR)
        answer = wire.ends[1].recv(100_000)
    assert not errors.getvalue(), "it writes to the record"
    assert MARK.encode() not in answer or MARK.encode() in request.split(b"\r\n")[0], "an answer shows the token"
    for words in told:
        check_told(words)
        check_line("error", sentinel.headline(words))


# ── What people ask in Discord ────────────────────────────────────────────────────────────────────────────────


ASKING = {
    "id": "1575937192851668992", "application_id": "1000000000000000003", "token": "aW50ZXJhY3Rpb24", "type": 2,
    "version": 1, "guild_id": "300000000000000001", "channel_id": "1000000000000000001",
    "member": {"user": {"id": "200000000000000009", "username": "boss", "global_name": "Boss"}, "nick": None,
               "roles": ["200000000000000077"], "permissions": "32"},
    "data": {"id": "1", "name": "status", "type": 1, "options": [{"type": 3, "name": "name", "value": "web"}]},
}  # fmt: skip


def made_interaction(mangler: Mangler) -> Any:
    document = json.loads(json.dumps(ASKING))
    dice = mangler.dice
    document["data"]["name"] = dice.choice(("status", "why", "logs", "history", "restart", "mute", "unmute"))
    options = document["data"]["options"]
    options[0]["value"] = dice.choice(("web", "shop", "all", "we", "", mangler.text()))
    options.append({"type": 3, "name": "duration", "value": dice.choice(("30m", "1h", "-1", mangler.text()))})
    options.append({"type": 4, "name": dice.choice(("lines", "days")), "value": dice.choice((1, 0, -5, 10**9, 50))})
    if dice.random() < 0.2:
        document["type"] = 4
        options[0]["focused"] = True
    elif dice.random() < 0.3:
        act = dice.choice(("restart", "logs", "mute", "take", mangler.text()))
        document |= {"type": 3, "data": {"component_type": 2, "custom_id": f"sentinel:{act}:life:{dice.randrange(3)}"}}
    return mangler.spoil(document) if dice.random() < 0.7 else document


@target(made_interaction)
def check_interaction(document: Any) -> None:
    """Whatever is asked is answered in Discord's form, pinging nobody, or not at all; and it can be said in the record."""
    seen = sentinel.interaction_of(document)
    if seen is None:
        return
    settings = Settings()
    watchdog = sentinel.Watchdog(settings)
    watchdog.link.facts = replace(watchdog.link.facts, host="host")
    web = Container("ab" * 32, "web", COMPOSE, "running", started_time=NOW - 100.0, created_time=NOW - 200.0)
    watchdog.calendar.begin(1000.0, NOW)
    watchdog.roster.adopt_all([web], 1000.0)
    clerk = sentinel.Clerk(settings, watchdog)
    clerk.begin("life")
    clerk.serve("300000000000000001")
    deeds = [*clerk.asked(seen, 1000.0), *clerk.due(1010.0)]
    for deed in deeds:
        match deed:
            case sentinel.Respond():
                check_response(deed)
                clerk.responded(sentinel.Responded(deed, False, 0, "why", 0.0), 1000.0)
                clerk.responded(sentinel.Responded(deed, False, 40060, "why"), 1000.0)
            case sentinel.Note(notice):
                check_told(notice)
            case sentinel.ReadHistory():
                check_response(sentinel.history_shown(deed, [], NOW))
            case sentinel.Mute():
                assert 0 <= deed.seconds <= sentinel.LONGEST_MUTE


def check_response(respond: sentinel.Respond) -> None:
    """An answer is one that Discord takes."""
    data = json.loads(json.dumps(respond.data))
    json.dumps(data, ensure_ascii=False).encode()
    if respond.way is sentinel.Way.CHOICES:
        assert len(data["choices"]) <= 25 and all(0 < len(each["name"]) <= 100 for each in data["choices"])
        return
    if respond.way is sentinel.Way.DEFER:
        return
    assert data["allowed_mentions"] == {"parse": []}
    assert len(data.get("content", "")) <= 2000 and (data.get("content") or data.get("embeds"))
    assert all(0 < len(embed["description"]) <= 4096 for embed in data.get("embeds", []))
