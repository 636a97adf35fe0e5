"""facemend in a browser, without a server: the files of a static site, and what writes them."""
