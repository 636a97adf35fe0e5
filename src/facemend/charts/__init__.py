"""Charts as inline SVG, and the page that reports are: one file that loads nothing."""
