"""Orders of cells: diffusion pseudotime, branches, intervals, scores and trends along them."""
