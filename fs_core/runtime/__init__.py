"""What code needs of the machine: files, threads, processes that fork, plugins, a progress bar."""
