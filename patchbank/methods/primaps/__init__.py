"""PriMaPs-EM: mask proposals of an image's principal directions, and prototypes of classes that learn to agree on them.

`train` and `predict` are its stages; `settings`, `proposals`, `prototypes`, `step` its parts. Three rows are possible
(`stage`): the proposals themselves, segments inside images; the baseline, cosine k-means by gradient; and EM.

Source: PriMaPs-EM, "Boosting Unsupervised Semantic Segmentation with Principal Mask Proposals" (TMLR 2024),
https://arxiv.org/abs/2404.16818, https://github.com/visinf/primaps.
"""
