"""Floor `random-clusters`: every patch gets a random cluster id, at the same numbers of clusters as every method.

What a protocol gives for no information at all; under `overcluster` that is more than nothing, because every cluster
goes to a frequent class.
"""
