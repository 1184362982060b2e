"""One word, one thing: these names are each defined once in the product."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("adabatch", "theory", "proofs", "simulate")
WORDS = ("Certificate", "Verdict", "Comparison", "Method", "Table")
WORDS += ("Interval", "Coverage", "Plan", "Report", "Record")


def definitions(sources: list[str]) -> Counter[str]:
    """How often each of the words is a class, or a name that a module assigns."""
    found: Counter[str] = Counter()
    for source in sources:
        for node in ast.parse(source).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            names += [node.name] if isinstance(node, ast.ClassDef) else []
            found.update(name for name in names if name in WORDS)
    return found


def test_each_word_is_defined_once():
    paths = [
        path for package in ("adabatch", "theory", "proofs", "simulate") for path in (ROOT / package).rglob("*.py")
    ]
    assert definitions([path.read_text() for path in paths]) == dict.fromkeys(WORDS, 1)


def test_a_second_definition_is_noticed():
    assert definitions(["class Plan: ...", "Plan = int", "def plan(): ..."]) == {"Plan": 2}
