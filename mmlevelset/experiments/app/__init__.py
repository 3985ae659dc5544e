"""A page in the browser: a classic solver or a model on a photograph, step by step."""
