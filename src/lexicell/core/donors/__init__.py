"""Statistics whose unit is the donor: shift, selective shift, depletion, moderated tests, permutations."""
