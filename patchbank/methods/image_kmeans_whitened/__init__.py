"""Method `image-kmeans-whitened`: k-means inside each image on whitened tokens, and segments clustered whitened.

The floor `image-kmeans` with the metric that heads may learn: what is fitted is a whitening of train tokens, the same
as that of `kmeans` with `pca` and `whiten`, and no label is read. It is a row of its own where a head is compared
with it.
"""
