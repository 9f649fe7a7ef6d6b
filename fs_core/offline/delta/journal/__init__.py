"""Rows that have come and aren't in the table yet: a log of a few files beside it, which every reader first empties.

A commit of a Delta table takes ten milliseconds and leaves two files for ever. So a push adds its rows to a *segment*,
a file in the table's directory, and has them on disk after one write. So does a batch of a stream, to a segment that
has batches alone, in one record with how far it brings partitions of the stream. Whoever asks for the newest state, in
whatever process, first *folds* all segments: their rows become one append to the table, and the segments are deleted.
So there is one kind of history, all else reads the table alone, and what has come is there for readers at once.

- **push**: lock one's own segment, add a record, bring it to disk. If somebody folds that segment now, or has, begin
  another one; so a push never waits for a fold. Dies in the middle: the rest of a record, which nobody reads.
- **batch**: hold the table's positions, so that nobody else adds a batch; compare where its messages begin with how far
  the table and the waiting segments are (a fold doesn't change that, so it isn't waited for); go on as a push. Dies in
  the middle: the rest of a record. Dies after it: who goes on finds it. A batch of many rows is a commit, once all
  segments are folded, and is brought to disk before any batch behind it.
- **fold**: lock every segment, mark each as one that is being folded, commit their rows under their names, with
  how far they bring streams, bring the commit to disk, delete them. Dies before the commit: the next one folds them.
  Dies after it: the next one finds their names in the table's log and only deletes them. A segment that was marked
  takes no more rows.

A disk may change bytes. A record that doesn't fit its checksum is skipped, what follows it is kept, and once that is in
the table the segment is copied to `NAME.damaged` beside it, and the log names it as an error: rows that were answered
for are lost, and somebody may read some of them from the copy. `forget` deletes such copies, whoever's rows they hold.
Only a record that runs past the end of the file, and that no readable one follows, is the rest of one that was never
answered. So a damaged length can be told from it, but for that of the last record.

Locks are `flock`s of the segments themselves, which the system drops when their holder dies. Readers that may not write
here, as from a read-only disk, see what was pushed once somebody else has folded it.
"""
