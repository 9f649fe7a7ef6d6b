"""Rows into a view's history, and out of it: what `FeatureStore` does with history, apart from live rows.

`write` takes rows that somebody brings, `backfill` those that a source yields, and `carry_over` those of an earlier
version. `append` checks, numbers and appends a table, and `parts` rows that come part after part; who adds what is
missing takes `turns`. `export` hands history out, and `maintenance` compacts and verifies it. How history is kept is
`fs_core.offline`.
"""
