"""Measurements for theory.other_optimizers."""
