"""The class Engine against engines of several kinds, old and new, behind proxies, broken, hanging, or not there."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fake_engine import (
    NETWORK_GONE,
    NO_ENTRY,
    PORT_TAKEN,
    Container,
    FakeEngine,
    LogLine,
    StartError,
    rfc3339,
)

import sentinel
from sentinel import Engine, Heard, Listed, ListFailed, Observation, Outcome, Restart, StreamClosed, StreamOpened

HTML_403 = "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>"


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request has more than a second."""
    connect = Engine.connect
    monkeypatch.setattr(Engine, "connect", lambda self, timeout: connect(self, min(timeout, 1.0)))


def job(container: Container) -> Restart:
    """The restart of a container, judged as it stands now."""
    began = sentinel.unix_time(rfc3339(container.started))
    return Restart("key", container.id, began, container.status == "running", container.stop_timeout)


@contextlib.contextmanager
def listening(fake: FakeEngine) -> Iterator[list[Observation]]:
    """What the event stream puts; after the block it has ended, and how is the last of all."""
    engine, seen = Engine(fake.host), list[Observation]()

    def read() -> None:
        seen.append(engine.events(0.0, seen.append))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert fake.wait_streams(1)
    yield seen
    for stream in list(fake.open_streams):
        assert stream.wait_idle(5)
    fake.cut_streams()
    reader.join(5)
    assert not reader.is_alive()


# ── Versions ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("flavour", "lowest", "highest"), [
    ("20.10", "1.12", "1.41"), ("28", "1.24", "1.51"), ("28", "1.44", "1.56"), ("podman", "1.24", "1.41"),
])  # fmt: skip
def test_engines_of_every_api_version_are_understood(flavour: str, lowest: str, highest: str) -> None:
    with FakeEngine(flavour=flavour, api_min=lowest, api_max=highest) as fake:
        web = fake.add("web", project="shop", healthcheck=True, stop_timeout=1)
        fake.health(web, "unhealthy", "no answer")
        engine = Engine(fake.host)
        listed, looked = engine.list_all(), engine.look(web.id)
        assert isinstance(listed, Listed)
        assert [(row.id, row.status, row.health) for row in listed.rows] == [(web.id, "running", "unhealthy")]
        assert looked.container is not None
        assert (looked.container.key, looked.container.probe_output) == ("shop/web/1", "no answer")
        assert looked.container.sick
        with listening(fake) as seen:
            assert engine.restart(job(web)).outcome is Outcome.DONE
            fake.crash(web, 3)
        died = [event for event in seen if isinstance(event, Heard) and event.action == "die"]
        assert [event.exit_code for event in died][-1] == 3
        dated = [call.path for call in fake.calls if call.path.startswith("/v")]
        assert all("/libpod/" in path for path in dated), "the Docker API's paths have no version"


# ── Not to be had ─────────────────────────────────────────────────────────────────────────────────────────────


def told_of(host: str) -> str:
    """Why this engine can't be listed: one clear line."""
    failed = Engine(host).list_all()
    assert isinstance(failed, ListFailed)
    assert failed.why.startswith(host) and "\n" not in failed.why and len(failed.why) < 200
    return failed.why


