"""Features that are computed at request time, by one piece of code for training and serving.

`code` says what a function is: a digest of its syntax tree, of the functions it reaches and the constants it reads.
`refusals` finds what can't be the same on both sides, `trial` runs a view on generated rows, `bind` imports registered
code and compares, `columns` says what a function sees of each type, and `evaluate` runs it.
"""
