"""What ``adabatch claims`` shows: the paper's claims, their verdicts, and on request their evidence."""

from __future__ import annotations

import json
import shutil
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from proofs.registry import find_proof
from proofs.rendering import plain
from proofs.steps import run
from theory.audit.claims import CLAIMS, Claim
from theory.audit.evidence import ClaimEvidence, Verdict

__all__ = ["CheckedClaim", "as_dict", "check_claim", "show_claim", "show_claims", "show_json"]

_COLOURS = {Verdict.HOLDS: "green", Verdict.CORRECTED: "yellow", Verdict.FAILS: "red", Verdict.VACUOUS: "magenta"}

_GROUPS = {
    "published": "as published",
    "corrected": "corrected",
    "content": "what it gives",
    "supporting": "supporting",
}
"""Titles of the evidence, by its field."""


@dataclass(frozen=True)
class CheckedClaim:
    """A claim after its check.

    Attributes:
        claim: the claim.
        evidence: of its check.
        proofs: its proofs by name, and whether each holds.
        seconds: check and proofs together.
    """

    claim: Claim
    evidence: ClaimEvidence
    proofs: dict[str, bool]
    seconds: float

    @property
    def confirmed(self) -> bool:
        """Whether the check came to the verdict on record and every proof holds."""
        return self.evidence.verdict is self.claim.verdict and all(self.proofs.values())


@cache
def _proof_holds(name: str) -> bool:
    """Whether the proof of that name holds; several claims may rest on one."""
    return run(find_proof(name)).holds


def check_claim(claim: Claim) -> CheckedClaim:
    """Run a claim's check and its proofs."""
    start = time.perf_counter()
    evidence = claim.check()
    proofs = {name: _proof_holds(name) for name in claim.proofs}
    return CheckedClaim(claim, evidence, proofs, time.perf_counter() - start)


def as_dict(claim: Claim, result: CheckedClaim | None) -> dict[str, Any]:
    """For JSON: the claim and, if it was checked, its evidence."""
    record: dict[str, Any] = {
        "place": claim.place,
        "statement": claim.statement,
        "latex": claim.latex,
        "verdict": str(claim.verdict),
        "correction": claim.correction,
        "methods": [str(method) for method in claim.methods],
        "proofs": list(claim.proofs),
    }
    if result is not None:
        record["confirmed"] = result.confirmed
        record["evidence"] = result.evidence.as_dict()
        record["proofs_hold"] = result.proofs
        record["seconds"] = round(result.seconds, 3)
    return record


def show_json(claims: Sequence[Claim], check: bool) -> bool:
    """Print the claims as JSON; whether all checked ones are confirmed."""
    results = [check_claim(claim) if check else None for claim in claims]
    records = [as_dict(claim, result) for claim, result in zip(claims, results, strict=True)]
    print(json.dumps(records, indent=2))
    return all(result is None or result.confirmed for result in results)


def show_claims(check: bool) -> bool:
    """Print the claims one below the other, with evidence if they are to be checked; whether all are confirmed."""
    from rich.console import Console
    from rich.text import Text

    console = Console(markup=False, emoji=False, highlight=False)
    console.print("Claims of arXiv 2412.21124\n", style="bold")
    disagreeing: list[str] = []
    start = time.perf_counter()
    with console.status("checking") as status:
        for claim in CLAIMS:
            status.update(f"checking {claim.place}")
            verdict, lines = Text(claim.verdict, style=_COLOURS.get(claim.verdict, "white")), [claim.correction]
            if check:
                result = check_claim(claim)
                lines = _evidence(result)
                if not result.confirmed:
                    disagreeing.append(claim.place)
                    found = f": {claim.verdict} on record, {result.evidence.verdict} found"
                    verdict = Text.assemble(("NOT CONFIRMED", "red"), found)
            console.print(Text.assemble((claim.place, "bold"), ": ", verdict))
            for line in (claim.statement, *(f"- {line}" for line in lines if line)):
                console.print(_wrapped(line, console.width), soft_wrap=True)
            console.print()
    if check:
        confirmed = len(CLAIMS) - len(disagreeing)
        console.print(f"{confirmed} of {len(CLAIMS)} verdicts confirmed, {time.perf_counter() - start:.1f} s")
    return not disagreeing


def _wrapped(text: str, width: int) -> str:
    """Indented lines of at most 100 characters, those after the first of an item below its text."""
    rest = "    " if text.startswith("- ") else "  "
    lines = textwrap.wrap(
        text, min(width, 100), initial_indent="  ", subsequent_indent=rest, break_on_hyphens=False
    )
    return "\n".join(lines)


def _evidence(result: CheckedClaim) -> list[str]:
    """Every assertion, what the statement asserts first, and the proofs."""
    evidence = result.evidence
    numbers = [str(assertion) for group in _GROUPS for assertion in getattr(evidence, group)] or [evidence.note]
    proofs = [f"{name}: proof {'holds' if holds else 'FAILS'}" for name, holds in result.proofs.items()]
    return [*numbers, *proofs]


def show_claim(claim: Claim) -> bool:
    """Check one claim and print all its evidence; whether its verdict is confirmed."""
    result = check_claim(claim)
    evidence, columns = result.evidence, shutil.get_terminal_size().columns
    print(f"{claim.place}: {claim.verdict}\n")
    for text in filter(None, (claim.statement, plain(claim.latex), claim.correction)):
        print(f"{_wrapped(text, columns)}\n")
    for group, title in _GROUPS.items():
        assertions = getattr(evidence, group)
        if assertions:
            print(f"{title}:")
        for assertion in assertions:
            print(_wrapped(f"- {'holds' if assertion.holds else 'FAILS'}: {assertion}", columns))
    for name, holds in result.proofs.items():
        print(f"proof of {name}: {'holds' if holds else 'FAILS'}")
    confirmed = "confirmed" if result.confirmed else "NOT CONFIRMED"
    print(f"\n{_wrapped(evidence.note, columns)}\n\n{confirmed}: {evidence.verdict}")
    return result.confirmed
