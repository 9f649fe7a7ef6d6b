"""Serving: the latest row of each entity, packed, in a key-value store."""
