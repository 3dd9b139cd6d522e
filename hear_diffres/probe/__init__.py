"""How good embeddings are: shallow classifiers on labelled audio that no network of ours was trained on."""
