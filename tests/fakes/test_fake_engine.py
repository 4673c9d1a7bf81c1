"""The fake engine itself: what it says over HTTP must agree with what the tests did to it."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.engines import UnixConnection
from support.fake_engine import (
    NO_ENTRY,
    Container,
    EngineServer,
    FakeEngine,
    LogLine,
    go_json,
    human_duration,
    parse_rfc3339,
    rfc3339,
    signal_number,
)
from support.replay import Replay, load, recordings


def ask(engine: EngineServer, method: str, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = UnixConnection(engine.path)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def get(engine: EngineServer, path: str) -> Any:
    return json.loads(ask(engine, "GET", path)[2])


def post(engine: EngineServer, path: str) -> int:
    return ask(engine, "POST", path)[0]


class Events:
    """A subscriber that reads line by line."""

    def __init__(self, engine: EngineServer, query: str = "", timeout: float = 3.0) -> None:
        before = len(engine.called("GET", "/events"))
        self.connection = UnixConnection(engine.path, timeout)
        self.connection.request("GET", f"/events{query}")
        self.response = self.connection.getresponse()
        # The call is noted once the subscription is entered: nothing after this is missed.
        assert engine.wait_call("GET", "/events", before + 1)

    def line(self) -> bytes:
        return self.response.readline()

    def next(self) -> Any:
        return json.loads(self.line())

    def until(self, action: str) -> list[str]:
        """The container actions up to and with this one."""
        seen: list[str] = []
        while not seen or seen[-1] != action:
            event = self.next()
            if event["Type"] == "container":
                seen.append(event["Action"])
        return seen

    def close(self) -> None:
        self.response.close()
        self.connection.close()


Opener = Callable[..., Events]


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as fake:
        fake.backoff = 0.01
        yield fake


@pytest.fixture
def old() -> Iterator[FakeEngine]:
    with FakeEngine(flavour="20.10") as fake:
        yield fake


@pytest.fixture
def listen() -> Iterator[Opener]:
    opened: list[Events] = []

    def opener(engine: EngineServer, query: str = "", timeout: float = 3.0) -> Events:
        opened.append(Events(engine, query, timeout))
        return opened[-1]

    yield opener
    for item in opened:
        item.close()


def row_of(engine: FakeEngine, container: Container) -> Any:
    return next(row for row in get(engine, "/containers/json?all=1") if row["Id"] == container.id)


def test_helpers() -> None:
    assert rfc3339(0) == "0001-01-01T00:00:00Z"
    assert parse_rfc3339(rfc3339(1795314890310123456)) == 1795314890310123456
    assert [human_duration(age) for age in (0.4, 1, 59, 61, 3600, 90000)] == [
        "Less than a second", "1 second", "59 seconds", "About a minute", "About an hour", "25 hours"]
    assert [signal_number(name) for name in (9, "KILL", "SIGKILL", "9", "FOO")] == [9, 9, 9, 9, None]
    assert go_json({"a": "<&é"}) == '{"a":"\\u003c\\u0026é"}\n'.encode()


def test_ping_versions_and_ranges(engine: FakeEngine) -> None:
    status, headers, body = ask(engine, "HEAD", "/_ping")
    assert (status, headers["Api-Version"], body) == (200, "1.51", b"")
    assert ask(engine, "GET", "/v1.44/_ping")[2] == b"OK"
    status, headers, body = ask(engine, "GET", "/v1.20/containers/json")
    assert status == 400
    assert headers["Content-Type"].startswith("text/plain")
    assert body.startswith(b"client version 1.20 is too old. Minimum supported API version is 1.24,")
    status, headers, body = ask(engine, "GET", "/v1.99/version")
    assert "too new. Maximum supported API version is 1.51" in json.loads(body)["message"]
    assert ask(engine, "GET", "/vfoo/containers/json")[0] == 404
    assert get(engine, "/version")["MinAPIVersion"] == "1.24"
    assert {"Name", "ServerVersion", "NCPU", "MemTotal"} <= set(get(engine, "/info"))


def test_raised_minimum_answers_json() -> None:
    with FakeEngine(api_min="1.44", api_max="1.52") as fake:
        status, headers, body = ask(fake, "GET", "/v1.41/containers/json")
        assert (status, headers["Content-Type"]) == (400, "application/json")
        assert "too old. Minimum supported API version is 1.44" in json.loads(body)["message"]


def test_crash_shows_everywhere_at_once(engine: FakeEngine, listen: Opener) -> None:
    web = engine.add("proj-web-1", project="proj", service="web", started_ago=90)
    assert row_of(engine, web)["Status"] == "Up About a minute"
    events = listen(engine)
    engine.crash(web, 3)
    first, second = events.next(), events.next()
    assert (first["Type"], first["Action"]) == ("network", "disconnect")
    assert second["Action"] == "die"
    assert second["Actor"]["Attributes"]["exitCode"] == "3"
    assert second["Actor"]["Attributes"]["com.docker.compose.service"] == "web"
    row, document = row_of(engine, web), get(engine, f"/containers/{web.id[:12]}/json")
    assert (row["State"], row["Status"]) == ("exited", "Exited (3) Less than a second ago")
    assert document["State"]["Status"] == "exited"
    assert document["State"]["ExitCode"] == 3
    assert document["State"]["FinishedAt"] > document["State"]["StartedAt"]
    assert document["Name"] == "/proj-web-1"


def test_order_of_stop_and_die_per_flavour(engine: FakeEngine, old: FakeEngine, listen: Opener) -> None:
    for fake, expected in ((engine, ["kill", "stop", "die"]), (old, ["kill", "die", "stop"])):
        container = fake.add("web")
        events = listen(fake)
        assert post(fake, "/containers/web/stop?t=1") == 204
        assert events.until(expected[-1]) == expected
        assert post(fake, "/containers/web/stop") == 304
        assert not container.running


def test_old_list_is_stale_after_die(old: FakeEngine) -> None:
    web = old.add("web")
    old.crash(web, 2)
    web.stale_until += 10
    assert row_of(old, web)["State"] == "running"
    assert get(old, "/containers/web/json")["State"]["Status"] == "exited"
    web.stale_until = 0
    assert row_of(old, web)["State"] == "exited"


def test_restart_obeys_and_ignores(engine: FakeEngine, listen: Opener) -> None:
    engine.add("good")
    engine.add("deaf", term_code=None)
    events = listen(engine)
    assert post(engine, "/containers/good/restart?t=5") == 204
    assert events.until("restart") == ["kill", "stop", "die", "start", "restart"]
    assert post(engine, "/containers/deaf/restart?t=0") == 204
    assert events.until("restart") == ["kill", "kill", "stop", "die", "start", "restart"]
    assert post(engine, "/containers/deaf/restart?t=abc") == 500


def test_status_codes_of_start(engine: FakeEngine) -> None:
    web = engine.add("web", running=False, exit_code=137)
    assert row_of(engine, web)["Status"].startswith("Exited (137) ")
    assert post(engine, "/containers/web/start") == 204
    assert post(engine, "/containers/web/start") == 304
    engine.pause(web)
    assert row_of(engine, web)["Status"].endswith("(Paused)")
    assert post(engine, "/containers/web/start") == 409
    web.status = "removing"
    assert post(engine, "/containers/web/start") == 409
    assert post(engine, "/containers/web/restart") == 500
    assert post(engine, "/containers/nosuch/start") == 404
    assert [call.status for call in engine.called("POST", "/start")] == [204, 304, 409, 409, 404]


def test_kill_codes_and_signals(engine: FakeEngine, listen: Opener) -> None:
    web = engine.add("web")
    events = listen(engine)
    assert post(engine, "/containers/web/kill?signal=HUP") == 204
    assert events.next()["Actor"]["Attributes"]["signal"] == "1"
    assert web.running
    assert post(engine, "/containers/web/kill?signal=FOO") == 400
    assert post(engine, "/containers/web/kill") == 204
    assert events.until("die") == ["kill", "die"]
    assert post(engine, "/containers/web/kill") == 409


def test_policy_restarts_and_gives_up(engine: FakeEngine, listen: Opener) -> None:
    web = engine.add("web", policy="on-failure:2")
    engine.on_start(web, crash_after=0.0, code=5)
    events = listen(engine)
    engine.crash(web, 5)
    assert [events.until("die")[-1] for _ in range(3)] == ["die"] * 3
    state = get(engine, "/containers/web/json")
    assert (state["State"]["Status"], state["RestartCount"]) == ("exited", 2)


def test_backoff_start_is_304_and_kill_is_silent(engine: FakeEngine) -> None:
    web = engine.add("web", policy="always")
    engine.backoff = 60
    engine.crash(web, 4)
    assert row_of(engine, web)["Status"].startswith("Restarting (4) ")
    assert get(engine, "/containers/web/json")["State"]["Running"] is True
    assert post(engine, "/containers/web/start") == 304
    count = len(engine.ring)
    assert post(engine, "/containers/web/kill") == 204
    assert (web.status, len(engine.ring)) == ("exited", count)


def test_hup_poisons_the_policy(engine: FakeEngine) -> None:
    engine.backoff = 60
    plain = engine.add("plain", policy="always")
    with_signal = engine.add("with-signal", policy="always", stop_signal="SIGTERM")
    for container in (plain, with_signal):
        engine.kill(container, "HUP")
        engine.crash(container, 9)
    assert (plain.status, with_signal.status) == ("exited", "restarting")


def test_failed_start_has_no_container_event(engine: FakeEngine) -> None:
    web = engine.add("web", never_started=True)
    engine.on_start(web, NO_ENTRY, times=1)
    count = len(engine.ring)
    status, _, body = ask(engine, "POST", "/containers/web/start")
    assert (status, "no such file" in json.loads(body)["message"]) == (400, True)
    state = get(engine, "/containers/web/json")["State"]
    assert (state["Status"], state["ExitCode"], bool(state["Error"])) == ("created", 127, True)
    assert [event["Type"] for event in list(engine.ring)[count:]] == ["network"]
    assert row_of(engine, web)["Status"] == "Created"
    assert post(engine, "/containers/web/start") == 204


def test_shared_network_needs_its_owner(engine: FakeEngine) -> None:
    vpn = engine.add("vpn")
    engine.add("app", network_mode=f"container:{vpn.id}", running=False)
    engine.crash(vpn, 1)
    assert post(engine, "/containers/app/start") == 409
    engine.remove(vpn)
    assert post(engine, "/containers/app/start") == 500


def test_oom_and_host_kill(engine: FakeEngine, listen: Opener) -> None:
    web, other = engine.add("web"), engine.add("other")
    events = listen(engine)
    engine.oom(web)
    assert events.until("die") == ["oom", "die"]
    assert get(engine, "/containers/web/json")["State"]["OOMKilled"] is True
    engine.host_kill(other)
    assert events.until("die") == ["die"]
    assert other.exit_code == 137


def test_recreate_as_compose_does(engine: FakeEngine, listen: Opener) -> None:
    web = engine.add("proj-web-1", project="proj", service="web")
    events = listen(engine)
    new = engine.recreate(web)
    first = events.next()
    assert first["Actor"]["Attributes"]["name"] == f"{web.id[:12]}_proj-web-1"
    assert first["Actor"]["Attributes"]["com.docker.compose.replace"] == "web-1"
    assert events.until("start") == ["kill", "stop", "die", "destroy", "rename", "start"]
    assert get(engine, "/containers/proj-web-1/json")["Id"] == new.id
    assert ask(engine, "GET", f"/containers/{web.id}/json")[0] == 404


def test_health_and_pause(engine: FakeEngine, listen: Opener) -> None:
    web = engine.add("web", healthcheck=True)
    assert row_of(engine, web)["Status"].endswith("(health: starting)")
    query = '?filters=' + quote(json.dumps({"event": ["health_status", "pause"]}))
    events = listen(engine, query)
    engine.health(web, "healthy")
    engine.health(web, "unhealthy", output="boom")
    engine.pause(web)
    assert events.until("pause") == ["health_status: healthy", "health_status: unhealthy", "pause"]
    health = get(engine, "/containers/web/json")["State"]["Health"]
    assert (health["Status"], health["FailingStreak"]) == ("unhealthy", 0)
    assert health["Log"][-1]["Output"] == "boom"


def test_logs_frames_tail_since_and_tty(engine: FakeEngine) -> None:
    web = engine.add("web")
    base = 1_795_000_000 * 10**9
    engine.set_logs(web, [LogLine(base, 1, "one"), LogLine(base + 10**9, 2, "two\n")])
    body = ask(engine, "GET", "/containers/web/logs?stdout=1&stderr=1")[2]
    assert body == b"\x01\0\0\0\0\0\0\x04one\n\x02\0\0\0\0\0\0\x04two\n"
    assert ask(engine, "GET", "/containers/web/logs?stdout=1&stderr=1&tail=1")[2][8:] == b"two\n"
    assert ask(engine, "GET", f"/containers/web/logs?stdout=1&since={base // 10**9}.5")[2] == b""
    stamped = ask(engine, "GET", "/containers/web/logs?stdout=1&timestamps=1")[2][8:]
    assert (len(stamped.split()[0]), stamped.split()[1]) == (30, b"one")
    web.tty = True
    assert ask(engine, "GET", "/containers/web/logs?stdout=1&stderr=1")[2] == b"one\r\ntwo\r\n"
    web.log_driver = "none"
    assert ask(engine, "GET", "/containers/web/logs?stdout=1")[0] == 501
    assert ask(engine, "GET", "/containers/web/logs")[0] == 400


def test_replay_ring_since_until(engine: FakeEngine) -> None:
    web = engine.add("web", quiet=True)
    for _ in range(150):
        engine.pause(web)
        engine.unpause(web)
    oldest, last = engine.ring[0]["timeNano"], engine.ring[-1]["timeNano"]
    seconds, nano = divmod(last, 10**9)
    lines = ask(engine, "GET", f"/events?since=1&until={seconds}.{nano:09d}")
    assert lines[1]["Content-Type"] == "application/json"
    assert len(engine.ring) == 256
    assert json.loads(lines[2].splitlines()[0])["timeNano"] == oldest
    exact = ask(engine, "GET", f"/events?since={seconds}.{nano:09d}&until={seconds}.{nano:09d}")[2]
    assert json.loads(exact)["timeNano"] == last
    assert ask(engine, "GET", "/events?since=10m")[0] == 500
    assert ask(engine, "GET", "/events?since=20&until=10")[0] == 400


def test_http10_stream_is_not_chunked(engine: FakeEngine) -> None:
    engine.add("web")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(3)
        client.connect(engine.path)
        client.sendall(b"GET /events?since=1&until=1 HTTP/1.0\r\n\r\n")
        head = b"".join(iter(lambda: client.recv(4096), b""))
    assert b"chunked" not in head
    assert head.startswith(b"HTTP/1.0 200 OK")


@pytest.mark.parametrize("mode", [
    {"split": 1}, {"split_utf8": True}, {"split_header": True}, {"coalesce": 4}, {"stall": 0.01}])
def test_stream_modes_keep_the_content(engine: FakeEngine, listen: Opener, mode: dict[str, Any]) -> None:
    web = engine.add("web", labels={"note": "naïve ☃"})
    events = listen(engine)
    engine.stream_mode(**mode)
    engine.crash(web, 3)
    assert events.until("die") == ["die"]
    engine.start_by_operator(web)
    events.next()
    assert events.next()["Actor"]["Attributes"]["note"] == "naïve ☃"


def test_cut_garbage_deaf_and_eof(engine: FakeEngine, listen: Opener) -> None:
    web = engine.add("web")
    events = listen(engine)
    engine.stream_mode(garbage=True)
    engine.pause(web)
    assert events.line() == b"\xff<not json\n"
    assert events.next()["Action"] == "pause"
    engine.deaf(True)
    engine.unpause(web)
    engine.deaf(False)
    engine.cut_streams()
    assert events.line() == b""
    cut = listen(engine)
    engine.stream_mode(cut=True)
    engine.pause(web)
    with pytest.raises((http.client.IncompleteRead, json.JSONDecodeError)):
        cut.next()


def test_answers_refusals_and_hanging(engine: FakeEngine) -> None:
    engine.add("web", running=False)
    engine.refuse("/events", 403, "<html>no</html>")
    status, headers, _ = ask(engine, "GET", "/v1.44/events")
    assert (status, headers["Content-Type"]) == (403, "text/html")
    engine.answer("/start$", 504, "<html>late</html>", act=True)
    assert post(engine, "/containers/web/start") == 504
    assert engine.wait(lambda: row_state(engine, "web") == "running")
    assert post(engine, "/containers/web/start") == 304
    engine.hang("^/info")
    connection = UnixConnection(engine.path, timeout=0.05)
    connection.request("GET", "/info")
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    assert engine.wait_call("GET", "^/info")
    assert engine.called("GET", "/info")[0].status == 0
    engine.heal()
    assert get(engine, "/info")["NCPU"] == 4


def row_state(engine: FakeEngine, name: str) -> str:
    container = engine.find(name)
    return container.status if container else ""


@pytest.mark.parametrize(("remove", "error"), [(True, FileNotFoundError), (False, ConnectionRefusedError)])
def test_down_and_up(engine: FakeEngine, listen: Opener, remove: bool, error: type[OSError]) -> None:
    web, job = engine.add("web", policy="always"), engine.add("job")
    events = listen(engine)
    engine.go_down(remove_socket=remove)
    assert events.line() == b""
    with pytest.raises(error):
        ask(engine, "GET", "/_ping")
    engine.crash(job, 3)
    assert job.exit_code == 255
    engine.come_up()
    assert len(engine.ring) == 0
    assert row_of(engine, web)["State"] == "running"


def test_daemon_shutdown_kills_all_and_brings_back_some(engine: FakeEngine, listen: Opener) -> None:
    always, unless, plain = (engine.add(name, policy=name) for name in ("always", "unless-stopped", "no"))
    events = listen(engine)
    engine.daemon_shutdown()
    seen = [json.loads(line)["Action"] for line in iter(events.line, b"")]
    assert [action for action in seen if action != "disconnect"] == ["kill"] * 3 + ["stop", "die"] * 3
    engine.come_up()
    assert (always.running, unless.running, plain.running) == (True, True, False)


def test_podman_flavour_has_its_own_words(tmp_path: Path, listen: Opener) -> None:
    with FakeEngine(tmp_path / "p.sock", flavour="podman") as fake:
        web = fake.add("web")
        events = listen(fake)
        assert post(fake, "/v9.9/containers/web/stop") == 204
        assert events.until("cleanup") == ["die", "cleanup"]
        assert "HostConfig" not in row_of(fake, web)
        fake.remove(web)
        assert events.until("remove") == ["remove"]
        assert json.loads(ask(fake, "GET", "/containers/web/json")[2])["response"] == 404


PODMANS = [("podman", "4.3.1"), ("podman-5.4", "5.4.2"), ("podman-6.1", "6.1.1")]


@pytest.fixture(params=["podman-5.4", "podman-6.1"])
def podman(request: pytest.FixtureRequest) -> Iterator[FakeEngine]:
    with FakeEngine(flavour=request.param) as fake:
        fake.backoff = 0.01
        yield fake
        fake.heal()


def libpod(engine: FakeEngine, container: Container) -> Any:
    return get(engine, f"/v4.0.0/libpod/containers/{container.id}/json")


def user_stopped(engine: FakeEngine, container: Container) -> bool:
    """Podman's flag; the compat inspect never has it."""
    assert "StoppedByUser" not in get(engine, f"/containers/{container.id}/json")["State"]
    return bool(libpod(engine, container)["State"].get("StoppedByUser", False))


