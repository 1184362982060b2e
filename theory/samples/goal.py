"""What a run is to reach, and how noisy a sample is."""

from __future__ import annotations

from dataclasses import dataclass

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, ceiling, maximum

__all__ = ["Goal", "largest_batch", "require_positive"]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """The level that ends a run, and the noise of one sample.

    Attributes:
        level: > 0, of the squared l2 norm of the gradient (SGD), of its l1 norm (Adam) or of the gap
            (:mod:`theory.samples.contraction`).
        noise: >= 0, of one sample: sup tr Sigma for l2 norms, sup sum_i sigma_i for l1 norms.
    """

    level: Value
    noise: Value

    def __post_init__(self) -> None:
        """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless both are in their range."""
        require(self.level > 0, "level > 0", describe("level", self.level), "the test asks for no end at 0")
        require(self.noise >= 0, "noise >= 0", describe("noise", self.noise), "take 0 for exact gradients")


def largest_batch(squared_noise: Value, squared_level: Value, eta: Value) -> Value:
    """max(1, ceil(noise^2 / (eta^2 level^2))): the batch that the test asks for where the norm is the level.

    Args:
        squared_noise: tr Sigma, or (sum_i sigma_i)^2.
        squared_level: of the gradient's norm.
        eta: > 0.

    >>> largest_batch(10.0, 4.0, 0.5), largest_batch(1.0, 16.0, 0.5)
    (10.0, 1.0)
    """
    require_positive("eta", eta)
    # An equality up to rounding passes the test: it asks for no further sample.
    return maximum(1.0, ceiling(squared_noise / (eta**2 * squared_level) * (1 - 1e-12)))


def require_positive(name: str, value: Value) -> None:
    """Raise ``HypothesisError`` unless the value is above 0."""
    require(value > 0, f"{name} > 0", describe(name, value), "take a positive value")
