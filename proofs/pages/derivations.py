"""The page docs/theory/proofs.md: every proof with its symbols, its statement and its numbered steps."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any

from proofs.composition import Fact
from proofs.definitions import definitions
from proofs.notation import assumed, family, own
from proofs.relations import CONSTANTS, SIGNS, Relation, written
from proofs.steps import Method, Proof, Step
from proofs.typesetting import breakable, typeset

__all__ = ["FAMILIES", "anchor", "heading", "proofs_page", "statement_lines", "symbol_lines"]

FAMILIES = {
    "certificate": ("Symbols of certificates", "symbols-of-certificates"),
    "theorem2": ("Symbols of Theorem 2", "symbols-of-theorem-2"),
    "schedules": ("Symbols of schedules", "symbols-of-schedules"),
    "modes": ("Symbols of regression in modes", "symbols-of-regression-in-modes"),
}
"""Titles of the tables of families on the setting's page, and their addresses."""


def proofs_page(modules: Sequence[tuple[str, Sequence[Proof]]]) -> str:
    """The page, from the proofs of each module in reading order, each package's together."""
    lines = [files("proofs.pages").joinpath("proofs.md").read_text(encoding="utf-8")]
    packages: dict[str, list[Proof]] = {}
    for module, proofs in modules:
        packages.setdefault(module.rpartition(".")[0], []).extend(proofs)
    for package, found in packages.items():
        summary = (importlib.import_module(package).__doc__ or package).split("\n")[0]
        lines += [f"## {summary.rstrip('.').replace('<', '&lt;')}", ""]
        lines += [line for proof in found for line in _proof_lines(proof)]
    return "\n".join(lines).rstrip() + "\n"


def anchor(proof: Proof) -> str:
    """The address of a proof on its page.

    >>> anchor(Proof("L5'", "key inequality, on the half-line", "", ()))
    'l5-key-inequality-on-the-half-line'
    """
    words = re.sub(r"[^\w\s-]", "", f"{proof.name}: {proof.title}").strip().lower()
    return re.sub(r"[-\s]+", "-", words)


def heading(proof: Proof) -> str:
    """Name and title, without formulas: a table of contents has none."""
    return f"{proof.name}: {proof.title}".replace("<=", "≤").replace("<", "&lt;")


def statement_lines(proof: Proof) -> list[str]:
    """What a proof states: assumptions, words, and its conclusions, with ranges and definitions once."""
    stated = "; ".join(conclusion.latex() for conclusion in proof.conclusions)
    words = typeset(proof.statement[: len(proof.statement) - len(stated)].strip())
    names = ", ".join(typeset(a) for a in assumed(proof))
    lines = [f"Assumptions: {names}.", ""] if names else []
    lines += [breakable(words), ""] if words else []
    relations = [conclusion.relation for conclusion in proof.conclusions]
    ranges = list(dict.fromkeys(r.latex() for relation in relations for r in relation.ranges))
    if relations:
        lines += [f"For all ${', '.join(ranges)}$:" if ranges else "Then:", ""]
    known = [name for relation in relations for name in (*relation.where, *(r.symbol for r in relation.ranges))]
    lines += [f"- {_relation(relation, known)}" for relation in relations]
    definitions = dict(pair for relation in relations for pair in _definitions(relation))
    if definitions:
        lines += ["", breakable("Here " + _listed([f"${n} = {v}$" for n, v in definitions.items()]) + ".")]
    return [*lines, ""] if relations else lines


def _definitions(relation: Relation, known: Collection[Any] = ()) -> Iterator[tuple[str, str]]:
    for name, value in relation.where.items():
        if name not in known and not _alike(name, value) and CONSTANTS.get(name) != value:
            yield written(name), written(value)


def _alike(name: Any, value: Any) -> bool:
    """Whether a name and its value are printed alike, but for braces, spaces and the size of brackets."""
    shown = [re.sub(r"\\(?:left|right)|[{}()\s]", "", written(each)) for each in (name, value)]
    return shown[0] == shown[1]


