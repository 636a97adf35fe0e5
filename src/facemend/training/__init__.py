"""The three training stages, one readable loop each."""
