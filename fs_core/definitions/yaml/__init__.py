"""Definitions as YAML documents: written in an order that suits version control, read safely."""
