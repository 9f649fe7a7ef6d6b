"""History: every row ever written, and what was known at any moment of it.

`contract` says what a back-end must do, and `open` opens the one that a URL names: `delta` keeps Delta tables,
`search` answers the as-of rule from their files. A new back-end is a file or a folder beside them. `days` has other
tables, of request logs and quarantined rows; `objects` is what a bucket has for files and locks.
"""
