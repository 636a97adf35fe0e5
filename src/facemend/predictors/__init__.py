"""A graph with its pre- and post-processing: face detector, mesh, head mask, face restorer."""