@pytest.mark.parametrize(("flavour", "version"), PODMANS)
def test_podman_says_its_version_in_every_answer(flavour: str, version: str) -> None:
    with FakeEngine(flavour=flavour) as fake:
        web = fake.add("web")
        for path in ("/_ping", "/info", "/containers/json", f"/libpod/containers/{web.id}/json", "/events?since=1&until=2"):
            assert ask(fake, "GET", path)[1]["Libpod-API-Version"] == version
        assert ask(fake, "GET", "/containers/none/json")[1]["Libpod-API-Version"] == version
        assert ask(fake, "GET", "/libpod/containers/none/json")[0] == 404


def test_docker_has_no_libpod(engine: FakeEngine) -> None:
    web = engine.add("web")
    status, headers, _ = ask(engine, "GET", f"/libpod/containers/{web.id}/json")
    assert (status, headers["Libpod-API-Version"]) == (404, None)


def test_podman_notes_that_a_user_has_ended_it_until_its_next_start(podman: FakeEngine) -> None:
    web = podman.add("web", term_code=3)
    podman.crash(web, 137)
    assert not user_stopped(podman, web)
    podman.stop_by_operator(web)  # of one that is down already
    assert not user_stopped(podman, web)
    podman.start_by_operator(web)
    podman.stop_by_operator(web)
    assert user_stopped(podman, web) and libpod(podman, web)["State"]["ExitCode"] == 3
    podman.start_by_operator(web)
    assert not user_stopped(podman, web)
    podman.kill(web, "HUP")
    assert web.running and user_stopped(podman, web)
    podman.restart_by_operator(web)
    assert not user_stopped(podman, web)
    podman.oom(web)
    assert not user_stopped(podman, web) and get(podman, "/containers/web/json")["State"]["OOMKilled"]


