"""Method `kmeans`: faiss k-means on the frozen tokens of the dataset, no training of a network.

The floor of every trained head that predicts dataset-wide classes. Fitted on a bounded random sample of train
tokens, applied to all tokens; one variant per number of clusters and k-means seed.
"""
