#!/bin/sh
# A stand-in for grubby's own sorter of versions: by version, the lowest first, and ~ before nothing.
exec sort -V
