"""Adam under the coordinate-wise norm test: corrected Theorem 1 and its variants."""
