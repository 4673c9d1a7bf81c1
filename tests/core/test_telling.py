"""Telling: what waits to be told, in order, through a channel that is slow, full, refuses, or is gone; and with edits: a
message that tells of what still goes on is kept current where it stands, behind all that is new, and where a channel
can't edit, what has changed is told again."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from support import insides
from support.fake_discord import check_message, schema_errors
from support.headers import headers_of

import sentinel
from sentinel import Answer, Consequence, Deliver, Delivered, Fate, Notice, Outbox, Verdict, escalate

SOON, LATER = sentinel.EDIT_SOON, sentinel.EDIT_LATER


def red(number: int, name: str = "", verdict: Verdict = Verdict.DEAD, **facts: Any) -> Notice:
    """What is told of an outage that goes on."""
    return Notice(verdict, name or f"s{number}", 0.0, id=number, incident=number, **{"open": True, **facts})


def green(number: int) -> Notice:
    return Notice(Verdict.RECOVERED, f"s{number}", 0.0, id=1000 + number, incident=number)


def took(*names: str) -> tuple[Consequence, ...]:
    """Consequences of s1."""
    return tuple(Consequence((name, "s1"), Verdict.DEAD, 0.0, 1) for name in names)


def take(box: Outbox, now: float) -> Deliver | None:
    return box.take(now, "box", 0.0)


def taken(box: Outbox, now: float) -> Deliver:
    job = take(box, now)
    assert job, f"nothing is sent at {now}, due is {box.next_due_at(now)}"
    return job


def answer(fate: Fate = Fate.SENT, hold: float = 0.0, why: str = "", message: str = "") -> Delivered:
    return Delivered("discord", fate, hold, why, message)


def sends(box: Outbox, now: float, message: str = "m1") -> Deliver:
    """The next message, and that it arrived as `message`."""
    job = taken(box, now)
    box.settle(answer(message=job.message or message), now)
    return job


def told(*notices: Notice, edits: bool = True, message: str = "m1") -> Outbox:
    """An outbox whose channel has told these in one message."""
    box = Outbox("discord", edits)
    box.waiting += notices
    assert sends(box, 0.0, message).notices == notices
    return box


def reads(job: Deliver) -> list[str]:
    return [f"{notice.verdict} {notice.name} {notice.plan}".strip() for notice in job.notices]


def edits_until(box: Outbox, end: float) -> list[tuple[float, Deliver]]:
    """All that is sent up to a moment, each at its time, all of it well received."""
    done: list[tuple[float, Deliver]] = []
    now = 0.0
    while (due := box.next_due_at(now)) is not None and due <= end:
        now = max(now, due)
        done.append((now, sends(box, now, f"n{len(done)}")))
    return done


# ─── What waits, in order ─────────────────────────────────────────────────────────────────────────────────────

numbers = itertools.count(1)


def notice(name: str) -> Notice:
    return Notice(Verdict.DEAD, name, 0.0, id=next(numbers))


def outbox(*names: str) -> Outbox:
    """An outbox in which these wait."""
    box = Outbox("discord")
    box.waiting += map(notice, names)
    return box


def names_taken(box: Outbox, now: float) -> list[str]:
    """The names in the message that may go out now."""
    job = take(box, now)
    return [item.name for item in job.notices] if job else []


def levels(settled: tuple[list[Notice], list[sentinel.Log]]) -> list[str]:
    return [log.level for log in settled[1]]


NO_ROUTE = answer(Fate.UNSENT, why="no route")


def test_the_first_never_waits_for_company() -> None:
    assert names_taken(outbox("a"), 0.0) == ["a"]


def test_what_waits_together_goes_together_in_order() -> None:
    box = outbox("a")
    assert names_taken(box, 0.0) == ["a"]
    box.waiting += [notice("b"), notice("c")]
    assert names_taken(box, 0.1) == []  # one message at a time
    assert [item.name for item in box.settle(answer(), 0.2)[0]] == ["a"]
    assert names_taken(box, 0.2) == ["b", "c"]
    box.settle(answer(), 0.3)
    assert names_taken(box, 0.3) == []


@pytest.mark.parametrize("count", [40, 41, 120, 121, 500])
def test_a_message_is_bounded_and_a_flood_is_told_in_three(count: int) -> None:
    box, sizes = outbox(*map(str, range(count))), []
    for now in range(12):
        sizes.append(len(names_taken(box, float(now))))
        box.settle(answer(), float(now))
    assert sum(sizes) == count
    assert len([size for size in sizes if size]) == (-(-count // 40) if count <= 120 else 3)


def test_what_could_not_be_sent_goes_first_again_after_ever_longer_waits() -> None:
    box, now, waits = outbox("a"), 0.0, []
    for _ in range(9):
        assert names_taken(box, now)[0] == "a"
        box.settle(NO_ROUTE, now)
        box.waiting.append(notice("later"))
        waits.append(box.next_due_at(now) - now)
        assert names_taken(box, box.next_due_at(now) - 0.01) == []
        now = box.next_due_at(now)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert names_taken(box, now) == ["a"] + ["later"] * 9


def test_after_a_success_the_waits_begin_anew() -> None:
    box = outbox("a")
    for now in (0.0, 1.0, 3.0):
        take(box, now)
        box.settle(NO_ROUTE, now)
    take(box, 7.0)
    assert levels(box.settle(answer(), 7.0)) == ["info"]
    box.waiting.append(notice("b"))
    take(box, 7.0)
    box.settle(NO_ROUTE, 7.0)
    assert box.next_due_at(7.0) == 8.0


@pytest.mark.parametrize("seconds", [0.5, 3.0, 120.0])
def test_a_channels_own_word_on_when_to_come_back_is_kept(seconds: float) -> None:
    box = outbox("a")
    take(box, 0.0)
    box.settle(answer(Fate.UNSENT, seconds, "429"), 0.0)
    assert box.next_due_at(0.0) == max(seconds, 1.0) and names_taken(box, max(seconds, 1.0)) == ["a"]


def test_all_that_waited_is_told_with_the_reason_and_nothing_that_is_new() -> None:
    box = outbox(*map(str, range(41)))
    take(box, 0.0)
    box.settle(NO_ROUTE, 0.0)
    reasons = []
    for now in (10.0, 11.0, 12.0):
        job = take(box, now)
        assert job
        reasons.append((len(job.notices), job.why_late))
        box.settle(answer(), now)
        box.waiting += [] if box.waiting else [notice("new")]
    assert reasons == [(40, "no route"), (1, "no route"), (1, "")]


def test_a_channel_that_asks_for_a_pause_after_a_success_gets_it() -> None:
    box = outbox("a")
    take(box, 0.0)
    box.settle(answer(hold=5.0), 0.0)
    box.waiting.append(notice("b"))
    assert names_taken(box, 4.9) == [] and names_taken(box, 5.0) == ["b"]


def test_no_more_than_28_messages_go_out_in_a_minute() -> None:
    box, sent, now = outbox(), [], 0.0
    while now < 120.0:
        box.waiting.append(notice("x"))
        if take(box, now):
            sent.append(now)
            box.settle(answer(), now)
        now += 0.5
    assert all(later - earlier >= 60.0 for earlier, later in zip(sent, sent[28:], strict=False)) and len(sent) >= 56


def test_a_message_that_may_have_arrived_is_repeated_as_it_was() -> None:
    box = outbox("a", "b")
    first = take(box, 0.0)
    box.settle(answer(Fate.UNCLEAR, why="reset"), 0.0)
    box.waiting.append(notice("c"))
    again = take(box, 10.0)
    assert first and again and (again.notices, again.nonce) == (first.notices, first.nonce)
    box.settle(answer(), 10.0)
    assert names_taken(box, 10.0) == ["c"]


def test_a_message_that_surely_did_not_arrive_takes_along_what_came_since() -> None:
    box = outbox("a")
    first = take(box, 0.0)
    box.settle(NO_ROUTE, 0.0)
    box.waiting.append(notice("b"))
    again = take(box, 10.0)
    assert first and again and [item.name for item in again.notices] == ["a", "b"] and again.nonce != first.nonce
    assert again.why_late == "no route"


def test_a_form_that_is_refused_is_sent_again_at_once_in_the_plainest_one_and_then_dropped() -> None:
    box, refused = outbox("a", "b"), answer(Fate.MALFORMED, why="embeds: too long")
    first = take(box, 0.0)
    assert first and not first.plain and levels(box.settle(refused, 0.0)) == ["warning"]
    again = take(box, 0.0)
    assert again and again.plain and again.notices == first.notices
    done, logs = box.settle(refused, 0.1)
    assert [item.name for item in done] == ["a", "b"] and [log.level for log in logs] == ["error"]
    box.waiting.append(notice("c"))
    after = take(box, 10.0)
    assert after and not after.plain and [item.name for item in after.notices] == ["c"]


def test_a_channel_that_is_gone_is_told_once_and_not_asked_again() -> None:
    box = outbox(*map(str, range(50)))
    take(box, 0.0)
    assert levels(box.settle(answer(Fate.DEAD, why="404 Unknown Webhook"), 0.0)) == ["error"]
    assert box.retired == "404 Unknown Webhook" and names_taken(box, 1000.0) == []


def test_a_channel_that_is_gone_is_asked_again_at_a_new_red_but_not_within_ten_minutes() -> None:
    """A storm of deaths is no reason to ask in vain as often: Discord blocks whoever does that."""
    refused = answer(Fate.DEAD, why="404 Unknown Webhook")
    box = outbox("a")
    taken(box, 0.0)
    box.settle(refused, 0.0)
    for now in (1.0, 60.0, 599.0):
        box.put(red(100 + int(now)), now)
        assert take(box, now) is None, now
    assert box.next_due_at(599.0) == 600.0
    taken(box, 600.0)
    box.settle(refused, 600.0)
    box.put(red(900), 3000.0)
    taken(box, 3000.0)
    box.settle(refused, 3000.0)
    assert box.next_due_at(3000.0) == 6600.0


def test_the_same_trouble_is_logged_once() -> None:
    box, logs = outbox("a"), []
    for now, why in ((0.0, "no route"), (10.0, "no route"), (20.0, "no route"), (40.0, "HTTP 500")):
        take(box, now)
        logs += box.settle(answer(Fate.UNSENT, why=why), now)[1]
    assert [log.text.rpartition(": ")[2] for log in logs] == ["no route", "HTTP 500"]


def test_nothing_is_ever_lost_or_told_out_of_order_while_a_channel_comes_and_goes() -> None:
    box, arrived, now = outbox(), [], 0.0
    answers = [NO_ROUTE, answer(), answer(Fate.UNSENT, 3.0, "429"), answer(Fate.MALFORMED, why="form"), answer(),
               answer(Fate.UNCLEAR, why="reset"), answer()] * 8
    for number in range(150):
        if number < 100:
            box.waiting.append(notice(str(number)))
        if job := take(box, now):
            seen = answers.pop(0) if answers else answer()
            done, _ = box.settle(seen, now)
            assert done == (list(job.notices) if seen.fate is Fate.SENT else [])
            arrived += [item.name for item in done]
        now += 2.0 if number < 100 else 60.0
    assert arrived == [str(number) for number in range(100)]


def test_what_is_under_way_is_not_forgotten_meanwhile() -> None:
    box = outbox("a", "b")
    job = take(box, 0.0)
    assert job
    box.discard({item.id for item in job.notices})
    assert [item.name for item in box.settle(answer(), 1.0)[0]] == ["a", "b"]


# ─── When an edit is made, and what it says ───────────────────────────────────────────────────────────────────


def test_a_change_of_the_title_is_edited_soon_and_another_one_later() -> None:
    for changed, wait in ((red(1, verdict=Verdict.CRASH_LOOP), SOON), (red(1, "other"), SOON), (red(1, plan="waits"), LATER),
                          (red(1, consequences=took("flux")), LATER), (red(1, open=False, recovered=31.0), LATER)):
        box = told(red(1))
        box.amend(changed, 10.0)
        assert box.next_due_at(10.0) == 10.0 + wait and take(box, 10.0 + wait - 0.01) is None
        job = taken(box, 10.0 + wait)
        assert (job.message, job.notices) == ("m1", (changed,))


def test_changes_that_come_fast_are_one_edit_that_says_the_newest() -> None:
    box = told(red(1))
    for number in range(50):
        box.amend(red(1, plan=f"attempt {number}"), 10.0 + number / 10)
    assert [(when, reads(job)) for when, job in edits_until(box, 100.0)] == [(10.0 + LATER, ["DEAD s1 attempt 49"])]


def test_a_slow_change_goes_along_with_an_urgent_one() -> None:
    box = told(red(1))
    box.amend(red(1, plan="waits"), 10.0)
    box.amend(red(1, verdict=Verdict.CRASH_LOOP, plan="waits"), 11.0)
    assert [(when, reads(job)) for when, job in edits_until(box, 100.0)] == [(11.0 + SOON, ["CRASH LOOP s1 waits"])]


def test_a_slow_change_does_not_put_an_urgent_one_off() -> None:
    box = told(red(1))
    box.amend(red(1, verdict=Verdict.CRASH_LOOP), 10.0)
    box.amend(red(1, verdict=Verdict.CRASH_LOOP, plan="waits"), 10.9)
    assert [when for when, _ in edits_until(box, 100.0)] == [10.0 + SOON]


def test_an_endless_series_of_changes_does_not_put_an_edit_off_for_ever() -> None:
    box, made = told(red(1)), []
    for number in range(600):
        now = 10.0 + number / 10
        box.amend(red(1, plan=str(number)), now)
        if job := take(box, now):
            box.settle(answer(), now)
            made.append(job)
    assert len(made) == 9, "one in six seconds, of a minute"


def test_the_urgent_of_two_messages_is_edited_first() -> None:
    box = told(red(1))
    box.waiting.append(red(2))
    sends(box, 0.0, "m2")
    box.amend(red(1, plan="waits"), 10.0)
    box.amend(red(2, verdict=Verdict.GAVE_UP), 12.0)
    assert [(when, job.message) for when, job in edits_until(box, 99.0)] == [(12.0 + SOON, "m2"), (10.0 + LATER, "m1")]


def test_what_says_nothing_new_is_no_edit() -> None:
    box = told(red(1))
    box.amend(red(1), 10.0)
    box.amend(red(2, verdict=Verdict.GAVE_UP), 10.0)
    assert box.next_due_at(10.0) is None


def test_an_edit_says_the_whole_message_also_where_one_of_several_has_changed() -> None:
    box = told(red(1), red(2), green(3), red(4))
    box.amend(red(2, verdict=Verdict.GAVE_UP), 10.0)
    job = taken(box, 10.0 + SOON)
    assert reads(job) == ["DEAD s1", "GAVE UP s2", "Recovered s3", "DEAD s4"] and job.message == "m1"
    box.settle(answer(), 12.0)
    box.amend(red(4, plan="x", open=False), 20.0)
    assert reads(taken(box, 30.0)) == ["DEAD s1", "GAVE UP s2", "Recovered s3", "DEAD s4 x"]


def test_an_edit_has_no_nonce_and_names_its_message() -> None:
    box = told(red(1))
    box.amend(red(1, plan="x"), 10.0)
    job = taken(box, 20.0)
    assert (job.message, job.nonce, job.plain, job.host) == ("m1", "", False, "box")


# ─── What is new goes first ───────────────────────────────────────────────────────────────────────────────────


def test_what_is_new_goes_before_every_edit_that_is_due() -> None:
    box = told(red(1))
    box.amend(red(1, verdict=Verdict.GAVE_UP), 10.0)
    box.waiting += [green(2), red(3)]
    first, second = taken(box, 50.0), None
    assert not first.message and reads(first) == ["Recovered s2", "DEAD s3"]
    box.settle(answer(message="m2"), 50.0)
    second = taken(box, 50.0)
    assert second.message == "m1"


def test_what_is_new_waits_at_most_for_the_edit_under_way() -> None:
    box = told(*map(red, range(1, 4)))
    box.amend(red(1, verdict=Verdict.GAVE_UP), 10.0)
    edit = taken(box, 20.0)
    box.amend(red(2, verdict=Verdict.GAVE_UP), 20.0)
    box.waiting.append(red(9))
    assert edit.message and take(box, 20.5) is None, "one request at a time"
    box.settle(answer(), 22.0)
    assert reads(taken(box, 22.0)) == ["DEAD s9"]


def test_no_more_than_28_posts_and_edits_go_out_in_a_minute() -> None:
    box, made, now, number = Outbox("discord", True), [], 0.0, 0
    while now < 200.0:
        if round(now * 10) % 37 == 0:
            number += 1
            box.waiting.append(red(number))
        for old in range(1, number + 1):
            box.amend(red(old, plan=f"at {now}"), now)
        if job := take(box, now):
            box.settle(answer(message=job.message or f"m{number}"), now)
            made.append((now, bool(job.message)))
        now = round(now + 0.1, 1)
    times = [when for when, _ in made]
    assert all(later - earlier > 59.99 for earlier, later in zip(times, times[28:], strict=False))
    assert sum(edit for _, edit in made) > 5 and sum(not edit for _, edit in made) >= 30, "both kinds were counted"


def crowd(count: int) -> Outbox:
    """An outbox with so many messages of one open outage each, told long ago."""
    box = Outbox("discord", True)
    for number in range(1, count + 1):
        box.waiting.append(red(number))
        sends(box, number * 10.0, f"m{number}")
    return box


def next_alert(box: Outbox, began: float) -> float:
    """How long a new alert waits that comes a second later, edits being made all the time as soon as they may."""
    now, come = began, began + SOON + 1.0
    while now < began + 200.0:
        if now >= come and not any(notice.id == 999 for notice in box.waiting):
            box.waiting.append(red(999))
        if job := take(box, now):
            if job.notices[0].id == 999:
                return now - come
            box.settle(answer(message=job.message), now)
        now += 0.02
    raise AssertionError("it was never sent")


def test_a_few_edits_at_once_do_not_delay_an_alert() -> None:
    box = crowd(10)
    for number in range(1, 11):
        box.amend(red(number, verdict=Verdict.CRASH_LOOP), 10_000.0)
    assert next_alert(box, 10_000.0) < 0.1


def test_many_edits_at_once_leave_room_for_an_alert() -> None:
    box = crowd(40)
    for number in range(1, 41):
        box.amend(red(number, verdict=Verdict.CRASH_LOOP), 10_000.0)
    assert next_alert(box, 10_000.0) < 5.0


# ─── Amended while it waits, or is under way ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("edits", [True, False])
def test_what_waits_is_told_as_it_is_then_and_needs_no_edit(edits: bool) -> None:
    box = Outbox("discord", edits)
    box.waiting.append(red(1))
    take(box, 0.0)
    box.settle(answer(Fate.UNSENT, why="no route"), 0.0)
    for plan in ("waits", "restarting"):
        box.amend(red(1, verdict=Verdict.CRASH_LOOP, plan=plan, consequences=took("flux")), 0.5)
    assert reads(sends(box, 5.0)) == ["CRASH LOOP s1 restarting"]
    assert box.next_due_at(5.0) is None


def test_what_changed_under_way_is_edited_once_it_has_arrived() -> None:
    box = Outbox("discord", True)
    box.waiting.append(red(1))
    assert reads(taken(box, 0.0)) == ["DEAD s1"]
    box.amend(red(1, verdict=Verdict.CRASH_LOOP), 1.0)
    assert box.next_due_at(1.0) is None, "not before it is known where it stands"
    box.settle(answer(message="m1"), 2.0)
    (when, job), = edits_until(box, 60.0)
    assert when == 2.0 + SOON and (job.message, reads(job)) == ("m1", ["CRASH LOOP s1"])


def test_what_ended_under_way_is_edited_too_and_then_forgotten() -> None:
    box = Outbox("discord", True)
    box.waiting.append(red(1))
    taken(box, 0.0)
    box.amend(red(1, open=False, recovered=3.0), 1.0)
    box.settle(answer(message="m1"), 2.0)
    assert [job.notices[0].recovered for _, job in edits_until(box, 60.0)] == [3.0] and not box.posted


def test_what_changes_while_its_edit_is_under_way_is_edited_again() -> None:
    box = told(red(1))
    box.amend(red(1, plan="one"), 10.0)
    assert reads(taken(box, 20.0)) == ["DEAD s1 one"]
    box.amend(red(1, plan="two", open=False), 20.1)
    box.settle(answer(), 20.2)
    assert [reads(job) for _, job in edits_until(box, 60.0)] == [["DEAD s1 two"]] and not box.posted


def test_a_message_that_may_have_arrived_is_repeated_as_it_was_and_then_edited() -> None:
    """Else Discord, which knows the nonce, would give the message of before, and nobody would bring it up to date."""
    box = Outbox("discord", True)
    box.waiting += [red(1), red(2)]
    first = taken(box, 0.0)
    box.settle(answer(Fate.UNCLEAR, why="reset"), 0.0)
    box.amend(red(2, verdict=Verdict.GAVE_UP), 0.5)
    again = taken(box, 5.0)
    assert (again.notices, again.nonce) == (first.notices, first.nonce)
    box.settle(answer(message="m1"), 5.0)
    assert [(job.message, reads(job)) for _, job in edits_until(box, 60.0)] == [("m1", ["DEAD s1", "GAVE UP s2"])]


def test_what_may_have_arrived_is_repeated_as_it_was_also_after_a_try_that_surely_did_not() -> None:
    box = Outbox("discord", True)
    box.waiting.append(red(1))
    first = taken(box, 0.0)
    box.settle(answer(Fate.UNCLEAR, why="HTTP 504"), 0.0)
    box.waiting.append(red(2))
    taken(box, 5.0)
    box.settle(answer(Fate.UNSENT, why="HTTP 503"), 5.0)
    again = taken(box, 60.0)
    assert (again.notices, again.nonce) == (first.notices, first.nonce)


def reborn(box: Outbox, offset: float = 0.0, edits: bool = True) -> Outbox:
    """The outbox of the next life, by way of the ledger."""
    groups = [box.waiting, *(message.notices for message in box.posted.values())]
    notices = {notice.id: notice for group in groups for notice in group}
    records = {str(number): insides.notice_record(notice, 1e9) for number, notice in notices.items()}
    again = Outbox(box.channel, edits)
    document = json.loads(json.dumps(insides.outbox_record(box, 1e9)))
    insides.fill_outbox(again, document, json.loads(json.dumps(records)), 1e9 - offset)
    return again


@pytest.mark.parametrize("when", ["nothing under way", "post under way", "edit due", "edit under way", "edit failed"])
def test_a_new_life_goes_on_with_what_the_old_one_had_told(when: str) -> None:
    box = told(red(1), red(2))
    if when.startswith("edit"):
        box.amend(red(2, verdict=Verdict.GAVE_UP), 10.0)
    if when in ("edit under way", "edit failed"):
        taken(box, 20.0)
    if when == "edit failed":
        box.settle(answer(Fate.UNSENT, why="no route"), 20.0)
    if when == "post under way":
        box.waiting.append(red(3))
        taken(box, 20.0)
    again = reborn(box, offset=500.0)
    jobs = [job for _, job in edits_until(again, 2000.0)]
    wanted = {"nothing under way": [], "post under way": [("", ["DEAD s3"]), ("n0", ["DEAD s3"])]}
    assert [(job.message, reads(job)) for job in jobs] == wanted.get(when, [("m1", ["DEAD s1", "GAVE UP s2"])])
    again.amend(red(1, open=False), 3000.0)
    assert [job.message for _, job in edits_until(again, 4000.0)] == ["m1"], "and can be edited in this life, too"


def test_what_may_have_arrived_in_the_life_before_and_has_changed_is_edited() -> None:
    box = Outbox("discord", True)
    box.waiting.append(red(1))
    first = taken(box, 0.0)
    again = reborn(box)
    again.amend(red(1, verdict=Verdict.GAVE_UP), 0.5)
    repeat = taken(again, 1.0)
    assert repeat.nonce == first.nonce, "so Discord may answer with the message that it has"
    again.settle(answer(message="m1"), 1.0)
    edited = [reads(job) for _, job in edits_until(again, 60.0)]
    assert repeat.notices == first.notices or edited == [["GAVE UP s1"]]


# ─── Folded ───────────────────────────────────────────────────────────────────────────────────────────────────


def folded(number: int) -> Notice:
    return red(number, verdict=Verdict.FOLDED, open=False, plan="It is a consequence of s9: see incident 9.")


@pytest.mark.parametrize("edits", [True, False])
def test_what_is_folded_before_it_was_told_is_not_told(edits: bool) -> None:
    box = Outbox("discord", edits)
    box.waiting += [red(1), red(2)]
    take(box, 0.0)
    box.settle(answer(Fate.UNSENT, why="no route"), 0.0)
    box.amend(folded(2), 1.0)
    assert reads(sends(box, 5.0)) == ["DEAD s1"] and box.next_due_at(5.0) is None


def test_what_is_folded_after_it_was_told_is_edited_soon_and_then_forgotten() -> None:
    box = told(red(1))
    box.amend(folded(1), 10.0)
    (when, job), = edits_until(box, 60.0)
    assert when == 10.0 + SOON and job.notices[0].verdict is Verdict.FOLDED and not box.posted and not box.edits_due


def test_what_is_folded_under_way_is_edited() -> None:
    box = Outbox("discord", True)
    box.waiting.append(red(1))
    taken(box, 0.0)
    box.amend(folded(1), 0.5)
    box.settle(answer(message="m1"), 1.0)
    assert [(job.message, job.notices[0].verdict) for _, job in edits_until(box, 60.0)] == [("m1", Verdict.FOLDED)]


def test_what_is_folded_under_way_and_surely_did_not_arrive_is_not_told() -> None:
    box = Outbox("discord", True)
    box.waiting.append(red(1))
    taken(box, 0.0)
    box.amend(folded(1), 0.5)
    box.settle(answer(Fate.UNSENT, why="no route"), 1.0)
    assert take(box, 60.0) is None


def test_a_message_of_several_leaves_out_what_was_folded() -> None:
    box = told(red(1), red(2))
    box.amend(folded(2), 10.0)
    job = taken(box, 60.0)
    message = sentinel.message_of(job, 60.0, 1.8e9)
    assert [embed["title"] for embed in message["embeds"]] == ["[DEAD] s1"]


# ─── What is forgotten, and when ──────────────────────────────────────────────────────────────────────────────


def test_a_message_is_remembered_only_while_it_may_change() -> None:
    box = told(red(1), red(2))
    assert list(box.posted) == ["m1"]
    box.waiting += [green(3), red(4, open=False)]
    sends(box, 1.0, "m2")
    assert list(box.posted) == ["m1"]
    box.amend(red(1, open=False), 10.0)
    edits_until(box, 100.0)
    assert list(box.posted) == ["m1"], "there is one left that goes on"
    box.amend(red(2, open=False), 200.0)
    assert list(box.posted) == ["m1"], "not before it reads so"
    edits_until(box, 300.0)
    assert not box.posted and not box.edits_due


@pytest.mark.parametrize("edits", [True, False])
def test_thousands_of_outages_leave_nothing_behind(edits: bool) -> None:
    box, now, chance, alive = Outbox("discord", edits), 0.0, random.Random(5), list[int]()
    for number in range(1, 2001):
        box.waiting.append(red(number))
        alive.append(number)
        for old in chance.sample(alive, min(3, len(alive))):
            change = chance.choice(("plan", "title", "end", "fold"))
            if change in ("end", "fold"):
                alive.remove(old)
            verdict = {"title": Verdict.GAVE_UP, "fold": Verdict.FOLDED}.get(change, Verdict.DEAD)
            box.amend(red(old, verdict=verdict, plan=str(now), open=change in ("plan", "title")), now)
        now += 5.0
        if job := take(box, now):
            fate = chance.choice((Fate.SENT, Fate.SENT, Fate.SENT, Fate.UNSENT, Fate.UNCLEAR, Fate.GONE if job.message
                                  else Fate.SENT))  # fmt: skip
            box.settle(answer(fate, message=job.message or f"m{number}" if edits else ""), now)
    for number in alive:
        box.amend(red(number, open=False), now)
    for _ in range(5000):
        due = box.next_due_at(now)
        if due is None:
            break
        now = max(now, due)
        sends(box, now, f"end{now}")
    assert (box.waiting, box.posted, box.edits_due, box.underway) == ([], {}, {}, 0)


# ─── Edits that are refused, or are lost ──────────────────────────────────────────────────────────────────────


def verdict(status: int, code: int = 0, why: str = "no", via: bool = True, **headers: str) -> Delivered:
    """What an edit's answer means, by the channel's own words."""
    body = json.dumps({"message": why, "code": code}).encode()
    given = headers_of([("Via", "1.1 google"), *headers.items()] if via else headers.items())
    return sentinel.verdict_on_edit("webhook", Answer(status, given, body))


@pytest.mark.parametrize(("status", "code"), [(404, 10008), (404, 10003), (404, 10015), (403, 50001), (403, 50013),
                                              (401, 0), (401, 50027), (400, 50035), (400, 200000), (403, 50005),
                                              (400, 50083)])  # fmt: skip
def test_what_an_edit_could_not_say_is_told_anew(status: int, code: int) -> None:
    """Somebody deleted the message, or it is too old: what goes on gets another one."""
    box = told(red(1), red(2))
    box.waiting.append(red(3))
    sends(box, 1.0, "m2")
    for number in (1, 3):
        box.amend(red(number, verdict=Verdict.GAVE_UP), 10.0)
    assert taken(box, 20.0).message == "m1"
    seen = verdict(status, code)
    assert seen.fate is Fate.GONE
    done, logs = box.settle(seen, 20.0)
    assert done == [] and [log.level for log in logs] == ["warning"] and "edited" in logs[0].text
    again = sends(box, 20.0, "m4")
    assert (again.message, reads(again)) == ("", ["GAVE UP s1", "DEAD s2"])
    assert sends(box, 20.0).message == "m2", "other messages are edited"
    box.amend(red(1, verdict=Verdict.CRASH_LOOP), 30.0)
    assert sends(box, 100.0).message == "m4" and not box.retired, "and the new one is kept current"


def test_what_is_over_is_not_told_anew_for_an_edit_that_is_refused() -> None:
    box = told(red(1))
    box.amend(red(1, open=False), 10.0)
    assert taken(box, 20.0).message == "m1"
    box.settle(verdict(404, 10008), 20.0)
    assert take(box, 100.0) is None and not box.posted


def test_edits_that_wait_keep_their_time_and_the_channels_hold_over_a_restart() -> None:
    box = told(red(1), red(2))
    box.amend(red(1, verdict=Verdict.GAVE_UP), 10.0)
    taken(box, 20.0)
    box.settle(verdict(429, **{"Retry-After": "40"}), 20.0)
    due = box.next_due_at(20.0)
    assert due is not None and due >= 60.0
    again = Outbox("discord", True)
    assert again.restore(box.record(), {1: red(1, verdict=Verdict.GAVE_UP), 2: red(2)})
    assert again.next_due_at(20.0) == due


def test_a_channel_that_is_retired_hands_its_waiting_edits_on() -> None:
    first, second = Outbox("webhook", True, chained=True), Outbox("bot", True, chained=True)
    first.waiting += [red(1), red(2)]
    sends(first, 0.0, "m1")
    first.amend(red(1, verdict=Verdict.GAVE_UP), 10.0)
    first.put(red(3), 10.1)
    taken(first, 10.2)
    first.settle(Delivered("webhook", Fate.DEAD, why="Unknown Webhook"), 10.2)
    sentinel.escalate([first, second], 11.0)
    assert reads(sends(second, 11.0, "b1")) == ["DEAD s3", "GAVE UP s1", "DEAD s2"]


@pytest.mark.parametrize("refusal", [
    verdict(500), verdict(502), verdict(503), verdict(504), verdict(522), verdict(408),
    Delivered("webhook", Fate.UNCLEAR, why="no answer in time"), Delivered("webhook", Fate.UNSENT, why="no route"),
    verdict(429, **{"Retry-After": "3"})], ids=lambda seen: seen.why[-20:])  # fmt: skip
def test_an_edit_that_can_not_be_made_now_is_made_later_as_it_reads_then(refusal: Delivered) -> None:
    box, now, waits = told(red(1)), 20.0, list[float]()
    box.amend(red(1, plan="a"), 10.0)
    for number in range(8):
        assert taken(box, now).message == "m1"
        box.settle(refusal, now)
        box.amend(red(1, plan=str(number)), now)
        due = box.next_due_at(now)
        assert due is not None and now + 1.0 <= due <= now + 60.0
        waits.append(due - now)
        now = due
    assert waits == sorted(waits) and waits[-1] >= min(60.0, max(1.0, refusal.hold))
    assert reads(sends(box, now)) == ["DEAD s1 7"]
    assert box.next_due_at(now) is None and box.trouble.failures == 0


@pytest.mark.parametrize("refusal", [verdict(500), verdict(503)], ids=["500", "503"])
def test_an_edit_that_fails_again_and_again_does_not_hold_back_what_is_new(refusal: Delivered) -> None:
    box, now = told(red(1)), 20.0
    box.amend(red(1, plan="a"), 10.0)
    for _ in range(8):
        taken(box, now)
        box.settle(refusal, now)
        now = box.next_due_at(now) or now
    taken(box, now)
    box.settle(refusal, now)
    box.waiting.append(red(2))
    due = box.next_due_at(now + 1.0)
    assert due is not None and due - (now + 1.0) < 5.0


def test_a_message_whose_edits_fail_does_not_keep_another_from_being_edited() -> None:
    box, now, made = told(red(1)), 1.0, list[str]()
    box.waiting.append(red(2))
    sends(box, 0.0, "m2")
    for number in range(40):
        for name in (1, 2):
            box.amend(red(name, plan=str(number)), now)
        now = box.next_due_at(now) or now
        job = taken(box, now)
        box.settle(answer(Fate.UNSENT, why="HTTP 500") if job.message == "m1" else answer(), now)
        made += [job.message]
    assert made.count("m2") >= 6


def test_an_edit_that_fails_is_tried_again_soon_though_others_failed_long_ago() -> None:
    box, refusal = told(red(1), red(2)), answer(Fate.UNSENT, why="no route")
    now = 0.0
    for _ in range(4):
        box.amend(red(1, plan=f"{now}"), now)
        now = box.next_due_at(now) or now
        taken(box, now)
        box.settle(refusal, now)
    assert (box.next_due_at(now) or now) - now == 8.0
    now += 8.0
    sends(box, now)
    box.amend(red(1, plan="again"), now)
    now = box.next_due_at(now) or now
    taken(box, now)
    box.settle(refusal, now)
    assert (box.next_due_at(now) or now) - now == 1.0


def test_a_wait_that_is_asked_for_after_an_edit_is_kept() -> None:
    box = told(red(1))
    box.amend(red(1, plan="a"), 10.0)
    taken(box, 20.0)
    box.settle(answer(hold=2.0), 20.0)
    box.amend(red(1, verdict=Verdict.GAVE_UP), 20.0)
    assert box.next_due_at(20.0) == 22.0


def test_a_message_that_was_told_in_the_plainest_form_can_change() -> None:
    """Its form was refused, say by AutoMod for a word in the log: then its edits are refused for the same reason."""
    box = Outbox("discord", True)
    box.waiting.append(red(1, logs=("bad words",)))
    taken(box, 0.0)
    box.settle(answer(Fate.MALFORMED, why="blocked by AutoMod"), 0.0)
    assert taken(box, 0.0).plain
    box.settle(answer(message="m1"), 0.0)
    box.amend(red(1, verdict=Verdict.GAVE_UP, logs=("bad words",)), 10.0)
    job = taken(box, 20.0)
    assert job.message == "m1" and job.plain


def test_a_message_without_an_id_is_not_edited_and_what_has_a_new_title_is_told_again() -> None:
    """The answer to a repeat of a message that somebody has deleted meanwhile names none; so do some proxies."""
    box = Outbox("discord", True)
    box.waiting.append(red(1))
    sends(box, 0.0, "")
    box.amend(red(1, plan="Restarting it in 5s (attempt 2 of 5)."), 5.0)
    assert box.next_due_at(5.0) is None
    box.amend(red(1, verdict=Verdict.GAVE_UP), 10.0)
    job = box.take(10.0, "box", 0.0)
    assert job and not job.message and [notice.verdict for notice in job.notices] == [Verdict.GAVE_UP]


def test_a_retired_channel_is_asked_for_no_edit() -> None:
    box = told(red(1))
    box.waiting.append(red(2))
    taken(box, 1.0)
    box.settle(answer(Fate.DEAD, why="404 Unknown Webhook"), 1.0)
    box.amend(red(1, verdict=Verdict.GAVE_UP), 10.0)
    due = box.next_due_at(100.0)
    assert due is not None and due >= 3600.0 and take(box, 100.0) is None, "what is new is tried again, hourly"
    box.waiting.clear()
    assert box.next_due_at(100.0) is None


# ─── Channels that can't edit ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("changed", "again"), [
    (red(1, verdict=Verdict.CRASH_LOOP), True), (red(1, "other"), True), (red(1, consequences=took("flux")), True),
    (folded(1), True), (red(1, plan="waits"), False), (red(1, deaths=9), False), (red(1, open=False, recovered=3.0), False)],
    ids=["verdict", "name", "consequence", "folded", "plan", "deaths", "over"])  # fmt: skip
def test_what_can_not_be_edited_is_told_again_where_that_is_worth_it(changed: Notice, again: bool) -> None:
    box = told(red(1), edits=False)
    box.amend(changed, 10.0)
    assert [notice == changed for notice in box.waiting] == ([True] if again else [])
    if again:
        assert not sends(box, 10.0).message
    box.amend(replace(changed, open=False), 20.0)
    assert take(box, 100.0) is None and not box.posted


def test_a_consequence_that_only_changes_its_state_is_not_told_again() -> None:
    box = told(red(1, consequences=took("flux", "pulse")), edits=False)
    back = tuple(replace(one, back=True, state="It is back.") for one in took("flux", "pulse"))
    box.amend(red(1, consequences=back), 10.0)
    assert take(box, 100.0) is None


def test_what_changes_several_times_before_it_can_be_told_again_is_told_again_once() -> None:
    box = told(red(1), edits=False)
    box.waiting.append(red(5))
    taken(box, 1.0)
    for names in (["flux"], ["flux", "pulse"], ["flux", "pulse", "veil"]):
        box.amend(red(1, consequences=took(*names)), 2.0)
    box.settle(answer(), 3.0)
    assert [len(notice.consequences) for notice in sends(box, 3.0).notices] == [3] and take(box, 100.0) is None


def test_what_changed_on_its_way_through_a_channel_that_can_not_edit_is_told_again_once() -> None:
    box = Outbox("bridge")
    box.waiting.append(red(1))
    taken(box, 0.0)
    box.amend(red(1, verdict=Verdict.CRASH_LOOP), 0.5)
    box.settle(answer(), 1.0)
    assert reads(sends(box, 1.0)) == ["CRASH LOOP s1"] and take(box, 100.0) is None


@pytest.mark.parametrize("changed", [red(1, verdict=Verdict.CRASH_LOOP), red(1, consequences=took("flux"))], ids=["title",
                         "consequence"])  # fmt: skip
def test_telling_one_of_several_again_forgets_none_of_the_others(changed: Notice) -> None:
    box = told(red(1), red(2), red(3), edits=False)
    box.amend(changed, 10.0)
    sends(box, 10.0)
    box.amend(red(2, verdict=Verdict.GAVE_UP), 20.0)
    assert reads(sends(box, 20.0)) == ["GAVE UP s2"]


# ─── A chain of channels ──────────────────────────────────────────────────────────────────────────────────────


def chain() -> tuple[Outbox, Outbox]:
    return outbox("a", "b"), Outbox("file")


def test_a_fallback_is_used_only_after_a_channel_has_failed_for_a_while_and_each_alert_goes_there_once() -> None:
    first, second = chain()
    take(first, 0.5)
    first.settle(NO_ROUTE, 0.5)
    escalate([first, second], 20.0)
    assert not second.waiting
    for now in (31.0, 32.0):
        escalate([first, second], now)
        assert [item.name for item in second.waiting] == ["a", "b"]
    assert [item.name for item in first.waiting] == ["a", "b"]  # it may come back


def test_what_waits_for_a_channel_that_is_gone_goes_to_its_fallback() -> None:
    first, second = chain()
    take(first, 0.0)
    first.settle(answer(Fate.DEAD, why="404"), 0.0)
    escalate([first, second], 0.0)
    assert [item.name for item in second.waiting] == [item.name for item in first.waiting] == ["a", "b"]  # it is tried again


def test_what_the_fallback_has_told_is_not_told_again() -> None:
    first, second = chain()
    take(first, 1.0)
    first.settle(answer(Fate.UNCLEAR, why="reset"), 1.0)
    first.waiting.append(notice("c"))
    escalate([first, second], 60.0)
    told = {item.id for item in second.waiting[:2]}
    first.discard(told)
    assert names_taken(first, 60.0) == ["c"]


def fails(box: Outbox, times: Iterable[float], fate: Fate = Fate.UNSENT) -> None:
    for now in times:
        taken(box, now)
        box.settle(answer(fate, why="no route"), now)


def test_in_a_chain_what_the_fallback_has_told_is_edited_there() -> None:
    first, second = Outbox("webhook", True), Outbox("bot", True)
    first.waiting.append(red(1))
    fails(first, (1.0,))
    escalate([first, second], 40.0)
    sends(second, 40.0, "b1")
    first.discard({1})
    for box in (first, second):
        box.amend(red(1, verdict=Verdict.GAVE_UP), 50.0)
    assert first.next_due_at(60.0) is None and not first.waiting, "it has nothing to edit"
    assert [(job.message, reads(job)) for _, job in edits_until(second, 99.0)] == [("b1", ["GAVE UP s1"])]


def test_in_a_chain_what_waits_for_two_is_amended_in_both_and_told_once() -> None:
    first, second = Outbox("webhook", True), Outbox("bridge")
    first.waiting.append(red(1))
    fails(first, (1.0,))
    escalate([first, second], 40.0)
    for box in (first, second):
        box.amend(red(1, verdict=Verdict.GAVE_UP), 41.0)
    escalate([first, second], 42.0)
    assert reads(sends(second, 42.0)) == ["GAVE UP s1"]
    first.discard({1})
    assert take(first, 99.0) is None and take(second, 99.0) is None


def test_what_is_discarded_from_a_message_that_may_have_arrived_is_not_repeated() -> None:
    first = Outbox("webhook", True)
    first.waiting += [red(1), red(2)]
    fails(first, (1.0,), Fate.UNCLEAR)
    first.amend(red(2, plan="x"), 2.0)
    first.discard({1})
    assert reads(sends(first, 40.0)) == ["DEAD s2 x"]
    first.amend(red(2, verdict=Verdict.GAVE_UP), 50.0)
    assert [reads(job) for _, job in edits_until(first, 99.0)] == [["GAVE UP s2"]]


def a_lost_channel_and_its_fallback() -> tuple[Outbox, Outbox]:
    """The first of a chain has told one red message; with the next it is gone, so that is handed on."""
    first, second = Outbox("webhook", True, True), Outbox("bot", True, True)
    first.waiting.append(red(1))
    sends(first, 0.0)
    first.waiting.append(red(2))
    taken(first, 1.0)
    first.settle(answer(Fate.DEAD, why="404 Unknown Webhook"), 1.0)
    escalate([first, second], 2.0)
    return first, second


def test_in_a_chain_a_new_title_is_told_by_the_fallback_of_a_channel_that_is_gone() -> None:
    first, second = a_lost_channel_and_its_fallback()
    assert reads(sends(second, 2.0, "b1")) == ["DEAD s2"]
    for box in (first, second):
        box.amend(red(1, verdict=Verdict.GAVE_UP), 10.0)
    escalate([first, second], 11.0)
    assert reads(sends(second, 20.0, "b2")) == ["GAVE UP s1"]


def test_in_a_chain_what_is_told_again_is_handed_on_too() -> None:
    first, second = Outbox("bridge"), Outbox("bot", True)
    first.waiting.append(red(1))
    sends(first, 0.0)
    first.waiting.append(red(2))
    fails(first, (1.0,))
    escalate([first, second], 40.0)
    assert reads(sends(second, 40.0)) == ["DEAD s2"]
    first.discard({2})
    first.amend(red(1, verdict=Verdict.GAVE_UP), 41.0)
    escalate([first, second], 80.0)
    assert reads(taken(second, 80.0)) == ["GAVE UP s1"]


def test_in_a_chain_what_the_fallback_can_edit_is_not_told_again() -> None:
    """The first channel told it and was lost; the second has told it since, and brings that up to date."""
    first, second = a_lost_channel_and_its_fallback()
    sends(second, 2.0, "b1")
    for number, verdict in ((10.0, Verdict.CRASH_LOOP), (30.0, Verdict.GAVE_UP)):
        for box in (first, second):
            box.amend(red(1, verdict=verdict), number)
        escalate([first, second], number)
        if verdict is Verdict.CRASH_LOOP:
            assert reads(sends(second, 20.0, "b2")) == ["CRASH LOOP s1"]
    assert not second.waiting
    assert [(job.message, job.notices[0].verdict) for _, job in edits_until(second, 60.0)] == [("b2", Verdict.GAVE_UP)]


def test_what_is_told_again_of_some_of_a_message_leaves_the_others_to_be_told() -> None:
    """Where a channel can't edit, a message goes by the numbers of its notices: all of them, not the first and the last."""
    box = Outbox("bridge")
    box.waiting += [red(1), red(2), red(3)]
    sends(box, 0.0)
    box.amend(red(1, verdict=Verdict.CRASH_LOOP), 5.0)
    box.amend(red(3, verdict=Verdict.CRASH_LOOP), 5.0)
    sends(box, 6.0)
    box.amend(red(2, verdict=Verdict.GAVE_UP), 10.0)
    assert reads(sends(box, 11.0)) == ["GAVE UP s2"]


