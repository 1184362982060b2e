r"""What a batch schedule can save at most: the time per progress, and its means over a run."""

from __future__ import annotations

import sympy

from adabatch.moments.worth import lowest_ratio, schedule_over_constant
from proofs.composition import Conclusion, composed, hypothesis, summed
from proofs.relations import Relation, equation, inequality, named
from proofs.steps import Derivation, proves

__all__ = ["limit_of_schedules"]

fixed, each_sample, batch = sympy.symbols("t_0 t_1 b", positive=True)
root = named("root_B", r"\sqrt B", positive=True)
MEAN_ROOT = named("mean_root_B", r"\overline{\sqrt B}", positive=True)
scale, MEAN = named("B_now", "B", positive=True), named("mean_B", r"\overline{B}", positive=True)
spent = named("time_now", r"\tau_b", positive=True)
TIME_SPENT = named("time_mean", r"\overline{\tau}", positive=True)
"""The time per progress at one noise scale, and its mean over the progress."""
rho, evenness = sympy.Symbol("rho", positive=True), named("evenness", "s", positive=True)


@proves(
    "limit of batch schedules",
    "what a batch schedule saves at most in the model of McCandlish et al.",
    r"In this model a step with a batch $b$ makes $1/(1+B/b)$ of the progress that it would make without "
    r"noise, and takes the time $t_0+t_1b$; bars are means over the progress. For any batches, with equality "
    r"exactly where $b = \sqrt{Bt_0/t_1}$:",
    concludes=(
        Conclusion(
            Relation(
                TIME_SPENT, ">=", fixed + each_sample * MEAN + 2 * sympy.sqrt(fixed * each_sample) * MEAN_ROOT
            )
        ),
    ),
    source="McCandlish et al., arXiv 1812.06162, for the model; this project",
)
def limit_of_schedules() -> Derivation:
    """AM-GM at every progress; a constant batch has the mean of B in it; the ratio of the two."""
    rest = named("rest_of_b", r"(\sqrt{t_1}b-\sqrt{t_0B})^2/b", nonnegative=True)
    cross = sympy.sqrt(fixed * each_sample)
    exactly = yield equation(
        spent,
        fixed + each_sample * scale + 2 * cross * root + rest,
        "equality iff b = sqrt(B t_0 / t_1)",
        {
            spent: (1 + root**2 / batch) * (fixed + each_sample * batch),
            scale: root**2,
            rest: (sympy.sqrt(each_sample) * batch - sympy.sqrt(fixed) * root) ** 2 / batch,
        },
    )
    least = yield composed(
        Relation(spent, ">=", fixed + each_sample * scale + 2 * cross * root),
        (exactly, hypothesis(Relation(rest, ">=", 0))),
        (spent, scale, root, rest),
    )
    mean = yield summed(
        least, {spent: TIME_SPENT, scale: MEAN, root: MEAN_ROOT}, count=1, reason="averaged over the progress"
    )
    yield composed(limit_of_schedules.lemma.conclusions[0].relation, (mean,), (TIME_SPENT, MEAN, MEAN_ROOT))
    yield from _ratio()
    late = sympy.Symbol("e", nonnegative=True)
    top, ratio = fixed / each_sample, 1 + root**2 / batch
    for case, at, most in (
        ("b >= t_0/t_1", top + late, each_sample * batch),
        ("b <= t_0/t_1", top / (1 + late), fixed),
    ):
        found = (ratio * most).subs(batch, at)
        yield inequality(
            found, ">=", fixed + each_sample * root**2, (), f"a roofline, {case}: no batch beats t_0 / t_1"
        )


def _ratio() -> Derivation:
    """By rho = mean B t_1 / t_0 and s = mean sqrt(B) / sqrt(mean B)."""
    cross, both = 2 * sympy.sqrt(fixed * each_sample), fixed + each_sample * MEAN
    share = named("share", r"\overline{\tau}/\tau_{\mathrm{constant}}", positive=True)
    yield equation(
        share,
        schedule_over_constant(rho, evenness),
        "both at their best: the constant batch by the first step at the mean of B",
        {
            share: (both + cross * MEAN_ROOT) / (both + cross * sympy.sqrt(MEAN)),
            rho: each_sample * MEAN / fixed,
            evenness: MEAN_ROOT / sympy.sqrt(MEAN),
        },
    )
    root_of_rho = sympy.Symbol("v", positive=True)
    slack = named("slack", r"\frac{1-s}{2}\left(\frac{1-\sqrt\rho}{1+\sqrt\rho}\right)^2", nonnegative=True)
    yield equation(
        schedule_over_constant(root_of_rho**2, evenness),
        lowest_ratio(evenness) + slack,
        "so at least (1 + s) / 2, with equality iff rho = 1; v = sqrt(rho)",
        {slack: (1 - evenness) / 2 * ((1 - root_of_rho) / (1 + root_of_rho)) ** 2},
    )
    mean = rho * fixed / each_sample
    off, batch_ratio = sympy.Symbol("c", positive=True), root_of_rho + 1 / root_of_rho
    times = [
        (1 + mean / b) * (fixed + each_sample * b)
        for b in (sympy.sqrt(mean * fixed / each_sample) * x for x in (off, 1))
    ]
    price = named("price", r"\tau_{cb^*}/\tau_{b^*}", positive=True)
    yield equation(
        price,
        (off + 1 / off + batch_ratio) / (2 + batch_ratio),
        "a batch off by a factor c at one B; v = sqrt(rho)",
        {price: (times[0] / times[1]).subs(rho, root_of_rho**2)},
    )
