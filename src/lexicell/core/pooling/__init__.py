"""From the genes of each cell to one vector per cell: presets, selection, weighted sums, moments."""
