"""Eccolens: see inside a transformer language model. `python app.py --help` lists the options."""

from __future__ import annotations

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from ui.server import serve

if __name__ == "__main__":
    raise SystemExit(serve())
