"""From the command line to typed specifications. Below the commands, only this package imports Hydra and OmegaConf."""
