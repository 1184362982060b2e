r"""Lemma Q': descent under noise, term by term of the frozen momentum sum.

With D = beta2 v_{j-1} + c G^2, n = K' - j and Phi_j = sum_{m <= n} beta1^m / (sqrt(beta2^m D + (1 - beta2^m)
(1 - zeta)^2 G^2) + epsilon): lemma S leaves (1 / lambda) Theta_n(v_j) (a^+ - R a^-), and the key inequality L5,
with R for rho, bounds every one of its terms. The factor 1 - beta1 of the momentum stays in the sum.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam.l5_key_inequality import lemma_l5, minorant_mean
from proofs.adam_sharp.drift import lemma_d
from proofs.adam_sharp.stopping import lemma_s
from proofs.adam_sharp.symbols import ADAM, PROBLEM, Delta, L, alpha, beta1, beta2, eta, r, zeta
from proofs.steps import Step, by_lemma, identity, nonnegative, prose, proves
from theory.adam.constants import second_moment_weight
from theory.adam.key_inequality import effective_history, normalized_response
from theory.adam_sharp import constants

__all__ = ["lemma_q"]

a, b, s, t = sympy.symbols("a b s t", positive=True)
x, e, u = sympy.symbols("x e u", positive=True)


@proves(
    "Q'",
    "preconditioned sum",
    r"If $R\eta^2<1$ then $(1-\beta_1)\sum_{j\le K}\sum_iE[G_{j,i}^2\Phi_{j,i}]\le Q"
    r"=\frac{\lambda}{\kappa_R}(\Delta/\alpha+\alpha LE)$.",
    source="Theorem 2, lemma Q'",
    uses=("S", "D", "L5"),
)
def lemma_q() -> Iterator[Step]:
    """Lemma Q': kappa_R, R, the frozen second moment and Q."""
    least = constants.sign_penalty(beta1, beta2, eta, zeta)
    units = {eta: sympy.sqrt(1 / (1 + s)), zeta: t / (1 + t), r: 1 / (1 + a)}
    cost, factor, kappa = sympy.symbols("E lambda kappa_R", positive=True)
    yield by_lemma(r"$\frac1\lambda\Theta_n(v_j)(a^+-Ra^-)$ is what remains of the momentum", lemma_s)
    yield from _units_of_one_term()
    yield by_lemma(
        r"$E f_s(X)\ge\kappa_R/\sqrt{s+1}$ with $R$ for $\rho$",
        lemma_l5,
        (nonnegative(r"$R^2\ge1$", least**2 - 1, [a, s, t], units),),
    )
    yield from _with_epsilon()
    yield _mean_of_minorant()
    yield by_lemma(r"the losses are at most $\alpha^2LE$", lemma_d)
    yield identity(
        r"$(1-\beta_1)\frac{\kappa_R}{\lambda}\sum E[G^2\Phi]\le\Delta/\alpha+\alpha LE$, solved: $Q$",
        kappa / factor * constants.preconditioned_sum(PROBLEM, ADAM, cost, factor, kappa),
        Delta / alpha + alpha * L * cost,
    )
    yield prose(
        r"$(1-\beta_1)\sum_{j\le K}\sum_iE[G_{j,i}^2\Phi_{j,i}]\le Q$",
        "expectations given F_j, summed over j <= K'; drop the virtual j > K, whose terms are nonnegative "
        "since kappa_R > 0. G_j = 0 makes both sides 0.",
    )


def _units_of_one_term() -> Iterator[Step]:
    """The m-th denominator of Theta_n(v_j) as sqrt(beta2^m c) |G| sqrt(s_m + X^2)."""
    base, v, G, X = sympy.symbols("beta_2 v G X", positive=True)
    m = sympy.Symbol("m", integer=True, nonnegative=True)
    c = second_moment_weight(base)
    unit = base**m * c * G**2
    s_m = constants.frozen_second_moment(base * v, G, m, base, zeta) / unit
    yield identity(
        r"$\beta_2^mv_j+(1-\beta_2^m)(1-\zeta)^2G^2=\beta_2^mcG^2(s_m+X^2)$ for $v_j=\beta_2v_{j-1}+cG^2X^2$",
        constants.frozen_second_moment(base * v + c * (G * X) ** 2, G, m, base, zeta),
        unit * (s_m + X**2),
        "s_m = (beta2^m beta2 v_{j-1} + (1 - beta2^m) (1 - zeta)^2 G^2) / (beta2^m c G^2) >= 0",
    )
    yield identity(
        r"at $X=1$ this is $\beta_2^mD+(1-\beta_2^m)(1-\zeta)^2G^2$",
        constants.frozen_second_moment(base * v + c * G**2, G, m, base, zeta),
        unit * (s_m + 1),
        "so that kappa_R / sqrt(s_m + 1) is kappa_R times a term of Phi_j",
    )


def _with_epsilon() -> Iterator[Step]:
    """L5 for x / (sqrt(s + x^2) + e): the offset is a longer history for x >= 0, and harmless for x < 0."""
    root, old = sympy.symbols("W Y", positive=True)
    history = effective_history(s, e)
    new_history = history.subs(s, root**2 - 1)
    yield nonnegative(
        r"$(W+e)/(Y+e)\ge\sqrt{W^2+We}/\sqrt{Y^2+We}$, squared, for $W=\sqrt{s+1}$, $Y=\sqrt{s+x^2}$",
        (root + e) * (old**2 + root * e) - root * (old + e) ** 2 - e * (root - old) ** 2,
        [root, old, e],
        reason="the difference is e (W - Y)^2 >= 0: nothing is left but this square",
    )
    yield identity(
        r"$S=s+eW$ has $S+1=W^2+We$ and $S+x^2=Y^2+We$",
        sympy.Matrix(
            [new_history + 1 - root**2 - root * e, new_history + x**2 - (root**2 - 1 + x**2) - root * e]
        ).norm(),
        0,
        "so x >= 0 is L5 with S for s",
    )
    yield nonnegative(
        r"$u^2(s+1)\le s+u^2$ for $0\le u\le1$, so $(W+e)\,u/(Y+e)\le1$",
        (s + u**2 - u**2 * (s + 1)),
        [s, a],
        {u: 1 / (1 + a)},
        "uW <= Y and ue <= e",
    )
    yield nonnegative(
        r"$W\le Y$ for $u\ge1$, so $(W+e)\,u/(Y+e)\le u$",
        1 / normalized_response(u, s) ** 2 * u**2 - (s + 1),
        [s, a],
        {u: 1 + a},
        "x = -u < 0: the response is at least -R max(1, u), as in L5, for every offset",
    )


def _mean_of_minorant() -> Step:
    """E of L5's parabola for E X = 1 and Var X = eta^2."""
    return identity(
        r"$\kappa_R=1-(1+R)\eta^2/(1+\eta^2)=(1-R\eta^2)/(1+\eta^2)$ is the parabola's mean, at $E X^2=1+\eta^2$",
        minorant_mean(eta, constants.sign_penalty(beta1, beta2, eta, zeta), eta**2),
        constants.theorem2_alignment(beta1, beta2, eta, zeta),
    )
