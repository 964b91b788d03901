"""`lipsync doctor`: checks of the machine, the installation and the models."""
