"""DermLens: data, models, evaluation and explanation. Nothing in here imports a user interface."""
