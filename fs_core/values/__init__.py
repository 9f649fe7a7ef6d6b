"""Values: the types they have, the times they carry, and how they come in, are cast and leave.

`dtypes` lists the types that a feature may have, `interchange` takes in whatever data a caller has, `plain` few rows in
plain Python. `times` has moments and durations, `schedule` when something is done again,
and `samples` rows of every kind to try code on.
"""
