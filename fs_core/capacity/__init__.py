"""What a store needs: memory and disk for the latest rows and for the search index, before there are any."""
