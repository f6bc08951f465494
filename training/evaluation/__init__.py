"""Figures of a model, the goals that they are held against, and their plots and pages."""
