"""Numbers from a language model and a text. No pictures, no Gradio."""
