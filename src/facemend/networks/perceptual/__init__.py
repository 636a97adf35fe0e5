"""Frozen networks that compare pictures or faces: LPIPS, DISTS, identity, and their weights."""
