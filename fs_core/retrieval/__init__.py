"""A spine in, a training set out: selecting features, the as-of join, streams of rows, saved sets."""
