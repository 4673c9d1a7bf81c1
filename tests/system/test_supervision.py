"""Who watches the watchman: `health`, the service manager, the dead-man's switch, and the local HTTP server.

Real processes of sentinel.py against a fake engine and a fake Discord. Their pulse is quicker than in life, so that what
takes half a minute there takes a second here.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engines import frozen, wait_until
from support.fake_discord import FakeDiscord
from support.fake_engine import FakeEngine
from support.ports import free_port
from support.system import PROGRAM, Done, add, changed, end, finished, until

import sentinel

TOKEN = "agent-007"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
#: A quicker life: the pulse that `health` reads comes every 50 ms and is stale after 1.5 s.
QUICK = {"PULSE": 0.05, "FIRST_PROOF": 0.05}
FROZEN_SOON = {"PULSE_LIMIT": 1.5}


class Process:
    """sentinel.py as people start it, with some of its constants changed where `quick` says so."""

    def __init__(self, folder: Path, host: str, *arguments: str, quick: dict[str, Any] | None = None, patch: str = "",
                 **settings: str) -> None:  # fmt: skip
        changes = "".join(f"sentinel.{name} = {value!r}; " for name, value in (quick or {}).items()) + patch
        self.start_with = [*changed(changes)] if changes else [str(PROGRAM)]
        self.arguments, self.log_file = arguments, folder / "log"
        self.environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": host, "HOME": str(folder),
                            "SENTINEL_STATE": str(folder / "state"), "SENTINEL_GREET": "false", **settings}  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def __enter__(self) -> Process:
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, *self.start_with, *self.arguments], env=self.environment,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # fmt: skip
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        assert self.process
        ended = self.process.poll()
        self.process.kill()
        self.process.wait()
        for path in sentinel.health_files(sentinel.Settings(state=self.environment["SENTINEL_STATE"]), {})[1:]:
            Path(path).unlink(missing_ok=True)
        print(self.log)
        assert kind or ended in (None, 0, -signal.SIGKILL), self.log

    def watching(self, *names: str) -> Process:
        until(lambda: "answers" in self.log and all(f"watching {name} " in self.log for name in names),
              what=lambda: self.log)
        return self

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def ended(self, timeout: float = 60.0) -> int:
        assert self.process
        return self.process.wait(timeout)

    def command(self, *arguments: str, **settings: str) -> Done:
        """Another command with the same settings: exit code, standard output, standard error."""
        return finished([*self.start_with, *arguments], self.environment | settings)

    def health(self) -> tuple[int, str]:
        """What `health` says; asked again where it hit the moment in which there is no good note (see the tests of that)."""
        for _ in range(20):
            code, out, _ = self.command("health")
            if "no Sentinel runs" not in out:
                break
        return code, out


# ── health ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_health_before_there_is_a_daemon_says_that_there_is_none(engine: FakeEngine, tmp_path: Path) -> None:
    code, out, _ = Process(tmp_path, engine.host).command("health")
    assert code == 1 and "no Sentinel runs here" in out and "SENTINEL_STATE" in out
    assert not (tmp_path / "state").exists(), "it looks, and makes nothing"


def test_health_is_well_while_the_daemon_runs_and_not_after_it_was_frozen_or_killed(
    engine: FakeEngine, tmp_path: Path
) -> None:
    with Process(tmp_path, engine.host, quick=QUICK | FROZEN_SOON) as daemon:
        daemon.watching()
        until(lambda: daemon.health() == (0, "ok\n"))
        daemon.signal(signal.SIGSTOP)
        code, out = until(lambda: (seen := daemon.health())[0] and seen)
        assert code == 1 and "has not moved for" in out
        moved = float((tmp_path / "state" / "health").read_text().split()[0])  # on the clock of all processes
        assert time.monotonic() - moved >= FROZEN_SOON["PULSE_LIMIT"]
        daemon.signal(signal.SIGCONT)
        until(lambda: daemon.health()[0] == 0)
        daemon.signal(signal.SIGKILL)
        daemon.ended()
        until(lambda: daemon.health()[0] == 1)


@pytest.mark.parametrize(("age", "code"), [(0.5, 0), (29.0, 0), (31.0, 1), (3600.0, 1)])
def test_a_note_of_the_daemons_is_too_old_after_thirty_seconds(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float, code: int
) -> None:
    """Written by the program as it is started in life; only the reader's clock is another."""
    with Process(tmp_path, engine.host) as daemon:
        until(lambda: (tmp_path / "state" / "health").exists() and (tmp_path / "state" / "health").read_text())
        daemon.signal(signal.SIGSTOP)
        assert wait_until(lambda: frozen(daemon.process.pid), 10.0)
        moved = float((tmp_path / "state" / "health").read_text().split()[0])

        class Later:
            monotonic = staticmethod(lambda: moved + age)

        monkeypatch.setattr(sentinel, "time", Later)
        assert sentinel.health(sentinel.Settings(state=str(tmp_path / "state")), {}) == code


def test_the_note_is_renewed_several_times_before_it_is_too_old() -> None:
    assert sentinel.PULSE * 4 <= sentinel.PULSE_LIMIT <= 35


def test_a_note_is_good_from_the_moment_in_which_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentinel.time, "monotonic", lambda: 1000.05)
    daemon = sentinel.Daemon(sentinel.Settings(docker_host=f"unix://{tmp_path}/none", state=str(tmp_path)), {})
    daemon.pulse.beat(1000.06)
    monkeypatch.setattr(sentinel.time, "monotonic", lambda: 1000.07)
    assert sentinel.health(daemon.settings, {}) == 0


