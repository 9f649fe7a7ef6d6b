"""Latest rows: one row for each entity of each view, packed into bytes, in a key-value store.

`contract` says what a back-end must do, and `open` opens the one that a URL names: `sqlite`, `redis` or `dynamodb`.
A new back-end is a file or a folder beside them. `row` has the bytes of a row.
"""
