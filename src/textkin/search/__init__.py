"""Answers from vectors beyond the plain search: outliers, clusters."""
