"""The page docs/theory/theorems.md: every theorem with its constants at betas in use, next to the literature's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from adabatch.moments.hypotheses import HypothesisError
from proofs.notation import mentioned
from proofs.pages.derivations import anchor, heading, statement_lines, symbol_lines
from proofs.steps import Proof
from theory.adam.constants import normalized_step_bound
from theory.adam.theorem1 import largest_admissible_eta, theorem_constants
from theory.adam.variants import bias_correction
from theory.adam_sharp import constants as sharp
from theory.adam_sharp import theorem2
from theory.adam_sharp.momentum_sums import momentum_sums
from theory.audit.corrected_adam import scaled_bound
from theory.audit.published_adam import largest_published_beta1
from theory.guarantee import NormTestKind, Standing, standings
from theory.l1 import theorem as l1_theorem
from theory.l1.theorem3 import Kind, find_certificate
from theory.problem import AdamParameters, Problem
from theory.samples.adam import best_eta
from theory.training import clipping, weight_decay

__all__ = ["BETAS", "STATED", "theorems_page"]

BETAS = ((0.9, 0.95), (0.9, 0.999))
"""Betas in use: of Lau et al. and of many language models; the usual defaults."""
ETAS = (0.2, 0.5, 0.8)
LONG = 1e12
"""Steps at which a bound is its leading term."""
ETA = 0.2
"""Where constants depend on eta."""

Row = tuple[str, Callable[[float, float], Any]]


def _template() -> str:
    return files("proofs.pages").joinpath("theorems.md").read_text(encoding="utf-8")


STATED = tuple(re.findall(r"\{statement:([^}]*)\}", _template()))
"""The names of the proofs whose statements the page has."""


def theorems_page(proofs: Mapping[str, Proof]) -> str:
    """The page, from the proofs by name."""
    comparison, support = _comparison()
    filled = {
        "{published}": ", ".join(number(largest_published_beta1(b2, ETA)) for _, b2 in BETAS),
        "{comparison}": comparison,
        "{support}": support,
        "{schedules}\n": files("theory.schedules").joinpath("statements.md").read_text(encoding="utf-8"),
    }
    filled |= {f"{{statement:{name}}}": _statement(proofs[name]) for name in STATED}
    filled |= {f"{{constants:{name}}}": _table(rows) for name, rows in _constants().items()}
    page = _template()
    for mark, text in filled.items():
        page = page.replace(mark, text)
    return page


def number(value: Any) -> str:
    r"""A constant to four digits.

    >>> number(13.0515), number(0.00089201), number(65630.27), number(float("nan"))
    ('13.05', '$8.92\\cdot10^{-4}$', '65,630', '-')
    """
    if value is None or value != value:
        return "-"
    if 0 < abs(value) < 1e-3:
        digits, _, power = f"{value:.3e}".partition("e")
        return rf"${float(digits):g}\cdot10^{{{int(power)}}}$"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{float(f'{value:.4g}'):g}"


def _statement(proof: Proof) -> str:
    """One theorem: its title, its own symbols, what it states, where it is proven."""
    lines = [f"### {heading(proof)}", "", *statement_lines(proof)]
    lines += symbol_lines(proof, mentioned(proof))
    return "\n".join([*lines, f"[Proof](proofs.md#{anchor(proof)})"])


def _table(rows: Sequence[Row]) -> str:
    head = ["| constant | " + " | ".join(f"at $({b1:g}, {b2:g})$" for b1, b2 in BETAS) + " |", "|---" * 3 + "|"]
    return "\n".join(
        [*head, *(f"| {name} | " + " | ".join(number(value(*b)) for b in BETAS) + " |" for name, value in rows)]
    )


def _comparison() -> tuple[str, str]:
    """The theorems of the coordinate-wise and the l1 test, side by side, and how far certificates are proven."""
    rows = [
        "| theorem | betas | " + " | ".join(rf"$\eta={eta:g}$" for eta in ETAS) + r" | $\eta$ below |",
        "|---" * 6 + "|",
    ]
    numerical = []
    for beta1, beta2 in BETAS:
        found: list[Sequence[Standing]] = [standings(beta1, beta2, eta) for eta in ETAS]
        without = [standings(beta1, beta2, eta, NormTestKind.L1)[:1] for eta in ETAS]
        for at_eta in [*zip(*found, strict=True), *zip(*without, strict=True)]:
            name = at_eta[0].name
            cells = [number(one.constant) for one in at_eta]
            rows.append(
                f"| {name} | $({beta1:g}, {beta2:g})$ | {' | '.join(cells)} | {number(at_eta[0].largest_eta)} |"
            )
            if any("numerically" in one.condition for one in at_eta):
                numerical.append(f"{name} at $({beta1:g}, {beta2:g})$")
        corrected = [number(_corrected_constant(beta1, beta2, eta)) for eta in ETAS]
        rows.append(
            f"| Theorem B.1 of the paper, corrected | $({beta1:g}, {beta2:g})$ | {' | '.join(corrected)} | |"
        )
    proven = "The certificates behind Theorem 3 are verified with directed rounding"
    exceptions = f", but for {' and '.join(numerical)}: these are supported numerically only" if numerical else ""
    return "\n".join(rows), f"{proven}{exceptions}."


def _corrected_constant(beta1: float, beta2: float, eta: float) -> float:
    """Of the paper's bound with its misprints set right, for d = L = Delta = 1; NaN where it has no value."""
    problem = Problem(smoothness=1.0, dimension=1, initial_gap=1.0, steps=LONG)
    try:
        adam = AdamParameters(beta1=beta1, beta2=beta2, eta=eta)
        bound = scaled_bound(problem, adam, np.array([problem.first_gradient_norm]))
    except HypothesisError:
        return float("nan")
    return float(bound.value / LONG**0.5)


