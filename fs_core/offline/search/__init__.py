"""The as-of rule, fast: winners found in history by binary search, or by plain SQL where that wouldn't pay.

`engine` says what an engine must do, `sql` is the plain one and `index` the fast one; `events` and `window_index` do
the same for windows. `runs` is what the index keeps on disk.

The index is derived from data files, which never change once written, and may be deleted at any time. A *run*
covers a set of files: their rows in order of entity and availability, those that can never win left out.
What was written since the last run was made becomes a run of its own, searched beside the others; runs
that have grown alike are merged.
"""
