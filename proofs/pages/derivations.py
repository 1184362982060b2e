"""The page docs/theory/proofs.md: every proof with its symbols, its statement and its numbered steps."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from proofs.notation import assumed, family, own
from proofs.pages.typesetting import typeset
from proofs.relations import Relation, written
from proofs.steps import Method, Proof, Step

__all__ = ["FAMILIES", "anchor", "proofs_page", "statement_lines", "symbol_lines"]

FAMILIES = {
    "certificate": ("Symbols of certificates", "symbols-of-certificates"),
    "theorem2": ("Symbols of Theorem 2", "symbols-of-theorem-2"),
}
"""Titles of the tables of families on the setting's page, and their addresses."""


def proofs_page(modules: Sequence[tuple[str, Sequence[Proof]]]) -> str:
    """The page, from the proofs of each module in reading order."""
    lines, package = [files("proofs.pages").joinpath("proofs.md").read_text(encoding="utf-8")], ""
    named = {proof.name for _, proofs in modules for proof in proofs}
    for module, proofs in modules:
        if module.rpartition(".")[0] != package:
            package = module.rpartition(".")[0]
            summary = (importlib.import_module(package).__doc__ or package).split("\n")[0]
            lines += [f"## {typeset(summary).rstrip('.')}", ""]
        for proof in proofs:
            lines += [*_proof_lines(proof, named)]
    return "\n".join(lines).rstrip() + "\n"


def anchor(proof: Proof) -> str:
    """The address of a proof on its page.

    >>> anchor(Proof("L5'", "key inequality, on the half-line", "", ()))
    'l5-key-inequality-on-the-half-line'
    """
    words = re.sub(r"[^\w\s-]", "", f"{proof.name}: {typeset(proof.title)}").strip().lower()
    return re.sub(r"[-\s]+", "-", words)


def statement_lines(proof: Proof) -> list[str]:
    """What a proof states: assumptions, words, and its conclusions, with ranges and definitions once."""
    stated = "; ".join(conclusion.latex() for conclusion in proof.conclusions)
    words = typeset(proof.statement[: len(proof.statement) - len(stated)].strip())
    names = ", ".join(typeset(a) for a in assumed(proof))
    lines = [f"Assumptions: {names}.", ""] if names else []
    lines += [words, ""] if words else []
    relations = [conclusion.relation for conclusion in proof.conclusions]
    ranges = list(dict.fromkeys(r.latex() for relation in relations for r in relation.ranges))
    if relations:
        lines += [f"For all ${', '.join(ranges)}$:" if ranges else "Then:", ""]
    known = [name for relation in relations for name in (*relation.where, *(r.symbol for r in relation.ranges))]
    lines += [f"- ${relation.latex(known)}$" for relation in relations]
    definitions = dict(pair for relation in relations for pair in _definitions(relation))
    if definitions:
        lines += ["", "Here " + _listed([f"${name} = {value}$" for name, value in definitions.items()]) + "."]
    return [*lines, ""] if relations else lines


def _definitions(relation: Relation) -> Iterator[tuple[str, str]]:
    for name, value in relation.where.items():
        if written(name) != written(value):
            yield written(name), written(value)


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _proof_lines(proof: Proof, named: Collection[str]) -> Iterator[str]:
    yield f"### {proof.name}: {typeset(proof.title)}"
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
        found = [next((k for k, s in enumerate(steps, 1) if s.relation == c), None) for c in conclusions]
        which = _listed([f"({k})" for k in found if k])
        yield f"{len(steps) + 1}. The statement is {which or 'a consequence'} (*computation*: as relations)"
    yield ""
    if proof.uses:
        yield f"Uses {', '.join(proof.uses)}."
        yield ""
    if proof.source:
        yield f"Source: {proof.source}."
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
    """Names and ranges that are the same in all steps where they occur, and so are printed once.

    Definitions of the conclusions stand in the statement; others are collected where two steps share them.
    """
    values: dict[Any, set[Any]] = {}
    count: Counter[Any] = Counter()
    for step in proof.steps:
        if step.relation is None:
            continue
        for name, value in step.relation.where.items():
            values.setdefault(name, set()).add(value)
            count[name] += 1
        for r in step.relation.ranges:
            values.setdefault(r.symbol, set()).add(r)
            count[r.symbol] += 1
    return {name: found for name, found in values.items() if len(found) == 1 and count[name] > 1}


def _throughout(proof: Proof, known: dict[Any, Any]) -> str:
    """The ranges and definitions that hold in the whole proof and are not part of its statement."""
    stated = {
        name for c in proof.conclusions for name in (*c.relation.where, *(r.symbol for r in c.relation.ranges))
    }
    parts = []
    for name, found in known.items():
        value = next(iter(found))
        if name in stated:
            continue
        parts.append(f"${value.latex()}$" if hasattr(value, "latex") else f"${written(name)} = {written(value)}$")
    return _listed(parts) if parts else ""


def _step_line(number: int, step: Step, steps: Sequence[Step], known: Collection[Any]) -> str:
    method = "in words" if step.method is Method.PROSE else str(step.method)
    if step.relation is not None and step.statement == step.relation.latex():
        statement = f"${step.relation.latex(known)}$"
    else:
        statement = typeset(step.statement) if "$" in step.statement else f"${step.statement}$"
    reason = _reason(step, steps)
    return f"{number}. {statement} (*{method}*{f': {typeset(reason)}' if reason else ''})"


def _reason(step: Step, steps: Sequence[Step]) -> str:
    """The reason of a step, with the numbers of the steps that it builds on."""
    reason = step.reason
    if step.composition is not None:
        sources = [fact.source for fact in step.composition.facts]
        numbered = [
            f"({k})" if (k := next((k for k, s in enumerate(steps, 1) if s is fact.step), 0)) else fact.source
            for fact in step.composition.facts
        ]
        reason = reason.replace(f"from {', '.join(sources)}", f"from {', '.join(numbered)}", 1)
    for k, earlier in enumerate(steps, 1):
        reason = reason.replace(f"${earlier.statement}$", f"({k})")
    return reason
