"""Raw data: reading files, running SQL over them, and running queries in databases.

`text` has a file for each format of text: `csv` for all with a delimiter, TSV included, and `json`; its `parsing` makes
values of their texts. Which ending means which format is in `fs_core.definitions.source`. `warehouse` reads databases.
"""
