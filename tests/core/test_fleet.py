"""Hosts that watch each other: who tells what, and who keeps silent."""

from __future__ import annotations

import random

import pytest
from support.fleet import Fleet

import sentinel
from sentinel import HostState, RollCall, roll_call_in, roll_text

SOON = 330.0  # within which a death is told
BACK = 150.0


def test_a_host_that_dies_is_told_once_by_one_and_so_is_its_return() -> None:
    fleet = Fleet("a", "b", "c")
    assert fleet.run(3600) == []
    fleet.kill("b")
    died = fleet.now
    (red,) = fleet.run(7200)
    assert red.endswith(": DARK b") and fleet.when(red) - died <= SOON
    fleet.start("b")
    back = fleet.now
    green, over = fleet.run(3600)
    assert green.endswith(": Recovered b") and over.endswith(": over b") and fleet.when(green) - back <= BACK


@pytest.mark.parametrize("moment", [0.0, 17.0, 43.0, 59.0])
def test_dark_comes_in_time_whenever_the_death_falls_between_two_edits(moment: float) -> None:
    fleet = Fleet("a", "b", "c", "d")
    fleet.run(900 + moment)
    first = min(fleet.hosts, key=lambda name: fleet.hosts[name].watchdog.fleet.record()[0].own)
    fleet.kill("d" if first != "d" else "c")
    died = fleet.now
    (red,) = fleet.run(SOON)
    assert red.startswith(f"{first}: DARK") and 180.0 < fleet.when(red) - died <= SOON


@pytest.mark.parametrize("later", [0.0, 30.0, 120.0, 200.0, 230.0, 239.0, 400.0])
def test_where_the_teller_dies_too_the_next_one_tells_of_both(later: float) -> None:
    fleet = Fleet("a", "b", "c", "d")
    fleet.run(900)
    first, *_, last = sorted(fleet.hosts, key=lambda name: fleet.hosts[name].watchdog.fleet.record()[0].own)
    fleet.kill(last)
    died = fleet.now
    fleet.run(later)
    fleet.kill(first)
    fleet.run(3600)
    reds = [line.partition(": ")[2] for _, line in fleet.told]
    assert sorted(reds) == sorted([f"DARK {first}", f"DARK {last}"])
    (when,) = [time for time, line in fleet.told if line.endswith(f"DARK {last}")]
    assert when - died <= 450.0


def test_two_that_go_dark_at_once_are_told_once_each() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    fleet.kill("a", "c")
    assert sorted(fleet.run(900)) == ["b: DARK a", "b: DARK c"]


def test_who_tells_a_return_where_the_teller_is_gone() -> None:
    fleet = Fleet("a", "b", "c", "d")
    fleet.run(600)
    fleet.kill("a")
    (red,) = fleet.run(900)
    teller = red.partition(":")[0]
    fleet.kill(teller)
    assert [line.partition(": ")[2] for line in fleet.run(900)] == [f"DARK {teller}"]
    fleet.start("a")
    (green,) = fleet.run(900)
    assert green.endswith(": Recovered a") and not green.startswith((teller, "a"))
    fleet.start(teller)
    rest = fleet.run(900)
    assert f"{teller}: over a" in rest and not [line for line in rest if line.endswith("Recovered a")]


def test_a_host_at_rest_is_not_missed() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    fleet.rest("b")
    assert fleet.run(86400) == []
    (note,) = fleet.channel.named("b")
    assert "at rest" in note.text and note.resting
    fleet.start("b")
    assert fleet.run(3600) == [] and len(fleet.channel.named("b")) == 1


@pytest.mark.parametrize("bots", [{}, {"a": "a", "b": "b", "c": "c"}], ids=["one bot", "bots of their own"])
def test_a_restart_edits_the_same_roll_call_and_is_no_news(bots: dict[str, str]) -> None:
    fleet = Fleet("a", "b", "c", bots=bots)
    fleet.run(600)
    ids = set(fleet.channel.notes)
    fleet.kill("a")
    fleet.run(20)
    fleet.start("a")
    assert fleet.run(3600) == [] and set(fleet.channel.notes) == ids


