"""Values: the types they have, the times they carry, and how they come in, are cast and leave.

`dtypes` lists the types that a feature may have, `interchange` takes in whatever data a caller has.
"""
