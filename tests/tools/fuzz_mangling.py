"""Nonsense made on purpose: JSON values and bytes that are almost right, and the way back to a small example.

    mangler = Mangler(random.Random(7))
    mangler.spoil({"Id": "1"})          # a copy in which some values have become odd
    mangler.spoil_bytes(b"HTTP/1.1")    # the same for bytes
    shrunk(case, fails)                 # the smallest case that still fails, where that is easy

A Mangler with the same dice gives the same nonsense.
"""

from __future__ import annotations

import copy
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

TEXTS = (
    "", " ", "0", "-1", "1e999", "9" * 25, "9" * 5000, "null", "true", "\x00", "\n", "\r\n\r\n", "\x1b[31mred", "\x1b]0;",
    "\ud800", "\udfff\ud800", "é", "🐳" * 50, "²", "١٢٣٤٥٦", "\u202e", "\ufeff", "'\"`;--", "```", "@everyone",
    "../../x", "%s{name}{0}", "a" * 300, "x" * 70_000, "<" * 3000, "eyJ-" * 800, "a:b:c", ":", ",", "/", "//", "#", "?",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0002-01-01T00:00:00+14:00", "2026-13-45T99:99:99Z",
    "&=", "<@&12345678>",
    "healthy", "unhealthy", "running", "exited", "restarting", "paused", "created", "die", "start", "kill", "destroy",
    "health_status: unhealthy", "container:", "service:web", "SIGRTMIN+99", "host", "none", "all",
)  # fmt: skip
NUMBERS = (0, -0.0, 1, -1, 0.5, 7, 137, 255, 2**31, -(2**31), 2**53, 2**63 - 1, 2**63, -(2**63), 2**64, 10**18, 10**30,
           10**400, 1e15, 1e18, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan)  # fmt: skip
BYTES = (b"", b"\x00", b"\xff", b"\xc3", b"\xf0\x9f", b"\xed\xa0\x80", b"\n", b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"-5\r\n",
         b"ffffffffffffffff\r\n", b"zz\r\n", b"{", b"}", b"[", b"[" * 3000, b"]", b'"', b"\\", b"\\ud800", b"\\u0000", b",",
         b":", b"null", b"NaN", b"1e999", b"9" * 5000, b'{"a":1,"a":2}', b"\x1b[0m", b"HTTP/1.1 100 Continue\r\n\r\n",
         b"Transfer-Encoding: chunked\r\n", b"Content-Length: -1\r\n", b"Content-Length: 5\r\n", b"a" * 66_000,
         b"\x01\x00\x00\x00\xff\xff\xff\xff", b"\x02\x00\x00\x00\x00\x00\x00\x00", b"2026-01-01T00:00:00Z ")  # fmt: skip

Path = tuple[Any, Any]


