"""Tables of databases and warehouses as sources: a query there, its rows here as Arrow, part after part."""
