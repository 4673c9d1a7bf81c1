"""Messages as Discord shows them, and terminals, as HTML pages: what tests/tools/pictures.py takes its pictures of.

    page(messages("sentinel-alerts", [posted], seen_at=clock.at), "dark")
    page(terminal("vm1", [("python3 sentinel.py check", printed)]), "light")

The look is our own, and resembles the real one enough to be read as it. A page is one file: it has no script but the one
that says how high it is, and fetches nothing, neither fonts nor images. Discord's markdown is drawn as far as bots use it.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

JSON = dict[str, Any]
THEMES = ("light", "dark")
WIDTH = 800  # of every picture, in CSS pixels
COLUMNS = 110  # of a terminal that is so wide
GROUPED = 420.0  # seconds within which messages of one author stand under one name

# --------------------------------------------------------------------------- markdown

INLINE = re.compile(
    r"""\\(?P<escaped>[^\w\s])
      | (?P<ticks>`+)(?P<code>.+?)(?<!`)(?P=ticks)(?!`)
      | <t:(?P<time>\d{1,12})(?::(?P<form>[tTdDfFR]))?>
      | \*\*(?P<strong>.+?)\*\*(?!\*)
      | __(?P<u>.+?)__(?!_)
      | ~~(?P<s>.+?)~~
      | \|\|(?P<spoiler>.+?)\|\|
      | \*(?P<em>[^\s*](?:[^*]*[^\s*])?)\*
      | (?<!\w)_(?P<i>[^\s_](?:[^_]*[^\s_])?)_(?!\w)
      | \[(?P<label>[^\]\n]+)\]\(<?https?://[^)\s]+\)
      | <(?P<mention>[@\#][&!]?\d+)>
      | (?P<ping>@(?:here|everyone)\b)
      | (?P<dot>[🔴🟠🟡🟢🔵⚪⚫])
    """,
    re.S | re.X,
)
WRAPPED = {"strong": "strong", "u": "u", "s": "s", "em": "em", "i": "em"}  # by group: its tag
DOTS = dict(zip("🔴🟠🟡🟢🔵⚪⚫", ("red", "orange", "yellow", "green", "blue", "white", "black"), strict=True))
FORMS = {"t": "%H:%M", "T": "%H:%M:%S", "d": "%d/%m/%Y", "D": "%-d %B %Y", "f": "%-d %B %Y %H:%M",
         "F": "%A, %-d %B %Y %H:%M"}  # fmt: skip
BLOCK = re.compile(r"\n?```(?:[a-z0-9_+-]+\n|\n)?(.*?)\n?```\n?", re.S | re.I)
LINES = ((re.compile(r"(#{1,3}) (.+)"), "h"), (re.compile(r"(-#) (.+)"), "sub"), (re.compile(r"(>) (.*)"), "quote"),
         (re.compile(r"( *[-*]) (.+)"), "item"))  # fmt: skip


def escaped(text: str) -> str:
    """Text as HTML, of which nothing is a tag."""
    return html.escape(text, quote=True)


def markdown(text: str, seen_at: float) -> str:
    """A text in Discord's markdown as HTML, as it is read at this moment."""
    parts = BLOCK.split(text)
    drawn: list[str] = []
    for number, part in enumerate(parts):
        if number % 2:
            drawn.append(f"<pre>{escaped(part)}</pre>")
        elif part:
            drawn += [line_of(line, seen_at) for line in part.split("\n")]
    return "".join(drawn)


def line_of(line: str, seen_at: float) -> str:
    """One line, which may be a heading, small print, a quote, or an item of a list."""
    for pattern, kind in LINES:
        if found := pattern.fullmatch(line):
            level = str(len(found[1])) if kind == "h" else ""
            mark = "• " if kind == "item" else ""
            return f'<div class="{kind}{level}">{mark}{inline(found[2], seen_at)}</div>'
    return f"<div>{inline(line, seen_at) or '&nbsp;'}</div>"


def inline(text: str, seen_at: float) -> str:
    """What stands within a line."""
    drawn, at = [], 0
    for found in INLINE.finditer(text):
        drawn += [escaped(text[at : found.start()]), piece(found, seen_at)]
        at = found.end()
    return "".join([*drawn, escaped(text[at:])])


def piece(found: re.Match[str], seen_at: float) -> str:
    """One thing that is marked in a line."""
    kind = found.lastgroup or ""
    inner = found[kind]
    match kind:
        case "escaped":
            return escaped(inner)
        case "code":
            return f"<code>{escaped(inner)}</code>"
        case "time" | "form":
            return f'<span class="moment">{escaped(moment(int(found["time"]), found["form"] or "f", seen_at))}</span>'
        case "dot":
            return f'<i class="dot {DOTS[inner]}"></i>'
        case "mention" | "ping":
            shown = inner if kind == "ping" else {"@&": "@role", "#": "#channel"}.get(inner.rstrip("0123456789"), "@someone")
            return f'<span class="ping">{escaped(shown)}</span>'
        case "spoiler" | "label":
            return f'<span class="{kind}">{inline(inner, seen_at)}</span>'
    return f"<{WRAPPED[kind]}>{inline(inner, seen_at)}</{WRAPPED[kind]}>"


def moment(time: float, form: str, seen_at: float) -> str:
    """A moment as Discord writes it: R counts from when it is read, all others are dates."""
    if form == "R":
        ago = seen_at - time
        return f"{lasted(ago)} ago" if ago >= 0 else f"in {lasted(-ago)}"
    return datetime.fromtimestamp(time, UTC).strftime(FORMS[form])


def lasted(seconds: float) -> str:
    """A while in words, as it stands in relative moments."""
    if round(seconds) < 45:
        return "a second" if round(seconds) == 1 else f"{round(seconds)} seconds"
    for unit, size, most in (("minute", 60, 45 * 60), ("hour", 3600, 22 * 3600), ("day", 86400, 26 * 86400),
                             ("month", 30 * 86400, 320 * 86400), ("year", 365 * 86400, math.inf)):  # fmt: skip
        if seconds < most:
            number = max(1, round(seconds / size))
            return f"{number} {unit}s" if number > 1 else f"{'an' if unit == 'hour' else 'a'} {unit}"
    raise AssertionError(seconds)


# --------------------------------------------------------------------------- messages


@dataclass(frozen=True)
class Posted:
    """A message as it stood at one moment: the parts of its body, when it came, whether it had been edited."""

    came_at: float
    content: str
    embeds: Sequence[JSON]
    components: Sequence[JSON]
    edited: bool = False
    author: str = "Sentinel"

    @property
    def titles(self) -> list[str]:
        return [embed.get("title", "") for embed in self.embeds]


def messages(channel: str, posted: Iterable[Posted], seen_at: float) -> str:
    """Messages of a channel, as they are read at this moment."""
    drawn: list[str] = []
    before: Posted | None = None
    for message in posted:
        follows = before and before.author == message.author and message.came_at - before.came_at < GROUPED
        drawn.append(message_of(message, seen_at, bool(follows)))
        before = message
    bar = f'<div class="bar"><span class="hash">#</span>{escaped(channel)}</div>'
    return f'<div class="channel">{bar}<div class="messages">{"".join(drawn)}</div></div>'


def message_of(message: Posted, seen_at: float, follows: bool) -> str:
    """One message; one that follows another of its author has no name of its own."""
    side, head = "", ""
    if not follows:
        came = f'<span class="when">{escaped(day_words(message.came_at, seen_at))}</span>'
        side = AVATAR
        name = f'<span class="name">{escaped(message.author)}</span><span class="app">APP</span>'
        head = f'<div class="head">{name}{came}</div>'
    edited = ' <span class="edited">(edited)</span>' if message.edited else ""
    body = f'<div class="content">{markdown(message.content, seen_at)}</div>' if message.content else ""
    if edited and body:
        body = body.removesuffix("</div></div>") + edited + "</div></div>"
    body += "".join(embed_of(embed, seen_at) for embed in message.embeds)
    body += "".join(buttons_of(row) for row in message.components)
    if edited and not message.content:
        body += f'<div class="below">{edited.strip()}</div>'
    kind = "message follows" if follows else "message"
    return f'<div class="{kind}"><div class="side">{side}</div><div class="main">{head}{body}</div></div>'


def embed_of(embed: JSON, seen_at: float) -> str:
    """An embed, with all of the parts that a bot can fill with text."""
    colour = f"#{embed.get('color') or 0x4E5058:06x}"
    parts: list[str] = []
    if author := embed.get("author"):
        parts.append(f'<div class="by">{escaped(author["name"])}</div>')
    if title := embed.get("title"):
        parts.append(f'<div class="title">{inline(title, seen_at)}</div>')
    if description := embed.get("description"):
        parts.append(f'<div class="text">{markdown(description, seen_at)}</div>')
    fields = [f'<div class="{"field" if field.get("inline") else "field whole"}">'
              f'<div class="label">{inline(field["name"], seen_at)}</div>{markdown(field["value"], seen_at)}</div>'
              for field in embed.get("fields", ())]  # fmt: skip
    if fields:
        parts.append(f'<div class="fields">{"".join(fields)}</div>')
    footer = [escaped(text) for text in [(embed.get("footer") or {}).get("text", "")] if text]
    if stamp := embed.get("timestamp"):
        footer.append(escaped(day_words(datetime.fromisoformat(stamp).timestamp(), seen_at)))
    if footer:
        parts.append(f'<div class="footer">{" <b>•</b> ".join(footer)}</div>')
    return f'<div class="embed" style="border-left-color: {colour}">{"".join(parts)}</div>'


def buttons_of(row: JSON) -> str:
    """A row of buttons."""
    drawn = [f'<span class="button style{button.get("style", 2)}">{escaped(button.get("label", ""))}</span>'
             for button in row.get("components", ())]  # fmt: skip
    return f'<div class="row">{"".join(drawn)}</div>'


def day_words(time: float, seen_at: float) -> str:
    """When a message came: a time of day, and which day where it is another."""
    then, now = (datetime.fromtimestamp(moment, UTC) for moment in (time, seen_at))
    return then.strftime("Today at %H:%M" if then.date() == now.date() else "%d/%m/%Y %H:%M")


AVATAR = """<svg class="avatar" viewBox="0 0 40 40" width="40" height="40">
<circle cx="20" cy="20" r="20" fill="#2f6f73"/>
<path d="M20 8 L30 11.5 V19.5 C30 26 25.8 30.3 20 32.5 C14.2 30.3 10 26 10 19.5 V11.5 Z" fill="#e9f3f1"/>
<path d="M12.8 20.5 Q20 12.6 27.2 20.5 Q20 28.4 12.8 20.5 Z" fill="#2f6f73"/>
<circle cx="20" cy="20.5" r="2.7" fill="#e9f3f1"/>
</svg>""".replace("\n", "")

# --------------------------------------------------------------------------- terminals

ESCAPE = re.compile(r"\x1b\[([\d;]*)([A-Za-z])")
SIDES = {"▌": "half"}  # drawn as a part of its cell, so that those of many lines are one line


def terminal(title: str, typed: Iterable[tuple[str, str]]) -> str:
    """A terminal in which these commands were typed, each with what it printed."""
    drawn: list[str] = []
    for command, printed in typed:
        drawn.append(f'<div><span class="prompt">$</span> <b>{escaped(command)}</b></div>')
        drawn += [f"<div>{line or '&nbsp;'}</div>" for line in coloured(printed).split("\n")]
    name = f'<div class="bar"><i></i><i></i><i></i><span>{escaped(title)}</span></div>'
    return f'<div class="terminal">{name}<div class="screen">{"".join(drawn)}</div></div>'


def coloured(text: str) -> str:
    """What a terminal shows of a text with colours in it; all other sequences are left out."""
    text = text.replace("\r\n", "\n").strip("\n")
    drawn, at, styles = [], 0, set[str]()
    for found in ESCAPE.finditer(text):
        drawn.append(styled(text[at : found.start()], styles))
        if found[2] == "m":
            styles = styles_after(styles, found[1])
        at = found.end()
    return "".join([*drawn, styled(text[at:], styles)])


def styles_after(styles: set[str], codes: str) -> set[str]:
    """The classes that a text has after these numbers."""
    for code in (int(word or 0) for word in codes.split(";")):
        if code == 0:
            styles = set()
        elif code in (1, 2, 3, 4):
            styles = styles | {f"s{code}"}
        elif code == 39 or 30 <= code <= 37 or 90 <= code <= 97:
            styles = {style for style in styles if not style.startswith("c")} | ({f"c{code}"} if code != 39 else set())
    return styles


def styled(text: str, styles: set[str]) -> str:
    """A text in these classes; no element goes over the end of a line."""
    lines: list[str] = []
    for line in text.split("\n"):
        shown = "".join(f'<i class="{SIDES[letter]}"></i>' if letter in SIDES else escaped(letter) for letter in line)
        lines.append(f'<span class="{" ".join(sorted(styles))}">{shown}</span>' if styles and shown else shown)
    return "\n".join(lines)


# --------------------------------------------------------------------------- pages


def page(body: str, theme: str) -> str:
    """A whole page in one of the themes; when it is loaded, `data-height` says how high it is."""
    return (f'<!doctype html>\n<html lang="en" class="{theme}"><head><meta charset="utf-8"><title>Sentinel</title>'
            f"<style>{STYLE}</style></head>\n<body>{body}\n<script>{MEASURE}</script></body></html>\n")  # fmt: skip


MEASURE = ("const root = document.documentElement; "
           "root.dataset.height = Math.ceil(document.body.getBoundingClientRect().height);")  # fmt: skip

STYLE = """
.light { --page: #ffffff; --bar: #ffffff; --edge: #d9dce1; --text: #2f3238; --strong: #0b0d10; --muted: #646873;
  --embed: #f4f5f7; --code: #e4e6ea; --block: #ebedf0; --block-edge: #d9dce1; --moment: #e4e6ea;
  --ping: #e2e6fb; --ping-text: #3c49b8; --app: #4a5bd4; --grey: #e0e2e7; --grey-text: #24262b;
  --screen: #fbfbfa; --screen-bar: #eceae7; --screen-text: #2d2f33; --light: #c8c6c2;
  --c31: #c62828; --c32: #217a36; --c33: #96660b; --c34: #1f5fc4; --c35: #8f3aa3; --c36: #12777f; --c90: #7b7f87; }
.dark { --page: #313338; --bar: #2f3136; --edge: #202225; --text: #dcdee2; --strong: #f4f5f6; --muted: #9da2ab;
  --embed: #2a2c31; --code: #1f2125; --block: #1f2125; --block-edge: #1a1b1e; --moment: #3d4046;
  --ping: #3d4270; --ping-text: #cdd3ff; --app: #5566e0; --grey: #4b4e55; --grey-text: #ffffff;
  --screen: #16181d; --screen-bar: #24272e; --screen-text: #d6d9de; --light: #4a4e57;
  --c31: #f2726f; --c32: #6cc580; --c33: #e0b25c; --c34: #77a8f5; --c35: #d394e3; --c36: #62c4cb; --c90: #8b909a; }
* { box-sizing: border-box; }
html { background: transparent; }
body { margin: 0; width: 800px; overflow: hidden; color: var(--text); background: transparent;
  font: 15px/1.375 Inter, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", "DejaVu Sans", sans-serif; }
code, pre, .screen { font-family: "DejaVu Sans Mono", Consolas, Menlo, "Liberation Mono", monospace; }
.channel, .terminal { border: 1px solid var(--edge); border-radius: 8px; overflow: hidden; background: var(--page); }
.channel + .channel { margin-top: 12px; }
.channel .bar { padding: 9px 16px; font-weight: 600; color: var(--strong); background: var(--bar);
  border-bottom: 1px solid var(--edge); }
.hash { color: var(--muted); font-weight: 500; margin-right: 8px; font-size: 18px; line-height: 1; }
.messages { padding: 14px 16px 16px; }
.message { display: flex; }
.message + .message { margin-top: 16px; }
.message.follows { margin-top: 4px; }
.side { flex: 0 0 52px; }
.content { font-size: 14px; }
.avatar { display: block; margin-top: 2px; }
.main { flex: 1; min-width: 0; }
.name { font-weight: 600; color: var(--strong); }
.app { margin: 0 8px 0 6px; padding: 1px 5px; border-radius: 4px; background: var(--app); color: #ffffff;
  font-size: 10.5px; font-weight: 600; position: relative; top: -1px; }
.when, .edited, .footer, .sub { font-size: 12px; color: var(--muted); }
.below { line-height: 1; margin-top: 7px; }
.edited { font-size: 11px; }
.embed { width: fit-content; max-width: 660px; min-width: 320px; margin-top: 6px; padding: 10px 16px 13px 13px;
  border-left: 4px solid; border-radius: 4px; background: var(--embed); font-size: 14px; overflow-wrap: anywhere; }
.by { font-size: 13px; font-weight: 600; color: var(--strong); margin-bottom: 5px; }
.title { font-size: 15.5px; font-weight: 600; color: var(--strong); margin-bottom: 5px; }
.text > div { padding-bottom: 1.5px; }
.footer { margin-top: 9px; }
.footer b { font-weight: 400; padding: 0 1px; }
.fields { display: flex; flex-wrap: wrap; gap: 8px 18px; margin-top: 8px; }
.field { flex: 0 0 auto; min-width: 110px; } .field.whole { flex-basis: 100%; }
.label { font-weight: 600; color: var(--strong); }
strong, .h1, .h2, .h3 { font-weight: 600; color: var(--strong); }
.h1 { font-size: 20px; } .h2 { font-size: 17px; } .h3 { font-size: 15px; }
.quote { border-left: 4px solid var(--grey); padding-left: 10px; }
code { padding: 1px 4px; border-radius: 4px; background: var(--code); font-size: 12px; line-height: 1; white-space: pre-wrap;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; }
pre { margin: 6px 0 0; padding: 8px 10px; border: 1px solid var(--block-edge); border-radius: 4px;
  background: var(--block); font-size: 12px; line-height: 1.45; white-space: pre-wrap; }
.moment { padding: 0 3px; border-radius: 3px; background: var(--moment); }
.ping { padding: 0 3px; border-radius: 3px; background: var(--ping); color: var(--ping-text); font-weight: 500; }
.label a, span.label { color: var(--c34); font-weight: inherit; }
.spoiler { background: var(--text); color: var(--text); border-radius: 3px; }
.dot { display: inline-block; width: 15px; height: 15px; border-radius: 50%; vertical-align: -2px; }
.dot.red { background: #dd3b45; } .dot.orange { background: #f0862c; } .dot.yellow { background: #f6c944; }
.dot.green { background: #57a84f; } .dot.blue { background: #4592e0; } .dot.black { background: #2c3036; }
.dot.white { background: #e3e7ea; box-shadow: inset 0 0 0 1px #b6bcc2; }
.row { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 8px; }
.button { padding: 6px 15px; border-radius: 8px; font-size: 14px; font-weight: 500; color: #ffffff; }
.style1 { background: var(--app); } .style3 { background: #2b8049; } .style4 { background: #d03a41; }
.style2, .style5 { background: var(--grey); color: var(--grey-text); }
.terminal { background: var(--screen); }
.terminal .bar { display: flex; align-items: center; gap: 7px; padding: 8px 13px; background: var(--screen-bar); }
.terminal .bar i { width: 11px; height: 11px; border-radius: 50%; background: var(--light); }
.terminal .bar span { flex: 1; padding-right: 47px; text-align: center; font-size: 12.5px; color: var(--muted); }
.screen { padding: 12px 17px 14px; color: var(--screen-text); font-size: 11.5px; line-height: 17px; }
.screen div { white-space: pre-wrap; overflow-wrap: anywhere; word-break: break-all; min-height: 17px; }
.screen b { font-weight: 600; } .prompt { color: var(--c32); }
.half { display: inline-block; width: 1ch; height: 17px; vertical-align: top;
  background: linear-gradient(currentColor, currentColor) 0 0 / 0.5ch 100% no-repeat; }
.s1 { font-weight: 700; } .s2 { opacity: 0.7; } .s3 { font-style: italic; } .s4 { text-decoration: underline; }
.c31, .c91 { color: var(--c31); } .c32, .c92 { color: var(--c32); } .c33, .c93 { color: var(--c33); }
.c34, .c94 { color: var(--c34); } .c35, .c95 { color: var(--c35); } .c36, .c96 { color: var(--c36); }
.c30, .c90 { color: var(--c90); }
"""
