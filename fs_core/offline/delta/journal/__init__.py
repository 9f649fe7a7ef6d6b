"""Rows that were pushed and aren't in the table yet: a log of a few files beside it, which every reader first empties.

A commit of a Delta table takes ten milliseconds and leaves two files for ever. So a push adds its rows to a *segment*,
a file in the table's directory, and has them on disk after one write. Whoever asks for the newest state, in whatever
process, first *folds* all segments: their rows become one append to the table, and the segments are deleted. So there
is one kind of history, all else reads the table alone, and what is pushed is there for readers at once.

- **push**: lock one's own segment, add a record, bring it to disk. If somebody folds that segment now, or has, begin
  another one; so a push never waits for a fold. Dies in the middle: the rest of a record, which nobody reads.
- **fold**: lock every segment, mark each as one that is being folded, commit their rows under their names, bring the
  commit to disk, delete them. Dies before the commit: the next one folds them. Dies after it: the next one finds their
  names in the table's log and only deletes them. A segment that was marked takes no more rows.

A disk may change bytes. A record that doesn't fit its checksum is skipped, what follows it is kept, and once that is in
the table the segment is copied to `NAME.damaged` beside it, and the log names it as an error: pushes that were answered
are lost, and somebody may read some of them from the copy. `forget` deletes such copies, whoever's rows they hold.
Only a record that runs past the end of the file, and that no readable one follows, is the rest of a push that was never
answered. So a damaged length can be told from it, but for that of the last record.

Locks are `flock`s of the segments themselves, which the system drops when their holder dies. Readers that may not write
here, as from a read-only disk, see what was pushed once somebody else has folded it.
"""
