"""Every citation of every proof, left out and exchanged in turn: what the proof says then.

    python benchmarks/citations.py > benchmarks/citations.txt

A proof that still holds without one of its facts would not need it, and would not have proven what it says. In the
place of a fact every conclusion of every other lemma is cited in turn, at the same assumptions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from proofs.composition import Composition, Fact, cite, compositions
from proofs.registry import all_proofs, lemmas_with_conclusions
from proofs.relations import same_relation

__all__ = ["cited", "others", "surviving"]


def cited() -> Iterator[tuple[str, int, Composition]]:
    """(proof, number of the composition, composition) of all proofs."""
    for proof in all_proofs():
        for number, composition in enumerate(compositions(proof.steps), 1):
            yield proof.name, number, composition


@cache
def _conclusions() -> tuple[Fact, ...]:
    return tuple(cite(x, part=i) for x in lemmas_with_conclusions() for i in range(len(x.lemma.conclusions)))


def others(proof: str, composition: Composition, index: int) -> list[Fact]:
    """What may be cited in the place of a fact and says something else: the conclusions of all other lemmas."""
    relation = composition.facts[index].relation
    symbols = relation.slack.free_symbols
    return [
        fact
        for fact in _conclusions()
        if fact.source != proof
        and (fact.relation.slack.free_symbols != symbols or not same_relation(fact.relation, relation))
    ]


def surviving(proof: str, composition: Composition, index: int) -> tuple[str, list[str], int]:
    """What is said without a fact ("" if the proof holds), what may take its place, and how many were tried."""
    without = composition.without(index).check(facts=False)
    tried = others(proof, composition, index)
    kept = [fact.source for fact in tried if composition.exchanged(index, fact).check(facts=False).holds]
    return "" if without.holds else without.detail, kept, len(tried)


def main() -> None:
    """Print the table; exit with 1 if a proof holds without one of its facts, or with another in its place."""
    survivors = 0
    print("$ python benchmarks/citations.py")
    print(f"{'proof':32} {'no.':>3} {'left out':34} {'exchanged':>9}  what is said without it")
    for name, number, composition in cited():
        if not composition.check().holds:
            raise SystemExit(f"{name}, composition {number}, does not hold as it is")
        for index, fact in enumerate(composition.facts):
            without, kept, tried = surviving(name, composition, index)
            survivors += (not without) + len(kept)
            exchanged = f"{tried - len(kept)}/{tried}"
            shown = without or "IT HOLDS"
            also = f"; {', '.join(kept)} will do" if kept else ""
            row = f"{name[:32]:32} {number:3} {fact.source[:34]:34} {exchanged:>9}  {shown[:70]}{also}"
            print(row, flush=True)
    print(f"{survivors} proofs hold without a fact, or with another in its place")
    raise SystemExit(survivors > 0)


if __name__ == "__main__":
    main()
