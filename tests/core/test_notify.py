"""The words of others: POST /notify, from its bytes to what is told."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from support import insides
from support.headers import headers_of

import sentinel
from sentinel import Notice, Verdict, handler_of, take_words, words_of

NOW = 1_000.0

TOKEN = "agent-007"
AUTHORISED = {"authorization": f"Bearer {TOKEN}"}


def posted(body: bytes, headers: Mapping[str, str] | None = None, path: str = "/notify", token: str = TOKEN,
           size: str | None = None) -> tuple[int, str, list[Notice]]:
    """Status, text, and what was handed on."""
    taken: list[Notice] = []

    def ask(_: str, words: Notice) -> tuple[int, str, str]:
        taken.append(words)
        return 202, "text/plain", "taken\n"

    given = headers_of((headers if headers is not None else AUTHORISED).items())
    given["content-length"] = str(len(body)) if size is None else size
    stream = iter([body])
    status, _, text = take_words(path, given, lambda size: next(stream)[: size if size >= 0 else None], token, ask)
    return status, text, taken


def words(**fields: Any) -> bytes:
    return json.dumps({"title": "backup", "message": "done"} | fields).encode()


@pytest.mark.parametrize(("level", "verdict"), [
    ("info", Verdict.INFO), ("warning", Verdict.WARNING), ("error", Verdict.ERROR), (None, Verdict.INFO)])
def test_the_words_of_others_are_taken_by_their_level(level: str | None, verdict: Verdict) -> None:
    status, _, (notice,) = posted(words(level=level) if level else words())
    assert (status, notice.verdict, notice.name, notice.plan) == (202, verdict, "backup", "done")
    assert not notice.mention and not notice.open


@pytest.mark.parametrize("headers", [
    {}, {"X-Token": TOKEN}, *({"Authorization": words} for words in (
        "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"bearer-{TOKEN}", TOKEN, "Bearer ***", "Basic x", "Bearer \xe9\xff")),
])
def test_who_has_no_token_is_told_401_whatever_else_is_wrong(headers: Mapping[str, str]) -> None:
    for body in (words(), b"rubbish", b"x" * 99_999):
        status, text, taken = posted(body, headers)
        assert (status, taken) == (401, []) and TOKEN not in text


def test_without_a_token_there_is_no_such_place() -> None:
    for headers in ({}, {"Authorization": "Bearer "}, AUTHORISED):
        assert posted(words(), headers, token="")[0] == 404
    for path in ("/", "/notify/", "/notifyx", "/status", "/metrics", "//notify"):
        assert posted(words(), path=path)[0] == 404
    assert posted(words(), path="/notify?x=1")[0] == 202


@pytest.mark.parametrize(("field", "values"), [
    ("title", ["", "  ", "x" * 201, 5, None, ["a"], {}, True]), ("message", ["", "\n", "x" * 2001, 5, None, [], False]),
    ("level", ["fatal", "INFO", "dead", "DEAD"]),
])
def test_a_field_that_makes_no_sense_is_400_by_its_name(field: str, values: Iterable[object]) -> None:
    for value in values:
        status, text, taken = posted(words(**{field: value}))
        assert (status, taken) == (400, []) and text.startswith(f"{field}:") and text.endswith("\n"), value


@pytest.mark.parametrize("level", [5, ["error"], {"error": 1}, True])
def test_a_level_that_is_no_text_is_400(level: object) -> None:
    assert posted(words(level=level))[0] == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"5", b"null", b"\xff\xfe{", b"{}", b"[" * 16_000, b"\x00" * 40,
                                  b"title=a&message=b", b'{"title": "a", "message": "b"} x', b"1" * 10_000])
def test_what_is_no_json_object_is_400(body: bytes) -> None:
    assert posted(body)[::2] == (400, [])


def test_lengths_are_counted_to_the_letter() -> None:
    assert posted(words(title="x" * 200, message="y" * 2000))[0] == 202
    assert posted(words(title="日" * 200, message="ü" * 2000))[0] == 202


def test_more_than_fits_is_413_and_not_even_read() -> None:
    def never(size: int) -> bytes:
        raise AssertionError("read")

    for size in (sentinel.BODY_LIMIT + 1, 999_999_999):
        headers = headers_of((AUTHORISED | {"content-length": str(size)}).items())
        assert take_words("/notify", headers, never, TOKEN, lambda *_: (202, "", ""))[0] == 413
    assert posted(words(message="x" * 100).ljust(sentinel.BODY_LIMIT))[0] == 202


@pytest.mark.parametrize("size", ["9" * 12, "99999999999999999999"])
def test_a_length_beyond_all_numbers_is_413(size: str) -> None:
    assert posted(words(), size=size)[0] == 413


@pytest.mark.parametrize("size", ["-1", "-999"])
def test_a_negative_length_reads_nothing(size: str) -> None:
    asked: list[int] = []

    def stream(size: int) -> bytes:
        asked.append(size)
        return words()

    headers = headers_of((AUTHORISED | {"content-length": size}).items())
    status = take_words("/notify", headers, stream, TOKEN, lambda *_: (202, "", ""))[0]
    assert status == 400 and not [size for size in asked if size < 0]


def test_secrets_in_the_words_of_others_are_not_kept() -> None:
    notice = words_of({"title": "login password=hunter22", "message": "Authorization: Bearer abcdefgh12345"})
    assert "hunter22" not in repr(notice) and "abcdefgh12345" not in repr(notice)


def test_half_characters_do_not_get_into_the_record() -> None:
    notice = words_of({"title": "a \ud800 b", "message": "c \udfff d"})
    document = insides.notice_record(notice, 0.0)
    incidents = insides.incidents_of({"1": document}, {}, {})
    sentinel.history_table(incidents, 80, 1.8e9).encode()
    json.dumps(incidents, ensure_ascii=False).encode()


@pytest.mark.parametrize("text", ["\x00", "\x1b[31m", "\u202e"])
def test_words_that_show_nothing_are_none(text: str) -> None:
    for field in ("title", "message"):
        with pytest.raises(ValueError, match=field):
            words_of({"title": "a", "message": "b"} | {field: text})


def test_the_words_of_others_are_no_open_incident() -> None:
    notice = replace(words_of({"title": "backup", "message": "done"}), id=1, at=NOW)
    for incident in insides.incidents_of({"1": insides.notice_record(notice, 0.0)}, {}, {}):
        assert incident["end"] is not None


def test_a_message_of_several_lines_keeps_them() -> None:
    job = sentinel.Deliver("webhook", (replace(words_of({"title": "t", "message": "one\ntwo"}), at=NOW),), "box", "1")
    assert "one\ntwo" in sentinel.message_of(job, NOW, 0.0)["embeds"][0]["description"]


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_the_words_of_others_never_ping_anyone(level: str) -> None:
    said = "@everyone @here <@123456789012345678> <@&123456789012345678>"
    notices = [replace(words_of({"title": said, "message": said, "level": level}), at=NOW)] * 3
    for many in itertools.chain([notices[:1], notices], [notices * 5]):
        message = sentinel.message_of(sentinel.Deliver("webhook", tuple(many), "box", "1"), NOW, 0.0)
        assert message["allowed_mentions"] == {"parse": [], "roles": [], "users": []}
        assert "content" not in message


def test_the_handler_says_nothing_of_itself_but_what_it_must() -> None:
    handler = handler_of("", lambda *_: (200, "text/plain", ""))
    assert handler.timeout == sentinel.HTTP_PATIENCE
    assert handler.log_message is not handler.__mro__[1].log_message
