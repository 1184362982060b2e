"""The page docs/theory/claims.md: the paper's claims with their verdicts, a table first."""

from __future__ import annotations

from collections.abc import Sequence

from proofs.pages.derivations import anchor
from proofs.pages.typesetting import in_table, typeset
from proofs.steps import Proof
from theory.audit.claims import Claim

__all__ = ["claims_page"]

HEAD = """\
# The paper's claims

What Lau et al., [arXiv 2412.21124](https://arxiv.org/abs/2412.21124), state about norm tests and Adam, which of it holds,
and what was corrected. This page is written by `adabatch prove --write-docs` from the list behind `adabatch claims`.
`adabatch claims --run` computes the evidence of every verdict and fails if one comes out otherwise; `adabatch claims --show
"Thm B.1"` prints the numbers. Symbols in published statements are the paper's.

- **holds**: as published.
- **holds corrected**: with the correction, which is proven.
- **fails as published**: there is a counterexample, or the statement contradicts itself.
- **vacuous**: true, and it says nothing about what it is about.
- **open**: neither proven nor refuted.

| where | claim | verdict | what was corrected |
|---|---|---|---|
"""


def claims_page(claims: Sequence[Claim], proofs: Sequence[Proof]) -> str:
    """The page: the table of all claims, then each in full, with links to its proofs."""
    anchors = {proof.name: anchor(proof) for proof in proofs}
    rows = [
        f"| {claim.place} | {in_table(typeset(claim.statement))} | {claim.verdict} "
        f"| {in_table(typeset(claim.correction)) or 'nothing'} |"
        for claim in claims
    ]
    lines = [HEAD + "\n".join(rows), "", "## The claims in full", ""]
    for claim in claims:
        lines += [f"### {claim.place}", "", typeset(claim.statement), "", f"As published: {claim.latex}", ""]
        lines += [f"Verdict: **{claim.verdict}**. {typeset(claim.correction)}".strip(), ""]
        links = ", ".join(f"[{name}](proofs.md#{anchors[name]})" for name in claim.proofs)
        lines += [f"Checked by {', '.join(claim.methods)}." + (f" Proofs: {links}." if links else ""), ""]
    return "\n".join(lines).rstrip() + "\n"
