"""Genes as vectors: embedding, gene space, retrieval for phrases, concepts, attribution, programs, perturbation."""
