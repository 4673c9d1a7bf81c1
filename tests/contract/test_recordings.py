"""Every recorded life of a real engine, told: by the real Engine over real HTTP, judged by the real Watchdog.

The clock is the tape's: whatever is due between two lines of a recording happens between them, and nothing is
waited for. So the settings are those of a user, settle times and all, and a recording takes some 20 ms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import pytest
from support.clocked import Clocked
from support.replay import Replay, recordings

import sentinel
from sentinel import Verdict

AFTER = 40.0  # seconds of the tape that go on after its end: what settles then is told, too


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read from a stream for a moment is all there at once: it waits for nothing."""
    monkeypatch.setattr(sentinel, "QUIET_STREAM", 0.05)


class Play(Replay):
    """A recording with Sentinel at it, both on the tape's clock."""

    def __init__(self, name: str, *, cut: int = 0, garbage: bool = False, **wire: Any) -> None:
        """cut: the number of the container event in whose line the stream ends. garbage: a line before each."""
        super().__init__(name, stream_mode=wire)
        self.cut, self.garbage = cut, garbage
        self.began = self.tape.lines[0]["wall"]
        self.sentinel = Clocked(self, wall=self.wall, eager=False, watch="all")

    def wall(self) -> float:
        """Unix seconds of the tape."""
        return float(self.began + self.sentinel.now)

    def time_ns(self) -> int:
        return round(self.wall() * 1e9)

    def play(self) -> Play:
        """Play it all, in this thread."""
        super(Replay, self).start()
        try:
            with self.sentinel:
                self._play()
                self.sentinel.run(AFTER)
        finally:
            self.stop()
        return self

    def publish(self, event: dict[str, Any]) -> None:
        if event["Type"] == "container" and event["Action"] != "attach":
            self.cut -= 1
            self.mode.cut = self.cut == 0
        if self.garbage:
            self.mode.garbage = b"\xff{not json"
        super().publish(event)
        self.sentinel.unread = True

    def _pause(self, gap: float) -> None:
        self.sentinel.run_until(self.position + gap)

    def _await_stream(self) -> None:
        while not self.open_streams:
            self.sentinel.run_until(self.sentinel.next_due())

    def telling(self) -> str:
        """Everything told but greys: name, verdict, exit code and cause, by names, in order for each."""
        words = []
        for notice in sorted(self.sentinel.notices, key=lambda notice: notice.name):
            code = "" if notice.exit_code is None else str(notice.exit_code)
            cause = notice.cause.name if notice.cause and notice.cause.name != notice.verdict else ""
            words.append(" ".join(filter(None, (short(notice.name), notice.verdict, code, cause))))
        for story in self.sentinel.stories.values():
            words += [f"{short(item.chain[0])} took {short(story.name)}" for item in story.consequences]
        return ", ".join(word for word in words if Verdict.STOPPED not in word)

    def touched(self) -> dict[str, str]:
        """Which containers Sentinel started or restarted."""
        names = {service.container.id: short(service.container.name) for service in self.sentinel.watchdog.services.values()}
        posts = (call.path.split("?")[0].split("/") for call in self.called("POST"))
        return {names.get(parts[-2], parts[-2]): parts[-1] for parts in posts}


def short(name: str) -> str:
    """A name without what all have in common, or what differs from engine to engine."""
    return re.sub(r"^(eng|k)-(compose\w+-)?|docker\d+$|-[0-9a-f]{12}$", "", name)


# ── The recordings and what has to be told of them ────────────────────────────────────────────────────────────

