"""Synthetic objectives, noise and optimizers batched over seeds; the experiments of ``verify-bounds``."""
