"""Floor 4: the only room that speaks SQL: engines, transactions, locks, claims, read queries."""
