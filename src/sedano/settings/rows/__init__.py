"""The rows of the table, one module per group of settings, in the order of the reference page."""
