"""Gradient moments and the norm test, on floats, arrays, tensors and SymPy symbols; numpy only."""
