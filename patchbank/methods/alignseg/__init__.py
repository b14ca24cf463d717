"""AlignSeg: a small query decoder on frozen tokens that divides every image into segments.

`train` and `predict` are its stages; `settings`, `model`, `losses`, `foreground` its parts; `head` is what lies on
disk.

Source: AlignSeg, "Rethinking Self-Supervised Semantic Segmentation: Achieving End-to-End Segmentation",
https://github.com/yliu1229/AlignSeg.
"""
