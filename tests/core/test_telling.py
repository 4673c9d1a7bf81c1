"""Telling: what waits to be told, in order, through a channel that is slow, full, refuses, or is gone."""

from __future__ import annotations

import itertools

import pytest

import sentinel
from sentinel import Deliver, Delivered, Fate, Notice, Outbox, Verdict, escalate

numbers = itertools.count(1)


def notice(name: str) -> Notice:
    return Notice(Verdict.DEAD, name, 0.0, id=next(numbers))


def outbox(*names: str) -> Outbox:
    """An outbox in which these wait."""
    box = Outbox("discord")
    box.waiting += map(notice, names)
    return box


def take(box: Outbox, now: float) -> Deliver | None:
    return box.take(now, "box", 0.0)


def taken(box: Outbox, now: float) -> list[str]:
    """The names in the message that may go out now."""
    job = take(box, now)
    return [item.name for item in job.notices] if job else []


def answer(fate: Fate = Fate.SENT, hold: float = 0.0, why: str = "") -> Delivered:
    return Delivered("discord", fate, hold, why)


def levels(settled: tuple[list[Notice], list[sentinel.Log]]) -> list[str]:
    return [log.level for log in settled[1]]


NO_ROUTE = answer(Fate.UNSENT, why="no route")


def test_the_first_never_waits_for_company() -> None:
    assert taken(outbox("a"), 0.0) == ["a"]


def test_what_waits_together_goes_together_in_order() -> None:
    box = outbox("a")
    assert taken(box, 0.0) == ["a"]
    box.waiting += [notice("b"), notice("c")]
    assert taken(box, 0.1) == []  # one message at a time
    assert [item.name for item in box.settle(answer(), 0.2)[0]] == ["a"]
    assert taken(box, 0.2) == ["b", "c"]
    box.settle(answer(), 0.3)
    assert taken(box, 0.3) == []


@pytest.mark.parametrize("count", [40, 41, 120, 121, 500])
def test_a_message_is_bounded_and_a_flood_is_told_in_three(count: int) -> None:
    box, sizes = outbox(*map(str, range(count))), []
    for now in range(12):
        sizes.append(len(taken(box, float(now))))
        box.settle(answer(), float(now))
    assert sum(sizes) == count
    assert len([size for size in sizes if size]) == (-(-count // 40) if count <= 120 else 3)


def test_what_could_not_be_sent_goes_first_again_after_ever_longer_waits() -> None:
    box, now, waits = outbox("a"), 0.0, []
    for _ in range(9):
        assert taken(box, now)[0] == "a"
        box.settle(NO_ROUTE, now)
        box.waiting.append(notice("later"))
        waits.append(box.next_due_at(now) - now)
        assert taken(box, box.next_due_at(now) - 0.01) == []
        now = box.next_due_at(now)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert taken(box, now) == ["a"] + ["later"] * 9


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
    assert box.next_due_at(0.0) == max(seconds, 1.0) and taken(box, max(seconds, 1.0)) == ["a"]


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
    assert taken(box, 4.9) == [] and taken(box, 5.0) == ["b"]


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
    assert taken(box, 10.0) == ["c"]


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
    assert box.dead == "404 Unknown Webhook" and taken(box, 1000.0) == []


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
    assert ([item.name for item in second.waiting], first.waiting) == (["a", "b"], [])


def test_what_the_fallback_has_told_is_not_told_again() -> None:
    first, second = chain()
    take(first, 1.0)
    first.settle(answer(Fate.UNCLEAR, why="reset"), 1.0)
    first.waiting.append(notice("c"))
    escalate([first, second], 60.0)
    told = {item.id for item in second.waiting[:2]}
    first.discard(told)
    assert taken(first, 60.0) == ["c"]


def test_what_is_under_way_is_not_forgotten_meanwhile() -> None:
    box = outbox("a", "b")
    job = take(box, 0.0)
    assert job
    box.discard({item.id for item in job.notices})
    assert [item.name for item in box.settle(answer(), 1.0)[0]] == ["a", "b"]
