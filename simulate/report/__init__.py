"""The report of ``verify-bounds``: one record of everything, as JSON and as a page that opens in a browser."""
