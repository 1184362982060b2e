r"""Which theorem covers a training run? And where none does: which hypothesis it leaves, and what is known there.

Problem:
    The theorems on Adam each have their own hypotheses: on the test, on eta and the betas, on the learning-rate
    schedule, on weight decay and clipping, and all of them suppose that the test holds exactly, at every step.
    What do they say about a given configuration?

Algorithm:
    1. The test and what is added to Adam select the theorem: that of :func:`theory.guarantee.theorems` with the
       best rate (coordinate-wise and l1 test); :mod:`theory.training.step_schedules`,
       :mod:`theory.training.weight_decay` or :mod:`theory.training.clipping` (coordinate-wise test, and one
       addition); :mod:`theory.l1.theorem` (scalar test, with a condition on the dimension).
    2. Every hypothesis that the configuration leaves is listed as a :class:`Departure`, with what is known there
       and what would have to change.

Guarantee:
    ``covered`` is True only if a theorem applies as stated. Nothing is extrapolated: two additions at once, for
    each of which there is a theorem, are not covered.

References:
    The modules named above; :mod:`theory.training.scalar_divergence`,
    :mod:`theory.training.estimated_variance` and :mod:`theory.training.violated_steps` for what is known beyond.

Example:
    >>> exact = Configuration(beta1=0.9, beta2=0.95, eta=0.2, test=NormTestKind.COORDINATE)
    >>> print(coverage(exact).summary())                                              # doctest: +ELLIPSIS
    covered: Theorem 3 (coordinate-wise norm test): ...
    >>> trained = Configuration(beta1=0.9, beta2=0.95, eta=0.2, test=NormTestKind.SCALAR, dimension=10**9)
    >>> print(coverage(trained).summary())                                            # doctest: +ELLIPSIS
    not covered; nearest: theorem of the scalar norm test: eta sqrt(d) small
      largest eta = 5.69837e-08
      leaves: scalar test with eta < 5.7e-08 in dimension 1000000000
        known: Adam diverges on a convex function under this test from dimension 42233 on; the l1 test ...
        change: the l1 or the coordinate-wise test in place of the scalar one, or eta below 5.7e-08
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from adabatch.moments.hypotheses import HypothesisError, describe, require
from adabatch.moments.numeric import sqrt
from theory.adam import theorem1
from theory.adam.constants import alignment_at, momentum_amplification
from theory.adam.variants import bias_correction as bias_correction_constants
from theory.guarantee import NormTestKind, Standing, standings
from theory.l1 import theorem
from theory.l1.theorem3 import NAMES
from theory.problem import require_betas
from theory.training import clipping
from theory.training.estimated_variance import coordinate_passing_probability
from theory.training.scalar_divergence import ScalarTestDivergence
from theory.training.step_schedules import warmup_amplification
from theory.training.weight_decay import largest_admissible_decay

__all__ = ["Configuration", "Coverage", "Departure", "NormTestKind", "coverage"]


PLAIN_ADAM = "Adam without bias correction, warm-up, decay, weight decay and clipping"
VIOLATIONS = "at the cost of their gradients and excess deviations (theory.training.violated_steps)"


@dataclass(frozen=True)
class Configuration:
    """What the theorems need to know of a training run with Adam."""

    beta1: float
    """Decay of m."""
    beta2: float
    """Decay of v."""
    eta: float
    """Of the norm test."""
    test: NormTestKind = NormTestKind.SCALAR
    """Which test."""
    dimension: int | None = None
    """d, the number of parameters; needed for the scalar test."""
    epsilon: float = 0.0
    """Added to sqrt(v)."""
    bias_correction: bool = False
    """Whether m and v are corrected for their start at 0."""
    warmup_steps: int = 0
    """Steps of linear warm-up from 0."""
    decays: bool = False
    """Whether the learning rate falls after the warm-up (to 0, too)."""
    weight_decay: float = 0.0
    """lambda, decoupled."""
    largest_weight: float | None = None
    """W >= sup_k ||w_k||_inf; needed with weight decay."""
    clips: bool = False
    """Whether gradients are clipped."""
    clip_floor: float | None = None
    """phi0, below which the clipping factor never falls (None: not known)."""
    groups: int | None = None
    """J, from how many groups the variance is estimated (None: exact variances)."""
    share: float = 1.0
    """Of the coordinates, how many must meet the coordinate-wise test."""
    enforced: bool = True
    """Whether the test holds at the very step (False: it only chooses the next batch, or the batch is capped)."""


@dataclass(frozen=True)
class Departure:
    """A hypothesis that the configuration leaves.

    Attributes:
        hypothesis: what the theorem asks for.
        known: what is known without it.
        change: what would have to change.
    """

    hypothesis: str
    known: str
    change: str


@dataclass(frozen=True)
class Coverage:
    """The answer.

    Attributes:
        theorem: the theorem that the test and the additions select, or that comes nearest.
        condition: its condition on eta.
        constants: by name.
        departures: the hypotheses left; none if the theorem applies.
        alternatives: every theorem on plain Adam under the run's test, side by side.
    """

    theorem: str
    condition: str
    constants: Mapping[str, float] = field(default_factory=dict)
    departures: tuple[Departure, ...] = ()
    alternatives: tuple[Standing, ...] = ()

    @property
    def covered(self) -> bool:
        """Whether the theorem applies as stated."""
        return not self.departures

    def summary(self) -> str:
        """A few lines of text."""
        lines = [f"{'covered' if self.covered else 'not covered; nearest'}: {self.theorem}: {self.condition}"]
        if self.constants:
            lines.append("  " + ", ".join(describe(name, value) for name, value in self.constants.items()))
        for departure in self.departures:
            lines.append(f"  leaves: {departure.hypothesis}")
            lines += [f"    known: {departure.known}", f"    change: {departure.change}"]
        return "\n".join(lines)

    def table(self) -> str:
        """The alternatives as lines of text: the largest eta of each, and its rate constant where it applies."""
        if not self.alternatives:
            return ""
        width = max(len(standing.name) for standing in self.alternatives)
        lines = [f"{'plain Adam under this test':{width}}  eta below  (1/K) sum E||G||_1 / sqrt(L d Delta / K)"]
        for standing in self.alternatives:
            constant = "does not apply" if standing.constant is None else f"{standing.constant:.4g}"
            largest = f"{standing.largest_eta:.4g}" if standing.largest_eta else "none"
            lines.append(f"{standing.name:{width}}  {largest:>9}  {constant}")
        return "\n".join(lines)


def coverage(configuration: Configuration) -> Coverage:
    """Which theorem covers the configuration, with which constants, or what it leaves.

    Raises:
        HypothesisError: for values that no run can have (eta < 0, betas outside 0 <= beta1 < sqrt(beta2) < 1, a
            scalar test without the dimension, weight decay without a bound on the weights).
    """
    _validate(configuration)
    select = {NormTestKind.COORDINATE: _coordinate, NormTestKind.L1: _l1, NormTestKind.SCALAR: _scalar}
    selected = select[configuration.test](configuration)
    departures = (*selected.departures, *_combined(configuration), *_inexact(configuration))
    alternatives = selected.alternatives
    if not alternatives and configuration.test is not NormTestKind.SCALAR:
        alternatives = _standings(configuration)
    return replace(selected, departures=departures, alternatives=alternatives)


def _standings(run: Configuration) -> tuple[Standing, ...]:
    return standings(run.beta1, run.beta2, run.eta, run.test, epsilon=run.epsilon)


def _validate(run: Configuration) -> None:
    require_betas(run.beta1, run.beta2)
    require(run.eta >= 0, "eta >= 0", describe("eta", run.eta), "take eta = 0 or more")
    require(
        run.test is not NormTestKind.SCALAR or run.dimension is not None,
        "the dimension for the scalar test",
        "dimension = None",
        "give the number of parameters",
    )
    require(
        run.weight_decay == 0 or run.largest_weight is not None,
        "a bound on the weights with weight decay",
        "largest_weight = None",
        "see theory.training.weight_decay.weight_bound",
    )


def _additions(run: Configuration) -> list[str]:
    """What is added to Adam that needs a theorem of its own; epsilon is covered with a schedule."""
    schedule = run.bias_correction or run.warmup_steps > 0 or run.decays
    named = {
        "learning-rate schedule": schedule,
        "weight decay": run.weight_decay > 0,
        "clipping": run.clips,
        "epsilon": run.epsilon > 0 and not schedule,
    }
    return [name for name, present in named.items() if present]


def _meets(require_condition: Callable[..., None], *values: float) -> bool:
    """Whether a theorem's own condition holds: to compare eta with the largest one may round otherwise."""
    try:
        require_condition(*values)
    except HypothesisError:
        return False
    return True


