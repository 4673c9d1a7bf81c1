"""What tests/tools/fuzz.py found, each in its smallest form."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from support import insides
from support.fake_discord import FakeDiscord
from support.fake_engine import FakeEngine, Reply, Request
from support.lives import Clock, Life
from tools import fuzz
from tools.fuzz_calls import (
    HOOK,
    LONGEST_LINE,
    MARK,
    NOW,
    TARGETS,
    CannedEngine,
    CannedWeb,
    Wire,
    check_line,
    check_told,
    full_inspect,
)
from tools.fuzz_lives import Paper, PaperLedger, stamp

import sentinel
from sentinel import Container, Deliver, EngineError, Notice, SettingError, Settings, Verdict

OK = b"HTTP/1.1 200 OK\r\n"
DEEP = b"[" * 4000


# ── The engine's answers ────────────────────────────────────────────────────────────────────────────────────────


def asked(answers: list[bytes], call: Any) -> Any:
    """What a call makes of these answers of an engine."""
    with Wire(answers) as wire, fuzz.limited(10.0):
        return call(CannedEngine(wire))


def body(document: Any, status: int = 200) -> bytes:
    """An HTTP answer that holds a document."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return b"HTTP/1.1 %d Words\r\nContent-Length: %d\r\n\r\n" % (status, len(text)) + text


RESTART = sentinel.Restart("web", "ab" * 32, 0.0, False, 10.0)


def test_an_id_with_half_a_character_is_a_container_that_is_not_there() -> None:
    seen = asked([body({})], lambda engine: engine.look("\ud800"))
    assert isinstance(seen, sentinel.Looked) and (seen.container or seen.why)


@pytest.mark.parametrize("odd", ["é", "\ud800"])
def test_an_inspect_that_names_an_odd_id_is_looked_at_all_the_same(odd: str) -> None:
    document = full_inspect({}) | {"Id": odd}
    seen = asked([body(document), body(b"")], lambda engine: engine.look("ab" * 32))
    assert isinstance(seen, sentinel.Looked)


def test_a_chunk_of_endless_size_is_the_end_of_the_stream() -> None:
    put: list[Any] = []
    answer = OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\n{}\r\n"
    seen = asked([answer], lambda engine: engine.events(0.0, put.append))
    assert isinstance(seen, sentinel.StreamClosed)


def test_an_error_that_is_nested_deeply_is_an_error_of_a_restart() -> None:
    running = full_inspect({}, Status="exited", StartedAt="")
    seen = asked([body(running), body(DEEP, 500), body(running)], lambda engine: engine.restart(RESTART))
    assert seen.outcome is sentinel.Outcome.REFUSED


def test_an_error_that_is_nested_deeply_is_a_refusal_of_the_events() -> None:
    seen = asked([body(DEEP, 500)], lambda engine: engine.events(0.0, [].append))
    assert isinstance(seen, sentinel.StreamClosed) and seen.refused


def test_a_long_error_is_read_in_no_time() -> None:
    with fuzz.limited(2.0):
        assert len(sentinel.error_text(500, json.dumps({"message": "<" * 200_000}).encode())) <= 600


def test_a_line_of_events_that_does_not_end_takes_no_memory() -> None:
    near, far = socket.socketpair()
    near.settimeout(5.0)

    def pour() -> None:
        with far, sentinel.contextlib.suppress(OSError):
            far.sendall(OK + b"\r\n")
            for _ in range(64):
                far.sendall(b"a" * 2**20)

    engine = sentinel.Engine("unix:///nonexistent")
    connection = engine.connect(5.0)
    connection.connect = lambda: setattr(connection, "sock", near)  # type: ignore[method-assign]
    engine.connect = lambda timeout: connection  # type: ignore[method-assign]
    threading.Thread(target=pour, daemon=True).start()
    tracemalloc.start()
    try:
        engine.events(0.0, [].append)
        assert tracemalloc.get_traced_memory()[1] < 24 * 2**20
    finally:
        tracemalloc.stop()


def test_one_look_that_is_forbidden_does_not_forbid_all_restarts() -> None:
    running = full_inspect({}, Status="exited", StartedAt="")
    seen = asked([body({"message": "no"}, 403), body(running)], lambda engine: engine.restart(RESTART))
    assert seen.outcome is not sentinel.Outcome.FORBIDDEN, "nobody has asked for a restart"


@pytest.mark.parametrize("line", [b"", b"nonsense", b"\xff\xfe", DEEP, b"[]", b"null", b'{"Type": "container", "Actor": 7}'],
                         ids=lambda line: repr(line)[:20])
