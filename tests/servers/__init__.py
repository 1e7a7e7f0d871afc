"""The real servers that the tests run against: child processes that the suite starts, hurts and stops itself."""
