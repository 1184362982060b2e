r"""Steps and samples of SGD under the norm test: stopped descent, the hyperbola, the instance that attains it."""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from proofs.adam.symbols import PROBLEM, alpha, gap, smoothness, steps
from proofs.other_optimizers.sgd import sgd_theorem
from proofs.steps import Derivation, by_lemma, identity, nonnegative, prose, proves, vanishing
from theory.other_optimizers.sgd import best_step_size, descent_per_step
from theory.samples import sgd as theory
from theory.samples.goal import Goal

__all__ = ["floored_test", "steps_and_samples"]

eta, level, variance, floor, latency = sympy.symbols("eta epsilon sigma2 f tau", positive=True)
square, excess = sympy.symbols("G2 e", nonnegative=True)
GOAL = Goal(level=level, noise=variance)


@proves(
    "samples of SGD",
    "SGD to a goal: steps and samples on a hyperbola",
    r"Let SGD take the step size $\alpha = 1/(L(1+\eta^2))$ and, at every step, the smallest batch that "
    r"passes the exact norm test, and let $T$ be the number of steps before the first $k$ with $\|G_k\|^2 \le "
    r"\epsilon$. Then $E\,T \le K$ and $E\sum_{k\le T}b_k \le E\,T + N$, with $K = (1+\eta^2)\,2L\Delta/\epsilon$ "
    r"and $N = (1+1/\eta^2)\,2L\Delta\sigma^2/\epsilon^2$. As $\eta$ varies these two lie on a hyperbola, "
    r"$(K/K_{\min}-1)(N/N_{\min}-1) = 1$. For every $\Delta > \epsilon/(2L)$ there are an objective and a noise "
    r"of $\sigma^2 = 2L\Delta\eta^2$ with $E\,T = E\sum_{k\le T}b_k = 1+\eta^2$, to which $K$ and $N$ fall with "
    r"$\Delta$.",
    source="McCandlish et al. (2018) for the shape; this project",
    uses=("SGD",),
)
def steps_and_samples() -> Derivation:
    """Descent up to the goal, the batches before it, the hyperbola, the instance."""
    best = best_step_size(smoothness, eta)
    taken = theory.steps_to_goal(PROBLEM, GOAL, eta=eta)
    found = theory.samples_to_goal(PROBLEM, GOAL, eta=eta)
    yield by_lemma(r"L(w_k) - E_kL(w_{k+1}) \ge \text{descent}\cdot\|G_k\|^2", sgd_theorem)
    yield identity(
        r"\text{descent} = \alpha/2 \text{ at } \alpha = 1/(L(1+\eta^2))",
        descent_per_step(smoothness, best, eta),
        best / 2,
    )
    yield prose(
        r"\text{summed over } k \le T \wedge K: \tfrac\alpha2 E\sum_{k\le T}\|G_k\|^2 \le \Delta",
        "{k <= T} is known before step k; K -> oo by monotone convergence",
    )
    yield identity(
        r"\tfrac\alpha2\,\epsilon\cdot\text{bound on } E\,T = \Delta",
        best / 2 * level * taken.value,
        gap,
        "||G_k||^2 > epsilon for all k <= T",
    )
    yield from _batches(taken.value, found.terms)
    yield from _hyperbola(taken.value, found.terms["noise"])
    yield from _attained(taken.value, found.terms["noise"])


def _batches(taken: sympy.Expr, terms: Mapping[str, sympy.Expr]) -> Derivation:
    asked = variance / (eta**2 * (level + excess))
    yield nonnegative(
        r"\frac{\sigma^2}{\eta^2\epsilon} \ge \frac{\sigma^2}{\eta^2\|G_k\|^2} \text{ for } k \le T",
        asked.subs(excess, 0) - asked,
        [variance, eta, level, excess],
        reason="rounded up, too; with ||G_k||^2 = epsilon + e",
    )
    yield identity(
        r"E\,T\cdot\frac{\sigma^2}{\eta^2\epsilon} = (1+1/\eta^2)N_{\min}",
        taken * asked.subs(excess, 0),
        terms["noise"],
        "ceil(x) <= 1 + x gives the one sample a step",
    )
    yield identity(r"\text{one sample a step}", terms["one sample a step"], taken)


