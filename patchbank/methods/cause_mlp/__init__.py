"""CAUSE-MLP without its leak: a codebook of tokens, a head that learns which tokens share a code, classes of its codes.

`train` and `predict` are its stages, `settings` what it is asked for; its parts are those of CAUSE-TR too
(`patchbank.methods.tools.cause`). The published third phase moves the head by labels; ``supervised_leak: reference``
does that too, is marked ``oracle: train``, and exists to show the difference (docs/field.md).

Source: CAUSE, "Causal Unsupervised Semantic Segmentation", https://arxiv.org/abs/2310.07379,
https://github.com/ByungKwanLee/Causal-Unsupervised-Segmentation (no licence: nothing is copied).
"""