def test_an_old_podmans_inspect_has_no_such_note(tmp_path: Path) -> None:
    with FakeEngine(flavour="podman") as fake:
        web = fake.add("web")
        fake.stop_by_operator(web)
        assert web.stopped_by_user and not user_stopped(fake, web)


@pytest.mark.parametrize(("doing", "events"), [
    (FakeEngine.stop_by_operator, "die cleanup"),
    (FakeEngine.kill, "kill die cleanup"),
    (FakeEngine.restart_by_operator, "restart die init start"),
    (FakeEngine.remove, "die remove"),
    (FakeEngine.crash, "die cleanup"),
    (FakeEngine.oom, "die cleanup"),
])
def test_podmans_events_are_as_recorded(podman: FakeEngine, listen: Opener, doing: Callable[..., None], events: str) -> None:
    web = podman.add("web")
    stream = listen(podman)
    doing(podman, web)
    assert stream.until(events.split()[-1]) == events.split()


def test_podmans_policy_says_restart_after_the_end(podman: FakeEngine, listen: Opener) -> None:
    web = podman.add("web", policy="always")
    stream = listen(podman)
    podman.crash(web, 3)
    assert stream.until("start") == ["die", "restart", "init", "start"]
    assert web.restart_count == 1
    podman.kill(web, "HUP")
    podman.crash(web, 3)
    assert stream.until("cleanup") == ["kill", "die", "cleanup"], "what a user has touched stays down"


