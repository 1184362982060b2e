r"""Coordinate AdaGrad under the coordinate-wise norm test: L5 at rho = 1, and a telescoping logarithm."""

from __future__ import annotations

from collections.abc import Generator

import sympy

from proofs.adam.descent import descent_lemma
from proofs.adam.l5_key_inequality import lemma_l5, rho
from proofs.adam.symbols import PROBLEM, alpha
from proofs.calculus import increasing
from proofs.composition import Assumption, Conclusion, cite, composed, summed
from proofs.relations import Range, Relation, equation, named
from proofs.steps import Derivation, Step, identity, proves
from proofs.sums import PROGRESS, SQUARES, response, root_of_one, square
from theory.adam.constants import alignment_at
from theory.adam.key_inequality import normalized_response
from theory.other_optimizers.adagrad import largest_admissible_eta, preconditioned_sum_bound

__all__ = ["adagrad_theorem"]

eta = named("eta", r"\eta", nonnegative=True)
u = sympy.Symbol("u", nonnegative=True)
old = sympy.Symbol("v_{k-1}", positive=True)
bounded = named("Qbar", r"\bar Q", positive=True)
LOGARITHM = named("H", r"{\textstyle\sum_i} E\log(v_{K,i}/v_{0,i})", nonnegative=True)
Q = named("Q_ada", r"{\textstyle\sum_{k,i}} E[G_{k,i}^2/\sqrt{v_{k-1,i}+G_{k,i}^2}]", nonnegative=True)
gap = named("log_gap", r"\ell_k", nonnegative=True)
before, after = named("log_before", r"\log v_{k-1}", real=True), named("log_after", r"\log v_k", real=True)
term = named("q_ada", r"G_k^2/\sqrt{v_{k-1}+G_k^2}", nonnegative=True)
response_term = named("i_ada", r"E_k[G_kg_k]/\sqrt{v_k}", real=True)
RANGES = (Range(eta, 0, 1, power=2, strict=True),)
NEEDED = frozenset({Assumption.SMOOTH, Assumption.BOUNDED_BELOW, Assumption.UNBIASED, Assumption.KNOWN_BEFORE})
NEEDED |= {Assumption.COORDINATE_TEST}
BOUND = preconditioned_sum_bound(PROBLEM, step_size=alpha, eta=eta, log_growth=LOGARITHM).value


@proves(
    "AdaGrad",
    "coordinate AdaGrad under the coordinate-wise norm test",
    r"For AdaGrad, which computes $v_k = v_{k-1} + g_k^2$ from a fixed $v_0 > 0$ and takes the steps $\alpha "
    r"g_k/\sqrt{v_k}$ in each coordinate:",
    concludes=(Conclusion(Relation(Q, "<=", bounded, {bounded: BOUND}, RANGES), NEEDED),),
    source="lemma L5 at rho = 1",
    uses=("descent lemma", "L5"),
)
def adagrad_theorem() -> Derivation:
    """The bound, and kappa at rho = 1."""
    aligned = yield from _aligned()
    size = yield from _logarithm()
    yield composed(
        Relation(
            Q,
            "<=",
            bounded,
            {bounded: preconditioned_sum_bound(PROBLEM, step_size=alpha, eta=eta, log_growth=LOGARITHM).value},
            RANGES,
        ),
        (cite(descent_lemma), aligned, size),
        (PROGRESS, SQUARES, Q),
        NEEDED,
    )
    of_eta = alignment_at(1, eta) * (1 + eta**2)
    yield identity(r"(1+\eta^2)\kappa = 1-\eta^2 \text{ at } \rho = 1: \text{ the function}", of_eta, 1 - eta**2)
    supremum = sympy.nsimplify(largest_admissible_eta())
    yield identity(r"\kappa = 0 \text{ at the supremum of the admissible } \eta", alignment_at(1, supremum), 0)


def _aligned() -> Generator[Step, Step, Step]:
    """E_k[G g / sqrt(v)] >= kappa G^2 / sqrt(v_{k-1} + G^2): L5 at rho = 1, in units of |G|."""
    true, ratio = sympy.symbols("|G_k| X", positive=True)
    s = old / true**2
    yield equation(
        (true * ratio * true) ** 2 / (old + (ratio * true) ** 2),
        (true * normalized_response(ratio, s)) ** 2,
        "X = g / G, s = v_{k-1} / G^2; both roots have the sign of X",
    )
    terms = yield equation(
        response_term, true * response(sympy.Integer(1)), where={response_term: true * response(sympy.Integer(1))}
    )
    yield equation(true**4 / (old + true**2), (true / sympy.sqrt(s + 1)) ** 2, "and at X = 1")
    at_one = yield equation(term, true * root_of_one, "its root", {term: true * root_of_one})
    each = yield composed(
        Relation(response_term, ">=", alignment_at(1, eta) * term, ranges=RANGES),
        (terms, at_one, cite(lemma_l5, {rho: sympy.Integer(1)})),
        (response_term, term, response(sympy.Integer(1)), root_of_one),
        NEEDED,
    )
    total = yield summed(each, {response_term: PROGRESS, term: Q})
    return total


def _logarithm() -> Generator[Step, Step, Step]:
    """g_k^2 / v_k <= log(v_k / v_{k-1}), which telescopes."""
    log_gap = sympy.log(1 + u) - 1 + 1 / (1 + u)
    yield equation((u * old) / (old + u * old), 1 - 1 / (1 + u), "g_k^2 / v_k, where v_k = (1 + u) v_{k-1}")
    least = yield increasing(Relation(gap, ">=", 0, {gap: log_gap}, (Range(u),)), u)
    split = yield equation(
        gap,
        after - before - square,
        "so the gap between log(v_k / v_{k-1}) and g_k^2 / v_k is not negative",
        {gap: log_gap, square: 1 - 1 / (1 + u), after: sympy.log(1 + u) + before},
    )
    each = yield composed(Relation(square, "<=", after - before), (split, least), (square, after, before, gap))
    total = yield summed(
        each, {square: SQUARES, after: LOGARITHM, before: sympy.Integer(0)}, reason="the logarithms telescope"
    )
    return total
