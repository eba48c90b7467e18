"""Regularizers that act on inputs."""
