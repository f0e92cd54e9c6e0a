"""The clinician's page. What people show it is private: Gradio's telemetry is off before Gradio is imported."""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