@pytest.mark.parametrize("note", ["", "ok", "nan ok", "-1.0 ok", "1e3 ok", "inf ok", "12.5", "\x00\xff", "99999999999.0 ok"])
def test_a_note_that_makes_no_sense_is_none(tmp_path: Path, note: str) -> None:
    (tmp_path / "health").write_text(note)
    assert sentinel.health(sentinel.Settings(state=str(tmp_path)), {}) == 1


def test_health_also_works_where_the_state_folder_can_not_be_written(engine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    state = str(tmp_path / "file" / "state")
    with Process(tmp_path, engine.host, quick=QUICK, SENTINEL_STATE=state) as daemon:
        daemon.watching()
        until(lambda: daemon.health()[0] == 0)
        assert daemon.command("health", SENTINEL_STATE=f"{state}2")[0] == 1, "another daemon's"
        daemon.signal(signal.SIGKILL)
        daemon.ended()
        until(lambda: daemon.health()[0] == 1)


def test_the_note_is_never_written_through_somebodys_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "folder").mkdir()
    sentinel.write_health(tuple(str(tmp_path / name) for name in ("link", "folder", "none/x", "good")), "1.0 ok")
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "link").read_text() == "1.0 ok"
    assert not (tmp_path / "link").is_symlink(), "the link itself is replaced"
    assert (tmp_path / "link").stat().st_mode & 0o777 == 0o600


def test_the_note_is_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "health"
    sentinel.write_health((str(path),), "1.0 ok")
    seen: list[str] = []
    opening = os.fdopen

    def opened(*arguments: Any, **options: Any) -> Any:
        seen.append(path.read_text())
        return opening(*arguments, **options)

    monkeypatch.setattr(sentinel, "open", opened, raising=False)
    sentinel.write_health((str(path),), "2.0 ok")
    assert path.read_text() == "2.0 ok" and seen in ([], ["1.0 ok"])


STUCK = QUICK | {"LIST_LIMIT": 1.0, "LISTING_LIMIT": 1.0, "LOOK_LIMIT": 1.0}


def test_health_fails_while_the_listing_hangs_and_is_well_when_it_goes_on(engine: FakeEngine, tmp_path: Path) -> None:
    with Process(tmp_path, engine.host, quick=STUCK, SENTINEL_POLL_INTERVAL="1s") as daemon:
        daemon.watching()
        until(lambda: daemon.health()[0] == 0)
        engine.hang("/containers/json")
        code, out = until(lambda: (seen := daemon.health())[0] and seen)
        assert code == 1 and "no progress: " in out and "listing" in out
        engine.heal()
        until(lambda: daemon.health() == (0, "ok\n"))


def test_health_fails_while_a_courier_hangs(engine: FakeEngine, discord: FakeDiscord, tmp_path: Path) -> None:
    web, hook = add(engine, "web"), discord.add_webhook()
    enough = threading.Event()
    with Process(tmp_path, engine.host, quick=QUICK | {"COURIER_LIMIT": 1.5}, DISCORD_WEBHOOK_URL=hook.url) as daemon:
        daemon.watching("web")
        discord.arm("hang", seconds=60.0, until=enough)
        engine.crash(web, 3)
        code, out = until(lambda: (seen := daemon.health())[0] and seen)
        assert code == 1 and out == "no progress: webhook\n"
        enough.set()
        until(lambda: daemon.health()[0] == 0)
    discord.wait_for(lambda fake: fake.posts(text="web is DEAD"))


def test_an_engine_that_is_away_is_not_sentinels_own_trouble(engine: FakeEngine, tmp_path: Path) -> None:
    with Process(tmp_path, engine.host, quick=QUICK | {"LISTING_LIMIT": 4.0}, SENTINEL_POLL_INTERVAL="1s") as daemon:
        daemon.watching()
        engine.go_down()
        until(lambda: "does not answer" in daemon.log or "no such socket" in daemon.log)
        seen = [daemon.health()[0] for _ in range(3)]
        assert seen == [0, 0, 0]


def test_health_with_settings_that_make_no_sense_is_78(tmp_path: Path) -> None:
    code, out, err = Process(tmp_path, "").command("health", SENTINEL_SETTLE="soon")
    assert (code, out) == (78, "") and err.startswith("SENTINEL_SETTLE:")


# ── The service manager ───────────────────────────────────────────────────────────────────────────────────────


