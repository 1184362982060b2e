"""Proofs for optimizers other than Adam."""
