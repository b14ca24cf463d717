"""STEGO: a small head per patch whose codes are alike where centred tokens are, and k-means on the codes.

`train` and `predict` are its stages; `settings`, `losses`, `neighbours`, `shifts`, `step` its parts.

Source: STEGO, "Unsupervised Semantic Segmentation by Distilling Feature Correspondences" (ICLR 2022),
https://arxiv.org/abs/2203.08414, https://github.com/mhamilton723/STEGO.
"""