@contextlib.contextmanager
def speaking(path: Path, words: bytes) -> Iterator[str]:
    """A server that is no engine: it says this to whoever asks, and hangs up."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.recv(4096)
                connection.sendall(words)
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"unix://{path}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_without_a_socket_the_user_is_told_to_start_docker_or_to_name_its_address(tmp_path: Path) -> None:
    why = told_of(f"unix://{tmp_path}/docker.sock")
    assert "no such socket" in why and "DOCKER_HOST" in why


def test_a_socket_behind_which_nobody_is_says_so(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "docker.sock"))
    assert "is Docker running" in told_of(f"unix://{tmp_path}/docker.sock")


def test_a_port_behind_which_nobody_is_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "is Docker running" in told_of(f"tcp://127.0.0.1:{taken.getsockname()[1]}")


def test_without_permission_the_user_is_told_of_the_group(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sentinel.UnixConnection, "connect", refused)  # root is refused nothing
    why = told_of(fake.host)
    assert "no permission" in why and "group" in why


@pytest.mark.parametrize("words", [
    b"SSH-2.0-OpenSSH_9.2p1\r\n", b"HTTP/1.1 200 OK\r\n\r\n<html>welcome</html>", b"HTTP/1.1 200 OK\r\n\r\n{}",
    b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"\xff\xfe"', b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000, b"",
])  # fmt: skip
def test_what_is_not_an_engine_is_called_that(tmp_path: Path, words: bytes) -> None:
    with speaking(tmp_path / "s", words) as host:
        assert "not a Docker Engine" in told_of(host)


def test_an_engine_that_hangs_is_not_waited_for_without_end(fake: FakeEngine, quick: None) -> None:
    web = fake.add("web", project="shop")
    fake.hang("/")
    assert "no answer in time" in told_of(fake.host)
    assert "no answer in time" in Engine(fake.host).look(web.id).why
    assert "no answer in time" in Engine(fake.host).events(0.0, lambda seen: None).why
    fake.heal()


@pytest.mark.parametrize("body", [{"message": "out of\nmemory"}, "<html><b>Bad</b> Gateway</html>", "", b"\xff\xfe"])
def test_an_engine_in_trouble_is_quoted_on_one_line(fake: FakeEngine, body: object) -> None:
    fake.answer("/containers/json", 500, body)
    failed = Engine(fake.host).list_all()
    assert isinstance(failed, ListFailed)
    assert failed.why and "\n" not in failed.why and "<" not in failed.why


# ── The event stream ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_proxy_that_refuses_events_is_told_from_an_engine_that_is_not_there(fake: FakeEngine) -> None:
    fake.refuse("/events", 403, HTML_403)
    closed = Engine(fake.host).events(0.0, lambda seen: None)
    assert closed == StreamClosed("403 Forbidden Request forbidden by administrative rules.", refused=True)


def test_the_stream_replays_from_the_moment_asked_for(fake: FakeEngine) -> None:
    web = fake.add("web", project="shop")
    fake.crash(web, 3)
    with listening(fake) as seen:
        fake.start_by_operator(web)
    opened, *events, closed = seen
    assert isinstance(opened, StreamOpened) and 29 < opened.time - opened.since < 31
    assert [event.action for event in events if isinstance(event, Heard)] == ["create", "start", "die", "start"]
    assert closed == StreamClosed(), "a stream that was open and ends gives no reason to worry"


@pytest.mark.parametrize("wire", [
    {}, {"split": 1}, {"split_utf8": True, "split_header": True}, {"coalesce": 3}, {"stall": 0.01}, {"garbage": True},
    {"garbage": "[" * 20_000}, {"garbage": "[1]"}, {"garbage": '{"Type":"container","Actor":[],"timeNano":"x"}'},
], ids=str)  # fmt: skip
def test_every_event_comes_through_whatever_pieces_it_comes_in(fake: FakeEngine, wire: dict[str, object]) -> None:
    web = fake.add("web", labels={"motto": "Grüße, 世界 🐳"}, quiet=True)
    with listening(fake) as seen:
        fake.stream_mode(**wire)  # type: ignore[arg-type]
        fake.crash(web, 3)
        fake.start_by_operator(web)
    events = [event for event in seen if isinstance(event, Heard) and event.id == web.id]
    assert [event.action for event in events] == ["die", "start"]
    assert {event.attributes["motto"] for event in events} == {"Grüße, 世界 🐳"}


def test_a_label_of_120_kB_is_one_long_line(fake: FakeEngine) -> None:
    web = fake.add("web", labels={"huge": "x" * 120_000}, quiet=True)
    with listening(fake) as seen:
        fake.crash(web, 3)
    assert [(event.exit_code, len(event.attributes["huge"])) for event in seen if isinstance(event, Heard)] == [
        (3, 120_000)
    ]


def test_labels_that_shadow_an_events_own_words_are_not_believed(fake: FakeEngine) -> None:
    web = fake.add("web", labels={"exitCode": "zero", "signal": "zz", "execDuration": "x"}, quiet=True)
    with listening(fake) as seen:
        fake.kill(web, "USR1")
        fake.crash(web, 5)
    heard = [event for event in seen if isinstance(event, Heard)]
    assert [(event.action, event.exit_code, event.signal) for event in heard] == [("kill", None, None), ("die", None, None)]
    looked = Engine(fake.host).look(web.id).container
    assert looked is not None and looked.exit_code == 5


def test_the_stream_can_be_closed_from_another_thread(fake: FakeEngine) -> None:
    engine, ends, opened = Engine(fake.host), list[StreamClosed](), threading.Event()

    def read() -> None:
        ends.append(engine.events(0.0, lambda _: opened.set()))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert opened.wait(5)
    engine.close_stream()
    reader.join(2)
    assert ends == [StreamClosed()]
    engine.close_stream()  # no stream any more: nothing happens


# ── Restarts ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_that_is_down_is_started_and_one_that_runs_is_restarted(fake: FakeEngine) -> None:
    down, sick = fake.add("down", running=False, exit_code=3), fake.add("sick", stop_timeout=7)
    plain = fake.add("plain")  # the engine's own stop timeout counts, which is nowhere to be read (29.7)
    for container, call in ((down, "start"), (sick, "restart?t=7"), (plain, "restart")):
        done = Engine(fake.host).restart(job(container))
        assert (done.outcome, done.container and done.container.status) == (Outcome.DONE, "running")
        assert fake.called("POST")[-1].path == f"/containers/{container.id}/{call}"


@pytest.mark.parametrize("what", ["gone", "runs", "another run"])
def test_a_container_that_changed_meanwhile_is_not_touched(fake: FakeEngine, what: str) -> None:
    web = fake.add("web", running=what == "another run")
    judged = job(web)
    {"gone": fake.remove, "runs": fake.start_by_operator, "another run": fake.restart_by_operator}[what](web)
    overtaken = Engine(fake.host).restart(judged)
    assert overtaken.outcome is Outcome.OVERTAKEN and not fake.called("POST")
    assert (overtaken.container is None) == (what == "gone")


@pytest.mark.parametrize(("error", "words"), [
    (NO_ENTRY, "no such file or directory"), (PORT_TAKEN, "port is already allocated"), (NETWORK_GONE, "not found"),
    (StartError(404, "No such container: 0123456789ab"), "No such container: 0123456789ab"),
    (StartError(409, "cannot join network of a non running container: 0123456789ab"), "non running container"),
    (StartError(500, "unable to find user nosuch: no matching entries in passwd file"), "unable to find user"),
])  # fmt: skip
def test_a_start_that_the_engine_refuses_is_told_in_its_words(fake: FakeEngine, error: StartError, words: str) -> None:
    """A 404 means something else than this container, which is still there."""
    web = fake.add("web", running=False, exit_code=3)
    fake.on_start(web, error)
    refused = Engine(fake.host).restart(job(web))
    assert refused.outcome is Outcome.REFUSED
    assert words in refused.why
    assert refused.container is not None and words in refused.container.error


def test_a_start_of_one_that_just_started_is_done(fake: FakeEngine) -> None:
    web = fake.add("web", running=False)
    fake.answer("/start$", 304)
    done = Engine(fake.host).restart(job(web))
    assert done.outcome is Outcome.DONE and done.container is not None, "only a look says what a 304 means"


def test_a_proxy_that_forbids_starts_is_told_from_an_engine_that_refuses_one(fake: FakeEngine) -> None:
    web = fake.add("web", running=False)
    fake.refuse(f"/containers/{web.id}/start", 403, HTML_403)
    forbidden = Engine(fake.host).restart(job(web))
    assert forbidden.outcome is Outcome.FORBIDDEN
    assert forbidden.why == "403 Forbidden Request forbidden by administrative rules."


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_that_gave_up_waiting_says_nothing_of_the_restart(fake: FakeEngine, status: int) -> None:
    sick = fake.add("sick", stop_timeout=1)
    fake.answer("/restart", status, "<html>gateway</html>", act=True)
    before = sick.started
    unknown = Engine(fake.host).restart(job(sick))
    assert unknown.outcome is Outcome.UNKNOWN
    assert fake.wait(lambda: sick.started > before), "and it goes through"


def test_a_restart_without_an_answer_is_unknown_not_failed(fake: FakeEngine, quick: None) -> None:
    sick = fake.add("sick", stop_timeout=1)
    fake.hang("/restart")
    unknown = Engine(fake.host).restart(job(sick))
    assert unknown.outcome is Outcome.UNKNOWN and unknown.container is not None
    fake.heal()


# ── Logs ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_memory_that_can_not_be_asked_for_says_nothing_of_a_new_engine(fake: FakeEngine) -> None:
    fake.add("web")
    asked = sentinel.Recall(time.time() - 100, time.time(), ((1, "a" * 64, "die"),))
    assert Engine(fake.host).recall(asked).began_time > 0, "it remembers another event, and not that one"
    fake.refuse("/events")
    assert Engine(fake.host).recall(asked) == sentinel.Recalled(asked.since, asked.until)


def logs_of(fake: FakeEngine, container: Container) -> tuple[str, ...]:
    return Engine(fake.host).look(container.id).logs


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("flavour", ["20.10", "28", "podman"])
def test_the_last_lines_are_read_with_and_without_terminal(flavour: str, tty: bool) -> None:
    """20.10 says nothing of the form in its Content-Type, and Podman nothing that helps."""
    with FakeEngine(flavour=flavour) as fake:
        web = fake.add("web", tty=tty)
        fake.log(web, *(f"line {number}" for number in range(60)), "", "Grüße 🐳")
        fake.crash(web, 3)
        lines = logs_of(fake, web)
        assert [line for line in lines if line][-3:] == ["line 58", "line 59", "Grüße 🐳"]
        assert 10 <= len(lines) <= 40


def test_lines_of_both_streams_are_put_in_order_of_time(fake: FakeEngine) -> None:
    web = fake.add("web")
    now = time.time_ns()
    fake.set_logs(web, [LogLine(now + 2000, 2, "second\n"), LogLine(now + 1000, 1, "first\n"),
                        LogLine(now + 3000, 1, "third\n")])  # fmt: skip
    fake.crash(web, 3)
    assert logs_of(fake, web) == ("first", "second", "third")


@pytest.mark.parametrize("early", [0.0, 0.072, 0.5])
def test_what_a_run_wrote_before_a_busy_engine_says_that_it_began_is_read(fake: FakeEngine, early: float) -> None:
    """Found under load, on 20.10 and 26.1: a process that fails at once had no last line."""
    web = fake.add("web", started_ago=100)
    fake.set_logs(web, [LogLine(web.started - int(early * 1e9), 1, "no such config\n")])
    began = web.started / 1e9
    before = sentinel.Container(web.id, status="running", started_time=began, finished_time=began - 9)
    fake.crash(web, 1)
    engine = Engine(fake.host)
    assert engine.look(web.id).logs == engine.look(web.id, before.lines_time).logs == ("no such config",)


def test_a_run_whose_start_is_said_to_be_after_its_end_has_its_lines(fake: FakeEngine) -> None:
    """Found by a busy machine, on 26.1."""
    web = fake.add("web", started_ago=100)
    fake.set_logs(web, [LogLine(web.started - 30 * 10**6, 1, "no such config\n")])
    fake.crash(web, 1)
    web.finished = web.started - 20 * 10**6
    engine = Engine(fake.host)
    seen = engine.look(web.id)
    assert seen.container and seen.container.finished_time < seen.container.started_time
    services = sentinel.Services()
    services.enter(sentinel.Watched("web", seen.container, sentinel.policy_of(seen.container, sentinel.Settings(), "")[0],
                                    sentinel.Phase.RESTARTING))  # fmt: skip
    again = engine.look(web.id, services.known_since(web.id))
    assert seen.logs == again.logs == ("no such config",)


@pytest.mark.parametrize(("gap", "seen"), [(0.04, "running"), (0.2, "running"), (0.2, "down")])
def test_what_the_run_before_wrote_is_not_taken_for_the_last_lines_of_the_next(
    fake: FakeEngine, gap: float, seen: str
) -> None:
    """Neither where Sentinel saw the run itself, nor where it saw only the end of that before it."""
    web = fake.add("web", started_ago=100)
    ended = web.started / 1e9 - gap
    fake.set_logs(web, [LogLine(web.started - int(gap * 1e9), 1, "of an earlier run\n"),
                        LogLine(web.started, 1, "booting\n")])  # fmt: skip
    known = sentinel.Container(web.id, status="running", started_time=web.started / 1e9, finished_time=ended)
    if seen == "down":
        known = replace(known, status="exited", started_time=ended - 9)
    services = sentinel.Services()
    services.enter(sentinel.Watched("web", known, sentinel.policy_of(known, sentinel.Settings(), "")[0], sentinel.Phase.UP))
    fake.crash(web, 1)
    assert Engine(fake.host).look(web.id, services.known_since(web.id)).logs == ("booting",)


def test_only_the_last_run_is_read(fake: FakeEngine) -> None:
    web = fake.add("web", started_ago=100)
    fake.set_logs(web, [LogLine(web.started - 2 * 10**9, 1, "of an earlier run\n"), LogLine(web.started, 1, "booting\n"),
                        LogLine(web.started + 10**9, 2, "boom\n")])  # fmt: skip
    fake.crash(web, 3)
    assert logs_of(fake, web) == ("booting", "boom")


@pytest.mark.parametrize("flavour", ["20.10", "28", "podman"])
def test_of_what_runs_again_the_run_that_was_known_is_read(flavour: str) -> None:
    """Docker's own policy may be quicker than the look; the next run may have written much by then."""
    with FakeEngine(flavour=flavour) as fake:
        web = fake.add("web", started_ago=1)
        began = web.started - 100 * 10**9
        again = [LogLine(web.started + number, 1, f"again {number}\n") for number in range(200)]
        fake.set_logs(web, [LogLine(began - 10**9, 1, "of an earlier run\n"), LogLine(began, 1, "booting\n"),
                            LogLine(began + 10**9, 2, "boom\n"), *again])  # fmt: skip
        engine, known = Engine(fake.host), began / 1e9 - 0.05
        assert engine.look(web.id, known).logs == ("booting", "boom")
        assert engine.look(web.id, web.started / 1e9 - 0.05).logs == (), "it is the run that is known"
        assert engine.look(web.id).logs == (), "none is known"


