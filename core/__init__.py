"""DermLens: data, models, evaluation and explanation. Nothing in here imports a user interface."""

import os

# before anything loads TensorFlow: it reports the GPU that it did not find as an error
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
