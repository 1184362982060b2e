r"""The named sums over a run that compositions are about, and their terms; each is defined by its LaTeX.

A sum is a SymPy symbol (or an undefined function of a parameter), so that a relation between sums is an ordinary
expression, linear in them. Lower-case names are the terms of one step (and coordinate), upper-case their sums over
k = 1..K (and i = 1..d) in expectation.
"""

from __future__ import annotations

import sympy

from proofs.relations import named

__all__ = [
    "ALIGNED",
    "DENOMINATORS",
    "DEVIATIONS",
    "FROZEN",
    "MOMENTS",
    "NORMS",
    "PRECONDITIONED",
    "PROGRESS",
    "SQUARES",
    "aligned",
    "denominator",
    "deviation",
    "epsilon",
    "frozen",
    "length",
    "moved",
    "norm",
    "normalized",
    "own_moved",
    "past",
    "preconditioned",
    "progress",
    "response",
    "response_e",
    "root_moment",
    "root_of_one",
    "root_of_one_e",
    "square",
    "travelled",
]


epsilon = named("epsilon", r"\epsilon", nonnegative=True)
"""Outside the root, in every step: u_k = m_k / (sqrt(v_k) + epsilon). It may grow from step to step."""

PROGRESS = named("I_sum", r"{\textstyle\sum_k} E\langle G_k, u_k\rangle", real=True)
"""I = sum_k E<G_k, u_k>, u_k = m_k / (sqrt(v_k) + epsilon) the step per alpha."""
SQUARES = named("N_sum", r"{\textstyle\sum_k} E\|u_k\|^2", nonnegative=True)
FROZEN = named(
    "F_sum",
    r"{\textstyle\sum_k\sum_{j\le k}}\beta_1^{k-j} E\langle G_j, g_j/(\sqrt{v_k}+\epsilon)\rangle",
    real=True,
)
ALIGNED = sympy.Function("W")
"""W(rho) = sum_j sum_i E[(G_j g_j)^+ - rho (G_j g_j)^-] / (sqrt(v_j) + epsilon)."""
PRECONDITIONED = named("Q_sum", r"{\textstyle\sum_{k,i}} E[G_{k,i}^2/(\sqrt{D_{k,i}}+\epsilon)]", nonnegative=True)
DENOMINATORS = named("R_sum", r"{\textstyle\sum_{k,i}} E(\sqrt{D_{k,i}}+\epsilon)", nonnegative=True)
NORMS = named("S_sum", r"{\textstyle\sum_k} E\|G_k\|_1", nonnegative=True)
DEVIATIONS = named("SD_sum", r"{\textstyle\sum_k\sum_i} E\,\mathrm{sd}_{k,i}", nonnegative=True)
MOMENTS = named("T_rms", r"{\textstyle\sum_k\sum_i} E\sqrt{E_k g_{k,i}^2}", nonnegative=True)

progress = named("i_term", r"\langle G_k, u_k\rangle", real=True)
square = named("u_term", "u_{k,i}^2", nonnegative=True)
frozen = named("f_term", r"\theta_j G_jg_j", real=True)
aligned = named("w_term", r"E_k[(G_kg_k)^+ - \rho(G_kg_k)^-]/(\sqrt{v_k}+\epsilon)", real=True)
preconditioned = named("q_term", r"G_k^2/(\sqrt{D_k}+\epsilon)", nonnegative=True)
denominator = named("r_term", r"(\sqrt{D_k}+\epsilon)", nonnegative=True)
norm = named("s_term", "|G_k|", nonnegative=True)
deviation = named("sd_term", r"\mathrm{sd}_k", nonnegative=True)
root_moment = named("rms_term", r"\sqrt{E_k g_k^2}", nonnegative=True)
past = named(
    "past", r"{\textstyle\sum_{j\le k}}\beta_1^{k-j} \langle G_j, g_j/(\sqrt{v_k}+\epsilon)\rangle", real=True
)
length = named("u_norm", r"\|u_k\|", nonnegative=True)
travelled = named("travelled", r"{\textstyle\sum_n} r^n\|w_k - w_{k-n}\|", nonnegative=True)

moved = named("moved", r"\|w_k - w_{k-n}\|", nonnegative=True)
"""How far n steps lead."""
own_moved = named("own_moved", r"\|{\textstyle\sum_{j=k-n}^{k-1}} \alpha u_j\|", nonnegative=True)
"""The same where the steps are Adam's own."""
normalized = named("normalized", r"\|g_{k-n}/(\sqrt{v_k}+\epsilon)\|", nonnegative=True)
"""A gradient of n steps ago, by today's denominator."""

response = sympy.Function("f", real=True)
"""Of lemma L5: f(rho) = E f_s(X), f_s(x) = x / sqrt(s + x^2) for x >= 0, rho times that for x < 0."""
root_of_one = named("root_of_one", r"1/\sqrt{s+1}", nonnegative=True)
response_e = sympy.Function("f_e", real=True)
"""With epsilon: f_e(rho) = E f_{s,e}(X), f_{s,e}(x) = x / (sqrt(s + x^2) + e) for x >= 0, rho times that else."""
root_of_one_e = named("root_of_one_e", r"1/(\sqrt{s+1}+e)", nonnegative=True)