@pytest.mark.parametrize("down", [0.004, 0.03, 0.06, 0.1, 5.0])
def test_what_was_down_for_an_instant_has_the_lines_of_the_run_before(fake: FakeEngine, down: float) -> None:
    """Found by a quick machine, where Podman's policy had it running again within 50 ms of its last line."""
    web = fake.add("web", started_ago=1)
    web.finished = web.started - int(down * 1e9)
    began = web.finished - 10**9
    lines = {began - int(down * 0.95e9): "of an earlier run", began: "booting", web.finished + 10**6: "the end",
             web.started - 10**6: "again"}  # fmt: skip
    fake.set_logs(web, [LogLine(nano, 1, f"{text}\n") for nano, text in lines.items()])
    engine = Engine(fake.host)
    before = sentinel.Container(web.id, status="running", started_time=began / 1e9, finished_time=began / 1e9 - down)
    assert engine.look(web.id, before.lines_time).logs == ("booting", "the end")


def test_many_lines_of_many_pieces_are_read(fake: FakeEngine) -> None:
    web = fake.add("web")
    fake.log(web, *("x" * 16000 + str(number) for number in range(300)))
    seen = Engine(fake.host).look(web.id).container
    assert seen is not None
    lines = Engine(fake.host).log_tail(seen, 200)
    assert [line[-3:] for line in lines] == [str(number) for number in range(100, 300)]


