"""Frozen networks that compare pictures or faces: LPIPS, DISTS, identity, Inception, and their weights."""
