"""Formulas and verdicts: one statement a module, each formula once, on floats, arrays and SymPy symbols.

Nothing is imported here, so that ``from adabatch.moments.statistic import ...`` loads just what it names: the
trainer uses two modules of this package and never pays for SymPy.
"""
