"""Theorem 2: the lemmas put together, on the very bound that theory computes."""

from __future__ import annotations

from dataclasses import replace

import sympy

from proofs.adam.assembly import QBAR, closing
from proofs.adam.symbols import BETAS, A, B
from proofs.adam_sharp.alignment import lemma_q
from proofs.adam_sharp.symbols import (
    ADAM,
    PAST_AND_TEST,
    PROBLEM,
    Q_PHI,
    R_PHI,
    ROOTS,
    Delta,
    K,
    L,
    alpha,
    beta1,
    beta2,
    cost_of_drift,
    dimension,
    epsilon,
    eta,
    first,
    q,
    share,
    v0,
)
from proofs.adam_sharp.weights import MOMENTUM_IS, OMEGA, P_1, P_2, lemma_p
from proofs.adam_sharp.windows import A_1, B_1, UNROLLED_IS, X, lemma_l7, window
from proofs.composition import cite, composed, from_step
from proofs.relations import Range, Relation
from proofs.steps import Derivation, identity, nonnegative, proves, vanishing
from proofs.sums import NORMS
from theory.adam.constants import alignment_at, preconditioner_growth, preconditioner_start
from theory.adam_sharp import constants, theorem2

__all__ = ["theorem_2"]

H, E, kappa = sympy.symbols("H E kappa", positive=True)
extra = sympy.Symbol("N", integer=True, positive=True)
tau = sympy.sqrt(1 + eta**2)
d, t, w = sympy.symbols("d t w", positive=True)


@proves(
    "Theorem 2",
    "Adam for any betas, eta up to .7071 or more",
    r"If $\kappa>0$, then for all $\alpha>0$, $K\ge1$: "
    r"$\sum_{k\le K}E\|G_k\|_1\le\frac12(B_2Q+\sqrt{B_2^2Q^2+4A_2Q})$.",
    source="Theorem 2",
    uses=("Q'", "P", "L7'", "L8"),
)
def theorem_2() -> Derivation:
    """Theorem 2: the bound assembled from H and E."""
    yield from _composed()
    yield from _assembly()
    yield from _no_momentum()


def _composed() -> Derivation:
    """Q' and P, L7', L8 with the constants that theory returns."""
    bound = theorem2.bound_at_cost(PROBLEM, ADAM, theorem2.FreeParameters(window, extra), H, cost_of_drift, share)
    q_bar = bound.terms["Q"]
    constants_2 = {A: (P_1 * A_1 + K * dimension * epsilon) / OMEGA**2, B: (P_1 * B_1 + P_2) / OMEGA**2}
    ranges = (*BETAS, Range(X, 0, 1, strict=True))
    first_part = yield composed(
        Relation(Q_PHI, "<=", QBAR, {QBAR: q_bar}, ranges), (cite(lemma_q),), (Q_PHI,), PAST_AND_TEST
    )
    denominators = yield composed(
        Relation(R_PHI, "<=", A + B * NORMS, constants_2 | UNROLLED_IS | MOMENTUM_IS, ranges),
        (cite(lemma_p), cite(lemma_l7)),
        (R_PHI, ROOTS, NORMS),
        PAST_AND_TEST,
        "these are A_2 and B_2",
    )
    yield closing(
        first_part,
        from_step(denominators, opaque=tuple(denominators.relation.where)),
        sums=(Q_PHI, R_PHI, NORMS),
        assumes=PAST_AND_TEST,
    )


def _assembly() -> Derivation:
    """Every constant of the bound that theory returns, against the statement."""
    bound = theorem2.bound_at_cost(PROBLEM, ADAM, theorem2.FreeParameters(window, extra), H, E, kappa)
    const, terms = bound.constants, bound.terms
    omega = 1 - beta1 ** (extra + 1)
    p1 = (1 - beta1) / (1 - beta1 * q)
    p2 = sympy.sqrt(beta1 * (1 - beta2) / (1 - beta1 * beta2))
    drift = sympy.Symbol("e_M", positive=True)
    start = const["A2"].subs(terms["e_M"], drift)
    x = q**window
    unrolled = (tau * (window - 1) * sympy.sqrt(1 - x**2) * first + K * drift) / (1 - x)
    start_1 = q * (v0 / (1 - q) + unrolled)
    A2, B2, Q = sympy.symbols("A_2 B_2 Q", positive=True)
    named = bound.value.subs({const["A2"]: A2, const["B2"]: B2, terms["Q"]: Q})
    growth_1 = sympy.sqrt(1 - beta2) + tau * q * sympy.sqrt(1 - x**2) / (1 - x)
    yield identity(
        r"$Q=\frac1\kappa(\Delta/\alpha+\alpha L\mathcal{E})$",
        terms["Q"],
        (Delta / alpha + alpha * L * E) / kappa,
    )
    yield identity(r"$B_2=(p_1B_1+p_2)/\omega^2$", const["B2"] * omega**2, p1 * growth_1 + p2)
    yield identity(r"$A_2=(p_1A_1+Kd\epsilon)/\omega^2$", start * omega**2, p1 * start_1 + K * dimension * epsilon)
    yield vanishing(
        r"the returned value is the root of $S^2=Q(A_2+B_2S)$", lambda: [named**2 - Q * (A2 + B2 * named)]
    )


def _no_momentum() -> Derivation:
    """beta1 = 0, M = 1, N = 0, E = K d / (2 c): Theorem 1's A, B and kappa."""
    zero, one = sympy.Integer(0), sympy.Integer(1)
    bound = theorem2.bound_at_cost(
        PROBLEM, replace(ADAM, beta1=zero), theorem2.FreeParameters(one, zero), H, E, kappa
    )
    base = sympy.Symbol("beta_2", positive=True)
    first = constants.frozen_weight(zero, base, zero), constants.noisy_weight(zero, base, eta, zero)
    jump = constants.jump_penalty(constants.swap_growth(zero, base, eta), first[0])
    yield identity(r"$\beta_1=0$: $\omega=1$", bound.constants["omega"], 1)
    yield identity(r"$\varphi_N=H_N=C=1$ at $\beta_1=0$", first[0] * first[1] * jump, 1)
    slope = constants.slope_penalty(one, 1 + d, 0, one, eta)
    without_root = sympy.simplify(slope + 1 / (tau * (1 + 2 / tau**2)))
    yield nonnegative(
        r"$\Lambda_3\le(1+d)/(1+2/y)\le1$ at $\beta_1=0$, where $\mu=1+d\le2$ and $S_0=0$",
        1 - without_root,
        [t, w],
        {d: 1 / (1 + w), eta: sympy.sqrt(1 / (1 + t))},
        "and Lambda_2 = y / 16 <= 1, so Lambda = Lambda_1 = 1",
    )
    yield identity(
        r"$\kappa=(1-\eta^2)/(1+\eta^2)$", constants.theorem2_alignment(1, jump, eta), alignment_at(1, eta)
    )
    yield identity(r"$B_2=B$ at $M=1$", bound.constants["B2"], preconditioner_growth(beta2, eta))
    yield identity(
        r"$A_2=A+Kd\epsilon$ at $M=1$",
        bound.constants["A2"],
        preconditioner_start(beta2, v0) + K * dimension * epsilon,
    )
