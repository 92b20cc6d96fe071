"""What fastgd costs, measured against the libraries one would use instead: ``python -m bench``."""
