"""The experiments of ``adabatch verify-bounds``, one file each: ``run(settings, pieces) -> Result``."""
