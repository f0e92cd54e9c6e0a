"""Images and tables: where pixels and labels enter."""