class ManagerSocket:
    """A service manager's datagram socket, and everything that it was told."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.told: list[tuple[float, str]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.socket.recv(65536):
                self.told.append((time.monotonic(), data.decode()))

    @property
    def lines(self) -> list[str]:
        return [line for _, text in self.told for line in text.split("\n")]

    def last(self, word: str) -> float:
        """When it was told so last; 0 for never."""
        return max((when for when, text in self.told if word in text.split("\n")), default=0.0)

    def wait(self, pattern: str) -> str:
        def found() -> str:
            return next((line for line in self.lines if re.fullmatch(pattern, line)), "")

        return str(until(found, what=lambda: self.lines))


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ManagerSocket]:
    abstract = f"@sentinel-test-{os.getpid()}-{time.monotonic_ns()}"
    made = ManagerSocket(str(tmp_path / "notify") if request.param == "path" else abstract)
    yield made
    made.socket.close()


def test_the_manager_is_told_ready_status_watchdog_and_stopping(
    engine: FakeEngine, manager: ManagerSocket, tmp_path: Path
) -> None:
    add(engine, "web")
    with Process(tmp_path, engine.host, quick=QUICK, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="60000000") as daemon:
        manager.wait("READY=1")
        manager.wait("STATUS=watching 1 service, 0 down")
        until(lambda: manager.lines.count("WATCHDOG=1") >= 3)
        assert "STOPPING=1" not in manager.lines
        daemon.signal(signal.SIGTERM)
        assert daemon.ended() == 0
    manager.wait("STOPPING=1")
    assert manager.lines.count("READY=1") == 1
    assert all(re.fullmatch(r"(READY|WATCHDOG|STOPPING)=1|STATUS=[^\n]+", line) for line in manager.lines)


def test_the_manager_is_told_ready_also_while_the_engine_is_away(tmp_path: Path, manager: ManagerSocket) -> None:
    with Process(tmp_path, f"unix://{tmp_path}/none.sock", quick=QUICK, NOTIFY_SOCKET=manager.address):
        manager.wait("READY=1")
        manager.wait(r"STATUS=the engine does not answer \(.*no such socket.*\)")
        until(lambda: manager.lines.count("WATCHDOG=1") >= 2)


def test_the_program_as_it_is_started_in_life_keeps_to_the_managers_interval(engine: FakeEngine, tmp_path: Path) -> None:
    """Also after it has become the same process with its file imported: WATCHDOG_PID is still its own."""
    manager = ManagerSocket(str(tmp_path / "notify"))
    shell = f"export WATCHDOG_PID=$$; exec {sys.executable} {PROGRAM}"
    daemon = Process(tmp_path, engine.host, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="600000")
    process = subprocess.Popen(["sh", "-c", shell], env=daemon.environment, stderr=subprocess.DEVNULL)
    try:
        until(lambda: manager.lines.count("WATCHDOG=1") >= 6)
    finally:
        process.kill()
        process.wait()
        manager.socket.close()


@pytest.mark.parametrize(("limit", "owner", "interval"), [
    ("30000000", "", 10.0), ("30000000", "1", 0.0), ("0", "", 0.0), ("soon", "", 0.0), ("", "", 0.0), ("-5", "", 0.0)])
def test_the_watchdogs_interval_is_the_managers_third(limit: str, owner: str, interval: float) -> None:
    made = sentinel.Manager({"WATCHDOG_USEC": limit, "WATCHDOG_PID": owner})
    assert made.interval == pytest.approx(interval)
    assert sentinel.Manager({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}).interval == 1.0


def test_the_watchdog_is_silent_while_a_worker_hangs_and_goes_on_with_it(
    engine: FakeEngine, manager: ManagerSocket, tmp_path: Path
) -> None:
    with Process(tmp_path, engine.host, quick=STUCK, NOTIFY_SOCKET=manager.address, SENTINEL_POLL_INTERVAL="1s") as daemon:
        daemon.watching()
        until(lambda: manager.last("WATCHDOG=1"))
        engine.hang("/containers/json")
        hung = time.monotonic()
        until(lambda: manager.last("STATUS=no progress: look and listing") > hung)
        silent = time.monotonic()
        until(lambda: len([when for when, text in manager.told if when > silent and "STATUS=no progress" in text]) > 5)
        assert manager.last("WATCHDOG=1") < silent
        engine.heal()
        until(lambda: manager.last("WATCHDOG=1") > silent)


@pytest.mark.parametrize("address", ["", "/nonexistent/notify", "@nobody-listens", "x" * 200, "relative", "vsock:2:1"])
def test_a_manager_that_can_not_be_told_is_no_trouble(address: str) -> None:
    sentinel.Manager({"NOTIFY_SOCKET": address}).say("READY=1")


def test_a_manager_that_does_not_read_holds_up_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        made, said = sentinel.Manager({"NOTIFY_SOCKET": str(tmp_path / "notify")}), threading.Event()

        def say() -> None:
            for _ in range(2000):
                made.say("WATCHDOG=1")
            said.set()

        threading.Thread(target=say, daemon=True).start()
        assert said.wait(3.0)


# ── The dead-man's switch ─────────────────────────────────────────────────────────────────────────────────────


class Switch:
    """A dead-man service: the paths that were fetched."""

    def __init__(self) -> None:
        self.fetched: list[tuple[float, str]] = []
        self.status, self.delay = 200, 0.0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.fetched.append((time.monotonic(), self.path))
                time.sleep(outer.delay)
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/uuid"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def times(self, path: str) -> list[float]:
        return [when for when, fetched in self.fetched if fetched == path]


@pytest.fixture
def switch() -> Iterator[Switch]:
    made = Switch()
    yield made
    made.server.shutdown()
    made.server.server_close()


BEATING = QUICK | {"HEARTBEAT_EVERY": 0.1}


def test_the_switch_is_fetched_again_and_again(engine: FakeEngine, switch: Switch, tmp_path: Path) -> None:
    with Process(tmp_path, engine.host, quick=BEATING, SENTINEL_HEARTBEAT_URL=switch.url):
        until(lambda: len(switch.times("/uuid")) >= 4)
    assert {path for _, path in switch.fetched} == {"/uuid"}


def test_the_switch_is_fetched_once_a_minute_in_life(engine: FakeEngine, switch: Switch, tmp_path: Path) -> None:
    with Process(tmp_path, engine.host, quick=QUICK, SENTINEL_HEARTBEAT_URL=switch.url) as daemon:
        until(lambda: switch.fetched)
        pulse = tmp_path / "state" / "health"
        until(lambda: len({pulse.read_text() for _ in range(3) if not time.sleep(0.2)}) > 1)
        assert len(switch.fetched) == 1 and daemon.process and daemon.process.poll() is None
    assert 30 <= sentinel.HEARTBEAT_EVERY <= 60


def test_the_switch_is_told_when_something_is_given_up(engine: FakeEngine, switch: Switch, tmp_path: Path) -> None:
    web = add(engine, "web")
    with Process(tmp_path, engine.host, quick=BEATING | {"FIRST_DELAY": 0.05}, SENTINEL_HEARTBEAT_URL=switch.url,
                 SENTINEL_MAX_RESTARTS="1") as daemon:  # fmt: skip
        daemon.watching("web")
        for _ in range(2):
            until(lambda: web.running)
            assert switch.times("/uuid/fail") == []
            engine.crash(web, 3)
        until(lambda: switch.times("/uuid/fail"), what=lambda: daemon.log)
        until(lambda: switch.times("/uuid")[-1] > switch.times("/uuid/fail")[-1])
    assert len(switch.times("/uuid/fail")) == 1, "once an outage"


@pytest.mark.parametrize("patch", [
    "sentinel.Engine.list_all = lambda self: 1 / 0",
    pytest.param("tick = sentinel.Watchdog.tick; sentinel.Watchdog.tick = lambda self, now: tick(self, now) if now <"
                 " self.began_at + 0.5 else 1 / 0"),
], ids=["a worker", "the main thread"])  # fmt: skip
def test_the_switch_is_told_of_a_crash(engine: FakeEngine, switch: Switch, tmp_path: Path, patch: str) -> None:
    daemon = Process(tmp_path, engine.host, quick=QUICK, patch=patch, SENTINEL_HEARTBEAT_URL=switch.url)
    with contextlib.suppress(AssertionError), daemon:
        assert daemon.ended() == 70
    assert "ZeroDivisionError" in daemon.log and daemon.process and daemon.process.returncode == 70
    assert switch.times("/uuid/fail")


@pytest.mark.parametrize("slow", [0.0, 0.3])
def test_the_switch_is_not_fetched_while_sentinel_is_stuck(
    engine: FakeEngine, switch: Switch, tmp_path: Path, slow: float
) -> None:
    switch.delay = slow  # longer than from one heartbeat to the next
    pulse = tmp_path / "state" / "health"
    quick = BEATING | {"LIST_LIMIT": 1.0, "LISTING_LIMIT": 1.0}
    with Process(tmp_path, engine.host, quick=quick, SENTINEL_HEARTBEAT_URL=switch.url,
                 SENTINEL_POLL_INTERVAL="1s"):  # fmt: skip
        until(lambda: switch.fetched)
        engine.hang("/containers/json")
        until(lambda: "no progress" in pulse.read_text())
        until(lambda: len({pulse.read_text() for _ in range(5) if not time.sleep(0.1)}) > 3)
        before = len(switch.fetched)
        until(lambda: len({pulse.read_text() for _ in range(5) if not time.sleep(0.1)}) > 3)
        assert len(switch.fetched) == before
        engine.heal()
        until(lambda: len(switch.fetched) > before)


@pytest.mark.parametrize("trouble", ["404", "500", "refused", "slow"])
def test_a_switch_that_fails_is_a_warning_and_no_harm(
    engine: FakeEngine, discord: FakeDiscord, switch: Switch, tmp_path: Path, trouble: str
) -> None:
    web, hook = add(engine, "web"), discord.add_webhook()
    url = f"http://127.0.0.1:{free_port()}/uuid" if trouble == "refused" else switch.url
    switch.status = int(trouble) if trouble.isdigit() else 200
    switch.delay = 3.0 if trouble == "slow" else 0.0
    with Process(tmp_path, engine.host, quick=BEATING, SENTINEL_HEARTBEAT_URL=url, DISCORD_WEBHOOK_URL=hook.url) as daemon:
        daemon.watching("web")
        if trouble != "slow":
            until(lambda: re.search(rf"WARNING +heartbeat: .*{trouble}", daemon.log), what=lambda: daemon.log)
            assert "uuid" not in daemon.log, "who knows the address can feed the switch"
        else:
            until(lambda: switch.fetched)
        engine.crash(web, 3)
        discord.wait_for(lambda fake: fake.posts(text="web is DEAD"))
        assert daemon.health()[0] == 0


def test_a_switch_that_stays_away_is_said_once(engine: FakeEngine, switch: Switch, tmp_path: Path) -> None:
    switch.status = 500
    with Process(tmp_path, engine.host, quick=BEATING, SENTINEL_HEARTBEAT_URL=switch.url) as daemon:
        until(lambda: len(switch.fetched) >= 5)
        until(lambda: "heartbeat: " in daemon.log)
        assert daemon.log.count("heartbeat: ") == 1


def test_a_switch_with_a_query_is_failed_by_its_path(engine: FakeEngine, switch: Switch, tmp_path: Path) -> None:
    daemon = Process(tmp_path, engine.host, quick=QUICK, patch="sentinel.Engine.list_all = lambda self: 1 / 0",
                     SENTINEL_HEARTBEAT_URL=f"{switch.url}?rid=1&status=up")  # fmt: skip
    with contextlib.suppress(AssertionError), daemon:
        assert daemon.ended() == 70
    failed = [path for _, path in switch.fetched if "fail" in path]
    assert failed and all(path.startswith("/uuid/fail?") for path in failed)


@pytest.mark.parametrize("others", [False, True], ids=["the only channel", "one of two"])
def test_when_no_channel_takes_alerts_any_more_whoever_watches_sentinel_is_told(
    engine: FakeEngine, switch: Switch, tmp_path: Path, others: bool
) -> None:
    """Found by a reading of the code: a daemon that could tell nobody of anything was well."""
    web, told = add(engine, "web"), ManagerSocket(str(tmp_path / "notify"))
    more = {"SENTINEL_DROP_DIR": str(tmp_path / "drop")} if others else {}
    with FakeDiscord() as discord, contextlib.ExitStack() as stack:
        hook = discord.add_webhook()
        local = stack.enter_context(Local(
            tmp_path, engine.host, quick=BEATING, DISCORD_WEBHOOK_URL=hook.url, NOTIFY_SOCKET=told.address,
            SENTINEL_HEARTBEAT_URL=switch.url, SENTINEL_RESTART="false", **more))  # fmt: skip
        discord.delete_webhook(hook)
        until(lambda: "watching web" in local.daemon.log and switch.fetched)
        assert local.daemon.health() == (0, "ok\n") and local.ask("GET", "/healthz")[0] == 200
        engine.crash(web, 3)
        until(lambda: "retired" in local.daemon.log)
        if others:
            fetched = len(switch.fetched)
            until(lambda: len(switch.fetched) > fetched + 2)
            assert local.daemon.health() == (0, "ok\n") and local.ask("GET", "/healthz")[0] == 200
        else:
            code, out = until(lambda: (seen := local.daemon.health())[0] and seen, what="in `health`")
            status, text, _ = local.ask("GET", "/healthz")
            assert (code, status) == (1, 503) and "webhook" in out and "webhook" in text
            assert "webhook" in until(lambda: [line for line in told.lines if line.startswith("STATUS=")][-1])
            fetched, beats = len(switch.times("/uuid")), len(told.lines)
            until(lambda: len(told.lines) > beats + 40, what="twenty beats, in which the switch is due ten times")
            assert len(switch.times("/uuid")) <= fetched + 1, "the dead-man's switch is told that all is well"
    told.socket.close()


@pytest.mark.parametrize("secret", ["DISCORD_BRIDGE_TOKEN", "SENTINEL_NOTIFY_TOKEN", "SENTINEL_HEARTBEAT_URL"])
def test_what_ends_the_process_is_said_without_its_secrets(
    engine: FakeEngine, switch: Switch, tmp_path: Path, secret: str
) -> None:
    """Found by a reading of the code: a bridge's token is of no form by which it could be told."""
    words = f"{switch.url}-of-mine" if secret.endswith("URL") else "horse battery staple".replace(" ", "-")
    add(engine, "web")
    patch = f"\ndef broken(self, now): raise RuntimeError('it was ' + {words!r})\nsentinel.Watchdog.tick = broken"
    daemon = Process(tmp_path, engine.host, patch=patch, **{secret: words})
    daemon.__enter__()
    assert daemon.ended() == 70
    assert "RuntimeError: it was " in daemon.log and words not in daemon.log
    daemon.__exit__(RuntimeError)