class Mangler:
    """Makes nonsense by its dice."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def text(self) -> str:
        """A text that somebody will not have thought of."""
        if self.dice.random() < 0.7:
            return self.dice.choice(TEXTS)
        return "".join(self.dice.choice(TEXTS)[:9] for _ in range(self.dice.randrange(1, 6)))

    def scalar(self) -> Any:
        """A value that is no list and no mapping."""
        return self.dice.choice((self.text, self.text, self.number, lambda: None, lambda: True, lambda: False))()

    def number(self) -> float:
        """A number at an edge, or near one."""
        number = self.dice.choice(NUMBERS)
        return number + self.dice.choice((0, 0, 1, -1)) if isinstance(number, int) else number

    def value(self, depth: int = 2) -> Any:
        """Any JSON value, with a chance of being nested deeply."""
        kind = self.dice.randrange(10)
        if kind == 0:
            return self.nested()
        if kind < 3 and depth:
            return [self.value(depth - 1) for _ in range(self.dice.randrange(4))]
        if kind < 5 and depth:
            return {self.text(): self.value(depth - 1) for _ in range(self.dice.randrange(4))}
        return self.scalar()

    def nested(self) -> Any:
        """Lists or mappings in each other."""
        value: Any = self.scalar()
        for _ in range(self.dice.choice((3, 20, 60))):
            value = [value] if self.dice.random() < 0.5 else {"a": value}
        return value

    def spoil(self, document: Any, times: int = 0) -> Any:
        """A copy of a JSON value in which some places are odd."""
        holder = [copy.deepcopy(document)]
        for _ in range(times or self.dice.choice((1, 1, 1, 2, 2, 3, 5, 9))):
            self._spoil_place(list(places(holder)))
        return holder[0] if holder else None

    def _spoil_place(self, spots: list[Path]) -> None:
        if not spots:
            return
        holder, key = self.dice.choice(spots)
        kind = self.dice.randrange(8)
        if kind < 3:
            holder[key] = self.value()
        elif kind == 3:
            holder[key] = self.near(holder[key])
        elif kind == 4:
            del holder[key]
        elif kind == 5:  # what belongs elsewhere
            other, name = self.dice.choice(spots)
            holder[key] = copy.deepcopy(other[name])
        elif kind == 6:
            holder[key] = [holder[key]] * (1 if isinstance(holder[key], dict | list) else self.dice.choice((1, 2, 30)))
        elif isinstance(holder, dict):
            holder[self.text()] = holder.pop(key)
        else:
            holder.insert(key, copy.deepcopy(holder[key]))

    def near(self, value: Any) -> Any:
        """A value of the same type, and yet another one."""
        if isinstance(value, str):
            cut = self.dice.randrange(len(value) + 1)
            return value[:cut] + self.text()[:200] + value[cut + self.dice.randrange(3) :]
        if isinstance(value, bool):
            return not value
        if isinstance(value, int | float):
            return self.dice.choice((-value, value + 1, value - 1, value * 1000, value * 10**9, value // 2, str(value)))
        return self.value()

    def spoil_bytes(self, data: bytes, times: int = 0) -> bytes:
        """Bytes of which some are cut off, turned, put in, or there twice."""
        for _ in range(times or self.dice.choice((1, 1, 2, 3, 6))):
            start = self.dice.randrange(len(data) + 1)
            end = min(len(data), start + self.dice.choice((0, 1, 2, 5, 20, 200)))
            kind = self.dice.randrange(6)
            if kind == 0:
                data = data[:start]
            elif kind == 1 and start < len(data):
                data = data[:start] + bytes([data[start] ^ (1 << self.dice.randrange(8))]) + data[start + 1 :]
            elif kind == 2:
                data = data[:start] + self.dice.choice(BYTES) + data[start:]
            elif kind == 3:
                data = data[:end] + data[start:end] * self.dice.choice((1, 2, 50)) + data[end:]
            elif kind == 4:
                data = data[:start] + data[end:]
            else:
                data = data[:start] + self.dice.randbytes(end - start) + data[end:]
        return data


def json_bytes(value: Any) -> bytes:
    """As an engine or a Discord that has gone mad may write it: NaN and lone surrogates, some unescaped."""
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


def places(value: Any) -> Iterator[Path]:
    """Every holder and key, or index, at which a JSON value has another one."""
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])


def smaller(value: Any) -> Iterator[Any]:
    """Values that say a little less."""
    if isinstance(value, bytes | str | list) and value:
        size = len(value)
        step = size
        while step >= 1:
            for start in range(0, size, step):
                yield value[:start] + value[start + step :]
            step //= 2
            if size // max(1, step) > 64:
                break
    if isinstance(value, dict):
        yield from ({name: item for name, item in value.items() if name != key} for key in value)
    if isinstance(value, dict):
        yield from (value | {key: less} for key in value for less in smaller(value[key]))
    if isinstance(value, list):
        yield from ([*value[:index], less, *value[index + 1 :]] for index in range(len(value))
                    for less in smaller(value[index]))


def shrunk(case: Any, fails: Callable[[Any], bool], seconds: float = 5.0) -> Any:
    """The smallest case found in so many seconds that still fails."""
    until, better = time.monotonic() + seconds, True
    while better and time.monotonic() < until:
        better = False
        for less in smaller(case):
            if time.monotonic() > until:
                break
            if fails(less):
                case, better = less, True
                break
    return case
