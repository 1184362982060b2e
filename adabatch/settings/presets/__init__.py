"""Built-in settings, as TOML files in the format of ``--config``."""
