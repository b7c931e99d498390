"""``python -m bench fuzz``: files that are wrong, in every way that comes by chance, through all that reads them."""
