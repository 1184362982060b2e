"""Theorems on optimizers other than Adam."""