def test_podman_has_no_word_for_a_policy_at_work(podman: FakeEngine) -> None:
    web = podman.add("web", policy="always")
    podman.backoff = 60.0
    podman.crash(web, 3)
    state = get(podman, "/containers/web/json")["State"]
    word = "exited" if podman.flavour == "podman-6.1" else "stopped"
    assert (state["Status"], state["Restarting"], row_of(podman, web)["State"]) == (word, False, word)
    assert libpod(podman, web)["State"]["Status"] == "stopped"


def test_podmans_rows_have_a_health_from_6_on(podman: FakeEngine, listen: Opener) -> None:
    web, plain = podman.add("web", healthcheck=True), podman.add("plain")
    stream = listen(podman)
    for _ in range(2):
        podman.health(web, "unhealthy")
    rows = [row_of(podman, item) for item in (web, plain)]
    said = [(row.get("Health"), "HostConfig" in row) for row in rows]
    new = podman.flavour == "podman-6.1"
    assert said == ([({"Status": "unhealthy"}, True), ({"Status": "none"}, True)] if new else [(None, False)] * 2)
    assert not [row for row in rows if "health" in row["Status"]]
    probes: list[Any] = []
    while len(probes) < 2:
        event = stream.next()
        probes += [event] if event["Action"] == "health_status" else []
    assert [event["HealthStatus"] for event in probes] == ["unhealthy"] * 2


