"""Tests of proofs.certificates."""
