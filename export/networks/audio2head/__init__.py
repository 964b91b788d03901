"""Audio2Head (Wang et al., IJCAI 2021): one picture and speech to a talking head with head pose."""
