"""Ceilings `incontext-knn-m<memory>-b<beta>`: labels looked up among the nearest labelled train patches, no training.

In-context scene understanding: train patches are a memory of keys (tokens of unit length) and values (shares of the
classes among a patch's labelled pixels). A patch attends to its nearest keys, softmax of cosines over beta, and gets
the mean of their values; class probabilities are upsampled bilinearly before the argmax. The rows say what
neighbourhoods of frozen tokens know of classes, and are marked `oracle: train`.

Where it differs from open-hummingbird:

- Train images are those of the bank `whole`, squashed once; there they are cropped at random and their colours changed.
- Ignored pixels count for no class and a patch without a labelled pixel is no key; there they count for class 0.
- Shares come from the masks at their own size; there from masks at the size of the input.
- The memory is as large as asked where there are as many labelled patches in every image with a mask, the same number
  (+-1) from each, drawn by the same score from a seed of the image's own; there floor(memory / images) from the global
  generator.
- The search is exact, in blocks of the memory; there ScaNN's, approximate, or faiss on a GPU.
- Rows stand under every protocol of the set; there it is `hungarian_iou` at the size of the input.

Sources: Balazevic et al. 2023, "Towards In-Context Scene Understanding", https://arxiv.org/abs/2306.01667 (the
protocol); Pariza et al. 2024, https://github.com/vpariza/open-hummingbird-eval at 0fd976f (`hbird/hbird_eval.py`: 30
neighbours, beta 0.02, memories of 102,400 to 10,240,000 patches).
"""
