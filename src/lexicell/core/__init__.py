"""Arrays only: formulas and statistics, without AnnData, figures or network."""
