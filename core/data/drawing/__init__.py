"""Draw synthetic skin lesions: dermatoscopic cartoons of the seven diagnoses."""
