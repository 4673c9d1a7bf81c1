"""Plays a recording of a real engine through the fake engine's server.

The events are those of the recording, one by one.  List and inspect answers are put together at each
moment from the events so far, and from the recording's own inspect lines as soon as their time has come.
Calls that would change something are accepted and noted, and change nothing: the tape decides.

    with Replay("crash_exit3.docker28") as tape:
        ... connect a client to tape.host ...
        assert tape.run_to_end()
"""

from __future__ import annotations

import copy
import gzip
import itertools
import json
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from support.fake_engine import (
    Container,
    ContainerServer,
    Doc,
    Reply,
    Request,
    parse_rfc3339,
)

RECORDINGS = Path(__file__).resolve().parent.parent / "data" / "recordings"
TABLES = {"api_versions"}
# Keys of an event itself; whatever else there is on it is a label.
OWN_KEYS = {"create": {"image", "name"}}
ALL_OWN_KEYS = {"image", "name", "exitCode", "signal", "execDuration", "oldName", "execID"}
# What the first number of an engine's version makes it; Podman's are lower than any Docker's.
FLAVOURS = {"5": "podman-5.4", "6": "podman-6.1", "20": "20.10", "28": "28", "29": "29"}
# Scenes of Podman in which somebody ends the container, in any way but a kill, and how long before its end: which of the
# ends are meant. No event tells of it; the recordings' scripts did it.
ASKED = {"stop-ignore": 2.0, "stop-ignore-cli": 2.0, "stop-term": 0.05, "stop-term-cli": 0.05, "rm-f": 10.0, "rm-f-cli": 2.0,
         "rm-f-t0-cli": 0.02, "loop-stop": 0.1, "quadlet": 1.0}  # fmt: skip
STARTING_VERBS = ("start", "restart", "up", "unpause")


class Command(NamedTuple):
    """What was done to the engine: a command line, or a call such as ("POST", "/containers/x/stop")."""

    t: float
    argv: tuple[str, ...]
    ended: float
    status: int

    @property
    def verb(self) -> str:
        """start, stop, kill, run, rm, up, down ..., whatever the way it was given."""
        if self.argv[0] in ("POST", "DELETE", "GET"):
            last = self.argv[1].partition("?")[0].rpartition("/")[2]
            return "rm" if self.argv[0] == "DELETE" else last
        if self.argv[:2] == ("docker", "compose"):
            return next((word for word in self.argv[4:] if not word.startswith("-")), "").split(" ")[0]
        return self.argv[1] if self.argv[0] == "docker" and len(self.argv) > 1 else self.argv[0]


def recordings() -> list[tuple[str, str]]:
    """(scenario, engine) of all recordings that can be played."""
    names = sorted(re.sub(r"\.jsonl(\.gz)?$", "", path.name) for path in RECORDINGS.glob("*.jsonl*"))
    pairs = [(scenario, engine) for scenario, _, engine in (name.partition(".") for name in names)]
    return [(scenario, engine) for scenario, engine in pairs if scenario not in TABLES]


def recording_path(name: str | os.PathLike[str]) -> Path:
    """The file of "scenario.engine", or the path itself."""
    path = Path(name)
    candidates = [path, RECORDINGS / f"{path.name}.jsonl.gz", RECORDINGS / f"{path.name}.jsonl"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"no recording {name}")


def load(name: str | os.PathLike[str]) -> list[Doc]:
    """The lines of a recording."""
    raw = recording_path(name).read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    return [json.loads(line) for line in text.decode().splitlines() if line.strip()]


# --- what a recording tells in advance ------------------------------------------------------------------


@dataclass
class Phase:
    """One container between two changes of its life: after n starts and m deaths."""

    inspects: list[Doc] = field(default_factory=list)
    next_action: str = ""
    next_time: float = 0.0
    next_start: float | None = None


@dataclass
class Facts:
    """What the whole recording knows about one container."""

    phases: dict[tuple[int, int], Phase] = field(default_factory=dict)
    inspects: list[Doc] = field(default_factory=list)
    network_mode: str = ""
    options: dict[str, str] = field(default_factory=dict)
    healthy_words: bool = False

    def phase(self, starts: int, deaths: int) -> Phase:
        return self.phases.setdefault((starts, deaths), Phase())


