"""Instances on which a theorem's bound is nearly attained, and the exact trees that measure them."""
