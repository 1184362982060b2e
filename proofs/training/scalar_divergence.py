r"""The scalar norm test alone does not make Adam converge: the algebra of the counterexample."""

from __future__ import annotations

from typing import Any

import sympy

from proofs.adam.l1_step import lemma_l1
from proofs.adam.normalized_step import MeanSteps, mean_step, within
from proofs.steps import Derivation, Step, by_lemma, identity, nonnegative, prose, proves, vanishing
from theory.adam.constants import normalized_step_bound
from theory.adam.normalized_step import rare_value, rare_variance
from theory.training import scalar_divergence as theory

__all__ = ["INSTANCE", "scalar_test_at_usual_betas", "scalar_test_divergence", "smallest_threshold"]


eta, kap_excess, u, alpha, delta, n = sympy.symbols("eta e u alpha delta n", positive=True)
p, beta1, beta2, bound = sympy.symbols("p beta_1 beta_2 C_m", positive=True)
others, steps = sympy.symbols("d_1 K", positive=True)  # d_1 = d - 1
GOLDEN = (1 + sympy.sqrt(5)) / 2
INSTANCE = {
    beta1: sympy.Rational(9, 10),
    beta2: sympy.Rational(19, 20),
    eta: sympy.Rational(1, 5),
    delta: sympy.Rational(1, 10),
    p: sympy.Rational(1, 400),
}


@proves(
    "scalar test",
    "Adam diverges under the scalar norm test",
    r"For $L(w) = H(a\cdot w)$, $H$ Huber's function, $a = (1,g,\dots,g)$, "
    r"$g^2 = \eta^2/((d-1)(\kappa^2-\eta^2))$ and noise of mean 1 and variance $\kappa^2$ on all coordinates but "
    r"the first, the scalar test is an equality at every step. While $a\cdot w \ge 1$, if "
    r"$u_k = E\,m_k/\sqrt{v_k} \le -u$ for all $k$ and "
    r"$(d-1)gu > C_m$, each of $K$ steps is uphill, but for a probability of "
    r"$K\exp(-\frac12(\sqrt{d-1}\,u/C_m-\sqrt{\kappa^2-\eta^2}/\eta)^2)$; and $u_k \le -u$ can be had for all "
    r"$\beta_1 < \sqrt{\beta_2} < 1$ and every $u < 1-\beta_1$. In the stationary state the drift is "
    r"$\alpha((d-1)g|u|-1)$, uphill iff $d-1 > (\kappa^2-\eta^2)/(\eta^2u^2)$.",
    source="Section 4 of arXiv 2412.21124 puts this test in the place of the coordinate-wise one",
    uses=("L1",),
)
def scalar_test_divergence() -> Derivation:
    """The test is an equality, and beyond ``threshold`` the drift is uphill; u > 0 stands for |E m/sqrt(v)|."""
    kap_squared = eta**2 + kap_excess
    g = theory.noisy_direction(eta, kap_squared, others + 1)
    beyond = theory.drift(alpha, others + 1, g, -u) / alpha
    limit = theory.threshold_dimension(eta, kap_squared, -u)
    yield from _noise()
    yield _gradient()
    yield identity(
        r"E\|g_k-G_k\|^2/\|G_k\|^2 = \eta^2",
        theory.relative_error(g, kap_squared, others + 1) ** 2,
        eta**2,
        "the scalar test is an equality for every w",
    )
    yield by_lemma(r"|m_k|/\sqrt{v_k} \le C_m, \text{ the first coordinate's, too}", lemma_l1)
    yield prose(
        r"P(S - E S \le -t) \le \exp(-2t^2/((d-1)(2gC_m)^2)), \; S = -g\textstyle\sum_{i>1} m_i/\sqrt{v_i}",
        "Hoeffding's inequality: independent terms in [-g C_m, g C_m]; then a union over K steps. While "
        "a.w >= 1 the gradient is a, so that m and v do not depend on the path; bias correction scales a step "
        "by a positive number",
    )
    yield identity(
        r"\frac{2t^2}{(d-1)(2gC_m)^2} = "
        r"\frac12\Big(\frac{\sqrt{d-1}\,u}{C_m}-\frac{\sqrt{\kappa^2-\eta^2}}\eta\Big)^2, \quad t = (d-1)gu - C_m",
        steps * sympy.exp(-((others * g * u - bound) ** 2) / (2 * others * g**2 * bound**2)),
        _failure(kap_squared, others + 1, bound, u, steps),
        "E S >= (d-1) g u",
    )
    yield from _for_all_betas()
    yield identity(
        r"((d-1)g|u|)^2 - 1 = (d - d^*)\,\eta^2u^2/(\kappa^2-\eta^2)",
        (beyond + 1) ** 2 - 1,
        (others + 1 - limit) * eta**2 * u**2 / kap_excess,
        "so the stationary drift is uphill if and only if d > d*",
    )


