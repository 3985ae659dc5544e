"""Pictures and tables of the results of trained models and solvers."""
