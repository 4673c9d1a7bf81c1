"""Settings: what people write, where it is read from, and what they are told when it makes no sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import sentinel
from sentinel import Secret, SettingError, Settings, listen_address, load_settings

HOOK = "https://discord.com/api/v10/webhooks/123456789012345678/a-Token_1"
DEFAULTS = [(meta["variable"], meta) for _, meta in sentinel.options()]


def no_files(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory", path)


def load(environment: Mapping[str, str] | None = None, flags: Mapping[str, str | None] | None = None,
         files: Mapping[str, str] | None = None) -> tuple[Settings, list[str]]:
    """Settings as a start with these variables, flags and files would have them."""
    read = (lambda path: files[path] if path in files else no_files(path)) if files else no_files
    return load_settings(flags or {}, environment or {}, read)


def errors_of(environment: Mapping[str, str], flags: Mapping[str, str | None] | None = None) -> list[str]:
    """The lines that people see when settings make no sense."""
    with pytest.raises(SettingError) as caught:
        load(environment, flags)
    return list(caught.value.args)


# ─── Durations and the like ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("text", "seconds"), [
    ("30s", 30), ("5m", 300), ("1h30m", 5400), ("90", 90), ("1.5", 1.5), ("0", 0), ("2d", 172800), (" 10S ", 10),
    ("1d2h3m4s", 93784), ("0.5s", 0.5),
])
def test_a_duration_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert sentinel.duration(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "abc", "-5", "5x", "m", "30s5m", "1h 30m", "5ms", "inf", "nan", "1e3", "1.5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        sentinel.duration(text)


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0s"), (0.4, "0s"), (31, "31s"), (59.6, "1m"), (200, "3m20s"), (3600, "1h"), (7500, "2h5m"), (7205, "2h"),
    (4 * 86400 + 3 * 3600 + 59, "4d3h"), (-5, "0s"),
])
def test_a_duration_is_said_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert sentinel.span(seconds) == text


@pytest.mark.parametrize("seconds", [1, 59, 60, 61, 3599, 3600, 90000, 86400 * 400])
def test_a_duration_that_is_said_can_be_read(seconds: int) -> None:
    assert abs(sentinel.duration(sentinel.span(seconds)) - seconds) < max(1, seconds / 24)


@pytest.mark.parametrize(("word", "value"), [("true", True), ("YES", True), ("on", True), ("1", True), ("false", False),
                                             ("No", False), ("off", False), (" 0 ", False)])
def test_a_boolean_is_any_word_for_it(word: str, value: bool) -> None:
    assert sentinel.boolean(word) is value


@pytest.mark.parametrize(("check", "text"), [
    (sentinel.boolean, "maybe"), (sentinel.boolean, ""), (sentinel.count, "-1"), (sentinel.count, "1.5"),
    (sentinel.count, "many"), (sentinel.interval, "0"), (sentinel.interval, "0.5s"), (sentinel.choice("a", "b"), "c"),
])
def test_what_is_no_such_value_is_refused(check: object, text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check(text)  # type: ignore[operator]


def test_names_are_separated_by_commas_or_blanks() -> None:
    assert sentinel.names("shop, blog\twiki,,") == ("shop", "blog", "wiki")


# ─── The table of options ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("variable", "meta"), DEFAULTS, ids=[variable for variable, _ in DEFAULTS])
def test_every_default_passes_its_own_check(variable: str, meta: Mapping[str, object]) -> None:
    assert load()[0] == Settings()
    if text := str(meta["default"]):
        assert load({variable: text})[0] == Settings()


def test_every_setting_has_a_row_in_the_readmes_table() -> None:
    table = sentinel.settings_table()
    for _, meta in sentinel.options():
        assert f"`{meta['variable']}`" in table and str(meta["meaning"]) in table
        assert meta["secret"] or f"`{sentinel.flag_name(str(meta['variable']))}`" in table


def test_a_secret_has_no_flag() -> None:
    options = {option for action in sentinel.command_line()._actions for option in action.option_strings}
    for _, meta in sentinel.options():
        assert (sentinel.flag_name(meta["variable"]) in options) is not meta["secret"]


# ─── Where a value comes from ─────────────────────────────────────────────────────────────────────────────────


def test_a_flag_wins_over_a_variable_over_a_default() -> None:
    assert load()[0].settle == 30.0
    assert load({"SENTINEL_SETTLE": "5s"})[0].settle == 5.0
    assert load({"SENTINEL_SETTLE": "5s"}, {"settle": "7s"})[0].settle == 7.0


def test_a_variable_wins_over_its_file_twin() -> None:
    files = {"/run/secrets/hook": f"{HOOK}\n"}
    twin = {"DISCORD_WEBHOOK_URL_FILE": "/run/secrets/hook"}
    assert load(twin, files=files)[0].webhook_url == HOOK
    assert load(twin | {"DISCORD_WEBHOOK_URL": HOOK.replace("a-Token_1", "other")},
                files=files)[0].webhook_url.endswith("other")


@pytest.mark.parametrize("blank", ["", "  "])
def test_an_empty_variable_is_none(blank: str) -> None:
    files = {"/hook": HOOK}
    settings, warnings = load({"SENTINEL_SETTLE": blank, "DISCORD_WEBHOOK_URL": blank,
                               "DISCORD_WEBHOOK_URL_FILE": "/hook"}, files=files)
    assert (settings.settle, settings.webhook_url, warnings) == (30.0, HOOK, [])


def test_a_flag_that_was_not_given_does_not_count() -> None:
    assert load({"SENTINEL_STOPS": "alert"}, {"stops": None})[0].stops == "alert"


@pytest.mark.parametrize("name", [name for name, meta in sentinel.options() if meta["default"]])
def test_an_empty_flag_turns_nothing_off_that_has_a_default(name: str) -> None:
    (line,) = errors_of({}, {name: ""})
    assert line.startswith(sentinel.flag_name(dict(sentinel.options())[name]["variable"]) + ": ")


@pytest.mark.parametrize("name", ["mention", "webhook_url"])
def test_an_empty_flag_turns_off_what_a_variable_sets(name: str) -> None:
    variable = {"mention": "DISCORD_MENTION", "webhook_url": "DISCORD_WEBHOOK_URL"}[name]
    value = {"mention": "@here", "webhook_url": HOOK}[name]
    assert getattr(load({variable: value}, {name: ""})[0], name) == ""


# ─── What people are told ─────────────────────────────────────────────────────────────────────────────────────


def test_all_errors_are_told_at_once_each_beginning_with_the_name_the_user_wrote() -> None:
    lines = errors_of({"SENTINEL_SETTLE": "soon", "DISCORD_WEBHOOK_URL_FILE": "/no/such", "SENTINEL_WATCH": "some",
                       "DOCKER_HOST": "ssh://box"}, {"max_restarts": "many", "log": "xml"})
    assert [line.partition(":")[0] for line in lines] == [
        "DOCKER_HOST", "DISCORD_WEBHOOK_URL_FILE", "SENTINEL_WATCH", "SENTINEL_SETTLE", "--max-restarts", "--log"]
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_that_are_part_of_a_webhooks_address_are_named(quote: str) -> None:
    with pytest.raises(ValueError, match="quotes"):
        sentinel.webhook(f"{quote}https://discord.com/api/webhooks/1/token{quote}")


@pytest.mark.parametrize("url", [
    "https://discord.com/api/channels/1/s3cr3tTOKEN", "https://evil.example/s3cr3tTOKEN", "s3cr3tTOKEN",
    "ftp://discord.com/api/webhooks/1/s3cr3tTOKEN", "https:///api/webhooks/1/s3cr3tTOKEN",
    "https://discord.com/api/webhooks/abc/s3cr3tTOKEN", "https://[::1/api/webhooks/1/s3cr3tTOKEN",
])
def test_a_secret_that_is_refused_is_not_repeated(url: str) -> None:
    lines = errors_of({"DISCORD_WEBHOOK_URL": url})
    assert len(lines) == 1 and lines[0].startswith("DISCORD_WEBHOOK_URL: ") and "s3cr3t" not in lines[0]


def test_a_secret_is_masked_wherever_it_is_shown_by_accident() -> None:
    settings = load({"DISCORD_WEBHOOK_URL": HOOK})[0]
    for shown in (repr(settings), f"{settings}", f"{settings.webhook_url}", f"{settings.webhook_url:>9}",
                  repr([settings.webhook_url]),
                  "{}".format(settings.webhook_url), "{!r}".format(settings.webhook_url)):  # noqa: UP032
        assert "a-Token_1" not in shown and "***" in shown
    assert settings.webhook_url == HOOK and repr(Secret()) == "''" and f"{Secret()}" == ""


def test_an_unknown_setting_is_a_warning_with_the_nearest_name() -> None:
    _, warnings = load({"SENTINEL_SETLE": "5s", "SENTINEL_XYZZY": "1", "SENTINEL_STOPS": "alert", "OTHER": "x"})
    assert [warning.partition(":")[0] for warning in warnings] == ["SENTINEL_SETLE", "SENTINEL_XYZZY"]
    assert "SENTINEL_SETTLE" in warnings[0]


def test_a_file_twin_of_what_is_no_secret_is_unknown_too() -> None:
    assert len(load({"SENTINEL_WATCH_FILE": "/watch"})[1]) == 1


# ─── Addresses and mentions ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("url", [
    HOOK,
    "https://discord.com/api/webhooks/123456789012345678/a-Token_1",
    "https://discordapp.com/api/webhooks/123456789012345678/a-Token_1",
    "https://discord.com/api/v6/webhooks/123456789012345678/a-Token_1",
    "https://discord.com/api/v8/webhooks/123456789012345678/a-Token_1/",
    "https://discord.com/api/webhooks/123456789012345678/a-Token_1/slack",
    "https://discord.com/api/webhooks/123456789012345678/a-Token_1/github",
    "https://discord.com/api/webhooks/123456789012345678/a-Token_1?wait=true",
    "  https://discord.com/api/webhooks/123456789012345678/a-Token_1#top\n",
])
def test_a_webhook_url_as_people_paste_it_is_brought_to_version_10(url: str) -> None:
    assert sentinel.webhook(url) == HOOK


@pytest.mark.parametrize(("url", "wanted"), [
    ("https://canary.discord.com/api/webhooks/1/t", "https://canary.discord.com/api/v10/webhooks/1/t"),
    ("https://ptb.discordapp.com/api/webhooks/1/t", "https://ptb.discord.com/api/v10/webhooks/1/t"),
    ("https://discord.com/api/webhooks/1/t?thread_id=77&wait=1", "https://discord.com/api/v10/webhooks/1/t?thread_id=77"),
    ("http://127.0.0.1:8080/api/webhooks/1/t", "http://127.0.0.1:8080/api/v10/webhooks/1/t"),
    ("https://proxy.example/discord/api/webhooks/1/t", "https://proxy.example/discord/api/v10/webhooks/1/t"),
    ("https://notdiscordapp.com/api/webhooks/1/t", "https://notdiscordapp.com/api/v10/webhooks/1/t"),
    ("", ""),
])
def test_a_webhooks_own_host_and_thread_are_kept(url: str, wanted: str) -> None:
    assert sentinel.webhook(url) == wanted


@pytest.mark.parametrize(("text", "wanted"), [
    ("<@1234567890>", "<@1234567890>"), ("<@!1234567890>", "<@!1234567890>"), ("<@&1234567890>", "<@&1234567890>"),
    ("@here", "@here"), ("@everyone", "@everyone"), ("1234567890", "<@&1234567890>"),
    ("@here  <@12345>", "@here <@12345>"), ("", ""),
])
def test_a_mention_is_a_user_a_role_or_all(text: str, wanted: str) -> None:
    assert sentinel.mention(text) == wanted


@pytest.mark.parametrize("text", ["@ops", "ops", "<@ops>", "<#12345>", "@here!", "<@&1>"])
def test_what_pings_nobody_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no mention"):
        sentinel.mention(text)


@pytest.mark.parametrize("text", ["", "unix:///var/run/docker.sock", "tcp://127.0.0.1:2375", "tcp://proxy",
                                  "http://box:2375",
                                  "tcp://[::1]:2375", " unix:///run/user/1000/docker.sock "])
def test_an_engines_address_is_as_the_docker_cli_reads_it(text: str) -> None:
    assert sentinel.docker_host(text) == text.strip()


@pytest.mark.parametrize("text", ["/var/run/docker.sock", "unix://", "tcp://", "npipe:////./pipe/docker_engine", "box:2375",
                                  "tcp://box:port", "tcp://box:99999"])
def test_what_is_no_engines_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        sentinel.docker_host(text)


def test_ssh_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="ssh -L"):
        sentinel.docker_host("ssh://root@box")


# ─── Addresses to listen on, quiet windows, tokens ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("text", "address"), [
    ("9180", "127.0.0.1:9180"), (":9180", "127.0.0.1:9180"), ("127.0.0.1:9180", "127.0.0.1:9180"), ("", ""), ("  ", ""),
    ("0.0.0.0:80", "0.0.0.0:80"), ("[::1]:9180", "[::1]:9180"), ("box.example-1:1", "box.example-1:1"),
    (" 9180 ", "127.0.0.1:9180"), ("65535", "127.0.0.1:65535"),
])
def test_a_port_alone_is_this_machine_only(text: str, address: str) -> None:
    assert listen_address(text) == address


@pytest.mark.parametrize("text", ["0", "65536", "99999", "host", "host:", "::1:9180", "http://127.0.0.1:9180", "1:2:3",
                                  "a b:1", "-1", "127.0.0.1:0", "9180/x", "[::1]", "127.0.0.1:http"])
def test_what_is_no_address_to_listen_on_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9180"):
        listen_address(text)


@pytest.mark.parametrize(("parse", "text"), [(listen_address, "٩١٨٠"), (sentinel.count, "٣"), (sentinel.duration, "٣s")])
def test_digits_of_other_scripts_are_no_numbers(parse: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@pytest.mark.parametrize(("text", "windows"), [
    ("", ()), ("03:00-04:30", ((180, 270),)), ("23:00-01:00, 12:00-12:15", ((1380, 60), (720, 735))),
    ("3:00 - 4:00,", ((180, 240),)),
])
def test_quiet_windows_are_minutes_of_the_day(text: str, windows: Any) -> None:
    assert sentinel.quiet_windows(text) == windows


@pytest.mark.parametrize("text", ["24:00-01:00", "03:00", "03:60-04:00", "03:00-03:00", "3-4", "03:00-04:00-05:00", "x"])
def test_what_is_no_quiet_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write 03:00-04:30"):
        sentinel.quiet_windows(text)


def test_a_notify_token_is_a_secret_with_a_file_twin() -> None:
    settings, _ = sentinel.load_settings({}, {"SENTINEL_NOTIFY_TOKEN_FILE": "/run/t"}, lambda path: "abc-def-ghi\n")
    assert str.__str__(settings.notify_token) == "abc-def-ghi"
    assert "abc-def-ghi" not in repr(settings) + "\n".join(sentinel.settings_lines(settings)) + f"{settings.notify_token}"
    assert "abc-def-ghi" not in sentinel.mask("it is abc-def-ghi", settings)
    with pytest.raises(SettingError, match="SENTINEL_NOTIFY_TOKEN"):
        sentinel.load_settings({}, {"SENTINEL_NOTIFY_TOKEN": "a b"}, str)


@pytest.mark.parametrize("variable", ["SENTINEL_HEARTBEAT_URL"])
@pytest.mark.parametrize("text", ["hc-ping.com/uuid", "ftp://x/y", "https://", "https://x:0/", "https://x:99999/"])
def test_what_is_no_address_of_a_dead_mans_switch_is_refused(variable: str, text: str) -> None:
    with pytest.raises(SettingError, match=f"^{variable}"):
        sentinel.load_settings({}, {variable: text}, str)


@pytest.mark.parametrize(("zone", "warned"), [
    ("", False), ("UTC", False), ("CET-1CEST,M3.5.0,M10.5.0/3", False), ("<+03>-3", False), (":/etc/localtime", False),
    ("Europe/Berln", True), ("Berlin", True), ("../../etc/passwd", True), ("\0", True),
])  # fmt: skip
def test_a_time_zone_that_nobody_knows_is_warned_of(zone: str, warned: bool) -> None:
    """The C library takes it for UTC without a word, and quiet windows are hours off."""
    warnings = sentinel.zone_warnings({"TZ": zone})
    assert len(warnings) == warned and all(line.startswith("TZ: ") for line in warnings)
