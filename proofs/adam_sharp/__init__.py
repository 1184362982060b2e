"""Theorem 2, on Adam at any betas: its lemmas and the theorem.

================================================  =========  ===================================================
module                                            lemma      what it shows
================================================  =========  ===================================================
:mod:`proofs.adam_sharp.mixture`                  M          noise acts at worst like a mixture of 1 and 0
:mod:`proofs.adam_sharp.uphill`                   V          what the momentum of a wrong sign sums to at most
:mod:`proofs.adam_sharp.coupling`                 S          a gradient's momentum, next to an unchanged gradient's
:mod:`proofs.adam_sharp.energy`                   H          squares of normalised gradients sum to at most H
:mod:`proofs.adam_sharp.drift`                    D          changing gradients cost E, to second order
:mod:`proofs.adam_sharp.growth`                   growth     the first gradient, and how much ln v may grow
:mod:`proofs.adam_sharp.minorant`                 L5'        a parabola below the response, for the right sign
:mod:`proofs.adam_sharp.alignment`                Q'         descent under noise: the preconditioned sum is <= Q
:mod:`proofs.adam_sharp.weights`                  P          the momentum's denominators by sqrt(D), |G|, epsilon
:mod:`proofs.adam_sharp.windows`                  L7'        the denominators, unrolled over windows
:mod:`proofs.adam_sharp.parameters`               which eta  free of the betas, and in closed form
:mod:`proofs.adam_sharp.theorem2`                 Theorem 2  the bound that theory computes
================================================  =========  ===================================================
"""
