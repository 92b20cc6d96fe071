"""Readers of files, one module for each library that reads them."""
