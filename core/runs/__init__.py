"""Run folders, and the processes that write them."""
