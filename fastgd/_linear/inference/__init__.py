"""How sure a fit is: covariances of coefficients, tests, intervals, and their summary."""
