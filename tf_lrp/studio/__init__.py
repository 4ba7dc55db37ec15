"""The studio: relevance is designed in the browser, on a person's own machine.

- `schemas`: what the page and the server tell each other; `openapi` writes it as a file.
- `application`: the ASGI application; `routes`: its routes; `safety`: who may ask; `page`: the built page.
- `studio`: what the routes ask; `worker`: the one thread in which TensorFlow runs, where the latest request wins.
- `network`: the model that is explained; `layers`: its layers, for the ruler; `explaining`, `changes`, `evaluating`: the work.
- `rule_catalog`: all rules with their parameters and formulas; `designs`, `examples`: presets that people make, and those of
  the literature; `pictures`: pictures, signals and texts; `code`: Python code and the command that reproduce a view.

Nothing here imports TensorFlow before the worker opens the model, so that the page is served at once.
"""
