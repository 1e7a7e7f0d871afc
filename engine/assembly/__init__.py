"""From a graph to actors: the parts of each stage, wired, and the supervision tree over them, before any runs."""
