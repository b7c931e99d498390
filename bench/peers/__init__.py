"""The programs that implicit_wmf is compared with, one file each, behind one protocol."""
