"""Importance estimators: re-masked copies of a completion, and its log-probability on them."""
