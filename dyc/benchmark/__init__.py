"""Time whole layers and whole networks beside their static counterparts; the operators alone are in ops.benchmark."""
