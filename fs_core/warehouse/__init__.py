"""For data that lives in a warehouse: the as-of rule as one SQL query, and history exported to tables."""
