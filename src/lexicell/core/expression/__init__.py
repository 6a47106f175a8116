"""Expression as arrays: ranges of rows, log values, z-scores, components, thinned counts."""
