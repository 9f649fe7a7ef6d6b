"""History: every row ever written, and what was known at any moment of it."""
