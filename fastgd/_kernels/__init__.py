"""The compiled core: passes over tiles of samples, and the threads that run them."""
