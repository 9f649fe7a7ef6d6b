"""An index of data files that lie in a bucket: it takes what is asked for, and no more room than it may."""
