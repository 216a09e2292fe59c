"""From the command line to typed specifications. The only package below the commands that knows Hydra and OmegaConf."""
