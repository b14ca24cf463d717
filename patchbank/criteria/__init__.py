"""Criteria without labels: what tokens alone say of how clearly they fall into clusters.

They see tokens and the images that these come from, never a mask or a class: this room imports nothing that could read
one. `measure` puts them together; `stability`, `silhouette` and `mirrored` are one each, `k` compares numbers of
clusters by them.
"""
