"""Method `foreground-kmeans`: objects before a background, for sets one of whose classes is the background.

Where most pixels are one class, k-means gives that class most of its clusters and the objects share what is left. Here
the first principal direction of the set's tokens divides every image into a foreground and a background, the background
is one cluster, and the foregrounds of all images are clustered into the others. No label is read; that there is a
background, and that objects lie more often inside an image than at its border, is what the row supposes. It was
designed with labels of the train split of `voc_animals` (docs/results.md), so that its rows there say `oracle: train`.
"""