def test_a_line_that_is_no_event_does_not_end_the_stream(line: bytes) -> None:
    put: list[Any] = []
    good = {"Type": "container", "Action": "die", "timeNano": 5, "Actor": {"ID": "a", "Attributes": {}}}
    answer = OK + b"\r\n" + line + b"\n" + json.dumps(good).encode() + b"\n"
    asked([answer], lambda engine: engine.events(0.0, put.append))
    assert [seen.id for seen in put if isinstance(seen, sentinel.Heard)][-1:] == ["a"]


def sick_pair(**different: Any) -> list[Any]:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web",
              "com.docker.compose.container-number": "1", "com.docker.compose.oneoff": "False"}
    state = {"Status": "running", "StartedAt": stamp(NOW - 100.0)}
    return [full_inspect(labels, **state) | {"Id": digit * 64, "Name": f"/web-{digit}"} | different for digit in "12"]


def test_a_container_without_a_name_hides_no_other() -> None:
    paper = Paper()
    paper.begin()
    paper.advance(1.0)
    paper.documents["d"] = {"Id": "d", "State": {"Status": "running", "StartedAt": stamp(NOW)}}
    paper.advance(100.0)
    paper.documents["e"] = full_inspect({}, Status="running", StartedAt=stamp(paper.wall)) | {"Id": "e", "Name": "/fresh"}
    paper.advance(100.0)
    assert "fresh" in paper.watchdog.services, list(paper.watchdog.services)


def test_two_containers_of_one_service_and_number_do_not_give_each_other_budgets() -> None:
    """Labels are copied by `docker commit`; then one key has two containers that run."""
    paper, restarts = Paper(remind=0.0), 0
    paper.documents |= {document["Id"]: document for document in sick_pair()}
    paper.begin()
    for _ in range(10):
        paper.lines.clear()
        paper.advance(60.0)
        restarts += sum(count for line, count in paper.lines.items() if line.startswith("restarting web"))
    assert restarts <= 2 * Settings().max_restarts


@pytest.mark.parametrize(("where", "name"), [("HostConfig", "Memory"), ("State", "ExitCode"), ("State", "RestartCount")])
def test_what_is_taken_from_the_engine_can_be_read_back_from_the_ledger(where: str, name: str) -> None:
    document = full_inspect({})
    (document if name == "RestartCount" else document[where])[name] = 2**53
    record = json.loads(json.dumps(sentinel.record_of(sentinel.container_of(document), 0.0)))
    assert sentinel.Reader(0.0).value(sentinel.Container, record).id


# ── Whole lives ─────────────────────────────────────────────────────────────────────────────────────────────────


class Halves(FakeEngine):
    """An engine that says half a character where a name has HALF."""

    def dispatch(self, request: Request) -> Reply:
        reply = super().dispatch(request)
        reply.body = reply.body.replace(b"HALF", b"\\ud800")
        return reply


