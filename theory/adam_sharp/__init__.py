"""Theorem 2: a sharper bound for Adam, for any betas."""
