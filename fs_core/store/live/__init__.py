"""Live rows: pushed or taken from a stream, into history first and then online.

`push` takes one push; `batch` takes those that met together, and `partial` completes rows in part. `ingestion` takes
the messages of a stream, and `delivery` brings rows online that are in history.
"""
