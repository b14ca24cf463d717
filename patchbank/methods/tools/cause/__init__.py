"""What CAUSE-MLP and CAUSE-TR have in common: a codebook of tokens, a contrastive head, a probe of its codes.

`modularity`, `contrast`, `memory`, `front`, `labelled` are the parts of the losses, `phases` their three phases,
`training` the whole way from banks to a checkpoint, `settings` what both are asked for, `published` what public files
of both share. A method brings its head as a `phases.Kind`.

Source: CAUSE, "Causal Unsupervised Semantic Segmentation", https://arxiv.org/abs/2310.07379,
https://github.com/ByungKwanLee/Causal-Unsupervised-Segmentation (no licence: nothing is copied).
"""
