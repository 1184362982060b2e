"""adabatch inside others' training loops: ``accelerate``, the ``transformers`` Trainer, and monitoring alone.

Import the module that you need (``adabatch.integrations.transformers``); none of them is imported here.
"""
