"""What is registered through the store: applied, versioned, deleted, and what SQL may read by name."""
