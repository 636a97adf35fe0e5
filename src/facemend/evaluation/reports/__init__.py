"""What a benchmark run found, as tables, charts and one page."""
