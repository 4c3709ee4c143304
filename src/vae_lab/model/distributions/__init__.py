"""Distributions that torch lacks, or has otherwise than is needed here."""
