"""Features that are computed by one piece of code for training and serving: at request time, or as rows are written.

`bind` finds a view's function and compares its code with what was registered, `columns` says what a function sees of
each type, `evaluate` runs a view, `expressions` those of SQL, `trial` tries one on generated rows, and
`written` computes the columns of rows that are written.
"""
