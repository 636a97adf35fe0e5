"""Evaluation: protocols, peers, the benchmark loop, its report. Needs the `eval` extra."""
