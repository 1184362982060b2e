"""The corrected Theorem 1 for Adam: lemmas L1 to L8 and the theorem, one module each."""
