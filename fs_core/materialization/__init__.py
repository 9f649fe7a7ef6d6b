"""From history to the online store: filling it, comparing the two, forgetting entities in both."""