def test_a_line_of_a_megabyte_keeps_its_end(fake: FakeEngine) -> None:
    web = fake.add("web")
    fake.log(web, "before", "x" * 10**6 + " the cause", "after")
    fake.crash(web, 3)
    *_, long, last = logs_of(fake, web)
    assert last == "after" and long.endswith("x the cause") and len(long) <= 16384
    assert not re.search(r"\d{4}-\d\d-\d\dT", long), "the engine's stamps of its 16 kB pieces are no part of the line"


def test_binary_rubbish_is_read_as_text(fake: FakeEngine) -> None:
    web, terminal = fake.add("web"), fake.add("terminal", tty=True)
    rubbish = "\x00\x01\x02\x03" * 3
    for container in (web, terminal):
        fake.log(container, rubbish, "\x01\x00\x00\x00\x00\x00\xff\xffno frame", "boom")
        fake.crash(container, 3)
        lines = logs_of(fake, container)
        assert lines[-1] == "boom" and rubbish in lines[0] and lines[1].endswith("no frame")


@pytest.mark.parametrize("body", [b"\x01\x00\x00\x00\x00\x00\x00\xffcut short", b"\x01\x00\x00", b"", b"\xff\xfe\n\n"])
def test_a_log_that_ends_in_the_middle_of_a_frame_is_taken_as_it_is(fake: FakeEngine, body: bytes) -> None:
    web = fake.add("web")
    fake.crash(web, 3)
    fake.answer("/logs", 200, body)
    looked = Engine(fake.host).look(web.id)
    assert looked.container is not None and "".join(looked.logs).startswith("cut" if b"cut" in body else "")


