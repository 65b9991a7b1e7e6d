"""Networks that look at images: trunks, parsers, classifiers, keypoints, embeddings."""
