"""Wording of outages: root and consequences in one message, what is edited, what is back and who is not, within every
limit of Discord; reminders, mutes, greetings; and what `explain` and `history` say."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from typing import Any

import pytest
from support.fake_discord import check_message, embed_size, schema_errors
from support.scenario import EPOCH, START, World, service

import sentinel
from sentinel import Cause, Consequence, Container, Deliver, Health, Notice, Settings, Verdict

NOW = 1_800_000_000.0
RED, GREEN, GREY, BLUE = 0xED4245, 0x57F287, 0x95A5A6, 0x5865F2
FILES = {"com.docker.compose.project.config_files": "/srv/shop/compose.yml"}
GENESIS = service("genesis", "unless-stopped", status="exited", exit_code=1, started_time=NOW - 60, finished_time=NOW - 14,
                  labels=FILES)  # fmt: skip
FLUX = Consequence(("flux", "genesis"), Verdict.DEAD, 90.0, 1, state="Waits for genesis.")
PULSE = Consequence(("pulse", "flux", "genesis"), Verdict.UNHEALTHY, 95.0, state="Waits for flux.")
VEIL = Consequence(("veil", "pulse", "flux", "genesis"), Verdict.DEAD, 99.0, 137, Cause.OOM, "It is back.", True)
OUTAGE = Notice(Verdict.DEAD, "genesis", 86.0, GENESIS, project="shop", incident=7, exit_code=1, uptime=46.0, deaths=1,
                attempts=1, plan="Restarting it now (attempt 1 of 5).", logs=("SyntaxError: invalid syntax",), open=True,
                consequences=(FLUX, PULSE, VEIL))  # fmt: skip
OVER = replace(OUTAGE, plan="", recovered=31.0, open=False)
BACK = replace(OUTAGE, verdict=Verdict.RECOVERED, exit_code=None, downtime=31.0, plan="", logs=(), uptime=None, open=False)


def moment(at: float) -> str:
    return f"at {at:.0f}"


def card(notice: Notice) -> sentinel.Card:
    return sentinel.card_of(notice, "box", moment)


def message_of(*notices: Notice, edit: bool = False, plain: bool = False, host: str = "box") -> dict[str, Any]:
    job = Deliver("discord", notices, host, "" if edit else "1-9", plain, message="123456789012345678" if edit else "",
                  sent_at=100.0 if edit else None)  # fmt: skip
    return sentinel.message_of(job, max(notice.at for notice in notices), NOW - 100)


def text_of(*notices: Notice, **facts: Any) -> str:
    return "\n".join(f"{embed['title']}\n{embed['description']}" for embed in message_of(*notices, **facts)["embeds"])


def refusals(message: dict[str, Any], edit: bool = False) -> list[object]:
    """Everything Discord would say against a message, as a webhook's and as a bot's."""
    found: list[object] = []
    for kind, schema in ((("webhook_edit", "IncomingWebhookUpdateRequestPartial"), ("bot_edit", "MessageEditRequestPartial"))
                         if edit else (("webhook", "IncomingWebhookRequestPartial"), ("bot", "MessageCreateRequest"))):
        form = check_message(kind, message)
        found += ([form.errors] if form.errors else []) + form.notes + schema_errors(schema, message)
    if not 1 <= len(message["embeds"]) <= 10 or sum(map(embed_size, message["embeds"])) > 6000:
        found.append("too many embeds, or more than 6000 characters in all")
    json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
    return found


# ─── The red message ──────────────────────────────────────────────────────────────────────────────────────────


def test_one_message_says_the_root_its_evidence_and_what_it_took_with_it() -> None:
    assert text_of(OUTAGE).splitlines() == [
        "[DEAD] genesis",
        "`genesis is DEAD — exit 1`",
        f"Exited (1) <t:{int(NOW - 14)}:R>",
        "**Was up:** 46s",
        "**Sentinel:** Restarting it now (attempt 1 of 5).",
        "**Took with it:**",
        f"• `flux ← genesis`: DEAD, exit 1, <t:{int(NOW - 10)}:R>; waits for genesis",
        f"• `pulse ← flux ← genesis`: UNHEALTHY, <t:{int(NOW - 5)}:R>; waits for flux",
        f"• `veil ← pulse ← flux ← genesis`: DEAD, exit 137 (SIGKILL), out of memory, <t:{int(NOW - 1)}:R>; back",
        "**Recover:** `docker compose -p shop -f /srv/shop/compose.yml up -d genesis`",
        "```", "SyntaxError: invalid syntax", "```"]  # fmt: skip


def test_what_was_restarted_with_it_did_not_die() -> None:
    one = Consequence(("web", "db"), Verdict.RESTARTED, 90.0, state="Restarting it now.")
    words = sentinel.consequence_words(one, moment)
    assert words == ("web ← db", "restarted with it, at 90; restarting it now")


def test_what_the_engine_did_not_bring_back_says_so() -> None:
    notice = replace(OUTAGE, verdict=Verdict.ENGINE_DOWN, name="box", container=None, exit_code=None, consequences=(
        Consequence(("web",), Verdict.DEAD, 90.0, 137, Cause.ENGINE),))  # fmt: skip
    assert "• `web`: DEAD, exit 137 (SIGKILL), not brought back by the engine" in text_of(notice)


def test_a_message_of_the_past_says_for_how_long_it_was_down_and_keeps_its_evidence() -> None:
    text = text_of(OVER, edit=True)
    assert "Recovered after 31s" in text and "[DEAD] genesis" in text and "SyntaxError" in text and "flux ← genesis" in text
    assert message_of(OVER, edit=True)["embeds"][0]["color"] == RED


def test_nothing_recovers_after_zero_seconds() -> None:
    assert "Recovered after 1s" in text_of(replace(OVER, recovered=0.2))


def test_a_root_that_gave_up_says_whom_it_takes_with_it() -> None:
    text = text_of(replace(OUTAGE, verdict=Verdict.GAVE_UP, attempts=5))
    assert "genesis stays down — exit 1, gave up after 5 restarts" in text
    assert "**Takes with it:** `flux and pulse`" in text
    assert "Takes with it" not in text_of(replace(OUTAGE, verdict=Verdict.GAVE_UP, consequences=()))


def test_flapping_is_said_and_when_green_comes() -> None:
    assert "**Flapping:** 4 incidents within an hour; green comes" in text_of(replace(OUTAGE, flaps=4))
    assert "Flapping" not in text_of(OUTAGE) and "Flapping" not in text_of(replace(BACK, flaps=4))


# ─── The green one ────────────────────────────────────────────────────────────────────────────────────────────


def test_green_says_who_came_back_with_it_and_who_did_not() -> None:
    text = text_of(BACK)
    assert "Recovered: genesis" in text and "genesis is back online (was down ~31s)" in text
    assert "**Back with it:** `veil`" in text
    assert "**Not back:**\n• `flux ← genesis`: DEAD" in text and "• `pulse ← flux ← genesis`: UNHEALTHY" in text
    assert "veil ←" not in text
    assert "Took with it" not in text and "docker compose" not in text and message_of(BACK)["embeds"][0]["color"] == GREEN


def test_green_for_all_names_nobody_who_is_not_back() -> None:
    text = text_of(replace(BACK, consequences=tuple(replace(one, back=True) for one in OUTAGE.consequences)))
    assert "**Back with it:** `flux, pulse and veil`" in text and "Not back" not in text


def test_green_for_one_alone_names_nobody_else() -> None:
    text = text_of(replace(BACK, consequences=()))
    assert "Back with it" not in text and "Not back" not in text


# ─── Folded, restarted, orphaned, still down, watching ────────────────────────────────────────────────────────


def test_what_was_folded_is_grey_and_points_to_its_root() -> None:
    notice = replace(OUTAGE, verdict=Verdict.FOLDED, name="flux", open=False, consequences=(), logs=(),
                     plan="It is a consequence of genesis: see incident 7.")  # fmt: skip
    embed = message_of(notice, edit=True)["embeds"][0]
    assert (embed["title"], embed["color"]) == ("Folded: flux", GREY)
    assert "flux did not die of itself" in embed["description"] and "see incident 7" in embed["description"]
    assert "docker" not in embed["description"] and "Exited" not in embed["description"]


@pytest.mark.parametrize("cause", [Cause.STALE, Cause.TOGETHER])
def test_what_was_restarted_is_grey_and_says_why(cause: Cause) -> None:
    notice = Notice(Verdict.RESTARTED, "web", 100.0, service("web"), cause, "shop", incident=3)
    embed = message_of(notice)["embeds"][0]
    assert (embed["title"], embed["color"]) == ("Restarted: web", GREY)
    assert "web was restarted by Sentinel" in embed["description"] and str(cause) in embed["description"]


def orphan(**facts: Any) -> Notice:
    container = service("torrent", labels=FILES, **facts)
    return Notice(Verdict.ORPHANED, "torrent", 100.0, container, Cause.ORPHAN, "shop", incident=3,
                  plan="Not restarted: only compose can put it back.", open=True)  # fmt: skip


def test_an_orphan_says_what_happened_and_the_command_that_helps() -> None:
    text = text_of(orphan())
    assert text.splitlines()[:3] == ["[ORPHANED] torrent", "`torrent is ORPHANED — its network is gone`", "Running"]
    assert "**Recover:** `docker compose -p shop -f /srv/shop/compose.yml up -d --force-recreate torrent`" in text
    assert "was recreated" in text and message_of(orphan())["embeds"][0]["color"] == RED


def test_the_command_for_a_lonely_container_that_lost_its_network_is_one_that_does_something() -> None:
    lonely = Container("a" * 64, "torrent", status="running", network_mode="container:" + "b" * 64)
    notice = replace(orphan(), container=lonely, cause=Cause.STALE)
    assert "docker start" not in text_of(notice)


def test_what_is_still_down_is_one_red_message_with_all_of_it() -> None:
    one = Notice(Verdict.STILL_DOWN, "web", 100.0, incident=9, downtime=14400.0, names=("web (4h)",), mention="<@&11111>")
    many = replace(one, name="3 services", names=("web (4h)", "db (1h)", "box (5m)"))
    assert "`web is still down`" in text_of(one) and "`3 services are still down`" in text_of(many)
    assert "web (4h), db (1h), box (5m)" in text_of(many)
    message = message_of(many)
    assert message["embeds"][0]["title"] == "[STILL DOWN] 3 services" and message["embeds"][0]["color"] == RED
    assert message["content"] == "<@&11111>"


def test_the_end_of_a_mute_says_what_is_stopped_and_what_is_gone() -> None:
    notice = Notice(Verdict.STILL_DOWN, "2 services", 100.0, incident=9, plan="The mute is over.",
                    facts=(("Stopped", "web"), ("Gone", "my__db__1")))  # fmt: skip
    text = text_of(notice)
    assert "**Stopped:** `web`" in text and "**Gone:** `my__db__1`" in text and "The mute is over." in text
    assert "Gone" not in text_of(replace(notice, facts=(("Stopped", "web"), ("Gone", ""))))


# ─── The greeting ─────────────────────────────────────────────────────────────────────────────────────────────


def greeted(*services: Container, degraded: str = "", channels: tuple[str, ...] = ("webhook",)) -> Notice:
    world = World(*services)
    watchdog = sentinel.Watchdog(Settings())
    watchdog.host = "box"
    watchdog.adopt_all(world.containers.values(), START)
    return sentinel.greeting(watchdog, [*channels], degraded, START, EPOCH + START)


def test_the_greeting_is_blue_and_says_what_is_watched_what_is_down_and_where_alerts_go() -> None:
    dead = service("db", status="exited", exit_code=3, finished_time=EPOCH + START - 7500)
    other = service("wiki", project="notes")
    notice = greeted(service("web"), dead, other, channels=("webhook", "bot", "drop"))
    embed = message_of(notice)["embeds"][0]
    assert (embed["title"], embed["color"]) == ("Watching: box", BLUE)
    assert embed["description"].splitlines() == [
        "`Sentinel watches the containers of box`", "**Watched:** 3 services in 2 projects",
        "**Already down:** `db (DEAD, exit 3, 2h5m)`", "**Alerts go to:** webhook, bot and drop"]  # fmt: skip


def test_a_greeting_of_one_and_of_none() -> None:
    assert "1 service in 1 project" in text_of(greeted(service("web")))
    assert "0 services in 0 projects" in text_of(greeted()) and "Already down" not in text_of(greeted())


def test_the_greeting_says_what_does_not_work_and_pings_nobody() -> None:
    message = message_of(replace(greeted(degraded="events are refused"), mention="@everyone"))
    assert "**Degraded:** events are refused" in message["embeds"][0]["description"] and "content" not in message


@pytest.mark.parametrize(("facts", "words"), [
    ({"status": "created", "started_time": 0.0}, "web (STOPPED)"), ({"status": "paused"}, "web (PAUSED, 1h)"),
    ({"health": Health.UNHEALTHY, "failing_streak": 3, "has_probe": True, "probe_output": "no"}, "web (UNHEALTHY, no, 1h)"),
    ({"status": "restarting", "restart_count": 4, "exit_code": 1, "finished_time": EPOCH + START - 5},
     "web (CRASH LOOP, exit 1, 5s)")])  # fmt: skip
def test_the_greeting_words_every_way_to_be_down(facts: dict[str, Any], words: str) -> None:
    assert dict(greeted(service("web", **facts)).facts)["Already down"].startswith(words[:-1])


def test_a_greeting_with_everything_down_fits() -> None:
    services = [service(f"{'s' * 60}{number}", status="exited", exit_code=1, finished_time=1.0) for number in range(500)]
    message = message_of(greeted(*services))
    assert refusals(message) == [] and "500 services" in message["embeds"][0]["description"]


# ─── Long lists, odd names ────────────────────────────────────────────────────────────────────────────────────


def many(count: int, length: int = 12, **facts: Any) -> tuple[Consequence, ...]:
    return tuple(replace(Consequence((f"{'n' * length}-{number}", "genesis"), Verdict.DEAD, 90.0, 1), **facts)
                 for number in range(count))  # fmt: skip


@pytest.mark.parametrize("count", [1, 19, 20, 21, 60, 400])
def test_as_many_consequences_are_listed_as_fit_and_all_are_counted(count: int) -> None:
    message = message_of(replace(OUTAGE, consequences=many(count)))
    lines = message["embeds"][0]["description"].splitlines()
    listed = [line for line in lines if line.startswith("• `n")]
    more = [int(found[1]) for line in lines if (found := re.match(r"• … and (\d+) more", line))]
    assert len(listed) + sum(more) == count and 1 <= len(listed) <= 20 and (not more or "history" in "".join(lines))
    assert refusals(message) == []
    assert "SyntaxError" in lines[-2] and any("**Recover:** `docker compose" in line for line in lines)


@pytest.mark.parametrize("size", [1, 2, 5, 10])
def test_long_chains_of_long_names_leave_room_for_the_cause(size: int) -> None:
    """However much it took with it, the command, and for one outage its last words, are there."""
    deep = tuple(Consequence(tuple(f"{'s' * 60}-{step}" for step in range(depth, -1, -1)), Verdict.DEAD, 90.0, 1,
                             state=f"Waits for {'s' * 60}-{depth - 1}.") for depth in range(1, 40))
    message = message_of(*(replace(OUTAGE, name=f"genesis-{number}", consequences=deep) for number in range(size)))
    assert refusals(message) == []
    for embed in message["embeds"]:
        assert "**Recover:** `docker compose -p shop" in embed["description"], embed["description"]
        assert size > 2 or "SyntaxError" in embed["description"]


LONG = [replace(OUTAGE, verdict=Verdict.GAVE_UP, attempts=5, consequences=many(200, 30)),
        replace(BACK, consequences=many(200, 30, back=True)), replace(BACK, consequences=many(200, 30)),
        Notice(Verdict.STILL_DOWN, "200 services", 100.0, names=tuple(f"{'n' * 30}-{n} (4h)" for n in range(200)),
               plan="The mute is over."),
        Notice(Verdict.STILL_DOWN, "200 services", 100.0, plan="The mute is over.",
               facts=(("Stopped", sentinel.listed(f"{'n' * 30}-{n}" for n in range(200))),))]  # fmt: skip


@pytest.mark.parametrize("notice", LONG, ids=["takes with it", "back with it", "not back", "services", "stopped"])
def test_long_lists_of_names_are_taken_by_discord(notice: Notice) -> None:
    assert refusals(message_of(notice)) == [] and refusals(message_of(notice, edit=True), True) == []


@pytest.mark.parametrize("notice", [notice for place, notice in
                                    enumerate(LONG)],
                         ids=["takes with it", "back with it", "not back", "services", "stopped"])  # fmt: skip
def test_long_lists_of_names_are_clipped_and_push_nothing_out(notice: Notice) -> None:
    description = message_of(notice)["embeds"][0]["description"]
    assert all(line.count("`") % 2 == 0 for line in description.splitlines() if line != "```"), "code is closed"
    assert ("docker compose" in description) == (notice.verdict is Verdict.GAVE_UP)
    assert ("SyntaxError" in description) == (notice.verdict is Verdict.GAVE_UP)
    assert ("The mute is over." in description) == (notice.verdict is Verdict.STILL_DOWN)


def test_underscores_and_stars_in_names_are_no_markdown() -> None:
    odd = Consequence(("my__flux__1", "gen_*_esis"), Verdict.DEAD, 90.0, 1, state="Waits for gen_*_esis and a_b.")
    notice = replace(OUTAGE, name="gen_*_esis", consequences=(odd,), plan="Waits for my__db__1.")
    description = message_of(notice)["embeds"][0]["description"]
    assert "`my__flux__1 ← gen_*_esis`" in description and r"waits for gen\_\*\_esis and a\_b" in description
    assert r"Waits for my\_\_db\_\_1." in description
    back = message_of(replace(BACK, consequences=(odd,)))["embeds"][0]["description"]
    assert "**Not back:**\n• `my__flux__1 ← gen_*_esis`: DEAD" in back


def test_a_name_breaks_out_of_nothing_and_pings_nobody() -> None:
    odd = Consequence(("@everyone `x` ```\n# head", "<@&11111>"), Verdict.DEAD, 90.0, 1, state="Waits for @here.")
    for edit in (False, True):
        message = message_of(replace(OUTAGE, consequences=(odd,), facts=(("Gone", "`@everyone`"),)), edit=edit)
        assert "content" not in message and message["allowed_mentions"] == {"parse": [], "roles": [], "users": []}
        line = next(line for line in message["embeds"][0]["description"].splitlines() if line.startswith("• "))
        assert line.count("`") == 2 and refusals(message, edit) == []


@pytest.mark.parametrize("mention", ["@everyone", "<@&11111>", "<@22222>"])
@pytest.mark.parametrize("verdict", list(Verdict))
def test_nothing_pings_on_an_edit(verdict: Verdict, mention: str) -> None:
    message = message_of(replace(OUTAGE, verdict=verdict, mention=mention), edit=True)
    assert "content" not in message and message["allowed_mentions"] == {"parse": [], "roles": [], "users": []}
    assert mention not in json.dumps(message)


# ─── Digests ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_digest_says_of_every_root_what_it_took_with_it() -> None:
    roots = [replace(OUTAGE, name=f"root-{number}", consequences=many(2, 3)) for number in range(15)]
    lines = [line for embed in message_of(*roots)["embeds"] for line in embed["description"].splitlines()]
    assert len(lines) == 15 and all("took with it: nnn-0, nnn-1" in line for line in lines)


def test_in_a_digest_a_long_list_still_says_what_it_is() -> None:
    roots = [replace(OUTAGE, name=f"root-{number}", consequences=many(30, 12)) for number in range(30)]
    lines = [line for embed in message_of(*roots)["embeds"] for line in embed["description"].splitlines()]
    assert len(lines) == 30
    assert all("nnnn" not in line or "took with it" in line for line in lines)


def test_a_digest_of_greens_names_them_and_its_edit_keeps_its_order() -> None:
    greens = [replace(BACK, name=f"root-{number}") for number in range(12)]
    assert all(f"root-{number} is back online" in text_of(*greens) for number in range(12))
    reds = [replace(OUTAGE, name=f"root-{number}") for number in range(12)]
    edited = [*reds[:5], replace(reds[5], verdict=Verdict.GAVE_UP, attempts=5), *reds[6:]]
    names = re.findall(r"`(root-\d+) ", text_of(*edited, edit=True))
    assert names == [f"root-{number}" for number in range(12)]


# ─── Anything ─────────────────────────────────────────────────────────────────────────────────────────────────

NASTY = ("plain", "", " ", "x" * 300, "```", "`` ` ```\n```", "**b** __u__ ~~s~~ ||p||", "[l](https://evil.example)",
         "@everyone @here <@&1234567>", "\x1b[31mred\x1b[0m", "\u202egnp", "\ud800", "\x00\x7f", "a\nb\r\tc", "日本" * 90,
         "👩‍👩‍👧‍👦" * 30, "a" * 3000, "\\", "# h", "<t:0:R>", "é" * 200, "\u2028", "ﷺ" * 100)  # fmt: skip
#: One of them or two, equally often: a hundred thousand texts are taken of these.
NASTIER = [first + second for first in NASTY for second in (*[""] * len(NASTY), *NASTY)]
VERDICTS, CAUSES = list(Verdict), list(Cause)


def anything(dice: random.Random) -> Notice:
    """A notice of an outage with any facts, its texts as bad as they get."""
    text = lambda: dice.choice(NASTIER)  # noqa: E731
    container = Container("a", text(), {"com.docker.compose.service": text(), "com.docker.compose.project": text()},
                          dice.choice(("exited", "running", "dead")), error=text())  # fmt: skip
    consequences = tuple(Consequence(
        tuple(text() for _ in range(dice.choice((1, 2, 5)))), dice.choice(VERDICTS), dice.uniform(0, 1e6),
        dice.choice((None, 0, 137)), dice.choice(CAUSES), text(), dice.random() < 0.5)
        for _ in range(dice.choice((0, 1, 4, 25, 120))))  # fmt: skip
    return Notice(
        dice.choice(VERDICTS), text() or "web", dice.uniform(0, 1e6), dice.choice((container, None)),
        dice.choice(CAUSES), text(), dice.randint(0, 10**6), dice.choice((None, 137)), None, dice.choice((None, 1e9)),
        dice.randint(0, 9), dice.randint(0, 9), text(), text(), tuple(text() for _ in range(dice.choice((0, 9)))),
        names=tuple(text() for _ in range(dice.choice((0, 50)))), mention=dice.choice(("", "@here")),
        consequences=consequences, facts=tuple((dice.choice(("Stopped", "Degraded")), text()) for _ in range(3)),
        open=True, recovered=dice.choice((None, 0.0, 1e9)), flaps=dice.choice((0, 7)))  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 11, 25, 40])
@pytest.mark.parametrize("edit", [False, True], ids=["post", "edit"])
def test_discord_takes_every_outage_and_every_edit_whatever_is_in_it(size: int, edit: bool) -> None:
    dice = random.Random(size)
    for _ in range(max(2, 24 // size)):
        notices = [anything(dice) for _ in range(size)]
        message = message_of(*notices, edit=edit, plain=dice.random() < 0.3, host=dice.choice(NASTY))
        assert refusals(message, edit) == []
        assert not edit or "content" not in message


def test_whatever_is_in_an_outage_breaks_no_card_in_a_terminal() -> None:
    dice = random.Random(4)
    for _ in range(60):
        text = sentinel.terminal_card(card(anything(dice)), 80, coloured=False)
        assert all(line.startswith("| ") for line in text.split("\n")) and "\x1b" not in text and "\r" not in text


def test_a_card_in_a_terminal_lists_the_consequences() -> None:
    lines = sentinel.terminal_card(card(OUTAGE), 120, coloured=False).splitlines()
    at = lines.index("| Took with it:")
    assert lines[at + 1] == "|   flux ← genesis: DEAD, exit 1, at 90; waits for genesis" and len(lines) > at + 4


# ─── Secrets ──────────────────────────────────────────────────────────────────────────────────────────────────

SECRET = "hunter2hunter2"


@pytest.mark.parametrize("place", ["logs", "error", "plan", "state", "facts"])
def test_a_secret_that_can_be_told_as_one_is_in_no_message_and_not_in_the_ledger(place: str) -> None:
    words = f"403 from the proxy: password={SECRET}"
    made: dict[str, Any] = {"logs": (words,), "error": words, "plan": words, "facts": (("Degraded", words),)}
    notice = replace(OUTAGE, consequences=(replace(FLUX, state=words if place == "state" else ""),),
                     **{place: made[place]} if place in made else {})  # fmt: skip
    found = SECRET in json.dumps([message_of(notice), message_of(notice, edit=True), sentinel.notice_record(notice, 0.0)])
    found = found or SECRET in sentinel.terminal_card(card(notice), 200, coloured=False)
    assert not found
