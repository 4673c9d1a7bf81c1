#!/usr/bin/env python3
"""Minutes of random life on a real Docker Engine, seeded and replayable, judged by an independent oracle.

    python3 tests/tools/chaos.py                            five minutes on the newest engine, with a seed of the moment
    python3 tests/tools/chaos.py --seed 7 --minutes 30      the same deeds in the same order, each time
    python3 tests/tools/chaos.py --engine bookworm --json story.json
    python3 tests/tools/chaos.py --program mutant.py        another sentinel.py, to see whether its defect is caught

It needs root on Debian: it starts an engine of its own (support/engines.py), a strict fake Discord, and Sentinel,
which talks to the engine through a proxy that writes down what it asks for.  Life comes in acts.  Each has two
Compose projects of its own and a plan, drawn from the seed: containers crash, are killed, stopped, recreated, paused,
run out of memory, go unhealthy, loop, survive signals, drain for long, are copied, or are started by others; the engine
is killed, frozen, restarted; Discord fails in every way that its fake knows; Sentinel is killed and frozen, its clock
is stepped, its disk is full, its connections are cut.  Several of
that at once.  At the end of an act all is mended, and oracle.py says which promises were broken once
all is quiet; what is wrong is shown with the story of the service, and the exit code is 1.

The parts: the plan (what the seed says), the world (engine, proxy, Discord, Sentinel), the deeds, the act.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import docker
from support.docker import DockerError, Engine, Project
from support.engines import SUITES, EngineError, PrivateEngine, wait_until
from support.fake_discord import FakeDiscord, Message
from support.sentinel import PROGRAM, environment, stack

from tools import oracle
from tools.oracle import Call, Deed, Event, Service, Standing, Story, Violation

MAX_RESTARTS = 3
SETTLE = 2.0
#: So long nothing may happen until all is judged (more than the quiet after an engine's return), and the longest wait.
QUIET, BOUND = 13.0, 150.0
POLICIES = ("no", "no", "no", "always", "on-failure", "unless-stopped")

#: Costs nothing while it lives; USR1 has it run what is in /do; it dies at once as often as /loop says. Asked to end, it
#: drains for so long as /drain says, and is sick meanwhile.
LIVES = """drain() { [ -e /drain ] && { touch /sick; sleep $(cat /drain); }; exit 0; }
trap drain TERM; trap '. /do' USR1; rm -f /sick /drain
n=0; [ -e /loop ] && read n < /loop; [ $n -gt 0 ] && { echo $((n - 1)) > /loop; echo no luck; exit 7; }
while :; do sleep 100000 & wait; done"""
PROBE = {"test": "[ ! -e /sick ]", "interval": "2s", "timeout": "10s", "retries": 1}


# ------------------------------------------------------------------------------------------------------- the plan


@dataclass(frozen=True)
class Planned:
    """One deed of the plan: `after` so many seconds of the act, in a lane in which one deed is done at a time."""

    after: float
    kind: str
    target: str = ""
    number: float = 0.0
    word: str = ""
    flag: bool = False

    @property
    def lane(self) -> str:
        """Deeds on one service wait for each other, as do those on the engine, on Discord, and so on."""
        return self.target or self.kind.partition(" ")[0]


@dataclass
class Part:
    """One service of an act: what Compose is told, and what may befall it."""

    name: str
    policy: str
    role: str = ""  # calm, job, greedy, twin
    probe: bool = False
    needs: tuple[str, ...] = ()
    version: int = 0
    scale: int = 1

    def compose(self, parts: dict[str, Part]) -> dict[str, Any]:
        """Its part of compose.yaml."""
        made: dict[str, Any] = {"runs": LIVES, "restart": self.policy, "environment": {"VERSION": str(self.version)},
                                "stop_grace_period": "3s", "scale": self.scale}  # fmt: skip
        if self.probe:
            made["healthcheck"] = PROBE
        if self.role == "greedy":
            made |= {"mem_limit": "24m", "memswap_limit": "24m"}
        if self.role == "job":
            made["labels"] = {"sentinel.job": "true"}
        if self.needs:
            word = {True: "service_healthy", False: "service_started"}
            made["depends_on"] = {need: {"condition": word[parts[need].probe]} for need in self.needs}
        return made


def draw_parts(chance: random.Random, act: int) -> list[list[Part]]:
    """The services of two projects; no name is used twice in a run."""
    projects = []
    for project in "ab":
        parts: list[Part] = []
        roles = ["", "", "", *(("calm", "job", "") if project == "a" else ("calm", "greedy", "twin"))]
        for number, role in enumerate(roles):
            policy = "no" if role in ("job", "calm") else chance.choice(POLICIES)
            earlier = [part.name for part in parts if part.role == ""]
            needs = tuple(chance.sample(earlier, 1)) if earlier and not role and chance.random() < 0.5 else ()
            parts.append(Part(f"{project}{act}{role or 'web'}{number}", policy, role, not role and chance.random() < 0.4,
                              needs, scale=2 if role == "twin" else 1))  # fmt: skip
        projects.append(parts)
    return projects


#: How often each deed is done, by the role of its target.
BLOWS = {"crash": 6, "host kill": 3, "api kill": 2, "loop": 2, "unit": 1}
WISHES = {"stop": 3, "long stop": 1, "restart": 2, "recreate": 1, "change": 2, "remove": 1, "pause": 2,
          "signal": 2, "copy": 1}  # fmt: skip
WORLD = {"engine kill": 1, "engine stop": 1, "engine freeze": 1, "discord fault": 6, "discord refuse": 2,
         "sentinel kill": 3, "sentinel freeze": 1, "cut": 2, "clock": 1, "disk": 1}  # fmt: skip
CODES = (0, 1, 1, 2, 3, 42, 137, 143)


def choices_of(part: Part) -> dict[str, int]:
    """What may befall a service."""
    if part.role == "calm":
        return WISHES
    if part.role == "job":
        return {"crash": 3, "start": 3, "stop": 1}
    more = {"greedy": {"oom": 4}, "twin": {"scale": 5}}.get(part.role, {})
    return BLOWS | WISHES | more | ({"sick": 5} if part.probe else {})


def pick(chance: random.Random, weights: dict[str, int]) -> str:
    """One of them, by weight."""
    return chance.choices([*weights], [*weights.values()])[0]


def draw_plan(chance: random.Random, projects: list[list[Part]], seconds: float) -> list[Planned]:
    """What happens in an act, several at once."""
    plan: list[Planned] = []
    parts = [part for parts in projects for part in parts]
    # Not every trouble in every act: one would hide what another brings to light.
    weather = {kind: weight for kind, weight in WORLD.items() if chance.random() < 0.4} or {"cut": 1}
    moment = 1.0
    while moment < seconds:
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            if chance.random() < 0.2:
                plan.append(draw_trouble(chance, moment, weather))
            else:
                plan += draw_blow(chance, moment, chance.choice(parts))
        moment += chance.choice((0.05, 0.3, 1.0, 2.0, 4.0))
    return sorted(plan, key=lambda planned: planned.after)


def draw_trouble(chance: random.Random, moment: float, weather: dict[str, int]) -> Planned:
    """Something that befalls the engine, Discord, or Sentinel."""
    kind = pick(chance, weather)
    lasts = chance.choice((0.1, 0.5, 2.0, 5.0, 12.0))
    if kind == "clock":
        lasts = chance.choice((-4000.0, -90.0, -5.0, 5.0, 90.0, 4000.0))
    return Planned(moment, kind, "", lasts, chance.choice([*FAULTS]), chance.random() < 0.3)


def draw_blow(chance: random.Random, moment: float, part: Part) -> list[Planned]:
    """Something that befalls a service; what was stopped or removed is often started again."""
    kind = pick(chance, choices_of(part))
    number = float(chance.choice(CODES)) if kind == "crash" else float(chance.randint(1, 3))
    deeds = [Planned(moment, kind, part.name, number, "", chance.random() < 0.5)]
    if kind == "unit":  # as of systemd: whoever is down is started by somebody else, too
        pair = replace(deeds[0], kind="crash"), Planned(moment, "start", part.name)
        return [replace(deed, after=moment + 2.0 * number) for number in range(4) for deed in pair]
    if kind in ("stop", "long stop", "remove") and chance.random() < 0.6:
        deeds.append(Planned(moment + chance.choice((0.2, 1.0, 4.0, 9.0)), "up" if kind == "remove" else "start", part.name))
    return deeds


#: Faults of the fake Discord, with their details; those with a star act before they spoil the answer. A block by its
#: edge is left out: Sentinel rests for a quarter of an hour then.
FAULTS: dict[str, dict[str, Any]] = {
    "status": {"status": 500}, "status 502": {"status": 502}, "status 503 html": {"status": 503, "html": True},
    "429": {"retry_after": 1.5}, "429 long": {"retry_after": 6.0}, "429 global": {"retry_after": 2.0, "scope": "global"},
    "reset_before": {}, "reset_after": {}, "close": {},
    "status *": {"after_storing": True}, "empty_200 *": {"after_storing": True}, "reset_after *": {"after_storing": True},
    "close *": {"after_storing": True},
    "reset_halfway *": {}, "drip *": {"interval": 0.05}, "wrong_length *": {}, "cut_json *": {}, "chunked *": {},
    "gzip *": {}, "close_keepalive *": {}, "hang": {"seconds": 4.0}, "hang *": {"seconds": 4.0, "after_storing": True},
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------ the world


class Proxy:
    """Stands between Sentinel and the engine; knows what Sentinel asks for, and can cut its connections."""

    CALL = re.compile(rb"POST \S*/containers/([0-9a-f]{64})/(start|restart)[? ]")

    def __init__(self, path: Path, engine: Path) -> None:
        self.path, self.engine = path, engine
        self.calls: list[Call] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None

    def accept(self) -> None:
        """Take connections from now on."""
        if self._listener is None:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.path.unlink(missing_ok=True)
            listener.bind(str(self.path))
            listener.listen(64)
            self._listener = listener
            threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """As a dead engine does: the socket is there, and nobody listens."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Drop every open connection."""
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                server.connect(str(self.engine))
            except OSError:
                client.close()
                continue
            asked: list[int] = []
            with self._lock:
                self._open |= {client, server}
            for pump in ((client, server, asked, True), (server, client, asked, False)):
                threading.Thread(target=self._pump, args=pump, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asked: list[int], asks: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if asks:
                    self._asked(data, asked)
                elif asked:
                    self._answered(data, asked.pop())
                sink.sendall(data)
        with self._lock:
            self._open.discard(source)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        source.close()

    def _asked(self, data: bytes, asked: list[int]) -> None:
        for found in self.CALL.finditer(data):
            with self._lock:
                if found[1] != b"0" * 64:  # asks only whether it may
                    asked.append(len(self.calls))
                    self.calls.append(Call(time.time(), found[2].decode(), found[1].decode(), 0))

    def _answered(self, data: bytes, place: int) -> None:
        status = re.match(rb"HTTP/1\.1 (\d{3})", data)
        with self._lock:
            call = self.calls[place]
            self.calls[place] = Call(call.at, call.verb, call.id, int(status[1]) if status else 0)


class Ears:
    """The engine's own event stream, read anew whenever it ends."""

    KEPT = ("create", "start", "die", "kill", "stop", "restart", "destroy", "oom", "pause", "unpause",
            "health_status: unhealthy", "health_status: healthy")  # fmt: skip

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.events: list[Event] = []
        self._seen: set[tuple[int, str, str]] = set()
        self._since = time.time()
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._over.is_set():
            command = ["docker", "events", "--since", f"{self._since:.9f}", "--filter", "type=container",
                       "--format", "{{json .}}"]  # fmt: skip
            self._process = subprocess.Popen(command, env=self.engine.env, stdout=subprocess.PIPE,
                                             stderr=subprocess.DEVNULL)  # fmt: skip
            assert self._process.stdout is not None
            for line in self._process.stdout:
                with contextlib.suppress(ValueError):
                    self._hear(json.loads(line))
            self._process.wait()
            self._over.wait(0.1)

    def _hear(self, raw: dict[str, Any]) -> None:
        action, nano, actor = raw.get("Action", ""), int(raw.get("timeNano", 0)), raw.get("Actor", {})
        key = (nano, actor.get("ID", ""), action)
        if action not in self.KEPT or key in self._seen:
            return
        self._seen.add(key)
        facts = actor.get("Attributes", {})
        code, number = facts.get("exitCode"), facts.get("signal")
        name = re.sub(r"^[0-9a-f]{12}_", "", facts.get("name", ""))
        self.events.append(Event(nano / 1e9, action, key[1], name, int(code) if code else None,
                                 int(number) if number else None))  # fmt: skip
        self._since = max(self._since, nano / 1e9)

    def close(self) -> None:
        """Listen no more."""
        self._over.set()
        if self._process is not None:
            self._process.kill()
        self._thread.join(5)


SITECUSTOMIZE = '''import time
_real = time.time
def _stepped():
    try:
        with open({path!r}) as file:
            return _real() + float(file.read() or 0)
    except (OSError, ValueError):
        return _real()
time.time = _stepped
'''


class Watcher:
    """Sentinel, started again whenever chaos killed it; its calendar is read from a file."""

    def __init__(self, folder: Path, host: str, hook: str, program: Path) -> None:
        self.folder, self.log_file, self.program = folder, folder / "sentinel.log", program
        self.disk, self.clock_file = folder / "disk", folder / "clock"
        self.ends: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._mount()
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SITECUSTOMIZE.format(path=str(self.clock_file)))
        self.env = environment(
            folder, host, DISCORD_WEBHOOK_URL=hook, SENTINEL_SETTLE=f"{SETTLE:g}s", SENTINEL_POLL_INTERVAL="5s",
            SENTINEL_MAX_RESTARTS=str(MAX_RESTARTS), SENTINEL_STATE=str(self.disk / "state"), SENTINEL_HOST="harbour",
            SENTINEL_REMIND="0", PYTHONPATH=str(site))  # fmt: skip

    def _mount(self) -> None:
        self.disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(self.disk)]
        self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0

    def start(self) -> None:
        """Start it; its log goes on in the same file."""
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen([sys.executable, str(self.program)], env=self.env, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd=self.folder)  # fmt: skip

    def watched_over(self) -> subprocess.Popen[bytes]:
        """Its process; one that ended by itself is noted, and started again."""
        assert self.process is not None
        if self.process.poll() is not None:
            self.ends.append(f"it ended by itself with {self.process.returncode}: {self.log[-3000:]}")
            self.start()
        return self.process

    @property
    def log(self) -> str:
        """All that it has said."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def met_engine(self) -> int:
        """How often it has said whether the engine is there."""
        return len(re.findall("the engine of .* answers|waiting for the engine", self.log))

    def kill(self) -> None:
        """As kill -9 does."""
        process = self.watched_over()
        process.send_signal(signal.SIGKILL)
        process.wait()

    def fill(self) -> None:
        """Not a byte is left on its disk."""
        with (self.disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        """There is room again."""
        (self.disk / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """It ends when it is asked to; then nothing is left of it."""
        process = self.watched_over()
        process.send_signal(signal.SIGTERM)
        try:
            if process.wait(10.0):
                self.ends.append(f"asked to end, it ended with {process.returncode}: {self.log[-3000:]}")
        except subprocess.TimeoutExpired:
            self.ends.append("it did not end within 10 s of SIGTERM")
            process.kill()
            process.wait()

    def unmount(self) -> None:
        """Take the disk away."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.disk)], capture_output=True, check=False)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No signal breaks off what takes an engine away: a second Ctrl-C, or timeout's, would leave its daemons behind."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class World:
    """The engine, its ears and its proxy, Discord, and Sentinel."""

    def __init__(self, suite: str, program: Path) -> None:
        self.program = program
        self._stack = contextlib.ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="sentinel-chaos-", dir="/tmp"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.daemon = PrivateEngine(suite)
        self.faulted: list[str] = []

    def __enter__(self) -> Self:
        try:
            self._stack.callback(self.daemon.close)
            self.daemon.start()
            self.engine = Engine(self.daemon.host, environ=self.daemon.environ())
            docker.ensure_image(self.engine)
            self.discord = self._stack.enter_context(FakeDiscord())
            self.proxy = Proxy(self.folder / "proxy.sock", self.daemon.socket)
            self._stack.callback(self.proxy.refuse)
            self.proxy.accept()
            self.ears = Ears(self.engine)
            self._stack.callback(self.ears.close)
            hook = self.discord.add_webhook().url
            self.sentinel = Watcher(self.folder, f"unix://{self.proxy.path}", hook, self.program)
            self._stack.callback(self.sentinel.unmount)
        except BaseException:
            with undisturbed():
                self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        with undisturbed():
            process = getattr(self, "sentinel", None) and self.sentinel.process
            if process and process.poll() is None:
                process.kill()
                process.wait()
            self._stack.close()

    def engine_back(self, live_restore: bool) -> None:
        """The engine is started, and Sentinel can reach it."""
        self.daemon.live_restore = live_restore
        self.daemon.start()
        self.proxy.accept()

    def mend(self) -> None:
        """Everything that chaos may have left in ruins is whole again, but for the containers."""
        self.daemon.thaw()
        if not self.daemon.alive():
            self.engine_back(False)
        self.sentinel.clock_file.write_text("0")
        self.sentinel.free()
        self.sentinel.watched_over().send_signal(signal.SIGCONT)
        self.discord.disarm()
        self.discord.accept()

    def told(self, names: list[str]) -> list[oracle.Told]:
        """What Discord's channel holds, in all its versions."""
        return sorted((told for message in self.discord.messages for told in versions(message, names)),
                      key=lambda told: told.at)  # fmt: skip

    def manners(self) -> list[tuple[float, str]]:
        """What Discord refused though no fault was armed, and what it complained of."""
        offset = time.time() - self.discord.clock()
        refused = [(item.time + offset, f"{item.method} {item.path.rpartition('/')[0]} {item.status} {item.decision}")
                   for item in self.discord.refused]  # fmt: skip
        return [*refused, *((time.time(), line) for line in self.discord.lint)]

    def spoiled(self) -> int:
        """Answers to new messages that got lost after Discord had acted, at most."""
        lost = {name.partition(" ")[0] for name in FAULTS if name.endswith("*")}
        return sum(item.method == "POST" and (item.fault in lost or item.status is None)
                   for item in list(self.discord.requests))  # fmt: skip


