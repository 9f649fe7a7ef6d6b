"""An entity's events as one value of an online store, to which a push appends and which a read folds.

It is rows, floors and heads, as `fs_core.online.row.entries` has them; what a head says is drawn in `head`.

A row is packed as `fs_core.online.row.codec` packs the rows of any view: with its own checksum, which knows the view
and the entity. Its columns are those that aggregates and the id need, and a flag for each `where`, so that conditions
are evaluated once, when an event is written (`rows`). The value is a set of events: entries may come in any order,
several times, from several writers; who rewrites a value leaves alone what was appended meanwhile.

From its floor on a value knows every event that a window may hold: who leaves events out that matter later no more
writes a floor. Of several the latest counts. A value without one, which is left where events were taken back, or where
the rest was lost before some came, may lack any event: it answers for no moment.

A head stands for events that the value doesn't hold. Whom it doesn't answer adds the entity's *deep* value, which has
all of them and a floor. Of two heads, neither is right beside what the other one left out.
"""