TOLD = {
    "always_HUP_stopsignal_set_then_crash": "alhup2 DEAD 9",
    "always_HUP_then_crash": "alhup DEAD 9",
    "always_exit0": "alw0 DEAD 0",
    "always_then_hostkill": "alwh DEAD 137 OUTSIDE",
    "always_then_kill": "alwk DEAD 137 API_KILL",
    "always_then_kill_USR1_dies": "alwku DEAD 12",
    "attached_run": "att DEAD 7",
    "autoremove_crash": "arm DEAD 6",
    "bad_mount_notdir": "badm2 DEAD CANT_START",
    "bad_runtime_device": "badd DEAD CANT_START",
    "bad_user": "badu DEAD CANT_START",
    "bridge_crash": "br DEAD 3",
    "compose_crash_always": "web-1 DEAD 3",
    "compose_crash_then_up": "web-1 DEAD 3",
    "compose_entry_missing": "web-1 DEAD CANT_START",
    "compose_run_rm": "web-run FAILED 7, oneoff FAILED 8",
    "crash_exit3": "crash DEAD 3",
    # What ended with the engine and was not brought back is told in its outage, if that was told; else as one.
    "daemon_kill": "fakehost ENGINE DOWN, no took fakehost, unless took fakehost, onfail took fakehost, "
                   "term0 took fakehost, rm took fakehost",
    "daemon_kill_live.docker20": "2 services DEAD ENGINE, term0 took 2 services, rm took 2 services",
    "daemon_kill_live.docker28": "term0 DEAD 255 ENGINE",
    "daemon_term": "4 services DEAD ENGINE, no took 4 services, onfail took 4 services, term0 took 4 services, "
                   "rm took 4 services",
    "daemon_term_live.docker20": "2 services DEAD ENGINE, term0 took 2 services, rm took 2 services",
    "daemon_term_live.docker28": "term0 DEAD 255 ENGINE",
    "entry_dir": "dir DEAD CANT_START",
    "entry_missing": "nocmd DEAD CANT_START",
    "entry_missing_always": "nocmda DEAD CANT_START",
    "entry_noexec": "noexec DEAD CANT_START",
    "exit0": "exit0 DEAD 0",
    "exit_codes": "ec1 DEAD 1, ec125 DEAD 125, ec126 DEAD 126, ec127 DEAD 127, ec128 DEAD 128, ec129 DEAD 129, "
                  "ec130 DEAD 130, ec131 DEAD 131, ec134 DEAD 134, ec137 DEAD 137 OUTSIDE, ec139 DEAD 139, "
                  "ec143 DEAD 143, ec2 DEAD 2, ec200 DEAD 200, ec255 DEAD 255",
    "health_oom_restart": "hst UNHEALTHY, hst DEAD 137 OUTSIDE",
    "health_timeout": "heat UNHEALTHY",
    "health_transitions": "hea UNHEALTHY",
    "host_kill9": "hk9 DEAD 137 OUTSIDE",
    "host_killTERM": "hkT DEAD 143",
    "kill_HUP_survives_then_crash": "killH DEAD 9",
    "label_shadows_attribute": "labs DEAD 5",
    "misc_exit_states": "ex1 DEAD 2, ex256 DEAD 0, ex300 DEAD 44, l DEAD 3, l CRASH LOOP 3, q DEAD 0, sgABRT DEAD 134, "
                        "sgBUS DEAD 135, sgFPE DEAD 136, sgILL DEAD 132, sgPIPE DEAD 141, sgSEGV DEAD 139, "
                        "sgTERM DEAD 143, sgUSR1 DEAD 138",
    "on_failure_3": "onf DEAD 5, onf CRASH LOOP 5",
    "oom_child": "oom2 OUT OF MEMORY OOM, oom2 DEAD 0",
    "oom_pid1": "oom1 DEAD 137 OOM",
    "oom_restart_always": "oom3 DEAD 137 OOM",
    "pid1_killed_by_child": "wrapsig DEAD 137 OUTSIDE",
    # It lives for 11 s each time: long enough to be proven after a first death, so green, and red again.
    "restart_always_long_uptime": "loopl DEAD 3, loopl Recovered, loopl DEAD 3",
    "restart_always_loop": "loop DEAD 3, loop CRASH LOOP 3",
    "restart_of_exited": "rste DEAD 4",
    # Of some forty doings of an operator only these: a loop under `always`, two --rm that fail, and one exit 0.
    "restart_semantics": "ar DEAD 2, ar2 DEAD 3, d DEAD 0, l DEAD 3, l CRASH LOOP 3",
    "rm_exited": "rme DEAD 0",
    "segv_inside": "segv DEAD 139",
    "sh_cmd_notfound_127": "127 DEAD 127",
    # Ports, users, devices and networks that are not there; those removed within half a second are not told.
    "start_failures": "bd DEAD CANT_START, bn DEAD CANT_START, bu DEAD CANT_START, p3 DEAD 3, p3 CRASH LOOP 3",
    "start_of_exited": "ste DEAD 4",
    "unless_stopped_HUP_then_crash": "alhup3 DEAD 9",
}  # fmt: skip

