"""Words that everybody uses: no torch, and nothing from above."""
