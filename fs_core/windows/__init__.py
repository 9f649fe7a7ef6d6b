"""Windows: what the events of an entity add up to at a moment. One kernel for history, serving and the tests' engines.

The rule, which is `fs_core.rule` for sets of events. At a moment `t`, a window of length `w` holds the events `r`
of an entity with `a(r) <= t` and `t - w < event_time(r) <= t`; without a length, all with `a(r) <= t`.

- `closed="left"` means the window of one microsecond earlier, `[t - w, t)`.
- With a `hop` the window begins at the last multiple of it, since 1970-01-01 UTC, that isn't after `t - w`.
- Of several rows with the same entity and `event_id`, the greatest by `(event_time, a, seq)` among those available
  counts. `where` chooses among the events that count: a correction that fails it takes the event out.
- Nulls are skipped. A window without values gives null; `count` and `count_distinct` give 0.
- Sums are exact and rounded once, to nearest even; `mean` is the sum, as a float64, divided by the count; `var` and
  `std` (of a sample: n - 1, so null for one value) are rounded once from exact sums. Whole numbers and decimals are
  exact: one that doesn't fit its type is an error.
- NaN and infinities propagate, in `min` and `max` too; -0.0 is 0.0; every NaN is one value.
- `first`, `last` and their lists go by `(event_time, a, seq)`, the least first.

So an event is seen exactly for `t` in its *life*, `[a, min(event_time + w, s))`, `s` being the moment at which a
greater row with its id became available; a row that arrives after a greater one has no life.

A new function is a name in `FUNCTIONS` and a type in `fs_core.definitions.aggregation`, what it needs in `NEEDS` of
`plan`, how it answers in `_FUNCTIONS` of `answer`, and the same by brute force in `fs_core.testing.window_oracle`.
"""
