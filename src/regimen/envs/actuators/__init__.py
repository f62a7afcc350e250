"""Models of motors that compute the torques of joints at each physics step, in front of any simulator."""
