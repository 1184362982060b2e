r"""What epsilon and a floor of the test cost in Theorem 3 and its twin."""

from __future__ import annotations

import sympy

from proofs.adam.l1_step import lemma_l1
from proofs.adam.symbols import BETA1, BETA2
from proofs.l1.theorem3 import SOURCE, certificate_potential, certificate_telescoping
from proofs.steps import Derivation, by_lemma, identity, nonnegative, prose, proves
from theory.adam.constants import normalized_step_bound
from theory.l1 import costs as theory
from theory.l1.costs import Kind

__all__ = ["epsilon_cost", "floor_cost", "variance_as_deviation"]

deviation, size, extra, share = sympy.symbols("x G t q", nonnegative=True)
weight, root_c = sympy.symbols("lambda c", positive=True)


# ----------------------------------------------------------------------------------------------------
# A floor of the test.


@proves(
    "variance certificate as an l1 certificate",
    "a variance certificate is an l1 certificate with a larger noise weight",
    r"If $E[z'+h(z',s')] + \lambda\,\mathrm{Var}(X) \ge J + h(z,s)$ for every law with mean 1, then "
    r"$E[z'+h(z',s')] + \kappa\,\mathrm{sd}(X) \ge J + h(z,s)$ with $\kappa = (b + \sqrt{b^2 + 4\lambda p})/2$, "
    r"$b = C\sqrt c$, $p = J + D$, $D = C_m + 2\Lambda + C\sqrt c$.",
    source=SOURCE,
    uses=("certificate potential", "L1"),
)
def variance_as_deviation() -> Derivation:
    """No law takes more than D + C sqrt(c) x, and min(lambda x^2, p + b x) <= kappa x."""
    lipschitz, root, slope, over = sympy.symbols("Lambda p C e", positive=True)
    c_m = normalized_step_bound(BETA1, BETA2)
    drop = slope * sympy.sqrt(1 - BETA2)
    yield by_lemma(r"z' \ge -C_m", lemma_l1)
    yield by_lemma(
        r"|h(z,s) + C\sqrt s| \le \Lambda",
        certificate_potential,
        reason="Phi at G = 1 and at G = 0, where it is -C sqrt(v)",
    )
    yield nonnegative(
        r"\sqrt{\beta_2 s + cX^2} \le \sqrt s + \sqrt c\,|X|, \text{ squared}",
        (root + root_c * size) ** 2 - (root**2 / (1 + extra) ** 2 + root_c**2 * size**2),
        [root, size, extra, root_c],
        reason="where sqrt(beta2) = 1/(1+t); and E|X| <= 1 + x",
    )
    yield identity(
        r"-C_m - C(\sqrt s + \sqrt c\,(1+x)) - \Lambda - (-C\sqrt s + \Lambda) = -D - C\sqrt c\,x",
        -c_m - slope * root - drop * (1 + deviation) - lipschitz + slope * root - lipschitz,
        -theory.worst_loss(BETA1, BETA2, slope, lipschitz) - drop * deviation,
    )
    b, p = sympy.symbols("b p", positive=True)
    kappa = theory.deviation_weight(weight, b, p)
    yield identity(r"\kappa^2 = b\kappa + \lambda p", kappa**2, b * kappa + weight * p)
    # With kappa = b + e: p = kappa e / lambda.
    larger = b + over
    yield nonnegative(
        r"\lambda x^2 \le \kappa x \text{ for } x = \kappa/(\lambda(1+t))",
        larger * (larger / (weight * (1 + extra))) - weight * (larger / (weight * (1 + extra))) ** 2,
        [b, over, extra, weight],
    )
    yield nonnegative(
        r"p + bx \le \kappa x \text{ for } x = \kappa/\lambda + t, \; p = \kappa(\kappa-b)/\lambda",
        larger * (larger / weight + extra) - larger * over / weight - b * (larger / weight + extra),
        [b, over, extra, weight],
    )


