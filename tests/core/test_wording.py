"""Wording: what people read, within every limit of Discord, and with nothing in it that a container's output could abuse.
Of one alert; of outages, with root and consequences in one message, what is edited, what is back and who is not; of
reminders, mutes, greetings; in a terminal; in `check`."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import time
from dataclasses import replace
from typing import Any

import pytest
from support import insides
from support.fake_discord import check_message, embed_size, schema_errors, trimmed
from support.scenario import EPOCH, START, World, service

import sentinel
from sentinel import Cause, Consequence, Container, Deliver, Health, Notice, Settings, State, Verdict

NOW = 1_800_000_000.0
RED, GREEN, GREY, AMBER, BLUE = 0xED4245, 0x57F287, 0x95A5A6, 0xFEE75C, 0x5865F2
WEB = service("shop-web-1", "unless-stopped", status="exited", exit_code=137, started_time=NOW - 4000,
              finished_time=NOW - 400,
              memory_limit=64 * 2**20, files_seen=True, labels={"com.docker.compose.service": "web",
                                               "com.docker.compose.project.config_files": "/srv/shop/compose.yml"})
DEAD = Notice(Verdict.DEAD, "shop-web-1", 100.0, WEB, Cause.OOM, "shop", incident=7, exit_code=137, uptime=3600.0,
              downtime=0.0,
              deaths=1, plan="Restarting it now (attempt 1 of 5).", logs=("starting", "out of heap"))
BACK = Notice(Verdict.RECOVERED, "shop-web-1", 131.0, WEB, project="shop", incident=7, downtime=31.0, deaths=1, attempts=1)
STOP = Notice(Verdict.STOPPED, "shop-web-1", 100.0, WEB, Cause.STOP, "shop", exit_code=0)


def moment(at: float) -> str:
    return f"at {at:.0f}"


def message_of(notices: list[Notice], host: str = "box", offset: float = 0.0, plain: bool = False, later: float = 0.0,
               why_late: str = "") -> dict[str, Any]:
    """The message for some notices, told as soon as the last of them has happened, or later."""
    job = Deliver("discord", tuple(notices), host, "1-9", plain, why_late)
    return sentinel.message_of(job, max(notice.at for notice in notices) + later, offset)


def refusals(message: dict[str, Any]) -> list[object]:
    """Everything Discord would say against a message: its published schema, and what that does not say."""
    form = check_message("webhook", trimmed(message))
    found: list[object] = [form.errors] if form.errors else []
    found += form.notes + schema_errors("IncomingWebhookRequestPartial", message)
    if sum(map(embed_size, message["embeds"])) > 6000:
        found.append("more than 6000 characters in all")
    if len(message["embeds"]) > 10 or not message["embeds"]:
        found.append(f"{len(message['embeds'])} embeds")
    if set(message["allowed_mentions"]) != {"parse", "roles", "users"}:
        found.append(f"allowed_mentions are {message['allowed_mentions']}")
    json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
    return found


# ─── The words ────────────────────────────────────────────────────────────────────────────────────────────────



SICK = replace(DEAD.container, status="running", health=sentinel.Health.UNHEALTHY, failing_streak=3)


@pytest.mark.parametrize(("notice", "title", "colour", "headline"), [
    (DEAD, "[DEAD] shop-web-1", RED, "shop-web-1 is DEAD — exit 137 (SIGKILL)"),
    (replace(DEAD, exit_code=3), "[DEAD] shop-web-1", RED, "shop-web-1 is DEAD — exit 3"),
    (replace(DEAD, cause=Cause.CANT_START, exit_code=None), "[DEAD] shop-web-1", RED, "shop-web-1 is DEAD — can't start"),
    (replace(DEAD, verdict=Verdict.UNHEALTHY, cause=Cause.UNHEALTHY), "[UNHEALTHY] shop-web-1", RED,
     "shop-web-1 is UNHEALTHY — its health check fails"),
    (replace(DEAD, verdict=Verdict.CRASH_LOOP, exit_code=1, deaths=3, downtime=42.0), "[CRASH LOOP] shop-web-1", RED,
     "shop-web-1 is in a CRASH LOOP — exit 1, died 3 times in 42s"),
    (replace(DEAD, verdict=Verdict.GAVE_UP, exit_code=1, attempts=5), "[GAVE UP] shop-web-1", RED,
     "shop-web-1 stays down — exit 1, gave up after 5 restarts"),
    (replace(DEAD, verdict=Verdict.GAVE_UP, exit_code=None, attempts=5, container=SICK), "[GAVE UP] shop-web-1", RED,
     "shop-web-1 stays unhealthy, gave up after 5 restarts"),
    (replace(DEAD, verdict=Verdict.CRASH_LOOP, cause=Cause.UNHEALTHY, exit_code=None, deaths=3, downtime=42.0),
     "[CRASH LOOP] shop-web-1", RED, "shop-web-1 is in a CRASH LOOP — unhealthy, died 3 times in 42s"),
    (replace(DEAD, cause=Cause.NEVER_STARTED, exit_code=None), "[DEAD] shop-web-1", RED,
     "shop-web-1 is DEAD — never started"),
    (replace(DEAD, verdict=Verdict.FAILED, exit_code=2), "[FAILED] shop-web-1", RED, "shop-web-1 has FAILED — exit 2"),
    (Notice(Verdict.ENGINE_DOWN, "box", 1.0, error="no such socket"), "[ENGINE DOWN] box", RED,
     "The Docker Engine on box does not answer"),
    (BACK, "Recovered: shop-web-1", GREEN, "shop-web-1 is back online (was down ~31s)"),
    (STOP, "Stopped: shop-web-1", GREY, "shop-web-1 was stopped on purpose — exit 0"),
    (replace(STOP, cause=Cause.REMOVED, exit_code=None), "Stopped: shop-web-1", GREY, "shop-web-1 was removed"),
    (replace(DEAD, verdict=Verdict.CHILD_OOM), "[OUT OF MEMORY] shop-web-1", AMBER,
     "A process in shop-web-1 was killed: out of memory; the container lives on"),
])
def test_titles_colours_and_headlines(notice: Notice, title: str, colour: int, headline: str) -> None:
    card = sentinel.card_of(notice, "box", moment)
    assert (card.title, card.colour, card.headline) == (title, colour, headline)
    embed = message_of([notice], "box", 0.0)["embeds"][0]
    assert (embed["title"], embed["color"]) == (title, colour) and embed["description"].startswith(f"`{headline}`")


def test_a_vanished_service_says_why() -> None:
    card = sentinel.card_of(replace(DEAD, verdict=Verdict.VANISHED, cause=Cause.FAILED_UPDATE), "box", moment)
    assert (card.title, card.colour) == ("[VANISHED] shop-web-1",
                                         RED) and card.headline.endswith(f"VANISHED — {Cause.FAILED_UPDATE}")


def test_every_verdict_has_words() -> None:
    for verdict in set(Verdict) - set(sentinel.OTHERS):
        card = sentinel.card_of(replace(DEAD, verdict=verdict), "box", moment)
        assert str(verdict) in card.title and card.headline.strip() and card.title.endswith("shop-web-1")


def test_a_red_embed_says_everything_in_the_order_in_which_it_is_read() -> None:
    embed = message_of([DEAD], "box", NOW - 100)["embeds"][0]
    assert embed["description"].splitlines() == [
        "`shop-web-1 is DEAD — exit 137 (SIGKILL)`",
        f"Exited (137) <t:{int(NOW)}:R>",
        "**Cause:** out of memory (its limit is 64 MiB)",
        "**Was up:** 1h",
        "**Sentinel:** Restarting it now (attempt 1 of 5).",
        "**Recover:** `docker compose -p shop -f /srv/shop/compose.yml up -d web --no-recreate`",
        "```", "starting", "out of heap", "```",
    ]
    assert embed["footer"] == {"text": "box · incident 7"} and embed["timestamp"].startswith("2027-01-15T08:00:00")


def test_a_green_embed_says_how_often_it_died_and_shows_no_logs() -> None:
    embed = message_of([replace(BACK, deaths=3, attempts=2, logs=("noise",))], "box", 0.0)["embeds"][0]
    assert "3 deaths, 2 restarts by Sentinel" in embed["description"] and "noise" not in embed["description"]
    assert "docker" not in embed["description"]


@pytest.mark.parametrize("seconds", [0.0, 0.3, None])
def test_nothing_was_ever_down_for_zero_seconds(seconds: float | None) -> None:
    assert sentinel.headline(replace(BACK, downtime=seconds)).endswith("(was down ~1s)")


@pytest.mark.parametrize(("code", "words"), [
    (0, "exit 0"), (1, "exit 1"), (126, "exit 126"), (127, "exit 127"), (128, "exit 128"), (129, "exit 129 (SIGHUP)"),
    (134, "exit 134 (SIGABRT)"), (137, "exit 137 (SIGKILL)"), (139, "exit 139 (SIGSEGV)"), (143, "exit 143 (SIGTERM)"),
    (159, "exit 159 (SIGSYS)"), (160, "exit 160"), (162, "exit 162"), (192, "exit 192"), (255, "exit 255"),
    (None, "exit code unknown"), (-1, "exit -1"),
])
def test_a_code_names_its_signal_where_it_means_one(code: int | None, words: str) -> None:
    assert sentinel.exit_words(code) == words


def composed(**labels: str) -> dict[str, str]:
    """Labels of compose."""
    named = {"config_files": "project.config_files", "working_dir": "project.working_dir",
             "environment_file": "project.environment_file"}
    given = {"project": "shop", "service": "web"} | {named.get(name, name): text for name, text in labels.items()}
    return {f"com.docker.compose.{name}": text for name, text in given.items()}


TWO = {"config_files": "/a b/c.yml,/d.yml", "working_dir": "/a b"}
ELSEWHERE = {"config_files": "/srv/app/deploy/compose.yaml", "working_dir": "/srv/app",
             "environment_file": "/srv/app/prod.env"}


@pytest.mark.parametrize(("labels", "facts", "commands"), [
    ({}, {}, ["docker start shop-web-1"]),
    (composed(), {}, ["docker start shop-web-1"]),
    (composed(**TWO), {"files_seen": True}, ["docker compose -p shop -f '/a b/c.yml' -f /d.yml up -d web --no-recreate"]),
    (composed(**TWO), {}, ["docker start shop-web-1",
                           "docker compose -p shop -f '/a b/c.yml' -f /d.yml up -d web --no-recreate"]),
    (composed(**TWO, environment_file="/a b/.env"), {"files_seen": True},
     ["docker compose -p shop -f '/a b/c.yml' -f /d.yml up -d web --no-recreate"]),
    (composed(**ELSEWHERE), {"files_seen": True},
     ["docker compose -p shop --project-directory /srv/app --env-file /srv/app/prod.env "
      "-f /srv/app/deploy/compose.yaml up -d web --no-recreate"]),
    (composed(**ELSEWHERE), {"status": "removed"},
     ["docker compose -p shop --project-directory /srv/app --env-file /srv/app/prod.env "
      "-f /srv/app/deploy/compose.yaml up -d web"]),
    (composed(**ELSEWHERE), {"recreate": True},
     ["docker compose -p shop --project-directory /srv/app --env-file /srv/app/prod.env "
      "-f /srv/app/deploy/compose.yaml up -d --force-recreate web"]),
    (composed(**TWO), {"files_seen": True, "status": "running", "health": sentinel.Health.UNHEALTHY, "failing_streak": 3},
     ["docker compose -p shop -f '/a b/c.yml' -f /d.yml restart web"]),
    (composed(), {"status": "running", "health": sentinel.Health.UNHEALTHY, "failing_streak": 3},
     ["docker restart shop-web-1"]),
    (composed(**TWO), {"files_seen": True, "scale": 3},
     ["docker compose -p shop -f '/a b/c.yml' -f /d.yml up -d web --no-recreate --scale=web=3"]),
    (composed(config_files="-"), {}, ["docker start shop-web-1"]),
    (composed(config_files="-"), {"recreate": True}, []),
    (composed(config_files="-"), {"status": "removed"}, []),
    (composed(oneoff="True"), {}, ["docker start shop-web-1"]),
    (composed(service="web; rm -rf /", config_files="/c.yml", working_dir="/"), {"files_seen": True},
     ["docker compose -p shop -f /c.yml up -d 'web; rm -rf /' --no-recreate"]),
])
def test_the_recovery_commands_bring_back_the_same_container(labels: dict[str, str], facts: dict[str, Any],
                                                             commands: list[str]) -> None:
    recreate, scale = facts.pop("recreate", False), facts.pop("scale", 1)
    container = Container("a", **{"name": "shop-web-1", "labels": labels, "status": "exited"} | facts)
    assert list(sentinel.recovery_commands(container, recreate, scale)) == commands


@pytest.mark.parametrize(("size", "words"), [(64 * 2**20, "64 MiB"), (2**30, "1 GiB"), (1536 * 2**20, "1.5 GiB"),
                                             (6 * 2**20, "6 MiB")])
def test_a_memory_limit_is_said_as_people_set_it(size: int, words: str) -> None:
    assert sentinel.memory_words(size) == words


def test_the_last_log_lines_are_kept_where_not_all_fit() -> None:
    logs = (*(f"line {number} {'x' * 300}" for number in range(40)), "the cause")
    description = message_of([replace(DEAD, logs=logs)], "box", 0.0)["embeds"][0]["description"]
    assert description.endswith("the cause\n```") and "line 39" in description and "line 1 " not in description


def test_a_long_log_line_is_cut() -> None:
    assert max(map(len, sentinel.shown_lines(["y" * 5000, "short"]))) <= 400


def test_an_alert_that_comes_late_says_how_late_and_why() -> None:
    assert "**Late:** 12m ago; no route" in message_of([DEAD], later=720.0, why_late="no route")["embeds"][0]["description"]
    assert "Late" not in message_of([DEAD], later=5.0, why_late="no route")["embeds"][0]["description"]


def test_stops_of_one_project_are_one_notice() -> None:
    names = ["shop-web-1", "shop-db-1", "shop-cache-1"]
    notices = [replace(STOP, name=name) for name in names]
    notices += [replace(STOP, name="wiki", project="wiki"), replace(STOP, cause=Cause.REMOVED)]
    embeds = message_of(notices, "box", 0.0)["embeds"]
    assert [embed["title"] for embed in embeds] == ["Stopped: shop", "Stopped: wiki", "Stopped: shop-web-1"]
    assert all(name in embeds[0]["description"] for name in names)


@pytest.mark.parametrize(("size", "title", "words"), [
    (2, "Stopped: shop-web-2 and shop-web-3", "shop-web-2 and shop-web-3 were removed"),
    (5, "Stopped: 5 containers of shop", "5 containers of shop were removed")])
def test_what_was_scaled_down_is_named_and_not_its_project(size: int, title: str, words: str) -> None:
    gone = [replace(STOP, name=f"shop-web-{number + 2}", cause=Cause.REMOVED, exit_code=None, lives_on=True)
            for number in range(size)]
    (embed,) = message_of(gone, "box", 0.0)["embeds"]
    assert embed["title"] == title and words in embed["description"] and "shop-web-3" in embed["description"]


def test_deaths_of_one_project_stay_apart() -> None:
    assert len(message_of([DEAD, replace(DEAD, name="shop-db-1")], "box", 0.0)["embeds"]) == 2


# ─── Who is pinged ────────────────────────────────────────────────────────────────────────────────────────────


def test_only_red_pings_and_exactly_those_who_were_asked_for() -> None:
    message = message_of([replace(DEAD, mention="<@&11111> <@22222>"), replace(DEAD, mention="<@!33333> <@&11111>")],
                         "box", 0.0)
    assert message["content"] == "<@&11111> <@22222> <@!33333> <@&11111>"
    assert message["allowed_mentions"] == {"parse": [], "roles": ["11111"], "users": ["22222", "33333"]}


@pytest.mark.parametrize("word", ["@here", "@everyone"])
def test_everybody_is_pinged_only_if_asked_for(word: str) -> None:
    assert message_of([replace(DEAD, mention=word)], "box", 0.0)["allowed_mentions"]["parse"] == ["everyone"]


@pytest.mark.parametrize("notice", [BACK, STOP, replace(DEAD, verdict=Verdict.CHILD_OOM)])
def test_green_grey_and_amber_ping_nobody(notice: Notice) -> None:
    message = message_of([replace(notice, mention="@everyone")], "box", 0.0)
    assert "content" not in message and message["allowed_mentions"] == {"parse": [], "roles": [], "users": []}


def test_container_output_pings_nobody() -> None:
    message = message_of([replace(DEAD, name="@everyone", logs=("@everyone <@&11111>",), error="<@22222> @here")],
                         "@here", 0.0)
    assert "content" not in message and message["allowed_mentions"] == {"parse": [], "roles": [], "users": []}


# ─── Hostile texts, and Discord's limits ──────────────────────────────────────────────────────────────────────

NASTY = ("plain", "", " ", "x" * 300, "```", "`` ` ```\n```", "**bold** __u__ ~~s~~ ||spoiler||",
         "[link](https://evil.example)",
         "@everyone @here <@&1234567>", "\x1b[31mred\x1b[0m", "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07",
         "\u202egnp.exe",
         "\ud800 half", "\x00\x01\x7f", "tab\tand\rreturn", "line\nbreak", "日本語" * 40, "👩‍👩‍👧‍👦" * 30, "a" * 3000, "\\",
         "# head", "> quote",
         "<t:0:R>", "🔥", "-" * 500, "e\u0301" * 200, "\u2028", "ﷺ" * 100)


def random_notice(dice: random.Random) -> Notice:
    """A notice with any facts, its texts as bad as they get."""
    text = lambda: dice.choice(NASTY) + dice.choice(("", dice.choice(NASTY)))  # noqa: E731
    labels = {"com.docker.compose.project": text(), "com.docker.compose.service": text(),
              "com.docker.compose.container-number": "1",
              "com.docker.compose.project.config_files": text()} if dice.random() < 0.7 else {}
    name = dice.choice(("web", "shop-my__name__-1", "w" * 250, text() or "web"))
    container = Container(
        "a", name=name, labels=labels, status=dice.choice(("exited", "running", "restarting", "created", "dead")),
        health=dice.choice(list(Health)), failing_streak=dice.randint(0, 3), error=text(), restart_policy=text(),
        memory_limit=dice.choice((0, 2**40)))
    return Notice(
        dice.choice(list(Verdict)), name, dice.uniform(0, 1e6), dice.choice((container, None)), dice.choice(list(Cause)),
        dice.choice(("", "shop", text())), dice.randint(0, 10**6), dice.choice((None, 0, 1, 137, 255)),
        dice.choice((None, 0.0, 1e9)), dice.choice((None, 0.0, 1e9)), dice.randint(0, 10**6), dice.randint(0, 99),
        text(), text(),
        tuple(text() for _ in range(dice.choice((0, 1, 5, 40)))), (), dice.choice(("", "@here", "<@&1234567> <@7654321>")))


@pytest.mark.parametrize("size", [1, 2, 5, 9, 10, 11, 25, 40])
@pytest.mark.parametrize("bare", [False, True])
def test_discord_takes_every_message_whatever_is_in_it(size: int, bare: bool) -> None:
    dice = random.Random(size)
    for _ in range(max(2, 16 // size)):
        notices = [random_notice(dice) for _ in range(size)]
        host = dice.choice((*NASTY, "box"))
        assert refusals(message_of(notices, host, NOW, bare, dice.choice((0.0, 1e5)), dice.choice(NASTY))) == [], notices


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("size", [11, 40])
def test_discord_takes_many_long_alerts_of_one_kind(verdict: Verdict, size: int) -> None:
    notices = [replace(DEAD, verdict=verdict, name=f"{'n' * 200}-{number}", project="", logs=("l" * 400,))
               for number in range(size)]
    assert refusals(message_of(notices, "h" * 300, NOW)) == []


@pytest.mark.parametrize("size", [11, 25, 40])
def test_a_digest_names_every_service_and_how_it_ended(size: int) -> None:
    notices = [replace(DEAD, name=f"shop-web-{number}", exit_code=number) for number in range(size)]
    message = message_of(notices, "box", NOW)
    assert sum(int(embed["title"].split()[1]) for embed in message["embeds"]) == size
    lines = [line for embed in message["embeds"] for line in embed["description"].splitlines()]
    assert len(lines) == size
    assert all(f"shop-web-{number} is DEAD — exit {number}" in line for number, line in enumerate(lines))
    if size == 11:
        assert all("docker compose" in line and "out of heap" in line for line in lines)


def test_a_digest_has_an_embed_for_each_colour_with_a_title_for_all_of_it() -> None:
    others = [replace(notice, name=f"{notice.name}{number}", project="") for number in range(5)
              for notice in (DEAD, BACK, replace(DEAD, verdict=Verdict.CHILD_OOM))]
    embeds = message_of(others, "box", NOW)["embeds"]
    assert [embed["color"] for embed in embeds] == [RED, AMBER, GREEN]
    assert [embed["title"] for embed in embeds] == ["[DEAD] 5 services", "[OUT OF MEMORY] 5 services",
                                                    "Recovered: 5 services"]


def test_an_alert_that_stands_alone_in_its_colour_is_not_alerts() -> None:
    embeds = message_of([DEAD, *(replace(BACK, name=f"w{number}") for number in range(12))], "box", NOW)["embeds"]
    assert embeds[0]["color"] == RED and not embeds[0]["title"].startswith("1 alerts")


def test_the_plainest_form_says_the_same_without_logs_footer_and_time() -> None:
    embed = message_of([DEAD], "box", NOW, plain=True)["embeds"][0]
    assert set(embed) == {"title", "description", "color"}
    assert "exit 137 (SIGKILL)" in embed["description"] and "```" not in embed["description"]


@pytest.mark.parametrize("evil", ["```", "``` @everyone", "````", "`", "x```", "```\n**bold**", "‵```"])
def test_nothing_in_a_log_ends_its_code_block(evil: str) -> None:
    description = message_of([replace(DEAD, logs=("before", evil, "after"))], "box", 0.0)["embeds"][0]["description"]
    assert description.count("```") == 2 and description.endswith("after\n```")


@pytest.mark.parametrize("name", ["my__name__x", "*bold*", "~~gone~~", "a`b", "||x||"])
def test_markdown_in_a_name_stays_as_it_is(name: str) -> None:
    stops = [replace(STOP, name=name), replace(STOP, name="other")]
    for notices in ([replace(DEAD, name=name, container=replace(WEB, name=name, labels={}))], stops,
                    [replace(BACK, name=name)]):
        description = message_of(notices, "box", 0.0)["embeds"][0]["description"]
        outside = re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", description, flags=re.DOTALL))
        assert name not in outside and name.replace("`", "ˋ") in description


def test_what_cannot_be_shown_is_left_out() -> None:
    lines = sentinel.shown_lines(["\x1b[1;31merror\x1b[0m", "\x1b]0;title\x07done", "a\x00b\ud800c\u202ed", "\ttab", "",
                                  "  ", "\x1b[2K"])
    assert lines == ["error", "done", "abcd", "    tab"]


@pytest.mark.parametrize("unit", ["a.", "a-", "sk-", "password", "eyJaaaaaaaaaa.", "a://", "Bearer ", "\x1b]", "x=",
                                  "/webhooks/1/"])
def test_a_long_line_takes_no_long_time(unit: str) -> None:
    line = (unit * 4000)[:4000]
    began = time.process_time()
    sentinel.shown_lines([line])
    assert time.process_time() - began < 0.25


def test_a_line_of_a_megabyte_is_cut_quickly() -> None:
    began = time.process_time()
    assert len(sentinel.shown_lines(["lorem ipsum " * 87_000])[0]) <= 400
    assert time.process_time() - began < 1.0


# ─── Secrets ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("text", "secret"), [
    ("password=hunter22", "hunter22"), ("PASSWORD: hunter22", "hunter22"), ('"db_password": "hunter22"', "hunter22"),
    ("POSTGRES_PASSWORD=hunter22 starting", "hunter22"), ("pwd=hunter22;", "hunter22"), ("api_key => hunter22", "hunter22"),
    ("apikey=hunter22", "hunter22"), ("X-Api-Key: hunter22", "hunter22"), ("aws_secret_access_key = hunter22", "hunter22"),
    ("Authorization: Bearer abc.def-ghi_123", "abc.def-ghi_123"), ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("postgres://app:hunter22@db:5432/shop", "hunter22"), ("redis://:hunter22@cache/0", "hunter22"),
    ("https://discord.com/api/webhooks/12345/s3cr-3t_token", "s3cr-3t_token"),
    ("key AKIAIOSFODNN7EXAMPLE used", "AKIAIOSFODNN7EXAMPLE"), ("ghp_" + "a1" * 18, "a1a1a1"),
    ("xoxb-123456789012-abcdef", "123456789012"),
    ("sk-" + "b2" * 15, "b2b2b2"), ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
    ("token: 'hunter22'", "hunter22"),
    ("--password hunter22", "hunter22"), ("postgres://app:p@ss@db/shop", "ss@db"),
])
def test_a_secret_that_can_be_told_as_one_is_never_shown(text: str, secret: str) -> None:
    assert secret not in sentinel.redact(text) and "***" in sentinel.redact(text)
    message = json.dumps(message_of([replace(DEAD, logs=(text,), error=text)], "box", 0.0), ensure_ascii=False)
    assert secret not in message and secret not in sentinel.log_line("info", text, NOW, "text")


@pytest.mark.parametrize("text", [
    "listening on 0.0.0.0:8080", "GET /index.html 200", "http://db:5432/shop", "the password is wrong", "user@example.com",
    "postgres://app@db/shop", "token expired", "2026-11-22T03:16:28Z error: connection refused",
])
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert sentinel.redact(text) == text


# ─── The terminal ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_plain_card() -> None:
    card = sentinel.card_of(DEAD, "box", moment)
    assert sentinel.terminal_card(card, 100, coloured=False).splitlines() == [
        "| [DEAD] shop-web-1", "| shop-web-1 is DEAD — exit 137 (SIGKILL)", "| Exited (137) at 100",
        "| Cause: out of memory (its limit is 64 MiB)", "| Was up: 1h", "| Sentinel: Restarting it now (attempt 1 of 5).",
        "| Recover: docker compose -p shop -f /srv/shop/compose.yml up -d web --no-recreate", "| Last log lines:",
        "|   starting", "|   out of heap",
        "| box · incident 7"]


@pytest.mark.parametrize(("notice", "colour"),
                         [(DEAD, 31), (BACK, 32), (STOP, 90), (replace(DEAD, verdict=Verdict.CHILD_OOM), 33)])
def test_a_coloured_card_has_its_edge_in_its_colour_and_ends_every_colour(notice: Notice, colour: int) -> None:
    card = sentinel.card_of(notice, "box", moment)
    lines = sentinel.terminal_card(card, 100, coloured=True).splitlines()
    assert all(line.startswith(f"\x1b[{colour}m▌\x1b[0m ") for line in lines)
    assert all(line.count("\x1b[0m") >= line.count("\x1b[1m") + line.count(f"\x1b[{colour}m") for line in lines)
    bare = [re.sub(r"\x1b\[\d+m", "", line).replace("▌", "|") for line in lines]
    assert bare == sentinel.terminal_card(card, 100, coloured=False).splitlines()


def test_a_card_fits_its_terminal_but_for_the_command_which_has_to_be_whole() -> None:
    card = sentinel.card_of(replace(DEAD, logs=("y" * 390,), plan="p" * 200), "box", moment)
    lines = sentinel.terminal_card(card, 40, coloured=False).splitlines()
    assert all(len(line) <= 40 for line in lines if "Recover:" not in line)
    assert any(line.endswith(" or ".join(card.commands)) for line in lines)


def test_no_text_of_the_engines_or_a_container_breaks_a_card_or_controls_a_terminal() -> None:
    dice = random.Random(3)
    for _ in range(60):
        card = sentinel.card_of(random_notice(dice), "box", moment)
        text = sentinel.terminal_card(card, 80, coloured=False)
        assert all(line.startswith("| ") for line in text.split("\n")), text
        assert "\x1b" not in text and "\r" not in text


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_line_is_one_line(form: str) -> None:
    line = sentinel.log_line("warning", "two\nlines\r\x1b[31m \ud800and password=hunter22", NOW, form)
    assert "\n" not in line and "\r" not in line and "\x1b" not in line and "hunter22" not in line
    assert line.encode() and "2027-01-15T08:00:00Z" in line and "two lines" in line
    if form == "json":
        assert json.loads(line)["level"] == "warning"


# ─── The journal ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("level", "priority"), [("error", 3), ("warning", 4), ("info", 6), ("other", 6)])
def test_the_journal_reads_priorities_and_has_its_own_clock(level: str, priority: int) -> None:
    assert sentinel.log_line(level, "web is DEAD", NOW, "journal") == f"<{priority}>web is DEAD"


@pytest.mark.parametrize("form", ["journal", "text", "json"])
def test_a_line_of_the_record_is_one_line_without_secrets_in_every_form(form: str) -> None:
    line = sentinel.log_line("error", "a\nb\r\n<0>c \x1b[31mpassword=hunter22", NOW, form)
    assert "\n" not in line and "\r" not in line and "\x1b" not in line and "hunter22" not in line


def test_the_journal_is_known_by_its_file() -> None:
    reader, writer = os.pipe()
    try:
        there = os.fstat(writer)
        name = f"{there.st_dev}:{there.st_ino}"
        assert sentinel.journal_is({"JOURNAL_STREAM": name}, writer)
        assert not sentinel.journal_is({"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino + 1}"}, writer)
        assert not sentinel.journal_is({"JOURNAL_STREAM": "rubbish"}, writer)
        assert not sentinel.journal_is({}, writer)
    finally:
        os.close(reader)
        os.close(writer)
    assert not sentinel.journal_is({"JOURNAL_STREAM": name}, writer), "a descriptor that is closed"


# ─── check ────────────────────────────────────────────────────────────────────────────────────────────────────


def stands(**facts: Any) -> Container:
    return service("web", **({"finished_time": NOW} | facts))


@pytest.mark.parametrize(("container", "job", "asked", "word", "severity"), [
    (stands(), False, None, "UP", 0),
    (stands(health=Health.STARTING), False, None, "STARTING", 0),
    (stands(health=Health.UNHEALTHY, failing_streak=2), False, None, "UNHEALTHY", 2),
    (stands(health=Health.UNHEALTHY, failing_streak=0), False, None, "UP", 0),
    (stands(status="paused"), False, None, "PAUSED", 1),
    (stands(status="restarting", restart_count=1), False, None, "RESTARTING", 2),
    (stands(status="restarting", restart_count=9), False, None, "CRASH LOOP", 2),
    (stands(status="created"), False, None, "STOPPED", 1),
    (stands(status="created", error="no such device"), False, None, "DEAD", 2),
    (stands(status="exited", exit_code=3), False, None, "DEAD", 2),
    (stands(status="exited", exit_code=3), False, True, "STOPPED", 1),
    (stands(status="exited", exit_code=137), False, False, "DEAD", 2),
    (stands(status="exited", exit_code=137), False, None, "STOPPED", 1),
    (stands(status="exited", exit_code=137, oom_killed=True), False, None, "DEAD", 2),
    (stands(status="exited", exit_code=0), True, None, "FINISHED", 0),
    (stands(status="exited", exit_code=2), True, None, "FAILED", 2),
    (stands(status="exited", exit_code=0, policy="on-failure"), False, None, "FINISHED", 0),
    (stands(status="exited", exit_code=3, policy="always"), False, None, "STOPPED", 1),
    (stands(status="exited", exit_code=3, policy="always"), False, False, "DEAD", 2),
])
def test_how_a_service_stands_at_one_look(container: Container, job: bool, asked: bool | None, word: str,
                                          severity: int) -> None:
    state = insides.state_of(container, job, asked)
    assert (state.word, state.severity) == (word, severity)


def test_checks_table() -> None:
    states = [State("shop-db-1", "DEAD", NOW - 90, "exit 3", 2), State("web", "UP", NOW - 7500, "", 0),
              State("new", "STOPPED", 0.0, "never started", 1)]
    assert sentinel.state_table(states, NOW, coloured=False).splitlines() == [
        "SERVICE    STATE    FOR    WHY", "shop-db-1  DEAD     1m30s  exit 3", "web        UP       2h5m",
        "new        STOPPED         never started", "3 services: 1 ok, 1 warning, 1 critical"]
    coloured = sentinel.state_table(states, NOW, coloured=True).splitlines()
    assert [line.partition("\x1b[")[2][:2] for line in coloured[1:-1]] == ["31", "32", "33"]
    assert re.sub(r"\x1b\[\d+m", "", "\n".join(coloured)) == sentinel.state_table(states, NOW, coloured=False)


def test_the_published_schema_is_really_looked_at() -> None:
    if importlib.util.find_spec("jsonschema") is None:
        pytest.skip("jsonschema is not installed")
    assert schema_errors("IncomingWebhookRequestPartial", {"content": 3})


# ─── Outages: one message, its root, and what it took with it ─────────────────────────────────────────────────

FILES = {"com.docker.compose.project.config_files": "/srv/shop/compose.yml"}
GENESIS = service("genesis", "unless-stopped", status="exited", exit_code=1, started_time=NOW - 60, finished_time=NOW - 14,
                  labels=FILES, files_seen=True)  # fmt: skip
FLUX = Consequence(("flux", "genesis"), Verdict.DEAD, 90.0, 1, state="Waits for genesis.")
PULSE = Consequence(("pulse", "flux", "genesis"), Verdict.UNHEALTHY, 95.0, state="Waits for flux.")
VEIL = Consequence(("veil", "pulse", "flux", "genesis"), Verdict.DEAD, 99.0, 137, Cause.OOM, "It is back.", True)
OUTAGE = Notice(Verdict.DEAD, "genesis", 86.0, GENESIS, project="shop", incident=7, exit_code=1, uptime=46.0, deaths=1,
                attempts=1, plan="Restarting it now (attempt 1 of 5).", logs=("SyntaxError: invalid syntax",), open=True,
                consequences=(FLUX, PULSE, VEIL))  # fmt: skip
OVER = replace(OUTAGE, plan="", recovered=31.0, open=False)
RETURN = replace(OUTAGE, verdict=Verdict.RECOVERED, exit_code=None, downtime=31.0, plan="", logs=(), uptime=None, open=False)


def card(notice: Notice) -> sentinel.Card:
    return sentinel.card_of(notice, "box", moment)


def about(*notices: Notice, edit: bool = False, plain: bool = False, host: str = "box") -> dict[str, Any]:
    job = Deliver("discord", notices, host, "" if edit else "1-9", plain, message="123456789012345678" if edit else "",
                  sent_at=100.0 if edit else None)  # fmt: skip
    return sentinel.message_of(job, max(notice.at for notice in notices), NOW - 100)


def text_of(*notices: Notice, **facts: Any) -> str:
    return "\n".join(f"{embed['title']}\n{embed['description']}" for embed in about(*notices, **facts)["embeds"])


def objections(message: dict[str, Any], edit: bool = False) -> list[object]:
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
        "**Recover:** `docker compose -p shop -f /srv/shop/compose.yml up -d genesis --no-recreate`",
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
    embed = about(OVER, edit=True)["embeds"][0]
    assert embed["color"] == sentinel.DARK_GREEN and embed["title"].startswith("✓ [DEAD] ")
    assert embed["description"].startswith("Recovered after 31s\n")


def test_nothing_recovers_after_zero_seconds() -> None:
    assert "Recovered after 1s" in text_of(replace(OVER, recovered=0.2))


def test_a_root_that_gave_up_says_whom_it_takes_with_it() -> None:
    text = text_of(replace(OUTAGE, verdict=Verdict.GAVE_UP, attempts=5))
    assert "genesis stays down — exit 1, gave up after 5 restarts" in text
    assert "Took with it" in text and "Takes with it" not in text


def test_flapping_is_said_and_when_green_comes() -> None:
    assert "**Flapping:** 4 incidents within an hour; green comes" in text_of(replace(OUTAGE, flaps=4))
    assert "Flapping" not in text_of(OUTAGE) and "Flapping" not in text_of(replace(RETURN, flaps=4))


# ─── The green one ────────────────────────────────────────────────────────────────────────────────────────────


def test_green_says_who_came_back_with_it_and_who_did_not() -> None:
    text = text_of(RETURN)
    assert "Recovered: genesis" in text and "genesis is back online (was down ~31s)" in text
    assert "**Back with it:** `veil`" in text
    assert "**Not back:**\n• `flux ← genesis`: DEAD" in text and "• `pulse ← flux ← genesis`: UNHEALTHY" in text
    assert "veil ←" not in text
    assert "Took with it" not in text and "docker compose" not in text and about(RETURN)["embeds"][0]["color"] == GREEN


def test_green_for_all_names_nobody_who_is_not_back() -> None:
    text = text_of(replace(RETURN, consequences=tuple(replace(one, back=True) for one in OUTAGE.consequences)))
    assert "**Back with it:** `flux, pulse and veil`" in text and "Not back" not in text


def test_green_for_one_alone_names_nobody_else() -> None:
    text = text_of(replace(RETURN, consequences=()))
    assert "Back with it" not in text and "Not back" not in text


# ─── Folded, restarted, orphaned, still down, watching ────────────────────────────────────────────────────────


def test_what_was_folded_is_grey_and_points_to_its_root() -> None:
    notice = replace(OUTAGE, verdict=Verdict.FOLDED, name="flux", open=False, consequences=(), logs=(),
                     plan="It is a consequence of genesis: see incident 7.")  # fmt: skip
    embed = about(notice, edit=True)["embeds"][0]
    assert (embed["title"], embed["color"]) == ("Folded: flux", GREY)
    assert "flux did not die of itself" in embed["description"] and "see incident 7" in embed["description"]
    assert "docker" not in embed["description"] and "Exited" not in embed["description"]


@pytest.mark.parametrize("cause", [Cause.STALE, Cause.TOGETHER])
def test_what_was_restarted_is_grey_and_says_why(cause: Cause) -> None:
    notice = Notice(Verdict.RESTARTED, "web", 100.0, service("web"), cause, "shop", incident=3)
    embed = about(notice)["embeds"][0]
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
    assert "was recreated" in text and about(orphan())["embeds"][0]["color"] == RED


def test_the_command_for_a_lonely_container_that_lost_its_network_is_one_that_does_something() -> None:
    lonely = Container("a" * 64, "torrent", status="running", network_mode="container:" + "b" * 64)
    notice = replace(orphan(), container=lonely, cause=Cause.STALE)
    assert "docker start" not in text_of(notice)


def test_what_is_still_down_is_one_red_message_with_all_of_it() -> None:
    one = Notice(Verdict.STILL_DOWN, "web", 100.0, incident=9, downtime=14400.0, names=("web (4h)",), mention="<@&11111>")
    many = replace(one, name="3 services", names=("web (4h)", "db (1h)", "box (5m)"))
    assert "`web is still down`" in text_of(one) and "`3 services are still down`" in text_of(many)
    assert "web (4h), db (1h), box (5m)" in text_of(many)
    message = about(many)
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
    insides.introduce(watchdog, host="box")
    watchdog.roster.adopt_all(world.containers.values(), START)
    return sentinel.greeting(watchdog, [*channels], degraded, START, EPOCH + START)


def test_the_greeting_is_blue_and_says_what_is_watched_what_is_down_and_where_alerts_go() -> None:
    dead = service("db", status="exited", exit_code=3, finished_time=EPOCH + START - 7500)
    other = service("wiki", project="notes")
    notice = greeted(service("web"), dead, other, channels=("webhook", "bot", "drop"))
    embed = about(notice)["embeds"][0]
    assert (embed["title"], embed["color"]) == ("Watching: box", BLUE)
    assert embed["description"].splitlines() == [
        "`Sentinel watches the containers of box`", "**Watched:** 3 services in 2 projects",
        "**Already down:** `db (DEAD, exit 3, 2h5m)`", "**Alerts go to:** webhook, bot and drop"]  # fmt: skip


def test_a_greeting_of_one_and_of_none() -> None:
    assert "1 service in 1 project" in text_of(greeted(service("web")))
    assert "0 services in 0 projects" in text_of(greeted()) and "Already down" not in text_of(greeted())


def test_the_greeting_says_what_does_not_work_and_pings_nobody() -> None:
    message = about(replace(greeted(degraded="events are refused"), mention="@everyone"))
    assert "**Degraded:** events are refused" in message["embeds"][0]["description"] and "content" not in message


@pytest.mark.parametrize(("facts", "words"), [
    ({"status": "created", "started_time": 0.0}, "web (STOPPED, never started)"), ({"status": "paused"}, "web (PAUSED)"),
    ({"health": Health.UNHEALTHY, "failing_streak": 3, "has_probe": True, "probe_output": "no",
      "sick_time": EPOCH + START - 3600}, "web (UNHEALTHY, no, 1h)"),
    ({"status": "restarting", "restart_count": 4, "exit_code": 1, "finished_time": EPOCH + START - 5},
     "web (CRASH LOOP, exit 1, 5s)")])  # fmt: skip
def test_the_greeting_words_every_way_to_be_down(facts: dict[str, Any], words: str) -> None:
    assert dict(greeted(service("web", **facts)).facts)["Already down"].startswith(words[:-1])


def test_a_greeting_with_everything_down_fits() -> None:
    services = [service(f"{'s' * 60}{number}", status="exited", exit_code=1, finished_time=1.0) for number in range(500)]
    message = about(greeted(*services))
    assert objections(message) == [] and "500 services" in message["embeds"][0]["description"]


# ─── Long lists, odd names ────────────────────────────────────────────────────────────────────────────────────


def many(count: int, length: int = 12, **facts: Any) -> tuple[Consequence, ...]:
    return tuple(replace(Consequence((f"{'n' * length}-{number}", "genesis"), Verdict.DEAD, 90.0, 1), **facts)
                 for number in range(count))  # fmt: skip


@pytest.mark.parametrize("count", [1, 19, 20, 21, 60, 400])
def test_as_many_consequences_are_listed_as_fit_and_all_are_counted(count: int) -> None:
    message = about(replace(OUTAGE, consequences=many(count)))
    lines = message["embeds"][0]["description"].splitlines()
    listed = [line for line in lines if line.startswith("• `n")]
    more = [int(found[1]) for line in lines if (found := re.match(r"• … and (\d+) more", line))]
    assert len(listed) + sum(more) == count and 1 <= len(listed) <= 20 and (not more or "history" in "".join(lines))
    assert objections(message) == []
    assert "SyntaxError" in lines[-2] and any("**Recover:** `docker compose" in line for line in lines)


@pytest.mark.parametrize("size", [1, 2, 5, 10])
def test_long_chains_of_long_names_leave_room_for_the_cause(size: int) -> None:
    """However much it took with it, the command, and for one outage its last words, are there."""
    deep = tuple(Consequence(tuple(f"{'s' * 60}-{step}" for step in range(depth, -1, -1)), Verdict.DEAD, 90.0, 1,
                             state=f"Waits for {'s' * 60}-{depth - 1}.") for depth in range(1, 40))
    message = about(*(replace(OUTAGE, name=f"genesis-{number}", consequences=deep) for number in range(size)))
    assert objections(message) == []
    for embed in message["embeds"]:
        assert "**Recover:** `docker compose -p shop" in embed["description"], embed["description"]
        assert size > 2 or "SyntaxError" in embed["description"]


LONG = [replace(OUTAGE, verdict=Verdict.GAVE_UP, attempts=5, consequences=many(200, 30)),
        replace(RETURN, consequences=many(200, 30, back=True)), replace(RETURN, consequences=many(200, 30)),
        Notice(Verdict.STILL_DOWN, "200 services", 100.0, names=tuple(f"{'n' * 30}-{n} (4h)" for n in range(200)),
               plan="The mute is over."),
        Notice(Verdict.STILL_DOWN, "200 services", 100.0, plan="The mute is over.",
               facts=(("Stopped", sentinel.listed(f"{'n' * 30}-{n}" for n in range(200))),))]  # fmt: skip


@pytest.mark.parametrize("notice", LONG, ids=["takes with it", "back with it", "not back", "services", "stopped"])
def test_long_lists_of_names_are_taken_by_discord(notice: Notice) -> None:
    assert objections(about(notice)) == [] and objections(about(notice, edit=True), True) == []


@pytest.mark.parametrize("notice", [notice for place, notice in
                                    enumerate(LONG)],
                         ids=["takes with it", "back with it", "not back", "services", "stopped"])  # fmt: skip
def test_long_lists_of_names_are_clipped_and_push_nothing_out(notice: Notice) -> None:
    description = about(notice)["embeds"][0]["description"]
    assert all(line.count("`") % 2 == 0 for line in description.splitlines() if line != "```"), "code is closed"
    assert ("docker compose" in description) == (notice.verdict is Verdict.GAVE_UP)
    assert ("SyntaxError" in description) == (notice.verdict is Verdict.GAVE_UP)
    assert ("The mute is over." in description) == (notice.verdict is Verdict.STILL_DOWN)


def test_underscores_and_stars_in_names_are_no_markdown() -> None:
    odd = Consequence(("my__flux__1", "gen_*_esis"), Verdict.DEAD, 90.0, 1, state="Waits for gen_*_esis and a_b.")
    notice = replace(OUTAGE, name="gen_*_esis", consequences=(odd,), plan="Waits for my__db__1.")
    description = about(notice)["embeds"][0]["description"]
    assert "`my__flux__1 ← gen_*_esis`" in description and r"waits for gen\_\*\_esis and a\_b" in description
    assert r"Waits for my\_\_db\_\_1." in description
    back = about(replace(RETURN, consequences=(odd,)))["embeds"][0]["description"]
    assert "**Not back:**\n• `my__flux__1 ← gen_*_esis`: DEAD" in back


def test_a_name_breaks_out_of_nothing_and_pings_nobody() -> None:
    odd = Consequence(("@everyone `x` ```\n# head", "<@&11111>"), Verdict.DEAD, 90.0, 1, state="Waits for @here.")
    for edit in (False, True):
        message = about(replace(OUTAGE, consequences=(odd,), facts=(("Gone", "`@everyone`"),)), edit=edit)
        assert "content" not in message and message["allowed_mentions"] == {"parse": [], "roles": [], "users": []}
        line = next(line for line in message["embeds"][0]["description"].splitlines() if line.startswith("• "))
        assert line.count("`") == 2 and objections(message, edit) == []


@pytest.mark.parametrize("mention", ["@everyone", "<@&11111>", "<@22222>"])
@pytest.mark.parametrize("verdict", list(Verdict))
def test_nothing_pings_on_an_edit(verdict: Verdict, mention: str) -> None:
    message = about(replace(OUTAGE, verdict=verdict, mention=mention), edit=True)
    assert "content" not in message and message["allowed_mentions"] == {"parse": [], "roles": [], "users": []}
    assert mention not in json.dumps(message)


# ─── Digests ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_digest_says_of_every_root_what_it_took_with_it() -> None:
    roots = [replace(OUTAGE, name=f"root-{number}", consequences=many(2, 3)) for number in range(15)]
    lines = [line for embed in about(*roots)["embeds"] for line in embed["description"].splitlines()]
    assert len(lines) == 15 and all("took with it: nnn-0, nnn-1" in line for line in lines)


def test_in_a_digest_a_long_list_still_says_what_it_is() -> None:
    roots = [replace(OUTAGE, name=f"root-{number}", consequences=many(30, 12)) for number in range(30)]
    lines = [line for embed in about(*roots)["embeds"] for line in embed["description"].splitlines()]
    assert len(lines) == 30
    assert all("nnnn" not in line or "took with it" in line for line in lines)


def test_a_digest_of_greens_names_them_and_its_edit_keeps_its_order() -> None:
    greens = [replace(RETURN, name=f"root-{number}") for number in range(12)]
    assert all(f"root-{number} is back online" in text_of(*greens) for number in range(12))
    reds = [replace(OUTAGE, name=f"root-{number}") for number in range(12)]
    edited = [*reds[:5], replace(reds[5], verdict=Verdict.GAVE_UP, attempts=5), *reds[6:]]
    names = re.findall(r"`(root-\d+) ", text_of(*edited, edit=True))
    assert names == [f"root-{number}" for number in range(12)]


def test_a_digest_says_which_services_of_a_project_were_stopped() -> None:
    """Found by random life on an engine."""
    stops = [sentinel.Notice(Verdict.STOPPED, f"shop-web-{number}", 0.0, cause=Cause.STOP, project="shop", id=number)
             for number in (1, 2)]  # fmt: skip
    deaths = [sentinel.Notice(Verdict.DEAD, f"db-{number}", 0.0, exit_code=1, id=number) for number in range(3, 13)]
    message = sentinel.message_of(sentinel.Deliver("webhook", (*stops, *deaths), "box", "1"), 1.0, 0.0)
    words = next(embed["description"] for embed in message["embeds"] if embed["title"].startswith("Stopped"))
    assert all(name in words for name in ("web-1", "web-2")), words


# ─── Any outage ─────────────────────────────────────────────────────────────────────────────────────────────────

ODD = ("plain", "", " ", "x" * 300, "```", "`` ` ```\n```", "**b** __u__ ~~s~~ ||p||", "[l](https://evil.example)",
         "@everyone @here <@&1234567>", "\x1b[31mred\x1b[0m", "\u202egnp", "\ud800", "\x00\x7f", "a\nb\r\tc", "日本" * 90,
         "👩‍👩‍👧‍👦" * 30, "a" * 3000, "\\", "# h", "<t:0:R>", "é" * 200, "\u2028", "ﷺ" * 100)  # fmt: skip
#: One of them or two, equally often: a hundred thousand texts are taken of these.
ODDER = [first + second for first in ODD for second in (*[""] * len(ODD), *ODD)]
VERDICTS, CAUSES = list(Verdict), list(Cause)


def anything(dice: random.Random) -> Notice:
    """A notice of an outage with any facts, its texts as bad as they get."""
    text = lambda: dice.choice(ODDER)  # noqa: E731
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
        message = about(*notices, edit=edit, plain=dice.random() < 0.3, host=dice.choice(ODD))
        assert objections(message, edit) == []
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


# ─── Secrets in outages ──────────────────────────────────────────────────────────────────────────────────────────────────

SECRET = "hunter2hunter2"


@pytest.mark.parametrize("place", ["logs", "error", "plan", "state", "facts"])
def test_a_secret_that_can_be_told_as_one_is_in_no_message_and_not_in_the_ledger(place: str) -> None:
    words = f"403 from the proxy: password={SECRET}"
    made: dict[str, Any] = {"logs": (words,), "error": words, "plan": words, "facts": (("Degraded", words),)}
    notice = replace(OUTAGE, consequences=(replace(FLUX, state=words if place == "state" else ""),),
                     **{place: made[place]} if place in made else {})  # fmt: skip
    found = SECRET in json.dumps([about(notice), about(notice, edit=True), insides.notice_record(notice, 0.0)])
    found = found or SECRET in sentinel.terminal_card(card(notice), 200, coloured=False)
    assert not found


def test_what_was_down_for_an_instant_was_down_for_a_second_wherever_that_is_said() -> None:
    """Found by a newcomer: `~1s` in the green, and 0s in the history."""
    red = replace(DEAD, id=1, incident=1, at=1000.0)
    green = replace(BACK, id=2, incident=1, at=1000.2, downtime=0.2)
    records = {str(notice.id): insides.notice_record(notice, 0.0) for notice in (red, green)}
    told = sentinel.history_table(insides.incidents_of(records, {}, {}), 200, 2000.0).splitlines()[1].split()
    assert "1s" in told and "0s" not in told
    assert "~1s" in sentinel.recovered_headline(green)
