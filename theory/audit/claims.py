r"""Every claim of the paper that this project examined, with its verdict and what checks it.

Problem:
    Lau et al. state a norm test, estimators for it, an algorithm and a theorem on Adam. Which of these
    statements hold, which hold once corrected, which fail?

Algorithm:
    :data:`CLAIMS` lists them in the paper's order. ``claim.check()`` computes a
    :class:`~theory.audit.evidence.ClaimEvidence`: the numbers on both sides of what the statement asserts, from
    which a verdict is derived. ``claim.verdict`` is the verdict on record; a check that comes to another one is
    a failure (``adabatch claims --run`` exits with 1).

    Where a statement holds, numbers alone do not establish it: ``claim.proofs`` names the machine-checked proofs.

References:
    Lau, Li, Xu, Liu, Kolar, "Adaptive Batch Size Schedules for Distributed Training of Language Models with Data
    and Model Parallelism", CPAL 2025, PMLR 280:278-304, arXiv 2412.21124.

Example:
    >>> claim = find_claim("Eq. 2")
    >>> str(claim.verdict), claim.check().headline
    ('holds corrected', 'variance of the mean over the mean left-hand side, n=4, b=2: 0.75 != 1')
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from theory.audit.checks.adam_lemmas import (
    descent_leading_term,
    momentum_sum,
    preconditioner_sum,
    step_bounds,
)
from theory.audit.checks.adam_theorem import beta_condition, rate, theorem_bound
from theory.audit.checks.algorithm import enforced_at_the_step, sample_counter, started_from_zero
from theory.audit.checks.norm_conditions import (
    coordinate_wise_growth,
    inner_product_equivalence,
    scalar_implies_coordinate_wise,
)
from theory.audit.checks.scalar_divergence import descent_under_scalar_test
from theory.audit.checks.sharpness import any_eta_below_one, eta_at_the_usual_betas
from theory.audit.checks.training_extras import descent_under_clipping, stationarity_under_weight_decay
from theory.audit.checks.variance_estimators import (
    finite_population_factor,
    plug_in_denominator,
    saturation,
    variance_of_workers,
)
from theory.audit.evidence import ClaimEvidence, Verdict

__all__ = ["CLAIMS", "Basis", "Claim", "find_claim"]


class Basis(StrEnum):
    """What a verdict rests on."""

    PROOF = "proof"
    ENUMERATION = "enumeration"
    COUNTEREXAMPLE = "counterexample"
    CLOSED_FORM = "closed form"
    SIMULATION = "simulation"


@dataclass(frozen=True)
class Claim:
    """One statement.

    Attributes:
        place: where the paper makes it, and the claim's name here: ``"Eq. 5"``, ``"Lemma B.2"``.
        statement: in plain words, as published.
        latex: as published, in LaTeX.
        verdict: on record.
        correction: the corrected statement or what is wrong, in plain words.
        methods: what the verdict rests on.
        check: computes the evidence; its keyword arguments are the parts of the statement.
        proofs: names of the proofs that establish what holds (see :mod:`proofs.registry`).
    """

    place: str
    statement: str
    latex: str
    verdict: Verdict
    correction: str
    methods: tuple[Basis, ...]
    check: Callable[..., ClaimEvidence]
    proofs: tuple[str, ...] = ()


CLAIMS: tuple[Claim, ...] = (
    Claim(
        place="Eq. 2",
        statement="The b-1 sample variance over b, times (n-b)/(n-1), estimates the variance of a batch mean "
        "drawn without replacement.",
        latex=r"$\mathbb{E}\Big[\frac{\|\mathrm{Var}_{i\in B}(\nabla\ell_i)\|_1}{b}\cdot\frac{n-b}{n-1}\Big]"
        r" = \mathbb{E}\|g_B-\nabla L\|^2$",
        verdict=Verdict.CORRECTED,
        correction="The factor is (n-b)/n; (n-b)/(n-1) belongs to the population variance.",
        methods=(Basis.ENUMERATION, Basis.PROOF),
        check=finite_population_factor,
        proofs=("Eq. 2",),
    ),
    Claim(
        place="Sec. 3.1",
        statement="A non-negative inner product of batch gradient and gradient is equivalent to the norm "
        "condition.",
        latex=r"$\langle g_B,\nabla L\rangle\ge 0 \iff \|g_B-\nabla L\|\le\eta\|\nabla L\|$",
        verdict=Verdict.CORRECTED,
        correction="Only the norm condition implies the inner product: <g, G> >= (1-eta)||G||^2.",
        methods=(Basis.COUNTEREXAMPLE, Basis.PROOF),
        check=inner_product_equivalence,
        proofs=("Sec. 3.1",),
    ),
    Claim(
        place="Eq. 3",
        statement="The approximate norm test, with the denominator ||g_B||^2, enforces the relative error eta.",
        latex=r"$\mathrm{tr}\,\hat\Sigma/b\le\eta^2\|g_B\|^2$ stands for "
        r"$\mathbb{E}\|g_B-\nabla L\|^2\le\eta^2\|\nabla L\|^2$",
        verdict=Verdict.CORRECTED,
        correction="It enforces eta/sqrt(1-eta^2) in expectation; give it eta/sqrt(1+eta^2), or subtract "
        "tr Sigma-hat / b from the denominator.",
        methods=(Basis.CLOSED_FORM, Basis.SIMULATION, Basis.PROOF),
        check=plug_in_denominator,
        proofs=("Eq. 3",),
    ),
    Claim(
        place="Eq. 5",
        statement="The variance of the J workers' gradients stands for the per-sample variance.",
        latex=r"$\frac1J\sum_j\|g_j-g_B\|^2 \approx \mathrm{tr}\,\Sigma$",
        verdict=Verdict.CORRECTED,
        correction="It is low by the factor (J-1)/b; b/(J-1) times it is unbiased.",
        methods=(Basis.CLOSED_FORM, Basis.SIMULATION, Basis.PROOF),
        check=variance_of_workers,
        proofs=("Eq. 5",),
    ),
    Claim(
        place="Alg. 1, growth",
        statement="The statistic T_k of the workers' variance asks for a larger batch as long as noise dominates.",
        latex=r"$T_k = \|\widehat{\mathrm{Var}}\|_1/(\eta^2\|g_k\|^2) > b_k$ where noise dominates",
        verdict=Verdict.CORRECTED,
        correction="In high dimension the published T_k saturates near (J-1)/eta^2 for every b (75 at J=4, "
        "eta=.2), and is 0 at J=1. With the unbiased variance T_k is about b_k/eta^2.",
        methods=(Basis.CLOSED_FORM, Basis.SIMULATION),
        check=saturation,
        proofs=("Fixed points",),
    ),
    Claim(
        place="Prop. 1",
        statement="The coordinate-wise exact-variance norm test gives coordinate-wise expected strong growth.",
        latex=r"$\mathbb{E}_k(g_{k,i}-G_{k,i})^2\le\eta^2G_{k,i}^2 \implies "
        r"\mathbb{E}_kg_{k,i}^2\le(1+\eta^2)G_{k,i}^2$",
        verdict=Verdict.HOLDS,
        correction="",
        methods=(Basis.PROOF, Basis.SIMULATION),
        check=coordinate_wise_growth,
        proofs=("Prop. 1",),
    ),
    Claim(
        place="Lemma B.1",
        statement="The sum of squared momenta over second moments is logarithmic, for 0 < beta1^2 < beta2.",
        latex=r"$0<\beta_1^2<\beta_2<1 \implies \sum_k\frac{c_k^2}{b_k}\le\frac{(1-\beta_1)^2}{(1-\beta_2)(1-r)^2}"
        r"\big(\log\frac{b_K}{b_0}-K\log\beta_2\big)$",
        verdict=Verdict.CORRECTED,
        correction="True for 0 <= beta1 < sqrt(beta2); the published range admits beta1 < 0, where it fails.",
        methods=(Basis.PROOF, Basis.COUNTEREXAMPLE),
        check=momentum_sum,
        proofs=("Lemma B.1",),
    ),
    Claim(
        place="Lemma B.2",
        statement="A step is at most alpha (1-beta1)/(sqrt(1-beta2) sqrt(1-beta1^2/beta2)), and that at most the "
        "same with beta1/beta2 in place of beta1^2/beta2.",
        latex=r"$|w_{k+1,i}-w_{k,i}|\le\frac{\alpha(1-\beta_1)}{\sqrt{1-\beta_2}\sqrt{1-\beta_1^2/\beta_2}}"
        r"\le\frac{\alpha(1-\beta_1)}{\sqrt{1-\beta_2}\sqrt{1-\beta_1/\beta_2}}$",
        verdict=Verdict.CORRECTED,
        correction="The first inequality holds. The second has no value where beta1 >= beta2; with 1 - r in place "
        "of sqrt(1-beta1/beta2) it holds.",
        methods=(Basis.PROOF, Basis.COUNTEREXAMPLE),
        check=step_bounds,
        proofs=("Lemma B.2",),
    ),
    Claim(
        place="Lemma B.3",
        statement="The descent inequality's leading term is a descent.",
        latex=r"leading term $-\,c\,\alpha\sum_i\varphi_k,\quad "
        r"\varphi_k=-\alpha\,\mathbb{E}\langle G_k,G_k/\sqrt{\tilde v_k}\rangle$",
        verdict=Verdict.FAILS,
        correction="phi must be +E<G, G/sqrt(vt)>, without -alpha and without the sum over i: as published the "
        "term is an ascent, quadratic in alpha, and counted d times.",
        methods=(Basis.CLOSED_FORM,),
        check=descent_leading_term,
    ),
    Claim(
        place="Lemma B.4",
        statement="The sum of E sqrt(vt_{k,i}) over k <= K+1 and i is at most Z.",
        latex=r"$\sum_{k\le K+1}\sum_i\mathbb{E}\sqrt{\tilde v_{k,i}}\le Z$",
        verdict=Verdict.FAILS,
        correction="x <= a + b log x gives 2a + 2b log(2b/e); the published logarithm can be negative, and Z too.",
        methods=(Basis.COUNTEREXAMPLE, Basis.PROOF),
        check=preconditioner_sum,
        proofs=("Lemma B.4, log step",),
    ),
    Claim(
        place="Thm B.1",
        statement="The sum of E||grad L(w_k)|| is at most (B.2), for any sigma > 0.",
        latex=r"$\sum_{k\le K}\mathbb{E}\|\nabla L(w_k)\|\le\sqrt{c_2+2c_1\textstyle\sum_i\log Z}\,\sqrt Z$",
        verdict=Verdict.FAILS,
        correction="The first term of c2 has lost the factor L(u_1) - inf L, and c1's third term has sigma where "
        "tau is meant. The corrected Theorem 1 holds in its place.",
        methods=(Basis.COUNTEREXAMPLE,),
        check=theorem_bound,
        proofs=("Theorem 1 (corrected)",),
    ),
    Claim(
        place="Thm 1, rate",
        statement="The sum of E||grad L(w_k)|| is O~(K).",
        latex=r"$\sum_{k\le K}\mathbb{E}\|\nabla L(w_k)\|\le\tilde{\mathcal O}(K)$",
        verdict=Verdict.VACUOUS,
        correction="It says nothing about convergence: the average stays O~(1). At alpha = K^-1/2, sigma = "
        "alpha/sqrt(1-beta2), v_0 = sigma^2 the corrected bound gives K^-1/2; the corrected Theorem 1 gives it at "
        "fixed betas and any v_0.",
        methods=(Basis.CLOSED_FORM,),
        check=rate,
        proofs=("Theorem 1 (corrected)",),
    ),
    Claim(
        place="Thm 1, betas",
        statement="The condition on the betas covers those of the experiments, (.9, .95); any beta2 in (0,1) "
        "will do.",
        latex=r"$0<\beta_1\le\sqrt{\beta_2}-8\tau^2(1-\beta_2)/\beta_2^2$ at $(\beta_1,\beta_2)=(.9,.95)$",
        verdict=Verdict.CORRECTED,
        correction="The right side is at most .531 there; beta1 = .9 needs beta2 >= .9885. The corrected "
        "condition eta^2 < 1 - beta1/sqrt(beta2) covers (.9, .95) for eta < .2768.",
        methods=(Basis.CLOSED_FORM,),
        check=beta_condition,
        proofs=("Theorem 1 (corrected)",),
    ),
    Claim(
        place="Thm 1, eta",
        statement="With momentum, as without, any eta < 1 will do: Adam descends at every admissible pair of "
        "betas.",
        latex=r"$\eta<1,\ 0\le\beta_1<\sqrt{\beta_2} \implies$ Adam descends under the coordinate-wise test",
        verdict=Verdict.CORRECTED,
        correction="At betas (.99e-4, 1e-8) noise that depends on the past drives Adam uphill from eta = .8965 "
        "on. Theorem 2 holds for every pair of betas at eta < .6733; the sharp constant free of the betas lies "
        "between. The paper does not claim it; its condition on the betas depends on eta.",
        methods=(Basis.COUNTEREXAMPLE, Basis.PROOF),
        check=any_eta_below_one,
        proofs=("Theorem 2", "Admissible eta"),
    ),
    Claim(
        place="Thm 1, eta in use",
        statement="At betas in use, such as (.9, .95), larger eta than Theorem 2 admits are safe too.",
        latex=r"$(\beta_1,\beta_2)=(.9,.95),\ \eta\ge.6844 \implies$ Adam descends under the coordinate-wise test",
        verdict=Verdict.OPEN,
        correction="Not known. No noise tried turns Adam around there. Theorem 3 gives eta up to 1.37 "
        "(the coordinate-wise test implies the l1 test), but rests on a numerical certificate.",
        methods=(Basis.SIMULATION,),
        check=eta_at_the_usual_betas,
    ),
    Claim(
        place="Sec. 4, test",
        statement="The exact-variance norm test (4) may stand in for the coordinate-wise test.",
        latex=r"$\mathbb{E}_k\|g_k-G_k\|^2\le\eta^2\|G_k\|^2 \implies "
        r"\mathbb{E}_k(g_{k,i}-G_{k,i})^2\le\eta^2G_{k,i}^2\ \forall i$",
        verdict=Verdict.FAILS,
        correction="It gives only Var_i <= eta^2 ||G||^2.",
        methods=(Basis.COUNTEREXAMPLE,),
        check=scalar_implies_coordinate_wise,
    ),
    Claim(
        place="Sec. 4, Adam",
        statement="Adam makes progress on a smooth convex function where the test (4) holds at every step.",
        latex=r"$\mathbb{E}_k\|g_k-G_k\|^2\le\eta^2\|G_k\|^2\ \forall k \implies$ Adam descends",
        verdict=Verdict.FAILS,
        correction="In high dimension Adam climbs under it: it amplifies exactly the coordinates that the scalar "
        "test does not see. The l1 norm test is enough, whatever the dimension.",
        methods=(Basis.COUNTEREXAMPLE, Basis.SIMULATION),
        check=descent_under_scalar_test,
        proofs=("scalar test",),
    ),
    Claim(
        place="Alg. 1, test",
        statement="Under Algorithm 1 the norm test holds at each iteration.",
        latex=r"$\mathbb{E}_k\|g_k-G_k\|^2\le\eta^2\|G_k\|^2$ for all $k$",
        verdict=Verdict.FAILS,
        correction="Batch k is tested only to choose b_{k+1}: the test is never enforced at step k.",
        methods=(Basis.COUNTEREXAMPLE, Basis.ENUMERATION),
        check=enforced_at_the_step,
    ),
    Claim(
        place="Alg. 1, counter",
        statement="The loop ends after N samples.",
        latex=r"$k\leftarrow k+1;\quad i\leftarrow i+b_k$",
        verdict=Verdict.CORRECTED,
        correction="k is increased first, so the next batch is counted; count b_k before.",
        methods=(Basis.ENUMERATION,),
        check=sample_counter,
    ),
    Claim(
        place="Alg. 1, start",
        statement="Algorithm 1 meets the hypotheses of Theorem B.1.",
        latex=r"$v_0 = 0$ in Algorithm 1, $\log(1/\sqrt{\beta_2v_{0,i}})$ in (B.2)",
        verdict=Verdict.FAILS,
        correction="It starts from v_0 = 0, where (B.2) has a logarithm of 0; b_1 is not tested, nor the batch "
        "at the cap. The corrected Theorem 1 takes any v_0 >= 0.",
        methods=(Basis.COUNTEREXAMPLE,),
        check=started_from_zero,
    ),
    Claim(
        place="Exp., clipping",
        statement="The theorem's guarantee carries over to the experiments, which clip gradients.",
        latex=r"coordinate-wise test at every step, $g\leftarrow\min(1,C/\|g\|)\,g \implies$ Adam descends",
        verdict=Verdict.FAILS,
        correction="Clipping can turn Adam around where it spares rare, wrong gradients and cuts the common ones. "
        "With a floor phi0 on its factor, eta^2 < phi0 (1 - beta1/sqrt(beta2)) is enough.",
        methods=(Basis.COUNTEREXAMPLE, Basis.SIMULATION),
        check=descent_under_clipping,
        proofs=("clipping", "clipping, counterexample"),
    ),
    Claim(
        place="Exp., weight decay",
        statement="The theorem's guarantee carries over to the experiments, which decay the weights.",
        latex=r"coordinate-wise test at every step $\implies$ the stationarity measure of AdamW vanishes",
        verdict=Verdict.FAILS,
        correction="AdamW minimises on a box, and noise leaves it a Frank-Wolfe gap however small the step. For "
        "weights well inside the box the gradient norms are bounded.",
        methods=(Basis.COUNTEREXAMPLE, Basis.SIMULATION),
        check=stationarity_under_weight_decay,
        proofs=("weight decay",),
    ),
)
"""All claims, in the paper's order."""


def find_claim(place: str) -> Claim:
    """The claim of a place, ignoring case and spaces.

    Raises:
        ValueError: for an unknown place; the message lists the known ones.

    >>> find_claim("lemma b.2").place
    'Lemma B.2'
    """
    wanted = place.replace(" ", "").casefold()
    for claim in CLAIMS:
        if claim.place.replace(" ", "").casefold() == wanted:
            return claim
    known = "; ".join(claim.place for claim in CLAIMS)
    raise ValueError(f"unknown claim {place!r}; known are: {known}")
