"""A comparison as tables, figures and files."""
