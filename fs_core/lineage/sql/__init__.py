"""Which source columns the columns of a query come from, read off its text.

`flow` holds what is found; `queries`, `expressions` and `scope` find it, and need the SQL parser.
"""