def test_podmans_events_outlive_its_service_and_have_no_end(podman: FakeEngine, listen: Opener) -> None:
    web, kept = podman.add("web"), podman.add("kept", policy="always")
    podman.go_down()
    podman.crash(web, 3)
    podman.crash(kept, 4)
    assert podman.wait(lambda: kept.running)
    podman.come_up()
    assert (web.status, web.exit_code) == ("exited", 3)
    stream = listen(podman, "?since=1")
    deaths = [event for event in (stream.next() for _ in range(12)) if event["Action"] == "die"]
    codes = [event["Actor"]["Attributes"]["exitCode"] for event in deaths]
    assert codes == ["3", "4"]
    assert ask(podman, "GET", "/events?since=1&until=2")[2] == b""


def test_the_next_docker_sends_lines_or_records(listen: Opener) -> None:
    with FakeEngine(flavour="29") as fake:
        web = fake.add("web")
        stream = listen(fake)
        assert stream.response.headers["Content-Type"] == "application/jsonl"
        fake.pause(web)
        assert not {"status", "id", "from"} & {*stream.next()}
        assert row_of(fake, web)["Health"] == {"Status": "none", "FailingStreak": 0}
        fake.stream_mode(framed=True)
        framed = listen(fake)
        fake.unpause(web)
        assert framed.response.headers["Content-Type"] == "application/json-seq"
        assert framed.line().startswith(b"\x1e{")


