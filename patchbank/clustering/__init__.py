"""Clustering of features: projection (standardise, PCA, whitening, normalisation) and faiss k-means."""
