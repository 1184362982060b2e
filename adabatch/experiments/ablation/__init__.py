"""Which settings of the norm test jump to the largest batch, which never grow, and which adapt.

grid (points around a base) -> runs (through :mod:`adabatch.experiments.runner`) -> behaviour
of each run -> tables and heat maps.
"""