# --- recordings -----------------------------------------------------------------------------------------


def test_version_answers_as_recorded() -> None:
    """The fake's answers to version prefixes are those of the real engines, byte for byte."""
    for name, fake in (("docker20", FakeEngine(flavour="20.10")), ("docker28", FakeEngine()),
                       ("docker28min144", FakeEngine(api_min="1.44"))):
        with fake:
            for line in load(f"api_versions.{name}"):
                if line["status"] == 301 or (line["status"] == 200 and "/version" in line["path"]):
                    continue
                status, headers, body = ask(fake, line["method"], line["path"])
                wanted = line["headers"]
                assert (line["path"], status) == (line["path"], line["status"])
                assert headers["Content-Type"] == wanted["Content-Type"]
                assert headers["Api-Version"] == wanted.get("Api-Version", headers["Api-Version"])
                assert body.decode() == line["body"]


def test_replay_gives_the_recorded_events(listen: Opener) -> None:
    with Replay("crash_exit3.docker28", pace=0.0) as tape:
        events = listen(tape)
        assert tape.run_to_end(5)
        assert [events.line() for _ in tape.tape.events] == [go_json(event) for event in tape.tape.events]
        assert [command.verb for command in tape.commands] == ["run", "rm"]
        assert tape.containers == {}


def test_replay_goes_down_and_comes_back(listen: Opener) -> None:
    with Replay("daemon_term_live.docker28", pace=0.0) as tape:
        end = next(line["t"] for line in tape.tape.lines if line["k"] == "eof")
        lines = list(iter(listen(tape).line, b""))
        assert len(lines) == sum(line["k"] == "event" for line in tape.tape.lines)
        assert tape.wait(lambda: tape.position > end and not tape.is_down)
        listen(tape)
        assert tape.run_to_end(5)
        assert post(tape, "/containers/eng-no/restart") == 204
        exited = {item.name: item.exit_code for item in tape.containers.values() if not item.running}
        assert exited == {"eng-term0": 255, "eng-ustopped": 0}


