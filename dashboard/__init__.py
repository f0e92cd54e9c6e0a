"""The two user interfaces: a Streamlit dashboard for analysts, a Gradio page for clinicians."""
