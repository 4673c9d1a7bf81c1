"""The shape of sentinel.py, read off its syntax tree: sections, purity, who may use whom, annotations, docstrings."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "sentinel.py"
TEXT = SOURCE.read_text(encoding="utf-8")
TREE = ast.parse(TEXT)

PURE = ("Settings", "Vocabulary", "Messages", "Reading", "Text", "Memory", "Timers", "Services", "Runs", "Mutes",
        "Stream", "Absences", "Engine link", "Outages", "Stories", "Healing", "Lives", "Settling", "Dependants",
        "Roster", "Sights", "Events", "Silences", "Roll calls", "Fleet", "Watchdog", "Telling", "Cards",
        "Discord's form", "Terminal's form", "States", "Explaining", "Figures", "History", "Drill", "Gateway session",
        "Interactions", "Answers", "Commands")
IMPURE = ("Codec", "Ledger", "HTTP", "Own container", "Engine", "Addresses", "Discord", "Channels", "Rolls",
          "WebSocket", "Gateway", "Supervision", "Lanes", "Books", "Post", "Roll desk", "Pulse", "Front desk",
          "Daemon", "Drilling", "Checking", "Other commands", "Command line")
IMPURE_NAMES = {"time", "socket", "threading", "queue", "sqlite3", "http", "os", "sys", "open", "print", "input", "random",
                "logging", "subprocess", "select", "secrets", "uuid", "tempfile", "shutil", "ssl", "fcntl", "ctypes"}
IMPURE_CALLS = {"datetime.now", "datetime.today", "datetime.utcnow", "signal.signal", "signal.alarm", "signal.raise_signal"}
Function = ast.FunctionDef | ast.AsyncFunctionDef

# ─── Sections ─────────────────────────────────────────────────────────────────────────────────────────────────

HEADINGS = [(match[1], TEXT.count("\n", 0, match.start()) + 1)
            for match in re.finditer(r"^# ─── (.+?) ─+$", TEXT, re.MULTILINE)]


def section_of(line: int) -> str:
    """The section in which a line stands; empty above the first."""
    return next((name for name, first in reversed(HEADINGS) if line > first), "")


def functions() -> list[Function]:
    """Every function and method."""
    return [node for node in ast.walk(TREE) if isinstance(node, Function)]


def where(node: ast.stmt | ast.expr) -> str:
    return f"sentinel.py:{node.lineno} {getattr(node, 'name', '')}".rstrip()


def test_sections_stand_in_their_order() -> None:
    names = [name for name, _ in HEADINGS]
    line = next(index for index, name in enumerate(names) if name.startswith("The line of purity"))
    assert tuple(names[:line]) == PURE
    assert tuple(names[line + 1 :]) == IMPURE


def test_the_docstring_names_every_section() -> None:
    docstring = " ".join((ast.get_docstring(TREE) or "").split())
    assert not [name for name, _ in HEADINGS if name not in docstring and not name.startswith("The line of purity")]


def without_annotations(node: ast.AST) -> Iterator[ast.AST]:
    """All that runs in a node: everything but annotations."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from without_annotations(child)


def defined(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of the file defines."""
    if isinstance(node, Function | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def loaded(node: ast.stmt) -> list[ast.Name]:
    """The names that a statement at the top of the file uses and does not bind itself, annotations aside."""
    inside = list(without_annotations(node))
    bound = {name.id for name in inside if isinstance(name, ast.Name) and not isinstance(name.ctx, ast.Load)}
    bound |= {argument.arg for argument in inside if isinstance(argument, ast.arg)}
    return [name for name in inside if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)
            and name.id not in bound]


def test_a_section_uses_only_what_stands_above_it() -> None:
    home = {name: section_of(node.lineno) for node in TREE.body for name in defined(node)}
    order = [name for name, _ in HEADINGS]
    wrong = []
    for node in TREE.body:
        section = section_of(node.lineno)
        for used in loaded(node) if section else ():
            if home.get(used.id) and order.index(home[used.id]) > order.index(section):
                wrong.append(f"{where(used)}: {section} uses {used.id} of {home[used.id]}")
    assert not wrong


def test_nothing_above_the_line_of_purity_touches_the_world() -> None:
    wrong = []
    for node in TREE.body:
        if section_of(node.lineno) not in PURE:
            continue
        wrong += [f"{where(name)}: {name.id}" for name in loaded(node) if name.id in IMPURE_NAMES]
        for used in without_annotations(node):
            if isinstance(used, ast.Attribute) and ast.unparse(used) in IMPURE_CALLS:
                wrong.append(f"{where(used)}: {ast.unparse(used)}")
            elif isinstance(used, ast.Import | ast.ImportFrom):
                wrong.append(f"{where(used)}: an import")
    assert not wrong


# ─── Classes ──────────────────────────────────────────────────────────────────────────────────────────────────

CLASSES = {node.name: node for node in TREE.body if isinstance(node, ast.ClassDef)}


def given(node: ast.ClassDef) -> set[str]:
    """The file's own classes that an object is given when it is made."""
    inits = [item for item in node.body if isinstance(item, Function) and item.name == "__init__"]
    annotations = [argument.annotation for init in inits for argument in init.args.args if argument.annotation]
    names = {name.id for annotation in annotations for name in ast.walk(annotation) if isinstance(name, ast.Name)}
    return names & CLASSES.keys()


def test_a_class_is_given_only_what_stands_above_it() -> None:
    """Else it could ask upward through what it is given, which names alone do not show."""
    order = [name for name, _ in HEADINGS]
    wrong = []
    for node in CLASSES.values():
        for name in given(node):
            there = CLASSES[name]
            below = order.index(section_of(there.lineno)) > order.index(section_of(node.lineno))
            wrong += [f"{where(node)} is given a {name}"] if below else []
    assert not wrong


def test_nobody_writes_into_the_insides_of_what_somebody_else_has() -> None:
    """`a.b.c = …` changes b's object behind the back of whoever owns it."""
    stores = [node for node in ast.walk(TREE) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)]
    assert not [f"{where(node)} {ast.unparse(node)}" for node in stores if isinstance(node.value, ast.Attribute)]