def versions(message: Message, names: list[str]) -> Iterator[oracle.Told]:
    """Every embed of every version of a message, but what an edit left as it was."""
    states = [(message.time, message.history[0].before.get("embeds", []) if message.history else message.embeds)]
    states += [(edit.time, edit.after.get("embeds", [])) for edit in message.history]
    for number, (moment, embeds) in enumerate(states):
        before = states[number - 1][1] if number else []
        for embed in (embed for embed in embeds if embed not in before):
            yield oracle.told_of(embed, message.wall + moment - message.time, message.id, number > 0, names)


# ------------------------------------------------------------------------------------------------------ the deeds


class Act:
    """Two projects of one act, and all that is done to them and around them."""

    def __init__(self, world: World, projects: list[list[Part]]) -> None:
        self.world, self.engine = world, world.engine
        self.parts = {part.name: part for parts in projects for part in parts}
        self.deeds: list[Deed] = []
        self.projects: dict[str, Project] = {}
        self._members = projects
        self.copies: list[str] = []  # images that were made of containers
        self._lock = threading.Lock()
        self._lanes: dict[str, queue.SimpleQueue[Planned | None]] = {}
        self._threads: list[threading.Thread] = []
        self.began = time.time()
        for parts in projects:
            project = Project(self.engine, world.folder, self._yaml(parts))
            self.projects |= dict.fromkeys([part.name for part in parts], project)

    def _yaml(self, parts: list[Part]) -> str:
        own = {part.name: part for part in parts}
        return stack(**{part.name: part.compose(own) for part in parts})

    def containers(self, part: Part) -> list[str]:
        """All names that the containers of a service may have."""
        most = 3 if part.role == "twin" else 1
        return [self.projects[part.name].container(part.name, number + 1) for number in range(most)]

    def services(self) -> dict[str, Service]:
        """For the oracle."""
        made = {}
        for part in self.parts.values():
            needs = tuple(self.containers(self.parts[need])[0] for need in part.needs)
            for name in self.containers(part):
                made[name] = Service(name, part.policy, part.role == "job", part.probe, needs)
        return made

    # Lanes

    def put(self, planned: Planned) -> None:
        """Have it done in its lane, as soon as what is before it there is done."""
        if planned.lane not in self._lanes:
            self._lanes[planned.lane] = lane = queue.SimpleQueue()
            self._threads.append(threading.Thread(target=self._work, args=(lane,), daemon=True))
            self._threads[-1].start()
        self._lanes[planned.lane].put(planned)

    def finish(self) -> None:
        """Wait until all that was put is done."""
        for lane in self._lanes.values():
            lane.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, lane: queue.SimpleQueue[Planned | None]) -> None:
        while planned := lane.get():
            self.perform(planned)

    def perform(self, planned: Planned) -> None:
        """Do it, and write down when, and whether it could be done."""
        began, done, detail = time.time(), True, ""
        try:
            detail = str(getattr(self, "_" + planned.kind.replace(" ", "_"))(planned) or "")
        except (DockerError, subprocess.TimeoutExpired, EngineError, OSError) as error:
            done, detail = False, " ".join(str(error).split())[-120:]
        targets = self.containers(self.parts[planned.target]) if planned.target else [""]
        if planned.kind in self.ONE:
            targets = targets[:1]
        with self._lock:
            self.deeds += [Deed(began, time.time(), planned.kind, name, detail, done) for name in targets]

    ONE = ("crash", "host kill", "api kill", "loop", "sick", "oom", "pause", "stop", "start", "restart", "remove",
           "long stop", "signal", "copy")  # fmt: skip

    # What befalls a service

    def _first(self, planned: Planned) -> str:
        return self.containers(self.parts[planned.target])[0]

    def _exec(self, name: str, script: str) -> None:
        self.engine.docker("exec", name, "sh", "-c", script, timeout=30)

    def _crash(self, planned: Planned) -> str:
        code = int(planned.number)
        self._exec(self._first(planned), f"echo 'echo bad luck; exit {code}' > /do; kill -USR1 1")
        return f"exit {code}"

    def _oom(self, planned: Planned) -> None:
        self._exec(self._first(planned), "echo 'exec tail /dev/zero' > /do; kill -USR1 1")

    def _loop(self, planned: Planned) -> str:
        times = int(planned.number)
        self._exec(self._first(planned), f"echo {times} > /loop; echo 'exit 7' > /do; kill -USR1 1")
        return f"and {times} times more"

    def _sick(self, planned: Planned) -> None:
        self._exec(self._first(planned), "touch /sick")

    def _host_kill(self, planned: Planned) -> None:
        self.engine.kill_from_host(self._first(planned), signal.SIGKILL)

    def _api_kill(self, planned: Planned) -> None:
        self.engine.docker("kill", self._first(planned))

    # What an operator wishes

    def _up(self, planned: Planned, *arguments: str) -> None:
        self.projects[planned.target].up("--no-deps", *arguments, planned.target)

    def _stop(self, planned: Planned) -> str:
        if planned.flag and self.parts[planned.target].role != "twin":
            self.projects[planned.target].run("stop", planned.target)
            return "by compose"
        self.engine.docker("stop", self._first(planned))
        return ""

    def _long_stop(self, planned: Planned) -> str:
        """With more time than it asks for itself, which it takes."""
        name, seconds = self._first(planned), 4 + 2 * int(planned.number)
        self._exec(name, f"echo {seconds} > /drain")
        self.engine.docker("stop", "--time", "60", name, timeout=90)
        return f"it drains for {seconds} s"

    def _signal(self, planned: Planned) -> str:
        """A reload, or a thread dump: the main process has no handler for them, and is the first of its container, so
        it survives."""
        word = "HUP" if planned.flag else "QUIT"
        self.engine.docker("kill", "--signal", word, self._first(planned))
        return word

    def _copy(self, planned: Planned) -> str:
        """`docker commit` carries compose's labels; the copy ends with 1 by itself."""
        name = self._first(planned)
        copy = f"{name}-copy{time.monotonic_ns()}"
        self.engine.docker("commit", name, copy)
        self.engine.docker("run", "--detach", "--network", "none", "--name", copy, copy, "sh", "-c", "sleep 5; exit 1")
        self.copies.append(copy)
        return copy

    def _start(self, planned: Planned) -> None:
        self.engine.docker("start", self._first(planned))

    def _restart(self, planned: Planned) -> None:
        self.engine.docker("restart", self._first(planned))

    def _remove(self, planned: Planned) -> None:
        self.engine.remove(self._first(planned))

    def _recreate(self, planned: Planned) -> None:
        self._up(planned, "--force-recreate")

    def _change(self, planned: Planned) -> None:
        self.parts[planned.target].version += 1
        self._rewrite(planned)
        self._up(planned)

    def _scale(self, planned: Planned) -> str:
        self.parts[planned.target].scale = int(planned.number)
        self._rewrite(planned)
        self._up(planned)
        return str(int(planned.number))

    def _rewrite(self, planned: Planned) -> None:
        with self._lock:
            parts = next(parts for parts in self._members if any(part.name == planned.target for part in parts))
            self.projects[planned.target].write(self._yaml(parts))

    def _pause(self, planned: Planned) -> None:
        name = self._first(planned)
        self.engine.docker("pause", name)
        time.sleep(planned.number * 2)
        self.engine.docker("unpause", name)

    # What befalls the engine, Discord, Sentinel

    def _engine_kill(self, planned: Planned) -> str:
        return self._engine_goes(planned, self.world.daemon.kill)

    def _engine_stop(self, planned: Planned) -> str:
        return self._engine_goes(planned, self.world.daemon.stop)

    def _engine_goes(self, planned: Planned, how: Callable[[], None]) -> str:
        how()
        self.world.proxy.refuse()
        time.sleep(planned.number)
        self.world.engine_back(planned.flag)
        return f"down {planned.number:g} s" + (", live-restore from now on" if planned.flag else "")

    def _engine_freeze(self, planned: Planned) -> str:
        self.world.daemon.freeze()
        time.sleep(planned.number)
        self.world.daemon.thaw()
        return ""

    def _discord_fault(self, planned: Planned) -> str:
        times = 1 + int(planned.number) % 3
        details = FAULTS[planned.word]
        self.world.discord.arm(planned.word.partition(" ")[0], times=times, **details)
        return f"{planned.word} {times} times {details}"

    def _discord_refuse(self, planned: Planned) -> str:
        self.world.discord.refuse()
        time.sleep(planned.number)
        self.world.discord.accept()
        return ""

    def _sentinel_kill(self, planned: Planned) -> str:
        self.world.sentinel.kill()
        time.sleep(planned.number)
        self.world.discord.forgive()  # the next one can't know what the last one was told
        before = self.world.sentinel.met_engine()
        self.world.sentinel.start()
        # Until then it is as blind as one that is away: a busy machine takes long to start it.
        wait_until(lambda: self.world.sentinel.met_engine() > before, 30)
        return ""

    def _sentinel_freeze(self, planned: Planned) -> str:
        process = self.world.sentinel.watched_over()
        process.send_signal(signal.SIGSTOP)
        time.sleep(planned.number)
        process.send_signal(signal.SIGCONT)
        return ""

    def _cut(self, planned: Planned) -> None:
        self.world.proxy.cut()

    def _clock(self, planned: Planned) -> str:
        self.world.sentinel.clock_file.write_text(f"{planned.number:g}")
        seconds = 40.0 if planned.flag else 6.0
        time.sleep(seconds)
        self.world.sentinel.clock_file.write_text("0")
        return f"{planned.number:+g} s for {seconds:g} s"

    def _disk(self, planned: Planned) -> str:
        if not self.world.sentinel.mounted:
            raise OSError("no file system could be mounted")
        self.world.sentinel.fill()
        time.sleep(planned.number)
        self.world.sentinel.free()
        return "full"

    # The whole act

    def raise_curtain(self) -> None:
        """The projects are up, and Sentinel watches all of them."""
        for project in dict.fromkeys(self.projects.values()):
            project.up()
        if self.world.sentinel.process is None:
            self.world.sentinel.start()
        names = self.engine.docker("ps", "--format", "{{.Names}}").split()
        ours = [name for name in names if name in self.services()]
        docker.wait(lambda: all(f"watching {name} " in self.world.sentinel.log for name in ours), 60, "Sentinel")
        self.began = time.time()

    def story(self) -> Story:
        """All that is known now."""
        world, services = self.world, self.services()
        world.sentinel.watched_over()
        said = world.sentinel.log
        broken = [f"a traceback: {said[said.index('Traceback') - 300:][:3000]}"] if "Traceback" in said else []
        with self._lock:
            deeds = sorted(self.deeds, key=lambda deed: deed.at)
        names = {event.id for event in world.ears.events if event.name in services}
        return Story(
            services, deeds, sorted((event for event in world.ears.events if event.id in names), key=lambda it: it.at),
            [call for call in list(world.proxy.calls) if call.id in names], world.told([*services]), self._standing(),
            [*world.sentinel.ends, *broken], world.manners(), world.spoiled(), MAX_RESTARTS, SETTLE, time.time(),
        )  # fmt: skip

    def _standing(self) -> dict[str, Standing]:
        found = {}
        ids = [one for project in dict.fromkeys(self.projects.values()) for one in project.ids()]
        listed = json.loads(self.engine.docker("container", "inspect", *ids)) if ids else []
        for raw in listed:
            state = raw["State"]
            began = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", state["StartedAt"]).replace("Z", "+00:00"))
            found[raw["Name"].lstrip("/")] = Standing(
                state["Running"] and not state["Restarting"],
                state.get("Health", {}).get("Status", "healthy") == "healthy", state["Paused"], began.timestamp())
        return found

    def play(self, plan: list[Planned]) -> None:
        """Do what the plan says, when it says so."""
        zero = time.monotonic()
        for planned in plan:
            time.sleep(max(0.0, zero + planned.after - time.monotonic()))
            self.put(planned)
        self.finish()
        self.world.mend()

    def verdict(self) -> tuple[Story, list[Violation]]:
        """Wait until nothing moves and nothing is owed, but not for ever; then judge."""
        deadline, still, last = time.monotonic() + BOUND, time.monotonic(), (0, 0, 0)
        while True:
            story = self.story()
            found = oracle.judge(story)
            moved = (len(story.events), len(story.calls), len(story.told))
            still = still if moved == last else time.monotonic()
            last = moved
            owed = any(violation.pending for violation in found)
            if time.monotonic() > deadline or (not owed and time.monotonic() - still > QUIET):
                return story, found
            time.sleep(1.0)

    def drop_curtain(self) -> None:
        """The projects are taken away."""
        for project in dict.fromkeys(self.projects.values()):
            project.remove()
        for copy in self.copies:
            self.engine.docker("image", "rm", "--force", copy)


