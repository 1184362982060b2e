"""Checks of the paper's claims: each computes numbers and returns a certificate.

A check takes the statement under test as a keyword argument whose default is the published one, so that a
perturbed or corrected statement can be put in its place.
"""
