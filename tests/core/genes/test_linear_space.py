"""Gene spaces against dense products, and several of them tested at once."""

import numpy as np
import pytest
import scipy.sparse as sp

from lexicell._errors import InputError
from lexicell.core.donors.shift import Design
from lexicell.core.donors.vulnerability import shift_test
from lexicell.core.genes import linear_space
from lexicell.core.genes.linear_space import LinearSpace


def _dense(space):
    blocks = [np.eye(space.n_genes) if b is None else b for b in space.blocks]
    return np.hstack([b / s for b, s in zip(blocks, space.scales, strict=True)])


@pytest.fixture
def spaces(rng):
    text = linear_space.whitened(rng.normal(size=(40, 6)))
    return [text, linear_space.genes(40), linear_space.centered(rng.normal(size=(40, 3)))]


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
def test_projection_and_pull_equal_the_dense_product(rng, spaces, form):
    z = rng.normal(size=(5, 40))
    stack = linear_space.stacked(spaces, [2.0, 0.5, 3.0])
    E = _dense(stack)
    assert stack.dim == 49
    assert stack.project(form(z)) == pytest.approx(z @ E)
    direction = rng.normal(size=49)
    assert stack.pull(direction) == pytest.approx(E @ direction)


def test_parts_of_a_stack_add_up_to_one(rng, spaces):
    stack = linear_space.stacked(spaces, [2.0, 0.5, 3.0])
    change = rng.normal(size=40)
    found = stack.attribute(change)
    E = _dense(stack)
    delta = change @ E
    assert found.parts.sum() == pytest.approx(1, abs=1e-12)
    assert found.parts == pytest.approx([change[g] * (E[g] @ delta) / (delta @ delta) for g in range(40)])
    with pytest.raises(InputError, match="do not differ"):
        stack.attribute(np.zeros(40))


def test_gene_sets_are_sized_and_weigh_the_same():
    sets = [np.arange(9), np.arange(10), np.arange(300), [1, 1, 2, *range(5, 20)]]
    M = linear_space.gene_set_matrix(sets, 400)
    assert M.shape == (400, 2)
    assert (M**2).sum(axis=0) == pytest.approx([1, 1])
    assert np.flatnonzero(M[:, 1]).tolist() == [1, 2, *range(5, 20)]


def test_whitened_space_is_cut_at_k_and_at_the_rank(rng):
    vectors = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 10))
    assert linear_space.whitened(vectors).dim == 3
    assert linear_space.whitened(vectors, 2).dim == 2
    assert linear_space.whitened(vectors, 9).dim == 3


def test_stacking_needs_the_same_genes(spaces):
    with pytest.raises(InputError, match="same genes"):
        linear_space.stacked([spaces[0], LinearSpace(3, (None,))])


def _planted(rng, shift):
    """Six donors an arm, three types; the shift of type 0 is seen in the second space only."""
    one, two = rng.normal(size=(3, 12, 5)), rng.normal(size=(3, 12, 8))
    two[0, 6:, 0] += shift
    return one, two


def test_combined_evidence_equals_a_loop_over_arrangements(rng):
    one, two = _planted(rng, 2.0)
    design = Design.of(np.repeat([0.0, 1], 6))
    here = np.ones((3, 12), dtype=bool)
    found = shift_test(one, here, design, spaces=(one, two))
    rows = design.permutations(n_draws=1, rng=0).rows.astype(bool)
    T = []
    for M in (one, two):
        F = np.empty((len(rows), 3))
        for b, case in enumerate(rows):
            a, c = M[:, case], M[:, ~case]
            delta = ((a.mean(axis=1) - c.mean(axis=1)) ** 2).sum(axis=1)
            F[b] = delta / (a.var(axis=1, ddof=1).sum(axis=1) / 6 + c.var(axis=1, ddof=1).sum(axis=1) / 6)
        T.append((F - F.mean(axis=0)) / F.std(axis=0))
    best = np.max(T, axis=0)
    assert found.p == pytest.approx((best >= best[0] - 1e-9).mean(axis=0))
    assert found.strength == pytest.approx(best[0])
    assert found.carrier.tolist() == np.argmax([t[0] for t in T], axis=0).tolist()
    # Effects stay those of the first argument.
    assert found.d2 == pytest.approx(shift_test(one, here, design).d2)


def test_combined_test_finds_what_one_space_sees_and_holds_its_level():
    rng, hits, false = np.random.default_rng(8), 0, []
    design, here = Design.of(np.repeat([0.0, 1], 4)), np.ones((3, 8), dtype=bool)
    for _ in range(150):
        one, two = rng.normal(size=(3, 8, 5)), rng.normal(size=(3, 8, 8))
        two[0, 4:, 0] += 4.0
        p = shift_test(one, here, design, spaces=(one, two)).p
        hits += p[0] <= 0.05
        false += list(p[1:] <= 0.05)
    assert hits > 110
    # Exact at 4 against 4: at most .029 on average; taking the smaller of two p values would give about twice that.
    assert np.mean(false) < 0.055


def test_a_type_without_all_donors_uses_its_own_arrangements_in_every_space(rng):
    one, two = _planted(rng, 3.0)
    here = np.ones((3, 12), dtype=bool)
    here[0, [0, 11]] = False
    one[0, ~here[0]] = two[0, ~here[0]] = np.nan
    found = shift_test(one, here, Design.of(np.repeat([0.0, 1], 6)), spaces=(one, two))
    small = np.ones((1, 10), dtype=bool)
    alone = shift_test(
        one[:1, here[0]], small, Design.of(np.repeat([0.0, 1], 5)), spaces=(one[:1, here[0]], two[:1, here[0]])
    )
    assert found.p[0] == pytest.approx(alone.p[0])
    assert found.p_floor[0] == pytest.approx(2 / 252)
