"""CKA, SVCCA and PWCCA: their laws, other implementations of each, and what they show of noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import ortho_group
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA

from analyzers.methods.similarity import compare_layers, compare_with_shuffled

MEASURES = ("cka-debiased", "cka", "svcca", "pwcca")
random = np.random.default_rng(0)
X = random.normal(size=(80, 12)) * np.arange(1, 13) + 3
Y = X @ random.normal(size=(12, 9)) + 5 * random.normal(size=(80, 9))


def one(measure: str, first: np.ndarray, second: np.ndarray, components: int = 64) -> float:
    return float(compare_layers(measure, [first], [second], components)[0, 0])  # type: ignore[arg-type]


def unbiased_hsic(k: np.ndarray, other: np.ndarray) -> float:
    """Song et al. (2012), equation 5, as it is written."""
    n, ones = len(k), np.ones(len(k))
    k, other = k - np.diag(np.diag(k)), other - np.diag(np.diag(other))
    middle = (ones @ k @ ones) * (ones @ other @ ones) / ((n - 1) * (n - 2))
    return float((np.trace(k @ other) + middle - 2 / (n - 2) * ones @ k @ other @ ones) / (n * (n - 3)))


def canonical(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlations, and the first one's canonical variates, by whitening the covariances (Hotelling 1936)."""
    a, b = first - first.mean(0), second - second.mean(0)
    white_a, white_b = (np.linalg.inv(np.real(sqrtm(m.T @ m))) for m in (a, b))
    left, correlations, _ = np.linalg.svd(white_a @ (a.T @ b) @ white_b)
    return correlations, (a @ white_a @ left)[:, : len(correlations)]


def test_plain_cka_is_its_formula_in_feature_space() -> None:
    a, b = X - X.mean(0), Y - Y.mean(0)
    expected = np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    assert one("cka", X, Y) == pytest.approx(expected, rel=1e-10)


def test_debiased_cka_is_made_of_the_unbiased_hsic() -> None:
    k, other = X @ X.T, Y @ Y.T
    expected = unbiased_hsic(k, other) / (unbiased_hsic(k, k) * unbiased_hsic(other, other)) ** 0.5
    assert one("cka-debiased", X, Y) == pytest.approx(expected, rel=1e-10)
    assert abs(one("cka-debiased", X, Y) - one("cka", X, Y)) > 1e-3


def test_svcca_is_the_mean_correlation_of_principal_components() -> None:
    a, b = (PCA(5).fit_transform(layer) for layer in (X, Y))
    correlations, _ = canonical(a, b)
    assert one("svcca", X, Y, 5) == pytest.approx(correlations.mean(), abs=1e-8)
    variates = CCA(5, scale=False, max_iter=20_000, tol=1e-12).fit(a, b).transform(a, b)
    found = [np.corrcoef(u, v)[0, 1] for u, v in zip(variates[0].T, variates[1].T, strict=True)]
    assert one("svcca", X, Y, 5) == pytest.approx(np.mean(found), abs=1e-4)


def test_pwcca_weighs_by_the_first_layers_features() -> None:
    correlations, variates = canonical(X, Y)
    weights = abs(variates.T @ (X - X.mean(0))).sum(1)
    assert one("pwcca", X, Y) == pytest.approx(correlations @ weights / weights.sum(), abs=1e-8)
    assert one("pwcca", X, Y) != pytest.approx(one("pwcca", Y, X), abs=1e-3)
    assert one("pwcca", X, Y) != pytest.approx(one("svcca", X, Y), abs=1e-3)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_layer_is_alike_to_itself_turned_scaled_or_moved(measure: str) -> None:
    turn = ortho_group.rvs(12, random_state=1)
    assert one(measure, X, X) == pytest.approx(1.0)
    assert one(measure, X, 7.0 * X @ turn) == pytest.approx(1.0, abs=1e-8)
    assert one(measure, X, X + 100.0) == pytest.approx(1.0, abs=1e-6)
    assert one(measure, X, Y) == pytest.approx(one(measure, X, 7.0 * Y), rel=1e-9)
    assert one(measure, 1e-30 * X, 1e30 * Y) == pytest.approx(one(measure, X, Y), rel=1e-6)


def test_canonical_correlations_take_any_invertible_map_and_cka_does_not() -> None:
    mapped = X @ random.normal(size=(12, 12))
    assert one("svcca", X, mapped) == pytest.approx(1.0)
    assert one("pwcca", X, mapped) == pytest.approx(1.0)
    assert one("cka", X, mapped) < 0.95


def test_of_noise_the_plain_estimate_is_near_one_and_the_debiased_near_zero() -> None:
    """30 tokens × 3,000 neurons, as the page says."""
    noise = [random.normal(size=(30, 3000)) for _ in range(2)]
    order = random.permutation(30)
    plain = compare_with_shuffled("cka", noise, noise, 10, order)
    debiased = compare_with_shuffled("cka-debiased", noise, noise, 10, order)
    assert plain.min() > 0.9
    assert abs(debiased).max() < 0.1
    assert round(one("cka", *noise), 2) == 0.99
    assert abs(one("cka-debiased", *noise)) < 0.1


@pytest.mark.parametrize("measure", MEASURES)
def test_a_layer_that_says_the_same_of_all_tokens_is_like_none(measure: str) -> None:
    flat = np.full((80, 5), 2.0)
    assert np.isnan(one(measure, X, flat))
    assert np.isnan(one(measure, flat, X))


@pytest.mark.parametrize("measure", MEASURES)
def test_all_pairs_are_what_each_pair_is(measure: str) -> None:
    layers = [X, Y, X[:, :4]]
    found = compare_layers(measure, layers, layers, 6)  # type: ignore[arg-type]
    for i, first in enumerate(layers):
        for j, second in enumerate(layers):
            assert found[i, j] == pytest.approx(one(measure, first, second, 6), rel=1e-9)
