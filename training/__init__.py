"""The pipeline: images with labels to an archive that TorchServe serves; each stage is `run(params, paths)`."""
