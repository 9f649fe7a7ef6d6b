"""The bytes of a stored row: one packed row for each view and entity, and how whole batches of them are read."""
