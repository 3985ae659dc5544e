"""Pictures and tables of what trained models and solvers do."""
