"""Drawing: overlays, grids of pictures, what is shown of a set. Below methods, reports and inference."""
