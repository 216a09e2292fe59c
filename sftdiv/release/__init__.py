"""What leaves sftdiv: subsets for other programs, models for the hub."""
