"""Arithmetic of windows: exact sums and their quotients, values in order, least and greatest of ranges. NumPy alone."""
