"""Certificates of Theorem 3: the program that finds them, and the independent one that checks them."""