def test_discord_away_for_all_is_no_alarm() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    fleet.channel.away = True
    fleet.run(3600)
    fleet.channel.away = False
    assert fleet.run(7200) == []


def test_a_death_while_discord_is_away_is_told_afterwards() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    fleet.channel.away = True
    fleet.run(60)
    fleet.kill("b")
    fleet.run(600)
    fleet.channel.away = False
    (red,) = fleet.run(900)
    assert red.endswith("DARK b")


def test_one_that_is_cut_off_alarms_nobody_and_says_so_in_its_log() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    fleet.cut("a")
    reds = fleet.run(7200)
    assert reds in (["b: DARK a"], ["c: DARK a"])
    log = [line for line in fleet.hosts["a"].log if line.startswith("fleet:")]
    assert log == ["fleet: Discord could not be reached; nobody is called dark by the channel meanwhile"]
    fleet.cut("a", off=False)
    assert [line.partition(": ")[2] for line in fleet.run(3600)] == ["Recovered a", "over a"]
    assert fleet.hosts["a"].log[-1] == "fleet: the roll call in the channel goes on"


def test_clocks_that_differ_by_minutes_do_not_count() -> None:
    fleet = Fleet("a", "b", "c", clocks={"a": 400.0, "b": -500.0}, skew=-200.0)
    assert fleet.run(7200) == []
    fleet.kill("a")
    died = fleet.now
    (red,) = fleet.run(900)
    assert red.endswith("DARK a") and fleet.when(red) - died <= SOON


def test_a_host_that_was_rebuilt_has_one_roll_call_and_no_alarm() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    fleet.kill("b")
    fleet.run(30)
    fleet.start("b", anew=True)
    assert fleet.run(3600) == [] and len(fleet.channel.named("b")) == 1


def test_a_host_that_was_dark_and_comes_back_rebuilt_is_told_to_be_back() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    fleet.kill("b")
    (red,) = fleet.run(1200)
    fleet.start("b", anew=True)
    teller = red.partition(":")[0]
    assert fleet.run(3600) == [f"{teller}: Recovered b", f"{teller}: over b"]
    assert len(fleet.channel.named("b")) == 1


def test_a_host_that_is_renamed_keeps_its_roll_call() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    fleet.kill("b")
    fleet.run(10)
    fleet.start("b", named="beta")
    assert fleet.run(3600) == []
    assert len(fleet.channel.notes) == 3 and not fleet.channel.named("b") and fleet.channel.named("beta")


def test_a_roll_call_that_somebody_deletes_is_a_host_retired() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    fleet.kill("b")
    fleet.run(60)
    fleet.channel.delete("b")
    assert fleet.run(86400) == []


def test_a_dark_host_whose_roll_call_is_deleted_is_over_without_a_green() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    fleet.kill("b")
    (red,) = fleet.run(900)
    fleet.channel.delete("b")
    assert fleet.run(3600) == [red.replace("DARK", "over")]


def test_a_roll_call_that_is_deleted_under_a_living_host_is_made_anew() -> None:
    fleet = Fleet("a", "b")
    fleet.run(600)
    fleet.channel.delete("b")
    assert fleet.run(3600) == [] and len(fleet.channel.named("b")) == 1


def test_two_of_one_name_are_said_once_and_both_go_on() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.hosts["b"].die()
    fleet.channel.notes.clear()
    fleet.start("d", named="a")
    assert fleet.run(7200) == [] and len(fleet.channel.named("a")) == 2
    for name in ("a", "d"):
        assert sum("calls itself a" in line for line in fleet.hosts[name].log) == 1


def test_bots_of_their_own_are_known_by_their_edits_alone() -> None:
    fleet = Fleet("a", "b", "c", bots={"a": "bot-a", "b": "bot-b", "c": "bot-c"})
    fleet.run(600)
    fleet.channel.notes["1"] = type(next(iter(fleet.channel.notes.values())))("bot-x", "", 0.0)  # said once, long ago
    fleet.run(600)
    fleet.rest("c")
    assert fleet.run(3600) == []
    fleet.kill("a")
    assert fleet.run(900) == ["b: DARK bot-a"]
    fleet.start("a")
    assert fleet.run(900) == ["b: Recovered bot-a", "b: over bot-a"]


