"""Reading: the engine's words to values. Whatever an engine, a proxy or Podman says, no reader ever raises."""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sentinel
from sentinel import Container, Health, Settings

INSPECT = {
    "Id": "ab12", "Name": "/shop-web-1", "RestartCount": 2,
    "State": {"Status": "running", "Running": True, "ExitCode": 0, "OOMKilled": False, "Error": "",
              "StartedAt": "2026-11-22T03:16:28.061663556Z", "FinishedAt": "0001-01-01T00:00:00Z",
              "Health": {"Status": "unhealthy", "FailingStreak": 3,
                         "Log": [{"ExitCode": 0, "Output": "fine"}, {"ExitCode": 1, "Output": "connection refused\n"}]}},
    "Config": {"Labels": {"com.docker.compose.project": "shop", "com.docker.compose.service": "web",
                          "com.docker.compose.container-number": "1", "com.docker.compose.oneoff": "False"},
               "StopSignal": "SIGQUIT", "StopTimeout": 30, "Tty": True},
    "HostConfig": {"RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}, "NetworkMode": "container:cd34",
                   "AutoRemove": False, "Memory": 67108864},
}
ROW = {"Id": "ab12", "Names": ["/shop-web-1"], "State": "running", "Status": "Up 2 minutes (unhealthy)"}
EVENT = {"Type": "container", "Action": "die", "scope": "local", "time": 1795314890, "timeNano": 1795314890310123456,
         "Actor": {"ID": "ab12", "Attributes": {"exitCode": "3", "signal": "9", "image": "busybox", "name": "shop-web-1"}}}
ABSURD = (None, True, False, 0, -1, 1.5, 10**30, 10**400, float("nan"), float("inf"), "", "x", "\ud800", "a" * 5000,
          "-", "null",
          [], [None], [[]], {}, {"": None}, {"a": {"b": 1}}, "9999-99-99T99:99:99Z", "2026-02-30T00:00:00Z", "SIG", "\x00")


# ─── Tolerance ────────────────────────────────────────────────────────────────────────────────────────────────


