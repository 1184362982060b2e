"""The sentences of a page of results, checked against the figures that allow them."""
