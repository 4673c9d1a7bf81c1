"""Every recorded life of a real engine, told: by the real Engine over real HTTP, judged by the real Watchdog.

The clock is the tape's: whatever is due between two lines of a recording happens between them, and nothing is
waited for. So the settings are those of a user, settle times and all, and a recording takes some 20 ms.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import pytest
from support.clocked import Clocked
from support.replay import Replay, recordings

from sentinel import Verdict

AFTER = 40.0  # seconds of the tape that go on after its end: what settles then is told, too


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
    return re.sub(r"^eng-(compose\w+-)?|docker\d+$|-[0-9a-f]{12}$", "", name)


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

RECORDED = [f"{scenario}.{engine}" for scenario, engine in recordings()]


def expected(name: str) -> str:
    return TOLD.get(name) or TOLD.get(name.partition(".")[0], "")


class Told(NamedTuple):
    """What came of a recording."""

    telling: str
    touched: dict[str, str]
    greys: list[str]


@cache
def rough(name: str) -> Told:
    """Play a recording on a stream in pieces of three bytes and with rubbish in it.

    Three bytes end at each place of a chunk header, a line and a character somewhere.
    """
    play = Play(name, garbage=True, split=3).play()
    greys = [notice.name for notice in play.sentinel.notices if notice.verdict is Verdict.STOPPED]
    return Told(play.telling(), play.touched(), greys)


def test_every_recording_has_an_expected_telling() -> None:
    assert {name.partition(".")[0] for name in (*TOLD, *QUIET)} == {name.partition(".")[0] for name in RECORDED}
    assert not set(TOLD) & set(QUIET)


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
