"""What code needs of the machine: files, threads, processes that fork, calls that meet, plugins, a progress bar."""
