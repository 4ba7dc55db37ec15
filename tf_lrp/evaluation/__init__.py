"""How good explanations are: where relevance lands, what it foretells, and whether it depends on what the model learned.

- Measures of arrays and models: `localization`, `perturbation`, `randomization`, `robustness`, `complexity`, `similarity`.
- Annotated pictures: `datasets`.
- Whole evaluations, as the command line runs them: `study` (network, data, methods, folder), `runs` (batches and logs),
  `tasks` (what is asked of a method on a batch), `results` and `summary` (tables), `figures`, `evaluations`, `report`.
"""
