"""Figures: what Prometheus, Nagios and other programs read, each by the rules of its form."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from support import insides

import sentinel
from sentinel import (
    Container,
    Figures,
    Histogram,
    Incident,
    Notice,
    Outage,
    Outbox,
    Settings,
    State,
    Verdict,
    Watchdog,
    metrics,
    nagios_text,
    status_document,
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
    watchdog.roster.adopt_all(containers, NOW)
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
    watchdog.observe(sentinel.ListFailed("no such socket"), NOW - 3)
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
    watchdog.fleet.join([sentinel.Medium.CHANNEL], "a1b2c3", "box", NOW)
    text = metrics(watchdog, {"webhook": Outbox("webhook")}, figures, NOW)
    assert set(re.findall(r"# TYPE (\S+)", text)) == set(sentinel.METRICS)


def test_a_histogram_has_room_for_what_is_too_long() -> None:
    histogram = Histogram()
    histogram.add(1e12)
    assert histogram.counts == [0] * len(sentinel.BUCKETS) + [1]


# ─── The status document ──────────────────────────────────────────────────────────────────────────────────────


def test_the_status_document_says_how_things_stand() -> None:
    watchdog = watching(container("web"), container("db", status="exited"))
    insides.introduce(watchdog, host="box")
    db = next(service for service in watchdog.services.values() if service.container.name == "db")
    outage = Outage(7, NOW - 5, db.key, [db.key])
    insides.outages(watchdog)[7] = outage
    db.incident, db.budget = Incident(outage, NOW - 5, Notice(Verdict.DEAD, "db", NOW - 5)), sentinel.Budget(2)
    box = Outbox("webhook")
    box.waiting.append(Notice(Verdict.DEAD, "db", NOW - 5))
    document = status_document(watchdog, {"webhook": box}, 1.8e9, NOW)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["version"], document["host"], document["engine"]) == (sentinel.__version__, "box", "up")
    one = {item["service"]: item for item in document["services"]}
    assert set(one) == {"web", "db"}
    assert (one["web"]["incident"], one["db"]["incident"], one["db"]["attempts"]) == (None, 7, 2)
    assert document["outages"] == [{"incident": 7, "root": db.key, "began": 1.8e9 + NOW - 5, "members": [db.key]}]
    assert document["outbox"] == {"webhook": {"waiting": 1, "retired": ""}}
    watchdog.observe(sentinel.ListFailed("no such socket"), NOW)
    assert status_document(watchdog, {}, 0.0, NOW)["engine"] == "down"


def test_the_status_document_tells_a_container_from_its_siblings() -> None:
    watchdog = watching(container("web-1", service="web"), container("web-2", service="web", number="2"))
    names = [item["name"] for item in status_document(watchdog, {}, 0.0, NOW)["services"]]
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
    assert "\n" not in insides.state_of(failed, False, None).why


def test_nagios_first_line_is_short_however_much_is_down() -> None:
    states = [state(f"service-{number}", "DEAD", 2, "exit 3 " + "x" * 90) for number in range(500)]
    words, figures, rest = plugin_output(nagios_text(states, 2, []))
    assert len(words) <= 1000 and figures["critical"] == 500 and len(rest) == 500