# ── The local HTTP server ─────────────────────────────────────────────────────────────────────────────────────


IMPATIENT = QUICK | {"HTTP_PATIENCE": 3.0}


class Local:
    """A daemon with SENTINEL_LISTEN, and how to ask it."""

    def __init__(self, folder: Path, host: str, **settings: Any) -> None:
        self.port = free_port()
        quick, patch = settings.pop("quick", QUICK), settings.pop("patch", "")
        self.daemon = Process(folder, host, quick=quick, patch=patch, SENTINEL_LISTEN=str(self.port),
                              **{"SENTINEL_NOTIFY_TOKEN": TOKEN, **settings})  # fmt: skip

    def __enter__(self) -> Local:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.daemon)
            self.daemon.watching()
            stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self.daemon.__exit__(*error)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), dict(answer.getheaders())
        finally:
            connection.close()

    def note(self, **fields: Any) -> tuple[int, str, dict[str, str]]:
        return self.ask("POST", "/notify", json.dumps({"title": "backup", "message": "done"} | fields), **BEARER)

    def raw(self, data: bytes, half_close: bool = True) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock:
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b""))

    def reset(self, data: bytes) -> None:
        """Ask, and be gone."""
        sock = socket.create_connection(("127.0.0.1", self.port), 10)
        sock.sendall(data)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


