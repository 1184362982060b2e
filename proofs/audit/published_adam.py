r"""What holds of the paper's smaller statements: Sec. 3.1, Proposition 1, Lemmas B.1 and B.2, and the log step.

beta1 = r q and beta2 = q^2 with 0 <= r < 1, 0 < q < 1, as in :mod:`proofs.adam`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy

from proofs.adam.l1_step import lemma_l1
from proofs.adam.symbols import BETA1, BETA2, UNIT_INTERVALS, a, alpha, b, r
from proofs.steps import (
    Derivation,
    by_lemma,
    cauchy_schwarz,
    identity,
    nonnegative,
    prose,
    proves,
    vanishing,
)
from theory.adam.constants import momentum_gap, momentum_ratio, normalized_step_bound, second_moment_weight
from theory.audit.corrected_adam import largest_root_bound
from theory.audit.published_adam import lemma_b1_bound, lemma_b2_first, lemma_b2_second
from theory.estimators.exact_tests import inner_product_floor, second_moment_bound

__all__ = ["inner_product", "lemma_b1", "lemma_b2", "log_step", "proposition_1"]

Function = Callable[..., Any]

eta, slack, norm = sympy.symbols("eta s ell", nonnegative=True)


@proves(
    "Sec. 3.1",
    "the norm condition implies the inner product",
    r"If $\|g-G\|\le\eta\|G\|$, then $\langle g,G\rangle\ge(1-\eta)\|G\|^2$.",
    source="Lau et al., Sec. 3.1, the direction that holds",
)
def inner_product() -> Derivation:
    """The norm condition implies the inner product condition."""
    yield cauchy_schwarz(
        r"\langle g,G\rangle = \|G\|^2 + \langle g-G,G\rangle \ge \|G\|^2 - \|g-G\|\,\|G\|", "over the coordinates"
    )
    yield nonnegative(
        r"\|G\|^2 - (\eta\|G\|-s)\|G\| \ge (1-\eta)\|G\|^2",
        norm**2 - (eta * norm - slack) * norm - inner_product_floor(norm**2, eta),
        [norm, eta, slack],
        reason="with ||g - G|| = eta ||G|| - s, s >= 0",
    )


@proves(
    "Prop. 1",
    "the coordinate-wise test gives strong growth",
    r"$\mathbb{E}g=G$ and $\mathbb{E}(g-G)^2\le\eta^2G^2$ imply $\mathbb{E}g^2\le(1+\eta^2)G^2$, "
    r"with equality where the test is an equality.",
    source="Lau et al., Proposition 1",
)
def proposition_1() -> Derivation:
    """Proposition 1, with its bound on E g^2."""
    g, gradient = sympy.symbols("g G", real=True)
    size = sympy.Symbol("G", nonnegative=True)
    yield identity(
        r"g^2 = G^2 + 2G(g-G) + (g-G)^2",
        g**2,
        gradient**2 + 2 * gradient * (g - gradient) + (g - gradient) ** 2,
        "the middle term has expectation 0",
    )
    yield nonnegative(
        r"(1+\eta^2)G^2 - (G^2 + \eta^2G^2 - s) \ge 0",
        second_moment_bound(size, eta) - (size**2 + eta**2 * size**2 - slack),
        [size, eta, slack],
        reason="the variance is eta^2 G^2 - s with s >= 0",
    )
    yield identity(
        r"s = 0: \text{ an equality}",
        second_moment_bound(size, eta),
        size**2 + eta**2 * size**2,
        "the bound is sharp",
    )


def _decay_steps(beta1: Any) -> Derivation:
    """|c_k|/sqrt(b_k) <= (1 - beta1) sum_n r^n |a_{k-n}|/sqrt(b_{k-n}), and the sum of the weights."""
    old, square = sympy.symbols("b_old a2", nonnegative=True)
    n = sympy.Symbol("n", integer=True, nonnegative=True)

    # The weights are the absolute values, so this is where the sign of beta1 matters.
    size = sympy.Abs(beta1 / sympy.sqrt(BETA2)).subs(r, sympy.Rational(3, 5))
    claimed = 1 / momentum_gap(beta1, BETA2).subs(r, sympy.Rational(3, 5))
    yield identity(
        r"b_k - \beta_2 b_{k-1} = c\,a_k^2 \ge 0",
        BETA2 * old + second_moment_weight(BETA2) * square - BETA2 * old,
        second_moment_weight(BETA2) * square,
        "hence b_k >= beta2^n b_{k-n}",
    )
    yield identity(
        r"\beta_1^n/\beta_2^{n/2} = r^n", beta1**3 / sympy.sqrt(BETA2) ** 3, momentum_ratio(beta1, BETA2) ** 3
    )
    yield vanishing(
        r"\textstyle\sum_n |\beta_1|^n\beta_2^{-n/2} = 1/(1-r)",
        lambda: [sympy.summation(size**n, (n, 0, sympy.oo)) - claimed],
        "the triangle inequality needs |beta1|; it equals beta1 for beta1 >= 0 only",
    )


def _young_steps() -> Derivation:
    """sum_k (sum_n r^n x_{k-n})^2 <= (1-r)^-2 sum_j x_j^2."""
    ratio, power = sympy.symbols("r p", positive=True)

    def partial(power_of_ratio: Any) -> Any:
        """(1 - r^{N+1}) / (1 - r), given r^N."""
        return (1 - ratio * power_of_ratio) / (1 - ratio)

    yield cauchy_schwarz(
        r"(\textstyle\sum wx)^2 \le (\sum w)(\sum wx^2)", r"of $\sqrt w$ and $\sqrt w\,x$, with weights $w = r^n$"
    )
    yield identity(r"\textstyle\sum_{n\le N}r^n = (1-r^{N+1})/(1-r) \text{ at } N=0", partial(1), 1)
    yield identity(
        r"\text{from } N \text{ to } N+1: \text{ one more } r^{N+1}",
        partial(ratio * power) - partial(power),
        ratio * power,
        "induction; so every such sum is at most 1/(1-r)",
    )


def _logarithm_steps() -> Derivation:
    """c a_j^2/b_j <= log(b_j/b_{j-1}) - log beta2, and its sum."""
    old, new, y, z = sympy.symbols("b_old b_new y z", positive=True)
    square = (new - BETA2 * old) / second_moment_weight(BETA2)
    excess = sympy.log(y) - 1 + 1 / y
    states = sympy.symbols("b0:4", positive=True)
    terms = [sympy.log(states[j] / states[j - 1]) - sympy.log(BETA2) for j in (1, 2, 3)]
    total = sympy.log(states[3] / states[0]) - 3 * sympy.log(BETA2)
    yield identity(
        r"c\,a_j^2/b_j = 1 - \beta_2 b_{j-1}/b_j",
        second_moment_weight(BETA2) * square / new,
        1 - BETA2 * old / new,
    )
    yield identity(r"y=1: \log y - 1 + 1/y = 0", excess.subs(y, 1), 0)
    yield nonnegative(
        r"\frac{d}{dy}(\log y - 1 + 1/y) \ge 0,\quad y\ge1",
        sympy.diff(excess, y),
        [z],
        {y: 1 + z},
        "at y = b_j / (beta2 b_{j-1}) >= 1",
    )
    yield identity(
        r"\textstyle\sum_{j\le K}[\log(b_j/b_{j-1})-\log\beta_2] = \log(b_K/b_0)-K\log\beta_2",
        sympy.expand_log(sum(terms)),
        sympy.expand_log(total),
        "telescoping, shown for K = 3",
    )


@proves(
    "Lemma B.1",
    "the sum of squared normalised momenta",
    r"For $0\le\beta_1<\sqrt{\beta_2}<1$, $b_0>0$: $\sum_{k\le K}c_k^2/b_k\le"
    r"\frac{(1-\beta_1)^2}{(1-\beta_2)(1-r)^2}\big(\log\frac{b_K}{b_0}-K\log\beta_2\big)$.",
    source="Lau et al., Lemma B.1, in the range where it holds",
)
def lemma_b1() -> Derivation:
    """Lemma B.1 in the range where it holds; at beta1 = -r q it fails."""
    growth, count = sympy.symbols("ell K", positive=True)
    c, gap = second_moment_weight(BETA2), momentum_gap(BETA1, BETA2)
    yield from _decay_steps(BETA1)
    yield from _young_steps()
    yield from _logarithm_steps()
    yield identity(
        r"(1-\beta_1)^2\cdot\frac1{(1-r)^2}\cdot\frac1c\,(\log(b_K/b_0)-K\log\beta_2) = \text{right side}",
        (1 - BETA1) ** 2 / gap**2 / c * (growth - count * sympy.log(BETA2)),
        lemma_b1_bound(BETA1, BETA2, count, growth),
    )
    yield prose(r"\text{order of summation over } k \text{ and } n")


@proves(
    "Lemma B.2",
    "bounded steps",
    r"$|w_{k+1,i}-w_{k,i}|\le\frac{\alpha(1-\beta_1)}{\sqrt{1-\beta_2}\sqrt{1-\beta_1^2/\beta_2}}\le"
    r"\frac{\alpha(1-\beta_1)}{\sqrt{1-\beta_2}\,(1-r)}$; where $\beta_1<\beta_2$ the first bound is also "
    r"at most the one with $\sqrt{1-\beta_1/\beta_2}$.",
    source="Lau et al., Lemma B.2, in the range where it holds",
    uses=("L1",),
)
def lemma_b2() -> Derivation:
    """Lemma B.2: the first bound by L1, the second with 1 - r, and as published for beta1 < beta2."""
    first_value = lemma_b2_first(alpha, BETA1, BETA2)
    unrooted, rooted = lemma_b2_second(alpha, BETA1, BETA2, rooted=False), lemma_b2_second(alpha, BETA1, BETA2)
    shared = alpha**2 * (1 - BETA1) ** 2 / second_moment_weight(BETA2)
    smaller = {r: (1 - 1 / (1 + a)) * (1 - 1 / (1 + b)), sympy.Symbol("q", positive=True): 1 - 1 / (1 + b)}
    square = (alpha * normalized_step_bound(BETA1, BETA2)) ** 2
    equal = identity(r"(\alpha C_m)^2 = (\text{first bound})^2", square, first_value**2)
    yield by_lemma(r"|m_k| \le C_m\sqrt{v_k}", lemma_l1, [equal], "the step is alpha m / sqrt(v)")
    yield nonnegative(
        r"(\text{second with }1-r)^2 - (\text{first})^2 \ge 0",
        sympy.cancel((unrooted**2 - first_value**2) / shared),
        [a, b],
        UNIT_INTERVALS,
        "1/(1-r)^2 >= 1/(1-r^2)",
    )
    yield nonnegative(
        r"(\text{second as published})^2 - (\text{first})^2 \ge 0,\quad \beta_1<\beta_2",
        sympy.cancel((rooted**2 - first_value**2) / shared),
        [a, b],
        smaller,
        "r = beta1/sqrt(beta2) < sqrt(beta2) = q",
    )


@proves(
    "Lemma B.4, log step",
    "solving an inequality with a logarithm",
    r"If $x\le a+b\log x$ with $x>0$ and $b>0$, then $x\le2a+2b\log(2b/e)$.",
    source="the inequality behind Lau et al., Lemma B.4",
)
def log_step() -> Derivation:
    """x <= a + b log x implies x <= bound(a, b)."""
    x, offset, slope = sympy.symbols("x a b", positive=True)
    excess = x / (2 * slope) + sympy.log(2 * slope) - 1 - sympy.log(x)
    yield identity(r"h(x) = x/(2b)+\log(2b)-1-\log x:\ h(2b) = 0", excess.subs(x, 2 * slope), 0)
    yield identity(r"h'(2b) = 0", sympy.diff(excess, x).subs(x, 2 * slope), 0)
    yield nonnegative(r"h''(x) \ge 0", sympy.diff(excess, x, 2), [x, slope], reason="so h >= 0 everywhere")
    yield identity(
        r"2(a + b(x/(2b)+\log(2b)-1)) - x = 2a+2b\log(2b/e)",
        2 * (offset + slope * (x / (2 * slope) + sympy.log(2 * slope) - 1)) - x,
        largest_root_bound(offset, slope),
        "insert the tangent for log x and solve for x",
    )
