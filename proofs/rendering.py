r"""Proofs as text for the terminal.

Statements are LaTeX; :func:`plain` turns them into something a terminal can show.

Example:
    >>> plain(r"\sqrt{\beta_2}\, v \ge \tfrac12 \text{ always}")
    '√(β2) v ≥ 1/2 always'
"""

from __future__ import annotations

import re
import textwrap

from proofs.steps import CheckedProof, Method

__all__ = ["derivation", "plain"]

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
            reason = re.sub(r"\$[^$]*\$", lambda formula: plain(formula.group()), step.reason)
            lines += _wrapped(f"({reason})", "      ")
    verdict = "holds" if result.holds else "DOES NOT HOLD"
    return "\n".join([*lines, "", f"  {proof.name} {verdict}, {result.seconds:.2f} s"])


def _wrapped(text: str, first: str, rest: str | None = None, width: int = 100) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=first if rest is None else rest)
