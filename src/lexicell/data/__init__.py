"""The bundled gene table, gene vectors and concept lexicon, with their licences."""
