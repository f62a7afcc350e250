"""Import of a robot from an MJCF or a URDF: what `regimen import-robot` reads, assumes and writes."""
