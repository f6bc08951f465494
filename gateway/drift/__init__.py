"""Whether what is predicted still looks like what the model was calibrated on."""