#: Doings of an operator, and jobs that finish: nothing red, nothing green, nothing touched.
QUIET = frozenset(re.findall(r"\w+", """
    always_then_kill_TERM_obeys autoremove_stop bad_mount_source compose_depends_healthy compose_depends_multi
    compose_exec_health compose_force_recreate compose_job_completed compose_kill compose_netmode_service
    compose_network_removed compose_network_removed_recreated compose_orphan compose_pause compose_recreate_change
    compose_recreate_ignores_term compose_restart compose_rm compose_scale compose_stop_start
    compose_up_attached_ctrlc compose_up_down compose_up_nochange create_only health_paused kill_KILL
    kill_TERM_ignored_pid1 kill_TERM_init143 kill_TERM_obeys on_failure_exit0 pause_kill pause_stop pause_unpause
    pidmode_stop_twice rename restart_ignores restart_obeys rm_f_running stop_ignores stop_init_143 stop_obeys
    stop_order_x30 stop_races_crash stop_signal_quit update_policy
"""))

#: Who is brought back by Sentinel, and how: not what Docker's own policy brings back, not jobs, --rm, or policy `no`
#: after exit 0.
TOUCHED: dict[str, dict[str, str]] = {
    "always_HUP_stopsignal_set_then_crash": {},
    "always_HUP_then_crash": {"alhup": "start"},
    "always_exit0": {},
    "always_then_hostkill": {},
    "always_then_kill": {"alwk": "start"},
    "autoremove_crash": {},
    "compose_crash_always": {},
    "compose_run_rm": {},
    "crash_exit3": {"crash": "start"},
    "entry_missing": {"nocmd": "start"},
    "exit0": {},
    "health_timeout": {"heat": "restart"},
    "host_kill9": {"hk9": "start"},
    "kill_HUP_survives_then_crash": {"killH": "start"},
    "on_failure_3": {"onf": "start"},
    "oom_pid1": {"oom1": "start"},
    "oom_restart_always": {},
    "restart_always_long_uptime": {},
    "restart_always_loop": {},
    "unless_stopped_HUP_then_crash": {"alhup3": "start"},
}

