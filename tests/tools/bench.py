#!/usr/bin/env python3
"""How fast Sentinel is and what it costs, measured on a real Docker Engine beside the least that is possible.

    python3 tests/tools/bench.py                           all of it: about half an hour, as root on Debian
    python3 tests/tools/bench.py --deaths 10 --idle 20     the same with fewer samples: about ten minutes
    python3 tests/tools/bench.py --only latency,storm      some parts (--help names them)
    python3 tests/tools/bench.py --json bench.json         the numbers, beside the table

Every time is taken on the monotonic clock, which all processes of a machine share. A death is a SIGKILL from the host to
a container's process; its moment is just before the call. Three look at deaths, each at its own, so that none slows
down another: Sentinel; the smallest possible watcher, a process that turns the engine's raw `die` event straight
into a POST; and one that answers it with a bare `start`. The raw event is read by the bench itself at every death.

Nothing is installed, and all that was started is taken away at the end. Standard library only.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import itertools
import json
import math
import os
import platform
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from support import docker, engines  # noqa: E402
from support.certificates import make_certificates, server_tls  # noqa: E402
from support.fake_discord import FakeDiscord  # noqa: E402
from support.fake_engine import FakeEngine  # noqa: E402
from support.far import FarServer, Link  # noqa: E402
from support.sentinel import LISTED, Sentinel, run  # noqa: E402

ROUND = 10  # deaths in one life of Sentinel: so few that nothing waits for Discord's rate limit
ROLES = ("alert", "post", "start")  # who looks at a death: Sentinel, the smallest watcher, a bare start
HEALTH = ("--health-cmd", "true", "--health-interval", "10s")
PATIENCE = 30.0  # seconds for anything that should come at once
TICK = os.sysconf("SC_CLK_TCK")


# --------------------------------------------------------------------------- numbers


def p99(values: list[float]) -> float:
    """The nearest rank; with fewer than a hundred values that is the largest."""
    return sorted(values)[max(0, math.ceil(0.99 * len(values)) - 1)]


@dataclass
class Row:
    """A line of the table: what was measured, and what it should be."""

    part: str
    what: str
    shown: str
    target: str = ""
    holds: bool | None = None


@dataclass
class Report:
    """All that was measured."""

    numbers: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def add(self, part: str, what: str, shown: str, target: str = "", holds: bool | None = None, **numbers: Any) -> None:
        """A line of the table, with its numbers for the JSON. It is shown at once: the whole takes a while."""
        self.rows.append(Row(part, what, shown, target, holds))
        self.numbers.setdefault(part, {})[what] = {**numbers, "target": target, "holds": holds}
        say(f"{part}: {what}: {shown}")

    def table(self) -> str:
        """What people read."""
        heads = ("", "measured", "value", "target", "")
        marks = {True: "holds", False: "MISSED", None: ""}
        lines = [heads, *((row.part, row.what, row.shown, row.target, marks[row.holds]) for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
        rule = tuple("─" * width for width in widths)
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                         for line in (lines[0], rule, *lines[1:]))


def say(text: str) -> None:
    """Tell people how far it is."""
    print(f"[bench] {text}", file=sys.stderr, flush=True)


# --------------------------------------------------------------------------- how noisy the machine is


def stolen() -> float:
    """Seconds that the hypervisor gave to others, over all processors, since the start."""
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / TICK


def spins(count: int = 200) -> list[float]:
    """The same small piece of work again and again, in ms: on a quiet machine each takes as long."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        sum(range(100_000))
        found.append((time.perf_counter() - began) * 1000)
    return found


def noise(report: Report, when: str) -> None:
    """Say how much to trust the numbers."""
    work = spins()
    report.add("noise", when, f"work of {statistics.median(work):.2f} ms takes {p99(work) / statistics.median(work):.2f}"
               f" times as long at p99, load {os.getloadavg()[0]:.2f}", median_ms=statistics.median(work), p99_ms=p99(work),
               load=os.getloadavg()[0])


# --------------------------------------------------------------------------- ends of the wire


