"""A running engine over HTTP: probes, the API, and what belongs beside them."""