# -------------------------------------------------------------------------------------------------------- the run


@dataclass
class Result:
    """What a run found."""

    acts: int = 0
    deeds: int = 0
    told: int = 0
    violations: list[str] = field(default_factory=list)
    stories: list[Story] = field(default_factory=list)


def explain(seed: int, act: int, story: Story, violations: list[Violation]) -> str:
    """What is wrong, with the story of each service that is concerned."""
    lines = [f"===== seed {seed}, act {act}: {len(violations)} broken"]
    for violation in violations:
        lines += [f"--- {violation}", *story.lines(violation.service)]
    if any(not violation.service for violation in violations):
        lines += ["--- the whole story", *story.lines()]
    return "\n".join(lines)


def run(seed: int, minutes: float, suite: str, say: Callable[[str], None] = print, act_seconds: float = 60.0,
        program: Path = PROGRAM) -> Result:  # fmt: skip
    """Acts until the time is over."""
    result, over = Result(), time.monotonic() + minutes * 60.0
    with World(suite, program) as world:
        while not result.acts or time.monotonic() < over:
            chance = random.Random(f"{seed}/{result.acts}")
            projects = draw_parts(chance, result.acts)
            act = Act(world, projects)
            act.raise_curtain()
            act.play(draw_plan(chance, projects, act_seconds))
            story, violations = act.verdict()
            say(f"act {result.acts}: {len(story.deeds)} deeds, {sum(map(len, oracle.Account(story).blows.values()))} blows,"
                f" {len(story.calls)} calls, {len(story.told)} told, {len(violations)} broken, "
                f"{time.time() - act.began:.0f} s")  # fmt: skip
            if violations:
                say(explain(seed, result.acts, story, violations))
            result.violations += [f"act {result.acts}: {violation}" for violation in violations]
            result.stories.append(story)
            result.deeds, result.told, result.acts = result.deeds + len(story.deeds), len(story.told), result.acts + 1
            world.sentinel.ends.clear()
            act.drop_curtain()
        world.sentinel.close()
        result.violations += world.sentinel.ends
        if result.violations:
            say(f"--- the end of Sentinel's log\n{world.sentinel.log[-20000:]}")
    return result


def main(arguments: list[str]) -> int:
    """Run, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)), help="the same seed: the same deeds")
    parser.add_argument("--minutes", type=float, default=5.0, help="no new act begins after that (5)")
    parser.add_argument("--engine", choices=SUITES, default=SUITES[0], help=f"({SUITES[0]})")
    parser.add_argument("--act", type=float, default=60.0, metavar="SECONDS", help="how long deeds are done in an act (60)")
    parser.add_argument("--program", type=Path, default=PROGRAM, metavar="FILE", help="a mutant, to see it caught")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all stories there")
    given = parser.parse_args(arguments)
    print(f"seed {given.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # all is taken away on the way out
    result = run(given.seed, given.minutes, given.engine, lambda text: print(text, flush=True), given.act,
                 given.program.resolve())  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps([story.as_json() for story in result.stories]))
    print(f"seed {given.seed}: {result.acts} acts, {result.deeds} deeds, {len(result.violations)} broken promises")
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
