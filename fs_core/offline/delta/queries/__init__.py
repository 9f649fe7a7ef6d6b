"""Questions to the files of a history in SQL: who wins, what a source brings anew, and what is wrong."""
