"""Random steps on random learning-rate paths, for the theorems on schedules."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from theory.schedules.path import PathSteps
from theory.schedules.second_moments import Regression
from theory.schedules.shapes import Cosine, OneMinusSqrt, Power, Shape, StableThenDecay

DECAYS: tuple[Shape, ...] = (
    Power(0.5),
    Power(1),
    Power(2.5),
    Cosine(2),
    Cosine(1),
    OneMinusSqrt(),
    StableThenDecay(0.2, Power(1)),
    StableThenDecay(0.6, OneMinusSqrt()),
)
SHAPES: tuple[Shape, ...] = (Power(0), *DECAYS)


@st.composite
def path_steps(draw, shapes=SHAPES, most: int = 20) -> PathSteps:
    cuts = draw(st.lists(st.floats(-3, 3), min_size=1, max_size=most))
    samples = draw(st.floats(30.0, 1e4))
    return PathSteps.from_proportions(
        draw(st.sampled_from(shapes)), np.exp(cuts).tolist(), samples, draw(st.floats(0.01, 1.0))
    )


@st.composite
def regressions(draw, smallest_noise: float = 0.0) -> tuple[Regression, np.ndarray]:
    """A regression whose largest eigenvalue is 1, and errors to start from."""
    noises = st.sampled_from([0.0, 0.01, 1.0, 10.0]).filter(lambda noise: noise >= smallest_noise)
    modes = draw(st.lists(st.tuples(st.floats(-4, 0), st.floats(-3, 3)), max_size=4))
    logs = np.array([*modes, (0.0, draw(st.floats(-3, 3)))])
    return Regression(np.exp(logs[:, 0]), draw(noises)), np.exp(logs[:, 1])
