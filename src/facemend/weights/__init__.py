"""Where weights are: the catalogue of shipped and fetched files, with licences and checksums."""
