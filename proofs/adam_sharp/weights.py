r"""Lemma P: the reciprocal of (1 - beta1) Phi_j in terms of sqrt(D_j), |G_j| and epsilon."""

from __future__ import annotations

import sympy

from proofs.adam_sharp.symbols import PAST_AND_TEST, R_PHI, ROOTS, K, beta1, beta2, dimension, epsilon, q, series
from proofs.composition import Conclusion, Ground, composed, granted
from proofs.relations import Relation, named
from proofs.steps import Derivation, Step, all_of, cauchy_schwarz, identity, nonnegative, prose, proves
from proofs.sums import NORMS
from theory.adam_sharp import constants

__all__ = ["MOMENTUM_IS", "OMEGA", "P_1", "P_2", "lemma_p"]

OMEGA = named("omega", r"\omega", positive=True)
P_1, P_2 = (named(name, name, positive=True) for name in ("p_1", "p_2"))
MOMENTUM_IS = {P_1: (1 - beta1) / (1 - beta1 * q), P_2: sympy.sqrt(beta1 * (1 - beta2) / (1 - beta1 * beta2))}
RECIPROCALS = Relation(OMEGA**2 * R_PHI, "<=", P_1 * ROOTS + P_2 * NORMS + K * dimension * epsilon, MOMENTUM_IS)


@proves(
    "P",
    "the momentum's denominators",
    r"For $j\le K$: $[(1-\beta_1)\Phi_j]^{-1}\le\omega^{-2}(p_1\sqrt{D_j}+p_2|G_j|+\epsilon)$, with "
    r"$p_1=\frac{1-\beta_1}{1-\beta_1\sqrt{\beta_2}}$, $p_2=\sqrt{\beta_1c/(1-\beta_1\beta_2)}$, "
    r"$\omega=1-\beta_1^{N+1}$.",
    concludes=(Conclusion(RECIPROCALS, PAST_AND_TEST),),
    source="Theorem 2, lemma P",
)
def lemma_p() -> Derivation:
    """Lemma P: omega, p1, p2, B2 and A2."""
    own = yield from all_of(_of_one())
    yield composed(
        RECIPROCALS, (granted(RECIPROCALS, Ground.CAUCHY_SCHWARZ, *own),), (R_PHI, ROOTS, NORMS), PAST_AND_TEST
    )
    yield prose(
        r"$[(1-\beta_1)\Phi_j]^{-1}\le\omega^{-2}(p_1\sqrt{D_j}+p_2|G_j|+\epsilon)$",
        "x_m <= beta2^(m/2) sqrt(D) + sqrt(1 - beta2^m) |G| + epsilon, averaged over m with "
        "the weights (1 - beta1) beta1^m, m <= N, whose sum is omega <= 1",
    )


def _of_one() -> Derivation:
    """One reciprocal: a weighted mean, and what its weights sum to."""
    n = sympy.Symbol("n", integer=True, nonnegative=True)
    extra = sympy.Symbol("N", integer=True, nonnegative=True)
    momentum, ratio = sympy.symbols("beta_1 p", positive=True)
    x, y = sympy.symbols("x y", positive=True)
    yield _weighted_mean()
    yield identity(
        r"$(1-\beta_1)\sum_{m\le N}\beta_1^m=\omega$",
        (1 - momentum) * sympy.summation(momentum**n, (n, 0, extra)).args[1][0],
        constants.kept_momentum(momentum, extra),
        "j <= K has at least N + 1 terms; longer sums only help",
    )
    yield nonnegative(r"$\sqrt{x^2+y^2}\le x+y$", (x + y) ** 2 - x**2 - y**2, [x, y])
    yield series(r"$\sum_mp^m=1/(1-p)$", ratio**n, n, 1 / (1 - ratio))
    yield identity(
        r"$(1-\beta_1)\sum_m\beta_1^m\beta_2^{m/2}=p_1$",
        (1 - beta1) / (1 - beta1 * q),
        constants.momentum_root(beta1, beta2),
    )
    yield identity(
        r"$[(1-\beta_1)\sum_m\beta_1^m\sqrt{1-\beta_2^m}]^2\le(1-\beta_1)\sum_m\beta_1^m(1-\beta_2^m)=p_2^2$",
        1 - (1 - beta1) / (1 - beta1 * beta2),
        constants.momentum_growth(beta1, beta2) ** 2,
        "the weights (1 - beta1) beta1^m sum to 1, and the root is concave; geometric series in beta1 beta2",
    )


def _weighted_mean() -> Step:
    """(sum w)^2 <= (sum w / x) (sum w x)."""
    return cauchy_schwarz(
        r"$(\sum_m w_m)^2\le\sum_m\frac{w_m}{x_m}\sum_m w_mx_m$", r"of $\sqrt{w_m/x_m}$ and $\sqrt{w_mx_m}$"
    )
