"""SmooSeg: a small head per patch whose soft classes are smooth where tokens are alike; classes are its own prototypes.

`train` and `predict` are its stages; `settings`, `losses`, `prototypes`, `step` its parts.

Source: SmooSeg, "Smoothness Prior for Unsupervised Semantic Segmentation" (NeurIPS 2023),
https://arxiv.org/abs/2310.17874, https://github.com/mc-lan/SmooSeg.
"""
