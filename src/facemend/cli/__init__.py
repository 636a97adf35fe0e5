"""The command line: one file a command; each imports its room inside the function."""
