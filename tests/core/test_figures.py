"""Figures: what Prometheus, Nagios, systemd's journal and other programs read, each by the rules of its form."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from support.headers import headers_of

import sentinel
from sentinel import (
    Container,
    Figures,
    Histogram,
    Incident,
    Notice,
    Outage,
    Outbox,
    SettingError,
    Settings,
    State,
    Verdict,
    Watchdog,
    handler_of,
    journal_is,
    listen_address,
    log_line,
    metrics,
    nagios_text,
    quiet_windows,
    status_document,
    take_words,
    words_of,
)

NOW = 1_000.0


# ─── Prometheus' text form, by the rules of its documentation and of `promtool check metrics` ─────────────────

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{LABEL},?)*)\}})? (\S+)", re.ASCII)
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)


def complaints(text: str) -> tuple[list[str], Samples]:
    """What promtool would say against a text, and the samples in it."""
    found = [] if text.endswith("\n") and "\n\n" not in text else ["every line ends with one newline"]
    helps, kinds, values, order = dict[str, str](), dict[str, str](), Samples(), list[str]()
    for line in text.removesuffix("\n").split("\n"):
        if comment := re.fullmatch(rf"# (HELP|TYPE) ({NAME}) (.+)", line, re.ASCII):
            order.append(comment[2])
            known = helps if comment[1] == "HELP" else kinds
            found += [f"a second {comment[1]} of {comment[2]}"] if comment[2] in known else []
            known[comment[2]] = comment[3]
        elif sample := SAMPLE.fullmatch(line):
            name, labels = sample[1], tuple((key, unescaped(value)) for key, value in re.findall(LABEL, sample[2] or ""))
            order.append(next((name.removesuffix(end) for end in SUFFIXES["histogram"]
                               if name.endswith(end) and kinds.get(name.removesuffix(end)) == "histogram"), name))
            known_before = order[-1] in helps and order[-1] in kinds
            found += [] if known_before else [f"{name} without HELP and TYPE before it"]
            found += [f"a label twice: {line}"] if len(dict(labels)) != len(labels) else []
            found += [f"a series twice: {line}"] if (name, labels) in values else []
            values[name, labels] = float(sample[sample.lastindex or 0])
        else:
            found.append(f"no sample: {line!r}")
    families = [family for family, _ in itertools.groupby(order)]
    found += [f"{family} is split" for family in set(families) if families.count(family) > 1]
    return found + style(helps, kinds, values), values


def style(helps: Mapping[str, str], kinds: Mapping[str, str], values: Samples) -> list[str]:
    """Names by the conventions, histograms that add up."""
    found = [f"{name} has HELP or TYPE only" for name in helps.keys() ^ kinds.keys()]
    found += [f"no type: {kind}" for kind in kinds.values() if kind not in ("counter", "gauge", "histogram", "summary")]
    for name, kind in kinds.items():
        if (kind == "counter") != name.endswith("_total"):
            found.append(f"{name}: _total is for counters, and for all of them")
        if re.search(r"_(bucket|sum|count|gauge|counter|histogram|ms|millis|milliseconds|minutes)(_|$)", name):
            found.append(f"{name}: a word that is no part of a good name")
        if not any(key == name or key in [name + end for end in SUFFIXES.get(kind, ())] for key, _ in values):
            found.append(f"{name} has no sample")
        if kind == "histogram":
            buckets = [(float(dict(labels)["le"]), value) for (key, labels), value in values.items()
                       if key == f"{name}_bucket"]
            edges, counts = [edge for edge, _ in buckets], [count for _, count in buckets]
            if edges != sorted(set(edges)) or not edges or edges[-1] != float("inf"):
                found.append(f"{name}: its buckets do not rise to +Inf")
            if counts != sorted(counts) or counts[-1] != values.get((f"{name}_count", ())):
                found.append(f"{name}: its buckets are not cumulative")
            if (f"{name}_sum", ()) not in values:
                found.append(f"{name}: no sum")
    return found + [f"{key}: a counter below zero" for (key, _), value in values.items()
                    if kinds.get(key) == "counter" and value < 0]


GOOD = """\
# HELP a_total What.
# TYPE a_total counter
a_total{x="a\\\\b\\"c\\nd"} 1
a_total{x="e"} 2
# HELP h_seconds How long.
# TYPE h_seconds histogram
h_seconds_bucket{le="1.0"} 1
h_seconds_bucket{le="+Inf"} 2
h_seconds_sum 3.5
h_seconds_count 2
"""


def test_the_rules_of_this_file_find_what_is_wrong() -> None:
    assert complaints(GOOD)[0] == []
    assert complaints(GOOD)[1]["a_total", (("x", 'a\\b"c\nd'),)] == 1
    for before, after in (
        ("# HELP a_total What.\n", ""), ("# TYPE a_total counter\n", ""), ("a_total", "a"), ("counter", "gauge"),
        ("# TYPE a_total counter", "# TYPE a_total sort"), ('x="e"', 'x="a\\\\b\\"c\\nd"'), ('x="e"', 'x="e'),
        ('"e"', '"\\t"'),
        ('x="e"', '9="e"'), ('x="e"', 'x="e",x="f"'), ('"+Inf"', '"2.0"'), ("h_seconds_count 2", "h_seconds_count 3"),
        ('{le="1.0"} 1', '{le="1.0"} 5'), ("h_seconds_sum 3.5\n", ""), ("h_seconds", "h_milliseconds"),
        ("} 2\nh", "} 2\n\nh"),
        ("h_seconds_count 2\n", 'h_seconds_count 2\na_total{x="g"} 2\n'), ("h_seconds_count 2\n", "h_seconds_count 2"),
        ('a_total{x="e"} 2', "a_total{x='e'} 2"), ("1\na_total", "-1\na_total"),
    ):  # fmt: skip
        assert before in GOOD and complaints(GOOD.replace(before, after))[0], (before, after)


def container(name: str, project: str = "shop", service: str = "", number: str = "1", **facts: Any) -> Container:
    labels = {"com.docker.compose.project": project, "com.docker.compose.service": service or name,
              "com.docker.compose.container-number": number} if project else {}  # fmt: skip
    given = {"status": "running", "started_time": 1.8e9 - 60, **facts}
    return Container(f"{name:a<64}", name, labels | given.pop("labels", {}), **given)


def watching(*containers: Container, **settings: Any) -> Watchdog:
    watchdog = Watchdog(Settings(**{"watch": "all", **settings}))
    watchdog.adopt_all(containers, NOW)
    assert len(watchdog.services) == len({made.key for made in containers})
    return watchdog


def read(watchdog: Watchdog, outboxes: Mapping[str, Outbox] | None = None, figures: Figures | None = None) -> Samples:
    """The samples of a text that promtool would have nothing against."""
    found, values = complaints(metrics(watchdog, outboxes or {}, figures or Figures(), NOW))
    assert found == []
    return values


def about(project: str, service: str) -> tuple[tuple[str, str], ...]:
    return ("project", project), ("service", service)


def test_metrics_before_anything_is_known_are_well_formed() -> None:
    values = read(Watchdog(Settings()))
    assert values["sentinel_build_info", (("version", sentinel.__version__),)] == 1
    assert values["sentinel_event_stream_reconnects_total", ()] == 0


def test_up_and_down_are_told_by_project_and_service() -> None:
    watchdog = watching(container("web"), container("db", status="exited", exit_code=3), container("bare", ""),
                        container("web", "blog"))
    values = read(watchdog)
    up = {labels: value for (name, labels), value in values.items() if name == "sentinel_service_up"}
    assert up == {about("shop", "web"): 1, about("shop", "db"): 0, about("", "bare"): 1, about("blog", "web"): 1}


def test_replicas_are_series_of_their_own() -> None:
    values = read(watching(container("web-1", service="web"), container("web-2", service="web", number="2")))
    assert {labels for name, labels in values if name == "sentinel_service_up"} == {
        about("shop", "web"), about("shop", "web-2")}  # fmt: skip


ONEOFF = {"com.docker.compose.oneoff": "True"}

@pytest.mark.parametrize("other", [
    container("shop-web-run-1a2b", service="web", labels=ONEOFF),
    replace(container("shop-web-x"), labels={"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}),
    container("web-2", service="web-2"),
], ids=["compose run", "no number", "a service with the name of a replica"])
def test_what_runs_beside_a_service_is_a_series_of_its_own(other: Container) -> None:
    services = container("web-1", service="web"), container("web-2b", service="web", number="2")
    read(watching(*services, other))


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\\", "a\nb", '{x="y"} 1', "ü–日本", "a b", "#", "a,b=", "a\\nb"])
def test_whatever_a_label_says_the_page_stays_well_formed(text: str) -> None:
    figures, watchdog = Figures(), watching(container("web", text, text))
    figures.count("deaths", *watchdog.services.values())
    values = read(watchdog, figures=figures)
    shown = sentinel.clean(text)
    assert values["sentinel_service_up", about(shown, shown)] == values["sentinel_deaths_total", about(shown, shown)] == 1


def test_counters_count() -> None:
    figures, watchdog = Figures(), watching(container("web"), container("db"))
    web, db = watchdog.services.values()
    for _ in range(3):
        figures.count("deaths", web)
    figures.count("restarts", db)
    figures.count("restarts", None)
    figures.streams = 3
    values = read(watchdog, figures=figures)
    assert values["sentinel_deaths_total", about("shop", "web")] == 3
    assert values["sentinel_restarts_total", about("shop", "db")] == 1
    assert values["sentinel_event_stream_reconnects_total", ()] == 2


def test_the_outbox_is_told_by_channel_with_its_depth_and_age() -> None:
    waiting, idle = Outbox("webhook"), Outbox("bot")
    waiting.waiting += [Notice(Verdict.DEAD, name, NOW - age) for name, age in (("a", 90), ("b", 5), ("c", -9))]
    values = read(Watchdog(Settings()), {"webhook": waiting, "bot": idle})
    assert values["sentinel_outbox_notices", (("channel", "webhook"),)] == 3
    assert values["sentinel_outbox_oldest_age_seconds", (("channel", "webhook"),)] == 90
    assert values["sentinel_outbox_oldest_age_seconds", (("channel", "bot"),)] == 0


def test_an_engine_that_is_away_is_told() -> None:
    watchdog = Watchdog(Settings())
    assert read(watchdog)["sentinel_engine_up", ()] == 1
    watchdog.lost_at = NOW - 3
    assert read(watchdog)["sentinel_engine_up", ()] == 0


@pytest.mark.parametrize("times", [[], [0.0], [0.05], [0.0501], [-1.0], [1e9], [0.01, 0.2, 0.2, 4, 100, 1000]])
def test_a_histogram_adds_up(times: list[float]) -> None:
    figures = Figures()
    for seconds in times:
        figures.detection.add(seconds)
    values = read(Watchdog(Settings()), figures=figures)
    name = "sentinel_detection_seconds"
    assert values[f"{name}_count", ()] == len(times)
    assert values[f"{name}_sum", ()] == pytest.approx(sum(max(0.0, seconds) for seconds in times))
    for (key, labels), value in values.items():
        if key == f"{name}_bucket":
            assert value == sum(seconds <= float(labels[0][1]) for seconds in times), labels


def test_every_metric_of_the_table_is_one_that_is_written() -> None:
    figures, watchdog = Figures(), watching(container("web"))
    for what in figures.counts:
        figures.count(what, *watchdog.services.values())
    text = metrics(watchdog, {"webhook": Outbox("webhook")}, figures, NOW)
    assert set(re.findall(r"# TYPE (\S+)", text)) == set(sentinel.METRICS)


def test_a_histogram_has_room_for_what_is_too_long() -> None:
    histogram = Histogram()
    histogram.add(1e12)
    assert histogram.counts == [0] * len(sentinel.BUCKETS) + [1]


# ─── The status document ──────────────────────────────────────────────────────────────────────────────────────


def test_the_status_document_says_how_things_stand() -> None:
    watchdog = watching(container("web"), container("db", status="exited"))
    watchdog.host = "box"
    db = next(service for service in watchdog.services.values() if service.container.name == "db")
    outage = Outage(7, NOW - 5, db.key, [db.key])
    watchdog.outages[7] = outage
    db.incident, db.attempts = Incident(outage, NOW - 5, Notice(Verdict.DEAD, "db", NOW - 5)), 2
    box = Outbox("webhook")
    box.waiting.append(Notice(Verdict.DEAD, "db", NOW - 5))
    document = status_document(watchdog, {"webhook": box}, 1.8e9)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["version"], document["host"], document["engine"]) == (sentinel.__version__, "box", "up")
    one = {item["service"]: item for item in document["services"]}
    assert set(one) == {"web", "db"}
    assert (one["web"]["incident"], one["db"]["incident"], one["db"]["attempts"]) == (None, 7, 2)
    assert document["outages"] == [{"incident": 7, "root": db.key, "began": 1.8e9 + NOW - 5, "members": [db.key]}]
    assert document["outbox"] == {"webhook": {"waiting": 1, "retired": ""}}
    watchdog.lost_at = NOW
    assert status_document(watchdog, {}, 0.0)["engine"] == "down"


def test_the_status_document_tells_a_container_from_its_siblings() -> None:
    watchdog = watching(container("web-1", service="web"), container("web-2", service="web", number="2"))
    names = [item["name"] for item in status_document(watchdog, {}, 0.0)["services"]]
    assert len(set(names)) == 2


# ─── Nagios' plugin form ──────────────────────────────────────────────────────────────────────────────────────

PERFDATA = re.compile(r"(?:'[^'=]+'|[^\s'=]+)=-?[\d.]+(?:s|%|B|c)?(?:;[\d.:~@-]*){0,4}")


def plugin_output(text: str) -> tuple[str, dict[str, float], list[str]]:
    """Its words, figures and long output; AssertionError where Nagios would read something else."""
    first, *rest = text.split("\n")
    assert first.count("|") == 1 and not any("|" in line for line in rest), "what follows a bar is figures"
    assert text.isprintable() or all(line.isprintable() for line in text.split("\n")), "control characters"
    words, figures = first.split("|")
    assert re.match(r"SENTINEL (OK|WARNING|CRITICAL|UNKNOWN): \S", words)
    assert len(first) < 4096, "a line of Nagios's"
    parts = figures.split()
    assert parts and all(PERFDATA.fullmatch(part) for part in parts)
    values = {name: float(value.split(";")[0]) for name, _, value in (part.partition("=") for part in parts)}
    return words.strip(), values, rest


def state(name: str, word: str = "UP", severity: int = 0, why: str = "") -> State:
    return State(name, word, 0.0, why, severity)


def test_nagios_reads_the_bad_ones_in_its_first_line_and_all_in_the_rest() -> None:
    states = [state("db", "DEAD", 2, "exit 3"), state("web", "PAUSED", 1), state("cache", why="healthy"), state("queue")]
    words, figures, rest = plugin_output(nagios_text(states, 2, []))
    assert words == "SENTINEL CRITICAL: db DEAD (exit 3), web PAUSED"
    assert figures == {"services": 4, "up": 2, "warning": 1, "critical": 1}
    assert rest == ["db: DEAD exit 3", "web: PAUSED", "cache: UP healthy", "queue: UP"]


@pytest.mark.parametrize(("worst", "trouble", "words"), [
    (0, [], "SENTINEL OK: 1 service up"), (3, ["nobody answers"], "SENTINEL UNKNOWN: nobody answers")])
def test_nagios_reads_how_it_stands_where_nothing_is_down(worst: int, trouble: list[str], words: str) -> None:
    assert plugin_output(nagios_text([state("web")], worst, trouble))[0] == words
    assert plugin_output(nagios_text([], 3, ["nobody answers"]))[1]["services"] == 0


def test_a_bar_in_a_name_or_a_reason_is_no_figure_for_nagios() -> None:
    states = [state("a|b=1", "DEAD", 2, "x | y=2;3"), state("c|d")]
    words, figures, rest = plugin_output(nagios_text(states, 2, ["e|f"]))
    assert set(figures) == {"services", "up", "warning", "critical"} and len(rest) == 2
    assert "a/b=1" in words


@pytest.mark.parametrize("why", ["no such\nfile | x=1", "a\r\nb", "a\x1b[31mb", "a\tb\x00"])
def test_whatever_the_reason_says_a_service_is_one_line_for_nagios(why: str) -> None:
    _, _, rest = plugin_output(nagios_text([state("web", "DEAD", 2, f"can't start: {why}")], 2, []))
    assert len(rest) == 1


def test_a_failed_start_of_several_lines_is_one_line_of_the_table() -> None:
    failed = container("web", status="created", error="OCI runtime create failed:\nexec: no such file")
    assert "\n" not in sentinel.state_of(failed, False, None).why


def test_nagios_first_line_is_short_however_much_is_down() -> None:
    states = [state(f"service-{number}", "DEAD", 2, "exit 3 " + "x" * 90) for number in range(500)]
    words, figures, rest = plugin_output(nagios_text(states, 2, []))
    assert len(words) <= 1000 and figures["critical"] == 500 and len(rest) == 500


# ─── Settings of this part ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("text", "address"), [
    ("9180", "127.0.0.1:9180"), (":9180", "127.0.0.1:9180"), ("127.0.0.1:9180", "127.0.0.1:9180"), ("", ""), ("  ", ""),
    ("0.0.0.0:80", "0.0.0.0:80"), ("[::1]:9180", "[::1]:9180"), ("box.example-1:1", "box.example-1:1"),
    (" 9180 ", "127.0.0.1:9180"), ("65535", "127.0.0.1:65535"),
])
def test_a_port_alone_is_this_machine_only(text: str, address: str) -> None:
    assert listen_address(text) == address


@pytest.mark.parametrize("text", ["0", "65536", "99999", "host", "host:", "::1:9180", "http://127.0.0.1:9180", "1:2:3",
                                  "a b:1", "-1", "127.0.0.1:0", "9180/x", "[::1]", "127.0.0.1:http"])
def test_what_is_no_address_to_listen_on_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9180"):
        listen_address(text)


@pytest.mark.parametrize(("parse", "text"), [(listen_address, "٩١٨٠"), (sentinel.count, "٣"), (sentinel.duration, "٣s")])
def test_digits_of_other_scripts_are_no_numbers(parse: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@pytest.mark.parametrize(("text", "windows"), [
    ("", ()), ("03:00-04:30", ((180, 270),)), ("23:00-01:00, 12:00-12:15", ((1380, 60), (720, 735))),
    ("3:00 - 4:00,", ((180, 240),)),
])
def test_quiet_windows_are_minutes_of_the_day(text: str, windows: Any) -> None:
    assert quiet_windows(text) == windows


@pytest.mark.parametrize("text", ["24:00-01:00", "03:00", "03:60-04:00", "03:00-03:00", "3-4", "03:00-04:00-05:00", "x"])
def test_what_is_no_quiet_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write 03:00-04:30"):
        quiet_windows(text)


def test_a_notify_token_is_a_secret_with_a_file_twin() -> None:
    settings, _ = sentinel.load_settings({}, {"SENTINEL_NOTIFY_TOKEN_FILE": "/run/t"}, lambda path: "abc-def-ghi\n")
    assert str.__str__(settings.notify_token) == "abc-def-ghi"
    assert "abc-def-ghi" not in repr(settings) + "\n".join(sentinel.settings_lines(settings)) + f"{settings.notify_token}"
    assert "abc-def-ghi" not in sentinel.mask("it is abc-def-ghi", settings)
    with pytest.raises(SettingError, match="SENTINEL_NOTIFY_TOKEN"):
        sentinel.load_settings({}, {"SENTINEL_NOTIFY_TOKEN": "a b"}, str)


@pytest.mark.parametrize("variable", ["SENTINEL_HEARTBEAT_URL"])
@pytest.mark.parametrize("text", ["hc-ping.com/uuid", "ftp://x/y", "https://", "https://x:0/", "https://x:99999/"])
def test_what_is_no_address_of_a_dead_mans_switch_is_refused(variable: str, text: str) -> None:
    with pytest.raises(SettingError, match=f"^{variable}"):
        sentinel.load_settings({}, {variable: text}, str)


# ─── The journal ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("level", "priority"), [("error", 3), ("warning", 4), ("info", 6), ("other", 6)])
def test_the_journal_reads_priorities_and_has_its_own_clock(level: str, priority: int) -> None:
    assert log_line(level, "web is DEAD", NOW, "journal") == f"<{priority}>web is DEAD"


@pytest.mark.parametrize("form", ["journal", "text", "json"])
def test_a_line_of_the_record_is_one_line_without_secrets_in_every_form(form: str) -> None:
    line = log_line("error", "a\nb\r\n<0>c \x1b[31mpassword=hunter22", NOW, form)
    assert "\n" not in line and "\r" not in line and "\x1b" not in line and "hunter22" not in line


def test_the_journal_is_known_by_its_file() -> None:
    reader, writer = os.pipe()
    try:
        there = os.fstat(writer)
        name = f"{there.st_dev}:{there.st_ino}"
        assert journal_is({"JOURNAL_STREAM": name}, writer)
        assert not journal_is({"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino + 1}"}, writer)
        assert not journal_is({"JOURNAL_STREAM": "rubbish"}, writer)
        assert not journal_is({}, writer)
    finally:
        os.close(reader)
        os.close(writer)
    assert not journal_is({"JOURNAL_STREAM": name}, writer), "a descriptor that is closed"


# ─── The words of others ──────────────────────────────────────────────────────────────────────────────────────

TOKEN = "agent-007"
AUTHORISED = {"authorization": f"Bearer {TOKEN}"}


def posted(body: bytes, headers: Mapping[str, str] | None = None, path: str = "/notify", token: str = TOKEN,
           size: str | None = None) -> tuple[int, str, list[Notice]]:
    """Status, text, and what was handed on."""
    taken: list[Notice] = []

    def ask(_: str, words: Notice) -> tuple[int, str, str]:
        taken.append(words)
        return 202, "text/plain", "taken\n"

    given = headers_of((headers if headers is not None else AUTHORISED).items())
    given["content-length"] = str(len(body)) if size is None else size
    stream = iter([body])
    status, _, text = take_words(path, given, lambda size: next(stream)[: size if size >= 0 else None], token, ask)
    return status, text, taken


def words(**fields: Any) -> bytes:
    return json.dumps({"title": "backup", "message": "done"} | fields).encode()


@pytest.mark.parametrize(("level", "verdict"), [
    ("info", Verdict.INFO), ("warning", Verdict.WARNING), ("error", Verdict.ERROR), (None, Verdict.INFO)])
def test_the_words_of_others_are_taken_by_their_level(level: str | None, verdict: Verdict) -> None:
    status, _, (notice,) = posted(words(level=level) if level else words())
    assert (status, notice.verdict, notice.name, notice.plan) == (202, verdict, "backup", "done")
    assert not notice.mention and not notice.open


@pytest.mark.parametrize("headers", [
    {}, {"X-Token": TOKEN}, *({"Authorization": words} for words in (
        "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"bearer-{TOKEN}", TOKEN, "Bearer ***", "Basic x", "Bearer \xe9\xff")),
])
def test_who_has_no_token_is_told_401_whatever_else_is_wrong(headers: Mapping[str, str]) -> None:
    for body in (words(), b"rubbish", b"x" * 99_999):
        status, text, taken = posted(body, headers)
        assert (status, taken) == (401, []) and TOKEN not in text


def test_without_a_token_there_is_no_such_place() -> None:
    for headers in ({}, {"Authorization": "Bearer "}, AUTHORISED):
        assert posted(words(), headers, token="")[0] == 404
    for path in ("/", "/notify/", "/notifyx", "/status", "/metrics", "//notify"):
        assert posted(words(), path=path)[0] == 404
    assert posted(words(), path="/notify?x=1")[0] == 202


@pytest.mark.parametrize(("field", "values"), [
    ("title", ["", "  ", "x" * 201, 5, None, ["a"], {}, True]), ("message", ["", "\n", "x" * 2001, 5, None, [], False]),
    ("level", ["fatal", "INFO", "dead", "DEAD"]),
])
def test_a_field_that_makes_no_sense_is_400_by_its_name(field: str, values: Iterable[object]) -> None:
    for value in values:
        status, text, taken = posted(words(**{field: value}))
        assert (status, taken) == (400, []) and text.startswith(f"{field}:") and text.endswith("\n"), value


@pytest.mark.parametrize("level", [5, ["error"], {"error": 1}, True])
def test_a_level_that_is_no_text_is_400(level: object) -> None:
    assert posted(words(level=level))[0] == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"5", b"null", b"\xff\xfe{", b"{}", b"[" * 16_000, b"\x00" * 40,
                                  b"title=a&message=b", b'{"title": "a", "message": "b"} x', b"1" * 10_000])
def test_what_is_no_json_object_is_400(body: bytes) -> None:
    assert posted(body)[::2] == (400, [])


def test_lengths_are_counted_to_the_letter() -> None:
    assert posted(words(title="x" * 200, message="y" * 2000))[0] == 202
    assert posted(words(title="日" * 200, message="ü" * 2000))[0] == 202


def test_more_than_fits_is_413_and_not_even_read() -> None:
    def never(size: int) -> bytes:
        raise AssertionError("read")

    for size in (sentinel.BODY_LIMIT + 1, 999_999_999):
        headers = headers_of((AUTHORISED | {"content-length": str(size)}).items())
        assert take_words("/notify", headers, never, TOKEN, lambda *_: (202, "", ""))[0] == 413
    assert posted(words(message="x" * 100).ljust(sentinel.BODY_LIMIT))[0] == 202


@pytest.mark.parametrize("size", ["9" * 12, "99999999999999999999"])
def test_a_length_beyond_all_numbers_is_413(size: str) -> None:
    assert posted(words(), size=size)[0] == 413


@pytest.mark.parametrize("size", ["-1", "-999"])
def test_a_negative_length_reads_nothing(size: str) -> None:
    asked: list[int] = []

    def stream(size: int) -> bytes:
        asked.append(size)
        return words()

    headers = headers_of((AUTHORISED | {"content-length": size}).items())
    status = take_words("/notify", headers, stream, TOKEN, lambda *_: (202, "", ""))[0]
    assert status == 400 and not [size for size in asked if size < 0]


def test_secrets_in_the_words_of_others_are_not_kept() -> None:
    notice = words_of({"title": "login password=hunter22", "message": "Authorization: Bearer abcdefgh12345"})
    assert "hunter22" not in repr(notice) and "abcdefgh12345" not in repr(notice)


def test_half_characters_do_not_get_into_the_record() -> None:
    notice = words_of({"title": "a \ud800 b", "message": "c \udfff d"})
    document = sentinel.notice_record(notice, 0.0)
    incidents = sentinel.incidents_of({"1": document}, {}, {})
    sentinel.history_table(incidents).encode()
    json.dumps(incidents, ensure_ascii=False).encode()


@pytest.mark.parametrize("text", ["\x00", "\x1b[31m", "\u202e"])
def test_words_that_show_nothing_are_none(text: str) -> None:
    for field in ("title", "message"):
        with pytest.raises(ValueError, match=field):
            words_of({"title": "a", "message": "b"} | {field: text})


def test_the_words_of_others_are_no_open_incident() -> None:
    notice = replace(words_of({"title": "backup", "message": "done"}), id=1, at=NOW)
    for incident in sentinel.incidents_of({"1": sentinel.notice_record(notice, 0.0)}, {}, {}):
        assert incident["end"] is not None


def test_a_message_of_several_lines_keeps_them() -> None:
    job = sentinel.Deliver("webhook", (replace(words_of({"title": "t", "message": "one\ntwo"}), at=NOW),), "box", "1")
    assert "one\ntwo" in sentinel.message_of(job, NOW, 0.0)["embeds"][0]["description"]


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_the_words_of_others_never_ping_anyone(level: str) -> None:
    said = "@everyone @here <@123456789012345678> <@&123456789012345678>"
    notices = [replace(words_of({"title": said, "message": said, "level": level}), at=NOW)] * 3
    for many in itertools.chain([notices[:1], notices], [notices * 5]):
        message = sentinel.message_of(sentinel.Deliver("webhook", tuple(many), "box", "1"), NOW, 0.0)
        assert message["allowed_mentions"] == {"parse": [], "roles": [], "users": []}
        assert "content" not in message


def test_the_handler_says_nothing_of_itself_but_what_it_must() -> None:
    handler = handler_of("", lambda *_: (200, "text/plain", ""))
    assert handler.timeout == sentinel.HTTP_PATIENCE
    assert handler.log_message is not handler.__mro__[1].log_message