def paths(document: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a document."""
    yield here
    items = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in items:
        yield from paths(value, (*here, key))


def mutated(document: Any, path: tuple[Any, ...], value: Any, missing: bool = False) -> Any:
    """A document with one thing in it replaced, or left out."""
    if not path:
        return value
    changed = copy.deepcopy(document)
    place = changed
    for key in path[:-1]:
        place = place[key]
    if missing:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


def use(value: Any) -> None:
    """Everything that is asked of a value once it is read."""
    match value:
        case Container():
            assert isinstance(value.key, str) and isinstance(value.sick, bool) and isinstance(value.oneoff, bool)
            assert value.patience >= 0 and isinstance(value.exit_code, int)
            sentinel.policy_of(value, Settings(), "")
            sentinel.depends_on(value.labels)
        case sentinel.Heard():
            assert isinstance(value.time, float) and isinstance(value.health, Health)
        case sentinel.Row():
            assert isinstance(value.id, str) and isinstance(value.status, str)


READERS = pytest.mark.parametrize(("reader", "document"), [
    (sentinel.container_of, INSPECT), (sentinel.row_of, ROW), (sentinel.event_of, EVENT)], ids=["inspect", "row", "event"])


@READERS
def test_no_reader_raises_whatever_one_value_is(reader: Callable[[Any], Any], document: Any) -> None:
    for path in paths(document):
        for value in ABSURD:
            use(reader(mutated(document, path, value)))


@READERS
def test_no_reader_raises_whatever_is_missing(reader: Callable[[Any], Any], document: Any) -> None:
    for path in paths(document):
        use(reader(mutated(document, path, None, missing=True)))


@READERS
def test_no_reader_raises_whatever_several_values_are(reader: Callable[[Any], Any], document: Any) -> None:
    dice = random.Random(7)
    for _ in range(300):
        changed = document
        for _ in range(dice.randint(2, 6)):
            changed = mutated(changed, dice.choice(list(paths(changed))), dice.choice(ABSURD))
        use(reader(changed))


# ─── inspect ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_inspect_becomes_a_container() -> None:
    container = sentinel.container_of(INSPECT)
    assert (container.id, container.name, container.key) == ("ab12", "shop-web-1", "shop/web/1")
    assert (container.status, container.health, container.failing_streak) == ("running", Health.UNHEALTHY, 3)
    assert (container.probe_output, container.sick) == ("connection refused\n", True)
    assert container.started_time == pytest.approx(1795317388.061663556) and container.finished_time == 0.0
    assert (container.stop_signal, container.stop_timeout, container.tty) == (3, 30.0, True)
    assert (container.restart_policy, container.restart_count, container.memory_limit) == ("unless-stopped", 2, 2**26)
    assert container.network_mode == "container:cd34" and not container.oneoff


def test_an_empty_inspect_becomes_the_defaults() -> None:
    container = sentinel.container_of({})
    assert (container.status, container.restart_policy) == ("unknown", "no")
    assert (container.stop_signal, container.stop_timeout, container.patience) == (15, None, 10.0)


@pytest.mark.parametrize(("status", "streak", "sick"), [("running", 3, True), ("running", 0, False), ("paused", 3, False),
                                                        ("exited", 3, False), ("restarting", 3, False)])
def test_unhealthy_counts_only_by_a_probe_of_a_container_that_runs(status: str, streak: int, sick: bool) -> None:
    assert Container("a", status=status, health=Health.UNHEALTHY, failing_streak=streak).sick is sick


@pytest.mark.parametrize(("labels", "key"), [
    ({"com.docker.compose.project": "p", "com.docker.compose.service": "s", "com.docker.compose.container-number": "2"},
     "p/s/2"),
    ({"com.docker.compose.project": "p", "com.docker.compose.service": "s", "com.docker.compose.oneoff": "True"}, "name"),
    ({"com.docker.swarm.task.name": "stack_web.3.abcdef"}, "stack_web.3"),
    ({}, "name"),
])
def test_a_key_stays_when_the_container_is_replaced(labels: dict[str, str], key: str) -> None:
    assert Container("id", name="name", labels=labels).key == key


@pytest.mark.parametrize(("text", "number"), [
    ("SIGTERM", 15), ("TERM", 15), ("sigquit", 3), ("quit", 3), ("3", 3), ("", 15), ("SIGNONSENSE", 15), ("0", 15),
    ("SIGRTMIN", 34), ("SIGRTMIN+3", 37), ("SIGRTMAX", 64), ("SIGRTMAX-2", 62),
])
def test_a_stop_signal_is_read_as_image_authors_write_it(text: str, number: int) -> None:
    assert sentinel.signal_number(text, 15) == number


@pytest.mark.parametrize("word", ["SIGRTMIN+3", "RTMIN+3", "37"])
def test_a_stop_signal_among_the_real_time_ones_is_understood(word: str) -> None:
    assert sentinel.signal_number(word, 15) == 37


def test_a_stop_signal_that_this_machine_does_not_know_is_a_number_all_the_same() -> None:
    """As SIGRTMIN+3, which is systemd's, on macOS. Found by a reading of the code: the look's worker broke."""
    code = """if True:
        import enum, signal
        known = {one.name: one.value for one in signal.Signals if not one.name.startswith("SIGRT")}
        signal.Signals = enum.IntEnum("Signals", known)
        for name in ("SIGRTMIN", "SIGRTMAX"):
            delattr(signal, name)
        import sentinel
        for word in ("SIGRTMIN", "SIGRTMIN+3", "RTMAX-2", "SIGQUIT", "SIGRTMIN+99"):
            container = sentinel.container_of({"Id": "a", "Config": {"StopSignal": word}})
            print(container.stop_signal)
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(sentinel.__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    numbers = done.stdout.split()
    # They are the engine's, and that runs on Linux.
    assert numbers[:4] == ["34", "37", "62", "3"] and numbers[4].isdecimal()


# ─── Times ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("text", "seconds"), [
    ("1970-01-01T00:00:01Z", 1.0), ("1970-01-01T00:00:01.5Z", 1.5), ("1970-01-01T00:00:01.000000001Z", 1.000000001),
    ("1970-01-01T01:00:01+01:00", 1.0), ("1969-12-31T16:00:01.25-08:00", 1.25),
    ("2026-11-22T03:16:28.061663556Z", 1795317388.061663556),
    ("2024-02-29T12:00:00Z", 1709208000.0),
])
def test_a_time_has_any_fraction_and_any_zone(text: str, seconds: float) -> None:
    assert sentinel.unix_time(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("text", ["", "0001-01-01T00:00:00Z", "never", "2026-11-22", "2026-13-01T00:00:00Z",
                                  "2026-11-22T03:16:28",
                                  "2026-11-22T03:16:28+99:99", "2026-11-22T25:16:28Z", "1795317388", "٢٠٢٦-11-22T03:16:28Z"])
def test_rubbish_and_year_1_are_never(text: str) -> None:
    assert sentinel.unix_time(text) == 0.0


def test_an_events_whole_time_is_its_nanoseconds() -> None:
    event = sentinel.event_of(EVENT)
    assert event is not None and event.time == pytest.approx(1795314890.310123456)
    only_seconds = sentinel.event_of({key: value for key, value in EVENT.items() if key != "timeNano"})
    assert only_seconds is not None and only_seconds.time == 1795314890.0


# ─── The list ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("text", "health", "young"), [
    ("Up 2 minutes", "", False), ("Up 2 minutes (unhealthy)", "unhealthy", False),
    ("Up 3 hours (healthy)", "healthy", False),
    ("Up Less than a second", "", True), ("Up 1 second", "", True), ("Up 45 seconds (health: starting)", "starting", True),
    ("Up About a minute (healthy)", "healthy", True), ("Up About an hour", "", False), ("Up 5 minutes (Paused)", "", False),
    ("Exited (137) 5 seconds ago", "", False), ("Restarting (3) 2 seconds ago", "", False), ("Created", "", False),
    ("", "", False),
])
def test_a_row_tells_health_and_age_in_its_status_text(text: str, health: str, young: bool) -> None:
    row = sentinel.row_of({"Id": "a", "State": "running", "Status": text})
    assert (row.health, row.young) == (Health(health), young)


