"""How alike two layers are over some tokens: of matrices (token × feature) whose features have nothing else in common.

Linear CKA (Kornblith et al. 2019) compares what each layer says of the likeness of every two tokens, so the features may be
turned or scaled. With few tokens and wide layers it is near 1 for noise; debiased it is near 0. Canonical correlations
compare whatever linear map of the features: after the principal components (SVCCA, Raghu et al. 2017), or weighted by how
much of the first layer each stands for (PWCCA, Morcos et al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from analyzers.common.settings import SimilarityMeasure

Layer = Float[np.ndarray, "token _"]
Compare = Callable[[Sequence[Layer], Sequence[Layer]], Float[np.ndarray, "first second"]]
LEAST_TOKENS = 4
"""Below that the debiased estimate divides by zero."""


def compare_layers(
    measure: SimilarityMeasure, first: Sequence[Layer], second: Sequence[Layer], components: int
) -> Float[np.ndarray, "first second"]:
    """Every layer of the one beside every layer of the other, over the same tokens in the same order. NaN where a layer
    says the same of all tokens.

    Arguments:
        components: principal components kept of each layer, for SVCCA and PWCCA; fewer than there are tokens.
    """
    if measure in ("cka", "cka-debiased"):
        centre = _centre_unbiased if measure == "cka-debiased" else _centre
        one, other = (
            _unit_rows([centre(layer @ layer.T) for layer in map(_double, layers)]) for layers in (first, second)
        )
        return np.asarray(one @ other.T)
    bases = [_principal_basis(layer, components) for layer in first]
    others = [_principal_basis(layer, components) for layer in second]
    weighed = [_centred(layer) if measure == "pwcca" else None for layer in first]
    return np.array(
        [[_correlate(basis, other, layer) for other in others] for basis, layer in zip(bases, weighed, strict=True)]
    )


def compare_with_shuffled(
    measure: SimilarityMeasure,
    first: Sequence[Layer],
    second: Sequence[Layer],
    components: int,
    order: Int[np.ndarray, " token"],
) -> Float[np.ndarray, "first second"]:
    """What layers that have nothing to do with each other would show: the second one's tokens are in another order."""
    return compare_layers(measure, first, [layer[order] for layer in second], components)


def _double(layer: Layer) -> Layer:
    """Scaled, so that no square is too large."""
    exact = layer.astype(np.float64)
    largest = float(abs(exact).max(initial=0.0))
    return exact / largest if largest > 0 else exact


def _centre(gram: Float[np.ndarray, "token token"]) -> Float[np.ndarray, "token token"]:
    """H K H: that of the features less their mean."""
    return np.asarray(gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean())


def _centre_unbiased(gram: Float[np.ndarray, "token token"]) -> Float[np.ndarray, "token token"]:
    """So that the product of two is the unbiased estimate of HSIC (Song et al. 2012; U-centring, Székely & Rizzo 2014)."""
    n = len(gram)
    off = gram - np.diag(np.diag(gram))
    rows, total = off.sum(0), off.sum()
    centred = off - (rows + rows[:, None]) / (n - 2) + total / ((n - 1) * (n - 2))
    return np.asarray(centred - np.diag(np.diag(centred)))


def _unit_rows(grams: Sequence[Float[np.ndarray, "token token"]]) -> Float[np.ndarray, "layer pair"]:
    flat = np.stack([gram.reshape(-1) for gram in grams])
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.divide(flat, norms, out=np.full_like(flat, np.nan), where=norms > 1e-12))


def _centred(layer: Layer) -> Layer:
    exact = _double(layer)
    return np.asarray(exact - exact.mean(0))


def _principal_basis(layer: Layer, components: int) -> Float[np.ndarray, "token component"]:
    """An orthonormal basis of the layer's strongest directions over the tokens."""
    left, sizes, _ = np.linalg.svd(_centred(layer), full_matrices=False)
    return np.asarray(left[:, :components][:, sizes[:components] > 1e-9 * sizes[0]])


def _correlate(
    basis: Float[np.ndarray, "token _"], other: Float[np.ndarray, "token _"], weighed: Layer | None
) -> float:
    """The mean canonical correlation: cosines of the angles between two spans (Björck & Golub 1973); where features are
    given, weighed by how much of them each canonical direction stands for."""
    if not basis.shape[1] or not other.shape[1]:
        return float("nan")
    left, cosines, _ = np.linalg.svd(basis.T @ other, full_matrices=False)
    cosines = cosines.clip(0.0, 1.0)
    if weighed is None:
        return float(cosines.mean())
    weights = abs((basis @ left).T @ weighed).sum(1)
    return float(cosines @ weights / weights.sum())
