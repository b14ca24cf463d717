"""Floors: segments that need no training, through the same pooling, segment clusters and protocols as a method's.

`voronoi-q` (random cells, no image content), `image-kmeans-q` (spherical k-means inside each image on the same centred
tokens) and `single` (one segment). A trained head that does not beat them is reported as such.
"""
