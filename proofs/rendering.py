r"""Proofs as text: a derivation for the terminal, and the page docs/theory.md.

Statements are LaTeX; :func:`plain` turns them into something a terminal can show.

Example:
    >>> plain(r"\sqrt{\beta_2}\, v \ge \tfrac12 \text{ always}")
    '√(β2) v ≥ 1/2 always'
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from proofs.steps import CheckedProof, Method, Proof
from theory.audit.claims import Claim

__all__ = ["THEORY_PAGE", "derivation", "plain", "theory_page", "write_theory_page"]

_SYMBOLS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "Gamma": "Γ", "delta": "δ", "Delta": "Δ", "eps": "ε", "epsilon": "ε",
    "varepsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ", "Theta": "Θ", "kappa": "κ", "lambda": "λ",
    "Lambda": "Λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "Sigma": "Σ", "tau": "τ",
    "phi": "φ", "varphi": "φ", "Phi": "Φ", "psi": "ψ", "Psi": "Ψ", "omega": "ω", "Omega": "Ω",
    "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "to": "→", "rightarrow": "→",
    "implies": "⟹", "Rightarrow": "⟹", "iff": "⟺", "in": "∈", "infty": "∞", "sum": "Σ", "prod": "Π",
    "cdot": "·", "times": "×", "pm": "±", "partial": "∂", "nabla": "∇", "langle": "⟨", "rangle": "⟩",
    "dots": "...", "ldots": "...", "cdots": "...", "forall": "for all ", "exists": "exists ", "approx": "≈",
    "sim": "~", "mapsto": "↦", "leftarrow": "←", "ell": "l", "quad": "  ", "qquad": "   ",
    "colon": ":", "equiv": "≡", "propto": "∝", "downarrow": "↓", "uparrow": "↑", "int": "∫", "backslash": "\\",
}  # fmt: skip
_DROPPED = r"\\(?:left|right|bigl|bigr|Bigl|Bigr|big|Big|displaystyle|textstyle|limits|mathstrut)(?![a-zA-Z])"
_WRAPPERS = r"\\(?:text|mathrm|operatorname|mathbb|mathcal|mathbf|mathit|tilde|hat|widehat|widetilde|bar|overline)"


def plain(latex: str) -> str:
    """LaTeX as a line of Unicode text: fractions, roots, Greek letters and relations; the rest as it is."""
    text = latex.replace("$", "").replace(r"\|", "‖").replace(r"\_", "_").replace(r"\%", "%")
    text = re.sub(_DROPPED, "", text)
    text = re.sub(r"\\[,;:!> ]|~", " ", text)
    text = re.sub(r"\\[td]?frac\s*(\w)", r"\\frac{\1}", text)
    text = re.sub(r"(\\[td]?frac\s*\{[^{}]*\})\s*(\w)", r"\1{\2}", text)
    text = re.sub(r"\\(log|ln|exp|max|min|sup|inf|lim)(?=\\|\w)(?![a-z])", r"\1 ", text)
    for _ in range(6):  # innermost braces first
        text = re.sub(_WRAPPERS + r"\s*\{([^{}]*)\}", r"\1", text)
        text = re.sub(r"\\[td]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", _fraction, text)
        text = re.sub(r"\\sqrt\s*\{([^{}]*)\}", r"√(\1)", text)
        text = re.sub(r"([_^])\{([^{}\s])\}", r"\1\2", text)
        text = re.sub(r"([_^])\{([^{}]*)\}", r"\1(\2)", text)
    text = re.sub(r"\\sqrt\s*([a-zA-Z0-9])", r"√\1", text)
    text = re.sub(r"\\([a-zA-Z]+)", lambda match: _SYMBOLS.get(match[1], match[1]), text)
    text = re.sub(r"β_([12])", r"β\1", text)
    text = text.replace("{", "").replace("}", "").replace("\\", "")
    text = re.sub(r"\s*([≤≥≠≈⟹⟺=])\s*", r" \1 ", text)
    return re.sub(r"\s+", " ", text).strip()


def _fraction(match: re.Match[str]) -> str:
    """a/b, with parentheses where a side is more than one term."""
    sides = [part if re.fullmatch(r"[\w\\.^]+", part) else f"({part})" for part in match.groups()]
    return "/".join(sides)


def derivation(result: CheckedProof) -> str:
    """A checked proof as numbered lines: statement, steps with what was seen, and what is only prose."""
    proof = result.proof
    lines = [f"{proof.name}: {proof.title}", *_wrapped(plain(proof.statement), "  "), ""]
    if proof.uses:
        lines += [f"  uses {', '.join(proof.uses)}", ""]
    for number, checked in enumerate(result.steps, 1):
        step, holds = checked.step, "ok" if checked.evidence.holds else "FAILS"
        prose = step.method is Method.PROSE
        lines += _wrapped(plain(step.statement), f"  {number:>2}. ", "      ")
        seen = "in words" if prose else f"{holds} [{step.method}: {checked.evidence.detail}]"
        lines += _wrapped(seen, "      ")
        if step.reason:
            lines += _wrapped(f"({step.reason})", "      ")
    verdict = "holds" if result.holds else "DOES NOT HOLD"
    return "\n".join([*lines, "", f"  {proof.name} {verdict}, {result.seconds:.2f} s"])


def _wrapped(text: str, first: str, rest: str | None = None, width: int = 100) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=first if rest is None else rest)


PREFACE = """\
# Theory: claims and proofs

