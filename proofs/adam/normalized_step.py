r"""Adam's mean step u_k = E[m_k / sqrt(v_k)] under noise of one law, enclosed by a quadrature.

The error of the quadrature and of what is left out has a closed form, which the proof derives; the sums are taken
in :mod:`proofs.certificates.intervals`, with outward rounding.

Example:
    >>> half = sympy.Rational(1, 2)
    >>> steps = mean_steps((sympy.Integer(1),), (sympy.Integer(1),), half, half, steps=60)  # no noise
    >>> bool(steps.low[-1] < 1 < steps.high[-1]), bool(steps.high[-1] - steps.low[-1] < 1e-4)
    (True, True)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import sympy

from proofs.adam.l1_step import lemma_l1
from proofs.adam.symbols import BETA1, BETA2
from proofs.certificates.intervals import Enclosure
from proofs.relations import written
from proofs.steps import (
    Derivation,
    Evidence,
    Method,
    Step,
    by_lemma,
    identity,
    nonnegative,
    prose,
    proves,
    vanishing,
)
from theory.adam import normalized_step as theory
from theory.adam.constants import momentum_ratio, normalized_step_bound

__all__ = ["MeanSteps", "mean_step", "mean_steps", "within"]

Expression = Any
LOG_STEP = sympy.Rational(1, 4)
"""h, a power of 2, so that its multiples are exact."""
LEFT_OUT = 1e-10
"""How far the first node in t lies below 1 / E|X|; the integrand is at most E|X| there."""
LAST = 7.0
"""The last node in t, in units of the smallest 1 / sqrt(v): exp(-49) is left."""


@proves(
    "mean step",
    "the mean step under one law of noise",
    r"For $g_k = X_kG$, $X_k$ independent of one finite law, never 0, the trapezoidal rule of step $h$ in $\ln t$ "
    r"for $u_k = E\,m_k/\sqrt{v_k} = \frac2{\sqrt\pi}\int_0^\infty E[m_ke^{-v_kt^2}]\,dt$ is off by at most "
    r"$6C_m/(e^{4/h}-1)$, and $|u_k - u_K| \le C_m\,(r^K + \beta_2^K E X^2/(2x^2(1-\beta_2^K)))$ for $k \ge K$, "
    r"$x = \min|X|$.",
    source="this project; the rule: Trefethen and Weideman, SIAM Review 56 (2014), Theorem 5.1",
    uses=("L1",),
)
def mean_step() -> Derivation:
    """The integrand in a strip, and what a long past contributes."""
    t, v, cosine, bound = sympy.symbols("t v c C_m", positive=True)
    factor = 2 / sympy.sqrt(sympy.pi)
    integral = factor * sympy.integrate(sympy.exp(-v * cosine * t**2), (t, 0, sympy.oo))
    yield vanishing(
        r"\frac{2}{\sqrt\pi}\int_0^\infty e^{-vt^2\cos2\theta}\,dt = \frac1{\sqrt{v\cos2\theta}}",
        lambda: [integral - 1 / sympy.sqrt(v * cosine)],
        "theta = 0: the quadrature; v is a sum of independent terms, so that E factors under the integral. "
        "Else: the integral of |m exp(-v t^2)| t along Im ln t = theta",
    )
    yield by_lemma(r"|m_k|/\sqrt{v_k} \le C_m", lemma_l1)
    angle = sympy.Rational(2, 3)
    yield _positive(sympy.cos(2 * angle), sympy.Rational(1, 9))
    yield _positive(2 * sympy.pi * angle, sympy.Integer(4))
    yield _positive(sympy.pi / 4, angle)
    yield prose(
        r"\text{the rule is off by at most } 2M/(e^{2\pi a/h}-1), \; M = C_m/\sqrt{1/9}, \; a = \tfrac23",
        "Theorem 5.1 of Trefethen and Weideman: analytic and integrable by M where $|\\mathrm{Im}\\ln t| < a$",
    )
    yield identity(
        r"2\cdot 3C_m/(e^{4/h}-1) = \text{ the error stated}",
        2 * 3 * normalized_step_bound(BETA1, BETA2) / (sympy.exp(4 / v) - 1),
        theory.quadrature_error(BETA1, BETA2, v),
    )
    yield from _forgetting(bound)


def _positive(left: Expression, right: Expression) -> Step:
    """``left > right``, two numbers."""
    gap = left - right
    text = f"{written(left)} > {written(right)}"
    return Step(text, Method.INTERVALS, lambda: Evidence(bool(gap.is_positive), f"by {gap.evalf(3)}"))


def _forgetting(bound: Expression) -> Derivation:
    """m_k = m_K + beta1^K m', v_k = v_K + beta2^K v': the last K gradients and all before."""
    recent, longer, steps, square, least = sympy.symbols("q t K E_2 x", positive=True)
    root = recent + longer
    yield nonnegative(
        r"1 - \sqrt{\frac{v_K}{v_K+y}} \le \frac y{2v_K}, \quad y = \beta_2^Kv' \ge 0",
        (root**2 - recent**2) / (2 * recent**2) - (1 - recent / root),
        [recent, longer],
        reason="sqrt(v_K) = q, sqrt(v_K + y) = q + t; times |m_K| / sqrt(v_K) <= C_m",
    )
    yield identity(
        r"\beta_1^K|m'|/\sqrt{\beta_2^Kv'} \le C_mr^K, \quad E\,y/(2v_K) \le \beta_2^KE X^2/(2x^2(1-\beta_2^K))",
        theory.forgetting_error(BETA1, BETA2, steps, square, least) / normalized_step_bound(BETA1, BETA2),
        momentum_ratio(BETA1, BETA2) ** steps + BETA2**steps * square / (2 * least**2 * (1 - BETA2**steps)),
        "|m'| <= C_m sqrt(v'), E v' <= E X^2 and v_K >= x^2 (1 - beta2^K): their sum is the error stated",
    )


def mean_steps(
    values: Sequence[Expression],
    probabilities: Sequence[Expression],
    beta1: Expression,
    beta2: Expression,
    steps: int,
    log_step: Expression = LOG_STEP,
) -> Enclosure:
    """u_1, ..., u_K, each within its interval.

    Args:
        values: of X, exact; none is 0.
        probabilities: of the values.
        beta1: exact, positive.
        beta2: exact.
        steps: K.
        log_step: h.
    """
    x, weights = ([Enclosure.around(number) for number in numbers] for numbers in (values, probabilities))
    least = min(range(len(x)), key=lambda i: float(x[i].low ** 2))
    lag = Enclosure.of(np.arange(steps + 1.0)[:, None])
    kept1, kept2 = ((lag * Enclosure.around(beta).log()).exp() for beta in (beta1, beta2))
    smallest = float(abs(values[least]) * sympy.sqrt(1 - beta2))
    size = float(sum(abs(value) * p for value, p in zip(values, probabilities, strict=True)))
    h, first, last = float(log_step), LEFT_OUT / size, LAST / smallest
    node = h * np.arange(math.floor(math.log(first) / h), math.ceil(math.log(last) / h) + 1)
    squared_node = Enclosure.of(2 * node).exp()
    scale = (_rows(kept2, 0, -1) * Enclosure.around(1 - beta2)).scale_nonnegative(squared_node)
    below, above = weights[least], x[least] * weights[least]
    for i in (i for i in range(len(x)) if i != least):
        term = weights[i] * (-scale.scale_nonnegative(x[i].square() - x[least].square())).exp()
        below, above = below + term, above + x[i] * term
    # below = D e^(s x^2), above = N e^(s x^2), x the least value: their common factor is taken out of the product.
    if len(x) == 1:
        below, above = (
            Enclosure(*(np.broadcast_to(end, scale.low.shape) for end in part)) for part in (below, above)
        )
    common = squared_node.scale_nonnegative(x[least].square()) * (Enclosure.of(1.0) - _rows(kept2, 1, None))
    product = (below.log().sums() - common).exp()
    integrand = (above / below * _rows(kept1, 0, -1)).sums() * product * Enclosure.of(node).exp()
    total = Enclosure(integrand.low.T, integrand.high.T).sums()
    result = Enclosure(total.low[-1], total.high[-1]) * Enclosure.around(
        (1 - beta1) * 2 * log_step / sympy.sqrt(sympy.pi)
    )
    ends = size * 2 * (h * first / (1 - math.exp(-h)) + 2 * h * last * math.exp(-(LAST**2)))
    error = float(theory.quadrature_error(beta1, beta2, log_step)) + ends
    return result + Enclosure(np.asarray(-error * 1.001), np.asarray(error * 1.001))


def _rows(part: Enclosure, first: int, last: int | None) -> Enclosure:
    return Enclosure(part.low[first:last], part.high[first:last])


@dataclass(frozen=True)
class MeanSteps:
    """The mean steps of one law, from m_0 = v_0 = 0 to the stationary state.

    Attributes:
        values: of X, exact.
        probabilities: of the values, exact.
        beta1: exact.
        beta2: exact.
        steps: K, so many that the past before the last K gradients hardly counts.
        log_step: h of the quadrature.
    """

    values: tuple[Expression, ...]
    probabilities: tuple[Expression, ...]
    beta1: Expression
    beta2: Expression
    steps: int
    log_step: Expression = LOG_STEP

    @property
    def first(self) -> Enclosure:
        """u_1, ..., u_K."""
        return _computed(self)

    @property
    def forgetting_error(self) -> float:
        """At least |u_k - u_K| for k >= K."""
        square = sum(value**2 * p for value, p in zip(self.values, self.probabilities, strict=True))
        least = min((abs(value) for value in self.values), key=float)
        error = theory.forgetting_error(self.beta1, self.beta2, self.steps, square, least)
        return 1.001 * float(sympy.N(error, 30))

    def stationary(self) -> tuple[float, float]:
        """An interval around u, the limit of u_k."""
        return float(self.first.low[-1]) - self.forgetting_error, float(
            self.first.high[-1]
        ) + self.forgetting_error

    def of_all(self) -> tuple[float, float]:
        """An interval around u_k for all k."""
        low, high = self.stationary()
        return min(low, float(self.first.low.min())), max(high, float(self.first.high.max()))


@cache
def _computed(law: MeanSteps) -> Enclosure:
    return mean_steps(law.values, law.probabilities, law.beta1, law.beta2, law.steps, law.log_step)


def within(
    name: str,
    interval: tuple[str, str],
    found: Callable[[], tuple[float, float]],
    where: Mapping[Any, Expression],
    reason: str = "",
) -> Step:
    """``low <= name <= high``, printed from the numbers (decimals) with which what is ``found`` is compared."""

    def check() -> Evidence:
        low, high = found()
        inside = Fraction(interval[0]) <= Fraction(low) and Fraction(high) <= Fraction(interval[1])
        return Evidence(inside, f"[{low:.9g}, {high:.9g}]")

    values = r", \; ".join(f"{written(symbol)} = {written(value)}" for symbol, value in where.items())
    return Step(rf"{interval[0]} \le {name} \le {interval[1]}, \quad {values}", Method.INTERVALS, check, reason)
