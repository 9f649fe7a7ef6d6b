"""Features that are computed at request time, by one piece of code for training and serving.

`bind` finds a view's function and compares its code with what was registered, `columns` says what a function sees of
each type, `evaluate` runs a view, `expressions` those of SQL, and `trial` tries one on generated rows.
"""
