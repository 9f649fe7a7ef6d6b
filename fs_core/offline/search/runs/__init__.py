"""Runs: what the index keeps on disk of data files, laid out once so that it is searched without reading them.

`run` is one of a view's rows, and `window_run` one of events, whose `arrays` lie in one file. `catalogue` says which
runs there are and makes those that are missing. `columns` and `meta` are a run's files, and `gather` brings together
what several runs have of an answer.
"""
