"""A finished run in files that other programs read: brain maps, arrays with names, Kamitani lab's bdata format."""
