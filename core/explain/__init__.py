"""Heatmaps: what an answer rests on."""