class Receiver:
    """A stand-in for Discord that takes everything at once and notes when it came."""

    def __init__(self) -> None:
        self.came: list[tuple[float, str, str]] = []  # (when, method and path, body)
        self.changed = threading.Condition()
        outer, numbers = self, itertools.count(1)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def take(self) -> None:
                at = time.monotonic()
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                with outer.changed:
                    outer.came.append((at, f"{self.command} {self.path}", body))
                    outer.changed.notify_all()
                answer = json.dumps({"id": str(10**17 + next(numbers)), "channel_id": "1"}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PATCH = take

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.hook = f"{self.url}/api/webhooks/100000000000000001/{'a' * 68}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, name: str, after: float) -> float:
        """When something about this container came, after that moment."""
        def found() -> float | None:
            return next((at for at, what, body in self.came if at > after and what.startswith("POST")
                         and (name in body or name in what)), None)

        with self.changed:
            if not self.changed.wait_for(lambda: found() is not None, PATIENCE):
                raise AssertionError(f"nothing about {name} came within {PATIENCE:g} s")
            return found() or 0.0

    def close(self) -> None:
        """No more."""
        self.server.shutdown()
        self.server.server_close()


def raw_events(path: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """The engine's events with the moment at which their bytes came; asks for nothing but containers' starts and ends."""
    filters = '{"type":["container"],"event":["start","die"]}'
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(f"GET /events?filters={filters} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        rest = b""
        while data := sock.recv(65536):
            at = time.monotonic()
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.startswith(b"{"):
                    yield at, json.loads(line)


class RawReader:
    """Reads the raw events all the while: when each container last died and started."""

    def __init__(self, path: str) -> None:
        self.last: dict[tuple[str, str], float] = {}
        self.changed = threading.Condition()
        threading.Thread(target=self._read, args=(path,), daemon=True).start()

    def _read(self, path: str) -> None:
        with contextlib.suppress(OSError):  # the engine is taken away at the end
            for at, event in raw_events(path):
                with self.changed:
                    self.last[event["Action"], event["Actor"]["Attributes"]["name"]] = at
                    self.changed.notify_all()

    def wait(self, action: str, name: str, after: float) -> float:
        """When the event came."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.last.get((action, name), 0.0) > after, PATIENCE):
                raise AssertionError(f"no {action} of {name} within {PATIENCE:g} s")
            return self.last[action, name]


def smallest_watcher(path: str, url: str) -> None:
    """The least that can watch: from the raw event straight to a POST, or to a `start`, by the container's name."""
    place = urllib.parse.urlsplit(url).netloc
    print("ready", flush=True)
    for _, event in raw_events(path):
        name = event["Actor"]["Attributes"]["name"]
        if event["Action"] == "die" and name.startswith("post-"):
            connection = http.client.HTTPConnection(place)
            connection.request("POST", "/smallest", json.dumps({"content": f"{name} died"}))
            connection.getresponse().read()
            connection.close()
        elif event["Action"] == "die" and name.startswith("start-"):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                sock.sendall(f"POST /containers/{name}/start HTTP/1.0\r\nContent-Length: 0\r\n\r\n".encode())
                while sock.recv(4096):
                    pass


class CountingProxy:
    """Stands between Sentinel and the engine, and counts requests and bytes; the event stream apart."""

    def __init__(self, path: str, target: str) -> None:
        self.requests: list[str] = []
        self.bytes = 0
        self.target = target
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(path)
        self.server.listen(64)
        self.host = f"unix://{path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as engine, contextlib.suppress(OSError):
            engine.connect(self.target)
            head = client.recv(65536)
            words = head.split(b" ", 2)
            counted = len(words) > 2 and not words[1].startswith(b"/events")
            if counted:
                self.requests.append(words[1].decode())
                self.bytes += len(head)
            engine.sendall(head)
            while data := engine.recv(65536):
                self.bytes += len(data) if counted else 0
                client.sendall(data)

    def close(self) -> None:
        """No more."""
        self.server.close()


# --------------------------------------------------------------------------- the fleet


class Fleet:
    """Containers as Compose labels them, and those that the smallest watcher has for itself."""

    def __init__(self, engine: docker.Engine) -> None:
        self.engine = engine
        self.watched: list[str] = []
        for role, number in itertools.product(ROLES[1:], range(ROUND)):
            self._start(f"{role}-{number}", "sentinel.watch=false")

    def _start(self, name: str, *labels: str) -> str:
        options = [option for label in labels for option in ("--label", label)]
        self.engine.docker("run", "--detach", "--name", name, "--network", "none", "--stop-timeout", "1", *HEALTH, *options,
                           docker.IMAGE, "sleep", "1000000", timeout=PATIENCE * 4)
        return name

    def grow(self, size: int) -> None:
        """Have so many that are watched."""
        names = [f"alert-{number}" for number in range(len(self.watched), size)]
        labels = ("com.docker.compose.project=bench", "com.docker.compose.oneoff=False",
                  "com.docker.compose.container-number=1")
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            made = pool.map(lambda name: self._start(name, *labels, f"com.docker.compose.service={name}"), names)
            self.watched += list(made)

    def pids(self) -> dict[str, int]:
        """The main process of each container that runs, as this machine numbers it."""
        names = self.engine.docker("ps", "--format", "{{.Names}}").split()
        return dict(self._pids(names)) if names else {}

    def _pids(self, names: list[str]) -> Iterator[tuple[str, int]]:
        shown = self.engine.docker("inspect", "--format", "{{.Name}} {{.State.Pid}}", *names, timeout=PATIENCE * 2)
        for line in shown.splitlines():
            name, _, pid = line.strip("/ ").partition(" ")
            if int(pid):
                yield name, int(pid)

    def settle(self, timeout: float = 180.0) -> None:
        """Wait until all of it runs, and no health check is in doubt: one that turns healthy is an event of its own."""
        wanted = {*self.watched, *(f"{role}-{number}" for role in ROLES[1:] for number in range(ROUND))}

        def up() -> bool:
            gone = wanted - set(self.engine.docker("ps", "--format", "{{.Names}}").split())
            return not gone and not self.engine.docker("ps", "--quiet", "--filter", "health=starting")

        docker.wait(up, timeout, "the fleet to run")


@dataclass
class Scene:
    """What every part needs: an engine with its fleet, and both ends of the wire."""

    folder: Path
    host: str
    fleet: Fleet
    reader: RawReader
    receiver: Receiver
    report: Report
    options: argparse.Namespace

    @contextlib.contextmanager
    def sentinel(self, host: str = "", ready: bool = True, **settings: str) -> Iterator[Sentinel]:
        """One life of Sentinel without a memory; ready, unless that is what is measured."""
        settings = {"DISCORD_WEBHOOK_URL": self.receiver.hook, **settings}
        with tempfile.TemporaryDirectory(dir=self.folder) as folder, contextlib.redirect_stdout(None):
            program = Sentinel(Path(folder), host or self.host, **settings)
            with program:
                if ready:
                    program.wait_log(LISTED, PATIENCE)
                yield program


# --------------------------------------------------------------------------- (a) and (b): one death


def latency(scene: Scene, size: int) -> None:
    """From a death to the alert, and to running again."""
    times: dict[str, list[float]] = {key: [] for key in ("raw", "alert", "raw for post", "post", "running", "start")}
    left = scene.options.deaths
    while left > 0:
        scene.fleet.settle()
        pids = scene.fleet.pids()
        with scene.sentinel():
            victims = random.sample(scene.fleet.watched, min(ROUND, left, size))
            for number, victim in enumerate(victims):
                one_death(scene, pids, {"alert": victim, "post": f"post-{number}", "start": f"start-{number}"}, times)
            left -= len(victims)
    tell_latency(scene.report, size, times)


def one_death(scene: Scene, pids: Mapping[str, int], victims: Mapping[str, str], times: dict[str, list[float]]) -> None:
    """A death for each that looks, one after the other; in seconds from it."""
    reader, receiver = scene.reader, scene.receiver
    for role in ROLES:
        name = victims[role]
        began = time.monotonic()
        os.kill(pids[name], signal.SIGKILL)
        died = reader.wait("die", name, began) - began
        if role == "start":
            times["start"].append(reader.wait("start", name, began) - began)
            continue
        times["raw" if role == "alert" else "raw for post"].append(died)
        times[role].append(receiver.wait(name, began) - began)
        if role == "alert":
            times["running"].append(reader.wait("start", name, began) - began)
        else:
            scene.fleet.engine.docker("start", name)


def tell_latency(report: Report, size: int, times: dict[str, list[float]]) -> None:
    """Two lines of the table for a size of the fleet."""
    ms = {key: (statistics.median(values) * 1000, p99(values) * 1000) for key, values in times.items()}
    ratio, least = ms["alert"][0] / ms["raw"][0], ms["post"][0] / ms["raw for post"][0]
    beyond = ms["alert"][1] - ms["raw"][1]
    shown = (f"{ms['alert'][0]:.1f} / {ms['alert'][1]:.1f} ms; raw event {ms['raw'][0]:.1f} / {ms['raw'][1]:.1f}: "
             f"×{ratio:.2f}, +{beyond:.1f} ms; smallest watcher ×{least:.2f}")
    samples = {key: [round(value * 1000, 2) for value in values] for key, values in times.items()}
    report.add("a", f"death to alert, {size} containers, median / p99", shown, "≤ ×1.25, ≤ +20 ms at p99",
               ratio <= 1.25 and beyond <= 20, ratio=ratio, beyond_ms=beyond, smallest_ratio=least, samples_ms=samples)
    again = ms["running"][0] / ms["start"][0]
    report.add("b", f"death to running again, {size} containers", f"{ms['running'][0]:.1f} / {ms['running'][1]:.1f} ms; "
               f"bare start {ms['start'][0]:.1f} / {ms['start'][1]:.1f}: ×{again:.2f}", "≤ ×1.2", again <= 1.2, ratio=again)


# --------------------------------------------------------------------------- (h): Discord is far away


ROUND_TRIPS = (0.02, 0.08, 0.2)


def far_away(scene: Scene) -> None:
    """From a death to the alert's arrival, over TLS and a link that delays each byte."""
    certificates = scene.folder / "tls"
    certificates.mkdir()
    make_certificates(certificates)
    for round_trip in ROUND_TRIPS:
        raw: list[float] = []
        alert: list[float] = []
        opened = 0
        while len(raw) < scene.options.deaths:
            pids = scene.fleet.pids()  # those that were killed before are restarted at once
            there = [name for name in scene.fleet.watched if name in pids]
            with FarServer(server_tls(certificates, clients=False)) as server, Link(server.port, round_trip / 2) as link:
                settings = {"DISCORD_WEBHOOK_URL": server.hook_at(link.port), "SSL_CERT_FILE": str(certificates / "ca.pem")}
                with scene.sentinel(**settings):
                    server.wait(lambda server=server: server.connections)
                    left = min(ROUND, scene.options.deaths - len(raw), len(there))
                    for victim in random.sample(there, left):
                        far_death(scene, server, victim, pids[victim], round_trip, (raw, alert))
                opened += link.opened
        took, least = statistics.median(alert), statistics.median(raw) + round_trip / 2
        shown = (f"{took * 1000:.1f} ms; raw event and half a round trip {least * 1000:.1f}: ×{took / least:.2f}, "
                 f"+{(took - least) / round_trip:.2f} round trips; {opened} connections")
        scene.report.add("h", f"death to alert, round trip {round_trip * 1000:.0f} ms, TLS, median", shown, "≤ ×1.15",
                         took / least <= 1.15, ratio=took / least, connections=opened)


def far_death(scene: Scene, server: FarServer, name: str, pid: int, round_trip: float,
              times: tuple[list[float], list[float]]) -> None:  # fmt: skip
    """One death, while nothing else is on its way; in seconds from it, the raw event and the alert's arrival."""
    quiet = 3 * round_trip + 0.2
    while server.requests and time.monotonic() - server.requests[-1].at < quiet:
        time.sleep(round_trip)
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    times[0].append(scene.reader.wait("die", name, began) - began)
    server.wait(lambda: arrived(server, name), PATIENCE)
    times[1].append(arrived(server, name) - began)


def arrived(server: FarServer, name: str) -> float:
    """When the first request came that says that this container is dead, 0 if none has."""
    words = f"`{name} is DEAD".encode()
    return next((request.at for request in server.requests if words in request.body), 0.0)


# --------------------------------------------------------------------------- (c): what it costs


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, with its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def idle(scene: Scene, size: int, judged: bool) -> None:
    """Processor and memory while nothing happens but health checks; the largest fleet is held against the target."""
    scene.fleet.settle()
    with scene.sentinel() as program:
        assert program.process
        pid = program.process.pid
        docker.wait(lambda: proven_quiet(pid), PATIENCE, "Sentinel to come to rest")
        began, before = time.monotonic(), cpu_seconds(pid)
        time.sleep(scene.options.idle)
        spent = (cpu_seconds(pid) - before) / (time.monotonic() - began) * 100
        memory = resident_mib(pid)
    holds = (spent < 0.3 and memory <= 28) if judged else None
    scene.report.add("c", f"idle for {scene.options.idle:g} s, {size} containers",
                     f"{spent:.2f} % of a core, {memory:.1f} MiB", "< 0.3 %, ≤ 28 MiB" if judged else "", holds,
                     cpu_percent=spent, memory_mib=memory)


def proven_quiet(pid: int) -> bool:
    """Whether a process does next to nothing for half a second."""
    before = cpu_seconds(pid)
    time.sleep(0.5)
    return cpu_seconds(pid) - before <= 1 / TICK


# --------------------------------------------------------------------------- (d): a storm


def storm(scene: Scene, size: int) -> None:
    """Many killed at once, told to a Discord with all its limits."""
    scene.fleet.settle()
    pids = scene.fleet.pids()
    victims = scene.fleet.watched[:size]
    with FakeDiscord() as fake:
        hook = fake.add_webhook()
        with scene.sentinel(DISCORD_WEBHOOK_URL=hook.url, SENTINEL_GREET="true"):
            fake.wait_for(lambda fake: fake.messages, PATIENCE)  # the fake, too, is slow at first
            time.sleep(10)  # in its first ten seconds it waits for company: that is what happened in its absence
            began = time.monotonic()
            for name in victims:
                os.kill(pids[name], signal.SIGKILL)
            killed = time.monotonic() - began
            reds = told_at(fake, victims, 0xED4245, began, PATIENCE * 6)
            greens = told_at(fake, victims, 0x57F287, began, PATIENCE * 6)
            raw = [scene.reader.wait("die", name, began) - began for name in victims]
        refused, lint = len(fake.refused), len(fake.lint)
        sent, requests = len(fake.messages) - 1, len(fake.requests) - 1  # but for the greeting
    shown = (f"first red {min(reds):.2f} s (raw event {min(raw):.2f}), last {max(reds):.2f} ({max(raw):.2f}), all green "
             f"{max(greens):.1f}; {sent} messages, {requests} requests, {refused} refused")
    scene.report.add("d", f"{size} killed at once (within {killed * 1000:.0f} ms)", shown,
                     "first at once, none refused", not refused and not lint and min(reds) < min(raw) + 0.25,
                     first_s=min(reds), last_s=max(reds), raw_first_s=min(raw), raw_last_s=max(raw), green_s=max(greens),
                     messages=sent, requests=requests, refused=refused)


def told_at(fake: FakeDiscord, names: list[str], colour: int, began: float, timeout: float) -> list[float]:
    """Seconds until each of these was told in this colour."""
    told: dict[str, float] = {}
    wanted = set(names)

    def all_told() -> bool:
        for message in fake.messages:
            for embed in message.embeds:
                if embed.get("color") == colour:
                    words = set(re.findall(r"[\w-]+", json.dumps(embed)))
                    told.update({name: time.monotonic() - began for name in wanted & words - set(told)})
        return len(told) == len(names)

    docker.wait(all_told, timeout, f"all {len(names)} to be told in {colour:#x}")
    return list(told.values())


# --------------------------------------------------------------------------- (e): very much at once


def firehose(path: str, seconds: float, rate: int, size: int) -> None:
    """An engine of so many containers that sends so many events a second, of which some are deaths.

    Half of the events are probes of what is watched that say healthy, four in ten the lives of short-lived containers that
    nobody watches, the rest signals that ask to reload. Writes JSON lines: ready, each death, and the end.
    """
    def line(**facts: Any) -> None:
        print(json.dumps(facts), flush=True)

    with FakeEngine(path) as engine:
        watched = [engine.add(f"hose-{n}", "hose", f"hose-{n}", healthcheck=True, started_ago=1000) for n in range(size)]
        for container in watched:
            container.health = {"Status": "healthy", "FailingStreak": 0, "Log": []}
        ambient = shortlived(engine, watched)
        line(ready=True)
        sys.stdin.readline()
        began, sent, worst = time.monotonic(), 0, 0
        deaths = iter(range(size))
        next_death = began + 2.0
        while (now := time.monotonic()) < began + seconds:
            while sent < (now - began) * rate:
                next(ambient)
                sent += 1
            worst = max([worst, *(stream.pending for stream in engine.open_streams)])
            if now >= next_death:
                victim = watched[next(deaths)]
                line(died=victim.name, at=time.monotonic())
                engine.crash(victim, 3)
                next_death += 5.0
            time.sleep(0.005)
        took = time.monotonic()
        idle = all(stream.wait_idle(30) for stream in [*engine.open_streams])
        line(sent=sent, worst=worst, drained=time.monotonic() - took if idle else None, seconds=took - began)
        sys.stdin.readline()


def shortlived(engine: FakeEngine, watched: list[Any]) -> Iterator[None]:
    """One event at each step, for ever."""
    chance = random.Random(1)
    for number in itertools.count():
        emit = engine._emit  # the fake's containers do not change by these, so they are not its deeds
        for _ in range(5):
            emit(chance.choice(watched), "health_status: healthy")
            yield
        brief = engine._make(f"brief-{number}", {}, "no")
        del engine.containers[brief.id]
        for action in ("create", "start", "die", "destroy"):
            emit(brief, action, **({"exitCode": "0"} if action == "die" else {}))
            yield
        emit(chance.choice(watched), "kill", signal="1")
        yield


def flood(scene: Scene) -> None:
    """A fake engine with thousands of containers and of events a second."""
    seconds, rate, size = scene.options.flood, 2000, 2000
    path = str(scene.folder / "hose.sock")
    command = [sys.executable, __file__, "--role", "firehose", path, str(seconds), str(rate), str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hose:
        assert hose.stdin and hose.stdout
        hose.stdout.readline()
        with scene.sentinel(f"unix://{path}") as program:
            assert program.process
            pid = program.process.pid
            docker.wait(lambda: proven_quiet(pid), PATIENCE * 2, "Sentinel to come to rest")
            memory, before = [resident_mib(pid)], cpu_seconds(pid)
            print("go", file=hose.stdin, flush=True)
            late, end = follow(scene, hose, pid, memory)
            spent = (cpu_seconds(pid) - before) / end["seconds"] * 100
            print("done", file=hose.stdin, flush=True)
    half = memory[len(memory) // 2 :]
    grown = max(half) - min(half)
    shown = (f"alerts after {statistics.median(late) * 1000:.0f} / {max(late) * 1000:.0f} ms (median / worst of "
             f"{len(late)}), at most {end['worst']} events unread, memory {memory[0]:.1f} to {memory[-1]:.1f} MiB, "
             f"{spent:.0f} % of a core")
    scene.report.add("e", f"{size} containers, {end['sent'] / end['seconds']:.0f} events a second for {seconds:g} s", shown,
                     "no backlog, flat, at once", end["drained"] is not None and end["drained"] < 1 and max(late) < 1
                     and grown < 2, late_ms=[round(value * 1000, 1) for value in late], memory_mib=memory, **end)


def follow(scene: Scene, hose: subprocess.Popen[str], pid: int, memory: list[float]) -> tuple[list[float], dict[str, Any]]:
    """How late each death was told; and what the engine says at its end. Samples memory at each death."""
    late: list[float] = []
    assert hose.stdout
    for line in hose.stdout:
        facts = json.loads(line)
        if "sent" in facts:
            memory.append(resident_mib(pid))
            return late, facts
        late.append(scene.receiver.wait(f"{facts['died']}`", facts["at"]) - facts["at"])
        memory.append(resident_mib(pid))
    raise AssertionError("the engine of the flood ended early")


# --------------------------------------------------------------------------- (f) and (g): starting, looking, asking


def starting(scene: Scene, size: int) -> None:
    """From the start of the program to the first listing; from SIGTERM to its end; and `check`; each five times."""
    scene.fleet.settle()
    first, ends, checks = [], [], []
    for _ in range(5):
        began = time.monotonic()
        with scene.sentinel(ready=False) as program:
            while not re.search(LISTED, program.log):
                assert time.monotonic() - began < PATIENCE, program.log
                time.sleep(0.002)
            first.append(time.monotonic() - began)
            ends.append(program.terminate())
        began = time.monotonic()
        done = run(scene.folder, scene.host, "check")
        checks.append(time.monotonic() - began)
        assert done.returncode == 0, done.stdout + done.stderr
    measured = (("start to first listing", first, 0.4), ("SIGTERM to its end", ends, 2.0), ("check", checks, 0.4))
    for what, times, aim in measured:
        middle = statistics.median(times)
        scene.report.add("f", f"{what}, {size} containers", f"{middle:.2f} s (worst of five {max(times):.2f})",
                         f"≤ {aim} s", middle <= aim, times_s=times)


def polling(scene: Scene, size: int, polls: int = 8) -> None:
    """What a listing costs the engine."""
    scene.fleet.settle()
    proxy = CountingProxy(str(scene.folder / "counting.sock"), scene.host.removeprefix("unix://"))

    def listings() -> int:
        return sum(path.startswith("/containers/json") for path in proxy.requests)

    with scene.sentinel(proxy.host, SENTINEL_POLL_INTERVAL="2s"):
        docker.wait(lambda: listings() >= 3, PATIENCE, "three listings")
        began, requests, size_before = listings(), len(proxy.requests), proxy.bytes
        docker.wait(lambda: listings() >= began + polls, PATIENCE * 2, "more listings")
        requests, bytes_ = len(proxy.requests) - requests, proxy.bytes - size_before
    proxy.close()
    scene.report.add("g", f"a poll, {size} containers", f"{requests / polls:.1f} requests, {bytes_ / polls / 1024:.0f} KiB",
                     "one request", requests == polls, requests=requests / polls, bytes=bytes_ / polls)


# --------------------------------------------------------------------------- (i): how cost grows


REDS = 20  # messages that are enough to tell of 500 deaths


def scale(scene: Scene) -> None:
    """What a container costs, of which there are more and more, on a fake engine; a quarter of them dies at once."""
    sizes = scene.options.sizes
    costs = [scaled(scene, size) for size in sizes]
    for what in costs[0]:
        each = [cost[what] / size for cost, size in zip(costs, sizes, strict=True)]
        shown = ", ".join(f"{cost[what]:.3g} at {size}" for cost, size in zip(costs, sizes, strict=True))
        if what == "messages":
            scene.report.add("i", "messages that tell of a quarter's deaths", shown, f"≤ {REDS}", costs[-1][what] <= REDS)
        else:  # what all of it costs before the first container counts less and less
            scene.report.add("i", what, shown, "no faster than the number", each[-1] <= 1.15 * max(each[:-1]), each=each)


def scaled(scene: Scene, size: int) -> dict[str, float]:
    """The figures of one size."""
    path, port = str(scene.folder / f"scale-{size}.sock"), free_port()
    with FakeEngine(path) as engine, FakeDiscord() as fake:
        made = [engine.add(f"scale-{n}", f"p{n // 20}", f"scale-{n}", started_ago=1000) for n in range(size)]
        began = time.monotonic()
        assert run(scene.folder, f"unix://{path}", "check").returncode == 0
        check = time.monotonic() - began
        settings = {"DISCORD_WEBHOOK_URL": fake.add_webhook().url, "SENTINEL_GREET": "true",
                    "SENTINEL_LISTEN": f"127.0.0.1:{port}"}
        began = time.monotonic()
        with scene.sentinel(f"unix://{path}", **settings) as program:
            assert program.process
            pid = program.process.pid
            fake.wait_for(lambda fake: fake.messages, PATIENCE * 2)
            greeting, memory = time.monotonic() - began, resident_mib(pid)
            docker.wait(lambda: proven_quiet(pid), PATIENCE, "Sentinel to come to rest")
            began = time.monotonic()
            asked = http.client.HTTPConnection(f"127.0.0.1:{port}")
            asked.request("GET", "/status")
            asked.getresponse().read()
            status, before = time.monotonic() - began, cpu_seconds(pid)
            time.sleep(max(0.0, 11.0 - greeting))  # in its first ten seconds it waits for company
            began, victims = time.monotonic(), made[::4]
            for victim in victims:
                engine.crash(victim, 3)
            told_at(fake, [victim.name for victim in victims], 0xED4245, began, PATIENCE * 2)
            reds = sum(any(embed.get("color") == 0xED4245 for embed in message.embeds) for message in fake.messages)
            told_at(fake, [victim.name for victim in victims], 0x57F287, began, PATIENCE * 4)
            spent = cpu_seconds(pid) - before
        assert not fake.refused and not fake.lint
    return {"check, s": check, "start to greeting, s": greeting, "/status, s": status, "memory, MiB": memory,
            "a quarter dies and is back, CPU s": spent, "messages": reds}


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# --------------------------------------------------------------------------- all of it


PARTS = ("latency", "far", "idle", "storm", "flood", "scale", "start", "poll")


def measure(scene: Scene) -> None:
    """Part after part, while the fleet grows."""
    wanted: Callable[[str], bool] = scene.options.only.__contains__
    fleets = scene.options.fleets
    if wanted("flood"):
        flood(scene)
    if wanted("scale"):
        scale(scene)
    if wanted("idle"):
        idle(scene, 0, judged=False)
    for size in fleets:
        scene.fleet.grow(size)
        say(f"{size} containers run")
        if wanted("latency"):
            latency(scene, size)
        if wanted("far") and size == fleets[0]:
            far_away(scene)
        if wanted("idle") and (size >= 100 or size == fleets[-1]):
            idle(scene, size, judged=size == fleets[-1])
        if wanted("storm") and size == min(fleets, key=lambda fleet: abs(fleet - 100)):
            storm(scene, size)
    if wanted("start"):
        starting(scene, fleets[-1])
    if wanted("poll"):
        polling(scene, fleets[-1])


@contextlib.contextmanager
def staged(options: argparse.Namespace, report: Report) -> Iterator[Scene]:
    """A private engine with a few containers, and whatever else the parts need."""
    folder = Path(tempfile.mkdtemp(prefix="sentinel-bench-"))
    try:
        with engines.PrivateEngine(options.engine) as daemon, contextlib.ExitStack() as stack:
            client = docker.Engine(daemon.host, environ=daemon.environ())
            docker.ensure_image(client)
            report.numbers["engine"] = client.version
            say(f"Docker Engine {client.version}, Python {platform.python_version()}, {os.cpu_count()} processors")
            receiver = Receiver()
            stack.callback(receiver.close)
            fleet = Fleet(client)
            command = [sys.executable, __file__, "--role", "watcher", str(daemon.socket), receiver.url]
            watcher = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(watcher.kill)
            assert watcher.stdout and watcher.stdout.readline()
            yield Scene(folder, daemon.host, fleet, RawReader(str(daemon.socket)), receiver, report, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deaths", type=int, default=40, help="deaths for each size of the fleet (default 40)")
    parser.add_argument("--idle", type=float, default=60, help="seconds of rest for each size (default 60)")
    parser.add_argument("--flood", type=float, default=60, help="seconds of flood (default 60)")
    parser.add_argument("--fleets", default="10,100,200", help="how many containers are watched (10,100,200)")
    parser.add_argument("--sizes", default="250,500,1000,2000", help="how many a fake engine has (250,500,1000,2000)")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--engine", default="forky", choices=engines.SUITES, help="of which Debian (default forky)")
    parser.add_argument("--json", type=Path, help="write all numbers there")
    options = parser.parse_args(arguments)
    options.only, options.fleets = options.only.split(","), sorted(map(int, options.fleets.split(",")))
    options.sizes = sorted(map(int, options.sizes.split(",")))
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    return options


def main(arguments: list[str]) -> int:
    """Measure, and say whether all targets were met."""
    if arguments[:1] == ["--role"]:  # this file is also the processes that it needs beside itself
        role, *rest = arguments[1:]
        smallest_watcher(*rest) if role == "watcher" else firehose(rest[0], float(rest[1]), *map(int, rest[2:]))
        return 0
    options, report = parse(arguments), Report()
    if os.geteuid():
        sys.exit("bench.py: only root can start a Docker Engine of its own")
    gone = stolen()
    with staged(options, report) as scene:
        noise(report, "before")
        measure(scene)
        noise(report, "after")
    report.add("noise", "stolen by the hypervisor", f"{stolen() - gone:.1f} s", seconds=stolen() - gone)
    print(report.table())
    if options.json:
        options.json.write_text(json.dumps(report.numbers, indent=1))
    return int(any(row.holds is False for row in report.rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