def _condition(
    theorem: str, condition: str, eta: float, largest: float, *, met: bool, **constants: float
) -> Coverage:
    """A theorem whose condition is eta < ``largest``, and whether it is met."""
    known = f"nothing by this theorem at {describe('eta', eta)}"
    departures = () if met else (Departure(condition, known, f"take eta below {largest:.6g}"),)
    return Coverage(theorem, condition, {**constants, "largest eta": float(largest)}, departures)


def _coordinate(run: Configuration) -> Coverage:
    """Theorem 1's variant for the addition, or the best theorem on plain Adam."""
    additions = _additions(run)
    rho = float(momentum_amplification(run.beta1, run.beta2))
    if "clipping" in additions:
        return _clipped(run, rho)
    if "weight decay" in additions:
        return _decayed(run, rho)
    if "learning-rate schedule" in additions:
        return _falling(run) or _scheduled(run, rho)
    return _plain(run)


def _falling(run: Configuration) -> Coverage | None:
    """Theorem 3 where step sizes only fall and a certificate covers the run, or None."""
    if run.bias_correction or run.warmup_steps > 0:
        return None
    plain = _plain(replace(run, decays=False))
    covering = [s for s in plain.alternatives if s.name in NAMES.values() and s.constant is not None]
    if not covering:
        return None
    best = min(covering, key=lambda standing: standing.constant or 0.0)
    name = f"{best.name}, step sizes that fall"
    condition = f"{best.condition}; the test holds on average, so weighted"
    return Coverage(name, condition, {"largest eta": best.largest_eta}, alternatives=plain.alternatives)


