"""How an engine is: what can be seen of its stages, what is judged of it, and what is said about it."""
