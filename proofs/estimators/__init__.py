"""Proofs on the estimators of the norm test."""
