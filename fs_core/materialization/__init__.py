"""Between history and the online store: filling it, comparing the two, forgetting entities in both."""
