"""The benchmark: `make bench`. See bench/README.md."""