def _hyperbola(taken: sympy.Expr, noisy: sympy.Expr) -> Derivation:
    least_steps = theory.exact_gradient_steps(PROBLEM, GOAL)
    least_samples = theory.least_noisy_samples(PROBLEM, GOAL)
    yield identity(
        r"(K/K_{\min}-1)(N/N_{\min}-1) = 1", theory.hyperbola(taken / least_steps, noisy / least_samples), 1
    )
    square_eta = sympy.Symbol("x", positive=True)
    time = ((1 + latency) * taken + noisy).subs(eta, sympy.sqrt(square_eta))
    best = theory.best_eta(GOAL, latency) ** 2
    yield vanishing(
        r"\frac{d}{d\eta^2}\,[(1+\tau)K + N] = 0 \text{ at } \eta^4 = (\sigma^2/\epsilon)/(1+\tau)",
        lambda: [sympy.nsimplify(sympy.simplify(sympy.diff(time, square_eta).subs(square_eta, best)))],
    )
    yield nonnegative(
        r"\frac{d^2}{d(\eta^2)^2}\,[(1+\tau)K + N] \ge 0",
        sympy.diff(time, square_eta, 2),
        [square_eta, latency, gap, smoothness, level, variance],
    )


def _attained(taken: sympy.Expr, noisy: sympy.Expr) -> Derivation:
    """L w^2 / 2, ||G_1||^2 above epsilon, X in {0, 1 + eta^2}: the goal is hit at a geometric time."""
    stay = eta**2 / (1 + eta**2)
    value = 1 + eta**2
    yield identity(r"E X = 1", (1 - stay) * value, 1)
    yield identity(r"\mathrm{Var} X = \eta^2", (1 - stay) * value**2 - 1, eta**2)
    yield identity(
        r"G_2 = G_1(1 - \alpha L X) = 0 \text{ at } X = 1+\eta^2",
        1 - best_step_size(smoothness, eta) * smoothness * value,
        0,
    )
    yield identity(
        r"E\,T = 1/P(X \ne 0) = 1+\eta^2",
        1 / (1 - stay),
        value,
        "sigma^2 = eta^2 ||G_1||^2 = 2 L Delta eta^2, so that the batch is 1: samples = steps",
    )
    closest = level / (2 * smoothness)
    for name, bound in (("K", taken), ("N", noisy.subs(variance, 2 * smoothness * gap * eta**2))):
        yield identity(rf"{name} \to 1+\eta^2, \quad \Delta \to \epsilon/(2L)", bound.subs(gap, closest), value)


@proves(
    "norm test with a floor",
    "SGD under the norm test with a floor",
    r"If the batches meet $\mathrm{tr}\,\Sigma_k/b_k \le \eta^2\max(\|G_k\|^2, f^2)$ at every step and $0 < "
    r"\alpha < 2/(L(1+\eta^2))$, then $\frac1K\sum_k E\|G_k\|^2 \le (\Delta/K + "
    r"\tfrac12L\alpha^2\eta^2f^2)/(\alpha(1-\alpha L(1+\eta^2)/2))$; the smallest such batches have $b_k \le "
    r"\max(1, \lceil\sigma^2/(\eta^2f^2)\rceil)$.",
    source="this project",
    uses=("SGD",),
)
def floored_test() -> Derivation:
    """The variance exceeds that of the plain test by at most eta^2 f^2."""
    found = theory.floored_bound(PROBLEM, step_size=alpha, eta=eta, floor=floor)
    descent = descent_per_step(smoothness, alpha, eta)
    allowed = sympy.Symbol("V", nonnegative=True)
    expected = alpha * square - smoothness * alpha**2 / 2 * (square + allowed)
    paid = smoothness * alpha**2 / 2 * eta**2 * floor**2
    yield by_lemma(r"\text{the descent lemma with a variance } V", sgd_theorem)
    for name, shift in ((r"\|G\| \ge f", {square: floor**2 + excess}), (r"\|G\| \le f", {})):
        largest = square if shift else floor**2
        yield nonnegative(
            rf"\eta^2(\|G\|^2+f^2) - \eta^2\max(\|G\|^2,f^2) \ge 0, \; {name}",
            (eta**2 * (square + floor**2) - eta**2 * largest).subs(shift),
            [eta, floor, square, excess],
        )
    yield identity(
        r"V = \eta^2(\|G\|^2+f^2): \; \text{descent}\cdot\|G\|^2 - \tfrac12L\alpha^2\eta^2f^2",
        expected.subs(allowed, eta**2 * (square + floor**2)),
        descent * square - paid,
    )
    yield identity(
        r"K\cdot\text{descent}\cdot\text{bound} = \Delta + K\cdot\tfrac12L\alpha^2\eta^2f^2",
        steps * descent * found.value,
        gap + steps * paid,
        "summed over k = 1..K",
    )
    asked = variance / (eta**2 * (floor**2 + excess))
    yield nonnegative(
        r"\sigma^2/(\eta^2f^2) \ge \sigma^2/(\eta^2\max(\|G\|^2,f^2))",
        asked.subs(excess, 0) - asked,
        [variance, eta, floor, excess],
        reason="at every step, after any course of the run",
    )
