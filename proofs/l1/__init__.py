"""Proofs of the theorems on the l1 norm test."""
