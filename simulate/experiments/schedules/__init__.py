"""Measurements for theory.schedules: the limit, the exchange and its ceiling, rules against the optimum."""