@pytest.fixture
def local(engine: FakeEngine, tmp_path: Path) -> Iterator[Local]:
    add(engine, "web")
    with Local(tmp_path, engine.host) as made:
        yield made


def test_what_is_asked_for_is_answered(local: Local) -> None:
    until(lambda: "watching web" in local.daemon.log)
    assert local.ask("GET", "/healthz")[:2] == (200, "ok\n")
    status, text, headers = local.ask("GET", "/metrics?x=1")
    assert status == 200 and 'sentinel_service_up{project="shop",service="web"} 1\n' in text
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    status, text, headers = local.ask("GET", "/status")
    assert status == 200 and headers["Content-Type"].startswith("application/json")
    assert [item["name"] for item in json.loads(text)["services"]] == ["web"]
    for path in ("/", "/health", "/metrics/", "/notify", "/../etc/passwd", "/%6detrics"):
        assert local.ask("GET", path)[:2] == (404, "not found\n"), path
    for path in ("/metrics", "/healthz", "/"):
        assert local.ask("POST", path, "x", **BEARER)[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "HEAD"])
def test_another_method_is_refused(local: Local, method: str) -> None:
    assert local.ask(method, "/metrics")[0] in (200, 405, 501)
    assert local.ask(method, "/notify", json.dumps({"title": "a", "message": "b"}), **BEARER)[0] in (404, 405, 501)
    assert local.ask("GET", "/healthz")[0] == 200 and "[info] a" not in local.daemon.log


