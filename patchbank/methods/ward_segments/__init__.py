"""Method `ward-segments`: segments inside images, joined into classes by Ward's hierarchical clustering.

Tokens are compared by two things at once: 64 whitened principal directions, which keep what a large variance hides, and
the codes of a head that another row learned (`codes: stego`), which keep what belongs together over the set. By both,
every image is cut into a few segments, and the segments of the train split (of images drawn at random where it is
large) are joined, the two whose union costs least variance first, until as many are left as there are classes. That
is one tree for all numbers of classes, which has no start to be drawn, as k-means has. No label is read. With
`background: true` segments outside the foreground of their image make one class and are not joined: for sets one of
whose classes is the background, whose objects lie more often inside an image than at its border.

Ours; its parts were tried on labels of `msrc`, `camvid` and `voc_animals` val (docs/field.md), so that its rows
there say `oracle: val`; with a background, whose way was designed with labels of `voc_animals` train, `oracle: train,
val`. Ward's criterion:
J. H. Ward, "Hierarchical Grouping to Optimize an Objective Function", JASA 58 (1963),
https://doi.org/10.1080/01621459.1963.10500845.
"""
