"""What knows nothing of samples: validation, small linear algebra, files that appear whole, Ctrl-C, progress."""