def test_a_log_driver_that_can_not_be_read_costs_the_log_only(fake: FakeEngine) -> None:
    web = fake.add("web", log_driver="none")
    fake.crash(web, 3)
    looked = Engine(fake.host).look(web.id)
    assert looked.logs == () and looked.container is not None and looked.container.exit_code == 3
    assert fake.called("GET", "/logs")[-1].status == 501


# ── An answer that never ends ─────────────────────────────────────────────────────────────────────────────────

HURRY = 40.0  # Sentinel's seconds in one of ours


class Hurried:
    """A clock that runs ahead."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def monotonic(self) -> float:
        return self.began + (time.monotonic() - self.began) * HURRY

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentinel's clock and timers run ahead; what a socket waits for is as long as ever."""
    timer = threading.Timer
    monkeypatch.setattr(sentinel, "time", Hurried())
    monkeypatch.setattr(threading, "Timer", lambda seconds, *words, **more: timer(seconds / HURRY, *words, **more))


@pytest.mark.parametrize(("path", "ask"), [
    ("/json$", lambda engine, web: engine.look(web.id)), ("/logs", lambda engine, web: engine.look(web.id)),
    ("/containers/json", lambda engine, web: engine.list_all()), ("/start", lambda engine, web: engine.restart(job(web))),
    ("/json$", lambda engine, web: engine.restart(job(web)))],
    ids=["look", "look at logs", "listing", "start", "look before a start"])
