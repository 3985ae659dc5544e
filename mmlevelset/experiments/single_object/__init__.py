"""Comparison of networks and classic solvers on images of one object each."""