#: The same scenes on the next Docker (API 1.56: no legacy fields, jsonl, a Health in each row), where they differ: its
#: script gave other names, and always cleared up. What is told, and who is started or restarted.
NEXT: dict[str, tuple[str, dict[str, str]]] = {
    "always_HUP_then_crash": ("always-HUP-then-crash DEAD 5", {"always-HUP-then-crash": "start"}),
    "always_crash": ("always-crash DEAD 5", {}),
    "always_then_kill": ("always-then-kill DEAD 137 API_KILL", {"always-then-kill": "start"}),
    "autoremove_crash": ("autoremove-crash DEAD 3", {}),
    "crash_exit3": ("crash-exit3 DEAD 3", {"crash-exit3": "start"}),
    # A starting engine ends what has outlived it before it answers: the paused one, too.
    "daemon_kill": ("fakehost ENGINE DOWN, obeys took fakehost, paused took fakehost, unless-stopped took fakehost, "
                    "health took fakehost, no took fakehost, rm took fakehost",
                    dict.fromkeys(("obeys", "unless-stopped", "health", "paused", "no"), "start")),
    "daemon_term": ("5 services DEAD ENGINE, paused took 5 services, rm took 5 services, no took 5 services, "
                    "obeys took 5 services, health took 5 services",
                    dict.fromkeys(("paused", "no", "obeys", "health"), "start")),
    "entry_missing": ("entry-missing DEAD CANT_START", {"entry-missing": "start"}),
    "entry_missing_always": ("entry-missing-always DEAD CANT_START", {"entry-missing-always": "start"}),
    "entry_noexec": ("entry-noexec DEAD CANT_START", {"entry-noexec": "start"}),
    # Three times within four seconds, and an operator's restart between.
    "health_transitions": ("health-transitions UNHEALTHY, health-transitions CRASH LOOP UNHEALTHY",
                           {"health-transitions": "restart"}),
    "host_kill9": ("host-kill9 DEAD 137 OUTSIDE", {"host-kill9": "start"}),
    "on_failure_3": ("on-failure-3 DEAD 9, on-failure-3 CRASH LOOP 9", {"on-failure-3": "start"}),
    "oom_child": ("oom-child DEAD 4 OOM", {"oom-child": "start"}),
    "oom_on_cgroup2_vm": ("oom1 DEAD 137 OOM, ooma DEAD 137 OOM, ooma CRASH LOOP 137 OOM, oomc OUT OF MEMORY OOM, "
                          "oomc DEAD 4 OOM, ooms OUT OF MEMORY OOM, ooms DEAD 5 OOM, r-exit4 DEAD 4",
                          dict.fromkeys(("oom1", "oomc", "ooms", "r-exit4"), "start")),
    "oom_pid1": ("oom-pid1 DEAD 137 OOM", {"oom-pid1": "start"}),
    # It was stopped in the end.
    "oom_restart_always": ("oom-restart-always DEAD 137 OOM, oom-restart-always CRASH LOOP 137 OOM", {}),
    "restart_always_loop": ("restart-always-loop DEAD 9, restart-always-loop CRASH LOOP 9", {}),
    "segv_inside": ("segv-inside DEAD 139", {"segv-inside": "start"}),
    # The policy was taken from it, and it has died again.
    "update_no_in_backoff": ("update-no-in-backoff DEAD 9, update-no-in-backoff CRASH LOOP 9",
                             {"update-no-in-backoff": "start"}),
}  # fmt: skip


class Podman(NamedTuple):
    """What is to come of a scene on Podman: what is told in red and green, who is touched, and how often it is grey."""

    telling: str = ""
    touched: str = ""
    greys: int = 0


STOPPED, NOTHING = Podman(greys=1), Podman()
CANT_START = Podman("x DEAD CANT_START", "start")

