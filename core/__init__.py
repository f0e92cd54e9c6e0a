"""DermLens: data, models, evaluation and explanation. Nothing in here imports a user interface."""

import logging
import os

# before anything loads TensorFlow: it reports the GPU that it did not find as an error, and as a warning that the
# networks of an ensemble are traced one after the other
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").setLevel(logging.ERROR)
