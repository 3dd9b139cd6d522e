"""Task directories of the HEAR benchmark: build them from plain copies of the data sets, resample and check them."""
