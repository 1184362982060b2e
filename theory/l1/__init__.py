"""The l1 norm test and its theorems."""
