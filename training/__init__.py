"""The pipeline: photos with labels to an archive that TorchServe serves; each stage is `run(params, paths)`."""
