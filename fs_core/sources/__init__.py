"""Raw data: reading files, and running SQL over them.

A file for each format, `csv` for all text with a delimiter, TSV included; `parsing` makes values of their texts. Which
ending means which format is in `fs_core.definitions.source`.
"""
