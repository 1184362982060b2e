"""The symbols of the proofs on schedules; a, b, I and the like are those of one step k."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import sympy

from proofs.relations import named

rate = named("rate_k", "a_k", positive=True)
batch = named("batch_k", "b_k", positive=True)
noise_of_path = named("I_k", "I_k", nonnegative=True)
"""I_k = int dS / r^2 over the step."""
path_noise = named("path_noise", r"\int_0^D dS/r^2", nonnegative=True)
ratio = sympy.Symbol("r", positive=True)
samples, time = sympy.symbols("D T", positive=True)
first_ratio = named("r_0", "r_0", positive=True)
last_iterate_noise = named("parts", r"\int_0^D dS/(r^2(T-T(S)))", nonnegative=True)
PATH: Any = SimpleNamespace(
    time=time, noise=path_noise, initial_ratio=first_ratio, last_iterate_noise=last_iterate_noise
)
"""Any :class:`~theory.schedules.path.LearningRatePath`, by its integrals, so that theory's bounds can be asked."""
chi = named("chi_k", r"\chi_k", nonnegative=True)
