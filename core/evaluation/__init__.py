"""Figures and how far they can be trusted; numpy and scikit-learn alone."""
