"""Weights on disk: our own pairs of safetensors and json, and the published systems' files.

`store` saves and loads our own, `torch_files` reads and writes files of published code without running any in them,
`dino` cleans the keys of published DINO backbones. What a method's published files hold stands in its own folder.
"""
