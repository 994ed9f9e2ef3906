"""From finished runs to tables: collect, set beside published numbers, render."""
