"""History in Delta tables, one for each meaning of a view, and how it changes, whoever writes, compacts or forgets.

A *state* is what one entry of the table's log makes of those before it: a set of data files. Data files never change.
A commit is one new entry, made by the library, whole or not at all. Readers take no lock: they read the files of the
state that was the newest when they began, and begin anew if somebody was forgotten and these files are gone.

Who does what (`locks`: files beside the table, whose locks the system drops when their holder dies):

- **append** (any number at once): take seqs (one at a time), hold `appending` together with all others,
  write data files, commit that they are added. Dies before the commit: unnamed files, unused seqs. The commit carries
  a name, by which a failed append checks whether it stands: an append that raises has written nothing.
- **push**: take seqs, add rows to a file beside the table and bring it to disk. Whoever looks up the newest state first
  appends what was pushed by then; see `journal`.
- **batch of a stream** (holds `following`): take seqs, look how far the stream has been taken, add rows and
  how far they bring it, as a push does. Many rows are an append, behind what waits.
- **add what is missing** (holds `comparing`): look which rows the table lacks, append these.
- **compact** (holds `rewriting`): commit that small files are replaced by large ones with the same rows; make the
  index. The old files stay for earlier states. Dies before the commit: unnamed files.
- **erase** (holds `rewriting`): (1) commit that the rows of some entities are replaced by nothing, and again while some
  are appended; (2) remove leftovers; (3) bring the newest state to disk, take the statistics of all other files that
  hold such rows out of the log's entries, delete these files; (4) delete the index. Dies anywhere: what is left to do
  shows in the files, and repeating it does it.
- **repair** (holds `rewriting`): commit that doubled rows are replaced by one of each; delete what is wrong in the
  index.
- **merging of small files** (holds `rewriting`, or is left out where somebody else does): every 16th append or so, as a
  compaction of small files alone.
- **leftovers** (part of the above): files that no entry names. A rewriter's are dead, since only one lives. An append's
  are once all appends have ended that were under way when the files were listed: later ones aren't waited for.

Why that is safe: two rewriters never meet, so no file is replaced twice, which the library doesn't refuse (1.6.6). An
append and a compaction don't conflict. Of an erasure the library refuses the commit if rows with such seqs were
appended meanwhile; then it begins anew. A checkpoint repeats what entries say; it is made after a commit, and if that
fails, as on a full disk, the commit stands all the same.

In a bucket (`fs_core.offline.objects`) there is no journal: a push is an append, and so is a batch, which the library
refuses where another one has changed the stream's position since it was looked up. Rewriters exclude each other by an
object that its holder renews, so a holder that stands still for longer than a lease and goes on is the one case in
which two may meet. Appends leave no sign there: files that no state names are dead once they are a day old.

By hand are made no commits, only two changes that mean nothing to a state: statistics are taken out of old entries,
since the library has no way to, and files are deleted, since `vacuum` goes by their age, not by who needs them.
"""
