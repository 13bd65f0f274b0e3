"""The environment: installed, checked, carried to other machines, and the help of `make`."""
