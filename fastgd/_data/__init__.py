"""Where samples live and how they become tiles: arrays, tables, sparse matrices, files, chunks, Dask."""
