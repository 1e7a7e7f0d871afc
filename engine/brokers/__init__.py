"""What all brokers share: endpoints seen from outside, replies, options, keys and headers after a wire."""
