"""Torch datasets: folders of HQ faces, degraded pairs, cached target codes."""
