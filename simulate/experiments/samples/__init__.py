"""Measured costs in samples, against the theorems on them."""
