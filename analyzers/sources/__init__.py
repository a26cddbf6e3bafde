"""Which models there are, where their files lie and what these say: no torch."""
