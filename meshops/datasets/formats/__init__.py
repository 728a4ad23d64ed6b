"""File formats that several sets use: HDF5, TFRecord, rows of NPY files."""
