"""Telling: what waits to be told, in order, through a channel that is slow, full, refuses, or is gone."""

from __future__ import annotations

import pytest
from sentinel import Delivered, Notice, Outbox, Verdict

SENT = Delivered(sent=True)


def notice(name: str) -> Notice:
    return Notice(Verdict.DEAD, name, 0.0)


def outbox(*names: str) -> Outbox:
    """An outbox in which these wait."""
    box = Outbox()
    for name in names:
        box.add(notice(name))
    return box


def taken(box: Outbox, now: float) -> list[str]:
    return [item.name for item in box.take(now)]


def test_the_first_never_waits_for_company() -> None:
    box = outbox("a")
    assert taken(box, 0.0) == ["a"]


def test_what_waits_together_goes_together_in_order() -> None:
    box = outbox("a")
    assert taken(box, 0.0) == ["a"]
    box.add(notice("b"))
    box.add(notice("c"))
    assert taken(box, 0.1) == []  # one message at a time
    box.settle(SENT, 0.2)
    assert taken(box, 0.2) == ["b", "c"]
    box.settle(SENT, 0.3)
    assert taken(box, 0.3) == []


def test_a_message_has_a_bounded_number_of_notices() -> None:
    box = outbox(*map(str, range(90)))
    sizes = []
    for now in range(4):
        sizes.append(len(box.take(float(now))))
        box.settle(SENT, float(now))
    assert sizes == [40, 40, 10, 0]


def test_what_could_not_be_sent_goes_first_again_after_ever_longer_waits() -> None:
    box, now, waits = outbox("a"), 0.0, []
    for _ in range(9):
        assert taken(box, now)[0] == "a"
        box.settle(Delivered(why="no route"), now)
        box.add(notice("later"))
        waits.append(box.next_due_at(now) - now)
        assert taken(box, box.next_due_at(now) - 0.01) == []
        now = box.next_due_at(now)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert taken(box, now) == ["a"] + ["later"] * 9


def test_after_a_success_the_waits_begin_anew() -> None:
    box = outbox("a")
    for now in (0.0, 1.0, 3.0):
        box.take(now)
        box.settle(Delivered(why="no route"), now)
    box.take(7.0)
    assert [log.level for log in box.settle(SENT, 7.0)] == ["info"]
    box.add(notice("b"))
    box.take(7.0)
    box.settle(Delivered(why="no route"), 7.0)
    assert box.next_due_at(7.0) == 8.0


@pytest.mark.parametrize("seconds", [0.5, 3.0, 120.0])
def test_a_channels_own_word_on_when_to_come_back_is_kept(seconds: float) -> None:
    box = outbox("a")
    box.take(0.0)
    box.settle(Delivered(hold=seconds, why="429"), 0.0)
    assert box.next_due_at(0.0) == max(seconds, 1.0) and taken(box, max(seconds, 1.0)) == ["a"]


def test_a_channel_that_asks_for_a_pause_after_a_success_gets_it() -> None:
    box = outbox("a")
    box.take(0.0)
    box.settle(Delivered(sent=True, hold=5.0), 0.0)
    box.add(notice("b"))
    assert taken(box, 4.9) == [] and taken(box, 5.0) == ["b"]


def test_no_more_than_28_messages_go_out_in_a_minute() -> None:
    box, sent = Outbox(), []
    now = 0.0
    while now < 120.0:
        box.add(notice("x"))
        if box.take(now):
            sent.append(now)
            box.settle(SENT, now)
        now += 0.5
    assert all(later - earlier >= 60.0 for earlier, later in zip(sent, sent[28:], strict=False)) and len(sent) >= 56


def test_a_form_that_is_refused_is_sent_again_at_once_in_the_plainest_one_and_then_dropped() -> None:
    box = outbox("a", "b")
    box.take(0.0)
    assert not box.plain
    box.settle(Delivered(malformed=True, why="embeds: too long"), 0.0)
    assert box.plain and taken(box, 0.0) == ["a", "b"]
    logs = box.settle(Delivered(malformed=True, why="embeds: too long"), 0.1)
    assert [log.level for log in logs] == ["error"] and taken(box, 10.0) == []


def test_after_a_drop_the_next_message_has_its_full_form_again() -> None:
    box = outbox("a")
    for now in (0.0, 0.1):
        box.take(now)
        box.settle(Delivered(malformed=True, why="embeds: too long"), now)
    box.add(notice("b"))
    assert taken(box, 0.2) == ["b"] and not box.plain


def test_a_channel_that_is_gone_is_told_once_and_not_asked_again() -> None:
    box = outbox(*map(str, range(50)))
    box.take(0.0)
    logs = box.settle(Delivered(dead=True, why="404 Unknown Webhook"), 0.0)
    assert [log.level for log in logs] == ["error"] and box.dead == "404 Unknown Webhook"
    assert taken(box, 1000.0) == []


def test_the_same_trouble_is_logged_once() -> None:
    box, logs = outbox("a"), []
    for now in (0.0, 10.0, 20.0):
        box.take(now)
        logs += box.settle(Delivered(why="no route"), now)
    box.take(40.0)
    logs += box.settle(Delivered(why="HTTP 500"), 40.0)
    assert [log.text for log in logs] == ["an alert waits: no route", "an alert waits: HTTP 500"]


def test_nothing_is_ever_lost_or_doubled_while_a_channel_comes_and_goes() -> None:
    box, arrived, now = Outbox(), [], 0.0
    answers = [Delivered(why="down"), SENT, Delivered(hold=3.0, why="429"), Delivered(malformed=True, why="form"), SENT, SENT] * 8
    for number in range(100):
        box.add(notice(str(number)))
        if batch := box.take(now):
            answer = answers.pop(0) if answers else SENT
            arrived += [item.name for item in batch] if answer.sent else []
            box.settle(answer, now)
        now += 2.0
    for _ in range(50):
        if batch := box.take(now):
            arrived += [item.name for item in batch]
            box.settle(SENT, now)
        now += 60.0
    assert arrived == [str(number) for number in range(100)]
