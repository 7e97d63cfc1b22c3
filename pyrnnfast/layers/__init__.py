"""Layers: modules with parameters, a call and a backward."""
