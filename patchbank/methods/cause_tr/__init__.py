"""CAUSE-TR without its leak: CAUSE with a decoder layer as its head, which sees all patches of a picture at once.

`train` and `predict` are its stages; `settings`, `head` (the decoder layer) and `codes` (k-means of what it says of
whole images) its parts; `published` reads and writes checkpoints of the public code. What it shares with CAUSE-MLP is
`patchbank.methods.tools.cause`. A position is learned for every patch, so that what is predicted must have the grid
that was trained on. The published third phase moves the head by labels; see `patchbank.methods.cause_mlp`.

Source: CAUSE, "Causal Unsupervised Semantic Segmentation", https://arxiv.org/abs/2310.07379,
https://github.com/ByungKwanLee/Causal-Unsupervised-Segmentation (no licence: nothing is copied).
"""
