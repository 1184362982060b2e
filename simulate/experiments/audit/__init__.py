"""Measurements for theory.audit."""
