"""The names of the types, written out once, before any result: what a biologist would type."""

KANG5 = {
    "CD14+ Monocytes": "CD14 positive classical monocyte",
    "CD4 T cells": "CD4 positive helper T cell",
    "B cells": "B cell",
    "FCGR3A+ Monocytes": "non-classical monocyte, CD16 positive",
    "CD8 T cells": "CD8 positive cytotoxic T cell",
}
QUERIES = {
    "kang5 stim": KANG5,
    "kang5 ctrl": KANG5,
    "pbmc68k": {
        "Dendritic": "dendritic cell",
        "CD14+ Monocyte": "CD14 positive monocyte",
        "CD19+ B": "CD19 positive B cell",
        "CD4+/CD25 T Reg": "CD4 CD25 regulatory T cell",
        "CD8+ Cytotoxic T": "CD8 positive cytotoxic T cell",
        "CD8+/CD45RA+ Naive Cytotoxic": "naive CD8 positive T cell, CD45RA",
        "CD56+ NK": "CD56 positive natural killer cell",
        "CD4+/CD45RO+ Memory": "CD4 positive memory T cell, CD45RO",
        "CD34+": "CD34 positive hematopoietic progenitor cell",
        "CD4+/CD45RA+/CD25- Naive T": "naive CD4 positive T cell, CD45RA",
    },
    "kang13 ctrl": {
        "CD14 Mono": "CD14 positive classical monocyte",
        "CD4 Naive T": "naive CD4 positive T cell",
        "CD4 Memory T": "memory CD4 positive T cell",
        "CD16 Mono": "non-classical monocyte, CD16 positive",
        "B": "B cell",
        "CD8 T": "CD8 positive cytotoxic T cell",
        "T activated": "activated T cell",
        "NK": "natural killer cell",
        "DC": "dendritic cell",
        "B Activated": "activated B cell",
        "Mk": "megakaryocyte, platelet",
        "pDC": "plasmacytoid dendritic cell",
        "Eryth": "erythrocyte",
    },
}
