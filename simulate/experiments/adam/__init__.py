"""Measurements for theory.adam."""
