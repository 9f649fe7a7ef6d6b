"""What was served, and what changed: the request log and its replay, profiles, and drift."""