def _constants() -> dict[str, Sequence[Row]]:
    """Each table of constants, by its mark in the template."""

    def first(name: str) -> Callable[[float, float], Any]:
        return lambda b1, b2: theorem_constants(AdamParameters(beta1=b1, beta2=b2, eta=ETA, sum_sqrt_v0=1.0))[name]

    def second(value: Callable[[float, float, Any], Any]) -> Callable[[float, float], Any]:
        return lambda b1, b2: value(b1, b2, momentum_sums(b1, b2, ETA, float("inf")))

    def third(kind: Kind, value: Callable[[Any], Any]) -> Callable[[float, float], Any]:
        return lambda b1, b2: value(find_certificate(b1, b2, ETA, kind))

    at = rf"at $\eta={ETA:g}$"
    return {
        "Theorem 1": [
            (r"$\eta$ below", largest_admissible_eta),
            (r"$\rho$", first("rho")),
            (r"$C_m$", normalized_step_bound),
            (r"$\Gamma$", first("Gamma")),
            (rf"$\kappa$ {at}", first("kappa")),
            (rf"$B$ {at}", first("B")),
            (r"$A/V_0$", first("A")),
        ],
        "bias correction": [
            (r"$\rho_s$ of bias correction", lambda b1, b2: bias_correction(b1, b2).amplification),
            (r"$\min_ks_k$", lambda b1, b2: bias_correction(b1, b2).lowest),
            (r"$\max_ks_k$", lambda b1, b2: bias_correction(b1, b2).highest),
            (r"$\eta$ below", lambda b1, b2: bias_correction(b1, b2).largest_admissible_eta),
        ],
        "Theorem 2": [
            (r"$\eta$ below", theorem2.largest_admissible_eta),
            (rf"$C$ {at}", lambda b1, b2: sharp.swap_growth(b1, b2, ETA)),
            (rf"$\varphi_N$ as $N\to\infty$, {at}", second(lambda b1, b2, sums: sums.frozen)),
            (rf"$H_N$ as $N\to\infty$, {at}", second(lambda b1, b2, sums: sums.noisy)),
            (rf"$h$ as $N\to\infty$, {at}", second(lambda b1, b2, sums: sums.gain)),
            (rf"$\Lambda$ as $N\to\infty$, {at}", second(lambda b1, b2, sums: sums.penalty)),
            (rf"$\kappa$ as $N\to\infty$, {at}", second(lambda b1, b2, sums: sums.alignment)),
            (r"$p_1$", sharp.momentum_root),
            (r"$p_2$", sharp.momentum_growth),
        ],
        "Theorem 3": [
            (rf"{name}, kind {kind}, {at}", third(kind, value))
            for kind in Kind
            for name, value in (
                (r"$\lambda$", lambda c: c.noise_weight),
                ("$J$", lambda c: c.gain),
                ("$C$", lambda c: c.tail_slope),
                (r"$\Lambda$", lambda c: c.lipschitz_constant),
                ("$J'$", lambda c: c.kept(ETA)),
            )
        ],
        "l1 and scalar": [
            (r"$\eta$ below, l1 test", l1_theorem.largest_admissible_eta),
            (
                r"$\eta\sqrt d$ below, scalar test, $d=10^6$",
                lambda b1, b2: l1_theorem.largest_admissible_eta(b1, b2, dimension=1e6) * 1e3,
            ),
        ],
        "training": [
            (
                r"clipping with $\phi_0=.5$: $\eta$ below",
                lambda b1, b2: clipping.largest_admissible_eta(b1, b2, 0.5),
            ),
            (
                rf"weight decay: $\lambda W$ below, {at}",
                lambda b1, b2: weight_decay.largest_admissible_decay(b1, b2, ETA),
            ),
        ],
        "samples": [
            (
                r"best $\eta$ for samples, $J/(2\lambda)$",
                third(Kind.L1, lambda c: best_eta(c.gain, c.noise_weight)),
            ),
        ],
    }