def test_nobody_is_called_dark_before_the_roll_was_read_twice_since_the_last_own_edit() -> None:
    fleet = Fleet("a", "b")
    fleet.run(600)
    fleet.kill("b")
    edited = reads = 0.0
    host = fleet.hosts["a"].watchdog.fleet
    while not fleet.run(0.5):
        roll = host.duties[sentinel.Medium.CHANNEL].roll
        if roll.own._edited_at != edited:
            edited, reads = roll.own._edited_at, sum(fleet.channel.reads.values())
    assert sum(fleet.channel.reads.values()) - reads >= 2


def test_a_muted_host_leaves_it_to_the_others_to_tell() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    first, second, third = sorted(fleet.hosts, key=lambda name: fleet.hosts[name].watchdog.fleet.record()[0].own)
    host = fleet.hosts[first]
    host.take(host.watchdog.mute({"all": host.time + 1e6}, host.time) or [])
    fleet.run(120)
    fleet.kill(third)
    assert fleet.run(900) == [f"{second}: DARK {third}"]


def test_forty_hosts_for_a_day_are_quiet_and_far_below_what_discord_takes() -> None:
    noise = random.Random(7)
    names = [f"host-{number:02d}" for number in range(40)]
    fleet = Fleet(*names, clocks={name: noise.uniform(-300, 300) for name in names})
    for _ in range(24):
        blink = noise.choice(names)
        fleet.cut(blink)
        fleet.run(noise.uniform(1, 100))
        fleet.cut(blink, off=False)
        fleet.run(3600 - 100)
    assert fleet.told == []
    # an edit and a read a minute each; Discord takes 60 edits and 60 reads a minute in one channel
    busiest = max(count for minute, count in fleet.channel.requests.items() if minute > 2)
    reads = max(count for minute, count in fleet.channel.reads.items() if minute > 2)
    assert busiest <= 2 * len(names) + 10 and reads <= len(names) + 5


def walk(seed: int) -> Fleet:
    """A fleet to which things happen at random, with time to settle at the end."""
    chance = random.Random(seed)
    names = list("abcde")[: chance.randint(3, 5)]
    fleet = Fleet(*names, skew=chance.uniform(-300, 300), clocks={name: chance.uniform(-400, 400) for name in names})
    fleet.run(600)
    for _ in range(12):
        alive = [name for name in names[1:] if fleet.hosts[name].alive]
        dead = [name for name in names[1:] if not fleet.hosts[name].alive]
        match chance.choice(["kill", "start", "restart", "rest", "away", "nothing"]):
            case "kill" if alive:
                fleet.kill(chance.choice(alive))
            case "start" if dead:
                fleet.start(chance.choice(dead), anew=chance.random() < 0.2)
            case "restart" if alive:
                name = chance.choice(alive)
                fleet.kill(name)
                fleet.run(chance.uniform(1, 30))
                fleet.start(name)
            case "rest" if alive:
                fleet.rest(chance.choice(alive))
            case "away":
                fleet.channel.away = True
                fleet.run(chance.uniform(30, 1500))
                fleet.channel.away = False
        fleet.run(chance.choice([chance.uniform(5, 200), 800.0, 800.0]))
    fleet.run(1500)
    return fleet


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_each_darkness_has_one_red_and_one_green(seed: int) -> None:
    fleet = walk(seed)
    red: dict[str, bool] = {}
    for _, line in fleet.told:
        verdict, name = line.partition(": ")[2].rsplit(" ", 1)
        if verdict in ("DARK", "Recovered"):
            assert red.get(name, False) is (verdict == "Recovered"), fleet.told
            red[name] = verdict == "DARK"
    for name, host in fleet.hosts.items():
        notes = fleet.channel.named(name)
        missing = not host.alive and not notes[-1].resting
        assert red.get(name, False) is missing, (name, fleet.told)


