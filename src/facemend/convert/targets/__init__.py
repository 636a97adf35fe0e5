"""Models as other programs want them: one module and one `write(info, folder)` for each; see `write.py`."""
