"""The words of CONTRIBUTING.md: no phrase to avoid in a string or on a page, no name to avoid in the code.

``python -m tests.test_words adabatch/data theory`` prints what it finds in these files and folders.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = ("adabatch", "theory", "proofs", "simulate", "examples", "benchmarks", "cli.py")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs", ".github")


@dataclass(frozen=True)
class Phrase:
    """A pattern to avoid, the patterns within which it is allowed, and what to write instead."""

    pattern: re.Pattern[str]
    allowed: tuple[re.Pattern[str], ...]
    use: str

    def found_in(self, text: str) -> Iterator[re.Match[str]]:
        fine = [match.span() for pattern in self.allowed for match in pattern.finditer(text)]
        for match in self.pattern.finditer(text):
            if not any(start <= match.start() and match.end() <= end for start, end in fine):
                yield match


def compiled(phrase: str) -> re.Pattern[str]:
    """``{is,was} no`` as a pattern of whole words, which may stand on two lines."""
    words = [
        "(?:" + "|".join(map(re.escape, word[1:-1].split(","))) + ")" if word.startswith("{") else re.escape(word)
        for word in re.findall(r"\{[^}]*\}|[^\s{}]+", phrase)
    ]
    return re.compile(r"(?<![\w-])" + r"\s+".join(words) + r"(?![\w-])", flags=re.IGNORECASE)


def tables() -> tuple[list[list[str]], list[list[str]]]:
    """The rows of the two tables of CONTRIBUTING.md, without their heads."""
    lines = iter((ROOT / "CONTRIBUTING.md").read_text().splitlines())
    found = []
    for head in ("| avoid | but not in | use |", "| name | use |"):
        next(line for line in lines if line == head)
        rows = list(takewhile(lambda line: line.startswith("|"), lines))[1:]
        found.append([[cell.strip() for cell in row.strip("|").split("|")] for row in rows])
    return found[0], found[1]


def in_backticks(cell: str) -> list[str]:
    return re.findall("`([^`]+)`", cell)


@cache
def phrases() -> list[Phrase]:
    return [
        Phrase(compiled(phrase), tuple(map(compiled, in_backticks(allowed))), use)
        for avoid, allowed, use in tables()[0]
        for phrase in in_backticks(avoid)
    ]


@cache
def names() -> dict[str, str]:
    return {name: use for avoid, use in tables()[1] for name in in_backticks(avoid)}


def strings(tree: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """Every string of a module; of an f-string its fixed parts, with {} for the others."""
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            fixed = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node, "".join(map(str, fixed))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node, node.value


def defined_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Classes, functions, and what modules and classes assign."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        if isinstance(node, ast.ClassDef | ast.Module):
            for statement in node.body:
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement]
                for target in targets:
                    name = target.target if isinstance(target, ast.AnnAssign) else target
                    if isinstance(name, ast.Name):
                        yield statement.lineno, name.id


def line_of(phrase: Phrase, node: ast.expr, source: list[str]) -> int:
    """The line on which the phrase begins, where it does not span two; else that of the string."""
    lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return next((number for number in lines if any(phrase.found_in(source[number - 1]))), node.lineno)


def in_code(path: Path) -> Iterator[str]:
    text = path.read_text()
    tree = ast.parse(text)
    source, found = text.splitlines(), list(strings(tree))
    whole = "\0".join(string for _, string in found)  # which no phrase spans
    present = [phrase for phrase in phrases() if any(phrase.found_in(whole))]
    for node, string in found:
        for phrase in present:
            for match in phrase.found_in(string):
                yield finding(path, line_of(phrase, node, source), match.group(), phrase.use)
    for line, name in [*defined_names(tree), (1, path.parent.name if path.stem == "__init__" else path.stem)]:
        if use := names().get(name.lstrip("_") if name != "__init__" else ""):
            yield finding(path, line, name, use)


def in_page(path: Path) -> Iterator[str]:
    text = path.read_text()
    if path.name == "CONTRIBUTING.md":  # without the tables themselves
        text = re.sub(r"^\|.*$", "", text, flags=re.MULTILINE)
    if path.name == "log.md":  # past entries and their titles stay as they were written
        text = re.sub(r"^- \[.*$", "", text[: text.find("\n## ")], flags=re.MULTILINE)
    for phrase in phrases():
        for match in phrase.found_in(text):
            yield finding(path, text.count("\n", 0, match.start()) + 1, match.group(), phrase.use)


def finding(path: Path, line: int, what: str, use: str) -> str:
    place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return f"{place}:{line}: {' '.join(what.split())} -> {use}"


def findings(places: Iterable[Path]) -> list[str]:
    """What is found in these files and folders, in order."""
    found: list[str] = []
    for place in places:
        files = [path for path in sorted(place.rglob("*")) if path.is_file()] if place.is_dir() else [place]
        for path in files:
            if path.suffix == ".py":
                found += in_code(path)
            elif path.suffix in {".md", ".yml"}:
                found += in_page(path)
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("place", [*CODE, *PAGES])
def test_no_phrase_to_avoid(place):
    assert (ROOT / place).exists()
    found = findings([ROOT / place])
    assert not found, "\n".join(["see Words in CONTRIBUTING.md:", *found])


def examples() -> list[str]:
    """One occurrence of each phrase of the table: the first of its alternatives."""
    written = [phrase for avoid, _, _ in tables()[0] for phrase in in_backticks(avoid)]
    return [re.sub(r"\{([^,}]*)[^}]*\}", r"\1", phrase) for phrase in written]


@pytest.mark.parametrize("phrase", examples())
def test_each_phrase_is_found_in_strings_f_strings_and_pages(phrase, tmp_path):
    broken = phrase.replace(" ", "\n    ", 1)
    module, page = tmp_path / "module.py", tmp_path / "page.md"
    module.write_text(
        f'x = 1\ny = f"it {phrase} {{x}}"\nz = ("in the second line"\n    " {phrase} or so")\n'
        f'def f():\n    """A docstring\n    with {broken} in it."""\n'
    )
    page.write_text(f"# Title\n\nIt {broken.capitalize()} x.\n")
    lines = {found.split(" ")[0].rstrip(":") for found in findings([tmp_path])}
    docstring = 7 if broken == phrase else 6  # a phrase on two lines: where the string begins
    assert {f"{module}:{line}" for line in (2, 4, docstring)} | {f"{page}:3"} <= lines


def test_a_phrase_put_into_a_module_of_the_product_is_found(tmp_path):
    source = (ROOT / "adabatch" / "files.py").read_text()
    copy = tmp_path / "files.py"
    copy.write_text(source)
    before = len(findings([copy]))
    copy.write_text(source.replace('"""', '"""Start anew; ', 1))
    assert len(findings([copy])) == before + 1


@pytest.mark.parametrize("definition", ["def {}(): ...", "class {}: ...", "{} = 1", "class A:\n    {}: int = 1"])
def test_a_name_to_avoid_is_found(definition, tmp_path):
    module = tmp_path / "module.py"
    for name in names():
        module.write_text(definition.format(name) + "\n")
        assert len(findings([module])) == 1, name
    module.write_text("def rendezvous(): ...\n")
    assert not findings([module])


@pytest.mark.parametrize(
    "fine",
    ["there is no checkpoint yet", "it is no longer there", "what is going on", "nats per token", "once per step"],
)
def test_what_is_allowed_is_not_found(fine, tmp_path):
    (tmp_path / "page.md").write_text(fine)
    assert not findings([tmp_path])


if __name__ == "__main__":
    listed = findings(Path(argument).resolve() for argument in sys.argv[1:] or [*CODE, *PAGES])
    print(*listed, sep="\n")
    print(f"{len(listed)} findings", file=sys.stderr)
    sys.exit(bool(listed))