def _failure(variance: Any, dimension: Any, step_bound: Any, least: Any, count: Any) -> Any:
    """The probability with the hypothesis on its margin left to the caller, as SymPy cannot decide it."""
    margin = sympy.Symbol("margin", positive=True)
    found = theory.failure_probability(eta, variance, dimension, step_bound, margin, count)
    return found.subs(margin, least)


def _noise() -> Derivation:
    """The two-point law has mean 1 and the stated variance."""
    high = rare_value(delta, p)
    yield identity(r"E X = -(1-p)\delta + p\,x_1 = 1", -(1 - p) * delta + p * high, 1)
    yield identity(
        r"E(X-1)^2 = (1+\delta)^2(1-p)/p",
        (1 - p) * (1 + delta) ** 2 + p * (high - 1) ** 2,
        rare_variance(delta, p),
    )


def _gradient() -> Step:
    """grad L = H'(a.w) a: the i-th derivative, the other terms of a.w as one number."""
    weight, part, rest = sympy.symbols("w_i a_i s", real=True)
    product = part * weight + rest
    pieces = (
        (product**2 / 2, product),
        (product - sympy.Rational(1, 2), 1),
        (-product - sympy.Rational(1, 2), -1),
    )
    return vanishing(
        r"\partial_i L(w) = a_i H'(a\cdot w), \quad H'(x) = \max(-1, \min(1, x))",
        lambda: [sympy.diff(loss, weight) - slope * part for loss, slope in pieces],
        "on each of the three pieces; 1 for a.w >= 1",
    )


def _for_all_betas() -> Derivation:
    """n = q steps without a rare value at p = q^-2, q -> oo: the closed-form ceiling tends to -(1 - beta1)."""
    yield prose(
        r"\text{no rare value in the last } n: \; m_k \le -\delta(1-\beta_1^n)+\beta_1^nm', \; "
        r"v_k \le \delta^2+\beta_2^nx_1^2",
        "and m'/sqrt(v_k) <= C_m beta2^(-n/2); if k < n, m_k/sqrt(v_k) = -(1-beta1^k)/sqrt(1-beta2^k) is at most "
        "-(1-beta1); else m_k/sqrt(v_k) <= C_m, of probability n p at most",
    )
    yield vanishing(
        r"\text{the ceiling } np\,C_m - (1-np)\min(1-\beta_1, s) \to -(1-\beta_1), \; s = "
        r"(1-\beta_1^n)/\sqrt{1+\beta_2^nx_1^2/\delta^2} - C_mr^n \to 1, \quad p = n^{-2},\; n\to\infty",
        _ceiling_residuals,
        "delta = 1: any will do",
    )