@proves(
    "floors of the test",
    "Theorem 3 under a test with a floor for each coordinate",
    r"Theorem 3 holds with the term $\lambda\eta\sum_k s_k\sum_i\epsilon_i$ added on the right under "
    r"$\sum_k s_k E\sum_i\mathrm{sd}_{k,i} \le \eta\sum_k s_k E\sum_i(|G_{k,i}|+\epsilon_i)$ (l1), and with "
    r"$\kappa\eta\sum_k s_k\sum_i\epsilon_i$ under $\mathrm{sd}_{k,i}^2 \le \eta^2\max(G_{k,i}^2, \epsilon_i^2)$ "
    r"(variance).",
    source=SOURCE,
    uses=("variance certificate as an l1 certificate", "certificate telescoping"),
)
def floor_cost() -> Derivation:
    """Above its floor a coordinate meets the strict test; below it, its deviation is at most eta eps_i."""
    eta, floor, kappa, gain = sympy.symbols("eta epsilon kappa J", nonnegative=True)
    yield by_lemma(r"\text{one step of the potential, for either form of the inequality}", certificate_telescoping)
    yield by_lemma(
        r"|G_i| < \epsilon_i: \; E_k[Gm_k/\sqrt{v_k} + \Phi_k(G)] - \Phi_{k-1}(G) \ge J|G| - \kappa\,\mathrm{sd}",
        variance_as_deviation,
        reason="at G = 0, where there may be noise now, because kappa >= C sqrt(c)",
    )
    strict = theory.kept_gain(Kind.VARIANCE, gain, weight, eta) * size
    yield nonnegative(
        r"J|G| - \kappa\,\mathrm{sd} \ge (J - \lambda\eta^2)|G| - \kappa\eta\epsilon_i \text{ for } "
        r"\mathrm{sd} = \eta\epsilon_i - t",
        (gain * size - kappa * (eta * floor - extra)) - (strict - kappa * eta * floor),
        [gain, size, kappa, eta, floor, weight, extra],
    )
    loss = gain - theory.kept_gain(Kind.L1, gain, weight, eta)
    yield identity(
        r"\lambda\eta(\|G\|_1 + \sum_i\epsilon_i) = (J - J')\|G\|_1 + \lambda\eta\sum_i\epsilon_i",
        weight * eta * (size + floor),
        loss * size + weight * eta * floor,
    )


# ----------------------------------------------------------------------------------------------------
# Epsilon outside the root.


@proves(
    "epsilon in Theorem 3",
    "Theorem 3 for Adam with epsilon outside the root",
    r"For $\epsilon > 0$ and every $q \in (0,1)$ Theorem 3 holds with $J' - C_m p_q(\eta)$ for $J'$ and the term "
    r"$\sum_k s_k\,(d\,C_m\epsilon/(q\sqrt c))$ added on the right, where $p_q(\eta) = \eta^2/(\eta^2+(1-q)^2)$ "
    r"(variance), and $\eta/(2(1-q))$ up to $\eta = 1-q$, that above it (l1). With floors, also "
    r"$C_m\sum_k s_k\sum_i\epsilon_i$ (variance) or $C_m\eta/(2(1-q))$ times it (l1).",
    source=SOURCE,
    uses=("L1", "certificate telescoping", "floors of the test"),
)
def epsilon_cost() -> Derivation:
    """m/(sqrt(v) + eps) against m/sqrt(v): little is lost where X > q, and X <= q costs deviation."""
    eps, root, gap, u, eta, other = sympy.symbols("epsilon v a u eta y", positive=True)
    c_m, kept = normalized_step_bound(BETA1, BETA2), 1 / (1 + share)
    yield by_lemma(r"|m_k| \le C_m\sqrt{v_k}", lemma_l1)
    yield by_lemma(r"\text{the steps } m_k/\sqrt{v_k} \text{ with the same } m, v", certificate_telescoping)
    yield identity(
        r"\frac m{\sqrt v} - \frac m{\sqrt v+\epsilon} = \frac m{\sqrt v}\,\frac\epsilon{\sqrt v+\epsilon}",
        1 / root - 1 / (root + eps),
        eps / (root + eps) / root,
    )
    yield nonnegative(
        r"X > q: \; \sqrt v \ge \sqrt c\,q|G|, \text{ so } |G|\,\frac\epsilon{\sqrt v+\epsilon} \le "
        r"\frac\epsilon{q\sqrt c}",
        eps / (kept * root_c) - size * eps / (root_c * kept * size + extra + eps),
        [eps, size, extra, root_c, share],
        reason="sqrt(v) = sqrt(c) q G + t, c for sqrt(c), q = 1/(1+q')",
    )
    yield identity(
        r"\text{the cost of a step is } C_m\epsilon/(q\sqrt c)",
        theory.epsilon_step(BETA1, BETA2, eps, share),
        c_m * eps / (share * sympy.sqrt(1 - BETA2)),
    )
    yield from _cantelli(gap, u)
    yield from _concave(gap, eta, other)
    yield prose(
        r"\sum_k s_k E\sum_i |G|\,p_q(x) \le p_q(\eta)\sum_k s_k E\|G_k\|_1, \quad x = \mathrm{sd}/|G|",
        "Jensen, with weights s_k |G_{k,i}| / S, for the concave majorant; it increases",
    )
    yield prose(
        r"\text{floors: } |G|\,P(X \le q) \le |G| < \epsilon_i \text{ (variance)}; \quad "
        r"M(\eta + \delta) \le M(\eta) + \delta/(2(1-q)) \text{ for the concave majorant (l1)}",
        "below its floor a coordinate is left out of the average; M' is largest at 0",
    )


