"""What happens during training besides the optimizer steps: checkpoints, validation, progress, NEFTune noise."""
