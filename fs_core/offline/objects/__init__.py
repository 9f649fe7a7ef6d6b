"""Objects on S3, Azure and Google's storage: as paths, as data files that are read by ranges, and as locks.

An object is written whole, or not at all, and who reads it sees the newest one. Beyond that a bucket offers one thing
that files don't: a write that is refused where the object isn't as somebody saw it. Numbers and locks are made of it.

`path` makes each request, tries it again where the library doesn't, and names what failed. `reading` is for data files,
`memory` what a process remembers of them, and `lease` for locks and numbers. A commit of a table is tried again by
`fs_core.offline.delta.appending`.

Who may do what is the environment's to say, by the variables that each cloud's own tools read; no key is a setting.
"""
