"""adabatch in others' training loops: ``accelerate``, the ``transformers`` Trainer, Lightning, torchtitan.

Import the module that you need (``adabatch.integrations.transformers``); none of them is imported here.
"""