# ─── Anything at any time ─────────────────────────────────────────────────────────────────────────────────────


class Reader:
    """A channel as a reader sees it: messages with what they say now, made and edited with any luck."""

    def __init__(self, chance: random.Random, edits: bool) -> None:
        self.chance, self.edits = chance, edits
        self.messages: dict[str, tuple[Notice, ...]] = {}
        self.nonces: dict[str, str] = {}  # as a bot's: a repeat makes no second message
        self.arrived: list[Notice] = []
        self.unclear: set[str] = set()

    def take(self, job: Deliver, lucky: bool) -> Delivered:
        fate = Fate.SENT if lucky else self.chance.choice((Fate.SENT, Fate.SENT, Fate.UNSENT, Fate.UNCLEAR))
        if fate is Fate.UNSENT and job.nonce in self.unclear:  # see the test of what surely did not arrive the second time
            fate = Fate.UNCLEAR
        self.unclear |= {job.nonce} if fate is Fate.UNCLEAR and job.nonce else set()
        stored = fate is Fate.SENT or (fate is Fate.UNCLEAR and self.chance.random() < 0.5)
        message = job.message or self.nonces.get(job.nonce, "")
        if stored and not message:
            message = self.nonces[job.nonce] = f"m{len(self.messages)}"
            self.arrived += job.notices
            self.messages[message] = job.notices
        elif stored and job.message:
            self.messages[message] = job.notices
        return answer(fate, why="" if fate is Fate.SENT else "trouble", message=message if self.edits else "")


