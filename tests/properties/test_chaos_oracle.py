"""The oracle of tools/chaos.py catches what it is there for: true stories pass, and each falsified one breaks its rule."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from tools import oracle
from tools.oracle import GREEN, GREY, RED, Call, Deed, Event, Service, Standing, Story, Told, judge

WEB, DB, NOW = "shop-web-1", "shop-db-1", 200.0


def true_story() -> Story:
    """`web` crashes at 10, is restarted and told; `db` is restarted by an operator at 50, and stopped at 80."""
    return Story(
        services={WEB: Service(WEB), DB: Service(DB)},
        deeds=[Deed(10.0, 10.1, "crash", WEB), Deed(50.0, 51.0, "restart", DB), Deed(80.0, 80.5, "stop", DB)],
        events=[Event(0.0, "start", "w", WEB), Event(0.0, "start", "d", DB), Event(10.1, "die", "w", WEB, 3),
                Event(10.5, "start", "w", WEB),
                Event(50.1, "kill", "d", DB, None, 15), Event(50.2, "die", "d", DB, 0), Event(50.3, "stop", "d", DB),
                Event(50.4, "start", "d", DB), Event(50.5, "restart", "d", DB),
                Event(80.1, "kill", "d", DB, None, 15), Event(80.2, "die", "d", DB, 0), Event(80.3, "stop", "d", DB)],
        calls=[Call(10.3, "start", "w")],
        told=[Told(10.4, RED, f"[DEAD] {WEB}", (WEB,), "1", "1"), Told(16.0, GREEN, f"Recovered: {WEB}", (WEB,), "2", "1"),
              Told(16.1, RED, f"[DEAD] {WEB}", (WEB,), "1", "1", edit=True, over=True),
              Told(82.5, GREY, f"Stopped: {DB}", (DB,), "3")],
        standing={WEB: Standing(True, started=10.5), DB: Standing(False, started=50.4)}, now=NOW)  # fmt: skip


def broken(story: Story) -> set[str]:
    return {violation.rule for violation in judge(story)}


def without(story: Story, title: str) -> None:
    story.told = [told for told in story.told if not told.title.startswith(title)]


def more(story: Story, told: Told) -> None:
    story.told = sorted([*story.told, told], key=lambda told: told.at)


def many_restarts(story: Story) -> None:
    """Four restarts of web, of which three are allowed."""
    for moment in (11.0, 12.0, 13.0):
        story.events += [Event(moment, "die", "w", WEB, 3), Event(moment + 0.5, "start", "w", WEB)]
        story.calls.append(Call(moment + 0.4, "start", "w"))


def deploy_told(story: Story) -> None:
    more(story, Told(50.6, RED, f"[DEAD] {DB}", (DB,), "4", "2"))
    more(story, Told(56.0, GREEN, f"Recovered: {DB}", (DB,), "5", "2"))


def second_red(story: Story) -> None:
    more(story, Told(30.0, RED, f"[DEAD] {WEB}", (WEB,), "4", "2"))
    more(story, Told(36.0, GREEN, f"Recovered: {WEB}", (WEB,), "5", "2"))


def lost_restart(story: Story) -> None:
    story.calls.clear()
    story.events = [event for event in story.events if event.at != 10.5]
    story.standing[WEB] = Standing(False)
    without(story, "Recovered")


def silent_sickness(story: Story) -> None:
    story.events.append(Event(100.0, "health_status: unhealthy", "w", WEB))


def started_again(story: Story) -> None:
    story.calls.append(Call(90.0, "start", "d"))
    story.events.append(Event(90.1, "start", "d", DB))


def early_green(story: Story) -> None:
    more(story, Told(9.0, GREEN, f"Recovered: {WEB}", (WEB,), "9", "1"))


def a_crash_after_a_signal(story: Story) -> None:
    """web survives a QUIT at 5, and its crash with 3 at 10.1 is told as a stop."""
    story.deeds.insert(0, Deed(5.0, 5.1, "signal", WEB, "QUIT"))
    story.events.insert(2, Event(5.05, "kill", "w", WEB, None, 3))
    without(story, "[DEAD]")
    without(story, "Recovered")
    more(story, Told(12.0, GREY, f"Stopped: {WEB}", (WEB,), "4"))


def fought_stop(story: Story) -> None:
    """db drains from 80.1 to 100, and is restarted meanwhile."""
    story.deeds[-1] = Deed(80.0, 100.5, "long stop", DB)
    story.events[-2:] = [Event(85.0, "die", "d", DB, 137), Event(85.1, "start", "d", DB)]
    story.calls.append(Call(84.9, "restart", "d"))
    story.standing[DB] = Standing(True, started=85.1)


def told_copy(story: Story) -> None:
    story.deeds.append(Deed(90.0, 90.5, "copy", WEB, f"{WEB}-copy7"))
    more(story, Told(96.0, RED, f"[DEAD] {WEB}-copy7", (), "4", "2"))


def quick_green(story: Story) -> None:
    story.told[1] = replace(story.told[1], at=10.6)


LIES: dict[str, tuple[Callable[[Story], object], str]] = {
    "no red": (lambda story: without(story, "[DEAD]"), "every unasked death is told"),
    "no red and no green": (lambda story: (without(story, "[DEAD]"), without(story, "Recovered")),
                            "every unasked death is told"),
    "unhealthy untold": (silent_sickness, "every unasked death is told"),
    "no green": (lambda story: without(story, "Recovered"), "every recovery is told"),
    "no grey": (lambda story: without(story, "Stopped"), "every stop is told in grey"),
    "not restarted": (lost_restart, "what died is restarted"),
    "a stopped one started": (started_again, "what an operator stopped is never started"),
    "a restart too many": (many_restarts, "no more restarts than the budget"),
    "a red for a deploy": (deploy_told, "no red without a blow"),
    "a second red for one death": (second_red, "no red without a blow"),
    "a green before its red": (early_green, "red before green"),
    "a green without proof": (quick_green, "green only after five seconds of life"),
    "a crash after a signal told as a stop": (a_crash_after_a_signal, "every unasked death is told"),
    "a stop that is fought": (fought_stop, "what drains is left alone"),
    "a copy told": (told_copy, "a copy is nobody's"),
    "told twice": (lambda story: more(story, replace(story.told[0], message="7", at=10.45)),
                   "no more repeats than unknown fates"),
    "it ended": (lambda story: story.ends.append("it ended by itself with 70"), "Sentinel goes on"),
    "a refused request": (lambda story: story.manners.append((20.0, "POST /api 400 bad")), "manners towards Discord"),
    "a 429 long after a start": (lambda story: story.manners.append((20.0, "POST /api 429 limit")),
                                 "manners towards Discord"),
}  # fmt: skip


def test_a_true_story_breaks_nothing() -> None:
    assert judge(true_story()) == []


@pytest.mark.parametrize("lie", LIES)
def test_a_falsified_story_breaks_its_rule(lie: str) -> None:
    story = true_story()
    falsify, rule = LIES[lie]
    falsify(story)
    story.events.sort(key=lambda event: event.at)
    assert rule in broken(story), judge(story)


def test_what_is_relaxed_is_relaxed_only_there() -> None:
    """A kill that a recreate follows at once is ambiguous; three seconds later it is not, and a crash never is."""
    told = {"every unasked death is told"}
    for killed, gap, rules in ((True, 2.0, set()), (True, 3.0, told), (False, 2.0, told), (False, 0.3, set())):
        story = true_story()
        story.events.insert(2, Event(10.09, "kill" if killed else "pause", "w", WEB, None, 9))
        without(story, "[DEAD]")
        without(story, "Recovered")
        story.deeds.append(Deed(10.1 + gap, 11.0 + gap, "recreate", WEB))
        assert broken(story) == rules


def test_one_repeat_is_allowed_for_each_sigkill_and_no_second_one() -> None:
    for repeats, rules in ((1, set()), (2, {"no more repeats than unknown fates"})):
        story = true_story()
        story.deeds.append(Deed(11.0, 11.5, "sentinel kill"))
        for number in range(repeats):
            more(story, replace(story.told[0], message=f"7{number}", at=12.0 + number))
        assert broken(story) == rules


def test_a_death_by_the_engine_is_dockers_to_mend_only_under_its_policies() -> None:
    told = {"every unasked death is told"}
    for policy, ours, rules in (("always", False, set()), ("no", False, told), ("always", True, told)):
        story = true_story()
        story.calls = story.calls if ours else []
        without(story, "[DEAD]")
        without(story, "Recovered")
        story.services[WEB] = Service(WEB, policy)
        story.deeds.append(Deed(10.0, 12.0, "engine stop"))
        assert broken(story) == rules


def test_what_went_with_a_full_disk_and_a_sigkill_is_not_asked_for() -> None:
    for full, rules in ((True, set()), (False, {"every unasked death is told"})):
        story = true_story()
        without(story, "[DEAD]")
        without(story, "Recovered")
        story.deeds += [Deed(9.0, 12.0, "disk", done=full), Deed(20.0, 20.5, "sentinel kill")]
        assert broken(story) == rules


def test_names_are_found_where_a_reader_finds_them() -> None:
    names = ["p-db-1", "p-web-1", "p-web-2", "p-api-1", "p-job-1", "p-old-1"]
    red = ("`p-db-1 is DEAD — exit 1`\n**Sentinel:** Waits for job.\n**Took with it:**\n"
           "• `web-2 ← api ← db`: DEAD, exit 1\n• `old ← db`: restarted with it\n"
           "**Recover:** `docker compose -p p up -d db`\n```\np-web-1 gone\n```")  # fmt: skip
    assert oracle.told_names("[DEAD] p-db-1", red, RED, names) == ("p-db-1", "p-web-2")
    green = ("`p-db-1 is back online (was down ~36s)`\n**Back with it:** `api and web`\n**Not back:**\n• `job ← db`: DEAD")
    assert oracle.told_names("Recovered: p-db-1", green, GREEN, names) == ("p-db-1", "p-web-1", "p-api-1")
    grey = "`p was stopped on purpose`\n**Services:** `p-web-1, p-web-2`"
    assert oracle.told_names("Stopped: p", grey, GREY, names) == ("p-web-1", "p-web-2")


def test_a_story_survives_its_file() -> None:
    story = true_story()
    assert oracle.load(json.dumps(story.as_json())) == story


def test_a_grey_one_needs_an_operators_deed() -> None:
    story = true_story()
    more(story, Told(60.0, GREY, f"Stopped: {WEB}", (WEB,), "9"))
    assert broken(story) == {"no grey without a deed"}


def test_in_calm_weather_a_red_one_follows_its_blow() -> None:
    """One blow that is told twice: the first has two blows, so their number alone would allow it."""
    for fault, rules in ((False, {"no red without a blow"}), (True, set())):
        story = true_story()
        story.events.insert(3, Event(10.2, "health_status: unhealthy", "w", WEB))
        story.deeds += [Deed(45.0, 45.0, "discord fault")] * fault
        second_red(story)
        story.told = [replace(told, at=told.at + 20.0) if told.incident == "2" else told for told in story.told]
        assert broken(story) == rules