#: A stop has no event of its own here: the libpod inspect tells who ended a run, and `kill` and `restart` what else it was.
PODMAN = {
    "always-kill": Podman("x DEAD 137 API_KILL", "start"),
    "autoremove": Podman("x DEAD 3"),
    "exit-0": Podman("x DEAD 0"),
    "exit-3": Podman("x DEAD 3", "start"),
    "health": Podman("x UNHEALTHY, x Recovered UNHEALTHY", "restart"),
    "kill": Podman("x DEAD 137 API_KILL", "start"),
    "kill-cli": Podman("x DEAD 137 API_KILL", "start"),
    "kill-TERM": STOPPED,
    "kill-host": Podman("x DEAD 137 OUTSIDE", "start"),
    "loop-always": Podman("x DEAD 5, x CRASH LOOP 5"),
    "loop-on-failure-2": Podman("x DEAD 5, x CRASH LOOP 5", "start"),
    "loop-stop": Podman("x DEAD 5, x CRASH LOOP 5", greys=1),
    "missing-command": CANT_START,
    "missing-command-cli": CANT_START,
    "oom": Podman("x DEAD 137 OOM", "start"),
    "oom-child": Podman("x DEAD 4 OOM", "start"),
    # Its host had no memory controller, so nothing could be started there.
    "oom.podman6.1.1": CANT_START,
    "oom-child.podman6.1.1": CANT_START,
    "pause": NOTHING,
    # systemd makes a new container each time, and in the end is told to stop it.
    "quadlet": Podman("systemd-web DEAD 4, systemd-web CRASH LOOP 4", greys=1),
    # It lives for 6.6 s the second time: proven after a first death on any engine, so green, and red again. No stop.
    "quadlet.podman5.4.2-vm": Podman(
        "systemd-web DEAD 4, systemd-web Recovered, systemd-web DEAD 4, systemd-web CRASH LOOP 4"),
    "rename": NOTHING,
    "restart": NOTHING,
    "restart-cli": NOTHING,
    "restart-ignore": NOTHING,
    "rm-f": STOPPED,
    "rm-f-cli": STOPPED,
    "rm-f-t0-cli": STOPPED,
    "stop-ignore": STOPPED,
    "stop-ignore-cli": STOPPED,
    "stop-term": STOPPED,
    "stop-term-cli": STOPPED,
    "term-host": Podman("x DEAD 0"),
}

ALL = [f"{scenario}.{engine}" for scenario, engine in recordings()]
RECORDED = [name for name in ALL if not name.partition(".")[2].startswith("podman")]
ON_PODMAN = [name for name in ALL if name not in RECORDED]
NEXT_DOCKER = [name for name in RECORDED if name.endswith(".docker29next")]


def expected(name: str) -> str:
    scenario, _, engine = name.partition(".")
    if engine == "docker29next" and scenario in NEXT:
        return NEXT[scenario][0]
    return TOLD.get(name) or TOLD.get(scenario, "")


class Told(NamedTuple):
    """What came of a recording."""

    telling: str
    touched: dict[str, str]
    greys: list[str]
    asked: list[str]
    outages: int


@cache
def rough(name: str) -> Told:
    """Play a recording on a stream in pieces of three bytes and with rubbish in it.

    Three bytes end at each place of a chunk header, a line and a character somewhere.
    """
    play = Play(name, garbage=True, split=3).play()
    greys = [notice.name for notice in play.sentinel.notices if notice.verdict is Verdict.STOPPED]
    reds = {notice.incident for notice in play.sentinel.notices if notice.verdict is not Verdict.STOPPED}
    return Told(play.telling(), play.touched(), greys, [call.path for call in play.calls], len(reds))


def test_every_recording_has_an_expected_telling() -> None:
    scenarios: Callable[[Iterable[str]], set[str]] = lambda names: {name.partition(".")[0] for name in names}  # noqa: E731
    assert scenarios((*TOLD, *QUIET, *NEXT)) == scenarios(RECORDED)
    assert not set(TOLD) & set(QUIET)
    assert scenarios(NEXT_DOCKER) <= {*NEXT, *QUIET}
    assert scenarios(PODMAN) == scenarios(ON_PODMAN)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_is_told_as_it_was(name: str) -> None:
    told = rough(name)
    assert told.telling == expected(name)
    assert len(told.greys) == len(set(told.greys)), "a stop or removal is told once"
    if name.partition(".")[0] in QUIET:
        assert not told.touched


@pytest.mark.parametrize("engine", ["docker20", "docker28"])
@pytest.mark.parametrize("scenario", TOUCHED)
def test_only_what_docker_leaves_down_is_brought_back(scenario: str, engine: str) -> None:
    assert rough(f"{scenario}.{engine}").touched == TOUCHED[scenario]


@pytest.mark.parametrize("name", NEXT_DOCKER)
def test_the_next_docker_is_healed_where_it_leaves_something_down(name: str) -> None:
    assert rough(name).touched == NEXT.get(name.partition(".")[0], ("", {}))[1]


