"""How good explanations are: where relevance lands, what it foretells, and whether it depends on what the model learned."""
