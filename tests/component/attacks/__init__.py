"""Families of attacks on a control plane; see ../attacks_test.py."""
