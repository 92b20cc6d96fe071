"""Fits with penalties that are not smooth: the elastic net, and paths of it."""
