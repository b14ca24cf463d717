"""Weights on disk: our own pairs of safetensors and json, and the published systems' files.

`store` saves and loads our own, `reference` translates checkpoints of the published AlignSeg, `dino` cleans the keys
of published DINO backbones.
"""
