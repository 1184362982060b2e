"""Proofs of what a run under a norm test costs in samples."""
