"""From the names of genes in a data set to genes: symbols, former symbols, synonyms, ids, species."""
