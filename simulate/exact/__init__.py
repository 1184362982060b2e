"""Exact dynamics: second moments of SGD and an Adam-like optimizer on power-law regression, in closed form.

A run of thousands of steps in thousands of dimensions is milliseconds of numpy, without any sampling, and its
final risk has a gradient in the batch size and the learning rate of every step. So batch rules can be compared
on many tasks, and with the best schedule there is.
"""
