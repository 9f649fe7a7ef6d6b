"""Raw data: reading files, and running SQL over them."""
