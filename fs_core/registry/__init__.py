"""The registry: what is defined, in which versions, and which are current."""
