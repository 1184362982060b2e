"""Docstrings as Markdown: examples fenced, roles as links; a name without an example gets a test that uses it."""

from __future__ import annotations

import ast
import re
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parent.parent.parent
LONGEST_TEST = 24
"""Lines of a test that is shown as an example, at most."""


class AsMarkdown(griffe.Extension):
    """What a reader of the site gets in place of the docstring's own notation."""

    def on_module_members(self, *, mod: griffe.Module, **kwargs: Any) -> None:
        """Public constants: those of an assignment to several names, which griffe leaves out, and a text for all."""
        if not isinstance(mod.filepath, Path):
            return
        for line, name, value in assigned_together(mod.filepath):
            if name in public_names().get(mod.path, ()) and name not in mod.members:
                mod.set_member(name, griffe.Attribute(name, value=value, lineno=line, endlineno=line))
        for name in public_names().get(mod.path, ()):
            member = mod.members.get(name)
            if isinstance(member, griffe.Attribute) and member.docstring is None:
                member.docstring = griffe.Docstring(
                    "A constant; the text of the module explains it.", parent=member
                )

    def on_object(self, *, obj: griffe.Object, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is None:
            return
        here = obj.module.path if not obj.is_module else obj.path
        text = as_markdown(obj.docstring.value, here)
        if not obj.is_module and ">>>" not in text and obj.parent is not None and obj.parent.is_module:
            module_text = obj.module.docstring.value if obj.module.docstring else ""
            if not re.search(rf"(>>>|\.\.\.) .*\b{obj.name}\b", module_text):
                text += used_by(here, obj.name)
        obj.docstring.value = text


def as_markdown(text: str, module: str) -> str:
    """A docstring with fenced examples, links for roles, and no character that Markdown would take for its own."""
    lines: list[str] = []
    fence: str | None = None
    section = False  # Examples: is a section of its own, which needs no fence
    for line in re.sub(r"(?m)^Example:$", "Examples:", text).splitlines():
        section = line == "Examples:" or (section and (not line.strip() or line.startswith("    ")))
        start = line.lstrip().startswith(">>> ") and not section
        if fence is None and start:
            fence = line[: len(line) - len(line.lstrip())]
            lines += ["", f"{fence}```pycon"]
        elif fence is not None and not line.strip():
            lines.append(f"{fence}```")
            fence = None
        if fence is not None or section:
            lines.append(line)
        else:
            lines += [*numbered(line, lines), prose(line, module)]
    if fence is not None:
        lines.append(f"{fence}```")
    return "\n".join(headed(lines))


def numbered(line: str, before: list[str]) -> list[str]:
    """An empty line before ``(2) ...`` and after what ends in a semicolon: each equation has its own line."""
    inside = line.startswith("    ") and bool(before) and before[-1].startswith("    ")
    return [""] if inside and (re.match(r" +\(\d\) ", line) or before[-1].endswith(";")) else []


def headed(lines: list[str]) -> list[str]:
    """Headings of sections with more than one word, ``Algorithm (Adam, ...):``, as admonitions of their own."""
    found = []
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        match = re.match(r"(Algorithm|Arguments|Guarantee|Problem) (\(.*\)):$", line)
        if match and below.startswith("    "):
            found += [f"{match[1]}:", f"    *{match[2][1:-1].strip()}.*", ""]
        else:
            found.append(line)
    return found


def prose(line: str, module: str) -> str:
    """One line outside examples."""
    parts = re.split(r"(``[^`]+``|`[^`]+`|:\w+:`[^`]+`)", line)
    return "".join(
        role(part, module)
        if part.startswith(":") and part.endswith("`")
        else part
        if "`" in part
        else escaped(part)
        for part in parts
    )


def role(written: str, module: str) -> str:
    """``:class:`~a.b.C` `` as a link; a name without dots is one of its own module."""
    kind, target = re.fullmatch(r":(\w+):`([^`]+)`", written).groups()  # type: ignore[union-attr]
    if kind in {"math", "eq"}:
        return f"`{target}`"
    path = target.lstrip("~!").removesuffix("()")
    shown = path.rpartition(".")[2] if target.startswith("~") else path
    return f"[`{shown}`][{path if '.' in path else f'{module}.{path}'}]" if known(path, module) else f"`{shown}`"


@cache
def known(path: str, module: str) -> bool:
    """Whether the site has this name: a module, or what one lists in ``__all__``."""
    full = path if "." in path else f"{module}.{path}"
    owner, _, name = full.rpartition(".")
    return full in public_names() or name in public_names().get(owner, ())


@cache
def public_names() -> dict[str, tuple[str, ...]]:
    """``__all__`` of every module of the packages that has one."""
    from pages import modules  # the hook's own list

    return modules()


def escaped(text: str) -> str:
    """Characters that Markdown would take for tags and emphasis."""
    text = re.sub(r"<(?=[\w/!?$])", "&lt;", text)
    text = re.sub(r"(?<=\w)\*(?=[\w(])", r"\\*", text)
    return text.replace("||", r"\|\|")


@cache
def assigned_together(path: Path) -> list[tuple[int, str, str]]:
    """(line, name, value) of each name of the statements ``A, B = ...`` of a module."""
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            names = [target.id for target in node.targets[0].elts if isinstance(target, ast.Name)]
            parts = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value] * len(names)
            found += [(node.lineno, *pair) for pair in zip(names, map(ast.unparse, parts), strict=True)]
    return found


@cache
def tests() -> dict[str, list[tuple[int, str, str]]]:
    """For each name that tests import from the packages: (lines, place, source) of the tests that use it."""
    found: dict[str, list[tuple[int, str, str]]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        source = path.read_text()
        tree = ast.parse(source)
        imported = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
                code = "\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno])
                for name in names & imported.keys():
                    place = f"{path.relative_to(ROOT)}:{node.lineno}"
                    found.setdefault(imported[name], []).append((length, place, code))
    return {name: sorted(uses) for name, uses in found.items()}


def used_by(module: str, name: str) -> str:
    """The shortest test that uses a name, folded, as its example; "" if there is none."""
    paths = [f"{module}.{name}", f"{module.rpartition('.')[0]}.{name}"]
    uses = [use for path in paths for use in tests().get(path, []) if use[0] <= LONGEST_TEST]
    if not uses:
        return ""
    _, place, code = min(uses)
    block = textwrap.indent(f"```python\n{code}\n```", "    ")
    return f'\n\n??? example "In {place}"\n{block}\n'
