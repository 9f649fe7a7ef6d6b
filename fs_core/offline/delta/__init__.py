"""History in Delta tables: one table for each meaning of a view."""
