"""Regularizers that act on weights."""
