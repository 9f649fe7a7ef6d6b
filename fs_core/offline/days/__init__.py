"""Delta tables beside history, in partitions by day: of request logs, and of quarantined rows."""