# Silent in every recording: a kill that ends a backoff, and a failed restart by the policy.
SILENT = {"kill on restarting", "policy always, port taken during the backoff"}


PODMAN_TAPES = [f"{scenario}.{engine}" for scenario, engine in recordings() if engine.startswith("podman")]


@pytest.mark.parametrize("name", PODMAN_TAPES)
def test_podmans_replayed_state_agrees_with_what_it_said_afterwards(name: str) -> None:
    """Its own words, of the inspect and of the row, as far as the recording has them."""
    tape = Replay(name)
    for line in tape.tape.lines:
        container = tape.find(line["name"]) if line["k"] == "inspect" else None
        if line["k"] == "inspect" and "State" not in line:
            assert container is None, "it was removed"
        elif line["k"] == "inspect":
            mine, real = tape.inspect_doc(line["Id"]), line["State"]
            assert mine is not None and container is not None
            for key in ("ExitCode", "OOMKilled"):
                assert mine["State"][key] == real[key], key
            # A lone `die` may be followed by the cleanup's state without its event.
            assert mine["State"]["Status"] in (real["Status"], "stopped"), "Status"
            assert mine["RestartCount"] <= line["RestartCount"], "a loop went on after the last line"
        elif line["k"] == "list":
            row, (real,) = tape.list_rows()[0], line["containers"]
            assert row["State"] in (real["State"], "stopped") and row.get("Health") == real["Health"]
        if "t" in line:
            tape._step(line)
    tape.stop()


