r"""Theorem 3 for (L0, L1)-smooth objectives: the gradient's share of the curvature is taken from the descent."""

from __future__ import annotations

import sympy

from proofs.adam.l1_step import lemma_l1
from proofs.adam.symbols import PROBLEM, alpha, dimension, gap, smoothness, steps
from proofs.l1.theorem3 import certificate_potential, certificate_telescoping
from proofs.steps import Derivation, by_lemma, identity, nonnegative, prose, proves
from theory.samples import relaxed_smoothness as theory
from theory.samples.adam import drift

__all__ = ["relaxed_theorem"]

relaxation, size, lipschitz, kept, start, total = sympy.symbols("L_1 C_m Lambda kappa P S", positive=True)
excess = sympy.Symbol("e", nonnegative=True)


@proves(
    "Theorem 3, relaxed smoothness",
    "Adam under the averaged l1 test on (L0, L1)-smooth objectives",
    r"Let a certificate of the kind l1 be given, let $\|\nabla L(x)-\nabla L(y)\| \le (L_0+L_1\|\nabla "
    r"L(x)\|)\|x-y\|$ for all $\|x-y\| \le 1/L_1$, and let $\alpha L_1\sqrt d\,C_m \le 1$, so that no step is "
    r"longer than that. Then, with $M = C_m^2/2+\Lambda C_m$: $(J-\lambda\eta-\alpha L_1dM)\sum_kE\|G_k\|_1 "
    r"\le \Delta/\alpha + \alpha KL_0dM + P$.",
    source="Zhang, He, Sra, Jadbabaie (2020) for the condition; this project",
    uses=("L1", "certificate potential", "certificate telescoping"),
)
def relaxed_theorem() -> Derivation:
    """Descent and drift with the curvature L0 + L1 ||G_k||, summed."""
    norm = sympy.Symbol("G", positive=True)
    curvature = smoothness + relaxation * norm
    step = alpha * sympy.sqrt(dimension) * size
    at = sympy.Symbol("theta", positive=True)
    yield by_lemma(r"\|w_{k+1}-w_k\| \le \alpha\sqrt d\,C_m \le 1/L_1", lemma_l1)
    yield by_lemma(r"\Phi \text{ is } \Lambda\text{-Lipschitz in } G", certificate_potential)
    yield by_lemma(r"\text{alignment of step and gradient}", certificate_telescoping)
    yield identity(
        r"\int_0^1(L_0+L_1\|G\|)\,\theta\|\delta\|^2d\theta = \tfrac12(L_0+L_1\|G\|)\|\delta\|^2",
        sympy.integrate(curvature * at * step**2, (at, 0, 1)),
        curvature * step**2 / 2,
        "the descent lemma: the gradient between w_k and w_{k+1} is compared with the one at w_k",
    )
    yield prose(
        r"\|G_{k+1}-G_k\|_1 \le \sqrt d\,(L_0+L_1\|G_k\|)\|w_{k+1}-w_k\|", "Cauchy-Schwarz over the coordinates"
    )
    per_step = curvature * step**2 / 2 + alpha * lipschitz * sympy.sqrt(dimension) * curvature * step
    yield identity(
        r"\text{second order and drift of a step} = \alpha^2dM\,(L_0+L_1\|G_k\|)",
        sympy.expand(per_step),
        sympy.expand(
            alpha**2 * drift(PROBLEM, size, lipschitz)
            + alpha * theory.gradient_share(PROBLEM, relaxation, alpha, size, lipschitz) * norm
        ),
    )
    yield nonnegative(
        r"\|G\|_1^2 \ge \|G\|_2^2",
        (norm + excess) ** 2 - (norm**2 + excess**2),
        [norm, excess],
        reason="two coordinates; by induction for d",
    )
    share = theory.gradient_share(PROBLEM, relaxation, alpha, size, lipschitz)
    right = gap / alpha + alpha * steps * drift(PROBLEM, size, lipschitz) + start
    found = theory.relaxed_sum(
        PROBLEM,
        relaxation,
        alpha=alpha,
        step=size,
        lipschitz_constant=lipschitz,
        kept=kept,
        initial_potential=start,
    )
    yield identity(
        r"\kappa S - \alpha L_1dM\,S = \text{right side at the bound}, \; \kappa = J-\lambda\eta",
        (kept - share) * found,
        right,
        "what grows with the gradient is summed to alpha L_1 d M S",
    )