def _ceiling_residuals() -> list[Any]:
    """Of the limits at beta2 = e^-t, r = e^-s: both numbers of the minimum, then all with the lesser of them."""
    s, t = sympy.symbols("s t", positive=True)
    at = {beta1: sympy.exp(-s - t / 2), beta2: sympy.exp(-t), p: n**-2}

    def limit(expression: Any) -> Any:
        opened = sympy.powsimp(sympy.expand_power_base(expression.subs(at)))
        return sympy.limit(opened, n, sympy.oo)

    ceiling = theory.mean_step_ceiling(beta1, beta2, 1, p, n)
    numbers = ceiling.atoms(sympy.Min).pop().args
    slow = 1 - at[beta1]
    lesser = ceiling.replace(sympy.Min, lambda *_: 1 - beta1)
    return [*(sympy.prod(limit(x) - end for end in (1, slow)) for x in numbers), limit(lesser) + slow]


@proves(
    "scalar test, usual betas",
    "Adam diverges under the scalar norm test at (.9, .95)",
    r"At $\eta = .2$ and $d = 10^5$, with the noise of the proof before, $a\cdot w$ grows at each of $10^{20}$ "
    r"steps from any $a\cdot w \ge 1$, but for a probability of $3\cdot10^{-5}$; for every $d \ge 42233$, "
    r"$a\cdot w \to \infty$ with a probability that tends to 1 as $\alpha \to 0$, from every start above 1.",
    source="this project",
    uses=("mean step", "scalar test"),
)
def scalar_test_at_usual_betas(highest: str = "-0.444", dimension: int = 42233) -> Derivation:
    """The mean steps by intervals, then the two conditions of the proof before."""
    high = rare_value(INSTANCE[delta], INSTANCE[p])
    law = (-INSTANCE[delta], high), (1 - INSTANCE[p], INSTANCE[p])
    noisy = MeanSteps(*law, INSTANCE[beta1], INSTANCE[beta2], steps=800, log_step=sympy.Rational(1, 8))
    at = {symbol: INSTANCE[symbol] for symbol in (beta1, beta2, delta, p)}
    yield by_lemma(r"u_k = E\,m_k/\sqrt{v_k}: \text{ quadrature and forgetting}", mean_step)
    yield within(r"u_k", ("-1.04", highest), noisy.of_all, at, "for all k")
    yield within(r"u", ("-0.534582", "-0.534581"), noisy.stationary, at, "the limit of u_k")
    variance = rare_variance(INSTANCE[delta], INSTANCE[p])
    limit = theory.threshold_dimension(INSTANCE[eta], variance, -u)
    yield within(
        r"d^*",
        ("42232", str(dimension)),
        lambda: _between(limit, noisy.stationary()),
        {**INSTANCE},
        "the threshold of d in the stationary drift",
    )
    chance = theory.failure_probability(
        INSTANCE[eta],
        variance,
        sympy.Integer(10) ** 5,
        normalized_step_bound(INSTANCE[beta1], INSTANCE[beta2]),
        -sympy.Rational(highest),
        sympy.Integer(10) ** 20,
    )
    yield within(
        r"P(\text{not all } K \text{ steps are uphill})",
        ("0", "0.00003"),
        lambda: (0.0, float(chance)),
        {**INSTANCE, others + 1: 10**5, steps: 10**20},
        "the proof before",
    )
    yield prose(
        r"a\cdot w_k \ge 1 \text{ for all } k, \quad (a\cdot w_k - a\cdot w_1)/(\alpha k) \to (d-1)g|u|-1 > 0",
        "the ergodic theorem for the steps at the gradient a, which do not depend on the path: their sums over "
        "alpha tend to oo, so that the least of them is finite, and times alpha above 1 - a.w_1 for small alpha",
    )


def _between(limit: Any, interval: tuple[float, float]) -> tuple[float, float]:
    """d* falls with |u|: its values at the ends, rounded outward."""
    ends = sorted(float(limit.subs(u, -sympy.Rational(end))) for end in interval)
    return ends[0] * (1 - 1e-12), ends[1] * (1 + 1e-12)