def test_an_alert_with_a_consequence_that_has_no_exit_code_outlives_sentinel(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    """In everyday life: `web` was restarted with `db` (depends_on: restart: true), or is unhealthy for it."""
    db = engine.add("db", project="shop", started_ago=3600.0)
    engine.add("web", project="shop", depends_on="db:service_started:true", started_ago=3600.0)
    with FakeDiscord(clock=lambda: clock.at, wall=clock.time) as discord:
        hook = sentinel.webhook(discord.add_webhook().url)
        with Life(engine, tmp_path, clock, webhook_url=hook, greet=False) as first:
            first.run(1)
            discord.refuse()
            engine.crash(db, 3)
            first.run(60)
        clock.at += 5
        discord.accept()
        with Life(engine, tmp_path, clock, webhook_url=hook, greet=False) as second:
            second.run(120)
        text = "\n".join(message.text for message in discord.messages)
    assert "make no sense" not in second.said
    assert "db is DEAD" in text and "db is back online" in text


def test_a_name_with_half_a_character_is_kept_in_the_ledger(clock: Clock, tmp_path: Path) -> None:
    with Halves() as engine, Life(engine, tmp_path, clock, watch="all") as life:
        engine.add("oddHALF", started_ago=60.0)
        life.run(5)
    assert "watching odd" in life.said


def test_a_name_with_half_a_character_can_be_dropped_and_asked_for(tmp_path: Path) -> None:
    notice = Notice(Verdict.DEAD, "odd\ud800", 0.0, Container("1", "odd\ud800"), id=1)
    seen = sentinel.send(sentinel.Drop(str(tmp_path)), Deliver("drop", (notice,), "host", "a1b2c3-1-1"))
    assert seen.fate is sentinel.Fate.SENT


@pytest.mark.parametrize("form", ["table", "json"])
def test_check_prints_a_name_with_half_a_character(
    clock: Clock, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    with Halves() as engine:
        engine.add("oddHALF", started_ago=60.0)
        assert sentinel.check(sentinel.Invocation(Settings(docker_host=engine.host, watch="all"), [], form)) == 0


def garbled(folder: Path, kind: str, key: str, value: str) -> None:
    """Put a record into a ledger, past Sentinel."""
    with sqlite3.connect(folder / "sentinel.db") as database:
        database.execute("INSERT OR REPLACE INTO record VALUES (?, ?, 0.0, ?)", (kind, key, value))
    database.close()


def test_a_notice_with_an_odd_number_does_not_keep_sentinel_from_starting(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    with Life(engine, tmp_path, clock) as life:
        life.run(1)
    garbled(tmp_path, "notice", "²", "{}")
    with Life(engine, tmp_path, clock) as life:
        life.run(1)
    assert life.watchdog.link.listed.done


@pytest.mark.parametrize(("kind", "value"), [("service", "{"), ("outage", "{"), ("mute", "{"), ("mute", '"soon"')])
def test_a_record_that_is_left_out_has_a_line(
    engine: FakeEngine, clock: Clock, tmp_path: Path, kind: str, value: str
) -> None:
    with Life(engine, tmp_path, clock) as life:
        life.run(1)
    garbled(tmp_path, kind, "77", value)
    with Life(engine, tmp_path, clock) as life:
        life.run(1)
    assert "77" in life.said


def test_a_position_without_end_does_not_shut_out_the_events(engine: FakeEngine, clock: Clock, tmp_path: Path) -> None:
    with Life(engine, tmp_path, clock) as life:
        life.run(1)
    garbled(tmp_path, "meta", "position", "1e999")
    with Life(engine, tmp_path, clock) as life:
        life.run(15)
        engine.cut_streams()
        life.run(5)
    assert "events are refused" not in life.said


def test_one_event_of_the_future_does_not_make_the_next_life_slow(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    web = engine.add("web", project="shop", started_ago=3600.0)
    with Life(engine, tmp_path, clock) as life:
        life.run(5)
        late = 4_102_444_800
        engine.publish({"Type": "container", "Action": "update", "Actor": {"ID": web.id, "Attributes": {}}, "scope": "local",
                        "time": late, "timeNano": late * 10**9})
        engine.crash(web, 3)
        life.run(30)
    with Life(engine, tmp_path, clock) as life:
        life.run(10)
        engine.add("fresh", project="shop")
        life.run(3)
        assert "shop/fresh/1" in life.watchdog.services, "it is found by the next listing, up to 30 s later"


@pytest.mark.parametrize(("key", "when"), [("1", 1e14), ("²", 0.0)])
def test_history_leaves_out_what_makes_no_sense(key: str, when: float) -> None:
    record = json.loads(json.dumps(insides.notice_record(Notice(Verdict.DEAD, "web", when), 0.0)))
    ledger = PaperLedger([["notice", key, 0.0, json.dumps(record)]], str)
    sentinel.history_table(insides.incidents_of(ledger.records("notice"), {}, {}), 80, 1.8e9)


@pytest.mark.parametrize("number", [2**63 - 1, 1 - 2**63, 2.0**63, 2**63 - 1024, 10**30])
def test_a_number_that_is_read_can_be_read_again_when_it_was_written(number: float) -> None:
    """A whole number below 2**63 may be 2**63 as a float, which is too much."""
    document = insides.notice_record(Notice(Verdict.DEAD, "web", 0.0), 0.0) | {"uptime": number}
    try:
        read = insides.notice_of(document, 0.0)
    except ValueError:
        return
    assert insides.notice_of(insides.notice_record(read, 0.0), 0.0) == read


def test_a_ledger_of_a_format_that_sqlite_does_not_know_is_set_aside(
    engine: FakeEngine, clock: Clock, tmp_path: Path
) -> None:
    """SQLite calls that an operational error, as it does a file that can't be reached."""
    with Life(engine, tmp_path, clock) as life:
        life.run(1)
    with (tmp_path / "sentinel.db").open("r+b") as file:
        file.seek(44)
        file.write(b"\xff" * 4)
    with Life(engine, tmp_path, clock) as life:
        life.run(1)
        assert "set aside" in life.said and life.daemon.books.ledger.database


# ── Settings ────────────────────────────────────────────────────────────────────────────────────────────────────


def loaded(**environment: str) -> Settings:
    return sentinel.load_settings({}, environment, str)[0]


def test_an_error_about_the_heartbeat_shows_no_address() -> None:
    with pytest.raises(SettingError) as error:
        loaded(SENTINEL_HEARTBEAT_URL=f"hc-ping.com/{MARK}")
    assert MARK not in str(error.value)


def test_a_heartbeat_with_a_blank_is_refused_or_at_least_not_shown() -> None:
    with sentinel.contextlib.suppress(SettingError):
        settings = loaded(SENTINEL_HEARTBEAT_URL=f"https://hc-ping.com/{MARK} x")
        with Wire([b""]) as wire:
            seen = sentinel.ping(CannedWeb({}, wire), str.__str__(settings.heartbeat_url))
        check_line("warning", sentinel.mask(f"heartbeat: {seen.why}", settings))


@pytest.mark.parametrize("proxy", ["http://proxy:99999", "proxy:port", "http://[proxy"])
def test_a_proxy_that_makes_no_sense_is_a_channel_that_can_not_be_reached(proxy: str) -> None:
    channel = sentinel.Webhook(sentinel.webhook(HOOK), sentinel.Web({"HTTPS_PROXY": proxy}))
    seen = sentinel.send(channel, Deliver("webhook", tuple(sentinel.samples(0.0)), "host", "1-2"))
    assert seen.fate is sentinel.Fate.UNSENT and "proxy" in seen.why


@pytest.mark.parametrize("host", ["tcp://en gine:2375", "tcp://a\x7fb"])
def test_an_engine_address_with_a_blank_is_refused_or_an_engine_that_is_away(host: str) -> None:
    try:
        settings = loaded(DOCKER_HOST=host)
    except SettingError:
        return
    with pytest.raises(EngineError):
        sentinel.engine_of(settings, {}).list()


def test_a_duration_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="duration"):
        sentinel.duration("9" * 400)


def test_a_context_with_an_odd_name_is_a_setting_that_makes_no_sense() -> None:
    with pytest.raises(SettingError):
        sentinel.engine_of(loaded(DOCKER_CONTEXT="\udcff"), {"DOCKER_CONFIG": "/nonexistent"})


@pytest.mark.parametrize("text", ["١٢٣٤٥٦", "<@١٢٣٤٥٦>"])
def test_a_mention_in_other_digits_is_no_mention(text: str) -> None:
    container = Container("1", "web", {"sentinel.mention": text})
    policy, warnings = sentinel.policy_of(container, Settings(), "")
    check_told(Notice(Verdict.DEAD, "web", 1000.0, container, mention=policy.mention))
    assert warnings


def test_an_id_in_other_digits_is_no_id() -> None:
    for parse, text in ((sentinel.snowflake, "١٢٣٤٥٦"), (sentinel.webhook, f"https://discord.com/api/webhooks/١٢٣/{MARK}")):
        with pytest.raises(ValueError, match="no"):
            parse(text)


def test_a_service_manager_that_says_nonsense_is_none() -> None:
    assert sentinel.Manager({"WATCHDOG_USEC": "²"}).interval == 0.0


# ── Texts of any length ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_long_error_of_a_container_is_told_in_no_time() -> None:
    container = Container("1", "web", status="exited", error='exec: "' + "-eyJ" * 32_000 + '": not found')
    with fuzz.limited(2.0):
        insides.notice_record(Notice(Verdict.DEAD, "web", 1000.0, container, error=container.error), NOW)


def test_a_line_of_the_record_is_bounded() -> None:
    _, (warning,) = sentinel.policy_of(Container("1", "web", {"sentinel.job": "x" * 70_000}), Settings(), "")
    answer = sentinel.Answer(400, {}, json.dumps({"message": "x" * 70_000}).encode())
    for text in (warning, sentinel.verdict_on("webhook", answer).why):
        assert len(sentinel.log_line("warning", text, NOW, "text")) < LONGEST_LINE


def test_the_same_nonsense_for_a_while_takes_no_more_memory(clock: Clock) -> None:
    """Events, rows, log bytes and requests that make no sense, again and again: what is held does not grow."""
    targets = [TARGETS[name] for name in ("event", "row", "logs", "http")]
    cases = [(target, fuzz.made(target, "memory", index)) for target in targets for index in range(15)]

    def round_of_all() -> int:
        for target, case in cases:
            fuzz.tried(target, case)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        round_of_all()
        first = round_of_all()
        last = [round_of_all() for _ in range(6)][-1]
        assert last - first < 200_000
    finally:
        tracemalloc.stop()


def test_discord_takes_what_is_told_of_the_oddest_container(engine: FakeEngine, clock: Clock, tmp_path: Path) -> None:
    """The whole way, to a strict Discord: names, labels and logs out of nonsense."""
    with FakeDiscord(clock=lambda: clock.at, wall=clock.time) as discord:
        odd = "```\u202e<@&12345678>@everyone\x1b[31m" + "x" * 3000
        web = engine.add("web", project="shop", service=odd, labels={"sentinel.settle": odd}, started_ago=60.0)
        engine.log(web, odd, odd)
        hook = sentinel.webhook(discord.add_webhook().url)
        with Life(engine, tmp_path, clock, webhook_url=hook) as life:
            life.run(5)
            engine.crash(web, 3)
            life.run(60)
        assert len(discord.messages) >= 2 and not discord.refused and not discord.lint
