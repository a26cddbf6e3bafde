"""The factorisation finds what was planted, is as good as scikit-learn's, and gives the same bits each time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.decomposition import NMF
from torch import Tensor

from analyzers.common.progress import finish
from analyzers.methods import nmf
from analyzers.methods.nmf import Factorization, factorize
from analyzers.models.torch_threads import one_thread


def planted(tokens: int, neurons: int, factors: int, noise: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Sparse parts that add up, with a little noise where asked for."""
    random = torch.Generator().manual_seed(3)
    weights = torch.rand(tokens, factors, generator=random) * (torch.rand(tokens, factors, generator=random) < 0.4)
    patterns = torch.rand(factors, neurons, generator=random) * (torch.rand(factors, neurons, generator=random) < 0.2)
    matrix = weights @ patterns + noise * torch.rand(tokens, neurons, generator=random)
    return matrix, weights, patterns


def error_of(matrix: Tensor, found: Factorization) -> float:
    product = found.weights.double() @ found.patterns.double()
    return float((matrix.double() - product).norm() / matrix.double().norm())


def error_of_sklearn(matrix: Tensor, factors: int) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it stops at 500 iterations, as ecco's did
        solver = NMF(factors, init="random", random_state=0, max_iter=500)
        weights = solver.fit_transform(matrix.numpy())
    product = weights.astype(np.float64) @ solver.components_.astype(np.float64)
    return float(np.linalg.norm(matrix.double().numpy() - product) / np.linalg.norm(matrix.double().numpy()))


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_a_matrix_of_one_factor_worked_by_hand() -> None:
    matrix = torch.tensor([[3.0, 0.0, 4.0], [6.0, 0.0, 8.0]])
    found = finish(factorize(matrix, 1))
    torch.testing.assert_close(found.patterns, torch.tensor([[0.6, 0.0, 0.8]]))
    torch.testing.assert_close(found.weights, torch.tensor([[5.0], [10.0]]))
    assert found.error < 1e-6
    assert found.converged


def test_two_groups_that_never_fire_together_worked_by_hand() -> None:
    matrix = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 9.0], [2.0, 2.0, 0.0]])
    found = finish(factorize(matrix, 2))
    torch.testing.assert_close(found.weights[:, 0], torch.tensor([0.0, 9.0, 0.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.weights[:, 1], torch.tensor([2**0.5, 0.0, 8**0.5]), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.patterns[1], torch.tensor([0.5**0.5, 0.5**0.5, 0.0]), atol=1e-5, rtol=0)


def test_planted_factors_are_recovered() -> None:
    matrix, weights, patterns = planted(60, 6_000, 5, noise=0.001)
    found = finish(factorize(matrix, 5))
    unit = patterns / patterns.norm(dim=1, keepdim=True)
    cosines = unit @ found.patterns.T
    assert sorted(cosines.argmax(1).tolist()) == [0, 1, 2, 3, 4]
    assert float(cosines.max(1).values.min()) > 0.999
    columns = weights / weights.norm(dim=0)
    cosines = columns.T @ (found.weights / found.weights.norm(dim=0))
    assert float(cosines.max(1).values.min()) > 0.999


def test_the_result_is_normed_ordered_not_negative_and_its_error_is_its_own() -> None:
    matrix, _, _ = planted(50, 5_000, 9, noise=0.3)
    found = finish(factorize(matrix * 1000, 6))
    assert bool((found.weights >= 0).all())
    assert bool((found.patterns >= 0).all())
    torch.testing.assert_close(found.patterns.norm(dim=1), torch.ones(6))
    energies = found.weights.norm(dim=0).tolist()
    assert energies == sorted(energies, reverse=True)
    assert found.error == pytest.approx(error_of(matrix * 1000, found), rel=1e-5)


@pytest.mark.parametrize(("tokens", "neurons", "factors"), [(90, 9_216, 10), (40, 5_000, 8), (12, 300, 4)])
def test_the_error_is_no_higher_than_that_of_scikit_learn(tokens: int, neurons: int, factors: int) -> None:
    matrix, _, _ = planted(tokens, neurons, factors + 4, noise=0.5)
    found = finish(factorize(matrix, factors))
    assert found.error <= error_of_sklearn(matrix, factors) * 1.005
    assert found.converged


def test_the_same_bits_come_out_whatever_the_number_of_threads() -> None:
    matrix, _, _ = planted(120, 12_000, 9, noise=0.4)
    results = []
    for n in (1, 2, 2):
        with threads(n):
            results.append(finish(factorize(matrix, 8)))
            assert torch.get_num_threads() == n
    for other in results[1:]:
        assert torch.equal(results[0].weights, other.weights)
        assert torch.equal(results[0].patterns, other.patterns)
        assert results[0].error == other.error


def test_every_update_is_made_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums happen to be split alike on one and two threads of some machines; on others they are not."""
    seen: set[int] = set()
    improve = nmf._improve

    def watched(*args: Tensor) -> None:
        seen.add(torch.get_num_threads())
        improve(*args)

    monkeypatch.setattr(nmf, "_improve", watched)
    with threads(2):
        finish(factorize(planted(20, 500, 3)[0], 3))
    assert seen == {1}


def test_the_number_of_threads_is_put_back_when_the_work_fails_and_between_steps() -> None:
    def fail() -> None:
        with one_thread():
            raise MemoryError

    with threads(2):
        with pytest.raises(MemoryError):
            fail()
        assert torch.get_num_threads() == 2
        for _ in factorize(planted(20, 500, 3)[0], 3):
            assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as fresh:
            assert fresh.submit(torch.get_num_threads).result() == 2


def test_more_factors_than_the_matrix_has_parts_leave_finite_rows_of_zeros_or_splits() -> None:
    matrix = torch.outer(torch.arange(1.0, 6.0), torch.arange(1.0, 30.0))
    found = finish(factorize(matrix, 5))
    assert bool(torch.isfinite(found.weights).all())
    assert bool(torch.isfinite(found.patterns).all())
    assert found.error < 1e-3


def test_every_scale_gives_the_same_factors() -> None:
    matrix, _, _ = planted(30, 800, 4, noise=0.1)
    small, large = (finish(factorize(matrix * scale, 4)) for scale in (2.0**-60, 2.0**60))
    assert torch.equal(small.patterns, large.patterns)
    assert small.error == large.error


def test_progress_rises_to_one() -> None:
    fractions = [step.fraction for step in factorize(planted(40, 2_000, 6, noise=0.3)[0], 6)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) > 6


@pytest.mark.parametrize(
    ("matrix", "factors"),
    [
        (torch.zeros(4, 9), 2),
        (torch.tensor([[1.0, -1.0]]), 1),
        (torch.tensor([[1.0, float("nan")]]), 1),
        (torch.tensor([[1.0, float("inf")]]), 1),
        (torch.ones(3, 9), 4),
        (torch.ones(3, 9), 0),
    ],
)
def test_what_cannot_be_factorised_is_a_programming_error(matrix: Tensor, factors: int) -> None:
    with pytest.raises(ValueError, match=r"the matrix must be|factors of"):
        finish(factorize(matrix, factors))
