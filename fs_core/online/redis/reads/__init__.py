"""Reads of rows by a deadline: `protocol` says whom to ask what, `connections` are lent, and `reader` waits."""
