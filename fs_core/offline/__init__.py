"""History: every row ever written, and what was known at any moment of it.

`contract` says what a back-end must do, and `open` opens the one that a URL names: `delta` keeps Delta tables,
`search` answers the as-of rule from their files. A new back-end is a file or a folder beside them.
"""