class Tape:
    """A recording, read once and looked through for what comes later."""

    def __init__(self, name: str | os.PathLike[str]) -> None:
        self.lines = load(name)
        self.meta = next((line for line in self.lines if line["k"] == "meta"), {})
        self.scenario: str = self.meta.get("scenario", "")
        self.flavour = FLAVOURS[str(self.meta.get("engine", "28")).partition(".")[0]]
        self.api_max: str | None = self.meta.get("api")
        self.commands = _commands(self.lines)
        self.events: list[Doc] = [line["e"] for line in self.lines if line["k"] == "event"]
        self.facts: dict[str, Facts] = {}
        if self.flavour.startswith("podman"):
            self.lines = self._with_wishes()
        self._look_through()

    def of(self, container_id: str) -> Facts:
        return self.facts.setdefault(container_id, Facts())

    def _with_wishes(self) -> list[Doc]:
        """Podman's lines, and between them when somebody begins to end a container."""
        before = ASKED.get(self.scenario)
        deaths = [line for line in self.lines if line["k"] == "event" and line["e"]["Action"] == "die"]
        wishes = []
        for line in deaths[-1:] if before else ():
            code = line["e"]["Actor"]["Attributes"]["exitCode"]
            if self.scenario != "quadlet" or code == "137":  # the last is ended by the unit's stop
                began = max(0.0, line["t"] - before) if before else 0.0
                wishes.append({"t": began, "k": "asked", "Id": line["e"]["Actor"]["ID"]})
        # An event of the same moment is earlier.
        return sorted([*self.lines, *wishes], key=lambda line: line["t"]) if wishes else self.lines

    def _look_through(self) -> None:
        counts: dict[str, list[int]] = {}
        for line in self.lines:
            if line["k"] == "event":
                self._see_event(line, counts)
            elif line["k"] == "inspect" and "State" in line and "Id" in line:
                facts = self.of(line["Id"])
                facts.inspects.append(line)
                facts.phase(*counts.get(line["Id"], [0, 0])).inspects.append(line)
            elif line["k"] == "list":
                for row in _rows(line):
                    self.of(row["Id"]).network_mode = row.get("NetworkMode", "")

    def _see_event(self, line: Doc, counts: dict[str, list[int]]) -> None:
        event = line["e"]
        attributes = event["Actor"].get("Attributes") or {}
        if event["Type"] == "network":
            facts = self.of(attributes.get("container", ""))
            facts.network_mode = facts.network_mode or attributes.get("name", "")
        if event["Type"] != "container":
            return
        identity, action = event["Actor"]["ID"], event["Action"]
        count, facts = counts.setdefault(identity, [0, 0]), self.of(identity)
        phase = facts.phase(*count)
        if not action.startswith("exec_") and action not in ("cleanup", "init"):
            phase.next_action, phase.next_time = (phase.next_action or action), (phase.next_time or line["t"])
        facts.options = facts.options or self._run_options(attributes.get("name", ""))
        if action.startswith("health_status"):
            facts.healthy_words = True
        elif action == "start":
            phase.next_start = line["t"]
            count[0] += 1
        elif action == "die":
            count[1] += 1

    def _run_options(self, name: str) -> dict[str, str]:
        """The options of the docker run or create that made a container of this name, or of all of a tape."""
        for command in self.commands:
            argv = command.argv
            if argv[:2] in (("docker", "run"), ("docker", "create")) and name in argv:
                options: dict[str, str] = {}
                for word, following in itertools.pairwise(argv):
                    if word.startswith("--"):
                        key, _, value = word.partition("=")
                        options[key] = value or following
                return options
        told: dict[str, dict[str, str]] = self.meta.get("options", {})
        return told.get(name) or told.get("*") or {}

    def started_by_command(self, since: float, until: float, ran_into: float) -> bool:
        """Was there a command between a death and a start that explains the start?"""
        for command in self.commands:
            if command.verb in STARTING_VERBS and since <= command.t <= until:
                return True
            if command.verb == "restart" and command.t <= ran_into <= command.ended:
                return True
        return False