@pytest.mark.parametrize("name", NEXT_DOCKER)
def test_events_as_records_of_a_sequence_are_told_the_same(name: str) -> None:
    """A proxy that asks for application/json-seq gets each event behind a 0x1E."""
    play = Play(name, framed=True).play()
    assert (play.telling(), play.touched()) == (rough(name).telling, rough(name).touched)


def test_a_sequences_stream_that_ends_in_a_line_loses_nothing() -> None:
    for cut in range(1, 4):
        assert Play("crash_exit3.docker29next", framed=True, cut=cut).play().telling() == "crash-exit3 DEAD 3"


@pytest.mark.parametrize("name", [name for name in RECORDED if "crash_exit3" in name])
def test_docker_is_not_asked_for_podmans_words(name: str) -> None:
    assert rough(name).asked and not [path for path in rough(name).asked if "libpod" in path]


# ── Podman ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ON_PODMAN)
def test_a_recording_of_podman_is_told_as_it_was(name: str) -> None:
    told, wanted = rough(name), PODMAN.get(name) or PODMAN[name.partition(".")[0]]
    assert told.telling == wanted.telling
    assert list(told.touched.values()) == wanted.touched.split()
    assert len(told.greys) == wanted.greys
    assert told.outages == (1 + wanted.telling.count("Recovered, ") if wanted.telling else 0)


@pytest.mark.parametrize("name", ["stop-term.podman5.4.2", "stop-term.podman5.4.2-vm", "stop-ignore.podman6.1.1"])
def test_podmans_stops_are_greys_by_its_own_word_alone(name: str) -> None:
    """Without the flag, of which the compat inspect knows nothing, the same events are a death."""
    play = Play(name)
    play.refuse("/libpod")
    assert "x DEAD" in play.play().telling() and not play.touched()


@pytest.mark.parametrize("name", ["autoremove.podman5.4.2", "quadlet.podman5.4.2", "rm-f.podman6.1.1"])
def test_what_is_being_removed_may_be_gone_at_once(name: str) -> None:
    """Podman says 500 of it for a moment, or 404 if it was faster."""
    play = Play(name)
    play.gone_at_death = True
    told = rough(name)
    assert (play.play().telling(), play.touched()) == (told.telling, told.touched)


@pytest.mark.parametrize("name", ["exit-3.podman5.4.2", "stop-term.podman6.1.1", "restart.podman5.4.2", "kill.podman6.1.1"])
def test_podmans_stream_that_ends_in_the_middle_of_any_line_loses_and_doubles_nothing(name: str) -> None:
    lines = sum(line["k"] == "event" for line in Play(name).tape.lines)
    told = rough(name)
    for cut in range(1, lines + 1):
        play = Play(name, cut=cut).play()
        assert (play.telling(), play.touched()) == (told.telling, told.touched), cut


@pytest.mark.parametrize("wire", [
    {}, {"split": 1}, {"split_utf8": True, "split_header": True}, {"coalesce": 2}, {"stall": 0.005},
], ids=lambda wire: "+".join(wire) or "plain")  # fmt: skip
def test_the_telling_is_the_same_however_the_stream_is_cut_into_pieces(wire: dict[str, Any]) -> None:
    assert Play("crash_exit3.docker20", **wire).play().telling() == "crash DEAD 3"


@pytest.mark.parametrize("name", [
    "crash_exit3.docker20", "stop_obeys.docker28", "oom_pid1.docker28", "compose_force_recreate.docker28",
])  # fmt: skip
def test_a_stream_that_ends_in_the_middle_of_any_line_loses_and_doubles_nothing(name: str) -> None:
    whole = Play(name)
    lines = sum(line["k"] == "event" and line["e"]["Type"] == "container" for line in whole.tape.lines)
    run: Callable[[int], str] = lambda cut: Play(name, cut=cut).play().telling()  # noqa: E731
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(run, range(1, lines + 1))) == {expected(name)}
