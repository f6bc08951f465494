"""What MLflow keeps of a stage: its run, and what the run was made of."""
