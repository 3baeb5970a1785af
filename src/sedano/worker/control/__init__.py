"""Commands that a node answers, one module for what belongs together."""
