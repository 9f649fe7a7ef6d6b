"""A packaged model: its features and their code beside the framework's own files, checked and put together on load.

`flavor.save_model` writes one, `served.load` reads it.
"""
