"""The symbols of the proofs on schedules; a, b, I and the like are those of one step k."""

from __future__ import annotations

import sympy

from proofs.relations import named

rate = named("rate_k", "a_k", positive=True)
batch = named("batch_k", "b_k", positive=True)
noise_of_path = named("I_k", "I_k", nonnegative=True)
"""I_k = int dS / r^2 over the step."""
ratio = sympy.Symbol("r", positive=True)
samples, time = sympy.symbols("D T", positive=True)
first_ratio = named("r_0", "r_0", positive=True)
chi = named("chi_k", r"\chi_k", nonnegative=True)
