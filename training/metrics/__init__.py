"""What is measured: verdicts held against labels, with their uncertainty, under each condition, and against goals."""
