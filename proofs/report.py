"""What ``adabatch prove`` shows: a table of all proofs, or derivations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from proofs.registry import all_proofs, find_proof
from proofs.rendering import derivation
from proofs.steps import CheckedProof, Method, Proof, run

__all__ = ["methods", "selected", "show_derivations", "show_table"]


def selected(names: Sequence[str]) -> tuple[Proof, ...]:
    """The proofs of those names, in the given order; all of them if there are no names.

    Raises:
        ValueError: for an unknown name.
    """
    return tuple(find_proof(name) for name in names) if names else all_proofs()


def methods(proof: Proof) -> str:
    """How the steps are established, for example ``3 identity, 2 polynomial certificate, 1 in words``."""
    short = {Method.POLYNOMIAL: "certificate", Method.LEMMA: "lemma", Method.PROSE: "in words"}
    counts = Counter(short.get(step.method, str(step.method)) for step in proof.steps)
    return ", ".join(f"{count} {method}" for method, count in counts.items())


def show_table(proofs: Sequence[Proof]) -> bool:
    """Check the proofs and print one line each, as they come; whether all hold."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(markup=False, emoji=False)
    table = Table("proof", "about", "steps", "how", "seconds", "verdict", title="Proofs")
    failed: list[CheckedProof] = []
    seconds = 0.0
    with console.status("checking") as status:
        for proof in proofs:
            status.update(f"checking {proof.name}")
            result = run(proof)
            seconds += result.seconds
            if not result.holds:
                failed.append(result)
            verdict = Text("holds", style="green") if result.holds else Text("FAILS", style="red")
            steps = str(len(proof.steps))
            table.add_row(proof.name, proof.title, steps, methods(proof), f"{result.seconds:.2f}", verdict)
    console.print(table)
    for result in failed:
        for step in result.failures:
            console.print(f"{result.proof.name}: {step.step.statement}: {step.evidence.detail}")
    console.print(f"{len(proofs) - len(failed)} of {len(proofs)} proofs hold, {seconds:.1f} s")
    return not failed


def show_derivations(proofs: Sequence[Proof]) -> bool:
    """Check the proofs and print their derivations; whether all hold."""
    holds = True
    for result in map(run, proofs):
        print(derivation(result), end="\n\n")
        holds = holds and result.holds
    return holds
