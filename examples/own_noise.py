"""A noise of your own: Laplace instead of Gaussian, under the coordinate-wise test with equality.

From the command line: ``adabatch verify-bounds --noise examples/own_noise.py:Laplace,eta=0.5 --bound guarantee``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulate.laboratory import study
from simulate.noise import Draw, Stateless
from simulate.streams import SeedStreams

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Laplace(Stateless):
    """g_i = G_i (1 + eta X), X of mean 0 and variance 1 with exponential tails on both sides."""

    eta: float = 0.2

    def sample(self, gradient: Array, streams: SeedStreams) -> Draw:
        """A step's gradients, [seeds, d], from each seed's own numbers; deviations are optional, and checked."""
        one = streams.draw(0, gradient.shape[1:], "standard_exponential").copy()
        other = streams.draw(1, gradient.shape[1:], "standard_exponential")
        noise = (one - other) / np.sqrt(2)
        return Draw(gradient * (1 + self.eta * noise), deviations=self.eta * np.abs(gradient))


if __name__ == "__main__":
    print(study("geman-mcclure", Laplace(eta=0.5), "adam", "guarantee", steps=256))