This page is written by `adabatch prove --write-docs` from the code; a test keeps it in step.

- What each claim's check computes: `adabatch claims --run`, and `adabatch claims --show "Thm B.1"`.
- What each proof step computes: `adabatch prove`, and `adabatch prove L5 --show`.

Notation: r = beta1 / sqrt(beta2), c = 1 - beta2, rho = 1 / (1 - r), tau^2 = 1 + eta^2, Delta = L(w_1) - inf L,
G_k = grad L(w_k), d the dimension. Steps marked *in words* are not mechanised.
"""


def theory_page(claims: Iterable[Claim], proofs: Sequence[Proof]) -> str:
    """The Markdown page, with LaTeX between dollar signs."""
    lines = [PREFACE, "## The paper's claims", ""]
    for claim in claims:
        lines += _claim_lines(claim)
    lines += [files("theory.schedules").joinpath("statements.md").read_text(encoding="utf-8"), "## Proofs", ""]
    for proof in proofs:
        lines += _proof_lines(proof)
    return "\n".join(lines).rstrip() + "\n"


def _prose(text: str) -> str:
    """Words for Markdown: inner products and products are not markup."""
    return text.replace("<", "&lt;").replace("*", r"\*")


def _claim_lines(claim: Claim) -> list[str]:
    lines = [f"### {claim.place}: {claim.verdict}", "", _prose(claim.statement), "", claim.latex, ""]
    if claim.correction:
        lines += [_prose(claim.correction), ""]
    proved = f" Proofs: {', '.join(claim.proofs)}." if claim.proofs else ""
    return [*lines, f"Checked by {', '.join(claim.methods)}.{proved}", ""]


def _proof_lines(proof: Proof) -> list[str]:
    lines = [f"### {proof.name}: {proof.title}", "", proof.statement, ""]
    for number, step in enumerate(proof.steps, 1):
        method = "in words" if step.method is Method.PROSE else str(step.method)
        statement = step.statement if "$" in step.statement else f"${step.statement}$"
        reason = f": {_prose(step.reason)}" if step.reason else ""
        lines.append(f"{number}. {statement} (*{method}*{reason})")
    if proof.uses:
        lines += ["", f"Uses {', '.join(proof.uses)}."]
    if proof.source:
        lines += ["", f"Source: {proof.source}."]
    return [*lines, ""]


THEORY_PAGE = Path(__file__).resolve().parent.parent / "docs" / "theory.md"


def write_theory_page(path: Path = THEORY_PAGE) -> Path:
    """Write docs/theory.md for all claims and proofs.

    Raises:
        ValueError: if its folder does not exist, as where adabatch was installed from a wheel.
    """
    from proofs.registry import all_proofs
    from theory.audit.claims import CLAIMS

    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent}: --write-docs writes a clone's page; run it there")
    path.write_text(theory_page(CLAIMS, all_proofs()), encoding="utf-8")
    return path
