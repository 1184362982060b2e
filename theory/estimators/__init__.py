"""The estimators of the norm test: exact tests, finite populations, expectations and variances."""