def test_nobody_reaches_a_method_by_its_name() -> None:
    calls = [node for node in ast.walk(TREE) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert not [where(node) for node in calls if node.func.id == "getattr" and ast.unparse(node.args[0]) == "self"]


def test_nobody_uses_what_another_class_keeps_to_itself() -> None:
    private = [node for node in ast.walk(TREE) if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr)]
    assert not [f"{where(node)} {ast.unparse(node)}" for node in private if ast.unparse(node.value) not in ("self", "cls")]


def test_no_number_of_the_deciding_code_is_without_a_name() -> None:
    wrong = []
    for function in functions():
        if section_of(function.lineno) not in PURE:
            continue
        inside = [node for statement in function.body for node in ast.walk(statement)]
        wrong += [f"{where(node)} {node.value}" for node in inside
                  if isinstance(node, ast.Constant) and isinstance(node.value, float) and node.value not in (0.0, 1.0)]
    assert not wrong


# ─── Habits ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_everything_is_annotated() -> None:
    bare = []
    for function in functions():
        arguments = function.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        bare += [f"{where(function)}: {argument.arg}" for argument in named
                 if argument and argument.annotation is None and argument.arg not in ("self", "cls")]
        bare += [where(function)] if function.returns is None else []
    assert not bare


def test_nothing_is_global() -> None:
    assert not [where(node) for node in ast.walk(TREE) if isinstance(node, ast.Global | ast.Nonlocal)]


def handlers(function: Function) -> Iterator[ast.ExceptHandler]:
    """The handlers of a function, without those of functions in it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ExceptHandler):
            yield node
        if not isinstance(node, Function):
            waiting += ast.iter_child_nodes(node)


def test_only_the_tops_of_threads_and_main_catch_everything() -> None:
    threads = {keyword.value.id for node in ast.walk(TREE) if isinstance(node, ast.Call) for keyword in node.keywords
               if keyword.arg == "target" and isinstance(keyword.value, ast.Name)}
    assert threads
    broad = [where(function) for function in functions() if function.name not in (*threads, "main")
             for handler in handlers(function)
             if handler.type is None or re.search(r"\b(Base)?Exception\b", ast.unparse(handler.type))]
    assert not broad
    assert not re.search(r"suppress\([^)]*\b(?:Base)?Exception\b", TEXT)


def is_ours(node: ast.ClassDef) -> bool:
    """Whether a class stands on none, or on one of this file's own; others' methods are documented elsewhere."""
    own = {item.name for item in TREE.body if isinstance(item, ast.ClassDef)}
    return all(isinstance(base, ast.Name) and base.id in own for base in node.bases)


def test_all_that_is_public_says_what_it_is() -> None:
    public = [node for node in TREE.body if isinstance(node, Function | ast.ClassDef)]
    public += [method for node in TREE.body if isinstance(node, ast.ClassDef) and is_ours(node)
               for method in node.body if isinstance(method, Function)]
    assert not [where(node) for node in public if not node.name.startswith("_") and not ast.get_docstring(node)]


def test_only_the_standard_library_is_imported() -> None:
    imports = [node for node in ast.walk(TREE) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in imports if isinstance(node, ast.ImportFrom)]
    modules = {name.partition(".")[0] for name in names}
    assert modules and not modules - set(sys.stdlib_module_names)


def test_a_name_that_is_defined_is_used() -> None:
    words = Counter(re.findall(r"\w+", TEXT + (SOURCE.parent / "tests" / "test_readme.py").read_text(encoding="utf-8")))
    unused = [f"{where(node)}: {name}" for node in TREE.body for name in defined(node) if words[name] == 1]
    assert not unused
