"""Values: the types they have, the times they carry, and how they come in, are cast and leave."""
