"""The command line: one file a command; each imports its room inside the function."""

import gc
import os

# A command is to start at once. Imports make many objects that all stay, and looking for waste among them is
# a tenth of the time; pydantic looks into every installed package for plugins, of which facemend uses none.
gc.set_threshold(50_000)
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
