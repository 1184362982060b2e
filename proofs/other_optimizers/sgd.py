r"""SGD under the norm test and gradient descent with relative errors: descent, telescoping, sharpness."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import sympy

from proofs.adam.descent import descent_lemma
from proofs.adam.symbols import PROBLEM, alpha, gap, smoothness, steps
from proofs.composition import Assumption, Fact, assumed, cite, composed, summed
from proofs.relations import Range, Relation, equation, named
from proofs.steps import Derivation, Step, identity, nonnegative, proves
from proofs.sums import PROGRESS, SQUARES
from theory.other_optimizers import sgd as theory

__all__ = ["relative_error_theorem", "sgd_theorem"]

eta, gradient = sympy.symbols("eta G", positive=True)
error, inner, level = sympy.symbols("e p f", real=True)
below_share = named("share", r"\alpha L(1+\eta^2)", nonnegative=True)
free = sympy.Symbol("h", nonnegative=True)
T_SUM = named("T_sum", r"{\textstyle\sum_k} E\|G_k\|^2", nonnegative=True)
ERRORS = named("V_sum", r"{\textstyle\sum_k} E\|g_k-G_k\|^2", nonnegative=True)
INNER = named("P_sum", r"{\textstyle\sum_k} E\langle G_k, g_k-G_k\rangle", real=True)
bound = named("bound", r"\bar T", positive=True)
NEEDED = frozenset({Assumption.SMOOTH, Assumption.BOUNDED_BELOW, Assumption.SCALAR_TEST})
UNBIASED = NEEDED | {Assumption.UNBIASED, Assumption.KNOWN_BEFORE}


def _bound(
    value: Any, step: Any, ranges: tuple[Range, ...], *facts: Fact | Step, assumes: frozenset[Assumption]
) -> Derivation:
    """sum_k E||G_k||^2 <= K ``value`` at the step size ``step``, with u_k = g_k."""
    along, squares = yield from _opened()
    yield composed(
        Relation(T_SUM, "<=", steps * bound, {bound: value}, ranges),
        (
            cite(descent_lemma, {alpha: step}),
            along,
            squares,
            assumed(Relation(ERRORS, "<=", eta**2 * T_SUM), Assumption.SCALAR_TEST),
            *facts,
        ),
        (PROGRESS, SQUARES, T_SUM, INNER, ERRORS),
        assumes,
    )


def _opened() -> Generator[Step, Step, tuple[Step, Step]]:
    """<G, g> and ||g||^2 in G and g - G, in a coordinate and summed."""
    true, gap_of_g = (sympy.Symbol(name, real=True) for name in ("G_{k,i}", "(g_{k,i}-G_{k,i})"))
    terms = {
        named("i_i", "G_{k,i}g_{k,i}", real=True): true * (true + gap_of_g),
        named("n_i", "g_{k,i}^2", nonnegative=True): (true + gap_of_g) ** 2,
    }
    parts = {
        named("t_i", "G_{k,i}^2", nonnegative=True): true**2,
        named("p_i_of_g", "G_{k,i}(g_{k,i}-G_{k,i})", real=True): true * gap_of_g,
        named("v_i_of_g", "(g_{k,i}-G_{k,i})^2", nonnegative=True): gap_of_g**2,
    }
    t, p, v = parts
    sums = {**dict(zip(terms, (PROGRESS, SQUARES), strict=True)), t: T_SUM, p: INNER, v: ERRORS}
    found = []
    for name, value in zip(terms, (t + p, t + 2 * p + v), strict=True):
        each = yield equation(name, value, "in every coordinate", {name: terms[name], **parts})
        found.append(summed(each, {n: s for n, s in sums.items() if n in each.relation.slack.free_symbols}))
        yield found[-1]
    return found[0], found[1]


@proves(
    "SGD",
    "SGD under the norm test",
    r"If $E_k\|g_k-G_k\|^2 \le \eta^2\|G_k\|^2$ at every step and $0 < \alpha < 2/(L(1+\eta^2))$, then "
    r"$\frac1K\sum_k E\|G_k\|^2 \le \Delta/(K\alpha(1-\alpha L(1+\eta^2)/2))$, which is at most "
    r"$2\Delta/(\alpha K)$ where $\alpha \le 1/(L(1+\eta^2))$. On $Lw^2/2$ under a noise of the largest "
    r"variance, the ratio of the two sides tends to 1 as $K \to \infty$.",
    source="descent lemma; norm test of Byrd, Chin, Nocedal, Wu (2012)",
)
def sgd_theorem() -> Derivation:
    """SGD: the descent per step and the bound."""
    value = theory.average_squared_norm_bound(PROBLEM, step_size=alpha, eta=eta).value
    variance = sympy.Symbol("V", nonnegative=True)
    expected = alpha * gradient**2 - smoothness * alpha**2 / 2 * (gradient**2 + variance)
    per_step = theory.descent_per_step(smoothness, alpha, eta)
    below = below_share / (smoothness * (1 + eta**2))  # alpha < 2/(L(1+eta^2))
    after = level * (1 - 2 * alpha * smoothness + alpha**2 * smoothness**2 * (1 + eta**2))  # on L w^2 / 2
    short = (1 - 1 / (1 + free)) * theory.best_step_size(smoothness, eta)
    yield identity(
        r"E_k\|g_k\|^2 = \|G_k\|^2 + V, \; V = \eta^2\|G_k\|^2: \text{the descent is } "
        r"\alpha(1-\alpha L(1+\eta^2)/2)\|G_k\|^2",
        expected.subs(variance, eta**2 * gradient**2),
        per_step * gradient**2,
        "it falls with V, so the largest V is worst",
    )
    yield nonnegative(r"\text{the descent falls with } V", -sympy.diff(expected, variance), [smoothness, alpha])
    yield from _bound(
        value.subs(alpha, below),
        below,
        (Range(below_share, 0, 2, strict=True),),
        assumed(Relation(INNER, "=", 0), Assumption.UNBIASED),
        assumes=UNBIASED,
    )
    yield identity(r"K \cdot \text{descent} \cdot \text{bound} = \Delta", steps * per_step * value, gap)
    yield nonnegative(
        r"\text{descent} \ge \alpha/2 \text{ for } \alpha \le 1/(L(1+\eta^2))",
        theory.descent_per_step(smoothness, short, eta) - short / 2,
        [smoothness, eta, free],
    )
    yield identity(
        r"\text{at } \alpha = 2/(L(1+\eta^2)) \text{ the descent is } 0",
        theory.descent_per_step(smoothness, theory.largest_step_size(smoothness, eta), eta),
        sympy.Integer(0),
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
    r"If $E_k\|g_k-G_k\|^2 \le \eta^2\|G_k\|^2$ at every step with $\eta < 1$, whether $g_k$ is biased or "
    r"not, then at the step size $\alpha = 1/L$: $\frac1K\sum_k E\|G_k\|^2 \le 2L\Delta/((1-\eta^2)K)$. On "
    r"$Lw^2/2$ with $g_k = (1\pm\eta)G_k$ the ratio of the two sides tends to 1 as $K \to \infty$.",
    source="descent lemma",
)
def relative_error_theorem() -> Derivation:
    """Gradient descent at step size 1 / L with relative errors: the descent per step and the bound."""
    value = theory.relative_error_bound(PROBLEM, eta=eta).value
    step = 1 / smoothness
    norm_of_g = gradient**2 + 2 * inner + error**2
    fall = step * (gradient**2 + inner) - smoothness * step**2 / 2 * norm_of_g
    per_step = theory.relative_error_descent(smoothness, eta)
    after = level * eta**2
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
    yield from _bound(value, step, (Range(eta, 0, 1, power=2, strict=True),), assumes=NEEDED)
    yield identity(r"K \cdot \text{descent} \cdot \text{bound} = \Delta", steps * per_step * value, gap)
    yield identity(
        r"L w^2/2, g = (1 \pm \eta) G: f_k - f_{k+1} = \text{descent} \cdot G_k^2",
        level - after,
        per_step * (2 * smoothness * level),
        "w_{k+1} = -+ eta w_k and G^2 = 2 L f: equality, and f_{K+1} / Delta = eta^(2K) -> 0",
    )
