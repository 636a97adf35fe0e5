"""Restoring over HTTP: the queue, its workers, the API and the page. Needs the extra `serve`."""
