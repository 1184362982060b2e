"""The data of the trainer: corpora, tokenizers, and the order of the samples. Importing it does not load torch."""