# ─── Events ───────────────────────────────────────────────────────────────────────────────────────────────────


def event(action: str, attributes: dict[str, str] | None = None, **more: Any) -> sentinel.Heard:
    heard = sentinel.event_of({"Type": "container", "Action": action,
                               "Actor": {"ID": "a", "Attributes": attributes or {}}} | more)
    assert heard is not None
    return heard


def test_an_event_becomes_what_was_heard() -> None:
    heard = sentinel.event_of(EVENT)
    assert heard is not None and (heard.action, heard.id, heard.exit_code, heard.signal) == ("die", "ab12", 3, 9)


def test_a_health_event_carries_its_word_in_the_action_or_beside_it() -> None:
    docker, podman = event("health_status: unhealthy"), event("health_status", HealthStatus="healthy")
    assert (docker.action, docker.health) == ("health_status", Health.UNHEALTHY)
    assert (podman.action, podman.health) == ("health_status", Health.HEALTHY)


def test_a_command_line_in_an_action_is_cut_off() -> None:
    assert event("exec_start: mysql -psecret").action == "exec_start"


@pytest.mark.parametrize("document", [
    {"Type": "network", "Action": "disconnect"}, {"Type": "container", "Action": "die", "scope": "swarm"},
    {"Action": "die"}, {}, None, [], 3])
def test_what_is_no_container_event_is_none(document: Any) -> None:
    assert sentinel.event_of(document) is None


@pytest.mark.parametrize(("text", "number"),
                         [("3", 3), ("-1", -1), ("137", 137), ("zz", None), ("", None), ("9 ", None), ("1e3", None),
                                              ("99999999999", None), ("٣", None)])