GARBAGE = [
    b"\r\n\r\n", b"\x00" * 500, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"POST /notify HTTP/1.1\r\nContent-Length: many\r\n\r\n",
    b"GET /metrics HTTP/1.0", b"GET /metrics\r\n", b"SSH-2.0-x\r\n",
    b"POST /notify HTTP/1.1\r\nAuthorization: \xff\xfe\r\n\r\n",
]  # fmt: skip


def test_garbage_hurts_nothing(local: Local) -> None:
    for data in GARBAGE:
        with contextlib.suppress(ConnectionError):
            local.raw(data)
        assert local.ask("GET", "/healthz")[0] == 200, data[:60]
    assert "Traceback" not in local.daemon.log


def test_a_client_that_has_gone_is_no_news(local: Local) -> None:
    for _ in range(20):
        local.reset(b"GET /metrics HTTP/1.0\r\n\r\n")
        local.reset(b"POST /notify HTTP/1.0\r\nAuthorization: Bearer agent-007\r\nContent-Length: 500\r\n\r\n{")
        assert local.ask("GET", "/healthz")[0] == 200
    assert "Traceback" not in local.daemon.log and "Exception occurred" not in local.daemon.log


def test_slow_clients_hold_up_nobody_and_are_hung_up_on(engine: FakeEngine, tmp_path: Path) -> None:
    with Local(tmp_path, engine.host, quick=IMPATIENT) as local:
        idle = [socket.create_connection(("127.0.0.1", local.port), 10) for _ in range(60)]
        for sock in idle[::2]:
            sock.sendall(b"POST /notify HTTP/1.1\r\nAuthorization: Bearer agent-007\r\nContent-Length: 500\r\n\r\n{")
        assert local.ask("GET", "/healthz")[0] == 200 and local.note()[0] == 202
        for sock in idle:
            with sock:
                assert sock.recv(12) in (b"", b"HTTP/1.0 400")


def test_a_client_that_drips_is_hung_up_on(engine: FakeEngine, tmp_path: Path) -> None:
    with Local(tmp_path, engine.host, quick=IMPATIENT) as local, \
            socket.create_connection(("127.0.0.1", local.port), 10) as sock:  # fmt: skip
        sock.settimeout(0.4)
        sock.sendall(b"GET /metrics HTTP/1.0\r\nX: ")

        def hung_up() -> bool:
            try:
                sock.sendall(b"x")
                return sock.recv(10) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        until(hung_up)


def test_it_listens_on_this_machine_only_unless_told_otherwise(local: Local) -> None:
    hexadecimal = f"{local.port:04X}"
    rows = [line.split()[1] for path in Path("/proc/net").glob("tcp*") for line in path.read_text().splitlines()
            if line.split()[1].endswith(f":{hexadecimal}") and line.split()[3] == "0A"]
    assert rows == [f"0100007F:{hexadecimal}"]


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "{port}", "192.0.2.1:{port}", "nobody.invalid:{port}"])
def test_an_address_that_can_not_be_had_is_said_and_watching_goes_on(
    engine: FakeEngine, tmp_path: Path, address: str
) -> None:
    add(engine, "web")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = address.format(port=taken.getsockname()[1])
        with Process(tmp_path, engine.host, SENTINEL_LISTEN=listen) as daemon:
            daemon.watching("web")
            (said,) = [line for line in daemon.log.splitlines() if "SENTINEL_LISTEN: " in line]
    assert "ERROR" in said and listen.rpartition(":")[2] in said
    assert "Traceback" not in daemon.log


def test_to_listen_asks_no_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(socket, "getfqdn", lambda name="": asked.append(name) or name)
    sentinel.serve(f"0.0.0.0:{free_port()}", "", lambda seen: None)
    assert asked == []


def test_healthz_says_503_while_something_hangs(engine: FakeEngine, tmp_path: Path) -> None:
    with Local(tmp_path, engine.host, quick=STUCK, SENTINEL_POLL_INTERVAL="1s") as local:
        until(lambda: local.ask("GET", "/healthz")[0] == 200)
        engine.hang("/containers/json")
        status, text, _ = until(lambda: (seen := local.ask("GET", "/healthz"))[0] != 200 and seen)
        assert status == 503 and "no progress: " in text
        engine.heal()
        until(lambda: local.ask("GET", "/healthz")[0] == 200)


def test_while_the_main_thread_hangs_everything_is_503(engine: FakeEngine, tmp_path: Path) -> None:
    patch = ("import time; reads = sentinel.Books.read_mutes; sentinel.Books.read_mutes = lambda self, dog, now:"
             " reads(self, dog, now) if not __import__('os').path.exists(self.settings.state + '/hang') else time.sleep(60)")
    with Local(tmp_path, engine.host, quick=QUICK | {"HTTP_PATIENCE": 0.3}, patch=patch) as local:
        (tmp_path / "state" / "hang").touch()
        status, _, _ = until(lambda: (seen := local.ask("GET", "/healthz"))[0] != 200 and seen)
        assert status == 503
        assert local.ask("GET", "/metrics")[0] == local.note()[0] == 503


