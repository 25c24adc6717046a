"""Any model made dynamic: which convolutions are meant, which of them can be converted, and what became of them."""
