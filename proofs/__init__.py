"""Machine-checked proofs, one file a lemma, on theory's own functions with symbols."""
