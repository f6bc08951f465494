"""Whether what is judged still looks like what the model was calibrated on."""