def _listed(parts: Sequence[str]) -> str:
    """One, two and three."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _proof_lines(proof: Proof) -> Iterator[str]:
    yield f"### {heading(proof)}"
    yield ""
    yield from symbol_lines(proof, own(proof.name))
    yield "**Statement.** " + "\n".join(statement_lines(proof)).lstrip()
    known = _known(proof)
    throughout = _throughout(proof, known)
    yield "**Proof.**" + (f" Throughout, {throughout}." if throughout else "")
    yield ""
    conclusions = [conclusion.relation for conclusion in proof.conclusions]
    steps = proof.steps[: len(proof.steps) - len(conclusions)]
    for number, step in enumerate(steps, 1):
        yield _step_line(number, step, steps, known)
    if conclusions:
        relations = [replace(s.relation, where={}) if s.relation is not None else None for s in steps]
        found = [
            next((k for k, r in enumerate(relations, 1) if r == replace(c, where={})), None) for c in conclusions
        ]
        which = _listed([f"({k})" for k in found if k])
        yield f"{len(steps) + 1}. The statement is {which or 'a consequence'} (*computation*: as relations)"
    yield ""
    if proof.uses:
        yield f"Uses {', '.join(proof.uses)}."
        yield ""
    if proof.source:
        yield f"Source: {typeset(proof.source)}."
        yield ""


def symbol_lines(proof: Proof, symbols: Mapping[str, str]) -> list[str]:
    """A list of a proof's own symbols, and where those of its family are."""
    shared = family(proof.name)
    lines = [f"- ${symbol}$: {meaning}" for symbol, meaning in symbols.items()]
    if not shared and not lines:
        return []
    of_family = f", next to [those of its family](setting.md#{FAMILIES[shared][1]})" if shared else ""
    return [f"Symbols of this proof{of_family}{':' if lines else ''}", "", *lines, ""]


def _known(proof: Proof) -> dict[Any, Any]:
    """Definitions and ranges that are printed once: those of the statement or of several steps."""
    ranges = {r.symbol: {r} for c in proof.conclusions for r in c.relation.ranges}
    values: dict[Any, set[Any]] = {}
    count: Counter[Any] = Counter()
    for relation in (step.relation for step in proof.steps if step.relation is not None):
        for name, value in relation.where.items():
            values.setdefault(name, set()).add(value)
            count[name] += 1
        for r in relation.ranges:
            if r.symbol in ranges:
                ranges[r.symbol].add(r)
    for name, (value, _) in definitions(proof.steps).items():
        values[name], count[name] = {value}, 2
    shared = {name: next(iter(found)) for name, found in values.items() if len(found) == 1 and count[name] > 1}
    return shared | {symbol: next(iter(found)) for symbol, found in ranges.items() if len(found) == 1}


def _throughout(proof: Proof, known: Mapping[Any, Any]) -> str:
    """The definitions that hold in the whole proof and are not part of its statement."""
    stated = {
        name for c in proof.conclusions for name in (*c.relation.where, *(r.symbol for r in c.relation.ranges))
    }
    return _listed(
        [
            f"${written(name)} = {written(value)}$"
            for name, value in known.items()
            if name not in stated and CONSTANTS.get(name) != value and not _alike(name, value)
        ]
    )


def _relation(relation: Relation, known: Collection[Any] = ()) -> str:
    """A relation in words and formulas that a line may break between."""
    text = f"${written(relation.left)} {SIGNS[relation.sense]} {written(relation.right)}$"
    ranges = [f"${r.latex()}$" for r in relation.ranges if r.symbol not in known]
    defined = [f"${n} = {v}$" for n, v in _definitions(relation, known)]
    defined = [definition for definition in defined if definition != text]
    text += f" for all {', '.join(ranges)}" if ranges else ""
    return text + (f", where {_listed(defined)}" if defined else "")


def _step_line(number: int, step: Step, steps: Sequence[Step], known: Collection[Any]) -> str:
    method = "in words" if step.method is Method.PROSE else str(step.method)
    if step.relation is not None and step.statement == step.relation.latex():
        statement = _relation(step.relation, known)
    else:
        statement = typeset(step.statement) if "$" in step.statement else f"${step.statement}$"
    reason = _reason(step, steps, known)
    return f"{number}. {breakable(statement)} (*{method}*{f': {typeset(reason)}' if reason else ''})"


def _reason(step: Step, steps: Sequence[Step], known: Collection[Any]) -> str:
    """The reason of a step, with the numbers of the steps that it builds on."""
    reason = step.reason
    if step.composition is not None:
        facts = step.composition.facts
        sources = ", ".join(dict.fromkeys(fact.source for fact in facts))
        numbered = ", ".join(dict.fromkeys(_source(fact, steps, known) for fact in facts))
        reason = reason.replace(f"from {sources}", f"from {numbered}", 1)
    for k, earlier in enumerate(steps, 1):
        reason = reason.replace(f"${earlier.statement}$", f"({k})")
    return reason


def _source(fact: Fact, steps: Sequence[Step], known: Collection[Any]) -> str:
    """Where a fact comes from, with the numbers of the steps that it is, or that show that it applies."""
    numbers = [f"({k})" for s in fact.steps for k, earlier in enumerate(steps, 1) if earlier is s]
    if fact.ground or not numbers:
        relation = _relation(fact.relation, known) if fact.says else ""
        if fact.source == "hypothesis":
            return f"as {relation}"
        said = f" ({relation})" if relation else ""
        return fact.source + said + (f", by {_listed(numbers)}" if numbers else "")
    return numbers[0] + (f" with {_listed(numbers[1:])}" if numbers[1:] else "")
