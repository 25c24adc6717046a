"""Parameters and operations: counted, in the papers' ways of counting, and beside what the papers print."""
