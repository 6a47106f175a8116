"""Compiled loops behind the cell embedding. numba is imported here, so import this package inside functions only."""