def _plain(run: Configuration) -> Coverage:
    """Of the theorems on plain Adam under the run's test, that with the best rate, or with the largest eta."""
    found = _standings(run)
    covering = [standing for standing in found if standing.constant is not None]
    if covering:
        best = min(covering, key=lambda standing: standing.constant or 0.0)
        constants = {"rate constant": float(best.constant or 0.0), "largest eta": best.largest_eta}
        return Coverage(best.name, best.condition, constants, alternatives=found)
    nearest = max(found, key=lambda standing: standing.largest_eta)
    coverage = _condition(nearest.name, nearest.condition, run.eta, nearest.largest_eta, met=False)
    return replace(coverage, alternatives=found)


def _clipped(run: Configuration, rho: float) -> Coverage:
    name, condition = "Theorem 1 (corrected) with clipped gradients", "eta^2 < phi0 (1 - beta1 / sqrt(beta2))"
    if run.clip_floor is None:
        known = (
            "without a floor on the clipping factor Adam can diverge (theory.training.clipping.ClippingDivergence)"
        )
        change = "do not clip, or at a threshold that leaves every gradient a known share phi0 of its norm"
        return Coverage(name, condition, {}, (Departure("a clipping factor of at least phi0 > 0", known, change),))
    require(
        0 < run.clip_floor <= 1, "0 < clip_floor <= 1", describe("clip_floor", run.clip_floor), "take at most 1"
    )
    met = _meets(clipping.require_condition, run.beta1, run.beta2, run.eta, run.clip_floor)
    largest = clipping.largest_admissible_eta(run.beta1, run.beta2, run.clip_floor)
    kappa = clipping.clipped_alignment(rho, run.eta, run.clip_floor)
    return _condition(name, condition, run.eta, largest, met=met, rho=rho, kappa=kappa, phi0=run.clip_floor)


def _decayed(run: Configuration, rho: float) -> Coverage:
    largest = theorem1.largest_admissible_eta(run.beta1, run.beta2)
    condition = "eta^2 < 1 - beta1 / sqrt(beta2) and lambda W < (1 - beta1) kappa / B"
    met = _meets(theorem1.require_condition, run.beta1, run.beta2, run.eta)
    base = _condition("Theorem 1 (corrected) with weight decay", condition, run.eta, largest, met=met, rho=rho)
    if base.departures:
        return base
    pull = run.weight_decay * (run.largest_weight or 0.0)
    limit = largest_admissible_decay(run.beta1, run.beta2, run.eta)
    constants = {**base.constants, "lambda W": pull, "largest lambda W": float(limit)}
    if pull < limit:
        return Coverage(base.theorem, condition, constants)
    known = (
        "noise leaves a Frank-Wolfe gap of about (1 - E m/sqrt(v)) ||G||_1 / lambda (theory.training.weight_decay)"
    )
    change = f"weight decay times the largest weight below {limit:.6g}: less weight decay, or none"
    return Coverage(base.theorem, condition, constants, (Departure(f"lambda W < {limit:.6g}", known, change),))


