"""Samples rather than steps: what a run under a norm test costs, and what a floor on the test saves."""