# ── POST /notify ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("level", "colour"), [
    ("info", sentinel.BLUE), ("warning", sentinel.AMBER), ("error", sentinel.RED)])
def test_the_words_of_others_arrive_in_discord_and_ping_nobody(
    engine: FakeEngine, discord: FakeDiscord, tmp_path: Path, level: str, colour: int
) -> None:
    hook = discord.add_webhook()
    with Local(tmp_path, engine.host, DISCORD_WEBHOOK_URL=hook.url, DISCORD_MENTION="@here") as local:
        status, text, _ = local.note(title="backup @everyone", message="done <@123456789012345678> password=hunter22",
                                     level=level)  # fmt: skip
        assert (status, text) == (202, "taken\n")
        discord.wait_for(lambda fake: fake.messages)
    (message,) = discord.messages
    (embed,) = message.embeds
    assert embed["title"] == "backup @everyone" and embed["color"] == colour
    assert "done" in embed["description"] and "hunter22" not in message.text + local.daemon.log
    assert message.mentions == ([], [], False) and not message.payload.get("content")


def test_sentinels_own_secrets_in_the_words_of_others_are_not_told(
    engine: FakeEngine, discord: FakeDiscord, tmp_path: Path
) -> None:
    hook = discord.add_webhook()
    with Local(tmp_path, engine.host, DISCORD_WEBHOOK_URL=hook.url) as local:
        local.note(title=f"it is {TOKEN}", message=f"{TOKEN} and {hook.token}")
        discord.wait_for(lambda fake: fake.messages)
    text = json.dumps(discord.messages[0].payload)
    assert TOKEN not in text and hook.token not in text


def test_the_words_of_others_outlive_discord_and_sentinel(engine: FakeEngine, discord: FakeDiscord, tmp_path: Path) -> None:
    hook = discord.add_webhook()
    discord.refuse()
    with Local(tmp_path, engine.host, DISCORD_WEBHOOK_URL=hook.url) as local:
        assert local.note(title="first")[0] == local.note(title="second", level="error")[0] == 202
        local.daemon.signal(signal.SIGKILL)
        local.daemon.ended()
    discord.accept()
    with local.daemon:
        discord.wait_for(lambda fake: fake.posts(text="first") and fake.posts(text="second"), 10)
        assert len(discord.messages) <= 2
        titles = [embed["title"] for message in discord.messages for embed in message.embeds]
        assert titles == ["first", "second"]


def test_words_that_can_not_be_made_durable_are_not_taken(engine: FakeEngine, discord: FakeDiscord, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    discord.refuse()
    with Local(tmp_path, engine.host, DISCORD_WEBHOOK_URL=discord.add_webhook().url,
               SENTINEL_STATE=str(tmp_path / "file" / "x")) as local:  # fmt: skip
        assert local.note()[0] == 503


def test_too_many_words_are_429_with_the_time_to_come_back(local: Local) -> None:
    seen = [local.note(title=f"note {number}") for number in range(sentinel.NOTES + 3)]
    assert [status for status, _, _ in seen] == [202] * sentinel.NOTES + [429] * 3
    assert seen[-1][2]["Retry-After"].isdigit()
    assert local.ask("GET", "/healthz")[0] == 200


def test_words_that_make_no_sense_are_not_told(local: Local) -> None:
    for body, status in ((b"{", 400), (b'{"title": "a"}', 400), (b"x" * 17_000, 413), (b"", 400)):
        assert local.ask("POST", "/notify", body, **BEARER)[0] == status
    assert local.ask("POST", "/notify", b"{}")[0] == 401
    assert local.ask("POST", "/notify", b"{}", Authorization="Bearer ***")[0] == 401
    assert "[info]" not in local.daemon.log


def test_without_a_token_there_is_no_way_in(engine: FakeEngine, tmp_path: Path) -> None:
    with Local(tmp_path, engine.host, SENTINEL_NOTIFY_TOKEN="") as local:
        for token in ("", "***", TOKEN):
            body = json.dumps({"title": "a", "message": "b"})
            assert local.ask("POST", "/notify", body, Authorization=f"Bearer {token}")[0] == 404


HEAD = b"POST /notify HTTP/1.1\r\nAuthorization: Bearer agent-007\r\n"
BODY = b'{"title": "raw", "message": "x"}'


def test_a_body_of_unknown_length_is_refused_and_of_too_little_waited_for_in_vain(
    engine: FakeEngine, tmp_path: Path
) -> None:
    with Local(tmp_path, engine.host, quick=IMPATIENT) as local:
        lying_lengths(local)


def lying_lengths(local: Local) -> None:
    assert local.raw(HEAD + b"\r\n" + BODY).startswith(b"HTTP/1.0 400")
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    assert re.match(rb"HTTP/1.0 4(00|11)", local.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked))
    assert local.raw(HEAD + b"Content-Length: 20\r\n\r\n" + BODY).startswith(b"HTTP/1.0 400")
    assert local.raw(HEAD + b"Content-Length: 500\r\n\r\n" + BODY).startswith((b"HTTP/1.0 400", b"HTTP/1.0 202"))
    assert local.raw(HEAD + b"Content-Length: 500\r\n\r\n{", half_close=False).startswith(b"HTTP/1.0 400")


