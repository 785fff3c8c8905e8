"""Looking: learned values of asking on and of stopping, by backward induction over recorded answers."""
