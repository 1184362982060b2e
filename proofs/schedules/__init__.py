"""Proofs of the statements on schedules that follow one learning-rate path."""