def test_an_answer_that_drips_is_given_up(fake: FakeEngine, hurried: None, path: str, ask: Any) -> None:
    """Each byte comes in time for a socket's own timeout: as from an engine or a proxy that is at the end of its tether."""
    web = fake.add("web", running=False, exit_code=3)
    fake.log(web, *("line" * 50 for _ in range(50)))
    if path == "/start":  # whose usual answer is short
        fake.answer(path, 500, {"message": "x" * 5000}).drip = 0.03
    else:
        fake.drip(path, 0.03)
    seen: list[Any] = []
    worker = threading.Thread(target=lambda: seen.append(ask(Engine(fake.host), web)), daemon=True)
    worker.start()
    worker.join(300 / HURRY)
    fake.heal()
    assert seen, "it is waited for after five minutes"


# ── Who am I ──────────────────────────────────────────────────────────────────────────────────────────────────

ME, OTHER = "a1" * 32, "b2" * 32
MOUNTS = "701 690 0:50 / / rw - overlay overlay rw,upperdir=/var/lib/docker/overlay2/{layer}/diff\n".format(layer="c3" * 32)
DOCKER_MOUNTS = MOUNTS + f"709 701 8:1 /var/lib/docker/containers/{ME}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
ROOTLESS_MOUNTS = MOUNTS + f"709 701 8:1 /home/u/.local/share/docker/containers/{ME}/resolv.conf /etc/resolv.conf rw\n"
PODMAN_MOUNTS = MOUNTS + (f"709 701 0:25 /containers/storage/overlay-containers/{ME}/userdata/hosts /etc/hosts rw"
                          " - tmpfs tmpfs rw\n")  # fmt: skip


