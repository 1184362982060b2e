"""Measurements for theory.adam_sharp."""
