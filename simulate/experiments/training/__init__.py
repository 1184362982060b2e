"""Measurements for theory.training."""