@pytest.mark.parametrize("seed", range(40))
def test_in_the_end_every_message_reads_as_it_should_and_nothing_was_told_twice(seed: int) -> None:
    chance = random.Random(seed)
    box, reader, now, newest = Outbox("discord", True), Reader(chance, True), 0.0, dict[int, Notice]()
    job: Deliver | None = None
    for step in range(300):
        now += chance.choice((0.1, 1.0, 7.0))
        if chance.random() < 0.2:
            newest[len(newest) + 1] = red(len(newest) + 1)
            box.waiting.append(newest[len(newest)])
        if newest and chance.random() < 0.5 and newest[number := chance.choice([*newest])].open:
            newest[number] = red(number, verdict=chance.choice((Verdict.DEAD, Verdict.GAVE_UP)), plan=str(step),
                                 open=chance.random() < 0.8)  # fmt: skip
            box.amend(newest[number], now)
        if job is None:
            job = take(box, now)
        elif chance.random() < 0.7:
            box.settle(reader.take(job, False), now)
            job = None
    for _ in range(2000):
        if job := job or take(box, now):
            box.settle(reader.take(job, True), now)
            job = None
        now = max(now, box.next_due_at(now) or now) + 0.1
    assert sorted(notice.id for notice in reader.arrived) == sorted(newest), "each once"
    shown = {notice.id: notice for notices in reader.messages.values() for notice in notices}
    assert shown == newest
    assert not box.waiting and not box.edits_due and len(box.posted) <= sum(notice.open for notice in newest.values())


@pytest.mark.parametrize("seed", range(10))
def test_whatever_is_edited_is_a_form_that_discord_takes_and_pings_nobody(seed: int) -> None:
    chance = random.Random(seed)
    notices = [red(number, chance.choice(("web", "my__name", "n" * 250)), chance.choice(list(Verdict)), mention="@everyone",
                   plan="**x**", logs=("```", "@here"), consequences=took(*map(str, range(chance.choice((0, 3, 60))))))
               for number in range(1, chance.choice((2, 5, 12, 41)))]  # fmt: skip
    box = told(*notices)
    box.amend(replace(notices[0], plan="changed"), 10.0)
    message = sentinel.message_of(taken(box, 20.0), 20.0, 1.8e9)
    for kind, schema in (("webhook_edit", "IncomingWebhookUpdateRequestPartial"), ("bot_edit", "MessageEditRequestPartial")):
        form = check_message(kind, message)
        assert (form.errors, form.notes, schema_errors(schema, message)) == ({}, [], [])
    assert "content" not in message and message["allowed_mentions"] == {"parse": [], "roles": [], "users": []}
