"""What each path of the server does.

A new path is a function here, a line in `fs_core.server.app.endpoints` and an entry in `fs_core.server.openapi`.
"""
