"""Face geometry without networks: templates, alignment, masks, pasting, selection. Pure functions."""