def test_a_roll_call_is_read_back_as_it_was_meant() -> None:
    call = RollCall("my__host*", "a1b2c3", "Docker 28.5.2", False, 12, 2, ("db", "api"), 1_800_000_000.0, False, True, True,
                    ("web-2", "web-3"), ("shop_web.1",))
    assert roll_call_in(roll_text(call)) == call
    resting = RollCall("web", "a1b2c3", "Podman 5.4.2", since_time=1_800_000_000.0, resting=True)
    assert roll_call_in(roll_text(resting)) == resting
    away = RollCall("web", "a1b2c3", "Docker 28.5.2", True, 0, since_time=1.0)
    assert roll_call_in(roll_text(away)) == away


def test_a_roll_call_of_very_much_fits_and_names_what_it_can() -> None:
    down = tuple(f"a-service-with-a-name-that-is-long-{number}" * 2 for number in range(900))
    call = RollCall("h`o`s\nt · x" * 20, "a1b2c3", "Docker", False, 1000, 900, down, dark=tuple("abc"))
    text = roll_text(call)
    read = roll_call_in(text)
    assert len(text) <= 2000 and "\n" not in text and read and read.fallen == 900 and read.dark == ("a", "b", "c")


@pytest.mark.parametrize("text", ["", "hello", "🟢 **web** · Docker", "🟢 **`web`** ·  · `a1`", "x" * 5000])
def test_what_is_no_roll_call_is_none(text: str) -> None:
    assert roll_call_in(text) is None or roll_call_in(text) == RollCall("web", "a1")


def test_the_seats_show_each_host_once() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    fleet.kill("b")
    fleet.rest("c")
    fleet.run(900)
    seats = fleet.hosts["a"].watchdog.fleet.seats(fleet.hosts["a"].time)
    assert [(seat.host, seat.state) for seat in seats] == [
        ("a", HostState.HERE), ("b", HostState.DARK), ("c", HostState.RESTING)]  # fmt: skip


def task(number: int, **facts: object) -> sentinel.Container:
    """A container of a Swarm's task."""
    labels = {"com.docker.swarm.service.name": "shop_web", "com.docker.swarm.task.name": f"shop_web.1.{number:025d}"}
    return sentinel.Container(f"{number:064d}", f"shop_web.1.{number:025d}", labels, **facts)  # type: ignore[arg-type]


def test_a_task_that_the_swarm_has_moved_is_green_where_it_was_told_in_red() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    here, there = fleet.hosts["a"], fleet.hosts["b"]
    dead = task(1, status="exited", exit_code=3)
    policy, _ = sentinel.policy_of(dead, here.settings, "")
    service = sentinel.Watched(dead.key, dead, policy, sentinel.Phase.UP)
    here.watchdog.services.enter(service)
    death = sentinel.Death(0.0, here.time, 3)
    here.watchdog.lives.fall(service, sentinel.Fall(sentinel.Verdict.DEAD, sentinel.Cause.EXIT, death), here.time)
    here.take(here.watchdog.tick(here.time))
    assert fleet.run(300) == ["a: DEAD shop_web.1"], "nobody has it yet"
    alive = task(2, status="running")
    there.watchdog.services.enter(sentinel.Watched(alive.key, alive, policy, sentinel.Phase.UP))
    assert fleet.run(200) == ["a: Recovered shop_web.1", "a: over shop_web.1"]
    fleet.run(300)
    assert "runs now" not in fleet.channel.named("b")[0].text and "all up" in fleet.channel.named("a")[0].text
    assert fleet.run(3600) == []


def test_bots_of_one_name_are_told_apart() -> None:
    fleet = Fleet("a", "b", "c", bots={"a": "one", "b": "two", "c": "three"})
    for host in fleet.hosts.values():
        fleet.names[host.name] = "sentinel-bot"
    fleet.run(600)
    fleet.kill("c")
    (red,) = fleet.run(900)
    assert "DARK sentinel-bot (" in red
    fleet.start("c")
    assert [line.partition(": ")[2].split()[0] for line in fleet.run(900)] == ["Recovered", "over"]


