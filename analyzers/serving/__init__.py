"""From untrusted values to an answer, and its two written forms."""