def test_who_sends_too_much_hears_why(local: Local) -> None:
    body = b"x" * 5_000_000
    for _ in range(5):
        assert local.ask("POST", "/notify", body, **BEARER)[0] == 413
        assert local.ask("POST", "/notify", body)[0] == 401


def test_what_others_sent_is_taken_in_the_order_in_which_it_came(
    engine: FakeEngine, discord: FakeDiscord, tmp_path: Path
) -> None:
    hook = discord.add_webhook()
    with Local(tmp_path, engine.host, DISCORD_WEBHOOK_URL=hook.url) as local:
        for number in range(12):
            assert local.note(title=f"note {number:02}")[0] == 202
        discord.wait_for(lambda fake: fake.posts(text="note 11"))
    titles = [embed["title"] for message in discord.messages for embed in message.embeds]
    assert titles == sorted(titles)
    assert discord.refused == []


def test_words_that_this_very_commit_can_not_keep_are_not_taken(
    engine: FakeEngine, discord: FakeDiscord, tmp_path: Path
) -> None:
    """Found by a reading of the code: what was promised was what the commit before had kept."""
    discord.refuse()
    with Local(tmp_path, engine.host, DISCORD_WEBHOOK_URL=discord.add_webhook().url) as local:
        assert local.note(title="first")[0] == 202
        shutil.rmtree(tmp_path / "state")
        (tmp_path / "state").touch()
        assert local.note(title="second")[0] == 503
        assert local.note(title="third")[0] == 503
        (tmp_path / "state").unlink()
        until(lambda: local.note(title="fourth")[0] == 202)
        local.daemon.signal(signal.SIGKILL)
        local.daemon.ended()
    discord.accept()
    with local.daemon:
        discord.wait_for(lambda fake: fake.posts(text="first") and fake.posts(text="fourth"), 10)


# ── What is counted ───────────────────────────────────────────────────────────────────────────────────────────


def counter(local: Local, name: str, service: str = "web") -> int:
    found = re.search(rf'^{name}\{{project="shop",service="{service}"\}} (\d+)$', local.ask("GET", "/metrics")[1], re.M)
    return int(found[1]) if found else 0


def test_a_death_and_its_restart_are_counted_once(engine: FakeEngine, discord: FakeDiscord, tmp_path: Path) -> None:
    web, hook = add(engine, "web"), discord.add_webhook()
    with Local(tmp_path, engine.host, DISCORD_WEBHOOK_URL=hook.url) as local:
        local.daemon.watching("web")
        engine.crash(web, 3)
        discord.wait_for(lambda fake: fake.posts(text="web is back online"))
        assert counter(local, "sentinel_deaths_total") == counter(local, "sentinel_restarts_total") == 1
        # Discord has the green one before Sentinel has heard that it has.
        until(lambda: "sentinel_delivery_seconds_count 2\n" in local.ask("GET", "/metrics")[1])
        assert "sentinel_detection_seconds_count 1\n" in local.ask("GET", "/metrics")[1]


def test_a_death_is_not_counted_again_when_the_stream_is_opened_anew(engine: FakeEngine, tmp_path: Path) -> None:
    web = add(engine, "web")
    with Local(tmp_path, engine.host) as local:
        local.daemon.watching("web")
        engine.crash(web, 3)
        until(lambda: counter(local, "sentinel_deaths_total") == 1)
        for number in (1, 2):
            engine.cut_streams()
            text = f"sentinel_event_stream_reconnects_total {number}\n"
            until(lambda text=text: text in local.ask("GET", "/metrics")[1])
            assert engine.wait_streams()
        until(lambda: "sentinel_engine_up 1" in local.ask("GET", "/metrics")[1])
        assert counter(local, "sentinel_deaths_total") == 1


def test_a_death_that_the_listing_finds_is_counted(engine: FakeEngine, tmp_path: Path) -> None:
    web = add(engine, "web")
    engine.refuse("/events")
    with Local(tmp_path, engine.host, SENTINEL_POLL_INTERVAL="1s") as local:
        local.daemon.watching("web")
        engine.crash(web, 3)
        until(lambda: "web is DEAD" in local.daemon.log)
        assert counter(local, "sentinel_deaths_total") == 1


def test_an_engine_that_is_away_is_seen_in_the_metrics(engine: FakeEngine, tmp_path: Path) -> None:
    with Local(tmp_path, engine.host) as local:
        assert "\nsentinel_engine_up 1\n" in local.ask("GET", "/metrics")[1]
        engine.go_down()
        until(lambda: "\nsentinel_engine_up 0\n" in local.ask("GET", "/metrics")[1])
        assert json.loads(local.ask("GET", "/status")[1])["engine"] == "down"
        assert local.ask("GET", "/healthz")[0] == 200


# ── The journal ───────────────────────────────────────────────────────────────────────────────────────────────


def test_what_goes_to_the_journal_has_priorities_and_no_clock(engine: FakeEngine, tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as journal:
        there = os.fstat(journal.fileno())
        daemon = Process(tmp_path, engine.host, SENTINEL_FOO="x", JOURNAL_STREAM=f"{there.st_dev}:{there.st_ino}")
        process = subprocess.Popen([sys.executable, str(PROGRAM)], env=daemon.environment, stderr=journal)
        try:
            def said() -> str:
                return os.pread(journal.fileno(), 100_000, 0).decode()

            until(lambda: "answers" in said())
        finally:
            assert end(process) == 0
        lines = said().splitlines()
        assert "<6>asked to stop" in lines
        assert [line for line in lines if not re.match(r"<[346]>", line) and "SENTINEL_FOO" not in line] == []