def _commands(lines: Sequence[Doc]) -> list[Command]:
    commands: list[Command] = []
    for line in lines:
        if line["k"] == "cmd":
            commands.append(Command(line["t"], tuple(line["argv"]), line["t"], 0))
        elif line["k"] == "cmd_done" and commands:
            index = max((i for i, item in enumerate(commands) if item.argv[0] not in ("POST", "DELETE")),
                        default=-1)
            if index >= 0:
                commands[index] = commands[index]._replace(ended=line["t"], status=int(line.get("rc") or 0))
        elif line["k"] == "api" and "t" in line and line["method"] != "GET":
            # Noted at the end of the call; the recording has its length too.
            begun = line["t"] - float(line.get("secs") or 0)
            call, status = (line["method"], line["path"]), int(line["status"] or 0)
            commands.append(Command(begun, call, line["t"], status))
    return sorted(commands, key=lambda item: item.t)


def _rows(line: Doc) -> list[Doc]:
    """The rows of a list line; some recordings hold a digest of the list in place of rows."""
    return [row for row in line["containers"] if isinstance(row, dict) and "Id" in row]


# --- the player -----------------------------------------------------------------------------------------


class Replay(ContainerServer):
    """An engine whose whole life is a recording."""

    def __init__(self, recording: str | os.PathLike[str], socket: str | os.PathLike[str] | None = None, *,
                 speed: float = 0.0, pace: float = 0.05, post_status: int = 204, rebase: bool = False,
                 wait_for_stream: bool = True, stream_mode: Mapping[str, Any] | None = None) -> None:
        """speed 1 is real time, 2 twice as fast; 0 keeps the gaps but cuts each to ``pace`` seconds.

        rebase moves all time stamps so that the recording begins now.  With wait_for_stream the tape waits
        for a first event stream, and after an outage for the next one.
        """
        self.tape = Tape(recording)
        super().__init__(socket, self.tape.flavour, None, self.tape.api_max)
        self.speed, self.pace, self.post_status = speed, pace, post_status
        self.wait_for_stream = wait_for_stream
        self.position = 0.0
        self.finished = threading.Event()
        self._player: threading.Thread | None = None
        self._rebase = rebase
        self._shift = 0
        self._runs: dict[str, list[int]] = {}
        self._killed: dict[str, bool] = {}
        self.gone_at_death = False  # Podman's removals are over at once
        self._policy_restarts: set[str] = set()  # Podman's, until the start that follows
        if stream_mode:
            self.stream_mode(**stream_mode)

    @property
    def commands(self) -> list[Command]:
        """What the recording says was done, in order of time; ``t`` is on the scale of ``position``."""
        return self.tape.commands

    @property
    def scenario(self) -> str:
        return self.tape.scenario

    def start(self) -> Self:
        super().start()
        self._player = threading.Thread(target=self._play, daemon=True)
        self._player.start()
        return self

    def stop(self) -> None:
        self.closing.set()
        with self.changed:
            self.changed.notify_all()
        # Else the tape could open the socket again after the end.
        if self._player is not None:
            self._player.join()
        super().stop()

    def run_to_end(self, timeout: float = 30.0) -> bool:
        """Wait until all of the tape has been played and written to the open streams."""
        if not self.finished.wait(timeout):
            return False
        deadline = time.monotonic() + timeout
        return all(stream.wait_idle(deadline - time.monotonic()) for stream in list(self.open_streams))

    def dispatch(self, request: Request) -> Reply:
        found = re.fullmatch(r"(?:/libpod)?/containers/([^/]+)/json", request.path)
        container = self.find(found[1]) if found else None
        if container and container.status == "removing" and self.podman:
            if self.gone_at_death:
                return self.no_such(container.id)
            return self.error(500, f"container {container.id} does not exist in database: container is being removed")
        return super().dispatch(request)

    def act(self, verb: str, ref: str, query: Mapping[str, str]) -> Reply:
        return Reply(self.post_status) if self.find(ref) is not None else self.no_such(ref)

    # -- playing --

    def _play(self) -> None:
        self._await_stream()
        if self._rebase and self.tape.events:
            self._shift = time.time_ns() - int(self.tape.events[0]["timeNano"])
        for line in self.tape.lines:
            if "t" not in line:
                continue
            self._pause(float(line["t"]) - self.position)
            if self.closing.is_set():
                return
            with self.changed:
                self.position = max(self.position, float(line["t"]))
                self._step(line)
                self.changed.notify_all()
            self._outage(line)
        self.finished.set()

    def _pause(self, gap: float) -> None:
        wait = gap / self.speed if self.speed else min(gap, self.pace)
        if wait > 0:
            self.closing.wait(wait)

    def _await_stream(self) -> None:
        if self.wait_for_stream:
            self.wait(lambda: bool(self.open_streams) or self.closing.is_set(), 60)

    def _outage(self, line: Doc) -> None:
        """The engine of the recording went away, or came back."""
        if line["k"] == "eof":
            kept = any(item.get("socket_file_exists") for item in self.tape.lines)
            self.cut_streams()
            self.wait_streams(0, 1.0)
            self.go_down(remove_socket=not kept)
            if self.flavour == "29":
                # What a starting engine does before it answers is in its buffer when it does.
                with self.lock:
                    self.ring.clear()
                    self._events_lost = False
        elif line["k"] == "note" and line.get("note") == "reconnected to /events":
            with self.lock:
                self._rejoin(float(line["t"]))
            self.come_up(keep_history=self.flavour == "29")
            self._await_stream()

    def _rejoin(self, now: float) -> None:
        """After an outage the truth is in the next list and the next inspect of each container."""
        listed = next((line for line in self.tape.lines
                       if line["k"] == "list" and line["t"] >= now), None)
        # These lists are short: name, state and status text only.
        names = {row[0].lstrip("/") for row in listed["containers"]} if listed else set()
        for identity, container in list(self.containers.items()):
            if listed is not None and container.name not in names:
                del self.containers[identity]
                continue
            later = [line for line in self.tape.of(identity).inspects if line["t"] >= now]
            if later:
                self._take_inspect(later[0])

    def _step(self, line: Doc) -> None:
        if line["k"] == "event":
            event = self._moved(line["e"])
            if event["Type"] == "container":
                self._apply(event, float(line["t"]))
            self.publish(event)
        elif line["k"] == "inspect":
            self._take_inspect(line)
        elif line["k"] == "asked":
            self._be_asked(line["Id"])
        elif line["k"] in ("api", "cmd_done") and (line.get("rc") or int(line.get("status") or 0) >= 400):
            self._failed_start(float(line["t"]))

    def _be_asked(self, identity: str) -> None:
        """Podman: somebody begins to end it."""
        container = self.containers[identity]
        container.stopped_by_user = True
        if container.status == "running":
            container.status = "stopping"

    def _failed_start(self, now: float) -> None:
        """A start that failed has no event; the next inspect in this phase of a life tells what it left."""
        for container in self.containers.values():
            later = [item for item in self._phase(container).inspects if item["t"] >= now]
            state = later[0]["State"] if later else {}
            if state.get("Error") and not container.running:
                container.error, container.exit_code = state["Error"], state["ExitCode"]
                container.status = state["Status"]

    def _moved(self, event: Doc) -> Doc:
        if not self._shift:
            return event
        event = copy.deepcopy(event)
        event["timeNano"] += self._shift
        event["time"] = event["timeNano"] // 10**9
        return event

    # -- the state behind list and inspect --

    def _apply(self, event: Doc, now: float) -> None:
        identity, action = event["Actor"]["ID"], str(event["Action"]).partition(": ")[0]
        attributes: dict[str, str] = event["Actor"].get("Attributes") or {}
        if action in ("destroy", "remove"):
            self.containers.pop(identity, None)
            return
        container = self.containers.get(identity)
        if container is None:
            own = OWN_KEYS.get(action, ALL_OWN_KEYS)
            own = {*own, "podId"} if self.podman else own
            labels = {key: value for key, value in attributes.items() if key not in own}
            container = self._create(identity, attributes, labels, int(event["timeNano"]))
        handler = {"start": self._on_start, "die": self._on_die, "kill": self._on_kill,
                   "stop": self._on_stop, "pause": self._on_pause, "unpause": self._on_unpause,
                   "rename": self._on_rename, "oom": self._on_oom,
                   "restart": self._on_restart, "cleanup": self._on_cleanup, "update": self._on_update,
                   "health_status": self._on_health}.get(action)
        if handler is not None:
            handler(container, event, now)

    def _create(self, identity: str, attributes: Mapping[str, str], labels: dict[str, str],
                nano: int) -> Container:
        facts = self.tape.of(identity)
        container = Container(identity, attributes.get("name", identity[:12]), attributes.get("image", ""))
        container.labels, container.created = labels, nano
        container.network_mode = facts.network_mode or facts.options.get("--network", "none")
        container.policy, _, retries = facts.options.get("--restart", "no").partition(":")
        container.max_retry = int(retries or 0)
        container.auto_remove = "--rm" in facts.options
        container.stop_signal = facts.options.get("--stop-signal")
        if facts.inspects:
            self._take_settings(container, facts.inspects[0])
        if facts.healthy_words or any("Health" in item["State"] for item in facts.inspects):
            container.healthcheck = {"Test": ["CMD-SHELL", facts.options.get("--health-cmd", "true")]}
        self.containers[identity] = container
        return container

    def _take_settings(self, container: Container, inspect: Doc) -> None:
        policy = inspect.get("RestartPolicy")
        if policy is not None:
            container.policy = policy["Name"] or "no"
            container.max_retry = int(policy.get("MaximumRetryCount") or 0)
        container.auto_remove = bool(inspect.get("AutoRemove", container.auto_remove))
        container.created = self._nano(inspect.get("Created", "")) or container.created

    def _nano(self, text: str) -> int:
        nano = parse_rfc3339(text)
        return nano + self._shift if nano else 0

    def _take_inspect(self, line: Doc) -> None:
        """The recording's own inspect overrules what the events have led to."""
        if line.get("status") == 404:
            found = self.find(str(line.get("name", "")))
            if found is not None:
                del self.containers[found.id]
            return
        if "State" not in line or "Id" not in line:
            return
        container = self.containers.get(line["Id"])
        if container is None:
            container = self._create(line["Id"], {"name": line["name"].lstrip("/")}, {}, 0)
        state = line["State"]
        container.name = line["name"].lstrip("/")
        self._take_settings(container, line)
        container.restart_count = int(line.get("RestartCount") or 0)
        container.status, container.error = state["Status"], state["Error"]
        container.exit_code, container.oom_killed = state["ExitCode"], state["OOMKilled"]
        container.pid = state["Pid"]
        container.started = self._nano(state["StartedAt"])
        container.finished = self._nano(state["FinishedAt"])
        if "Health" in state:
            container.health = copy.deepcopy(state["Health"])

    def _phase(self, container: Container, starts: int = 0, deaths: int = 0) -> Phase:
        """Where the container is in its life, after these further starts and deaths."""
        count = self._runs.setdefault(container.id, [0, 0])
        count[0] += starts
        count[1] += deaths
        return self.tape.of(container.id).phase(*count)

    def _on_start(self, container: Container, event: Doc, now: float) -> None:
        phase = self._phase(container, starts=1)
        if container.status != "restarting" and not (self.podman and self._restarted(container)):
            container.restart_count = 0
        container.stopped_by_user = False
        container.status, container.exit_code, container.error = "running", 0, ""
        container.started, container.pid = int(event["timeNano"]), 4321
        container.stale_row = None
        if self.flavour != "20.10":
            container.oom_killed = False
        self._killed[container.id] = False
        if phase.inspects:
            state = phase.inspects[0]["State"]
            container.started, container.pid = self._nano(state["StartedAt"]), state["Pid"] or 4321
            container.finished = self._nano(state["FinishedAt"])
        if container.healthcheck is not None:
            container.health = {"Status": "starting", "FailingStreak": 0, "Log": []}

    def _on_die(self, container: Container, event: Doc, now: float) -> None:
        self.make_stale(container)
        phase = self._phase(container, deaths=1)
        state = phase.inspects[0]["State"] if phase.inspects else {}
        code = str((event["Actor"].get("Attributes") or {}).get("exitCode", ""))
        # A label of that name hides the event's own code.
        trusted = "exitCode" not in container.labels and re.fullmatch(r"\d+", code)
        container.exit_code = int(code) if trusted else int(state.get("ExitCode", 0))
        container.finished = self._nano(self._end_of_run(container, state)) or int(event["timeNano"])
        if state:
            container.oom_killed = bool(state["OOMKilled"])
            container.started = self._nano(state["StartedAt"]) or container.started
        container.status = "exited"
        if self.podman:
            going = phase.next_action == "remove" and (container.auto_remove or self.gone_at_death)
            container.status = "removing" if going else "stopped"
        elif self._policy_at_work(container, phase, now):
            container.status = "restarting"
            container.restart_count += 1
        if container.health is not None:
            container.health.update(Status="unhealthy", FailingStreak=0)

    def _end_of_run(self, container: Container, state: Mapping[str, str]) -> str:
        """The FinishedAt of a run; an inspect of the next run still has it."""
        starts, deaths = self._runs[container.id]
        following = self.tape.of(container.id).phase(starts + 1, deaths)
        if not state and following.inspects:
            state = following.inspects[0]["State"]
        return state.get("FinishedAt", "")

    def _policy_at_work(self, container: Container, phase: Phase, now: float) -> bool:
        """Will Docker start it again?  The tape knows."""
        asked = [item for item in phase.inspects if phase.next_action != "stop" or item["t"] <= phase.next_time]
        seen = [item["State"]["Status"] for item in asked if item["State"]["Status"] != "running"]
        if seen:
            return bool(seen[0] == "restarting")
        if phase.next_action == "start" and phase.next_start is not None:
            return not self.tape.started_by_command(now, phase.next_start, now)
        # The stop of a container in backoff has no kill before it.
        return phase.next_action == "stop" and not self._killed.get(container.id)

    def _on_kill(self, container: Container, event: Doc, now: float) -> None:
        self._killed[container.id] = True
        container.stopped_by_user = True

    def _on_restart(self, container: Container, event: Doc, now: float) -> None:
        """Podman's: an operator's where it runs, its policy's where it is down. Docker's tells nothing more."""
        if not self.podman:
            return
        if container.status == "running":
            self._be_asked(container.id)
        else:
            container.restart_count += 1
            self._policy_restarts.add(container.id)

    def _restarted(self, container: Container) -> bool:
        by_policy = container.id in self._policy_restarts
        self._policy_restarts.discard(container.id)
        return by_policy

    def _on_cleanup(self, container: Container, event: Doc, now: float) -> None:
        if container.status == "stopped":
            container.status = "exited"

    def _on_stop(self, container: Container, event: Doc, now: float) -> None:
        if container.status == "restarting":
            container.status = "exited"

    def _on_pause(self, container: Container, event: Doc, now: float) -> None:
        container.status = "paused"
        if container.health is not None:
            container.health.update(Status="unhealthy", FailingStreak=0)

    def _on_unpause(self, container: Container, event: Doc, now: float) -> None:
        container.status = "running"

    def _on_update(self, container: Container, event: Doc, now: float) -> None:
        container.policy = self.tape.of(container.id).options.get("--update", container.policy)

    def _on_rename(self, container: Container, event: Doc, now: float) -> None:
        container.name = event["Actor"]["Attributes"]["name"].lstrip("/")

    def _on_oom(self, container: Container, event: Doc, now: float) -> None:
        # Old engines set the flag of a living container only when it ends.
        container.oom_killed = container.oom_killed or self.flavour != "20.10"

    def _on_health(self, container: Container, event: Doc, now: float) -> None:
        status = event.get("HealthStatus") or str(event["Action"]).partition(": ")[2]
        health = container.health or {"Status": "", "FailingStreak": 0, "Log": []}
        bad = status == "unhealthy"
        # Docker says so once, Podman at each probe.
        streak = health["FailingStreak"] + 1 if self.podman else 1
        container.health = {**health, "Status": status, "FailingStreak": streak if bad else 0}
