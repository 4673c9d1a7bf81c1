"""The README's pictures: drawn from what was really sent and printed, nothing fetched, small enough, and there."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tools import pictures
from tools.drawing import THEMES, Posted, coloured, markdown, messages, page, terminal
from tools.pictures import MOST_BYTES, NAMES, PICTURES, Picture

ROOT = Path(__file__).resolve().parents[2]
NASTY = """<script>alert('&"')</script>"""
FETCHES = re.compile(r"<[^>]*(?:\b(?:src|srcset|href)\s*=|https?:)|url\(|@import", re.I)


@pytest.fixture(scope="module")
def played() -> dict[str, Picture]:
    """All scenes."""
    return pictures.play()


def seen(text: str) -> str:
    """What is read of a piece of HTML."""
    return html.unescape(re.sub(r"<[^>]*>", "", text))


def bare(text: str) -> str:
    """A text without the signs of markdown."""
    return re.sub(r"[*~`_|\\]", "", text)


def titles_in(text: str) -> list[str]:
    return [bare(seen(found)) for found in re.findall(r'<div class="title">(.*?)</div>', text)]


def test_pages_show_the_embeds_as_they_were_sent(played: dict[str, Picture]) -> None:
    assert tuple(played) == NAMES
    for picture in played.values():
        sent = [bare(title) for message in picture.posted for title in message.titles]
        assert titles_in(picture.body) == sent
    (red,), (edited, green) = (played[name].posted for name in ("red", "recovered"))
    assert red.titles == ["[DEAD] shop-db-1"] and "shop-db-1" in green.titles[0]
    assert red.components and not edited.components and red.edited and edited.came_at == red.came_at
    labels = [html.escape(button["label"]) for row in red.components for button in row["components"]]
    assert re.findall(r'<span class="button style\d">(.*?)</span>', played["red"].body) == labels
    shown = seen(played["red"].body)
    assert "api ← db" in shown and "web ← api ← db" in shown and "seconds ago" in shown and "<t:" not in shown
    assert "<pre>LOG:  checkpoint starting: time\n" in played["red"].body


def test_the_fleet_is_three_roll_calls_and_a_red(played: dict[str, Picture]) -> None:
    *calls, red = played["fleet"].posted
    assert [re.findall(r"`(vm\d)`\*\*", call.content) for call in calls] == [["vm1"], ["vm2"], ["vm3"]]
    assert red.titles == ["[DARK] vm2"] and played["fleet"].body.count('<i class="dot green">') == 2


def test_terminals_show_what_was_printed_in_its_colours(played: dict[str, Picture]) -> None:
    for name, colours in (("terminal", {"c31", "c32", "c34"}), ("check", {"c31", "c32", "c33"})):
        (printed,), body = played[name].printed, played[name].body
        assert set(re.findall(r'class="[^"]*\b(c\d+)', body)) >= colours
        plain = re.sub(r"\x1b\[[\d;]*m|▌", "", printed).replace("\r\n", "\n").strip("\n")
        assert plain in seen(body.replace("</div>", "\n")).replace("\xa0", "")
        assert "\x1b" not in body and "/tmp/" not in body
    assert "[DEAD] shop-web-1" in played["terminal"].body and "Recovered: shop-web-1" in played["terminal"].body


def test_pages_fetch_nothing_and_name_nobody(played: dict[str, Picture]) -> None:
    made = pictures.pages(played)
    assert list(made) == [f"{name}-{theme}" for name in NAMES for theme in THEMES]
    for text in made.values():
        assert not FETCHES.search(text)
        assert set(re.findall(r"<(\w+)", text)) <= {
            "html", "head", "meta", "title", "style", "body", "script", "div", "span", "i", "b", "u", "s", "em", "strong",
            "code", "pre", "svg", "circle", "path"}  # fmt: skip
    for name in NAMES:
        assert len({made[f"{name}-{theme}"].partition("<body>")[2] for theme in THEMES}) == 1


def test_the_readmes_pictures_are_there_in_both_themes_and_small() -> None:
    referred = re.findall(r"\.github/pictures/([\w.-]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    there = {path.name for path in PICTURES.iterdir()}
    wanted = {re.sub(r"-(?:light|dark)\.png$", "", name) for name in referred} or set(NAMES)
    assert wanted <= set(NAMES)
    assert {f"{name}-{theme}.png" for name in wanted for theme in THEMES} <= there
    assert there <= {f"{name}-{theme}.png" for name in NAMES for theme in THEMES}
    for name in there:
        data = (PICTURES / name).read_bytes()
        assert data.startswith(b"\x89PNG\r\n") and len(data) < MOST_BYTES, name


def test_what_looks_like_html_is_text() -> None:
    embed = {"title": NASTY, "description": f"{NASTY} **{NASTY}** `{NASTY}`\n```\n{NASTY}\n```", "footer": {"text": NASTY},
             "author": {"name": NASTY}, "fields": [{"name": NASTY, "value": NASTY}], "color": 1}  # fmt: skip
    row = {"components": [{"label": NASTY, "style": 4}]}
    posted = Posted(0.0, NASTY, [embed], [row], author=NASTY)
    body = messages(NASTY, [posted], 0.0) + terminal(NASTY, [(NASTY, f"\x1b[31m{NASTY}\x1b[0m")])
    assert "<script" not in body and NASTY not in body and seen(body).count(NASTY) == 16
    assert page(body, "dark").count("<script>") == 1, "its own, which says how high it is"


@pytest.mark.parametrize(("text", "drawn"), [
    ("**a `*b*`** \\*c\\*", "<div><strong>a <code>*b*</code></strong> *c*</div>"),
    ("~~gone~~ _so_ *so* __so__ snake_case", "<div><s>gone</s> <em>so</em> <em>so</em> <u>so</u> snake_case</div>"),
    ("a\n```py\nb\n```\nc", "<div>a</div><pre>b</pre><div>c</div>"),
    ("-# small\n## big\n- one\n> said", '<div class="sub">small</div><div class="h2">big</div><div class="item">• one</div>'
     '<div class="quote">said</div>'),
    ("<t:88:R> <t:100> <t:7300:R>", '<div><span class="moment">12 seconds ago</span> '
     '<span class="moment">1 January 1970 00:01</span> <span class="moment">in 2 hours</span></div>'),
    ("🔴 @here <@5> [a](https://b.example)", '<div><i class="dot red"></i> <span class="ping">@here</span> '
     '<span class="ping">@someone</span> <span class="label">a</span></div>'),
    ("", ""), ("a\n\nb", "<div>a</div><div>&nbsp;</div><div>b</div>")])  # fmt: skip
def test_markdown_is_drawn_as_discord_does(text: str, drawn: str) -> None:
    assert markdown(text, 100.0) == drawn


def test_colours_go_on_over_lines_and_other_sequences_are_left_out() -> None:
    assert coloured("\x1b[1;31ma\r\nb\x1b[39mc\x1b[0m\x1b[2Kd") == (
        '<span class="c31 s1">a</span>\n<span class="c31 s1">b</span><span class="s1">c</span>d')


def test_without_a_browser_it_says_so_in_one_line_and_pages_can_still_be_written(tmp_path: Path) -> None:
    words = [sys.executable, pictures.__file__]
    done = subprocess.run(words, env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (1, 1, "") and "no Chromium" in done.stdout
    done = subprocess.run([*words, "--only", "check", "--html", str(tmp_path / "pages")], env={"PATH": str(tmp_path)},
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == ["check-dark.html", "check-light.html"]
