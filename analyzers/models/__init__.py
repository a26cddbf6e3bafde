"""One model: loaded, held, dissected, run on a text."""
