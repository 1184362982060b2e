"""The paper's claims as published, their corrections, and the checks behind each verdict."""
