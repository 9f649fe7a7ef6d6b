"""A feature store whose training rows and served rows come from one rule."""
