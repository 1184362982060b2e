"""The page docs/theory/claims.md: the paper's claims with their verdicts, a table first."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from proofs.pages.derivations import anchor
from proofs.steps import Proof
from proofs.typesetting import in_table, typeset
from theory.audit.claims import Claim

__all__ = ["claims_page"]


def claims_page(claims: Sequence[Claim], proofs: Sequence[Proof]) -> str:
    """The page: the table of all claims, then each in full, with links to its proofs."""
    head = files("proofs.pages").joinpath("claims.md").read_text(encoding="utf-8")
    anchors = {proof.name: anchor(proof) for proof in proofs}
    rows = [
        f"| {claim.place} | {in_table(typeset(claim.statement))} | {claim.verdict} "
        f"| {in_table(typeset(claim.correction)) or 'nothing'} |"
        for claim in claims
    ]
    lines = [head + "\n".join(rows), "", "## The claims in full", ""]
    for claim in claims:
        lines += [f"### {claim.place}", "", typeset(claim.statement), "", f"As published: {claim.latex}", ""]
        lines += [f"Verdict: **{claim.verdict}**. {typeset(claim.correction)}".strip(), ""]
        links = ", ".join(f"[{name}](proofs.md#{anchors[name]})" for name in claim.proofs)
        lines += [f"Checked by {', '.join(claim.methods)}." + (f" Proofs: {links}." if links else ""), ""]
    return "\n".join(lines).rstrip() + "\n"
