r"""SGD under the norm test and gradient descent with relative errors: descent, telescoping, sharpness."""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam.symbols import PROBLEM, alpha, gap, smoothness, steps
from proofs.steps import Step, identity, nonnegative, prose, proves
from theory.other_optimizers import sgd as theory

__all__ = ["relative_error_theorem", "sgd_theorem"]

eta, gradient = sympy.symbols("eta G", positive=True)
error, inner, level = sympy.symbols("e p f", real=True)
free = sympy.Symbol("h", nonnegative=True)
TELESCOPING = prose(
    r"\text{summed over } k = 1..K: \text{descent} \cdot \sum_k E\|G_k\|^2 \le \Delta",
    "L(w_{K+1}) >= inf L; dividing by K and the descent per step gives the bound",
)


@proves(
    "SGD",
    "SGD under the norm test",
    r"$E_k g_k = G_k$, $E_k\|g_k-G_k\|^2 \le \eta^2\|G_k\|^2$, $0 < \alpha < 2/(L(1+\eta^2))$: "
    r"$\frac1K\sum_k E\|G_k\|^2 \le \Delta/(K\alpha(1-\alpha L(1+\eta^2)/2))$, at most "
    r"$2\Delta/(\alpha K)$ for $\alpha \le 1/(L(1+\eta^2))$. Sharp as $K \to \infty$.",
    source="descent lemma; norm test of Byrd, Chin, Nocedal, Wu (2012)",
)
def sgd_theorem() -> Iterator[Step]:
    """SGD: the descent per step and the bound."""
    value = theory.average_squared_norm_bound(PROBLEM, step_size=alpha, eta=eta).value
    variance = sympy.Symbol("V", nonnegative=True)
    expected = alpha * gradient**2 - smoothness * alpha**2 / 2 * (gradient**2 + variance)
    per_step = theory.descent_per_step(smoothness, alpha, eta)
    after = level * (1 - 2 * alpha * smoothness + alpha**2 * smoothness**2 * (1 + eta**2))  # on L w^2 / 2
    short = (1 - 1 / (1 + free)) * theory.best_step_size(smoothness, eta)
    yield prose(
        r"E_k L(w_{k+1}) \le L(w_k) - \alpha\|G_k\|^2 + \tfrac{L\alpha^2}2 E_k\|g_k\|^2",
        "descent lemma, and E_k g_k = G_k",
    )
    yield identity(
        r"E_k\|g_k\|^2 = \|G_k\|^2 + V, \; V = \eta^2\|G_k\|^2: \text{the descent is } "
        r"\alpha(1-\alpha L(1+\eta^2)/2)\|G_k\|^2",
        expected.subs(variance, eta**2 * gradient**2),
        per_step * gradient**2,
        "it falls with V, so the largest V is worst",
    )
    yield nonnegative(r"\text{the descent falls with } V", -sympy.diff(expected, variance), [smoothness, alpha])
    yield TELESCOPING
    yield identity(r"K \cdot \text{descent} \cdot \text{bound} = \Delta", steps * per_step * value, gap)
    yield nonnegative(
        r"\text{descent} \ge \alpha/2 \text{ for } \alpha \le 1/(L(1+\eta^2))",
        theory.descent_per_step(smoothness, short, eta) - short / 2,
        [smoothness, eta, free],
    )
    yield identity(
        r"L w^2/2: f_k - E_k f_{k+1} = \text{descent} \cdot G_k^2",
        level - after,
        per_step * (2 * smoothness * level),
        "any unbiased noise of variance eta^2 G^2; G^2 = 2 L f: equality in every step",
    )
    yield nonnegative(
        r"\text{f contracts: } 1 - q \ge 0, \; q = 1-2\alpha L+\alpha^2L^2(1+\eta^2), "
        r"\text{ for } \alpha < 2/(L(1+\eta^2))",
        1 - after / level,
        [eta, free],
        {alpha: 2 * short},
        "E f_{K+1} / Delta = q^K -> 0: the ratio of the sum to the bound is 1 - q^K",
    )


@proves(
    "relative error",
    "gradient descent with relative errors",
    r"$E_k\|g_k-G_k\|^2 \le \eta^2\|G_k\|^2$ with $\eta < 1$, biased or not, $\alpha = 1/L$: "
    r"$\frac1K\sum_k E\|G_k\|^2 \le 2L\Delta/((1-\eta^2)K)$. Sharp as $K \to \infty$.",
    source="descent lemma",
)
def relative_error_theorem() -> Iterator[Step]:
    """Gradient descent at step size 1 / L with relative errors: the descent per step and the bound."""
    value = theory.relative_error_bound(PROBLEM, eta=eta).value
    step = 1 / smoothness
    norm_of_g = gradient**2 + 2 * inner + error**2
    fall = step * (gradient**2 + inner) - smoothness * step**2 / 2 * norm_of_g
    per_step = theory.relative_error_descent(smoothness, eta)
    after = level * eta**2
    yield prose(
        r"L(w_{k+1}) \le L(w_k) - \alpha\langle G_k,g_k\rangle + \tfrac{L\alpha^2}2\|g_k\|^2", "descent lemma"
    )
    yield identity(
        r"\langle G,g\rangle/L - \|g\|^2/(2L) = (\|G\|^2 - \|g-G\|^2)/(2L)",
        fall,
        (gradient**2 - error**2) / (2 * smoothness),
        "with <G, g - G> = p and ||g - G||^2 = e^2; no expectation of g is needed",
    )
    yield identity(
        r"e^2 = \eta^2\|G\|^2: \text{the descent is } (1-\eta^2)\|G\|^2/(2L)",
        fall.subs(error, eta * gradient),
        per_step * gradient**2,
    )
    yield TELESCOPING
    yield identity(r"K \cdot \text{descent} \cdot \text{bound} = \Delta", steps * per_step * value, gap)
    yield identity(
        r"L w^2/2, g = (1 \pm \eta) G: f_k - f_{k+1} = \text{descent} \cdot G_k^2",
        level - after,
        per_step * (2 * smoothness * level),
        "w_{k+1} = -+ eta w_k and G^2 = 2 L f: equality, and f_{K+1} / Delta = eta^(2K) -> 0",
    )