@pytest.mark.parametrize(("mountinfo", "cgroup", "hostname", "found"), [
    (DOCKER_MOUNTS, f"8:pids:/docker/{ME}\n0::/system.slice\n", ME[:12], ME),
    (DOCKER_MOUNTS, "0::/\n", ME[:12], ME),
    (DOCKER_MOUNTS, "0::/\n", "set-by-compose", ME),
    (ROOTLESS_MOUNTS, "0::/\n", "set-by-compose", ME),
    (PODMAN_MOUNTS, "0::/\n", "set-by-compose", ME),
    (MOUNTS, f"8:pids:/docker/{ME}\n", "set-by-compose", ME),
    (MOUNTS, f"0::/system.slice/docker-{ME}.scope\n", "set-by-compose", ME),
    (MOUNTS, "0::/\n", ME[:12], ME[:12]),
    (MOUNTS, "0::/\n", "build-host", ""),
    ("", "", "deadbeef", ""),
], ids=["v1", "v2 private", "hostname set", "rootless", "podman", "v1 cgroup only", "v2 host", "hostname only",
        "no container", "nothing"])  # fmt: skip
def test_its_own_container_is_found_by_mounts_cgroup_or_hostname(
    mountinfo: str, cgroup: str, hostname: str, found: str
) -> None:
    assert sentinel.own_candidate(mountinfo, cgroup, hostname) == found


def within(monkeypatch: pytest.MonkeyPatch, mounts: str, started: float) -> None:
    """Let Sentinel believe that it runs where these are the mounts, and that process 1 started then."""
    boot = int(time.time()) - 10_000
    ticks = int((started - boot) * 100)
    files = {"/proc/self/mountinfo": mounts, "/proc/self/cgroup": "0::/\n", "/proc/stat": f"cpu 1 2\nbtime {boot}\n",
             "/proc/1/stat": f"1 (sh) (x) S {'0 ' * 18}{ticks} 0 0\n"}  # fmt: skip
    monkeypatch.setattr(sentinel, "read_text", lambda path: files.get(path, ""))
    monkeypatch.setattr(sentinel.os, "sysconf", lambda name: 100)
    monkeypatch.setattr(sentinel.socket, "gethostname", lambda: "some-host")


def test_its_own_container_is_known_to_the_listing(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    own, _ = fake.add("sentinel", project="shop", started_ago=500), fake.add("web", project="shop")
    within(monkeypatch, DOCKER_MOUNTS.replace(ME, own.id), own.started / 1e9)
    listed = Engine(fake.host).list_all()
    assert isinstance(listed, Listed) and listed.me == own.id


def test_on_another_containers_network_it_does_not_take_that_one_for_itself(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    vpn = fake.add("vpn", started_ago=500)
    fake.add("app", network_mode=f"container:{vpn.id}", started_ago=300)
    own = fake.add("sentinel", network_mode=f"container:{vpn.id}", started_ago=100)
    within(monkeypatch, DOCKER_MOUNTS.replace(ME, vpn.id), own.started / 1e9)
    assert sentinel.own_container(Engine(fake.host)) == own.id


def test_outside_of_a_container_it_is_none(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add("web")
    within(monkeypatch, "", time.time())
    assert sentinel.own_container(Engine(fake.host)) == ""


def test_a_proxy_that_tells_no_name_costs_the_name_only(fake: FakeEngine) -> None:
    fake.refuse("/info", 403, HTML_403)
    listed = Engine(fake.host).list_all()
    assert isinstance(listed, Listed) and listed.host == socket.gethostname()
