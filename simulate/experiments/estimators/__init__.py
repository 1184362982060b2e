"""Measurements for theory.estimators."""
