r"""Violated steps: what they can climb, and what they leave in the second moment."""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam.assembly import (
    ADMISSIBLE,
    DESCENT,
    KAPPA,
    QBAR,
    START,
    closing,
    preconditioned_bound,
    self_bounding,
)
from proofs.adam.l2_decay import lemma_l2
from proofs.adam.l4_swap import RHO_IS
from proofs.adam.l6_descent import KAPPA_IS, lemma_l6
from proofs.adam.symbols import ADAM, BETA1, BETA2, KAPPA_RHO, PROBLEM, RHO, A, B, alpha, same
from proofs.composition import Fact
from proofs.relations import Relation
from proofs.steps import Step, by_lemma, identity, nonnegative, prose, proves
from proofs.sums import ALIGNED, DENOMINATORS, NORMS, PRECONDITIONED
from theory.adam.constants import momentum_amplification, preconditioner_start, squared_noise_growth
from theory.training import violated_steps as theory

__all__ = ["violated_steps"]


old, ratio = sympy.symbols("v x", nonnegative=True)
gradient, excess, weight, kappa, rho = sympy.symbols("G e c kappa rho", positive=True)
eta = sympy.Symbol("eta", nonnegative=True)


@proves(
    "violated steps",
    "Adam where the test is violated now and then",
    r"With $F = \sum E[|G_{k,i}|1\{V_{k,i}\}]$ and $X = \sum E(\mathrm{sd}_{k,i}-\eta|G_{k,i}|)^+$ the "
    r"corrected Theorem 1 holds with $\bar Q + (\kappa+\rho)F/(\kappa\sqrt c)$ and "
    r"$A + \frac{\sqrt{\beta_2}}{1-\sqrt{\beta_2}}\sqrt c\,X$.",
    source="this project",
    uses=("L2", "L6", "L7", "L8"),
)
def violated_steps() -> Iterator[Step]:
    """The costs of a violation, and the bound."""
    yield from _climb()
    yield from _memory()
    yield from _assembly()


def _climb() -> Iterator[Step]:
    """On V_k the conditional descent is at least kappa G^2 / sqrt(D) - (kappa + rho) |G| / sqrt(c)."""
    beta2 = sympy.Symbol("beta2", positive=True)
    worst = -rho * gradient / sympy.sqrt(1 - beta2)
    best = kappa * gradient / sympy.sqrt(1 - beta2)
    yield by_lemma(
        r"E_k[(Gg)^+ - \rho(Gg)^-]/\sqrt{v_k} \ge \kappa G^2/\sqrt{D_k} \text{ off } V_k",
        lemma_l6,
        reason="V_k is decided before step k",
    )
    yield by_lemma(r"|g_k|/\sqrt{v_k} \le c^{-1/2}", lemma_l2, reason="n = 0, for any noise")
    yield nonnegative(
        r"G^2/c - G^4/D_k \ge 0, \quad D_k = b + c\,G^2",
        gradient**2 / weight - gradient**4 / (old + weight * gradient**2),
        [old, weight, gradient],
        reason="so kappa G^2 / sqrt(D_k) <= kappa |G| / sqrt(c)",
    )
    yield identity(
        r"-\rho|G|/\sqrt c = \kappa|G|/\sqrt c - (\kappa+\rho)|G|/\sqrt c",
        worst,
        best - theory.uphill_cost(rho, kappa, beta2) * gradient,
        "on V_k the left side is at least -rho |G| / sqrt(c)",
    )


def _memory() -> Iterator[Step]:
    """sqrt(G^2 + sd^2) <= tau |G| + (sd - eta |G|)^+, which enters L7's potential."""
    beta2 = sympy.Symbol("beta2", positive=True)
    tau = sympy.sqrt(squared_noise_growth(eta))
    mean_square = gradient**2 + (eta * gradient + excess) ** 2
    difference = sympy.expand((tau * gradient + excess) ** 2 - mean_square)
    yield identity(
        r"(\tau G+e)^2 - (G^2+(\eta G+e)^2) = 2eG(\tau-\eta) \ge 0",
        difference,
        2 * excess * gradient * (tau - eta),
        "sd = eta G + e; tau^2 = 1 + eta^2 > eta^2",
    )
    yield identity(
        r"\Phi(\sqrt c\,e) = \frac{\sqrt{\beta_2}}{1-\sqrt{\beta_2}}\sqrt c\,e",
        preconditioner_start(beta2, sympy.sqrt(1 - beta2) * excess),
        theory.excess_memory(beta2) * excess,
        "Phi of L7: E_k sqrt(v_k) is larger by at most sqrt(c) e, and Phi is linear",
    )
    yield prose(r"\text{summed over the coordinates and steps: } A + \Phi(\sqrt c\,X)")


def _assembly() -> Iterator[Step]:
    """The sums, and the bound returned."""
    violated, deviation = sympy.symbols("F X", nonnegative=True)
    found = theory.violated_bound(PROBLEM, ADAM, violated_gradient=violated, excess_deviation=deviation)
    total = found.terms["Qbar"] + found.terms["violated gradient"]
    climbed = theory.uphill_cost(momentum_amplification(BETA1, BETA2), KAPPA, BETA2) * violated
    cost = theory.uphill_cost(RHO, KAPPA_RHO, BETA2)
    yield preconditioned_bound(
        Relation(PRECONDITIONED, "<=", QBAR, {QBAR: total, **KAPPA_IS, **RHO_IS}, ADMISSIBLE),
        (
            Fact(
                Relation(ALIGNED(RHO), ">=", KAPPA_RHO * PRECONDITIONED - cost * violated),
                "L6 off V_k, its cost on V_k",
            ),
        ),
    )
    yield closing(
        Fact(Relation(DENOMINATORS, "<=", A + B * NORMS), "L7 with the memory of violated steps"),
    )
    yield same(
        r"\alpha(1-\beta_1)\kappa\,\bar Q' = \Delta + \alpha^2KLd\,\Gamma + "
        r"\alpha(1-\beta_1)\tfrac{\kappa+\rho}{\sqrt c}F",
        (alpha * (1 - BETA1) * KAPPA * found.terms["Qbar"], DESCENT),
        (KAPPA * found.terms["violated gradient"], climbed),
        reason="the descent lemma summed, with the loss on the violated steps",
    )
    yield from self_bounding(found.value, total, START + theory.excess_memory(BETA2) * deviation)
