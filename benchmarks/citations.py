"""Every citation of every proof, left out and exchanged in turn: what the proof says then.

    python benchmarks/citations.py > benchmarks/citations.txt

A proof that still holds without one of its facts would not need it, and would not have proven what it says.
"""

from __future__ import annotations

from collections.abc import Iterator

from proofs.composition import Composition, Fact, cite, compositions
from proofs.registry import all_proofs, lemmas_with_conclusions

__all__ = ["cited", "others"]


def cited() -> Iterator[tuple[str, int, Composition]]:
    """(proof, number of the composition, composition) of all proofs."""
    for proof in all_proofs():
        for number, composition in enumerate(compositions(proof.steps), 1):
            yield proof.name, number, composition


def others(proof: str, fact: Fact) -> list[Fact]:
    """The conclusions of all other lemmas, to be cited in the place of one in this proof."""
    lemmas = [lemma for lemma in lemmas_with_conclusions() if lemma.lemma.name not in (fact.source, proof)]
    return [cite(lemma, part=part) for lemma in lemmas for part in range(len(lemma.lemma.conclusions))]


def main() -> None:
    """Print the table; exit with 1 if a proof holds without one of its facts, or with another in its place."""
    survived = 0
    print(f"{'proof':28} {'no.':>3} {'left out':34} {'exchanged':>9}  what is said without it")
    for name, number, composition in cited():
        if not composition.check().holds:
            raise SystemExit(f"{name}, composition {number}, does not hold as it is")
        for index, fact in enumerate(composition.facts):
            without = composition.without(index).check(facts=False)
            replaced = [
                composition.exchanged(index, other).check(facts=False).holds for other in others(name, fact)
            ]
            survived += without.holds + sum(replaced)
            exchanged = f"{len(replaced) - sum(replaced)}/{len(replaced)}"
            print(f"{name[:28]:28} {number:3} {fact.source[:34]:34} {exchanged:>9}  {without.detail[:60]}")
    print(f"{survived} proofs hold without a fact, or with another in its place")
    raise SystemExit(survived > 0)


if __name__ == "__main__":
    main()
