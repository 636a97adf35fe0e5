"""The whole folder: what is read and written, the run, its records, and the same over a cluster."""
