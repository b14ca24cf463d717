"""Method `image-kmeans-whitened`: k-means inside each image on whitened tokens, and segments clustered whitened.

The floor `image-kmeans` with the whitening that `kmeans` has under `pca` and `whiten`: what is fitted is PCA of train
tokens, and no label is read. Heads that learn what to compare tokens by have to beat a floor that was given some of it.
"""