@proves(
    "scalar test, smallest threshold",
    "the smallest dimension for RMSProp without memory",
    r"At $\beta_1 = 0$, $\beta_2 \to 0$ the step is the sign: $u_k \to u = 2p-1$, uniformly in $k$, and for "
    r"$0 < p < 1/2$ the threshold $d\eta^2 \approx \kappa^2/u^2 \ge \varphi^5 = 11.09$, $\varphi = (1+\sqrt5)/2$, "
    r"as $\delta \to 0$ at $p = (3-\sqrt5)/4$.",
    source="this project",
)
def smallest_threshold(constant: Any = GOLDEN**5) -> Derivation:
    """At beta1 = 0, beta2 -> 0 and delta -> 0: kap^2/u^2 >= ``constant``, attained."""
    best = (3 - sympy.sqrt(5)) / 4
    mean_step = 2 * p - 1
    value = rare_variance(0, p) / mean_step**2
    cleared = (1 - p) - constant * p * mean_step**2
    yield from _signs()
    yield identity(r"\kappa^2 = (1-p)/p \text{ at } \delta = 0", rare_variance(0, p), (1 - p) / p)
    yield identity(
        r"(1-p) - \varphi^5 p(1-2p)^2 = 4\varphi^5 (p-p^*)^2 (1/\varphi - p) \ge 0, \quad p < 1/2",
        sympy.expand(cleared),
        sympy.expand(4 * GOLDEN**5 * (p - best) ** 2 * (1 / GOLDEN - p)),
        "1/phi = .618 > 1/2",
    )
    yield nonnegative(
        r"1/\varphi - p \ge 0 \text{ for } p \le 1/2",
        sympy.nsimplify(sympy.Rational(6, 10)) - p,
        [n],
        {p: sympy.Rational(1, 2) / (1 + n)},
        "with .6 < 1/phi",
    )
    yield identity(r"\kappa^2/u^2 = \varphi^5 \text{ at } p^*", sympy.radsimp(value.subs(p, best)), constant)


def _signs() -> Derivation:
    """m_k = X_k and v_k = c X_k^2 + beta2 v_{k-1}, with v_{k-1} between 0 and x_1^2."""
    past = sympy.Symbol("y", nonnegative=True)
    c, high = 1 - beta2, rare_value(delta, p)
    ceiling = theory.sign_step_ceiling(beta2, delta, p)
    yield vanishing(
        r"u_k \le U, \quad (p/\sqrt c-U)^2 = (1-p)^2\delta^2/(c\delta^2+\beta_2x_1^2)",
        lambda: [
            sympy.expand(p / sympy.sqrt(c) - ceiling) ** 2 - (1 - p) ** 2 / (c + beta2 * (high / delta) ** 2)
        ],
        "X_k = x_1: m_k/sqrt(v_k) <= 1/sqrt(c); X_k = -delta: largest where v_{k-1} = x_1^2",
    )
    yield nonnegative(
        r"v_{k-1} = y \ge 0: \; x^2/(cx^2+\beta_2y) \text{ falls with } y",
        -sympy.diff(delta**2 / (eta * delta**2 + beta2 * past), past),
        [eta, beta2, delta, past],
        reason="c > 0",
    )
    yield vanishing(
        r"U \to 2p-1, \quad \beta_2 \to 0",
        lambda: [sympy.limit(ceiling, beta2, 0, "+") - (2 * p - 1)],
    )
    yield vanishing(
        r"u_k \ge p - (1-p)/\sqrt c \to 2p-1, \quad \beta_2 \to 0",
        lambda: [sympy.limit(p - (1 - p) / sympy.sqrt(c), beta2, 0, "+") - (2 * p - 1)],
        "X_k = x_1: m_k/sqrt(v_k) >= 1 at v_{k-1} = x_1^2; X_k = -delta: at least -1/sqrt(c)",
    )
