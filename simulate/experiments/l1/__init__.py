"""Measurements for theory.l1."""
