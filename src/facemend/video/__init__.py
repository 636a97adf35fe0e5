"""The whole film: read, restored frame by frame, encoded in segments, joined with the rest of the source."""