def _cantelli(gap: sympy.Symbol, u: sympy.Symbol) -> Derivation:
    """P(X <= q) <= x^2 / (x^2 + a^2), a = 1 - q."""
    eta = sympy.Symbol("x", positive=True)
    best = eta**2 / gap
    yield nonnegative(
        r"X - 1 = -a - t: \; (u - (X-1))^2 \ge (a+u)^2",
        (u + gap + extra) ** 2 - (gap + u) ** 2,
        [u, gap, extra],
        reason="Markov's inequality for (u - (X - 1))^2, whose mean is x^2 + u^2",
    )
    yield identity(
        r"\frac{x^2+u^2}{(a+u)^2} = p_q(x) \text{ at } u = x^2/a",
        (eta**2 + best**2) / (gap + best) ** 2,
        theory.small_step_share(Kind.VARIANCE, eta, 1 - gap),
    )


def _concave(gap: sympy.Symbol, eta: sympy.Symbol, other: sympy.Symbol) -> Derivation:
    """x^2 / (x^2 + a^2) is concave in x^2; in x its majorant is the tangent from the origin, then itself."""
    chance = theory.small_step_share(Kind.VARIANCE, eta, 1 - gap)
    moved = chance.subs(eta, other)
    slope = sympy.diff(chance, eta) / (2 * eta)
    yield identity(
        r"p_q(\eta) + \frac{dp_q}{d\eta^2}(y^2-\eta^2) - p_q(y) = "
        r"\frac{a^2(y^2-\eta^2)^2}{(\eta^2+a^2)^2(y^2+a^2)} \ge 0",
        chance + slope * (other**2 - eta**2) - moved,
        gap**2 * (other**2 - eta**2) ** 2 / ((eta**2 + gap**2) ** 2 * (other**2 + gap**2)),
    )
    line, above = theory.small_step_share(Kind.L1, eta, 1 - gap).args
    yield identity(
        r"\frac x{2a} - p_q(x) = \frac{x(x-a)^2}{2a(x^2+a^2)} \ge 0",
        line[0] - above[0],
        eta * (eta - gap) ** 2 / (2 * gap * (eta**2 + gap**2)),
        "the line touches at x = a, where the l1 form changes",
    )
    yield nonnegative(
        r"-\frac{d^2}{dx^2}p_q(x) \ge 0 \text{ for } x = a + t",
        -sympy.diff(above[0], eta, 2).subs(eta, gap + extra),
        [gap, extra],
    )
