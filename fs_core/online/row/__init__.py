"""The bytes of a stored row: one packed row for each view and entity, and how whole batches of them are read.

`codec` packs and reads rows, `layout` says where their bytes lie and seals them, `columns` and `template` make Arrow's
columns and batches of them; `keys` are the entities' keys, which stand beside the rows, not in them. Values to which
writers add are made of `entries`: `recent` rows, and the events of windows. Whoever changes what bytes mean raises
`FORMAT` in `layout`.
"""
