"""From an image's segments to dataset-wide clusters: pool frozen tokens per segment, cluster the embeddings."""
