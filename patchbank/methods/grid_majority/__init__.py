"""Ceiling `grid-majority`: each patch gets its majority class, from the labels of the scored images.

The best that anything on this patch grid can do, up to ties and the odd pixel: what is missing to 100 is lost to the
grid. Its rows are marked `oracle: val`.
"""
