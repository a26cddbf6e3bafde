"""Which version this is. The project file says the same, which a test holds; where only what runs is uploaded, it is not."""

VERSION = "0.1.0"
