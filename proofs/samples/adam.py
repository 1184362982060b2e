r"""Steps and samples of Adam under the l1 test, from Theorem 3's inequality stopped at the goal."""

from __future__ import annotations

import sympy

from proofs.adam.multipliers import ENERGY, NORMS_S
from proofs.adam.symbols import BETAS, C_M, PROBLEM, alpha, gap, noise, steps
from proofs.composition import Assumption, Ground, assumed, cite, composed, granted, stated, summed
from proofs.l1.theorem3 import COSTS_S, NEEDED, STEP_IS, theorem_3
from proofs.relations import Range, Relation, named
from proofs.steps import Derivation, Step, all_of, identity, nonnegative, prose, proves, vanishing
from theory.l1.theorem3 import bound_terms
from theory.samples import adam as theory

__all__ = ["floored_l1_test", "samples_of_adam"]

gain, weight, lipschitz, start, size = sympy.symbols("J lambda Lambda P C_m", positive=True)
level, time, total, kept, floor = sympy.symbols("epsilon T S kappa f", positive=True)
excess = sympy.Symbol("h", nonnegative=True)
stopped = named("E_T", "E[T]", nonnegative=True)
MOVED = theory.drift(PROBLEM, size, lipschitz)


@proves(
    "samples of Adam",
    "Adam under the l1 test to a goal: steps and samples",
    r"Let a certificate of the kind l1 be given, let Adam take a step size with $\alpha LdM < "
    r"(J-\lambda\eta)\epsilon$ and the smallest batches that pass the l1 norm test, and let $T$ be the number "
    r"of steps before the first $k$ with $\|G_k\|_1 \le \epsilon$. Then $E\,T \le "
    r"(\Delta/\alpha+P)/((J-\lambda\eta)\epsilon-\alpha LdM)$ and $E\sum_{k\le T}b_k \le E\,T\,\max(1,\lceil "
    r"s^2/(\eta\epsilon)^2\rceil)$. At $P = 0$ and the best step size $\alpha^* = (J-\lambda\eta)\epsilon/(2LdM)$ "
    r"the second bound, with $s^2/(\eta\epsilon)^2$ for the last factor, is least at $\eta = J/(2\lambda)$.",
    source="this project",
    uses=("Theorem 3 (given a certificate)",),
)
def samples_of_adam() -> Derivation:
    """Theorem 3's sums stopped at T, and the best step size and eta."""
    yield prose(
        r"\text{all sums over } k \le T\wedge K \text{ in place of } k \le K",
        "{k <= T} is known before step k, so each step's conditional inequality is multiplied by its indicator; "
        "K -> oo by monotone convergence",
    )
    moved = alpha * theory.drift(PROBLEM, C_M, lipschitz) * stopped
    size_1 = named("G_k_l1", r"\|G_k\|_1", nonnegative=True)
    large = yield stated(assumed(Relation(size_1, ">=", level), Assumption.STOPPED))
    before = yield summed(
        large, {size_1: NORMS_S}, count=stopped, reason="summed over the first T steps, in expectation"
    )
    yield composed(
        Relation(
            theory.kept_descent(gain, weight, noise) * level * stopped,
            "<=",
            gap / alpha + moved + start,
            STEP_IS,
            (*BETAS, Range(noise, 0, gain / weight)),
        ),
        (
            cite(theorem_3, {ENERGY: stopped}),
            assumed(Relation(COSTS_S, "<=", noise * NORMS_S), Assumption.L1_TEST),
            before,
        ),
        (NORMS_S, COSTS_S, stopped),
        NEEDED | {Assumption.L1_TEST, Assumption.STOPPED},
        reason="s_k = 1",
    )
    found = theory.expected_steps(gap, start, alpha, kept, level, MOVED)
    yield identity(
        r"\kappa\epsilon\,E\,T = \Delta/\alpha + \alpha\,E[T]\,LdM + P \text{ at the bound}",
        kept * level * found,
        gap / alpha + alpha * found * MOVED + start,
        "kappa = J - lambda eta; S >= epsilon E T; the bound solves the inequality for E T",
    )
    best = theory.best_step_size(kept, level, MOVED)
    yield identity(
        r"\alpha = \kappa\epsilon/(2LdM): \; 4LdM\Delta/(\kappa\epsilon)^2 + 2P/(\kappa\epsilon)",
        theory.expected_steps(gap, start, best, kept, level, MOVED),
        4 * MOVED * gap / (kept * level) ** 2 + 2 * start / (kept * level),
    )
    yield _best(best)
    eta = sympy.Symbol("eta", positive=True)
    objective = eta * theory.kept_descent(gain, weight, eta)
    yield vanishing(
        r"\frac{d}{d\eta}\,\eta(J-\lambda\eta) = 0 \text{ at } J/(2\lambda); \; \text{second derivative } "
        r"-2\lambda",
        lambda: [
            sympy.diff(objective, eta).subs(eta, theory.best_eta(gain, weight)),
            sympy.diff(objective, eta, 2) + 2 * weight,
        ],
        "samples go like (eta (J - lambda eta))^-2",
    )


