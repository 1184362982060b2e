"""Synthetic objectives, noise and optimizers batched over seeds; the experiments of ``verify-bounds``.

The core is :mod:`simulate.objectives`, :mod:`simulate.noise`, :mod:`simulate.optimizers`,
:func:`simulate.trajectory.run` and :mod:`simulate.rates`.
"""