def test_two_bots_of_which_one_has_two_hosts_leave_nobody_untold() -> None:
    fleet = Fleet("a", "b", "d", bots={"a": "one", "b": "two", "d": "two"})
    fleet.run(600)
    fleet.kill("d")
    assert len([line for line in fleet.run(1200) if "DARK" in line]) == 1


def test_who_can_not_read_does_not_keep_the_next_one_from_telling() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    first, second, third = sorted(fleet.hosts, key=lambda name: fleet.hosts[name].watchdog.fleet.record()[0].own)
    fleet.deaf.add(first)
    fleet.run(300)
    fleet.kill(third)
    assert fleet.run(900) == [f"{second}: DARK {third}"]


def test_who_has_no_channel_for_alerts_leaves_it_to_the_next_one() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    first, second, third = sorted(fleet.hosts, key=lambda name: fleet.hosts[name].watchdog.fleet.record()[0].own)
    fleet.hosts[first].watchdog.fleet.be_heard(False)
    fleet.run(120)
    fleet.kill(third)
    assert fleet.run(900) == [f"{second}: DARK {third}"]


def test_who_told_where_nobody_heard_it_is_followed_by_the_next_one() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    first, second, third = sorted(fleet.hosts, key=lambda name: fleet.hosts[name].watchdog.fleet.record()[0].own)
    fleet.kill(third)
    while not fleet.run(1):
        pass
    fleet.run(30)
    fleet.hosts[first].watchdog.fleet.be_heard(False)  # that red was refused
    assert fleet.run(900) == [f"{second}: DARK {third}"]


def test_those_who_fail_together_do_not_try_again_together() -> None:
    fleet = Fleet(*"abcdefgh")
    fleet.run(600)
    fleet.channel.away = True
    fleet.run(300)
    fleet.channel.away = False
    moments = {name: host.watchdog.fleet.duties[sentinel.Medium.CHANNEL].call.due_at for name, host in fleet.hosts.items()}
    assert len({round(moment) for moment in moments.values()}) >= 4


def test_a_teller_that_was_at_rest_for_a_moment_tells_no_second_green() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    fleet.kill("c")
    (red,) = fleet.run(900)
    teller = red.partition(":")[0]
    fleet.rest(teller)
    fleet.run(5)
    fleet.start("c")
    (green,) = fleet.run(100)
    assert green.endswith(": Recovered c") and not green.startswith(teller)
    fleet.start(teller)
    assert fleet.run(900) == [f"{teller}: over c"]


@pytest.mark.parametrize("moment", range(0, 60, 6))
def test_a_teller_that_dies_right_after_its_green_has_told_it(moment: int) -> None:
    fleet = Fleet("a", "b", "c")
    fleet.run(600)
    fleet.kill("c")
    (red,) = fleet.run(900 + moment)
    teller = red.partition(":")[0]
    fleet.start("c")
    while not fleet.run(1):
        pass
    fleet.run(3)
    fleet.kill(teller)
    assert [line.partition(": ")[2] for line in fleet.run(900)] == [f"DARK {teller}"]


def test_reads_that_fail_while_edits_arrive_are_said_once() -> None:
    fleet = Fleet("a", "b")
    fleet.run(600)
    fleet.deaf.add("a")
    fleet.run(3600)
    fleet.deaf.clear()
    fleet.run(600)
    log = [line for line in fleet.hosts["a"].log if line.startswith("fleet:")]
    assert log == ["fleet: Discord could not be reached; nobody is called dark by the channel meanwhile",
                   "fleet: the roll call in the channel goes on"]  # fmt: skip


def test_a_reminder_says_that_it_is_a_host() -> None:
    fleet = Fleet("a", "b")
    fleet.run(600)
    fleet.kill("b")
    fleet.run(900)
    assert fleet.run(4 * 3600) == ["a: STILL DOWN host b"], "by default every four hours"