def _best(best: sympy.Expr) -> Step:
    """alpha (kappa epsilon - alpha LdM), which divides Delta, is a parabola with its top at the best alpha."""
    parabola = alpha * (kept * level - alpha * MOVED)
    return identity(
        r"\alpha(\kappa\epsilon-\alpha LdM) = \text{its value at the best} - LdM(\alpha-\alpha^*)^2",
        sympy.expand(parabola),
        sympy.expand(parabola.subs(alpha, best) - MOVED * (alpha - best) ** 2),
        "P = 0: no other step size is better",
    )


@proves(
    "l1 test with a floor",
    "Theorem 3 under the l1 test with a floor",
    r"If the batches meet $\sum_i \mathrm{sd}_{k,i} \le \eta\max(\|G_k\|_1, f)$ at every step, then Theorem "
    r"3's bound on $\frac1K\sum_kE\|G_k\|_1$ holds with $\lambda\eta f/(J-\lambda\eta)$ added to it; the "
    r"smallest such batches have $b_k \le \max(1,\lceil s^2/(\eta f)^2\rceil)$.",
    source="this project",
    uses=("Theorem 3 (given a certificate)",),
)
def floored_l1_test() -> Derivation:
    """The deviations exceed those of the plain test by at most eta f per step."""
    right = sum(bound_terms(PROBLEM, alpha, lipschitz, size).values()) + start
    left = gain * total - weight * noise * (total + steps * floor)
    remaining = theory.kept_descent(gain, weight, noise)
    by_case = []
    for case, largest in ((r"\|G\|_1 \ge f", floor + excess), (r"\|G\|_1 \le f", floor)):
        by_case += [
            nonnegative(
                rf"\|G\|_1 + f - \max(\|G\|_1, f) \ge 0, \; {case}",
                (largest if largest is not floor else excess) + floor - largest,
                [floor, excess],
                reason="summed: the deviations are at most eta (S + K f)",
            )
        ]
    yield from all_of(*by_case)
    right_side = sum(bound_terms(PROBLEM, alpha, lipschitz, C_M, ENERGY).values()) + start
    with_floor = right_side + weight * noise * steps * floor
    yield composed(
        Relation(theory.kept_descent(gain, weight, noise) * NORMS_S, "<=", with_floor, STEP_IS, BETAS),
        (
            cite(theorem_3),
            granted(Relation(COSTS_S, "<=", noise * (NORMS_S + steps * floor)), Ground.EXPECTATION, *by_case),
        ),
        (NORMS_S, COSTS_S),
        NEEDED,
    )
    yield identity(
        r"J S - \lambda\eta(S+Kf) = \text{right side at } S = \frac{\text{right side}}{J-\lambda\eta} + "
        r"K\frac{\lambda\eta f}{J-\lambda\eta}",
        left.subs(total, right / remaining + steps * theory.floor_cost(gain, weight, noise, floor)),
        right,
    )
    noisy = sympy.Symbol("s", positive=True)
    asked = noisy**2 / (noise * (floor + excess)) ** 2
    yield nonnegative(
        r"s^2/(\eta f)^2 \ge s^2/(\eta\max(\|G\|_1,f))^2",
        asked.subs(excess, 0) - asked,
        [noisy, noise, floor, excess],
    )
