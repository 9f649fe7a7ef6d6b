"""Text files, CSV and JSON, digit for digit: split, typed, and laid out for SQL."""
