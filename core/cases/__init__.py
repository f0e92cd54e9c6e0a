"""The optional log of cases that were assessed, and what can be learned from it."""
