"""Proofs on the paper's statements as published."""
