"""Networks: the frozen trunk, the trained top, and the only code that fits."""