@pytest.mark.parametrize(("name", "flag"), [
    ("stop-term.podman5.4.2", True), ("stop-ignore-cli.podman6.1.1", True), ("kill.podman5.4.2", True),
    ("kill-host.podman5.4.2", None), ("exit-3.podman6.1.1", None), ("loop-stop.podman5.4.2", True),
    ("restart.podman5.4.2", None), ("loop-always.podman6.1.1", None),
])  # fmt: skip
def test_a_replayed_podman_says_who_ended_it(name: str, flag: bool | None) -> None:
    with Replay(name, pace=0.0, wait_for_stream=False) as tape:
        assert tape.run_to_end(5)
        state = get(tape, "/v4.0.0/libpod/containers/x/json")["State"]
        assert state.get("StoppedByUser") is flag
        assert state["StartedAt"] == get(tape, "/containers/x/json")["State"]["StartedAt"]
        assert ask(tape, "GET", "/_ping")[1]["Libpod-API-Version"] == name.partition("podman")[2]


@pytest.mark.parametrize("engine_name", ["docker20", "docker28"])
def test_replayed_state_agrees_with_recorded_inspects(engine_name: str) -> None:
    """What the events have led to is what the real engine's inspect said at that moment."""
    compared = 0
    for scenario in [name for name, engine in recordings() if engine == engine_name]:
        if scenario.startswith("daemon_"):
            continue
        tape = Replay(f"{scenario}.{engine_name}")
        for line in tape.tape.lines:
            container = tape.containers.get(line.get("Id", ""))
            if container is not None and line["k"] == "inspect" and line["when"] not in SILENT:
                mine, real = container.state(), line["State"]
                for key in ("Status", "Running", "Restarting", "ExitCode", "OOMKilled", "StartedAt"):
                    assert mine[key] == real[key], (scenario, line["when"], key)
                compared += 1
            if "t" in line:
                tape._step(line)
        tape.stop()
    assert compared > 150
