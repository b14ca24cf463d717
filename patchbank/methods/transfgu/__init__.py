"""TransFGU: pseudo labels from class-token gradients, and a segmenter that is bootstrapped from them.

`train` and `predict` are its stages; `centroids`, `maps`, `pseudo_labels`, `model`, `losses`, `schedule` its parts;
`head` is what lies on disk.

Source: TransFGU, "A Top-down Approach to Fine-Grained Unsupervised Semantic Segmentation",
https://github.com/damo-cv/TransFGU.
"""
