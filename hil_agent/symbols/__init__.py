"""What a guest's kernel calls its addresses, and where they are: symbols, KASLR, translation, its log."""
