"""What code needs of the machine: files, threads, forks, calls that meet, recent values, plugins, a progress bar."""
