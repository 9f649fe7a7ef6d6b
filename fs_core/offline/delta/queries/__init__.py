"""Questions to the files of a history in SQL: who wins, and what a source brings that history lacks."""