def test_a_code_or_signal_that_a_label_overwrote_is_no_number(text: str, number: int | None) -> None:
    heard = event("die", {"exitCode": text, "signal": text})
    assert (heard.exit_code, heard.signal) == (number, number)


def test_the_container_decides_where_a_label_has_the_events_words() -> None:
    container = Container("a", status="exited", exit_code=5, labels={"exitCode": "0"})
    death = sentinel.Death(0.0, 0.0, 0, sentinel.Run())
    assert sentinel.code_of(death, container) == 5
    assert sentinel.code_of(death, Container("a", status="running", labels={"exitCode": "0"})) is None


# ─── Podman ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("word", "docker"), [("stopped", "exited"), ("initialized", "created"), ("configured", "created"),
                                              ("Running", "running"), ("exited", "exited"), ("", "unknown")])
def test_podmans_states_become_dockers(word: str, docker: str) -> None:
    assert sentinel.status_of(word) == docker
    assert sentinel.container_of({"State": {"Status": word}}).status == docker


def test_podmans_actions_become_dockers() -> None:
    assert [event(word).action for word in ("died", "remove", "die", "destroy")] == ["die", "destroy", "die", "destroy"]


def test_podmans_exit_code_has_another_name() -> None:
    assert event("died", {"containerExitCode": "3"}).exit_code == 3


def test_podmans_health_is_always_there_and_mostly_empty() -> None:
    container = sentinel.container_of({"State": {"Status": "running",
                                                 "Health": {"Status": "", "FailingStreak": 0, "Log": None}}})
    assert container.health is Health.NONE


# ─── Labels ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("label", "wanted"), [
    ("", {}), ("db,cache", {"db": ("service_started", False), "cache": ("service_started", False)}),
    ("db:service_healthy", {"db": ("service_healthy", False)}),
    ("db:service_healthy:true,job:service_completed_successfully:false",
     {"db": ("service_healthy", True), "job": ("service_completed_successfully", False)}),
    (",db,", {"db": ("service_started", False)}),
])
def test_dependencies_are_read_in_every_form_that_compose_wrote(label: str, wanted: dict[str, tuple[str, bool]]) -> None:
    read = sentinel.depends_on({"com.docker.compose.depends_on": label})
    assert {name: (dependency.condition, dependency.restart) for name, dependency in read.items()} == wanted
    assert sentinel.depends_on({}) == {}


@pytest.mark.parametrize(("name", "text", "field", "default"), [
    ("sentinel.restart", "perhaps", "heal", True), ("sentinel.job", "x", "job", None),
    ("sentinel.max-restarts", "-2", "max_restarts", 5),
    ("sentinel.settle", "soon", "settle", 30.0), ("sentinel.mention", "@ops", "mention", ""),
    ("sentinel.watch", "x", "watch", True),
])
def test_a_bad_label_is_a_warning_and_the_default(name: str, text: str, field: str, default: object) -> None:
    container = Container("a", name="web", labels={"com.docker.compose.project": "shop", name: text})
    policy, warnings = sentinel.policy_of(container, Settings(), "")
    assert getattr(policy, field) == default
    assert len(warnings) == 1 and name in warnings[0] and "web" in warnings[0]


def test_labels_are_read() -> None:
    labels = {"com.docker.compose.project": "shop", "sentinel.restart": "no", "sentinel.job": "yes",
              "sentinel.max-restarts": "2",
              "sentinel.settle": "1m", "sentinel.mention": "<@12345>", "sentinel.watch": "true"}
    policy, warnings = sentinel.policy_of(Container("a", name="web", labels=labels), Settings(), "")
    assert not warnings
    assert (policy.watch, policy.heal, policy.insist, policy.job) == (True, False, False, True)
    assert (policy.max_restarts, policy.settle, policy.mention) == (2, 60.0, "<@12345>")


def test_readers_take_what_json_gives() -> None:
    assert sentinel.container_of(json.loads(json.dumps(INSPECT))) == sentinel.container_of(INSPECT)
