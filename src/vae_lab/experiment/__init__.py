"""One run: prepared, trained, tested, told; and resumed."""