def _scheduled(run: Configuration, rho: float) -> Coverage:
    """The exact rho_s depends on the whole schedule; here an upper bound from the warm-up's second half."""
    first = max(run.warmup_steps // 2, 1)
    rho_s = float(warmup_amplification(run.beta1, run.beta2, first)) if run.warmup_steps else rho
    if run.bias_correction and not run.warmup_steps:
        rho_s = float(bias_correction_constants(run.beta1, run.beta2).amplification)
    elif run.bias_correction:
        # s_k times sqrt(1-beta2^k)/(1-beta1^k): its rise after k0 is at most that of sqrt(1-beta2^k)
        rho_s /= float(sqrt(1 - run.beta2**first))
    name, condition = "Theorem 1 (corrected) with step multipliers", "rho_s eta^2 < 1"
    kappa = alignment_at(rho_s, run.eta)
    constants = {"rho_s": rho_s, "kappa_s": kappa, "k0": float(first)}
    return _condition(name, condition, run.eta, rho_s**-0.5, met=kappa > 0, **constants)


def _l1(run: Configuration) -> Coverage:
    """Theorem 3 where there is a certificate, else the l1 theorem without one."""
    additions = [name for name in _additions(run) if name != "epsilon"]
    falling = _falling(run) if additions == ["learning-rate schedule"] else None
    if falling is not None or not additions:
        return falling or _plain(run)
    plain = _plain(run)
    known = "nothing: the theorems on the l1 test are for plain Adam, and Theorem 3 for step sizes that fall"
    return replace(
        plain, departures=(Departure(f"no {', '.join(additions)}", known, PLAIN_ADAM), *plain.departures)
    )


def _scalar(run: Configuration) -> Coverage:
    """The theorem with a condition on the dimension, and the counterexample beyond."""
    dimension = run.dimension or 1
    largest = theorem.largest_admissible_eta(run.beta1, run.beta2, dimension=float(dimension))
    additions = ", ".join(_additions(run))
    known = "nothing: the theorem is for plain Adam, without epsilon"
    departures = (Departure(f"no {additions}", known, PLAIN_ADAM),) if additions else ()
    if run.eta > largest:
        hypothesis = f"scalar test with eta < {largest:.3g} in dimension {dimension}"
        change = f"the l1 or the coordinate-wise test in place of the scalar one, or eta below {largest:.3g}"
        departures = (Departure(hypothesis, _scalar_knowledge(run), change), *departures)
    name = "theorem of the scalar norm test"
    return Coverage(name, "eta sqrt(d) small", {"largest eta": largest}, departures)


def _scalar_knowledge(run: Configuration) -> str:
    """From which dimension on the counterexample applies, at a rare event that suits the betas."""
    better = "the l1 test (theory.l1.theorem) has a theorem free of the dimension"
    rare = (1 - run.beta2) / 20
    try:
        instance = ScalarTestDivergence(run.beta1, run.beta2, run.eta, dimension=run.dimension or 2, rare=rare)
        threshold = instance.threshold
    except HypothesisError:
        return f"neither a theorem nor a counterexample; {better}"
    if (run.dimension or 0) > threshold:
        start = int(threshold) + 1
        return f"Adam diverges on a convex function under this test from dimension {start} on; {better}"
    return f"neither: the counterexample needs dimension {int(threshold) + 1} or more; {better}"


def _combined(run: Configuration) -> tuple[Departure, ...]:
    additions = _additions(run)
    if run.test is not NormTestKind.COORDINATE or len(additions) < 2:
        return ()
    known = f"no theorem covers {' and '.join(additions)} together"
    return (Departure("one addition at a time", known, f"keep one of {', '.join(additions)}"),)


def _inexact(run: Configuration) -> tuple[Departure, ...]:
    """A share of the coordinates, estimated variances, and tests that are not enforced."""
    departures = []
    if run.test is NormTestKind.COORDINATE and run.share < 1:
        known = f"the other coordinates are violations, {VIOLATIONS}"
        departures.append(
            Departure("a test met by every coordinate", known, "test all coordinates, not a share of them")
        )
    if run.groups is not None:
        change = "more groups bring estimates nearer to it: more micro-batches per step"
        departures.append(Departure("exact variances", _estimation_knowledge(run, run.groups), change))
    if not run.enforced:
        known = (
            f"the theorem survives with violated steps, {VIOLATIONS}"
            if run.test is NormTestKind.COORDINATE
            else "no theorem on violations of this test; theory.training.violated_steps is for the "
            "coordinate-wise one"
        )
        change = "batches so large from the start that the test of each step holds at that step"
        departures.append(Departure("a test that holds at every step", known, change))
    return tuple(departures)


def _estimation_knowledge(run: Configuration, groups: int) -> str:
    if run.test is NormTestKind.SCALAR:
        return (
            "a violated test passes rarely if the noise has a large effective rank "
            "(theory.training.estimated_variance)"
        )
    if run.test is NormTestKind.COORDINATE and run.eta > 0:
        passing = coordinate_passing_probability(groups, run.eta, signal=1 / run.eta)
        return (
            f"a coordinate that meets its test with equality passes with probability {passing:.2g}: "
            "many coordinates practically never all pass (theory.training.estimated_variance)"
        )
    return "the estimators of adabatch.moments.l1 are biased towards larger batches; no theorem"
