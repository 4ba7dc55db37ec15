"""Numbers that judge explanations: functions of relevance maps, masks and models, one topic a module."""
